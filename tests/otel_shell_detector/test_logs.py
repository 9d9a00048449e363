"""Log lines: one form for all that logs, and no line that anyone can forge."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import threading
import types
import warnings
from typing import Any, Literal

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from otel_shell_detector import logs
from otel_shell_detector.configuration import LogSettings
from telemetry import metrics
from telemetry.events import LIBRARY_LOG, RECEIVER_STARTED, THREAD_FAILED, LogEvent

PROBE = LogEvent("test.probe", logging.INFO, "Something to log.")
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture(autouse=True)
def _restored(logging_restored: None) -> None:
    """For every test of this module."""


def logging_to(
    format_: Literal["json", "console"] = "json", level: Literal["debug", "info", "warning", "error"] = "info"
) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(LogSettings(format=format_, level=level), stream)
    return stream


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    """The events of a stream without their times, which have the right form."""
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert all(STAMP.fullmatch(each.pop("timestamp")) for each in found)
    return found


def test_an_event_is_a_line_of_json() -> None:
    stream = logging_to()
    RECEIVER_STARTED(endpoint="[::1]:4317", count=3, ratio=0.5, nothing=None, yes=True)
    assert events(stream) == [
        {
            "level": "info",
            "event": "receiver.started",
            "endpoint": "[::1]:4317",
            "count": 3,
            "ratio": 0.5,
            "nothing": None,
            "yes": True,
        }
    ]
    assert list(json.loads(stream.getvalue()))[:3] == ["timestamp", "level", "event"]


def test_an_event_is_a_line_for_people() -> None:
    stream = logging_to("console")
    PROBE(plain="a-b", spaced="a b", quoted='a"b', empty="", equals="a=b", number=3, many=["a", 1])
    stamp, rest = stream.getvalue().split(" ", 1)
    assert STAMP.fullmatch(stamp)
    assert rest == (
        'info     test.probe plain=a-b spaced="a b" quoted="a\\"b" empty="" equals="a=b" number=3 '
        'many=["a", 1]\n'
    )


def test_events_below_the_level_are_not_written() -> None:
    stream = logging_to(level="warning")
    PROBE()
    THREAD_FAILED(thread="x")
    assert [each["event"] for each in events(stream)] == ["process.thread_failed"]


leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
anything = leaf | st.lists(leaf) | st.dictionaries(st.text() | st.integers(), leaf | st.tuples(leaf))
names = st.text(min_size=1).filter(lambda name: name not in {"self", "event", "level", "timestamp"})


@pytest.mark.parametrize("format_", ["json", "console"])
@given(fields=st.dictionaries(names, anything, max_size=4))
def test_no_field_forges_a_line_or_moves_a_terminal(
    format_: Literal["json", "console"], fields: dict[str, Any]
) -> None:
    stream = logging_to(format_)
    PROBE(**fields)
    line = stream.getvalue()
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    if format_ == "json":
        assert line.isascii()
        assert set(fields) <= set(json.loads(line))


@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize(
    "hostile", ["\n", "\r", "\x1b[2J", "\x7f", "\x9b31m", "\u2028", "\u202e", "\x00", "\ud800"]
)
def test_each_control_character_is_escaped(format_: Literal["json", "console"], hostile: str) -> None:
    stream = logging_to(format_)
    PROBE(**{"value": f"a{hostile}b", f"k{hostile}": 1})
    logging.getLogger(f"n{hostile}").error("m%s", hostile)
    lines = stream.getvalue().split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)


def test_what_json_cannot_hold_is_still_logged() -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError

    deep: list[Any] = []
    deep.append(deep)
    stream = logging_to()
    PROBE(nan=float("nan"), huge=10**5000, mute=Mute(), raw=b"\xff\n", bag={1}, deep=deep, key={Mute(): 1})
    (event,) = events(stream)
    assert json.dumps(event.pop("deep")) == '[[[[[[["[[...]]"]]]]]]]'
    assert event == {
        "level": "info",
        "event": "test.probe",
        "nan": "out of range",
        "huge": "out of range",
        "mute": "<Mute>",
        "raw": "\\xff\n",
        "bag": [1],
        "key": {"<Mute>": 1},
    }


def test_libraries_log_in_the_same_form() -> None:
    stream = logging_to()
    logging.getLogger("grpc._server").error("Exception %s", "here")
    logging.getLogger("urllib3").info("of no use to an operator")
    logging.getLogger("odd").log(35, "between two levels")
    assert events(stream) == [
        {"level": "error", "event": LIBRARY_LOG.name, "logger": "grpc._server", "message": "Exception here"},
        {"level": "warning", "event": LIBRARY_LOG.name, "logger": "odd", "message": "between two levels"},
    ]


def test_debugging_shows_what_libraries_tell_too() -> None:
    stream = logging_to(level="debug")
    logging.getLogger("urllib3").log(5, "finest")
    logging.getLogger("urllib3").debug("fine")
    assert [(each["level"], each["message"]) for each in events(stream)] == [("debug", "fine")]


def test_a_library_that_formats_badly_does_not_stop_its_caller() -> None:
    stream = logging_to()
    logging.getLogger("bad").error("%d", "x")
    assert [each["message"] for each in events(stream)] == ["%d"]


def test_a_long_message_of_a_library_is_cut() -> None:
    stream = logging_to()
    logging.getLogger("long").error("x" * 5000)
    assert [each["message"] for each in events(stream)] == ["x" * 2048]


def test_warnings_are_logged() -> None:
    stream = logging_to()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (event,) = events(stream)
    assert (event["logger"], "UserWarning: old" in event["message"]) == ("py.warnings", True)


def test_an_exception_is_told_by_types_and_places_never_by_what_it_quotes() -> None:
    def fail(secret: str) -> None:
        try:
            int(secret)
        except ValueError as error:
            raise KeyError(secret) from error

    stream = logging_to()
    try:
        fail("hunter2")
    except KeyError:
        logging.getLogger("lib").exception("it failed")
    (event,) = events(stream)
    assert "hunter2" not in stream.getvalue()
    assert event["error"] == "KeyError"
    assert re.fullmatch(r"otel_shell_detector/test_logs\.py:\d+ fail", event["at"][-1])
    assert re.fullmatch(r"ValueError otel_shell_detector/test_logs\.py:\d+ fail", event["causes"][0])


def test_an_error_of_the_system_is_told_by_its_number() -> None:
    assert logs.described(FileNotFoundError(2, "No such file", "/secret")) == {
        "error": "FileNotFoundError",
        "at": [],
        "errno": "ENOENT",
    }
    assert logs.described(OSError(99999, "x"))["errno"] == "99999"
    assert logs.described(OSError("x")) == {"error": "OSError", "at": []}


def test_an_exception_given_as_a_field_is_told_without_its_message() -> None:
    stream = logging_to()
    PROBE(exc_info=ValueError("hunter2"), inner=[KeyError("hunter2")])
    assert events(stream) == [
        {
            "level": "info",
            "event": "test.probe",
            "exc_info": {"error": "ValueError", "at": []},
            "inner": [{"error": "KeyError", "at": []}],
        }
    ]


def test_an_exception_in_a_finalizer_is_told_without_its_message() -> None:
    class Failing:
        def __del__(self) -> None:
            raise ValueError("hunter2")

    stream = logging_to()
    Failing()
    (event,) = events(stream)
    assert (event["event"], event["error"]) == ("process.exception_ignored", "ValueError")
    assert "hunter2" not in stream.getvalue()


def test_an_exception_that_nobody_holds_is_told_by_its_type() -> None:
    stream = logging_to()
    sys.unraisablehook(types.SimpleNamespace(exc_type=KeyError, exc_value=None))
    assert [each["error"] for each in events(stream)] == ["KeyError"]


def test_a_suppressed_context_is_not_told_and_a_long_chain_is_cut() -> None:
    quiet = KeyError()
    quiet.__context__ = ValueError()
    quiet.__suppress_context__ = True
    chain: BaseException = ValueError()
    for _ in range(9):
        link = ValueError()
        link.__context__ = chain
        chain = link
    assert logs.described(quiet) == {"error": "KeyError", "at": []}
    assert logs.described(chain) == {"error": "ValueError", "at": [], "causes": ["ValueError"] * 5}


def test_an_exception_in_a_thread_is_logged_and_counted() -> None:
    def failures() -> float:
        return metrics.REGISTRY.get_sample_value("otel_shell_detector_thread_failures_total") or 0.0

    def fail() -> None:
        raise ValueError("hunter2")

    stream = logging_to()
    before = failures()
    thread = threading.Thread(target=fail, name="core")
    thread.start()
    thread.join()
    (event,) = events(stream)
    assert (event["event"], event["thread"], event["error"]) == (
        "process.thread_failed",
        "core",
        "ValueError",
    )
    assert "hunter2" not in stream.getvalue()
    assert failures() - before == 1


def test_a_thread_that_exits_is_no_failure() -> None:
    stream = logging_to()
    threading.excepthook(threading.ExceptHookArgs((SystemExit, SystemExit(), None, None)))
    threading.excepthook(threading.ExceptHookArgs((ValueError, ValueError(), None, None)))
    assert [each["thread"] for each in events(stream)] == [""]


def test_a_log_that_nobody_can_read_any_more_stops_nothing() -> None:
    stream = logging_to()
    stream.close()
    PROBE()
    assert structlog.is_configured()


def test_lines_of_many_threads_stay_whole() -> None:
    def write() -> None:
        for _ in range(50):
            PROBE(text="x" * 200)

    stream = logging_to()
    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each["text"] for each in events(stream)] == ["x" * 200] * 400
