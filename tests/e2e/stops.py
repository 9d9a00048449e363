"""Services that are stopped for some time, behind one real collector that is configured as we recommend.

All stops begin at one moment, and all services are sent the same, so that only the longest has to be waited
for::

    service   0 s    20 s                 120 s                                     360 s
    never     ------------------------------------------------------------------------------------
    *-20      |......|----------------------------------------------------------------------------
    *-120     |...........................|-------------------------------------------------------
    *-360     |.....................................................................|-------------
    shells
    through   ------------------------------------------------------------------------------------
    ending    -|
    inside      |--|
    starting    ----------------------------------------------------------------------------------
    long                                       |---------|
    after                                                                             ------------
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.e2e.processes import ROOT, Service, Splunk, Started, until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable
    from pathlib import Path

LENGTHS: Final = (20, 120, 360)
"""Of the stops, in seconds."""
STOPPED: Final = tuple(f"{how}-{length}" for how in ("term", "kill") for length in LENGTHS)
NEVER: Final = "never"
"""The service that is not stopped: what the others tell has to be what it tells."""
_SETTLED_S: Final = 240
"""The collector's largest backoff (45 s), a window (15 s), three scrapes (30 s) and 60 s until a shell counts
as gone; and as much again for a machine that has other things to do."""

Envelope = dict[str, Any]


@dataclass
class Run:
    """What was started, and what came of it."""

    started: Started
    splunk: Splunk
    services: dict[str, Service]
    shells: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    down_s: dict[str, float] = field(default_factory=dict)
    """From the signal to the start, by service."""
    ended: float = 0.0
    """When the last service was started again; what began before it must be told by all of them."""
    told: dict[str, list[Envelope]] = field(default_factory=dict)
    """What was delivered, by service, in order of arrival."""


def play(started: Started) -> Run:
    """The story; it takes ten minutes, of which it waits nine."""
    splunk = Splunk(started, ack=False)
    services = {name: Service(started, name, splunk) for name in (NEVER, *STOPPED)}
    run = Run(started, splunk, services)
    _begin(run, "through", "ending")
    # In the middle of a window, so that a scrape is not split over two.
    until("the middle of a window", lambda: 1 < time.time() % 10 < 2, 15, every_s=0.05)
    agent = started.collector("agent", _recommended(started.folder, services.values()))
    for name in services:
        until(f"{name}: the shells are told", lambda n=name: _has_opened(run, n), 90, every_s=1)  # type: ignore[misc]

    stopped_at = _stop(run)
    _end(run, "ending")
    _begin(run, "inside", "starting")
    until("the shell inside is sampled", lambda: _is_sampled(run, "inside"), 17)
    _end(run, "inside")
    assert time.monotonic() - stopped_at < LENGTHS[0] - 1
    for length in LENGTHS:
        if length == LENGTHS[-1]:
            _live_inside(run)
        time.sleep(max(0.0, stopped_at + length - time.monotonic()))
        for name in STOPPED:
            if name.endswith(f"-{length}"):
                run.down_s[name] = time.monotonic() - stopped_at
                services[name].start()
    run.ended = time.time()
    _begin(run, "after")
    until("all tell the same", lambda: _agree(run), _SETTLED_S, every_s=2)
    agent.terminate()
    agent.wait(timeout=30)
    for service in services.values():
        assert service.terminate() == 0
    run.told = _told(run)
    return run


def _stop(run: Run) -> float:
    """Stop all services that are to be stopped, at one moment; returns it."""
    for name in STOPPED:
        if name.startswith("kill"):
            run.services[name].kill()
        else:
            run.services[name].process.terminate()
    stopped_at = time.monotonic()
    for name in STOPPED:
        status = run.services[name].process.wait(timeout=25)
        assert status == (-9 if name.startswith("kill") else 0), run.services[name].log()
    return stopped_at


def _live_inside(run: Run) -> None:
    """A shell that lives only while nothing but the longest stop goes on."""
    time.sleep(10)
    _begin(run, "long")
    until("the long shell is sampled", lambda: _is_sampled(run, "long"), 60)
    time.sleep(20)
    _end(run, "long")


def _begin(run: Run, *names: str) -> None:
    for name in names:
        run.shells[name] = run.started.start(
            f"shell-{name}", ["bash", "-c", f"read answer; exit 0 # stops-{name}"]
        )


def _end(run: Run, name: str) -> None:
    run.shells[name].terminate()
    run.shells[name].wait()


def _is_sampled(run: Run, name: str) -> bool:
    return f"# stops-{name}".encode() in (run.started.folder / "sent").read_bytes()


def _recommended(folder: Path, services: Iterable[Service]) -> str:
    """The configuration that we recommend, with an exporter for each service, and one to a file."""
    text = (ROOT / "deploy/collector/agent.yaml").read_text()
    for name, value in {"K8S_NODE_NAME": "node-stops", "K8S_CLUSTER_NAME": "e2e"}.items():
        text = text.replace(f"${{env:{name}}}", value)
    config = yaml.safe_load(text)
    config["receivers"]["host_metrics/shell-detector"]["root_path"] = "/"
    config["extensions"]["file_storage/shell-detector"]["directory"] = str(folder / "queue")
    pipeline = config["service"]["pipelines"]["metrics/shell-detector"]
    del config["processors"]["k8s_attributes/shell-detector"]  # there is no cluster
    pipeline["processors"].remove("k8s_attributes/shell-detector")
    exporter = config["exporters"].pop("otlp_grpc/shell-detector")
    for service in services:
        config["exporters"][f"otlp_grpc/{service.name}"] = exporter | {
            "endpoint": f"127.0.0.1:{service.port}"
        }
    config["exporters"]["file"] = {"path": str(folder / "sent"), "format": "proto"}
    pipeline["exporters"] = list(config["exporters"])
    config["service"]["telemetry"] = {"metrics": {"level": "none"}, "logs": {"encoding": "json"}}
    return yaml.safe_dump(config)


def _told(run: Run) -> dict[str, list[Envelope]]:
    told: dict[str, list[Envelope]] = {name: [] for name in run.services}
    for envelope in run.splunk.everything():
        told[envelope["source"]].append(envelope | {"source": ""})
    return told


def _has_opened(run: Run, name: str) -> bool:
    return run.services[name].opened(*(shell.pid for shell in run.shells.values()))


def facts(run: Run, envelopes: list[Envelope]) -> set[tuple[str, str]]:
    """(event id, kind) of what was the case before the last service was started again, of whichever shell."""
    found = (each["event"] for each in envelopes)
    begins = {"opened": "process.start_time", "closed": "last_seen"}
    return {(each["event_id"], each["kind"]) for each in found if each[begins[each["kind"]]] < run.ended}


def _agree(run: Run) -> bool:
    """Whether every service has told what ours did, and all of them the same of every other shell."""
    told = _told(run)
    ours = {name: shell.pid for name, shell in run.shells.items()}
    ended = {ours[name] for name in ("ending", "inside", "long")}
    for envelopes in told.values():
        pids = {(each["event"]["kind"], each["event"]["process.pid"]) for each in envelopes}
        if not {("opened", pid) for pid in ours.values()} | {("closed", pid) for pid in ended} <= pids:
            return False
    return all(facts(run, told[name]) == facts(run, told[NEVER]) for name in STOPPED)
