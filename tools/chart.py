"""Writes what is generated of the Helm chart: `values.schema.json`, `files/bounds.json` and `README.md`.

`python tools/chart.py` compares them with what `values.yaml` and the configuration of the application make of
them, and ends with exit status 1 when they are apart; with `--write` it writes them.
"""

from __future__ import annotations

import json
import re
import sys
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from otel_shell_detector.keys import KEYS  # noqa: E402  # after the path to it

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHART: Final = ROOT / "deploy/helm/otel-shell-detector"
_SET_BY_THE_CHART: Final = frozenset({"state.path", "policy.path"})
_ANY_OBJECT: Final = {"type": "object"}
_STRINGS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_OBJECTS: Final = {"type": "array", "items": _ANY_OBJECT}
_RANGES: Final = {
    "type": "array",
    "items": {"type": "string", "pattern": "^[0-9a-fA-F:.]+/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8])$"},
}
_HANDLERS: Final = ("httpGet", "tcpSocket", "exec", "grpc")
_PROBE: Final = {
    "type": ["object", "null"],
    "not": {"anyOf": [{"required": pair} for pair in map(list, combinations(_HANDLERS, 2))]},
}
_NAME: Final = {"type": "string", "maxLength": 253, "pattern": "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"}
_KEY: Final = {"type": "string", "maxLength": 253, "pattern": "^[-._a-zA-Z0-9]+$"}
_DURATION: Final = {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"}
# What the default of a value does not tell of it. Objects of Kubernetes are left to the API server.
_SPECIAL: Final[Mapping[str, Mapping[str, object]]] = {
    "policies": {
        "type": "object",
        "propertyNames": {"pattern": r"^[-_a-zA-Z0-9][-._a-zA-Z0-9]*\.ya?ml$"},
        "additionalProperties": {"type": ["string", "object"]},
    },
    "policiesConfigMap": _NAME,
    "hecToken.secretName": _NAME,
    "hecToken.key": _KEY,
    "hecCa.secretName": _NAME,
    "hecCa.configMapName": _NAME,
    "hecCa.key": _KEY,
    "receiverTls.secretName": _NAME,
    "bearerTokens.secretName": _NAME,
    "bearerTokens.key": _KEY,
    "bearerTokens.values": {"type": "array", "items": {"type": "string", "pattern": r"^\S+$"}},
    "otlpToken.secretName": _NAME,
    "otlpToken.key": _KEY,
    "otlpTls.secretName": _NAME,
    "image.repository": {"type": "string", "minLength": 1},
    "image.tag": {"type": "string", "pattern": "^([A-Za-z0-9_][-.A-Za-z0-9_]{0,127})?$"},
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "imagePullSecrets": _OBJECTS,
    "nameOverride": _NAME,
    "fullnameOverride": _NAME,
    "persistence.size": {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?([KMGTPE]i|[kMGTPE])?$"},
    "persistence.accessModes": {
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": {"enum": ["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"]},
    },
    "persistence.whenDeleted": {"enum": ["Retain", "Delete"]},
    "persistence.annotations": _STRINGS,
    "service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "service.annotations": _STRINGS,
    "service.loadBalancerClass": {"type": "string"},
    "service.loadBalancerSourceRanges": _RANGES,
    "service.ipFamilyPolicy": {"enum": ["", "SingleStack", "PreferDualStack", "RequireDualStack"]},
    "serviceAccount.name": _NAME,
    "serviceAccount.annotations": _STRINGS,
    "networkPolicy.otlp.peers": _OBJECTS,
    "networkPolicy.otlp.ipBlocks": _RANGES,
    "networkPolicy.http.peers": _OBJECTS,
    "networkPolicy.egress.peers": _OBJECTS,
    "networkPolicy.egress.dnsPorts": {
        "type": "array",
        "uniqueItems": True,
        "items": {"type": "integer", "minimum": 1, "maximum": 65535},
    },
    "networkPolicy.egress.extra": _OBJECTS,
    "serviceMonitor.labels": _STRINGS,
    "serviceMonitor.interval": _DURATION,
    "podMonitor.labels": _STRINGS,
    "podMonitor.interval": _DURATION,
    "prometheusRule.labels": _STRINGS,
    "prometheusRule.runbookPrefix": {"type": "string", "pattern": "^(https?://\\S+/)?$"},
    "dashboard.labels": _STRINGS,
    "dashboard.annotations": _STRINGS,
    "podSecurityContext": _ANY_OBJECT,
    "securityContext": _ANY_OBJECT,
    "resources": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"requests": _ANY_OBJECT, "limits": _ANY_OBJECT, "claims": _OBJECTS},
    },
    "startupProbe": _PROBE,
    "livenessProbe": _PROBE,
    "readinessProbe": _PROBE,
    "terminationGracePeriodSeconds": {"type": "integer", "minimum": 0},
    "podAnnotations": _STRINGS,
    "podLabels": _STRINGS,
    "commonLabels": _STRINGS,
    "nodeSelector": _STRINGS,
    "tolerations": _OBJECTS,
    "affinity": _ANY_OBJECT,
    "topologySpreadConstraints": _OBJECTS,
    "extraEnv": _OBJECTS,
    "extraVolumes": _OBJECTS,
    "extraVolumeMounts": _OBJECTS,
    "extraObjects": {"type": "array", "items": {"type": ["object", "string"]}},
}
_README: Final = """\
# otel-shell-detector

<!-- Generated by `make docs`; change values.yaml or otel_shell_detector/configuration.py instead. -->

Finds shells in the process metrics of OpenTelemetry Collectors and tells Splunk within seconds. Kubernetes
1.27 or newer.

    kubectl create namespace shell-detector
    kubectl --namespace shell-detector create secret generic splunk-hec --from-file=token=hec-token.txt
    helm install shell-detector deploy/helm/otel-shell-detector --namespace shell-detector \\
      --set config.detector.cluster_name=production \\
      --set config.exporter.hec.url=https://splunk.example:8088 --set hecToken.secretName=splunk-hec

Helm then prints the exporter that the collector's agents need, and what to check next. The whole way to a
test event in Splunk is in [docs/deploy.md](../../../docs/deploy.md), what comes later in
[UPGRADING.md](../../../UPGRADING.md). `ci/` holds values to start from: `mtls-values.yaml`,
`openshift-values.yaml`, `network-values.yaml` and others.

Values that the application would refuse are refused by `helm template` already: unknown keys, wrong kinds of
values, and values that do not go together. Left to the application: files, and the expressions of
`config.exporter.redact`.

## Values

| value | default | meaning |
|---|---|---|
"""
_README_CONFIG: Final = """
## `config`

Each key of the application; the chart sets `state.path` and `policy.path` itself.

| value | wants | more |
|---|---|---|
"""


