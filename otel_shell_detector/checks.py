"""What no single key can tell: keys that exclude each other, missing files, what works but is unwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from detector.judging.profiles import PROFILES
from otel_shell_detector.addresses import Endpoint
from otel_shell_detector.keys import KEYS
from otel_shell_detector.kinds import show
from telemetry import events, metrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_shell_detector.configuration import OtlpSettings, RiskSettings, Settings

_MOST_WINDOWS: Final = 4096
"""A session keeps one bit for each window of the horizon: 512 bytes of the 1 KiB that a session may cost."""
_COMM: Final = 15
"""The bytes of a process's name that Linux keeps: ``TASK_COMM_LEN`` without the terminating zero."""


class Mistake(NamedTuple):
    """Why a configuration cannot be used: the key that is to blame, and the rest of the line."""

    key: str
    text: str


class Concern(NamedTuple):
    """What an operator should know of a configuration that works; ``name`` labels the metric."""

    name: str
    text: str


def mistakes(settings: Settings) -> Iterator[Mistake]:
    """Why a well-formed configuration must be refused; reads the first byte of each file it names."""
    yield from _receiver(settings)
    yield from _detector(settings)
    yield from _exporter(settings)


def _receiver(settings: Settings) -> Iterator[Mistake]:
    receiver, tls = settings.receiver, settings.receiver.tls
    if receiver.max_request_size > receiver.max_in_flight:
        yield Mistake(
            "receiver.max_request_size",
            f"got {receiver.max_request_size}; "
            f"want at most receiver.max_in_flight ({receiver.max_in_flight})",
        )
    if tls.cert_file and not tls.key_file:
        yield Mistake("receiver.tls.key_file", "got nothing; want the key of receiver.tls.cert_file")
    if tls.key_file and not tls.cert_file:
        yield Mistake("receiver.tls.cert_file", "got nothing; want the certificate of receiver.tls.key_file")
    if tls.client_ca_file and not tls.cert_file and not tls.key_file:
        yield Mistake(
            "receiver.tls.cert_file", "got nothing; want one, for receiver.tls.client_ca_file needs TLS"
        )
    if receiver.require_auth and not receiver.bearer_token_file and not tls.client_ca_file:
        yield Mistake(
            "receiver.require_auth",
            "got true; want receiver.bearer_token_file or receiver.tls.client_ca_file with it",
        )
    yield from _readable("receiver.tls.cert_file", tls.cert_file)
    yield from _readable("receiver.tls.key_file", tls.key_file)
    yield from _readable("receiver.tls.client_ca_file", tls.client_ca_file)
    yield from _readable("receiver.bearer_token_file", receiver.bearer_token_file)


def _detector(settings: Settings) -> Iterator[Mistake]:
    detector = settings.detector
    window, horizon = detector.window.nanoseconds, detector.replay_horizon.nanoseconds
    if horizon % window:
        yield Mistake(
            "detector.replay_horizon",
            f"got {detector.replay_horizon}; want a multiple of detector.window ({detector.window})",
        )
    elif horizon // window > _MOST_WINDOWS:
        yield Mistake(
            "detector.replay_horizon",
            f"got {detector.replay_horizon}; "
            f"want at most {_MOST_WINDOWS} times detector.window ({detector.window})",
        )
    if detector.lateness > detector.replay_horizon:
        yield Mistake(
            "detector.lateness",
            f"got {detector.lateness}; want at most detector.replay_horizon ({detector.replay_horizon})",
        )
    if detector.renotify < detector.window:
        yield Mistake(
            "detector.renotify", f"got {detector.renotify}; want at least detector.window ({detector.window})"
        )


def _exporter(settings: Settings) -> Iterator[Mistake]:
    exporter, hec = settings.exporter, settings.exporter.hec
    if hec.staged and hec.index != hec.context_index:
        wanted = f"want {hec.context_index} as context_index, for exporter.hec.staged is true"
        yield Mistake("exporter.hec.index", f"got {show(hec.index)}; {wanted}")
    for name, index in (("context_index", hec.context_index), ("audit_index", hec.audit_index)):
        if index == hec.index and not hec.staged:
            # Enterprise Security sums scores over the risk index.
            yield Mistake(f"exporter.hec.{name}", f"got {show(index)}; want another than exporter.hec.index")
    if exporter.sink == "file" and exporter.file.path is None:
        yield Mistake("exporter.file.path", "got nothing; want a path, for exporter.sink is file")
    if exporter.sink == "hec":
        if hec.url is None:
            yield Mistake(
                "exporter.hec.url", "got nothing; want the base URL of Splunk, for exporter.sink is hec"
            )
        if hec.token_file is None:
            yield Mistake("exporter.hec.token_file", "got nothing; want a path, for exporter.sink is hec")
        yield from _readable("exporter.hec.token_file", hec.token_file)
        yield from _readable("exporter.hec.tls.ca_file", hec.tls.ca_file)
    if exporter.sink == "otlp":
        yield from _otlp(exporter.otlp)


