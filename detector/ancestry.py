"""Who started a shell: its chain of parents, out of the processes that came with it or were asked for.

The frames of a shell's ancestors are in the request that holds the shell, unless something split the scrape.
So most shells are explained by the record that shows them. A parent or an ancestor that is not in it is
*sought*: the receiver looks for its pid in the node's next requests, for some minutes, since looking costs a
search of each request. What it finds is kept until the node has no shell.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from detector.cgroup import read_cgroup
from detector.context import Cgroup, ContextBasis, Kin, Process
from detector.rules import START_TOLERANCE_NS
from detector.types import CommandLine, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from detector.types import Evidence

INIT: Final = 1
MAX_ANCESTORS: Final = 16
"""Names of ancestors that are kept: a chain of a real node has at most about ten."""
_MAX_SOUGHT: Final = 256
"""Pids of one node that are looked for, or were found, at a time."""
_PATIENCE: Final = 30
"""Bins with scrapes for which a pid is looked for: what splits a scrape, or sends a part of it again, takes
minutes at most. Who was in none of them is not sent at all."""


class Ancestry:
    """What is known of the processes of one node that started its shells."""

    def __init__(self) -> None:
        self._init_cgroup = ""
        self._left: dict[int, int] = {}
        """Sought pids that are not found, with the bins that are left to find them."""
        self._kept: dict[int, Process] = {}
        """Those that were found."""
        self.sought: tuple[int, ...] = ()
        """Pids to be looked for; replaced, never changed, for other threads read it."""

    def learn(self, processes: Iterable[Process]) -> None:
        """Take the processes that a record holds: those of its samples, and those beside them."""
        for process in processes:
            if process.pid == INIT and process.cgroup:
                self._init_cgroup = process.cgroup
            if process.pid in self._left or process.pid in self._kept:
                self._left.pop(process.pid, None)
                self._kept[process.pid] = process
                if process.parent_pid:
                    self._seek(process.parent_pid)
        self._publish()

    def tire(self) -> None:
        """A bin with a scrape of the node is over; who was looked for long enough is not sought any more."""
        self._left = {pid: max(left - 1, 0) for pid, left in self._left.items()}
        self._publish()

    def has_given_up(self, pid: int | None) -> bool:
        """Whether that pid was looked for in vain. Other threads may ask."""
        return self._left.get(pid or 0) == 0

    def cgroup(self, text: str) -> Cgroup | None:
        """What a process's cgroup says, seen from this node; ``None`` if there is none."""
        return read_cgroup(text, self._init_cgroup) if text else None

    def of_record(self, sample: Sample, known: Mapping[int, Process]) -> Kin | None:
        """The kin of a shell among its record's processes, by pid; who is missing is sought from now on."""
        kin = self._kin(sample.parent_pid, sample.start_ns, known, ContextBasis.SAME_REQUEST)
        if kin is None:
            if sample.parent_pid:
                self._seek(sample.parent_pid)
                self._publish()
            return None
        if kin.next_pid and kin.next_pid not in known:
            self._seek(kin.next_pid)
            self._publish()
        own = self.cgroup(sample.cgroup)
        if own is None or not own.container_id:
            return kin
        mates = (each for each in known.values() if self._is_in(each, own.container_id))
        older = any((each.start_ns, each.pid) < (sample.start_ns, sample.pid) for each in mates)
        return replace(kin, container_init=not older)

    def _is_in(self, process: Process, container_id: str) -> bool:
        found = self.cgroup(process.cgroup)
        return found is not None and found.container_id == container_id

    def kin_of(self, seen: Evidence) -> Kin | None:
        """The kin of a shell, with those that its records lacked and that were sought and found."""
        if seen.kin is not None:
            return self._completed(seen.kin)
        return self._kin(seen.parent_pid, seen.start_ns, self._kept, ContextBasis.EARLIER)

    def _completed(self, kin: Kin) -> Kin:
        more = self._kin(kin.next_pid, kin.next_before_ns, self._kept, kin.basis)
        if more is None:
            return kin
        names = (*kin.ancestors, *more.ancestors)[:MAX_ANCESTORS]
        is_full = len(names) == MAX_ANCESTORS
        return replace(
            kin,
            ancestors=names,
            next_pid=0 if is_full else more.next_pid,
            next_before_ns=0 if is_full else more.next_before_ns,
        )

    @staticmethod
    def _kin(pid: int | None, start_ns: int, known: Mapping[int, Process], basis: ContextBasis) -> Kin | None:
        chain: list[Process] = []
        while pid and len(chain) < MAX_ANCESTORS:
            process = known.get(pid)
            # A parent is older than its child; another process has its pid now.
            if process is None or (start_ns and process.start_ns > start_ns + START_TOLERANCE_NS):
                break
            chain.append(process)
            pid, start_ns = process.parent_pid, process.start_ns
        if not chain:
            return None
        names = tuple(each.name for each in chain)
        if not pid or len(chain) == MAX_ANCESTORS:
            return Kin(chain[0], names, basis)
        return Kin(chain[0], names, basis, next_pid=pid, next_before_ns=start_ns)

    def forget(self) -> None:
        """No shell of the node is left."""
        self._left = {}
        self._kept.clear()
        self._publish()

    def _seek(self, pid: int) -> None:
        known = pid in self._left or pid in self._kept
        if not known and len(self._left) + len(self._kept) < _MAX_SOUGHT:
            self._left[pid] = _PATIENCE

    def _publish(self) -> None:
        sought = tuple(pid for pid, left in self._left.items() if left)
        if sought != self.sought:
            self.sought = sought

    # --- checkpoints

    def dump(self) -> list[object]:
        """The state as JSON has it."""
        kept = [[pid, dump_process(process)] for pid, process in self._kept.items()]
        return [self._init_cgroup, kept, list(self._left.items())]

    def load(self, dumped: list[Any]) -> None:
        """Take what :meth:`dump` gave."""
        self._init_cgroup, kept, left = dumped
        self._kept = {pid: load_process(process) for pid, process in kept}
        self._left = dict(left)
        self._publish()


def as_process(sample: Sample) -> Process:
    """A shell as the ancestor of another one."""
    return Process(
        sample.pid, sample.start_ns, sample.name, sample.parent_pid, sample.command_line, sample.cgroup
    )


def dump_process(process: Process) -> list[object]:
    """A process as JSON has it."""
    line = process.command_line
    return [
        process.pid,
        process.start_ns,
        process.name,
        process.parent_pid,
        line and [line.text, line.length, line.sha256],
        process.cgroup,
    ]


def load_process(dumped: list[Any]) -> Process:
    """Take what :func:`dump_process` gave."""
    pid, start_ns, name, parent_pid, line, cgroup = dumped
    return Process(pid, start_ns, name, parent_pid, line and CommandLine(*line), cgroup)
