"""The values that travel between the rooms: what was measured, what was concluded.

Times are integers in nanoseconds. Three clocks exist and are never mixed (see
``docs/decisions/0002-time.md``):

* *event time* (``time_ns``, ``start_ns``): what a node's collector wrote on a data point;
* *service time* (``service_ns``): this service's own monotonic, persisted clock; it alone drives deadlines;
* *wall time* (``wall_ns``): the epoch clock of this machine; used for the envelope of an event only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.context import Cgroup, Context, Kin, Process

if TYPE_CHECKING:
    from collections.abc import Mapping

NANOSECONDS: Final = 1_000_000_000


class Metric(enum.StrEnum):
    """The two gauges that decide; both are off by default in the collector's process scraper."""

    CPU = "process.cpu.utilization"
    """0..1 for each state (hostmetrics ``processscraper``); absent on a process's first scrape."""
    MEMORY = "process.memory.utilization"
    """0..100 in spite of its unit "1"."""


@dataclass(frozen=True, slots=True, order=True)
class NodeId:
    """A worker node of a cluster. No state of the detector spans two of them."""

    cluster: str
    node: str


@dataclass(frozen=True, slots=True)
class ShellId:
    """The identity of a shell process.

    ``start_ns`` is the process's creation time after correction for a shifted boot time
    (``docs/decisions/0003-identity.md``); 0 when the collector wrote none.
    """

    node: NodeId
    host: str
    pid: int
    start_ns: int
    name: str


class Point(NamedTuple):
    """One data point of a watched metric.

    ``slot`` is the CPU state (``user``, ``system``, ``wait``, ...), empty for memory. ``value`` is ``None``
    when the point is flagged NO_RECORDED_VALUE (``DataPointFlags`` of opentelemetry-proto). Values are as
    received: which of them are evidence is the detector's decision.
    """

    metric: Metric
    slot: str
    time_ns: int
    value: float | None


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command line after redaction, cut to a bound.

    ``text`` is at most 2 KiB of UTF-8. ``length`` (bytes of UTF-8) and ``sha256`` (hex) describe the whole
    redacted text. ``sha256`` is empty when nothing was cut.
    """

    text: str
    length: int
    sha256: str = ""

    @property
    def truncated(self) -> bool:
        """Whether ``text`` is less than the whole."""
        return bool(self.sha256)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one frame (``ResourceMetrics``) says of one watched process with one start time.

    ``start_ns`` is as reported, 0 when absent. ``time_ns`` is the latest time of *any* of the frame's data
    points with that start, ``process.cpu.time`` and the like included: a frame without utilization points is
    still a sign of life. Empty text means that the attribute was absent or empty. ``cgroup`` is the text of
    ``process.cgroup``, cut; ``labels`` are what the collector's ``k8sattributes`` processor added.
    """

    host: str
    pid: int
    start_ns: int
    name: str
    time_ns: int
    points: tuple[Point, ...]
    parent_pid: int | None = None
    path: str = ""
    owner: str = ""
    command_line: CommandLine | None = None
    cgroup: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """What one request says of one node: the unit of the journal and of the detector's input.

    ``probe_times_ns`` are the times of the node's probe frames, that is of process frames which need not be
    shells: they show that the node was scraped. ``init_start_ns`` is the start time of pid 1 if the request
    holds its frame, else 0. ``processes`` are others that explain a shell: its ancestors, and an older
    process of its container. ``signs`` are those of the probe frames (:mod:`detector.signs`).
    """

    node: NodeId
    samples: tuple[Sample, ...]
    probe_times_ns: tuple[int, ...] = ()
    init_start_ns: int = 0
    processes: tuple[Process, ...] = ()
    signs: int = 0

    @property
    def times_ns(self) -> tuple[int, ...]:
        """The times of all its frames."""
        return (*self.probe_times_ns, *(sample.time_ns for sample in self.samples))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record with the time of its arrival, as the core stamps it."""

    record: Record
    service_ns: int
    wall_ns: int


class Kind(enum.StrEnum):
    """What a finding says of a session; in the order in which a session emits them."""

    OPENED = "opened"
    ONGOING = "ongoing"
    CLOSED = "closed"


class CloseReason(enum.StrEnum):
    """Why a session closed."""

    EXITED = "exited"
    NODE_SILENT = "node_silent"
    PID_REUSED = "pid_reused"
    UNTRACKED = "untracked"
    END_OF_CAPTURE = "end_of_capture"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Attributes of a shell, each from the earliest sample that had a non-empty value.

    ``start_ns`` is the creation time as reported by that sample, before any correction.
    """

    start_ns: int = 0
    parent_pid: int | None = None
    path: str = ""
    owner: str = ""
    command_line: CommandLine | None = None
    cgroup: Cgroup | None = None
    labels: tuple[tuple[str, str], ...] = ()
    kin: Kin | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Statistics over the surviving windows of a span: unweighted means of window means.

    A mean is ``None`` if no window had a point of its metric. ``cpu`` averages points, states included, as
    Splunk's ``avg()`` does; ``cpu_total`` has the states summed per timestamp. ``window_start_ns`` and
    ``window_end_ns`` bound the first and the last window, end exclusive. ``first_ns`` and ``last_ns`` are the
    times of the first and the last positive point.
    """

    windows: int
    window_start_ns: int
    window_end_ns: int
    first_ns: int
    last_ns: int
    cpu: float | None
    cpu_total: float | None
    memory: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact about a session, ready to be told.

    ``event_id`` and ``session_id`` are UUIDs (version 5), equal for equal facts: a redelivery, a restart and
    a replay carry the same. ``envelope_ns`` is the time of the event: never later than the arrival of the
    sample it comes from. ``first_seen_ns`` and ``last_seen_ns`` span the session so far. ``release_ns``
    (service time) orders findings; ``arrived_ns`` (wall time, 0 if it is not ``opened``) is when the evidence
    came in. Neither is in a payload. ``node_first_ns`` is the time of the node's first scrape that is known,
    0 if it is not ``opened``. ``score`` is the judge's.
    """

    event_id: str
    session_id: str
    kind: Kind
    shell: ShellId
    incarnation: int
    ordinal: int
    span: Span
    first_seen_ns: int
    last_seen_ns: int
    envelope_ns: int
    evidence: Evidence
    reason: CloseReason | None = None
    partial: bool = False
    release_ns: int = 0
    arrived_ns: int = 0
    context: Context = field(default_factory=Context)
    node_first_ns: int = 0
    score: int = 0


