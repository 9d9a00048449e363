"""What becomes of an answer, whoever gave it: the words of which the tables of the sinks are made."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exporter.sink import Directive
from telemetry import events
from telemetry.events import LogEvent


class Action(enum.StrEnum):
    """What we do about an answer."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    """Keep, send again later."""
    INVALID = "invalid"
    """An event is malformed: the one that is named goes to the dead letters, else the batch is bisected."""
    TOO_LARGE = "too_large"
    """The batch is bisected; an event that is too large alone goes to the dead letters."""
    PAUSE_LANE = "pause_lane"
    PAUSE_SINK = "pause_sink"


DIRECTIVES: Final[Mapping[Action, tuple[Directive, LogEvent]]] = {
    Action.ACCEPTED: (Directive.PROCEED, events.EXPORTER_ACCEPTED),
    Action.RETRY: (Directive.RETRY, events.EXPORTER_RETRYING),
    Action.INVALID: (Directive.SPLIT, events.EXPORTER_SPLIT),
    Action.TOO_LARGE: (Directive.SPLIT, events.EXPORTER_SPLIT),
    Action.PAUSE_LANE: (Directive.PAUSE_LANE, events.EXPORTER_LANE_PAUSED),
    Action.PAUSE_SINK: (Directive.PAUSE_SINK, events.EXPORTER_SINK_PAUSED),
}
"""Unless the action ends an event: then REFUSED, with ``exporter.dead_letter``."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: the label of the attempt, and what we do."""

    label: str
    action: Action

    @property
    def directive(self) -> Directive:
        """What the lane or the sink is told."""
        return DIRECTIVES[self.action][0]

    @property
    def log(self) -> LogEvent:
        """What is logged."""
        return DIRECTIVES[self.action][1]
