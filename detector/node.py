"""One node: from samples and service time to findings.

Everything that a finding depends on is here, and nothing of another node is. Deadlines that are due are run
before a sample is fed, in the order of their time; at one time windows close first, then sessions whose shell
is gone, then those of a silent node.

A shell is gone when the three scrapes of the node that came in last are later than its last sign of life, and
this has held for 60 s of service time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detector.ancestry import Ancestry, as_process
from detector.blindness import Blindness
from detector.counts import Count
from detector.coverage import Coverage, scrape_ns
from detector.identity import BootTime
from detector.looking import Identity, Look, look_at
from detector.points import invalid_reason, sign_of_life, valid_points
from detector.progress import Progress
from detector.rules import EXIT_HOLD_NS, Rules
from detector.sessions import Shell, State
from detector.shells import Shells
from detector.telling import Telling
from detector.types import CloseReason, NodeId, Point, Record, Sample, SessionRow, ShellId
from detector.windows import OpenBins, Window

if TYPE_CHECKING:
    from detector import evidence
    from detector.budget import Budget
    from detector.context import Process
    from detector.coverage import NodeCoverage
    from detector.output import Output
    from detector.types import Arrival

_WINDOW, _EXIT, _SILENT_CLOSE, _SILENT = range(4)
"""What is due, in the order in which it is run at one time."""

Answers = Mapping[ShellId, SessionRow]
"""What the store remembers of identities that are not in memory."""


@dataclass(frozen=True, slots=True)
class Fed:
    """A record that is being fed, with what the store remembers, and all its processes by pid."""

    arrival: Arrival
    answers: Answers
    processes: Mapping[int, Process]


class Node:
    """The state of one node."""

    def __init__(self, node: NodeId, rules: Rules, budget: Budget, out: Output) -> None:
        self._id = node
        self._rules = rules
        self._out = out
        self._boot = BootTime()
        self._progress = Progress(rules.window_ns)
        self._shells = Shells(budget)
        self._bins = OpenBins()
        self._blindness = Blindness()
        self._ancestry = Ancestry()
        self._coverage = Coverage()
        self._telling = Telling(rules, self._ancestry, out)
        self._ran_ns = 0
        self.last_frame_ns = 0

    # --- what is known

    def is_idle(self) -> bool:
        """Whether nothing would be lost but the node's boot time and coverage if it were forgotten."""
        return not self._shells and not self._bins

    def open_sessions(self) -> int:
        """How many sessions are open."""
        return sum(shell.state is State.OPEN for shell in self._shells)

    def identities(self) -> Iterator[Identity]:
        """The shells that are in memory."""
        return (Identity(shell.id, shell.incarnation, shell.ordinal) for shell in self._shells)

    def look(self, shell_id: ShellId) -> Look | None:
        """What is in memory of one of them."""
        shell = self._shells.get(shell_id)
        if shell is None:
            return None
        return look_at(shell, self._bins.of(shell), self._rules, self._telling.first_ns)

    def unknown(self, record: Record) -> Iterator[ShellId]:
        """The identities of a record for which the store must be asked before the record is fed."""
        for sample in record.samples:
            if any(point.value and invalid_reason(point) is None for point in sample.points):
                shell_id = self._identify(sample, record.init_start_ns)
                shell = self._shells.get(shell_id)
                # A candidate too: a deadline may end it before the record is fed. What becomes of an open
                # session by then is among the rows that were not taken yet.
                if shell is None or shell.state is not State.OPEN:
                    yield shell_id

    def is_vital(self, record: Record) -> bool:
        """Whether losing a record could change what is told, or has to be journaled before it is answered.

        A record without shells only shows that the node was scraped, and which boot time it has; or it holds
        processes that were asked for.
        """
        return bool(record.samples or record.processes) or not self._boot.knows(record.init_start_ns)

    def sought(self) -> tuple[int, ...]:
        """Pids of parents that no record held yet. Other threads may ask."""
        return self._ancestry.sought

    def is_explained(self, sample: Sample) -> bool:
        """Whether its parent is known already, or was looked for in vain. Other threads may ask."""
        shell = self._shells.get(self._identify(sample, 0))
        if shell is None:
            return False
        return shell.explained or self._ancestry.has_given_up(sample.parent_pid)

    def due_ns(self) -> int | None:
        """The earliest deadline (service time)."""
        return min((due for due, _ in self._deadlines()), default=None)

    def _deadlines(self) -> Iterator[tuple[int, int]]:
        """(time, rank) of what is due next; the rank orders what is due at one time."""
        window_due = self._bins.deadline_ns()
        if window_due is not None:
            yield window_due, _WINDOW
        gone = next((since for shell, since in self._shells.absences() if self._may_exit(shell)), None)
        if gone is not None:
            yield gone + EXIT_HOLD_NS, _EXIT
        # While a window is open there may be candidates; without one every shell here is an open session.
        if self._shells and not self._bins:
            yield self.last_frame_ns + self._rules.horizon_ns, _SILENT_CLOSE
        if self._coverage.silent is False:
            yield self.last_frame_ns + self._coverage.silent_after_ns, _SILENT

    def _may_exit(self, shell: Shell) -> bool:
        """Whether an absent shell's session may close: not before its open evidence is counted."""
        return shell.state is State.OPEN and not self._bins.hold_evidence_of(shell)

    # --- checkpoints

    def dump(self) -> dict[str, Any]:
        """Everything that was not handed in, as JSON has it."""
        return {
            "boot": self._boot.dump(),
            "progress": self._progress.dump(),
            "blindness": self._blindness.without_memory,
            "ancestry": self._ancestry.dump(),
            "coverage": self._coverage.dump(),
            "first_ns": self._telling.first_ns,
            "ran_ns": self._ran_ns,
            "last_frame_ns": self.last_frame_ns,
            **self._shells.dump(),
            "bins": self._bins.dump(self._shells.numbers()),
        }

    def load(self, dumped: dict[str, Any], made_with: Rules) -> None:
        """Take what :meth:`dump` gave under rules ``made_with``, as a new node. Raises on any other value.

        If their windows have another length, no window may be open.
        """
        self._boot.load(dumped["boot"])
        self._progress.load(dumped["progress"], made_with.window_ns)
        self._blindness = Blindness(dumped["blindness"])
        self._ancestry.load(dumped["ancestry"])
        self._coverage.load(dumped.get("coverage"))
        self._telling.first_ns = dumped["first_ns"]
        self._ran_ns, self.last_frame_ns = dumped["ran_ns"], dumped["last_frame_ns"]
        shells = self._shells.load(self._id, dumped)
        self._bins.load(dumped["bins"], shells)
        if (made_with.window_ns, made_with.horizon_ns) != (self._rules.window_ns, self._rules.horizon_ns):
            for shell in shells:
                shell.rebase(made_with, self._rules)

    # --- time

    def advance(self, now_ns: int) -> None:
        """Run every deadline up to a service time."""
        while True:
            due_ns, rank = min(self._deadlines(), default=(now_ns + 1, _WINDOW))
            if due_ns > now_ns:
                return
            # What had to wait for a window is released with it, not before what that window tells.
            due_ns = self._ran_ns = max(due_ns, self._ran_ns)
            if rank == _WINDOW:
                for number, item in self._bins.close_due():
                    self._close_bin(number, item.windows, due_ns)
            elif rank == _EXIT:
                gone = [shell for shell, since in self._shells.absences() if since + EXIT_HOLD_NS <= due_ns]
                for shell in filter(self._may_exit, gone):
                    self._close(shell, CloseReason.EXITED, due_ns)
            elif rank == _SILENT_CLOSE:
                self._close_everything(CloseReason.NODE_SILENT, due_ns)
            else:
                self._coverage.fall_silent()
                self._out.silent(self._id, self._coverage, due_ns)

    def finish(self, *, close_sessions: bool) -> None:
        """End of input: every open window closes; sessions stay open unless told otherwise."""
        for number, item in self._bins.close_all():
            self._close_bin(number, item.windows, self.last_frame_ns)
        if close_sessions:
            self._close_everything(CloseReason.END_OF_CAPTURE, self.last_frame_ns)

    # --- samples

    def feed(self, arrival: Arrival, answers: Answers) -> None:
        """Take a record, after the deadlines up to its arrival. Arrivals never go back in service time."""
        self.advance(arrival.service_ns)
        record = arrival.record
        if self._coverage.silent:
            self._out.silent(self._id, self._coverage, arrival.service_ns, scrape_ns(record))
        self._coverage.note(record)
        self.last_frame_ns = arrival.service_ns
        self._boot.see(record.init_start_ns)
        self._telling.first_ns = self._telling.first_ns or min(record.times_ns, default=0)
        processes = {each.pid: each for each in (*map(as_process, record.samples), *record.processes)}
        self._ancestry.learn(processes.values())
        fed = Fed(arrival, answers, processes)
        shells = [self._feed_sample(sample, fed) for sample in record.samples]
        touched = [shell for shell in shells if shell is not None]
        self._follow(record, touched, arrival.service_ns)

    def _identify(self, sample: Sample, init_start_ns: int) -> ShellId:
        start_ns = self._boot.correct(sample.start_ns, init_start_ns)
        return ShellId(self._id, sample.host, sample.pid, start_ns, sample.name)

    def _feed_sample(self, sample: Sample, fed: Fed) -> Shell | None:
        if self._blindness.found(sample):
            self._out.blind(self._id)
        valid = valid_points(sample.points, self._out.count)
        positive = any(point.value for point in valid)
        shell_id = self._identify(sample, fed.arrival.record.init_start_ns)
        if shell_id.start_ns != sample.start_ns:
            self._out.count(Count.START_CORRECTED)
        shell = self._shells.get(shell_id)
        if shell is None:
            shell = Shell(shell_id)
            if not self._shells.add(shell):
                self._tell_untracked(shell, sample, valid, fed)
                return None
        if positive and not shell.recalled:
            shell.recall(self._out.row(shell_id) or fed.answers.get(shell_id))
        self._add_points(shell, shell.sighting(sample, self._ancestry, fed.processes), valid, fed.arrival)
        sign_ns = sign_of_life(sample, valid)
        shell.sign_ns = max(shell.sign_ns, sign_ns)
        if self._rules.early and positive and shell.state is State.CANDIDATE:
            self._open_early(shell, valid, fed.arrival)
        self._forget_if_empty(shell)
        return shell

    def _add_points(
        self, shell: Shell, seen: evidence.Sighting | None, valid: list[Point], arrival: Arrival
    ) -> None:
        by_bin: dict[int, list[Point]] = {}
        for point in valid:
            by_bin.setdefault(point.time_ns // self._rules.window_ns, []).append(point)
        for number, points in by_bin.items():
            refused = self._bins.refusal(shell, number, self._rules)
            if refused is not None:
                self._out.count(refused, len(points))
                continue
            deadline_ns = arrival.service_ns + self._rules.window_ns + self._rules.lateness_ns
            windows = self._bins.open(number, deadline_ns).windows
            window = windows.get(shell)
            if window is None:
                window = windows[shell] = Window()
                shell.open_windows += 1
                self._out.count(Count.WINDOW_OPENED)
            conflicts = window.add(seen, points, arrival.wall_ns, shell.sightings)
            self._out.count(Count.POINT_CONFLICT, conflicts)

    # --- progress

    def _follow(self, record: Record, touched: list[Shell], now_ns: int) -> None:
        """Note which scrapes came in, and which shells they show to be absent."""
        changed = self._progress.note(record)
        if changed:
            self._ancestry.tire()
        bounds = self._progress.bounds()
        if bounds is None:
            return
        oldest, newest = bounds
        if changed:
            self._out.count(Count.CLOCK_WENT_BACK, self._shells.restart(newest, self._rules))
        # Candidates too: a session that opens late must not wait for the next scrape to be found absent.
        self._shells.mark(self._shells if changed else touched, oldest, self._rules.window_ns, now_ns)

    # --- coverage

    def coverage(self, now_ns: int) -> NodeCoverage | None:
        """How well the node can be seen at a service time. Other threads may ask."""
        known = self._coverage.silent is not None
        return self._coverage.of_node(self._id, now_ns - self.last_frame_ns) if known else None

    # --- sessions

    def _close_bin(self, number: int, windows: dict[Shell, Window], release_ns: int) -> None:
        confirmed = []
        for shell, window in windows.items():
            shell.open_windows -= 1
            if shell.state is State.CLOSED or not window.survives:
                self._out.count(Count.WINDOW_DROPPED)
                self._forget_if_empty(shell)
                continue
            self._out.count(Count.WINDOW_SURVIVED)
            if not shell.total.windows:
                confirmed.append(shell)
            shell.absorb(number, window, self._rules)
            if shell.state is State.CANDIDATE:
                self._telling.opened(shell, window, release_ns)
                self._out.placed(self._id, self._coverage, shell.sightings)
            else:
                self._telling.maybe_ongoing(shell, number, release_ns)
        # After all windows of the bin: that of the process which ended counts, whichever of the two comes
        # first here.
        if confirmed:
            for shell in self._shells.superseded({shell.id.pid for shell in confirmed}):
                self._close(shell, CloseReason.PID_REUSED, release_ns)

    def retell(self, shell_id: ShellId, release_ns: int) -> None:
        """Say again that a session opened, if it is open: nobody was told, and now somebody is to be."""
        shell = self._shells.get(shell_id)
        if shell is not None and shell.state is State.OPEN and shell.total.windows:
            self._telling.opened_again(shell, release_ns)

    def _open_early(self, shell: Shell, valid: list[Point], arrival: Arrival) -> None:
        """Open at the first positive point, with what its window, which stays open, holds so far."""
        positive_ns = min(point.time_ns for point in valid if point.value)
        number = positive_ns // self._rules.window_ns
        window = self._bins.window(number, shell)
        if window is None or not window.survives:
            return
        self._telling.opened_early(shell, number, window, arrival.service_ns)
        self._out.placed(self._id, self._coverage, window.sightings)

    def _close_everything(self, reason: CloseReason, release_ns: int) -> None:
        for shell in list(self._shells):
            self._close(shell, reason, release_ns)

    def _close(self, shell: Shell, reason: CloseReason, release_ns: int) -> None:
        self._telling.closed(shell, reason, release_ns)
        self._drop(shell)

    def _tell_untracked(self, shell: Shell, sample: Sample, valid: list[Point], fed: Fed) -> None:
        """Open and close a shell beyond the ceiling at once, from this sample alone."""
        shell.recall(self._out.row(shell.id) or fed.answers.get(shell.id))
        rules = self._rules
        fresh = [p for p in valid if self._bins.refusal(shell, p.time_ns // rules.window_ns, rules) is None]
        if not any(point.value for point in fresh):
            self._out.count(Count.POINT_UNTRACKED, len(valid))
            return
        window = Window()
        window.add(shell.sighting(sample, self._ancestry, fed.processes), fresh, fed.arrival.wall_ns)
        shell.absorb(window.first[0] // rules.window_ns, window, rules)
        self._telling.opened(shell, window, fed.arrival.service_ns)
        self._telling.closed(shell, CloseReason.UNTRACKED, fed.arrival.service_ns)

    # --- the container

    def _forget_if_empty(self, shell: Shell) -> None:
        if shell.state is not State.OPEN and not shell.open_windows:
            self._drop(shell)

    def _drop(self, shell: Shell) -> None:
        self._shells.drop(shell)
        if not self._shells:
            self._ancestry.forget()
