"""What the Splunk app says is so: each field that it names is one of an event, each search can be read."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest

from exporter.event import SIZE_LIMIT_BYTES
from exporter.settings import EventSettings
from tests.splunk.app import (
    APP,
    ROOT,
    aliases,
    conf,
    dashboards,
    event_fields,
    schema_fields,
    searches,
    tokens_made,
    tokens_used,
)
from tests.splunk.spl import Search, SplError, expanded, read

MACROS = {name: stanza["definition"] for name, stanza in conf("macros.conf").items()}
PROPS = conf("props.conf")["otel:shell:risk"]
SEARCHES = dict(searches())
KV_LIMIT = 100
"""Fields that Splunk extracts of an event by itself (``[kv] limit`` in its limits.conf)."""


def found(text: str) -> Search:
    return read(expanded(text, MACROS), event_fields())


def recorded() -> list[str]:
    files = sorted((ROOT / "tests" / "expectations").glob("*.jsonl"))
    return [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_can_be_read_and_names_fields_that_there_are(name: str) -> None:
    assert found(SEARCHES[name]).commands


@pytest.mark.parametrize("name", SEARCHES)
def test_a_value_that_a_search_looks_for_is_one_that_the_field_can_have(name: str) -> None:
    wrong = [
        (field, value)
        for field, value in found(SEARCHES[name]).compared
        if (one_of := schema_fields().get(field, {}).get("enum")) and value.strip('"') not in one_of  # type: ignore[operator]  # a list
    ]
    assert wrong == []


def test_only_what_is_twice_in_the_risk_index_is_too_much_of_a_score() -> None:
    """Staged delivery copies an event once, however often it is in the index of the service."""
    search = conf("savedsearches.conf")["OTel Shell Detector - Duplicate event_id"]["search"]
    too_much = re.search(r"eval score_too_much=(.*?) *\|", search.replace("\\\n", ""))
    assert too_much is not None
    assert too_much[1] == "if(index==`otel_shell_risk_index`,(count-1)*risk_score,0)"


def test_every_macro_is_used_and_can_be_read() -> None:
    everything = " ".join([*SEARCHES.values(), *MACROS.values()])
    assert [name for name in MACROS if f"`{name}`" not in everything] == []
    assert found("`otel_shell_events`").compared == [
        ("index", '"risk"'),
        ("index", '"otel_shell"'),
        ("sourcetype", '"otel:shell:risk"'),
    ]


def test_the_indexes_and_the_source_type_are_the_services_defaults() -> None:
    settings = EventSettings()
    assert MACROS["otel_shell_risk_index"] == f'"{settings.index}"'
    assert MACROS["otel_shell_index"] == f'"{settings.context_index}"'
    assert list(conf("props.conf")) == [settings.sourcetype]


def test_the_search_for_the_evidence_of_an_event_can_be_read() -> None:
    events = [json.loads(line)["event"] for line in recorded()]
    texts = {event["contributing_events_search"] for event in events if event["risk_score"]}
    assert len(texts) > 50
    assert {tuple(found(text).commands) for text in texts} == {("search",)}


def test_each_list_has_its_plain_name_and_each_alias_a_field() -> None:
    lists = {name for name, each in schema_fields().items() if each.get("type") == "array"}
    of_lists = {new: old for new, old in aliases().items() if old.endswith("{}")}
    assert of_lists == {name: f"{name}{{}}" for name in lists}
    others = aliases().items() - of_lists.items()
    assert {old for _, old in others} <= schema_fields().keys()
    assert {new for new, _ in others}.isdisjoint(schema_fields())


def test_no_event_is_cut_by_splunk() -> None:
    assert int(PROPS["TRUNCATE"]) > SIZE_LIMIT_BYTES
    kinds = json.loads((ROOT / "docs" / "event.schema.json").read_text())["$defs"]
    assert max(len(each["properties"]) for name, each in kinds.items() if ":" not in name) <= KV_LIMIT


def test_the_time_of_an_event_is_where_props_looks_for_it() -> None:
    assert PROPS["TIME_FORMAT"] == "%s.%9N"
    for line in recorded():
        event = line[line.index('"event":') :]
        [found_at] = re.finditer(PROPS["TIME_PREFIX"], event)
        shown = event[found_at.end() : found_at.end() + int(PROPS["MAX_TIMESTAMP_LOOKAHEAD"])]
        assert re.match(r"\d{10}\.\d{3,9},", shown), shown


def test_all_saved_searches_are_disabled_and_bounded() -> None:
    for name, stanza in conf("savedsearches.conf").items():
        assert (stanza["disabled"], stanza["enableSched"]) == ("1", "1"), name
        assert re.fullmatch(r"-\d+[mhd]@[mhd]", stanza["dispatch.earliest_time"]), name
        assert re.fullmatch(r"now|[+-]\d+[md]@[md]", stanza["dispatch.latest_time"]), name
        assert len(stanza["cron_schedule"].split()) == 5, name


def test_the_parity_search_begins_with_the_scheduled_search_to_the_letter() -> None:
    seed = """
    | mstats avg(process.cpu.utilization) as process.cpu.utilization
      avg(process.memory.utilization) as process.memory.utilization
      where index="kubernetes_metrics" AND process.executable.name IN ("sh","bash","csh","tcsh")
      by host.name k8s.cluster.name k8s.node.name process.pid process.executable.name span=10s
    | search process.cpu.utilization>0 OR process.memory.utilization>0
    | stats avg(process.cpu.utilization) as process.cpu.utilization
      avg(process.memory.utilization) as process.memory.utilization
      by host.name k8s.cluster.name k8s.node.name process.pid process.executable.name
    | rename host.name as host
    | search *"""
    stanza = conf("savedsearches.conf")["OTel Shell Detector - Parity with the scheduled search"]
    assert " ".join(expanded(stanza["search"], MACROS).split()).startswith(" ".join(seed.split()))
    assert (stanza["dispatch.earliest_time"], stanza["dispatch.latest_time"]) == ("-70m@m", "-10m@m")


@pytest.mark.parametrize("name", dashboards())
def test_a_dashboard_has_every_token_that_it_fills_in_and_no_search_without_bounds(name: str) -> None:
    root = dashboards()[name]
    assert (root.tag, root.get("version")) == ("form", "1.1")
    assert tokens_used(root) <= tokens_made(root)
    unbounded = [
        each.findtext("query")
        for each in root.iter("search")
        if not each.get("base") and (each.find("earliest") is None or each.find("latest") is None)
    ]
    assert unbounded == []


def test_tags_and_navigation_name_what_there_is() -> None:
    types = {stanza.removeprefix("eventtype=") for stanza in conf("tags.conf")}
    assert types <= conf("eventtypes.conf").keys()
    nav = (APP / "default/data/ui/nav/default.xml").read_text(encoding="utf-8")
    views = set(re.findall(r'<view name="([^"]+)"', nav))
    assert views - {"search", "reports"} == dashboards().keys()


def test_the_version_is_the_products_everywhere() -> None:
    product = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    app, manifest = conf("app.conf"), json.loads((APP / "app.manifest").read_text(encoding="utf-8"))
    found_: dict[str, Any] = {
        "launcher": app["launcher"]["version"],
        "id": app["id"]["version"],
        "manifest": manifest["info"]["id"]["version"],
    }
    assert found_ == dict.fromkeys(found_, product)


def test_what_a_search_names_wrongly_is_found() -> None:
    with pytest.raises(SplError):
        found("`otel_shell_events` risk_scores>0")
