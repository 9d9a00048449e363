"""OTLP/JSON to the same request in protobuf.

The mapping is protobuf's own ("ProtoJSON") with OTLP's exceptions (opentelemetry-proto,
``docs/specification.md``, "JSON Protobuf Encoding"): trace and span ids are hexadecimal. What the collector
writes (``pdata/internal/json`` of opentelemetry-collector) is a subset of what is taken here: 64-bit integers
as decimal strings or numbers, enums by number or by name, doubles as numbers or as ``"NaN"``, ``"Infinity"``,
``"-Infinity"``, names in lowerCamelCase or as in the .proto file, ``null`` for an absent field, unknown
fields ignored. Of a name that occurs twice in an object the last counts.

google.protobuf's own parser cannot be used: it takes text only, and the collector writes the bytes of a
string as they are, so that a command line that is not UTF-8 makes a line that is not UTF-8. Such bytes travel
through the JSON parser as lone surrogates (PEP 383) and come out again as what they were. The result is
written straight to the wire, because a ``string`` field of a protobuf message would refuse them once more.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor as Field
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor, EnumDescriptor

    Encoder = Callable[[Any], bytes]


MAX_CONTAINERS: Final = 3_000_000
"""Objects and arrays of a text. One takes some 200 bytes in memory and as few as two in the text, so that the
size of a text bounds little: 64 MiB could take 6 GiB. The collector writes one for about 45 bytes."""

_OTHER_SIGNALS: Final = {
    "resourceSpans": "traces",
    "resource_spans": "traces",
    "resourceLogs": "logs",
    "resource_logs": "logs",
    "resourceProfiles": "profiles",
    "resource_profiles": "profiles",
}
_METRICS: Final = ("resourceMetrics", "resource_metrics")
_HEX_FIELDS: Final = {"trace_id", "span_id"}  # OTLP's exception from base64
# int() and float() would take spaces, underscores and the digits of all scripts.
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|NaN|-?Infinity")
_SURROGATE_ESCAPES: Final = re.compile(
    r"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\[^u])|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


class BadJsonError(ValueError):
    """The text is not an OTLP/JSON request. Its text says why."""


class OtherSignalError(Exception):
    """The text holds traces, logs or profiles, and no metrics. Its text is the signal's name."""


def request_from_json(text: bytes) -> bytes:
    """The serialized ``ExportMetricsServiceRequest`` that a JSON text stands for.

    The fields are in the order of the text, scalars of value zero included: another byte sequence than the
    collector's own for an equal message. Raises :class:`BadJsonError` and :class:`OtherSignalError`.
    """
    if text.count(b"{") + text.count(b"[") > MAX_CONTAINERS:
        raise BadJsonError(f"more than {MAX_CONTAINERS} objects and arrays")
    try:
        return _request(json.loads(_text(text)))
    except json.JSONDecodeError as error:
        raise BadJsonError(f"no JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise BadJsonError("nested too deeply") from None
    except BadJsonError:
        raise
    except ValueError:  # of json itself: an integer of more digits than Python converts
        raise BadJsonError("no JSON: a number is too long") from None


def _request(tree: object) -> bytes:
    if isinstance(tree, dict) and tree and not any(name in tree for name in _METRICS):
        for name in tree:
            if name in _OTHER_SIGNALS:
                raise OtherSignalError(_OTHER_SIGNALS[name])
        raise BadJsonError("no OTLP request: resourceMetrics is missing")
    return _message_encoder(metrics_service_pb2.ExportMetricsServiceRequest.DESCRIPTOR)(tree)


def _text(text: bytes) -> str:
    r"""The text for the JSON parser, with bytes that are not UTF-8 as lone surrogates.

    Escapes of lone surrogates become U+FFFD before: Go's decoders read them so too. Left alone, ``\udcff``
    would come out as the byte 0xFF.
    """
    decoded = text.decode("utf-8", "surrogateescape")
    if "\\ud" in decoded or "\\uD" in decoded:
        decoded = _SURROGATE_ESCAPES.sub(lambda match: match[1] or "\\ufffd", decoded)
    return decoded


def _kind(value: object) -> str:
    """What JSON calls a value of this type."""
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004  # seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _delimited(payload: bytes) -> bytes:
    return _varint(len(payload)) + payload


def _integer(value: object, low: int, high: int) -> int:
    """An integer of JSON: a number without fraction, or its digits in a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadJsonError(f"{_kind(value)} where an integer stands")
    if isinstance(value, float) and not value.is_integer():
        raise BadJsonError("a fraction where an integer stands")
    if isinstance(value, str) and not _INTEGER.fullmatch(value):
        raise BadJsonError("a string where an integer stands")
    number = int(value)
    if not low <= number <= high:
        raise BadJsonError("an integer is out of range")
    return number


def _double(value: object) -> bytes:
    """A number of JSON, or a number in a string, or one of the three that JSON cannot write."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadJsonError(f"{_kind(value)} where a number stands")
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise BadJsonError("a string where a number stands")
    try:
        return struct.pack("<d", float(value))
    except OverflowError:
        raise BadJsonError("a number is out of range") from None


def _boolean(value: object) -> bytes:
    if not isinstance(value, bool):
        raise BadJsonError(f"{_kind(value)} where a boolean stands")
    return b"\x01" if value else b"\x00"


def _string(value: object) -> bytes:
    if not isinstance(value, str):
        raise BadJsonError(f"{_kind(value)} where a string stands")
    return _delimited(value.encode("utf-8", "surrogateescape"))


def _base64(value: object) -> bytes:
    """Bytes in base64, with either alphabet, with or without padding (ProtoJSON takes all of them)."""
    if not isinstance(value, str):
        raise BadJsonError(f"{_kind(value)} where bytes in base64 stand")
    try:
        padded = value.rstrip("=").replace("-", "+").replace("_", "/")
        return _delimited(base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True))
    except ValueError:  # binascii's, and that of text beyond ASCII
        raise BadJsonError("a string that is not base64 where bytes stand") from None


