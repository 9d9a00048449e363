"""What an event says of what is around a shell, and of how it was scored."""

from dataclasses import replace

from detector.context import (
    Cgroup,
    Context,
    ContextBasis,
    Invocation,
    Mode,
    Origin,
    Placement,
    Process,
)
from detector.types import CommandLine
from exporter.event import encode
from tests.exporter.findings import ONGOING, OPENED, told
from tests.exporter.told import OPENED_EVENT, SETTINGS, exact

POD = "0f5c0e0e-1111-2222-3333-444444444444"
CONTEXT = Context(
    cgroup=Cgroup(Placement.POD, "pod", POD, "ab" * 32),
    invocation=Invocation(Mode.COMMAND, "id", "5ca1ab1e"),
    labels=(("container.image.name", "nginx"), ("k8s.namespace.name", "shop"), ("k8s.pod.ip", "10.0.0.1")),
    parent=Process(5, 1, "nsenter", 1, CommandLine("nsenter -t 1 -m", 15), "0::/"),
    ancestors=("nsenter", "bash", "systemd"),
    basis=ContextBasis.EARLIER,
    container_init=False,
    origin=Origin.CHILD,
    escape_hint="nsenter",
    preexisting=True,
)
CONTEXT_FIELDS = {
    "shell.placement": "pod",
    "shell.placement_basis": "pod",
    "shell.origin": "child",
    "shell.mode": "command",
    "shell.escape_hint": "nsenter",
    "shell.novel": True,
    "preexisting": True,
    "k8s.pod.uid": POD,
    "container.id": "ab" * 32,
    "container.init": False,
    "k8s.namespace.name": "shop",
    "container.image.name": "nginx",
    "context_basis": "earlier",
    "process.parent.executable.name": "nsenter",
    "process.ancestors": ["nsenter", "bash", "systemd"],
    "process.command_template": "5ca1ab1e",
    "shell.runs": "id",
    "process.parent.command_line": "nsenter -t 1 -m",
}


def test_what_is_around_a_shell_and_how_it_was_scored_is_told() -> None:
    finding = replace(OPENED, context=CONTEXT)
    annotations = (("policy.reason", "we know"), ("policy.owner", "ops"))
    verdict = {"graded_by": "escape_hint", "rule": "r1", "annotations": annotations, "novel": True}
    more = {"repeated": True, "preexisting_summary": True, "capped_score": 60}
    inner = exact(encode(told(finding, **verdict, **more), SETTINGS).body)["event"]
    before = list(inner)[: list(inner).index("shell.placement")]
    assert {name: inner[name] for name in inner if name in CONTEXT_FIELDS} == CONTEXT_FIELDS
    assert list(inner) == [*before, *CONTEXT_FIELDS, *list(OPENED_EVENT["event"])[-5:]]
    scored = before[before.index("confidence") + 1 : before.index("host.name")]
    assert {name: inner[name] for name in scored} == {
        "graded_by": "escape_hint",
        "capped_score": 60,
        "policy.rule": "r1",
        "policy.reason": "we know",
        "policy.owner": "ops",
        "repeated": True,
        "preexisting_summary": True,
    }


def test_a_later_finding_does_not_say_how_the_opening_was_scored() -> None:
    verdict = {"graded_by": "x", "rule": "r1", "novel": True, "annotations": (("policy.owner", "ops"),)}
    inner = exact(encode(told(replace(ONGOING, context=CONTEXT), **verdict), SETTINGS).body)["event"]
    assert {"graded_by", "policy.rule", "policy.owner", "shell.novel", "preexisting"}.isdisjoint(inner)
    assert inner["shell.escape_hint"] == "nsenter"


def test_a_host_is_told_with_its_unit() -> None:
    cgroup = Cgroup(Placement.HOST, "unit", unit="cron.service", slice="system.slice")
    inner = exact(encode(told(replace(OPENED, context=Context(cgroup=cgroup))), SETTINGS).body)["event"]
    assert (inner["systemd.unit"], inner["systemd.slice"]) == ("cron.service", "system.slice")
    assert "k8s.pod.uid" not in inner


def test_of_a_list_as_many_items_are_told_as_fit() -> None:
    finding = replace(OPENED, context=replace(CONTEXT, ancestors=("é" * 100, *"abcdefgh", *["x" * 60] * 20)))
    shown = exact(encode(told(finding), SETTINGS).body)["event"]["process.ancestors"]
    assert shown == ["é" * 61 + "…", *"abcdefgh", *["x" * 60] * 5]
