"""An explanation for people: at most 100 columns, the answer first, the numbers last.

Values are an attacker's to write in part; nothing gets through that a terminal acts on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_shell_detector.kinds import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from otel_shell_detector.explain.document import Json

WIDTH: Final = 100
_SHOWN: Final = 12
"""Of the first, and of the last windows and samples that are shown."""
_LINES: Final = 4
"""Of a long value; ``--json`` has all of it."""

_OUTCOMES: Final = {
    "told": "told",
    "folded": "not told: folded into a burst",
    "repeated": "not told: in a burst already",
    "suppressed": "not told: suppressed by a rule of the policy",
    "still_suppressed": "not told: suppressed by a rule of the policy",
}
_REASONS: Final = {
    "exited": "three scrapes of the node lay behind its last sign of life, for 60 s",
    "node_silent": "no process of the node was seen for detector.replay_horizon",
    "pid_reused": "another shell has its pid, with a later start",
    "untracked": "beyond detector.max_tracked_shells: opened and closed at once",
}
_FATES: Final = {
    "counted": "in a window",
    "repeated": "left out: the window had it already",
    "conflict": "the window had another value for it: the larger counts",
    "negative": "left out: below zero (a reused pid's first CPU point)",
    "nan": "left out: no number",
    "infinite": "left out: infinite",
    "out_of_range": "left out: above what is a utilization",
    "no_recorded_value": "left out: flagged as without a value",
    "no_time": "left out: without a time",
    "late_closed": "left out: its window, or its session, had closed",
    "late_horizon": "left out: older than detector.replay_horizon",
    "window_ceiling": "left out: the node has too many open windows",
    "untracked": "left out: the shell is beyond detector.max_tracked_shells",
    "no_utilization": "samples without a point of CPU or memory utilization: signs of life, no evidence",
    "no_sign_of_life": "samples that show no living shell (a zombie's memory is 0)",
}
_IN_WINDOW: Final = frozenset({"counted", "in_open_window"})
_LEFT_OUT: Final = {
    None: "counts",
    "not_positive": "no positive value",
    "session_closed": "session closed",
    "open": "open, will count",
    "open_not_positive": "open, no positive value yet",
}


def rendered(document: Json) -> str:
    """All lines."""
    lines = (line for text in _lines(document) for line in text.split("\n"))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _lines(document: Json) -> Iterator[str]:
    if "report" in document:
        yield from _report(document["report"])
    elif "shells" in document:
        yield from _shells(document)
    else:
        yield from _shell(document)


# --- several shells


def _report(event: Json) -> Iterator[str]:
    yield f"event {one_line(event['event_id'])} tells of {event.get('count', 0)} shells: {event['kind']}"
    yield ""
    for name, value in event.items():
        shown = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        yield from _pair(name, shown, 34)
    if event.get("session_ids"):
        yield ""
        yield "explain one of session_ids to see why a shell is counted here"


def _shells(document: Json) -> Iterator[str]:
    shells = document["shells"]
    cut = ", older ones left out" if document["shells_cut"] else ""
    yield f"{len(shells)} shells, the newest last{cut}; explain one of them by its session"
    for shell in shells:
        yield ""
        yield f"{_named(shell)}, started {shell['process.start_time'] or 'at an unknown time'}"
        yield from _pair("command", shell["process.command_line"] or "not known", 9)
        if not shell["session_ids"]:
            yield from _pair("session", "none: nothing positive was seen of it", 9)
        for session in shell["session_ids"]:
            yield from _pair("session", session, 9)


def _named(shell: Json) -> str:
    node = f"{shell['k8s.cluster.name']}/{shell['k8s.node.name']}"
    return one_line(f"{shell['process.executable.name']}, pid {shell['process.pid']} on {node}")


# --- one shell


def _shell(document: Json) -> Iterator[str]:
    shell = document["shell"]
    yield f"{_named(shell)} (host {one_line(shell['host.name'] or 'not known')})"
    yield f"started {shell['process.start_time'] or 'at an unknown time'}"
    sessions = document["sessions"]
    if not sessions:
        yield ""
        yield "It has no session: no window with a positive value was counted, so nothing was told."
    for session in sessions:
        yield ""
        yield from _session(session)
    yield from _cut(document.get("sessions_cut", 0), "sessions")
    yield from _points(document.get("points", {}))
    yield from _windows(document)
    yield from _samples(document)
    yield from _gone(document.get("gone", ()))


def _session(session: Json) -> Iterator[str]:
    yield f"Session {session['session_id']}"
    reason = session["close_reason"]
    if reason:
        why = _REASONS.get(reason, reason)
        yield from _pair("state", f"closed, {reason}: {why}", 12, 2)
    else:
        yield from _pair("state", session["state"], 12, 2)
    if session["first_seen"]:
        yield from _pair("seen", f"{session['first_seen']} to {session['last_seen']}", 12, 2)
    yield from _counted(session)
    yield from _result(session)
    yield from _events(session)
    if "profile" in session:
        yield ""
        yield "  Why that score"
        yield from _profile(session["profile"])
        yield from _policy(session["policy"])
        for step in session["steps"]:
            yield from _pair(step["step"], step["says"], 12, 4)
    if "evidence" in session:
        yield ""
        yield "  What is known of it"
        for name, value in session["evidence"].items():
            yield from _pair(name, value, 32, 4)


def _result(session: Json) -> Iterator[str]:
    result = session.get("result")
    if result is None:
        return
    says = _OUTCOMES.get(result["outcome"], result["outcome"])
    if "rule" in result:
        says = f"{says}, {result['rule']}"
    if "because" in result:
        says = f"{says} without a score: {result['because']}"
    yield from _pair("outcome", says, 12, 2)
    if result.get("lane"):
        capped = f", {result['capped_score']} more were capped" if "capped_score" in result else ""
        yield from _pair(
            "score", f"{result['score']} on {result['object']} ({result['lane']} index){capped}", 12, 2
        )
    counted = session.get("counted_in")
    if counted is not None:
        told = "not told yet"
        if counted["lane"] is not None:
            told = f"{counted['score']} points, {counted['lane']} index"
        count = f"one of {counted['count']}, {told}"
        yield from _pair("counted in", f"{counted['kind']} {counted['event_id']}: {count}", 12, 2)


def _counted(session: Json) -> Iterator[str]:
    counted = session.get("counted")
    if counted is None:
        return
    means = (
        f"cpu {_number(counted['process.cpu.utilization'])} "
        f"(total {_number(counted['process.cpu.utilization.total'])}), "
        f"memory {_number(counted['process.memory.utilization'])}"
    )
    yield from _pair("counted", f"{counted['windows']} windows, mean {means}", 12, 2)
    for each in counted["intervals"]:
        yield from _pair("", f"{_second(each['start'])} until {_second(each['end'])}", 12, 2)
    yield from _cut(counted["intervals_cut"], "intervals", 15)


def _events(session: Json) -> Iterator[str]:
    events = session.get("events", ())
    if not events:
        return
    yield ""
    yield "  Events"
    rows = [
        (
            each["kind"],
            _second(each["time"]),
            each["event_id"],
            each["lane"] or ("-" if "delivery" in each else "not told"),
            "-" if each["score"] is None else each["score"],
            each.get("delivery", ""),
        )
        for each in events
    ]
    yield from _table(("kind", "time", "event id", "index", "score>", ""), rows, 4)
    yield from _cut(session.get("events_cut", 0), "events", 4)


def _profile(profile: Json) -> Iterator[str]:
    yield from _pair("profile", f"{profile['profile']}: row {profile['row']} gives {profile['score']}", 12, 4)
    for tried in profile["tried"]:
        row = f"{tried['score']:>3} {tried['row']}"
        lacks = [
            f"{each['field']} is {_found(each['found'])}, want {each['wanted']}" for each in tried["lacks"]
        ]
        for number, says in enumerate(lacks or ["matches"]):
            yield from _pair("" if number else row, says, 25, 6)


def _found(text: str) -> str:
    return text or "not there"


def _policy(policy: Json) -> Iterator[str]:
    rule = policy["rule"]
    if rule is None:
        says = "none is in force" if not policy["rules"] else f"none of {policy['rules']} rules applies"
    else:
        says = f"rule {rule['rule']} applies ({rule['action']}; {rule['owner']}): {rule['reason']}"
    yield from _pair("policy", says, 12, 4)
    for near in policy["near"]:
        if near["because"] == "matcher":
            says = f"nearly ({near['action']}): found {_found(near['found'])}, want {near['wanted']}"
        else:
            says = f"nearly ({near['action']}): {near['says']}"
        yield from _pair(near["rule"], says, max(len(near["rule"]), 12), 6)


# --- what was measured


def _points(points: Mapping[str, int]) -> Iterator[str]:
    if not points:
        return
    yield ""
    yield "Points"
    for fate, count in points.items():
        yield from _pair(f"{count:>6}", _FATES.get(fate, fate), 6, 2)


def _windows(document: Json) -> Iterator[str]:
    windows = document.get("windows", [])
    if not windows:
        return
    yield ""
    yield "Windows"
    rows = [
        (
            f"{_second(each['start'])} - {_clock(each['end'])}",
            each["points"],
            _number(each["process.cpu.utilization"]),
            _number(each["process.cpu.utilization.total"]),
            _number(each["process.memory.utilization"]),
            _due(each),
            _LEFT_OUT.get(each["left_out"], each["left_out"]),
        )
        for each in windows
    ]
    head = ("from, until", "points>", "cpu>", "cpu total>", "memory>", "due", "")
    yield from _both_ends(list(_table(head, rows, 2)), document.get("windows_cut", 0))


def _due(window: Json) -> str:
    if "deadline" in window:
        return _clock(window["deadline"])
    return f"in {window['closes_in_seconds']:.0f} s"


def _samples(document: Json) -> Iterator[str]:
    samples = document.get("samples", [])
    if not samples:
        return
    yield ""
    yield "Samples: each value counts in its window unless it says otherwise"
    lines = [line for each in samples for line in [_sample(each)]]
    yield from _both_ends([f"  {'time':<23}  arrived   values", *lines], document.get("samples_cut", 0))


def _sample(sample: Json) -> str:
    time = sample["time"] or "-"
    head = f"{time.replace('T', ' ').removesuffix('Z'):<23}  {_clock(sample['arrived'])}"
    values = ", ".join(map(_value, sample["points"])) or "no utilization"
    life = "" if sample["alive"] else "; no sign of life"
    return "\n".join(_pair(head, f" {values}{life}", len(head), 2))


def _value(point: Json) -> str:
    name = point["state"] or point["metric"].removeprefix("process.").removesuffix(".utilization")
    fate = "" if point["fate"] in _IN_WINDOW else f" {point['fate']}"
    return f"{name} {_number(point['value'])}{fate}"


def _gone(gone: Iterable[str]) -> Iterator[str]:
    for number, says in enumerate(gone):
        if not number:
            yield ""
            yield "What is not here any more"
        yield from _pair("-", says, 1, 2)


# --- lines


def _pair(name: str, value: str, width: int, indent: int = 0) -> Iterator[str]:
    """A name and its value, in several lines if it is long."""
    shown = one_line(value)
    parts = list(_parts(shown, WIDTH - indent - width - 1)) or [""]
    if len(parts) > _LINES:
        parts = [*parts[: _LINES - 1], f"... {len(shown)} characters in all"]
    yield f"{'':{indent}}{one_line(name):<{width}} {parts[0]}"
    for part in parts[1:]:
        yield f"{'':{indent + width + 1}}{part}"


def _parts(text: str, room: int) -> Iterator[str]:
    """A text in lines, broken behind blanks where there are some."""
    while len(text) > room:
        at = text.rfind(" ", room // 2, room + 1) + 1 or room
        yield text[:at]
        text = text[at:]
    if text:
        yield text


def _cut(count: int, what: str, indent: int = 0) -> Iterator[str]:
    if count:
        yield f"{'':{indent}}{count} {what} in the middle are left out"


def _both_ends(lines: Sequence[str], cut: int) -> Iterator[str]:
    """A head, and of the lines below it the first and the last; ``cut`` are left out already."""
    head, *rows = lines
    first, last = rows[:_SHOWN], rows[_SHOWN:][-_SHOWN:]
    yield head
    yield from first
    between = cut + len(rows) - len(first) - len(last)
    if between:
        yield f"  ... {between} more"
    yield from last


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], indent: int) -> Iterator[str]:
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    names = [name.removesuffix(">") for name in head]
    widths = [max(len(line[column]) for line in (names, *cells)) for column in range(len(head))]
    for row in (names, *cells):
        parts = (
            cell.rjust(width) if name.endswith(">") else cell.ljust(width)
            for cell, width, name in zip(row, widths, head, strict=True)
        )
        yield f"{'':{indent}}{'  '.join(parts)}"


def _number(value: float | str | None) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def _second(time: str | None) -> str:
    return "-" if time is None else time.partition(".")[0].replace("T", " ")


def _clock(time: str | None) -> str:
    """The time of the day alone."""
    return _second(time).rpartition(" ")[2]
