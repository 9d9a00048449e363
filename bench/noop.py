"""The least that a gRPC server can do: it receives what is exported, and says OK.

    python -m bench.noop PORT [CERTIFICATE KEY]

It is made as the receiver is, synchronous, with raw bytes, as many workers and the same limits, and differs
in one thing: gRPC inflates for it, as it does unless told otherwise.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from otlp_receiver.server import SERVICE, ServerSettings, channel_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def export(messages: Iterator[bytes], _: grpc.ServicerContext) -> bytes:
    """Take all that is sent."""
    for _message in messages:
        pass
    return b""


def serve(port: int, certificate: Sequence[Path]) -> None:
    """Serve until the process is ended."""
    settings = ServerSettings()
    arguments = [each for each in channel_arguments(settings) if each[0] != "grpc.per_message_decompression"]
    server = grpc.server(ThreadPoolExecutor(settings.workers), options=arguments)
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(export)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": handler}),))
    if certificate:
        chain, key = (path.read_bytes() for path in certificate)
        server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([(key, chain)]))
    else:
        server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(int(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
