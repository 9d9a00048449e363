import hashlib
import json
import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.context import (
    Cgroup,
    Context,
    ContextBasis,
    Invocation,
    Mode,
    Origin,
    Placement,
    Process,
)
from detector.events import Lane
from detector.judging.objects import RiskObject
from detector.types import CloseReason, CommandLine, Evidence, Finding, Kind, NodeId, ShellId, Span
from exporter.context_fields import LABELS
from exporter.event import SIZE_LIMIT_BYTES, encode
from exporter.fields import Type
from exporter.schema import FIELDS
from exporter.settings import EventSettings
from tests.exporter.findings import CLOSED, ONGOING, OPENED, told

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
OPENED_EVENT = {
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


def test_an_opened_finding_becomes_a_risk_event() -> None:
    event = encode(told(OPENED), SETTINGS)
    assert (event.lane, event.event_id, event.arrived_ns) == (Lane.RISK, OPENED.event_id, 77)
    assert exact(event.body) == OPENED_EVENT
    assert list(exact(event.body)["event"]) == list(OPENED_EVENT["event"])  # type: ignore[call-overload]


def test_an_ongoing_finding_is_context_and_leaves_out_what_is_unknown() -> None:
    """No attribute was seen, no cpu point; the session resumed twice. The start of the identity stands in."""
    event = encode(told(ONGOING), SETTINGS)
    inner = {
        **OPENED_EVENT["event"],  # type: ignore[dict-item]
        "event_id": ONGOING.event_id,
        "kind": "ongoing",
        "risk_score": 0,
        "process.start_time": Decimal("1795488128.870"),
        "windows": 360,
        "window_end": Decimal("1795491730.000"),
        "last_seen": Decimal("1795491729.000"),
        "incarnation": 2,
        "resumed": True,
        "ordinal": 1,
    }
    for unknown in (
        *OF_SCORED,
        "preexisting",
        "process.parent_pid",
        "process.executable.path",
        "process.owner",
        "process.cpu.utilization",
        "process.cpu.utilization.total",
        "process.command_line.length",
        "process.command_line.truncated",
        "process.command_line",
    ):
        del inner[unknown]
    assert (event.lane, exact(event.body)) == (
        Lane.CONTEXT,
        {**OPENED_EVENT, "index": "otel_shell", "event": inner},
    )


def test_a_closed_finding_says_why_and_how_long() -> None:
    event = encode(told(CLOSED), SETTINGS)
    inner = {
        **OPENED_EVENT["event"],  # type: ignore[dict-item]
        "event_id": CLOSED.event_id,
        "kind": "closed",
        "risk_score": 0,
        "last_seen": Decimal("1795488191.870"),
        "orig_time": Decimal("1795488191.870"),
        "close_reason": "exited",
        "duration": Decimal("60.999999747"),
        "process.command_line.length": 4000,
        "process.command_line.truncated": True,
        "process.command_line.sha256": "ab" * 32,
        "process.command_line": "sh -c ...",
    }
    for name in ("preexisting", *OF_SCORED):
        del inner[name]
    assert (event.lane, exact(event.body)) == (
        Lane.CONTEXT,
        {**OPENED_EVENT, "time": Decimal("1795488191.870"), "index": "otel_shell", "event": inner},
    )


def test_an_ongoing_finding_that_scores_goes_to_the_risk_index() -> None:
    """The seed profile."""
    event = encode(told(ONGOING, lane=Lane.RISK, score=25), SETTINGS)
    assert (event.lane, exact(event.body)["index"]) == (Lane.RISK, "risk")
    inner = exact(event.body)["event"]
    assert inner.keys() >= OF_SCORED
    assert inner["user"] == "unknown"  # nobody knows the owner
    assert (inner["info_min_time"], inner["info_max_time"]) == (
        Decimal("1795488130.000"),
        Decimal("1795491730.000"),
    )
    assert (inner["threat_object"], inner["threat_object_type"]) == (["bash"], ["process_name"])


def test_a_technique_that_is_not_known_has_an_id_and_no_name() -> None:
    """A burst that an earlier version began may hold one."""
    inner = exact(encode(told(OPENED, attack=("T9999", "T1611")), SETTINGS).body)["event"]
    assert {name: inner[name] for name in inner if name.startswith("annotations.mitre")} == {
        "annotations.mitre_attack": ["T9999", "T1611"],
        "annotations.mitre_attack.mitre_technique_id": ["T9999", "T1611"],
        "annotations.mitre_attack.mitre_technique": ["Escape to Host"],
        "annotations.mitre_attack.mitre_tactic": ["Privilege Escalation"],
        "annotations.mitre_attack.mitre_tactic_id": ["TA0004"],
    }


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        (
            {"staged": True, "index": "otel_shell"},
            '(index="otel_shell") sourcetype="otel:shell:risk"',
        ),
        ({"index": ""}, '(index=*) sourcetype="otel:shell:risk"'),
        ({"context_index": ""}, '(index=*) sourcetype="otel:shell:risk"'),
        ({"index": 'a"b', "sourcetype": "c\\d"}, '(index="a\\"b" OR index="otel_shell") sourcetype="c\\\\d"'),
    ],
)
def test_the_evidence_is_searched_where_it_was_sent(settings: dict[str, Any], where: str) -> None:
    inner = exact(encode(told(OPENED), replace(SETTINGS, **settings)).body)["event"]
    assert inner["contributing_events_search"] == f'{where} session_id="{OPENED.session_id}"'


