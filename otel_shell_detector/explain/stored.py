"""Explaining from the inside of a service that runs, or of the state that one left.

A session that is open is known well: evidence, windows, the notes of the judge. Of one that has closed there
is a row by the digest of its identity, so it is found by its events alone, while they are here. What is not
here any more is said.

Nothing is changed, and each look is a short one (:class:`otel_shell_detector.explain.inside.Inspect`).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

from detector.identity import event_id, session_id
from detector.looking import opening_of
from detector.policy import FIELDS
from detector.types import NANOSECONDS, Kind
from otel_shell_detector.explain import grading
from otel_shell_detector.explain.asked import MOST_SHELLS, NotFoundError
from otel_shell_detector.explain.document import (
    OPAQUE,
    evidence_of,
    of_means,
    of_shell,
    of_window,
    when,
)
from otel_shell_detector.explain.ends import Ends
from otel_shell_detector.explain.journaled import samples_of
from otel_shell_detector.explain.undelivered import Kept, kept, shell_of
from store.seams import StoreDamaged, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from detector.looking import Identity, Look, OpenWindow
    from detector.types import CloseReason, Finding, SessionRow, ShellId, Span
    from otel_shell_detector.explain.asked import Asked
    from otel_shell_detector.explain.document import Json
    from otel_shell_detector.explain.inside import Inside, Inspect

_Answer = TypeVar("_Answer")

_MOST_ONGOING: Final = 20
"""Of the latest ongoing events that are listed."""
_MOST_INCARNATIONS: Final = 10
"""Of the latest incarnations whose ids are tried."""
_MOST_ORDINALS: Final = 1_000
"""Of the latest ongoing events whose ids are tried: six weeks of a session."""
_MOST_TOLD: Final = 20
"""Of the first, and of the last intervals of counted windows that are kept."""

_SHOWN: Final = (frozenset(FIELDS) - OPAQUE) | {"graded_by", "policy.rule", "repeated", "capped_score"}
"""Of the fields of an event: what is known of a shell, and how it was scored."""
_NOT_HERE: Final = "delivered, or deleted"
_SEARCHED: Final = (
    "open sessions, the first 1000 events that wait in each lane, dead letters; "
    "for others give the captures (FILE...)"
)


def explain_state(asked: Asked, inspect: Inspect) -> Json:
    """The document of what is asked for. Raises :class:`NotFoundError` and what ``inspect`` raises."""
    look = _guarded(inspect)
    store_id = look(lambda inside: inside.bench.rules.store_id)
    events = list(kept(look, lambda event: _is_wanted(event, asked)))
    shells = _in_memory(asked, look(lambda inside: list(inside.detector.shells())), store_id)
    shells += [shell for each in events if (shell := shell_of(each.event)) is not None]
    shells = list(dict.fromkeys(shells))
    if not shells:
        reports = [dict(each.event) for each in events if each.event.get("event_id") == asked.id]
        if reports:
            return {"report": _plain(reports[0])}
        raise NotFoundError(f"no {asked} among what is here: {_SEARCHED}")
    if len(shells) > 1:
        return _listed(shells, look)
    return _document(shells[0], look)


def _guarded(inspect: Inspect) -> Inspect:
    """The same, but a defect of this program is raised here and not where it would end the service."""

    def run(work: Callable[[Inside], _Answer]) -> _Answer:
        def within(inside: Inside) -> tuple[list[_Answer], Exception | None]:
            try:
                return [work(inside)], None
            except (StoreError, StoreDamaged):
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, it is not the core's
                return [], error

        answers, error = inspect(within)
        if error is not None:
            raise error
        return answers[0]

    return run


# --- who is meant


def _is_wanted(event: Mapping[str, Any], asked: Asked) -> bool:
    if asked.id is not None:
        return asked.id in {event.get("event_id"), event.get("session_id")}
    names = {None, event.get("k8s.node.name"), event.get("host.name")}
    return event.get("process.pid") == asked.pid and asked.node in names


def _in_memory(asked: Asked, known: Sequence[Identity], store_id: str) -> list[ShellId]:
    if asked.id is None:
        return [each.shell for each in known if asked.is_of(each.shell)]
    return [each.shell for each in known if asked.id in _ids(each, store_id)]


def _ids(of: Identity, store_id: str) -> Iterator[str]:
    for incarnation in range(max(0, of.incarnation - _MOST_INCARNATIONS), of.incarnation + 1):
        yield session_id(store_id, of.shell, incarnation)
        for kind in (Kind.OPENED, Kind.CLOSED):
            yield event_id(store_id, of.shell, incarnation, kind, 0)
    for ordinal in range(max(1, of.ordinal - _MOST_ORDINALS), of.ordinal + 1):
        yield event_id(store_id, of.shell, of.incarnation, Kind.ONGOING, ordinal)


def _listed(shells: Sequence[ShellId], look: Inspect) -> Json:
    newest = sorted(shells, key=lambda shell: (shell.start_ns, shell.node))[-MOST_SHELLS:]
    return {
        "shells": look(lambda inside: [_line(inside, shell) for shell in newest]),
        "shells_cut": len(shells) > MOST_SHELLS,
    }


def _line(inside: Inside, shell: ShellId) -> Json:
    known = _known(inside, shell)
    look, session = known.look, known.session_id()
    line = look.evidence.command_line if look is not None else None
    return of_shell(shell) | {
        "first_seen": when(look.span.first_ns) if look is not None and look.span is not None else None,
        "process.command_line": line.text if line else "",
        "session_ids": [] if session is None else [session],
    }


# --- one shell


@dataclass(frozen=True, slots=True)
class _Known:
    """What is in memory and in the store of a shell. ``incarnation``: ``None`` without a session."""

    shell: ShellId
    look: Look | None
    row: SessionRow | None
    store_id: str
    window_ns: int

    @property
    def incarnation(self) -> int | None:
        if self.look is not None and self.look.is_open:
            return self.look.incarnation
        return None if self.row is None else self.row.incarnation

    @property
    def reason(self) -> CloseReason | None:
        return None if self.row is None or (self.look is not None and self.look.is_open) else self.row.reason

    @property
    def ordinal(self) -> int:
        if self.look is not None and self.look.is_open:
            return self.look.ordinal
        return 0 if self.row is None else self.row.emitted

    def session_id(self) -> str | None:
        return None if self.incarnation is None else session_id(self.store_id, self.shell, self.incarnation)


def _known(inside: Inside, shell: ShellId) -> _Known:
    return _Known(
        shell,
        inside.detector.look(shell),
        inside.store.look_up([shell]).get(shell),
        inside.bench.rules.store_id,
        inside.detector.rules.window_ns,
    )


def _document(shell: ShellId, look: Inspect) -> Json:
    session = look(lambda inside: _known(inside, shell)).session_id()
    of_it = {session} - {None}
    events = list(
        kept(look, lambda event: event.get("session_id") in of_it or shell_of(event) == shell),
    )
    return look(lambda inside: _told(inside, shell, events)) | samples_of(shell, look)


def _told(inside: Inside, shell: ShellId, events: Sequence[Kept]) -> Json:
    """What one look finds of a shell."""
    known = _known(inside, shell)
    incarnation = known.incarnation
    if incarnation is None and events:  # its row is forgotten
        incarnation = events[-1].event.get("incarnation", 0)
    sessions = [] if incarnation is None else [_session(inside, known, incarnation, events)]
    open_windows = () if known.look is None else known.look.windows
    return {
        "shell": of_shell(shell),
        "sessions": sessions,
        "windows": [_window(each, known.window_ns, inside.now_ns) for each in open_windows],
        "gone": list(_gone(known.look, sessions)),
    }


def _session(inside: Inside, known: _Known, incarnation: int, events: Sequence[Kept]) -> Json:
    """What is known of the latest session."""
    by_id = {str(each.event["event_id"]): each for each in events}
    look, row = known.look, known.row
    session: Json = {
        "session_id": session_id(known.store_id, known.shell, incarnation),
        "incarnation": incarnation,
        "state": "closed" if known.reason else "open",
        "close_reason": known.reason.value if known.reason else None,
        "first_seen": None,
        "last_seen": when(row.last_seen_ns) if row is not None else None,
    }
    opening = None if look is None else opening_of(look, known.store_id)
    opened = by_id.get(event_id(known.store_id, known.shell, incarnation, Kind.OPENED, 0))
    if look is not None and opening is not None:
        session |= _graded(inside, opening, opened)
        session["counted"] = _counted(look, opening.span, known.window_ns)
    elif opened is not None:
        session |= _said(opened)
    silenced = session.get("result", {}).get("outcome") in {"suppressed", "folded"}
    session["events"] = [
        _event(kind, each, by_id.get(each), silenced=silenced)
        for kind, each in _events_of(known, incarnation)
    ]
    session["events_cut"] = max(0, known.ordinal - _MOST_ONGOING)
    return session


def _graded(inside: Inside, opening: Finding, event: Kept | None) -> Json:
    """How an open session was judged, as far as the notes and the event of its opening tell."""
    rules = inside.bench.rules
    novel = None if event is None else event.event.get("shell.novel")
    explained = inside.bench.explain(inside.store, opening, inside.now_ns, inside.wall_ns, known_novel=novel)
    known = novel is not None or (explained.silenced is not None and bool(explained.silenced.rule))
    return {
        "first_seen": when(opening.first_seen_ns),
        "last_seen": when(opening.last_seen_ns),
        "result": grading.standing_result(explained, rules),
        "counted_in": grading.standing_burst(explained, rules.store_id),
        "profile": grading.profile_of(explained, rules),
        "policy": grading.policy_of(explained, len(inside.bench.policy.rules)),
        "steps": grading.standing_steps(explained, rules, novel_is_known=known),
        "evidence": evidence_of(explained.finding, novel=explained.novel if known else None),
    }


def _said(opened: Kept) -> Json:
    """What the event of an opening says of it."""
    event = opened.event
    scored = {"object": event["risk_object"], "score": event["risk_score"], "lane": opened.lane}
    shown = {name: _shown(value) for name, value in event.items() if name in _SHOWN}
    return {
        "first_seen": when(_time_ns(event["first_seen"])),
        "result": {"outcome": "told", **scored},
        "evidence": shown,
    }


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _time_ns(seconds: Decimal | int) -> int:
    return int(Decimal(seconds) * NANOSECONDS)


def _events_of(known: _Known, incarnation: int) -> Iterator[tuple[Kind, str]]:
    def told(kind: Kind, ordinal: int = 0) -> tuple[Kind, str]:
        return kind, event_id(known.store_id, known.shell, incarnation, kind, ordinal)

    yield told(Kind.OPENED)
    for ordinal in range(max(1, known.ordinal - _MOST_ONGOING + 1), known.ordinal + 1):
        yield told(Kind.ONGOING, ordinal)
    if known.reason:
        yield told(Kind.CLOSED)


def _event(kind: Kind, told_id: str, found: Kept | None, *, silenced: bool) -> Json:
    told: Json = {"event_id": told_id, "kind": kind.value, "time": None, "lane": None, "score": None}
    if found is not None:
        at, score = when(_time_ns(found.event["orig_time"])), found.event["risk_score"]
        return told | {"time": at, "lane": found.lane, "score": score, "delivery": found.delivery}
    return told | {"delivery": "silenced" if silenced else _NOT_HERE}


def _counted(look: Look, span: Span, window_ns: int) -> Json:
    """The windows that have closed and counted."""
    told: Ends[tuple[int, int]] = Ends(_MOST_TOLD)
    for interval in look.told:
        told.add(interval)
    return {
        "windows": span.windows,
        "process.cpu.utilization": span.cpu,
        "process.cpu.utilization.total": span.cpu_total,
        "process.memory.utilization": span.memory,
        "intervals": [
            {"start": when(low * window_ns), "end": when((high + 1) * window_ns)} for low, high in told.kept
        ],
        "intervals_cut": told.cut,
    }


def _window(window: OpenWindow, window_ns: int, now_ns: int) -> Json:
    return {
        **of_window(window.number, window_ns),
        "points": len(window.points),
        **of_means(window.means),
        "closes_in_seconds": max(0, window.deadline_ns - now_ns) / NANOSECONDS,
        "left_out": "open" if window.survives else "open_not_positive",
    }


def _gone(look: Look | None, sessions: Sequence[Json]) -> Iterator[str]:
    """What an explanation from captures has, and this one has not."""
    if look is None:
        yield "evidence, windows and points of a session that has closed: its closed event has the sums"
        yield "how it was scored: its opened event says it (graded_by, policy.rule, risk_score)"
    elif sessions:
        yield "points of windows that have closed, but for those of the last minute or so: the sums hold them"
        yield "policy and counts as they were when it opened: those that are shown are of now"
    else:
        yield "windows that closed without a positive value: nothing is kept of them"
    events = [each for session in sessions for each in session["events"]]
    if any(each["delivery"] == _NOT_HERE for each in events):
        yield "events that were delivered: Splunk has them, by session_id"


def _plain(event: Mapping[str, Any]) -> Json:
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in event.items()}
