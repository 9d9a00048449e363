"""Every metric, declared once: name, kind, unit and meaning.

``docs/metrics.md`` is generated from this module. Labels have few values, known beforehand: never a pid, a
node or a command line. The objects are process-wide, as Prometheus clients are; tests look at differences.
"""

from __future__ import annotations

from typing import Final

from telemetry import declaring
from telemetry.declaring import counter, gauge, histogram

REGISTRY: Final = declaring.REGISTRY
DECLARATIONS: Final = declaring.DECLARATIONS
"""Whoever reads these from here knows that everything is in them."""

_LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_DELAY_BUCKETS: Final = (0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 16.0, 20.0, 30.0, 60.0, 300.0, 1800.0)

# --- receiver
RECEIVER_REQUESTS: Final = counter(
    "receiver_requests",
    "Export calls answered, by gRPC status code.",
    "code",
    code="name of a gRPC status code",
)
RECEIVER_REFUSED: Final = counter(
    "receiver_refused",
    "Export calls of which nothing was taken.",
    "reason",
    reason=(
        "token_missing; token_wrong; no_place: too few receiver.workers; displaced: its message did not come"
        " and others needed the place; in_flight: receiver.max_in_flight is reached; stopping;"
        " receive_timeout;"
        " no_message: larger than receiver.max_request_size as it came, or given up by the sender;"
        " too_large: than that when inflated; not_inflated: its compression is broken; two_messages;"
        " malformed; too_many_resources; not_accepted: not stored in time; failed: a defect of this program"
    ),
)
RECEIVER_REQUEST_SECONDS: Final = histogram(
    "receiver_request",
    "From the first byte of an Export call's message to its answer; calls refused before are not in it.",
    _LATENCY_BUCKETS,
)
RECEIVER_READ_SECONDS: Final = histogram(
    "receiver_read", "The part of it that finds and decodes what is watched.", _LATENCY_BUCKETS
)
RECEIVER_BYTES: Final = counter("receiver_received_bytes", "Bytes of Export requests, decompressed.")
RECEIVER_IN_FLIGHT: Final = gauge(
    "receiver_in_flight", "What Export calls that run hold or have reserved.", unit="bytes"
)
RECEIVER_FRAMES: Final = counter("receiver_frames", "ResourceMetrics received.")
RECEIVER_HIT_FRAMES: Final = counter(
    "receiver_hit_frames", "ResourceMetrics that were decoded because they hold a watched value somewhere."
)
RECEIVER_EMPTY_FRAMES: Final = counter(
    "receiver_empty_frames", "ResourceMetrics of watched processes without a single number data point."
)
RECEIVER_SAMPLES: Final = counter("receiver_samples", "Samples of watched processes taken.")
RECEIVER_REJECTED_POINTS: Final = counter(
    "receiver_rejected_points",
    "Data points in uninterpretable frames of watched processes; told to the sender as partial success.",
    "reason",
    reason="undecodable (each such frame counts as one point); no_pid; no_node; "
    "decoder_failed: a defect of this program",
)
RECEIVER_TEXT_REPLACED: Final = counter(
    "receiver_text_replaced",
    "Attributes of watched processes with bytes that are not UTF-8; these are written as \\xNN.",
    "attribute",
    attribute="name of an attribute that is read",
)
RECEIVER_CLUSTER_UNKNOWN: Final = counter(
    "receiver_cluster_unknown",
    "Times that a request's node named no cluster while detector.cluster_name is unset.",
)
RECEIVER_HEALTH_CHECKS: Final = counter(
    "receiver_health_checks",
    "Calls of the gRPC health service.",
    "result",
    result="OK (answered, whatever the status); unknown_service; malformed; and, as of Export: no_place, "
    "displaced, receive_timeout, no_message, too_large, not_inflated, two_messages",
)
RECEIVER_TLS_HANDSHAKES: Final = counter("receiver_tls_handshakes", "TLS handshakes begun by clients.")
RECEIVER_TLS_REFUSED: Final = counter(
    "receiver_tls_refused",
    "TLS handshakes that failed. Those that a client left without a word are in none of the reasons. With "
    "exporter.sink: otlp, failed handshakes with its collector are among them.",
    "reason",
    reason="no_certificate, certificate_expired, certificate_not_yet_valid, certificate_untrusted,"
    " tls_too_old, not_tls, refused_by_client (it does not trust our certificate), other",
)
RECEIVER_TLS_FILES_REFUSED: Final = gauge(
    "receiver_tls_files_refused",
    "1 while the files of receiver.tls cannot be used and those of before are in force.",
)

