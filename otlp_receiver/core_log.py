"""Why TLS handshakes fail, read from the log of gRPC's C core, for it is told nowhere else.

The C core shakes hands by itself. A client that is refused there never becomes a call, Python has no
callback for it, and the core's own counter of handshakes cannot be reached from Python (grpcio 1.85). What
there is, is one log line for each failed handshake, with OpenSSL's reason and without the peer, at the level
that ``GRPC_VERBOSITY=INFO`` shows. The core writes to file descriptor 2 and to nothing else. So:

- :func:`diverted` puts a pipe in the place of descriptor 2 and asks for that level. It must come before gRPC
  is loaded, and costs one thread. It is for a receiver with TLS alone: others have nothing to count.
- The thread counts the lines that tell of a failed handshake, drops the core's other lines below FATAL,
  which are not shown without it either, and writes everything else where it was meant to go, byte by byte.
- It logs nothing itself: its own line would come back to it, and wait for it if the pipe is full.

What this costs: text that a dying process writes last may die in the pipe. Therefore ``faulthandler`` writes
past it, and leaving :func:`diverted` waits until all was passed on. Someone who sets ``GRPC_VERBOSITY`` wants
to read the core's log: then all of it is passed on. A client that goes away in the middle of a handshake
leaves no line; it is in ``receiver_tls_handshakes`` alone.
"""

from __future__ import annotations

import faulthandler
import os
import re
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

VERBOSITY: Final = "GRPC_VERBOSITY"
HIDDEN: Final = "NONE"
"""The level of a service whose operator set none."""

_STDERR: Final = 2
_LONGEST_LINE: Final = 64 * 1024
_OF_THE_CORE: Final = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \w+\.cc:\d+\] (?P<text>.*)", re.DOTALL
)
_FAILED: Final = b"Handshake failed with error "
_REASONS: Final = (
    (b"PEER_DID_NOT_RETURN_A_CERTIFICATE", "no_certificate"),
    (b"certificate has expired", "certificate_expired"),
    (b"certificate is not yet valid", "certificate_not_yet_valid"),
    (b"CERTIFICATE_VERIFY_FAILED", "certificate_untrusted"),
    (b"UNSUPPORTED_PROTOCOL", "tls_too_old"),
    (b"HTTP_REQUEST", "not_tls"),
    (b"WRONG_VERSION_NUMBER", "not_tls"),
    (b"_ALERT_", "refused_by_client"),
)
"""The first that is in the line decides."""


def handshake_reason(line: bytes) -> str:
    """Why a handshake failed, if a line of the core's log tells of one; else empty."""
    core = _OF_THE_CORE.match(line)
    if core is None or not core["text"].startswith(_FAILED):
        return ""
    return next((reason for text, reason in _REASONS if text in line), "other")


@contextmanager
def diverted(descriptor: int = _STDERR) -> Iterator[None]:
    """Read what is written to ``descriptor`` while the block runs, as this module tells."""
    asked = os.environ.get(VERBOSITY)
    hide = asked in {None, HIDDEN}
    if hide:
        os.environ[VERBOSITY] = "INFO"
    real = os.dup(descriptor)
    reading, writing = os.pipe()
    os.dup2(writing, descriptor)
    os.close(writing)
    faulthandler.enable(real)
    thread = threading.Thread(target=_pass_on, args=(reading, real, hide), name="grpc-core-log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        faulthandler.disable()
        os.dup2(real, descriptor)  # the pipe's last writer is gone: the thread comes to its end
        thread.join()
        os.close(real)
        # Or whatever this process starts later would write the core's lines to its own standard error.
        if asked is None:
            del os.environ[VERBOSITY]
        else:
            os.environ[VERBOSITY] = asked


def _pass_on(reading: int, real: int, hide: bool) -> None:  # noqa: FBT001  # an argument of a thread
    with os.fdopen(reading, "rb") as lines:
        while line := lines.readline(_LONGEST_LINE):
            reason = handshake_reason(line)
            if reason:
                metrics.RECEIVER_TLS_REFUSED.labels(reason).inc()
            if not (hide and _OF_THE_CORE.match(line)):
                # Whoever reads standard error may be gone. That must not stop those who write to it.
                with suppress(OSError):
                    while line:
                        line = line[os.write(real, line) :]  # what is left of it
