"""docs/image.md says what the Dockerfile does."""

from __future__ import annotations

import re

from tests.e2e.processes import ROOT
from tests.image.building import LARGEST_BYTES

DOCUMENT = (ROOT / "docs/image.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
TABLE = dict(re.findall(r"^\| ([a-z -]+?) \| (.*) \|$", DOCUMENT, re.MULTILINE))


def said(instruction: str) -> list[str]:
    """The arguments of an instruction that stands once."""
    (arguments,) = re.findall(rf"^{instruction} (.*)$", DOCKERFILE, re.MULTILINE)
    return str(arguments).split()


def test_the_table_is_the_dockerfile() -> None:
    (user,) = said("USER")
    assert TABLE["user"].startswith("{}, group {};".format(*user.split(":")))
    assert re.findall(r"\b\d{4}\b", TABLE["ports"]) == said("EXPOSE")
    assert TABLE["stop"].startswith(f"{said('STOPSIGNAL')[0]};")
    assert f"`{said('ENTRYPOINT')[0].strip('[]').strip(chr(34))}`" in TABLE["entry point"]
    assert "XDG_STATE_HOME=/var/lib\n" in DOCKERFILE
    assert "`/var/lib/otel-shell-detector`" in TABLE["what is written"]
    assert f"at most {LARGEST_BYTES // 1_000_000} MB uncompressed" in DOCUMENT


def test_every_argument_and_secret_of_a_build_is_told() -> None:
    arguments = re.findall(r"^ARG (\w+)=", DOCKERFILE, re.MULTILINE)
    assert sorted(arguments) == ["BASE", "CREATED", "REVISION", "VERSION"]
    assert [each for each in arguments if each not in DOCUMENT] == []
    assert [each for each in re.findall(r"type=secret,id=([\w.]+)", DOCKERFILE) if each not in DOCUMENT] == []
