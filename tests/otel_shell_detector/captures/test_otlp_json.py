from __future__ import annotations

import base64
import json
import math
import tracemalloc
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

from otel_shell_detector.captures.otlp_json import (
    MAX_CONTAINERS,
    BadJsonError,
    OtherSignalError,
    _field_encoder,
    request_from_json,
)
from tests.otel_shell_detector.captures.samples import CAPTURES, capture, parse

ExportMetricsServiceRequest = metrics_service_pb2.ExportMetricsServiceRequest


@pytest.mark.parametrize("node", ["worker-1", "worker-4"])
def test_the_collector_writes_the_same_requests_as_json_and_as_protobuf(node: str) -> None:
    assert capture(f"{node}.json") == capture(f"{node}.pb")


def test_the_bytes_of_a_command_line_that_is_not_utf_8_survive() -> None:
    line = b"/bin/bash -c while :; do sleep 1; done # caf\xe9 \xff\xfe"
    with pytest.raises(UnicodeDecodeError):
        (CAPTURES / "worker-4.json").read_text("utf-8")
    for name in ("worker-4.json", "worker-4.pb"):
        requests = capture(name)
        assert all(line in request.SerializeToString() for request in requests)


def value(text: bytes) -> Any:
    """What the JSON of an attribute's value becomes."""
    return attribute(b'{"value":' + text + b"}").value


def attribute(text: bytes) -> Any:
    request: Any = parse(
        request_from_json(b'{"resourceMetrics":[{"resource":{"attributes":[' + text + b"]}}]}")
    )
    return request.resource_metrics[0].resource.attributes[0]


def point(text: bytes) -> Any:
    """What the JSON of a data point becomes."""
    metric = b'{"metrics":[{"gauge":{"dataPoints":[' + text + b"]}}]}"
    request: Any = parse(request_from_json(b'{"resourceMetrics":[{"scopeMetrics":[' + metric + b"]}]}"))
    return request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (rb'"a\u001b\n\t\"\\\/\u00e9\ud83d\udc1a"', 'a\x1b\n\t"\\/é🐚'.encode()),
        ('"é🐚"'.encode(), "é🐚".encode()),
        (b'"\x7f"', b"\x7f"),
        (b'"caf\xe9 \xff\xfe"', b"caf\xe9 \xff\xfe"),
        (b'"\xed\xa0\x80"', b"\xed\xa0\x80"),  # a surrogate as UTF-8 would have it, if it could
        (b'"\xf0\x9f\x90"', b"\xf0\x9f\x90"),  # cut in the midst of a character
        (rb'"\udcff"', "\ufffd".encode()),  # an escape, which is no byte 0xFF
        (rb'"\ud83dx\udc1a"', "\ufffdx\ufffd".encode()),
        (rb'"\ud83d\ud83d\udc1a"', "\ufffd🐚".encode()),
        (rb'"\\udcff"', rb"\udcff"),
        (rb'"\\\udcff"', b"\\" + "\ufffd".encode()),
        (rb'"\u0000"', b"\0"),
        (b'""', b""),
    ],
)
def test_text_comes_out_as_its_bytes(written: bytes, expected: bytes) -> None:
    assert value(b'{"stringValue":' + written + b"}").string_value == expected


