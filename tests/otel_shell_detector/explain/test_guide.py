"""What docs/explain.md says is so."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.otel_shell_detector.explain.lived import DEAD, GONE, TOLD, Lived, session_of

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"<!-- explain (.*?) -->\n```text\n(.*?)```", GUIDE, re.DOTALL)
KEYS = set(re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| (`[a-z_`, ]+) \|", GUIDE, re.MULTILINE))))
WORKER_1 = "tests/captures/worker-1.pb"
ONE = "d49860c9-1879-568b-a12e-e9f0b503748c"


@pytest.mark.parametrize(("command", "shown"), EXAMPLES)
def test_the_example_is_what_the_command_prints(
    command: str,
    shown: str,
    explain: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    assert explain(*shlex.split(command)) == (0, shown, "")


def test_there_is_an_example() -> None:
    assert len(EXAMPLES) == 1


def test_the_keys_of_the_document_are_those_that_are_told(
    lived: Lived, explain: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lived.store.close()
    asked = [(session_of(TOLD),), ("--pid", str(DEAD)), (session_of(GONE),)]
    told = [json.loads(explain(*each, "--json")[1]) for each in asked]
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("OTEL_SHELL_DETECTOR_POLICY__PATH")
    burst = "312d035a-58d2-541c-a673-dfb6bd4bfabc"
    config = ("--config", "tests/expectations/balanced.yaml")
    captured = [
        (ONE, WORKER_1),
        ("--pid", "649", WORKER_1),
        (burst, "tests/captures/worker-2.pb.zst", *config),
    ]
    told += [json.loads(explain(*each, "--json")[1]) for each in captured]
    assert {key for document in told for key in document} == KEYS
