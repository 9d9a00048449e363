"""The published schema, held against every event that a test makes or receives."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fastjsonschema

from exporter import event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

    from detector.events import Event

SCHEMA: Final = Path(__file__).parents[1] / "docs" / "event.schema.json"


@cache
def _validator() -> Callable[[Any], Any]:
    validate: Callable[[Any], Any] = fastjsonschema.compile(json.loads(SCHEMA.read_text(encoding="utf-8")))
    return validate


def check(envelope: dict[str, Any]) -> dict[str, Any]:
    """The envelope, whose event is as the schema says. Raises :class:`fastjsonschema.JsonSchemaException`.

    A collector between us and Splunk hands the event on as its text.
    """
    event_ = envelope["event"]
    _validator()(json.loads(event_) if isinstance(event_, str) else event_)
    return envelope


def check_lines(lines: Iterable[bytes]) -> None:
    """The same of envelopes as they are sent."""
    for line in lines:
        check(json.loads(line))


def check_what_is_encoded(patch: pytest.MonkeyPatch) -> None:
    """From here on the encoder of this process raises if it makes an event that is not as the schema says."""

    def checked(make: Callable[..., Event]) -> Callable[..., Event]:
        def made(*arguments: Any) -> Event:
            encoded = make(*arguments)
            check(json.loads(encoded.body))
            return encoded

        return made

    # `encode` itself was imported by name in many places.
    for name in ("_of_finding", "_of_report"):
        patch.setattr(event, name, checked(getattr(event, name)))
