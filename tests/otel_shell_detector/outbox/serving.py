"""What a running service does for ``outbox``, in the command's process."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING

from otel_shell_detector import logs
from otel_shell_detector.configuration import LogSettings
from otel_shell_detector.control import ControlServer
from tests.otel_shell_detector.filled import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.seams import Store


@contextmanager
def served(store: Store, folder: Path) -> Iterator[ControlServer]:
    """What a running service does for the command."""
    logs.configure(LogSettings(), io.StringIO())
    server = ControlServer(folder, Owner(store))
    server.start()
    try:
        yield server
    finally:
        server.stop()
        store.close()
