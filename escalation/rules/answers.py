"""When a tier has been answered: by one, by everybody, or by so many of those whom it paged."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tally:
    answered: int
    of: int
    needed: int

    @property
    def is_enough(self) -> bool:
        return self.answered >= self.needed

    def __str__(self) -> str:
        """2 of 3 answered"""
        more = f", {self.needed} have to" if 1 < self.needed < self.of else ""
        return f"{self.answered} of {self.of} answered{more}"


def asks_for_more(tier: Mapping[str, Any]) -> bool:
    """Whether one answer is not enough, so that the others go on being paged after the first."""
    return tier.get("ack_mode", "any") != "any"


def needed(tier: Mapping[str, Any], *, people: int) -> int:
    """How many of so many paged people have to answer. Never more than there are."""
    match tier.get("ack_mode", "any"):
        case "all":
            return people
        case "quorum":
            return min(tier.get("quorum", 1), people)
    return min(1, people)


def tally(tier: Mapping[str, Any], *, paged: Collection[int], answered: Collection[int]) -> Tally:
    """Only answers of paged people count: somebody else who acknowledges takes charge, and is not one of them."""
    people = set(paged)
    return Tally(len(people & set(answered)), len(people), needed(tier, people=len(people)))
