"""What docs/search.md says is so."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from otel_shell_detector.cli import main
from otel_shell_detector.comparison.why import Cause

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "search.md").read_text("utf-8")
EXAMPLES = re.findall(r"```console\n\$ otel-shell-detector (.*)\n((?:.*\n)*?)```", TEXT)


def test_there_is_an_example_of_each_command() -> None:
    assert [shlex.split(command)[0] for command, _ in EXAMPLES] == ["replay", "compare"]


@pytest.mark.parametrize(("command", "output"), EXAMPLES)
def test_an_example_prints_what_it_shows(
    command: str, output: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr() == (output, "")


def test_every_cause_is_explained() -> None:
    _, table = TEXT.split("| cause | meaning |\n")
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(Cause)


def test_the_numbers_of_the_claim_are_those_of_its_test() -> None:
    test = (ROOT / "tests" / "otel_shell_detector" / "search" / "test_differential.py").read_text("utf-8")
    assert ("within 1e-12" in TEXT, "EQUAL = 1e-12" in test) == (True, True)
    assert ("3,000 generated" in TEXT, "SETS = 3000" in test) == (True, True)


def keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def test_every_key_of_the_json_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--json", str(ROOT / "tests" / "captures" / "worker-1.pb")]) == 0
    found = keys(json.loads(capsys.readouterr().out))
    assert len(found) == 29
    assert {key for key in found if f"`{key}`" not in TEXT} == set()
