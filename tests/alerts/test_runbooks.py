"""The runbooks: a page for each alert, and what a page names is there."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
import yaml

from otel_shell_detector.cli import _parser
from otel_shell_detector.coverage import described
from otel_shell_detector.keys import KEYS
from telemetry import events
from telemetry.events import LogEvent
from tests.alerts.promql import names, unknown
from tests.alerts.test_rules import RULES, promtool
from tests.e2e.processes import ROOT
from tests.otel_shell_detector.test_coverage import good
from tools.chart import CHART, documented

if TYPE_CHECKING:
    from pathlib import Path

PAGES: Final = ROOT / "docs/runbooks"
TEXTS: Final = {page.stem: page.read_text(encoding="utf-8") for page in sorted(PAGES.iterdir())}
HEADINGS: Final = ["What it means", "What to look at", "What to do"]
LOG_EVENTS: Final = {each.name for each in vars(events).values() if isinstance(each, LogEvent)}
FIELDS: Final = set(re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/events.md").read_text(), re.MULTILINE))
VALUES: Final = {path for path, _ in documented((CHART / "values.yaml").read_text())}
OTHERS: Final = {"ca.crt", "host.id", "process.cgroup", "props.conf"}
"""Names with a dot in them that are somebody else's."""


def blocks(page: str, language: str) -> list[str]:
    """The blocks of code of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXTS[page], re.DOTALL | re.MULTILINE)


def queries(page: str) -> list[str]:
    return [line for block in blocks(page, "promql") for line in block.splitlines()]


def test_there_is_a_page_for_each_alert_and_no_other() -> None:
    assert set(TEXTS) == {"README", *RULES}


@pytest.mark.parametrize("alert", RULES)
def test_each_page_has_the_three_headings_and_something_below_each(alert: str) -> None:
    title, *parts = re.split(r"^## ", TEXTS[alert], flags=re.MULTILINE)
    assert title == f"# {alert}\n\n"
    assert [part.partition("\n")[0] for part in parts] == HEADINGS
    assert all(part.partition("\n")[2].strip() for part in parts)


def test_the_index_lists_the_alerts_in_their_order_with_their_severity() -> None:
    listed = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \|", TEXTS["README"], re.MULTILINE)
    assert listed == [(alert, alert, rule["labels"]["severity"]) for alert, rule in RULES.items()]


@pytest.mark.parametrize("page", TEXTS)
def test_each_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXTS[page])
    assert [link for link in links if not (PAGES / link).exists()] == []


@pytest.mark.parametrize("alert", RULES)
def test_each_query_asks_for_what_is_there(alert: str) -> None:
    assert {query: wrong for query in queries(alert) if (wrong := unknown(query))} == {}


def test_prometheus_takes_each_query(tmp_path: Path) -> None:
    asked = [query for page in TEXTS for query in queries(page)]
    rules = [{"record": f"asked:{number}", "expr": query} for number, query in enumerate(asked)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": rules}]}))
    assert f"{len(asked)} rules found" in promtool("check", "rules", file)


@pytest.mark.parametrize("page", TEXTS)
def test_each_command_is_one_of_ours_and_each_line_is_shell(page: str) -> None:
    script = "".join(blocks(page, "sh"))
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    for command in re.findall(r"-- otel-shell-detector (.*)$", script, re.MULTILINE):
        assert _parser().parse_args(shlex.split(command)).config.name == "$CONFIG"


def test_the_configuration_is_where_the_chart_mounts_it() -> None:
    [path] = re.findall(r"^CONFIG=(.*)$", TEXTS["README"], re.MULTILINE)
    assert f"args: [serve, --config, {path}]" in (CHART / "templates/_pod.tpl").read_text()


def sought(page: str) -> list[str]:
    """What the commands of a page look for in the log, one for each alternative of a pattern."""
    found: list[str] = []
    for pattern in re.findall(r"logs \$POD \| grep (?:-E )?'?([^' \n]+)'?", TEXTS[page]):
        room, _, rest = pattern.partition(r"\.(")
        alternatives = [f"{room}.{each}" for each in rest.rstrip(")").split("|")] if rest else []
        found += alternatives or pattern.replace("\\", "").split("|")
    return found


@pytest.mark.parametrize("alert", RULES)
def test_each_log_line_that_is_looked_for_is_one_of_ours(alert: str) -> None:
    rooms = {f"{name.partition('.')[0]}." for name in LOG_EVENTS}
    assert set(sought(alert)) - LOG_EVENTS - rooms == set()


def test_what_is_looked_for_in_the_log_is_found_out() -> None:
    assert sought("OtelShellDetectorDeliveryPaused") == ["exporter.lane_paused", "exporter.sink_paused"]
    assert sought("OtelShellDetectorPolicyBroken") == ["policy.kept"]
    assert "receiver.failed" in sought("OtelShellDetectorDefect")


@pytest.mark.parametrize("page", TEXTS)
def test_each_dotted_name_is_a_key_a_value_of_the_chart_a_log_event_or_a_field(page: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", TEXTS[page], flags=re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"`([A-Za-z]\w*(?:\.\w+)+)(?:: [^`]*)?`", prose))
    sections = {key.rpartition(".")[0] for key in KEYS}
    assert named - set(KEYS) - sections - VALUES - LOG_EVENTS - FIELDS - OTHERS == set()


@pytest.mark.parametrize("alert", RULES)
def test_what_is_picked_out_of_coverage_is_in_it(alert: str) -> None:
    told = described([good("a")])
    programs = re.findall(r"/coverage \| jq (?:-r )?'([^']*)'", TEXTS[alert])
    picked = {name for each in programs for name in re.findall(r"\.([a-z]\w*)", each)}
    assert picked - told.keys() - told["worst"][0].keys() == set()
    assert len(programs) == TEXTS[alert].count("jq ")


def table(alert: str) -> set[str]:
    """What stands in the first column of the tables of a page."""
    rows = re.findall(r"^\| (.*?) \|.*\n(?!\|---)", TEXTS[alert], re.MULTILINE)
    return set(re.findall(r"`(\w+)`", "\n".join(rows)))


@pytest.mark.parametrize("alert", RULES)
def test_each_value_that_a_rule_lists_is_explained_on_its_page(alert: str) -> None:
    matchers = [each for _, found in names(RULES[alert]["expr"]).metrics for each in found]
    listed = {value for each in matchers if each.how == "=~" for value in each.value.split("|")}
    explained = table(alert) or set(re.findall(r"`(\w+)`", TEXTS[alert]))
    assert listed - explained == set()


@pytest.mark.parametrize(
    ("alert", "done"),
    [("OtelShellDetectorDeliveryPaused", "pause"), ("OtelShellDetectorDeliveryDelayed", "retry")],
)
def test_each_answer_that_a_page_lists_is_of_its_kind(alert: str, done: str) -> None:
    """docs/delivery.md, which is held to the code, says what is done about an answer."""
    rows = [line for line in (ROOT / "docs/delivery.md").read_text().splitlines() if line.startswith("| ")]
    of_that_kind = {
        label for row in rows if f"| {done}" in row for label in re.findall(r"\| `(\w+)` \|", row)
    }
    assert len(table(alert)) > 5
    assert table(alert) - of_that_kind - {"accepted", "timed_out", "forgotten"} == set()
