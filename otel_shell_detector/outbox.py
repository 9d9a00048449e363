"""``outbox``: what waits for delivery and what was given up, to look at, to send again, to delete.

It works while the service runs, which then answers on its control socket, and while none does, on the store
itself. ``docs/outbox.md`` tells operators about it.
"""

from __future__ import annotations

import sys
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from detector.events import Lane
from otel_shell_detector.arguments import whole_number
from otel_shell_detector.kinds import one_line
from otel_shell_detector.operations import HIGHEST, MOST_NUMBERS, MOST_WAITING
from otel_shell_detector.outbox_access import CannotAskError, OutboxAccess
from otel_shell_detector.outbox_text import JsonLines, Tables
from otel_shell_detector.sources import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from otel_shell_detector.configuration import Settings

    Act = Callable[[OutboxAccess, argparse.Namespace], None]

_LIST_HELP: Final = (
    "Without options: how many events wait in each lane, how many dead letters there are by origin and "
    "reason, and the latest of them."
)
_REQUEUE_HELP: Final = (
    "Put dead letters that are events back at the end of their lanes: they are sent after all that wait "
    "there now, so their order with other events of their session is lost. Those of the journal or of a "
    "checkpoint are no events and cannot be sent. Of the numbers that are given, all are put back or none."
)
_PURGE_HELP: Final = (
    "Delete for good. Without --yes it says what it would delete, deletes nothing, and the exit status is 2. "
    "Of the numbers that are given, all are deleted or none."
)
_DEFAULT_LIMIT: Final = 20


def declare(
    outbox: argparse.ArgumentParser, configurable: Callable[[argparse.ArgumentParser], object]
) -> None:
    """Add the actions to the command's parser. ``configurable`` adds the options that every command has.

    What is parsed has ``act``, which :func:`run` takes.
    """
    actions = outbox.add_subparsers(metavar="ACTION", required=True)

    def action(name: str, text: str, more: str, act: Act) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=more, allow_abbrev=False
        )
        configurable(made)
        made.set_defaults(act=act)
        return made

    _declare_list(action("list", "show what waits and what was given up", _LIST_HELP, _list))
    requeue = action("requeue", "send dead letters again", _REQUEUE_HELP, _requeue)
    purge = action("purge", "delete dead letters, or what waits", _PURGE_HELP, _purge)
    for each in (requeue, purge):
        each.add_argument(
            "numbers",
            nargs="*",
            type=whole_number(1, HIGHEST),
            metavar="NUMBER",
            help="dead letters, as list shows them",
        )
        each.add_argument("--all", action="store_true", help="all dead letters")
    purge.add_argument("--waiting", action="store_true", help="all events that wait in the lane of --lane")
    purge.add_argument("--lane", choices=[*Lane], help="with --waiting")
    purge.add_argument("--yes", action="store_true", help="delete")


def _declare_list(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dead", action="store_true", help="dead letters alone")
    what.add_argument(
        "--waiting", action="store_true", help="the events of each lane that are sent next, alone"
    )
    parser.add_argument("--lane", choices=[*Lane], help="of one lane alone")
    parser.add_argument(
        "--limit",
        type=whole_number(1, MOST_WAITING),
        default=_DEFAULT_LIMIT,
        metavar="N",
        help=f"how many to show (of each lane), 1 to {MOST_WAITING}; without it {_DEFAULT_LIMIT}",
    )
    parser.add_argument(
        "--after",
        type=whole_number(0, HIGHEST),
        metavar="NUMBER",
        help="not the latest dead letters but the first above a number, to go through all of them",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")
    parser.add_argument(
        "--bodies", action="store_true", help="print the events too, which hold (redacted) command lines"
    )


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Do what was parsed and give the exit status. Raises :class:`ConfigurationError` for a usage error."""
    try:
        with OutboxAccess(settings.state) as access:
            options.act(access, options)
    except CannotAskError as error:
        sys.stderr.write(f"{one_line(str(error))}\n")
        return 1
    return 0


def _list(access: OutboxAccess, options: argparse.Namespace) -> None:
    lanes = [Lane(options.lane)] if options.lane else list(Lane)
    out = JsonLines() if options.json else Tables()
    if options.waiting:
        if options.after is not None:
            raise ConfigurationError("--after: want it without --waiting")
        out.waiting(
            [
                item
                for lane in lanes
                for item in access.pages(ask="waiting", lane=lane, limit=options.limit, bodies=options.bodies)
            ]
        )
        return
    counts = access.ask(ask="counts")
    if not options.dead:
        out.counts(*_of_lane(counts, options.lane))
    out.dead(_letters(access, options))


def _of_lane(
    counts: Mapping[str, Any], lane: str | None
) -> tuple[Mapping[str, int], Sequence[Mapping[str, Any]]]:
    waiting, dead = counts["waiting"], counts["dead"]
    if lane is None:
        return waiting, dead
    return {lane: waiting[lane]}, [each for each in dead if each["origin"] == lane]


def _letters(access: OutboxAccess, options: argparse.Namespace) -> list[Mapping[str, Any]]:
    """The latest, for which all are gone through: the store gives them oldest first."""
    found = access.pages(ask="dead", after=options.after or 0, lane=options.lane, bodies=options.bodies)
    if options.after is not None:
        return list(islice(found, options.limit))
    return list(deque(found, maxlen=options.limit))


def _requeue(access: OutboxAccess, options: argparse.Namespace) -> None:
    numbers = _chosen("requeue", options)
    count = access.ask(ask="requeue", numbers=numbers)["count"]
    sys.stdout.write(f"requeued {_several(count, 'event')}\n")


def _purge(access: OutboxAccess, options: argparse.Namespace) -> None:
    if options.waiting:
        if options.all or options.numbers or not options.lane:
            raise ConfigurationError("outbox purge --waiting: want --lane with it, and no dead letters")
        count = access.ask(ask="purge_waiting", lane=options.lane, sure=options.yes)["count"]
        _told(f"{_several(count, 'event')} of lane {options.lane}", sure=options.yes)
        return
    if options.lane:
        raise ConfigurationError("outbox purge --lane: want --waiting with it")
    numbers = _chosen("purge", options)
    count = access.ask(ask="purge", numbers=numbers, sure=options.yes)["count"]
    _told(_several(count, "dead letter"), sure=options.yes)


def _told(what: str, *, sure: bool) -> None:
    if not sure:
        raise ConfigurationError(f"outbox purge would delete {what} for good; want --yes to do it")
    sys.stdout.write(f"deleted {what}\n")


def _chosen(action: str, options: argparse.Namespace) -> list[int] | None:
    """Dead letters by number; ``None`` is all."""
    if options.all == bool(options.numbers):
        raise ConfigurationError(f"outbox {action}: want either numbers of dead letters or --all")
    if len(options.numbers) > MOST_NUMBERS:
        raise ConfigurationError(
            f"outbox {action}: got {len(options.numbers)} numbers; want at most {MOST_NUMBERS} at a time"
        )
    return options.numbers or None


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
