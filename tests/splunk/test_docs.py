"""docs/splunk.md names what there is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from otel_shell_detector.cli import main
from tests.splunk.app import ROOT, conf, dashboards, schema_fields

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (ROOT / "docs" / "splunk.md").read_text(encoding="utf-8")
YAML = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("text", YAML)
def test_each_configuration_is_one(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text("x")
    (tmp_path / "config.yaml").write_text(text.replace("/etc/otel-shell-detector", str(tmp_path)))
    status = main(["check-config", "--config", str(tmp_path / "config.yaml")])
    assert (status, capsys.readouterr().err) == (0, "")


def test_the_saved_searches_and_the_dashboards_have_these_names() -> None:
    names = {name.removeprefix("OTel Shell Detector - ") for name in conf("savedsearches.conf")}
    table = TEXT.partition("| OTel Shell Detector - |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)) == names
    assert set(re.findall(r"\*OTel Shell Detector - ([^*]+)\*", TEXT)) <= names
    for root in dashboards().values():
        assert f"*{root.findtext('label')}*" in TEXT


def test_the_macros_and_fields_that_it_names_exist() -> None:
    macros = conf("macros.conf")
    named = set(re.findall(r"`(otel_shell_\w+|kubernetes_shell_\w+)`", TEXT))
    assert named <= macros.keys()
    assert len(named) >= 7
    assert macros["otel_shell_delay_limit"]["definition"] == "600"
    assert macros["otel_shell_silence_limit"]["definition"] == str(4 * 3600)
    fields = set(
        re.findall(r"`((?:annotations|info|threat|security|contributing|savedsearch)[._][\w.]*\w)`", TEXT)
    )
    assert fields <= schema_fields().keys()
    assert len(fields) >= 7
