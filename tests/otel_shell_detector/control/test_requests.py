"""What is asked of the control socket, and what it answers."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from detector.events import Event, Lane, Outcome, Settlement
from otel_shell_detector.core import CoreStoppedError
from store.seams import Commit, StoreError

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from otel_shell_detector.control import ControlServer
    from otel_shell_detector.operations import StoreCall
    from store.memory import MemoryStore
    from store.seams import Store

from tests.otel_shell_detector.control.asking import COUNTS, ask, changes, moved, raw, results, told

# --- what is asked


def test_counts_are_told(server: ControlServer) -> None:
    before = results()
    assert ask(server, ask="counts") == COUNTS
    assert moved(before, results()) == {"done": 1}


def test_a_requeue_is_done_logged_and_counted(
    server: ControlServer, store: MemoryStore, log: io.StringIO
) -> None:
    before = changes()
    assert ask(server, ask="requeue", numbers=[3, 1, 3]) == {"count": 2}
    assert [queued.event.event_id for queued in store.take(Lane.RISK, 9)] == ["id-4", "id-1"]
    assert [queued.event.event_id for queued in store.take(Lane.CONTEXT, 9)] == ["id-3"]
    assert told(log, "control.requeued") == [
        {"level": "warning", "uid": os.geteuid(), "ask": "requeue", "count": 2, "numbers": [3, 1, 3]}
    ]
    assert moved(before, changes()) == {"requeue": 2}


def test_a_purge_is_done_logged_and_counted(server: ControlServer, log: io.StringIO) -> None:
    before = changes()
    assert ask(server, ask="purge", numbers=None, sure=True) == {"count": 4}
    assert ask(server, ask="purge_waiting", lane="audit", sure=True) == {"count": 2}
    assert ask(server, ask="counts") == {"waiting": {"risk": 1, "context": 0, "audit": 0}, "dead": []}
    mine = {"level": "warning", "uid": os.geteuid()}
    assert told(log, "control.purged") == [
        {**mine, "ask": "purge", "count": 4, "numbers": "all"},
        {**mine, "ask": "purge_waiting", "count": 2, "lane": "audit"},
    ]
    assert moved(before, changes()) == {"purge": 4, "purge_waiting": 2}


@pytest.mark.parametrize(
    ("request_", "count"),
    [
        ({"ask": "purge", "numbers": None}, 4),
        ({"ask": "purge", "numbers": [1, 4], "sure": False}, 2),
        ({"ask": "purge_waiting", "lane": "audit"}, 2),
    ],
)
def test_a_purge_that_is_not_sure_counts_and_leaves_no_trace(
    server: ControlServer, log: io.StringIO, request_: dict[str, object], count: int
) -> None:
    before = changes()
    assert ask(server, **request_) == {"count": count}
    assert ask(server, ask="counts") == COUNTS
    assert (told(log, "control.purged"), moved(before, changes())) == ([], {})


# --- what is not understood, or cannot be done

OBJECT = "want a JSON object on one line"
ASKS = "counts, dead, waiting, requeue, purge, purge_waiting"
HIGHEST = 9223372036854775807
NO_EVENT = "dead letter 4 is no event (origin journal, reason ValueError) and cannot be sent"


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (b"\n", OBJECT),
        (b"\xff\x00\x1b[2J\n", OBJECT),
        (b"GET / HTTP/1.1\r\n\r\n", OBJECT),
        (b"[]\n", OBJECT),
        (b"[" * 60_000 + b"\n", OBJECT),
        (b"9" * 60_000 + b"\n", OBJECT),
        (b"x" * 65_537, "a request of more than 65536 bytes"),
        (b"{}\n", f"ask: got null; want {ASKS}"),
        (b'{"ask": "drop"}\n', f'ask: got "drop"; want {ASKS}'),
        (b'{"ask": ["dead"]}\n', f'ask: got ["dead"]; want {ASKS}'),
        (b'{"ask": "dead", "limit": 1}\n', 'dead: got "limit"; want after, bodies, lane'),
        (b'{"ask": "counts", "x": 1}\n', 'counts: got "x"; want nothing beside it'),
        (b'{"ask": "dead", "after": -1}\n', f"after: want a whole number from 0 to {HIGHEST}"),
        (b'{"ask": "dead", "after": true}\n', f"after: want a whole number from 0 to {HIGHEST}"),
        (b'{"ask": "dead", "bodies": 1}\n', "bodies: got 1; want true or false"),
        (b'{"ask": "dead", "lane": "x"}\n', 'lane: got "x"; want risk, context, audit'),
        (b'{"ask": "waiting"}\n', "lane: got nothing; want risk, context, audit"),
        (
            b'{"ask": "waiting", "lane": "risk", "limit": 1001}\n',
            "limit: want a whole number from 1 to 1000",
        ),
        (b'{"ask": "requeue"}\n', "numbers: want null, or a list of 1 to 1000 numbers"),
        (b'{"ask": "purge", "numbers": []}\n', "numbers: want null, or a list of 1 to 1000 numbers"),
        (b'{"ask": "purge", "numbers": [0]}\n', f"numbers: want a whole number from 1 to {HIGHEST}"),
        (b'{"ask": "purge", "numbers": [9]}\n', "no dead letter has the number 9; nothing was changed"),
        (b'{"ask": "requeue", "numbers": [1, 9]}\n', "no dead letter has the number 9; nothing was changed"),
        (
            b'{"ask": "requeue", "numbers": [1, 4]}\n',
            f"{NO_EVENT}; nothing was changed",
        ),
    ],
)
def test_what_is_no_good_request_is_told_and_changes_nothing(
    server: ControlServer, request_: bytes, complaint: str
) -> None:
    before = results()
    assert raw(server, request_) == json.dumps({"error": complaint}).encode() + b"\n"
    assert moved(before, results()) == {"refused": 1}
    assert ask(server, ask="counts") == COUNTS


@pytest.mark.parametrize("error", [StoreError("the disk is full"), CoreStoppedError("the core has ended")])
def test_what_the_store_cannot_do_is_told_and_logged(
    make: Callable[..., ControlServer], log: io.StringIO, error: Exception
) -> None:
    before = results()
    assert ask(make(failing(error)), ask="counts") == {"error": str(error)}
    assert told(log, "control.failed") == [{"level": "error", "error": str(error)}]
    assert moved(before, results()) == {"failed": 1}


def failing(error: Exception) -> StoreCall:
    def call(work: Callable[[Store], Any], /) -> NoReturn:
        raise error

    return call


def test_a_defect_is_logged_without_what_it_quotes_and_ends_nothing(
    make: Callable[..., ControlServer], log: io.StringIO
) -> None:
    before = results()
    server = make(failing(KeyError("hunter2")))
    assert raw(server, b'{"ask": "counts"}\n') == b""
    assert raw(server, b"\n") == json.dumps({"error": OBJECT}).encode() + b"\n"
    assert [each["error"] for each in told(log, "control.failed")] == ["KeyError"]
    assert "hunter2" not in log.getvalue()
    assert moved(before, results()) == {"failed": 1, "refused": 1}


# --- pages


def test_dead_letters_come_in_pages_that_bound_what_the_core_reads_at_a_time(
    server: ControlServer, store: MemoryStore
) -> None:
    store.commit(Commit(events=tuple(Event(Lane.AUDIT, f"many-{n}", b"{}") for n in range(150))))
    store.settle([Outcome(each.sequence, Settlement.DEAD, "x") for each in store.take(Lane.AUDIT, 1000)])
    pages = []
    after: int | None = 0
    while after is not None:
        page = ask(server, ask="dead", after=after)
        pages.append([item["number"] for item in page["items"]])
        after = page["after"]
    assert pages == [list(range(1, 101)), list(range(101, 157))]


def test_a_page_ends_after_the_body_that_fills_it(server: ControlServer, store: MemoryStore) -> None:
    big = b"x" * (200 << 10)
    store.commit(Commit(events=tuple(Event(Lane.AUDIT, f"big-{n}", big) for n in range(3))))
    waiting = ask(server, ask="waiting", lane="audit", bodies=True)
    sizes = [len(item["body"]) for item in waiting["items"]]
    assert (sizes, [item["size"] for item in waiting["items"]]) == (
        [7, 7, 64 << 10, 64 << 10],
        [7, 7, len(big), len(big)],
    )
    last = ask(server, ask="waiting", lane="audit", after=waiting["after"])
    assert [(item["event_id"], item["size"]) for item in last["items"]] == [("big-2", len(big))]
    store.settle([Outcome(each.sequence, Settlement.DEAD, "x") for each in store.take(Lane.AUDIT, 9)])
    page = ask(server, ask="dead", after=4)
    assert [item["event_id"] for item in page["items"]] == ["id-5", "id-6", "big-0", "big-1"]
    assert ask(server, ask="dead", after=page["after"])["after"] is None
