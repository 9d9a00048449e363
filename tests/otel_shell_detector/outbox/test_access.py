"""Where ``outbox`` finds no state, no service, or no answer."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from otel_shell_detector import outbox_access, unix_socket
from otel_shell_detector.configuration import StateSettings
from otel_shell_detector.outbox_access import CannotAskError, OutboxAccess
from store.seams import StoreError
from store.sqlite import SqliteStore
from tests.otel_shell_detector.filled import filled, long_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


from tests.otel_shell_detector.outbox.serving import served

EMPTY = """\
lane     waiting
risk           0
context        0
audit          0

no dead letters
"""


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
    complaint = "state.ephemeral: true: the state is in the memory of the service, out of reach of commands\n"
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
