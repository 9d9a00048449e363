"""The JSON Schema of an event, made from the fields that the encoder writes. Pure.

Each kind of event is an object of its own with nothing beside its fields.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol

from detector.judging.outcomes import ReportKind
from detector.types import Kind
from exporter.fields import Type
from exporter.probe_fields import PROBE_FIELDS, ProbeKind
from exporter.report_fields import REPORT_FIELDS
from exporter.schema import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TYPES: Final[dict[Type, dict[str, Any]]] = {
    Type.STRING: {"type": "string"},
    Type.INTEGER: {"type": "integer"},
    Type.NUMBER: {"type": "number"},
    Type.TIME: {"type": "number"},
    Type.DURATION: {"type": "number"},
    Type.BOOLEAN: {"type": "boolean"},
    Type.STRINGS: {"type": "array", "items": {"type": "string"}, "minItems": 1},
}
_SCORED: Final = {"properties": {"risk_score": {"minimum": 1}}}


class _Declared(Protocol):
    """What a field of a finding and one of a report have in common."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> Type: ...
    @property
    def meaning(self) -> str: ...
    @property
    def kinds(self) -> frozenset[Any]: ...
    @property
    def always(self) -> bool: ...
    @property
    def scored(self) -> bool: ...
    @property
    def one_of(self) -> tuple[str, ...]: ...


_AnyKind = Kind | ReportKind | ProbeKind
_FAMILIES: Final[tuple[tuple[str, tuple[_AnyKind, ...], Sequence[_Declared]], ...]] = (
    ("shell", tuple(Kind), FIELDS),
    ("report", tuple(ReportKind), REPORT_FIELDS),
    ("test", tuple(ProbeKind), PROBE_FIELDS),
)


def event_schema() -> str:
    """The schema as text, draft 2020-12."""
    kinds = [kind for _, members, _ in _FAMILIES for kind in members]
    defs: dict[str, Any] = {}
    for family, members, fields in _FAMILIES:
        defs |= {f"{family}:{field.name}": _field(field) for field in fields}
        defs |= {kind.value: _kind(kind, family, fields) for kind in members}
    schema = {
        "$schema": _DIALECT,
        "title": "Event of otel-shell-detector",
        "description": "The `event` of an envelope for Splunk's HTTP Event Collector. See docs/events.md.",
        "type": "object",
        "properties": {"kind": {"enum": [kind.value for kind in kinds]}},
        "required": ["kind"],
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind.value}}},
                "then": {"$ref": f"#/$defs/{kind.value}"},
            }
            for kind in kinds
        ],
        "$defs": defs,
    }
    return json.dumps(schema, indent=2) + "\n"


def _field(field: _Declared) -> dict[str, Any]:
    values = {"enum": list(field.one_of)} if field.one_of else _TYPES[field.type]
    return {"description": field.meaning, **values}


def _kind(kind: _AnyKind, family: str, fields: Iterable[_Declared]) -> dict[str, Any]:
    of_kind = [field for field in fields if kind in field.kinds]
    scored = [field.name for field in of_kind if field.scored]
    schema: dict[str, Any] = {
        "properties": {field.name: {"$ref": f"#/$defs/{family}:{field.name}"} for field in of_kind},
        "required": [field.name for field in of_kind if field.always and not field.scored],
        "additionalProperties": False,
    }
    if scored:
        schema["if"] = _SCORED
        schema["then"] = {"required": [field.name for field in of_kind if field.scored and field.always]}
        schema["else"] = {"properties": dict.fromkeys(scored, False)}
    return schema
