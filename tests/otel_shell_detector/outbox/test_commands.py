"""``outbox list``, ``requeue`` and ``purge``: the same while a service runs and while none does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from detector.events import Event, Lane, Outcome, Settlement
from otel_shell_detector.configuration import StateSettings
from otel_shell_detector.outbox_access import OutboxAccess
from store.seams import Commit
from store.sqlite import SqliteStore
from tests.otel_shell_detector.filled import WHEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


EMPTY = """\
lane     waiting
risk           0
context        0
audit          0

no dead letters
"""


# --- list


def test_the_list_tells_what_waits_and_what_was_given_up(
    state: Path, outbox: Callable[..., tuple[int, str, str]]
) -> None:
    assert outbox("list") == (
        0,
        f"""\
lane     waiting
risk           1
context        0
audit          2

origin   reason         dead letters
context  too_large                 1
journal  ValueError                1
risk     event_invalid             2

number  when                  origin   reason         event id  size
     1  {WHEN}  risk     event_invalid  id-1         7
     2  {WHEN}  risk     event_invalid  id-2         7
     3  {WHEN}  context  too_large      id-3         7
     4  {WHEN}  journal  ValueError     -           {record_size(state)}
""",
        "",
    )


def record_size(state: Path) -> int:
    """Bytes of the journal's record, as the store writes it."""
    with OutboxAccess(StateSettings(path=state)) as access:
        size: int = list(access.pages(ask="dead"))[-1]["size"]
    return size


def test_the_list_of_one_lane(state: Path, outbox: Callable[..., tuple[int, str, str]]) -> None:
    assert outbox("list", "--lane", "risk", "--limit", "1", "--bodies") == (
        0,
        f"""\
lane  waiting
risk        1

origin  reason         dead letters
risk    event_invalid             2

number  when                  origin  reason         event id  size
     2  {WHEN}  risk    event_invalid  id-2         7
    {{"n":2}}
""",
        "",
    )


def test_dead_letters_alone_the_latest_or_those_above_a_number(
    state: Path, outbox: Callable[..., tuple[int, str, str]]
) -> None:
    def numbers(*options: str) -> list[int]:
        status, out, err = outbox("list", "--dead", "--json", *options)
        assert (status, err) == (0, "")
        return [json.loads(line)["number"] for line in out.splitlines()]

    assert numbers() == [1, 2, 3, 4]
    assert numbers("--limit", "2") == [3, 4]
    assert numbers("--limit", "2", "--after", "0") == [1, 2]
    assert numbers("--limit", "2", "--after", "3") == [4]
    assert numbers("--lane", "context") == [3]


def test_what_waits_alone(state: Path, outbox: Callable[..., tuple[int, str, str]]) -> None:
    assert outbox("list", "--waiting") == (
        0,
        """\
number  lane   event id  size
     4  risk   id-4         7
     5  audit  id-5         7
     6  audit  id-6         7
""",
        "",
    )
    assert outbox("list", "--waiting", "--lane", "audit", "--limit", "1", "--bodies") == (
        0,
        """\
number  lane   event id  size
     5  audit  id-5         7
    {"n":5}
""",
        "",
    )
    assert outbox("list", "--waiting", "--lane", "context") == (0, "no event waits\n", "")


def test_json_lines_have_the_documented_keys(
    state: Path, outbox: Callable[..., tuple[int, str, str]]
) -> None:
    status, out, err = outbox("list", "--json", "--lane", "risk", "--limit", "1", "--bodies")
    waiting = outbox("list", "--json", "--waiting", "--lane", "risk")
    assert (status, [json.loads(line) for line in out.splitlines()], err) == (
        0,
        [
            {"kind": "waiting_count", "lane": "risk", "events": 1},
            {"kind": "dead_count", "origin": "risk", "reason": "event_invalid", "letters": 2},
            {
                "kind": "dead",
                "at": WHEN,
                "number": 2,
                "origin": "risk",
                "reason": "event_invalid",
                "event_id": "id-2",
                "size": 7,
                "body": '{"n":2}',
            },
        ],
        "",
    )
    assert waiting == (
        0,
        '{"kind": "waiting", "number": 4, "lane": "risk", "event_id": "id-4", "size": 7}\n',
        "",
    )


def test_nothing_in_a_body_reaches_the_terminal(
    folder: Path, outbox: Callable[..., tuple[int, str, str]]
) -> None:
    body = b"\x1b[2J\n\xff\xe2\x80\xae\x00"
    store = SqliteStore(folder)
    store.commit(Commit(events=(Event(Lane.RISK, "id\x1b", body),)))
    store.close()
    _, table, _ = outbox("list", "--waiting", "--bodies")
    assert table.splitlines()[1:] == ["     1  risk  id\\x1b      10", r"    \x1b[2J\n\xff\u202e\x00"]
    _, lines, _ = outbox("list", "--waiting", "--bodies", "--json")
    assert lines.isascii()
    assert lines.count("\n") == 1
    assert json.loads(lines)["body"] == "\x1b[2J\n\\xff\u202e\0"


