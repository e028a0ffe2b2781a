"""What higher apps do for schedules: oncall knows none of them.

`on_message` functions pass a text on to a person, in the transaction that has one to say; `on_gate` functions say who
cannot be put on call, and why.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts.models import User


@dataclass(frozen=True)
class Message:
    """Of low urgency: nobody is woken by it. The same `key` again tells nobody again."""

    recipient: User
    key: str
    topic: str
    title: str
    body: str
    link: str


Tell = Callable[[Message, datetime], object]
Gate = Callable[[Sequence[User]], dict[int, str]]

_tell: list[Tell] = []
_gates: list[Gate] = []


def on_message(function: Tell) -> Tell:
    if function not in _tell:
        _tell.append(function)
    return function


def on_gate(function: Gate) -> Gate:
    """`function(people)` gives a sentence for each id that must not be put on call. Whoever is let in by a waiver
    is not in the answer."""
    if function not in _gates:
        _gates.append(function)
    return function


def tell(message: Message, now: datetime) -> None:
    for function in _tell:
        function(message, now)


def refused(people: Sequence[User]) -> dict[int, str]:
    found: dict[int, str] = {}
    for gate in _gates:
        found = gate(people) | found
    return found
