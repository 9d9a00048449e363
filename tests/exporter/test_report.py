"""Events that tell of several openings together."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from detector.events import Lane
from detector.judging.objects import RiskObject
from detector.judging.outcomes import Report, ReportKind
from detector.types import NodeId
from exporter.event import SIZE_LIMIT_BYTES, encode
from exporter.report_fields import REPORT_FIELDS
from exporter.settings import EventSettings

ENVELOPE = {"time", "host", "source", "sourcetype", "index", "event"}
SECOND = 1_000_000_000
ALIKE = (
    ("workload", "shop/cart"),
    ("systemd.unit", "x.service"),
    ("shell.placement", "pod"),
    ("process.parent.executable.name", "containerd-shim"),
    ("process.executable.name", "sh"),
    ("process.command_template", "5ca1ab1e"),
    ("process.command_line", "sh -c true"),
)
BURST = Report(
    kind=ReportKind.BURST,
    event_id="6f1c7f6e-9d1b-5c38-8f0c-3a5f0f0a1b2c",
    lane=Lane.RISK,
    cluster="prod",
    node=NodeId("prod", "node-7"),
    host="worker-7",
    count=200,
    first_ns=1_795_488_130 * SECOND,
    last_ns=1_795_488_190 * SECOND,
    fields=(*ALIKE, ("nodes", ("node-7",)), ("process.pids", ("1", "2")), ("session_ids", ("s1", "s2"))),
    score=25,
    object=RiskObject("prod/shop/cart", "other", "node-7"),
    attack=("T1059.004",),
    rules=("A rule",),
)
STORIES = ["Abnormal Kubernetes Behavior using Splunk Infrastructure Monitoring"]
EVENT: dict[str, Any] = {
    "event_id": "6f1c7f6e-9d1b-5c38-8f0c-3a5f0f0a1b2c",
    "kind": "burst",
    "risk_object": "prod/shop/cart",
    "risk_object_type": "other",
    "dest": "node-7",
    "risk_score": 25,
    "risk_message": "Kubernetes shell running on worker node on host node-7",
    "search_name": "Threat - OTel Shell Detector - Kubernetes Shell Running on Worker Node - Rule",
    "rules": ["A rule"],
    "annotations.mitre_attack": ["T1059.004"],
    "annotations.mitre_attack.mitre_technique_id": ["T1059.004"],
    "annotations.mitre_attack.mitre_technique": ["Command and Scripting Interpreter: Unix Shell"],
    "annotations.mitre_attack.mitre_tactic": ["Execution"],
    "annotations.mitre_attack.mitre_tactic_id": ["TA0002"],
    "annotations.analytic_story": STORIES,
    "analyticstories": STORIES,
    "savedsearch_description": (
        "A shell runs on a Kubernetes worker node, as the process metrics of its collector show."
    ),
    "security_domain": "threat",
    "user": "unknown",
    "count": 200,
    "first_seen": Decimal("1795488130.000"),
    "last_seen": Decimal("1795488190.000"),
    "orig_time": Decimal("1795488190.000"),
    "info_min_time": Decimal("1795488130.000"),
    "info_max_time": Decimal("1795488191.000"),
    "contributing_events_search": (
        '(index="risk" OR index="otel_shell") sourcetype="otel:shell:risk" '
        '(event_id="6f1c7f6e-9d1b-5c38-8f0c-3a5f0f0a1b2c" OR session_id IN ("s1", "s2"))'
    ),
    "k8s.cluster.name": "prod",
    "k8s.node.name": "node-7",
    "workload": "shop/cart",
    "systemd.unit": "x.service",
    "shell.placement": "pod",
    "process.executable.name": "sh",
    "process.parent.executable.name": "containerd-shim",
    "process.command_template": "5ca1ab1e",
    "nodes": ["node-7"],
    "process.pids": ["1", "2"],
    "session_ids": ["s1", "s2"],
    "threat_object": ["sh", "sh -c true", "containerd-shim"],
    "threat_object_type": ["process_name", "process", "parent_process_name"],
    "process.command_line": "sh -c true",
}


def read(report: Report) -> Any:
    return json.loads(encode(report, EventSettings()).body, parse_float=Decimal)


def test_a_burst_is_told() -> None:
    event = encode(BURST, EventSettings())
    assert (event.lane, event.event_id, event.arrived_ns) == (Lane.RISK, BURST.event_id, 0)
    envelope = read(BURST)
    assert {name: envelope[name] for name in ENVELOPE - {"event"}} == {
        "time": Decimal("1795488190.000"),
        "host": "worker-7",
        "source": EVENT["search_name"],
        "sourcetype": "otel:shell:risk",
        "index": "risk",
    }
    assert envelope["event"] == EVENT
    assert list(envelope["event"]) == list(EVENT)


def test_a_burst_over_all_nodes_that_was_capped() -> None:
    report = replace(BURST, node=None, score=0, capped_score=25, lane=Lane.CONTEXT)
    expected = {**EVENT, "risk_score": 0, "capped_score": 25}
    of_scored = [name for name in EVENT if name.startswith(("annotations.", "info_", "threat_"))]
    for name in (
        *of_scored[1:],
        *("k8s.node.name", "analyticstories", "savedsearch_description", "security_domain"),
        *("user", "contributing_events_search"),
    ):
        del expected[name]
    assert read(report)["event"] == expected
    assert read(report)["index"] == "otel_shell"


def test_what_a_rule_suppressed_is_audited() -> None:
    fields = (("policy.rule", "cron-jobs"), *ALIKE, ("session_ids", ("s1",)))
    report = Report(
        ReportKind.SUPPRESSED, "id", Lane.AUDIT, "prod", BURST.node, "worker-7", 3, SECOND, 2 * SECOND, fields
    )
    assert read(report)["event"] == {
        **{name: value for name, value in EVENT.items() if name in dict(ALIKE)},
        "event_id": "id",
        "kind": "suppressed",
        "risk_score": 0,
        "search_name": EVENT["search_name"],
        "policy.rule": "cron-jobs",
        "count": 3,
        "first_seen": Decimal("1.000"),
        "last_seen": Decimal("2.000"),
        "orig_time": Decimal("2.000"),
        "k8s.cluster.name": "prod",
        "k8s.node.name": "node-7",
        "session_ids": ["s1"],
    }


def test_the_summary_of_what_was_there_before() -> None:
    fields = (
        ("process.pids", ("1",)),
        ("process.executable.names", ("sh",)),
        ("workloads", ("x.service",)),
        ("session_ids", ("s1",)),
    )
    report = Report(
        ReportKind.PREEXISTING, "id", Lane.CONTEXT, "prod", BURST.node, "", 1, SECOND, SECOND, fields
    )
    envelope = read(report)
    assert "host" not in envelope
    assert {name: envelope["event"][name] for name, _ in fields} == {
        name: list(value) for name, value in fields
    }
    assert "risk_object" not in envelope["event"]


@pytest.mark.parametrize("bad", ["\x01" * 5000, "\u202e" * 5000])
def test_the_worst_report_fits(bad: str) -> None:
    lists = ("nodes", "process.pids", "session_ids", "workloads", "process.executable.names")
    fields: tuple[tuple[str, str | tuple[str, ...]], ...] = (
        ("policy.rule", bad),
        *((name, bad) for name, _ in ALIKE),
        *((name, (bad,) * 20) for name in lists),
    )
    for kind in ReportKind:
        report = replace(
            BURST, kind=kind, fields=fields, cluster=bad, host=bad, object=RiskObject(bad, "other", bad)
        )
        body = encode(replace(report, rules=(bad,) * 20, node=NodeId(bad, bad)), EventSettings()).body
        assert len(body) <= SIZE_LIMIT_BYTES
        counted = kind not in {ReportKind.NODE_SILENT, ReportKind.NODE_RETURNED}
        assert json.loads(body)["event"].get("count") == (200 if counted else None)


def test_every_field_is_declared_once_with_a_meaning() -> None:
    names = [field.name for field in REPORT_FIELDS]
    assert len(set(names)) == len(names)
    assert ENVELOPE.isdisjoint(names)
    assert all(field.meaning.endswith(".") for field in REPORT_FIELDS)
