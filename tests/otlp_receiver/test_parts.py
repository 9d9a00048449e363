"""The server's parts by themselves: budget, watchdog, tokens, rationed log lines."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from otlp_receiver.admission import Admission, OverBudget
from otlp_receiver.auth import BearerTokens, TokensUnreadable, Verdict
from otlp_receiver.ration import RationedLog
from otlp_receiver.watchdog import Watchdog
from telemetry import events

if TYPE_CHECKING:
    from pathlib import Path

KIB = 1024


# --- the budget of bytes in flight


def test_a_call_holds_64_kib_until_its_size_is_known() -> None:
    admission = Admission(limit=128 * KIB)
    with admission.admit() as first, admission.admit():
        with pytest.raises(OverBudget), admission.admit():
            pass
        admission.settle(first, 10)
        with pytest.raises(OverBudget), admission.admit():
            pass  # 64 KiB + 10 + 64 KiB are too much by 10
        admission.settle(first, 0)
        with admission.admit():
            pass
    assert admission._in_flight == 0


def test_a_call_holds_the_median_of_earlier_sizes_if_that_is_more() -> None:
    admission = Admission(limit=10_000 * KIB)
    for size in (1 * KIB, 900 * KIB, 1_000 * KIB):
        with admission.admit() as reservation:
            admission.settle(reservation, size)
    with admission.admit() as reservation:
        assert reservation.bytes_held == 900 * KIB
    for _ in range(64):
        with admission.admit() as reservation:
            admission.settle(reservation, 70 * KIB)
    with admission.admit() as reservation:
        assert reservation.bytes_held == 70 * KIB


def test_a_lone_call_is_admitted_whatever_the_limit() -> None:
    admission = Admission(limit=1)
    for _ in range(2):
        with admission.admit(), pytest.raises(OverBudget), admission.admit():
            pass


def test_what_a_call_held_is_given_back_when_it_fails() -> None:
    admission = Admission(limit=64 * KIB)

    def fail() -> None:
        with admission.admit() as reservation:
            admission.settle(reservation, 5_000 * KIB)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert admission._in_flight == 0


# --- the watchdog


def test_what_takes_too_long_is_cancelled_oldest_first() -> None:
    watchdog = Watchdog(timeout=0.01)
    watchdog.start()
    cancelled: list[str] = []
    both = threading.Event()

    def cancel_second() -> None:
        cancelled.append("second")
        both.set()

    with watchdog.watch(lambda: cancelled.append("first")) as first, watchdog.watch(cancel_second) as second:
        assert both.wait(60)
    assert cancelled == ["first", "second"]
    assert (first.expired, second.expired) == (True, True)
    watchdog.stop()


def test_what_ends_in_time_is_left_alone() -> None:
    watchdog = Watchdog(timeout=3600)
    watchdog.start()
    with watchdog.watch(pytest.fail) as watch:
        pass
    assert not watch.expired
    assert not watchdog._watches
    with watchdog.watch(pytest.fail):
        watchdog.stop()  # does not wait for what is under watch


def test_the_oldest_gives_way_once_it_has_waited_a_while() -> None:
    watchdog = Watchdog(timeout=3600)
    cancelled: list[str] = []
    assert not watchdog.cancel_oldest(0)
    with watchdog.watch(lambda: cancelled.append("first")) as first:
        with watchdog.watch(lambda: cancelled.append("second")) as second:
            assert not watchdog.cancel_oldest(3000)
            assert watchdog.cancel_oldest(0)
            assert cancelled == ["first"]
            assert watchdog.cancel_oldest(0)
        assert not watchdog.cancel_oldest(0)
    assert cancelled == ["first", "second"]
    assert (first.displaced, second.displaced, first.expired) == (True, True, False)


def test_a_watchdog_that_never_started_can_be_stopped() -> None:
    Watchdog(timeout=1).stop()


# --- tokens


def bearer(*values: str | bytes) -> list[tuple[str, str | bytes]]:
    return [("user-agent", "x"), *(("authorization", value) for value in values)]


def test_any_token_of_the_file_is_accepted_in_any_spelling_of_the_scheme(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(b"\n  first \r\nsecond\nd\xc3\xa9j\xc3\xa0\n")
    tokens = BearerTokens(path)
    for accepted in ("Bearer first", "bearer second", "BEARER déjà", b"Bearer second"):
        assert tokens.judge(bearer(accepted)) is Verdict.ACCEPTED, accepted
    assert tokens.judge(bearer("Basic xyz", "Bearer first")) is Verdict.ACCEPTED
    for wrong in ("Bearer ", "Bearer firs", "Bearer first ", "Bearer first\nsecond"):
        assert tokens.judge(bearer(wrong)) is Verdict.WRONG, wrong
    for other in ("first", "Basic first", "Bearer"):
        assert tokens.judge(bearer(other)) is Verdict.MISSING, other
    assert tokens.judge([]) is Verdict.MISSING


def test_a_rotation_takes_effect_with_the_next_call_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("old\n")
    with capture_logs() as logs:
        tokens = BearerTokens(path)
        assert tokens.judge(bearer("Bearer old")) is Verdict.ACCEPTED
        # As Kubernetes does it: another file takes the name.
        (tmp_path / "next").write_text("new\n")
        (tmp_path / "next").replace(path)
        assert tokens.judge(bearer("Bearer new")) is Verdict.ACCEPTED
        assert tokens.judge(bearer("Bearer old")) is Verdict.WRONG
    read = {"event": "receiver.tokens_read", "log_level": "info", "path": str(path), "tokens": 1}
    assert logs == [read, read]


def test_a_file_that_gives_no_tokens_any_more_leaves_those_of_before(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("old\n")
    tokens = BearerTokens(path)
    with capture_logs() as logs:
        path.write_text("\n")
        assert tokens.judge(bearer("Bearer old")) is Verdict.ACCEPTED
        assert tokens.judge(bearer("Bearer old")) is Verdict.ACCEPTED
        path.unlink()
        assert tokens.judge(bearer("Bearer old")) is Verdict.ACCEPTED
        assert tokens.judge(bearer("Bearer old")) is Verdict.ACCEPTED
    kept = {"event": "receiver.tokens_kept", "log_level": "warning", "path": str(path)}
    assert logs == [
        {**kept, "reason": "the file holds no token"},
        {**kept, "reason": os.strerror(2)},
    ]


def test_a_file_without_tokens_is_named(tmp_path: Path) -> None:
    absent, empty = tmp_path / "absent", tmp_path / "empty"
    empty.write_text("\n \n")
    with pytest.raises(TokensUnreadable) as error:
        BearerTokens(absent)
    assert str(error.value) == f"{absent}: {os.strerror(2)}: want a file of bearer tokens, one a line"
    with pytest.raises(TokensUnreadable) as error:
        BearerTokens(empty)
    assert str(error.value) == f"{empty}: holds no token: want bearer tokens, one a line"


# --- log lines that others cause


def test_of_a_kind_one_line_a_second_is_written_and_the_others_are_counted() -> None:
    now = [10.0]
    log = RationedLog(lambda: now[0])
    with capture_logs() as logs:
        for seconds, kind in (
            (0, "a"),
            (0, "a"),
            (0.5, "b"),
            (0.99, "a"),
            (1, "a"),
            (1, "a"),
            (3, "a"),
            (4, "a"),
        ):
            now[0] = 10.0 + seconds
            log(events.RECEIVER_REQUEST_REFUSED, kind, reason=kind, peer="x")
        log(events.RECEIVER_FAILED, "a", error="a")
    line = {"event": "receiver.request_refused", "log_level": "warning", "peer": "x"}
    assert logs == [
        {**line, "reason": "a"},
        {**line, "reason": "b"},
        {**line, "reason": "a", "suppressed": 2},
        {**line, "reason": "a", "suppressed": 1},
        {**line, "reason": "a"},
        {"event": "receiver.failed", "log_level": "error", "error": "a"},
    ]