@dataclass(frozen=True, slots=True)
class SessionRow:
    """What must be remembered of an identity that has emitted, open or closed.

    ``last_seen_ns`` is its last positive point. ``emitted`` counts the ``ongoing`` findings of the
    incarnation. ``reason`` is ``None`` while it is open.
    """

    shell: ShellId
    incarnation: int
    emitted: int
    last_seen_ns: int
    reason: CloseReason | None = None


@dataclass(frozen=True, slots=True)
class SilentNode:
    """That no frame of a node comes any more, or that one has come again (``returned_ns`` is not ``None``).

    Told once each for a silence; no session closes by it. ``event_id`` is a UUID (version 5), equal for equal
    facts. ``host`` is that of a shell, empty if the node had none. ``last_scrape_ns`` and ``returned_ns`` are
    the event times of the last scrape before the silence and of the first after it. ``release_ns`` orders
    these facts as it does findings.
    """

    event_id: str
    node: NodeId
    host: str
    last_scrape_ns: int
    release_ns: int
    returned_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What the detector decided since the last step, in order of output, and what it counted.

    ``counts`` maps a name of :class:`detector.counts.Count` to how often it happened. ``blind_nodes`` are
    nodes that were found to send no memory utilization, each once. ``silent_nodes`` fell silent or came back.
    ``unplaced_nodes`` are nodes of whose shells too many have an unknown placement now.
    """

    findings: tuple[Finding, ...] = ()
    rows: tuple[SessionRow, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    blind_nodes: tuple[NodeId, ...] = ()
    silent_nodes: tuple[SilentNode, ...] = ()
    unplaced_nodes: tuple[NodeId, ...] = ()
