"""Every metric, declared once: name, kind, unit and meaning.

``docs/metrics.md`` is generated from this module. Labels have few values, known beforehand: never a pid, a
node or a command line. The objects are process-wide, as Prometheus clients are; tests look at differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "otel_shell_detector"
REGISTRY: Final = CollectorRegistry()
_COUNTED_UNITS: Final = ("bytes", "seconds")

_LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_DELAY_BUCKETS: Final = (0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 16.0, 20.0, 30.0, 60.0, 300.0, 1800.0)


@dataclass(frozen=True, slots=True)
class Declaration:
    """What ``docs/metrics.md`` says of a metric.

    ``name`` is as exposed, with unit and ``_total``; ``labels`` gives for each label what its values are,
    empty where the meaning tells it.
    """

    name: str
    kind: str
    unit: str
    labels: Mapping[str, str]
    meaning: str


DECLARATIONS: Final[list[Declaration]] = []
"""Every metric, in the order of this module."""


def _declare(name: str, kind: str, unit: str, meaning: str, labels: Mapping[str, str]) -> None:
    ending = f"_{unit}" if unit and not name.endswith(f"_{unit}") else ""
    total = "_total" if kind == "counter" else ""
    exposed = f"{PREFIX}_{name.removesuffix('_total')}{ending}{total}"
    DECLARATIONS.append(Declaration(exposed, kind, unit, labels, meaning))


def _described(labels: tuple[str, ...], values: dict[str, str]) -> dict[str, str]:
    if stray := values.keys() - set(labels):
        raise ValueError(f"values of labels that the metric has not: {', '.join(sorted(stray))}")
    return {label: values.get(label, "") for label in labels}


# They take what the values of a label are, by its name: _counter("x", "...", "lane", lane="risk, audit").
def _counter(name: str, meaning: str, *labels: str, **values: str) -> Counter:
    unit = next((unit for unit in _COUNTED_UNITS if name.endswith(f"_{unit}")), "")
    _declare(name, "counter", unit, meaning, _described(labels, values))
    return Counter(name, meaning, labels, namespace=PREFIX, registry=REGISTRY)


def _gauge(name: str, meaning: str, *labels: str, unit: str = "", **values: str) -> Gauge:
    _declare(name, "gauge", unit, meaning, _described(labels, values))
    return Gauge(name, meaning, labels, namespace=PREFIX, unit=unit, registry=REGISTRY)


def _histogram(
    name: str,
    meaning: str,
    buckets: tuple[float, ...],
    *labels: str,
    unit: str = "seconds",
    **values: str,
) -> Histogram:
    _declare(name, "histogram", unit, meaning, _described(labels, values))
    return Histogram(name, meaning, labels, namespace=PREFIX, unit=unit, buckets=buckets, registry=REGISTRY)


# --- receiver
RECEIVER_REQUESTS: Final = _counter(
    "receiver_requests",
    "Export calls answered, by gRPC status code.",
    "code",
    code="name of a gRPC status code",
)
RECEIVER_REFUSED: Final = _counter(
    "receiver_refused",
    "Export calls of which nothing was taken.",
    "reason",
    reason=(
        "token_missing; token_wrong; no_place: too few receiver.workers; displaced: its message did not come"
        " and others needed the place; in_flight: receiver.max_in_flight is reached; stopping;"
        " receive_timeout;"
        " no_message: larger than receiver.max_request_size, or given up by the sender; two_messages;"
        " malformed; too_many_resources; not_accepted: not stored in time; failed: a defect of this program"
    ),
)
RECEIVER_REQUEST_SECONDS: Final = _histogram(
    "receiver_request",
    "From the first byte of an Export call's message to its answer; calls refused before are not in it.",
    _LATENCY_BUCKETS,
)
RECEIVER_READ_SECONDS: Final = _histogram(
    "receiver_read", "The part of it that finds and decodes what is watched.", _LATENCY_BUCKETS
)
RECEIVER_BYTES: Final = _counter("receiver_received_bytes", "Bytes of Export requests, decompressed.")
RECEIVER_IN_FLIGHT: Final = _gauge(
    "receiver_in_flight", "What Export calls that run hold or have reserved.", unit="bytes"
)
RECEIVER_FRAMES: Final = _counter("receiver_frames", "ResourceMetrics received.")
RECEIVER_HIT_FRAMES: Final = _counter(
    "receiver_hit_frames", "ResourceMetrics that were decoded because they hold a watched value somewhere."
)
RECEIVER_EMPTY_FRAMES: Final = _counter(
    "receiver_empty_frames", "ResourceMetrics of watched processes without a single number data point."
)
RECEIVER_SAMPLES: Final = _counter("receiver_samples", "Samples of watched processes taken.")
RECEIVER_REJECTED_POINTS: Final = _counter(
    "receiver_rejected_points",
    "Data points in uninterpretable frames of watched processes; told to the sender as partial success.",
    "reason",
    reason="undecodable (each such frame counts as one point); no_pid; no_node; "
    "decoder_failed: a defect of this program",
)
RECEIVER_TEXT_REPLACED: Final = _counter(
    "receiver_text_replaced",
    "Attributes of watched processes with bytes that are not UTF-8; these are written as \\xNN.",
    "attribute",
    attribute="name of an attribute that is read",
)
RECEIVER_CLUSTER_UNKNOWN: Final = _counter(
    "receiver_cluster_unknown",
    "Times that a request's node named no cluster while detector.cluster_name is unset.",
)
RECEIVER_HEALTH_CHECKS: Final = _counter(
    "receiver_health_checks",
    "Calls of the gRPC health service.",
    "result",
    result="OK (answered, whatever the status); unknown_service; malformed; and, as of Export: no_place, "
    "displaced, receive_timeout, no_message, two_messages",
)
RECEIVER_TLS_HANDSHAKES: Final = _counter("receiver_tls_handshakes", "TLS handshakes begun by clients.")
RECEIVER_TLS_REFUSED: Final = _counter(
    "receiver_tls_refused",
    "TLS handshakes that failed. Those that a client left without a word are in none of the reasons. With "
    "exporter.sink: otlp, failed handshakes with its collector are among them.",
    "reason",
    reason="no_certificate, certificate_expired, certificate_not_yet_valid, certificate_untrusted,"
    " tls_too_old, not_tls, refused_by_client (it does not trust our certificate), other",
)
RECEIVER_TLS_FILES_REFUSED: Final = _gauge(
    "receiver_tls_files_refused",
    "1 while the files of receiver.tls cannot be used and those of before are in force.",
)

# --- detector
DETECTOR_POINTS: Final = _counter(
    "detector_points",
    "Data points that were left out, changed nothing, or are remarkable though kept, by reason.",
    "reason",
    reason="left out: negative, nan, infinite, out_of_range, no_recorded_value, no_time; "
    "changed nothing: late_closed, late_horizon, window_ceiling, untracked; kept: conflict, cpu_above_one",
)
DETECTOR_WINDOWS: Final = _counter(
    "detector_windows",
    "Windows of a shell, by what became of them.",
    "result",
    result="opened, survived (held a positive point), dropped",
)
DETECTOR_INCIDENTS: Final = _counter(
    "detector_incidents",
    "What the detector had to correct or bound.",
    "kind",
    kind="start_corrected (samples), clock_went_back (sessions), node_ceiling (records)",
)
FINDINGS: Final = _counter(
    "detector_findings",
    "Findings, by kind; of closed ones by reason.",
    "kind",
    "reason",
    kind="opened, ongoing, closed",
    reason="exited, node_silent, pid_reused, untracked",
)
JUDGED: Final = _counter(
    "judged",
    "Openings and later findings, by what the judge made of them.",
    "result",
    result="told, summarised, folded, suppressed, released, still_suppressed, repeated, silent, capped, "
    "spent",
)
TRACKED_SHELLS: Final = _gauge("detector_tracked_shells", "Shells in memory: open sessions and candidates.")
NODES: Final = _gauge("detector_nodes", "Nodes in memory.")
SERVICE_TIME: Final = _gauge(
    "detector_service_time",
    "Service time, which drives every deadline. Stands still while the service does.",
    unit="seconds",
)
EVENT_DELAY: Final = _histogram(
    "detector_event_delay",
    "From the arrival of the first sample of a shell's first window to its event in the outbox.",
    _DELAY_BUCKETS,
)
POISON: Final = _counter(
    "core_poison",
    "What made the detector raise and became dead letters: alert on any. A defect of this program.",
    "kind",
    kind="record, node (what a node had before)",
)
RECOVERY_SECONDS: Final = _gauge(
    "core_recovery", "How long the store was read last, at the start or after a defect.", unit="seconds"
)
RECOVERED_RECORDS: Final = _counter(
    "core_recovered_records", "Records of the journal that were fed again when the store was read."
)
CHECKPOINTS: Final = _counter("core_checkpoints", "Checkpoints of nodes.")
CHECKPOINT_BYTES: Final = _counter("core_checkpoint_bytes", "Bytes of checkpoints of nodes.")
MEMORY_UTILIZATION_MISSING: Final = _counter(
    "detector_nodes_without_memory_utilization",
    "Nodes whose shells came without process.memory.utilization: an idle shell there cannot be seen.",
)
PLACEMENTS: Final = _counter(
    "detector_placements",
    "Tracked shells that were told, by where they run. Alert if over 1 % are unknown: scores rest on it.",
    "placement",
    placement="host, pod, unknown",
)
COVERAGE_NODES: Final = _gauge(
    "coverage_nodes",
    "Nodes by whether their frames come; like all of coverage as it was at most 5 s before.",
    "state",
    state="reporting; silent: no frame for five minutes, or two scrape intervals; gone: none for a day",
)
COVERAGE_NODES_WITH: Final = _gauge(
    "coverage_nodes_with",
    "Reporting nodes that have shown something lately.",
    "what",
    what="both_utilizations: CPU and memory; pid_1: its frame; "
    "relative_cgroups: cgroups read from inside of a namespace",
)
COVERAGE_CONCERNS: Final = _gauge(
    "coverage_concerns",
    "Reporting nodes of which something cannot be seen.",
    "concern",
    concern="no_memory_utilization, no_cpu_utilization, no_pid_1 (in the last ten scrapes); "
    "no_paths: of more than half of the frames; placement_unknown: of more than 1 % of the shells",
)
COVERAGE_INTERVAL: Final = _gauge(
    "coverage_scrape_interval",
    "Learned scrape interval of reporting nodes; 0 while none is known.",
    "of",
    unit="seconds",
    of="median, max",
)
COVERAGE_SHORTEST: Final = _gauge(
    "coverage_shortest_sure",
    "How long a shell on a reporting node must live to be seen for sure; 0 while that is not known of any.",
    "of",
    unit="seconds",
    of="median, max",
)
COVERAGE_UNPLACED: Final = _gauge(
    "coverage_placement_unknown_ratio",
    "Share of the shells that reporting nodes told of lately whose placement is unknown; 0 without shells.",
)
COVERAGE_CHANGES: Final = _counter(
    "coverage_changes", "Times that nodes fell silent or came back.", "change", change="silent, returned"
)

# --- store
JOURNAL_COMMITS: Final = _counter("journal_commits", "Group commits of the journal.")
JOURNAL_RECORDS: Final = _counter("journal_records", "Records (a request's part of one node) journaled.")
STORE_FAILURES: Final = _counter(
    "store_failures",
    "Operations that the store refused.",
    "operation",
    operation="append, commit, read, outbox",
)
STORE_DAMAGED: Final = _counter(
    "store_damaged_rows",
    "Rows of the state that were found damaged or missing. What is left of them is a dead letter.",
    "table",
    table="journal, checkpoint, session, outbox, note, meta",
)
STORE_COMMIT_SECONDS: Final = _histogram(
    "store_transaction", "Duration of a durable transaction of the state.", _LATENCY_BUCKETS
)
STORE_SET_ASIDE: Final = _counter(
    "store_files_set_aside",
    "Times that the file of the state was damaged; what could be read of it was carried over to a new one.",
)
STATE_USED: Final = _gauge("state_used", "What the state holds, without its write-ahead log.", unit="bytes")
STATE_LIMIT: Final = _gauge("state_limit", "state.max_size.", unit="bytes")
STATE_BALLAST: Final = _gauge(
    "state_ballast", "1 if the ballast is there. 0: the disk is or was full, and nothing is accepted."
)
STATE_GIVEN_WAY: Final = _counter(
    "state_given_way",
    "Rows that were deleted because the state came near its limit.",
    "what",
    what="in this order: closed_identities; notes_remembering: those of the kinds scored, novel, node;"
    " dead_context: dead letters of the lanes context and audit; dead_stored: those of the journal and of"
    " checkpoints; dead_risk; notes_quieting: those of the kinds cap, silenced",
)
STORE_NOTES: Final = _gauge(
    "store_notes",
    "Notes that are kept: what the judge remembers, of which each kind has a bound.",
    "kind",
    kind="node, novel, burst, silenced, audit, summary, cap, scored",
)
STORE_NOTES_DROPPED: Final = _counter(
    "store_notes_dropped",
    "Notes that were forgotten before their time, as there were more of their kind than may be kept.",
    "kind",
    kind="node, novel, silenced, cap, scored",
)
JOURNAL_BYTES: Final = _gauge(
    "journal_kept", "Entries of the journal that a restart would read.", unit="bytes"
)
# --- exporter
_LANES: Final = "risk, context, audit"
_SINKS: Final = "stdout, file, hec, otlp"
EXPORTER_DELIVERED: Final = _counter(
    "exporter_events_delivered",
    "Events that the receiver accepted (acknowledged, in that mode).",
    "lane",
    lane=_LANES,
)
EXPORTER_ATTEMPTS: Final = _counter(
    "exporter_attempts",
    "Requests to the receiver, by what came of them.",
    "sink",
    "lane",
    "result",
    sink=_SINKS,
    lane=_LANES,
    result="accepted, or a label of a row of exporter/hec_answers.py, exporter/otlp_answers.py or "
    "exporter/lines.py",
)
EXPORTER_DEAD_LETTERS: Final = _counter(
    "exporter_dead_letters",
    "Events that the receiver refused for good.",
    "lane",
    "reason",
    lane=_LANES,
    reason="event_invalid, event_field_missing, event_field_blank, fields_invalid, too_large; "
    "of OTLP: invalid_argument, records_rejected, and event_invalid if it is no envelope",
)
EXPORTER_LANE_STATE: Final = _gauge(
    "exporter_lane_state",
    "1 for the state that a lane is in, 0 for the others.",
    "lane",
    "state",
    lane=_LANES,
    state="ready, backoff (tries again by itself), paused (needs someone)",
)
EXPORTER_BACKLOG: Final = _gauge(
    "exporter_backlog_events", "Events that wait in the outbox.", "lane", lane=_LANES
)
EXPORTER_BATCH: Final = _histogram(
    "exporter_batch",
    "Size of a request's events before compression.",
    (1e3, 4e3, 1.6e4, 6.4e4, 2.5e5, 1e6),
    "sink",
    unit="bytes",
    sink=_SINKS,
)
EXPORTER_SEND: Final = _histogram(
    "exporter_send",
    "Duration of a call to the sink, answer included.",
    _LATENCY_BUCKETS,
    "sink",
    sink=_SINKS,
)
EXPORTER_DELAY: Final = _histogram(
    "exporter_delay",
    "From the arrival of the first sample of a shell's first window to the delivery of its event.",
    _DELAY_BUCKETS,
)
EXPORTER_ACKS: Final = _counter(
    "exporter_acks",
    "Batches by the end of their indexer acknowledgement.",
    "result",
    result="confirmed, timed_out (sent again), missing (the receiver offered none), "
    "forgotten (the receiver does not know the batch by its id; its time runs out)",
)
EXPORTER_REDACTIONS: Final = _counter(
    "exporter_redactions",
    "Secrets redacted from command lines, by kind of rule.",
    "kind",
    kind="named, header, url, client, piped, format, custom",
)

# --- control socket
CONTROL_REQUESTS: Final = _counter(
    "control_requests",
    "Connections to the control socket, by what came of them.",
    "result",
    result="done; refused: not understood, or not to be done; failed: by the store, or a defect; "
    "gone: no whole request or no reader in time; crowded: too many at once; stranger: another user",
)
CONTROL_CHANGES: Final = _counter(
    "control_changes",
    "Dead letters and events that operators moved or deleted through the control socket.",
    "ask",
    ask="requeue; purge: dead letters; purge_waiting: events",
)

# --- policies
POLICY_RULES: Final = _gauge(
    "policy_rules", "Rules in force, those past their end too.", "action", action="suppress, score, annotate"
)
POLICY_RULES_EXPIRED: Final = _gauge(
    "policy_rules_expired", "Rules in force that do nothing any more, for they are past their end."
)
POLICY_LOADS: Final = _counter(
    "policy_loads",
    "Times that policy.path was read, at the start and when something changed there.",
    "result",
    result="loaded; and, of what leaves the rules of before in force: invalid, empty, missing",
)
POLICY_FILES_REFUSED: Final = _gauge(
    "policy_files_refused",
    "1 while the files of policy.path cannot be used and the rules of before are in force; else 0.",
)

# --- process
BUILD_INFO: Final = _gauge("build_info", "Always 1; the version that runs.", "version")
CONFIGURATION_CONCERNS: Final = _gauge(
    "configuration_concerns",
    "1 for what is unwise in the running configuration; the log says more at the start.",
    "concern",
    concern="receiver_open, receiver_token_in_clear, hec_token_in_clear, hec_not_verified, otlp_in_clear, "
    "executable_too_long, cap_below_score",
)
HTTP_REQUESTS: Final = _counter(
    "http_requests",
    "Requests to the metrics and health endpoints.",
    "path",
    "code",
    path="/metrics, /livez, /readyz, /coverage, other",
    code="HTTP status",
)
HTTP_CONNECTIONS_CUT: Final = _counter(
    "http_connections_cut",
    "Connections to the metrics and health endpoints that were ended before they were answered.",
    "reason",
    reason="slow: not done in time; crowded: the oldest of too many; refused: the newest of too many",
)
THREAD_FAILURES: Final = _counter(
    "thread_failures", "Exceptions that ended a thread. Anything but 0 is a defect of this program."
)
