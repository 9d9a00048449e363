"""What a request says: its bytes in, records out. Pure: no clock, no network, no threads; ``replay`` reads captures with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.types import Record

if TYPE_CHECKING:
    from otlp_receiver.selection import Selection


class UnreadableRequest(Exception):
    """A request of which nothing can be taken."""


class MalformedRequest(UnreadableRequest):
    """The bytes are no sequence of protobuf fields at the top level."""


class TooManyResources(UnreadableRequest):
    """The request holds more ``ResourceMetrics`` than ``Selection.max_resources``."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one request says.

    ``records``: one for each node, in order of first appearance; samples in wire order.
    ``rejected``: data points of selected frames that could not be interpreted, by reason (:class:`otlp_receiver.decode.Reject`).
    ``text_replaced``: how many values held bytes that are not UTF-8, by attribute.
    """

    records: tuple[Record, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    text_replaced: Mapping[str, int] = field(default_factory=dict)
    frames: int = 0
    hit_frames: int = 0


def read_request(body: bytes, selection: Selection) -> Reading:
    """Read a serialized ``ExportMetricsServiceRequest``. Raises :class:`MalformedRequest` and :class:`TooManyResources`."""
    raise NotImplementedError
