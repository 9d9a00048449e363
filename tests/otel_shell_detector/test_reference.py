"""The generated references and the declarations that they are made of."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from otel_shell_detector.keys import KEYS
from telemetry import declaring, events, metrics, reference
from telemetry.events import LogEvent

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["verify-docs", *arguments])
        monkeypatch.setattr(sys, "path", sys.path[:])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "tools" / "verify-docs"), run_name="__main__")
        code = ended.value.code
        assert isinstance(code, int)
        return code

    return run


def test_the_documents_are_what_the_code_says(
    verify: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (verify(), capsys.readouterr().out) == (0, "")


def test_documents_behind_the_code_are_shown_and_written_anew(
    verify: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "docs"
    assert verify("--docs", str(docs)) == 1  # none is there
    assert verify("--docs", str(docs), "--write") == 0
    assert verify("--docs", str(docs)) == 0
    (docs / "metrics.md").write_text((docs / "metrics.md").read_text() + "By hand.\n")
    capsys.readouterr()
    assert verify("--docs", str(docs)) == 1
    shown = capsys.readouterr()
    assert "-By hand." in shown.out
    assert shown.err == "The documents are behind the code. Type: make docs\n"


def test_every_key_stands_in_the_reference_with_its_variable() -> None:
    document = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    missing = [
        key.name
        for key in KEYS.values()
        if f"### `{key.name}`" not in document or f"`{key.variable}`" not in document
    ]
    assert missing == []


def test_every_exposed_metric_is_declared_as_it_is_exposed() -> None:
    exposed = {}
    for family in metrics.REGISTRY.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        exposed[name] = (family.type, family.documentation)
    assert {each.name: (each.kind, each.meaning) for each in metrics.DECLARATIONS} == exposed


def test_units_of_metrics_are_base_units() -> None:
    assert {each.unit for each in metrics.DECLARATIONS} <= {"", "seconds", "bytes"}
    assert [each.name for each in metrics.DECLARATIONS if each.unit and each.unit not in each.name] == []


def test_every_metric_and_event_says_what_it_means() -> None:
    declared = [each for each in vars(events).values() if isinstance(each, LogEvent)]
    meanings = [each.meaning for each in metrics.DECLARATIONS] + [each.meaning for each in declared]
    assert [meaning for meaning in meanings if not meaning.endswith((".", "sent again)."))] == []
    assert len({each.name for each in declared}) == len(declared)


@pytest.fixture
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declaring, "REGISTRY", CollectorRegistry())
    monkeypatch.setattr(declaring, "DECLARATIONS", [])
    monkeypatch.setattr(reference, "DECLARATIONS", declaring.DECLARATIONS)


def test_a_metric_is_declared_by_the_name_that_prometheus_sees(empty_registry: None) -> None:
    declaring.counter("lines", "Lines.", "lane", "code", lane="risk, audit")
    declaring.counter("sent_bytes", "Bytes.")
    declaring.gauge("age", "Age.", unit="seconds")
    declaring.histogram("wait", "Wait.", (1.0,))
    assert [(each.name, each.kind, each.unit, each.labels) for each in declaring.DECLARATIONS] == [
        ("otel_shell_detector_lines_total", "counter", "", {"lane": "risk, audit", "code": ""}),
        ("otel_shell_detector_sent_bytes_total", "counter", "bytes", {}),
        ("otel_shell_detector_age_seconds", "gauge", "seconds", {}),
        ("otel_shell_detector_wait_seconds", "histogram", "seconds", {}),
    ]
    assert reference.metrics().endswith(
        "### `otel_shell_detector_lines_total`\n\nCounter. Lines.\n\n- `lane`: risk, audit\n- `code`\n\n"
        "### `otel_shell_detector_sent_bytes_total`\n\nCounter in bytes. Bytes.\n\n"
        "### `otel_shell_detector_age_seconds`\n\nGauge in seconds. Age.\n\n"
        "### `otel_shell_detector_wait_seconds`\n\nHistogram in seconds. Wait.\n"
    )


def test_values_of_a_label_that_a_metric_has_not_are_refused(empty_registry: None) -> None:
    with pytest.raises(ValueError, match="has not: lame"):
        declaring.counter("lines", "Lines.", "lane", lame="risk")
