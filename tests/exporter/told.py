"""What is told of the findings, as it is expected."""

import json
from decimal import Decimal
from typing import Any

from exporter.settings import EventSettings

SETTINGS = EventSettings()
ENVELOPE = {"time", "host", "source", "sourcetype", "index", "event"}


def exact(body: bytes) -> Any:
    """The object with numbers as they are written."""
    return json.loads(body, parse_float=Decimal)


SCORED = {
    "annotations.mitre_attack.mitre_technique_id": ["T1059.004", "T1204"],
    "annotations.mitre_attack.mitre_technique": [
        "Command and Scripting Interpreter: Unix Shell",
        "User Execution",
    ],
    "annotations.mitre_attack.mitre_tactic": ["Execution"],
    "annotations.mitre_attack.mitre_tactic_id": ["TA0002"],
    "annotations.analytic_story": ["Abnormal Kubernetes Behavior using Splunk Infrastructure Monitoring"],
    "analyticstories": ["Abnormal Kubernetes Behavior using Splunk Infrastructure Monitoring"],
    "savedsearch_description": (
        "A shell runs on a Kubernetes worker node, as the process metrics of its collector show."
    ),
    "security_domain": "threat",
}
EVIDENCE = (
    '(index="risk" OR index="otel_shell") sourcetype="otel:shell:risk" '
    'session_id="0b7a2f6e-1d1b-5c38-8f0c-3a5f0f0a1b2c"'
)
OF_SCORED = {
    *SCORED,
    *("user", "info_min_time", "info_max_time", "contributing_events_search"),
    *("threat_object", "threat_object_type"),
}
OPENED_EVENT: dict[str, Any] = {
    "time": Decimal("1795488130.870000253"),
    "host": "worker-7",
    "source": "Threat - OTel Shell Detector - Kubernetes Shell Running on Worker Node - Rule",
    "sourcetype": "otel:shell:risk",
    "index": "risk",
    "event": {
        "event_id": "6f1c7f6e-9d1b-5c38-8f0c-3a5f0f0a1b2c",
        "session_id": "0b7a2f6e-1d1b-5c38-8f0c-3a5f0f0a1b2c",
        "kind": "opened",
        "risk_object": "worker-7",
        "risk_object_type": "system",
        "dest": "worker-7",
        "user": "root",
        "risk_score": 25,
        "risk_message": "Kubernetes shell running on worker node on host worker-7",
        "search_name": "Threat - OTel Shell Detector - Kubernetes Shell Running on Worker Node - Rule",
        "rules": ["Kubernetes Shell Running on Worker Node"],
        "annotations.mitre_attack": ["T1059.004", "T1204"],
        **SCORED,
        "impact": 50,
        "confidence": 50,
        "host.name": "worker-7",
        "k8s.cluster.name": "prod",
        "k8s.node.name": "node-7",
        "process.pid": 649,
        "process.parent_pid": 1,
        "process.start_time": Decimal("1795488130.870"),
        "process.executable.name": "bash",
        "process.executable.path": "/usr/bin/bash",
        "process.owner": "root",
        "process.cpu.utilization": Decimal("0.25"),
        "process.cpu.utilization.total": Decimal("0.75"),
        "process.memory.utilization": Decimal("0.0625"),
        "windows": 1,
        "window_start": Decimal("1795488130.000"),
        "window_end": Decimal("1795488140.000"),
        "first_seen": Decimal("1795488130.870000253"),
        "last_seen": Decimal("1795488130.870000253"),
        "orig_time": Decimal("1795488130.870000253"),
        "info_min_time": Decimal("1795488130.000"),
        "info_max_time": Decimal("1795488140.000"),
        "contributing_events_search": EVIDENCE,
        "incarnation": 0,
        "resumed": False,
        "ordinal": 0,
        "partial": False,
        "shell.placement": "unknown",
        "shell.placement_basis": "absent",
        "shell.origin": "unknown",
        "shell.mode": "unknown",
        "preexisting": False,
        "context_basis": "absent",
        "threat_object": ["/usr/bin/bash", "bash -i"],
        "threat_object_type": ["file_path", "process"],
        "process.command_line.length": 7,
        "process.command_line.truncated": False,
        "process.command_line": "bash -i",
    },
}
