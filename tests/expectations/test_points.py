"""What scores on captures whose truth is known, and that docs/tuning.md lists it, each with an argument."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from detector.policy import FIELDS, Action, Policy
from otel_shell_detector.policies.file import load
from tests.expectations import points
from tests.expectations.independent import truth

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCUMENT = (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8")
ARGUED = DOCUMENT.partition("## What that makes of a day")[2].partition("\n## ")[0]
NOW_NS = 1_800_000_000 * 10**9


def balanced(name: str) -> list[dict[str, Any]]:
    """What is told by default; that it is so is held by test_events.py."""
    lines = (HERE / f"{name}.balanced.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["event"] for line in lines]


def by_default(name: str) -> list[points.Scored]:
    return points.scored(name, balanced(name))


@pytest.mark.parametrize(
    ("name", "attacks"), [("worker-1", 0), ("worker-2", 4), ("worker-3", 4), ("worker-4", 0)]
)
def test_every_attack_of_the_truth_scores_at_least_25(name: str, attacks: int) -> None:
    marked = {line["pid"]: line["what"] for line in truth(name) if "ATTACK" in line["what"].upper()}
    opened = [event for event in balanced(name) if event["kind"] == "opened" and not event["resumed"]]
    scores = {event["process.pid"]: event["risk_score"] for event in opened if event["process.pid"] in marked}
    assert len(marked) == attacks
    assert scores.keys() == marked.keys(), "each of them is told by itself"
    assert all(score >= 25 for score in scores.values())


@pytest.mark.parametrize("name", points.LABELLED)
def test_at_least_half_of_the_points_come_from_attacks_without_any_policy(name: str) -> None:
    attacks, benign = points.sums(by_default(name))
    assert attacks >= benign
    assert benign > 0
    assert not any("policy.rule" in event for event in balanced(name))


@pytest.mark.parametrize("name", points.LABELLED)
def test_the_search_scores_every_shell_alike(name: str) -> None:
    lines = (HERE / f"{name}.events.jsonl").read_text("utf-8").splitlines()
    scored = points.scored(name, [json.loads(line)["event"] for line in lines])
    assert sorted(each.pid for each in scored) == sorted(points.started(name))
    assert {each.score for each in scored} == {25}


# --- docs/tuning.md


@pytest.fixture(scope="module")
def printed() -> list[str]:
    command = [sys.executable, "-m", "tests.expectations.points"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    assert run.stderr == ""
    return run.stdout.splitlines()


def rows(lines: list[str], columns: int) -> list[list[str]]:
    """The rows of tables, heads too, as far as so many columns."""
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ") and " | " in line]
    return [row[:columns] for row in cells if len(row) >= columns]


def test_the_document_has_the_points_that_the_command_prints(printed: list[str]) -> None:
    table = "\n".join(printed[:4])
    assert printed[4] == ""
    assert f"\n\n{table}\n\n" in ARGUED


def test_the_document_lists_each_shell_that_scores_and_no_other(printed: list[str]) -> None:
    assert rows(ARGUED.splitlines(), 5)[3:] == rows(printed[5:], 5)
    for name in points.LABELLED:
        listed = [int(pid) for pid in re.findall(r"\| (\d+) \| `", "\n".join(of_capture(name)))]
        assert sorted(listed) == sorted(each.pid for each in by_default(name))


def of_capture(name: str) -> list[str]:
    """The lines of a capture's two tables."""
    tables = re.findall(rf"^\| {name}: (?:attacks|benign) .*\n\|[-|]+\n((?:\|.*\n)+)", ARGUED, re.MULTILINE)
    assert len(tables) == 2
    return [line for table in tables for line in table.splitlines()]


def argued(name: str) -> dict[int, list[str]]:
    """What the document says behind the printed cells of each shell, by pid."""
    cells = [line.strip("| ").split(" | ") for line in of_capture(name)]
    return {int(row[1]): row[5:] for row in cells}


@pytest.mark.parametrize("name", points.LABELLED)
def test_each_attack_has_a_twin_and_each_benign_shell_an_argument_and_a_rule(name: str) -> None:
    listed = argued(name)
    for each in by_default(name):
        said = listed[each.pid]
        assert len(said) == (1 if each.is_attack else 2)
        assert all(said)


@pytest.mark.parametrize("name", points.LABELLED)
def test_a_twin_is_a_benign_shell_that_scores_as_the_document_says(name: str) -> None:
    scores = {each.pid: each for each in by_default(name)}
    twins = 0
    for each in (each for each in scores.values() if each.is_attack):
        twin = re.match(r"(\d+), .*both score (\d+)$", argued(name)[each.pid][0])
        if twin:
            assert not scores[int(twin[1])].is_attack
            assert each.score == scores[int(twin[1])].score == int(twin[2])
            twins += 1
    assert twins == 2


def test_who_is_the_oldest_of_a_container_passes_for_its_entrypoint() -> None:
    """As the document says of worker-1, whose truth marks no attacks."""
    told = {event["process.pid"]: event for event in balanced("worker-1") if event["kind"] == "opened"}
    (what,) = (line["what"] for line in truth("worker-1") if line["pid"] == 200 and "start" in line["what"])
    assert "kubectl exec" in what
    assert (told[200]["graded_by"], told[200]["risk_score"]) == ("pod_entrypoint", 0)
    assert told[200]["container.id"] == told[201]["container.id"]
    assert "pid 200 of worker-1" in ARGUED


# --- the rules


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """The rules of the document's last table."""
    table = re.findall(r"^\| `([a-z-]+)` \| `([^`]+)` \| (`.*`) \|$", ARGUED, re.MULTILINE)
    assert len(table) == 4
    rules = [
        {
            "id": rule,
            "reason": "as docs/tuning.md argues",
            "owner": "soc@example.org",
            "action": yaml.safe_load(action),
            "matchers": re.findall(r"`([^`]+)`", matchers),
        }
        for rule, action, matchers in table
    ]
    path = tmp_path / "policies.yaml"
    path.write_text(yaml.safe_dump({"rules": rules}))
    return load(path, NOW_NS, {}).policy


def matched(event: dict[str, Any]) -> dict[str, str]:
    """The fields that rules are matched with: lists with commas, truth values in lower case."""
    texts: dict[str, Any] = {name: event[name] for name in FIELDS if name in event}
    lists = {name: ",".join(value) for name, value in texts.items() if isinstance(value, list)}
    flags = {name: str(value).lower() for name, value in texts.items() if isinstance(value, bool)}
    return {name: str(value) for name, value in texts.items()} | lists | flags


@pytest.mark.parametrize(("name", "benign"), [("worker-2", 50), ("worker-3", 55)])
def test_the_rules_lower_what_the_document_says_and_match_no_attack(
    policy: Policy, name: str, benign: int
) -> None:
    listed, left = argued(name), 0
    scored = {each.pid: each for each in by_default(name)}
    for event in (event for event in balanced(name) if event["risk_score"]):
        each = scored[event["process.pid"]]
        rule = policy.judge(matched(event), NOW_NS)
        if each.is_attack:
            assert rule is None
            continue
        assert rule is not None
        assert listed[each.pid][1] == f"`{rule.id}`"
        left += each.score if rule.action is Action.ANNOTATE else rule.score or 0
    assert left == benign
    assert f"{benign} of the {points.sums(by_default(name))[1]}" in ARGUED.replace("\n", " ")
