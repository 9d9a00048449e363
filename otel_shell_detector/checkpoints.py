"""When which node is checkpointed, so that the journal stays short and no turn takes long.

A node without entries in the journal since its checkpoint needs none. The others wait in the order of their
first such entry; the first in line is checkpointed when that entry is a minute old, or when the journal has
grown too long: longer than all checkpoints together, so that these do not double what is written. A slice
has a time to keep: what is left of it waits for the next turn. The journal may be trimmed before the entry
that the first in line waits with.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from store.seams import Checkpoint, Position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from detector.detector import Detector
    from detector.types import NodeId

EVERY_NS: Final = 60_000_000_000
MAX_JOURNAL_BYTES: Final = 64 * 1024 * 1024
"""Beyond it, and the size of all checkpoints, nodes are checkpointed before their minute is over. Reading it
takes a restart a few seconds."""
SLICE_NS: Final = 20_000_000
"""How long a turn may take for them; a fraction of what an answer may take."""


class Checkpoints:
    """The line of nodes. ``clock`` is monotonic, in ns."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._waiting: OrderedDict[NodeId, tuple[Position, int]] = OrderedDict()
        self._sizes: dict[NodeId, int] = {}
        """Bytes of each node's checkpoint."""
        self._size = 0
        self._end = Position(0)

    def note(self, position: Position, node: NodeId) -> None:
        """An entry of the journal was fed."""
        self._end = Position(position + 1)
        if node not in self._waiting:
            self._waiting[node] = (position, self._clock())

    def pass_by(self, position: Position) -> None:
        """An entry of the journal needed no feeding."""
        self._end = Position(position + 1)

    def replaced(self, node: NodeId, size: int) -> None:
        """The checkpoint of a node has a new size; 0 if there is none any more."""
        self._size += size - self._sizes.pop(node, 0)
        if size:
            self._sizes[node] = size

    def require(self, nodes: Iterable[NodeId]) -> None:
        """Let these nodes wait for a checkpoint though nothing of them was fed."""
        for node in nodes:
            self._waiting.setdefault(node, (self._end, self._clock()))

    def trim_before(self) -> Position:
        """Entries before it are covered by checkpoints."""
        return next(iter(self._waiting.values()))[0] if self._waiting else self._end

    def slice(
        self, detector: Detector, journal_bytes: int, *, everything: bool = False, for_ns: int = SLICE_NS
    ) -> tuple[Checkpoint, ...]:
        """Checkpoints that are due, as many as the time allows; with ``everything`` all are due.

        They cover every entry that was noted. Commit them before anything else is fed.
        """
        begun_ns = now_ns = self._clock()
        made: list[Checkpoint] = []
        hurry = everything or journal_bytes > max(MAX_JOURNAL_BYTES, self._size)
        while self._waiting and now_ns - begun_ns <= for_ns:
            node, (_, since_ns) = next(iter(self._waiting.items()))
            if not hurry and now_ns - since_ns < EVERY_NS:
                break
            state = detector.dump(node)
            made.append(Checkpoint(node, self._end, state))
            self.replaced(node, len(state or b""))
            del self._waiting[node]
            now_ns = self._clock()
        return tuple(made)
