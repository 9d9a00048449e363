"""The alert rules: promtool takes them, each fires and keeps quiet, and they ask for what is there."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from typing import Any, Final

import pytest
import yaml

from tests.alerts.promql import labels_of, queries, unknown
from tests.chart.cluster import program
from tests.e2e.processes import ROOT

FILES: Final = ROOT / "deploy/helm/otel-shell-detector/files"
CASES: Final = ROOT / "tests/alerts/rules_test.yaml"
GROUPS: Final[list[dict[str, Any]]] = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
RULES: Final[dict[str, dict[str, Any]]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
EVENTS: Final = {"OtelShellDetectorDefect", "OtelShellDetectorStateDamaged", "OtelShellDetectorDeadLetters"}
"""Alerts about something that may happen once only, and is told at once."""


def promtool(*arguments: object) -> str:
    command = [program("promtool"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_rules() -> None:
    assert f"SUCCESS: {len(RULES)} rules found" in promtool("check", "rules", FILES / "alerts.yaml")
    assert len(RULES) == sum(len(group["rules"]) for group in GROUPS)


def test_each_alert_fires_and_keeps_quiet_when_it_should() -> None:
    promtool("test", "rules", CASES)


def test_each_alert_is_tested_both_ways() -> None:
    firing: Counter[str] = Counter()
    quiet: Counter[str] = Counter()
    cases = yaml.safe_load(CASES.read_text())
    for check in (each for test in cases["tests"] for each in test["alert_rule_test"]):
        (firing if check["exp_alerts"] else quiet)[check["alertname"]] += 1
    assert (set(firing), set(quiet)) == (set(RULES), set(RULES))
    assert cases["rule_files"] == ["../../deploy/helm/otel-shell-detector/files/alerts.yaml"]


@pytest.mark.parametrize("alert", sorted(EVENTS))
def test_what_happens_once_is_told_though_its_counter_begins_at_it(alert: str) -> None:
    """`increase` of a series that was not there before is 0."""
    expression = " ".join(RULES[alert]["expr"].split())
    counters = re.findall(r"increase\((\w+(?:\{[^}]*\})?)\[1h\]\) > 0", expression)
    missed = [
        each
        for each in counters
        if f"{each} unless {each} offset 1h" not in expression
        and f"{each} > 0 unless {each} offset 1h" not in expression
    ]
    # It has no label, so it is there with 0 from the start on.
    assert set(missed) <= {"otel_shell_detector_thread_failures_total"}
    assert len(counters) > len(missed)


@pytest.mark.parametrize("alert", RULES)
def test_each_alert_says_what_an_operator_needs(alert: str) -> None:
    rule = RULES[alert]
    assert sorted(rule) == ["alert", "annotations", "expr", "for", "labels"]
    assert alert.startswith("OtelShellDetector")
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert sorted(rule["annotations"]) == ["description", "runbook", "summary"]
    assert rule["annotations"]["runbook"] == f"docs/runbooks/{alert}.md"
    assert (rule["for"] == "0m") == (alert in EVENTS)


@pytest.mark.parametrize("alert", RULES)
def test_each_alert_asks_for_what_is_there(alert: str) -> None:
    rule = RULES[alert]
    assert unknown(rule["expr"]) == []
    told = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    assert told <= labels_of(rule["expr"])


def test_no_alert_is_about_negative_points() -> None:
    """A reused pid makes them, and nothing is wrong."""
    assert "negative" not in "".join(rule["expr"] for rule in RULES.values())


def test_the_dashboard_asks_for_what_is_there() -> None:
    asked = [query for file in FILES.glob("*.json") for query in queries(json.loads(file.read_text()))]
    assert {query: wrong for query in asked if (wrong := unknown(query))} == {}


def test_what_coverage_calls_worth_an_alert_is_what_the_rules_ask() -> None:
    document = (ROOT / "docs/coverage.md").read_text()
    [block] = re.findall(r"Worth an alert.*?```\n(.*?)```", document, re.DOTALL)
    asked = {rule["expr"].strip() for rule in RULES.values() if "_coverage_" in rule["expr"]}
    assert set(block.splitlines()) == asked
