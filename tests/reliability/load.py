"""What the nodes of the kill loop send, and what they remember of it.

Each agent is a thread with a gRPC channel of its own. It scrapes its nodes and exports as a collector does: a
request that was refused for now, or whose answer was lost, is sent again, the same bytes, before anything
newer of these nodes, for ever. A gateway is an agent whose requests hold two nodes.

Each scrape of a node lies in a window of its own. So what the service has to tell does not depend on when
anything arrives, nor on how often, and :mod:`tests.reliability.oracle` can say it. The nodes' clocks run
behind this machine's and, for they scrape several times a second, faster.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc

from tests.otlp_receiver.encode import attributes, cpu, data, memory, process, request
from tests.otlp_receiver.serving import EXPORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

SECOND: Final = 1_000_000_000
TRIED_AGAIN: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""What the collector's OTLP exporter sends again; of a request that got another answer it drops the data."""
_CALL_TIMEOUT_S: Final = 5.0
_CHANNEL: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
)
_MOST_SHELLS: Final = 10
"""Of a node at a time."""
OTHERS: Final = ("kubelet", "sshd", "java", "zsh", "bash5", "sh-agent")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a scrape said of a shell; ``cpu`` is by state, empty on the first scrape of a process."""

    time_ns: int
    cpu: tuple[tuple[str, float], ...]
    memory: float

    @property
    def is_positive(self) -> bool:
        return self.memory > 0 or any(value > 0 for _, value in self.cpu)


@dataclass(slots=True)
class Shell:
    """A process with the name of a shell. ``readings`` are those of a living one, in order."""

    node: str
    pid: int
    start_ns: int
    name: str
    remaining: int
    """Scrapes that it will yet be alive."""
    is_told: bool = True
    """Whether it ever uses anything; a zombie from the first scrape on does not."""
    lingers: int = 0
    """Scrapes that it stays as a zombie after it died."""
    ended: bool = False
    pid_reused: bool = False
    """Another shell with its pid was scraped after it."""
    must_close: bool = False
    """It ended so long ago that its end has to be told."""
    readings: list[Reading] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"/usr/bin/{self.name}"

    @property
    def command_line(self) -> str:
        return f"{self.name} -c 'work of {self.pid}'"


class Node:
    """A worker node; :meth:`scrape` gives what its agent reads next."""

    def __init__(self, name: str, now_ns: int, random: Random) -> None:
        self.name = name
        self.shells: list[Shell] = []
        """All that there ever were."""
        self._alive: list[Shell] = []
        self._random = random
        self._bin = now_ns // SECOND
        self._boot_ns = (self._bin - 86_400) * SECOND
        self._next_pid = 1000

    @property
    def host(self) -> str:
        return f"{self.name}.internal"

    def expect_ends(self) -> None:
        """From now on the end of each shell that has ended so far must be told."""
        for shell in self.shells:
            shell.must_close = shell.ended

    def scrape(self) -> list[bytes]:
        """One frame for each process, each at a time of its own in the same second."""
        self._bin += 1 if self._random.random() < 0.9 else 2
        at_ns = self._bin * SECOND + self._random.randrange(900) * 1_000_000
        self._be_born(at_ns)
        frames = [self._frame(process(1, "systemd"), self._boot_ns, at_ns, ((), 0.5))]
        for number, name in enumerate(OTHERS):
            reading = ((("user", 0.25), ("system", 0.125)), 1.5)
            frames.append(self._frame(process(100 + number, name), self._boot_ns, at_ns + number, reading))
        for number, shell in enumerate(list(self._alive)):
            frames.append(self._of_shell(shell, at_ns + number * 1_000_000))
        return frames

    def begin(self) -> Shell:
        """A shell that the next scrape is the first to see."""
        start_ns = self._bin * SECOND - self._random.randrange(5_000, 300_000) * 1_000_000
        self._next_pid += self._random.randrange(1, 5)
        return self._add(self._next_pid, start_ns)

    def _add(self, pid: int, start_ns: int) -> Shell:
        random = self._random
        remaining = random.choice((1, 1, 2, 3, 5, 8, random.randrange(20, 150)))
        shell = Shell(self.name, pid, start_ns, random.choice(("sh", "bash", "csh", "tcsh")), remaining)
        shell.is_told = random.random() < 0.9
        shell.lingers = random.choice((0, 0, 3))
        self.shells.append(shell)
        self._alive.append(shell)
        return shell

    def _be_born(self, at_ns: int) -> None:
        for shell in list(self._alive):
            if shell.remaining > 0:
                continue
            start_ns = at_ns - 300_000_000
            # Starts that are nearer to each other could be one process, by a boot time that was read anew.
            is_apart = start_ns - shell.start_ns > 3 * SECOND
            if shell.remaining == 0 and shell.is_told and is_apart and self._random.random() < 0.3:
                # Its pid is taken at once by another, which this very scrape sees first.
                shell.ended = shell.pid_reused = True
                self._alive.remove(shell)
                self._add(shell.pid, start_ns).is_told = True
            elif shell.remaining <= -shell.lingers:
                shell.ended = True
                self._alive.remove(shell)
        if len(self._alive) < _MOST_SHELLS and self._random.random() < 0.3:
            self.begin()

    def _of_shell(self, shell: Shell, at_ns: int) -> bytes:
        """Its frame in this scrape; from now on it is one scrape older."""
        is_alive = shell.remaining > 0 and shell.is_told
        shell.remaining -= 1
        resource = process(
            shell.pid,
            shell.name,
            parent_pid=1,
            owner="root",
            **({"path": shell.path, "command_line": shell.command_line} if is_alive else {}),
        )
        if not is_alive:
            return self._frame(resource, shell.start_ns, at_ns, ((("user", 0.0), ("system", 0.0)), 0.0))
        states = tuple((state, self._random.randrange(1024) / 1024) for state in ("user", "system", "wait"))
        reading = Reading(at_ns, states if shell.readings else (), self._random.randrange(1, 100) / 64)
        shell.readings.append(reading)
        return self._frame(resource, shell.start_ns, at_ns, (reading.cpu, reading.memory))

    def _frame(
        self,
        resource: dict[str, str | bytes | int],
        start_ns: int,
        time_ns: int,
        values: tuple[Sequence[tuple[str, float]], float],
    ) -> bytes:
        states, share = values
        named = resource | {
            "host.name": self.host,
            "k8s.cluster.name": "kill-loop",
            "k8s.node.name": self.name,
        }
        metrics = [memory(share, time_ns=time_ns, start_ns=start_ns)]
        if states:
            metrics.append(cpu(*states, time_ns=time_ns, start_ns=start_ns))
        return data(2, b"".join(data(2, metric) for metric in metrics)) + data(
            1, attributes(1, named.items())
        )


@dataclass
class Tally:
    """What the agents saw, together."""

    life: int = 0
    """Which start of the service this is."""
    taken: int = 0
    """Requests that were answered OK."""
    told_to_wait: int = 0
    """Calls that were refused for now, by an answer."""
    cut_off: dict[int, int] = field(default_factory=dict)
    """Calls that had no answer though the service had been reached, by the life in which they began."""
    never_again: list[str] = field(default_factory=list)
    """What a collector would have dropped the data for."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Agent(threading.Thread):
    """Scrapes its nodes and exports, until :meth:`finish`."""

    def __init__(self, nodes: Sequence[Node], port: int, random: Random, tally: Tally) -> None:
        super().__init__(name="+".join(node.name for node in nodes), daemon=True)
        self._nodes = nodes
        self._random = random
        self._tally = tally
        self._compression = random.choice((grpc.Compression.Gzip, grpc.Compression.NoCompression))
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", _CHANNEL)
        self._export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(EXPORT)
        self._ending = threading.Event()
        self._abandoned = False

    def finish(self) -> None:
        """End when what was scraped has been taken."""
        self._ending.set()

    def abandon(self) -> None:
        """End at once, for the test has failed."""
        self._abandoned = True
        self._ending.set()

    def run(self) -> None:
        for body in self._scrapes():
            while not self._abandoned and not self._is_taken(body):
                time.sleep(self._random.uniform(0.02, 0.1))
        self._channel.close()

    def _scrapes(self) -> Iterator[bytes]:
        while not self._ending.wait(self._random.uniform(0.0, 0.06)):
            yield request(*(frame for node in self._nodes for frame in node.scrape()))

    def _is_taken(self, body: bytes) -> bool:
        tally, life = self._tally, self._tally.life
        try:
            answer = self._export(body, timeout=_CALL_TIMEOUT_S, compression=self._compression)
        except grpc.RpcError as error:
            self._note(error, life)
            return False
        with tally.lock:
            tally.taken += 1
            if answer:
                tally.never_again.append(f"OK with {answer!r}: want nothing rejected")
        return True

    def _note(self, error: Any, life: int) -> None:
        code, details = error.code(), str(error.details())
        # Only the service gives these (RetryInfo); gRPC itself, when the connection is gone, does not.
        answered = any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())
        with self._tally.lock:
            if code not in TRIED_AGAIN:
                self._tally.never_again.append(f"{code}: {details}")
            elif answered:
                self._tally.told_to_wait += 1
            elif "onnect to" not in details:  # "failed to connect to all addresses": nobody was reached
                self._tally.cut_off[life] = self._tally.cut_off.get(life, 0) + 1
