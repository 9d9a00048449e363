"""Findings to encode: one session of one shell, opened, ongoing and closed."""

from dataclasses import replace
from typing import Any

from detector.events import Lane
from detector.judging.objects import RiskObject
from detector.judging.outcomes import Told, Verdict
from detector.types import CloseReason, CommandLine, Evidence, Finding, Kind, NodeId, ShellId, Span

SECOND = 1_000_000_000
START = 1_795_488_130 * SECOND + 870_000_000

OPENED = Finding(
    event_id="6f1c7f6e-9d1b-5c38-8f0c-3a5f0f0a1b2c",
    session_id="0b7a2f6e-1d1b-5c38-8f0c-3a5f0f0a1b2c",
    kind=Kind.OPENED,
    shell=ShellId(NodeId("prod", "node-7"), "worker-7", 649, START - 2 * SECOND, "bash"),
    incarnation=0,
    ordinal=0,
    span=Span(
        1, 1_795_488_130 * SECOND, 1_795_488_140 * SECOND, START + 253, START + 253, 0.25, 0.75, 0.0625
    ),
    first_seen_ns=START + 253,
    last_seen_ns=START + 253,
    envelope_ns=START + 253,
    evidence=Evidence(START, 1, "/usr/bin/bash", "root", CommandLine("bash -i", 7)),
    arrived_ns=77,
)
ONGOING = replace(
    OPENED,
    event_id="11111111-9d1b-5c38-8f0c-3a5f0f0a1b2c",
    kind=Kind.ONGOING,
    ordinal=1,
    incarnation=2,
    span=replace(OPENED.span, windows=360, window_end_ns=1_795_491_730 * SECOND, cpu=None, cpu_total=None),
    last_seen_ns=1_795_491_729 * SECOND,
    evidence=Evidence(),
    arrived_ns=0,
)
CLOSED = replace(
    OPENED,
    event_id="22222222-9d1b-5c38-8f0c-3a5f0f0a1b2c",
    kind=Kind.CLOSED,
    reason=CloseReason.EXITED,
    last_seen_ns=START + 61 * SECOND,
    envelope_ns=START + 61 * SECOND,
    evidence=replace(OPENED.evidence, command_line=CommandLine("sh -c ...", 4000, "ab" * 32)),
    arrived_ns=0,
)


def told(finding: Finding, **more: Any) -> Told:
    """A finding as a plain judge has it told: an opening scores 25, on the node."""
    opened = finding.kind is Kind.OPENED
    verdict = Verdict(
        lane=Lane.RISK if opened else Lane.CONTEXT,
        score=25 if opened else 0,
        object=RiskObject(finding.shell.host or finding.shell.node.node, "system"),
        attack=("T1059.004", "T1204"),
        rules=("Kubernetes Shell Running on Worker Node",),
    )
    return Told(finding, replace(verdict, **more))
