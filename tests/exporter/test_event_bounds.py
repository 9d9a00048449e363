"""Whatever a finding holds, its event is bounded, valid and says what was cut."""

import hashlib
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given

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
from detector.judging.objects import RiskObject
from detector.types import CloseReason, CommandLine, Evidence, Finding, Kind, NodeId, ShellId, Span
from exporter.context_fields import LABELS
from exporter.event import SIZE_LIMIT_BYTES, encode
from exporter.schema import FIELDS
from exporter.settings import EventSettings
from tests.exporter.findings import OPENED, told
from tests.exporter.hostile import findings, settings_of_events, times
from tests.exporter.told import ENVELOPE, EVIDENCE, OF_SCORED, SETTINGS, exact


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
