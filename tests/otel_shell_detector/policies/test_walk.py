"""The walk of docs/tuning.md: its commands, run from the top, print what it shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from structlog.testing import capture_logs

from exporter.exposition import exposition
from otel_shell_detector.policies.watch import PolicyWatcher
from telemetry import metrics
from tests.e2e.processes import environment_without_keys
from tests.otel_shell_detector.policies.policies import NOW_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[3]
GUIDE: Final = ROOT / "docs" / "tuning.md"
BLOCK: Final = re.compile(r"(?:<!-- file (?P<file>\S+) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL)
END: Final = "--- end of what a command printed ---"


def walk() -> str:
    """The section."""
    return GUIDE.read_text(encoding="utf-8").partition("\n## A walk\n")[2].partition("\n## ")[0]


def blocks(kind: str) -> list[re.Match[str]]:
    return [block for block in BLOCK.finditer(walk()) if block["kind"] == kind]


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a block, and what is shown below it."""
    for step in re.findall(r"^\$ (.*\n(?:(?!\$ ).*\n)*)", text, re.MULTILINE):
        command, _, shown = step.partition("\n")
        yield command, shown


def run(folder: Path) -> list[str]:
    """What each command prints, one shell for all; files are written where they stand in the text."""
    (folder / "worker-2.pb.zst").symlink_to(ROOT / "tests/captures/worker-2.pb.zst")
    script: list[str] = []
    for block in BLOCK.finditer(walk()):
        if block["file"]:
            script.append(f"cat > {block['file']} <<'END OF FILE'\n{block['text']}END OF FILE")
        elif block["kind"] == "console":
            script += [f"{command}\necho '{END}'" for command, _ in steps(block["text"])]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env=environment_without_keys() | {"PATH": path, "LC_ALL": "C"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout.split(f"{END}\n")[:-1]


def without_margin(text: str) -> str:
    """How far `uniq -c` moves its counts to the right is not for us to say."""
    return re.sub(r'^ +(?=\d+ ")', "", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("walk")


@pytest.fixture(scope="module")
def printed(folder: Path) -> list[str]:
    return run(folder)


def test_each_command_prints_what_is_shown(printed: list[str]) -> None:
    told = [step for block in blocks("console") for step in steps(block["text"])]
    found = list(zip([command for command, _ in told], map(without_margin, printed), strict=True))
    assert found == [(command, without_margin(shown)) for command, shown in told]


def test_it_takes_all_steps() -> None:
    bold = re.findall(r"^\*\*(\w[\w ]*)\.\*\*", walk(), re.MULTILINE)
    assert bold == ["See the noise", "Propose", "Review", "Apply", "Verify", "Expire"]
    commands = [command for block in blocks("console") for command, _ in steps(block["text"])]
    assert sum("otel-shell-detector" in command for command in commands) == 7


def test_a_rule_past_its_end_is_logged_and_measured_as_shown(folder: Path, printed: list[str]) -> None:
    assert printed
    [shown] = blocks("text")
    log, metric = shown["text"].splitlines()
    watcher = PolicyWatcher(folder / "old.yaml", lambda: NOW_NS, {}, lambda _: None)
    try:
        with capture_logs() as logs:
            watcher.tick()
        _, text = exposition("")
    finally:
        metrics.POLICY_RULES_EXPIRED.set(0)
    [expired] = [each for each in logs if each["event"] == "policy.rule_expired"]
    expected = json.loads(log)
    assert {key: expired["log_level" if key == "level" else key] for key in expected} == expected
    assert metric in text.decode().splitlines()
