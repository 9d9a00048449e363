"""The values for the charts of the collector, and the configuration that each chart takes out of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.e2e.processes import ROOT, free_port

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = ROOT / "deploy/collector"
CHARTS: Final = ("opentelemetry-collector", "splunk-otel-collector")
PROFILES: Final = ("full", "lean")
_BY_DEFAULT: Final = frozenset(
    {
        *("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "setfcap"),
        *("net_bind_service", "net_raw", "sys_chroot", "mknod", "audit_write"),
    }
)
"""Capabilities of a container that drops none."""


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """As Helm merges values, charts their configuration, the collector its files: lists are replaced."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


@dataclass(frozen=True)
class Deployed:
    """A chart with a profile."""

    chart: str
    profile: str

    def __str__(self) -> str:
        return f"{self.chart}-{self.profile}"

    @property
    def values(self) -> dict[str, Any]:
        files = [f"{self.chart}.yaml", *([f"{self.chart}-lean.yaml"] if self.profile == "lean" else [])]
        values: dict[str, Any] = {}
        for name in files:
            values = merged(values, yaml.safe_load((FOLDER / name).read_text()))
        return values

    @property
    def pod(self) -> dict[str, Any]:
        """The values that are about the pod."""
        values = self.values
        found: dict[str, Any] = values.get("agent", values)
        return found

    @property
    def configuration(self) -> dict[str, Any]:
        """What these values say of the collector: all of it, or what the chart adds to its own."""
        values = self.values
        found: dict[str, Any] = (
            values["alternateConfig"] if "alternateConfig" in values else values["agent"]["config"]
        )
        declared = found["extensions"]
        listed = found["service"]["extensions"]
        if "agent" in values:  # the chart's own are not in the values, and not part of this
            found["service"]["extensions"] = [each for each in listed if each in declared]
        return found

    @property
    def variables(self) -> set[str]:
        """Names of the environment that the pod has: those of the values, and the chart's own."""
        own = {"MY_POD_IP"} if self.chart == "opentelemetry-collector" else {"K8S_NODE_NAME"}
        return own | {each["name"] for each in self.pod["extraEnvs"]}

    @property
    def capabilities(self) -> set[str]:
        """What the container may."""
        said = self.pod["securityContext"]["capabilities"]
        kept = frozenset() if said.get("drop") == ["ALL"] else _BY_DEFAULT
        return {*kept, *(each.lower() for each in said["add"])}


DEPLOYED: Final = tuple(Deployed(chart, profile) for chart in CHARTS for profile in PROFILES)


def moved(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A configuration with what this machine has not replaced: host paths, the pod's account, its ports."""
    receiver = config["receivers"]["host_metrics/shell-detector"]
    assert receiver["root_path"] == "/hostfs"
    receiver["root_path"] = str(folder / "hostfs")
    config["extensions"]["file_storage/shell-detector"]["directory"] = str(folder / "queue")
    if "health_check" in config["extensions"]:
        config["extensions"]["health_check"]["endpoint"] = f"127.0.0.1:{free_port()}"
    config["processors"]["k8s_attributes/shell-detector"]["auth_type"] = "kubeConfig"
    config["service"]["telemetry"] = {"metrics": {"level": "none"}}
    return config
