"""Heard one finding at a time, the judge says what it says of all at once."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from detector.context import Mode
from detector.types import Kind, SilentNode, Step
from otel_shell_detector import wiring
from otel_shell_detector.configuration import Settings
from otel_shell_detector.hearing import Hearing
from otel_shell_detector.policies.file import load
from otel_shell_detector.replay import Replay, feed_files
from store.memory import MemoryStore
from tests.detector.judging.desk import NODE, context, opened
from tests.detector.world import ns
from tests.otel_shell_detector.policies.policies import text

if TYPE_CHECKING:
    from otel_shell_detector.hearing import Heard, Judging
    from otel_shell_detector.policies.file import Loaded

CAPTURES: Final = Path(__file__).parents[1] / "captures"
CAPTURED_NS: Final = 1_795_489_761_000_000_000
SETTINGS: Final[tuple[dict[str, object], ...]] = (
    {},
    {"risk": {"profile": "seed", "burst": {"after": 0}}},
    {"risk": {"burst": {"after": 1, "period": "1m"}, "preexisting": "summary", "max_per_object": "30/h"}},
)


def printed(settings: Settings, capture: str, bench: Judging) -> bytes:
    out = io.BytesIO()
    run = Replay(settings, out, bench)
    assert feed_files(run, [CAPTURES / capture]) == 0
    run.finish(close_sessions=True)
    return out.getvalue()


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    path = tmp_path / "policies.yaml"
    path.write_text(text("cron", action="suppress", matchers="systemd.unit=cron.service"))
    return load(path, CAPTURED_NS, {})


@pytest.mark.parametrize("keys", SETTINGS, ids=["balanced", "seed", "bounded"])
@pytest.mark.parametrize("capture", ["worker-1.pb", "worker-2.pb.zst"])
def test_the_events_are_those_of_the_bench(capture: str, keys: dict[str, object], loaded: Loaded) -> None:
    settings = Settings.model_validate(keys)
    bench = wiring.bench(settings)
    bench.adopt(loaded)
    heard: list[Heard] = []
    hearing = Hearing(wiring.bench(settings), loaded.policy.rules, heard.append)
    expected = printed(settings, capture, bench)
    assert printed(settings, capture, hearing) == expected
    assert b'"kind":"suppressed"' in expected


def test_what_the_policy_was_asked_and_answered_is_told_with_the_opening(loaded: Loaded) -> None:
    settings = Settings()
    heard: list[Heard] = []
    printed(settings, "worker-2.pb.zst", Hearing(wiring.bench(settings), loaded.policy.rules, heard.append))
    of_findings = [(each, each.finding) for each in heard if each.finding is not None]
    assert all((each.fields is not None) == (it.kind is Kind.OPENED) for each, it in of_findings)
    asked = [each for each, _ in of_findings if each.fields is not None]
    units = [each.fields.get("systemd.unit") for each in asked if each.fields is not None]
    assert len(units) == 41
    assert [each.rule is not None for each in asked] == [unit == "cron.service" for unit in units]
    assert all(each.points == 0 for each in asked if each.rule is not None)
    assert all((each.fields, each.rule) == (None, None) for each in heard if each.finding is None)


def test_what_is_due_is_no_findings_doing() -> None:
    """300 bursts, each of a shell that was told and one that was folded; then another shell."""
    settings = Settings.model_validate({"risk": {"burst": {"after": 1, "period": "1m"}}})
    heard: list[Heard] = []
    hearing, store = Hearing(wiring.bench(settings), (), heard.append), MemoryStore()
    kinds = [context(mode=Mode.STDIN, template=f"{number:08x}") for number in range(301)]
    shells = [
        opened(1, of, pid=pid)
        for number, of in enumerate(kinds[:300])
        for pid in (1000 + number, 2000 + number)
    ]
    hearing.hear(store, Step(findings=tuple(shells)), ns(1), ns(1))
    assert [each.points for each in heard if each.finding is not None] == [40, 0] * 300
    assert sum(each.points for each in heard) == 40 * 300

    heard.clear()
    silent = SilentNode("id", NODE, "worker-1.example", last_scrape_ns=ns(1), release_ns=ns(90))
    step = Step(findings=(opened(90, kinds[300]),), silent_nodes=(silent,))
    sentence = hearing.hear(store, step, ns(90), ns(90))
    told = [json.loads(event.body)["event"]["kind"] for event in sentence.events]
    assert told == ["burst"] * 300 + ["opened", "node_silent"]
    assert [each.points for each in heard if each.finding is not None] == [40]
    assert sum(each.points for each in heard if each.finding is None) == 40 * 300
