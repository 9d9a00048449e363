"""What an explanation looks at in a service, or in the state that one left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.detector import Detector
    from otel_shell_detector.bench import Bench
    from store.seams import Store

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Inside:
    """Everything that decides, at a service time and a wall time. It is looked at, not used."""

    store: Store
    detector: Detector
    bench: Bench
    now_ns: int
    wall_ns: int


class Inspect(Protocol):
    """Runs a look at the inside in the thread that owns it, and gives what it returns.

    Nothing else is done there meanwhile, so each look is a short one. It raises nothing but
    :class:`store.seams.StoreError`, for anything else would end that thread.
    """

    def __call__(self, work: Callable[[Inside], _Answer], /) -> _Answer:
        """Run it. Raises what the work raises, and what says that nothing can be reached."""
        ...
