from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from detector.events import Lane
from detector.judging.objects import RiskObject
from detector.types import CommandLine, Evidence, NodeId
from exporter.event import encode
from exporter.fields import Type
from exporter.schema import FIELDS
from exporter.settings import EventSettings
from tests.exporter.findings import CLOSED, ONGOING, OPENED, told
from tests.exporter.told import ENVELOPE, OF_SCORED, OPENED_EVENT, SETTINGS, exact


def test_an_opened_finding_becomes_a_risk_event() -> None:
    event = encode(told(OPENED), SETTINGS)
    assert (event.lane, event.event_id, event.arrived_ns) == (Lane.RISK, OPENED.event_id, 77)
    assert exact(event.body) == OPENED_EVENT
    assert list(exact(event.body)["event"]) == list(OPENED_EVENT["event"])


def test_an_ongoing_finding_is_context_and_leaves_out_what_is_unknown() -> None:
    """No attribute was seen, no cpu point; the session resumed twice. The start of the identity stands in."""
    event = encode(told(ONGOING), SETTINGS)
    inner = {
        **OPENED_EVENT["event"],
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
        **OPENED_EVENT["event"],
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
