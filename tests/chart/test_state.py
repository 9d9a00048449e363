"""An upgrade keeps the state: the service of this version goes on with a state of each version before.

It is given the configuration out of the release. What else is in a state, tests/store/test_upgrade.py holds.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import apsw
import pytest
import yaml

from store import schema
from tests.chart.helm import CHART, objects
from tests.e2e.processes import Started, environment_without_keys, free_port, until
from tests.store.test_upgrade import write_version

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = pytest.mark.peers


def serve(started: Started) -> subprocess.Popen[bytes]:
    """Start the service as the release says, with directories and addresses of this machine."""
    folder = started.folder
    rendered = objects(CHART / "ci/minimal-values.yaml")
    [config] = [each["data"]["config.yaml"] for each in rendered if each["kind"] == "ConfigMap"]
    section = yaml.safe_load(config)
    section["state"]["path"] = str(folder / "state")
    section["receiver"]["endpoint"] = f"127.0.0.1:{free_port()}"
    section["http"]["endpoint"] = f"127.0.0.1:{free_port()}"
    section["exporter"] = {"sink": "file", "file": {"path": str(folder / "events.jsonl")}}
    (folder / "config.yaml").write_text(yaml.safe_dump(section))
    command: list[str | bytes | Path] = [
        sys.executable,
        "-m",
        "otel_shell_detector",
        "serve",
        "--config",
        folder / "config.yaml",
    ]
    return started.start("service", command, environment_without_keys())


def change(state: Path, statements: str) -> None:
    connection = apsw.Connection(str(state / "state.db"))
    connection.execute(statements)
    connection.close()


def version_of(state: Path) -> int:
    connection = apsw.Connection(str(state / "state.db"))
    found: int = connection.pragma("user_version")
    connection.close()
    return found


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_what_waited_in_the_state_of_a_version_before_is_delivered(
    started: Started, tmp_path: Path, version: int
) -> None:
    (tmp_path / "state").mkdir()
    write_version(version, tmp_path / "state")
    # Their texts there are made up, which the store does not mind.
    change(tmp_path / "state", "DELETE FROM checkpoint; DELETE FROM meta WHERE key = 'rules'")
    service, told = serve(started), tmp_path / "events.jsonl"
    until("what waits is delivered", lambda: told.exists() and told.read_text().count("\n") >= 3, 30)
    service.send_signal(signal.SIGTERM)
    assert service.wait(30) == 0, started.log("service")
    assert [number for number in (2, 3, 5) if f'{{"n":{number}}}' not in told.read_text()] == []
    assert version_of(tmp_path / "state") == schema.VERSION


def test_the_state_of_a_later_version_is_refused_and_left_as_it_is(started: Started, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    write_version(schema.VERSION - 1, tmp_path / "state")
    later = f"ALTER TABLE dead ADD COLUMN more INTEGER; PRAGMA user_version = {schema.VERSION + 1}"
    change(tmp_path / "state", later)
    before = (tmp_path / "state/state.db").read_bytes()
    service = serve(started)
    assert service.wait(30) == 1
    assert '"event": "store.not_opened"' in started.log("service")
    assert f"written by version {schema.VERSION + 1} of the schema" in started.log("service")
    assert (tmp_path / "state/state.db").read_bytes() == before
