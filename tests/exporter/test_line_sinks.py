"""What only the sinks that write lines can do: rotation, full disks, torn lines, readers that go away."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from detector.events import Lane, Outcome, Settlement
from exporter.file import FileSink
from exporter.sink import Delivery, Directive
from exporter.stdout import StdoutSink
from tests.exporter.outbox import queue


def lines(path: Path) -> list[str]:
    return [json.loads(line)["event"]["event_id"] for line in path.read_bytes().splitlines()]


def done(*sequences: int) -> tuple[Outcome, ...]:
    return tuple(Outcome(sequence, Settlement.DONE) for sequence in sequences)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_a_line_is_the_event_as_it_was_encoded(path: Path) -> None:
    FileSink(path).send(Lane.RISK, queue(2))
    assert path.read_bytes() == b"".join(queued.event.body + b"\n" for queued in queue(2))


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    FileSink(path).send(Lane.RISK, queue(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_was_there_is_appended_to(path: Path) -> None:
    FileSink(path).send(Lane.RISK, queue(1))
    FileSink(path).send(Lane.RISK, queue(1))
    assert lines(path) == ["risk-0"] * 2


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
def test_a_rotated_file_is_opened_anew(path: Path, how: str, logs: list[Any]) -> None:
    sink = FileSink(path)
    sink.send(Lane.RISK, queue(2))
    aside = path.with_suffix(".1")
    path.rename(aside)
    if how == "removed":
        aside.unlink()
    if how == "replaced":
        path.touch()
    sink.send(Lane.RISK, queue(1))
    assert lines(path) == ["risk-0"]
    if how != "removed":
        assert lines(aside) == ["risk-0", "risk-1"]
    assert [log["event"] for log in logs] == ["exporter.file_opened"] * 2


def test_a_file_truncated_in_place_is_appended_to(path: Path) -> None:
    sink = FileSink(path)
    sink.send(Lane.RISK, queue(2))
    os.truncate(path, 0)
    sink.send(Lane.RISK, queue(1))
    assert lines(path) == ["risk-0"]


def test_a_line_that_a_killed_process_left_is_ended(path: Path) -> None:
    path.write_bytes(b'{"torn":')
    FileSink(path).send(Lane.RISK, queue(1))
    assert path.read_bytes() == b'{"torn":\n' + queue(1)[0].event.body + b"\n"


class FullDisk:
    """``os.write`` on a disk with that many bytes left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self.left = left
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, descriptor: int, content: bytes) -> int:
        if not self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(descriptor, content[: self.left])
        self.left -= written
        return written


def test_a_full_disk_tears_no_line(path: Path, monkeypatch: pytest.MonkeyPatch, logs: list[Any]) -> None:
    sink, size = FileSink(path), len(queue(1)[0].event.body) + 1
    disk = FullDisk(monkeypatch, 2 * size + 10)
    assert sink.send(Lane.RISK, queue(4)) == Delivery(done(0, 1), Directive.RETRY, "no_space", tried=4)
    assert lines(path) == ["risk-0", "risk-1"]
    assert (logs[-1]["event"], logs[-1]["detail"]) == ("exporter.retrying", "No space left on device")
    disk.left = 1 << 20
    assert sink.send(Lane.RISK, queue(4)[2:]) == Delivery(done(2, 3), result="accepted", tried=2)
    assert lines(path) == ["risk-0", "risk-1", "risk-2", "risk-3"]


def test_what_could_not_be_synced_is_not_done(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FileSink(path)

    def failing(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        assert sink.send(Lane.RISK, queue(1)) == Delivery((), Directive.RETRY, "io_error", tried=1)
    assert sink.send(Lane.RISK, queue(1)).outcomes == done(0)


def test_what_has_nothing_to_sync_is_done_when_it_is_written() -> None:
    assert FileSink(Path(os.devnull)).send(Lane.RISK, queue(1)).outcomes == done(0)


def test_a_directory_that_is_not_there_is_waited_for(path: Path) -> None:
    sink = FileSink(path.parent / "later" / "events.jsonl")
    assert sink.send(Lane.RISK, queue(1)) == Delivery((), Directive.RETRY, "io_error", tried=1)
    (path.parent / "later").mkdir()
    assert sink.send(Lane.RISK, queue(1)).outcomes == done(0)


def test_a_reader_that_went_away_pauses_the_sink(logs: list[Any]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    assert StdoutSink(writing).send(Lane.RISK, queue(2)) == Delivery(
        (), Directive.PAUSE_SINK, "broken_pipe", tried=2
    )
    os.close(writing)
    assert logs[-1]["event"] == "exporter.sink_paused"


def test_a_torn_line_on_standard_output_spoils_none_but_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(queue(1)[0].event.body) + 1
    with path.open("wb") as file:
        sink = StdoutSink(file.fileno())
        disk = FullDisk(monkeypatch, size + 10)
        assert sink.send(Lane.RISK, queue(3)).outcomes == done(0)
        assert sink.send(Lane.RISK, queue(3)[1:]).outcomes == ()
        disk.left = 1 << 20
        assert sink.send(Lane.RISK, queue(3)[1:]).outcomes == done(1, 2)
    written = path.read_bytes().split(b"\n")
    bodies = [queued.event.body for queued in queue(3)]
    assert written == [bodies[0], bodies[1][:10], bodies[1], bodies[2], b""]
