"""The fields of an opening as text, which policies match: every documented one that the shell has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.types import Finding

_LABELS = frozenset(
    {
        "k8s.pod.uid",
        "container.id",
        "k8s.namespace.name",
        "k8s.pod.name",
        "k8s.container.name",
        "k8s.deployment.name",
        "k8s.statefulset.name",
        "k8s.daemonset.name",
        "k8s.job.name",
        "k8s.cronjob.name",
        "k8s.replicaset.name",
        "container.image.name",
    }
)


def fields_of(finding: Finding, *, novel: bool | None) -> dict[str, str]:
    """The flat map of an opening, without what is unknown.

    A boolean is ``true`` or ``false``, a number decimal, and a list its items with a comma between them.
    """
    return {name: text for name, text in _named(finding, novel=novel) if text}  # of two the last


def _named(finding: Finding, *, novel: bool | None) -> Iterator[tuple[str, str]]:
    yield from _of_process(finding)
    yield from _of_context(finding)
    yield "shell.novel", _boolean(value=novel)


def _of_process(finding: Finding) -> Iterator[tuple[str, str]]:
    shell, evidence = finding.shell, finding.evidence
    yield "host.name", shell.host
    yield "k8s.cluster.name", shell.node.cluster
    yield "k8s.node.name", shell.node.node
    yield "process.pid", str(shell.pid)
    yield "process.parent_pid", "" if evidence.parent_pid is None else str(evidence.parent_pid)
    yield "process.executable.name", shell.name
    yield "process.executable.path", evidence.path
    yield "process.owner", evidence.owner
    line = evidence.command_line
    if line is not None:
        yield "process.command_line", line.text
        yield "process.command_line.length", str(line.length)
        yield "process.command_line.truncated", _boolean(value=line.truncated)
        yield "process.command_line.sha256", line.sha256


def _of_context(finding: Finding) -> Iterator[tuple[str, str]]:
    context = finding.context
    cgroup, invocation, parent = context.cgroup, context.invocation, context.parent
    yield from ((name, text) for name, text in context.labels if name in _LABELS)
    yield "k8s.pod.uid", cgroup.pod_uid
    yield "container.id", cgroup.container_id
    yield "container.init", _boolean(value=context.container_init)
    yield "systemd.unit", cgroup.unit
    yield "systemd.slice", cgroup.slice
    yield "shell.placement", cgroup.placement.value
    yield "shell.placement_basis", cgroup.basis
    yield "shell.mode", invocation.mode.value
    yield "shell.runs", invocation.runs
    yield "shell.origin", context.origin.value
    yield "shell.escape_hint", context.escape_hint
    yield "process.command_template", invocation.template
    if parent is not None:
        yield "process.parent.executable.name", parent.name
        yield "process.parent.command_line", parent.command_line.text if parent.command_line else ""
    yield "process.ancestors", ",".join(context.ancestors)
    yield "context_basis", context.basis.value
    yield "preexisting", _boolean(value=context.preexisting)


def _boolean(*, value: bool | None) -> str:
    return "" if value is None else str(value).lower()
