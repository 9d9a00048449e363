"""The commands that read metrics or deliver events, once settings are known. Loading this loads gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_shell_detector import proposing, replay, send_test_event, service
from otel_shell_detector.comparison import command as comparison
from otel_shell_detector.configuration import PolicySettings
from otel_shell_detector.search import command as search
from otel_shell_detector.search import times
from otel_shell_detector.sources import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from otel_shell_detector.configuration import Settings


def _serve(settings: Settings, _options: argparse.Namespace) -> int:
    return service.serve(settings)


def _replay(settings: Settings, options: argparse.Namespace) -> int:
    if options.search_exact:
        return _search(settings, options)
    for option, given in (("--earliest", options.earliest), ("--latest", options.latest)):
        if given is not None:
            raise ConfigurationError(f"{option}: want --search-exact with it")
    if options.policy is not None:
        settings = settings.model_copy(update={"policy": PolicySettings(path=options.policy)})
    if options.report is not None and settings.policy.path is None:
        raise ConfigurationError("--report: want --policy or policy.path with it")
    return replay.replay(settings, options.files, close_at_end=options.close_at_end, report=options.report)


def _search(settings: Settings, options: argparse.Namespace) -> int:
    for option, given in (
        ("--close-at-end", options.close_at_end),
        ("--policy", options.policy is not None),
        ("--report", options.report is not None),
    ):
        if given:
            raise ConfigurationError(f"{option}: not with --search-exact: the search has no sessions")
    return search.search(settings, options.files, times.bounds(options.earliest, options.latest))


def _propose(settings: Settings, options: argparse.Namespace) -> int:
    return proposing.propose(settings, options.files, at_least=options.at_least, at_most=options.at_most)


def _coverage(settings: Settings, options: argparse.Namespace) -> int:
    return replay.coverage(settings, options.files, as_json=options.json)


def _compare(settings: Settings, options: argparse.Namespace) -> int:
    return comparison.run(settings, options.files, options.html, as_json=options.json)


def _send_test_event(settings: Settings, _options: argparse.Namespace) -> int:
    return send_test_event.run(settings)


RUN: Final[Mapping[str, Callable[[Settings, argparse.Namespace], int]]] = {
    "serve": _serve,
    "replay": _replay,
    "propose-policy": _propose,
    "coverage": _coverage,
    "compare": _compare,
    "send-test-event": _send_test_event,
}
"""By the name of the command: what runs it and gives the exit status. Raises ConfigurationError."""
