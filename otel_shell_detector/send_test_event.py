"""``send-test-event``: one marked event in each lane, past the outbox, and what the receiver said of it."""

from __future__ import annotations

import socket
import sys
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from detector.events import Event, Lane, Queued, Settlement
from exporter.event import encode_probe
from exporter.json_text import text
from exporter.probe_fields import ProbeSource
from exporter.sink import Directive
from otel_shell_detector import wiring
from otel_shell_detector.kinds import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter.sink import Delivery, Sink
    from otel_shell_detector.configuration import Settings

_POLL_S: Final = 0.2
_GOES_ON: Final = frozenset({Directive.PROCEED, Directive.RETRY})
_NOTES: Final = {
    "hec": "Code 0 says that Splunk took the event, not that the index exists: the search proves arrival.",
    "otlp": "OK says that the collector took the event: the search proves that Splunk has it.",
}
"""By sink: what an acceptance does not prove."""


@dataclass(slots=True)
class _Trial:
    """A test event and what became of it. ``waits``: it was accepted, and its acknowledgement may come."""

    event: Event
    delivery: Delivery
    took_s: float
    waits: bool
    done: bool
    more: str = ""

    def line(self) -> str:
        """For a person."""
        said = one_line(f"{self.delivery.said}{self.more}")
        return f"{self.event.lane}: {self.delivery.result} in {self.took_s * 1000:.0f} ms: {said}"


def run(
    settings: Settings,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Send, wait for acknowledgements, print; the exit status: 1 unless each event was taken."""
    sink = wiring.sink(settings)
    hec = settings.exporter.hec
    try:
        ends = clock() + hec.ack_timeout.seconds
        trials = [_send(sink, _event(settings, lane), clock) for lane in Lane]
        if settings.exporter.sink == "hec" and hec.ack:
            while any(trial.waits for trial in trials) and clock() < ends:
                sleep(_POLL_S)
                _ask(sink, trials)
            _conclude(trials, f"not acknowledged within {hec.ack_timeout}")
    finally:
        sink.close()
    _print(settings, trials)
    return 0 if all(trial.done for trial in trials) else 1


def _event(settings: Settings, lane: Lane) -> Event:
    of = wiring.event_settings(settings)
    return encode_probe(ProbeSource(str(uuid.uuid4()), lane, time.time_ns(), socket.gethostname(), of))


def _send(sink: Sink, event: Event, clock: Callable[[], float]) -> _Trial:
    began = clock()
    delivery = sink.send(event.lane, [Queued(0, event)])
    return _Trial(event, delivery, clock() - began, sink.in_flight(event.lane) > 0, _is_done(delivery))


def _is_done(delivery: Delivery) -> bool:
    return any(outcome.settlement is Settlement.DONE for outcome in delivery.outcomes)


def _ask(sink: Sink, trials: Sequence[_Trial]) -> None:
    """Ask for what is not acknowledged yet; a receiver that refuses to say is not asked again."""
    for trial in trials:
        if not trial.waits:
            continue
        asked = sink.send(trial.event.lane, ())
        if _is_done(asked):
            trial.waits, trial.done, trial.more = False, True, "; acknowledged"
        elif asked.directive not in _GOES_ON:
            for each in trials:  # the question was about all
                if each.waits:
                    each.waits, each.more = False, f"; asked whether it is indexed: {asked.said}"


def _conclude(trials: Sequence[_Trial], too_late: str) -> None:
    for trial in trials:
        if trial.waits:
            trial.more = f"; {too_late}"
        elif trial.done and not trial.more:
            trial.more = "; no acknowledgement is offered"


def _print(settings: Settings, trials: Sequence[_Trial]) -> None:
    exporter = settings.exporter
    of = {"hec": exporter.hec.url, "otlp": exporter.otlp.endpoint, "file": exporter.file.path}
    lines = [f"{exporter.sink}: {of.get(exporter.sink) or 'standard output'}"]
    for trial in trials:
        lines.append(trial.line())
        if trial.done and exporter.sink in _NOTES:
            lines.append(f"  search: {_search(settings, trial.event)}")
    if exporter.sink in _NOTES and any(trial.done for trial in trials):
        lines.append(_NOTES[exporter.sink])
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _search(settings: Settings, event: Event) -> str:
    index = wiring.event_settings(settings).index_of(event.lane)
    exporter = settings.exporter
    indexed = exporter.sink == "otlp" and exporter.otlp.fields == "attributes"
    found = f"event_id{'::' if indexed else '='}{event.event_id}"
    return f"index={text(index) if index else '*'} {found} earliest=-1h latest=+1h"
