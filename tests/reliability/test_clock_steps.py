"""The clock of the service, and those of nodes, are set while all run: what is told is what would be told."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import grpc
import pytest

from tests.e2e.processes import Service, Started, until
from tests.exporter.scripted_hec import Answer, ScriptedHec
from tests.otlp_receiver.encode import T0, frame, memory, process, request
from tests.otlp_receiver.serving import EXPORT
from tests.otlp_receiver.test_tls import TESTDATA, mounted
from tests.reliability import stepping
from tests.reliability.clock import SteppedClock
from tests.reliability.stepping import BEYOND_2038, DAY, KEYS, STEPS, Hec, World, play

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TOKEN = "00000000-0000-0000-0000-000000000000"
OPENED = {
    stepping.THROUGH,
    stepping.ENDED,
    *stepping.REUSED,
    stepping.WAITED,
    stepping.NEXT,
    stepping.LATER,
    stepping.BACK,
    stepping.LAST,
}
CLOSED = {stepping.ENDED, stepping.REUSED[0]}
WHILE_STEPPED = {stepping.REUSED[1], stepping.NEXT, stepping.LATER, stepping.BACK}
"""Their first sample came while the clocks of the services were not right."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    started = Started(tmp_path_factory.mktemp("clocks"))
    with ScriptedHec() as scripted:
        scripted.tokens = {TOKEN}
        made = World(started, Hec(scripted))
        try:
            play(made)
            yield made
        finally:
            made.end()
            started.end()


@pytest.mark.parametrize("service", STEPS)
def test_the_clock_was_stepped_and_service_time_was_not(world: World, service: str) -> None:
    """Else the rest proves nothing. What is read is of the last turn, which a busy machine delays."""
    lines = [json.loads(line) for line in world.services[service].log().splitlines()]
    stamps = {line["event"]: datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines[::-1]}
    stepped_s = stamps["service.stopping"] - stamps["service.started"]  # of the first of two runs
    assert STEPS[service] <= stepped_s <= STEPS[service] + 400
    readings = world.service_time[service]
    for (began_s, before_s, _), (_, after_s, ended_s) in pairwise(readings):
        assert 0 <= after_s - before_s <= ended_s - began_s + 60


@pytest.mark.parametrize("node", STEPS)
@pytest.mark.parametrize("service", STEPS)
def test_every_shell_opens_once_and_closes_if_it_ended(world: World, service: str, node: str) -> None:
    wanted = [("opened", *world.identity(shell)) for shell in OPENED]
    wanted += [("closed", *world.identity(shell)) for shell in CLOSED]
    # When the time of a node leaps by renotify, its shells are told again, for that is what they seem to be.
    told = [each for each in world.told(service, node) if each[0] != "ongoing"]
    assert told == sorted(wanted)
    ids = [each["event"]["event_id"] for each in world.hec.envelopes(service)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("service", STEPS)
def test_only_the_time_of_an_event_shows_that_the_services_clock_was_stepped(
    world: World, service: str
) -> None:
    """It is that of the sample; if by our clock that is in the future, that of its arrival."""
    assert _facts(world, service) == _facts(world, "right")
    while_stepped = {world.identity(shell) for shell in WHILE_STEPPED}
    for each in world.hec.envelopes(service):
        event = each["event"]
        assert each["time"] == pytest.approx(event["orig_time"], abs=1e-6)
        if event["k8s.node.name"] == "right" and event["kind"] != "ongoing":
            sampled = event["last_seen" if event["kind"] == "closed" else "first_seen"]
            back = STEPS[service] < 0 and World.identity_in(event) in while_stepped
            assert each["time"] == pytest.approx(sampled + back * STEPS[service], abs=20 if back else 1e-6)


def _facts(world: World, service: str) -> dict[str, dict[str, Any]]:
    events = (each["event"] for each in world.hec.envelopes(service))
    return {each["event_id"]: each | {"orig_time": 0} for each in events}


def certificate(folder: Path) -> ssl.SSLContext:
    """For localhost, signed by itself, for two days; ``hec.pem`` is what a client needs to trust it."""
    if not shutil.which("openssl"):
        pytest.fail("openssl is not installed")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-keyout", "hec.key", "-out", "hec.pem", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-addext", "keyUsage=critical,digitalSignature"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "hec.pem", folder / "hec.key")
    return context


def send(service: Service, pid: int, at_ns: int) -> None:
    """One sample of a shell, over a new connection with certificates on both sides."""
    ca, key, chain = ((TESTDATA / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem"))
    options = [("grpc.use_local_subchannel_pool", 1)]
    credentials = grpc.ssl_channel_credentials(ca, key, chain)
    with grpc.secure_channel(f"localhost:{service.port}", credentials, options) as channel:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        export(request(frame(process(pid), memory(1.0, time_ns=at_ns))), timeout=60)


def test_a_certificate_that_has_expired_by_a_wrong_clock_delays_delivery_and_loses_nothing(
    tmp_path: Path,
) -> None:
    started, clock = Started(tmp_path), SteppedClock(tmp_path / "clock")
    tls = mounted(tmp_path, "server.pem", "server.key", "ca.pem")
    tls.key_file.chmod(0o600)
    with ScriptedHec(certificate(tmp_path)) as hec:
        hec.tokens = {TOKEN}
        keys = {
            "EXPORTER__HEC__URL": hec.url,
            "EXPORTER__HEC__TLS__CA_FILE": str(tmp_path / "hec.pem"),
            "RECEIVER__TLS__CERT_FILE": str(tls.cert_file),
            "RECEIVER__TLS__KEY_FILE": str(tls.key_file),
            "RECEIVER__TLS__CLIENT_CA_FILE": str(tls.client_ca_file),
            **KEYS,
        }
        try:
            service = Service(started, "tls", Hec(hec), clock.environment, **keys)
            for pid, step in ((11, 0), (12, DAY)):
                clock.step(step)
                send(service, pid, T0)
                until(f"{pid} is told", lambda p=pid: service.opened(p), 30)  # type: ignore[misc]
            clock.step(BEYOND_2038)
            hec.script.append(Answer(raw=()))  # the connection ends; the next one begins with the certificate
            send(service, 13, T0)
            until("it has expired", lambda: '"result": "tls_failed"' in service.log(), 30)
            assert not service.opened(13)
            assert "CERTIFICATE_VERIFY_FAILED" in service.log()
            clock.step(0)
            until("the last is told", lambda: service.opened(13), 60)
            assert service.terminate() == 0
        finally:
            started.end()
        opened = [each["event"]["process.pid"] for each in hec.indexed]
        assert opened == [11, 12, 13]
