"""The files of the Splunk app, read as Splunk reads them."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.event_schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
APP: Final = ROOT / "deploy" / "splunk" / "TA-otel-shell-detector"
_TOKEN: Final = re.compile(r"\$([a-z_.]+)(?:\|u)?\$")


def conf(name: str) -> dict[str, dict[str, str]]:
    """The stanzas of a file in ``default/``; a line that ends in a backslash goes on in the next."""
    stanzas: dict[str, dict[str, str]] = {}
    stanza: dict[str, str] = {}
    text = (APP / "default" / name).read_text(encoding="utf-8").replace("\\\n", "\n\t")
    for line in re.sub(r"\n\t", " ", text).splitlines():
        if line.startswith("["):
            stanza = stanzas.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            assert key.strip() not in stanza, line
            stanza[key.strip()] = value.strip()
    return stanzas


def aliases() -> dict[str, str]:
    """The fields that props.conf names otherwise: new name -> old name."""
    texts = [value for key, value in conf("props.conf")["otel:shell:risk"].items() if "FIELDALIAS" in key]
    pairs = [pair for text in texts for pair in re.findall(r'"([^"]+)" AS "([^"]+)"', text)]
    assert len(pairs) == sum(text.count(" AS ") for text in texts)
    assert len({new for _, new in pairs}) == len(pairs)
    return {new: old for old, new in pairs}


def schema_fields() -> dict[str, dict[str, object]]:
    """The fields of all events by name, as the schema has them."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    fields = {name.partition(":")[2]: each for name, each in schema["$defs"].items() if ":" in name}
    return fields | {"kind": schema["properties"]["kind"]}


def event_fields() -> frozenset[str]:
    """The fields that a search finds: lists under two names, and the aliases."""
    lists = [name for name, each in schema_fields().items() if each.get("type") == "array"]
    return frozenset({*schema_fields(), *(f"{name}{{}}" for name in lists), *aliases()})


def dashboards() -> dict[str, ET.Element]:
    """The root elements of the dashboards by name."""
    paths = sorted((APP / "default" / "data" / "ui" / "views").glob("*.xml"))
    return {path.stem: ET.fromstring(path.read_text(encoding="utf-8")) for path in paths}


def searches() -> Iterator[tuple[str, str]]:
    """Each search of the app with where it stands; in a dashboard with its base, and tokens filled in."""
    for name, stanza in conf("savedsearches.conf").items():
        yield name, stanza["search"]
    for name, stanza in conf("eventtypes.conf").items():
        yield f"eventtype {name}", stanza["search"]
    for name, root in dashboards().items():
        bases = {each.get("id"): each.findtext("query", "") for each in root.iter("search") if each.get("id")}
        for number, search in enumerate(root.iter("search")):
            base = f"{bases[search.get('base')]} " if search.get("base") else ""
            yield f"{name} {number}", _TOKEN.sub("x", base + search.findtext("query", ""))


def tokens_used(root: ET.Element) -> set[str]:
    """The tokens that a dashboard fills in, without those of a result or a row that was clicked."""
    texts = [text for each in root.iter() for text in (each.text or "", *each.attrib.values())]
    found = {name.removeprefix("form.") for text in texts for name in _TOKEN.findall(text)}
    return {name for name in found if not name.startswith(("result.", "row."))}


def tokens_made(root: ET.Element) -> set[str]:
    """Those that its inputs and searches set."""
    made = {str(each.get("token")) for each in root.iter("set")}
    for each in root.iter("input"):
        name = str(each.get("token"))
        made |= {f"{name}.earliest", f"{name}.latest"} if each.get("type") == "time" else {name}
    return made