# --- detector
DETECTOR_POINTS: Final = counter(
    "detector_points",
    "Data points that were left out, changed nothing, or are remarkable though kept, by reason.",
    "reason",
    reason="left out: negative, nan, infinite, out_of_range, no_recorded_value, no_time; "
    "changed nothing: late_closed, late_horizon, window_ceiling, untracked; kept: conflict, cpu_above_one",
)
DETECTOR_WINDOWS: Final = counter(
    "detector_windows",
    "Windows of a shell, by what became of them.",
    "result",
    result="opened, survived (held a positive point), dropped",
)
DETECTOR_INCIDENTS: Final = counter(
    "detector_incidents",
    "What the detector had to correct or bound.",
    "kind",
    kind="start_corrected (samples), clock_went_back (sessions), node_ceiling (records)",
)
FINDINGS: Final = counter(
    "detector_findings",
    "Findings, by kind; of closed ones by reason.",
    "kind",
    "reason",
    kind="opened, ongoing, closed",
    reason="exited, node_silent, pid_reused, untracked",
)
JUDGED: Final = counter(
    "judged",
    "Openings and later findings, by what the judge made of them.",
    "result",
    result="told, summarised, folded, suppressed, released, still_suppressed, repeated, silent, capped, "
    "spent",
)
TRACKED_SHELLS: Final = gauge("detector_tracked_shells", "Shells in memory: open sessions and candidates.")
NODES: Final = gauge("detector_nodes", "Nodes in memory.")
SERVICE_TIME: Final = gauge(
    "detector_service_time",
    "Service time, which drives every deadline. Stands still while the service does.",
    unit="seconds",
)
EVENT_DELAY: Final = histogram(
    "detector_event_delay",
    "From the arrival of the first sample of a shell's first window to its event in the outbox.",
    _DELAY_BUCKETS,
)
POISON: Final = counter(
    "core_poison",
    "What made the detector raise and became dead letters: alert on any. A defect of this program.",
    "kind",
    kind="record, node (what a node had before)",
)
RECOVERY_SECONDS: Final = gauge(
    "core_recovery", "How long the store was read last, at the start or after a defect.", unit="seconds"
)
RECOVERED_RECORDS: Final = counter(
    "core_recovered_records", "Records of the journal that were fed again when the store was read."
)
CHECKPOINTS: Final = counter("core_checkpoints", "Checkpoints of nodes.")
CHECKPOINT_BYTES: Final = counter("core_checkpoint_bytes", "Bytes of checkpoints of nodes.")
MEMORY_UTILIZATION_MISSING: Final = counter(
    "detector_nodes_without_memory_utilization",
    "Nodes whose shells came without process.memory.utilization: an idle shell there cannot be seen.",
)
PLACEMENTS: Final = counter(
    "detector_placements",
    "Tracked shells that were told, by where they run.",
    "placement",
    placement="host, pod, unknown",
)
COVERAGE_NODES: Final = gauge(
    "coverage_nodes",
    "Nodes by whether their frames come; like all of coverage as it was at most 5 s before.",
    "state",
    state="reporting; silent: no frame for five minutes, or two scrape intervals; gone: none for a day",
)
COVERAGE_NODES_WITH: Final = gauge(
    "coverage_nodes_with",
    "Reporting nodes that have shown something lately.",
    "what",
    what="both_utilizations: CPU and memory; pid_1: its frame; "
    "relative_cgroups: cgroups read from inside of a namespace",
)
COVERAGE_CONCERNS: Final = gauge(
    "coverage_concerns",
    "Reporting nodes of which something cannot be seen.",
    "concern",
    concern="no_memory_utilization, no_cpu_utilization, no_pid_1 (in the last ten scrapes); "
    "no_paths: of more than half of the frames; placement_unknown: of more than 1 % of the shells; "
    "parents_unknown: of more than 10 %",
)
COVERAGE_INTERVAL: Final = gauge(
    "coverage_scrape_interval",
    "Learned scrape interval of reporting nodes; 0 while none is known.",
    "of",
    unit="seconds",
    of="median, max",
)
COVERAGE_SHORTEST: Final = gauge(
    "coverage_shortest_sure",
    "How long a shell on a reporting node must live to be seen for sure; 0 while that is not known of any.",
    "of",
    unit="seconds",
    of="median, max",
)
COVERAGE_UNPLACED: Final = gauge(
    "coverage_placement_unknown_ratio",
    "Share of the shells that reporting nodes told of lately whose placement is unknown; 0 without shells. "
    "Alert above 0.01: scores rest on the placement.",
)
COVERAGE_CHANGES: Final = counter(
    "coverage_changes", "Times that nodes fell silent or came back.", "change", change="silent, returned"
)

