"""``explain``: the command line, and where the answer comes from."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_shell_detector.explain.asked import Asked, NotFoundError
from otel_shell_detector.explain.text import rendered
from otel_shell_detector.kinds import one_line, show
from otel_shell_detector.outbox_access import CannotAskError
from otel_shell_detector.sources import ConfigurationError

if TYPE_CHECKING:
    from otel_shell_detector.configuration import Settings

_UUID: Final = re.compile("[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_HIGHEST_PID: Final = 2**63 - 1
_DIGITS: Final = 19

DESCRIPTION: Final = (
    "Say why a shell was told or was not: its score step by step, the policy's rules, points and windows. "
    "Without FILE it asks the service that runs or, if none does, its state."
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments, for :func:`run`."""
    parser.add_argument("id", nargs="?", metavar="EVENT_ID|SESSION_ID", help="as an event has it")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="captures, as of replay")
    parser.add_argument("--pid", type=_pid, metavar="PID", help="instead of an id: the shells of that pid")
    parser.add_argument("--node", metavar="NODE", help="with --pid: on the node or host of that name alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _pid(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) <= _HIGHEST_PID:
        return int(text)
    raise argparse.ArgumentTypeError(f"got {show(text)}; want a process id")


def _asked(options: argparse.Namespace) -> tuple[Asked, list[Path]]:
    """What is asked for, and the captures. Raises :class:`ConfigurationError`."""
    files: list[Path] = list(options.files)
    if options.pid is not None:
        # What stands where an id would is the first file.
        return Asked(pid=options.pid, node=options.node), [Path(options.id), *files] if options.id else files
    if options.node is not None:
        raise ConfigurationError("explain --node: want --pid with it")
    if options.id is None:
        raise ConfigurationError("explain: got nothing to explain; want EVENT_ID, SESSION_ID or --pid PID")
    found = options.id.strip().lower()
    if not _UUID.fullmatch(found):
        raise ConfigurationError(
            f"explain: got {show(options.id)}; want the event_id or session_id of an event, or --pid PID"
        )
    return Asked(id=found), files


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Explain and give the exit status. Raises :class:`ConfigurationError` for a usage error."""
    asked, files = _asked(options)
    try:
        if files:
            from otel_shell_detector.explain.captures import explain_captures  # noqa: PLC0415  # it loads gRPC

            document, status = explain_captures(settings, asked, files, time.time_ns())
        else:
            from otel_shell_detector.explain.access import ask  # noqa: PLC0415  # it loads the store

            document, status = ask(settings, asked), 0
    except (NotFoundError, CannotAskError) as error:
        sys.stderr.write(f"{one_line(str(error))}\n")
        return 1
    sys.stdout.write(f"{json.dumps(document, indent=2)}\n" if options.json else rendered(document))
    return status
