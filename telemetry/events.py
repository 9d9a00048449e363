"""Every log event, declared once: a stable name, a level and a meaning.

``docs/logs.md`` is generated from this module. Fields are key-values, never prose, never a secret.
"""

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
        """Write the event. A value is anything JSON can show; the renderer escapes control characters."""
        structlog.get_logger().log(self.level, self.name, **fields)


# --- receiver
RECEIVER_STARTED: Final = LogEvent("receiver.started", logging.INFO, "The OTLP receiver listens.")
RECEIVER_SLOW_SCAN: Final = LogEvent(
    "receiver.slow_scan",
    logging.WARNING,
    "stringzilla is not installed: requests are searched ten times slower.",
)
RECEIVER_SLOW_INFLATE: Final = LogEvent(
    "receiver.slow_inflate",
    logging.WARNING,
    "isal is not installed: compressed requests are inflated several times slower.",
)
RECEIVER_REQUEST_REFUSED: Final = LogEvent(
    "receiver.request_refused",
    logging.WARNING,
    "An Export call was refused. At most one line a second for each reason; `suppressed` counts the others.",
)
RECEIVER_POINTS_REJECTED: Final = LogEvent(
    "receiver.points_rejected",
    logging.WARNING,
    "Frames of watched processes could not be interpreted; the rest of the request was taken.",
)
RECEIVER_DECODER_FAILED: Final = LogEvent(
    "receiver.decoder_failed",
    logging.ERROR,
    "Frames met an error that nothing handled, a defect of this program; the rest of the request was taken.",
)
RECEIVER_FAILED: Final = LogEvent(
    "receiver.failed",
    logging.ERROR,
    "A request met an error that nothing handled, a defect of this program; its sender tries again.",
)
RECEIVER_TOKENS_READ: Final = LogEvent(
    "receiver.tokens_read", logging.INFO, "The bearer tokens were read from their file."
)
RECEIVER_TOKENS_KEPT: Final = LogEvent(
    "receiver.tokens_kept",
    logging.WARNING,
    "The file of bearer tokens changed but gives none; those of before stay in force.",
)
RECEIVER_CERTIFICATES_READ: Final = LogEvent(
    "receiver.certificates_read",
    logging.INFO,
    "The files of receiver.tls changed; new connections are made with them.",
)
RECEIVER_CERTIFICATES_KEPT: Final = LogEvent(
    "receiver.certificates_kept",
    logging.WARNING,
    "The files of receiver.tls changed but cannot be used; those of before stay in force.",
)
RECEIVER_STOPPED: Final = LogEvent("receiver.stopped", logging.INFO, "The OTLP receiver listens no more.")
# --- detector
CORE_FAILED: Final = LogEvent(
    "core.failed", logging.CRITICAL, "The core ended by an exception; the service ends too. A defect."
)
MEMORY_UTILIZATION_MISSING: Final = LogEvent(
    "detector.memory_utilization_missing",
    logging.WARNING,
    "A node's shells come without process.memory.utilization; idle shells there cannot be seen.",
)
NODE_SILENT: Final = LogEvent(
    "detector.node_silent",
    logging.WARNING,
    "No process of a node came for five minutes, or two scrape intervals. Its sessions stay open for now.",
)
NODE_RETURNED: Final = LogEvent(
    "detector.node_returned", logging.INFO, "Processes of a node that was silent come again."
)
PLACEMENT_UNKNOWN: Final = LogEvent(
    "detector.placement_unknown",
    logging.WARNING,
    "Where they run is unknown of more than 1 % of a node's shells; their scores rest on it.",
)

RECOVERED: Final = LogEvent(
    "core.recovered",
    logging.INFO,
    "The store was read, at the start or after a defect; what was decided and not told is told now.",
)
RECORD_POISONED: Final = LogEvent(
    "core.record_poisoned",
    logging.CRITICAL,
    "A record, or what a node had before, made the detector raise; it is a dead letter now. A defect.",
)

