"""A service that was stopped tells what one tells that was not: see :mod:`tests.e2e.stops`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.processes import Started
from tests.e2e.stops import LENGTHS, NEVER, STOPPED, facts, play

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.stops import Envelope, Run

pytestmark = [pytest.mark.peers, pytest.mark.slow, pytest.mark.timeout(1200)]

BEFORE: Final = ("through", "ending")
"""They were told before the stops."""
ENDED: Final = ("ending", "inside", "long")
LIVING: Final = ("through", "starting", "after")
_OF_ORDER: Final = {
    "window_start",
    "window_end",
    "first_seen",
    "last_seen",
    "orig_time",
    "info_min_time",
    "info_max_time",
    "process.cpu.utilization",
    "process.cpu.utilization.total",
    "process.memory.utilization",
}
"""What an opening says of the window that closed first, which is the one whose samples came in first."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    started = Started(tmp_path_factory.mktemp("stops"))
    try:
        yield play(started)
    finally:
        started.end()


def of(run: Run, service: str, shell: str, kind: str) -> list[Envelope]:
    """What a service told of a shell, each event once."""
    pid = run.shells[shell].pid
    found = {
        each["event"]["event_id"]: each
        for each in run.told[service]
        if each["event"]["process.pid"] == pid and each["event"]["kind"] == kind
    }
    return list(found.values())


def without_order(opened: list[Envelope]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [each["event"] for each in opened]
    return [{name: value for name, value in each.items() if name not in _OF_ORDER} for each in events]


def test_each_service_was_down_for_its_time(run: Run) -> None:
    assert sorted(run.down_s) == sorted(STOPPED)
    for name, down_s in run.down_s.items():
        length = int(name.rpartition("-")[2])
        assert length in LENGTHS
        assert length <= down_s < length + 15, name


def test_the_service_that_was_not_stopped_tells_every_shell(run: Run) -> None:
    for shell in run.shells:
        (opened,) = of(run, NEVER, shell, "opened")
        assert opened["event"]["process.command_line"] == f"bash -c read answer; exit 0 # stops-{shell}"
        reasons = [each["event"]["close_reason"] for each in of(run, NEVER, shell, "closed")]
        assert reasons == (["exited"] if shell in ENDED else [])
    assert {*ENDED, *LIVING} == run.shells.keys()


@pytest.mark.parametrize("service", STOPPED)
def test_a_stopped_service_opens_every_shell_once_with_the_same_ids(run: Run, service: str) -> None:
    for shell in BEFORE:
        assert of(run, service, shell, "opened") == of(run, NEVER, shell, "opened"), shell
    for shell in run.shells:
        found, wanted = of(run, service, shell, "opened"), of(run, NEVER, shell, "opened")
        assert without_order(found) == without_order(wanted), shell


@pytest.mark.parametrize("service", STOPPED)
def test_a_stopped_service_closes_what_ended_with_the_same_facts_and_nothing_that_lives(
    run: Run, service: str
) -> None:
    for shell in run.shells:
        assert of(run, service, shell, "closed") == of(run, NEVER, shell, "closed"), shell


@pytest.mark.parametrize("service", STOPPED)
def test_a_stopped_service_tells_the_same_of_every_other_shell_of_the_machine(run: Run, service: str) -> None:
    assert facts(run, run.told[service]) == facts(run, run.told[NEVER])


@pytest.mark.parametrize("service", [NEVER, *STOPPED])
def test_only_sigkill_makes_an_event_come_twice_and_then_with_equal_bytes(run: Run, service: str) -> None:
    first: dict[str, Envelope] = {}
    for each in run.told[service]:
        assert first.setdefault(each["event"]["event_id"], each) == each
    if not service.startswith("kill"):
        assert len(first) == len(run.told[service])
    sessions = {each["event"]["session_id"] for each in first.values() if each["event"]["kind"] == "opened"}
    assert len(sessions) == sum(each["event"]["kind"] == "opened" for each in first.values())


def test_the_collector_dropped_nothing(run: Run) -> None:
    said = run.started.log("agent")
    assert "Exporting failed. Will retry the request after interval." in said
    assert "dropp" not in said.lower()
    assert "queue is full" not in said
