import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.events import Lane
from exporter.lanes import MOVES, Lanes, Pace, PaceSettings, Phase, step
from exporter.sink import Delivery, Directive

SETTINGS = PaceSettings()
READY, BACKOFF, PAUSED = Phase.READY, Phase.BACKOFF, Phase.PAUSED
D = Directive


def answer(directive: Directive, tried: int = 100, after_s: float | None = None) -> Delivery:
    return Delivery((), directive, "label", after_s, tried)


@pytest.mark.parametrize(
    ("before", "directive", "expected"),
    [
        (Pace(100), D.PROCEED, Pace(200)),
        (Pace(800), D.PROCEED, Pace(1000)),
        (Pace(100, BACKOFF, 5.0, 7), D.PROCEED, Pace(200)),
        (Pace(100), D.REFUSED, Pace(100, READY, 0.0, 1)),
        (Pace(100, READY, 0.0, 12), D.REFUSED, Pace(100, BACKOFF, 10.25, 13)),
        (Pace(1000), D.SPLIT, Pace(50, READY, 0.0, 1)),
        (Pace(1), D.SPLIT, Pace(1, READY, 0.0, 1)),
        (Pace(40, BACKOFF, 1.0, 12), D.SPLIT, Pace(20, BACKOFF, 10.25, 13)),
        (Pace(1000), D.RETRY, Pace(50, BACKOFF, 10.25, 1)),
        (Pace(1), D.RETRY, Pace(1, BACKOFF, 10.25, 1)),
        (Pace(100), D.PAUSE_LANE, Pace(100, PAUSED, 10.25, 1)),
        (Pace(100, PAUSED, 5.0, 4), D.PAUSE_LANE, Pace(100, PAUSED, 10.25, 5)),
        (Pace(100), D.PAUSE_SINK, Pace(100, PAUSED, 10.25, 1)),
    ],
)
def test_each_answer_moves_a_pace(before: Pace, directive: Directive, expected: Pace) -> None:
    """Jitter 0: the wait is the floor."""
    assert step(before, answer(directive), 10.0, 0.0, SETTINGS) == expected


def test_every_directive_has_a_move() -> None:
    assert MOVES.keys() == set(Directive)


@pytest.mark.parametrize(
    ("failures", "longest"), [(0, 1.0), (1, 2.0), (2, 4.0), (5, 32.0), (6, 60.0), (40, 60.0), (100_000, 60.0)]
)
def test_the_wait_grows_to_a_cap(failures: int, longest: float) -> None:
    pace = step(Pace(1, failures=failures), answer(D.RETRY), 0.0, 1.0, SETTINGS)
    assert pace.until == longest


@pytest.mark.parametrize(
    ("after_s", "expected"), [(None, 0.25), (0.0, 0.25), (7.0, 7.0), (300.0, 300.0), (1e9, 300.0)]
)
def test_what_the_receiver_asks_for_is_honoured_up_to_a_bound(after_s: float | None, expected: float) -> None:
    assert step(Pace(1), answer(D.RETRY, after_s=after_s), 0.0, 0.0, SETTINGS).until == expected


def test_a_probe_is_one_event_and_not_before_its_time() -> None:
    lanes = Lanes(SETTINGS)
    lanes.answered(Lane.RISK, answer(D.PAUSE_LANE), 10.0, 0.0)
    assert [lanes.allowance(Lane.RISK, now) for now in (10.0, 10.2, 10.25)] == [0, 0, 1]
    assert (lanes.phase(Lane.RISK), lanes.until(Lane.RISK)) == (PAUSED, 10.25)
    assert lanes.allowance(Lane.CONTEXT, 10.0) == 1000


def test_a_paused_sink_pauses_every_lane_and_one_probe_serves_all() -> None:
    lanes = Lanes(SETTINGS)
    lanes.answered(Lane.AUDIT, answer(D.PAUSE_SINK), 10.0, 0.0)
    assert {lanes.phase(lane) for lane in Lane} == {PAUSED}
    assert [lanes.allowance(lane, 10.2) for lane in Lane] == [0, 0, 0]
    assert [lanes.allowance(lane, 10.25) for lane in Lane] == [1, 1, 1]
    lanes.answered(Lane.RISK, answer(D.PAUSE_SINK), 10.25, 0.5)
    assert [lanes.allowance(lane, 11.0) for lane in Lane] == [0, 0, 0]
    lanes.answered(Lane.RISK, answer(D.PROCEED), 20.0, 0.0)
    assert [lanes.allowance(lane, 20.0) for lane in Lane] == [1000, 1000, 1000]


def test_trouble_of_transport_does_not_end_a_pause_of_the_sink_but_any_answer_does() -> None:
    for directive in Directive:
        lanes = Lanes(SETTINGS)
        lanes.answered(Lane.RISK, answer(D.PAUSE_SINK), 0.0, 0.0)
        lanes.answered(Lane.RISK, answer(directive), 1.0, 0.0)
        still = directive in {D.RETRY, D.PAUSE_SINK}
        assert (lanes.phase(Lane.CONTEXT) is PAUSED) == still


def test_a_lane_with_a_wrong_index_found_by_the_probe_of_the_sink_stays_paused_alone() -> None:
    lanes = Lanes(SETTINGS)
    lanes.answered(Lane.RISK, answer(D.PAUSE_SINK), 0.0, 0.0)
    lanes.answered(Lane.RISK, answer(D.PAUSE_LANE, 1), 1.0, 0.0)
    assert [lanes.phase(lane) for lane in Lane] == [PAUSED, READY, READY]


def test_an_acknowledgement_alone_does_not_say_how_the_receiver_fares() -> None:
    lanes = Lanes(SETTINGS)
    lanes.answered(Lane.RISK, answer(D.RETRY), 0.0, 0.0)
    lanes.answered(Lane.RISK, answer(D.PROCEED, tried=0), 1.0, 0.0)
    assert lanes.phase(Lane.RISK) is BACKOFF


@given(
    st.lists(st.tuples(st.sampled_from(Lane), st.sampled_from(Directive), st.integers(0, 1000))),
    st.floats(0, 1, exclude_max=True),
)
def test_a_lane_is_never_asked_more_than_its_bound_and_always_again_one_day(
    answers: list[tuple[Lane, Directive, int]], jitter: float
) -> None:
    lanes, now = Lanes(SETTINGS), 0.0
    for lane, directive, tried in answers:
        now = max(now, lanes.until(lane))
        assert 1 <= lanes.allowance(lane, now) <= SETTINGS.batch_limit
        lanes.answered(lane, answer(directive, tried), now, jitter)
        assert lanes.until(lane) <= now + SETTINGS.cap_s


@given(st.lists(st.sampled_from([d for d in Directive if d is not D.PROCEED]), min_size=20), st.floats(0, 1))
def test_whatever_is_answered_short_of_success_attempts_are_bounded(
    directives: list[Directive], jitter: float
) -> None:
    """With the least jitter: no more than the grace at once, and then one for each floor of time."""
    lanes, now = Lanes(SETTINGS), 0.0
    for directive in directives:
        now = max(now, lanes.until(Lane.RISK))
        lanes.answered(Lane.RISK, answer(directive), now, min(jitter, 0.999))
    # A refusal ends a pause of the sink, so grace is spent per lane, once.
    free = SETTINGS.grace + directives.count(D.PAUSE_SINK)
    assert now >= (len(directives) - free - 1) * SETTINGS.floor_s - 1e-6
