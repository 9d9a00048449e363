"""The context of every shell, each value with the place that it comes from: without any of our code.

    python -m tests.expectations.context worker-1 > tests/expectations/worker-1.context.json

It stands on `independent.py`, which reads the wire. Of cgroups and command lines it knows what occurs in
these captures; of anything else it says so and stops, where the product must decide. README.md has the rules.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.expectations.independent import BIN, CPU, MEMORY, SECOND, SHELLS, expectation, requests

if TYPE_CHECKING:
    from tests.expectations.independent import Frame

BASELINE = 300 * SECOND
"""`risk.baseline` of context.yaml."""
NEVER_SENT = (
    *("k8s.namespace.name", "k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name"),
    *("k8s.cronjob.name", "k8s.job.name", "k8s.replicaset.name", "k8s.pod.name", "k8s.container.name"),
    "container.image.name",
)
"""What a `k8sattributes` processor would add; these captures were made without one."""
ESCAPES = {"nsenter", "chroot", "unshare"}
POD = re.compile(r"pod([0-9a-f]{8}_[0-9a-f]{4}_[0-9a-f]{4}_[0-9a-f]{4}_[0-9a-f]{12})\.slice")
CONTAINER = re.compile(r"cri-containerd-([0-9a-f]{64})\.scope")
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)*")
NO_NUMBER = re.compile(r"[0-9a-fA-F]{8}|0x|/tmp/|/dev/shm/|tmp\.|[0-9]:[0-9]")
"""What else a template leaves out: hex, UUIDs, temporary paths and times."""
ITS_OWN = ("process.executable.path", "process.owner", "process.parent_pid")
OF_TRUTH = ("line", "relation", "what", "pid", "argv")


class Seen(NamedTuple):
    """A process in a scrape: the line of the capture is the number of its request, both count from 1."""

    line: int
    frame: int
    attributes: dict[str, Any]
    start_ns: int
    time_ns: int
    positive: bool

    @property
    def pid(self) -> int:
        return int(self.attributes["process.pid"])

    @property
    def age(self) -> tuple[int, int]:
        return self.start_ns, self.pid

    def told(self, *names: str) -> dict[str, Any]:
        """Where it stands, and what stands there; ``None`` is an attribute that is missing or empty."""
        row: dict[str, Any] = {"line": self.line, "frame": self.frame, "pid": self.pid}
        return row | {name: self.raw(name) for name in names}

    def raw(self, name: str) -> Any:
        if name.endswith("_ns"):
            return getattr(self, name)
        value = self.attributes.get(name, "")
        if name == "process.cgroup":
            return value.split("\n")[-1]  # the line of cgroup v2, see place()
        return None if value == "" else value


def seen(name: str) -> list[list[Seen]]:
    return [
        [_seen(line, number, frame) for number, frame in enumerate(request, 1)]
        for line, request in enumerate(requests(name), 1)
    ]


def _seen(line: int, number: int, frame: Frame) -> Seen:
    attributes, points = frame
    values = [value for metric, _, _, _, value in points if metric in {CPU, MEMORY} and value is not None]
    positive = any(value > 0 for value in values)
    return Seen(line, number, attributes, points[0][3], min(point[2] for point in points), positive)


# --- the rules


class Place(NamedTuple):
    placement: str
    basis: str
    pod: str | None = None
    container: str | None = None
    unit: str | None = None
    slice: str | None = None


def place(cgroup: str) -> Place:
    """Where a process runs: only the line of cgroup v2 says something here, all others are the root."""
    *v1, v2 = cgroup.split("\n")
    assert v2.startswith("0::/")
    assert all(line.endswith(":/") for line in v1)
    path = v2.removeprefix("0::")
    names = [name for name in path.split("/") if name not in {"", ".."}]
    if (pod := POD.search(path)) and (container := CONTAINER.fullmatch(names[-1])):
        return Place("pod", "pod", pod[1].replace("_", "-"), container[1])
    if not names:
        assert path == "/", "of what is above the root only pid 1 would tell"
        return Place("unknown", "root")
    slices = [name for name in names if name.endswith(".slice")]
    units = names[len(slices) :]
    assert names[: len(slices)] == slices
    assert len(units) < 2
    return Place("host", "unit", unit=units[0] if units else None, slice=slices[-1])


def invocation(line: str) -> tuple[str, str | None]:
    """(mode, what it runs): options up to the first word that is none."""
    program, *words = line.split(" ")
    rest = line.removeprefix(program).lstrip()
    options = ""
    while words and words[0].startswith("-"):
        options += words[0][1:]
        rest = rest.removeprefix(words.pop(0)).lstrip()
    assert set(options) <= set("cefil"), options
    if "c" in options:
        return "command", rest
    if words:
        return "script", words[0]
    return ("login" if program.startswith("-") or "l" in options else "stdin"), None


def template(line: str) -> str:
    assert not NO_NUMBER.search(line), line
    return hashlib.sha256(NUMBER.sub("<n>", " ".join(line.split())).encode()).hexdigest()[:16]


def origin(where: Place, mode: str, parent: str, *, init: bool | None) -> tuple[str, list[str]]:
    """What started it, and what says so."""
    name = "parent process.executable.name"
    if where.placement == "pod":
        if init:
            return "entrypoint", ["shell.placement", "container.init"]
        by_runtime = parent == "containerd-shim-runc-v2"
        return ("container_exec" if by_runtime else "child"), ["shell.placement", "container.init", name]
    if where.unit == "cron.service":
        return "cron", ["systemd.unit"]
    if mode == "login":
        return "login", ["shell.mode"]
    if where.unit and where.unit.endswith(".service"):
        return "service", ["systemd.unit"]
    assert parent not in {"sshd", "cron"}
    return "child", ["shell.placement", "systemd.unit", name]


# --- a shell


class Capture:
    """A capture by scrapes (a request is a scrape), and its shells in order of start time and pid."""

    def __init__(self, name: str) -> None:
        self.scrapes = seen(name)
        self.first_scrape = self.scrapes[0][0]
        self.shells = self._shells()
        self._kinds: dict[tuple[str | None, ...], Seen] = {}
        for shell in sorted(self.shells, key=lambda each: (each.time_ns // BIN, each.pid, each.start_ns)):
            self._kinds.setdefault(self._kind(shell), shell)

    def _shells(self) -> list[Seen]:
        """Each by its first frame, which tells all; a zombie, without a command line, is none."""
        found: dict[tuple[int, int], Seen] = {}
        for process in (each for scrape in self.scrapes for each in scrape):
            if process.raw("process.executable.name") in SHELLS and process.raw("process.command_line"):
                first = found.setdefault(process.age, process)
                assert first.positive
                assert all(process.raw(key) in {None, first.raw(key)} for key in process.attributes)
        return sorted(found.values(), key=lambda shell: shell.age)

    def ancestors(self, shell: Seen) -> list[Seen]:
        """Its parent, that one's parent and so on, as its scrape shows them."""
        by_pid = {process.pid: process for process in self.scrapes[shell.line - 1]}
        chain = [by_pid[shell.attributes["process.parent_pid"]]]
        while chain[-1].pid != 1:
            chain.append(by_pid[chain[-1].attributes["process.parent_pid"]])
        assert [each.age for each in chain] == sorted((each.age for each in chain), reverse=True)
        return chain

    def oldest_of_container(self, shell: Seen) -> Seen | None:
        def container(process: Seen) -> str | None:
            found = CONTAINER.search(process.attributes["process.cgroup"])
            return found and found[1]

        own = container(shell)
        mates = [each for each in self.scrapes[shell.line - 1] if own and container(each) == own]
        return min(mates, key=lambda mate: mate.age, default=None)

    def first_of(self, shell: Seen) -> Seen:
        return self._kinds[self._kind(shell)]

    def _kind(self, shell: Seen) -> tuple[str | None, ...]:
        """What makes two shells alike: without a workload or a unit, where they run stands for it."""
        where, parent = place(shell.attributes["process.cgroup"]), self.ancestors(shell)[0]
        line, name = shell.attributes["process.command_line"], "process.executable.name"
        scope = where.unit or where.placement
        return scope, parent.attributes[name], shell.attributes[name], template(line)


