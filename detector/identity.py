"""Who a shell is: ids, and start times corrected for a shifted boot time.

The collector computes a process's start from the boot time, which an agent process reads once, and the
kernel's ticks. After a step of the node's clock a new agent process shifts the starts of every process of the
node by the same amount. pid 1 shows by how much.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Final

from detector.rules import START_TOLERANCE_NS

if TYPE_CHECKING:
    from detector.types import Kind, NodeId, ShellId

NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "otel-shell-detector")


def _uuid(*parts: str | int) -> str:
    # JSON keeps ("a", "b,c") and ("a,b", "c") apart, whatever a node is named.
    return str(uuid.uuid5(NAMESPACE, json.dumps(parts, ensure_ascii=True)))


def session_id(store_id: str, shell: ShellId, incarnation: int) -> str:
    """The UUID (version 5) of a session: of one incarnation of an identity."""
    return _uuid(store_id, *_identity(shell), incarnation)


def event_id(store_id: str, shell: ShellId, incarnation: int, kind: Kind, ordinal: int) -> str:
    """The UUID (version 5) of a finding."""
    return _uuid(store_id, *_identity(shell), incarnation, kind.value, ordinal)


def silence_id(store_id: str, node: NodeId, last_scrape_ns: int, ordinal: int, *, returned: bool) -> str:
    """The UUID (version 5) of a node's silence since a scrape, or of its end.

    ``ordinal`` counts the node's silences: its clock may stand still. No service time, which a crash shifts.
    """
    kind = "node_returned" if returned else "node_silent"
    return _uuid(store_id, node.cluster, node.node, last_scrape_ns, ordinal, kind)


def _identity(shell: ShellId) -> tuple[str | int, ...]:
    return (shell.node.cluster, shell.node.node, shell.host, shell.pid, shell.start_ns, shell.name)


class BootTime:
    """What pid 1's start time tells of a node's boot time."""

    __slots__ = ("_first_ns", "_last_ns")

    def __init__(self) -> None:
        self._first_ns = 0
        self._last_ns = 0

    def see(self, init_start_ns: int) -> None:
        """Take the start of pid 1 that a request held; 0 if it held none."""
        if init_start_ns:
            self._first_ns = self._first_ns or init_start_ns
            self._last_ns = init_start_ns

    def knows(self, init_start_ns: int) -> bool:
        """Whether :meth:`see` of that start would change nothing."""
        return init_start_ns in {0, self._last_ns}

    def dump(self) -> list[int]:
        """The state, for a checkpoint."""
        return [self._first_ns, self._last_ns]

    def load(self, dumped: list[int]) -> None:
        """Take what :meth:`dump` gave."""
        self._first_ns, self._last_ns = dumped

    def correct(self, start_ns: int, init_start_ns: int) -> int:
        """The start as it would have been reported at first sight of the node; 0 stays 0.

        ``init_start_ns`` is that of the request, 0 if it held none: then the node's last known counts.
        """
        current = init_start_ns or self._last_ns
        shift = current - (self._first_ns or current)
        if start_ns == 0 or abs(shift) <= START_TOLERANCE_NS:
            return start_ns
        return start_ns - shift
