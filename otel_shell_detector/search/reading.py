r"""What a metrics index holds of a request: the points of the search, with its by-fields as texts.

The collector's ``splunk_hec`` exporter decides (``pkg/translator/splunk``, ``metrics_to_splunk.go``, and
``Value.AsString`` of pdata; read at v0.157.0):

* a point's fields are the attributes of its resource and, over them, its own; of equal keys the last counts;
* an integer, a boolean and a double become text as :func:`_text` has it;
* gauges and sums are written, integers and doubles alike; NaN and the infinities are written as texts,
  which are no measurement; a point without a value has none either. The flag NO_RECORDED_VALUE is not looked
  at.

Two things are of this program: bytes that are not UTF-8 are written ``\xNN``, as in events, and a point
without a time counts nowhere, because the index would date it by its arrival.

No name falls back to another one here: an absent or empty by-field is a missing one, and such a point is in
no row. ``otlp_receiver.decode`` is not used, because it applies the product's own rules to names and values.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.protobuf.message import DecodeError

from detector.types import Metric
from otel_shell_detector.search.spl import EXECUTABLES, Key
from otlp_receiver import descriptors, resource
from otlp_receiver.decode import MAX_TIME_NS, number_points
from otlp_receiver.selection import length_delimited
from otlp_receiver.wire import find_frames, find_hits

if TYPE_CHECKING:
    from collections.abc import Iterator

BY_FIELDS: Final = (
    "host.name",
    "k8s.cluster.name",
    "k8s.node.name",
    "process.pid",
    "process.executable.name",
)

NEEDLES: Final = tuple(length_delimited(1, name.encode()) for name in EXECUTABLES)
"""``AnyValue.string_value``: one of these is in every frame that the search can find."""

_KEYS: Final = tuple(field.encode() for field in BY_FIELDS)
_METRICS: Final = {metric.value.encode(): metric for metric in Metric}
_PLAIN_FROM: Final = 1e-6
_PLAIN_BELOW: Final = 1e21


class IndexedPoint(NamedTuple):
    """A data point as the index holds it. A missing by-field is an empty text in ``fields``.

    ``value`` is ``None`` if it holds no measurement. ``start_ns`` is not indexed; it tells whose point it is.
    """

    fields: Key
    metric: Metric
    time_ns: int
    start_ns: int
    value: float | None

    @property
    def counted(self) -> float | None:
        """Its value if the search takes it, bounds aside; else ``None``."""
        taken = self.time_ns > 0 and self.fields.name in EXECUTABLES and all(self.fields)
        return self.value if taken else None

    @property
    def is_positive(self) -> bool:
        """Whether it shows that something runs."""
        return self.value is not None and self.value > 0 and self.time_ns > 0

    @property
    def missing(self) -> tuple[str, ...]:
        """The by-fields that it lacks."""
        return tuple(name for name, text in zip(BY_FIELDS, self.fields, strict=True) if not text)


def read_points(body: bytes, max_resources: int) -> Iterator[IndexedPoint]:
    """The points of a request's frames that may hold a shell of the search.

    Raises :class:`otlp_receiver.wire.UnreadableRequest`. A frame that cannot be decoded gives none.
    """
    frames = find_frames(body, max_resources)
    for index in find_hits(body, frames, NEEDLES):
        yield from read_frame(body[frames.starts[index] : frames.ends[index]])


def read_frame(frame: bytes) -> Iterator[IndexedPoint]:
    """The points of the search's two metrics in a frame, whatever its process."""
    try:
        message = descriptors.RESOURCE_METRICS.FromString(frame)
    except DecodeError:
        return
    common = resource.attributes_of(message.resource)
    fields = _fields(common)
    for scope in message.scope_metrics:
        for metric in scope.metrics:
            watched = _METRICS.get(metric.name)
            if watched is None:
                continue
            for point in number_points(metric):
                own = {each.key: each.value for each in point.attributes}
                yield IndexedPoint(
                    fields if own.keys().isdisjoint(_KEYS) else _fields(common | own),
                    watched,
                    min(point.time_unix_nano, MAX_TIME_NS),
                    min(point.start_time_unix_nano, MAX_TIME_NS),
                    _value(point),
                )


def _fields(attributes: dict[bytes, Any]) -> Key:
    return Key(*(_text(attributes.get(key)) for key in _KEYS))


def _value(point: Any) -> float | None:  # noqa: ANN401  # its class is made at run time
    kind = point.WhichOneof("value")
    value = None if kind is None else float(getattr(point, kind))
    return value if value is not None and math.isfinite(value) else None


def _text(value: Any) -> str:  # noqa: ANN401  # an AnyValue
    """An attribute's value as text; empty if there is none. Bytes, lists and maps name nothing."""
    kind = None if value is None else value.WhichOneof("value")
    match kind:
        case "string_value":
            return resource.text_of(value.string_value)[0]
        case "int_value":
            return str(value.int_value)
        case "bool_value":
            return str(value.bool_value).lower()
        case "double_value":
            return _number_text(value.double_value)
        case _:
            return ""


def _number_text(number: float) -> str:
    """A double as JavaScript writes it: 649.0 is 649, and exponents stand for what is very large or small."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number and not _PLAIN_FROM <= abs(number) < _PLAIN_BELOW:
        return repr(number).replace("e-0", "e-")
    return format(Decimal(repr(number)), "f").removesuffix(".0")
