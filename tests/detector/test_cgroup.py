"""Placement by ``process.cgroup``: real lines of every runtime, and text that nobody should believe."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.cgroup import CgroupBasis, read_cgroup
from detector.context import Placement
from tests.detector.testdata.cgroups import A, C, Row, cut_behind, pod
from tests.detector.testdata.cgroups_hostile import HOSTILE
from tests.detector.testdata.cgroups_hosts import HOSTS
from tests.detector.testdata.cgroups_pods import PODS
from tests.detector.testdata.cgroups_relative import CAPTURED, IN_POD, RELATIVE

ABSOLUTE = (*PODS, *HOSTS)
UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]{0,240}\.(service|scope|socket|mount|swap)")
SLICE = re.compile(r"[A-Za-z0-9:_.@\\-]{0,240}\.slice")
UID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CONTAINER_ID = re.compile(r"[0-9a-f]{32,64}")
NAMES = st.sampled_from(
    [
        "..", ".", "", "/", ":", "\n", "0::/", "1:name=systemd:/", "kubepods", "kubepods.slice", "burstable",
        f"pod{A}", f"kubepods-pod{A.replace('-', '_')}.slice", "podB", C, f"docker-{C}.scope",
        f"crio-{C}.scope", f"crio-conmon-{C}.scope", "user.slice", "system.slice", "cron.service",
        f"x.slice:cri-containerd:{C}",
        "k8s.io", "init.scope", " (deleted)",
    ]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=300),
    st.lists(NAMES, max_size=12).map(lambda names: "0::/" + "/".join(names)),
    st.lists(NAMES, max_size=30).map("".join),
)


def _name(row: Row) -> str:
    return f"{row.made_by}: {row.seen_in}"


@pytest.mark.parametrize("row", [*ABSOLUTE, *RELATIVE, *HOSTILE], ids=_name)
def test_a_cgroup_says_what_its_runtime_meant(row: Row) -> None:
    assert read_cgroup(row.text, row.init) == row.expected


@pytest.mark.parametrize("row", ABSOLUTE, ids=_name)
def test_an_absolute_path_is_read_alike_whatever_pid_1_says(row: Row) -> None:
    assert read_cgroup(row.text, IN_POD) == read_cgroup(row.text) == row.expected


def test_the_table_is_as_large_as_it_claims_to_be() -> None:
    absolute = {row.text for row in ABSOLUTE}
    relative = {(row.text, row.init) for row in RELATIVE if "/.." in row.text}
    assert len(absolute) + len(relative) >= 100
    assert len(relative) >= 35


def test_each_basis_stands_in_the_table_with_one_placement() -> None:
    rows = (*ABSOLUTE, *RELATIVE, *HOSTILE)
    seen = {row.expected.basis: row.expected.placement for row in rows}
    assert all(seen[row.expected.basis] is row.expected.placement for row in rows)
    assert set(seen) == set(CgroupBasis)


def test_lines_in_another_order_say_the_same() -> None:
    for row in ABSOLUTE:
        lines = row.text.split("\n")
        assert read_cgroup("\n".join(reversed(lines))) == row.expected


@given(TEXTS, TEXTS)
def test_no_text_makes_it_raise_or_tell_what_is_no_id(text: str, init: str) -> None:
    found = read_cgroup(text, init)
    assert found.basis in set(CgroupBasis)
    assert not found.pod_uid or UID.fullmatch(found.pod_uid)
    assert not found.container_id or CONTAINER_ID.fullmatch(found.container_id)
    assert not found.unit or UNIT.fullmatch(found.unit)
    assert not found.slice or SLICE.fullmatch(found.slice)
    assert found.placement is Placement.HOST or (found.unit, found.slice) == ("", "")
    assert found.placement is Placement.POD or not found.pod_uid


@given(TEXTS)
def test_no_name_below_a_container_moves_a_process_out_of_its_pod(tail: str) -> None:
    path = f"0::/kubepods/burstable/pod{A}/{C}/"
    assert read_cgroup(path + tail.replace("\n", "")) == pod()


@given(TEXTS)
def test_no_name_below_a_user_makes_a_pod(tail: str) -> None:
    tail = tail.replace("\n", "")
    found = read_cgroup(f"0::/user.slice/user-1000.slice/user@1000.service/{tail}", CAPTURED)
    assert (found.placement, found.pod_uid, found.container_id) == (Placement.HOST, "", "")
    assert found.unit == "user@1000.service"


def test_a_text_that_is_cut_anywhere_tells_no_wrong_id() -> None:
    path = f"/kubepods/pod{A}/{C}"
    for kept in range(len(path) + 1):
        found = read_cgroup(cut_behind(path[:kept]) + path[kept:])
        assert found.container_id == ""
        assert found.pod_uid == (A if kept > path.index(C) - 1 else "")
    assert read_cgroup(cut_behind(path).replace("a", "", 1)) == pod()


@pytest.mark.parametrize(
    "unit", ["0::/..\n", "0::/../a\n", "1:x:/\n", "/..", "/a", "a:", "\n", "0::/pod-", "0::/-kubepods-pod"]
)
def test_the_work_is_bounded_by_what_is_read(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    started = time.process_time()
    for _ in range(10):
        read_cgroup(text, text)
    assert time.process_time() - started < 2  # as it is: 0.02 s
