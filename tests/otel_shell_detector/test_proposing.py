"""``propose-policy``: from a capture to a file that a person completes, and that does what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from otel_shell_detector.cli import main
from otel_shell_detector.policies.proposal import AT_LEAST, AT_MOST
from tests.otel_shell_detector.policies.policies import claims, filled

CAPTURES: Final = Path(__file__).parents[1] / "captures"


@pytest.fixture(autouse=True)
def _settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_variables: None, logging_restored: None
) -> None:
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_RISK__BASELINE", "5m")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("at_least", [1, 3])
@pytest.mark.parametrize(
    "capture", ["worker-1.pb", "worker-1.json", "worker-2.pb.zst", "worker-3.pb.zst", "worker-4.pb"]
)
def test_the_rules_hit_as_often_as_was_said(
    capture: str, at_least: int, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(CAPTURES / capture)]
    assert main(["propose-policy", "--at-least", str(at_least), "--at-most", "50", *files]) == 0
    proposal, errors = capsys.readouterr()
    assert errors == ""
    Path("policies.yaml").write_text(filled(proposal), encoding="utf-8")
    assert main(["replay", "--policy", "policies.yaml", "--report", "r.json", *files]) == 0
    report = json.loads(Path("r.json").read_text(encoding="utf-8"))
    told = {rule["id"]: rule["hits"] for rule in report["rules"]}
    assert told == {rule: shells for rule, (shells, _) in claims(proposal).items()}
    assert report["score_saved"] == 0  # they only annotate

    Path("policies.yaml").write_text(filled(proposal, action="suppress"), encoding="utf-8")
    assert main(["replay", "--policy", "policies.yaml", "--report", "r.json", *files]) == 0
    report = json.loads(Path("r.json").read_text(encoding="utf-8"))
    saved = {rule["id"]: (rule["hits"], rule["score_saved"]) for rule in report["rules"]}
    assert saved == claims(proposal)


def test_several_captures_make_one_proposal(capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(CAPTURES / f"worker-{number}.pb.zst") for number in (2, 3)]
    assert main(["propose-policy", *files]) == 0
    both = capsys.readouterr().out
    assert main(["propose-policy", *files[::-1]]) == 0
    assert {rule: shells for rule, (shells, _) in claims(both).items()} == {
        "cron.service": 18,
        "pod-1e5a40fd-e802-3574-19d1-a8f25c875fe1": 11,
        "pod-d55623ef-bf6c-4dad-efdc-ff49cc6bb263": 9,
        "apt-daily-upgrade.service": 7,
    }


@pytest.mark.parametrize("capture", ["worker-2", "worker-3"])
def test_no_attack_is_in_a_proposal(capture: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They are few of their kind, or somebody sits at them."""
    truth = (CAPTURES / f"{capture}.truth.tsv").read_text(encoding="utf-8").splitlines()
    attacks = {int(line.split("\t")[3]) for line in truth if "ATTACK" in line}
    file = str(CAPTURES / f"{capture}.pb.zst")
    assert main(["propose-policy", file]) == 0
    Path("policies.yaml").write_text(filled(capsys.readouterr().out), encoding="utf-8")
    assert main(["replay", "--policy", "policies.yaml", file]) == 0
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    annotated = {
        event["process.pid"]: "policy.rule" in event for event in events if event["kind"] == "opened"
    }
    assert attacks <= annotated.keys()
    assert {pid for pid in attacks if annotated[pid]} == set()
    assert any(annotated.values())


def test_what_is_damaged_is_status_1_and_the_rest_is_proposed_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["propose-policy", "none.pb", str(CAPTURES / "worker-2.pb.zst")]) == 1
    shown = capsys.readouterr()
    assert len(claims(shown.out)) == 3
    assert shown.err.startswith("none.pb: ")


def test_a_policy_in_force_makes_no_difference(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(CAPTURES / "worker-2.pb.zst")
    main(["propose-policy", file])
    plain = capsys.readouterr().out
    Path("policies.yaml").write_text(filled(plain, action="suppress"), encoding="utf-8")
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_POLICY__PATH", "policies.yaml")
    assert main(["propose-policy", file]) == 0
    assert capsys.readouterr().out == plain


@pytest.mark.parametrize(
    ("option", "number", "highest"),
    [
        ("--at-least", "0", 9999),
        ("--at-least", "x", 9999),
        ("--at-most", "257", 256),
        ("--at-most", "-1", 256),
    ],
)
def test_a_number_that_makes_no_sense_is_a_usage_error(
    option: str, number: str, highest: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """More rules than a shell may be compared with might be refused."""
    with pytest.raises(SystemExit) as ended:
        main(["propose-policy", f"{option}={number}", "x.pb"])
    assert ended.value.code == 2
    assert f'got "{number}"; want a whole number from 1 to {highest}' in capsys.readouterr().err


def test_the_document_tells_the_defaults() -> None:
    document = (CAPTURES.parents[1] / "docs" / "policies.md").read_text(encoding="utf-8")
    assert f"`--at-least` ({AT_LEAST}) shells make a group, `--at-most` ({AT_MOST}) rules are" in document
