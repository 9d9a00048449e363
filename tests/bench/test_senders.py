"""The load of a fleet sends again what a collector sends again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

from bench import senders
from otlp_receiver.server import SERVICE

if TYPE_CHECKING:
    import pytest


def test_what_is_refused_for_now_is_sent_again_and_what_is_refused_for_good_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(senders, "AGAIN_S", 0.0)
    seen: list[bytes] = []

    def export(body: bytes, context: grpc.ServicerContext) -> bytes:
        seen.append(body)
        if body == b"for good":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "")
        if body == b"for now" and seen.count(body) < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "")
        return b""

    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(export)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        load = senders.Load(port, 1)
        sent = load.one_after_the_other([b"for now", b"for good", b"taken"], 3, within_s=30)
        load.close()
        server.stop(None).wait()
    found = [(each.tries, each.refused, each.ended) for each in sent]
    assert found == [(3, "UNAVAILABLE", True), (1, "INVALID_ARGUMENT", False), (1, "", True)]
    assert sorted(seen) == [b"for good", *[b"for now"] * 3, b"taken"]
