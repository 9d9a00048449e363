"""Coverage-guided fuzzing of what strangers send: ``wire``, ``decode`` and the way between them.

Takes libFuzzer's arguments; ``make fuzz`` gives them. What must hold of every request stands in
:mod:`fuzz.oracle`.
"""

from __future__ import annotations

import shlex
import sys

# Before the code under test, which must be imported while atheris watches.
import atheris

with atheris.instrument_imports(include=["otlp_receiver"], enable_loader_override=False):
    from otlp_receiver import reading  # noqa: F401  # to be instrumented

from fuzz.mutation import mutate
from fuzz.oracle import SELECTIONS, check


def _one(body: bytes) -> None:
    check(body, SELECTIONS[len(body) % len(SELECTIONS)])


def _mutated(body: bytes, max_size: int, seed: int) -> bytes:
    return mutate(body, lambda part: atheris.Mutate(part, max_size), seed)[:max_size]


if __name__ == "__main__":
    # libFuzzer starts itself again to merge a corpus, by this line, for the shell.
    itself = f"{shlex.quote(sys.executable)} -m fuzz.requests"
    atheris.Setup([itself, *sys.argv[1:]], _one, custom_mutator=_mutated)
    atheris.Fuzz()
