"""The JSON Schema of each key refuses nothing that the application takes."""

from __future__ import annotations

import pytest
from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError

from otel_shell_detector.keys import DEPENDS, KEYS, plain
from otel_shell_detector.kinds import UnwantedError

VALUES: tuple[object, ...] = (
    None, True, 0, 1, -1, 25, 5000, 1.5, "", " ", "a", "a\nb", "x" * 300, "0", "0s", "10s", "1h30m", "2m",
    "10 s", "1M", "64KiB", "1MiB", "1MB", "75/h", "100/24h", "75/0", "name", "window", "127.0.0.1:4317",
    "[::1]:4317", "4317", "HTTPS://splunk:8088/", "https://splunk", "https://splunk/x", "https://user@splunk",
    "/x", "é", "[a]", [], ["sh"], ["sh", "sh"], ["a/b"], [1], {"a": 1},
)  # fmt: skip


def accepted(name: str, value: object) -> bool:
    try:
        KEYS[name].kind.read(value)
    except (UnwantedError, ValueError):
        return False
    return True


@pytest.mark.parametrize("name", KEYS)
def test_the_schema_of_a_key_takes_what_the_application_takes(name: str) -> None:
    validator = Draft7Validator(KEYS[name].kind.schema)
    refused = [value for value in VALUES if accepted(name, value) and not validator.is_valid(value)]
    assert refused == []


@pytest.mark.parametrize("name", KEYS)
def test_the_schema_of_a_key_takes_its_default_and_no_mapping(name: str) -> None:
    key = KEYS[name]
    if key.default is not None and key.default != DEPENDS:
        Draft7Validator(key.kind.schema).validate(plain(key.default))
    with pytest.raises(ValidationError):
        Draft7Validator(key.kind.schema).validate({"a": 1})
