"""The simulated fleet: who is scraped when."""

from __future__ import annotations

from collections import Counter

from bench.fleet import Fleet, Planned, Shape

START_NS = 1_796_000_000_000_000_000
SHAPE = Shape(nodes=1_000, shells=100, late=0.05)


def rounds(fleet: Fleet, number: int) -> list[list[Planned]]:
    return [fleet.next_round(each)[0] for each in range(number)]


def test_each_node_is_scraped_once_a_round_though_some_requests_come_a_round_late() -> None:
    planned = rounds(Fleet(SHAPE, START_NS), 4)
    for number in range(3):
        of_round = [request for sent in planned for request in sent if request.of_round == number]
        assert Counter(node for request in of_round for node in request.nodes) == Counter(range(1_000))
        late = [request for request in of_round if request.round == number + 1]
        assert {request.round for request in of_round} == {number, number + 1}
        assert 0 < len(late) < len(of_round) / 10


def test_requests_are_due_in_order_skewed_to_the_begin_of_a_round() -> None:
    [planned] = rounds(Fleet(SHAPE, START_NS), 1)
    due = [request.at_s for request in planned]
    assert due == sorted(due)
    assert 0 <= due[0] <= due[-1] < 9
    assert 0.15 < sum(at_s < 1 for at_s in due) / len(due) < 0.3


def test_each_second_gateway_merges_three_nodes() -> None:
    [planned] = rounds(Fleet(Shape(nodes=600, late=0), START_NS), 1)
    sizes = {(request.gateway % 2, len(request.nodes)) for request in planned}
    assert sizes == {(0, 1), (1, 3)}
    assert all(node % 10 == request.gateway for request in planned for node in request.nodes)


def test_shells_end_and_others_begin_with_each_round() -> None:
    fleet = Fleet(SHAPE, START_NS)
    before, after = (
        {shell for of_node in fleet.next_round(number)[1].values() for shell in of_node}
        for number in range(2)
    )
    assert (len(before), len(after), len(before & after)) == (100, 100, 80)
    assert {shell.start_ns for shell in before} == {START_NS - 5_000_000_000}
    assert {shell.start_ns for shell in after - before} == {START_NS + 5_000_000_000}
    assert len({(shell.node, shell.pid) for shell in before | after}) == 120


def test_what_is_due_in_the_same_tenth_of_a_round_is_scraped_at_its_begin() -> None:
    fleet = Fleet(SHAPE, START_NS)
    assert fleet.time_ns(0, 0.99) == START_NS
    assert fleet.time_ns(2, 3.01) == START_NS + 23_000_000_000