# --- store
JOURNAL_COMMITS: Final = counter("journal_commits", "Group commits of the journal.")
JOURNAL_RECORDS: Final = counter("journal_records", "Records (a request's part of one node) journaled.")
STORE_FAILURES: Final = counter(
    "store_failures",
    "Operations that the store refused.",
    "operation",
    operation="append, commit, read, outbox",
)
STORE_DAMAGED: Final = counter(
    "store_damaged_rows",
    "Rows of the state that were found damaged or missing. What is left of them is a dead letter.",
    "table",
    table="journal, checkpoint, session, outbox, note, meta",
)
STORE_COMMIT_SECONDS: Final = histogram(
    "store_transaction", "Duration of a durable transaction of the state.", _LATENCY_BUCKETS
)
STORE_SET_ASIDE: Final = counter(
    "store_files_set_aside",
    "Times that the file of the state was damaged; what could be read of it was carried over to a new one.",
)
STATE_USED: Final = gauge("state_used", "What the state holds, without its write-ahead log.", unit="bytes")
STATE_LIMIT: Final = gauge("state_limit", "state.max_size.", unit="bytes")
STATE_BALLAST: Final = gauge(
    "state_ballast", "1 if the ballast is there. 0: the disk is or was full, and nothing is accepted."
)
STATE_GIVEN_WAY: Final = counter(
    "state_given_way",
    "Rows that were deleted because the state came near its limit.",
    "what",
    what="in this order: closed_identities; notes_remembering: those of the kinds scored, novel, node;"
    " dead_context: dead letters of the lanes context and audit; dead_stored: those of the journal and of"
    " checkpoints; dead_risk; notes_quieting: those of the kinds cap, silenced",
)
STORE_NOTES: Final = gauge(
    "store_notes",
    "Notes that are kept: what the judge remembers, of which each kind has a bound.",
    "kind",
    kind="node, novel, burst, silenced, audit, summary, cap, scored",
)
STORE_NOTES_DROPPED: Final = counter(
    "store_notes_dropped",
    "Notes that were forgotten before their time, as there were more of their kind than may be kept.",
    "kind",
    kind="node, novel, silenced, cap, scored",
)
JOURNAL_BYTES: Final = gauge(
    "journal_kept", "Entries of the journal that a restart would read.", unit="bytes"
)
# --- exporter
_LANES: Final = "risk, context, audit"
_SINKS: Final = "stdout, file, hec, otlp"
EXPORTER_DELIVERED: Final = counter(
    "exporter_events_delivered",
    "Events that the receiver accepted (acknowledged, in that mode).",
    "lane",
    lane=_LANES,
)
EXPORTER_ATTEMPTS: Final = counter(
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
EXPORTER_DEAD_LETTERS: Final = counter(
    "exporter_dead_letters",
    "Events that the receiver refused for good.",
    "lane",
    "reason",
    lane=_LANES,
    reason="event_invalid, event_field_missing, event_field_blank, fields_invalid, too_large; "
    "of OTLP: invalid_argument, records_rejected, and event_invalid if it is no envelope",
)
EXPORTER_LANE_STATE: Final = gauge(
    "exporter_lane_state",
    "1 for the state that a lane is in, 0 for the others.",
    "lane",
    "state",
    lane=_LANES,
    state="ready, backoff (tries again by itself), paused (needs someone)",
)
EXPORTER_BACKLOG: Final = gauge(
    "exporter_backlog_events", "Events that wait in the outbox.", "lane", lane=_LANES
)
EXPORTER_BATCH: Final = histogram(
    "exporter_batch",
    "Size of a request's events before compression.",
    (1e3, 4e3, 1.6e4, 6.4e4, 2.5e5, 1e6),
    "sink",
    unit="bytes",
    sink=_SINKS,
)
EXPORTER_SEND: Final = histogram(
    "exporter_send",
    "Duration of a call to the sink, answer included.",
    _LATENCY_BUCKETS,
    "sink",
    sink=_SINKS,
)
EXPORTER_DELAY: Final = histogram(
    "exporter_delay",
    "From the arrival of the first sample of a shell's first window to the delivery of its event.",
    _DELAY_BUCKETS,
)
EXPORTER_ACKS: Final = counter(
    "exporter_acks",
    "Batches by the end of their indexer acknowledgement.",
    "result",
    result="confirmed, timed_out (sent again), missing (the receiver offered none), "
    "forgotten (the receiver does not know the batch by its id; its time runs out)",
)
EXPORTER_REDACTIONS: Final = counter(
    "exporter_redactions",
    "Secrets redacted from command lines, by kind of rule.",
    "kind",
    kind="named, header, url, client, piped, format, custom",
)

# --- control socket
CONTROL_REQUESTS: Final = counter(
    "control_requests",
    "Connections to the control socket, by what came of them.",
    "result",
    result="done; refused: not understood, or not to be done; failed: by the store, or a defect; "
    "gone: no whole request or no reader in time; crowded: too many at once; stranger: another user",
)
CONTROL_CHANGES: Final = counter(
    "control_changes",
    "Dead letters and events that operators moved or deleted through the control socket.",
    "ask",
    ask="requeue; purge: dead letters; purge_waiting: events",
)

# --- policies
POLICY_RULES: Final = gauge(
    "policy_rules", "Rules in force, those past their end too.", "action", action="suppress, score, annotate"
)
POLICY_RULES_EXPIRED: Final = gauge(
    "policy_rules_expired", "Rules in force that do nothing any more, for they are past their end."
)
POLICY_LOADS: Final = counter(
    "policy_loads",
    "Times that policy.path was read, at the start and when something changed there.",
    "result",
    result="loaded; and, of what leaves the rules of before in force: invalid, empty, missing",
)
POLICY_FILES_REFUSED: Final = gauge(
    "policy_files_refused",
    "1 while the files of policy.path cannot be used and the rules of before are in force; else 0.",
)

# --- process
BUILD_INFO: Final = gauge("build_info", "Always 1; the version that runs.", "version")
START_TIME: Final = gauge("start_time", "When the service started, since the epoch.", unit="seconds")
READY: Final = gauge("ready", "1 if requests would be accepted now, as /readyz says; else 0.")
CONFIGURATION_CONCERNS: Final = gauge(
    "configuration_concerns",
    "1 for what is unwise in the running configuration; the log says more at the start.",
    "concern",
    concern="receiver_open, receiver_token_in_clear, hec_token_in_clear, hec_not_verified, otlp_in_clear, "
    "executable_too_long, cap_below_score",
)
HTTP_REQUESTS: Final = counter(
    "http_requests",
    "Requests to the metrics and health endpoints.",
    "path",
    "code",
    path="/metrics, /livez, /readyz, /coverage, other",
    code="HTTP status",
)
HTTP_CONNECTIONS_CUT: Final = counter(
    "http_connections_cut",
    "Connections to the metrics and health endpoints that were ended before they were answered.",
    "reason",
    reason="slow: not done in time; crowded: the oldest of too many; refused: the newest of too many",
)
THREAD_FAILURES: Final = counter(
    "thread_failures", "Exceptions that ended a thread. Anything but 0 is a defect of this program."
)
