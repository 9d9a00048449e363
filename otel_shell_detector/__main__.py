"""``python -m otel_shell_detector``, which is the same as the console script."""

import sys

from otel_shell_detector.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
