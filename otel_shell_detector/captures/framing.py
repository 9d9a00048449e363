"""The outermost layer of a serialized ``ExportMetricsServiceRequest``: fields one after the other.

Just enough of the protobuf wire format (protobuf.dev, "Encoding") to say where a request stops being one.
What the fields hold is the receiver's business.
"""

from __future__ import annotations

from typing import Final

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}
# Bytes of a varint, seven bits each: a value has 64 bits; tags and lengths have 32, and protobuf's parsers
# take no longer ones.
_VALUE, _TAG, _LENGTH = 10, 5, 5
_MAX_TAG: Final = 0xFFFFFFFF


def well_formed(body: bytes) -> int:
    """How many bytes from the start are whole fields: ``len(body)`` if the request is well-formed.

    Groups are refused: no encoder of OTLP writes them.
    """
    position = 0
    while position < len(body):
        end = _field_end(body, position)
        if end is None or end > len(body):
            return position
        position = end
    return position


def _field_end(body: bytes, position: int) -> int | None:
    """Where the field that starts here ends, possibly past the body; ``None`` if that cannot be told."""
    tag, position = _varint(body, position, _TAG)
    if tag is None or not 1 << 3 <= tag <= _MAX_TAG:
        return None
    wire_type = tag & 7
    if wire_type in _FIXED_SIZES:
        return position + _FIXED_SIZES[wire_type]
    if wire_type not in {_VARINT, _BYTES}:
        return None
    value, position = _varint(body, position, _LENGTH if wire_type == _BYTES else _VALUE)
    if value is None:
        return None
    return position + value if wire_type == _BYTES else position


def _varint(body: bytes, position: int, limit: int) -> tuple[int | None, int]:
    """The varint that starts here and where it ends; ``None`` if it is cut or longer than `limit` bytes."""
    value = 0
    for index, byte in enumerate(body[position : position + limit]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004  # the continuation bit
            return value, position + index + 1
    return None, position