def test_the_furthest_time_that_a_store_can_hold_is_shown(
    folder: Path, outbox: Callable[..., tuple[int, str, str]]
) -> None:
    store = SqliteStore(folder, wall_ns=lambda: 2**63 - 1)
    store.commit(Commit(events=(Event(Lane.RISK, "id-1", b"{}"),)))
    store.settle([Outcome(1, Settlement.DEAD, "x")])
    letter = store.dead_letters(1)[0]
    store.close()
    assert letter.at_ns == 2**63 - 1
    _, out, _ = outbox("list", "--dead")
    assert out.splitlines()[1] == "     1  2262-04-11T23:47:16Z  risk    x       id-1         2"


def test_nothing_at_all(folder: Path, outbox: Callable[..., tuple[int, str, str]]) -> None:
    SqliteStore(folder).close()
    assert outbox("list") == (0, EMPTY, "")
    assert outbox("requeue", "--all") == (0, "requeued 0 events\n", "")


# --- requeue


def test_events_go_back_to_the_end_of_their_lanes(
    state: Path, outbox: Callable[..., tuple[int, str, str]]
) -> None:
    assert outbox("requeue", "1") == (0, "requeued 1 event\n", "")
    assert outbox("requeue", "--all") == (0, "requeued 2 events\n", "")
    _, out, _ = outbox("list", "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert [(each["lane"], each["events"]) for each in told if each["kind"] == "waiting_count"] == [
        ("risk", 3),
        ("context", 1),
        ("audit", 2),
    ]
    assert [each["number"] for each in told if each["kind"] == "dead"] == [4]
    _, out, _ = outbox("list", "--waiting", "--lane", "risk", "--json")
    assert [json.loads(line)["event_id"] for line in out.splitlines()] == ["id-4", "id-1", "id-2"]


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        (["4"], "dead letter 4 is no event (origin journal, reason ValueError) and cannot be sent"),
        (["1", "4"], "dead letter 4 is no event (origin journal, reason ValueError) and cannot be sent"),
        (["1", "77"], "no dead letter has the number 77"),
    ],
)
def test_of_numbers_all_are_requeued_or_none(
    state: Path, outbox: Callable[..., tuple[int, str, str]], numbers: Sequence[str], complaint: str
) -> None:
    before = outbox("list")
    assert outbox("requeue", *numbers) == (1, "", f"{complaint}; nothing was changed\n")
    assert outbox("list") == before


# --- purge


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["1"], "1 dead letter"),
        (["4", "2", "2"], "2 dead letters"),
        (["--all"], "4 dead letters"),
        (["--waiting", "--lane", "audit"], "2 events of lane audit"),
        (["--waiting", "--lane", "context"], "0 events of lane context"),
    ],
)
def test_a_purge_without_yes_tells_what_it_would_delete_and_changes_nothing(
    state: Path, outbox: Callable[..., tuple[int, str, str]], arguments: Sequence[str], what: str
) -> None:
    before = outbox("list")
    complaint = f"outbox purge would delete {what} for good; want --yes to do it\n"
    assert outbox("purge", *arguments) == (2, "", complaint)
    assert outbox("list") == before
    assert outbox("purge", *arguments, "--yes") == (0, f"deleted {what}\n", "")
    assert (outbox("list") == before) is what.startswith("0")


def test_all_can_be_purged(state: Path, outbox: Callable[..., tuple[int, str, str]]) -> None:
    assert outbox("purge", "--all", "--yes") == (0, "deleted 4 dead letters\n", "")
    for lane in Lane:
        assert outbox("purge", "--waiting", "--lane", lane, "--yes")[0] == 0
    assert outbox("list") == (0, EMPTY, "")


def test_of_numbers_all_are_purged_or_none(state: Path, outbox: Callable[..., tuple[int, str, str]]) -> None:
    before = outbox("list")
    complaint = "no dead letter has the number 77; nothing was changed\n"
    assert outbox("purge", "1", "77", "--yes") == (1, "", complaint)
    assert outbox("list") == before


# --- usage


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["requeue"], "outbox requeue: want either numbers of dead letters or --all"),
        (["requeue", "1", "--all"], "outbox requeue: want either numbers of dead letters or --all"),
        (["purge"], "outbox purge: want either numbers of dead letters or --all"),
        (["purge", "--waiting"], "outbox purge --waiting: want --lane with it, and no dead letters"),
        (
            ["purge", "--waiting", "--lane", "risk", "--all", "--yes"],
            "outbox purge --waiting: want --lane with it, and no dead letters",
        ),
        (["purge", "--lane", "risk", "--yes"], "outbox purge --lane: want --waiting with it"),
        (["list", "--waiting", "--after", "0"], "--after: want it without --waiting"),
        (
            ["requeue", *map(str, range(1, 1002))],
            "outbox requeue: got 1001 numbers; want at most 1000 at a time",
        ),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    state: Path, outbox: Callable[..., tuple[int, str, str]], arguments: Sequence[str], complaint: str
) -> None:
    before = outbox("list")
    assert outbox(*arguments) == (2, "", f"{complaint}\n")
    assert outbox("list") == before


# --- the guide

GUIDE = (Path(__file__).parents[3] / "docs" / "outbox.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"<!-- outbox (.*?) -->\n```text\n(.*?)```", GUIDE, re.DOTALL)


def test_the_guide_shows_what_is_printed(state: Path, outbox: Callable[..., tuple[int, str, str]]) -> None:
    """Its examples are one run, from the top."""
    shown = []
    for command, _ in EXAMPLES:
        _, out, err = outbox(*command.split())
        shown.append((command, out + err))
    assert shown == EXAMPLES
    assert len(EXAMPLES) == 7
