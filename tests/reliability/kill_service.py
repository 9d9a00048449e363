"""``serve`` that checkpoints a node after half a second, not a minute: nobody lives that long here.

python -m tests.reliability.kill_service
"""

import sys
from typing import Final

from otel_shell_detector import checkpoints
from otel_shell_detector.cli import main

EVERY_NS: Final = 500_000_000

if __name__ == "__main__":
    checkpoints.EVERY_NS = EVERY_NS  # type: ignore[misc]  # final for everyone else
    sys.exit(main(["serve"]))
