"""Names, neighbours and parents of a release, and values that YAML reads in more than one way."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otel_shell_detector.sources import build, parse_yaml
from tests.chart.helm import CHART, helm, objects, only

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.peers

MINIMAL = CHART / "ci/minimal-values.yaml"


def released(name: str, *arguments: str | Path, chart: Path = CHART) -> list[dict[str, Any]]:
    """The objects of a release of that name."""
    rendered = helm("template", name, chart, "--values", MINIMAL, *arguments)
    assert rendered.returncode == 0, rendered.stderr
    return [each for each in yaml.safe_load_all(rendered.stdout) if each]


def named(rendered: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(each["kind"], each["metadata"]["name"]) for each in rendered}


def config_of(rendered: list[dict[str, Any]]) -> str:
    text: str = only(rendered, "ConfigMap")["data"]["config.yaml"]
    return text


def sum_of(rendered: list[dict[str, Any]]) -> str:
    annotations = only(rendered, "StatefulSet")["spec"]["template"]["metadata"]["annotations"]
    found: str = annotations["checksum/config"]
    return found


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("sd", "sd-otel-shell-detector"),
        ("otel-shell-detector", "otel-shell-detector"),
        ("my.release", "my-release-otel-shell-detector"),
        ("a" * 53, "a" * 52),
        ("a" * 51 + "-b", "a" * 51),
        ("a" * 50 + "--b", "a" * 50),
    ],
)
def test_objects_are_named_as_a_label_of_dns_can_be(release: str, name: str) -> None:
    names = [each for _, each in named(released(release, "--set-string", r"policies.a\.yaml=rules: []"))]
    assert set(names) == {name, f"{name}-headless", f"{name}-policies"}
    assert len(f"{name}-headless") <= 63


@pytest.mark.parametrize("text", ["123", "1e3", "true", "null", "yes"])
def test_a_name_that_yaml_could_read_otherwise_stays_a_name(text: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    named_so = {
        "fullnameOverride": "null",
        "nameOverride": text,
        "priorityClassName": text,
        "runtimeClassName": text,
        "persistence": {"storageClassName": text},
        "serviceAccount": {"name": text},
        "service": {"type": "LoadBalancer", "loadBalancerClass": text},
    }
    values.write_text(json.dumps(named_so))
    rendered = released(text, "--namespace", text, "--values", values)
    workload = only(rendered, "StatefulSet")
    pod = workload["spec"]["template"]["spec"]
    [claim] = workload["spec"]["volumeClaimTemplates"]
    labels = {"app.kubernetes.io/instance": text, "app.kubernetes.io/name": text}
    assert {each["metadata"]["namespace"] for each in rendered} == {text}
    assert (workload["metadata"]["name"], workload["spec"]["selector"]["matchLabels"]) == ("null", labels)
    assert labels.items() <= workload["metadata"]["labels"].items()
    found = [pod[name] for name in ("priorityClassName", "runtimeClassName", "serviceAccountName")]
    assert [*found, claim["spec"]["storageClassName"]] == [text] * 4
    [receiver] = [
        each for each in rendered if each["metadata"]["name"] == "null" and each["kind"] == "Service"
    ]
    assert (receiver["spec"]["selector"], receiver["spec"]["loadBalancerClass"]) == (labels, text)


def test_the_annotation_that_rolls_the_pod_is_the_charts_own() -> None:
    rendered = released("sd", "--set", "podAnnotations.checksum/config=x,podAnnotations.a=b")
    annotations = only(rendered, "StatefulSet")["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"a": "b", "checksum/config": sum_of(released("sd"))}


@pytest.mark.parametrize("text", ["rules: []\n", "\n\n  a: 1\n  b: 2\n", "  a: 1"])
def test_the_text_of_a_policy_arrives_as_it_is(text: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(json.dumps({"policies": {"a.yaml": text}}))
    rendered = released("sd", "--values", values)
    [policies] = [each for each in rendered if each["metadata"]["name"].endswith("-policies")]
    assert policies["data"]["a.yaml"].rstrip() == text.rstrip()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("service=null", "missing property 'service'"),
        ("networkPolicy.otlp=null", "missing property 'otlp'"),
        ("livenessProbe.tcpSocket.port=http", "/livenessProbe"),
        ("config.receiver.endpoint=0.0.0.0:04317", "/config/receiver/endpoint"),
        ("config.receiver.endpoint=0.0.0.0:65536", "/config/receiver/endpoint"),
        ("networkPolicy.otlp.ipBlocks={10.0.0.0/129}", "/networkPolicy/otlp/ipBlocks"),
    ],
)
def test_what_no_template_could_use_is_named(value: str, said: str) -> None:
    refused = helm("template", "sd", CHART, "--values", MINIMAL, "--set", value)
    assert refused.returncode == 1
    assert said in refused.stderr


def test_two_releases_in_one_namespace_share_no_object_and_no_pod() -> None:
    every = ("--values", CHART / "ci/no-volume-values.yaml", "--set", "hecToken.secretName=")
    one, two = released("one", *every), released("two", *every)
    assert named(one) & named(two) == set()
    selectors = [only(each, "StatefulSet")["spec"]["selector"]["matchLabels"] for each in (one, two)]
    labels = [only(each, "StatefulSet")["spec"]["template"]["metadata"]["labels"] for each in (one, two)]
    chosen = [[selector.items() <= each.items() for each in labels] for selector in selectors]
    assert chosen == [[True, False], [False, True]]


def test_a_chart_can_depend_on_it_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    shutil.copytree(CHART, tmp_path / "charts/otel-shell-detector")
    dependency = {
        "name": "otel-shell-detector",
        "version": "*.*.*",
        "alias": "shells",
        "condition": "shells.enabled",
    }
    chart = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(chart))
    below = yaml.safe_load(MINIMAL.read_text()) | {"enabled": True}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"shells": below, "global": {"imageRegistry": "x"}}))
    rendered = helm("template", "sd", tmp_path)
    assert rendered.returncode == 0, rendered.stderr
    found = [each for each in yaml.safe_load_all(rendered.stdout) if each]
    workload = only(found, "StatefulSet")
    labels = {"app.kubernetes.io/instance": "sd", "app.kubernetes.io/name": "shells"}
    assert (workload["metadata"]["name"], workload["spec"]["selector"]["matchLabels"]) == (
        "sd-shells",
        labels,
    )
    off = helm("template", "sd", tmp_path, "--set", "shells.enabled=false")
    assert (off.returncode, off.stdout.strip()) == (0, "")


@pytest.mark.parametrize(
    "text",
    ["123", "0123", "1e3", "on", "yes", "null", "~", "true", "1_000", "12:30", "0x1f", "2026-01-01", "#"],
)  # fmt: skip
def test_a_text_that_yaml_could_read_otherwise_stays_a_text(text: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(json.dumps({"config": {"detector": {"cluster_name": text}}}))
    config = parse_yaml(config_of(released("sd", "--values", values)).encode(), "config.yaml")
    assert config == {
        "detector": {"cluster_name": text},
        "exporter": {
            "sink": "hec",
            "hec": {
                "url": "https://splunk.example:8088",
                "token_file": "/etc/otel-shell-detector/hec-token/token",
            },
        },
        "http": {"endpoint": "0.0.0.0:9464"},
        "receiver": {"endpoint": "0.0.0.0:4317"},
        "state": {"path": "/var/lib/otel-shell-detector"},
    }


def test_numbers_flags_and_durations_are_what_was_said(tmp_path: Path) -> None:
    said = (
        "config.detector.max_tracked_shells=1000000,config.exporter.sink=stdout,config.exporter.hec.ack=true"
    )
    more = "config.detector.window=10s,config.detector.replay_horizon=1h,config.risk.burst.after=0"
    rendered = released("sd", "--set", f"{said},{more},hecToken.secretName=")
    settings = build(parse_yaml(config_of(rendered).encode(), "config.yaml"), {})
    assert (
        settings.detector.max_tracked_shells,
        settings.exporter.hec.ack,
        str(settings.detector.replay_horizon),
        settings.risk.burst.after,
    ) == (1_000_000, True, "1h", 0)


def test_the_pod_rolls_when_the_configuration_changes_and_not_when_a_policy_or_the_release_does() -> None:
    policy = ("--set-string", r"policies.a\.yaml=rules: []")
    first = sum_of(released("sd", *policy, "--set", "podLabels.a=b"))
    other_policy = sum_of(released("sd", "--set-string", r"policies.a\.yaml=rules: [] # changed"))
    other_config = sum_of(released("sd", *policy, "--set", "config.log.level=debug"))
    assert (first == other_policy, first == other_config) == (True, False)


def test_objects_beside_it_are_rendered_with_what_the_release_knows(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        """
extraObjects:
  - |
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: "{{ include "osd.fullname" . }}-text"}
    data: {to: "{{ .Values.config.detector.cluster_name }}"}
  - apiVersion: v1
    kind: Secret
    metadata: {name: "{{ .Release.Name }}-mapping"}
"""
    )
    found = objects(MINIMAL, "--values", values)
    assert {("ConfigMap", "sd-otel-shell-detector-text"), ("Secret", "sd-mapping")} <= named(found)
    [text] = [each["data"] for each in found if each["metadata"]["name"].endswith("-text")]
    assert text == {"to": "production"}
