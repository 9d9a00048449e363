"""The detector: records and service time in, findings out. Pure: no I/O, no clock, no threads, no logging.

Nodes do not know of each other. This module only keeps them, runs those whose deadlines are due, and puts
findings in order.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from detector.counts import Count
from detector.node import Answers, Budget, Node
from detector.output import Output

if TYPE_CHECKING:
    from detector.rules import Rules
    from detector.types import Arrival, NodeId, Record, ShellId, Step

_NO_ANSWERS: Final[Answers] = {}


class Detector:
    """The state of all nodes.

    One turn is: for each arrival :meth:`unknown`, look those identities up, :meth:`feed`; then
    :meth:`advance`; then :meth:`take_step`. Calls raise nothing; input of any shape is counted, not refused.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._budget = Budget(rules.max_tracked_shells)
        self._nodes: dict[NodeId, Node] = {}
        self._out = Output(rules)
        self._due: list[tuple[int, NodeId]] = []
        """A heap of (deadline, node). Each node with a deadline has an entry at or before it."""
        self._scheduled: dict[NodeId, int] = {}

    def unknown(self, record: Record) -> list[ShellId]:
        """The identities for which the store's memory is an argument of the next :meth:`feed`."""
        node = self._nodes.get(record.node) or Node(record.node, self._rules, self._budget, self._out)
        return list(node.unknown(record))

    def feed(self, arrival: Arrival, answers: Answers = _NO_ANSWERS) -> None:
        """Take one record, after the deadlines of its node up to its arrival."""
        node = self._node(arrival.record.node)
        node.feed(arrival, answers)
        self._schedule(arrival.record.node, node)

    def advance(self, now_ns: int) -> None:
        """Run the deadlines of all nodes up to a service time."""
        while self._due and self._due[0][0] <= now_ns:
            due_ns, node_id = heapq.heappop(self._due)
            if self._scheduled.get(node_id) != due_ns:
                continue
            del self._scheduled[node_id]
            node = self._nodes[node_id]
            node.advance(now_ns)
            self._schedule(node_id, node)

    def due_ns(self) -> int | None:
        """A service time before which :meth:`advance` has nothing to do."""
        return self._due[0][0] if self._due else None

    def take_step(self) -> Step:
        """What was decided since the last step."""
        return self._out.take()

    def finish(self, *, close_sessions: bool = False) -> None:
        """End of input: every open window closes; with ``close_sessions`` every session does."""
        for node in self._nodes.values():
            node.finish(close_sessions=close_sessions)

    def tracked(self) -> int:
        """Shells in memory: open sessions and candidates."""
        return self._budget.used

    def open_sessions(self) -> int:
        """Open sessions. Walks all of them."""
        return sum(node.open_sessions() for node in self._nodes.values())

    def nodes(self) -> int:
        """Nodes in memory."""
        return len(self._nodes)

    def _node(self, node_id: NodeId) -> Node:
        node = self._nodes.get(node_id)
        if node is not None:
            return node
        if len(self._nodes) >= self._rules.max_nodes:
            idle = [(known.last_frame_ns, key) for key, known in self._nodes.items() if known.is_idle()]
            if not idle:
                # Its shells are told at once and not tracked: a node beyond the ceiling may cost no memory.
                self._out.count(Count.NODE_CEILING)
                return Node(node_id, self._rules, Budget(0), self._out)
            del self._nodes[min(idle)[1]]
        node = self._nodes[node_id] = Node(node_id, self._rules, self._budget, self._out)
        return node

    def _schedule(self, node_id: NodeId, node: Node) -> None:
        due_ns = node.due_ns()
        if due_ns is None or self._nodes.get(node_id) is not node:
            return
        known = self._scheduled.get(node_id)
        # A later deadline needs no entry of its own: the earlier one will find it.
        if known is None or due_ns < known:
            self._scheduled[node_id] = due_ns
            heapq.heappush(self._due, (due_ns, node_id))
