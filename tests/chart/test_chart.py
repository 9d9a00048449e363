"""The chart without a cluster: its lint, its unit tests, its objects against the schemas of Kubernetes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otel_shell_detector.sources import build, parse_yaml
from tests.chart import schemas
from tests.chart.helm import CHART, VALUES, helm, named, objects, only, template
from tests.e2e.processes import ROOT, peer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.peers

EXAMPLES = CHART / "examples"
MOUNTED = "/etc/otel-shell-detector"
SUPPORTED = ("v1.27.16", "v1.36.3")
"""The oldest and the newest Kubernetes that the chart is for."""


def test_the_generated_files_are_those_of_their_sources() -> None:
    verified = subprocess.run(
        [sys.executable, "tools/chart.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def test_chart_and_application_are_of_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (chart["version"], chart["appVersion"]) == (project["version"], project["version"])


@pytest.mark.parametrize("values", VALUES, ids=named)
def test_lint_finds_nothing(values: Path) -> None:
    result = helm("lint", "--strict", CHART, "--values", values)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("values", VALUES, ids=named)
def test_the_rendered_examples_are_what_the_chart_makes(values: Path) -> None:
    rendered = template(values)
    example = EXAMPLES / f"{named(values)}.yaml"
    if os.environ.get("WRITE_EXAMPLES"):
        example.write_text(rendered.stdout, encoding="utf-8")
    assert example.read_text(encoding="utf-8") == rendered.stdout


def test_there_is_an_example_for_each_set_of_values_and_no_other() -> None:
    assert sorted(path.stem for path in EXAMPLES.iterdir()) == [named(values) for values in VALUES]
    assert len(VALUES) >= 8


def test_the_unit_tests_of_the_chart_pass_in_strict_mode() -> None:
    run = subprocess.run(
        [peer("helm-unittest"), "--strict", CHART], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_each_template_has_a_suite_of_unit_tests() -> None:
    templates = {path.stem for path in (CHART / "templates").glob("[!_]*.*")}
    suites = {path.name.removesuffix("_test.yaml") for path in (CHART / "tests").glob("*_test.yaml")}
    assert suites == {name.lower() for name in templates} | {"refusals"}


def conform(rendered: list[dict[str, Any]], kubernetes: str, folder: Path) -> dict[str, int]:
    """What kubeconform counts."""
    schemas.write(kubernetes, folder)
    manifest = folder / "manifest.yaml"
    manifest.write_text(yaml.safe_dump_all(rendered))
    location = f"{folder}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
    checked = subprocess.run(
        [peer("kubeconform"), "-strict", "-summary", "-output=json", "-schema-location", location, manifest],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    summary: dict[str, int] = json.loads(checked.stdout)["summary"]
    return summary


@pytest.mark.parametrize("kubernetes", SUPPORTED)
@pytest.mark.parametrize("values", VALUES, ids=named)
def test_each_object_is_as_the_schema_of_kubernetes_says(
    values: Path, kubernetes: str, tmp_path: Path
) -> None:
    rendered = objects(values)
    counted = conform(rendered, kubernetes, tmp_path)
    assert counted == {"valid": len(rendered), "invalid": 0, "errors": 0, "skipped": 0}


@pytest.mark.parametrize("kubernetes", SUPPORTED)
def test_a_misspelt_field_is_not_as_the_schema_of_kubernetes_says(kubernetes: str, tmp_path: Path) -> None:
    rendered = objects(CHART / "ci/minimal-values.yaml")
    only(rendered, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Never"
    counted = conform(rendered, kubernetes, tmp_path)
    assert counted == {"valid": len(rendered) - 1, "invalid": 1, "errors": 0, "skipped": 0}


@pytest.mark.parametrize("values", VALUES, ids=named)
def test_the_application_reads_the_configuration_of_the_release(values: Path, tmp_path: Path) -> None:
    rendered = objects(values)
    workload = only(rendered, "StatefulSet", "Deployment")
    name = workload["metadata"]["name"]
    [config] = [each for each in rendered if (each["kind"], each["metadata"]["name"]) == ("ConfigMap", name)]
    text = config["data"]["config.yaml"].replace(MOUNTED, str(tmp_path))
    for volume in workload["spec"]["template"]["spec"]["volumes"]:
        for source in volume.get("projected", {}).get("sources", ()):
            [item] = (source.get("secret") or source["configMap"])["items"]
            path = tmp_path / volume["name"] / item["path"]
            path.parent.mkdir(exist_ok=True)
            path.write_text("something")
    settings = build(parse_yaml(text.encode(), "config.yaml"), {})
    given = yaml.safe_load(text)
    assert (settings.detector.cluster_name, str(settings.state.path), str(settings.receiver.endpoint)) == (
        given["detector"]["cluster_name"],
        "/var/lib/otel-shell-detector",
        given["receiver"]["endpoint"],
    )


def test_the_rules_of_the_release_are_those_of_the_file() -> None:
    groups = yaml.safe_load((CHART / "files/alerts.yaml").read_text())["groups"]
    plain = ("--set", "prometheusRule.enabled=true,prometheusRule.labels.release=prometheus")
    rule = only(objects(CHART / "ci/minimal-values.yaml", *plain), "PrometheusRule")
    assert (rule["spec"], rule["metadata"]["labels"]["release"]) == ({"groups": groups}, "prometheus")
    prefix = "https://git.example/shells/"
    led = only(
        objects(CHART / "ci/minimal-values.yaml", *plain, f"--set=prometheusRule.runbookPrefix={prefix}"),
        "PrometheusRule",
    )
    for each in (rule for group in groups for rule in group["rules"]):
        each["annotations"]["runbook_url"] = prefix + each["annotations"]["runbook"]
    assert led["spec"] == {"groups": groups}


def test_the_dashboard_is_that_of_the_file_and_no_template() -> None:
    rendered = objects(CHART / "ci/operator-values.yaml")
    [shown] = [each["data"] for each in rendered if each["metadata"]["name"].endswith("-dashboard")]
    text = (CHART / "files/dashboard.json").read_text(encoding="utf-8")
    assert "{{lane}}" in text
    assert shown == {"otel-shell-detector.json": text}