def _hex(value: object) -> bytes:
    """An id in hexadecimal of either case."""
    if not isinstance(value, str):
        raise BadJsonError(f"{_kind(value)} where an id in hexadecimal stands")
    try:
        return _delimited(binascii.unhexlify(value))
    except ValueError:
        raise BadJsonError("a string that is not hexadecimal where an id stands") from None


def _enum(descriptor: EnumDescriptor) -> Encoder:
    numbers = {value.name: value.number for value in descriptor.values}

    def encode(value: object) -> bytes:
        if isinstance(value, str) and value in numbers:
            return _varint(numbers[value])
        return _signed(_integer(value, -(1 << 31), (1 << 31) - 1))

    return encode


def _signed(number: int) -> bytes:
    """A negative number is sign-extended to 64 bits (protobuf.dev, "Encoding", "Signed Integers")."""
    return _varint(number & (1 << 64) - 1)


def _zigzag(number: int) -> bytes:
    return _varint((number << 1) ^ (number >> 63))


def _integers(bits: int, write: Callable[[int], bytes], *, signed: bool) -> Encoder:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return lambda value: write(_integer(value, low, high))


# Wire type and encoding of each scalar type. OTLP's metrics use these; a field of another type counts as
# unknown.
_VARINT, _FIXED64, _BYTES = 0, 1, 2
_SCALARS: Final[dict[int, tuple[int, Encoder]]] = {
    Field.TYPE_DOUBLE: (_FIXED64, _double),
    Field.TYPE_INT64: (_VARINT, _integers(64, _signed, signed=True)),
    Field.TYPE_UINT64: (_VARINT, _integers(64, _varint, signed=False)),
    Field.TYPE_INT32: (_VARINT, _integers(32, _signed, signed=True)),
    Field.TYPE_UINT32: (_VARINT, _integers(32, _varint, signed=False)),
    Field.TYPE_SINT32: (_VARINT, _integers(32, _zigzag, signed=True)),
    Field.TYPE_FIXED64: (_FIXED64, _integers(64, struct.Struct("<Q").pack, signed=False)),
    Field.TYPE_SFIXED64: (_FIXED64, _integers(64, struct.Struct("<q").pack, signed=True)),
    Field.TYPE_BOOL: (_VARINT, _boolean),
    Field.TYPE_STRING: (_BYTES, _string),
}


def _field_encoder(field: Field) -> tuple[int, Encoder] | None:
    """Wire type and encoding of a field's value, ``None`` if OTLP's metrics have no such type."""
    if field.type == Field.TYPE_MESSAGE:
        nested = field.message_type
        # Looked up at each use: messages contain themselves (AnyValue).
        return _BYTES, lambda value: _delimited(_message_encoder(nested)(value))
    if field.enum_type is not None:
        return _VARINT, _enum(field.enum_type)
    if field.type == Field.TYPE_BYTES:
        return _BYTES, _hex if field.name in _HEX_FIELDS else _base64
    return _SCALARS.get(field.type)


@cache
def _message_encoder(descriptor: Descriptor) -> Encoder:
    """What encodes a JSON object as this message, without a length before it."""
    fields: dict[str, tuple[bytes, Encoder, bool]] = {}
    for field in descriptor.fields:
        if (known := _field_encoder(field)) is not None:
            wire_type, encode_value = known
            entry = (_varint(field.number << 3 | wire_type), encode_value, field.is_repeated)
            fields[field.name] = fields[field.json_name] = entry

    def encode(tree: object) -> bytes:
        if not isinstance(tree, dict):
            raise BadJsonError(f"{_kind(tree)} where an object stands")
        parts: list[bytes] = []
        for name, value in tree.items():
            if value is None or (field := fields.get(name)) is None:
                continue
            tag, encode_value, repeated = field
            if not repeated:
                parts += (tag, encode_value(value))
                continue
            if not isinstance(value, list):
                raise BadJsonError(f"{_kind(value)} where an array stands")
            for element in value:
                parts += (tag, encode_value(element))
        return b"".join(parts)

    return encode
