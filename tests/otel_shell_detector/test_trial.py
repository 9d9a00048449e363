"""``replay --policy``: what a policy would have done, rule by rule, beside the events with it in force."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_shell_detector.cli import main
from otel_shell_detector.configuration import Settings
from otel_shell_detector.policies.file import load
from otel_shell_detector.replay import Replay, feed_files
from otel_shell_detector.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping

CAPTURES: Final = Path(__file__).parents[1] / "captures"
WORKER_2: Final = CAPTURES / "worker-2.pb.zst"
"""2026-11-24, from 03:09 to 03:29."""

MIXED: Final = """
rules:
  - {id: cron, action: suppress, reason: r, owner: o, matchers: 'systemd.unit="cron.service"'}
  - {id: ci, action: {score: 10}, reason: r, owner: o, matchers: process.parent.executable.name=gitlab-runner}
  - {id: nobody, action: annotate, reason: r, owner: o, matchers: 'systemd.unit="nobody.service"'}
  - {id: apt, action: annotate, reason: r, owner: o, matchers: 'systemd.unit=~"apt.*"', expires: 2026-01-31}
"""


@pytest.fixture(autouse=True)
def _settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_variables: None, logging_restored: None
) -> None:
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_RISK__BASELINE", "5m")
    monkeypatch.chdir(tmp_path)


class Shown:
    """What a command printed."""

    def __init__(self, capfdbinary: pytest.CaptureFixture[bytes], *arguments: str | Path) -> None:
        self.status = main(["replay", *map(str, arguments)])
        out, err = capfdbinary.readouterr()
        self.out, self.err = out.decode(), err.decode()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line)["event"] for line in self.out.splitlines()]


def written(text: str, name: str = "policies.yaml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def rule(what: str = "annotate", **keys: str) -> str:
    """A rule for what cron starts."""
    said = {"matchers": "systemd.unit=cron.service", "reason": "r", "owner": "o"} | keys
    return f"rules:\n  - id: cron\n    action: {what}\n" + "".join(
        f"    {key}: {value}\n" for key, value in said.items()
    )


def reported(capfdbinary: pytest.CaptureFixture[bytes], *arguments: str | Path) -> dict[str, Any]:
    assert Shown(capfdbinary, "--report", "report.json", *arguments).status == 0
    found: dict[str, Any] = json.loads(Path("report.json").read_text(encoding="utf-8"))
    return found


def test_each_rule_is_told_as_a_table_and_as_json(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    shown = Shown(capfdbinary, "--policy", written(MIXED), "--report", "report.json", WORKER_2)
    assert shown.status == 0
    assert shown.err == (
        "rule    action    hits  last hit              score saved\n"
        "cron    suppress    11  2026-11-24T03:27:41Z            5\n"
        "ci      score       11  2026-11-24T03:24:11Z           15\n"
        "nobody  annotate     0  -                               0  never matched\n"
        "apt     annotate     0  -                               0  never matched, past its end\n"
        "41 shells, 245 points without the policy, 225 with it: 20 saved\n"
    )
    hit = {"past_end": False, "past_end_now": False}
    missed = {"hits": 0, "last_hit": None, "score_saved": 0}
    assert json.loads(Path("report.json").read_text(encoding="utf-8")) == {
        "shells": 41,
        "score_without_policy": 245,
        "score": 225,
        "score_saved": 20,
        "score_saved_elsewhere": 0,
        "rules": [
            {
                "id": "cron",
                "action": "suppress",
                "hits": 11,
                "last_hit": "2026-11-24T03:27:41Z",
                "score_saved": 5,
                **hit,
            },
            {
                "id": "ci",
                "action": "score",
                "hits": 11,
                "last_hit": "2026-11-24T03:24:11Z",
                "score_saved": 15,
                **hit,
            },
            {"id": "nobody", "action": "annotate", **missed, **hit},
            {"id": "apt", "action": "annotate", **missed, "past_end": True, "past_end_now": True},
        ],
    }


def test_the_events_are_those_of_a_service_with_the_policy(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(MIXED)
    shown = Shown(capfdbinary, "--policy", path, WORKER_2)
    by_rule: dict[str, list[dict[str, Any]]] = {}
    for event in shown.events:
        by_rule.setdefault(event.get("policy.rule", ""), []).append(event)
    assert sum(event["count"] for event in by_rule["cron"] if event["kind"] == "suppressed") == 11
    assert [event["risk_score"] for event in by_rule["ci"] if event["kind"] == "opened"] == [10, 0, 0]
    assert all(event.get("systemd.unit") != "cron.service" for event in by_rule[""])
    assert sum(event["risk_score"] for event in shown.events) == 225
    # The setting puts it in force as the option does.
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_POLICY__PATH", str(path))
    again = Shown(capfdbinary, WORKER_2)
    assert (again.status, again.out, again.err) == (0, shown.out, shown.err)


def test_the_option_wins_over_the_setting(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_POLICY__PATH", "missing.yaml")
    shown = Shown(capfdbinary, "--policy", written(rule()), WORKER_2)
    assert (shown.status, shown.err.splitlines()[1].split()[:3]) == (0, ["cron", "annotate", "11"])


def test_a_policy_without_rules_changes_nothing(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    plain = Shown(capfdbinary, "--close-at-end", WORKER_2)
    shown = Shown(capfdbinary, "--close-at-end", "--policy", written("rules: []\n"), WORKER_2)
    assert (shown.status, shown.out) == (0, plain.out)
    assert shown.err == "41 shells, 245 points without the policy, 245 with it: 0 saved\n"
    assert plain.err == ""


def test_what_comes_of_it_for_other_shells_is_told_beside_the_rules(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """Cron's first job scores for those after it, which are the same; without it the second one does."""
    first = rule(
        "suppress", matchers="[systemd.unit=cron.service, 'process.command_line=~\".*sleep 6.9;.*\"']"
    )
    shown = Shown(capfdbinary, "--policy", written(first), WORKER_2)
    assert shown.err == (
        "rule         action    hits  last hit              score saved\n"
        "cron         suppress     1  2026-11-24T03:09:41Z            5\n"
        "(elsewhere)               0  -                              -5  bursts, budgets, others alike\n"
        "41 shells, 245 points without the policy, 245 with it: 0 saved\n"
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"RISK__PROFILE": "seed", "DETECTOR__RENOTIFY": "1m"},
        {"RISK__MAX_PER_OBJECT": "30/h"},
        {"RISK__BURST__AFTER": "1", "RISK__BURST__PERIOD": "1m"},
        {"RISK__PREEXISTING": "summary"},
        {"DETECTOR__EMIT": "early"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_the_parts_make_the_difference_of_the_events(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, str]
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"OTEL_SHELL_DETECTOR_{name}", value)
    plain = Shown(capfdbinary, "--close-at-end", WORKER_2)
    written(MIXED)
    arguments = ("--close-at-end", "--policy", "policies.yaml", WORKER_2)
    shown = Shown(capfdbinary, *arguments)
    report = reported(capfdbinary, *arguments)
    assert report["score_without_policy"] == sum(event["risk_score"] for event in plain.events)
    assert report["score"] == sum(event["risk_score"] for event in shown.events)
    assert report["score_saved"] == report["score_without_policy"] - report["score"]
    by_rules = sum(rule["score_saved"] for rule in report["rules"])
    assert report["score_saved"] == by_rules + report["score_saved_elsewhere"]
    assert [rule["hits"] for rule in report["rules"]] == [11, 11, 0, 0]


