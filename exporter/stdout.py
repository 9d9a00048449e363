"""The sink for trying things out: one JSON object a line on standard output."""

from collections.abc import Sequence
from typing import Final

from detector.events import Lane, Queued
from exporter import lines
from exporter.sink import Delivery


class StdoutSink:
    """Writes to a file descriptor, past any buffer: what is reported as done has left the process.

    When the reader goes away, the sink pauses; events stay in the outbox.
    """

    name: Final = "stdout"

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._torn = False

    def send(self, lane: Lane, batch: Sequence[Queued]) -> Delivery:
        """See :class:`exporter.sink.Sink`. Blocks as long as the reader of a pipe does not read."""
        # What was left of a line is ended first, so that it spoils none but itself.
        lead = [b"\n"] if self._torn else []
        written = lines.write_lines(self._descriptor, lead + [queued.event.body + b"\n" for queued in batch])
        if written.lines:
            self._torn = False
        self._torn = self._torn or written.torn > 0
        return lines.delivery(self.name, lane, batch, max(0, written.lines - len(lead)), written.error)

    def in_flight(self, lane: Lane) -> int:  # noqa: ARG002  # of no lane does it wait for an acknowledgement
        """Nothing: a line is written or it is not."""
        return 0

    def close(self) -> None:
        """Nothing: the descriptor is the process's."""
