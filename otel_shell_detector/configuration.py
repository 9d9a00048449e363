"""The configuration as typed, frozen values: every key, its kind, its default and its meaning.

``docs/configuration.md`` is generated from this module, from the text under each key. Where values come from
is told in :mod:`otel_shell_detector.sources`, which of them do not go together in
:mod:`otel_shell_detector.checks`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from otel_shell_detector import kinds
from otel_shell_detector.addresses import Endpoint
from otel_shell_detector.quantities import Duration, Rate, Size

ENVIRONMENT_PREFIX: Final = "OTEL_SHELL_DETECTOR_"
_LONGEST: Final = 128
"""Characters of a text that stands in every event: these must leave room for evidence."""
_NAME_MAX: Final = 255
"""The longest name of a file on Linux, in bytes."""


def state_directory() -> Path:
    """Where a user's programs keep their state: XDG base directory specification, no relative paths."""
    configured = os.environ.get("XDG_STATE_HOME", "")
    if configured.startswith("/"):
        return Path(configured, "otel-shell-detector")
    home = os.path.expanduser("~")  # noqa: PTH111  # Path.home() raises for a uid without a home, as containers have
    if home.startswith("/"):
        return Path(home, ".local", "state", "otel-shell-detector")
    return Path("/var/lib/otel-shell-detector")


def _executable() -> kinds.Kind:
    def read(value: object) -> object:
        if (
            isinstance(value, str)
            and value.isprintable()
            and "/" not in value
            and 0 < len(value.encode()) <= _NAME_MAX
        ):
            return value
        raise kinds.UnwantedError

    schema = {"type": "string", "pattern": "^[^/]+$", "maxLength": _NAME_MAX}
    return kinds.Kind(f"a name of 1 to {_NAME_MAX} bytes without /", read, schema=schema)


