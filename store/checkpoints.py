"""Checkpoints and single values in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from detector.types import NodeId
from store import codec
from store.outbox import DAMAGED
from store.schema import CHECKPOINT, META
from store.seams import Checkpoint, Position
from telemetry import events as log
from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from store.database import Database, Row
    from store.dead import DeadTable

_SLICE: Final = 16
"""Checkpoints in memory at a time; one may have megabytes."""
_REPLACE: Final = CHECKPOINT.insert.replace("INSERT", "INSERT OR REPLACE", 1)
_REPLACE_META: Final = META.insert.replace("INSERT", "INSERT OR REPLACE", 1)


class CheckpointTable:
    """The newest checkpoint of each node."""

    def __init__(self, database: Database, dead: DeadTable) -> None:
        self._database = database
        self._dead = dead

    def put(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Keep checkpoints, or forget nodes; a part of a transaction."""
        for each in checkpoints:
            digest = codec.node_digest(each.node)
            if each.state is None:
                self._database.write("DELETE FROM checkpoint WHERE node = ?", digest)
                continue
            row = CHECKPOINT.stamp(digest, each.node.cluster, each.node.node, each.position, each.state)
            self._database.write(_REPLACE, *row)

    def read(self) -> Iterator[Checkpoint]:
        """See :meth:`store.seams.Journal.checkpoints`."""
        last = b""
        while rows := self._database.rows(
            "reading checkpoints", f"{CHECKPOINT.select} WHERE node > ? ORDER BY node LIMIT {_SLICE}", (last,)
        ):
            for row in rows:
                checkpoint = _checkpoint(row)
                if checkpoint is None:
                    self._give_up(row)
                else:
                    yield checkpoint
            last = rows[-1][0]

    def _give_up(self, row: Row) -> None:
        with self._database.transaction("setting a damaged checkpoint aside"):
            self.bury(row, DAMAGED)
        metrics.STORE_DAMAGED.labels(table="checkpoint").inc()
        log.STORE_ROWS_DAMAGED(table="checkpoint", rows=1)

    def bury(self, row: Row, reason: str) -> None:
        """Make a dead letter of a row; a part of a transaction."""
        node, _, _, _, body, _ = row
        self._dead.add("checkpoint", reason, body)
        self._database.write("DELETE FROM checkpoint WHERE node = ?", node)

    def bury_node(self, node: NodeId, reason: str) -> None:
        """Make a dead letter of a node's checkpoint, if it has one; a part of a transaction."""
        rows = self._database.rows(
            "reading checkpoints", f"{CHECKPOINT.select} WHERE node = ?", (codec.node_digest(node),)
        )
        for row in rows:
            self.bury(row, reason)

    def last_position(self) -> int:
        """The greatest position of a checkpoint; 0 if there is none."""
        [[last]] = self._database.rows("reading checkpoints", "SELECT max(position) FROM checkpoint")
        return last or 0


def _checkpoint(row: Row) -> Checkpoint | None:
    fields: tuple[Any, ...] | None = CHECKPOINT.intact(row)
    if fields is None:
        return None
    _, cluster, name, position, body = fields
    return Checkpoint(NodeId(cluster, name), Position(position), body)


class MetaTable:
    """Single values by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> str | None:
        """The value; ``None`` if there is none or it is damaged."""
        for row in self._database.rows("reading the state", f"{META.select} WHERE key = ?", (key,)):
            fields: tuple[Any, ...] | None = META.intact(row)
            if fields is not None:
                value: str = fields[1]
                return value
            metrics.STORE_DAMAGED.labels(table="meta").inc()
            log.STORE_ROWS_DAMAGED(table="meta", rows=1)
        return None

    def put(self, key: str, value: str) -> None:
        """Set a value; a part of a transaction."""
        self._database.write(_REPLACE_META, *META.stamp(key, value))
