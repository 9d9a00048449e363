"""What the reader of searches refuses: a search that it passes has been looked at."""

from __future__ import annotations

import pytest

from tests.splunk.spl import SplError, expanded, read

EVENTS = frozenset({"kind", "risk_score", "event_id", "process.pid"})


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('kind="opened', "cannot read '\"opened'"),
        ('(kind="opened"', "')' is missing"),
        ('kind="opened")', "')' closes nothing"),
        ("| append [ search kind=1 )", "')' closes nothing"),
        ('kind="opened" | statz count', "no command 'statz'"),
        ('kind="opened" |', "nothing beside '|'"),
        ('knd="opened"', "no field 'knd' in search"),
        ("opened", "a bare word: 'opened'"),
        (
            "kind=1 | stats count by kind | where risk_score>0",
            "no field 'risk_score' in search | stats | where",
        ),
        ("kind=1 | stats cuont by kind", "no aggregate 'cuont'"),
        ("kind=1 | stats max(score) by kind", "no field 'score' in search | stats"),
        ("kind=1 | eval x=fllor(risk_score)", "no function 'fllor'"),
        ("kind=1 | eval x=1, y", "no assignment: y"),
        ("kind=1 | eval =1", "no assignment: ="),
        ("kind=1 | table kind, score", "no field 'score' in search | table"),
        ("kind=1 | table", "no list of fields: "),
        ("kind=1 | rename kind to sort", "rename: want as, got 'to'"),
        ("kind=1 | append x", "append: want a search in brackets"),
        ("kind=1 | collect index=risk", "collect: each further field would be indexed, and be there twice"),
        ("kind=1 | collect index=risk marker=x", "collect: want index and output_format alone"),
        ("kind=1 | transpose 5", "transpose: want column_name"),
        ("kind=1 | convert mktime(kind)", "convert: no function 'mktime'"),
        ("kind=1 | head kind", "head: want a number"),
        ("kind=1 | timechart count | table kind", "no field 'kind' in search | timechart | table"),
        (
            "| mstats avg(kind) as x where kind=1 by process.pid | table event_id",
            "no field 'event_id' in mstats | table",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, wrong: str) -> None:
    with pytest.raises(SplError) as refused:
        read(text, EVENTS)
    assert str(refused.value) == wrong


def test_a_search_that_is_right_says_what_it_compares_and_makes() -> None:
    found = read(
        '(kind="opened" OR kind IN ("closed", "burst")) _index_earliest=-24h@m earliest=-1d risk_score>0 '
        "| eval late=_indextime-_time, 'process.pid'=if(isnull(kind),1,0) | fillnull value=0 late "
        "| stats count sum(eval(if(risk_score==5,1,0))) as fives max(late) by kind process.pid "
        "| sort - count",
        EVENTS,
    )
    assert found.commands == ["search", "eval", "fillnull", "stats", "sort"]
    assert found.fields == {"count", "fives", "max(late)", "kind", "process.pid"}
    assert found.compared[:2] == [("kind", '"opened"'), ("kind", '"closed"')]


def test_macros_are_put_in_place_and_must_be_there() -> None:
    assert expanded("`a` x", {"a": "(`b`)", "b": "1"}) == "(1) x"
    with pytest.raises(SplError, match="no macro 'b'"):
        expanded("`b`", {"a": "1"})
    with pytest.raises(SplError, match="no macro 'a'"):
        expanded("`a`", {"a": "`a`"})
