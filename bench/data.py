"""Many incidents at once for the benches: whole rows with timelines, pages and alerts, written by COPY."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

from demo import bulk, history, past
from demo.organization import SERVICES
from demo.scenarios import SCENARIOS
from demo.setup import organization
from escalation.engine import snapshot_of

BATCH = 5_000


def make_incidents(count: int, *, now: datetime, span: timedelta = timedelta(days=730)) -> list[int]:
    """Write `count` incidents that are over, spread evenly over `span` before `now`. Their ids, oldest first.

    Needs an empty database or one with the demonstration's people; makes these when they are missing. Starts no run, sets
    no timer and sends nothing. ANALYZE afterwards is the caller's business.
    """
    made = organization(now=now)
    around = past.world(made, now=now)
    names = {row.name: row for row in made.integrations.values()}
    snapshots = {slug: (policy.pk, snapshot_of(policy)) for slug, policy in made.policies.items()}
    ids: list[int] = []
    for batch in _batches(count, around=around, now=now, span=span):
        ids += bulk.write(
            batch,
            service_ids={slug: service.pk for slug, service in made.services.items()},
            origins={slug: names[name].origin for slug, name in around.sender.items()},
            policies={each.slug: snapshots[each.policy] for each in SERVICES},
        )
    return ids


def _batches(
    count: int, *, around: history.World, now: datetime, span: timedelta
) -> Iterator[list[history.PastIncident]]:
    dice = random.Random(count)
    pot = history.pot(SCENARIOS, world=around)
    step = (span - timedelta(hours=6)) / count
    first = now - span
    for start in range(0, count, BATCH):
        yield [
            history.make(dice, out_of=pot, world=around, at=first + step * place, now=now, span=span)
            for place in range(start, min(start + BATCH, count))
        ]
