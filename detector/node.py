"""One node: from samples and service time to findings.

Everything that a finding depends on is here, and nothing of another node is. Deadlines that are due are run
before a sample is fed, in the order of their time; at one time windows close first, then sessions whose shell
is gone, then those of a silent node.

A shell is gone when the three scrapes of the node that came in last are later than its last sign of life, and
this has held for 60 s of service time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from detector.blindness import Blindness
from detector.counts import Count
from detector.identity import BootTime
from detector.points import invalid_reason
from detector.progress import Progress
from detector.rules import EXIT_HOLD_NS, MAX_OPEN_BINS, START_TOLERANCE_NS, Rules
from detector.sessions import Shell, State
from detector.types import CloseReason, Metric, NodeId, Point, Record, Sample, SessionRow, ShellId
from detector.windows import OpenBins, Window

if TYPE_CHECKING:
    from detector.budget import Budget
    from detector.output import Output
    from detector.types import Arrival

_NEVER_RESUMED: Final = frozenset({CloseReason.PID_REUSED, CloseReason.UNTRACKED})

Answers = Mapping[ShellId, SessionRow]
"""What the store remembers of identities that are not in memory."""


class Node:
    """The state of one node."""

    def __init__(self, node: NodeId, rules: Rules, budget: Budget, out: Output) -> None:
        self._id = node
        self._rules = rules
        self._budget = budget
        self._out = out
        self._boot = BootTime()
        self._progress = Progress(rules.window_ns)
        self._shells: dict[ShellId, Shell] = {}
        self._absent: dict[Shell, int] = {}
        """Since when (service time) an open session's shell is absent, in that order."""
        self._bins = OpenBins()
        self._blindness = Blindness()
        self._ran_ns = 0
        self.last_frame_ns = 0

    # --- what is known

    def is_idle(self) -> bool:
        """Whether nothing would be lost but the node's boot time if it were forgotten."""
        return not self._shells and not self._bins

    def open_sessions(self) -> int:
        """How many sessions are open."""
        return sum(shell.state is State.OPEN for shell in self._shells.values())

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

        A record without shells only shows that the node was scraped, and which boot time it has.
        """
        return bool(record.samples) or not self._boot.knows(record.init_start_ns)

    def due_ns(self) -> int | None:
        """The earliest deadline (service time)."""
        return min((due for due, _ in self._deadlines()), default=None)

    def _deadlines(self) -> Iterator[tuple[int, int]]:
        """(time, rank) of what is due next; the rank orders what is due at one time."""
        window_due = self._bins.deadline_ns()
        if window_due is not None:
            yield window_due, 0
        gone = next((since for shell, since in self._absent.items() if self._may_exit(shell)), None)
        if gone is not None:
            yield gone + EXIT_HOLD_NS, 1
        # While a window is open there may be candidates; without one every shell here is an open session.
        if self._shells and not self._bins:
            yield self.last_frame_ns + self._rules.horizon_ns, 2

    def _may_exit(self, shell: Shell) -> bool:
        """Whether an absent shell's session may close: not before its open evidence is counted."""
        return shell.state is State.OPEN and not self._bins.hold_evidence_of(shell)

    # --- checkpoints

    def dump(self) -> dict[str, Any]:
        """Everything that was not handed in, as JSON has it.

        A window of a session that has closed is left out: it changes nothing any more.
        """
        numbers = {shell: number for number, shell in enumerate(self._shells.values())}
        return {
            "boot": self._boot.dump(),
            "progress": self._progress.dump(),
            "blindness": self._blindness.without_memory,
            "ran_ns": self._ran_ns,
            "last_frame_ns": self.last_frame_ns,
            "shells": [shell.dump() for shell in self._shells.values()],
            "absent": [[numbers[shell], since_ns] for shell, since_ns in self._absent.items()],
            "bins": [
                [
                    number,
                    item.deadline_ns,
                    [
                        [numbers[shell], window.dump()]
                        for shell, window in item.windows.items()
                        if shell in numbers
                    ],
                ]
                for number, item in self._bins.items()
            ],
        }

    def load(self, dumped: dict[str, Any], made_with: Rules) -> None:
        """Take what :meth:`dump` gave under rules ``made_with``, as a new node. Raises on any other value.

        If their windows have another length, no window may be open.
        """
        self._boot.load(dumped["boot"])
        self._progress.load(dumped["progress"], made_with.window_ns)
        self._blindness = Blindness(dumped["blindness"])
        self._ran_ns, self.last_frame_ns = dumped["ran_ns"], dumped["last_frame_ns"]
        shells = [Shell.load(self._id, each) for each in dumped["shells"]]
        self._absent = {shells[number]: since_ns for number, since_ns in dumped["absent"]}
        for number, deadline_ns, windows in dumped["bins"]:
            item = self._bins.open(number, deadline_ns)
            for of, window in windows:
                item.windows[shells[of]] = Window.load(window)
                shells[of].open_windows += 1
        self._shells = {shell.id: shell for shell in shells}
        self._budget.used += len(self._shells)
        if (made_with.window_ns, made_with.horizon_ns) != (self._rules.window_ns, self._rules.horizon_ns):
            for shell in shells:
                shell.rebase(made_with, self._rules)

    # --- time

    def advance(self, now_ns: int) -> None:
        """Run every deadline up to a service time."""
        while True:
            due_ns, rank = min(self._deadlines(), default=(now_ns + 1, 0))
            if due_ns > now_ns:
                return
            # What had to wait for a window is released with it, not before what that window tells.
            due_ns = self._ran_ns = max(due_ns, self._ran_ns)
            if rank == 0:
                for number, item in self._bins.close_due():
                    self._close_bin(number, item.windows, due_ns)
            elif rank == 1:
                gone = [shell for shell, since in self._absent.items() if since + EXIT_HOLD_NS <= due_ns]
                for shell in filter(self._may_exit, gone):
                    self._close(shell, CloseReason.EXITED, due_ns)
            else:
                self._close_everything(CloseReason.NODE_SILENT, due_ns)

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
        self.last_frame_ns = arrival.service_ns
        self._boot.see(record.init_start_ns)
        touched = [
            shell
            for sample in record.samples
            if (shell := self._feed_sample(sample, arrival, answers)) is not None
        ]
        self._follow(record, touched, arrival.service_ns)

    def _identify(self, sample: Sample, init_start_ns: int) -> ShellId:
        start_ns = self._boot.correct(sample.start_ns, init_start_ns)
        return ShellId(self._id, sample.host, sample.pid, start_ns, sample.name)

    def _feed_sample(self, sample: Sample, arrival: Arrival, answers: Answers) -> Shell | None:
        if self._blindness.found(sample):
            self._out.blind(self._id)
        valid = self._evidence(sample)
        positive = any(point.value for point in valid)
        shell_id = self._identify(sample, arrival.record.init_start_ns)
        if shell_id.start_ns != sample.start_ns:
            self._out.count(Count.START_CORRECTED)
        shell = self._shells.get(shell_id)
        if shell is None:
            shell = Shell(shell_id)
            if self._budget.exhausted():
                self._tell_untracked(shell, sample, valid, arrival, answers)
                return None
            self._shells[shell_id] = shell
            self._budget.used += 1
        if positive and not shell.known:
            self._recall(shell, self._out.row(shell_id) or answers.get(shell_id))
        self._add_points(shell, sample, valid, arrival)
        sign_ns = _sign_of_life(sample, valid)
        shell.sign_ns = max(shell.sign_ns, sign_ns)
        if self._rules.early and positive and shell.state is State.CANDIDATE:
            self._open_early(shell, valid, arrival)
        self._forget_if_empty(shell)
        return shell

    def _evidence(self, sample: Sample) -> list[Point]:
        valid = []
        for point in sample.points:
            reason = invalid_reason(point)
            if reason is not None:
                self._out.count(reason)
                continue
            if point.metric is Metric.CPU and point.value is not None and point.value > 1:
                self._out.count(Count.POINT_CPU_ABOVE_ONE)
            valid.append(point)
        return valid

    @staticmethod
    def _recall(shell: Shell, row: SessionRow | None) -> None:
        """Apply what is remembered of the identity."""
        shell.known = True
        if row is None:
            return
        shell.floor_ns = row.last_seen_ns
        shell.incarnation = row.incarnation + 1
        if row.reason in _NEVER_RESUMED:
            shell.state = State.CLOSED

    def _add_points(self, shell: Shell, sample: Sample, valid: list[Point], arrival: Arrival) -> None:
        by_bin: dict[int, list[Point]] = {}
        for point in valid:
            by_bin.setdefault(point.time_ns // self._rules.window_ns, []).append(point)
        for number, points in by_bin.items():
            refused = self._refusal(shell, number)
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
            conflicts = window.add(sample, points, arrival.wall_ns, shell.sightings)
            self._out.count(Count.POINT_CONFLICT, conflicts)

    def _refusal(self, shell: Shell, number: int) -> Count | None:
        """Why a point of that bin changes nothing; ``None`` if it may be added."""
        if shell.state is State.CLOSED or shell.is_told(number, self._rules):
            return Count.POINT_LATE_CLOSED
        if shell.is_beyond_horizon(number, self._rules):
            return Count.POINT_LATE_HORIZON
        if number not in self._bins and len(self._bins) >= MAX_OPEN_BINS:
            return Count.POINT_WINDOW_CEILING
        return None

    # --- progress

    def _follow(self, record: Record, touched: list[Shell], now_ns: int) -> None:
        """Note which scrapes came in, and which shells they show to be absent."""
        changed = self._progress.note(record)
        bounds = self._progress.bounds()
        if bounds is None:
            return
        oldest, newest = bounds
        if changed:
            for shell in self._shells.values():
                if shell.went_back(newest, self._rules):
                    shell.restart_at(newest, self._rules)
                    self._out.count(Count.CLOCK_WENT_BACK)
        # Candidates too: a session that opens late must not wait for the next scrape to be found absent.
        for shell in self._shells.values() if changed else touched:
            if shell.state is State.CLOSED or shell.sign_ns // self._rules.window_ns >= oldest:
                self._absent.pop(shell, None)
            elif self._shells.get(shell.id) is shell:
                self._absent.setdefault(shell, now_ns)

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
                self._open(shell, release_ns, window)
            else:
                self._renotify(shell, number, release_ns)
        # After all windows of the bin: that of the process which ended counts, whichever of the two comes
        # first here.
        if confirmed:
            self._close_reused(confirmed, release_ns)

    def _open(self, shell: Shell, release_ns: int, window: Window) -> None:
        shell.state = State.OPEN
        span = shell.total.span(self._rules.window_ns)
        shell.notified(span.window_end_ns)
        self._out.opened(shell, span, release_ns, window.arrived_ns)

    def _open_early(self, shell: Shell, valid: list[Point], arrival: Arrival) -> None:
        """Open at the first positive point, with what its window, which stays open, holds so far."""
        positive_ns = min(point.time_ns for point in valid if point.value)
        number = positive_ns // self._rules.window_ns
        window = self._bins.window(number, shell)
        if window is None or not window.survives:
            return
        shell.early_bin = number
        shell.state = State.OPEN
        shell.notified((number + 1) * self._rules.window_ns)
        self._out.opened_early(shell, window, arrival.service_ns)

    def _renotify(self, shell: Shell, number: int, release_ns: int) -> None:
        end_ns = (number + 1) * self._rules.window_ns
        since = shell.since_notified
        if not since.windows or end_ns < shell.notified_end_ns + self._rules.renotify_ns:
            return
        shell.ordinal += 1
        shell.notified(end_ns)
        self._out.ongoing(shell, since, release_ns)

    def _close_reused(self, confirmed: list[Shell], release_ns: int) -> None:
        """A pid has one process at a time: of two sessions with starts apart the earlier one is over."""
        of_pid: dict[int, list[Shell]] = {shell.id.pid: [] for shell in confirmed}
        for shell in self._shells.values():
            if shell.id.start_ns and shell.id.pid in of_pid and shell.total.windows:
                of_pid[shell.id.pid].append(shell)
        for shells in of_pid.values():
            latest_ns = max((shell.id.start_ns for shell in shells), default=0)
            for shell in shells:
                if latest_ns - shell.id.start_ns > START_TOLERANCE_NS:
                    self._close(shell, CloseReason.PID_REUSED, release_ns)

    def _close_everything(self, reason: CloseReason, release_ns: int) -> None:
        for shell in list(self._shells.values()):
            self._close(shell, reason, release_ns)

    def _close(self, shell: Shell, reason: CloseReason, release_ns: int) -> None:
        shell.state = State.CLOSED
        self._out.closed(shell, reason, release_ns)
        self._drop(shell)

    def _tell_untracked(
        self,
        shell: Shell,
        sample: Sample,
        valid: list[Point],
        arrival: Arrival,
        answers: Answers,
    ) -> None:
        """Open and close a shell beyond the ceiling at once, from this sample alone."""
        self._recall(shell, self._out.row(shell.id) or answers.get(shell.id))
        fresh = [p for p in valid if self._refusal(shell, p.time_ns // self._rules.window_ns) is None]
        if not any(point.value for point in fresh):
            self._out.count(Count.POINT_UNTRACKED, len(valid))
            return
        window = Window()
        window.add(sample, fresh, arrival.wall_ns)
        shell.absorb(window.first[0] // self._rules.window_ns, window, self._rules)
        self._open(shell, arrival.service_ns, window)
        shell.state = State.CLOSED
        self._out.closed(shell, CloseReason.UNTRACKED, arrival.service_ns)

    # --- the container

    def _forget_if_empty(self, shell: Shell) -> None:
        if shell.state is not State.OPEN and not shell.open_windows:
            self._drop(shell)

    def _drop(self, shell: Shell) -> None:
        if self._shells.get(shell.id) is shell:
            del self._shells[shell.id]
            self._absent.pop(shell, None)
            self._budget.used -= 1


def _sign_of_life(sample: Sample, valid: list[Point]) -> int:
    """Event time at which the frame shows a living shell; 0 if it shows none (a zombie reports memory 0)."""
    positive = max((point.time_ns for point in valid if point.value), default=0)
    if positive:
        return positive
    return 0 if any(point.metric is Metric.MEMORY for point in valid) else sample.time_ns
