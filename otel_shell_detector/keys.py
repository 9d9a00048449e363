"""Every key of the configuration by name, read from :mod:`otel_shell_detector.configuration`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from otel_shell_detector.addresses import Endpoint
from otel_shell_detector.configuration import ENVIRONMENT_PREFIX, Settings
from otel_shell_detector.kinds import Kind
from otel_shell_detector.quantities import Duration, Rate, Size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEPENDS: Final = "depends on the machine"
"""In place of a default that is computed."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: ``path`` is the names of its sections and its own."""

    path: tuple[str, ...]
    kind: Kind
    default: object
    """``None`` when nothing is the default, :data:`DEPENDS` when the machine decides."""
    meaning: str

    @property
    def name(self) -> str:
        """As messages spell it: ``receiver.tls.cert_file``."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return ENVIRONMENT_PREFIX + "__".join(self.path).upper()


def _walk(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _walk(field.annotation, (*path, name))
        else:
            (kind,) = (each for each in field.metadata if isinstance(each, Kind))
            default = DEPENDS if field.default_factory else field.default
            yield Key((*path, name), kind, default, " ".join((field.description or "").split()))


KEYS: Final[Mapping[str, Key]] = {key.name: key for key in _walk(Settings)}
"""Every key by name, in the order of the reference."""
SECTIONS: Final = {key.path[:depth]: None for key in KEYS.values() for depth in range(1, len(key.path))}
"""The path of every section, in that order; a mapping for its order, not for its values."""
_PATHS: Final = (*SECTIONS, *(key.path for key in KEYS.values()))


def nearest(path: tuple[str, ...]) -> tuple[str, ...]:
    """The key or section that was probably meant by a path that is none.

    A misspelt name in the right place is likelier than the right name in a wrong place, and that than both
    wrong.
    """
    neighbours = {each[-1]: each for each in _PATHS if each[:-1] == path[:-1]}
    if close := difflib.get_close_matches(path[-1], neighbours, n=1):
        return neighbours[close[0]]
    namesakes = [each for each in _PATHS if each[-1] == path[-1]]
    names = {".".join(each): each for each in namesakes or neighbours.values() or _PATHS}
    (best,) = difflib.get_close_matches(".".join(path), names, n=1, cutoff=0.0)
    return names[best]


def plain(value: object) -> object:
    """A value as YAML and JSON can hold it, spelled as the configuration spells it."""
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, Duration | Rate | Size | Endpoint | Path):
        return str(value)
    return value
