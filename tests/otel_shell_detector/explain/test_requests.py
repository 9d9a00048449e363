"""``explain`` as the control socket is asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otel_shell_detector.operations import RefusedError, answer
from tests.otel_shell_detector.explain.lived import TOLD, Lived, session_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.seams import Store


def never(_work: Callable[[Store], Any]) -> Any:
    raise AssertionError("nothing needs the store alone")


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        ({}, "pid: want a whole number from 0 to 9223372036854775807"),
        ({"id": 7}, "explain: want id, or pid and perhaps node"),
        ({"id": "x", "pid": 7}, "explain: want id, or pid and perhaps node"),
        ({"pid": True}, "pid: want a whole number from 0 to 9223372036854775807"),
        ({"pid": 7, "node": 7}, "explain: want id, or pid and perhaps node"),
        ({"pid": 7, "after": 7}, "explain: want id, or pid and perhaps node"),
    ],
)
def test_a_request_of_another_form_is_refused(
    lived: Lived, request_: dict[str, object], complaint: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        answer({"ask": "explain", **request_}, never, lived.core.inspect)
    assert str(refused.value) == complaint
    lived.store.close()


def test_where_nothing_can_be_looked_at_it_is_not_offered(lived: Lived) -> None:
    with pytest.raises(RefusedError) as refused:
        answer({"ask": "explain", "pid": TOLD}, never)
    assert str(refused.value) == (
        'ask: got "explain"; want counts, dead, waiting, requeue, purge, purge_waiting'
    )
    with pytest.raises(RefusedError) as refused:
        answer({"ask": "why"}, never, lived.core.inspect)
    assert str(refused.value) == (
        'ask: got "why"; want counts, dead, waiting, requeue, purge, purge_waiting, explain'
    )
    lived.store.close()


def test_a_document_that_was_asked_for_is_the_reply(lived: Lived) -> None:
    with lived.serving():
        reply = answer({"ask": "explain", "id": session_of(TOLD)}, never, lived.core.inspect)
    assert sorted(reply) == ["gone", "samples", "samples_cut", "sessions", "shell", "windows"]
