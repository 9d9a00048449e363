"""Who gets in, asked of the running service: client certificates, and tokens of a real collector."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import grpc
import pytest

from tests.e2e.processes import Started, environment_without_keys, free_port, until
from tests.otlp_receiver.encode import frame, process, request
from tests.otlp_receiver.serving import EXPORT
from tests.otlp_receiver.test_tls import TESTDATA, code_of, mounted

if TYPE_CHECKING:
    from pathlib import Path

Code = grpc.StatusCode
ONE_SHELL = request(frame(process()))
_METRIC = "otel_shell_detector_receiver_"
_COLLECTOR = """
receivers:
  host_metrics: {{collection_interval: 200ms, initial_delay: 0s, scrapers: {{process: {{
    mute_process_all_errors: true, metrics: {{process.memory.utilization: {{enabled: true}}}}}}}}}}
processors:
  resource: {{attributes: [{{key: k8s.node.name, value: node-e2e, action: upsert}}]}}
extensions: {{bearertokenauth: {{filename: {token}}}}}
exporters:
  otlp_grpc:
    endpoint: 127.0.0.1:{port}
    tls: {{ca_file: {ca}}} # without TLS it sends no token
    auth: {{authenticator: bearertokenauth}}
service:
  extensions: [bearertokenauth]
  telemetry:
    logs: {{level: info, encoding: json}}
    metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {metrics}}}}}}}}}]}}
  pipelines: {{metrics: {{receivers: [host_metrics], processors: [resource], exporters: [otlp_grpc]}}}}
"""


def samples(port: int) -> dict[str, float]:
    """What a process exposes on ``/metrics``."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


class Receiver:
    """``serve`` with a receiver as it is told, that delivers to its standard output."""

    def __init__(self, started: Started, **keys: object) -> None:
        self.port, self.http = free_port(), free_port()
        all_keys = {
            "RECEIVER__ENDPOINT": f"127.0.0.1:{self.port}",
            "HTTP__ENDPOINT": f"127.0.0.1:{self.http}",
            "EXPORTER__SINK": "stdout",
            "STATE__PATH": started.folder / "state",
        } | keys
        environment = environment_without_keys()
        environment |= {f"OTEL_SHELL_DETECTOR_{key}": str(value) for key, value in all_keys.items()}
        command = [sys.executable, "-m", "otel_shell_detector", "serve"]
        self.process = started.start("service", command, environment)

        def ready() -> bool:
            assert self.process.poll() is None, started.log("service")
            return '"event": "service.started"' in started.log("service")

        until("the service has started", ready, 60)

    def count(self, name: str) -> dict[str, float]:
        """The samples of a metric of the receiver, by the value of its label."""
        found = samples(self.http)
        return {
            key.partition('="')[2].rstrip('"}'): value
            for key, value in found.items()
            if key.startswith(f"{_METRIC}{name}{{")
        }


def rewrite(path: Path, text: str) -> None:
    """As a mounted secret changes: another file takes the name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o600)
    new.replace(path)


def test_every_client_that_is_refused_by_its_certificate_is_counted_by_reason(started: Started) -> None:
    tls = mounted(started.folder, "server.pem", "server.key", "ca.pem")
    tls.key_file.chmod(0o600)
    receiver = Receiver(
        started,
        RECEIVER__TLS__CERT_FILE=tls.cert_file,
        RECEIVER__TLS__KEY_FILE=tls.key_file,
        RECEIVER__TLS__CLIENT_CA_FILE=tls.client_ca_file,
        RECEIVER__REQUIRE_AUTH="true",
    )

    def refused() -> dict[str, float]:
        time.sleep(0.2)  # a line of the log comes after the answer
        return receiver.count("tls_refused_total")

    assert refused() == {}
    assert code_of(receiver.port, "client") is Code.OK
    for client, reason in (
        ("", "no_certificate"),
        ("stranger", "certificate_untrusted"),
        ("expired", "certificate_expired"),
    ):
        before = refused().get(reason, 0)
        assert code_of(receiver.port, client) is Code.UNAVAILABLE, client
        assert refused().get(reason, 0) > before, client
    with grpc.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
        plain: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        with pytest.raises(grpc.RpcError):
            plain(ONE_SHELL, timeout=60)
    assert refused()["not_tls"] >= 1

    mounted(started.folder, "next-server.pem", "next-server.key", "next-ca.pem")
    assert code_of(receiver.port, "next-client", ca="next-ca") is Code.OK
    before = refused()["certificate_untrusted"]
    assert code_of(receiver.port, "client", ca="next-ca") is Code.UNAVAILABLE
    assert refused()["certificate_untrusted"] > before
    assert receiver.count("requests_total") == {"OK": 2}

    receiver.process.terminate()
    assert receiver.process.wait(timeout=25) == 0
    lines = [json.loads(line) for line in started.log("service").splitlines() if "event_id" not in line]
    assert [line["event"] for line in lines][-1] == "service.stopped"
    assert TESTDATA.joinpath("server.key").read_text() not in started.log("service")


@pytest.mark.peers
def test_a_real_collector_loses_nothing_in_a_rotation_of_its_token(started: Started) -> None:
    tokens, sent = started.folder / "tokens", started.folder / "sent"
    rewrite(tokens, "old\n")
    rewrite(sent, "old")
    tls = mounted(started.folder, "server.pem", "server.key")
    tls.key_file.chmod(0o600)
    receiver = Receiver(
        started,
        RECEIVER__BEARER_TOKEN_FILE=tokens,
        RECEIVER__REQUIRE_AUTH="true",
        RECEIVER__TLS__CERT_FILE=tls.cert_file,
        RECEIVER__TLS__KEY_FILE=tls.key_file,
    )
    metrics = free_port()
    started.collector(
        "collector",
        _COLLECTOR.format(token=sent, port=receiver.port, metrics=metrics, ca=TESTDATA / "ca.pem"),
    )

    def taken() -> float:
        return receiver.count("requests_total").get("OK", 0)

    def more(number: int = 10) -> None:
        target = taken() + number
        until(f"{number} more requests are taken", lambda: taken() >= target, 60)

    more()
    rewrite(tokens, "old\nnew\n")
    more()
    rewrite(sent, "new")
    more(20)
    rewrite(tokens, "new\n")
    more(20)
    assert receiver.count("refused_total") == {}
    assert set(receiver.count("requests_total")) == {"OK"}
    of_collector = samples(metrics)
    sent_points = [value for name, value in of_collector.items() if "sent_metric_points" in name]
    failed = {name: value for name, value in of_collector.items() if "send_failed" in name and value}
    assert sent_points, of_collector
    assert sum(sent_points) > 0
    assert failed == {}
    assert "Unauthenticated" not in started.log("collector")
    assert "dropp" not in started.log("collector").lower()

    # The wrong order: what the collector sends in between is dropped by it.
    rewrite(tokens, "newer\n")
    until("a request is refused", lambda: receiver.count("refused_total").get("token_wrong", 0) > 0, 60)
    until("the collector drops it", lambda: "Unauthenticated" in started.log("collector"), 60)
