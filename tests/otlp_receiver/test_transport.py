"""Who may call, and over what: tokens, health, the port."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from otlp_receiver.auth import TokensUnreadable
from otlp_receiver.server import SERVICE, CannotListen, Server
from tests.otlp_receiver.captures import BY_NAME
from tests.otlp_receiver.encode import frame, process, request
from tests.otlp_receiver.serving import EXPORT, SETTINGS, Answered, Sink, answered, half_open, moved, serving

if TYPE_CHECKING:
    from pathlib import Path

Code = grpc.StatusCode
ONE_SHELL = request(frame(process()))


def export(channel: grpc.Channel, method: str = EXPORT) -> bytes:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    return call(ONE_SHELL, timeout=60)


# --- credentials


def test_without_a_valid_token_nothing_is_taken(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("first\nsecond\n")

    def bearer(token: str) -> dict[str, object]:
        return {"metadata": (("authorization", f"Bearer {token}"),)}

    refused = Answered(Code.UNAUTHENTICATED, "want a valid bearer token in the metadata")
    with moved() as changes, serving(bearer_token_file=tokens) as running:
        assert running.export(ONE_SHELL) == refused
        assert running.export(ONE_SHELL, **bearer("third")) == refused
        assert running.export(ONE_SHELL, **bearer("first")) == Answered(Code.OK)
        assert running.export(ONE_SHELL, **bearer("second")) == Answered(Code.OK)
        tokens.write_text("second\nthird\n")
        assert running.export(ONE_SHELL, **bearer("first")) == refused
        assert running.export(ONE_SHELL, **bearer("third")) == Answered(Code.OK)
    assert changes["requests_total UNAUTHENTICATED"] == 3
    assert (changes["refused_total token_missing"], changes["refused_total token_wrong"]) == (1, 2)
    assert len(running.sink.taken) == 3


def test_credentials_are_asked_before_the_body_is_received(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("first\n")
    released = threading.Event()
    with serving(bearer_token_file=tokens) as running:
        assert running.stream(half_open(released)).code is Code.UNAUTHENTICATED
        released.set()


def test_a_server_without_a_readable_token_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(TokensUnreadable):
        Server(replace(SETTINGS, bearer_token_file=tmp_path / "absent"), BY_NAME, Sink())


# --- the transport


def test_health_is_told_of_the_server_and_of_its_service() -> None:
    Status = health_pb2.HealthCheckResponse  # noqa: N806  # a class
    with serving() as running:
        health: Any = health_pb2_grpc.HealthStub(running.channel)

        def status(service: str) -> int:
            response: health_pb2.HealthCheckResponse = health.Check(
                health_pb2.HealthCheckRequest(service=service)
            )
            return response.status

        assert (status(""), status(SERVICE)) == (Status.SERVING, Status.SERVING)
        running.server.drain()
        assert (status(""), status(SERVICE)) == (Status.NOT_SERVING, Status.NOT_SERVING)


def test_other_methods_are_unimplemented() -> None:
    with serving() as running:
        with pytest.raises(grpc.RpcError) as other:
            export(running.channel, "/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        assert answered(other.value).code is Code.UNIMPLEMENTED


def test_a_taken_port_is_named() -> None:
    with serving() as running:
        endpoint = f"127.0.0.1:{running.server.port}"
        second = Server(replace(SETTINGS, endpoint=endpoint), BY_NAME, Sink())
        with pytest.raises(CannotListen) as error:
            second.start()
        assert str(error.value) == f"{endpoint}: cannot be bound: want a free host:port of this machine"
        second.stop(0)
