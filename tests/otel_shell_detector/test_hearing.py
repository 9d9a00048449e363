"""Heard one finding at a time, the judge says what it says of all at once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from detector.types import Kind
from otel_shell_detector import wiring
from otel_shell_detector.configuration import Settings
from otel_shell_detector.hearing import Hearing
from otel_shell_detector.policies.file import load
from otel_shell_detector.replay import Replay, feed_files
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