class Section(BaseModel):
    """A mapping of the configuration; unknown keys are refused and nothing changes after the start."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True
    )


class ReceiverTlsSettings(Section):
    """``receiver.tls``."""

    cert_file: Annotated[Path | None, kinds.optional(kinds.file())] = None
    """Certificate chain of the receiver, PEM. With `key_file` it turns TLS on."""
    key_file: Annotated[Path | None, kinds.optional(kinds.secret_file())] = None
    """Private key of the certificate, PEM, not encrypted."""
    client_ca_file: Annotated[Path | None, kinds.optional(kinds.file())] = None
    """CA certificates, PEM. With it every collector must show a certificate that one of them signed."""


class ReceiverSettings(Section):
    """``receiver``: what the collectors send to."""

    endpoint: Annotated[Endpoint, kinds.endpoint()] = Endpoint("127.0.0.1", 4317)
    """Address of the OTLP/gRPC receiver. Reachable from other machines without TLS or a token it
    warns."""
    max_request_size: Annotated[Size, kinds.size("64KiB", "1GiB")] = Size.parse("16MiB")
    """The largest request that is taken, measured after decompression. A larger one is refused for
    good."""
    max_in_flight: Annotated[Size, kinds.size("64KiB", "64GiB")] = Size.parse("64MiB")
    """Memory that requests in progress may hold together; beyond it collectors are told to try again."""
    max_resources: Annotated[int, kinds.whole(1, 10_000_000)] = 100_000
    """The most resources (processes) in one request. A small compressed request can hold millions of
    empty ones."""
    workers: Annotated[int, kinds.whole(1, 4096)] = 256
    """Threads that answer collectors. They mostly wait for the common commit, so many are cheap; few slow
    it."""
    receive_timeout: Annotated[Duration, kinds.duration("100ms", "5m")] = Duration.parse("5s")
    """A request that is not complete after this time is cut off."""
    require_auth: Annotated[bool, kinds.flag()] = False
    """Refuse to start unless collectors must show who they are, by `bearer_token_file` or
    `tls.client_ca_file`."""
    tls: ReceiverTlsSettings = ReceiverTlsSettings()
    bearer_token_file: Annotated[Path | None, kinds.optional(kinds.secret_file())] = None
    """File with the tokens that collectors may send, one a line; any of them is accepted."""


class HttpSettings(Section):
    """``http``: metrics and health."""

    endpoint: Annotated[Endpoint, kinds.endpoint()] = Endpoint("127.0.0.1", 9464)
    """Address that serves `/metrics`, `/livez` and `/readyz`."""


class DetectorSettings(Section):
    """``detector``: what counts as a shell, and when it is told."""

    executables: Annotated[tuple[str, ...], kinds.list_of(_executable(), at_least=1)] = (
        "sh",
        "bash",
        "csh",
        "tcsh",
    )
    """Names of the programs to find, compared with `process.executable.name` exactly."""
    match: Annotated[
        tuple[Literal["name", "path"], ...], kinds.list_of(kinds.one_of("name", "path"), at_least=1)
    ] = ("name",)
    """What is compared: `name` is `process.executable.name`, as in the search; `path` is the base name of
    `process.executable.path`, which also finds scripts that name a shell in their first line."""
    window: Annotated[Duration, kinds.duration("1s", "1h")] = Duration.parse("10s")
    """Length of the windows over which samples are averaged; they begin at its multiples since the
    epoch."""
    lateness: Annotated[Duration, kinds.duration("0s", "1h")] = Duration.parse("5s")
    """How long a window stays open for late samples. A finding comes at most `window` + `lateness` after
    its sample."""
    renotify: Annotated[Duration, kinds.duration("1s", "30d")] = Duration.parse("1h")
    """How often a shell that keeps running is told again, as `ongoing`."""
    replay_horizon: Annotated[Duration, kinds.duration("1m", "24h")] = Duration.parse("1h")
    """How far back a delayed sample still counts; also how long a node is silent before its shells
    close."""
    emit: Annotated[Literal["window", "early"], kinds.one_of("window", "early")] = "window"
    """`window`: a shell is told when its window closes. `early`: at its first sample, with partial
    averages."""
    cluster_name: Annotated[str | None, kinds.optional(kinds.line(_LONGEST))] = None
    """Name of the cluster for samples that carry none. Without it they are told as `unknown`."""
    max_tracked_shells: Annotated[int, kinds.whole(1, 10_000_000)] = 100_000
    """The most shells that are followed at a time; one beyond it opens and closes at once, as
    `untracked`."""
    max_nodes: Annotated[int, kinds.whole(1, 1_000_000)] = 10_000
    """The most nodes that are followed at a time."""


class BurstSettings(Section):
    """``risk.burst``: shells that are alike."""

    after: Annotated[int, kinds.whole(0, 10_000)] = 3
    """How many of a kind are told on a node in a period, before the rest is counted in one `burst` event. 0:
    all are told."""
    period: Annotated[Duration, kinds.duration("1m", "24h")] = Duration.parse("1h")
    """The period."""


class RiskSettings(Section):
    """``risk``: what Enterprise Security is told."""

    name: Annotated[str, kinds.line(_LONGEST)] = "Kubernetes Shell Running on Worker Node"
    """Name of the detection; `source` and `search_name` are made of it."""
    profile: Annotated[Literal["balanced", "once", "seed"], kinds.one_of("balanced", "once", "seed")] = (
        "balanced"
    )
    """`balanced`: a shell scores by where it runs, what started it and how (docs/tuning.md). `once`: each
    scores `score` when it is opened. `seed`: and again each time it is told as `ongoing`, on its node, as the
    hourly search does."""
    score: Annotated[int, kinds.whole(0, 100)] = 25
    """`risk_score` of a shell, unless the profile has its own."""
    impact: Annotated[int, kinds.whole(0, 100)] = 50
    """`impact` of a finding."""
    confidence: Annotated[int, kinds.whole(0, 100)] = 50
    """`confidence` of a finding."""
    message: Annotated[str, kinds.line(2 * _LONGEST)] = (
        "Kubernetes shell running on worker node on host $host$"
    )
    """`risk_message`; a field's name between dollar signs stands for its value."""
    host_field: Annotated[
        Literal["host.name", "k8s.node.name"], kinds.one_of("host.name", "k8s.node.name")
    ] = "host.name"
    """The attribute that names a node as a risk object."""
    pod_object: Annotated[Literal["pod", "node"], kinds.one_of("pod", "node")] = "pod"
    """What the risk of a shell in a pod is attributed to. `pod`: its workload, else the pod."""
    preexisting: Annotated[Literal["score", "summary"], kinds.one_of("score", "summary")] = "score"
    """Shells that started before the first scrape of their node. `score`: graded like any other. `summary`:
    one event for each node and the detail without a score, but for those that read commands or hint at an
    escape."""
    baseline: Annotated[Duration, kinds.duration("0s", "30d")] = Duration.parse("24h")
    """How long a node is watched before something on it is called novel."""
    max_per_object: Annotated[Rate | None, kinds.optional(kinds.rate(1, 100_000))] = None
    """The most points that a risk object may score in a period. An event that would exceed them goes to the
    context index as a whole, with `capped_score`."""
    cpu_rule: Annotated[bool, kinds.flag()] = False
    """Whether an event of a shell that used CPU stands for the twin rule "with CPU Activity" too
    (`rules`)."""
    burst: BurstSettings = BurstSettings()

    @property
    def search_name(self) -> str:
        """The name under which Enterprise Security knows a rule's events."""
        return f"Threat - OTel Shell Detector - {self.name} - Rule"


