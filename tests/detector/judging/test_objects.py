"""What a shell belongs to: risk objects, likeness, ATT&CK, and the fields that policies see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detector import policy
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
from detector.judging.attack import TECHNIQUES, attack_of
from detector.judging.fields import fields_of
from detector.judging.notes import BOUNDS, NoteKind, clip, key_of
from detector.judging.objects import RiskObject, risk_object, workload_of
from detector.judging.rules import HostField, JudgeRules, PodObject
from detector.types import CommandLine, Evidence
from tests.detector.judging.desk import context, opened

HOST, POD, UNKNOWN = Placement.HOST, Placement.POD, Placement.UNKNOWN
NAMESPACE = ("k8s.namespace.name", "shop")
LABELS = (
    ("k8s.pod.name", "cart-5d8f-x2"),
    ("k8s.replicaset.name", "cart-5d8f"),
    ("k8s.job.name", "nightly-28"),
    ("k8s.cronjob.name", "nightly"),
    ("k8s.daemonset.name", "agent"),
    ("k8s.statefulset.name", "db"),
    ("k8s.deployment.name", "cart"),
)


def test_the_workload_is_the_most_lasting_name_that_the_cluster_gives() -> None:
    names = [
        workload_of(context(labels=(NAMESPACE, *LABELS[: many + 1]))).removeprefix("shop/")
        for many in range(len(LABELS))
    ]
    assert names == ["cart-5d8f-x2", "cart-5d8f", "nightly-28", "nightly", "agent", "db", "cart"]


@pytest.mark.parametrize("labels", [(), LABELS, (NAMESPACE,), (NAMESPACE, ("k8s.deployment.name", ""))])
def test_without_a_namespace_or_a_name_there_is_no_workload(labels: tuple[tuple[str, str], ...]) -> None:
    assert workload_of(context(labels=labels)) == ""


@pytest.mark.parametrize(
    ("of", "rules", "expected"),
    [
        (context(HOST, labels=(NAMESPACE, *LABELS)), JudgeRules(), RiskObject("worker-1.example", "system")),
        (context(UNKNOWN, pod_uid="u-1"), JudgeRules(), RiskObject("worker-1.example", "system")),
        (context(HOST), JudgeRules(host_field=HostField.NODE_NAME), RiskObject("worker-1", "system")),
        (
            context(POD, pod_uid="u-1", labels=(NAMESPACE, *LABELS)),
            JudgeRules(),
            RiskObject("prod/shop/cart", "other", "worker-1.example"),
        ),
        (
            context(POD, pod_uid="u-1"),
            JudgeRules(host_field=HostField.NODE_NAME),
            RiskObject("prod/u-1", "other", "worker-1"),
        ),
        (
            context(POD, labels=(("k8s.pod.uid", "u-2"),)),
            JudgeRules(),
            RiskObject("prod/u-2", "other", "worker-1.example"),
        ),
        (context(POD), JudgeRules(), RiskObject("worker-1.example", "system")),
        (
            context(POD, pod_uid="u-1"),
            JudgeRules(pod_object=PodObject.NODE),
            RiskObject("worker-1.example", "system"),
        ),
    ],
)
def test_risk_is_attributed(of: Context, rules: JudgeRules, expected: RiskObject) -> None:
    assert risk_object(opened(0, of).shell, of, rules) == expected


def test_a_node_without_a_host_name_is_called_by_its_own() -> None:
    shell = replace(opened(0, context()).shell, host="")
    assert risk_object(shell, context(), JudgeRules()) == RiskObject("worker-1", "system")


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (context(HOST), ("T1059.004", "T1204")),
        (context(UNKNOWN, Mode.STDIN), ("T1059.004", "T1204")),
        (context(HOST, hint="nsenter"), ("T1611", "T1059.004", "T1204")),
        (context(POD, origin=Origin.CONTAINER_EXEC), ("T1609", "T1059.004")),
        (context(UNKNOWN, origin=Origin.CONTAINER_EXEC, hint="chroot"), ("T1611", "T1609", "T1059.004")),
        (context(POD, origin=Origin.ENTRYPOINT), ("T1059.004",)),
        (context(UNKNOWN, origin=Origin.ENTRYPOINT), ("T1059.004",)),
        (context(POD, origin=Origin.CHILD, hint="unshare"), ("T1611", "T1059.004")),
    ],
)
def test_techniques_of(of: Context, expected: tuple[str, ...]) -> None:
    assert attack_of(of) == expected
    assert [TECHNIQUES[technique].id for technique in expected] == list(expected)


FULL = replace(
    opened(
        0,
        Context(
            cgroup=Cgroup(POD, "cri", "u-1", "c0ffee", "x.service", "x.slice"),
            invocation=Invocation(Mode.SCRIPT, "/run.sh", "5ca1ab1e"),
            labels=(
                NAMESPACE,
                *LABELS,
                ("k8s.container.name", "main"),
                ("container.image.name", "img"),
                ("k8s.pod.uid", "of the collector"),
                ("else", "left out"),
            ),
            parent=Process(7, 0, "tini", command_line=CommandLine("tini -- /run.sh", 15)),
            ancestors=("tini", "containerd-shim"),
            basis=ContextBasis.SAME_REQUEST,
            container_init=False,
            origin=Origin.ENTRYPOINT,
            escape_hint="nsenter",
            preexisting=True,
        ),
    ),
    evidence=Evidence(1, 7, "/bin/sh", "root", CommandLine("sh /run.sh", 4000, "d1ge57")),
)


def test_policies_see_every_documented_field_that_a_shell_has() -> None:
    assert fields_of(FULL, novel=True) == {
        "host.name": "worker-1.example",
        "k8s.cluster.name": "prod",
        "k8s.node.name": "worker-1",
        "k8s.namespace.name": "shop",
        "k8s.pod.name": "cart-5d8f-x2",
        "k8s.pod.uid": "u-1",
        "k8s.container.name": "main",
        "k8s.deployment.name": "cart",
        "k8s.statefulset.name": "db",
        "k8s.daemonset.name": "agent",
        "k8s.job.name": "nightly-28",
        "k8s.cronjob.name": "nightly",
        "k8s.replicaset.name": "cart-5d8f",
        "container.id": "c0ffee",
        "container.image.name": "img",
        "container.init": "false",
        "systemd.unit": "x.service",
        "systemd.slice": "x.slice",
        "process.pid": "23",
        "process.parent_pid": "7",
        "process.executable.name": "sh",
        "process.executable.path": "/bin/sh",
        "process.owner": "root",
        "process.command_line": "sh /run.sh",
        "process.command_line.length": "4000",
        "process.command_line.truncated": "true",
        "process.command_line.sha256": "d1ge57",
        "process.command_template": "5ca1ab1e",
        "process.parent.executable.name": "tini",
        "process.parent.command_line": "tini -- /run.sh",
        "process.ancestors": "tini,containerd-shim",
        "context_basis": "same_request",
        "shell.placement": "pod",
        "shell.placement_basis": "cri",
        "shell.mode": "script",
        "shell.runs": "/run.sh",
        "shell.origin": "entrypoint",
        "shell.escape_hint": "nsenter",
        "shell.novel": "true",
        "preexisting": "true",
    }


def test_what_a_matcher_may_name_is_what_it_is_given() -> None:
    assert set(fields_of(FULL, novel=True)) == set(policy.FIELDS)


def test_what_is_unknown_has_no_field() -> None:
    bare = replace(opened(0, Context()), evidence=Evidence())
    assert fields_of(bare, novel=None) == {
        "host.name": "worker-1.example",
        "k8s.cluster.name": "prod",
        "k8s.node.name": "worker-1",
        "process.pid": "23",
        "process.executable.name": "sh",
        "context_basis": "absent",
        "shell.placement": "unknown",
        "shell.placement_basis": "absent",
        "shell.mode": "unknown",
        "shell.origin": "unknown",
        "preexisting": "false",
    }


def test_what_the_cluster_says_of_a_pod_stands_in_for_a_cgroup_that_tells_nothing() -> None:
    labels = (("k8s.pod.uid", "u-2"), ("container.id", "cafe"))
    of = Context(labels=labels, parent=Process(7, 0, "tini"))
    fields = fields_of(opened(0, of), novel=False)
    names = ("k8s.pod.uid", "container.id", "process.parent.executable.name", "shell.novel")
    assert [fields[name] for name in names] == ["u-2", "cafe", "tini", "false"]
    assert "process.parent.command_line" not in fields


def test_keys_begin_with_their_kind_and_keep_parts_apart() -> None:
    keys = {
        key_of(NoteKind.NOVEL, "a", "b"),
        key_of(NoteKind.NOVEL, "ab", ""),
        key_of(NoteKind.NOVEL, "a,b"),
        key_of(NoteKind.NOVEL, "a", "b\udcff\x00"),
        key_of(NoteKind.BURST, "a", "b"),
    }
    assert len(keys) == 5
    assert {key.partition(":")[0] for key in keys} == {"novel", "burst"}
    assert {len(key.partition(":")[2]) for key in keys} == {40}


def test_a_text_of_others_is_cut_in_a_note() -> None:
    assert (clip("a" * 256), clip("a" * 257)) == ("a" * 256, "a" * 255 + "…")


def test_every_kind_of_note_has_a_bound() -> None:
    assert set(BOUNDS) == set(NoteKind)
