"""No line of a log can be forged, and no line moves a terminal, whoever wrote what it tells."""

from __future__ import annotations

import io
import json
import logging
import threading
from typing import TYPE_CHECKING, Any, Literal

import pytest

from otel_shell_detector import logs
from otel_shell_detector.configuration import LogSettings
from telemetry.events import RECEIVER_REQUEST_REFUSED
from tests.otel_shell_detector.conftest import logging_restored  # noqa: F401  # a fixture
from tests.security.evidence import events
from tests.security.hostile import HOSTILE, as_bytes

if TYPE_CHECKING:
    from tests.security.evidence import Evidence

Format = Literal["json", "console"]


class HostileError(OSError):
    """Its name cannot be hostile: it is of the code. What it says can."""


def log_everywhere(text: str) -> int:
    """Log a text in every place where a stranger's may come in; how many lines that makes."""
    error = HostileError(2, text, text)
    RECEIVER_REQUEST_REFUSED(peer=text, path=as_bytes(text), names=[text, {text: text}], **{f"k{text}": 1})
    RECEIVER_REQUEST_REFUSED(exc_info=error, **logs.described(error))
    logging.getLogger(f"library{text}").warning("said %s and %r", text, error)

    def fail() -> None:
        raise RuntimeError(text) from error

    try:
        fail()
    except RuntimeError:
        logging.getLogger("library").exception(text)
    thread = threading.Thread(target=fail, name=f"thread{text}")
    thread.start()
    thread.join()
    return 5


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_an_event_is_one_line_of_printable_characters(
    text: str, format_: Format, level: Literal["debug", "info"]
) -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format=format_, level=level), stream)
    lines = log_everywhere(text)
    written = stream.getvalue().split("\n")
    assert (len(written), written[-1]) == (lines + 1, "")
    assert [line for line in written if not line.isprintable()] == []
    if format_ == "json":
        assert [len(json.loads(line)) > 3 for line in written[:-1]] == [True] * lines
        assert stream.getvalue().isascii()


def test_the_log_of_a_service_among_strangers_is_lines_of_printable_characters(evidence: Evidence) -> None:
    *lines, rest = evidence.log.split(b"\n")
    assert rest == b""
    assert [line for line in lines if not line.decode().isprintable()] == []
    starts = [line[:2] == b'{"' or line[:2].isdigit() for line in lines]
    assert all(starts)


def test_what_strangers_wrote_is_in_that_log_and_started_or_stopped_nothing(evidence: Evidence) -> None:
    if not evidence.log.startswith(b"{"):
        assert evidence.log.count(b"detector.memory_utilization_missing") == len(HOSTILE)
        return
    told: list[dict[str, Any]] = events(evidence)
    nodes = {each["node"] for each in told if each["event"] == "detector.memory_utilization_missing"}
    assert nodes == {f"n{as_bytes(text).decode(errors='backslashreplace')}" for text in HOSTILE}
    names = [each["event"] for each in told]
    assert [names.count(f"service.{what}") for what in ("started", "stopping", "stopped")] == [1, 1, 1]
    assert any("\x1b[2J" in str(each.get("detail")) for each in told)


def test_what_commands_print_is_lines_of_printable_characters(evidence: Evidence) -> None:
    for output in evidence.commands.values():
        assert [line for line in output.decode().split("\n") if not line.isprintable()] == []
