"""What is left for the core's next turn, and who waits."""

from __future__ import annotations

import pytest

from otel_shell_detector import inbox
from otel_shell_detector.inbox import Inbox, Submission
from otlp_receiver.server import NotAccepted
from tests.detector.world import record

QUIET = [record(1)]
OTHERS = [record(2)]


def test_what_is_left_wakes_nobody_and_is_taken_in_order_with_what_does() -> None:
    box = Inbox()
    assert box.leave(QUIET)
    assert box._waking.empty()
    durable = box.submit(OTHERS)
    box.call(print)
    assert box.leave(QUIET)
    assert box.drain(60) == ([Submission(QUIET), Submission(OTHERS, durable), Submission(QUIET)], [print])
    assert box.drain(0) == ([], [])
    assert box.leave(QUIET)
    assert box.drain(0.001) == ([Submission(QUIET)], [])


def test_no_more_is_left_than_a_turn_may_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_LEFT", 2)
    box = Inbox()
    assert [box.leave(QUIET) for _ in range(3)] == [True, True, False]
    box.drain(0)
    assert box.leave(QUIET)


def test_what_was_left_is_kept_while_the_journal_refuses_and_nobody_else_is_left_until_it_takes() -> None:
    box = Inbox()
    box.leave(QUIET)
    refused = box.submit(OTHERS)
    box.leave(OTHERS)
    assert box.refuse(box.drain(60)[0], "full") == 1
    with pytest.raises(NotAccepted, match="full"):
        refused.result(0)
    assert not box.leave(QUIET)
    # The journal is not asked again for the sake of what is kept alone.
    assert box.drain(0) == ([], [])
    taken = box.submit(OTHERS)
    submissions, _ = box.drain(60)
    assert submissions == [Submission(QUIET), Submission(OTHERS), Submission(OTHERS, taken)]
    box.took(submissions)
    assert taken.result(0) is None
    assert box.leave(QUIET)
