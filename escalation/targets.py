"""From the targets of a tier to people, at the moment when the tier begins."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from accounts.models import Membership, Role, User
from catalog.models import Service
from escalation.models import TargetKind
from escalation.rules import Candidate
from oncall.queries import on_call


def candidates_of(
    tier: Mapping[str, Any], *, service: Service, at: datetime
) -> tuple[list[Candidate], dict[int, User]]:
    """Whom the tier's targets give at this moment, in the order of the targets, and these people by id.

    A person may come twice; nobody who may not sign in any more comes at all.
    """
    found: list[Candidate] = []
    targets = tier["targets"]
    schedules = [target["id"] for target in targets if target["kind"] == TargetKind.SCHEDULE]
    on_duty = on_call(schedules, at) if schedules else {}
    for target in targets:
        match target["kind"]:
            case TargetKind.SCHEDULE:
                found += [
                    Candidate(user.pk, f"On call for {target['name']}")
                    for user in on_duty.get(target["id"], [])
                ]
            case TargetKind.USER:
                found.append(Candidate(target["id"], "Named in the policy"))
            case TargetKind.TEAM:
                members = Membership.objects.filter(team_id=target["id"]).order_by("-is_lead", "user_id")
                found += [
                    Candidate(user_id, f"In the team {target['name']}")
                    for user_id in members.values_list("user_id", flat=True)
                ]
            case TargetKind.ROLE:
                people = User.objects.filter(role=target["role"]).order_by("pk").values_list("pk", flat=True)
                found += [
                    Candidate(user_id, f"Every {target['name'].lower()} is paged") for user_id in people
                ]
            case TargetKind.SERVICE_PRIMARY if service.primary_responder_id:
                found.append(Candidate(service.primary_responder_id, f"Primary for {service.name}"))
            case TargetKind.SERVICE_SECONDARY if service.secondary_responder_id:
                found.append(Candidate(service.secondary_responder_id, f"Secondary for {service.name}"))
    people = User.objects.filter(is_active=True).in_bulk({each.user_id for each in found}) if found else {}
    return [each for each in found if each.user_id in people], people


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
