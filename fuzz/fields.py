"""A protobuf message as a list of its fields, each with its bytes, for the oracle and the mutator."""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.otlp_receiver.encode import varint

LENGTH_DELIMITED: Final = 2
_GROUP_START: Final = 3
_GROUP_END: Final = 4
_FIXED_BYTES: Final = {1: 8, 5: 4}
_CONTINUED: Final = 0x80


class Field(NamedTuple):
    """One field. ``content`` is what the length covers, else all behind the tag (of a group: its end too)."""

    number: int
    wire_type: int
    content: bytes
    minimal: bool
    """Whether the tag and the length, if there is one, are written in as few bytes as possible."""

    def encoded(self) -> bytes:
        """The field again, with a length that fits its content."""
        tag = varint(self.number << 3 | self.wire_type)
        length = varint(len(self.content)) if self.wire_type == LENGTH_DELIMITED else b""
        return tag + length + self.content


def fields_of(message: bytes) -> list[Field] | None:
    """The fields of a message; ``None`` if the bytes are none."""
    fields: list[Field] = []
    position = 0
    try:
        while position < len(message):
            field, position = _read_field(message, position)
            if position > len(message):
                return None
            fields.append(field)
    except IndexError:
        return None
    return fields


def _read_field(message: bytes, start: int) -> tuple[Field, int]:
    tag, position = _read_varint(message, start)
    minimal = message[start:position] == varint(tag)
    number, wire_type = tag >> 3, tag & 7
    begin = position
    if wire_type == LENGTH_DELIMITED:
        length, begin = _read_varint(message, position)
        minimal = minimal and message[position:begin] == varint(length)
        position = begin + length
    elif wire_type in _FIXED_BYTES:
        position += _FIXED_BYTES[wire_type]
    elif wire_type == _GROUP_START:
        inner = wire_type
        while inner != _GROUP_END:
            field, position = _read_field(message, position)
            inner = field.wire_type
    elif wire_type != _GROUP_END:
        _, position = _read_varint(message, position)
    return Field(number, wire_type, message[begin:position], minimal), position


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & ~_CONTINUED) << shift
        shift += 7
        if byte < _CONTINUED:
            return value, position