@given(st.binary(max_size=30))
def test_any_bytes_written_as_the_collector_writes_them_come_out_again(text: bytes) -> None:
    # jsoniter escapes quotes, backslashes and what is below a space; every other byte stands as it is.
    escapes = {byte: f"\\u{byte:04x}".encode() for byte in range(0x20)} | {0x22: b'\\"', 0x5C: b"\\\\"}
    written = b"".join(escapes.get(byte, bytes([byte])) for byte in text)
    assert value(b'{"stringValue":"' + written + b'"}').string_value == text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b'{"asDouble":0.5}', 0.5),
        (b'{"as_double":-2.88}', -2.88),
        (b'{"asDouble":"NaN"}', math.nan),
        (b'{"asDouble":"Infinity"}', math.inf),
        (b'{"asDouble":"-Infinity"}', -math.inf),
        (b'{"asDouble":NaN}', math.nan),
        (b'{"asDouble":1e-7}', 1e-7),
        (b'{"asDouble":"1.5E+3"}', 1500.0),
        (b'{"asDouble":".5"}', 0.5),
        (b'{"asDouble":7}', 7.0),
        (b'{"asDouble":"7."}', 7.0),
        (b'{"asDouble":1e999}', math.inf),
        (b'{"asDouble":0.1000000000000000055511151231257827}', 0.1),
        (b'{"asInt":"-9223372036854775808"}', -(1 << 63)),
        (b'{"asInt":9223372036854775807}', (1 << 63) - 1),
        (b'{"asInt":"+5"}', 5),
        (b'{"asInt":3.0}', 3),
        (b'{"as_int":"0"}', 0),
        (b'{"asDouble":1, "asInt":"2"}', 2),
        (b'{"asInt":"2", "asDouble":1}', 1.0),
        (b'{"asInt":"2", "asInt":"3"}', 3),
    ],
)
def test_a_number_may_be_written_in_many_ways(written: bytes, expected: float) -> None:
    read = point(written)
    found = getattr(read, read.WhichOneof("value"))
    assert type(found) is type(expected)
    assert found == expected or (math.isnan(found) and math.isnan(expected))


def test_a_value_of_zero_is_still_a_value() -> None:
    assert point(b'{"asDouble":0}').WhichOneof("value") == "as_double"
    assert point(b'{"asInt":"0"}').WhichOneof("value") == "as_int"
    assert value(b'{"stringValue":""}').WhichOneof("value") == "string_value"
    assert value(b'{"boolValue":false}').WhichOneof("value") == "bool_value"
    assert point(b'{"asDouble":null}').WhichOneof("value") is None


def test_times_flags_and_enums_are_read_by_either_name() -> None:
    camel = point(b'{"startTimeUnixNano":"18446744073709551615","timeUnixNano":17,"flags":1}')
    snake = point(b'{"start_time_unix_nano":18446744073709551615,"time_unix_nano":"17","flags":"1"}')
    assert camel == snake
    assert (camel.start_time_unix_nano, camel.time_unix_nano, camel.flags) == ((1 << 64) - 1, 17, 1)
    for written in (b"2", b'"2"', b'"AGGREGATION_TEMPORALITY_CUMULATIVE"'):
        metric = b'{"metrics":[{"sum":{"aggregationTemporality":' + written + b',"isMonotonic":true}}]}'
        request: Any = parse(request_from_json(b'{"resourceMetrics":[{"scopeMetrics":[' + metric + b"]}]}"))
        total = request.resource_metrics[0].scope_metrics[0].metrics[0].sum
        assert (total.aggregation_temporality, total.is_monotonic) == (2, True)


@pytest.mark.parametrize("written", [b"AP8+/w==", b"AP8+/w", b"AP8-_w==", b"AP8-_w"])
def test_bytes_are_base64_of_either_alphabet(written: bytes) -> None:
    assert value(b'{"bytesValue":"' + written + b'"}').bytes_value == b"\x00\xff\x3e\xff"


def test_trace_and_span_ids_are_hexadecimal() -> None:
    read = point(
        b'{"exemplars":[{"traceId":"000102030405060708090A0B0C0D0E0f","spanId":"0011223344556677"}]}'
    )
    assert read.exemplars[0].trace_id == bytes(range(16))
    assert read.exemplars[0].span_id == bytes.fromhex("0011223344556677")


def test_unknown_fields_are_left_out_whatever_they_hold() -> None:
    assert attribute(
        b'{"key":"k","new":{"a":[1,"x",null]},"value":{"stringValue":"v","other":1}}'
    ) == attribute(b'{"key":"k","value":{"stringValue":"v"}}')


