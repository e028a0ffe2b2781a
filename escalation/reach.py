"""Who can be reached at all. Whoever can not counts as not being there, so that the next tier is paged at once."""

from collections.abc import Callable, Collection

Reachable = Callable[[Collection[int]], set[int]]


def _everybody(user_ids: Collection[int]) -> set[int]:
    return set(user_ids)


_answer: Reachable = _everybody


def decided_by(function: Reachable) -> Reachable:
    """Have `function` say which of these people can be reached; without one, everybody can."""
    global _answer
    _answer = function
    return function


def reachable(user_ids: Collection[int]) -> set[int]:
    return _answer(user_ids) if user_ids else set()