def test_a_lane_without_an_index_leaves_it_to_the_token() -> None:
    assert "index" not in exact(encode(told(OPENED), replace(SETTINGS, index="")).body)


def test_the_risk_object_is_the_verdicts_and_the_message_names_the_node() -> None:
    pod = RiskObject("prod/shop/cart", "other", "node-7")
    for of in (RiskObject("node-7", "system"), pod):
        inner = exact(encode(told(OPENED, object=of), SETTINGS).body)["event"]
        assert (inner["risk_object"], inner["risk_object_type"]) == (of.name, of.type)
        assert (inner["dest"], inner["host.name"]) == ("node-7", "worker-7")
        assert inner["risk_message"].endswith("on host node-7")


def test_without_a_host_the_node_stands_in_and_without_both_nothing_does() -> None:
    nameless = replace(OPENED, shell=replace(OPENED.shell, host=""))
    event = exact(encode(told(nameless), SETTINGS).body)
    assert (event["host"], event["event"]["risk_object"]) == ("node-7", "node-7")
    assert "host.name" not in event["event"]
    nobody = replace(nameless, shell=replace(nameless.shell, node=NodeId("prod", ""), start_ns=0))
    event = exact(encode(told(replace(nobody, evidence=Evidence())), SETTINGS).body)
    assert "host" not in event
    assert {"risk_object", "k8s.node.name", "process.start_time"}.isdisjoint(event["event"])


def test_source_and_message_are_configurable() -> None:
    event = exact(
        encode(told(OPENED), EventSettings(risk_name="X", message="$host$: $host$", source="mine")).body
    )
    assert (event["source"], event["event"]["search_name"]) == (
        "mine",
        "Threat - OTel Shell Detector - X - Rule",
    )
    assert event["event"]["risk_message"] == "worker-7: worker-7"


def test_what_a_terminal_would_obey_is_escaped_and_other_text_is_utf8() -> None:
    line = CommandLine("bell\x07 csi\x9b bidi\u202e nl\n é 😀 \ud800", 40)
    body = encode(told(replace(OPENED, evidence=Evidence(command_line=line))), SETTINGS).body
    assert b"bell\\u0007 csi\\u009b bidi\\u202e nl\\n " in body
    assert "é 😀 \\\\ud800".encode() in body
    assert exact(body)["event"]["process.command_line"] == line.text.replace("\ud800", "\\ud800")


