from hypothesis import given
from hypothesis import strategies as st

from catalog.rules import Reached, cycle_by, graph_of, reachable, turned, way

SHOP, CHECKOUT, LEDGER, RATES, MAIL = 1, 2, 3, 4, 5
#  shop -> checkout -> ledger -> rates ; shop -> mail ; checkout -> rates
GRAPH = graph_of([(SHOP, CHECKOUT), (CHECKOUT, LEDGER), (LEDGER, RATES), (SHOP, MAIL), (CHECKOUT, RATES)])


def test_way_is_the_shortest_chain_of_needs():
    assert way(GRAPH, SHOP, RATES) == [SHOP, CHECKOUT, RATES]
    assert way(GRAPH, RATES, SHOP) == []
    assert way(GRAPH, SHOP, SHOP) == [SHOP]


def test_dependency_that_would_close_a_cycle_is_named_with_its_chain():
    assert cycle_by(GRAPH, RATES, SHOP) == [RATES, SHOP, CHECKOUT, RATES]
    assert cycle_by(GRAPH, RATES, RATES) == [RATES, RATES]
    assert cycle_by(GRAPH, MAIL, RATES) == []
    assert cycle_by(GRAPH, SHOP, RATES) == []


def test_blast_radius_is_everything_that_needs_it_also_through_others():
    assert reachable(turned(GRAPH), RATES) == [
        Reached(CHECKOUT, 1, RATES),
        Reached(LEDGER, 1, RATES),
        Reached(SHOP, 2, CHECKOUT),
    ]
    assert reachable(turned(GRAPH), SHOP) == []


def test_graph_that_already_holds_a_cycle_does_not_loop():
    broken = graph_of([(1, 2), (2, 1)])

    assert reachable(broken, 1) == [Reached(2, 1, 1)]
    assert cycle_by(broken, 1, 2) == [1, 2, 1]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=40))
def test_adding_only_what_closes_no_cycle_keeps_the_graph_free_of_cycles(pairs):
    graph: dict[int, set[int]] = {}
    for service, needs in pairs:
        if not cycle_by(graph, service, needs):
            graph.setdefault(service, set()).add(needs)

    for service in graph:
        for needs in graph[service]:
            assert not way(graph, needs, service)
    for service in range(1, 10):
        forth = {item.service for item in reachable(graph, service)}
        back = {
            other for other in range(1, 10) if service in {i.service for i in reachable(turned(graph), other)}
        }
        assert forth == back
