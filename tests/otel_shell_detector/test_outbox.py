"""``outbox list``, ``requeue`` and ``purge``: the same while a service runs and while none does."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from detector.events import Event, Lane, Outcome, Settlement
from otel_shell_detector import logs, outbox_access, unix_socket
from otel_shell_detector.cli import main
from otel_shell_detector.configuration import LogSettings, StateSettings
from otel_shell_detector.control import ControlServer
from otel_shell_detector.outbox_access import CannotAskError, OutboxAccess
from store.seams import Commit, StoreError
from store.sqlite import SqliteStore
from tests.otel_shell_detector.filled import WHEN, Owner, filled, long_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from store.seams import Store

EMPTY = """\
lane     waiting
risk           0
context        0
audit          0

no dead letters
"""


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_variables: None, logging_restored: None
) -> Path:
    path = tmp_path / "state"
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_STATE__PATH", str(path))
    # What the service logs would come to standard error here: it runs in the command's process.
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_LOG__LEVEL", "error")
    return path


@contextmanager
def served(store: Store, folder: Path) -> Iterator[ControlServer]:
    """What a running service does for the command."""
    logs.configure(LogSettings(), io.StringIO())
    server = ControlServer(folder, Owner(store))
    server.start()
    try:
        yield server
    finally:
        server.stop()
        store.close()


@pytest.fixture(params=["running", "stopped"])
def state(request: pytest.FixtureRequest, folder: Path) -> Iterator[Path]:
    """A state with something in it, with a service that runs over it or none."""
    store = filled(folder)
    if request.param == "running":
        with served(store, folder):
            yield folder
    else:
        store.close()
        yield folder


@pytest.fixture
def outbox(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["outbox", *arguments])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run


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


# --- without a service, without an answer


def test_where_no_state_is_none_is_made(folder: Path, outbox: Callable[..., tuple[int, str, str]]) -> None:
    complaint = f"no service runs, and there is no state at {folder}/state.db\n"
    assert outbox("list") == (1, "", complaint)
    folder.mkdir()
    assert outbox("list") == (1, "", complaint)
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_none_is_told(folder: Path, outbox: Callable[..., tuple[int, str, str]]) -> None:
    folder.write_text("", encoding="utf-8")
    complaint = f"{folder}/state.db: Not a directory; want to be run as the service is\n"
    assert outbox("list") == (1, "", complaint)


def test_an_ephemeral_state_is_out_of_reach(
    folder: Path, outbox: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(folder).close()
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_STATE__EPHEMERAL", "true")
    complaint = (
        "state.ephemeral: true: the outbox is in the memory of the service, out of reach of commands\n"
    )
    assert outbox("list") == (1, "", complaint)


def test_a_state_that_another_process_holds_is_told_with_its_holder(
    folder: Path, outbox: Callable[..., tuple[int, str, str]]
) -> None:
    store = filled(folder)
    status, out, err = outbox("list")
    store.close()
    assert (status, out) == (1, "")
    assert str(folder) in err
    assert f"{os.getpid()}" in err


def test_a_state_of_another_user_is_not_opened(
    folder: Path, outbox: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(folder).close()
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    complaint = f"{folder}/state.db: belongs to uid {mine}; want to be run as that user\n"
    assert outbox("list") == (1, "", complaint)


def test_the_socket_of_a_killed_service_is_no_obstacle(
    folder: Path, outbox: Callable[..., tuple[int, str, str]]
) -> None:
    filled(folder).close()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "control.sock"))
    assert outbox("list", "--waiting", "--lane", "risk")[1].splitlines()[1:] == [
        "     4  risk  id-4         7"
    ]


def test_a_state_may_lie_deeper_than_a_socket_path_reaches(
    tmp_path: Path, folder: Path, outbox: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = long_folder(tmp_path)
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_STATE__PATH", str(deep))
    store = filled(deep)
    with served(store, deep):
        assert outbox("requeue", "1") == (0, "requeued 1 event\n", "")


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (b"", "{}: the service does not answer (it hung up)\n"),
        (b'{"count"', "{}: the service does not answer (it hung up)\n"),
        (b"HTTP/1.1 400\n", "{}: what listens there is not this service: it gave no JSON object\n"),
        (b"[]\n", "{}: what listens there is not this service: it gave no JSON object\n"),
        (b'{"error": "no\\u001b[2J"}\n', "no\\x1b[2J\n"),
    ],
)
def test_what_is_no_answer_is_told(
    folder: Path, outbox: Callable[..., tuple[int, str, str]], reply: bytes, complaint: str
) -> None:
    folder.mkdir()
    path = folder / "control.sock"
    with unix_socket.listen(path, 1) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        assert outbox("requeue", "--all") == (1, "", complaint.format(path))
        thread.join(60)


def test_a_reply_without_an_end_is_not_read_for_ever(
    folder: Path, outbox: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_access, "_MOST_REPLY", 1 << 16)
    folder.mkdir()
    with unix_socket.listen(folder / "control.sock", 1) as listener:
        sent: list[int] = []

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    while len(sent) < 1_000:
                        connection.sendall(b"x" * 65536)
                        sent.append(1)
                except OSError:
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        assert outbox("list")[0] == 1
        thread.join(60)
        assert len(sent) < 1_000


def test_a_service_that_is_stuck_is_told(folder: Path) -> None:
    folder.mkdir()
    path = folder / "control.sock"
    with (
        unix_socket.listen(path, 1),
        OutboxAccess(StateSettings(path=folder), answer_s=0.05) as access,
        pytest.raises(CannotAskError) as told,
    ):
        access.ask(ask="counts")
    assert str(told.value) == f"{path}: the service does not answer (timed out)"


def test_a_socket_that_may_not_be_reached_is_told(
    folder: Path, outbox: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: Any) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(unix_socket, "connect", connect)
    assert outbox("list") == (
        1,
        "",
        f"{folder}/control.sock: Permission denied; want to be run as the service is, or as root\n",
    )


def test_what_the_store_cannot_do_is_told(
    folder: Path, outbox: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def requeue(*_: object) -> int:
        raise StoreError("the disk is full")

    filled(folder).close()
    monkeypatch.setattr(SqliteStore, "requeue", requeue)
    assert outbox("requeue", "--all") == (1, "", "the disk is full\n")


# --- the guide

GUIDE = (Path(__file__).parents[2] / "docs" / "outbox.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"<!-- outbox (.*?) -->\n```text\n(.*?)```", GUIDE, re.DOTALL)


def test_the_guide_shows_what_is_printed(state: Path, outbox: Callable[..., tuple[int, str, str]]) -> None:
    """Its examples are one run, from the top."""
    shown = []
    for command, _ in EXAMPLES:
        _, out, err = outbox(*command.split())
        shown.append((command, out + err))
    assert shown == EXAMPLES
    assert len(EXAMPLES) == 7
