"""Two implementations of one promise: what the scan finds is what a full parse finds."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otlp_receiver.reading import Reading, UnreadableRequest, read_request
from otlp_receiver.selection import Match, Selection
from tests.otlp_receiver.captures import BY_BOTH, BY_NAME, SHELLS, bare, clean, requests
from tests.otlp_receiver.random_wire import RandomWire, mutated
from tests.otlp_receiver.reference import processes_of, read_all, without_processes

SELECTIONS = [
    BY_NAME,
    BY_BOTH,
    Selection(("bash", "python3"), clean, match=(Match.PATH,), cluster_name="configured"),
    Selection(SHELLS, clean, max_resources=3),
]


@settings(max_examples=1500)
@given(seed=st.integers(0, 2**64), selection=st.sampled_from(SELECTIONS))
def test_a_random_request_reads_as_its_full_parse(seed: int, selection: Selection) -> None:
    body = RandomWire(seed).request()
    try:
        expected: Reading | type = read_all(body, selection)
    except UnreadableRequest as error:
        expected = type(error)
    try:
        found: Reading | type = without_processes(read_request(body, selection))
    except UnreadableRequest as error:
        found = type(error)
    assert found == expected


@settings(max_examples=1500)
@given(seed=st.integers(0, 2**64))
def test_what_explains_a_shell_is_what_a_full_parse_says_of_it(seed: int) -> None:
    body = RandomWire(seed).request()
    of_nodes = processes_of(body, BY_BOTH)
    for record in read_request(body, BY_BOTH).records:
        pids = [process.pid for process in record.processes]
        assert len(set(pids)) == len(pids)
        assert not {sample.pid for sample in record.samples} & set(pids)
        assert set(record.processes) <= of_nodes[record.node]
        assert record.samples or not record.processes


def test_random_requests_reach_what_they_are_for() -> None:
    readings = [read_request(RandomWire(seed).request(), BY_BOTH) for seed in range(300)]
    records = [record for reading in readings for record in reading.records]
    reached = {
        "several nodes": any(len(reading.records) > 2 for reading in readings),
        "several samples of one frame": any(len(record.samples) > 2 for record in records),
        "no sample": any(not record.samples for record in records),
        "start of pid 1": any(record.init_start_ns for record in records),
        "processes": any(len(record.processes) > 1 for record in records),
        "rejects": {reason for reading in readings for reason in reading.rejected},
        "replaced text": {attribute for reading in readings for attribute in reading.text_replaced},
        "empty frames": any(reading.empty_frames for reading in readings),
        "unknown clusters": any(reading.unknown_clusters for reading in readings),
        "hits that are none": any(
            reading.hit_frames > sum(len(record.samples) for record in reading.records)
            for reading in readings
        ),
    }
    assert reached == {
        "several nodes": True,
        "several samples of one frame": True,
        "no sample": True,
        "start of pid 1": True,
        "processes": True,
        "rejects": {"undecodable", "no_pid", "no_node"},
        "replaced text": {
            "cluster_name",
            "host.id",
            "host.name",
            "k8s.cluster.name",
            "k8s.cluster.uid",
            "k8s.node.name",
            "k8s.*",
            "process.cgroup",
            "process.command_line",
            "process.executable.name",
            "process.executable.path",
            "process.owner",
        },
        "empty frames": True,
        "unknown clusters": True,
        "hits that are none": True,
    }


@pytest.mark.parametrize(
    ("body", "mutations"),
    [(bare("scrape-300.pb"), 2500), *((each, 2500) for each in requests("worker-4.pb"))],
    ids=["scrape-300", "worker-4 a", "worker-4 b", "worker-4 c"],
)
def test_a_mutated_real_request_is_read_or_refused_and_nothing_else(body: bytes, mutations: int) -> None:
    randomness = random.Random(len(body))
    ends = {"read": 0, "refused": 0}
    for _ in range(mutations):
        try:
            assert isinstance(read_request(mutated(body, randomness), BY_BOTH), Reading)
            ends["read"] += 1
        except UnreadableRequest:
            ends["refused"] += 1
    assert min(ends.values()) > mutations // 100


def test_reading_mutated_requests_keeps_no_memory() -> None:
    body = requests("worker-4.pb")[0]
    randomness = random.Random(1)
    tracemalloc.start()
    try:
        for _ in range(300):
            try:
                read_request(mutated(body, randomness), BY_BOTH)
            except UnreadableRequest:
                continue
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1 << 20
    assert peak < 4 << 20
