from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from otel_shell_detector.captures.framing import well_formed
from tests.otel_shell_detector.captures.samples import CAPTURES

FIELD = {
    "varint": b"\x10\x96\x01",
    "fixed64": b"\x11" + b"\0" * 8,
    "bytes": b"\x0a\x03abc",
    "many bytes": b"\x0a\xac\x02" + b"a" * 300,
    "no bytes": b"\x0a\x00",
    "fixed32": b"\x15" + b"\0" * 4,
    "a large number": b"\xfa\xff\xff\xff\x0f\x01x",
    "a length that is longer than it need be": b"\x0a\x83\x80\x00abc",
}
NO_FIELD = {
    "a field of number 0": b"\x02\x01x",
    "a group": b"\x0b\x0c",
    "the end of a group": b"\x0c",
    "a wire type that does not exist": b"\x0e\x00",
    "a tag that does not end": b"\xff" * 11,
    "a tag of 33 bits": b"\xfa\xff\xff\xff\x1f\x01x",
    "a length of six bytes": b"\x0a\x83\x80\x80\x80\x80\x00abc",
    "a length that does not end": b"\x0a" + b"\xff" * 11,
    "a length beyond the end": b"\x0a\x04abc",
    "a length of two bytes beyond the end": b"\x0a\xac\x02abc",
    "a length of 2^63 and more": b"\x0a" + b"\xff" * 9 + b"\x01",
}


@pytest.mark.parametrize("name", FIELD)
def test_a_whole_field_is_well_formed(name: str) -> None:
    assert well_formed(FIELD[name]) == len(FIELD[name])
    for cut in range(1, len(FIELD[name])):
        assert well_formed(FIELD["bytes"] + FIELD[name][:cut]) == len(FIELD["bytes"])


@pytest.mark.parametrize("name", NO_FIELD)
def test_what_is_no_field_ends_what_is_well_formed(name: str) -> None:
    assert well_formed(NO_FIELD[name]) == 0
    assert well_formed(b"".join(FIELD.values()) + NO_FIELD[name]) == len(b"".join(FIELD.values()))


def test_a_real_request_is_well_formed() -> None:
    body = (CAPTURES / "scrape-300.pb").read_bytes()
    assert well_formed(body) == len(body)
    assert well_formed(body[:-1]) < len(body) - 1
    assert well_formed(b"") == 0


def frames_class() -> type:
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="frames.proto", syntax="proto3")
    field = file.message_type.add(name="Frames").field.add(name="resource_metrics", number=1)
    field.type, field.label = field.TYPE_BYTES, field.LABEL_REPEATED
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Frames"))


FRAMES = frames_class()
FIELDS = st.one_of(
    st.sampled_from([*FIELD.values()]),
    st.binary(max_size=6),
    st.binary(max_size=4).map(lambda payload: b"\x0a" + bytes([len(payload)]) + payload),
)


@given(st.lists(FIELDS, max_size=6).map(b"".join))
def test_what_is_well_formed_is_what_protobuf_parses(body: bytes) -> None:
    try:
        FRAMES.FromString(body)  # type: ignore[attr-defined]
    except DecodeError:
        assert well_formed(body) < len(body)
    else:
        # Groups apart.
        whole = well_formed(body)
        assert whole == len(body) or body[whole] & 7 in {3, 4}
