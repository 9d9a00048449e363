"""What holds of the values for the charts of the collector without running them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otel_shell_detector.configuration import DetectorSettings
from tests.collector.values import CHARTS, DEPLOYED, FOLDER, Deployed, merged
from tools import collector

if TYPE_CHECKING:
    from pathlib import Path

each_deployed = pytest.mark.parametrize("deployed", DEPLOYED, ids=str)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, to be changed."""
    for path in FOLDER.glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(collector, "FOLDER", tmp_path)
    return tmp_path


def agent(profile: str) -> dict[str, Any]:
    """As the collector itself merges its files."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / "agent.yaml").read_text())
    return merged(found, yaml.safe_load((FOLDER / "lean.yaml").read_text())) if profile == "lean" else found


def test_the_values_are_what_their_source_makes_of_them() -> None:
    assert collector.main([]) == 0


def test_values_behind_their_source_are_named_and_written_anew(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = elsewhere / "agent.yaml"
    source.write_text(source.read_text().replace("collection_interval: 10s", "collection_interval: 30s"))
    assert collector.main([]) == 1
    assert capsys.readouterr().err == "".join(
        f"{chart}.yaml: is not what agent.yaml and lean.yaml make of it; run `make docs`\n"
        for chart in CHARTS
    )
    assert (collector.main(["--write"]), collector.main([])) == (0, 0)
    assert (elsewhere / "splunk-otel-collector.yaml").read_text().count("collection_interval: 30s") == 1


@each_deployed
def test_the_values_hold_the_configuration_of_the_agent_and_the_extensions_of_the_chart(
    deployed: Deployed,
) -> None:
    found = deployed.configuration
    if deployed.chart == "opentelemetry-collector":
        assert found["extensions"].pop("health_check") == {"endpoint": "${env:MY_POD_IP}:13133"}
        found["service"]["extensions"].remove("health_check")
    assert found == agent(deployed.profile)


@each_deployed
def test_the_environment_has_every_variable_that_is_named(deployed: Deployed) -> None:
    named = set(re.findall(r"\$\{env:(\w+)\}", yaml.safe_dump(deployed.configuration)))
    assert named <= deployed.variables
    assert named >= {"K8S_NODE_NAME", "K8S_CLUSTER_NAME", "OTEL_SHELL_DETECTOR"}


@each_deployed
def test_what_waits_for_the_service_is_not_too_old_for_it(deployed: Deployed) -> None:
    exporter = deployed.configuration["exporters"]["otlp_grpc/shell-detector"]
    receiver = deployed.configuration["receivers"]["host_metrics/shell-detector"]
    horizon_s = DetectorSettings().replay_horizon.seconds
    retried_s = 60 * int(exporter["retry_on_failure"]["max_elapsed_time"].removesuffix("m"))
    queued_s = exporter["sending_queue"]["queue_size"] * int(
        receiver["collection_interval"].removesuffix("s")
    )
    assert (retried_s, queued_s) == (3000, 3000)
    assert max(retried_s, queued_s) < horizon_s


def test_lean_sends_the_executables_that_the_service_watches() -> None:
    [condition] = agent("lean")["processors"]["filter/shell-detector"]["metric_conditions"]
    [names] = re.findall(r"\^\((.+)\)\$", condition)
    assert names.split("|") == list(DetectorSettings().executables)


@each_deployed
def test_the_queue_and_the_processes_are_mounted_where_the_configuration_looks(deployed: Deployed) -> None:
    pod, config = deployed.pod, deployed.configuration
    places = {each["name"]: each["hostPath"]["path"] for each in pod["extraVolumes"]}
    mounts = {each["mountPath"]: places[each["name"]] for each in pod["extraVolumeMounts"]}
    queue = config["extensions"]["file_storage/shell-detector"]["directory"]
    assert mounts.pop(queue) == "/var/lib/otel-shell-detector"
    assert config["receivers"]["host_metrics/shell-detector"]["root_path"] == "/hostfs"
    own = deployed.chart == "opentelemetry-collector"  # the other chart mounts it itself
    assert mounts == ({"/hostfs/proc": "/proc"} if own else {})
