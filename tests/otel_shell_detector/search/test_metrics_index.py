"""What a real collector's ``splunk_hec`` exporter sends to a metrics index, searched in SQL.

The exporter is told to leave ``host.name`` among the dimensions; by default it becomes the event's host.
"""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from otel_shell_detector.captures import Request, requests
from otel_shell_detector.search.command import SearchRun
from otel_shell_detector.search.spl import Search
from tests.e2e.processes import Started, free_port, listens, peer, until
from tests.exporter.scripted_hec import Answer, ScriptedHec
from tests.otel_shell_detector.search import sql
from tests.otlp_receiver.encode import NODE, T0, attributes, data, double, fixed64, gauge, point, process

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

CAPTURES = Path(__file__).parents[2] / "captures"
SECOND = 10**9
EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
CONFIG = """
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
exporters:
  splunk_hec:
    endpoint: {url}/services/collector
    token: any
    sending_queue: {{enabled: false}} # a request is answered when it was sent
    otel_attrs_to_hec_metadata: {{host: {host}}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}
  pipelines: {{metrics: {{receivers: [otlp], exporters: [splunk_hec]}}}}
"""


class Index:
    """A collector that writes to an index; ``host`` is the attribute that becomes the events' host."""

    def __init__(self, started: Started, hec: ScriptedHec, host: str) -> None:
        self._hec = hec
        hec.always = Answer(200, {"text": "Success", "code": 0})
        port = free_port()
        config = started.folder / f"{host}.yaml"
        config.write_text(CONFIG.format(port=port, url=f"http://127.0.0.1:{hec.port}", host=host))
        started.start(host, [peer("collector-gateway"), "--config", config])
        until("the collector listens", lambda: listens(port), 60)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(EXPORT)

    def events(self, *bodies: bytes) -> list[dict[str, Any]]:
        """What it sends for these requests."""
        self._hec.requests.clear()
        for body in bodies:
            self._export(body, timeout=60)
        return [event for request in self._hec.requests for event in request.events]

    def close(self) -> None:
        self._channel.close()


@pytest.fixture(scope="module", params=["no.such.attribute", "host.name"])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    started = Started(tmp_path_factory.mktemp("index"))
    with ScriptedHec() as hec:
        try:
            found = Index(started, hec, request.param)
            yield found
            found.close()
        finally:
            started.end()


def indexed(events: list[dict[str, Any]]) -> Iterator[sql.Point]:
    """The measurements: those fields whose value is a number."""
    for event in events:
        fields = event["fields"]
        host, cluster, node, pid, name = (fields.get(field, "") for field in sql.FIELDS)
        for key, value in fields.items():
            metric = key.removeprefix("metric_name:")
            if metric != key and not isinstance(value, str):
                yield host, cluster, node, pid, name, metric, round(event["time"] * SECOND), float(value)


only_dimensions = pytest.mark.parametrize("index", ["no.such.attribute"], indirect=True)


@only_dimensions
@pytest.mark.parametrize(("name", "rows"), [("worker-1", 9), ("worker-3", 36), ("worker-4", 3)])
def test_search_exact_is_the_search_over_what_a_real_exporter_sends(
    index: Index, name: str, rows: int
) -> None:
    (path,) = CAPTURES.glob(f"{name}.pb*")
    bodies = [item.body for item in requests(path) if isinstance(item, Request)]
    (expected,) = sql.search([sql.DataSet(list(indexed(index.events(*bodies))))])
    found = Search()
    run = SearchRun(found, max_resources=1000)
    for body in bodies:
        run.feed(body)
    assert len(expected) == rows
    assert {tuple(row.key): (row.cpu, row.memory) for row in found.rows()} == {
        key: tuple(each if each is None else pytest.approx(each, rel=1e-12, abs=0) for each in averages)
        for key, averages in expected.items()
    }


def request(*points: bytes) -> bytes:
    metric = gauge("process.cpu.utilization", *points)
    return data(1, data(2, data(2, metric)) + data(1, attributes(1, (NODE | process()).items())))


VALUE = "metric_name:process.cpu.utilization"


@only_dimensions
@pytest.mark.parametrize(
    ("sent", "held"),
    [
        (point(double(4, 0.5)), 0.5),
        (point(fixed64(6, 3)), 3),
        (point(double(4, -0.5), flags=1), -0.5),
        (point(b""), None),
        (point(b"", flags=1), None),
        (point(double(4, float("nan"))), "NaN"),
        (point(double(4, float("inf"))), "+Inf"),
        (point(double(4, float("-inf"))), "-Inf"),
    ],
)
def test_a_value_arrives_as_the_search_takes_it(index: Index, sent: bytes, held: object) -> None:
    (event,) = index.events(request(sent))
    assert event["fields"].get(VALUE) == held
    assert event["time"] == T0 / SECOND
    found = Search()
    SearchRun(found, max_resources=1).feed(request(sent, point(double(4, 1.5))))
    numbers = [1.5, *([held] if isinstance(held, float | int) and isfinite(held) else [])]
    assert [row.cpu for row in found.rows()] == [sum(numbers) / len(numbers)]


@only_dimensions
def test_a_points_own_attributes_are_written_over_those_of_its_resource(index: Index) -> None:
    own = {"process.executable.name": "sh", "k8s.node.name": ""}
    (event,) = index.events(request(point(double(4, 0.5), states=own)))
    assert {name: event["fields"][name] for name in own} == own


@only_dimensions
def test_a_point_without_a_time_is_left_to_the_index_to_date(index: Index) -> None:
    (event,) = index.events(request(point(double(4, 0.5), time_ns=0)))
    assert "time" not in event


@pytest.mark.parametrize("index", ["host.name"], indirect=True)
def test_by_default_the_exporter_writes_no_dimension_host_name(index: Index) -> None:
    (event,) = index.events(request(point(double(4, 0.5))))
    assert (event["host"], "host.name" in event["fields"]) == ("worker-1.internal", False)
