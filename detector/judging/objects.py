"""What a shell belongs to: the workload, the risk object, and the key that makes two shells alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from detector.context import Placement
from detector.judging.notes import clip
from detector.judging.rules import HostField, PodObject

if TYPE_CHECKING:
    from detector.context import Context
    from detector.judging.rules import JudgeRules
    from detector.types import Finding, ShellId

_WORKLOAD_LABELS: Final = (
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
    "k8s.replicaset.name",
    "k8s.pod.name",
)
"""From what lasts to what is made anew each time; the first that the collector sent names the workload."""


def workload_of(context: Context) -> str:
    """``<namespace>/<workload>`` as the cluster names it, empty if the collector did not add both."""
    labels = dict(context.labels)
    namespace = labels.get("k8s.namespace.name")
    name = next((labels[label] for label in _WORKLOAD_LABELS if labels.get(label)), "")
    return f"{namespace}/{name}" if namespace and name else ""


@dataclass(frozen=True, slots=True)
class RiskObject:
    """What risk is attributed to. ``dest`` is the node if the object is not the node itself, else empty."""

    name: str
    type: str
    dest: str = ""

    def dump(self) -> list[str]:
        """As JSON has it."""
        return [self.name, self.type, self.dest]


def node_object(shell: ShellId, rules: JudgeRules) -> RiskObject:
    """The node of a shell as a risk object."""
    node = shell.node.node
    name = node if rules.host_field is HostField.NODE_NAME else shell.host or node
    return RiskObject(clip(name), "system")


def risk_object(shell: ShellId, context: Context, rules: JudgeRules) -> RiskObject:
    """What the risk of a shell is attributed to: a pod's workload, else the pod, else the node."""
    node = node_object(shell, rules)
    owner = workload_of(context) or context.cgroup.pod_uid or dict(context.labels).get("k8s.pod.uid")
    if context.cgroup.placement is not Placement.POD or rules.pod_object is PodObject.NODE or not owner:
        return node
    return RiskObject(clip(f"{shell.node.cluster}/{owner}"), "other", node.name)


@dataclass(frozen=True, slots=True)
class Likeness:
    """What two shells have in common that differ in node, pid and time alone.

    Empty text is what is not known. ``template`` is a digest.
    """

    cluster: str
    workload: str
    unit: str
    placement: str
    parent: str
    executable: str
    template: str

    @property
    def scope(self) -> str:
        """The workload, else the unit."""
        return self.workload or self.unit

    @property
    def key(self) -> tuple[str, ...]:
        """What bursts go by."""
        return (self.cluster, self.scope, self.parent, self.executable, self.template)


def likeness_of(finding: Finding) -> Likeness:
    """What a shell is like."""
    context = finding.context
    return Likeness(
        cluster=finding.shell.node.cluster,
        workload=workload_of(context),
        unit=context.cgroup.unit,
        placement=context.cgroup.placement.value,
        parent=context.parent.name if context.parent else "",
        executable=finding.shell.name,
        template=context.invocation.template,
    )


def described(like: Likeness, finding: Finding) -> tuple[tuple[str, str], ...]:
    """What openings that are told together are like, by the names of an event's fields; the unknown left out.

    The command line is the example's: those of the others differ in what varies from run to run.
    """
    line = finding.evidence.command_line
    named = (
        ("workload", like.workload),
        ("systemd.unit", like.unit),
        ("shell.placement", like.placement),
        ("process.parent.executable.name", like.parent),
        ("process.executable.name", like.executable),
        ("process.command_template", like.template),
        ("process.command_line", line.text if line else ""),
    )
    return tuple((name, clip(value)) for name, value in named if value)


def pairs(dumped: list[Any]) -> tuple[tuple[str, str], ...]:
    """What :func:`described` gave, from a note."""
    return tuple((name, value) for name, value in dumped)
