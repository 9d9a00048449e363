"""The simulated fleet: which nodes are scraped when, through which gateway, with which shells. Pure.

In each round every node is scraped once, at a time of its own that is the same in every
round; these times are skewed: a quarter of the nodes lies in the first tenth, and none in the last. Shells
end and others begin with each round. Some requests come one round late, beside those of that round.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from bench.scrapes import Shell

_LAST: Final = 0.9
_SKEW: Final = 1.5
"""A node's time is so much of the way to the last one, raised to this power."""
MOMENTS: Final = 10
"""Nodes that are scraped in the same tenth of a round are scraped at the same time: when it begins."""
_SEED: Final = 8
_FIRST_PID: Final = 1_000
"""Above the pids of the captured scrape."""
_PIDS: Final = 15_000
_AGE_NS: Final = 5_000_000_000


@dataclass(frozen=True, slots=True)
class Shape:
    """What a fleet is like.

    ``shells``: how many are open at any time, over all nodes; ``churn``: the share of them that is another
    one with each round. ``late``: the share of requests that come one round late. Each second gateway merges
    the scrapes of ``batch`` nodes into one request, as a batch processor does; the others merge nothing. A
    round is ``round_s`` long.
    """

    nodes: int
    shells: int = 0
    processes: int = 300
    churn: float = 0.2
    late: float = 0.01
    gateways: int = 10
    batch: int = 3
    round_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Planned:
    """One request, due at ``at_s`` from the begin of ``round``; its samples are of ``of_round``."""

    at_s: float
    gateway: int
    nodes: tuple[int, ...]
    round: int
    of_round: int


@dataclass
class Fleet:
    """The nodes, and the shells that are open on them now. ``start_ns`` is the wall time of round 0."""

    shape: Shape
    start_ns: int
    _open: list[Shell] = field(default_factory=list)
    _begun: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(_SEED)  # noqa: S311  # the same fleet each time
        shape = self.shape
        at_s = {node: _LAST * shape.round_s * self._random.random() ** _SKEW for node in range(shape.nodes)}
        self._requests: list[tuple[float, int, tuple[int, ...]]] = []
        for gateway in range(shape.gateways):
            nodes = sorted(range(gateway, shape.nodes, shape.gateways), key=at_s.__getitem__)
            size = shape.batch if gateway % 2 else 1
            for first in range(0, len(nodes), size):
                merged = tuple(nodes[first : first + size])
                self._requests.append((at_s[merged[-1]], gateway, merged))
        self._requests.sort()
        self._late: list[Planned] = []

    def next_round(self, number: int) -> tuple[list[Planned], dict[int, list[Shell]]]:
        """The requests of a round in the order in which they are due, and the shells of each node in it."""
        late, held = self._late, []
        planned = []
        for at_s, gateway, nodes in self._requests:
            request = Planned(at_s, gateway, nodes, number, number)
            if self._random.random() < self.shape.late:
                held.append(Planned(at_s, gateway, nodes, number + 1, number))
            else:
                planned.append(request)
        self._late = held
        return sorted((*planned, *late), key=lambda each: each.at_s), self._shells(number)

    def time_ns(self, number: int, at_s: float) -> int:
        """The time of the samples of what is due then in a round."""
        moment = int(at_s / self.shape.round_s * MOMENTS)
        return self.start_ns + round((number + moment / MOMENTS) * self.shape.round_s * 1e9)

    def _shells(self, number: int) -> dict[int, list[Shell]]:
        ended = round(len(self._open) * self.shape.churn)
        self._open = self._open[ended:]
        begins_ns = self.time_ns(number, 0) - _AGE_NS
        while len(self._open) < self.shape.shells:
            node, turn = self._begun % self.shape.nodes, self._begun // self.shape.nodes
            self._open.append(Shell(node, _FIRST_PID + turn % _PIDS, begins_ns))
            self._begun += 1
        of_node: dict[int, list[Shell]] = {}
        for shell in self._open:
            of_node.setdefault(shell.node, []).append(shell)
        return of_node
