"""The life of a session, as it is told: opened, ongoing, closed. Each step changes the shell and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector import evidence
from detector.sessions import State

if TYPE_CHECKING:
    from detector.ancestry import Ancestry
    from detector.output import Output
    from detector.rules import Rules
    from detector.sessions import Shell
    from detector.types import CloseReason
    from detector.windows import Window


class Telling:
    """Tells of the sessions of one node."""

    def __init__(self, rules: Rules, ancestry: Ancestry, out: Output) -> None:
        self._rules = rules
        self._ancestry = ancestry
        self._out = out
        self.first_ns = 0
        """Event time of the node's first scrape that is known."""

    def opened(self, shell: Shell, window: Window, release_ns: int) -> None:
        """Its first surviving window closed and was absorbed."""
        shell.state = State.OPEN
        span = shell.total.span(self._rules.window_ns)
        shell.notified(span.window_end_ns)
        self._explain(shell)
        self._out.opened(shell, span, release_ns, window.arrived_ns, self.first_ns)

    def opened_again(self, shell: Shell, release_ns: int) -> None:
        """It is open, and nobody was told."""
        self._explain(shell)
        self._out.opened(shell, shell.total.span(self._rules.window_ns), release_ns, 0, self.first_ns)

    def opened_early(self, shell: Shell, number: int, window: Window, release_ns: int) -> None:
        """A positive point came to a window that stays open."""
        shell.early_bin = number
        shell.state = State.OPEN
        shell.notified((number + 1) * self._rules.window_ns)
        self._out.opened_early(shell, window, release_ns, self.first_ns)

    def maybe_ongoing(self, shell: Shell, number: int, release_ns: int) -> None:
        """A surviving window of an open session closed; it is told if the last word is long ago."""
        end_ns = (number + 1) * self._rules.window_ns
        since = shell.since_notified
        if not since.windows or end_ns < shell.notified_end_ns + self._rules.renotify_ns:
            return
        shell.ordinal += 1
        shell.notified(end_ns)
        self._explain(shell)
        self._out.ongoing(shell, since, release_ns)

    def closed(self, shell: Shell, reason: CloseReason, release_ns: int) -> None:
        """It is over."""
        shell.state = State.CLOSED
        self._explain(shell)
        self._out.closed(shell, reason, release_ns)

    def _explain(self, shell: Shell) -> None:
        """Before something is told: a parent or an ancestor that came with another record counts now."""
        seen = evidence.resolve(shell.sightings)
        kin = self._ancestry.kin_of(seen)
        if kin is not None and kin != seen.kin:
            shell.saw(evidence.explain(shell.sightings, shell.sign_ns, kin))
