"""When a tier is paged before its turn: criteria as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from escalation.rules.snapshot import Snapshot

CONTAINMENT_MISSED, IMPACT_GREW, EXPERTISE = "containment_missed", "impact_grew", "expertise"


@dataclass(frozen=True)
class Cause:
    """Something that happened and can have a tier paged early."""

    kind: str
    field: str = ""
    """Of expertise: network, database …"""

    @property
    def words(self) -> str:
        match self.kind:
            case "containment_missed":
                return "it is not contained in time"
            case "impact_grew":
                return "it got worse"
        return f"{self.field} expertise is needed"


def entered_by(snapshot: Snapshot, cause: Cause, *, after: int) -> int | None:
    """Index of the lowest tier above `after` that this cause has paged; None: there is none.

    Expertise may be of any tier, since nobody below it has it; the other causes only ever lead upwards.
    """
    for index, tier in enumerate(snapshot["tiers"]):
        if index > after and any(_meets(criterion, tier, cause) for criterion in tier.get("early") or []):
            return index
    return None


def _meets(criterion: Mapping[str, str], tier: Mapping[str, Any], cause: Cause) -> bool:
    if criterion["kind"] != cause.kind:
        return False
    if cause.kind != EXPERTISE:
        return True
    field = criterion.get("field") or tier.get("expertise") or ""
    return field.strip().lower() == cause.field.strip().lower()


def say_criterion(criterion: Mapping[str, str], *, expertise: str = "") -> str:
    match criterion["kind"]:
        case "containment_missed":
            return "the containment target is missed"
        case "impact_grew":
            return "the severity is raised"
    return f"{criterion.get('field') or expertise} expertise is needed"