BAD = {
    b"": "no JSON: Expecting value at character 0",
    b"{": "no JSON: Expecting property name enclosed in double quotes at character 1",
    b'{"resourceMetrics":[]': "no JSON: Expecting ',' delimiter at character 21",
    b"{}{}": "no JSON: Extra data at character 2",
    b"[]": "an array where an object stands",
    b"null": "null where an object stands",
    b'"text"': "a string where an object stands",
    b"true": "a boolean where an object stands",
    b"1.5": "a number where an object stands",
    b'{"resource":{}}': "no OTLP request: resourceMetrics is missing",
    b'{"resourceMetrics":{}}': "an object where an array stands",
    b'{"resourceMetrics":[1]}': "a number where an object stands",
    b'{"resourceMetrics":[null]}': "null where an object stands",
    b"[" * 100_000: "nested too deeply",
    b'{"resourceMetrics":' + b"9" * 5000 + b"}": "no JSON: a number is too long",
    b'{"resourceMetrics":["\x01"]}': "no JSON: Invalid control character at at character 21",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_text_that_is_no_request_is_refused_with_a_reason(text: bytes) -> None:
    with pytest.raises(BadJsonError) as caught:
        request_from_json(text)
    assert str(caught.value) == BAD[text]


BAD_POINTS = {
    b'{"asDouble":true}': "a boolean where a number stands",
    b'{"asDouble":"1_0"}': "a string where a number stands",
    b'{"asDouble":"nan"}': "a string where a number stands",
    b'{"asDouble":""}': "a string where a number stands",
    b'{"asDouble":[]}': "an array where a number stands",
    b'{"asDouble":1' + b"0" * 400 + b"}": "a number is out of range",
    b'{"asInt":1.5}': "a fraction where an integer stands",
    b'{"asInt":Infinity}': "a fraction where an integer stands",
    b'{"asInt":false}': "a boolean where an integer stands",
    b'{"asInt":"0x10"}': "a string where an integer stands",
    '{"asInt":"٣"}'.encode(): "a string where an integer stands",
    b'{"asInt":9223372036854775808}': "an integer is out of range",
    b'{"asInt":"-99999999999999999999"}': "an integer is out of range",
    b'{"timeUnixNano":"-1"}': "an integer is out of range",
    b'{"flags":4294967296}': "an integer is out of range",
    b'{"attributes":[{"key":7}]}': "a number where a string stands",
    b'{"attributes":[{"value":{"boolValue":1}}]}': "a number where a boolean stands",
    b'{"attributes":[{"value":{"bytesValue":1}}]}': "a number where bytes in base64 stand",
    b'{"attributes":[{"value":{"bytesValue":"?"}}]}': "a string that is not base64 where bytes stand",
    '{"attributes":[{"value":{"bytesValue":"é"}}]}'.encode(): "a string that is not base64 where bytes stand",
    b'{"exemplars":[{"traceId":1}]}': "a number where an id in hexadecimal stands",
    b'{"exemplars":[{"traceId":"xy"}]}': "a string that is not hexadecimal where an id stands",
    '{"exemplars":[{"traceId":"éé"}]}'.encode(): "a string that is not hexadecimal where an id stands",
    b'{"attributes":['
    + b'{"value":{"arrayValue":{"values":[' * 3000
    + b"]}}}" * 3000
    + b"]}": "nested too deeply",
}


@pytest.mark.parametrize("text", BAD_POINTS, ids=range(len(BAD_POINTS)))
def test_a_value_of_another_kind_is_refused_with_a_reason(text: bytes) -> None:
    with pytest.raises(BadJsonError) as caught:
        point(text)
    assert str(caught.value) == BAD_POINTS[text]


def test_an_unknown_name_of_an_enum_is_refused() -> None:
    metric = b'{"metrics":[{"sum":{"aggregationTemporality":"SIDEWAYS"}}]}'
    with pytest.raises(BadJsonError, match=r"^a string where an integer stands$"):
        request_from_json(b'{"resourceMetrics":[{"scopeMetrics":[' + metric + b"]}]}")


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        (b'{"resourceSpans":[]}', "traces"),
        (b'{"resource_spans":[]}', "traces"),
        (b'{"resourceLogs":[{}]}', "logs"),
        (b'{"x":1,"resource_logs":[{}]}', "logs"),
        (b'{"dictionary":{},"resourceProfiles":[{}]}', "profiles"),
        (b'{"resource_profiles":[{}]}', "profiles"),
    ],
)
def test_other_signals_are_named(text: bytes, signal: str) -> None:
    with pytest.raises(OtherSignalError, match=f"^{signal}$"):
        request_from_json(text)


