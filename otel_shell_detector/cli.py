"""The command line. Exit status 0, 2 for a usage or configuration error, 1 for a failure at run time."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import structlog
import yaml

from exporter import event_schema
from otel_shell_detector import checks, logs, outbox, reference
from otel_shell_detector.arguments import whole_number
from otel_shell_detector.configuration import LogSettings
from otel_shell_detector.explain import command as explain
from otel_shell_detector.keys import plain
from otel_shell_detector.kinds import one_line
from otel_shell_detector.policies import file as policies
from otel_shell_detector.policies.proposal import AT_LEAST, AT_MOST
from otel_shell_detector.search import times
from otel_shell_detector.sources import ConfigurationError, load
from otlp_receiver import core_log
from telemetry import events, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_shell_detector.configuration import Settings

PROGRAM: Final = "otel-shell-detector"
OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
"""What a shell makes of a program that Ctrl-C ended. (``serve`` stops in order and ends with 0.)"""


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; end."""
        self.exit(USAGE, f"{PROGRAM}: {one_line(message)} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit status. ``arguments`` default to those of the process."""
    try:
        options = _parser().parse_args(arguments)
        status: int = options.run(options)
        sys.stdout.flush()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    except BrokenPipeError:  # whoever read the output has enough
        _abandon_output()
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  # no traceback for a user, no local value in a log
        if not structlog.is_configured():
            logs.configure(LogSettings())
        events.PROCESS_FAILED(**logs.described(error))
        _abandon_output()
        return FAILURE
    return status


def _abandon_output() -> None:
    """Keep Python, which flushes once more at its end, from complaining of an output that fails."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> _Parser:
    parser = _Parser(
        prog=PROGRAM,
        description="Finds shells that run on Kubernetes worker nodes in OpenTelemetry process metrics.",
        epilog="Exit status: 0; 2 for a usage or configuration error; 1 for a failure at run time.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, text: str, *, configured: bool = True) -> _Parser:
        made: _Parser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if configured:
            _configurable(made)
        return made

    command("serve", "Receive metrics and report shells, until a signal.").set_defaults(run=_of("serve"))
    command("check-config", "Say whether a configuration is good, and what it comes to.").set_defaults(
        run=_check_config
    )
    replay = command("replay", "Find the shells in files that the collector's file exporter wrote.")
    replay.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="JSON lines or proto, zstd or gzip"
    )
    replay.add_argument(
        "--close-at-end", action="store_true", help="close what is open at the end of the files"
    )
    replay.add_argument(
        "--policy", type=Path, metavar="FILE", help="tell what this policy does; wins over policy.path"
    )
    replay.add_argument("--report", type=Path, metavar="FILE", help="write that here too, as JSON")
    replay.add_argument(
        "--search-exact", action="store_true", help="print the rows of the scheduled search instead of events"
    )
    for bound, what in (("--earliest", "that counts"), ("--latest", "that no longer counts")):
        replay.add_argument(
            bound, metavar="T", help=f"with --search-exact: the first time {what}: {times.FORMS}"
        )
    replay.set_defaults(run=_of("replay"))
    propose = command("propose-policy", "Propose rules for what runs again and again in files, as of replay.")
    propose.add_argument("files", nargs="+", type=Path, metavar="FILE", help="as of replay")
    propose.add_argument(
        "--at-least",
        type=whole_number(1, 9999),
        default=AT_LEAST,
        metavar="N",
        help="shells that make a rule (default: %(default)s)",
    )
    propose.add_argument(
        "--at-most",
        type=whole_number(1, policies.MOST_CHECKS),
        default=AT_MOST,
        metavar="N",
        help="rules (default: %(default)s)",
    )
    propose.set_defaults(run=_of("propose-policy"))
    coverage = command("coverage", "Say how well the nodes in files that the collector wrote can be seen.")
    coverage.add_argument("files", nargs="+", type=Path, metavar="FILE", help="as of replay")
    coverage.add_argument("--json", action="store_true", help="as the service answers at /coverage")
    coverage.set_defaults(run=_of("coverage"))
    command("send-test-event", "Send a marked event in each lane and say what is answered.").set_defaults(
        run=_of("send-test-event")
    )
    compare = command(
        "compare", "Hold the detector against the hourly search, over files that the collector wrote."
    )
    compare.add_argument("files", nargs="+", type=Path, metavar="FILE", help="as of replay")
    compare.add_argument("--json", action="store_true", help="as JSON instead of a table")
    compare.add_argument("--html", type=Path, metavar="FILE", help="write a page with a picture there too")
    compare.set_defaults(run=_of("compare"))
    explaining = command("explain", explain.DESCRIPTION)
    explain.declare(explaining)
    explaining.set_defaults(run=_explain)
    made = command("outbox", "See, send again or delete what was not delivered.", configured=False)
    outbox.declare(made, _configurable)
    made.set_defaults(run=_outbox)
    command(
        "config-reference", "Print every key of the configuration, as Markdown.", configured=False
    ).set_defaults(run=_config_reference)
    command("event-schema", "Print the JSON Schema of an event.", configured=False).set_defaults(
        run=_event_schema
    )
    command("version", "Print the version.", configured=False).set_defaults(run=_version)
    return parser


def _configurable(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="YAML; what the environment sets wins over it, and without either the defaults hold",
    )


def _of(command: str) -> Callable[[argparse.Namespace], int]:
    """What runs a command of :mod:`otel_shell_detector.commands`."""

    def run(options: argparse.Namespace) -> int:
        settings = _configured(options.config)
        with core_log.diverted() if command == "serve" and settings.receiver.tls.cert_file else nullcontext():
            # It loads gRPC: --help need not wait for that, and gRPC reads what logs.configure sets.
            from otel_shell_detector import commands  # noqa: PLC0415  # after what comes before it here

            return commands.RUN[command](settings, options)

    return run


def _explain(options: argparse.Namespace) -> int:
    settings = load(options.config, os.environ)
    logs.configure(settings.log)
    return explain.run(settings, options)


def _outbox(options: argparse.Namespace) -> int:
    settings = load(options.config, os.environ)
    logs.configure(settings.log)
    return outbox.run(settings, options)


def _configured(path: Path | None) -> Settings:
    """The settings; from here on what is to be told goes to the log."""
    settings = load(path, os.environ)
    logs.configure(settings.log)
    metrics.BUILD_INFO.labels(version(PROGRAM)).set(1)
    checks.report(settings)
    return settings


def _check_config(options: argparse.Namespace) -> int:
    settings = load(options.config, os.environ)
    for concern in checks.concerns(settings):
        sys.stderr.write(f"warning: {concern.text}\n")
    if settings.policy.path is not None:
        now_ns = time.time_ns()
        for rule in policies.load(settings.policy.path, now_ns, {}).policy.expired(now_ns):
            sys.stderr.write(f"warning: policy.path: rule {rule.id} is past its end and does nothing\n")
    sys.stdout.write(f"ok\n{yaml.safe_dump(plain(settings), sort_keys=False, width=1000)}")
    return OK


def _config_reference(_options: argparse.Namespace) -> int:
    sys.stdout.write(reference.configuration())
    return OK


def _event_schema(_options: argparse.Namespace) -> int:
    sys.stdout.write(event_schema.event_schema())
    return OK


def _version(_options: argparse.Namespace) -> int:
    sys.stdout.write(f"{PROGRAM} {version(PROGRAM)}\n")
    return OK
