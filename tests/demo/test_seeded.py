"""What stands in a seeded database. It is seeded once for all of these tests, which only read."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.db import transaction

from accounts.models import ContactMethod, User
from demo.management.commands.seed_demo import seed
from incidents.models import Incident, Kind, Page, PageStatus, Status
from incidents.timeline import verify
from integrations.models import IngestEvent
from notifications.models import Delivery, DeliveryStatus, Notification
from oncall.models import Schedule
from oncall.queries import on_call
from timers.models import Firing, Timer

NOW = datetime(2026, 11, 24, 8, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def _seeded(django_db_setup: None, django_db_blocker: object) -> Iterator[None]:
    with django_db_blocker.unblock(), transaction.atomic():
        seed(now=NOW)
        yield
        transaction.set_rollback(True)


pytestmark = [pytest.mark.usefixtures("_seeded", "db")]


def test_every_timeline_is_whole_and_none_is_empty():
    incidents = list(Incident.objects.all())
    assert len(incidents) > 160
    assert [fault for incident in incidents for fault in verify(incident)] == []
    assert min(incident.last_seq for incident in incidents) >= 3


def test_nothing_is_sent_fires_or_pages_later():
    # what begins on Sunday holds alerts back and pages nobody, and schedules tell of shifts and end requests
    assert not Timer.objects.exclude(kind__in=["maintenance.start", "duty_notices", "swap_expiry"]).exists()
    assert not Firing.objects.exists()
    assert not Delivery.objects.exclude(status=DeliveryStatus.SENT).exists()
    assert not Incident.objects.filter(next_page_at__isnull=False).exists()


def test_one_sev1_burns_and_one_sev3_is_contained():
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
    checkout = Schedule.objects.get(slug="checkout")
    assert [str(user) for user in on_call([checkout.pk], NOW)[checkout.pk]] == ["Ravi Menon"]


def test_two_people_cannot_be_reached_on_purpose():
    reachable = ContactMethod.objects.filter(verified_at__isnull=False).values("user")
    assert list(
        User.objects.filter(is_bot=False).exclude(pk__in=reachable).values_list("username", flat=True)
    ) == [
        "lucia",
        "noor",
    ]


def test_history_ends_before_now_and_reaches_back_half_a_year():
    history = Incident.objects.filter(status=Status.RESOLVED)
    assert history.latest("resolved_at").resolved_at < NOW
    assert (NOW - history.earliest("triggered_at").triggered_at).days > 170
    assert history.filter(is_drill=True).count() == 9
    assert set(history.values_list("severity", flat=True)) == {1, 2, 3, 4}


def test_every_old_page_has_the_message_that_told_of_it():
    pages = Page.objects.filter(incident__status=Status.RESOLVED)
    assert not pages.filter(notification__isnull=True).exists()
    assert not pages.exclude(notification__deliveries__status=DeliveryStatus.SENT).exists()
    assert not Notification.objects.filter(status="active").exclude(recipient__username="lucia").exists()


def test_the_ledger_lists_what_came_in_for_the_open_incidents_in_order():
    events = list(IngestEvent.objects.order_by("pk"))
    assert [event.received_at for event in events] == sorted(event.received_at for event in events)
    assert {event.verdict for event in events} == {"opened", "joined", "resolved", "change"}
    assert all(event.due_at is None and len(event.payload) == 1 and event.raw for event in events)
