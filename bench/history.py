"""Pages and the list API with a short and a long history: the same number of queries, and time that does not grow.

`python -m bench.history` fills a database of its own twice and asks through Django's client, so that the figures are
those of the application and its database, without HTTP. Figures that are kept until something changes (metrics) are asked
for both ways: as they are, and for the first time after a change.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from bench.common import running

DEFAULTS = {"small": 1_000, "large": 200_000, "times": 15}
FIRST_LOOK = "metrics, 90 days, first look after a change"
FIRST_LOOK_MS = 300

FILL = """
import json
from django.db import connection
from django.utils import timezone
from bench.data import make_incidents
from incidents.models import Incident
before = Incident.objects.count()
make_incidents(%(count)d - before, now=timezone.now())
with connection.cursor() as cursor:
    cursor.execute("VACUUM ANALYZE")
    cursor.execute("CHECKPOINT")  # or the first pages would be measured beside the writing of all this
print(json.dumps({"incidents": Incident.objects.count()}))
"""

ASK = """
import json, statistics, time
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from accounts.models import User
from incidents.models import Incident
user = User.objects.filter(role="admin").first() or User.objects.filter(role="manager").first()
client = Client()
client.force_login(user)
# Of the same service both times: how many queries a room takes depends on its service.
newest = Incident.objects.filter(service__slug="checkout-api").order_by("-pk").first()
pages = {
    "home": "/", "incident list": "/incidents/?show=all", "war room": f"/incidents/INC-{newest.pk}/",
    "API list": "/api/v1/incidents/", "API list, resolved SEV2": "/api/v1/incidents/?status=resolved&severity=SEV2",
    "metrics, 90 days": "/metrics/", %(first_look)r: "/metrics/",
}

def change(name):
    # The figures of one incident are written again, as by a transition, but nobody is paged for it.
    if name == %(first_look)r:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE metrics_incidentfigures SET changed_by = pg_current_xact_id()::text::bigint"
                " WHERE incident_id = %%s", [newest.pk]
            )

rows = []
for name, path in pages.items():
    answer = client.get(path, HTTP_HOST="localhost", follow=True)
    change(name)
    with CaptureQueriesContext(connection) as queries:
        client.get(path, HTTP_HOST="localhost", follow=True)
        counted = len(queries)  # now, since the next request empties the log
    took = []
    for _ in range(%(times)d):
        change(name)
        began = time.perf_counter()
        client.get(path, HTTP_HOST="localhost", follow=True)
        took.append((time.perf_counter() - began) * 1000)
    row = {"page": name, "status": answer.status_code, "queries": counted}
    rows.append({**row, "median_ms": round(statistics.median(took), 1)})
print(json.dumps(rows))
"""


def allowed(small: Mapping[str, Any]) -> float:
    """Milliseconds that the page may take with the long history."""
    return FIRST_LOOK_MS if small["page"] == FIRST_LOOK else 1.5 * small["median_ms"] + 10


def run(config: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    chosen = {**DEFAULTS, **(config or {})}
    with running() as muster:
        asked = []
        for size in ("small", "large"):
            muster.django(FILL % {"count": chosen[size]})
            asked.append(muster.django(ASK % {"times": chosen["times"], "first_look": FIRST_LOOK}))
    return [
        {
            "bench": "history",
            "case": small["page"],
            "status": large["status"],
            f"queries_at_{chosen['small']}": small["queries"],
            f"queries_at_{chosen['large']}": large["queries"],
            f"ms_at_{chosen['small']}": small["median_ms"],
            f"ms_at_{chosen['large']}": large["median_ms"],
            "goal": f"same queries, at most {FIRST_LOOK_MS} ms"
            if small["page"] == FIRST_LOOK
            else "same queries, same time",
            "met": small["status"] == large["status"] == 200
            and 0 < small["queries"] == large["queries"]  # 0: the count itself did not work
            and large["median_ms"] <= allowed(small),
        }
        for small, large in zip(*asked, strict=True)
    ]


if __name__ == "__main__":
    given = dict(argument.split("=") for argument in sys.argv[1:])
    for row in run({name: int(value) for name, value in given.items()}):
        print(json.dumps(row))
