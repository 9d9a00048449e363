"""The OTLP sink against a collector that we did not write, with a HEC server behind it.

What the collector makes of HEC's answers is what ``docs/delivery.md`` says of INTERNAL and UNAVAILABLE.
"""

import json
from collections.abc import Iterator

import pytest

from detector.events import Lane
from exporter.event import encode
from exporter.lanes import PaceSettings
from exporter.otlp import OtlpSink
from exporter.settings import EventSettings, Layout, OtlpSettings
from exporter.sink import Directive
from tests.e2e.processes import Gateway, Started
from tests.exporter.findings import CLOSED, ONGOING, OPENED, told
from tests.exporter.outbox import Clock, Outbox, queue, run
from tests.exporter.scripted_hec import Answer, ScriptedHec, refusal

pytestmark = pytest.mark.peers

EVENTS = [encode(told(finding), EventSettings()) for finding in (OPENED, ONGOING, CLOSED)]
FIELDS = [json.loads(event.body)["event"] for event in EVENTS]


@pytest.fixture(scope="module")
def splunk() -> Iterator[ScriptedHec]:
    with ScriptedHec() as splunk:
        splunk.tokens = {"00000000-0000-0000-0000-000000000000"}
        yield splunk


@pytest.fixture(scope="module")
def gateway(splunk: ScriptedHec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    started = Started(tmp_path_factory.mktemp("gateway"))
    try:
        yield Gateway(started, splunk.port)
    finally:
        started.end()


@pytest.fixture(autouse=True)
def forgetful(splunk: ScriptedHec) -> None:
    splunk.indexed.clear()
    splunk.script.clear()


def deliver(sink: OtlpSink) -> None:
    """Deliver the three events, one in the risk lane and two in the context lane."""
    clock = Clock()
    outbox = Outbox(*EVENTS)
    deliverer = outbox.deliverer(sink, clock, PaceSettings(floor_s=0.0, base_s=0.0))
    run(deliverer, clock, lambda: not outbox.waiting, turns=50)
    sink.close()
    assert outbox.dead == []


def test_splunk_is_sent_the_envelope_and_the_bytes_of_the_event(
    splunk: ScriptedHec, gateway: Gateway
) -> None:
    deliver(OtlpSink(OtlpSettings(gateway.url)))
    assert len(splunk.indexed) == 3
    by_id = {json.loads(each["event"])["event_id"]: each for each in splunk.indexed}
    for event, fields in zip(EVENTS, FIELDS, strict=True):
        envelope = json.loads(event.body)
        text = event.body.partition(b'"event":')[2][:-1].decode()
        scored = event.lane is Lane.RISK
        assert by_id[event.event_id] == {
            **envelope,
            "time": pytest.approx(envelope["time"], abs=1e-6),
            "event": text,
            "fields": {
                "otel.log.name": f"otel_shell_detector.{fields['kind']}",
                "otel.log.severity.text": "WARN" if scored else "INFO",
                "otel.log.severity.number": 13 if scored else 9,
            },
        }


def test_attributes_become_indexed_fields(splunk: ScriptedHec, gateway: Gateway) -> None:
    deliver(OtlpSink(OtlpSettings(gateway.url, fields=Layout.ATTRIBUTES)))
    by_id = {each["fields"]["event_id"]: each for each in splunk.indexed}
    for event, fields in zip(EVENTS, FIELDS, strict=True):
        envelope = by_id[event.event_id]
        # a field is the host of the envelope, for the exporter takes that from attributes too
        expected = {name: value for name, value in fields.items() if name != "host.name"}
        found = {
            name: value for name, value in envelope["fields"].items() if not name.startswith("otel.log.")
        }
        assert found == expected
        assert (envelope["host"], envelope["event"]) == (fields["host.name"], fields["risk_message"])


def test_what_came_although_its_answer_was_lost_comes_again_with_its_id_and_its_bytes(
    splunk: ScriptedHec, gateway: Gateway
) -> None:
    splunk.script.append(Answer(takes=1, raw=[]))
    deliver(OtlpSink(OtlpSettings(gateway.url)))
    texts = [each["event"] for each in splunk.indexed]
    assert len(texts) == 4
    assert len(set(texts)) == 3


@pytest.mark.parametrize(
    ("answer", "label", "directive"),
    [
        (refusal(400, 7), "internal", Directive.PAUSE_LANE),
        (refusal(400, 6), "internal", Directive.PAUSE_LANE),
        (refusal(401, 2), "internal", Directive.PAUSE_LANE),
        (refusal(403, 4), "internal", Directive.PAUSE_LANE),
        (refusal(503, 9), "unavailable", Directive.RETRY),
        (Answer(429, b""), "unavailable", Directive.RETRY),
        (Answer(404, b""), "unavailable", Directive.RETRY),
        (Answer(413, b""), "unavailable", Directive.RETRY),
        (Answer(500, b""), "unavailable", Directive.RETRY),
    ],
)
def test_what_splunk_refuses_is_kept(
    splunk: ScriptedHec, gateway: Gateway, answer: Answer, label: str, directive: Directive
) -> None:
    splunk.script.append(answer)
    sink = OtlpSink(OtlpSettings(gateway.url))
    delivery = sink.send(Lane.RISK, queue(3))
    sink.close()
    assert (delivery.outcomes, delivery.result, delivery.directive) == ((), label, directive)
