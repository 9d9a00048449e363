"""The dashboard without a Grafana: readable in version control, complete, and as Grafana's schema says."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.alerts.dashboard import FILE, asked, dashboard, panels, variables, with_variables
from tests.alerts.test_rules import RULES
from tests.e2e.processes import peer

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SELECTED = 'cluster=~"$cluster", namespace=~"$namespace", job=~"$job", instance=~"$instance"'
EACH = pytest.mark.parametrize("panel", panels(), ids=lambda panel: str(panel["title"]))


def test_the_file_has_one_form_so_that_a_diff_shows_what_changed() -> None:
    """That of ``python -m json.tool --indent 2 --no-ensure-ascii``."""
    assert FILE.read_text(encoding="utf-8") == json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


def test_four_rows_answer_four_questions() -> None:
    rows = [each["title"] for each in dashboard()["panels"] if each["type"] == "row"]
    assert rows == [
        "Is it alive?",
        "What does it see?",
        "What does it say?",
        "Is anything stuck?",
    ]


def test_a_variable_offers_what_those_before_it_leave() -> None:
    metric, before, found = "otel_shell_detector_build_info", "", {}
    for name in ("cluster", "namespace", "job", "instance"):
        found[name] = f"label_values({metric}{f'{{{before}}}' if before else ''}, {name})"
        before += f'{", " if before else ""}{name}=~"${name}"'
    given = variables()
    assert given.pop("datasource")["query"] == "prometheus"
    assert {name: each["query"] for name, each in given.items()} == found
    assert {each["datasource"]["uid"] for each in given.values()} == {"${datasource}"}


def test_all_of_a_label_includes_what_has_no_such_label_unless_each_target_has_it() -> None:
    everything = {name: each.get("allValue") for name, each in variables().items()}
    expected = {"datasource": None, "cluster": ".*", "namespace": ".*", "job": ".+", "instance": ".+"}
    assert everything == expected


@EACH
def test_a_panel_has_a_title_a_description_and_the_data_source_that_was_chosen(panel: dict[str, Any]) -> None:
    assert panel["title"].endswith("?")
    assert "Normal: " in panel["description"]
    assert panel["datasource"] == SOURCE
    assert panel["targets"]
    assert panel["fieldConfig"]["defaults"]["unit"]


@EACH
def test_a_panel_names_runbooks_that_are_there(panel: dict[str, Any]) -> None:
    named = set(re.findall(r"OtelShellDetector\w+", panel["description"]))
    assert named <= RULES.keys()
    assert bool(named) == ("Runbook" in panel["description"])


@pytest.mark.parametrize("panel", [each for each in panels() if each["type"] in {"stat", "table"}])
def test_a_panel_of_now_shows_nothing_of_what_is_gone(panel: dict[str, Any]) -> None:
    """The last value of a range would stand there as long as the range."""
    assert {(each["instant"], each["range"]) for each in panel["targets"]} == {(True, False)}


def test_every_alert_has_a_panel_that_shows_what_it_is_about() -> None:
    descriptions = " ".join(panel["description"] for panel in panels())
    assert [name for name in sorted(RULES) if not re.search(rf"\b{name}\b", descriptions)] == []


def test_every_alert_appears_among_those_that_fire() -> None:
    [shown] = [each.expression for each in asked() if "ALERTS{" in each.expression]
    [pattern] = re.findall(r'alertname=~"([^"]+)"', shown)
    assert [name for name in RULES if not re.fullmatch(pattern, name)] == []


def test_no_two_panels_overlap_and_none_has_the_number_of_another() -> None:
    everything = dashboard()["panels"]
    places = [each["gridPos"] for each in everything]
    assert [at for at in places if at["x"] + at["w"] > 24] == []
    overlapping = [
        (one, other)
        for one, other in itertools.combinations(places, 2)
        if one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    ]
    assert overlapping == []
    ids = [each["id"] for each in everything]
    assert len(ids) == len(set(ids))


def test_every_selector_is_of_what_was_selected() -> None:
    """Else a panel would show another release, or another product's targets, among ours."""
    selectors = [found for each in asked() for found in re.findall(r"\w*\{([^}]*)\}", each.expression)]
    assert len(selectors) > len(panels())
    # An alert about a whole job has no instance.
    assert [each for each in selectors if SELECTED not in each.replace("$instance|", "$instance")] == []


def test_values_that_were_selected_are_matched_as_they_are() -> None:
    several = {"job": ["a.b", "c"], "instance": ["10.0.0.1:9464"]}
    asks = with_variables(
        'x{job=~"$job", instance=~"$instance", cluster=~"$cluster"}[$__rate_interval]', several
    )
    assert asks == r'x{job=~"(a\\.b|c)", instance=~"10\\.0\\.0\\.1:9464", cluster=~".*"}[1m0s]'


def refused(path: Path) -> str:
    """What the schema of Grafana has against a dashboard."""
    checked = subprocess.run(
        [peer("dashboard-schema"), path], capture_output=True, text=True, check=False, timeout=60
    )
    assert checked.stderr == ""
    return checked.stdout


@pytest.mark.peers
def test_the_schema_of_grafana_knows_every_field_and_misses_none() -> None:
    assert refused(FILE) == ""


@pytest.mark.peers
@pytest.mark.parametrize(
    ("written", "instead", "found"),
    [
        ('"timezone"', '"timezon"', "Dashboard: unexpected field 'timezon'\n"),
        (
            '"noValue"',
            '"noVal"',
            "panel \"Which alerts fire?\": defaults.FieldConfig: unexpected field 'noVal'\n",
        ),
        ('"type": "table"', '"type": "tabel"', 'panel "Which alerts fire?": no schema here for "tabel"\n'),
    ],
)
def test_a_field_that_grafana_does_not_know_is_found(
    written: str, instead: str, found: str, tmp_path: Path
) -> None:
    path = tmp_path / "dashboard.json"
    path.write_text(FILE.read_text(encoding="utf-8").replace(written, instead), encoding="utf-8")
    assert refused(path) == found
