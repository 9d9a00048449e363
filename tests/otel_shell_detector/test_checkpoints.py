"""Which nodes are checkpointed in a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.detector import Detector
from detector.rules import Rules
from detector.types import Arrival, NodeId
from otel_shell_detector import checkpoints
from otel_shell_detector.checkpoints import Checkpoints
from store.seams import Position
from tests.detector.world import record, sample

if TYPE_CHECKING:
    import pytest

NODES = [NodeId("prod", f"worker-{number}") for number in range(3)]


class Line:
    """Three nodes that wait for a checkpoint; a clock that goes on by a millisecond when it is read."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.line = Checkpoints(self._read)
        self.detector = Detector(Rules())
        for position, node in enumerate(NODES):
            self.detector.feed(Arrival(record(1, sample(1), node=node), 0, 0))
            self.line.note(Position(position), node)

    def _read(self) -> int:
        self.now_ns += 1_000_000
        return self.now_ns

    def slice(self, journal_bytes: int = 0, for_ns: int = checkpoints.SLICE_NS) -> list[NodeId]:
        return [each.node for each in self.line.slice(self.detector, journal_bytes, for_ns=for_ns)]

    def size(self) -> int:
        return sum(len(self.detector.dump(node) or b"") for node in NODES)


def test_a_node_waits_for_a_minute_and_then_for_its_turn() -> None:
    line = Line()
    assert line.slice() == []
    line.now_ns += checkpoints.EVERY_NS
    assert line.slice(for_ns=1_500_000) == NODES[:2]
    assert line.line.trim_before() == 2
    assert line.slice() == NODES[2:]
    assert line.line.trim_before() == 3


def test_a_long_journal_makes_nodes_wait_no_more_unless_their_checkpoints_are_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoints, "MAX_JOURNAL_BYTES", 100)
    line = Line()
    assert line.size() > 1000
    assert line.slice(journal_bytes=100) == []
    # None has a checkpoint yet, so there is nothing that could be longer.
    assert line.slice(journal_bytes=101) == NODES
    for position, node in enumerate(NODES, 3):
        line.line.note(Position(position), node)
    assert line.slice(journal_bytes=line.size()) == []
    assert line.slice(journal_bytes=line.size() + 1) == NODES


def test_a_checkpoint_that_is_no_more_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MAX_JOURNAL_BYTES", 100)
    line = Line()
    line.line.replaced(NODES[0], 1000)
    gone = NodeId("prod", "gone")
    line.line.replaced(gone, 500)
    assert line.slice(journal_bytes=1500) == []
    line.line.replaced(gone, 0)
    assert line.slice(journal_bytes=1001) == NODES