def documented(text: str) -> Iterator[tuple[str, str]]:
    """The path and the meaning of each value of `values.yaml`, told by a comment that begins with --."""
    path: list[tuple[int, str]] = []
    meaning: list[str] = []
    for line in text.splitlines():
        if comment := re.fullmatch(r" *# (-- )?(.*)", line):
            meaning = [comment[2]] if comment[1] else [*meaning, comment[2]] if meaning else []
        elif key := re.match(r"( *)([A-Za-z_]+):", line):
            path = [each for each in path if each[0] < len(key[1])] + [(len(key[1]), key[2])]
            if meaning:
                yield ".".join(name for _, name in path), " ".join(meaning)
            meaning = []
        else:
            meaning = []


def _sections(prefix: str, values: Mapping[str, object]) -> list[str]:
    """Those of the values that templates look into; with null Helm takes them away."""
    return [
        name
        for name, value in values.items()
        if isinstance(value, dict) and value and f"{prefix}{name}" not in _SPECIAL
    ]


def _of_default(path: str, value: object) -> Mapping[str, object]:
    if path in _SPECIAL:
        return _SPECIAL[path]
    if isinstance(value, dict) and value:
        inner = {name: _of_default(f"{path}.{name}", each) for name, each in value.items()}
        needed = _sections(f"{path}.", value)
        closed = {"type": "object", "additionalProperties": False, "properties": inner}
        return closed | ({"required": needed} if needed else {})
    return {"type": {bool: "boolean", int: "integer", str: "string"}[type(value)]}


def _of_configuration() -> dict[str, Any]:
    """What `config` may be: the sections and keys of the application, closed."""
    root: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
    for key in KEYS.values():
        if key.name in _SET_BY_THE_CHART:
            continue
        section = root
        for part in key.path[:-1]:
            empty = {"type": "object", "additionalProperties": False, "properties": {}}
            section = section["properties"].setdefault(part, empty)
        section["properties"][key.path[-1]] = {"description": key.meaning, **key.kind.schema}
    root["required"] = ["receiver", "http", "exporter"]
    for name in ("receiver", "http"):
        root["properties"][name]["required"] = ["endpoint"]
    root["properties"]["exporter"]["required"] = ["sink"]
    return root


def schema() -> str:
    """`values.schema.json`."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    meanings = dict(documented(text))
    properties: dict[str, dict[str, Any]] = {
        name: {"description": meanings[name]} if name in meanings else {} for name in yaml.safe_load(text)
    }
    for name, value in yaml.safe_load(text).items():
        properties[name] |= _of_configuration() if name == "config" else _of_default(name, value)
    # Charts that depend on this one hand `global` down, and `enabled` if that is their condition.
    properties |= {"global": {"type": "object"}, "enabled": {"type": "boolean"}}
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "required": _sections("", yaml.safe_load(text)),
        "properties": properties,
    }
    return json.dumps(whole, indent=2) + "\n"


def bounds() -> str:
    """`files/bounds.json`: the least and the most of durations and sizes, which the templates check."""
    found = {
        key.name: {
            "kind": "duration" if "a duration" in key.kind.want else "size",
            "least": str(key.kind.bounds[0]),
            "most": str(key.kind.bounds[1]),
            "want": key.kind.want,
        }
        for key in KEYS.values()
        if key.kind.bounds
    }
    return json.dumps(found, indent=2) + "\n"


def _default(values: Any, path: str) -> str:  # noqa: ANN401  # what YAML holds
    if path == "config":
        return "below"
    for name in path.split("."):
        values = values[name]
    return f"`{json.dumps(values)}`"


def readme() -> str:
    """`README.md`."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    rows = [
        f"| `{path}` | {_default(values, path)} | {_cell(meaning)} |\n" for path, meaning in documented(text)
    ]
    keys = [
        f"| `config.{key.name}` | {_cell(key.kind.want)} | "
        f"[docs/configuration.md](../../../docs/configuration.md#{''.join(key.path)}) |\n"
        for key in KEYS.values()
        if key.name not in _SET_BY_THE_CHART
    ]
    return "".join((_README, *rows, _README_CONFIG, *keys))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Compare or write; gives the exit status."""
    apart = 0
    documents = {"values.schema.json": schema(), "files/bounds.json": bounds(), "README.md": readme()}
    for name, want in documents.items():
        path = CHART / name
        if sys.argv[1:] == ["--write"]:
            path.write_text(want, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != want:
            print(f"{path.relative_to(ROOT)} is behind its sources. Type: make docs", file=sys.stderr)
            apart = 1
    return apart


if __name__ == "__main__":
    sys.exit(main())
