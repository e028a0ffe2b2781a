"""The dependency graph as arithmetic on ids: what needs what, and who suffers when one breaks."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

# Each service with the services that it needs.
Graph = Mapping[int, Collection[int]]


def graph_of(pairs: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    """From (service, needs) pairs."""
    graph: dict[int, set[int]] = {}
    for service, needs in pairs:
        graph.setdefault(service, set()).add(needs)
    return graph


def turned(graph: Graph) -> dict[int, set[int]]:
    """Each service with the services that need it."""
    return graph_of((needs, service) for service, all_needs in graph.items() for needs in all_needs)


def way(graph: Graph, start: int, goal: int) -> list[int]:
    """The shortest chain of needs from `start` to `goal`, both included; empty when there is none."""
    came_from: dict[int, int | None] = {start: None}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        if here == goal:
            chain = [here]
            while (before := came_from[chain[-1]]) is not None:
                chain.append(before)
            return chain[::-1]
        for following in sorted(graph.get(here, ())):
            if following not in came_from:
                came_from[following] = here
                waiting.append(following)
    return []


def cycle_by(graph: Graph, service: int, needs: int) -> list[int]:
    """The cycle that would close if `service` came to need `needs`; empty when none would."""
    back = way(graph, needs, service)
    return [service, *back] if back else []


@dataclass(frozen=True, slots=True)
class Reached:
    """`via` is the next service on a shortest way back; at distance 1 that is the start."""

    service: int
    distance: int
    via: int


def reachable(graph: Graph, start: int) -> list[Reached]:
    """All that can be reached from `start`, the nearest first, without `start`.

    On a turned graph: the blast radius.
    """
    found: dict[int, Reached] = {}
    waiting = deque([(start, 0)])
    while waiting:
        here, distance = waiting.popleft()
        for following in sorted(graph.get(here, ())):
            if following != start and following not in found:
                found[following] = Reached(following, distance + 1, here)
                waiting.append((following, distance + 1))
    return list(found.values())
