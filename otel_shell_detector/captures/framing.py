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
_RESOURCE: Final = 1 << 3 | _BYTES
_LOW_BITS: Final = 0x7F


def well_formed(body: bytes) -> int:
    """How many bytes from the start are whole fields: ``len(body)`` if the request is well-formed.

    Groups are refused: no encoder of OTLP writes them.
    """
    position, size = 0, len(body)
    while position < size:
        # The usual resource, spelled out: its length has two bytes. Else a fifth of a replay would go here.
        if (
            position + 2 < size
            and body[position] == _RESOURCE
            and (low := body[position + 1]) > _LOW_BITS
            and (high := body[position + 2]) <= _LOW_BITS
        ):
            end: int | None = position + 3 + (low & _LOW_BITS | high << 7)
        else:
            end = _field_end(body, position)
        if end is None or end > size:
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
        value |= (byte & _LOW_BITS) << (7 * index)
        if byte <= _LOW_BITS:
            return value, position + index + 1
    return None, position
