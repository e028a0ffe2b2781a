"""Who may be put on call, and who counts as being there. `MUSTER_READINESS=off` lets everybody in and counts everybody."""

from collections.abc import Collection, Sequence

from django.conf import settings
from django.utils import timezone

from accounts.models import User
from escalation import reach
from notifications import queries as notification_queries
from notifications import rules as notification_rules
from oncall import hooks
from readiness import queries


@hooks.on_gate
def gate(people: Sequence[User]) -> dict[int, str]:
    """`reachable`: one confirmed contact method. `strict`: also a rule for each urgency and two kinds of channels."""
    if settings.MUSTER_READINESS == "off" or not people:
        return {}
    found = {
        pk: f"{{}} cannot be reached: {why}. Have one verified, or ask a manager for a waiver."
        for pk, why in queries.kept_out(people, now=timezone.now()).items()
    }
    if settings.MUSTER_READINESS == "strict":
        let_in = queries.waived([person.pk for person in people])
        reaches = notification_queries.reach_of([person for person in people if person.pk not in found])
        for pk, reach_of_one in reaches.items():
            problems = notification_rules.readiness(ways=reach_of_one.ways, steps=reach_of_one.steps)
            if problems and pk not in let_in:
                found[pk] = f"{{}} is not ready: {problems[0]}"
    return {person.pk: found[person.pk].format(person) for person in people if person.pk in found}


@reach.decided_by
def reachable(user_ids: Collection[int]) -> set[int]:
    if settings.MUSTER_READINESS == "off":
        return set(user_ids)
    return queries.reached(user_ids, now=timezone.now())
