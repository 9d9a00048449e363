"""What the application would refuse, `helm template` refuses; and each value that it takes, Helm takes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otel_shell_detector.keys import KEYS, plain
from tests.chart.helm import CHART, template
from tests.e2e.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.peers

TESTDATA = ROOT / "tests/otel_shell_detector/testdata"
MINIMAL = CHART / "ci/minimal-values.yaml"
SEEN_BY_THE_APPLICATION_ALONE = {
    # Files that are missing or empty in the pod.
    "otlp_files_missing.yaml",
    "token_file_empty.yaml",
    "token_file_missing.yaml",
    "token_in_place_of_its_file.yaml",
    # Regular expressions of Python.
    "redaction_of_everything.yaml",
    "redaction_that_is_no_regex.yaml",
}
NOT_IN_VALUES = {
    # Helm reads them before anything of the chart does, and takes the last of the two.
    "key_stands_there_twice.yaml",
    "section_stands_there_twice.yaml",
    # The minimal values name what is missing there; the test below takes it away.
    "hec_without_url_and_token.yaml",
}


def mistakes() -> dict[str, dict[str, Any]]:
    """The mistakes of the application's tests that Helm's values can hold."""
    found = {}
    for path in sorted(TESTDATA.glob("*.yaml")):
        try:
            document = yaml.safe_load(path.read_bytes())
        except (yaml.YAMLError, ValueError):
            continue
        if isinstance(document, dict) and path.name not in NOT_IN_VALUES:
            found[path.name] = document
    return found


MISTAKES = mistakes()


def completed(config: dict[str, Any], path: Path) -> Path:
    """Values that hold a configuration, beside what every release needs."""
    path.write_text(yaml.safe_dump({"config": config}))
    return path


@pytest.mark.parametrize("name", sorted(MISTAKES))
def test_what_the_application_refuses_is_refused(name: str, tmp_path: Path) -> None:
    values = completed(MISTAKES[name], tmp_path / "values.yaml")
    result = template(MINIMAL, "--values", values)
    assert (result.returncode != 0) == (name not in SEEN_BY_THE_APPLICATION_ALONE), result.stderr


def test_there_are_many_mistakes_that_values_can_hold() -> None:
    assert len(MISTAKES) >= 60


def test_the_defaults_of_the_application_are_taken(tmp_path: Path) -> None:
    config: dict[str, Any] = {}
    for key in KEYS.values():
        if key.name in {
            "state.path",
            "policy.path",
            "detector.cluster_name",
            "receiver.endpoint",
            "http.endpoint",
            "exporter.sink",
        }:
            continue
        section = config
        for name in key.path[:-1]:
            section = section.setdefault(name, {})
        if key.default is not None:
            section[key.path[-1]] = plain(key.default)
    result = template(MINIMAL, "--values", completed(config, tmp_path / "values.yaml"))
    assert result.returncode == 0, result.stderr


def test_each_refusal_of_the_templates_is_a_unit_test_of_the_chart() -> None:
    """With the very words: helm-unittest compares ``errorMessage`` as a whole."""
    suite = yaml.safe_load((CHART / "tests/refusals_test.yaml").read_text())
    told = {each["asserts"][0]["failedTemplate"].get("errorMessage", "") for each in suite["tests"]}
    sources = "".join(path.read_text() for path in (CHART / "templates").glob("_*.tpl"))
    formats = [
        json.loads(each) for each in re.findall(r'\{\{- fail \(?(?:printf )?("(?:[^"\\]|\\.)*")', sources)
    ]
    patterns = [re.sub("%[dqsv]", ".+", re.escape(each)) for each in formats]
    assert len(patterns) == sources.count("- fail ")
    assert [each for each in patterns if not any(re.fullmatch(each, text) for text in told)] == []


def test_a_release_without_values_is_told_in_one_sentence_what_it_needs(tmp_path: Path) -> None:
    nothing = tmp_path / "values.yaml"
    nothing.write_text("")
    result = template(nothing)
    told = (
        "config.detector.cluster_name: got nothing; want the name of this cluster. A release needs it,"
        " config.exporter.hec.url and hecToken.secretName\n"
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.partition("): ")[2].partition("\n\n")[0] + "\n" == told


@pytest.mark.parametrize(
    "values",
    [
        {"persistence": {"size": "1216Mi"}},
        {"persistence": {"size": "1276000000"}},
        {"persistence": {"size": "0.01T"}},
        {"persistence": {"size": "1Mi", "enabled": False}},
        {"persistence": {"size": "1Mi"}, "config": {"state": {"ephemeral": True}}},
        {"persistence": {"size": "136Mi"}, "config": {"state": {"max_size": "64MiB"}}},
    ],
)
def test_a_volume_with_room_for_the_state_is_taken(values: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    result = template(MINIMAL, "--values", path)
    assert (result.returncode, result.stderr) == (0, "")
