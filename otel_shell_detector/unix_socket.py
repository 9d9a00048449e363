"""Unix stream sockets at a path of any length.

The kernel takes 107 bytes of path (``sun_path``), and state directories are longer at times: those of tests,
of volumes in a container. On Linux the directory's descriptor stands for them then.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LONGEST: Final = 107 if sys.platform == "linux" else 103
"""Bytes of a path that the kernel takes; 104 with the terminating zero on macOS and the BSDs."""


@contextlib.contextmanager
def address(path: Path) -> Iterator[str]:
    """What to bind or connect to, good while the context lasts. Raises :class:`OSError`."""
    plain = os.fspath(path)
    if len(os.fsencode(plain)) <= _LONGEST:
        yield plain
        return
    if sys.platform != "linux":
        raise OSError(f"{path}: a socket's path may have {_LONGEST} bytes here; want a shorter state.path")
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listen(path: Path, backlog: int) -> socket.socket:
    """A socket that listens at ``path``, mode 0600 from its first moment. Raises :class:`OSError`.

    The directory must be ours alone. What is there already is replaced if it is a socket.
    """
    if path.is_socket():
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Linux gives the file the mode of the descriptor. An umask would be that of every thread. Where a
        # socket has no mode to change, the directory keeps others away until the next chmod.
        with contextlib.suppress(OSError):
            os.fchmod(listener.fileno(), 0o600)
        with address(path) as where:
            listener.bind(where)
        path.chmod(0o600)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def connect(path: Path, timeout_s: float) -> socket.socket:
    """A connection to who listens at ``path``. Raises :class:`OSError`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        with address(path) as where:
            connection.connect(where)
    except BaseException:
        connection.close()
        raise
    return connection
