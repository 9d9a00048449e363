"""The control socket, over real sockets."""

from __future__ import annotations

import io
import json
import os
import socket
import socketserver
import stat
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from detector.events import Event, Lane, Outcome, Settlement
from otel_shell_detector import control, logs, unix_socket
from otel_shell_detector.configuration import LogSettings
from otel_shell_detector.control import ControlServer
from otel_shell_detector.core import CoreStoppedError
from store.memory import MemoryStore
from store.seams import Commit, StoreError
from telemetry import metrics
from tests.otel_shell_detector.filled import WALL_NS, Owner, fill, long_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_shell_detector.operations import StoreCall
    from store.seams import Store

COUNTS = {
    "waiting": {"risk": 1, "context": 0, "audit": 2},
    "dead": [
        {"origin": "context", "reason": "too_large", "letters": 1},
        {"origin": "journal", "reason": "ValueError", "letters": 1},
        {"origin": "risk", "reason": "event_invalid", "letters": 2},
    ],
}


@pytest.fixture
def log(logging_restored: None) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(LogSettings(), stream)
    return stream


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore(wall_ns=lambda: WALL_NS)
    fill(made)
    return made


@pytest.fixture
def make(log: io.StringIO, tmp_path: Path, store: MemoryStore) -> Iterator[Callable[..., ControlServer]]:
    """Starts servers, and stops them when the test ends."""
    started: list[ControlServer] = []

    def make_(call: StoreCall | None = None, folder: Path = tmp_path, **options: Any) -> ControlServer:
        server = ControlServer(folder, call or Owner(store), **options)
        server.start()
        started.append(server)
        return server

    yield make_
    for server in started:
        server.stop()


@pytest.fixture
def server(make: Callable[..., ControlServer]) -> ControlServer:
    return make()


def open_to(server: ControlServer) -> socket.socket:
    return unix_socket.connect(server.path, 60)


