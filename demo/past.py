"""Writes the history of the organization: half a year of incidents that are over."""

import random
from collections import deque
from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from accounts.models import ContactMethod
from demo import bulk, history
from demo import organization as data
from demo.scenarios import SCENARIOS
from demo.setup import SINCE, Organization
from escalation.engine import snapshot_of
from incidents.models import Incident
from oncall import rules as oncall_rules
from oncall.queries import load

SEED = 20_251
INCIDENTS = 198
DRILLS = 9
LAST = 2085  # the number of the youngest past incident, when nothing was there before


def world(organization: Organization, *, now: datetime) -> history.World:
    """What the rules of the history ask about the organization, answered without further queries."""
    people = {name: history.Actor(id=user.pk, name=str(user)) for name, user in organization.people.items()}
    by_id = {actor.id: name for name, actor in people.items()}
    schedules = {slug: schedule.pk for slug, schedule in organization.schedules.items()}
    loaded = load(list(schedules.values()), start=now - SINCE)
    policies = {each.slug: each for each in data.POLICIES}
    services = {each.slug: each for each in data.SERVICES}
    own = {slug: name for _, name, slug in data.INTEGRATIONS}

    def on_call(slug: str, at: datetime) -> list[str]:
        duty = loaded.get(schedules[slug])
        found = oncall_rules.on_call_at(duty.data, at) if duty else ()
        return [by_id[user_id] for user_id in found if user_id in by_id]

    def paged(service: str, tier: history.Tier, at: datetime) -> list[tuple[str, str]]:
        found: dict[str, str] = {}
        for kind, which in policies[services[service].policy].tiers[tier.index].targets:
            name = organization.services[service].name
            match kind:
                case "schedule":
                    for who in on_call(which, at):
                        found.setdefault(who, f"On call for {organization.schedules[which].name}")
                case "user":
                    found.setdefault(which, "Named in the policy")
                case "service_primary" if services[service].primary:
                    found.setdefault(services[service].primary, f"Primary for {name}")
                case "service_secondary" if services[service].secondary:
                    found.setdefault(services[service].secondary, f"Secondary for {name}")
        return list(found.items())

    return history.World(
        people=people,
        services={slug: (each.name, each.criticality) for slug, each in services.items()},
        tiers={
            slug: [
                history.Tier(
                    level=tier.level, name=tier.name, expected=tier.expected, index=index,
                    seconds=dict(zip((1, 2, 3, 4), tier.seconds, strict=True)),
                )
                for index, tier in enumerate(policies[each.policy].tiers)
                if tier.targets
            ]
            for slug, each in services.items()
        },
        sender={slug: own.get(slug) or data.SENDERS.get(each.team, "Alertmanager") for slug, each in services.items()},
        bot="deploy-bot",
        paged=paged,
        commander=lambda at: next(iter(on_call("commanders", at)), data.COMMANDER),
    )  # fmt: skip


def make(*, around: history.World, now: datetime) -> list[history.PastIncident]:
    """The same seed and the same `now` give the same history."""
    dice = random.Random(SEED)  # noqa: S311  it makes a story up, it guards nothing
    pot = history.pot(SCENARIOS, world=around)
    worth_a_drill = history.pot([each for each in SCENARIOS if each.severity == "critical"], world=around)
    lately: deque[str] = deque(maxlen=14)
    made = []
    for at in history.starts(dice, count=INCIDENTS, now=now):
        made.append(history.make(dice, out_of=pot, world=around, at=at, now=now, lately=lately))
        lately.append(made[-1].title)
    made += [
        history.make(dice, out_of=worth_a_drill, world=around, at=at.replace(hour=10), now=now, is_drill=True)
        for at in history.starts(dice, count=DRILLS, now=now.replace(hour=0))
    ]
    return sorted(made, key=lambda past: past.triggered_at)


def write(
    incidents: Sequence[history.PastIncident], *, organization: Organization, around: history.World
) -> list[int]:
    by_name = {row.name: row for row in organization.integrations.values()}
    methods = dict(ContactMethod.objects.filter(verified_at__isnull=False).values_list("user", "pk"))
    reach = {
        user.pk: bulk.Reach(method_id=methods.get(user.pk), address=user.email)
        for user in organization.people.values()
    }
    snapshots = {slug: (policy.pk, snapshot_of(policy)) for slug, policy in organization.policies.items()}
    return bulk.write(
        incidents,
        service_ids={slug: service.pk for slug, service in organization.services.items()},
        origins={slug: by_name[name].origin for slug, name in around.sender.items()},
        policies={each.slug: snapshots[each.policy] for each in data.SERVICES},
        reach=reach,
    )


def start_numbers_at(number: int) -> None:
    """Give the next incident this number, in a database that never had one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence(%s, 'id'), %s, false)"
            " WHERE nextval(pg_get_serial_sequence(%s, 'id')) = 1",
            [Incident._meta.db_table, number, Incident._meta.db_table],
        )