class FileSettings(Section):
    """``exporter.file``."""

    path: Annotated[Path | None, kinds.optional(kinds.file())] = None
    """File that events are appended to, one JSON object a line. Needed by `sink: file`."""


class HecTlsSettings(Section):
    """``exporter.hec.tls``."""

    ca_file: Annotated[Path | None, kinds.optional(kinds.file())] = None
    """CA certificates that Splunk's certificate is checked with, PEM. Default: the system's."""
    insecure_skip_verify: Annotated[bool, kinds.flag()] = False
    """Accept any certificate: whoever is in between reads the token. Warns."""


class HecSettings(Section):
    """``exporter.hec``: Splunk's HTTP Event Collector."""

    url: Annotated[str | None, kinds.optional(kinds.base_url("https://splunk:8088"))] = None
    """Base URL of the collector (`https://splunk:8088`); the paths are added. `http://` warns. Needed by
    `sink: hec`."""
    token_file: Annotated[Path | None, kinds.optional(kinds.secret_file())] = None
    """File with the HEC token, read again when it changes. Needed by `sink: hec`."""
    index: Annotated[str, kinds.line(_LONGEST)] = "risk"
    """Index of events that carry a score."""
    context_index: Annotated[str, kinds.line(_LONGEST)] = "otel_shell"
    """Index of events without a score (`ongoing`, `closed`)."""
    audit_index: Annotated[str, kinds.line(_LONGEST)] = "otel_shell"
    """Index of what the service tells of itself."""
    staged: Annotated[bool, kinds.flag()] = False
    """Whether a saved search in Splunk copies events with a score into the risk index (docs/splunk.md). Then,
    and only then, `index` is `context_index`."""
    source: Annotated[str | None, kinds.optional(kinds.line(2 * _LONGEST))] = None
    """`source` of every event. Default: `Threat - OTel Shell Detector - <risk.name> - Rule`."""
    sourcetype: Annotated[str, kinds.line(_LONGEST)] = "otel:shell:risk"
    """`sourcetype` of every event."""
    ack: Annotated[bool, kinds.flag()] = False
    """Wait for indexer acknowledgement, which the token must have enabled."""
    ack_timeout: Annotated[Duration, kinds.duration("2m", "1h")] = Duration.parse("120s")
    """How long to wait for an acknowledgement before a batch is sent again. Indexers take minutes under
    load."""
    proxy_url: Annotated[str | None, kinds.optional(kinds.base_url("http://proxy:3128"))] = None
    """HTTP proxy to reach Splunk through. Proxies named in the environment are not used."""
    tls: HecTlsSettings = HecTlsSettings()
    timeout: Annotated[Duration, kinds.duration("100ms", "5m")] = Duration.parse("10s")
    """The longest that one request may take, connecting and reply included."""
    max_batch_size: Annotated[Size, kinds.size("16KiB", "1MiB")] = Size.parse("1MB")
    """The most bytes of events in one request, before compression."""
    gzip: Annotated[bool, kinds.flag()] = True
    """Compress requests."""


class OtlpTlsSettings(Section):
    """``exporter.otlp.tls``."""

    ca_file: Annotated[Path | None, kinds.optional(kinds.file())] = None
    """CA certificates that the collector's certificate is checked with, PEM. Default: those that gRPC brings
    along."""
    cert_file: Annotated[Path | None, kinds.optional(kinds.file())] = None
    """Certificate chain to show to the collector, PEM. With `key_file`."""
    key_file: Annotated[Path | None, kinds.optional(kinds.secret_file())] = None
    """Private key of that certificate, PEM, not encrypted."""


