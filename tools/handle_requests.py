"""Reads and feeds the requests of a folder: what ``tools/count_instructions.py`` counts.

    handle_requests.py FOLDER OFTEN

Its own file, for it runs with the packages of the checkout that is counted (``PYTHONPATH``).
"""

import sys
from pathlib import Path

from detector.detector import Detector
from detector.rules import Rules
from detector.types import Arrival
from exporter.redaction import Redactor
from otlp_receiver.reading import read_request
from otlp_receiver.selection import Selection

SCRAPE_NS = 10_000_000_000


def handle(folder: Path, often: int) -> None:
    """Handle requests ``0`` to ``often - 1``, a scrape apart, in order."""
    selection = Selection(("sh", "bash", "csh", "tcsh"), Redactor(()).clean)
    detector = Detector(Rules())
    for number in range(often):
        now_ns = number * SCRAPE_NS
        for record in read_request((folder / str(number)).read_bytes(), selection, detector).records:
            detector.unknown(record)
            detector.is_vital(record)
            detector.feed(Arrival(record, now_ns, now_ns))
        detector.advance(now_ns)
        detector.take_step()


if __name__ == "__main__":
    handle(Path(sys.argv[1]), int(sys.argv[2]))
