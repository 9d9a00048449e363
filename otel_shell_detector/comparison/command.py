"""``compare``: the detector and the hourly search over captures, shell by shell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from otel_shell_detector.comparison import page, text
from otel_shell_detector.comparison.matching import compare
from otel_shell_detector.comparison.observing import Observer
from otel_shell_detector.replay import feed_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from otel_shell_detector.configuration import Settings


def run(settings: Settings, files: Sequence[Path], html: Path | None, *, as_json: bool) -> int:
    """Print the comparison; with ``html`` write the page too. The exit status is 1 if anything failed.

    It is 2 if the page would replace a capture: a shell expands ``--html *.json`` to that.
    """
    if html is not None and html.exists() and any(path.exists() and html.samefile(path) for path in files):
        sys.stderr.write(f"--html: got {html}, which is one of the captures; want another file\n")
        return 2
    observer = Observer(settings)
    status = feed_files(observer, files)
    found = compare(observer.finish())
    sys.stdout.write(text.as_json(found) if as_json else text.table(found))
    if html is not None:
        try:
            html.write_text(page.page(found, [str(path) for path in files]), encoding="utf-8")
        except OSError as error:
            sys.stderr.write(f"--html: {html}: {error.strerror}\n")
            return 1
    return status
