"""A look at what is in memory of a shell."""

from __future__ import annotations

from detector.detector import Detector
from detector.identity import event_id, session_id
from detector.looking import Identity, OpenWindow, opening_of
from detector.points import Means
from detector.types import Kind, NodeId, ShellId
from tests.detector.world import HOST, NODE, World, memory, ns, sample, service

SHELL = ShellId(NODE, HOST, 23, ns(-100), "bash")
BIN_0 = ns(0) // (10 * 10**9)


def test_what_is_not_in_memory_is_nothing() -> None:
    detector = Detector(World().rules)
    assert detector.look(SHELL) is None
    world = World()
    world.scrape(0, sample(0, pid=24))
    assert world.detector.look(SHELL) is None
    assert world.detector.look(ShellId(NodeId("x", "y"), HOST, 1, 0, "sh")) is None


def test_a_candidate_has_windows_and_no_session() -> None:
    world = World()
    world.scrape(0, sample(0, memory(0, 0.0)))
    look = world.detector.look(SHELL)
    assert look is not None
    assert (look.is_open, look.incarnation, look.span, look.told) == (False, -1, None, ())
    assert look.windows == (
        OpenWindow(BIN_0, service(15), memory(0, 0.0), Means(None, None, 0.0), survives=False),
    )
    assert look.evidence.path == "/usr/bin/bash"
    assert opening_of(look, "store") is None
    assert list(world.detector.shells()) == [Identity(SHELL, -1, 0)]


def test_an_open_session_tells_its_counted_windows() -> None:
    world = World()
    for at in (0, 10, 40, 60):
        world.scrape(at, sample(at))
    world.run_to(60)
    look = world.detector.look(SHELL)
    assert look is not None
    assert look.is_open
    assert look.told == ((BIN_0, BIN_0 + 1), (BIN_0 + 4, BIN_0 + 4))
    assert [window.number for window in look.windows] == [BIN_0 + 6]
    assert list(world.detector.shells()) == [Identity(SHELL, 0, 0)]


def test_what_was_told_before_the_clock_went_back_is_told() -> None:
    world = World()
    for at in (9000, 9010, 9020):
        world.scrape(at, sample(at))
    world.run_to(9100)
    for number, at in enumerate((0, 10, 20)):
        world.scrape(at, sample(at), delay=9100 + 10 * number - at)
    look = world.detector.look(SHELL)
    assert look is not None
    assert look.told == ((BIN_0 + 900, BIN_0 + 902),)


def test_the_opening_is_the_one_that_was_told_as_far_as_it_goes() -> None:
    world = World()
    for at in (0, 10, 20):
        world.scrape(at, sample(at))
    world.run_to(60)
    look = world.detector.look(SHELL)
    assert look is not None
    opening = opening_of(look, world.rules.store_id)
    [told] = world.findings
    assert opening is not None
    assert opening.event_id == told.event_id == event_id(world.rules.store_id, SHELL, 0, Kind.OPENED, 0)
    assert opening.session_id == told.session_id == session_id(world.rules.store_id, SHELL, 0)
    assert (opening.evidence, opening.context) == (told.evidence, told.context)
    assert (opening.span.windows, told.span.windows) == (3, 1)
    assert opening.node_first_ns == ns(0)
