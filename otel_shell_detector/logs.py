"""Log lines on standard error, of one form: events, the standard library's logging, warnings, failed threads.

Standard output belongs to the stdout sink. Much of what is logged was written by strangers, so no line may be
forged: in either form every control character is escaped, and an event is one line.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import math
import os
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog

from otel_shell_detector.kinds import one_line
from telemetry import events, metrics

if TYPE_CHECKING:
    from otel_shell_detector.configuration import LogSettings

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_LONGEST_MESSAGE: Final = 2048
_MOST_FRAMES: Final = 20
_MOST_CAUSES: Final = 5
_DEEPEST: Final = 8
_WORD_BITS: Final = 64

Fields = MutableMapping[str, Any]


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send everything that this process logs to a stream (standard error), as the settings say."""
    # The C core of gRPC writes to standard error itself, in a form of its own; it reads this when it is
    # loaded.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    level = _LEVELS[settings.level]
    lines = _Lines(stream or sys.stderr)
    structlog.configure(
        processors=[_stamp, _as_json if settings.format == "json" else _as_text],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    # What libraries tell at "info" is of use to those who debug them.
    root.setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
    threading.excepthook = _thread_failed
    sys.unraisablehook = _nobody_told


def described(error: BaseException) -> dict[str, object]:
    """An exception as fields of a log event: types and places.

    Its message is left out, and so are local values: both quote input, and input holds command lines with
    secrets in them. The number of an :class:`OSError` is safe and says more than its type.
    """
    fields: dict[str, object] = {"error": type(error).__name__, "at": _places(error)}
    if isinstance(error, OSError) and error.errno is not None:
        fields["errno"] = errno.errorcode.get(error.errno, str(error.errno))
    causes: list[str] = []
    cause = _cause(error)
    while cause is not None and len(causes) < _MOST_CAUSES:
        causes.append(f"{type(cause).__name__} {' '.join(_places(cause)[-1:])}".strip())
        cause = _cause(cause)
    if causes:
        fields["causes"] = causes
    return fields


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _places(error: BaseException) -> list[str]:
    frames = list(traceback.walk_tb(error.__traceback__))[-_MOST_FRAMES:]
    return [
        f"{'/'.join(PurePath(frame.f_code.co_filename).parts[-2:])}:{line} {frame.f_code.co_name}"
        for frame, line in frames
    ]


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit or args.exc_value is None:
        return
    metrics.THREAD_FAILURES.inc()
    events.THREAD_FAILED(thread=args.thread.name if args.thread else "", **described(args.exc_value))


def _nobody_told(args: sys.UnraisableHookArgs) -> None:
    """Of an exception in a finalizer: Python itself would print it with what it quotes, on many lines."""
    told = described(args.exc_value) if args.exc_value is not None else {"error": args.exc_type.__name__}
    events.EXCEPTION_IGNORED(**told)


class _Forward(logging.Handler):
    """Makes a log event of what a library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record. Never raises: a library that formats its message badly must not stop its caller."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  # whatever a stranger's __str__ raises
            message = str(record.msg)
        fields: dict[str, object] = {"logger": record.name, "message": message[:_LONGEST_MESSAGE]}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= described(record.exc_info[1])
        known = (*_LEVELS.values(), logging.CRITICAL)
        level = max((each for each in known if each <= record.levelno), default=logging.DEBUG)
        dataclasses.replace(events.LIBRARY_LOG, level=level)(**fields)


class _Lines:
    """Writes lines to a stream, whole ones, from any thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def _write(self, line: str) -> None:
        # Whoever read the log is gone, or the disk is full: not a reason to stop finding shells.
        try:
            with self._lock:
                self._stream.write(line + "\n")
                self._stream.flush()
        except (OSError, ValueError):
            pass

    debug = info = warning = error = critical = _write


def _stamp(_logger: object, method: str, fields: Fields) -> Fields:
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"timestamp": now, "level": method, "event": fields.pop("event"), **fields}


def _as_json(_logger: object, _method: str, fields: Fields) -> str:
    return _json(fields)


def _json(value: object) -> str:
    """In printable ASCII, so that a terminal finds nothing to act on."""
    return json.dumps(_plain(value), ensure_ascii=True, allow_nan=False)


def _as_text(_logger: object, _method: str, fields: Fields) -> str:
    head = f"{fields.pop('timestamp')} {fields.pop('level'):<8} {one_line(str(fields.pop('event')))}"
    return " ".join([head, *(f"{one_line(str(name))}={_word(value)}" for name, value in fields.items())])


def _word(value: object) -> str:
    """A value without a space, a quote or a control character outside of quotes."""
    plain = _plain(value)
    if isinstance(plain, str) and plain and plain.isprintable() and not set(plain) & set(' "=\\'):
        return plain
    return one_line(json.dumps(plain, ensure_ascii=False, allow_nan=False))


def _plain(value: object, depth: int = 0) -> object:
    """What JSON can hold, whatever was given: a log line must not raise in the thread that writes it."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        # Longer than any reader's word, and from some length on Python refuses to print it; NaN is no JSON.
        fits = value.bit_length() <= _WORD_BITS if isinstance(value, int) else math.isfinite(value)
        return value if fits else "out of range"
    if isinstance(value, BaseException):
        value = described(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {_named(key): _plain(each, depth + 1) for key, each in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple | AbstractSet):
        return [_plain(each, depth + 1) for each in value]
    return _named(value)


def _named(value: object) -> str:
    try:
        return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    except Exception:  # noqa: BLE001  # whatever a stranger's __str__ raises
        return f"<{type(value).__name__}>"
