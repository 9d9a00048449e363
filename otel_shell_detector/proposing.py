"""``propose-policy``: rules that somebody may want, from captures."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from otel_shell_detector import wiring
from otel_shell_detector.hearing import Hearing
from otel_shell_detector.policies.proposal import Proposal
from otel_shell_detector.replay import Replay, feed_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_shell_detector.configuration import Settings
    from otel_shell_detector.hearing import Heard


def propose(settings: Settings, files: Sequence[Path], *, at_least: int, at_most: int) -> int:
    """Print a policy for what captures hold, as judged without any; the exit status is as of ``replay``."""
    proposal = Proposal()

    def listen(heard: Heard) -> None:
        if heard.fields is not None:
            proposal.add(heard.fields, heard.points)

    with Path(os.devnull).open("wb") as nowhere:
        run = Replay(settings, nowhere, Hearing(wiring.bench(settings), (), listen))
        status = feed_files(run, files)
        run.finish(close_sessions=False)
    sys.stdout.write(proposal.text(at_least, at_most))
    return status
