"""Every log event, declared once: a stable name, a level and a meaning. Fields are key-values, never prose, never a secret."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import structlog


@dataclass(frozen=True, slots=True)
class LogEvent:
    """A log event. Calling it writes one line with the given fields."""

    name: str
    level: int
    meaning: str

    def __call__(self, **fields: object) -> None:
        """Write the event. A field's value is anything JSON can show; control characters are escaped by the renderer."""
        structlog.get_logger().log(self.level, self.name, **fields)


# --- receiver
RECEIVER_STARTED: Final = LogEvent("receiver.started", logging.INFO, "The OTLP receiver listens.")
# --- detector
# --- store
# --- exporter
# --- process
