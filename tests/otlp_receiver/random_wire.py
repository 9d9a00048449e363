"""Random requests, as hostile as the wire allows.

Every message writes its fields ascending, descending or in any order, repeats and splits what protobuf lets
one repeat and split, and carries fields that nobody knows. Text quotes what a scan looks for: watched values,
key fields, whole attributes, the ends of other frames. Tags and lengths are minimally encoded: that is the
domain of the promise.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.otlp_receiver.encode import (
    START,
    T0,
    data,
    double,
    fixed64,
    integer,
    number,
    text,
    varint,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = [b"bash", b"sh", b"csh", b"tcsh", b"python3", b"bas", b"bashful", b"", b"ba\xffsh", b"Bash", b"tcs"]
PATHS = [
    b"/usr/bin/bash",
    b"/usr/bin/bash (deleted)",
    b"bash (deleted)",
    b"sh",
    b"/bin/busybox",
    b"/opt/bash/run",
    b"/tmp/\xfe/sh",
    b"",
    b"/",
]
NODE_VALUES = [b"worker-1", b"worker-2", b"node\xff", b"", b"w" * 200, b"host.name"]
CLUSTERS = [b"prod", b"dev", b"", b"cl\xc3"]
CGROUPS = [
    b"0::/../kubepods/burstable/pod0f5c/" + b"ab" * 32,
    b"0::/kubepods/podcafe/" + b"ab" * 32,
    b"0::/system.slice/cron.service",
    b"0::/\xff",
    b"",
]
LABELS = [b"k8s.pod.name", b"k8s.namespace.name", b"container.image.name", b"k8s.\xff"]
NODE_KEYS = [b"k8s.node.name", b"host.name", b"host.id"]
CLUSTER_KEYS = [b"k8s.cluster.name", b"cluster_name", b"k8s.cluster.uid"]
METRICS = [
    b"process.cpu.utilization",
    b"process.memory.utilization",
    b"process.cpu.time",
    b"system.cpu.time",
    b"process.cpu.utilization\xff",
]
STATES = [b"user", b"system", b"wait", b"iowait", b"", b"id\xffle", b"s" * 100]


class RandomWire:
    """Writes requests. Equal seeds write equal ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        # Most real encoders keep one order; half of the requests do.
        self.order = self.random.choice(["ascending", "descending", "any", "any"])
        # How much of what is unusual: none at all must be tried as well.
        self.oddity = self.random.choice([0.0, 0.02, 0.1, 0.3])
        self.frames: list[bytes] = []
        self.nodes = [self.random.random() for _ in range(3)]

    def odd(self) -> bool:
        return self.random.random() < self.oddity

    def message(self, fields: Sequence[bytes]) -> bytes:
        """A message of fields in ascending order of number, written in the order of this request."""
        fields = list(fields)
        if self.order == "descending":
            fields.reverse()
        elif self.order == "any":
            self.random.shuffle(fields)
        while self.odd():
            fields.insert(self.random.randint(0, len(fields)), self.unknown())
        return b"".join(fields)

    def in_order(self, fields: Sequence[bytes]) -> bytes:
        """Elements of one repeated field: encoders keep their order."""
        return b"".join(fields)

    def unknown(self) -> bytes:
        field = self.random.choice([15, 16, 100, 2**29 - 1])
        kind = self.random.randrange(5)
        if kind == 0:
            return number(field, self.random.getrandbits(64))
        if kind == 1:
            return fixed64(field, self.random.getrandbits(64))
        if kind == 2:
            return data(field, self.hostile())
        if kind == 3:
            return varint(field << 3 | 5) + self.random.randbytes(4)
        return varint(field << 3 | 3) + (self.unknown() if self.odd() else b"") + varint(field << 3 | 4)

    def hostile(self) -> bytes:
        """Text that quotes what a scan may look for."""
        choose = self.random.choice
        earlier = choose(self.frames) if self.frames else b""
        return choose(
            [
                text(choose(NAMES)),
                b"--" + data(1, choose([*NODE_KEYS, *CLUSTER_KEYS, b"process.pid"])) + b"--",
                data(1, self.attribute(choose(NODE_KEYS), text(choose(NODE_VALUES)))),
                self.attribute(b"process.executable.name", text(b"bash")),
                choose([b"\x12\x02\x18\x01\x0a\x0bprocess.pid", b"\x0a\x0bprocess.pid\x12\x02\x18\x01"]),
                earlier[-self.random.randint(1, 150) :],
                self.random.randbytes(self.random.randint(0, 20)),
                b"/bin/bash -c x \xff\xfe caf\xe9",
                b"x" * choose([127, 128, 5000]),
                b"/bin/sh -c " + choose(NAMES),
            ]
        )

    def any_value(self, value: bytes) -> bytes:
        """An ``AnyValue`` that ends as ``value``, whatever it said before."""
        while self.odd():
            other = self.random.choice(
                [text(self.random.choice(NAMES)), integer(1), number(2, 1), double(4, 1.0)]
            )
            value = other + value
        return value + (self.unknown() if self.odd() else b"")

    def attribute(self, key: bytes, value: bytes) -> bytes:
        """A ``KeyValue``; its value may come in two pieces, and its key twice."""
        value = self.any_value(value)
        keys = [data(1, key)]
        values = [data(2, value)]
        if self.odd():
            keys.insert(0, data(1, self.random.choice([b"process.pid", b"host.name", b"other"])))
        if self.odd():
            values.insert(0, data(2, self.random.choice([b"", text(b"bash"), integer(3)])))
        # Which of two comes last must not change: only whether keys or values come first.
        parts = [b"".join(keys), b"".join(values)]
        return self.message(parts)

    def process_attributes(self) -> list[tuple[bytes, bytes]]:
        values: list[tuple[bytes, bytes]] = []

        def add(key: bytes, choices: Sequence[bytes], often: float = 0.9) -> None:
            while self.random.random() < often:
                values.append((key, text(self.random.choice(choices))))
                if not self.odd():
                    break

        if not self.odd():
            pid = self.random.choice([1, 1, 2, 7, 300, -4])
            values.append((b"process.pid", text(b"7") if self.odd() else integer(pid)))
        if self.random.random() < 0.8:
            values.append((b"process.parent_pid", integer(self.random.choice([0, 1, 300]))))
        add(b"process.executable.name", NAMES)
        add(b"process.executable.path", PATHS)
        add(b"process.owner", [b"root", b"", b"o\xff"], 0.5)
        add(b"process.command_line", [self.hostile() for _ in range(3)])
        add(b"process.cgroup", CGROUPS, 0.5)
        for key in LABELS:
            add(key, [self.hostile(), b"shop", b""], 0.1)
        if self.odd():
            add(self.random.randbytes(4), [self.hostile()])
        return values

    def node_attributes(self) -> list[tuple[bytes, bytes]]:
        """One of three nodes: the same names for all of its frames, unless something is odd."""
        if self.odd():
            return []
        node = random.Random(self.random.choice(self.nodes))
        named = [
            (key, text(node.choice(choices)))
            for chain, choices, often in ((CLUSTER_KEYS, CLUSTERS, 0.6), (NODE_KEYS, NODE_VALUES, 0.7))
            for key in reversed(chain)
            if node.random() < often
        ]
        if self.odd():
            return [
                (key, text(self.random.choice(NODE_VALUES))) for key, _ in named if self.random.random() < 0.8
            ]
        return named

    def resource_attributes(self) -> list[bytes]:
        # As processors do it: the names of the node come last.
        values = self.process_attributes() + self.node_attributes()
        if self.odd():
            self.random.shuffle(values)
        if self.odd():
            values += [(b"a%d" % each, integer(each)) for each in range(self.random.choice([29, 40]))]
        return [data(1, self.attribute(key, value)) for key, value in values]

    def resource(self) -> list[bytes]:
        """One ``Resource`` or two, which are read as one."""
        attributes = self.resource_attributes()
        pieces = [attributes]
        if self.odd():
            cut = self.random.randint(0, len(attributes))
            pieces = [attributes[:cut], attributes[cut:]]
        dropped = [number(2, 3)] if self.odd() else []
        return [data(1, self.message([self.in_order(piece), *dropped])) for piece in pieces]

    def time(self, base: int) -> int:
        if self.odd():
            return self.random.choice([0, 2**63 - 1, 2**63, 2**64 - 1])
        return base + self.random.randrange(3) * 1_000_000

    def point(self) -> bytes:
        fields = []
        if self.random.random() < 0.9:
            fields.append(fixed64(2, self.time(START) if self.odd() else START))
        fields.append(fixed64(3, self.time(T0)))
        if not self.odd():
            if self.random.random() < 0.8:
                value = self.random.choice([0.0, 0.5, -1.0, 1e300, float("inf")])
                fields.append(double(4, value))
            else:
                fields.append(fixed64(6, self.random.choice([0, 1, 5, 2**64 - 3])))
        fields += [
            data(7, self.attribute(key, text(self.random.choice(STATES))))
            for key in (b"state", b"cpu.mode")
            if self.random.random() < 0.5
        ]
        if self.odd():
            fields.append(number(8, self.random.choice([1, 2, 3])))
        return self.message(fields)

    def metric(self) -> bytes:
        kind = self.random.choice([5, 5, 5, 7, 7, 9, 10, 11] if self.odd() else [5, 5, 7])
        bodies = []
        for field in [kind] * (2 if self.odd() else 1) + (
            [self.random.choice([5, 7, 9])] if self.odd() else []
        ):
            if field in {5, 7}:
                points = [data(1, self.point()) for _ in range(self.random.choice([0, 1, 1, 1, 3]))]
            else:
                points = [data(1, fixed64(3, T0))] * self.random.randrange(3)
            bodies.append(data(field, self.message(points)))
        return self.message([data(1, self.random.choice(METRICS)), b"".join(bodies)])

    def scope(self) -> bytes:
        metrics = [data(2, self.metric()) for _ in range(self.random.choice([0, 1, 2, 3]))]
        scope = [data(1, data(1, self.hostile()))] if self.odd() else []
        return self.message([*scope, self.in_order(metrics)])

    def frame(self) -> bytes:
        scopes = [data(2, self.scope()) for _ in range(self.random.choice([1, 1, 1, 0, 2]))]
        schema = [data(3, self.hostile())] if self.odd() else []
        frame = self.message([self.in_order(self.resource()), self.in_order(scopes), *schema])
        self.frames.append(frame)
        return frame

    def request(self) -> bytes:
        fields = []
        for _ in range(self.random.choice([0, 1, 2, 3, 5, 8])):
            frame = self.frame()
            if self.odd():
                # No parse of any depth gets over a field that reaches beyond the end.
                frame += self.random.choice([b"\x0a\x7f", b"\x0a\x04bash\x12\x7f", b"\x0f"])
            fields.append(data(1, frame))
        while self.odd():
            fields.insert(self.random.randint(0, len(fields)), self.unknown())
        return b"".join(fields)


def mutated(body: bytes, randomness: random.Random) -> bytes:
    """A request with a few bytes changed, cut out, repeated or put in."""
    out = bytearray(body)
    for _ in range(randomness.choice([1, 1, 2, 5, 20])):
        at = randomness.randrange(len(out) or 1)
        size = randomness.choice([1, 1, 2, 8, 100])
        match randomness.randrange(6):
            case 0:
                out[at : at + 1] = bytes([randomness.randrange(256)])
            case 1:
                out[at : at + 1] = bytes([(out[at] if out else 0) ^ 1 << randomness.randrange(8)])
            case 2:
                del out[at : at + size]
            case 3:
                out[at:at] = out[at : at + size]
            case 4:
                out[at:at] = randomness.randbytes(size)
            case _:
                out[at : at + 3] = randomness.choice(
                    [b"\xff\xff\xff", b"\x80\x80\x80", b"\x0b\x0b\x0b", b"\x00"]
                )
    return bytes(out)
