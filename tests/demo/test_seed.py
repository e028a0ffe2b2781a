"""What `seed_demo` leaves behind, and what it must leave alone."""

import io
import json
from datetime import UTC, datetime

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from accounts.models import ApiToken, ContactMethod, Team, User, digest
from catalog.models import Service
from demo.management.commands.seed_demo import seed
from incidents.models import Incident, Kind, Page, PageStatus, Status, TimelineEntry
from incidents.timeline import verify
from integrations.models import IngestEvent, Integration
from notifications.models import Delivery, DeliveryStatus, Notification
from oncall.models import Schedule
from oncall.queries import on_call
from timers.models import Firing, Timer

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


def test_every_timeline_is_whole_and_none_is_empty():
    seed(now=NOW)

    incidents = list(Incident.objects.all())
    assert len(incidents) > 160
    assert [fault for incident in incidents for fault in verify(incident)] == []
    assert min(incident.last_seq for incident in incidents) >= 3


def test_nothing_is_sent_fires_or_pages_later():
    seed(now=NOW)

    assert not Timer.objects.exists()
    assert not Firing.objects.exists()
    assert not Delivery.objects.exclude(status=DeliveryStatus.SENT).exists()
    assert not Incident.objects.filter(next_page_at__isnull=False).exists()


def test_one_sev1_burns_and_one_sev3_is_contained():
    seed(now=NOW)

    burning, contained = Incident.objects.exclude(status=Status.RESOLVED).order_by("severity")
    assert (burning.severity, burning.status) == (1, Status.ACKNOWLEDGED)
    assert (burning.title, str(burning.commander)) == (
        "Checkout API: 5xx after config rollout",
        "Ines Okafor",
    )
    assert burning.triggered_at < NOW
    assert burning.alerts.count() == 7
    assert burning.timeline.filter(kind=Kind.CHANGE).count() == 3
    assert not burning.timeline.filter(at__gt=NOW).exists()
    assert (contained.severity, contained.status) == (3, Status.CONTAINED)


def test_the_first_responder_missed_the_page_and_the_second_answered():
    seed(now=NOW)

    pages = Page.objects.filter(
        incident__severity=1, incident__status=Status.ACKNOWLEDGED, tier__isnull=False
    )
    assert list(pages.filter(status=PageStatus.MISSED).values_list("recipient__full_name", flat=True)) == [
        "Dana Whitfield"
    ]
    assert list(
        pages.filter(status=PageStatus.ACKNOWLEDGED).values_list("recipient__full_name", flat=True)
    ) == ["Ravi Menon"]


def test_somebody_is_on_call_for_checkout_whenever_it_is_seeded():
    seed(now=NOW)

    checkout = Schedule.objects.get(slug="checkout")
    assert [str(user) for user in on_call([checkout.pk], NOW)[checkout.pk]] == ["Ravi Menon"]


def test_two_people_cannot_be_reached_on_purpose():
    seed(now=NOW)

    reachable = ContactMethod.objects.filter(verified_at__isnull=False).values("user")
    assert list(
        User.objects.filter(is_bot=False).exclude(pk__in=reachable).values_list("username", flat=True)
    ) == [
        "lucia",
        "noor",
    ]


def test_history_ends_before_now_and_reaches_back_half_a_year():
    seed(now=NOW)

    history = Incident.objects.filter(status=Status.RESOLVED)
    assert history.latest("resolved_at").resolved_at < NOW
    assert (NOW - history.earliest("triggered_at").triggered_at).days > 170
    assert history.filter(is_drill=True).count() == 9
    assert set(history.values_list("severity", flat=True)) == {1, 2, 3, 4}


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
        cursor.execute("SELECT count(*) FROM timers_timer")
        assert cursor.fetchone() == (0,)


def test_every_old_page_has_the_message_that_told_of_it():
    seed(now=NOW)

    pages = Page.objects.filter(incident__status=Status.RESOLVED)
    assert not pages.filter(notification__isnull=True).exists()
    assert not pages.exclude(notification__deliveries__status=DeliveryStatus.SENT).exists()
    assert not Notification.objects.filter(status="active").exclude(recipient__username="lucia").exists()


def test_the_ledger_lists_what_came_in_for_the_open_incidents_in_order():
    seed(now=NOW)

    events = list(IngestEvent.objects.order_by("pk"))
    assert [event.received_at for event in events] == sorted(event.received_at for event in events)
    assert {event.verdict for event in events} == {"opened", "joined", "resolved", "change"}
    assert all(event.due_at is None and len(event.payload) == 1 and event.raw for event in events)