def test_a_command_line_whose_escapes_exceed_the_event_is_cut_further() -> None:
    """2 KiB of control characters take 12 KiB of JSON. The whole is hashed, for it is here."""
    line = CommandLine("\x01" * 2048, 2048)
    inner = exact(encode(told(replace(OPENED, evidence=Evidence(command_line=line))), SETTINGS).body)["event"]
    assert 500 < len(inner["process.command_line"]) < 1400
    assert inner["process.command_line.truncated"] is True
    assert inner["process.command_line.length"] == 2048
    assert inner["process.command_line.sha256"] == hashlib.sha256(line.text.encode()).hexdigest()


def test_a_long_name_is_cut_and_shows_it() -> None:
    inner = exact(encode(told(replace(OPENED, shell=replace(OPENED.shell, host="h" * 400))), SETTINGS).body)[
        "event"
    ]
    assert inner["host.name"] == "h" * 251 + "…"


@pytest.mark.parametrize("mean", [math.nan, math.inf, -math.inf])
def test_a_mean_that_json_cannot_say_is_left_out(mean: float) -> None:
    inner = exact(encode(told(replace(OPENED, span=replace(OPENED.span, cpu=mean))), SETTINGS).body)["event"]
    assert "process.cpu.utilization" not in inner


hostile = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(list('\x00\x07\x1b\x9b\n\r"\\/\u2028\u202e\ufeff😀$')),
        st.characters(categories=["Cs", "Cc", "Cf"]),
    ),
    max_size=300,
)
long_hostile = st.builds(lambda text, times: (text * times)[:5000], hostile, st.integers(1, 400))
times = st.integers(-(2**63), 2**63)
means = st.none() | st.floats()
lines = st.none() | st.builds(
    lambda text, cut: CommandLine(text[:2048], len(text), "f" * 64 if cut else ""),
    long_hostile,
    st.booleans(),
)
findings = st.builds(
    Finding,
    event_id=st.uuids().map(str),
    session_id=st.uuids().map(str),
    kind=st.sampled_from(Kind),
    shell=st.builds(
        ShellId,
        node=st.builds(NodeId, long_hostile, long_hostile),
        host=long_hostile,
        pid=times,
        start_ns=times,
        name=long_hostile,
    ),
    incarnation=st.integers(0, 2**40),
    ordinal=st.integers(0, 2**40),
    span=st.builds(Span, times, times, times, times, times, means, means, means),
    first_seen_ns=times,
    last_seen_ns=times,
    envelope_ns=times,
    evidence=st.builds(Evidence, times, st.none() | times, long_hostile, long_hostile, lines),
    reason=st.none() | st.sampled_from(CloseReason),
    partial=st.booleans(),
)
settings_of_events = st.builds(
    EventSettings,
    risk_name=st.sampled_from(["X", "n" * 128]),
    message=st.sampled_from(["$host$" * 42, "é" * 256]),
    source=st.sampled_from(["", "s" * 256]),
    sourcetype=st.just("t" * 128),
    index=st.sampled_from(["", "i" * 128]),
)


@given(findings, settings_of_events)
def test_every_event_is_bounded_valid_repeatable_and_shadows_no_key_of_the_envelope(
    finding: Finding, settings: EventSettings
) -> None:
    event = encode(told(finding), settings)
    assert len(event.body) <= SIZE_LIMIT_BYTES
    assert event == encode(told(finding), settings)
    parsed = json.loads(event.body.decode("utf-8"))
    assert parsed.keys() <= ENVELOPE
    names = [field.name for field in FIELDS if finding.kind in field.kinds]
    assert [name for name in names if name in parsed["event"]] == list(parsed["event"])
    assert parsed["event"].keys().isdisjoint(ENVELOPE)
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in event.body.decode())


@given(times)
def test_times_lose_nothing(time_ns: int) -> None:
    written = exact(encode(told(replace(OPENED, envelope_ns=time_ns)), SETTINGS).body)["time"]
    assert written * 1_000_000_000 == time_ns


