"""The context of every shell: the product's is the expected one, and each cited place holds what is cited."""

from __future__ import annotations

import functools
import importlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from exporter.context_fields import CONTEXT_FIELDS
from tests.expectations import context
from tests.expectations.test_events import CAPTURES, FILES, HERE, replay

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.version_info >= (3, 14):
    zstd = importlib.import_module("compression.zstd")
else:
    from backports import zstd

pytestmark = pytest.mark.timeout(400)  # it decodes whole captures in plain Python
EVIDENCE = 9
"""Fields that are no context: what the process says of itself."""


@functools.cache
def committed(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / f"{name}.context.json").read_text("utf-8"))
    return found


def shells(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The places and the fields of each shell."""
    for shell in committed(name)["shells"]:
        yield shell["from"], shell["context"]


@pytest.mark.parametrize("name", FILES)
def test_the_committed_context_is_what_the_capture_gives(name: str) -> None:
    assert context.text(name) == (HERE / f"{name}.context.json").read_text("utf-8")


# --- the product


def identity(event: dict[str, Any]) -> tuple[int, float]:
    return event["process.pid"], event["process.start_time"]


def values(fields: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, (value, _) in fields.items()}


@pytest.mark.parametrize("name", FILES)
def test_every_shell_is_told_with_the_expected_context(name: str) -> None:
    printed = replay("--config", HERE / "context.yaml", CAPTURES / FILES[name][0]).splitlines()
    events = [event for line in printed if (event := json.loads(line)["event"])["kind"] == "opened"]
    expected = [values(fields) for _, fields in shells(name)]
    fields = expected[0].keys() | set(committed(name)["in no frame"])
    told = [{field: event.get(field) for field in fields} for event in events]
    absent = dict.fromkeys(committed(name)["in no frame"])
    assert sorted(told, key=identity) == sorted((each | absent for each in expected), key=identity)


@pytest.mark.parametrize("profile", ["events", "balanced"])
@pytest.mark.parametrize("name", FILES)
def test_so_is_every_event_of_a_shell_whatever_the_profile(name: str, profile: str) -> None:
    lines = (HERE / f"{name}.{profile}.jsonl").read_text("utf-8").splitlines()
    events = [event for line in lines if "session_id" in (event := json.loads(line)["event"])]
    expected = {identity(each): each for each in (values(fields) for _, fields in shells(name))}
    told = set(map(identity, events))
    assert told == expected.keys() if profile == "events" else told <= expected.keys()
    # Of another time than the opening's; and nothing is novel before the node's first day is over.
    of_openings = {"shell.novel", "preexisting"}
    for event in events:
        fields = expected[identity(event)].keys() - of_openings
        assert {field: event.get(field) for field in fields} == {
            field: expected[identity(event)][field] for field in fields
        }


@pytest.mark.parametrize("name", FILES)
def test_no_field_of_the_context_is_left_out(name: str) -> None:
    of_events = {field.name for field in CONTEXT_FIELDS}
    for _, fields in shells(name):
        expected = fields.keys() | set(committed(name)["in no frame"])
        assert of_events <= expected
        assert len(expected - of_events) == EVIDENCE


# --- the places, read by others: the file exporter's JSON by its lines, protobuf by its own runtime


Process = dict[str, Any]


def of_json(name: str) -> list[list[Process]]:
    # Bytes that are not UTF-8 stand in it as they are.
    lines = (CAPTURES / f"{name}.json").read_bytes().decode("utf-8", "surrogateescape").splitlines()
    return [[json_process(frame) for frame in json.loads(line)["resourceMetrics"]] for line in lines]


def json_process(frame: dict[str, Any]) -> Process:
    attributes = {
        each["key"]: int(value)
        if kind == "intValue"
        else value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        for each in frame["resource"]["attributes"]
        for kind, value in each["value"].items()
    }
    points = [
        point
        for scope in frame["scopeMetrics"]
        for metric in scope["metrics"]
        for data in metric.values()
        if isinstance(data, dict)
        for point in data["dataPoints"]
    ]
    starts = {int(point["startTimeUnixNano"]) for point in points}
    return attributes | {"starts": starts, "time_ns": min(int(point["timeUnixNano"]) for point in points)}


def of_protobuf(name: str) -> list[list[Process]]:
    data = zstd.decompress((CAPTURES / f"{name}.pb.zst").read_bytes())
    found = []
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        request = ExportMetricsServiceRequest.FromString(data[4:end])
        found.append([protobuf_process(frame) for frame in request.resource_metrics])
        data = data[end:]
    return found


def protobuf_process(frame: Any) -> Process:
    attributes = {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in frame.resource.attributes
    }
    points = [
        point
        for scope in frame.scope_metrics
        for metric in scope.metrics
        for point in (metric.gauge if metric.HasField("gauge") else metric.sum).data_points
    ]
    starts = {point.start_time_unix_nano for point in points}
    return attributes | {"starts": starts, "time_ns": min(point.time_unix_nano for point in points)}


@functools.cache
def capture(name: str) -> list[list[Process]]:
    return of_json(name) if (CAPTURES / f"{name}.json").exists() else of_protobuf(name)


def found_at(name: str, place: dict[str, Any], attribute: str) -> Any:
    process = capture(name)[place["line"] - 1][place["frame"] - 1]
    if attribute == "pid":
        return process["process.pid"]
    if attribute == "start_ns":
        (start,) = process["starts"]
        return start
    value = process.get(attribute, "")
    if attribute == "process.cgroup":
        # The line of cgroup v2; all lines of v1 are the root.
        *v1, v2 = value.split("\n")
        assert all(line.endswith(":/") for line in v1)
        return v2
    return None if value == "" else value


@pytest.mark.parametrize("name", FILES)
def test_each_cited_place_of_the_capture_holds_what_is_cited(name: str) -> None:
    looked_up = 0
    for places, _ in shells(name):
        for place in (place for row, place in places.items() if row != "truth"):
            cited = {key: value for key, value in place.items() if key not in {"line", "frame"}}
            assert {attribute: found_at(name, place, attribute) for attribute in cited} == cited
            looked_up += len(cited)
    assert looked_up >= 20 * len(committed(name)["shells"])


@pytest.mark.parametrize("name", [name for name in FILES if name != "worker-4"])
def test_each_cited_line_of_the_truth_holds_what_is_cited(name: str) -> None:
    lines = (CAPTURES / f"{name}.truth.tsv").read_text("utf-8").splitlines()
    for places, fields in shells(name):
        truth = places["truth"]
        _, _, what, pid, *parent, argv = lines[truth["line"] - 1].split("\t")
        assert (what, int(pid), argv.strip()) == (truth["what"], truth["pid"], truth["argv"])
        told = values(fields)
        of_process, of_line = {
            "itself": ("process.pid", "process.command_line"),
            "child": ("process.parent_pid", "process.parent.command_line"),
        }[truth["relation"]]
        assert int(pid) == told[of_process]
        if argv != "csh":  # which writes "-sh" over its arguments
            assert argv.strip() == told[of_line]
        if parent and truth["relation"] == "itself":
            assert int(parent[0]) == told["process.parent_pid"]


@pytest.mark.parametrize("name", FILES)
def test_each_field_comes_from_a_place_that_is_named_or_from_another_field(name: str) -> None:
    for places, fields in shells(name):
        for source in (source for _, sources in fields.values() for source in sources):
            row, _, attribute = source.rpartition(" ")
            assert source in fields or attribute in places[row], source


VERBATIM = (
    *("process.executable.name", "process.executable.path", "process.owner", "process.parent_pid"),
    *("process.command_line", "process.parent.command_line", "process.parent.executable.name"),
    *("systemd.unit", "systemd.slice", "k8s.pod.uid", "container.id", "shell.runs"),
)


@pytest.mark.parametrize("name", FILES)
def test_what_is_taken_over_stands_there_to_the_letter(name: str) -> None:
    """A pod's uid has its dashes back, which systemd does not allow in the name of a slice."""
    for places, fields in shells(name):
        for value, (source, *_) in (fields[field] for field in VERBATIM if fields[field][0] is not None):
            row, _, attribute = source.rpartition(" ")
            raw = str(places[row][attribute])
            assert str(value) in raw or str(value).replace("-", "_") in raw
        names = [places[source.rpartition(" ")[0]] for source in fields["process.ancestors"][1]]
        assert fields["process.ancestors"][0] == [place["process.executable.name"] for place in names]


@pytest.mark.parametrize("name", FILES)
def test_the_ancestors_are_a_chain_up_to_pid_1_in_the_scrape_of_the_shell(name: str) -> None:
    for places, fields in shells(name):
        chain = [places[source.rpartition(" ")[0]] for source in fields["process.ancestors"][1]]
        below = [places["self"], *chain]
        assert [place["pid"] for place in chain] == [place["process.parent_pid"] for place in below[:-1]]
        assert (chain[-1]["pid"], chain[-1]["process.parent_pid"]) == (1, 0)
        assert {place["line"] for place in below} == {places["self"]["line"]}


@pytest.mark.parametrize("name", FILES)
def test_the_oldest_of_a_container_is_the_oldest_that_the_scrape_shows(name: str) -> None:
    told = 0
    for places, fields in shells(name):
        container, init = fields["container.id"][0], fields["container.init"][0]
        if container is None:
            assert init is None
            continue
        scrape = capture(name)[places["self"]["line"] - 1]
        mates = [
            (min(each["starts"]), each["process.pid"])
            for each in scrape
            if container in each["process.cgroup"]
        ]
        cited = places["oldest in its container"]
        assert min(mates) == (cited["start_ns"], cited["pid"])
        assert init is (cited["pid"] == places["self"]["pid"])
        told += 1
    assert told == {"worker-1": 2, "worker-2": 24, "worker-3": 24, "worker-4": 0}[name]


@pytest.mark.parametrize("name", FILES)
def test_what_no_frame_has_is_in_no_frame(name: str) -> None:
    sent = {attribute for scrape in capture(name) for frame in scrape for attribute in frame}
    assert "process.pid" in sent
    assert not sent & set(committed(name)["in no frame"])


@pytest.mark.parametrize("name", FILES)
def test_a_shell_seen_first_in_its_kind_has_no_earlier_one(name: str) -> None:
    kinds: dict[tuple[Any, ...], tuple[int, int]] = {}
    rows = sorted(shells(name), key=lambda row: (row[0]["self"]["line"], row[0]["self"]["pid"]))
    for places, fields in rows:
        told = values(fields)
        kind = (
            told["systemd.unit"] or told["shell.placement"],
            told["process.parent.executable.name"],
            told["process.executable.name"],
            re.sub(r"[0-9.]+", "0", told["process.command_line"]),
        )
        first = kinds.setdefault(kind, (places["self"]["line"], told["process.pid"]))
        cited = places["first of its kind"]
        assert (cited["line"], cited["pid"]) == first
        watched = places["self"]["time_ns"] - places["first scrape"]["time_ns"] >= 300 * 10**9
        itself = (places["self"]["line"], told["process.pid"]) == first
        assert told["shell.novel"] is (itself and watched)


# --- what was really done


POD = {"shell.placement": "pod", "shell.escape_hint": None}
HOST = {"shell.placement": "host", "shell.escape_hint": None}
SHIM = {"process.parent.executable.name": "containerd-shim-runc-v2"}
ENTRYPOINT = POD | SHIM | {"shell.origin": "entrypoint", "container.init": True}
CHILD = POD | {"shell.origin": "child", "container.init": False}
LOGIN = HOST | {"shell.origin": "login", "shell.mode": "login"}
CRON = HOST | {"shell.origin": "cron", "shell.mode": "command", "systemd.unit": "cron.service"}
DONE: dict[tuple[str, str], dict[str, Any]] = {
    ("benign entrypoint sh -c", "itself"): ENTRYPOINT | {"shell.mode": "command"},
    ("benign entrypoint script", "itself"): ENTRYPOINT | {"shell.mode": "script"},
    ("benign cron", "itself"): CRON | {"process.ancestors": ["cron", "python3"]},
    ("benign CI job", "itself"): CHILD
    | {"shell.mode": "script", "process.ancestors": ["gitlab-runner", "python3"]},
    ("benign CI job", "child"): CHILD
    | {"shell.mode": "command", "process.ancestors": ["bash", "gitlab-runner", "python3"]},
    ("benign admin ssh login", "itself"): LOGIN | {"process.ancestors": ["sshd", "python3"]},
    ("benign package script", "itself"): HOST
    | {"shell.origin": "service", "shell.mode": "script", "systemd.unit": "apt-daily-upgrade.service"},
    ("ATTACK kubectl exec sh in web pod", "itself"): POD
    | SHIM
    | {"shell.origin": "container_exec", "shell.mode": "stdin", "container.init": False},
    ("ATTACK shell from java (webshell)", "itself"): CHILD
    | {"shell.mode": "command", "process.parent.executable.name": "java"},
    ("ATTACK host shell through nsenter (keeps the pod's cgroup)", "itself"): CHILD
    | {"shell.mode": "stdin", "shell.escape_hint": "nsenter"},
    ("ATTACK root shell under kubelet's cgroup", "itself"): HOST
    | {"shell.origin": "child", "shell.mode": "stdin", "process.parent.executable.name": "kubelet"},
    ("start pty login bash as root, idle then busy", "itself"): LOGIN,
    ("start sh -c, runs 70 s", "itself"): CRON,
    ("start bash script with a busy loop, 45 s", "itself"): HOST
    | {"shell.origin": "service", "shell.mode": "script"},
    ("start tcsh script, busy", "itself"): {"shell.mode": "script"},
    # It was called `csh` and writes `-sh` over that, as a login shell's name.
    ("start pty csh interactive", "itself"): LOGIN,
    # These two share a container, and the exec is older than the entrypoint, by 42 ms: so who tells the two
    # apart by age takes each for the other. In a real container the entrypoint is there first.
    ("start pty sh in a pod, interactive (kubectl exec)", "itself"): POD
    | {"shell.mode": "stdin", "shell.origin": "entrypoint"},
    ("start bash in a pod, entrypoint", "itself"): POD | {"shell.mode": "command", "shell.origin": "child"},
    ("start busybox sh", "itself"): {"shell.mode": "command"},
    ("start bash A (pid to be reused)", "itself"): {"shell.mode": "command"},
    ("start bash B (same pid)", "itself"): {"shell.mode": "command"},
}


def test_the_context_is_that_of_what_was_really_done() -> None:
    done = set()
    for name in ("worker-1", "worker-2", "worker-3"):
        for places, fields in shells(name):
            key = (places["truth"]["what"], places["truth"]["relation"])
            told = values(fields)
            assert {field: told[field] for field in DONE[key]} == DONE[key], (name, told["process.pid"])
            done.add(key)
    assert done == DONE.keys()


def test_the_program_uses_none_of_our_code() -> None:
    source = Path(context.__file__).read_text("utf-8")
    imported = set(re.findall(r"^ *(?:from|import) ([\w.]+)", source, re.MULTILINE))
    assert imported == {
        *("__future__", "hashlib", "json", "re", "sys", "typing", "tests.expectations.independent"),
    }
