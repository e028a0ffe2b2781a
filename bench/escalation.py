"""How late a tier is paged: commit of the step minus its due time, while many timers are armed and many fall due.

`python -m bench.escalation` starts a whole Muster of its own. Commit times are PostgreSQL's own (track_commit_timestamp).
"""

import json
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

import psutil

from bench.common import Muster, percentile, running

DEFAULTS = {"armed": 10_000, "per_second": 20, "seconds": 60}

SETUP = """
import json
from datetime import timedelta
from django.db import transaction
from django.utils import timezone
from accounts.models import User
from catalog.models import Service
from escalation.engine import STEP, snapshot_of
from escalation.models import Run
from escalation.rules import PolicyData, TargetData, TierData
from escalation.transitions import save_policy, set_service_policy
from incidents.models import Incident
from timers.models import Timer

now = timezone.now()
people = [
    User.objects.create(username=f"bench{n}", full_name=f"Bench {n}", email=f"bench{n}@example.org", role="admin")
    for n in range(3)
]
policy = save_policy(policy=None, data=PolicyData(name="Bench", repeats=0, tiers=[
    TierData(level=n + 1, name=f"Tier {n + 1}", expected_outcome="Look", ack_seconds=dict.fromkeys((1, 2, 3, 4), 86400),
             targets=[TargetData(kind="user", id=person.pk)])
    for n, person in enumerate(people)
]))
services = Service.objects.bulk_create(Service(name=f"bench-{n}", slug=f"bench-{n}") for n in range(50))
for service in services:
    set_service_policy(service_id=service.pk, policy=policy)
snapshot = snapshot_of(policy)
due, armed, per_second = %(due)d, %(armed)d, %(per_second)d
with transaction.atomic():  # or the auditor finds runs without timers in between
    incidents = Incident.objects.bulk_create([
        Incident(title=f"Bench {n}", service=services[n %% 50], severity=1, urgency="high", triggered_at=now, last_event_at=now)
        for n in range(due + armed)
    ], batch_size=1000)
    begin = timezone.now() + timedelta(seconds=20)
    times = [begin + timedelta(seconds=n / per_second) for n in range(due)] + [now + timedelta(days=1)] * armed
    Run.objects.bulk_create([
        Run(incident=incident, policy=policy, snapshot=snapshot, index=0, step=1, step_started_at=now, started_at=now, due_at=at)
        for incident, at in zip(incidents, times)
    ], batch_size=1000)
    Timer.objects.bulk_create([
        Timer(kind=STEP, key=str(incident.pk), due_at=at, first_due_at=at, fence=1, payload={"incident": incident.pk})
        for incident, at in zip(incidents, times)
    ], batch_size=1000)
print(json.dumps({"first": incidents[0].pk, "last_due": incidents[due - 1].pk, "late_setup": timezone.now() > begin}))
"""


def note_commit_times(muster: Muster) -> None:
    """Restart the database with commit times kept; its supervisor starts it again."""
    muster.psql("ALTER SYSTEM SET track_commit_timestamp = on")
    pid = int(muster.psql("SELECT pg_read_file('postmaster.pid')")[0][0].split()[0])
    psutil.Process(pid).send_signal(signal.SIGINT)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        time.sleep(0.3)
        try:
            if muster.psql("SHOW track_commit_timestamp") == [["on"]]:
                return
        except Exception:
            continue
    raise RuntimeError("The database did not come back.")


def run(config: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    chosen = {**DEFAULTS, **(config or {})}
    due = int(chosen["per_second"] * chosen["seconds"])
    with running() as muster:
        note_commit_times(muster)
        made = muster.django(
            SETUP % {"due": due, "armed": chosen["armed"], "per_second": chosen["per_second"]}
        )
        span = f"BETWEEN {made['first']} AND {made['last_due']}"
        time.sleep(20 + chosen["seconds"] + 8)
        rows = muster.psql(
            "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - due_at) * 1000, by FROM timers_firing"
            f" WHERE kind = 'escalation.step' AND key::bigint {span}"
        )
        late = [float(row[0]) for row in rows]
        pages = muster.psql(
            f"SELECT count(*), count(DISTINCT incident_id) FROM incidents_page WHERE incident_id {span}"
        )[0]
        return [
            {
                "bench": "escalation",
                "case": f"{chosen['armed']} timers armed, {chosen['per_second']} due each second for {chosen['seconds']} s",
                "due": due,
                "fired": len(late),
                "missed": due - int(pages[1]),
                "twice": int(pages[0]) - int(pages[1]),
                "by_timekeeper": sum(row[1] != "celery" for row in rows),
                "p50_ms": round(percentile(late, 0.5), 1),
                "p99_ms": round(percentile(late, 0.99), 1),
                "max_ms": round(max(late, default=float("nan")), 1),
                "goal": "p50 ≤ 20 ms, p99 ≤ 100 ms, none missed, none twice",
                "met": len(late) == due == int(pages[0]) == int(pages[1])
                and percentile(late, 0.5) <= 20
                and percentile(late, 0.99) <= 100,
            }
        ]


if __name__ == "__main__":
    given = dict(argument.split("=") for argument in sys.argv[1:])
    for row in run({name: int(value) for name, value in given.items()}):
        print(json.dumps(row))