def _otlp(otlp: OtlpSettings) -> Iterator[Mistake]:
    tls = otlp.tls
    if otlp.endpoint is None:
        yield Mistake(
            "exporter.otlp.endpoint",
            "got nothing; want the base URL of a collector, for exporter.sink is otlp",
        )
    if tls.cert_file and not tls.key_file:
        yield Mistake(
            "exporter.otlp.tls.key_file", "got nothing; want the key of exporter.otlp.tls.cert_file"
        )
    if tls.key_file and not tls.cert_file:
        yield Mistake(
            "exporter.otlp.tls.cert_file", "got nothing; want the certificate of exporter.otlp.tls.key_file"
        )
    if otlp.endpoint and not otlp.endpoint.startswith("https:") and (tls.ca_file or tls.cert_file):
        yield Mistake(
            "exporter.otlp.endpoint",
            f"got {show(otlp.endpoint)}; want https://, for exporter.otlp.tls is set",
        )
    yield from _readable("exporter.otlp.token_file", otlp.token_file)
    yield from _readable("exporter.otlp.tls.ca_file", tls.ca_file)
    yield from _readable("exporter.otlp.tls.cert_file", tls.cert_file)
    yield from _readable("exporter.otlp.tls.key_file", tls.key_file)


def _readable(key: str, path: Path | None) -> Iterator[Mistake]:
    """A mistake unless the file can be read and holds something."""
    if path is None:
        return
    got = f"got {KEYS[key].kind.shown(str(path))}; want a file that can be read and is not empty"
    try:
        with path.open("rb") as file:
            if not file.read(1):
                yield Mistake(key, f"{got} (it is empty)")
    except OSError as error:
        yield Mistake(key, f"{got} ({error.strerror})")


def concerns(settings: Settings) -> Iterator[Concern]:
    """What works but is unwise."""
    receiver, hec = settings.receiver, settings.exporter.hec
    if not receiver.endpoint.is_loopback:
        if not receiver.bearer_token_file and not receiver.tls.cert_file:
            yield Concern(
                "receiver_open",
                f"receiver.endpoint: {receiver.endpoint} is reachable from other machines with neither TLS "
                "nor a token: whoever reaches it can send samples",
            )
        elif not receiver.tls.cert_file:
            yield Concern(
                "receiver_token_in_clear",
                f"receiver.bearer_token_file: tokens reach {receiver.endpoint} unencrypted; set receiver.tls",
            )
    if settings.exporter.sink == "hec":
        if hec.url and hec.url.startswith("http:"):
            yield Concern(
                "hec_token_in_clear",
                f"exporter.hec.url: {hec.url} is not https: the token is sent unencrypted",
            )
        if hec.tls.insecure_skip_verify:
            yield Concern(
                "hec_not_verified",
                "exporter.hec.tls.insecure_skip_verify: whoever is in between can read the token",
            )
    otlp = settings.exporter.otlp
    if settings.exporter.sink == "otlp" and otlp.endpoint and _in_clear(otlp.endpoint):
        token = " and the token are" if otlp.token_file else " are"
        yield Concern(
            "otlp_in_clear",
            f"exporter.otlp.endpoint: {otlp.endpoint} is not https: events{token} sent unencrypted",
        )
    for name in settings.detector.executables:
        if len(name.encode()) > _COMM and "path" not in settings.detector.match:
            yield Concern(
                "executable_too_long",
                f"detector.executables: Linux keeps {_COMM} bytes of a process's name; {show(name)} is found "
                "only while its argument 0 goes on from them; match path too",
            )
    yield from _cap(settings.risk)


def _cap(risk: RiskSettings) -> Iterator[Concern]:
    """A score that is more than its object may have is not cut, it is not given."""
    cap = risk.max_per_object
    scores = {row.name: risk.score if row.score is None else row.score for row in PROFILES[risk.profile].rows}
    highest = max(scores, key=scores.__getitem__)
    if cap is not None and cap.count < scores[highest]:
        yield Concern(
            "cap_below_score",
            f"risk.max_per_object: {cap} is less than the {scores[highest]} of {highest} in the profile "
            f"{risk.profile}: such a shell never scores",
        )


def _in_clear(url: str) -> bool:
    """Whether what is sent there leaves this machine (this pod) unencrypted."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not Endpoint(parts.hostname or "", 0).is_loopback


def report(settings: Settings) -> None:
    """Log and count what is unwise, once at the start."""
    for concern in concerns(settings):
        metrics.CONFIGURATION_CONCERNS.labels(concern.name).set(1)
        events.CONFIGURATION_CONCERN(concern=concern.name, text=concern.text)
