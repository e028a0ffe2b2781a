"""What `seed_demo` leaves behind, and what it must leave alone."""

import io
import json
from datetime import UTC, datetime

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from accounts.models import ApiToken, Team, User, digest
from catalog.models import Service
from demo.management.commands.seed_demo import seed
from incidents.models import Incident, TimelineEntry
from integrations.models import Integration

NOW = datetime(2026, 11, 24, 8, 20, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def told() -> dict:
    out = io.StringIO()
    call_command("seed_demo", json=True, stdout=out)
    return json.loads(out.getvalue())


def row_counts() -> dict[str, int]:
    return {model._meta.label: model._default_manager.count() for model in apps.get_models()}


def test_the_json_has_exactly_what_is_promised():
    said = told()

    assert list(said) == ["url", "username", "password", "api_token", "routing_key", "integration_keys"]
    assert sorted(said["integration_keys"]) == ["alertmanager", "grafana", "opsgenie", "webhook"]
    assert said["url"].startswith("http")
    assert len(said["routing_key"]) == 32


def test_a_second_run_changes_nothing_and_says_the_same():
    first = told()
    before = row_counts()

    second = told()

    assert second == first
    assert row_counts() == before


def test_what_it_tells_opens_the_doors(client):
    said = told()

    assert client.login(username=said["username"], password=said["password"])
    assert ApiToken.objects.get(digest=digest(said["api_token"])).is_usable(timezone.now())
    checkout = Integration.objects.get(key_digest=digest(said["routing_key"]))
    assert (checkout.kind, checkout.service.slug) == ("pagerduty", "checkout-api")
    for kind, key in said["integration_keys"].items():
        assert Integration.objects.get(key_digest=digest(key)).kind == kind


def test_what_people_made_before_is_left_as_it_is():
    ines = User.objects.create_user(
        username="Ines", email="ines@elsewhere.example", password="my own", full_name="Ines"
    )
    team = Team.objects.create(slug="network", name="Network", description="Ours")
    search = Service.objects.create(slug="find", name="Search", criticality=4, team=team)
    incident = Incident.objects.create(
        title="Ours",
        service=Service.objects.create(slug="ours", name="Ours"),
        severity=4,
        urgency="low",
        triggered_at=NOW,
    )

    said = told()

    ines.refresh_from_db()
    search.refresh_from_db()
    assert said["username"] == "ines-demo"
    assert ines.check_password("my own")
    assert (search.slug, search.criticality, search.team.description) == ("find", 4, "Ours")
    assert Incident.objects.get(pk=incident.pk).title == "Ours"
    assert not TimelineEntry.objects.filter(incident=incident).exists()


def test_a_new_secret_key_brings_new_keys_and_no_second_history(settings):
    first = told()
    incidents = Incident.objects.count()

    settings.SECRET_KEY = "another key of some length, " + "y" * 40
    second = told()

    assert second["api_token"] != first["api_token"]
    assert ApiToken.objects.filter(digest=digest(second["api_token"])).exists()
    assert not ApiToken.objects.filter(digest=digest(first["api_token"])).exists()
    assert User.objects.get(username="ines").check_password(second["password"])
    assert Incident.objects.count() == incidents


def test_loading_takes_few_statements(django_assert_max_num_queries):
    with django_assert_max_num_queries(1600):
        seed(now=NOW)

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM timers_timer WHERE kind NOT IN ('duty_notices', 'swap_expiry', 'maintenance.start')"
        )
        assert cursor.fetchone() == (0,)
