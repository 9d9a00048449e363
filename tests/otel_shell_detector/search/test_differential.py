"""Two implementations of one search: ours over the bytes, and SQL over a full parse."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from otel_shell_detector.captures import Request, requests
from otel_shell_detector.search.command import SearchRun
from otel_shell_detector.search.spl import Search
from tests.otel_shell_detector.search import sql
from tests.otel_shell_detector.search.generated import BASE, BIN, Generated, Generator

pytestmark = pytest.mark.timeout(400)

CAPTURES = Path(__file__).parents[2] / "captures"
SETS = 3000
EQUAL = 1e-12


def ours(bodies: list[bytes], earliest_ns: int | None, latest_ns: int | None) -> dict[sql.Key, sql.Averages]:
    found = Search(earliest_ns, latest_ns)
    run = SearchRun(found, max_resources=100_000)
    for body in bodies:
        run.feed(body)
    return {tuple(row.key): (row.cpu, row.memory) for row in found.rows()}


def approximately(rows: dict[sql.Key, sql.Averages]) -> dict[sql.Key, tuple[Any, ...]]:
    return {
        key: tuple(each if each is None else pytest.approx(each, rel=EQUAL, abs=0) for each in averages)
        for key, averages in rows.items()
    }


def test_search_exact_is_the_search_in_sql_on_thousands_of_data_sets() -> None:
    rows = 0
    for first in range(0, SETS, 500):
        seeds = range(first, first + 500)
        generated = [Generator(seed).data_set() for seed in seeds]
        parsed = [
            [ExportMetricsServiceRequest.FromString(body) for body in each.requests] for each in generated
        ]
        expected = sql.search(
            [
                sql.DataSet(list(sql.flat(requests)), each.earliest_ns, each.latest_ns)
                for requests, each in zip(parsed, generated, strict=True)
            ]
        )
        for seed, each, of_set, told in zip(seeds, generated, parsed, expected, strict=True):
            # Half of them in the field order of another encoder.
            bodies = [request.SerializeToString() for request in of_set] if seed % 2 else each.requests
            assert ours(bodies, each.earliest_ns, each.latest_ns) == approximately(told), f"seed {seed}"
            rows += len(told)
    assert rows > SETS / 2


def reached(each: Generated) -> set[str]:
    """Which of the hard cases a data set holds, by what the search makes of it."""
    bodies, bounds = each.requests, (each.earliest_ns, each.latest_ns)
    points = list(sql.flat([ExportMetricsServiceRequest.FromString(body) for body in bodies]))
    rows = ours(bodies, *bounds)
    times = {point[6] for point in points}
    kept = [point for point in points if all(point[:5]) and point[4] in {"sh", "bash", "csh", "tcsh"}]
    keys = {tuple(point[:5]) for point in kept}
    found = {
        "a row": bool(rows),
        "no row for points": bool(keys) and not rows,
        "a row without cpu": any(cpu is None for cpu, _ in rows.values()),
        "a row without memory": any(memory is None for _, memory in rows.values()),
        "a negative average": any(min(cpu or 0, memory or 0) < 0 for cpu, memory in rows.values()),
        "an average of zero": any(0.0 in averages for averages in rows.values()),
        "some rows filtered": 0 < len(rows) < len(keys),
        "a missing by-field": any(not all(point[:5]) for point in points),
        "several hosts on a node": len({key[0] for key in keys}) > 1 == len({key[2] for key in keys}),
        "a repeated request": len(set(bodies)) < len(bodies),
        "another order changes nothing": ours(bodies[::-1], *bounds) == rows,
        "a point on the first bound": each.earliest_ns in times,
        "a point on the end": each.latest_ns in times,
        "a point on a bin's edge": any(time and (time - BASE) % BIN == 0 for time in times),
        "a point before a bin's edge": any(time and (time - BASE) % BIN == BIN - 1 for time in times),
        "a gap": {0, 2} <= (bins := {(time - BASE) // BIN for time in times}) and 1 not in bins,
    }
    return {name for name, is_so in found.items() if is_so}


def test_the_data_sets_reach_what_they_are_for() -> None:
    counts = dict.fromkeys(reached(Generator(0).data_set()), 0)
    for seed in range(300):
        for name in reached(Generator(seed).data_set()):
            counts[name] = counts.get(name, 0) + 1
    assert len(counts) == 16, counts
    assert min(counts.values()) >= 3, counts
    assert counts["another order changes nothing"] == 300


def captured(name: str) -> list[ExportMetricsServiceRequest]:
    """A capture by none of our readers. A command line of worker-4 is not UTF-8, which no by-field is."""
    as_json = CAPTURES / f"{name}.json"
    if as_json.exists():
        lines = as_json.read_text("utf-8", errors="replace").splitlines()
        return [json_format.ParseDict(json.loads(line), ExportMetricsServiceRequest()) for line in lines]
    packed = CAPTURES / f"{name}.pb.zst"
    whole = subprocess.run(["zstd", "-dc", packed], capture_output=True, check=True).stdout
    found, at = [], 0
    while at < len(whole):
        end = at + 4 + int.from_bytes(whole[at : at + 4], "big")
        found.append(ExportMetricsServiceRequest.FromString(whole[at + 4 : end]))
        at = end
    return found


@pytest.mark.parametrize(
    ("name", "rows"), [("worker-1", 9), ("worker-2", 41), ("worker-3", 36), ("worker-4", 3)]
)
def test_search_exact_is_the_search_in_sql_on_every_capture(name: str, rows: int) -> None:
    points = list(sql.flat(captured(name)))
    (path,) = CAPTURES.glob(f"{name}.pb*")
    bodies = [item.body for item in requests(path) if isinstance(item, Request)]
    times = sorted(point[6] for point in points)
    middle, end = times[len(times) // 2], times[-1]
    bounds = [(None, None), (None, middle), (middle, None), (middle, end)]
    expected = sql.search([sql.DataSet(points, *within) for within in bounds])
    for within, told in zip(bounds, expected, strict=True):
        assert ours(bodies, *within) == approximately(told)
    assert len(expected[0]) == rows
