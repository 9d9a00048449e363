"""A service with every secret that it can have, among strangers; and all that it lets anyone see."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import yaml

from tests.e2e.processes import ROOT, Started, environment_without_keys, free_port, until
from tests.exporter.scripted_hec import Answer, ScriptedHec, refusal
from tests.otlp_receiver.encode import Attributes, cpu, frame, process, request
from tests.otlp_receiver.serving import EXPORT
from tests.security.hostile import (
    BEARER_TOKENS,
    COMMAND_LINES,
    HEC_TOKEN,
    HOSTILE,
    SENTINEL,
    WRONG_TOKEN,
    as_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTDATA = Path(__file__).parents[1] / "otlp_receiver" / "testdata"
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "DEBUG"]
PAGES = ["/metrics", "/livez", "/readyz", "/coverage"]
PATHS = [
    *PAGES, "/", "", "//metrics", "/metrics/", "/metrics/../config", "/metrics%00", "/METRICS",
    "/health", "/healthz", "/config", "/config.yaml", "/env", "/.env", "/debug", "/debug/pprof/",
    "/debug/vars", "/tokens", "/debug/requests", "/actuator/env", "/api/v1/status/config", "/state",
    "/state.db", "/control.sock", "/outbox", "/events", "/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd", "/proc/self/environ", "*", "http://127.0.0.1/metrics/x", "/" + "x"
    * 70000,
]  # fmt: skip


@dataclass
class Evidence:
    """What could be seen of the service; by name where there are several."""

    log: bytes = b""
    pages: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    ps: bytes = b""
    state: dict[str, bytes] = field(default_factory=dict)
    modes: dict[str, str] = field(default_factory=dict)
    commands: dict[str, bytes] = field(default_factory=dict)
    delivered: list[dict[str, Any]] = field(default_factory=list)
    refused: list[grpc.StatusCode] = field(default_factory=list)
    status: int = -1


def secret_lines() -> list[bytes]:
    """What gives a secret away: the sentinel of tokens and passwords, the lines of the private key."""
    lines = (TESTDATA / "server.key").read_bytes().splitlines()
    return [SENTINEL, *(line for line in lines if line and not line.startswith(b"-----"))]


def hostile_node(raw: bytes) -> Attributes:
    """Names of a node."""
    return {"host.name": b"h" + raw, "k8s.cluster.name": b"c" + raw, "k8s.node.name": b"n" + raw}


def requests() -> Iterator[bytes]:
    """Shells with passwords in their command lines, and with hostile names of everything that has one."""
    frames = [
        frame(process(pid, command_line=as_bytes(line))) for pid, line in enumerate(COMMAND_LINES, start=100)
    ]
    yield request(*frames)
    for pid, text in enumerate(HOSTILE, start=1000):
        raw = as_bytes(text)
        node: Attributes = {
            "host.name": b"h" + raw,
            "k8s.cluster.name": b"c" + raw,
            "k8s.node.name": b"n" + raw,
        }
        attributes = process(pid, path=b"/bin/" + raw, owner=raw, command_line=raw)
        # ten samples without memory.utilization: that is logged, with the names of node and cluster
        yield request(*[frame(attributes, cpu(("user", 0.5)), node=node)] * 10)


def gather(folder: Path, log_format: str) -> Evidence:
    """Start the service, be a stranger to it, look everywhere, stop it."""
    evidence = Evidence()
    started = Started(folder)
    with ScriptedHec() as hec:
        hec.tokens = {HEC_TOKEN}
        said = {"text": f"{HEC_TOKEN} " + "".join(HOSTILE), "code": 9}
        hec.script += [Answer(503, said), Answer(200, b"\x1b[2J\n" + HEC_TOKEN.encode()), refusal(400, 6, 0)]
        ports = free_port(), free_port()
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(_settings(folder, log_format, hec.url, *ports)))
        command = [sys.executable, "-m", "otel_shell_detector", "serve", "--config", str(config)]
        service = started.start("service", command, environment_without_keys())
        try:
            until("the service has started", lambda: "service.started" in started.log("service"), 60)
            with _channel(ports[0]) as channel:
                evidence.refused = [_export(channel, request(), WRONG_TOKEN), _export(channel, b"\xff")]
                for body in requests():
                    _deliver(channel, body)
            shells = len(COMMAND_LINES) + len(HOSTILE)
            until("all but the refused shell is told", lambda: len(hec.indexed) >= shells - 1, 60)
            blind = "detector.memory_utilization_missing"
            until("every node is logged", lambda: started.log("service").count(blind) >= len(HOSTILE), 60)
            evidence.pages = {
                (method, path): _page(ports[1], method, path) for method in METHODS for path in PATHS
            }
            proc = Path("/proc", str(service.pid))
            if proc.exists():
                evidence.ps = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
            else:
                evidence.ps = subprocess.check_output(["ps", "eww", "-p", str(service.pid)])
            _look_at_state(folder / "state", evidence)
            for words in (
                ("outbox", "list", "--bodies"),
                ("outbox", "list", "--bodies", "--json"),
                ("check-config",),
            ):
                evidence.commands[" ".join(words)] = _command(*words, "--config", str(config))
            evidence.commands["config-reference"] = _command("config-reference")
        finally:
            started.end()
        evidence.status = service.returncode
        _look_at_state(folder / "state", evidence)
        evidence.delivered = hec.indexed
    evidence.log = (folder / "service.log").read_bytes()
    return evidence


def _settings(
    folder: Path, log_format: str, hec_url: str, receiver_port: int, http_port: int
) -> dict[str, Any]:
    def secret(name: str, content: str) -> str:
        path = folder / name
        path.write_text(content)
        path.chmod(0o600)
        return str(path)

    shutil.copyfile(TESTDATA / "server.key", folder / "server.key")
    (folder / "server.key").chmod(0o600)
    return {
        "receiver": {
            "endpoint": f"127.0.0.1:{receiver_port}",
            "bearer_token_file": secret("bearer", "\n".join(BEARER_TOKENS)),
            "tls": {"cert_file": str(TESTDATA / "server.pem"), "key_file": str(folder / "server.key")},
        },
        "http": {"endpoint": f"127.0.0.1:{http_port}"},
        "detector": {"emit": "early"},
        "exporter": {"sink": "hec", "hec": {"url": hec_url, "token_file": secret("token", HEC_TOKEN)}},
        "state": {"path": str(folder / "state")},
        "log": {"level": "debug", "format": log_format},
    }


@contextlib.contextmanager
def _channel(port: int) -> Iterator[grpc.Channel]:
    credentials = grpc.ssl_channel_credentials((TESTDATA / "ca.pem").read_bytes())
    with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
        yield channel


def _export(channel: grpc.Channel, body: bytes, token: str = BEARER_TOKENS[1]) -> grpc.StatusCode:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
    try:
        call(body, timeout=60, metadata=(("authorization", f"Bearer {token}"),))
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def _deliver(channel: grpc.Channel, body: bytes) -> None:
    """As a collector does: what is to be tried again is tried again."""
    until("a request is taken", lambda: _export(channel, body) is grpc.StatusCode.OK, 60)


def _page(port: int, method: str, path: str) -> tuple[int, bytes]:
    """Status and all the bytes of an answer, headers included."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, path or "/", skip_host=not path)
        connection.putheader("X-Hostile", "\x1b[2J", SENTINEL)
        connection.endheaders()
        reply = connection.getresponse()
        headers = "".join(f"{name}: {value}\n" for name, value in reply.getheaders())
        return reply.status, headers.encode() + reply.read()
    finally:
        connection.close()


def _look_at_state(state: Path, evidence: Evidence) -> None:
    for path in (state, *state.rglob("*")):
        mode = path.lstat().st_mode
        name = str(path.relative_to(state.parent))
        evidence.modes[name] = stat.filemode(mode)
        if stat.S_ISREG(mode):
            evidence.state[name] = evidence.state.get(name, b"") + path.read_bytes()


def _command(*words: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "otel_shell_detector", *words],
        cwd=ROOT,
        env=environment_without_keys(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
        timeout=60,
    )
    return done.stdout


def events(evidence: Evidence) -> list[dict[str, Any]]:
    """The log of a service that writes JSON."""
    return [json.loads(line) for line in evidence.log.split(b"\n")[:-1]]
