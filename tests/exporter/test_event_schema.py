"""The published schema of an event."""

import json
from pathlib import Path
from typing import Any

import fastjsonschema
import jsonschema
import pytest

from detector.events import Lane
from detector.judging.outcomes import ReportKind
from detector.types import Kind
from exporter.event import encode
from exporter.event_schema import event_schema
from exporter.probe_fields import ProbeKind
from exporter.settings import EventSettings
from tests.event_schema import check, check_lines, check_what_is_encoded
from tests.exporter.findings import CLOSED, ONGOING, OPENED, told

SCHEMA = json.loads(event_schema())
EXPECTATIONS = Path(__file__).parents[1] / "expectations"


def recorded() -> list[dict[str, Any]]:
    files = sorted(EXPECTATIONS.glob("*.jsonl"))
    return [json.loads(line)["event"] for file in files for line in file.read_text().splitlines()]


def test_it_is_a_schema_of_its_draft_with_a_definition_for_each_kind() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    kinds = [*Kind, *ReportKind, *ProbeKind]
    assert SCHEMA["properties"]["kind"]["enum"] == kinds
    assert {name for name in SCHEMA["$defs"] if ":" not in name} == set(kinds)


def test_every_recorded_event_is_valid_for_a_validator_of_that_draft() -> None:
    """The one that looks at all other events reads an older draft, to which this schema is the same."""
    validator = jsonschema.Draft202012Validator(SCHEMA)
    one_of_each = {(event["kind"], *event): event for event in recorded()}
    assert len(one_of_each) > 20
    assert [error.message for event in one_of_each.values() for error in validator.iter_errors(event)] == []


def envelope(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(encode(told(OPENED), EventSettings()).body)
    made["event"] = {name: value for name, value in (made["event"] | changes).items() if value is not None}
    return made


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "reopened"},
        {"kind": "burst"},
        {"kind": None},
        {"process.pid": "649"},
        {"process.pid": None},
        {"shell.placement": "moon"},
        {"rules": []},
        {"rules": "one"},
        {"resumed": 0},
        {"surprise": 1},
        {"close_reason": "exited"},
        {"info_min_time": None},
        {"risk_score": 0},
    ],
)
def test_both_validators_refuse_what_is_not_as_published(changes: dict[str, Any]) -> None:
    wrong = envelope(**changes)
    with pytest.raises(fastjsonschema.JsonSchemaException):
        check(wrong)
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(wrong["event"])


def test_what_is_as_published_passes() -> None:
    assert check(envelope()) == envelope()
    score = {"lane": Lane.RISK, "score": 25}
    check_lines(encode(told(each, **score), EventSettings()).body for each in (ONGOING, CLOSED))


def test_an_encoder_that_strays_from_it_fails_the_test_that_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    check_what_is_encoded(monkeypatch)
    with pytest.raises(fastjsonschema.JsonSchemaException):
        encode(told(OPENED, lane=Lane.CONTEXT, score=25), EventSettings())