def materials(shell: Seen, capture: Capture, truth: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The places that its values come from, by name, with what stands there."""
    name, line, cgroup = "process.executable.name", "process.command_line", "process.cgroup"
    rows = {
        "self": shell.told("start_ns", "time_ns", name, *ITS_OWN, line, cgroup),
        "first scrape": capture.first_scrape.told("time_ns"),
        "first of its kind": capture.first_of(shell).told("time_ns", name, line, cgroup),
    }
    if oldest := capture.oldest_of_container(shell):
        rows["oldest in its container"] = oldest.told("start_ns", cgroup)
    for up, each in enumerate(capture.ancestors(shell)):
        also = [] if up else [line]
        rows[f"ancestor {up + 1}" if up else "parent"] = each.told(name, "process.parent_pid", *also)
    return rows | ({"truth": truth} if truth else {})


def context(shell: Seen, capture: Capture, relation: str | None) -> dict[str, tuple[Any, list[str]]]:
    """Each field with what it comes from: an attribute of a place, or another field."""
    raw = shell.attributes
    name, line, cgroup = "process.executable.name", "process.command_line", "process.cgroup"
    where = place(raw[cgroup])
    chain = capture.ancestors(shell)
    parent = chain[0].attributes
    oldest = capture.oldest_of_container(shell)
    init = None if oldest is None else oldest is shell
    mode, runs = invocation(raw[line])
    started_by, because = origin(where, mode, parent[name], init=init)
    names = [each.attributes[name] for each in chain]
    itself = {key: [f"truth {key}"] if relation == "itself" else [] for key in ("pid", "argv")}
    of_parent = {key: [f"truth {key}"] if relation == "child" else [] for key in ("pid", "argv")}
    own = {key: (shell.raw(key), [f"self {key}"]) for key in ITS_OWN}
    return {
        "process.pid": (shell.pid, ["self pid", *itself["pid"]]),
        "process.start_time": (seconds(shell.start_ns), ["self start_ns"]),
        name: (raw[name], [f"self {name}"]),
        **own,
        "process.parent_pid": (
            raw["process.parent_pid"],
            ["self process.parent_pid", "parent pid", *of_parent["pid"]],
        ),
        line: (raw[line], [f"self {line}", *itself["argv"]]),
        f"{line}.length": (len(raw[line].encode()), [line]),
        f"{line}.truncated": (False, [f"{line}.length"]),
        "shell.placement": (where.placement, [f"self {cgroup}"]),
        "shell.placement_basis": (where.basis, [f"self {cgroup}"]),
        "systemd.unit": (where.unit, [f"self {cgroup}"]),
        "systemd.slice": (where.slice, [f"self {cgroup}"]),
        "k8s.pod.uid": (where.pod, [f"self {cgroup}"]),
        "container.id": (where.container, [f"self {cgroup}"]),
        "container.init": (init, ["container.id", *(["oldest in its container pid"] if oldest else [])]),
        "shell.mode": (mode, [f"self {line}"]),
        "shell.runs": (runs, [f"self {line}"]),
        "process.command_template": (template(raw[line]), [f"self {line}"]),
        "context_basis": ("same_request", ["self line", "parent line"]),
        f"process.parent.{name.removeprefix('process.')}": (parent[name], [f"parent {name}"]),
        "process.parent.command_line": (parent[line], [f"parent {line}", *of_parent["argv"]]),
        "process.ancestors": (names, [f"{row} {name}" for row in rows_of(chain)]),
        "shell.escape_hint": (next((each for each in names if each in ESCAPES), None), ["process.ancestors"]),
        "shell.origin": (started_by, because),
        "preexisting": (
            shell.start_ns < capture.first_scrape.time_ns,
            ["self start_ns", "first scrape time_ns"],
        ),
        "shell.novel": (
            capture.first_of(shell) is shell and shell.time_ns - capture.first_scrape.time_ns >= BASELINE,
            ["first of its kind pid", "self time_ns", "first scrape time_ns"],
        ),
    }


def rows_of(chain: list[Seen]) -> list[str]:
    return ["parent", *(f"ancestor {up}" for up in range(2, len(chain) + 1))]


def seconds(time_ns: int) -> float:
    return float(f"{time_ns // SECOND}.{time_ns % SECOND:09d}")


# --- what is committed


def expected(name: str) -> dict[str, Any]:
    capture = Capture(name)
    shells = []
    for shell, known in zip(capture.shells, expectation(name), strict=True):
        assert (shell.start_ns, shell.pid) == (known["start_ns"], known["process.pid"])
        truth = known["truth"] and {key: known["truth"][key] for key in OF_TRUTH}
        relation = truth["relation"] if truth else None
        fields = context(shell, capture, relation)
        shells.append({"from": materials(shell, capture, truth), "context": fields})
    return {"in no frame": NEVER_SENT, "shells": shells}


def text(name: str) -> str:
    """JSON with a line for each place and for each field."""

    def compact(value: object) -> str:
        return json.dumps(value, ensure_ascii=False)

    def lines(rows: dict[str, Any]) -> str:
        return ",\n".join(f"  {compact(key)}: {compact(value)}" for key, value in rows.items())

    found = expected(name)
    blocks = [
        f' {{"from": {{\n{lines(shell["from"])}\n }}, "context": {{\n{lines(shell["context"])}\n }}}}'
        for shell in found["shells"]
    ]
    joined = ",\n".join(blocks)
    return f'{{"in no frame": {compact(found["in no frame"])},\n"shells": [\n{joined}\n]}}\n'


if __name__ == "__main__":
    sys.stdout.write(text(sys.argv[1]))
