"""The check of names in PromQL finds what is wrong, and nothing else."""

from __future__ import annotations

import pytest

from tests.alerts.promql import Matcher, Names, names, queries, unknown

P = "otel_shell_detector_"


def test_names_are_told_apart() -> None:
    found = names(
        'sum by (job, lane) (rate(a_total{lane=~"risk|audit", job="$job"}[$__rate_interval])) / on (job)'
        " group_left (version) b{} > 1e3 or avg(c offset 1h) # and d\n"
        ' unless vector(0.5) and label_replace(e, "x", "$1", "y", "")'
    )
    assert found == Names(
        [
            ("a_total", (Matcher("lane", "=~", "risk|audit"), Matcher("job", "=", "$job"))),
            ("b", ()),
            ("c", ()),
            ("e", ()),
        ],
        {"job", "lane", "version"},
    )


@pytest.mark.parametrize(
    "expression",
    [
        "up == 0",
        f"{P}ready == 0",
        f'rate({P}exporter_acks_total{{result=~"timed_out|missing", pod=~"$pod"}}[5m])',
        f"histogram_quantile(0.9, sum by (le, sink) (rate({P}exporter_send_seconds_bucket[5m])))",
        f"{P}exporter_send_seconds_sum / {P}exporter_send_seconds_count",
        f'{P}exporter_lane_state{{lane="$lane", state="backoff"}}',
        f'{P}receiver_requests_total{{code="OK"}}',
        f'{P}http_requests_total{{path="/readyz", code=~"5.."}}',
        f'{P}detector_findings_total{{kind=~".+"}}',
        'ALERTS{alertname="X"}',
    ],
)
def test_what_is_declared_is_known(expression: str) -> None:
    assert unknown(expression) == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("process_cpu_seconds_total", ["process_cpu_seconds_total: no such metric"]),
        (f"rate({P}exporter_send_seconds[5m])", [f"{P}exporter_send_seconds: no such metric"]),
        (f"{P}ready_total + {P}ready", [f"{P}ready_total: no such metric"]),
        (f'{P}ready{{state="on"}}', [f"{P}ready: no label state"]),
        (
            f'{P}detector_points_total{{reason=~"nan|left|changed|kidnapped|negative"}}',
            [f"{P}detector_points_total: no reason is left, changed, kidnapped"],
        ),
        ('up{lane="risk"}', ["up: no label lane"]),
        (f"sum by (lane) ({P}ready)", ["lane: no label of these metrics"]),
    ],
)
def test_what_is_not_declared_is_told(expression: str, wrong: list[str]) -> None:
    assert unknown(expression) == wrong


def test_what_is_no_promql_is_refused() -> None:
    with pytest.raises(ValueError, match="want PromQL"):
        unknown("up ? 1")


def test_the_queries_of_a_dashboard_are_found_wherever_they_stand() -> None:
    dashboard = {
        "panels": [{"type": "row", "panels": [{"targets": [{"expr": "a"}, {"expr": "b"}]}], "title": "c"}],
        "templating": {
            "list": [
                {"definition": 'label_values(d{x="y"}, job)', "query": {"query": "label_values(d, job)"}},
                {"type": "datasource", "query": "prometheus"},
            ]
        },
    }
    assert list(queries(dashboard)) == ["a", "b", 'd{x="y"}', "d"]
