"""Small captures for the comparison: what a node's collector sends at a time, as requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.types import NANOSECONDS
from otel_shell_detector.comparison.matching import compare
from otel_shell_detector.comparison.observing import Observer
from otel_shell_detector.sources import load
from tests.otlp_receiver.encode import (
    NODE,
    Attributes,
    attributes,
    data,
    double,
    gauge,
    memory,
    point,
    process,
)

if TYPE_CHECKING:
    from otel_shell_detector.comparison.shells import Comparison

RUN = 1_800_003_600
"""An hour on the clock: when a run starts. Times of a scene are seconds before (negative) or after it."""
START = -4000.0


def ns(at: float) -> int:
    return RUN * NANOSECONDS + round(at * NANOSECONDS)


def cpu(at: float, *values: float, start: float = START, flags: int = 0, **own: str) -> bytes:
    """A point for each value; the states are user, system, wait, as many as there are."""
    states = ("user", "system", "wait")[: len(values)]
    return gauge(
        "process.cpu.utilization",
        *(
            point(
                double(4, value),
                time_ns=ns(at),
                start_ns=ns(start),
                flags=flags,
                states={"state": state, **{name.replace("_", "."): text for name, text in own.items()}},
            )
            for state, value in zip(states, values, strict=True)
        ),
    )


def mem(at: float, value: float, start: float = START) -> bytes:
    return memory(value, time_ns=ns(at), start_ns=ns(start))


def frame(resource: Attributes, *metrics: bytes) -> bytes:
    scope = b"".join(data(2, metric) for metric in metrics)
    return data(1, data(2, scope) + data(1, attributes(1, resource.items())))


def shell(*metrics: bytes, pid: int | str = 7, name: str = "bash", without: str = "") -> bytes:
    """A request with one frame of a shell, as all requests here."""
    resource = NODE | process(pid, name, command_line=f"-{name}")
    return frame({key: value for key, value in resource.items() if key != without}, *metrics)


def other(at: float) -> bytes:
    """The node is scraped, and no shell is there."""
    return frame(NODE | process(1, "systemd"), mem(at, 1.0))


def compared(*requests: bytes, **settings: str) -> Comparison:
    """What ``compare`` finds; ``settings`` are of the detector."""
    environment = {f"OTEL_SHELL_DETECTOR_DETECTOR__{name.upper()}": text for name, text in settings.items()}
    observer = Observer(load(None, environment))
    for body in requests:
        observer.feed(body)
    return compare(observer.finish())
