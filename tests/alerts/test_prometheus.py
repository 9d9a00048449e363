"""A real Prometheus scrapes the service: every rule and every panel has an answer, and an outage is told.

The rules are those of the chart, but for time: a minute in them is a second here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest

from tests.alerts.dashboard import Asked, asked, variables, with_variables
from tests.alerts.prometheus import Prometheus, hastened
from tests.alerts.test_rules import GROUPS, RULES
from tests.e2e.processes import ROOT, Service, Splunk, Started, until
from tests.e2e.test_shutdown import SHORT
from tests.exporter.scripted_hec import ScriptedHec
from tests.otlp_receiver.encode import frame, request
from tests.otlp_receiver.serving import EXPORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

pytestmark = [pytest.mark.peers, pytest.mark.timeout(400)]

TRIED_BY_ITSELF: Final = "OtelShellDetectorDeliveryDelayed"
NEEDS_SOMEBODY: Final = "OtelShellDetectorDeliveryPaused"
"""The two most important alerts about delivery, by the names that files/alerts.yaml gives them."""
IN_CLUSTER: Final = {"job": "sd-otel-shell-detector", "namespace": "shells", "cluster": "production"}
BARE: Final = {"job": "otel"}
"""What a Prometheus gives a target that it was told of by hand."""
MAY_BE_EMPTY: Final = {
    "ALERTS": "nothing fires",
    "otel_shell_detector_exporter_dead_letters_total": "the HEC server takes every event",
    "otel_shell_detector_core_poison_total": "that would be a defect",
    "otel_shell_detector_receiver_tls_refused_total": "the receiver is without TLS",
    "otel_shell_detector_store_damaged_rows_total": "the state is sound",
    "otel_shell_detector_state_given_way_total": "the state is far from its limit",
    "otel_shell_detector_store_failures_total": "the disk works",
}
"""Metrics without a series in a service that is well, and why."""


@dataclass
class World:
    """What runs."""

    splunk: Splunk
    service: Service
    prometheus: Prometheus

    def instance(self) -> str:
        return f"127.0.0.1:{self.service.http}"

    def answer(self, each: Asked, selected: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        return self.prometheus.query(with_variables(each.expression, selected))

    def shown(self, legend: str, metric: str) -> dict[str, float]:
        """The values of the one query with this legend about a metric, in the cluster, by lane."""
        [found] = [each for each in asked() if each.legend == legend and metric in each.expression]
        answer = self.answer(found, {"job": [IN_CLUSTER["job"]]})
        return {each["metric"]["lane"]: float(each["value"][1]) for each in answer}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    started = Started(tmp_path_factory.mktemp("prometheus"))
    try:
        splunk = Splunk(started, ack=False)
        service = Service(started, "watched", splunk, **SHORT)
        address = f"127.0.0.1:{service.http}"
        prometheus = Prometheus(started, address, [IN_CLUSTER, BARE], hastened(GROUPS))
        service.send(ROOT / "tests/captures/worker-1.pb")
        send_what_is_refused(service)
        made = World(splunk, service, prometheus)
        until("every event is delivered", lambda: delivered(made) > 0, 60)
        until("all of it was scraped twice", lambda: rate_is_known(made), 60)
        yield made
    finally:
        started.end()


def send_what_is_refused(service: Service) -> None:
    """A request that is no request, and a frame that is of no process."""
    with grpc.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        with pytest.raises(grpc.RpcError):
            export(b"\xff", timeout=30)
        export(request(frame({"process.executable.name": "bash"})), timeout=30)


def delivered(world: World) -> float:
    """How many events were, if none waits."""
    values = {}
    for name in ("exporter_events_delivered_total", "exporter_backlog_events"):
        answer = world.prometheus.query(f"sum by (job) (otel_shell_detector_{name})")
        values[name] = sum(float(each["value"][1]) for each in answer)
    return values["exporter_events_delivered_total"] * (values["exporter_backlog_events"] == 0)


def rate_is_known(world: World) -> bool:
    refused = world.prometheus.query("rate(otel_shell_detector_receiver_rejected_points_total[1m])")
    return len(refused) == len((IN_CLUSTER, BARE))


def test_prometheus_evaluates_every_rule_without_a_warning(world: World) -> None:
    until("each was evaluated", lambda: "unknown" not in world.prometheus.health().values(), 60)
    assert world.prometheus.health() == dict.fromkeys(RULES, "ok")
    for rule in RULES.values():
        world.prometheus.query(rule["expr"])


@pytest.mark.parametrize(
    "selected",
    [{}, {name: [value] for name, value in IN_CLUSTER.items()}, {"job": [BARE["job"]]}],
    ids=["all", "a release", "a job without cluster and namespace"],
)
def test_every_panel_has_an_answer(world: World, selected: Mapping[str, Sequence[str]]) -> None:
    of_instance = {**selected, "instance": [world.instance()]} if selected else selected
    empty = {each for each in asked() if not world.answer(each, of_instance)}
    surprising = {each for each in empty if not any(name in each.expression for name in MAY_BE_EMPTY)}
    assert surprising == set()


def test_a_panel_is_empty_for_a_release_that_is_not_there(world: World) -> None:
    """So each query asks for what was selected; a number of things that are wrong is 0."""
    answers = [world.answer(each, {"job": ["elsewhere"]}) for each in asked()]
    assert [each for each in answers if each and each[0]["value"][1] != "0"] == []


def test_a_bar_counts_the_event_that_its_counter_began_with(world: World) -> None:
    """`increase` would not: before that event there is no counter."""
    metric = "otel_shell_detector_exporter_events_delivered_total"
    [bars] = [each.expression for each in asked() if metric in each.expression]
    since_before = with_variables(bars.replace("$__interval", "1h"), {"job": [BARE["job"]]})
    counted = f'sum by (lane) ({metric}{{job="{BARE["job"]}"}})'
    assert world.prometheus.query(f"({since_before}) != ({counted})") == []
    assert world.prometheus.query(since_before)


def test_the_variables_offer_what_is_there(world: World) -> None:
    offered = {}
    for name, variable in variables().items():
        if name != "datasource":
            inside = variable["query"].removeprefix("label_values(").removesuffix(f", {name})")
            offered[name] = world.prometheus.values_of(name, with_variables(inside, {}))
    assert offered == {
        "cluster": ["production"],
        "namespace": ["shells"],
        "job": sorted([IN_CLUSTER["job"], BARE["job"]]),
        "instance": [world.instance()],
    }


def fires(world: World, alert: str) -> Callable[[], bool]:
    """Whether it does for the lane with scores of each target, labelled as the target is."""
    labels = {"alertname": alert, "instance": world.instance(), "lane": "risk", **RULES[alert]["labels"]}
    expected = [{**labels, **target} for target in (IN_CLUSTER, BARE)]

    def each_fires() -> bool:
        firing = world.prometheus.firing(alert)
        return all(any(one.items() <= each.items() for each in firing) for one in expected)

    return each_fires


def fires_not(world: World, alert: str) -> Callable[[], bool]:
    return lambda: world.prometheus.firing(alert) == []


def test_an_outage_of_splunk_is_told_while_it_lasts_and_not_longer(world: World) -> None:
    """First nobody listens, then somebody who refuses the token, then Splunk as it was."""
    for alert in (TRIED_BY_ITSELF, NEEDS_SOMEBODY):
        assert world.prometheus.firing(alert) == []

    world.splunk.kill()
    world.service.send(ROOT / "tests/captures/worker-4.pb")
    until("it is told that nothing gets through", fires(world, TRIED_BY_ITSELF), 90)
    assert world.shown("{{lane}}", "exporter_backlog_events")["risk"] > 0
    assert world.shown("{{lane}}", "exporter_lane_state")["risk"] == 1
    [alerts] = [each for each in asked() if "ALERTS{" in each.expression]
    names = {each["metric"]["alertname"] for each in world.answer(alerts, {"job": [IN_CLUSTER["job"]]})}
    assert TRIED_BY_ITSELF in names

    with ScriptedHec(port=world.splunk.port):  # it knows another token
        until("it is told that somebody is needed", fires(world, NEEDS_SOMEBODY), 120)
        assert world.shown("{{lane}}", "exporter_lane_state")["risk"] >= 2

    world.splunk.start()
    for alert in (TRIED_BY_ITSELF, NEEDS_SOMEBODY):
        until(f"{alert} resolves", fires_not(world, alert), 120)
    assert world.shown("{{lane}}", "exporter_backlog_events")["risk"] == 0
    until("the three shells arrive", lambda: len(world.service.events("opened")) == 3, 30)
