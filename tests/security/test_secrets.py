"""Where a secret may be, and where it may not: every place at which someone looks."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from otel_shell_detector import cli, logs, service
from otel_shell_detector.configuration import LogSettings
from telemetry.events import CORE_FAILED
from tests.otel_shell_detector.conftest import logging_restored, no_variables  # noqa: F401  # fixtures
from tests.security.evidence import PAGES, secret_lines
from tests.security.hostile import ARGV, COMMAND_LINES, HOSTILE, SENTINEL

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.security.evidence import Evidence


def given_away(seen: Iterable[tuple[object, bytes]], secrets: Iterable[bytes]) -> list[object]:
    """Where a secret is."""
    secrets = list(secrets)
    return [where for where, data in seen if any(secret in data for secret in secrets)]


def test_the_service_met_what_it_was_to_keep_secret(evidence: Evidence) -> None:
    """Else the tests below say nothing."""
    assert [code.name for code in evidence.refused] == ["UNAUTHENTICATED", "INVALID_ARGUMENT"]
    assert len(evidence.delivered) >= len(COMMAND_LINES) + len(HOSTILE) - 1
    assert given_away(evidence.state.items(), [ARGV.encode()]) != []
    assert given_away(evidence.commands.items(), [ARGV.encode()]) == [
        "outbox list --bodies",
        "outbox list --bodies --json",
    ]
    assert b"[redacted]" in evidence.commands["outbox list --bodies"]
    assert len(secret_lines()) > 3
    assert evidence.status == 0


def test_no_secret_is_in_the_log(evidence: Evidence) -> None:
    assert given_away([("log", evidence.log)], secret_lines()) == []


def test_no_command_line_is_in_the_log(evidence: Evidence) -> None:
    assert given_away([("log", evidence.log)], [ARGV.encode()]) == []


def test_no_secret_is_in_the_state_with_its_dead_letters_while_the_service_runs_or_after(
    evidence: Evidence,
) -> None:
    assert {name.rpartition("/")[2] for name in evidence.state} >= {"state.db", "state.db-wal"}
    assert given_away(evidence.state.items(), secret_lines()) == []


def test_no_secret_is_in_what_is_delivered(evidence: Evidence) -> None:
    told = [json.dumps(each).encode() for each in evidence.delivered]
    assert given_away(enumerate(told), secret_lines()) == []
    # one is a dead letter, of one the secret is behind what an event shows
    assert sum(b"[redacted]" in each for each in told) == len(COMMAND_LINES) - 2


def test_no_secret_is_in_what_commands_print(evidence: Evidence) -> None:
    assert given_away(evidence.commands.items(), secret_lines()) == []


def test_no_secret_is_in_what_ps_shows(evidence: Evidence) -> None:
    assert b"otel_shell_detector" in evidence.ps
    assert given_away([("ps", evidence.ps)], secret_lines()) == []


def test_the_http_port_tells_no_secret_and_no_command_line(evidence: Evidence) -> None:
    answers = [(page, answer) for page, (_, answer) in evidence.pages.items()]
    assert given_away(answers, [*secret_lines(), ARGV.encode()]) == []


def test_the_http_port_has_four_pages_and_two_methods(evidence: Evidence) -> None:
    found = {page for page, (status, _) in evidence.pages.items() if status == 200}
    # of slashes at the beginning one counts
    assert found == {(method, path) for method in ("GET", "HEAD") for path in (*PAGES, "//metrics")}
    refused = {status for _, (status, _) in evidence.pages.items() if status != 200}
    assert refused == {404, 405, 414}


def test_the_state_is_its_owners_alone(evidence: Evidence) -> None:
    modes = dict(evidence.modes)
    assert modes.pop("state") == "drwx------"
    assert modes.pop("state/control.sock") == "srw-------"
    assert {"state/state.db", "state/state.db-wal"} <= set(modes)
    assert set(modes.values()) == {"-rw-------"}


@pytest.mark.usefixtures("logging_restored", "no_variables")
@pytest.mark.parametrize("format_", ["json", "console"])
def test_an_error_that_nothing_handles_tells_neither_its_message_nor_a_local_value(
    format_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        token = SENTINEL.decode()
        raise ValueError(f"{token} is no number") from KeyError(token)

    monkeypatch.setattr(service, "serve", fail)
    config = tmp_path / "config.yaml"
    config.write_text(f"log: {{level: debug, format: {format_}}}\nstate: {{ephemeral: true}}\n")
    assert cli.main(["serve", "--config", str(config)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "process.failed" in err
    assert "ValueError" in err
    assert "SENTINEL" not in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("logging_restored")
def test_an_error_in_a_field_tells_neither_its_message_nor_its_cause() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(level="debug"), stream)
    error = ValueError("SENTINEL")
    error.__cause__ = KeyError("SENTINEL")
    error.add_note("SENTINEL")
    CORE_FAILED(error=error, exc_info=error, nested={"error": [error]})
    assert "core.failed" in stream.getvalue()
    assert "SENTINEL" not in stream.getvalue()
