"""JSON lines into a file descriptor, for the sinks that write lines: how far it got and what that means."""

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from detector.events import Lane, Outcome, Queued, Settlement
from exporter.sink import Delivery, Directive
from telemetry import events, metrics
from telemetry.events import LogEvent

_CHUNK_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an error of the operating system means: the label of the attempt, what to do, what to log."""

    result: str
    directive: Directive
    log: LogEvent


_ELSE: Final = Trouble("io_error", Directive.RETRY, events.EXPORTER_RETRYING)
TROUBLES: Final[Mapping[int | None, Trouble]] = {
    errno.ENOSPC: Trouble("no_space", Directive.RETRY, events.EXPORTER_RETRYING),
    errno.EDQUOT: Trouble("no_space", Directive.RETRY, events.EXPORTER_RETRYING),
    # a reader that does not keep up with a descriptor that someone made non-blocking
    errno.EAGAIN: Trouble("reader_slow", Directive.RETRY, events.EXPORTER_RETRYING),
    # a reader that went away never comes back
    errno.EPIPE: Trouble("broken_pipe", Directive.PAUSE_SINK, events.EXPORTER_SINK_PAUSED),
}


@dataclass(frozen=True, slots=True)
class Written:
    """``lines`` are whole, and behind them stand ``torn`` bytes. ``error`` stopped it, if anything did."""

    lines: int
    torn: int = 0
    error: OSError | None = None


def write_lines(descriptor: int, lines: Sequence[bytes]) -> Written:
    """Write whole lines, unbuffered. Blocks while a pipe is full; raises nothing."""
    left = memoryview(b"".join(lines))
    written = len(left)
    error = None
    try:
        while left:
            left = left[os.write(descriptor, left[:_CHUNK_BYTES]) :]
    except OSError as stopped:
        error = stopped
        written -= len(left)
    whole = 0
    for line in lines:
        if written < len(line):
            break
        written -= len(line)
        whole += 1
    return Written(whole, written, error)


def delivery(sink: str, lane: Lane, batch: Sequence[Queued], taken: int, error: OSError | None) -> Delivery:
    """The answer when the first ``taken`` events were written, then ``error`` came, if any. Logs trouble."""
    outcomes = tuple(Outcome(queued.sequence, Settlement.DONE) for queued in batch[:taken])
    metrics.EXPORTER_BATCH.labels(sink=sink).observe(sum(len(queued.event.body) for queued in batch))
    if error is None:
        said = f"wrote {sum(len(queued.event.body) + 1 for queued in batch)} bytes"
        return Delivery(outcomes, result="accepted", tried=len(batch), said=said)
    trouble = TROUBLES.get(error.errno, _ELSE)
    trouble.log(sink=sink, lane=lane, result=trouble.result, detail=error.strerror)
    return Delivery(outcomes, trouble.directive, trouble.result, tried=len(batch), said=str(error.strerror))
