"""The requests of the simulated fleet are those that its nodes would send."""

from __future__ import annotations

import gzip

import pytest

from bench.scrapes import NOBODY, Body, Moment, Scrape, Shell, name_of, shell_frame
from exporter.redaction import Redactor
from otlp_receiver.reading import read_request
from otlp_receiver.selection import Selection

SELECTION = Selection(("sh", "bash", "csh", "tcsh"), Redactor(()).clean)
TIME_NS = 1_796_000_000_123_456_789
START_NS = 1_795_999_000_000_000_000


@pytest.mark.parametrize("processes", [1, 30, 700])
def test_a_request_is_what_compressing_each_scrape_would_give(processes: int) -> None:
    scrape = Scrape(processes)
    moment = Moment(scrape, TIME_NS)
    body, plain = Body(), b""
    for node in (0, 42, 98_765, 11_111):
        body.scrape(moment, node)
        plain += scrape.at(TIME_NS).replace(NOBODY, name_of(node))
        shell = shell_frame().of(Shell(node, 1_000, START_NS), TIME_NS)
        body.frames(shell)
        plain += shell
    assert gzip.decompress(body.finished()) == plain
    assert body.inflated == len(plain)


def test_the_service_reads_the_node_the_shell_and_the_times() -> None:
    body = Body()
    body.scrape(Moment(Scrape(), TIME_NS), 7)
    body.frames(shell_frame().of(Shell(7, 16_000, START_NS), TIME_NS))
    reading = read_request(gzip.decompress(body.finished()), SELECTION)
    [record] = reading.records
    [sample] = record.samples
    assert (reading.frames, reading.hit_frames, record.node.node) == (301, 1, "node-00007")
    assert (sample.pid, sample.start_ns, sample.time_ns) == (16_000, START_NS, TIME_NS)
    assert {point.time_ns for point in sample.points} == {TIME_NS}
    [probe_ns] = record.probe_times_ns
    assert TIME_NS - 100_000_000 < probe_ns <= TIME_NS


def test_a_pid_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="pid 100: want one of range"):
        shell_frame().of(Shell(7, 100, START_NS), TIME_NS)
