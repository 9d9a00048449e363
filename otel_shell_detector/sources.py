"""From a YAML file and the environment to :class:`~otel_shell_detector.configuration.Settings`.

The environment wins over the file, the file over the defaults. Every mistake is one line that names the key
(or the variable), what it got and what it wants; all of them are told at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import yaml
from pydantic import ValidationError

from otel_shell_detector import checks
from otel_shell_detector.configuration import ENVIRONMENT_PREFIX, Settings
from otel_shell_detector.keys import KEYS, SECTIONS, nearest
from otel_shell_detector.kinds import UnwantedError, one_line, show

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from pathlib import Path

_BY_VARIABLE: Final = {key.variable: key for key in KEYS.values()}
LARGEST_FILE: Final = 1 << 20
"""Bytes; a configuration has a few thousand. Larger is another file by mistake."""

_LONGEST_NAME: Final = 120
_Made = TypeVar("_Made")


class ConfigurationError(Exception):
    """The configuration cannot be used; ``mistakes`` holds one line for each reason."""

    def __init__(self, *mistakes: str) -> None:
        self.mistakes = tuple(one_line(each) for each in mistakes)
        super().__init__("\n".join(self.mistakes))


class _Loader(yaml.SafeLoader):
    """The safe loader that refuses a repeated key, where YAML's takes the last one silently."""

    def construct_mapping(  # PyYAML's signature
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002
    ) -> dict[Hashable, Any]:
        """The mapping of a node."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{show(key.value)} stands there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(
        self,
        node: yaml.Node,
        deep: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:  # noqa: ANN401
        """The value of a node. PyYAML lets pass what Python says of ``!!int x`` or of the date 2026-99-99."""
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


def read_yaml(content: bytes, name: str, make: Callable[[str], _Made]) -> _Made:
    """What ``make``, a function of PyYAML's, makes of a document. ``name`` is how messages call it.

    Raises :class:`ConfigurationError` that names line and column, counted from 1.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = _position(content[: error.start].decode(errors="replace"))
        raise ConfigurationError(f"{name}:{where}: not UTF-8") from None
    try:
        return make(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = ", ".join(filter(None, (error.context, error.problem)))
        raise ConfigurationError(f"{name}{where}: {problem}") from None
    except yaml.reader.ReaderError as error:
        raise ConfigurationError(f"{name}:{_position(text[: error.position])}: {error.reason}") from None
    except RecursionError:
        raise ConfigurationError(f"{name}: lists or mappings are nested too deep") from None


def parse_yaml(content: bytes, name: str) -> dict[Any, Any]:
    """The mapping that a YAML document holds, empty for an empty one. Raises as :func:`read_yaml`."""
    document = read_yaml(content, name, lambda text: yaml.load(text, _Loader))  # noqa: S506  # a subclass of the safe loader
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(f"{name}: got {show(document)}; want a mapping of sections")
    return document


def _position(before: str) -> str:
    line_start = before.rfind("\n") + 1
    return f"{before.count(chr(10)) + 1}:{len(before) - line_start + 1}"


def read_file(path: Path) -> dict[Any, Any]:
    """The mapping in a YAML file. Raises :class:`ConfigurationError`."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigurationError(
            f"--config: got {show(str(path))}; want a readable file ({error.strerror})"
        ) from None
    if len(content) > LARGEST_FILE:
        raise ConfigurationError(f"--config: got {show(str(path))}; want a file of at most 1MiB")
    return parse_yaml(content, str(path))


@dataclass(slots=True)
class _Draft:
    """The configuration while it is put together."""

    values: dict[Any, Any]
    variables: dict[str, str] = field(default_factory=dict)
    """The variable that set a key, by the key's name."""
    texts: dict[str, str] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)

    def overlay(self, environ: Mapping[str, str]) -> None:
        """Put the variables over what is there."""
        for variable in sorted(environ):
            # Kubernetes gives a pod OTEL_SHELL_DETECTOR_PORT and a dozen more for a Service of our name,
            # none with "__".
            rest = variable.removeprefix(ENVIRONMENT_PREFIX)
            if rest == variable or "__" not in rest:
                continue
            key = _BY_VARIABLE.get(variable)
            if key is None:
                path = tuple(rest.lower().split("__"))
                self.mistakes.append(f"{variable}: {_unknown(path, _variable_of)}")
                continue
            self.variables[key.name] = variable
            self.texts[key.name] = environ[variable]
            section = self.values
            for name in key.path[:-1]:
                if section.get(name) is None:
                    section[name] = {}
                section = section[name]
                if not isinstance(section, dict):
                    break  # the file has something else there: told as the file's mistake
            else:
                section[key.path[-1]] = key.kind.from_text(environ[variable])

    def validated(self) -> Settings | None:
        """The settings, or nothing and a mistake more."""
        try:
            return Settings.model_validate(self.values)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                self.mistakes.append(
                    self._told(each["loc"], each["type"], each["input"], each.get("ctx", {}))
                )
            return None

    def label(self, name: str) -> str:
        """What a user set a key with: its variable, or its name in the file."""
        return self.variables.get(name, name)

    def _told(
        self, location: tuple[int | str, ...], problem: str, value: object, context: Mapping[str, Any]
    ) -> str:
        path = tuple(str(each) for each in location)
        name = ".".join(path)
        if problem == "extra_forbidden":
            return f"{name[:_LONGEST_NAME]}: {_unknown(path, '.'.join)}"
        key = KEYS.get(name)
        if key is None:
            return f"{name}: got {show(value)}; want a mapping"
        got = key.kind.shown(self.texts.get(name, value))
        error = context.get("error")
        detail = f" ({error.detail})" if isinstance(error, UnwantedError) and error.detail else ""
        return f"{self.label(name)}: got {got}; want {key.kind.want}{detail}"


def _variable_of(path: tuple[str, ...]) -> str:
    return ENVIRONMENT_PREFIX + "__".join(path).upper()


def _unknown(path: tuple[str, ...], spell: Callable[[tuple[str, ...]], str]) -> str:
    if path in SECTIONS:
        return "is a section; want a variable of one of its keys"
    in_file = (*path[:-1], f"{path[-1]}_file")
    if ".".join(in_file) in KEYS:
        return f"unknown key; want {spell(in_file)}, the path of a file that holds it"
    return f"unknown key; did you mean {spell(nearest(path))}?"


def _normal(document: Mapping[Any, Any], path: tuple[str, ...] = ()) -> dict[Any, Any]:
    """A document with text for keys, and with empty mappings for its empty sections (``receiver:`` alone)."""
    normal: dict[Any, Any] = {}
    for key, value in document.items():
        here = (*path, str(key))
        if here in SECTIONS and (value is None or isinstance(value, dict)):
            normal[str(key)] = _normal(value or {}, here)
        else:
            normal[str(key)] = value
    return normal


def build(document: Mapping[Any, Any], environ: Mapping[str, str]) -> Settings:
    """The settings that a document and the environment make. Raises :class:`ConfigurationError`."""
    draft = _Draft(_normal(document))
    draft.overlay(environ)
    settings = draft.validated()
    if settings is not None:
        draft.mistakes.extend(f"{draft.label(each.key)}: {each.text}" for each in checks.mistakes(settings))
    if settings is None or draft.mistakes:
        raise ConfigurationError(*draft.mistakes)
    return settings


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings from a file, if any, and the environment. Raises :class:`ConfigurationError`."""
    return build(read_file(path) if path else {}, environ)
