"""Load the demonstration: an organization, half a year of incidents, one that burns. Safe to run again."""

import json
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection, transaction
from django.utils import timezone

from demo import alerts, past, secrets, setup, story
from demo import organization as data
from incidents.models import Incident

_LOCK = 7_231_904  # two that run at the same time take turns


class Command(BaseCommand):
    help = "Load the demonstration data. A second run changes nothing and says the same."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print how to sign in, with keys, as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        made = seed(now=timezone.now())
        told = credentials()
        if options["json"]:
            self.stdout.write(json.dumps(told))
            return
        self.stdout.write(made)
        self.stdout.write(f"Address      {told['url']}")
        self.stdout.write(f"Sign in      {told['username']} / {told['password']}")
        self.stdout.write(f"API token    {told['api_token']}")
        self.stdout.write(f"Routing key  {told['routing_key']}")


def credentials() -> dict[str, Any]:
    others = [kind for kind, _, _ in data.INTEGRATIONS if kind != "pagerduty"]
    return {
        "url": settings.MUSTER_BASE_URL,
        "username": setup.commander_name(),
        "password": secrets.password(),
        "api_token": secrets.api_token(),
        "routing_key": secrets.integration_key("pagerduty"),
        "integration_keys": {kind: secrets.integration_key(kind) for kind in others},
    }


@transaction.atomic
def seed(*, now: datetime) -> str:
    """All or nothing. What was done, in a sentence."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    if setup.is_seeded():
        return "The demonstration data is there already."
    organization = setup.organization(now=now)
    services = [service.pk for service in organization.services.values()]
    if Incident.objects.filter(service__in=services).exists():
        return "Brought the demonstration's passwords and keys up to date."
    around = past.world(organization, now=now)
    incidents = past.make(around=around, now=now)
    past.start_numbers_at(past.LAST + 1 - len(incidents))
    past.write(incidents, organization=organization, around=around)
    setup.runbooks(organization, now=now)
    story.play(organization=organization, now=now)
    setup.room(organization)
    alerts.play(organization=organization, now=now)
    return f"Loaded {len(data.PEOPLE)} people, {len(services)} services and {len(incidents) + 2} incidents."
