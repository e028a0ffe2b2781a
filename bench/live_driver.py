"""The part of `bench.live` that needs Django: prepares, then makes transitions when told; JSON lines both ways."""

import json
import sys
import time
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.db import transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from accounts.models import User  # noqa: E402
from catalog.models import Service  # noqa: E402
from incidents import transitions  # noqa: E402


def cookie(user: User) -> str:
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return f"{settings.SESSION_COOKIE_NAME}={session.session_key}"


def change(incident_id: int, by: User, number: int, committed: dict[int, float]) -> None:
    """Every third is a change of state. The commit is stamped before anybody is told of it."""
    stamps: list[float] = []
    with transaction.atomic():
        transaction.on_commit(lambda: stamps.append(time.time()))
        now = timezone.now()
        if number % 3:
            text = "r4470 is live on 12 of 18 edge nodes."
            incident = transitions.add_note(incident_id=incident_id, text=text, by=by, now=now)
        else:
            impact = f"{number}% of checkouts fail"
            incident = transitions.set_impact(incident_id=incident_id, impact=impact, by=by, now=now)
    committed[incident.last_seq] = stamps[0]


def say(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main(chosen: dict[str, Any]) -> None:
    people = User.objects.bulk_create(
        User(username=f"viewer-{n}", full_name=f"Viewer {n}", email=f"viewer-{n}@example.org", password="!")
        for n in range(chosen["viewers"])
    )
    service = Service.objects.create(name="Checkout", slug="checkout")
    incident = transitions.trigger(
        service=service, title="Checkout fails", severity=3, urgency="low", now=timezone.now()
    )
    say({"path": f"/live/incidents/{incident.pk}/", "cookies": [cookie(user) for user in people]})
    for line in sys.stdin:
        committed: dict[int, float] = {}
        if line.strip() == "steady":
            for number in range(chosen["events"]):
                due = time.monotonic() + 1 / chosen["per_second"]
                change(incident.pk, people[number % len(people)], number, committed)
                time.sleep(max(0.0, due - time.monotonic()))
        else:
            for _ in range(chosen["burst"]):
                change(incident.pk, people[0], 1, committed)
        say(committed)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
