"""The search in SQL on DuckDB, over a full parse with opentelemetry-proto: none of our code is in it.

Many data sets are searched at once, each with bounds of its own; DuckDB's favg() is a compensated sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

SPL = """
WITH mstats AS (
    SELECT set_number, host, cluster, node, pid, name, time_ns // 10000000000 AS bin,
        favg(value) FILTER (metric = 'process.cpu.utilization') AS cpu,
        favg(value) FILTER (metric = 'process.memory.utilization') AS memory
    FROM points JOIN bounds USING (set_number)
    WHERE name IN ('sh', 'bash', 'csh', 'tcsh')
        AND host <> '' AND cluster <> '' AND node <> '' AND pid <> ''
        AND isfinite(value)
        AND time_ns > 0
        AND (earliest IS NULL OR time_ns >= earliest)
        AND (latest IS NULL OR time_ns < latest)
    GROUP BY ALL
)
SELECT set_number, host, cluster, node, pid, name, favg(cpu), favg(memory)
FROM mstats
WHERE cpu > 0 OR memory > 0
GROUP BY ALL
"""
COLUMNS = {
    "set_number": "INTEGER",
    "host": "TEXT",
    "cluster": "TEXT",
    "node": "TEXT",
    "pid": "TEXT",
    "name": "TEXT",
    "metric": "TEXT",
    "time_ns": "UBIGINT",
    "value": "DOUBLE",
}
FIELDS = ("host.name", "k8s.cluster.name", "k8s.node.name", "process.pid", "process.executable.name")

Key = tuple[str, ...]
Averages = tuple[float | None, float | None]


Point = tuple[str, str, str, str, str, str, int, float]
"""By-fields, metric, time in nanoseconds, value."""


class DataSet(NamedTuple):
    """Points and bounds of a search over them."""

    points: Sequence[Point]
    earliest_ns: int | None = None
    latest_ns: int | None = None


def search(sets: Sequence[DataSet]) -> list[dict[Key, Averages]]:
    """By-fields and averages of the rows, for each data set."""
    with duckdb.connect() as database:
        database.execute(f"CREATE TABLE points ({', '.join(f'{n} {t}' for n, t in COLUMNS.items())})")
        database.execute("CREATE TABLE bounds (set_number INTEGER, earliest UBIGINT, latest UBIGINT)")
        points = [(number, *point) for number, each in enumerate(sets) for point in each.points]
        columns = [list(column) for column in zip(*points, strict=True)] or [[] for _ in COLUMNS]
        unnested = ", ".join(f"unnest(?::{type_}[])" for type_ in COLUMNS.values())
        database.execute(f"INSERT INTO points SELECT {unnested}", columns)
        bounds = [(number, each.earliest_ns, each.latest_ns) for number, each in enumerate(sets)]
        database.executemany("INSERT INTO bounds VALUES (?, ?, ?)", bounds)
        found: list[dict[Key, Averages]] = [{} for _ in sets]
        for number, *key, cpu, memory in database.execute(SPL).fetchall():
            found[number][tuple(key)] = (cpu, memory)
        return found


def flat(requests: Sequence[ExportMetricsServiceRequest]) -> Iterator[Point]:
    """Every number data point of all requests."""
    for request in requests:
        for frame in request.resource_metrics:
            for scope in frame.scope_metrics:
                for metric in scope.metrics:
                    for point in (*metric.gauge.data_points, *metric.sum.data_points):
                        if point.WhichOneof("value") is None:
                            continue
                        attributes = {
                            each.key: text(each.value)
                            for each in (*frame.resource.attributes, *point.attributes)
                        }
                        value = point.as_double if point.HasField("as_double") else float(point.as_int)
                        host, cluster, node, pid, name = (attributes.get(field, "") for field in FIELDS)
                        yield host, cluster, node, pid, name, metric.name, point.time_unix_nano, value


def text(value: AnyValue) -> str:
    if value.HasField("string_value"):
        return value.string_value
    if value.HasField("int_value"):
        return f"{value.int_value}"
    if value.HasField("bool_value"):
        return "true" if value.bool_value else "false"
    return f"{value.double_value:g}" if value.HasField("double_value") else ""
