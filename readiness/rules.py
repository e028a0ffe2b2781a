"""What is found about a night, in which order, and how long the proof of a contact method holds. Values only."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

NIGHT = timedelta(hours=24)
"""How far ahead "tonight" reaches."""

GRACE = timedelta(days=14)
"""So long after its time is up a method still counts as verified, while its owner is reminded."""

REMIND_EVERY = timedelta(days=7)
LONGEST_WAIVER = timedelta(days=90)
EXPIRES_SOON = timedelta(days=14)
AUDITOR_LATE = timedelta(seconds=60)


class Level(StrEnum):
    BAD = "bad"  # fails tonight
    SOON = "soon"  # fails later, or is one fault away


class Topic(StrEnum):
    ENGINE = "engine"
    COVERAGE = "coverage"
    PEOPLE = "people"
    STEPS = "steps"
    SERVICES = "services"
    PROVIDERS = "providers"
    KEYS = "keys"


TITLES = {
    Topic.ENGINE: "Timers and the auditor",
    Topic.COVERAGE: "Nobody on call",
    Topic.PEOPLE: "People whom a page may not reach",
    Topic.STEPS: "Steps that page nobody",
    Topic.SERVICES: "Services without a policy",
    Topic.PROVIDERS: "Providers of SMS and calls",
    Topic.KEYS: "Keys that expire",
}


@dataclass(frozen=True)
class Finding:
    """`about` is a name, `text` what is so, `consequence` what happens then, `link` a path within Muster to mend it."""

    topic: str
    level: str
    about: str
    text: str
    consequence: str
    link: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """What fails tonight first, then by topic in the order of `Topic`, then by name. Each once."""
    topics = list(Topic)
    return sorted(
        dict.fromkeys(findings),
        key=lambda each: (
            each.level != Level.BAD,
            topics.index(Topic(each.topic)),
            each.about.lower(),
            each.text,
        ),
    )


def grouped(findings: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, list[Mapping[str, Any]]]]:
    """(topic, title, findings), topics with nothing left out, in the order of their worst finding."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        groups.setdefault(finding["topic"], []).append(finding)
    return [(topic, TITLES[Topic(topic)], rows) for topic, rows in groups.items()]


class Proof(StrEnum):
    """What is known about a contact method."""

    GOOD = "good"
    DUE = "due"  # its owner is reminded; it still counts
    LAPSED = "lapsed"  # nobody has confirmed it for too long
    FLAGGED = "flagged"  # the last message did not reach the person
    NONE = "none"  # never verified, or switched off


def proof(
    *, verified_at: datetime | None, flagged_at: datetime | None, is_off: bool, now: datetime, every: timedelta | None
) -> Proof:  # fmt: skip
    """`every`: after so long it is to be confirmed again; None: never."""
    if verified_at is None or is_off:
        return Proof.NONE
    if flagged_at is not None and flagged_at >= verified_at:
        return Proof.FLAGGED
    if every is None or now < verified_at + every:
        return Proof.GOOD
    return Proof.DUE if now < verified_at + every + GRACE else Proof.LAPSED


COUNTS = frozenset({Proof.GOOD, Proof.DUE})
"""A person with such a method can be put on call."""

RINGS = frozenset({Proof.GOOD, Proof.DUE, Proof.LAPSED, Proof.FLAGGED})
"""Messages are sent there; whoever has one of these counts as being there. A flag may be one missed call or one refusal of a
server, and only a page that is sent there can take it away again."""


def why_not_reached(proofs: Iterable[Proof]) -> str:
    """Why a person can't be put on call. Empty: they can."""
    seen = set(proofs)
    if seen & COUNTS:
        return ""
    if Proof.LAPSED in seen:
        return "no contact method was confirmed lately"
    if Proof.FLAGGED in seen:
        return "the last message to each contact method failed"
    return "no contact method is verified"
