"""What a session costs in memory, beside its own text."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace

import pytest

from detector.detector import Detector
from detector.rules import Rules
from detector.types import NANOSECONDS, Arrival, Record
from tests.detector.world import HOST, NODE, cpu, memory, ns, sample

SESSIONS = 100
SCRAPES = 365  # a whole replay horizon, so that the memory of bins is as large as it gets


def of_the_detector() -> int:
    """Bytes that it and this test hold; threads that other tests left behind allocate too."""
    ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/detector/*")])
    return sum(trace.size for trace in ours.traces)


@pytest.mark.unmeasured
@pytest.mark.timeout(300)
def test_an_open_session_takes_at_most_a_kibibyte_beside_its_text_and_open_windows() -> None:
    """Busy shells, told for 40 windows each; the texts are shared here, as they are not counted."""
    rules = Rules(renotify_ns=60 * NANOSECONDS)
    texts = sample(0)
    tracemalloc.start()
    detector = Detector(rules)
    before = of_the_detector()
    for scrape in range(SCRAPES):
        at = 5.0 + 10 * scrape
        samples = tuple(
            replace(
                texts,
                host=HOST,
                pid=10_000 + number,
                start_ns=ns(-number),
                time_ns=ns(at),
                points=(*cpu(at, 0.1 + number / 1e5, 0.01 * (scrape + 1)), *memory(at, 0.01 + number / 1e6)),
            )
            for number in range(SESSIONS)
        )
        detector.feed(Arrival(Record(NODE, samples, (ns(at),)), round(at * NANOSECONDS), ns(at)))
        detector.take_step()
        del samples
    detector.advance(round((5 + 10 * SCRAPES + 20) * NANOSECONDS))
    detector.take_step()
    gc.collect()
    per_session = (of_the_detector() - before) / SESSIONS
    tracemalloc.stop()
    assert detector.open_sessions() == SESSIONS
    print(f"\n{per_session:.0f} bytes for each open session")  # noqa: T201  the measured figure
    assert per_session <= 1024
