"""Free memory is kept for the next request."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_shell_detector.allocator import keep_memory

if TYPE_CHECKING:
    from collections.abc import Callable

FAULTS = """
import ctypes, resource, sys
from otel_shell_detector.allocator import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
def use():
    pieces = [ctypes.c_void_p(libc.malloc(600_000)) for _ in range(4)]
    for piece in pieces:
        ctypes.memset(piece, 1, 600_000)
    for piece in pieces:
        libc.free(piece)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Page faults of 20 times four buffers of a request's size."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], env=dict(os.environ), capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is missing: this is no Linux")
def test_the_pages_of_a_request_are_taken_from_the_kernel_once() -> None:
    assert faults("keep") < 100
    assert faults("leave") > 1000


def without_mallopt(_name: None) -> object:
    return object()


def without_library(_name: None) -> object:
    raise OSError("no such library")


@pytest.mark.parametrize("load", [without_mallopt, without_library])
def test_another_c_library_is_left_as_it_is(
    load: Callable[[None], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", load)
    assert not keep_memory()
