"""The requests of the contest are scrapes of many nodes, with the shells that they say."""

from __future__ import annotations

import pytest

from bench import workload
from exporter.redaction import Redactor
from otlp_receiver.reading import read_request
from otlp_receiver.selection import Selection

SELECTION = Selection(("sh", "bash", "csh", "tcsh"), Redactor(()).clean)
POINTS_OF_A_SHELL = 11


@pytest.mark.parametrize("shells", [0, 2, 30])
def test_a_request_is_a_later_scrape_of_a_node_of_its_own(shells: int) -> None:
    body = workload.scrape(shells)
    [first, _, last] = workload.of_nodes(body, 3, 2)
    [was], [is_], [beside] = (read_request(each, SELECTION).records for each in (body, first, last))
    assert (is_.node.node, beside.node.node) == ("w000000000", "w000000002")
    assert len({(sample.pid, sample.start_ns) for sample in is_.samples}) == shells
    assert [sample.time_ns for sample in is_.samples] == [
        sample.time_ns + 2 * workload.SCRAPE_NS for sample in was.samples
    ]
    assert [sample.pid for sample in beside.samples] == [sample.pid for sample in is_.samples]


def test_more_shells_are_copies_of_the_two_real_ones() -> None:
    assert [workload.size_of(workload.scrape(shells)) for shells in (0, 2, 30)] == [
        (300, 3300),
        (301, 3308),
        (301 + 28, 3308 + 28 * POINTS_OF_A_SHELL),
    ]
    pids = {sample.pid for sample in read_request(workload.scrape(30), SELECTION).records[0].samples}
    assert pids == {304, 305, *range(2000, 2028)}


def test_an_odd_number_of_shells_is_refused() -> None:
    with pytest.raises(ValueError, match="3 shells: want a multiple of 2"):
        workload.scrape(3)


def test_the_scrapes_until_now_are_counted_from_the_real_one() -> None:
    body = workload.scrape(0)
    first = workload.scrapes_until(body, 2_000_000_000 * 1_000_000_000)
    moved = workload.of_nodes(body, 1, first)[0]
    assert workload.scrapes_until(moved, 2_000_000_000 * 1_000_000_000) == 0