# --- store
STORE_NOT_OPENED: Final = LogEvent(
    "store.not_opened", logging.CRITICAL, "There is no state to work with; the program ends."
)
STORE_REFUSED: Final = LogEvent(
    "store.refused", logging.ERROR, "The store could not take something; senders are told to try again."
)
STORE_SET_ASIDE: Final = LogEvent(
    "store.set_aside",
    logging.CRITICAL,
    "The file of the state is damaged: it was renamed, and what is readable is carried over to a new one.",
)
STORE_MIGRATED: Final = LogEvent(
    "store.migrated", logging.INFO, "The state was of an older version and is now of this one."
)
STORE_BALLAST_RELEASED: Final = LogEvent(
    "store.ballast_released",
    logging.ERROR,
    "The disk is full: the ballast was deleted so that the state can be emptied. Senders are told to wait.",
)
STORE_BALLAST_RESTORED: Final = LogEvent(
    "store.ballast_restored", logging.INFO, "There is space again, and the ballast; arrivals are taken."
)
STORE_GIVES_WAY: Final = LogEvent(
    "store.gives_way",
    logging.WARNING,
    "The state is near state.max_size: what matters least is deleted to stay below.",
)
STORE_ROWS_DAMAGED: Final = LogEvent(
    "store.rows_damaged",
    logging.ERROR,
    "Rows of the state are damaged or missing; what is left of them is kept among the dead letters.",
)
# --- exporter
EXPORTER_ACCEPTED: Final = LogEvent("exporter.accepted", logging.DEBUG, "The receiver took a batch.")
EXPORTER_RETRYING: Final = LogEvent(
    "exporter.retrying", logging.WARNING, "The receiver cannot take events now; they are kept and sent again."
)
EXPORTER_LANE_PAUSED: Final = LogEvent(
    "exporter.lane_paused",
    logging.ERROR,
    "The receiver refuses a lane until a setting changes; everything is kept.",
)
EXPORTER_SINK_PAUSED: Final = LogEvent(
    "exporter.sink_paused",
    logging.ERROR,
    "The receiver refuses us until a setting changes; everything is kept.",
)
EXPORTER_RESUMED: Final = LogEvent("exporter.resumed", logging.INFO, "A lane delivers again.")
EXPORTER_SPLIT: Final = LogEvent(
    "exporter.split", logging.WARNING, "The receiver refused a batch; it is sent again in smaller ones."
)
EXPORTER_DEAD_LETTER: Final = LogEvent(
    "exporter.dead_letter",
    logging.ERROR,
    "The receiver refuses an event for good; it is kept among the dead letters.",
)
EXPORTER_ACK_TIMED_OUT: Final = LogEvent(
    "exporter.ack_timed_out", logging.WARNING, "A batch was not acknowledged in time; it is sent again."
)
EXPORTER_ACK_FORGOTTEN: Final = LogEvent(
    "exporter.ack_forgotten",
    logging.WARNING,
    "The receiver no longer knows batches by their ids (a restart?); they are sent again at their timeout.",
)
EXPORTER_ACK_MISSING: Final = LogEvent(
    "exporter.ack_missing",
    logging.WARNING,
    "Acknowledgement is on here but the receiver offers none; its success counts.",
)
EXPORTER_TOKEN_LOADED: Final = LogEvent(
    "exporter.token_loaded",
    logging.INFO,
    "The token was read from its file, at start or because the file changed.",
)
EXPORTER_CA_LOADED: Final = LogEvent(
    "exporter.ca_loaded",
    logging.INFO,
    "The CA file was read again because it changed; new connections are verified against it.",
)
EXPORTER_CA_KEPT: Final = LogEvent(
    "exporter.ca_kept",
    logging.WARNING,
    "The CA file changed but cannot be loaded; the authorities of before stay in force.",
)
EXPORTER_TLS_UNVERIFIED: Final = LogEvent(
    "exporter.tls_unverified",
    logging.WARNING,
    "insecure_skip_verify: whoever is on the path can read the token.",
)
EXPORTER_FILE_OPENED: Final = LogEvent(
    "exporter.file_opened",
    logging.INFO,
    "The event file was opened, at start or because it was rotated away.",
)
DELIVERY_FAILED: Final = LogEvent(
    "delivery.failed", logging.CRITICAL, "Delivery ended by an exception; the service ends too."
)
UNDELIVERED_AT_STOP: Final = LogEvent(
    "delivery.undelivered_at_stop",
    logging.WARNING,
    "The service stops with events that were not delivered; the next start delivers them.",
)
LOST_AT_STOP: Final = LogEvent(
    "delivery.lost_at_stop",
    logging.ERROR,
    "The service stops with events that were not delivered, and `state.ephemeral` keeps none: they are lost.",
)
# --- control socket
CONTROL_STARTED: Final = LogEvent(
    "control.started", logging.INFO, "The control socket listens, for the commands outbox and explain."
)
CONTROL_NOT_BOUND: Final = LogEvent(
    "control.not_bound",
    logging.ERROR,
    "There is no control socket; the service runs, but outbox and explain work only while it does not.",
)
CONTROL_REQUEUED: Final = LogEvent(
    "control.requeued",
    logging.WARNING,
    "An operator put dead letters back into the outbox; uid and numbers tell who and which.",
)
CONTROL_PURGED: Final = LogEvent(
    "control.purged",
    logging.WARNING,
    "An operator deleted dead letters or waiting events for good; uid, numbers or lane tell who and which.",
)
CONTROL_STRANGER: Final = LogEvent(
    "control.stranger",
    logging.ERROR,
    "Someone other than the user of the service and root reached the control socket and was turned away.",
)
CONTROL_FAILED: Final = LogEvent(
    "control.failed", logging.ERROR, "A request on the control socket could not be done."
)
# --- policies
POLICY_LOADED: Final = LogEvent(
    "policy.loaded", logging.INFO, "The files of `policy.path` were read; their rules are in force."
)
POLICY_KEPT: Final = LogEvent(
    "policy.kept",
    logging.ERROR,
    "The files of `policy.path` cannot be used; the `rules` of before stay in force, none after a start."
    " The command check-config tells all `mistakes`.",
)
POLICY_RULE_EXPIRED: Final = LogEvent(
    "policy.rule_expired",
    logging.WARNING,
    "A rule is past its end and does nothing any more: renew it, or take it out of its file.",
)
POLICY_WATCH_FAILED: Final = LogEvent(
    "policy.watch_failed",
    logging.ERROR,
    "Looking at the files of `policy.path` met an error that nothing handled, a defect; it is tried again.",
)
# --- process
SERVICE_STARTED: Final = LogEvent("service.started", logging.INFO, "Everything runs.")
SERVICE_STOPPING: Final = LogEvent("service.stopping", logging.INFO, "The service stops, in order.")
SERVICE_STOPPED: Final = LogEvent("service.stopped", logging.INFO, "Everything has stopped.")
CONFIGURATION_CONCERN: Final = LogEvent(
    "process.configuration_concern", logging.WARNING, "Something in the configuration works but is unwise."
)
PROCESS_FAILED: Final = LogEvent(
    "process.failed", logging.CRITICAL, "The program ends because of an error that nothing handled."
)
THREAD_FAILED: Final = LogEvent(
    "process.thread_failed", logging.ERROR, "A thread ended by an exception: a defect of this program."
)
EXCEPTION_IGNORED: Final = LogEvent(
    "process.exception_ignored",
    logging.ERROR,
    "An exception was raised where nobody can be told, in a finalizer: a defect of this program.",
)
HTTP_STARTED: Final = LogEvent("process.http_started", logging.INFO, "Metrics and health are served.")
HTTP_NOT_BOUND: Final = LogEvent(
    "process.http_not_bound", logging.CRITICAL, "http.endpoint cannot be listened on; the program ends."
)
HTTP_FAILED: Final = LogEvent(
    "process.http_failed",
    logging.ERROR,
    "A request to the metrics and health endpoints could not be answered.",
)
LIBRARY_LOG: Final = LogEvent(
    "process.library_log", logging.INFO, "A library logged or warned; the level is what it gave."
)