def test_every_field_is_declared_once_with_a_meaning_and_its_type() -> None:
    names = [field.name for field in FIELDS]
    assert len(set(names)) == len(names)
    assert ENVELOPE.isdisjoint(names)
    assert all(field.meaning.endswith(".") for field in FIELDS)
    kinds: dict[Type, type | tuple[type, ...]] = {
        Type.STRING: str,
        Type.INTEGER: int,
        Type.NUMBER: Decimal,
        Type.TIME: Decimal,
        Type.DURATION: Decimal,
        Type.BOOLEAN: bool,
        Type.STRINGS: list,
    }
    for finding in (OPENED, ONGOING, CLOSED):
        inner = exact(encode(told(finding), SETTINGS).body)["event"]
        for field in FIELDS:
            if field.name in inner:
                assert isinstance(inner[field.name], kinds[field.type]), field.name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"context_index": "risk"},
            (
                "exporter.hec.index: 'risk' is also context_index or audit_index; "
                "want another: the risk index holds scores only"
            ),
        ),
        ({"risk_name": "n" * 129}, "risk.name: 129 characters; want at most 128, all of them printable"),
        ({"message": "a\nb"}, "risk.message: 3 characters; want at most 256, all of them printable"),
    ],
)
def test_settings_that_would_break_an_event_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the whole message is compared
        EventSettings(**settings)
    assert str(refused.value) == message


def test_the_worst_event_fits_and_leaves_the_command_line_two_kib() -> None:
    bad, extreme = "\x01" * 5000, -(2**63)
    worst = Finding(
        event_id="e" * 36,
        session_id="s" * 36,
        kind=Kind.CLOSED,
        shell=ShellId(NodeId(bad, bad), bad, extreme, extreme, bad),
        incarnation=extreme,
        ordinal=extreme,
        span=Span(
            extreme, extreme, extreme, extreme, extreme, -2.2250738585072014e-308, -1e-300 / 3, -1e-300 / 7
        ),
        first_seen_ns=extreme,
        last_seen_ns=2**63,
        envelope_ns=extreme,
        evidence=Evidence(extreme, extreme, bad, bad, CommandLine("x" * 2048, 2**63, "f" * 64)),
        reason=CloseReason.END_OF_CAPTURE,
        context=Context(
            cgroup=Cgroup(Placement.POD, "pod", bad, bad, bad, bad),
            invocation=Invocation(Mode.COMMAND, bad, bad),
            labels=tuple((name, bad) for name, _ in LABELS),
            parent=Process(1, 1, bad, 1, CommandLine(bad, 5000), bad),
            ancestors=(bad,) * 16,
            basis=ContextBasis.SAME_REQUEST,
            container_init=False,
            origin=Origin.CONTAINER_EXEC,
            escape_hint=bad,
        ),
    )
    settings = EventSettings(
        risk_name="n" * 128,
        message="\\" * 256,
        index="i" * 128,
        source="s" * 256,
        sourcetype="t" * 128,
    )
    body = encode(told(worst, object=RiskObject(bad, "other", bad), rules=(bad,) * 9), settings).body
    assert len(body) <= SIZE_LIMIT_BYTES
    inner = exact(body)["event"]
    assert inner["process.command_line"] == "x" * 2048
    ids = (inner["event_id"], inner["session_id"], inner["kind"], inner["close_reason"])
    assert ids == ("e" * 36, "s" * 36, "closed", "end_of_capture")


def test_the_worst_event_that_scores_fits_too() -> None:
    bad = "\x01" * 5000
    context = Context(parent=Process(1, 1, bad, 1), labels=tuple((name, bad) for name, _ in LABELS))
    evidence = Evidence(1, 1, bad, bad, CommandLine("x" * 2048, 2**63, "f" * 64))
    worst = replace(
        OPENED, shell=replace(OPENED.shell, host=bad, name=bad), evidence=evidence, context=context
    )
    more = {"object": RiskObject(bad, "other", bad), "rules": (bad,) * 9, "graded_by": "escape_hint"}
    body = encode(told(worst, **more), SETTINGS).body
    assert len(body) <= SIZE_LIMIT_BYTES
    inner = exact(body)["event"]
    assert inner.keys() >= OF_SCORED
    assert inner["contributing_events_search"] == EVIDENCE
    assert inner["threat_object_type"] == ["file_path", "process", "parent_process_name"]
    assert len(inner["threat_object"]) == 3
