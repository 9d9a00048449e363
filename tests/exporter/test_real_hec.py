"""The HEC sink against a HEC server that we did not write: the collector's ``splunkhecreceiver``."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from detector.events import Event, Lane
from exporter.event import encode
from exporter.hec import HecSink
from exporter.lanes import PaceSettings
from exporter.settings import EventSettings, HecSettings
from tests.e2e.processes import Splunk, Started, until
from tests.exporter.findings import CLOSED, ONGOING, OPENED, told
from tests.exporter.outbox import Outbox

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "ack"])
def splunk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Splunk]:
    started = Started(tmp_path_factory.mktemp("hec"))
    try:
        yield Splunk(started, ack=request.param)
    finally:
        started.end()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"event":', "event_invalid"),
        (b'{"host":"x"}', "event_field_missing"),
        (b'{"event":""}', "event_field_blank"),
        (b'{"event":{"a":1},"fields":{"x":{"y":1}}}', "fields_invalid"),
    ],
)
def test_a_real_server_takes_all_events_but_the_bad_one(
    splunk: Splunk, tmp_path: Path, bad: bytes, reason: str
) -> None:
    """It names the one for `fields` alone, counting from 0; the others are found by bisection."""
    token = tmp_path / "token"
    token.write_text("any-will-do")
    url = f"http://127.0.0.1:{splunk.port}"
    settings = HecSettings(url, str(token), ack=splunk.ack, ack_poll_s=0.05)
    sink = HecSink(settings, time.monotonic, time.time)
    source = EventSettings(source=reason)
    good = [encode(told(finding), source) for finding in (OPENED, ONGOING, CLOSED)]
    as_risk = [Event(Lane.RISK, event.event_id, event.body) for event in good]
    outbox = Outbox(*as_risk[:2], Event(Lane.RISK, "bad", bad), as_risk[2])
    deliverer = outbox.deliverer(sink, time.monotonic, PaceSettings(floor_s=0.0, base_s=0.0))
    until("everything is settled", lambda: deliverer.turn(time.monotonic()) >= 0 and not outbox.waiting, 30)
    sink.close()
    assert outbox.dead == [("bad", reason)]
    assert sorted(outbox.done) == sorted(event.event_id for event in good)
    until("everything is written", lambda: len(splunk.envelopes(reason)) >= len(good), 30)
    assert {each["event"]["event_id"] for each in splunk.envelopes(reason)} == {
        event.event_id for event in good
    }
