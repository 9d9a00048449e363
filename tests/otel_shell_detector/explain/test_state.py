"""``explain`` from a service that runs, and from the state of one that was killed: the same answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from detector.detector import Detector, NodeFailed
from detector.events import Lane, Outcome, Settlement
from detector.identity import event_id
from detector.types import Kind, ShellId
from otel_shell_detector.explain import stored
from otel_shell_detector.explain.asked import Asked
from otel_shell_detector.explain.inside import Inside
from store.seams import StoreError
from store.sqlite import SqliteStore
from tests.detector.world import HOST, NODE, ns
from tests.otel_shell_detector.explain.lived import (
    DEAD,
    FOLDED,
    GONE,
    STORE_ID,
    SUPPRESSED,
    TOLD,
    Lived,
    session_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

UNKNOWN = "00000000-0000-5000-8000-000000000000"
SEARCHED = (
    "open sessions, the first 1000 events that wait in each lane, dead letters; "
    "for others give the captures (FILE...)"
)
PRESENT = [
    "points of windows that have closed, but for those of the last minute or so: the sums hold them",
    "policy and counts as they were when it opened: those that are shown are of now",
]


def opened_of(pid: int) -> str:
    return event_id(STORE_ID, ShellId(NODE, HOST, pid, ns(-100), "bash"), 0, Kind.OPENED, 0)


def document(explain: Callable[..., tuple[int, str, str]], *arguments: str) -> Any:
    status, out, err = explain(*arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_an_open_session_is_explained_by_its_event_its_session_and_its_pid(
    state: Lived, explain: Callable[..., tuple[int, str, str]]
) -> None:
    told = document(explain, session_of(TOLD))
    assert document(explain, opened_of(TOLD)) == told
    assert document(explain, "--pid", str(TOLD), "--node", HOST) == told
    assert told["from"] in {"service", "state"}
    [session] = told["sessions"]
    assert session["result"] == {"outcome": "told", "object": HOST, "score": 40, "lane": "risk"}
    assert session["counted"] == {
        "windows": 11,
        "process.cpu.utilization": 0.25 / 3,
        "process.cpu.utilization.total": 0.25,
        "process.memory.utilization": 0.01,
        "intervals": [{"start": "2027-01-15T08:00:00.000Z", "end": "2027-01-15T08:01:50.000Z"}],
        "intervals_cut": 0,
    }
    assert session["events"] == [
        {
            "event_id": opened_of(TOLD),
            "kind": "opened",
            "time": "2027-01-15T08:00:00.000Z",
            "lane": "risk",
            "score": 40,
            "delivery": "waits, number 1",
        }
    ]
    assert session["policy"]["near"] == [
        {
            "rule": "nightly",
            "action": "suppress",
            "owner": "sre",
            "reason": "known",
            "because": "matcher",
            "field": "process.owner",
            "found": "root",
            "wanted": 'process.owner="backup"',
        },
        {
            "rule": "admins",
            "action": "annotate",
            "owner": "sre",
            "reason": "known",
            "because": "matcher",
            "field": "process.owner",
            "found": "root",
            "wanted": 'process.owner="admin"',
        },
    ]
    assert told["gone"] == PRESENT
    assert [(window["start"], window["left_out"]) for window in told["windows"]] == [
        ("2027-01-15T08:01:50.000Z", "open"),
        ("2027-01-15T08:02:00.000Z", "open"),
    ]


def test_the_samples_that_the_journal_holds_are_shown(
    state: Lived, explain: Callable[..., tuple[int, str, str]]
) -> None:
    samples = document(explain, session_of(TOLD))["samples"]
    assert samples[-1]["time"] == "2027-01-15T08:02:00.000Z"
    assert [(point["state"], point["value"], point["fate"]) for point in samples[-1]["points"]] == [
        ("", 0.01, "in_open_window"),
        ("user", 0.25, "in_open_window"),
        ("system", 0.0, "in_open_window"),
        ("wait", 0.0, "in_open_window"),
    ]


def test_a_folded_session_names_its_burst(state: Lived, explain: Callable[..., tuple[int, str, str]]) -> None:
    [session] = document(explain, "--pid", str(FOLDED))["sessions"]
    assert session["result"] == {"outcome": "folded", "object": HOST, "score": 0}
    assert session["counted_in"] == {
        "event_id": session["counted_in"]["event_id"],
        "kind": "burst",
        "lane": None,
        "score": None,
        "count": 1,
    }
    assert session["events"][0]["delivery"] == "silenced"
    assert {step["step"]: step["says"] for step in session["steps"]}["burst"] == (
        "3 like it told, 1 folded on this node in the period that runs"
    )
    status, out, _ = explain("--pid", str(FOLDED))
    assert status == 0
    assert "  outcome      not told: folded into a burst\n" in out
    assert f"  counted in   burst {session['counted_in']['event_id']}: one of 1, not told yet\n" in out


def test_a_suppressed_session_names_its_rule(
    state: Lived, explain: Callable[..., tuple[int, str, str]]
) -> None:
    [session] = document(explain, session_of(SUPPRESSED))["sessions"]
    assert session["result"] == {"outcome": "suppressed", "object": HOST, "score": 0, "rule": "nightly"}
    assert session["counted_in"] is None
    assert session["policy"]["rule"]["rule"] == "nightly"
    assert "suppressed by a rule of the policy, nightly\n" in explain(session_of(SUPPRESSED))[1]


def test_a_dead_shell_has_no_session(state: Lived, explain: Callable[..., tuple[int, str, str]]) -> None:
    told = document(explain, "--pid", str(DEAD))
    assert told["sessions"] == []
    assert {window["left_out"] for window in told["windows"]} == {"open_not_positive"}
    assert {sample["alive"] for sample in told["samples"]} <= {False}
    assert told["gone"] == ["windows that closed without a positive value: nothing is kept of them"]


def test_a_closed_session_is_explained_while_its_events_are_here(
    state: Lived, explain: Callable[..., tuple[int, str, str]]
) -> None:
    told = document(explain, session_of(GONE))
    [session] = told["sessions"]
    assert (session["state"], session["close_reason"]) == ("closed", "exited")
    assert session["result"] == {"outcome": "told", "object": HOST, "score": 40, "lane": "risk"}
    assert session["evidence"]["graded_by"] == "host_interactive"
    assert session["evidence"]["process.command_line"] == "bash -i"
    assert [(each["kind"], each["delivery"]) for each in session["events"]] == [
        ("opened", "waits, number 2"),
        ("closed", "waits, number 7"),
    ]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((UNKNOWN,), f"event or session {UNKNOWN}"),
        (("--pid", "61"), "shell with pid 61"),
        (("--pid", str(TOLD), "--node", "worker-9\x07"), f"shell with pid {TOLD} on node worker-9\\x07"),
    ],
)
def test_what_is_not_here_is_told_with_what_was_searched(
    state: Lived, explain: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...], what: str
) -> None:
    assert explain(*arguments) == (1, "", f"no {what} among what is here: {SEARCHED}\n")


def test_nothing_is_changed_by_looking(lived: Lived, explain: Callable[..., tuple[int, str, str]]) -> None:
    lived.store.close()
    explain(session_of(TOLD))
    before = content(lived.folder)
    for arguments in ((session_of(TOLD),), ("--pid", str(GONE)), (UNKNOWN,)):
        explain(*arguments)
        assert content(lived.folder) == before


def content(folder: Path) -> list[tuple[Any, ...]]:
    """All rows of a copy of the state."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    store = SqliteStore(copy)
    database = store._database
    rows = [
        row
        for table in ("journal", "session", "note", "outbox", "dead", "checkpoint", "meta")
        for row in database.rows("reading", f"SELECT * FROM {table} ORDER BY 1", ())
    ]
    store.close()
    shutil.rmtree(copy)
    return rows


