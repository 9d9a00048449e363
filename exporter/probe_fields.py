"""The fields of a test event, in order: it finds its way as any other and says of nothing that it is at risk.

No risk object, no technique and a score of 0: what Enterprise Security sums and counts by object does not
change, although the event is in the risk index.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from detector.events import Lane
from exporter.fields import Type
from exporter.json_text import flag, seconds, text
from exporter.settings import EventSettings

MESSAGE: Final = "Test event of otel-shell-detector: no shell was found."


class ProbeKind(enum.StrEnum):
    """What a test event is."""

    TEST = "test"


@dataclass(frozen=True, slots=True)
class ProbeSource:
    """What a test event is made of. ``host`` is where it is sent from."""

    event_id: str
    lane: Lane
    time_ns: int
    host: str
    settings: EventSettings


@dataclass(frozen=True, slots=True)
class ProbeField:
    """A field of a test event, as :class:`exporter.fields.Field` is one of a finding."""

    name: str
    type: Type
    meaning: str
    value: Callable[[ProbeSource], str]
    one_of: tuple[str, ...] = ()
    kinds: frozenset[ProbeKind] = frozenset(ProbeKind)
    always: bool = True
    scored: bool = False


PROBE_FIELDS: Final = (
    ProbeField("event_id", Type.STRING, "New for each test event.", lambda s: text(s.event_id)),
    ProbeField("kind", Type.STRING, f"{ProbeKind.TEST}.", lambda _: text(ProbeKind.TEST)),
    ProbeField("test", Type.BOOLEAN, "true.", lambda _: flag(value=True)),
    ProbeField(
        "lane", Type.STRING, "The lane in which it is sent.", lambda s: text(s.lane.value), tuple(Lane)
    ),
    ProbeField("risk_score", Type.INTEGER, "0.", lambda _: "0"),
    ProbeField("message", Type.STRING, "Says that no shell was found.", lambda _: text(MESSAGE)),
    ProbeField("orig_time", Type.TIME, "When it was sent, as in the envelope.", lambda s: seconds(s.time_ns)),
)
