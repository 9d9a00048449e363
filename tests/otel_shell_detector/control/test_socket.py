"""The control socket as a file, and who may use it and for how long."""

from __future__ import annotations

import os
import socket
import socketserver
import stat
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from detector.events import Event, Lane
from otel_shell_detector import control, unix_socket
from otel_shell_detector.control import Bounds
from store.seams import Commit
from tests.otel_shell_detector.filled import long_folder

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from otel_shell_detector.control import ControlServer
    from store.memory import MemoryStore
    from store.seams import Store

from tests.otel_shell_detector.control.asking import COUNTS, ask, moved, open_to, rest, results, told

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


# --- peers without manners


def test_fifty_silent_connections_hold_up_neither_others_nor_the_stop(
    make: Callable[..., ControlServer],
) -> None:
    server = make(bounds=Bounds(deadline_s=3600.0))
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
    server = make(bounds=Bounds(deadline_s=0.05))
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
    server = make(bounds=Bounds(deadline_s=0.2))
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
    server = make(bounds=Bounds(deadline_s=0.2))
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
    server = make(bounds=Bounds(connections=1))
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
    server = make(bounds=Bounds(connections=1))
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