def test_a_delivered_event_is_said_to_be_gone(
    lived: Lived, explain: Callable[..., tuple[int, str, str]]
) -> None:
    first, second = lived.store.take(Lane.RISK, 2)
    lived.store.settle(
        [
            Outcome(first.sequence, Settlement.DONE),
            Outcome(second.sequence, Settlement.DEAD, "event_invalid"),
        ]
    )
    lived.store.close()
    told = document(explain, session_of(TOLD))
    assert told["sessions"][0]["events"][0]["delivery"] == "delivered, or deleted"
    assert told["gone"] == [*PRESENT, "events that were delivered: Splunk has them, by session_id"]
    # Whether it was novel only that event knew.
    assert "shell.novel" not in told["sessions"][0]["evidence"]
    assert told["sessions"][0]["steps"][0]["says"].startswith("not kept: ")
    dead = document(explain, opened_of(GONE))
    assert dead["sessions"][0]["events"][0]["delivery"] == "dead letter 1: event_invalid"


def test_several_shells_of_a_pid_are_listed(
    lived: Lived, explain: Callable[..., tuple[int, str, str]]
) -> None:
    lived.scrape_reused(TOLD)
    lived.store.close()
    told = document(explain, "--pid", str(TOLD))
    assert [shell["process.start_time"] for shell in told["shells"]] == [
        "2027-01-15T07:58:20.000Z",
        "2027-01-15T08:02:05.000Z",
    ]
    assert [len(shell["session_ids"]) for shell in told["shells"]] == [1, 0]


