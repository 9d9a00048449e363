"""Whole envelopes, as the service must have sent them: what is known beforehand, and what was measured."""

from __future__ import annotations

from typing import Any, Final

import pytest

from detector.identity import event_id, session_id
from detector.types import Kind, NodeId, ShellId
from exporter.context_fields import CONTEXT_FIELDS, SCORING_FIELDS
from exporter.schema import FIELDS

_AROUND: Final = {field.name for field in (*CONTEXT_FIELDS, *SCORING_FIELDS)}
"""Where a shell runs and who started it, which is the machine's."""
_SCORED: Final = {field.name for field in FIELDS if field.scored}
_STORY: Final = "Abnormal Kubernetes Behavior using Splunk Infrastructure Monitoring"
_DESCRIPTION: Final = (
    "A shell runs on a Kubernetes worker node, as the process metrics of its collector show."
)
_STORE: Final = "otel-shell-detector"


def opening(way: str, arrived: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The envelope of an opening: ``known`` are the fields of the event that differ from shell to shell."""
    event = arrived["event"]
    first, last, start = event["first_seen"], event["last_seen"], event["process.start_time"]
    assert start - 2 <= first <= last < event["window_end"]
    assert event["window_start"] % 10 == 0
    assert event["window_start"] <= first
    assert 0 < event["process.memory.utilization"] < 10
    measured = {"process.memory.utilization", "window_start", "first_seen", "last_seen", "process.start_time"}
    if "process.cpu.utilization" in event:  # not on the first scrape of a process
        measured |= {"process.cpu.utilization", "process.cpu.utilization.total"}
        assert 0 <= event["process.cpu.utilization"] <= event["process.cpu.utilization.total"] <= 2
    measured |= _AROUND & event.keys()
    host = known["host.name"]
    return {
        "time": pytest.approx(first, abs=1e-6),
        "host": host,
        "source": way,
        "sourcetype": "otel:shell:risk",
        "index": "risk",
        "event": {field: event[field] for field in measured}
        | known
        | {
            "event_id": event_id(_STORE, _identity(known, start), 0, Kind.OPENED, 0),
            "session_id": session_id(_STORE, _identity(known, start), 0),
            "kind": "opened",
            "risk_object": host,
            "risk_object_type": "system",
            "dest": host,
            "risk_score": 25,
            "risk_message": f"Kubernetes shell running on worker node on host {host}",
            "search_name": "Threat - OTel Shell Detector - Kubernetes Shell Running on Worker Node - Rule",
            "rules": ["Kubernetes Shell Running on Worker Node"],
            "annotations.mitre_attack": ["T1059.004", "T1204"],
            **_of_scored(event, known, start),
            "impact": 50,
            "confidence": 50,
            "k8s.cluster.name": "e2e",
            "windows": 1,
            "window_end": event["window_start"] + 10,
            "orig_time": first,
            "incarnation": 0,
            "resumed": False,
            "ordinal": 0,
            "partial": False,
            "process.command_line.length": len(known["process.command_line"].encode()),
            "process.command_line.truncated": False,
        },
    }


def _of_scored(event: dict[str, Any], known: dict[str, Any], start: float) -> dict[str, Any]:
    """What Enterprise Security reads."""
    session = session_id(_STORE, _identity(known, start), 0)
    parent = event.get("process.parent.executable.name")
    threats = {"file_path": known["process.executable.path"], "process": known["process.command_line"]}
    threats |= {"parent_process_name": parent} if parent else {}
    owner = event.get("process.owner")
    return {
        "annotations.mitre_attack.mitre_technique_id": ["T1059.004", "T1204"],
        "annotations.mitre_attack.mitre_technique": [
            "Command and Scripting Interpreter: Unix Shell",
            "User Execution",
        ],
        "annotations.mitre_attack.mitre_tactic": ["Execution"],
        "annotations.mitre_attack.mitre_tactic_id": ["TA0002"],
        "annotations.analytic_story": [_STORY],
        "analyticstories": [_STORY],
        "savedsearch_description": _DESCRIPTION,
        "security_domain": "threat",
        "info_min_time": event["window_start"],
        "info_max_time": event["window_start"] + 10,
        "contributing_events_search": (
            f'(index="risk" OR index="otel_shell") sourcetype="otel:shell:risk" session_id="{session}"'
        ),
        "threat_object": list(threats.values()),
        "threat_object_type": list(threats),
    } | ({"user": owner} if owner else {})


def ending(opened: dict[str, Any], closed: dict[str, Any], reason: str) -> dict[str, Any]:
    """The envelope of the end of a session that was scraped in every window, from that of its opening."""
    event = closed["event"]
    measured = {name for name in event if name.endswith(("utilization", ".total"))} | _AROUND | _SCORED
    last = event["last_seen"]
    assert opened["event"]["last_seen"] <= last
    identity = _identity(event, event["process.start_time"])
    end = last // 10 * 10 + 10
    return opened | {
        "time": pytest.approx(last, abs=1e-6),
        "index": "otel_shell",
        "event": {name: opened["event"][name] for name in opened["event"] if name not in measured}
        | {name: event[name] for name in measured & event.keys()}
        | {
            "event_id": event_id(_STORE, identity, 0, Kind.CLOSED, 0),
            "kind": "closed",
            "risk_score": 0,
            "windows": (end - opened["event"]["window_start"]) / 10,
            "window_end": end,
            "last_seen": last,
            "orig_time": last,
            "close_reason": reason,
            "duration": pytest.approx(last - event["first_seen"], abs=1e-6),
        },
    }


def _identity(event: dict[str, Any], start: float) -> ShellId:
    return ShellId(
        NodeId("e2e", event["k8s.node.name"]),
        event["host.name"],
        int(event["process.pid"]),
        round(start * 1000) * 1_000_000,
        event["process.executable.name"],
    )