class OtlpSettings(Section):
    """``exporter.otlp``: a collector that delivers to Splunk."""

    endpoint: Annotated[str | None, kinds.optional(kinds.base_url("https://collector:4317"))] = None
    """Base URL of the collector's OTLP/gRPC receiver (`https://collector:4317`); without a port, 4317.
    `http://` is plain text, and warns unless it stays on this machine. Needed by `sink: otlp`."""
    token_file: Annotated[Path | None, kinds.optional(kinds.secret_file())] = None
    """File with a bearer token for the collector, read again when it changes."""
    tls: OtlpTlsSettings = OtlpTlsSettings()
    timeout: Annotated[Duration, kinds.duration("100ms", "5m")] = Duration.parse("10s")
    """The longest that one request may take, connecting and reply included."""
    gzip: Annotated[bool, kinds.flag()] = True
    """Compress requests."""
    fields: Annotated[Literal["body", "attributes"], kinds.one_of("body", "attributes")] = "body"
    """Where a record holds the fields of an event. `body`: in its body, as JSON; the collector's `splunk_hec`
    exporter makes the same event of it that `sink: hec` sends. `attributes`: each as an attribute, for other
    back ends; `splunk_hec` makes indexed fields of them (docs/delivery.md)."""


class ExporterSettings(Section):
    """``exporter``: where findings go."""

    sink: Annotated[
        Literal["stdout", "file", "hec", "otlp"], kinds.one_of("stdout", "file", "hec", "otlp")
    ] = "stdout"
    """`stdout`: a JSON object a line. `file`: the same into a file. `hec`: Splunk. `otlp`: a collector that
    delivers to Splunk. Indexes, `source` and `sourcetype` are those of `exporter.hec` for every sink."""
    file: FileSettings = FileSettings()
    hec: HecSettings = HecSettings()
    otlp: OtlpSettings = OtlpSettings()
    redact: Annotated[tuple[str, ...], kinds.list_of(kinds.regex())] = ()
    """Regular expressions (Python's) of what to hide in command lines, beside passwords and tokens."""


class PolicySettings(Section):
    """``policy``."""

    path: Annotated[Path | None, kinds.optional(kinds.file())] = None
    """File with policies, or directory whose `*.yaml` and `*.yml` hold them; docs/policies.md tells how.
    Looked at each second; what cannot be used leaves in force what was there before."""


class StateSettings(Section):
    """``state``: what survives a restart."""

    path: Annotated[Path, kinds.file()] = Field(default_factory=state_directory)
    """Directory of the state: what was accepted and not yet told or delivered. One process alone works in
    it. Default: `otel-shell-detector` in `$XDG_STATE_HOME` (`~/.local/state`)."""
    ephemeral: Annotated[bool, kinds.flag()] = False
    """Keep the state in memory, for pods without a volume: open windows close early at a stop, what cannot
    be delivered then is lost, and the ids of events differ from start to start."""
    max_size: Annotated[Size, kinds.size("64MiB", "1024GiB")] = Size.parse("1GiB")
    """The most that the state may take on disk. Remembered closed shells and dead letters give way first;
    then collectors are told to try again. Events that were not delivered never give way."""


class LogSettings(Section):
    """``log``: standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], kinds.one_of("debug", "info", "warning", "error")
    ] = "info"
    """The least severe log events that are written."""
    format: Annotated[Literal["json", "console"], kinds.one_of("json", "console")] = "json"
    """`json`: one object a line. `console`: for people."""


class Settings(Section):
    """The whole configuration."""

    receiver: ReceiverSettings = ReceiverSettings()
    http: HttpSettings = HttpSettings()
    detector: DetectorSettings = DetectorSettings()
    risk: RiskSettings = RiskSettings()
    exporter: ExporterSettings = ExporterSettings()
    policy: PolicySettings = PolicySettings()
    state: StateSettings = Field(default_factory=StateSettings)
    log: LogSettings = LogSettings()

    @property
    def source(self) -> str:
        """``source`` of every event."""
        return self.exporter.hec.source or self.risk.search_name