def test_what_a_suppressed_session_would_have_scored_later_is_its_rules(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the profile `seed` a session scores each time that it is told; the entrypoints live for minutes."""
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_RISK__PROFILE", "seed")
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_DETECTOR__RENOTIFY", "5m")
    entrypoints = rule("suppress", matchers="[container.init=true]")
    report = reported(capfdbinary, "--policy", written(entrypoints), WORKER_2)
    [told] = report["rules"]
    assert told["score_saved"] > 25 * told["hits"]
    assert (report["score_saved_elsewhere"], report["score_saved"]) == (0, told["score_saved"])


def test_the_document_tells_the_keys_of_the_report(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    report = reported(capfdbinary, "--policy", written(rule()), WORKER_2)
    [told] = report.pop("rules")
    document = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
    section = document.partition("\n## Trying rules\n")[2].partition("\n## ")[0]
    named = [
        re.findall(r"`([\w.\[\]]+)`", row.split("|")[1]) for row in section.splitlines() if row[:3] == "| `"
    ]
    shown = [key for names in named for key in names]
    of_rules = [key.removeprefix("rules[]").removeprefix(".") for key in shown if "." in key]
    assert sorted(of_rules) == sorted(told)
    assert sorted(key for key in shown if "." not in key) == sorted(report)


# --- ends: time is the capture's


def table(path: Path, now: str) -> list[str]:
    """What is told on a day of a policy on the capture."""
    now_ns = round(datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp()) * 1_000_000_000
    settings = Settings()
    trial = Trial(settings, load(path, now_ns, {}).policy)
    run = Replay(settings, io.BytesIO(), trial)
    assert feed_files(run, [WORKER_2]) == 0
    run.finish(close_sessions=False)
    return list(trial.report().table(now_ns))


@pytest.mark.parametrize(
    ("expires", "now", "hits", "remarks"),
    [
        ("2026-11-24T03:00:00Z", "2026-11-25", "0", "never matched, past its end"),
        ("2026-11-24T03:15:00Z", "2026-11-25", "5", "past its end"),
        ("2026-11-24T04:00:00Z", "2026-11-25", "11", "past its end since"),
        ("2026-11-24T04:00:00Z", "2026-11-24T03:59:59Z", "11", ""),
        ("2026-11-24", "2026-11-24T23:59:59Z", "11", ""),
    ],
)
def test_a_rule_ends_at_the_time_of_the_capture(expires: str, now: str, hits: str, remarks: str) -> None:
    told = table(written(rule(expires=expires)), now)[1].split(maxsplit=5)
    assert (told[2], "".join(told[5:]).strip()) == (hits, remarks)


@pytest.mark.parametrize(("now", "hits"), [("2040-01-01", "11"), ("2020-01-01", "0")])
def test_a_rule_without_an_end_has_half_a_year_from_now(now: str, hits: str) -> None:
    assert table(written(rule()), now)[1].split()[2] == hits


# --- mistakes


def test_a_policy_that_cannot_be_used_is_status_2_with_the_place(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    path = written(rule(reason="TODO", matchers="systemd.units=x"))
    shown = Shown(capfdbinary, "--policy", path, WORKER_2)
    assert (shown.status, shown.out) == (2, "")
    assert shown.err == (
        'policies.yaml:4:15: matchers: unknown field "systemd.units"; did you mean systemd.unit?\n'
        'policies.yaml:5:13: reason: got "TODO"; want it written by somebody who knows\n'
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--policy", "none.yaml"], "none.yaml: No such file or directory; want a file that can be read"),
        (["--report", "r.json"], "--report: want --policy or policy.path with it\n"),
        (
            ["--policy", "policies.yaml", "--report", "no/r.json"],
            "--report: no/r.json: No such file or directory; want a file that can be written\n",
        ),
    ],
)
def test_other_mistakes_are_status_2_and_one_line(
    capfdbinary: pytest.CaptureFixture[bytes], arguments: list[str], complaint: str
) -> None:
    written(rule())
    shown = Shown(capfdbinary, *arguments, WORKER_2)
    assert (shown.status, shown.out, shown.err.count("\n")) == (2, "", 1)
    assert shown.err.startswith(complaint)


def test_what_is_damaged_is_status_1_and_the_rest_is_reported(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    shown = Shown(capfdbinary, "--policy", written(rule()), "none.pb", CAPTURES / "worker-1.pb")
    assert shown.status == 1
    assert shown.err.splitlines()[0].startswith("none.pb: ")
    assert shown.err.splitlines()[-1] == "10 shells, 190 points without the policy, 190 with it: 0 saved"
