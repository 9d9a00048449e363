"""How the C library deals with memory that is free again.

glibc takes each large piece from the kernel by itself, and gives it and the free end of a heap back as soon
as it can (``mallopt(3)``). A request of 600 kB passes through several buffers of its size, so the pages of
each would be taken, cleared and mapped anew: a hundred page faults for a request. So more is kept, in fewer
heaps, which bounds what is kept.
"""

from __future__ import annotations

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1  # malloc.h: M_TRIM_THRESHOLD
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8

_SETTINGS: Final = {
    _TRIM_THRESHOLD: 8 << 20,  # what may be free at the end of a heap
    _MMAP_THRESHOLD: 4 << 20,  # the size from which a piece is the kernel's: few collectors send as much
    _ARENA_MAX: 4,
}


def keep_memory() -> bool:
    """Have more of the free memory kept; whether the C library can. Before another thread starts."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    taken = [mallopt(name, value) == 1 for name, value in _SETTINGS.items()]
    return all(taken)
