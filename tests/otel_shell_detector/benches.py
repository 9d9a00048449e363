"""A judge that tells every finding, for tests of what is around it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import exporter.event
from detector.judging.outcomes import Report
from detector.judging.rules import JudgeRules
from exporter.settings import EventSettings
from otel_shell_detector.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.events import Event
    from detector.judging.outcomes import Telling
    from detector.types import Finding


def plain(encode: Callable[[Finding], Event]) -> Bench:
    """Nothing folds, nothing is suppressed; what is told is what ``encode`` makes of the finding."""

    def of_telling(telling: Telling) -> Event:
        if isinstance(telling, Report):  # of a node that fell silent
            return exporter.event.encode(telling, EventSettings())
        context = replace(telling.finding.context, preexisting=False)
        return encode(replace(telling.finding, context=context, score=0))

    return Bench(JudgeRules(profile="once", burst_after=0), of_telling)
