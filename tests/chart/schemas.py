"""JSON Schemas for kubeconform, made of the API server's own description and of the operator's CRDs."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from tests.e2e.processes import peer

if TYPE_CHECKING:
    from pathlib import Path

_PREFIX = "#/definitions/"
_KINDS = {
    "ConfigMap",
    "Deployment",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Secret",
    "Service",
    "ServiceAccount",
    "StatefulSet",
}


def _closed(schema: Any, definitions: dict[str, Any]) -> Any:
    """A schema with what it refers to in place, in which no object has a property that it does not name."""
    if isinstance(schema, list):
        return [_closed(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_PREFIX)
        if name.endswith(".JSONSchemaProps"):
            return {}
        return _closed(definitions[name], definitions)
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    made = {
        name: {key: _closed(each, definitions) for key, each in value.items()}
        if name == "properties"
        else _closed(value, definitions)
        for name, value in schema.items()
    }
    if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def _quantities(definitions: dict[str, Any]) -> None:
    for name in definitions:
        if name.endswith(".Quantity"):
            definitions[name] = {"type": ["string", "number"]}


@cache
def _served(kubernetes: str) -> dict[tuple[str, str], str]:
    """The schema of each kind of a version of Kubernetes and of the operator, as JSON."""
    peers = peer("kubernetes-schemas")
    definitions = json.loads((peers / kubernetes / "swagger.json").read_bytes())["definitions"]
    for name in definitions:
        if name.endswith(".Quantity"):
            definitions[name] = {"type": ["string", "number"]}
    found = {}
    for definition in definitions.values():
        for each in definition.get("x-kubernetes-group-version-kind", ()):
            if each["kind"] in _KINDS:
                version = "/".join(filter(None, (each["group"], each["version"])))
                found[version, each["kind"]] = json.dumps(_closed(definition, definitions))
    for plural in ("servicemonitors", "podmonitors", "prometheusrules"):
        path = peers / f"v0.93.1/monitoring.coreos.com_{plural}.yaml"
        crd = yaml.load(path.read_bytes(), yaml.CSafeLoader)["spec"]
        for each in crd["versions"]:
            schema = _closed(each["schema"]["openAPIV3Schema"], definitions)
            schema["properties"]["metadata"] = {"type": "object"}
            found[f"{crd['group']}/{each['name']}", crd["names"]["kind"]] = json.dumps(schema)
    return found


def write(kubernetes: str, folder: Path) -> None:
    """A file for each kind, named as kubeconform looks for it: ``statefulset-apps-v1.json``."""
    for (version, kind), schema in _served(kubernetes).items():
        group, _, number = version.rpartition("/")
        name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], number)))
        (folder / f"{name}.json").write_text(schema)
