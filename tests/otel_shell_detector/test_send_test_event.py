"""``send-test-event``, for each sink and each kind of answer. The real peers are in tests/e2e."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
import structlog

from otel_shell_detector.cli import main
from otel_shell_detector.send_test_event import run
from otel_shell_detector.sources import build
from tests.e2e.processes import free_port
from tests.exporter.scripted_hec import TOKEN, ScriptedHec, refusal
from tests.exporter.scripted_hec import Answer as HecAnswer
from tests.exporter.scripted_otlp import Answer, ScriptedOtlp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_shell_detector.configuration import Settings

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "delivery.md"
NOTE: Final = "Code 0 says that Splunk took the event, not that the index exists: the search proves arrival."


@pytest.fixture(autouse=True)
def no_logs() -> Iterator[None]:
    """As in the program, where they go to standard error."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def splunk() -> Iterator[ScriptedHec]:
    with ScriptedHec() as splunk:
        yield splunk


@pytest.fixture
def collector() -> Iterator[ScriptedOtlp]:
    with ScriptedOtlp() as collector:
        yield collector


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    return path


def to_splunk(splunk: ScriptedHec, token_file: Path, **hec: Any) -> Settings:
    hec = {"url": splunk.url, "token_file": str(token_file), **hec}
    return build({"exporter": {"sink": "hec", "hec": hec}}, {})


def to_collector(collector: ScriptedOtlp, **otlp: Any) -> Settings:
    return build({"exporter": {"sink": "otlp", "otlp": {"endpoint": collector.url, **otlp}}}, {})


def printed(capsys: pytest.CaptureFixture[str], *ids: str) -> list[str]:
    """The lines, without what differs from run to run: durations, and ids by their numbers."""
    text = re.sub(r"in \d+ ms", "in N ms", capsys.readouterr().out)
    for number, each in enumerate(ids):
        text = text.replace(each, f"<id {number}>")
    return text.splitlines()


def test_each_lane_is_told_with_the_search_that_proves_it(
    splunk: ScriptedHec, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = to_splunk(splunk, token_file, index="risk", context_index="shells", audit_index="shell audit")
    assert run(settings) == 0
    assert printed(capsys, *splunk.ids) == [
        f"hec: {splunk.url}",
        "risk: accepted in N ms: status 200, code 0: Success",
        '  search: index="risk" event_id=<id 0> earliest=-1h latest=+1h',
        "context: accepted in N ms: status 200, code 0: Success",
        '  search: index="shells" event_id=<id 1> earliest=-1h latest=+1h',
        "audit: accepted in N ms: status 200, code 0: Success",
        '  search: index="shell audit" event_id=<id 2> earliest=-1h latest=+1h',
        NOTE,
    ]


def test_the_events_are_marked_and_nothing_is_at_risk(splunk: ScriptedHec, token_file: Path) -> None:
    assert run(to_splunk(splunk, token_file)) == 0
    for lane, index, envelope in zip(
        ("risk", "context", "audit"), ("risk", "otel_shell", "otel_shell"), splunk.indexed, strict=True
    ):
        assert envelope == {
            "time": envelope["time"],
            "host": envelope["host"],
            "source": "Threat - OTel Shell Detector - Kubernetes Shell Running on Worker Node - Rule",
            "sourcetype": "otel:shell:risk",
            "index": index,
            "event": {
                "event_id": envelope["event"]["event_id"],
                "kind": "test",
                "test": True,
                "lane": lane,
                "risk_score": 0,
                "message": "Test event of otel-shell-detector: no shell was found.",
                "orig_time": envelope["time"],
            },
        }
    assert len(set(splunk.ids)) == 3


def test_what_splunk_refuses_is_told_and_the_other_lanes_are_tried(
    splunk: ScriptedHec, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splunk.valid_indexes = {"risk"}
    assert run(to_splunk(splunk, token_file)) == 1
    assert printed(capsys, *splunk.ids) == [
        f"hec: {splunk.url}",
        "risk: accepted in N ms: status 200, code 0: Success",
        '  search: index="risk" event_id=<id 0> earliest=-1h latest=+1h',
        "context: index_incorrect in N ms: status 400, code 7: code 7",
        "audit: index_incorrect in N ms: status 400, code 7: code 7",
        NOTE,
    ]


def test_the_example_of_the_documents_is_what_is_printed(
    splunk: ScriptedHec, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    incorrect = HecAnswer(400, {"text": "Incorrect index", "code": 7})
    splunk.script.extend([HecAnswer(body={"text": "Success", "code": 0}, takes=1), incorrect, incorrect])
    assert run(to_splunk(splunk, token_file)) == 1
    lines = printed(capsys, *splunk.ids)
    example = DOCUMENT.read_text().partition("send-test-event --config config.yaml\n")[2].partition("```")[0]
    for pattern, same in (
        ("in \\d+ ms", "in N ms"),
        (r"https://[^\n]+", splunk.url),
        (r"=[0-9a-f-]{36}", "=<id 0>"),
    ):
        example = re.sub(pattern, same, example)
    assert example.splitlines() == lines


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refusal(403, 4), "token_invalid in N ms: status 403, code 4: code 4"),
        (refusal(400, 6, 0), "event_invalid in N ms: status 400, code 6: code 6"),
        (HecAnswer(502, b"<h1>\x1b[31m"), "server_error in N ms: status 502, no code: <h1>\\x1b[31m"),
    ],
)
def test_any_answer_is_told_on_one_line_and_nothing_is_tried_twice(
    splunk: ScriptedHec,
    token_file: Path,
    capsys: pytest.CaptureFixture[str],
    answer: HecAnswer,
    told: str,
) -> None:
    splunk.always = answer
    assert run(to_splunk(splunk, token_file)) == 1
    lanes = ("risk", "context", "audit")
    assert printed(capsys) == [f"hec: {splunk.url}", *(f"{lane}: {told}" for lane in lanes)]
    assert len(splunk.requests) == 3


