"""Generated data sets: everything that makes the search's arithmetic hard, in every mixture."""

from __future__ import annotations

import random
from typing import NamedTuple

from tests.otlp_receiver.encode import START, Value, attributes, data, double, fixed64, gauge, point, sum_

SECOND = 10**9
BIN = 10 * SECOND
BASE = 1_795_490_830 * SECOND
"""A multiple of ten seconds."""
NODE_FIELDS = ("host.name", "k8s.cluster.name", "k8s.node.name")
DIMENSIONS = (*NODE_FIELDS, "process.pid", "process.executable.name")
NAMES = ("sh", "bash", "csh", "tcsh", "bash", "sh", "python3", "Bash", "bashful")
# Sums of these are exact, so that negative points can cancel positive ones to zero.
GRID = (0.0, 0.0, 0.25, -0.25, 0.5, -1.5, 2.0, -2.875)
NO_MEASUREMENT = (float("nan"), float("inf"), float("-inf"))


class Generated(NamedTuple):
    """Serialized requests in order of arrival, and bounds."""

    requests: list[bytes]
    earliest_ns: int | None
    latest_ns: int | None


class Generator:
    """Writes data sets. Equal seeds write equal ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.oddity = self.random.choice([0.0, 0.05, 0.3])
        self.bins = self.random.choice([1, 3, 8])
        self.times: list[int] = []

    def odd(self) -> bool:
        return self.random.random() < self.oddity

    def data_set(self) -> Generated:
        choose = self.random.choice
        nodes = [
            {
                "host.name": f"host-{choose('ab')}",
                "k8s.cluster.name": choose(["prod", "dev"]),
                "k8s.node.name": f"node-{choose('ab')}",
            }
            for _ in range(self.random.randint(1, 3))
        ]
        requests = [
            frame for _ in range(self.random.randint(1, 5)) for frame in self.process(dict(choose(nodes)))
        ]
        # Late and repeated: any order, and some of them twice.
        if self.odd():
            self.random.shuffle(requests)
        requests += [each for each in requests if self.odd()]
        return Generated(requests, *self.bounds())

    def bounds(self) -> tuple[int | None, int | None]:
        """Often on a point, or just beside one."""
        edges = [time + beside for time in self.times for beside in (0, 1, -1)]
        edges += [BASE + number * BIN for number in range(self.bins + 1)]
        first, end = sorted(self.random.choices(edges, k=2))
        return self.random.choice([(None, None), (first, None), (None, end), (first, end + 1)])

    def process(self, node: dict[str, str]) -> list[bytes]:
        """A process's frames, each as a request."""
        pid = self.random.choice([7, 8, 649])
        fields: dict[str, Value] = {
            **node,
            "process.pid": str(pid) if self.odd() else pid,
            "process.executable.name": self.random.choice(NAMES),
        }
        start = START + self.random.randrange(3) * BIN
        first = self.random.randrange(self.bins)
        scrapes = [bin_ for bin_ in range(first, self.bins) if not self.odd()]
        return [self.frame(fields, self.time(bin_), start) for bin_ in scrapes]

    def time(self, bin_: int) -> int:
        inside = self.random.choice([0, 1, BIN - 1, self.random.randrange(BIN)])
        self.times.append(BASE + bin_ * BIN + inside)
        return self.times[-1]

    def frame(self, fields: dict[str, Value], time: int, start: int) -> bytes:
        fields = dict(fields)
        if self.odd():
            fields[self.random.choice(DIMENSIONS)] = ""
        if self.odd():
            del fields[self.random.choice(DIMENSIONS)]
        own: dict[str, str] = {}
        if self.odd():
            own[self.random.choice(DIMENSIONS)] = self.random.choice(["7", "bash", "host-a", ""])
        metrics = []
        if self.random.random() < 0.8:
            cpu = [
                self.point(time, start, own | {"state": state}, 0.3) for state in ("user", "system", "wait")
            ]
            metrics.append(gauge("process.cpu.utilization", *cpu))
        if self.random.random() < 0.8:
            make = sum_ if self.odd() else gauge
            metrics.append(make("process.memory.utilization", self.point(time, start, own, 5.0)))
        metrics.append(sum_("process.cpu.time", self.point(time, start, {}, 100.0)))
        self.random.shuffle(metrics)
        ordered = self.random.sample(sorted(fields), len(fields))
        resource = attributes(1, [(name, fields[name]) for name in ordered])
        return data(1, data(1, resource) + data(2, b"".join(data(2, metric) for metric in metrics)))

    def point(self, time: int, start: int, own: dict[str, str], most: float) -> bytes:
        value = double(4, self.random.choice([*GRID, self.random.random() * most]))
        if self.odd():
            value = self.random.choice(
                [b"", fixed64(6, 1), fixed64(6, 2**64 - 2), *(double(4, number) for number in NO_MEASUREMENT)]
            )
        return point(
            value, time_ns=0 if self.odd() else time, start_ns=start, flags=int(self.odd()), states=own
        )
