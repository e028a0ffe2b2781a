"""From the targets of a tier to people, at the moment when the tier begins."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from accounts.models import Membership, Role, User
from catalog.models import Service
from escalation.models import TargetKind
from escalation.reach import reachable
from escalation.rules import Candidate
from oncall.queries import next_on_call, on_call


class Staffing:
    """Whom the tiers of one snapshot give at one moment, each tier read once and only when it is asked for.

    Calling it answers as `rules.paging.Staffing`; `people` has everybody who came.
    """

    def __init__(self, snapshot: Mapping[str, Any], *, service: Service, at: datetime) -> None:
        self.snapshot, self.service, self.at = snapshot, service, at
        self.people: dict[int, User] = {}
        self._found: dict[int, list[list[Candidate]]] = {}

    def __call__(self, index: int) -> list[list[Candidate]]:
        if index not in self._found:
            by_target = candidates_of(self.snapshot["tiers"][index], service=self.service, at=self.at)
            wanted = {each.user_id for found in by_target for each in found}
            here = User.objects.filter(is_active=True).in_bulk(reachable(wanted)) if wanted else {}
            self.people |= here
            self._found[index] = [[each for each in found if each.user_id in here] for found in by_target]
        return self._found[index]

    def chosen(self, candidates: Sequence[Candidate]) -> list[tuple[User, str]]:
        return [(self.people[each.user_id], each.reason) for each in candidates]


def candidates_of(tier: Mapping[str, Any], *, service: Service, at: datetime) -> list[list[Candidate]]:
    """Whom each target gives at this moment, whether or not they can be reached. A person may come twice."""
    schedules = [target["id"] for target in tier["targets"] if target["kind"] == TargetKind.SCHEDULE]
    on_duty = on_call(schedules, at) if schedules else {}
    return [_candidates(target, on_duty, service=service, at=at) for target in tier["targets"]]


def _candidates(
    target: Mapping[str, Any], on_duty: Mapping[int, list[User]], *, service: Service, at: datetime
) -> list[Candidate]:
    match target["kind"]:
        case TargetKind.SCHEDULE:
            people = on_duty.get(target["id"], [])
            return [Candidate(user.pk, f"On call for {target['name']}") for user in people]
        case TargetKind.SCHEDULE_NEXT:
            people = next_on_call(target["id"], at)
            return [Candidate(user.pk, f"Next on call for {target['name']}") for user in people]
        case TargetKind.USER:
            return [Candidate(target["id"], "Named in the policy")]
        case TargetKind.TEAM:
            members = Membership.objects.filter(team_id=target["id"]).order_by("-is_lead", "user_id")
            ids = members.values_list("user_id", flat=True)
            return [Candidate(user_id, f"In the team {target['name']}") for user_id in ids]
        case TargetKind.ROLE:
            ids = User.objects.filter(role=target["role"]).order_by("pk").values_list("pk", flat=True)
            return [Candidate(user_id, f"Every {target['name'].lower()} is paged") for user_id in ids]
        case TargetKind.SERVICE_PRIMARY if service.primary_responder_id:
            return [Candidate(service.primary_responder_id, f"Primary for {service.name}")]
        case TargetKind.SERVICE_SECONDARY if service.secondary_responder_id:
            return [Candidate(service.secondary_responder_id, f"Secondary for {service.name}")]
    return []


def schedules_of(tier: Mapping[str, Any]) -> list[int]:
    """The schedules whose handoffs change who is in this tier."""
    kinds = (TargetKind.SCHEDULE, TargetKind.SCHEDULE_NEXT)
    return [target["id"] for target in tier["targets"] if target["kind"] in kinds]


def catch_all_people(ids: Sequence[int]) -> list[User]:
    """The policy's catch-all; without one the admins, then the managers, then everybody. Empty only when nobody exists."""
    for people in (
        User.objects.filter(pk__in=ids),
        User.objects.filter(role=Role.ADMIN),
        User.objects.filter(is_superuser=True),
        User.objects.filter(role=Role.MANAGER),
        User.objects.all(),
    ):
        found = list(people.filter(is_active=True, is_bot=False).order_by("pk"))
        if found:
            return found
    return []
