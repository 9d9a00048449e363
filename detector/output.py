"""What the detector says: findings, the rows to be remembered, and counts, gathered until a step is taken."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from detector import evidence
from detector.context import Placement
from detector.counts import Count
from detector.description import describe
from detector.identity import event_id, session_id, silence_id
from detector.points import means
from detector.tally import Tally
from detector.types import Finding, Kind, SessionRow, SilentNode, Step

if TYPE_CHECKING:
    from detector.coverage import Coverage
    from detector.rules import Rules
    from detector.sessions import Shell
    from detector.types import CloseReason, NodeId, ShellId, Span
    from detector.windows import Window

_KIND_ORDER: Final = {kind: rank for rank, kind in enumerate(Kind)}


class Output:
    """Findings since the last step."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._findings: list[Finding] = []
        self._rows: dict[ShellId, SessionRow] = {}
        self._counts: Counter[str] = Counter()
        self._blind: list[NodeId] = []
        self._silent: list[SilentNode] = []
        self._unplaced: list[NodeId] = []

    def count(self, what: Count, how_often: int = 1) -> None:
        """Count something."""
        if how_often:
            self._counts[what] += how_often

    def blind(self, node: NodeId) -> None:
        """A node sends no memory utilization: its idle shells cannot be seen."""
        self._blind.append(node)

    def placed(self, node: NodeId, coverage: Coverage, sightings: evidence.Sightings) -> None:
        """A tracked shell of these sightings was told; note where it runs."""
        seen = evidence.resolve(sightings)
        placement = seen.cgroup.placement if seen.cgroup else Placement.UNKNOWN
        self.count(Count(f"placement_{placement}"))
        if coverage.told(unplaced=placement is Placement.UNKNOWN, parentless=seen.kin is None):
            self._unplaced.append(node)

    def silent(
        self,
        node: NodeId,
        coverage: Coverage,
        release_ns: int,
        returned_ns: int | None = None,
    ) -> None:
        """A node fell silent or, with a scrape of ``returned_ns``, came back."""
        last_ns = coverage.last_scrape_ns()
        told_id = silence_id(
            self._rules.store_id, node, last_ns, coverage.silences, returned=returned_ns is not None
        )
        self._silent.append(SilentNode(told_id, node, coverage.host, last_ns, release_ns, returned_ns))

    def row(self, shell: ShellId) -> SessionRow | None:
        """What is to be remembered of an identity but was not taken yet."""
        return self._rows.get(shell)

    def opened(self, shell: Shell, span: Span, release_ns: int, arrived_ns: int, node_first_ns: int) -> None:
        """A session opened with the close of its first surviving window."""
        self._tell(
            shell,
            Kind.OPENED,
            span,
            shell.total.first_envelope_ns,
            release_ns,
            arrived_ns=arrived_ns,
            node_first_ns=node_first_ns,
        )

    def opened_early(self, shell: Shell, window: Window, release_ns: int, node_first_ns: int) -> None:
        """A session opened at its first positive point; its window is still open."""
        tally = Tally()
        tally.add(means(window.points), window.first, window.last)
        span = tally.span(self._rules.window_ns)
        self._tell(
            shell,
            Kind.OPENED,
            span,
            window.first[1],
            release_ns,
            seen=tally,
            sightings=window.sightings,
            partial=True,
            arrived_ns=window.arrived_ns,
            node_first_ns=node_first_ns,
        )

    def ongoing(self, shell: Shell, tally: Tally, release_ns: int) -> None:
        """A session is still open; ``tally`` covers the time since the last notification."""
        span = tally.span(self._rules.window_ns)
        self._tell(shell, Kind.ONGOING, span, tally.first_envelope_ns, release_ns)

    def closed(self, shell: Shell, reason: CloseReason, release_ns: int) -> None:
        """A session closed."""
        span = shell.total.span(self._rules.window_ns)
        self._tell(shell, Kind.CLOSED, span, shell.total.last_envelope_ns, release_ns, reason=reason)

    def take(self) -> Step:
        """Everything since the last call, findings in order of output."""
        step = Step(
            findings=tuple(sorted(self._findings, key=_order)),
            rows=tuple(self._rows.values()),
            counts=dict(self._counts),
            blind_nodes=tuple(self._blind),
            silent_nodes=tuple(sorted(self._silent, key=_silence_order)),
            unplaced_nodes=tuple(self._unplaced),
        )
        self._findings.clear()
        self._rows.clear()
        self._counts.clear()
        self._blind.clear()
        self._silent.clear()
        self._unplaced.clear()
        return step

    def _tell(  # noqa: PLR0913  one place where a finding is put together; every argument is a part of it
        self,
        shell: Shell,
        kind: Kind,
        span: Span,
        envelope_ns: int,
        release_ns: int,
        *,
        seen: Tally | None = None,
        sightings: evidence.Sightings | None = None,
        reason: CloseReason | None = None,
        partial: bool = False,
        arrived_ns: int = 0,
        node_first_ns: int = 0,
    ) -> None:
        rules = self._rules
        total = seen or shell.total
        # The close of a session has one id, however many notifications came before it.
        ordinal = shell.ordinal if kind is Kind.ONGOING else 0
        seen_of_it = evidence.resolve(shell.sightings if sightings is None else sightings)
        self._findings.append(
            Finding(
                event_id=event_id(rules.store_id, shell.id, shell.incarnation, kind, ordinal),
                session_id=session_id(rules.store_id, shell.id, shell.incarnation),
                kind=kind,
                shell=shell.id,
                incarnation=shell.incarnation,
                ordinal=ordinal,
                span=span,
                first_seen_ns=total.first_ns,
                last_seen_ns=total.last_ns,
                envelope_ns=envelope_ns,
                evidence=seen_of_it,
                reason=reason,
                partial=partial,
                release_ns=release_ns,
                arrived_ns=arrived_ns,
                context=describe(shell.id.name, seen_of_it),
                node_first_ns=node_first_ns,
            )
        )
        self._rows[shell.id] = SessionRow(
            shell.id, shell.incarnation, shell.ordinal, max(total.last_ns, shell.last_told_ns(rules)), reason
        )


def _order(finding: Finding) -> tuple[int, int, str, str, int, int, int]:
    shell = finding.shell
    return (
        finding.release_ns,
        finding.span.window_end_ns,
        shell.node.cluster,
        shell.node.node,
        shell.pid,
        shell.start_ns,
        _KIND_ORDER[finding.kind],
    )


def _silence_order(told: SilentNode) -> tuple[int, NodeId]:
    return told.release_ns, told.node
