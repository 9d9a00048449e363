"""Entries of the journal as bytes: they read back exactly, or not at all."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from detector.context import Process
from detector.types import (
    Arrival,
    CloseReason,
    CommandLine,
    Metric,
    NodeId,
    Point,
    Record,
    Sample,
    SessionRow,
    ShellId,
)
from store.codec import (
    Stored,
    Undecodable,
    crc,
    digest,
    dump_arrival,
    dump_tick,
    load_arrival,
    load_tick,
    node_digest,
)
from store.seams import Position, Tick

Place: TypeAlias = tuple[bool, tuple[int, ...]]

integers = st.integers() | st.integers(-(2**63), 2**64)
nodes = st.builds(NodeId, st.text(), st.text())
shells = st.builds(ShellId, nodes, st.text(), integers, integers, st.text())
points = st.builds(Point, st.sampled_from(Metric), st.text(), integers, st.none() | st.floats())
lines = st.none() | st.builds(CommandLine, st.text(), integers, st.text())
samples = st.builds(
    Sample,
    st.text(),
    integers,
    integers,
    st.text(),
    integers,
    st.lists(points, max_size=4).map(tuple),
    st.none() | integers,
    st.text(),
    st.text(),
    lines,
    st.text(),
    st.lists(st.tuples(st.text(), st.text()), max_size=2).map(tuple),
)
processes = st.builds(Process, integers, integers, st.text(), st.none() | integers, lines, st.text())
records = st.builds(
    Record,
    nodes,
    st.lists(samples, max_size=3).map(tuple),
    st.lists(integers, max_size=3).map(tuple),
    integers,
    st.lists(processes, max_size=2).map(tuple),
    integers,
)
arrivals = st.builds(Arrival, records, integers, integers)
rows = st.builds(SessionRow, shells, integers, integers, integers, st.none() | st.sampled_from(CloseReason))
ticks = st.builds(Tick, integers, st.lists(st.tuples(integers.map(Position), rows), max_size=3).map(tuple))

NODE = NodeId("c", "n")
LINE = CommandLine("bash -c 'p\xf6'", 14, "ab")
VALUES = (0.1, -0.0, math.inf, -math.inf, math.nan, None, 5e-324)
SAMPLE = Sample(
    "h",
    7,
    1,
    "bash",
    2,
    tuple(Point(Metric.CPU, "user", 2, value) for value in VALUES),
    1,
    "/b",
    "root",
    LINE,
)
ARRIVAL = Arrival(Record(NODE, (SAMPLE, Sample("h", 8, 0, "sh", 2, ())), (2, 3), 4), 5, 2**64 - 1)
ROW = SessionRow(ShellId(NODE, "h", 7, 1, "bash"), 1, 2, 3, CloseReason.EXITED)
TICK = Tick(9, ((Position(4), ROW), (Position(5), SessionRow(ROW.shell, 0, 0, 0))))

ARRIVAL_BYTES = (
    b'[1,5,18446744073709551615,"c","n",[["h",7,1,"bash",2,['
    b'["process.cpu.utilization","user",2,0.1],["process.cpu.utilization","user",2,-0.0],'
    b'["process.cpu.utilization","user",2,Infinity],["process.cpu.utilization","user",2,-Infinity],'
    b'["process.cpu.utilization","user",2,NaN],["process.cpu.utilization","user",2,null],'
    b'["process.cpu.utilization","user",2,5e-324]],1,"/b","root",["bash -c \'p\\u00f6\'",14,"ab"]],'
    b'["h",8,0,"sh",2,[],null,"","",null]],[2,3],4]'
)
TICK_BYTES = b'[1,9,[[4,"c","n","h",7,1,"bash",1,2,3,"exited"],[5,"c","n","h",7,1,"bash",0,0,0,null]]]'


def exact(value: Arrival | Tick) -> str:
    """A text in which -0.0 is not 0.0, 1 is not 1.0, and NaN is equal to itself."""
    return repr(value)


@given(arrivals)
def test_an_arrival_reads_back_exactly(arrival: Arrival) -> None:
    data = dump_arrival(arrival)
    loaded = load_arrival(data)
    assert exact(loaded) == exact(arrival)
    assert dump_arrival(loaded) == data


@given(ticks)
def test_a_tick_reads_back_exactly(tick: Tick) -> None:
    data = dump_tick(tick)
    assert load_tick(data) == tick
    assert exact(load_tick(data)) == exact(tick)


def test_the_bytes_of_format_1_are_read_by_every_later_version() -> None:
    assert exact(load_arrival(ARRIVAL_BYTES)) == exact(ARRIVAL)
    assert load_tick(TICK_BYTES) == TICK


def test_the_bytes_of_format_2_are_read_and_those_of_format_3_written_and_read() -> None:
    shell, other = ARRIVAL.record.samples
    shell = replace(shell, cgroup="0::/a", labels=(("k8s.pod.name", "p"),))
    init = Process(1, 2, "systemd", 0, CommandLine("/sbin/init", 10), "0::/")
    record = replace(ARRIVAL.record, samples=(shell, other), processes=(init, Process(3, 4, "x")))
    arrival = replace(ARRIVAL, record=record)
    longer = ARRIVAL_BYTES.replace(b"[1,", b"[2,", 1)
    longer = longer.replace(b'14,"ab"]]', b'14,"ab"],"0::/a",[["k8s.pod.name","p"]]]')
    longer = longer.replace(b'"","",null]],', b'"","",null,"",[]]],')
    longer = longer[:-1] + b',[[1,2,"systemd",0,["/sbin/init",10,""],"0::/"],[3,4,"x",null,null,""]]]'
    assert exact(load_arrival(longer)) == exact(arrival)
    assert load_tick(TICK_BYTES.replace(b"[1,", b"[2,", 1)) == TICK
    arrival = replace(arrival, record=replace(record, signs=5))
    longest = longer.replace(b"[2,", b"[3,", 1)[:-1] + b",5]"
    assert dump_arrival(arrival) == longest
    assert exact(load_arrival(longest)) == exact(arrival)
    assert dump_tick(TICK) == TICK_BYTES.replace(b"[1,", b"[3,", 1)
    assert load_tick(dump_tick(TICK)) == TICK


def test_a_whole_number_as_the_value_of_a_point_reads_as_a_float() -> None:
    sample = Sample("h", 1, 1, "sh", 1, (Point(Metric.MEMORY, "", 1, 1),))
    arrival = Arrival(Record(NODE, (sample,)), 1, 1)
    loaded = load_arrival(dump_arrival(arrival))
    assert loaded == arrival
    assert type(loaded.record.samples[0].points[0].value) is float


def test_text_that_cannot_be_utf_8_is_written_and_read_back() -> None:
    arrival = Arrival(Record(NodeId("\ud800", "n\0"), ()), 1, 1)
    assert load_arrival(dump_arrival(arrival)) == arrival


def test_equal_text_is_kept_once() -> None:
    first, second = load_arrival(dump_arrival(ARRIVAL)), load_arrival(dump_arrival(ARRIVAL))
    one, other = first.record.samples[0], second.record.samples[0]
    assert (one.host, one.name, one.path, one.owner) == ("h", "bash", "/b", "root")
    pairs = [(one.host, other.host), (one.name, other.name), (one.path, other.path), (one.owner, other.owner)]
    pairs.append((one.points[0].slot, other.points[0].slot))
    pairs.append((first.record.node.node, second.record.node.node))
    assert all(left is right for left, right in pairs)


def decodes_or_says_why(data: bytes) -> int:
    """How many of the two readers took ``data``; any error but :class:`Undecodable` fails the test."""
    taken = 0
    for load in (load_arrival, load_tick):
        try:
            load(data)
        except Undecodable:
            pass
        else:
            taken += 1
    return taken


@given(st.binary())
def test_any_bytes_are_an_entry_or_undecodable(data: bytes) -> None:
    decodes_or_says_why(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=11),
    lambda inner: st.lists(inner, max_size=11) | st.dictionaries(st.text(max_size=3), inner, max_size=11),
    max_leaves=20,
)


@given(json_values)
@example({str(number): number for number in range(8)})
@example("12345678")
def test_any_json_is_an_entry_or_undecodable(value: Any) -> None:
    decodes_or_says_why(json.dumps(value).encode())


@given(st.sampled_from([ARRIVAL_BYTES, TICK_BYTES]), st.data())
def test_any_mutation_of_an_entry_is_an_entry_or_undecodable(valid: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(valid)))
    end = data.draw(st.integers(start, min(len(valid), start + 8)))
    decodes_or_says_why(valid[:start] + data.draw(st.binary(max_size=4)) + valid[end:])


def test_every_cut_and_every_flipped_bit_of_an_entry_is_an_entry_or_undecodable() -> None:
    for valid in (ARRIVAL_BYTES, TICK_BYTES):
        assert sum(decodes_or_says_why(valid[:length]) for length in range(len(valid))) == 0
        flips = [
            valid[:at] + bytes([valid[at] ^ (1 << bit)]) + valid[at + 1 :]
            for at in range(len(valid))
            for bit in range(8)
        ]
        assert 0 < sum(decodes_or_says_why(data) for data in flips) < len(flips) / 2


# Where the parts of an arrival (True) and of a tick (False) stand, by the type that each has to have.
INTEGERS = [
    *[
        (True, path)
        for path in [(0,), (1,), (2,), (7,), (6, 1), (5, 0, 1), (5, 0, 2), (5, 0, 4), (5, 0, 9, 1)]
    ],
    *[(True, (5, 0, 5, 0, 2))],
    *[
        (False, path)
        for path in [(0,), (1,), (2, 0, 0), (2, 0, 4), (2, 0, 5), (2, 0, 7), (2, 0, 8), (2, 0, 9)]
    ],
]
NUMBERS_OR_NULL = [(True, (5, 0, 6)), (True, (5, 0, 5, 0, 3))]
STRINGS = [
    *[(True, path) for path in [(3,), (4,), (5, 0, 0), (5, 0, 3), (5, 0, 7), (5, 0, 8)]],
    *[(True, path) for path in [(5, 0, 9, 0), (5, 0, 9, 2), (5, 0, 5, 0, 0), (5, 0, 5, 0, 1)]],
    *[(False, path) for path in [(2, 0, 1), (2, 0, 2), (2, 0, 3), (2, 0, 6)]],
]
KNOWN_STRINGS = [(True, (5, 0, 5, 0, 0)), (False, (2, 0, 10))]
ARRAYS = [
    *[(True, path) for path in [(), (5,), (5, 0), (5, 0, 5), (5, 0, 5, 0), (6,)]],
    *[(False, path) for path in [(), (2,), (2, 0)]],
]
ARRAYS_OR_NULL = [(True, (5, 0, 9))]
FIXED_ARRAYS = [
    *[(True, path) for path in [(), (5, 0), (5, 0, 5, 0), (5, 0, 9)]],
    *[(False, path) for path in [(), (2, 0)]],
]


@pytest.mark.parametrize(
    ("places", "wrong"),
    [
        (INTEGERS, [None, True, 1.0, "1", [], {}]),
        (NUMBERS_OR_NULL, [True, "1", [], {}]),
        (STRINGS, [None, True, 1, 1.0, [], {}]),
        (KNOWN_STRINGS, [True, 1, "other", [], {}]),
        (ARRAYS, [None, True, 1, 1.0, "", "text", {}, {"a": 1}]),
        (ARRAYS_OR_NULL, [True, 1, 1.0, "", "abc", [], {}, {"a": 1, "b": 2, "c": 3}]),
    ],
    ids=["integer", "number or null", "string", "known string", "array", "array or null"],
)
def test_each_part_of_an_entry_has_its_type(places: list[Place], wrong: list[object]) -> None:
    for place in places:
        for value in wrong:
            with pytest.raises(Undecodable, match=r"^want (an arrival|a tick), found "):
                load_with(place, value)


def test_each_array_of_fields_has_its_length() -> None:
    for place in FIXED_ARRAYS:
        array = load_with(place)
        for wrong in ([*array, 1], array[:-1]):
            with pytest.raises(Undecodable, match=r"ValueError: (too many|not enough) values to unpack"):
                load_with(place, wrong)


def load_with(place: Place, *wrong: object) -> Any:
    """Load the arrival or the tick above, with ``wrong`` at a place of it; gives what stands there."""
    of_arrival, path = place
    whole = [json.loads(ARRIVAL_BYTES if of_arrival else TICK_BYTES)]
    *outer, last = (0, *path)
    inner: Any = whole
    for at in outer:
        inner = inner[at]
    right = inner[last]
    inner[last:] = [*wrong, *inner[last + len(wrong) :]]
    (load_arrival if of_arrival else load_tick)(json.dumps(whole[0]).encode())
    return right


LONG = b'[1,1,1,"c","n",[["h",1,1,"sh",1,[["process.cpu.utilization","",1,1%s]],null,"","",null]],[],0]'


def test_the_value_that_is_too_long_below_is_read_where_it_is_short() -> None:
    assert load_arrival(LONG % b"").record.samples[0].points == (Point(Metric.CPU, "", 1, 1.0),)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"[" * 100_000, id="open arrays"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="nested arrays"),
        pytest.param(b'{"a":' * 100_000, id="objects"),
        pytest.param(b"9" * 100_000, id="a number of 100,000 digits"),
        pytest.param(LONG % (b"0" * 400), id="a value beyond the floats"),
        pytest.param(LONG.decode().replace("%s", "").encode("utf-16"), id="UTF-16"),
        pytest.param((LONG % b"").replace(b'"h"', b'"\xff"'), id="no UTF-8"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_hostile_bytes_are_undecodable(data: bytes) -> None:
    assert decodes_or_says_why(data) == 0


def test_an_error_says_what_was_found_and_what_was_wanted() -> None:
    with pytest.raises(Undecodable, match=r"^want a tick, found 8 bytes: ValueError: format 4, want 3$"):
        load_tick(b"[4,9,[]]")
    unknown = (LONG % b"").replace(b"process.cpu.utilization", b"m" * 1000)
    with pytest.raises(
        Undecodable, match=rf"^want an arrival, found {len(unknown)} bytes: KeyError: 'm{{99}}$"
    ):
        load_arrival(unknown)
    with pytest.raises(Undecodable, match=r"^want a tick, found 10 bytes: TypeError: str, want an integer$"):
        load_tick(b'[1,"2",[]]')


def test_a_known_digest_stays_what_it_is() -> None:
    assert digest(ROW.shell).hex() == "460be4c99ebf0d1473751790225e6d92"
    assert node_digest(NODE).hex() == "7a55035dc568488b4c2c31bcc2e1aa00"


@given(st.lists(shells, max_size=5, unique=True))
def test_digests_of_different_shells_and_nodes_differ(different: list[ShellId]) -> None:
    assert len({digest(shell) for shell in different}) == len(different)
    assert {len(digest(shell)) for shell in different} <= {16}
    different_nodes = {shell.node for shell in different}
    assert len({node_digest(node) for node in different_nodes}) == len(different_nodes)


def test_no_text_moves_between_the_parts_of_a_key() -> None:
    parted = ["ab", "c"], ["a", "bc"], ["", "abc"], ["abc", ""], ['a","b', "c"]
    assert len({node_digest(NodeId(*parts)) for parts in parted}) == len(parted)
    shells = [ShellId(NodeId("c", left), right, 1, 1, "sh") for left, right in parted]
    shells += [
        ShellId(NODE, "h", 1, 11, "sh"),
        ShellId(NODE, "h", 11, 1, "sh"),
        ShellId(NODE, "h", 1, 1, "1sh"),
    ]
    assert len({digest(shell) for shell in shells}) == len(shells)


def test_a_checksum_covers_value_type_length_and_place_of_each_column() -> None:
    rows: list[tuple[Stored, ...]] = [
        (), (None,), (None, None), (0,), (1,), (11,), (1, 1), (-1,), (1.0,), (1.5,), (2**63 - 1,),
        (-(2**63),), ("1",), ("11",), ("1", "1"), (b"1",), (b"11",), (b"1", b"1"), ("",), (b"",), ("", b""),
        (b"", ""), ("s1:1",), ("None;",), (b"a", 1), (1, b"a"), ("\ud800",), ("\xe9",), ("\xe9".encode(),),
    ]  # fmt: skip
    assert len({crc(*row) for row in rows}) == len(rows)
    assert all(0 <= crc(*row) < 2**32 for row in rows)
    assert crc(7, "arrival", b"node", b"[1]", None) == zlib.crc32(b"7;s7:arrivalb4:nodeb3:[1]None;")


def test_a_checksum_sees_every_flipped_bit() -> None:
    body = ARRIVAL_BYTES
    sound = crc(1, body)
    for at in range(len(body)):
        for bit in range(8):
            assert crc(1, body[:at] + bytes([body[at] ^ (1 << bit)]) + body[at + 1 :]) != sound
