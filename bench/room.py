"""The room of an incident with 5,000 entries, its transcript, and the search over a long history.

`python -m bench.room` asks through Django's client, so that the figures are those of the application and its database,
without HTTP.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from bench.common import running

DEFAULTS = {"entries": 5_000, "incidents": 30_000, "times": 15}
GOALS = {"room, first view": 200.0, "search, one rare word": 200.0}  # ms

FILL = """
import json
from django.db import connection, transaction
from django.utils import timezone
from accounts.models import User
from bench.data import make_incidents
from catalog.models import Service
from incidents import timeline, transitions
from incidents.models import Kind, TimelineEntry
now = timezone.now()
make_incidents(%(incidents)d, now=now)
person = User.objects.create(username="bench", full_name="Bench Person", email="bench@example.org", role="manager")
service = Service.objects.first()
incident = transitions.trigger(service=service, title="The long one", severity=1, urgency="high", now=now)
with transaction.atomic():
    locked = transitions.lock_incident(incident.pk)
    for n in range(%(entries)d):
        kind = (Kind.NOTE, Kind.NOTE, Kind.NOTE, Kind.CHANGE, Kind.PHASE_CORRECTED)[n %% 5]
        text = f"note {n}: shard {n %% 17} of the pool answers again" + (" zanzibar" if n == 1234 else "")
        timeline.record(locked, kind, at=now, actor=person, text=text)
with connection.cursor() as cursor:
    cursor.execute("VACUUM ANALYZE")
print(json.dumps({"incident": incident.pk, "entries": TimelineEntry.objects.count()}))
"""

ASK = """
import json, statistics, time
from django.test import Client
from accounts.models import User
client = Client()
client.force_login(User.objects.get(username="bench"))
room = "/incidents/INC-%(incident)d/"
pages = {
    "room, first view": room, "room, one kind": room + "?show=course", "room, earlier": room + "earlier/?before=3000",
    "transcript, Markdown": room + "transcript.md", "transcript, JSON": room + "transcript.json",
    "page to print": room + "print/", "search, one rare word": "/incidents/search/?q=zanzibar",
    "search, a common word": "/incidents/search/?q=paged", "search, two words": "/incidents/search/?q=shard+pool",
    "search, within the incident": "/incidents/search/?q=pool&incident=%(incident)d",
}
rows = []
for name, path in pages.items():
    took = []
    for number in range(%(times)d + 2):
        began = time.perf_counter()
        answer = client.get(path, HTTP_HOST="localhost")
        size = len(answer.getvalue())
        if number > 1:
            took.append((time.perf_counter() - began) * 1000)
    row = {"page": name, "status": answer.status_code, "kb": round(size / 1024)}
    rows.append({**row, "median_ms": round(statistics.median(took), 1), "max_ms": round(max(took), 1)})
print(json.dumps(rows))
"""


def run(config: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    chosen = {**DEFAULTS, **(config or {})}
    with running() as muster:
        filled = muster.django(FILL % chosen)
        asked = muster.django(ASK % {"incident": filled["incident"], "times": chosen["times"]})
    rows = []
    for row in asked:
        goal = GOALS.get(row["page"])
        rows.append(
            {
                "bench": "room",
                "case": row.pop("page"),
                **row,
                "entries_in_all": filled["entries"],
                "goal": f"≤ {goal:g} ms" if goal else None,
                "met": row["status"] == 200 and (goal is None or row["median_ms"] <= goal),
            }
        )
    return rows


if __name__ == "__main__":
    given = dict(argument.split("=") for argument in sys.argv[1:])
    for row in run({name: int(value) for name, value in given.items()}):
        print(json.dumps(row))
