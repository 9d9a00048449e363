"""A scripted HEC server, a scripted collector, a token for it, and log events to look at."""

import os
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from exporter.hec import HecSink
from exporter.settings import HecSettings
from tests.exporter.outbox import Clock
from tests.exporter.scripted_hec import TOKEN, ScriptedHec
from tests.exporter.scripted_otlp import ScriptedOtlp

WALL_S = 1_795_488_000.0


@pytest.fixture
def server() -> Iterator[ScriptedHec]:
    with ScriptedHec() as server:
        yield server


@pytest.fixture
def collector() -> Iterator[ScriptedOtlp]:
    with ScriptedOtlp() as collector:
        yield collector


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture
def hec(server: ScriptedHec, token_file: Path, clock: Clock) -> Iterator[Callable[..., HecSink]]:
    """Make a sink for the server; keywords are settings."""
    made = []

    def make(**settings: Any) -> HecSink:
        ticking, wall = settings.pop("clock", clock), settings.pop("wall", lambda: WALL_S)
        settings = {"url": server.url, "token_file": str(token_file), "request_timeout_s": 30.0, **settings}
        made.append(HecSink(HecSettings(**settings), ticking, wall))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem and, signed by it, server.pem for localhost; a stranger.pem; made by the openssl command."""
    if not shutil.which("openssl"):
        if os.environ.get("CI") == "true":
            pytest.fail("openssl is not installed")
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "stranger"):
        openssl(
            *("req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2"),
            *("-subj", f"/CN=Test {name}", "-addext", "keyUsage=critical,keyCertSign"),
        )
    (directory / "extensions").write_text("subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\n")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    openssl(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-out", "server.crt", "-days", "2", "-extfile", "extensions"),
    )
    (directory / "server.pem").write_text(
        (directory / "server.key").read_text() + (directory / "server.crt").read_text()
    )
    return directory


@pytest.fixture
def tls_server(authority: Path) -> Iterator[ScriptedHec]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem")
    with ScriptedHec(context) as server:
        yield server
