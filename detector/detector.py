"""The detector: records and service time in, findings out. Pure: no I/O, no clock, no threads, no logging.

Nodes do not know of each other. This module only keeps them, runs those whose deadlines are due, and puts
findings in order. Therefore a node can be checkpointed alone: its state after some records, with the records
that came later, gives the same findings (:meth:`Detector.dump`, :meth:`Detector.restore`).
"""

from __future__ import annotations

import heapq
import json
from typing import TYPE_CHECKING, Final, TypeAlias

from detector.budget import Budget
from detector.counts import Count
from detector.node import Answers, Node
from detector.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from detector.coverage import NodeCoverage
    from detector.looking import Identity, Look
    from detector.rules import Rules
    from detector.types import Arrival, NodeId, Record, Sample, ShellId, Step

MakeNode: TypeAlias = "Callable[[NodeId, Rules, Budget, Output], Node]"
"""How the state of a node begins: :class:`detector.node.Node`, or one that tells what it does
(:mod:`detector.tracing`)."""

_NO_ANSWERS: Final[Answers] = {}
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class NodeFailed(Exception):  # noqa: N818  says what is so
    """A node met a defect of this program; its state is not to be used any more.

    ``of_record``: the record that was fed is to blame, else what the node had before. ``__cause__`` is what
    was raised.
    """

    def __init__(self, node: NodeId, *, of_record: bool) -> None:
        super().__init__(f"{node.cluster}/{node.node}")
        self.node = node
        self.of_record = of_record


class Detector:
    """The state of all nodes.

    One turn is: for each arrival :meth:`unknown`, look those identities up, :meth:`feed`; then
    :meth:`advance`; then :meth:`take_step`. Input of any shape is counted, not refused: what they raise is
    :class:`NodeFailed`, and that would be a defect.
    """

    def __init__(self, rules: Rules, make_node: MakeNode = Node) -> None:
        self.rules = rules
        self._make_node = make_node
        self._budget = Budget(rules.max_tracked_shells)
        self._nodes: dict[NodeId, Node] = {}
        self._out = Output(rules)
        self._due: list[tuple[int, NodeId]] = []
        """A heap of (deadline, node). Each node with a deadline has an entry at or before it."""
        self._scheduled: dict[NodeId, int] = {}

    def unknown(self, record: Record) -> list[ShellId]:
        """The identities for which the store's memory is an argument of the next :meth:`feed`."""
        node = self._nodes.get(record.node) or self._make_node(
            record.node, self.rules, self._budget, self._out
        )
        try:
            return list(node.unknown(record))
        except Exception as error:
            raise NodeFailed(record.node, of_record=True) from error

    def is_vital(self, record: Record) -> bool:
        """Whether a record has to be journaled before it is answered: its loss could change what is told.

        Other threads may ask; the answer may be out of date.
        """
        node = self._nodes.get(record.node) or self._make_node(
            record.node, self.rules, self._budget, self._out
        )
        return node.is_vital(record)

    def is_explained(self, node_id: NodeId, sample: Sample) -> bool:
        """Whether the parent of a shell is known. Other threads may ask; the answer may be out of date."""
        node = self._nodes.get(node_id)
        return node is not None and node.is_explained(sample)

    def sought(self, node_id: NodeId) -> tuple[int, ...]:
        """Pids of a node whose processes no record held when they were needed. Other threads may ask."""
        node = self._nodes.get(node_id)
        return () if node is None else node.sought()

    def feed(self, arrival: Arrival, answers: Answers = _NO_ANSWERS) -> None:
        """Take one record, after the deadlines of its node up to its arrival."""
        node_id = arrival.record.node
        node = self._node(node_id)
        self._run(node_id, node, arrival.service_ns)
        try:
            node.feed(arrival, answers)
        except Exception as error:
            raise NodeFailed(node_id, of_record=True) from error
        self._schedule(node_id, node)

    def advance(self, now_ns: int) -> None:
        """Run the deadlines of all nodes up to a service time."""
        while self._due and self._due[0][0] <= now_ns:
            due_ns, node_id = heapq.heappop(self._due)
            if self._scheduled.get(node_id) != due_ns:
                continue
            del self._scheduled[node_id]
            node = self._nodes[node_id]
            self._run(node_id, node, now_ns)
            self._schedule(node_id, node)

    @staticmethod
    def _run(node_id: NodeId, node: Node, now_ns: int) -> None:
        try:
            node.advance(now_ns)
        except Exception as error:
            raise NodeFailed(node_id, of_record=False) from error

    def dump(self, node_id: NodeId) -> bytes | None:
        """The state of a node as one JSON value in UTF-8; ``None`` if it is not in memory."""
        node = self._nodes.get(node_id)
        return None if node is None else _encode(node.dump()).encode()

    def restore(self, node_id: NodeId, dumped: bytes, made_with: Rules | None = None) -> None:
        """Put a node, which is not in memory, into the state that :meth:`dump` gave.

        ``made_with`` are the rules of the detector that gave it, if they were others; if their windows had
        another length it must have finished before. Raises :class:`NodeFailed`.
        """
        node = self._make_node(node_id, self.rules, self._budget, self._out)
        try:
            node.load(json.loads(dumped), made_with or self.rules)
        except Exception as error:
            raise NodeFailed(node_id, of_record=False) from error
        self._nodes[node_id] = node
        self._schedule(node_id, node)

    def retell(self, shell_id: ShellId, now_ns: int) -> None:
        """Say again that a session opened, if it is open, with what is known of it by now."""
        node = self._nodes.get(shell_id.node)
        if node is not None:
            node.retell(shell_id, now_ns)

    def look(self, shell_id: ShellId) -> Look | None:
        """What is in memory of a shell; ``None`` if nothing is."""
        node = self._nodes.get(shell_id.node)
        return None if node is None else node.look(shell_id)

    def shells(self) -> Iterator[Identity]:
        """All identities in memory."""
        for node in self._nodes.values():
            yield from node.identities()

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

    def nodes(self) -> list[NodeId]:
        """Nodes in memory."""
        return list(self._nodes)

    def count_nodes(self) -> int:
        """How many nodes are in memory."""
        return len(self._nodes)

    def coverage(self, now_ns: int) -> list[NodeCoverage]:
        """How well each node in memory can be seen at a service time. Other threads may ask."""
        found = [node.coverage(now_ns) for node in list(self._nodes.values())]
        return [each for each in found if each is not None]

    def _node(self, node_id: NodeId) -> Node:
        node = self._nodes.get(node_id)
        if node is not None:
            return node
        if len(self._nodes) >= self.rules.max_nodes:
            idle = [(known.last_frame_ns, key) for key, known in self._nodes.items() if known.is_idle()]
            if not idle:
                # Its shells are told at once and not tracked: a node beyond the ceiling may cost no memory.
                self._out.count(Count.NODE_CEILING)
                return self._make_node(node_id, self.rules, Budget(0), self._out)
            forgotten = min(idle)[1]
            del self._nodes[forgotten]
            self._scheduled.pop(forgotten, None)
        node = self._make_node(node_id, self.rules, self._budget, self._out)
        self._nodes[node_id] = node
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