def rest(connection: socket.socket) -> bytes:
    """What comes until the server hangs up; by then it has counted, too."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def raw(server: ControlServer, request: bytes) -> bytes:
    with open_to(server) as connection:
        connection.sendall(request)
        return rest(connection)


def ask(server: ControlServer, **request: object) -> Any:
    return json.loads(raw(server, json.dumps(request).encode() + b"\n"))


def told(log: io.StringIO, name: str) -> list[dict[str, Any]]:
    """The log events of that name, without what depends on the moment."""
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [
        {key: value for key, value in line.items() if key not in {"timestamp", "event", "at"}}
        for line in lines
        if line["event"] == name
    ]


def results() -> dict[str, float]:
    return _samples("control_requests", "result")


def changes() -> dict[str, float]:
    return _samples("control_changes", "ask")


def _samples(name: str, label: str) -> dict[str, float]:
    return {
        sample.labels[label]: sample.value
        for family in metrics.REGISTRY.collect()
        for sample in family.samples
        if sample.name == f"otel_shell_detector_{name}_total"
    }


def moved(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}


# --- the file


def test_the_socket_is_for_its_owner_alone_whatever_the_umask(make: Callable[..., ControlServer]) -> None:
    before = os.umask(0)
    try:
        mode = make().path.stat().st_mode
    finally:
        os.umask(before)
    assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o600)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the directory's mode guards the first moment")
def test_the_socket_is_never_wider_even_for_a_moment(
    make: Callable[..., ControlServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    monkeypatch.setattr(Path, "chmod", lambda path, _: modes.append(stat.S_IMODE(path.stat().st_mode)))
    before = os.umask(0)
    try:
        make()
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_the_socket_of_a_dead_process_is_replaced(make: Callable[..., ControlServer], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control.sock"))
    with pytest.raises(ConnectionRefusedError):
        unix_socket.connect(tmp_path / "control.sock", 1)
    assert ask(make(), ask="counts") == COUNTS


def test_a_file_that_is_no_socket_stays_and_the_service_goes_on_without(
    make: Callable[..., ControlServer], log: io.StringIO, tmp_path: Path
) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious", encoding="utf-8")
    make().stop()
    assert path.read_text(encoding="utf-8") == "precious"
    assert told(log, "control.not_bound") == [
        {"level": "error", "path": str(path), "reason": "Address already in use"}
    ]


def test_a_stop_removes_the_socket(make: Callable[..., ControlServer]) -> None:
    server = make()
    assert server.path.exists()
    server.stop()
    assert not server.path.exists()


def test_a_socket_that_someone_removed_does_not_hinder_a_stop(make: Callable[..., ControlServer]) -> None:
    server = make()
    server.path.unlink()
    server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reaches a socket through a descriptor")
def test_a_path_may_be_longer_than_the_kernel_takes(
    make: Callable[..., ControlServer], tmp_path: Path
) -> None:
    server = make(folder=long_folder(tmp_path))
    assert ask(server, ask="counts") == COUNTS
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


def test_elsewhere_a_path_that_is_too_long_is_told(
    make: Callable[..., ControlServer], log: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = long_folder(tmp_path)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(unix_socket, "_LONGEST", 103)
    make(folder=folder)
    path = folder / "control.sock"
    assert told(log, "control.not_bound") == [
        {
            "level": "error",
            "path": str(path),
            "reason": f"{path}: a socket's path may have 103 bytes here; want a shorter state.path",
        }
    ]


# --- who asks


def test_a_stranger_is_turned_away(make: Callable[..., ControlServer], log: io.StringIO) -> None:
    before = results()
    server = make(allowed_uids=frozenset({os.geteuid() + 1}))
    with open_to(server) as connection:
        assert rest(connection) == b""
    assert told(log, "control.stranger") == [{"level": "error", "uid": os.geteuid()}]
    assert moved(before, results()) == {"stranger": 1}


def test_where_the_kernel_tells_no_user_the_mode_alone_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = socket.socketpair()
    with one, other:
        if sys.platform == "linux":
            assert control.peer_uid(one) == os.geteuid()
        monkeypatch.setattr(sys, "platform", "darwin")
        assert control.peer_uid(one) is None


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


# --- peers without manners


def test_fifty_silent_connections_hold_up_neither_others_nor_the_stop(
    make: Callable[..., ControlServer],
) -> None:
    server = make(deadline_s=3600.0)
    silent = [open_to(server) for _ in range(50)]
    silent[7].sendall(b'{"ask": ')
    try:
        assert ask(server, ask="counts") == COUNTS
        server.stop()
        assert [rest(connection) for connection in silent] == [b""] * 50
    finally:
        for connection in silent:
            connection.close()


def test_who_does_not_ask_in_time_is_cut(make: Callable[..., ControlServer]) -> None:
    before = results()
    server = make(deadline_s=0.05)
    with open_to(server) as connection:
        connection.sendall(b'{"ask"')
        assert rest(connection) == b""
    assert moved(before, results()) == {"gone": 1}


def drip(connection: socket.socket) -> None:
    for _ in range(6_000):  # a minute, if nothing ends it
        connection.sendall(b" ")
        time.sleep(0.01)


def test_a_request_that_drips_has_one_deadline(make: Callable[..., ControlServer]) -> None:
    before = results()
    server = make(deadline_s=0.2)
    with open_to(server) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        drip(connection)
    assert moved(before, results()) == {"gone": 1}


def test_who_ends_before_the_request_does_is_gone(server: ControlServer) -> None:
    before = results()
    with open_to(server) as connection:
        connection.sendall(b'{"ask": "counts"}')
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection) == b""
    assert moved(before, results()) == {"gone": 1}


def test_who_does_not_read_the_reply_is_cut_and_others_are_answered(
    make: Callable[..., ControlServer], store: MemoryStore
) -> None:
    store.commit(Commit(events=tuple(Event(Lane.RISK, f"big-{n}", b'"' * 60_000) for n in range(20))))
    before = results()
    server = make(deadline_s=0.2)
    with open_to(server) as connection:
        connection.sendall(b'{"ask": "waiting", "lane": "risk", "bodies": true}\n')
        reply = connection.recv(1, socket.MSG_PEEK | socket.MSG_WAITALL)
        assert ask(server, ask="counts")["waiting"]["risk"] == 21
        server.stop()  # waits for the one that sends
        assert reply == b"{"
        assert not rest(connection).endswith(b"\n")
    assert moved(before, results()) == {"done": 1, "gone": 1}


def test_the_newest_of_too_many_is_cut(make: Callable[..., ControlServer]) -> None:
    before = results()
    server = make(most_connections=1)
    with open_to(server), open_to(server) as second:
        assert rest(second) == b""
        assert moved(before, results()) == {"crowded": 1}


def test_a_stop_waits_for_what_runs(make: Callable[..., ControlServer], store: MemoryStore) -> None:
    entered, released = threading.Event(), threading.Event()

    def slow(work: Callable[[Store], Any], /) -> Any:
        entered.set()
        assert released.wait(60)
        return work(store)

    server = make(slow)
    with open_to(server) as connection:
        connection.sendall(b'{"ask": "purge", "numbers": null, "sure": true}\n')
        assert entered.wait(60)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        released.set()
        stopping.join(60)
        assert rest(connection) == b'{"count": 4}\n'
    assert store.count_dead_letters() == {}


def test_without_a_thread_to_be_had_the_room_is_given_back(
    make: Callable[..., ControlServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make(most_connections=1)
    begin = socketserver.ThreadingMixIn.process_request
    failures = [RuntimeError("can't start new thread")]

    def process_request(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        begin(*arguments)

    monkeypatch.setattr(socketserver.ThreadingMixIn, "process_request", process_request)
    with open_to(server) as connection:
        assert rest(connection) == b""
    assert ask(server, ask="counts") == COUNTS


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