def test_an_event_about_several_shells_is_shown(
    lived: Lived, explain: Callable[..., tuple[int, str, str]]
) -> None:
    [queued] = lived.store.take(Lane.AUDIT, 9)
    lived.store.close()
    told = document(explain, queued.event.event_id)
    assert told["report"] == json.loads(queued.event.body)["event"]
    status, out, err = explain(queued.event.event_id)
    assert (status, err) == (0, "")
    assert out.startswith(f"event {queued.event.event_id} tells of 1 shells: suppressed\n")
    assert session_of(SUPPRESSED) in out


def test_a_defect_is_not_the_cores(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    inside = Inside(lived.store, lived.core._detector, lived.bench, 0, 0)
    raised: list[BaseException] = []

    def inspect(work: Callable[[Inside], Any]) -> Any:
        try:
            return work(inside)
        except Exception as error:
            raised.append(error)
            raise

    monkeypatch.setattr(lived.core._detector, "look", broken)
    with pytest.raises(ZeroDivisionError):
        stored.explain_state(Asked(pid=TOLD), inspect)
    assert raised == []
    monkeypatch.setattr(lived.store, "take", fails)
    with pytest.raises(StoreError):
        stored.explain_state(Asked(pid=TOLD), inspect)
    assert [type(error) for error in raised] == [StoreError]
    lived.store.close()


def fails(*_: object) -> None:
    raise StoreError("the disk is gone")


def test_what_the_state_cannot_give_is_told(
    lived: Lived, explain: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lived.store.close()
    monkeypatch.setattr(SqliteStore, "take", fails)
    assert explain(session_of(TOLD)) == (1, "", "the disk is gone\n")


def test_a_state_that_has_to_be_mended_is_left_as_it_is(
    lived: Lived, explain: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(*_: object) -> None:
        raise NodeFailed(NODE, of_record=True)

    lived.store.close()
    before = content(lived.folder)
    monkeypatch.setattr(Detector, "feed", poisoned)
    complaint = "the state of node prod/worker-1 cannot be read again; the next start sets it aside"
    assert explain(session_of(TOLD)) == (1, "", f"{lived.folder}: {complaint}\n")
    assert content(lived.folder) == before


def test_policies_that_cannot_be_used_are_a_mistake_of_the_configuration(
    lived: Lived,
    explain: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    lived.store.close()
    (tmp_path / "empty.yaml").write_text("", encoding="utf-8")
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_POLICY__PATH", str(tmp_path / "empty.yaml"))
    complaint = f"{tmp_path}/empty.yaml:1:1: got an empty file; want rules, or `rules: []` for none\n"
    assert explain(session_of(TOLD)) == (2, "", complaint)
    assert explain("--pid", "23", str(Path(__file__).parents[2] / "captures/worker-1.pb")) == (
        2,
        "",
        complaint,
    )
