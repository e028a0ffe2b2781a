"""Roles of the room as pure rules: their order and names, who is asked next, and how long a person has."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

COMMANDER, DEPUTY, SCRIBE, COMMUNICATIONS, EXPERT = (
    "commander",
    "deputy",
    "scribe",
    "communications",
    "expert",
)

WHOLE = "incident"
"""Not a role: the incident itself, which is handed over by an offer as a role is."""

ROLES = (COMMANDER, DEPUTY, SCRIBE, COMMUNICATIONS, EXPERT)
"""In the order in which the room shows them."""

ROTATING = (COMMANDER, EXPERT)
"""Roles that a schedule can give."""

_TITLES = {
    COMMANDER: "Commander",
    DEPUTY: "Deputy commander",
    SCRIBE: "Scribe",
    COMMUNICATIONS: "Communications",
    EXPERT: "Expert",
    WHOLE: "The incident",
}
_EXPECTED = {
    COMMANDER: "Take command: decide what is done and who does it.",
    DEPUTY: "Stand in for the commander, and take over when asked.",
    SCRIBE: "Write down what happens and why.",
    COMMUNICATIONS: "Write the updates to stakeholders.",
    EXPERT: "Join the room and help",
    WHOLE: "Take the incident over: it is yours once you accept.",
}

ACCEPT_SECONDS = 300
LONGEST_PAUSE = 900
"""Who is asked again has twice as long each time, up to this."""


def title(role: str, field: str = "") -> str:
    """As the room calls it: "Deputy commander", "Expert, network"."""
    return f"{_TITLES[role]}, {field}" if field else _TITLES[role]


def words(role: str, field: str = "") -> str:
    """As a thing that one takes: "command", "the role of scribe"."""
    if role == COMMANDER:
        return "command"
    if role == WHOLE:
        return "the incident"
    if role == COMMUNICATIONS:
        return "communications"
    name = title(role, field)
    return f"the role of {name[0].lower()}{name[1:]}"


def expected(role: str, field: str = "") -> str:
    """What the asked person reads."""
    return f"{_EXPECTED[role]} with {field}." if role == EXPERT else _EXPECTED[role]


def assigned(*, role: str, field: str, to: str, himself: bool, before: str, via: str) -> str:
    """What the timeline says when a role changes hands; `to` empty: nobody holds it now."""
    what = words(role, field)
    if not to:
        return f"relieved {before} of {what}"
    if via == "handoff":
        return f"accepted {what} from {before}" if before else f"accepted {what}"
    if via in ("rotation", "offer"):
        return f"accepted {what}"
    if himself:
        return f"took {what}"
    name = title(role, field)
    return f"made {to} {name[0].lower()}{name[1:]}"


def handover_seconds(severity: int) -> int:
    """How long whoever is asked to take the whole incident has, unless the giver says otherwise."""
    return ACCEPT_SECONDS if severity <= 2 else LONGEST_PAUSE


def known_field(role: str, field: str) -> str:
    """A sentence about what is wrong with the field, or empty."""
    if role == EXPERT and not field:
        return "Say of which field: network, database …"
    if role != EXPERT and field:
        return "Only an expert has a field."
    return "At most 40 characters." if len(field) > 40 else ""


def may_withdraw(
    person: int, *, asker: int | None, giver: int | None, commander: int | None, manager: bool
) -> bool:
    """Whoever asked, whoever gives the role, the commander, and managers. Ids of people."""
    return manager or person in {asker, giver, commander}


def wants(role: str, *, severity: int) -> bool:
    """Whether the room shows that nobody holds it: a commander always, the two others when many are hurt."""
    return role == COMMANDER or (role in (DEPUTY, COMMUNICATIONS) and severity <= 2)


@dataclass(frozen=True)
class Choice:
    person: int
    round: int
    """How often this person was asked before."""


def candidates(
    *, on_duty: Iterable[int], following: Iterable[int], others: Iterable[int], last: Iterable[int]
) -> list[int]:
    """In the order in which they are asked: on duty, next on duty, the rest of the rotation, then the last resort."""
    return list(dict.fromkeys([*on_duty, *following, *others, *last]))


def choose(people: Sequence[int], asked: Iterable[int]) -> Choice | None:
    """Whom to ask: the first of those who were asked least. None only when there is nobody at all."""
    times = Counter(asked)
    if not people:
        return None
    person = min(people, key=lambda each: times[each])
    return Choice(person=person, round=times[person])


def accept_seconds(base: int, *, asked_before: int) -> int:
    """How long the person has to accept."""
    return max(base, min(base * 2 ** min(asked_before, 10), LONGEST_PAUSE))
