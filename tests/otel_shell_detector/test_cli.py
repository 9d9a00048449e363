"""The command line: exit status, one line for each complaint, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_shell_detector import replay as replaying
from otel_shell_detector import service as serving
from otel_shell_detector.cli import main
from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_shell_detector.configuration import Settings

ROOT = Path(__file__).parents[2]
RUNS = {"service": (serving, "serve"), "replay": (replaying, "replay")}
VERSION = f"otel-shell-detector {version('otel-shell-detector')}\n"


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("OTEL_SHELL_DETECTOR_")
    }
    return subprocess.run(
        [sys.executable, "-m", "otel_shell_detector", *arguments],
        cwd=ROOT,
        env=environ,
        text=True,
        timeout=60,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def outcome(*arguments: str) -> tuple[int, str, str]:
    done = run(*arguments)
    return done.returncode, done.stdout, done.stderr


def test_the_version_is_printed() -> None:
    assert outcome("version") == (0, VERSION, "")


def test_the_console_script_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("otel-shell-detector")
    done = subprocess.run([script, "version"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, VERSION, "")


def test_a_good_configuration_is_ok() -> None:
    status, out, err = outcome("check-config")
    assert (status, out.splitlines()[:2], err) == (0, ["ok", "receiver:"], "")


def test_a_bad_configuration_is_status_2_and_one_line() -> None:
    path = "tests/otel_shell_detector/testdata/number_too_low.yaml"
    expected = (2, "", "receiver.workers: got 0; want a whole number from 1 to 4096\n")
    assert outcome("check-config", "--config", path) == expected
    assert outcome("serve", "--config", path) == expected
    assert outcome("replay", "--config", path, "x.pb") == expected


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: COMMAND (see otel-shell-detector --help)"),
        (["serve", "--port=1"], "unrecognized arguments: --port=1 (see otel-shell-detector --help)"),
        (["serve", "--conf", "x"], "unrecognized arguments: --conf x (see otel-shell-detector --help)"),
        (["serve", "a\nb"], "unrecognized arguments: a\\nb (see otel-shell-detector --help)"),
        (["replay"], "the following arguments are required: FILE (see otel-shell-detector replay --help)"),
        (["outbox"], "the following arguments are required: ACTION (see otel-shell-detector outbox --help)"),
        (
            ["outbox", "purge", "1x"],
            (
                f'argument NUMBER: got "1x"; want a whole number from 1 to {2**63 - 1} '
                "(see otel-shell-detector outbox purge --help)"
            ),
        ),
        (
            ["outbox", "list", "--limit", "1001"],
            (
                'argument --limit: got "1001"; want a whole number from 1 to 1000 '
                "(see otel-shell-detector outbox list --help)"
            ),
        ),
        (
            ["check-config", "--config"],
            "argument --config: expected one argument (see otel-shell-detector check-config --help)",
        ),
    ],
)
def test_a_usage_error_is_status_2_and_one_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", f"otel-shell-detector: {complaint}\n")


def test_an_unknown_command_is_a_usage_error() -> None:
    status, out, err = outcome("server")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "invalid choice: 'server'" in err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--earliest", "1", "x.pb"], "--earliest: want --search-exact with it"),
        (["--latest", "1", "x.pb"], "--latest: want --search-exact with it"),
    ],
)
def test_what_comes_later_is_refused_by_name(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", *arguments]) == 2
    assert capsys.readouterr() == ("", complaint + "\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--help"],
            [
                "serve",
                "check-config",
                "replay",
                "propose-policy",
                "coverage",
                "compare",
                "outbox",
                "config-reference",
                "event-schema",
                "version",
                "Exit status",
            ],
        ),
        (["serve", "--help"], ["--config FILE", "until a signal"]),
        (
            ["replay", "--help"],
            [
                "--close-at-end",
                "--search-exact",
                "--earliest T",
                "--policy FILE",
                "--report FILE",
                "FILE [FILE ...]",
            ],
        ),
        (
            ["propose-policy", "--help"],
            ["--config FILE", "--at-least N", "default: 3", "--at-most N", "default: 20", "FILE [FILE ...]"],
        ),
        (["check-config", "--help"], ["--config FILE"]),
        (["outbox", "--help"], ["list", "requeue", "purge"]),
        (
            ["outbox", "list", "--help"],
            [
                "--config FILE",
                "--dead",
                "--waiting",
                "--lane",
                "--limit N",
                "--after NUMBER",
                "--json",
                "--bodies",
            ],
        ),
        (["outbox", "requeue", "--help"], ["--config FILE", "[NUMBER ...]", "--all", "end of their lanes"]),
        (
            ["outbox", "purge", "--help"],
            ["--config FILE", "[NUMBER ...]", "--all", "--waiting", "--lane", "--yes", "exit status is 2"],
        ),
        (["config-reference", "--help"], ["Markdown"]),
        (["event-schema", "--help"], ["JSON Schema"]),
        (["version", "--help"], ["Print the version."]),
    ],
)
def test_help_tells_each_command_and_option(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert [word for word in words if word not in shown] == []


def test_the_reference_is_the_committed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config-reference"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


def test_the_schema_of_events_is_the_published_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["event-schema"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "event.schema.json").read_text(encoding="utf-8")


def test_a_reader_that_has_enough_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run("config-reference", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_a_failure_and_one_line() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = run("config-reference", stdout=full)
    event = json.loads(done.stderr)
    assert (done.returncode, event["event"], event["errno"]) == (1, "process.failed", "ENOSPC")


@pytest.fixture
def stand_in(
    monkeypatch: pytest.MonkeyPatch, logging_restored: None, no_variables: None
) -> Callable[[str, Callable[..., int]], None]:
    """Puts a function in the place of the one that a module runs a command with."""

    def put(name: str, function: Callable[..., int]) -> None:
        monkeypatch.setattr(*RUNS[name], function)

    return put


def test_serve_runs_with_the_settings_and_gives_its_status(
    stand_in: Callable[[str, Callable[..., int]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_DETECTOR__CLUSTER_NAME", "prod")
    seen: list[Settings] = []

    def serve(settings: Settings) -> int:
        seen.append(settings)
        return 1

    stand_in("service", serve)
    assert main(["serve"]) == 1
    assert [settings.detector.cluster_name for settings in seen] == ["prod"]
    assert (
        metrics.REGISTRY.get_sample_value(
            "otel_shell_detector_build_info", {"version": version("otel-shell-detector")}
        )
        == 1
    )


def test_replay_runs_over_the_files(stand_in: Callable[[str, Callable[..., int]], None]) -> None:
    seen: list[object] = []

    def replay(settings: Settings, files: list[Path], *, close_at_end: bool, report: Path | None) -> int:
        seen.append((files, close_at_end, settings.policy.path, report))
        return 0

    stand_in("replay", replay)
    assert main(["replay", "a.pb", "b.pb"]) == 0
    assert main(["replay", "--close-at-end", "a.pb"]) == 0
    assert main(["replay", "--policy", "p.yaml", "--report", "r.json", "a.pb"]) == 0
    assert seen == [
        ([Path("a.pb"), Path("b.pb")], False, None, None),
        ([Path("a.pb")], True, None, None),
        ([Path("a.pb")], False, Path("p.yaml"), Path("r.json")),
    ]


def raising(error: BaseException) -> Callable[..., int]:
    def run_(*_: object, **__: object) -> int:
        raise error

    return run_


def test_a_failure_is_one_event_without_what_it_quotes(
    stand_in: Callable[[str, Callable[..., int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in("replay", raising(ValueError("hunter2")))
    assert main(["replay", "a.pb"]) == 1
    shown = capsys.readouterr()
    event = json.loads(shown.err)
    assert (shown.out, event["event"], event["level"], event["error"]) == (
        "",
        "process.failed",
        "critical",
        "ValueError",
    )
    assert "hunter2" not in shown.err


def test_an_interruption_is_no_traceback(
    stand_in: Callable[[str, Callable[..., int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in("replay", raising(KeyboardInterrupt()))
    assert main(["replay", "a.pb"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_broken_pipe_while_running_is_no_traceback(
    stand_in: Callable[[str, Callable[..., int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in("replay", raising(BrokenPipeError()))
    assert main(["replay", "a.pb"]) == 1
    assert capsys.readouterr() == ("", "")


def test_concerns_are_logged_at_the_start(
    stand_in: Callable[[str, Callable[..., int]], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_RECEIVER__ENDPOINT", "0.0.0.0:4317")
    stand_in("replay", lambda *_, **__: 0)
    assert main(["replay", "a.pb"]) == 0
    event = json.loads(capsys.readouterr().err)
    assert (event["event"], event["level"], event["concern"]) == (
        "process.configuration_concern",
        "warning",
        "receiver_open",
    )


def test_outbox_takes_the_configuration_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"state: {{path: {tmp_path}/nowhere}}\n", encoding="utf-8")
    complaint = f"no service runs, and there is no state at {tmp_path}/nowhere/state.db\n"
    assert outcome("outbox", "list", "--config", str(path)) == (1, "", complaint)


def test_serve_does_not_load_grpc_to_show_help() -> None:
    code = "import sys, otel_shell_detector.cli; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0