def test_a_server_that_is_not_there_is_told(
    splunk: ScriptedHec, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://localhost:{free_port()}"
    assert run(to_splunk(splunk, token_file, url=url)) == 1
    lines = printed(capsys)
    assert lines[0] == f"hec: {url}"
    assert all(re.fullmatch(r"\w+: connection_refused in N ms: .+", line) for line in lines[1:])
    assert len(lines) == 4


def test_an_index_that_is_left_to_the_token_is_searched_everywhere(
    collector: ScriptedOtlp, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = to_collector(collector)
    hec = settings.exporter.hec.model_copy(update={"index": ""})
    exporter = settings.exporter.model_copy(update={"hec": hec})
    assert run(settings.model_copy(update={"exporter": exporter})) == 0
    assert "  search: index=* event_id=<id 0> earliest=-1h latest=+1h" in printed(capsys, *collector.ids)


# --- acknowledgement


def test_an_acknowledgement_is_waited_for(
    splunk: ScriptedHec, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splunk.ack_at_once = False
    asked = []

    def sleep(_: float) -> None:
        asked.append(len(splunk.requests))
        splunk.acked = dict.fromkeys(splunk.acked, True)

    assert run(to_splunk(splunk, token_file, ack=True), sleep=sleep) == 0
    assert asked[0] >= 3
    accepted = "accepted in N ms: status 200, code 0: Success; acknowledged"
    assert [line for line in printed(capsys) if "accepted" in line] == [
        f"{lane}: {accepted}" for lane in ("risk", "context", "audit")
    ]


def test_an_acknowledgement_that_does_not_come_is_a_failure(
    splunk: ScriptedHec, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splunk.ack_at_once = False
    now = [0.0]

    def sleep(_: float) -> None:
        now[0] += 50.0

    settings = to_splunk(splunk, token_file, ack=True)
    assert run(settings, clock=lambda: now[0], sleep=sleep) == 1
    told = "accepted in N ms: status 200, code 0: Success; not acknowledged within 2m"
    lanes = ("risk", "context", "audit")
    assert printed(capsys) == [f"hec: {splunk.url}", *(f"{lane}: {told}" for lane in lanes)]
    assert now == [150.0]
    assert len(splunk.posts) == 3  # nothing is sent again


def test_a_server_that_refuses_to_say_is_not_asked_on(
    splunk: ScriptedHec, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splunk.ack_at_once = False
    settings = to_splunk(splunk, token_file, ack=True)
    assert run(settings, sleep=lambda _: setattr(splunk, "always", refusal(400, 14))) == 1
    told = "status 200, code 0: Success; asked whether it is indexed: status 400, code 14: code 14"
    lanes = ("risk", "context", "audit")
    assert printed(capsys)[1:] == [f"{lane}: accepted in N ms: {told}" for lane in lanes]


def test_a_server_that_offers_no_acknowledgement_is_told(
    splunk: ScriptedHec, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splunk.always = HecAnswer(body={"text": "Success", "code": 0})
    assert run(to_splunk(splunk, token_file, ack=True)) == 0
    told = "accepted in N ms: status 200, code 0: Success; no acknowledgement is offered"
    assert printed(capsys)[1] == f"risk: {told}"


# --- other sinks


@pytest.mark.parametrize(("fields", "sign"), [("body", "="), ("attributes", "::")])
def test_a_collector_is_told_with_a_search_for_splunk_behind_it(
    collector: ScriptedOtlp, capsys: pytest.CaptureFixture[str], fields: str, sign: str
) -> None:
    assert run(to_collector(collector, fields=fields)) == 0
    records = [record for call in collector.calls for record in call.records]
    assert [record.event_name for record in records] == ["otel_shell_detector.test"] * 3
    lines = printed(capsys, *collector.ids)
    assert lines[:3] == [
        f"otlp: {collector.url}",
        "risk: accepted in N ms: OK",
        f'  search: index="risk" event_id{sign}<id 0> earliest=-1h latest=+1h',
    ]
    assert lines[-1] == "OK says that the collector took the event: the search proves that Splunk has it."
    assert len(lines) == 8


def test_a_collector_that_refuses_is_told(
    collector: ScriptedOtlp, capsys: pytest.CaptureFixture[str]
) -> None:
    collector.always = Answer(grpc.StatusCode.UNAUTHENTICATED, "no token")
    assert run(to_collector(collector)) == 1
    told = "unauthenticated in N ms: UNAUTHENTICATED: no token"
    lanes = ("risk", "context", "audit")
    assert printed(capsys) == [f"otlp: {collector.url}", *(f"{lane}: {told}" for lane in lanes)]


def test_a_file_is_told_with_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "events"
    assert run(build({"exporter": {"sink": "file", "file": {"path": str(path)}}}, {})) == 0
    lines = path.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["event"]["kind"] for line in lines] == ["test"] * 3
    assert printed(capsys) == [
        f"file: {path}",
        *(
            f"{lane}: accepted in N ms: wrote {len(line)} bytes"
            for lane, line in zip(("risk", "context", "audit"), lines, strict=True)
        ),
    ]


def test_a_file_that_cannot_be_written_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = build({"exporter": {"sink": "file", "file": {"path": str(tmp_path)}}}, {})
    assert run(settings) == 1
    told = "io_error in N ms: Is a directory"
    lanes = ("risk", "context", "audit")
    assert printed(capsys) == [f"file: {tmp_path}", *(f"{lane}: {told}" for lane in lanes)]


def test_standard_output_holds_the_events_and_what_was_written(
    capfd: pytest.CaptureFixture[str], no_variables: None, logging_restored: None
) -> None:
    assert main(["send-test-event"]) == 0
    *events, head, risk, context, audit = capfd.readouterr().out.splitlines()
    assert [json.loads(event)["event"]["lane"] for event in events] == ["risk", "context", "audit"]
    assert head == "stdout: standard output"
    for line, event in zip((risk, context, audit), events, strict=True):
        assert line.endswith(f" ms: wrote {len(event) + 1} bytes")


def test_a_configuration_that_cannot_be_used_is_status_2(
    capsys: pytest.CaptureFixture[str], no_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_EXPORTER__SINK", "otlp")
    assert main(["send-test-event"]) == 2
    told = (
        "exporter.otlp.endpoint: got nothing; want the base URL of a collector, for exporter.sink is otlp\n"
    )
    assert capsys.readouterr() == ("", told)