def all_fields(descriptor: Descriptor, seen: set[str]) -> list[FieldDescriptor]:
    if descriptor.full_name in seen:
        return []
    seen.add(descriptor.full_name)
    fields = list(descriptor.fields)
    for field in descriptor.fields:
        if field.message_type is not None:
            fields += all_fields(field.message_type, seen)
    return fields


def test_every_field_of_a_request_can_be_read() -> None:
    fields = all_fields(ExportMetricsServiceRequest.DESCRIPTOR, set())
    assert len(fields) > 90
    assert [field.full_name for field in fields if _field_encoder(field) is None] == []


def test_a_field_of_a_type_that_metrics_do_not_have_counts_as_unknown() -> None:
    class Field:
        message_type = enum_type = None
        type = FieldDescriptor.TYPE_GROUP

    assert _field_encoder(Field()) is None  # type: ignore[arg-type]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    # JSON has one NaN, without sign and payload.
    FieldDescriptor.TYPE_DOUBLE: st.floats().map(lambda number: math.nan if math.isnan(number) else number),
    FieldDescriptor.TYPE_INT64: st.integers(-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_SFIXED64: st.integers(-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, (1 << 64) - 1),
    FieldDescriptor.TYPE_FIXED64: st.integers(0, (1 << 64) - 1),
    FieldDescriptor.TYPE_INT32: st.integers(-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.TYPE_SINT32: st.integers(-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, (1 << 32) - 1),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_STRING: TEXT,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
    FieldDescriptor.TYPE_ENUM: st.integers(0, 2),
}


def fill(message: Any, draw: st.DrawFn, depth: int) -> None:
    """Some fields of a message, whatever they are."""
    fields = list(message.DESCRIPTOR.fields)
    for field in draw(st.lists(st.sampled_from(fields), max_size=4, unique_by=lambda field: field.number)):
        count = draw(st.integers(0, 3)) if field.is_repeated else 1
        for _ in range(count):
            if field.message_type is None:
                written = draw(SCALARS[field.type])
                if field.is_repeated:
                    getattr(message, field.name).append(written)
                else:
                    setattr(message, field.name, written)
            elif depth:
                child = getattr(message, field.name)
                child = child.add() if field.is_repeated else child
                child.SetInParent()
                fill(child, draw, depth - 1)


@st.composite
def random_requests(draw: st.DrawFn) -> Any:
    """A request of two resources."""
    request = ExportMetricsServiceRequest()
    fill(request.resource_metrics.add(), draw, 8)
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add()
    fill(metric, draw, 8)
    return request


@pytest.mark.parametrize("preserving", [True, False])
@pytest.mark.parametrize("enums_as_integers", [True, False])
@given(data=st.data())
def test_what_protobufs_own_writer_writes_is_read_as_protobufs_own_reader_does(
    data: st.DataObject, preserving: bool, enums_as_integers: bool
) -> None:
    request = data.draw(random_requests())
    text = json_format.MessageToJson(
        request,
        preserving_proto_field_name=preserving,
        use_integers_for_enums=enums_as_integers,
        indent=None,
        ensure_ascii=data.draw(st.booleans()),
    )
    tree = json.loads(text, object_hook=ids_in_hexadecimal)
    written = ExportMetricsServiceRequest.FromString(request_from_json(json.dumps(tree).encode()))
    assert written.SerializeToString(deterministic=True) == request.SerializeToString(deterministic=True)


def ids_in_hexadecimal(tree: dict[str, Any]) -> dict[str, Any]:
    """OTLP's exception, which json_format does not know."""
    for name in ("traceId", "spanId", "trace_id", "span_id"):
        if name in tree:
            tree[name] = base64.b64decode(tree[name]).hex()
    return tree


def test_a_text_of_nothing_but_objects_is_refused_before_it_takes_room() -> None:
    for element in (b"{}", b"[]"):
        text = b'{"resourceMetrics":[' + b",".join([element] * (MAX_CONTAINERS - 2)) + b"]}"
        tracemalloc.start()
        with pytest.raises(BadJsonError, match=r"^more than 3000000 objects and arrays$"):
            request_from_json(text + element)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(text)
        tracemalloc.stop()


def test_the_collector_writes_few_objects_for_its_bytes() -> None:
    text = (CAPTURES / "worker-1.json").read_bytes()
    assert len(text) / (text.count(b"{") + text.count(b"[")) > 25
