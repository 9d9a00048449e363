"""The fields of an event that say how it was scored, and what is known of what is around the shell."""

from typing import Final

from detector.context import ContextBasis, Mode, Origin, Placement
from exporter.fields import (
    LONG,
    MEDIUM,
    OPENINGS,
    SHORT,
    Field,
    boolean,
    choice,
    maybe_count,
    string,
    strings,
)

LABELS: Final = (
    ("k8s.namespace.name", "Namespace of the pod."),
    ("k8s.deployment.name", "Its deployment."),
    ("k8s.statefulset.name", "Its stateful set."),
    ("k8s.daemonset.name", "Its daemon set."),
    ("k8s.cronjob.name", "Its cron job."),
    ("k8s.job.name", "Its job."),
    ("k8s.replicaset.name", "Its replica set."),
    ("k8s.pod.name", "The pod."),
    ("k8s.container.name", "The container."),
    ("container.image.name", "Its image."),
)
"""What ``k8sattributes`` adds and an event passes through."""


def _annotation(name: str, meaning: str) -> Field:
    return string(name, meaning, lambda s: dict(s.verdict.annotations).get(name, ""), LONG, OPENINGS)


def _label(name: str, meaning: str) -> Field:
    return string(
        name, f"{meaning} If the collector adds it.", lambda s: dict(s.context.labels).get(name, ""), MEDIUM
    )


SCORING_FIELDS: Final = (
    string(
        "graded_by", "The row of risk.profile that matched.", lambda s: s.verdict.graded_by, SHORT, OPENINGS
    ),
    maybe_count(
        "capped_score",
        "The score that risk.max_per_object took away.",
        lambda s: s.verdict.capped_score,
    ),
    string("policy.rule", "The rule of the policy that applied.", lambda s: s.verdict.rule, SHORT, OPENINGS),
    _annotation("policy.reason", "Its reason, if it annotates."),
    _annotation("policy.owner", "Its owner, if it annotates."),
    boolean(
        "repeated",
        "Whether the same has scored on this node within risk.burst.period, so that this scores less.",
        lambda s: s.verdict.repeated or None,
        OPENINGS,
    ),
    boolean(
        "preexisting_summary",
        "Whether it is counted in a preexisting event too.",
        lambda s: s.verdict.preexisting_summary or None,
        OPENINGS,
    ),
)
CONTEXT_FIELDS: Final = (
    choice("shell.placement", "Where it runs.", lambda s: s.context.cgroup.placement, Placement),
    string(
        "shell.placement_basis",
        "What of process.cgroup decided that.",
        lambda s: str(s.context.cgroup.basis),
        SHORT,
    ),
    choice("shell.origin", "What started it.", lambda s: s.context.origin, Origin),
    choice(
        "shell.mode",
        "How it was called: where its commands come from.",
        lambda s: s.context.invocation.mode,
        Mode,
    ),
    string(
        "shell.escape_hint",
        "An ancestor that leaves a container: nsenter, chroot or unshare.",
        lambda s: s.context.escape_hint,
        SHORT,
    ),
    boolean(
        "shell.novel",
        "Whether nothing like it was seen in the 30 days before.",
        lambda s: s.verdict.novel,
        OPENINGS,
    ),
    boolean(
        "preexisting",
        "Whether it started before the first scrape of its node that is known.",
        lambda s: s.context.preexisting,
        OPENINGS,
    ),
    string("systemd.unit", "The unit that it runs in, on a host.", lambda s: s.context.cgroup.unit, MEDIUM),
    string("systemd.slice", "The slice of that.", lambda s: s.context.cgroup.slice, MEDIUM),
    string(
        "k8s.pod.uid",
        "The pod, by its cgroup.",
        lambda s: s.context.cgroup.pod_uid or dict(s.context.labels).get("k8s.pod.uid", ""),
        SHORT,
    ),
    string(
        "container.id",
        "The container, by its cgroup.",
        lambda s: s.context.cgroup.container_id or dict(s.context.labels).get("container.id", ""),
        SHORT,
    ),
    boolean(
        "container.init",
        "Whether it is the oldest process of its container.",
        lambda s: s.context.container_init,
    ),
    *(_label(name, meaning) for name, meaning in LABELS),
    choice(
        "context_basis",
        "Where its parent was seen: in the same or in an earlier request.",
        lambda s: s.context.basis,
        ContextBasis,
    ),
    string(
        "process.parent.executable.name",
        "The parent's name.",
        lambda s: s.context.parent.name if s.context.parent else "",
        MEDIUM,
    ),
    strings(
        "process.ancestors", "Names up to pid 1, the parent's first.", lambda s: s.context.ancestors, LONG
    ),
    string(
        "process.command_template",
        "Equal for command lines that differ in numbers, ids and temporary paths alone.",
        lambda s: s.context.invocation.template,
        SHORT,
    ),
    string("shell.runs", "The command or script that it runs.", lambda s: s.context.invocation.runs, LONG),
    string(
        "process.parent.command_line",
        "The parent's command line, redacted and cut.",
        lambda s: (
            s.context.parent.command_line.text if s.context.parent and s.context.parent.command_line else ""
        ),
        LONG,
    ),
)
