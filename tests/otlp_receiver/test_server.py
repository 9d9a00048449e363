"""Every answer of the receiver, given by a real server to a real client."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from structlog.testing import capture_logs

from otlp_receiver.reading import read_request
from otlp_receiver.server import NotAccepted
from tests.otlp_receiver.captures import BY_NAME, bare, requests
from tests.otlp_receiver.encode import data, frame, memory, process, request
from tests.otlp_receiver.random_wire import mutated
from tests.otlp_receiver.serving import Answered, half_open, moved, serving

if TYPE_CHECKING:
    from detector.types import CommandLine

Code = grpc.StatusCode
ONE_SHELL = request(frame(process()))
QUIET = request(frame({"system": "x"}))


def padded(size: int) -> bytes:
    """A request without frames of exactly ``size`` bytes."""
    body = data(15, bytes(size - 4))
    assert len(body) == size
    return body


# --- the table of answers


def test_a_valid_request_is_stored_and_answered_with_an_empty_response() -> None:
    body = bare("scrape-300.pb")
    with moved() as changes, serving() as running:
        assert running.export(body, compression=grpc.Compression.Gzip) == Answered(Code.OK)
    assert running.sink.taken == [read_request(body, BY_NAME).records]
    assert changes == {
        "requests_total OK": 1,
        "request_seconds_count": 1,
        "read_seconds_count": 1,
        "received_bytes_total": len(body),
        "frames_total": 301,
        "hit_frames_total": 2,
        "samples_total": 2,
    }


def test_a_request_with_nothing_to_store_is_ok_and_stores_nothing() -> None:
    with moved() as changes, serving() as running:
        assert running.export(QUIET) == Answered(Code.OK)
        assert running.export(b"") == Answered(Code.OK)
    assert running.sink.taken == []
    assert changes == {
        "requests_total OK": 2,
        "request_seconds_count": 2,
        "read_seconds_count": 2,
        "received_bytes_total": len(QUIET),
        "frames_total": 1,
    }


def test_frames_that_cannot_be_interpreted_are_told_as_partial_success_and_the_rest_is_stored() -> None:
    no_pid = process()
    del no_pid["process.pid"]
    body = request(
        frame(process(command_line=b"bash \xff"), node={"host.name": "h"}),
        frame(process()) + b"\x0a\x7f",
        frame(no_pid, memory(1.0), memory(2.0)),
        frame(process(), node={}),
        frame(process(), b""),
    )
    with moved() as changes, capture_logs() as logs, serving() as running:
        answer = running.export(body)
    assert answer.code is Code.OK
    expected = ExportMetricsServiceResponse()
    expected.partial_success.rejected_data_points = 4
    expected.partial_success.error_message = (
        "1: a ResourceMetrics that may be of a watched process is undecodable (counts as one); "
        "2: process.pid is absent or not an integer; "
        "1: none of k8s.node.name, host.name, host.id is present"
    )
    assert ExportMetricsServiceResponse.FromString(answer.body) == expected
    assert running.sink.taken == [read_request(body, BY_NAME).records]
    assert changes == {
        "requests_total OK": 1,
        "request_seconds_count": 1,
        "read_seconds_count": 1,
        "received_bytes_total": len(body),
        "frames_total": 5,
        "hit_frames_total": 5,
        "empty_frames_total": 1,
        "samples_total": 1,
        "rejected_points_total undecodable": 1,
        "rejected_points_total no_pid": 2,
        "rejected_points_total no_node": 1,
        "text_replaced_total process.command_line": 1,
        "cluster_unknown_total": 1,
    }
    (rejection,) = [log for log in logs if log["event"] == "receiver.points_rejected"]
    assert rejection == {
        "event": "receiver.points_rejected",
        "log_level": "warning",
        "undecodable": 1,
        "no_pid": 2,
        "no_node": 1,
    }


@pytest.mark.parametrize("body", [b"\xff", b"not protobuf", ONE_SHELL[:-1], bytes(100)])
def test_broken_framing_is_an_invalid_argument(body: bytes) -> None:
    with moved() as changes, capture_logs() as logs, serving() as running:
        assert running.export(body) == Answered(
            Code.INVALID_ARGUMENT, "the request is no ExportMetricsServiceRequest"
        )
    assert changes == {
        "requests_total INVALID_ARGUMENT": 1,
        "refused_total malformed": 1,
        "request_seconds_count": 1,
        "read_seconds_count": 1,
        "received_bytes_total": len(body),
    }
    (refusal,) = [log for log in logs if log["event"] == "receiver.request_refused"]
    assert (refusal["reason"], refusal["peer"].split(":")[0]) == ("malformed", "ipv4")


def test_a_request_of_too_many_resources_is_refused_for_good() -> None:
    few = replace(BY_NAME, max_resources=2)
    with moved() as changes, serving(selection=few) as running:
        assert running.export(request(b"", b"")) == Answered(Code.OK)
        assert running.export(request(b"", b"", b"")) == Answered(
            Code.RESOURCE_EXHAUSTED, "the request holds too many ResourceMetrics"
        )
    assert changes["refused_total too_many_resources"] == 1
    assert changes["requests_total RESOURCE_EXHAUSTED"] == 1


def test_a_request_of_exactly_the_limit_is_taken_and_one_byte_more_is_refused_for_good() -> None:
    limit = 1 << 20
    with moved() as changes, serving(max_request_size=limit) as running:
        assert running.export(padded(limit)) == Answered(Code.OK)
        larger = running.export(padded(limit + 1))
        assert (larger.code, larger.retry_s) == (Code.RESOURCE_EXHAUSTED, None)
        assert running.export(ONE_SHELL) == Answered(Code.OK)
    # gRPC answers before we see the message: all that is left to count is a call without one.
    assert changes["refused_total no_message"] == 1


@pytest.mark.parametrize("bomb", [bytes(64 << 20), b"\x0a\x00" * (32 << 20)], ids=["zeros", "empty frames"])
def test_the_limit_holds_after_decompression(bomb: bytes) -> None:
    with serving(max_request_size=1 << 20) as running:
        answer = running.export(bomb, compression=grpc.Compression.Gzip)
        assert (answer.code, answer.retry_s) == (Code.RESOURCE_EXHAUSTED, None)
        assert running.export(ONE_SHELL) == Answered(Code.OK)


def test_empty_frames_below_the_limit_of_size_meet_the_limit_of_number() -> None:
    with serving(max_request_size=16 << 20) as running:
        assert running.export(b"\x0a\x00" * (8 << 20), compression=grpc.Compression.Gzip) == Answered(
            Code.RESOURCE_EXHAUSTED, "the request holds too many ResourceMetrics"
        )


def test_too_much_in_flight_is_to_be_tried_again() -> None:
    body = request(frame(process(), memory(1.0)), *[b"x" * 1000] * 100)
    with moved() as changes, serving(max_in_flight=len(body) + 1) as running:
        running.sink.open.clear()
        first = running.begin(body)
        assert running.sink.entered.wait(60)
        with moved() as held:
            assert running.export(ONE_SHELL) == Answered(
                Code.UNAVAILABLE, "too much is in flight; try again", retry_s=1
            )
        running.sink.open.set()
        assert first.result() == b""
        assert running.export(ONE_SHELL) == Answered(Code.OK)
    assert held == {"requests_total UNAVAILABLE": 1, "refused_total in_flight": 1}
    assert changes["requests_total OK"] == 2
    assert "in_flight_bytes" not in changes


def test_what_runs_is_seen_in_flight() -> None:
    with serving() as running:
        running.sink.open.clear()
        with moved() as changes:
            call = running.begin(ONE_SHELL)
            assert running.sink.entered.wait(60)
        assert changes["in_flight_bytes"] == len(ONE_SHELL)
        running.sink.open.set()
        assert call.result() == b""


def test_what_could_not_be_stored_is_to_be_tried_again() -> None:
    with moved() as changes, serving() as running:
        running.sink.raises = NotAccepted("disk full: /var/lib/secret")
        assert running.export(ONE_SHELL) == Answered(
            Code.UNAVAILABLE, "could not be stored in time; try again", retry_s=1
        )
    assert changes["requests_total UNAVAILABLE"] == 1
    assert changes["refused_total not_accepted"] == 1


def test_an_unexpected_error_is_to_be_tried_again_and_tells_nothing() -> None:
    with moved() as changes, capture_logs() as logs, serving() as running:
        running.sink.raises = ValueError("a secret")
        assert running.export(ONE_SHELL) == Answered(Code.UNAVAILABLE, "internal error; try again", retry_s=1)
    assert changes["refused_total failed"] == 1
    assert {"event": "receiver.failed", "log_level": "error", "error": "ValueError"} in logs
    assert "a secret" not in str(logs)


def test_a_frame_that_meets_a_defect_is_told_to_its_sender_and_to_the_log_without_its_content() -> None:
    def fail(_: str) -> CommandLine:
        raise ValueError("a secret")

    body = request(frame(process(command_line=b"a secret"), memory(1.0)), frame(process(), memory(1.0)))
    with (
        moved() as changes,
        capture_logs() as logs,
        serving(selection=replace(BY_NAME, clean=fail)) as running,
    ):
        answer = running.export(body)
    assert (answer.code, partial_success(answer.body)) == (
        Code.OK,
        (1, "1: a ResourceMetrics of a watched process met an error of the receiver"),
    )
    assert len(running.sink.taken) == 1
    assert changes["rejected_points_total decoder_failed"] == 1
    told = [log for log in logs if log["event"] == "receiver.decoder_failed"]
    assert told == [
        {"event": "receiver.decoder_failed", "log_level": "error", "error": "ValueError", "frames": 1}
    ]
    assert "a secret" not in str(logs)


def partial_success(body: bytes) -> tuple[int, str]:
    told = ExportMetricsServiceResponse.FromString(body).partial_success
    return told.rejected_data_points, told.error_message


def test_while_it_shuts_down_new_calls_are_to_be_tried_again_and_running_ones_end() -> None:
    with moved() as changes, serving() as running:
        running.sink.open.clear()
        call = running.begin(ONE_SHELL)
        assert running.sink.entered.wait(60)
        running.server.drain()
        assert running.export(ONE_SHELL) == Answered(Code.UNAVAILABLE, "shutting down; try again", retry_s=1)
        running.sink.open.set()
        assert call.result() == b""
    assert len(running.sink.taken) == 1
    assert changes["refused_total stopping"] == 1


def test_stop_waits_for_calls_that_run_and_says_that_it_stopped() -> None:
    with capture_logs() as logs, serving() as running:
        running.sink.open.clear()
        call = running.begin(ONE_SHELL)
        assert running.sink.entered.wait(60)
        stopping = threading.Thread(target=running.server.stop, args=(60,))
        stopping.start()
        running.sink.open.set()
        assert call.result() == b""
        stopping.join()
        assert len(running.sink.taken) == 1
    assert [log["event"] for log in logs][:2] == ["receiver.started", "receiver.stopped"]


# --- one message, in time


@pytest.mark.parametrize(
    ("messages", "reason"),
    [([], "no_message"), ([ONE_SHELL, ONE_SHELL], "two_messages"), ([b"", b""], "two_messages")],
)
def test_a_call_of_no_or_two_messages_is_an_invalid_argument(messages: list[bytes], reason: str) -> None:
    with moved() as changes, serving() as running:
        assert running.stream(iter(messages)) == Answered(
            Code.INVALID_ARGUMENT, "want exactly one message in the call"
        )
    assert running.sink.taken == []
    assert changes == {"requests_total INVALID_ARGUMENT": 1, f"refused_total {reason}": 1}


@pytest.mark.parametrize("first", [[], [ONE_SHELL]], ids=["without a message", "with one but no end"])
def test_a_call_whose_message_does_not_come_whole_is_cancelled(first: list[bytes]) -> None:
    released = threading.Event()
    with moved() as changes, serving(receive_timeout=0.1) as running:
        assert running.stream(half_open(released, *first)).code is Code.CANCELLED
        released.set()
    assert changes == {"requests_total CANCELLED": 1, "refused_total receive_timeout": 1}


def test_mutated_requests_are_answered_and_never_raise_out_of_the_handler() -> None:
    body = requests("worker-4.pb")[0]
    randomness = random.Random(4)
    with moved() as changes, serving() as running:
        codes = {running.export(mutated(body, randomness)).code for _ in range(400)}
        assert running.export(body) == Answered(Code.OK)
    assert codes == {Code.OK, Code.INVALID_ARGUMENT}
    assert "refused_total failed" not in changes
