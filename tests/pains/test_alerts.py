"""What users of other pagers suffer from when alerts come in, each with the number it has in our list, as a story that
ends well. Only what a sender and a person do is used: requests to the addresses, and what the room offers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from incidents import timeline
from incidents import transitions as incidents
from incidents.grouping import transitions
from incidents.grouping.transitions import MaintenanceData
from incidents.models import Alert, HeldAlert, Incident, Kind, MaintenanceEvent, Status
from integrations import endpoints, hints, inbox
from integrations import transitions as integrations
from integrations.keys import directory
from integrations.models import IngestEvent, Integration
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from tests.factories.integrations import make_integration
from timers.models import Timer
from timers.transitions import fire, fire_due

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    for forgets in (directory, endpoints.strangers, endpoints.refusals):
        forgets.forget()
    monkeypatch.setattr(hints, "wake", lambda integration_id: None)  # no worker runs here


@pytest.fixture
def ada():
    return make_user("ada", role="manager")


@pytest.fixture
def service(ada):
    return make_service("checkout-api", criticality=1, primary_responder=ada)


@pytest.fixture
def prometheus(service) -> Integration:
    return make_integration("alertmanager", service=service)


def alert(name: str, status: str = "firing", *, began: datetime = NOW) -> dict[str, Any]:
    return {
        "status": status, "labels": {"alertname": name, "severity": "critical"}, "annotations": {"summary": name},
        "startsAt": began.isoformat(), "fingerprint": name.encode().hex()[:16],
    }  # fmt: skip


def notify(
    prometheus: Integration, *alerts: dict[str, Any], at: timedelta = timedelta(0), drains: bool = True
) -> int:
    """Alertmanager sends a group; the id of the request in the ledger."""
    body = {
        "version": "4",
        "groupKey": "{}:{job=api}",
        "status": "firing",
        "alerts": list(alerts),
        "truncatedAlerts": 0,
    }
    with time_machine.travel(NOW + at, tick=False):
        answer = Client().post(
            f"/api/v1/integrations/alertmanager/{prometheus.key}/", body, content_type="application/json"
        )
    assert answer.status_code == 202
    if drains:
        inbox.drain(integration_id=prometheus.pk, now=NOW + at)
    return IngestEvent.objects.latest("pk").pk


def test_pain_17_a_group_ends_when_nothing_of_it_fires_and_one_alert_of_it_can_be_silenced(prometheus, ada):
    """Groups were split or resolved too early, one alert of a group could not be silenced, resolving while it fired
    paged again at once, and some never resolved."""
    notify(prometheus, alert("A"), alert("B"))
    incident = Incident.objects.get()
    notify(prometheus, alert("A", "resolved"), alert("B"), at=MINUTE)
    incident.refresh_from_db()
    assert (incident.status, incident.alerts.filter(status="firing").count()) == (Status.TRIGGERED, 1)
    notify(prometheus, alert("B"), at=2 * MINUTE)  # A is missing, which says nothing
    noisy = Alert.objects.get(title="B")
    transitions.mute(alert_id=noisy.pk, until=NOW + 2 * HOUR, by=ada, now=NOW + 2 * MINUTE)
    pages = incident.pages.count()
    incidents.resolve(incident_id=incident.pk, by=ada, now=NOW + 3 * MINUTE, guard_minutes=60)
    for minutes in (4, 9, 14):  # it is sent again and again, since it fires
        notify(prometheus, alert("B"), at=minutes * MINUTE)
    assert (Incident.objects.count(), incident.pages.count()) == (1, pages)
    assert (HeldAlert.objects.get().count, HeldAlert.objects.get().status) == (3, "firing")
    # What is new pages although the old is quiet …
    notify(prometheus, alert("C", began=NOW + 20 * MINUTE), at=20 * MINUTE)
    assert Incident.objects.first().title == "C"
    # … and what still fires when the silence is over is not forgotten.
    fire_due(now=NOW + 2 * HOUR, by="test")
    assert Alert.objects.filter(title="B", status="firing").exists()
    # A sender that never resolves: silence for long enough is the end.
    transitions.change_settings(
        service_id=prometheus.service_id, by=ada, now=NOW + 2 * HOUR, auto_resolve_minutes=60
    )
    fire_due(now=NOW + 3 * HOUR + MINUTE, by="test")
    assert not Incident.objects.exclude(status=Status.RESOLVED).exists()


def test_pain_18_what_twins_and_retries_send_twice_counts_once_and_late_news_opens_nothing(prometheus):
    for at in (0, 1, 2):  # two senders in a pair, and a retry
        notify(prometheus, alert("A"), at=at * MINUTE)
    incident = Incident.objects.get()
    entries = incident.timeline.count()
    notify(prometheus, alert("A"), at=3 * MINUTE)
    assert (incident.pages.count(), incident.timeline.count(), Alert.objects.get().count) == (1, entries, 4)
    notify(prometheus, alert("A", "resolved"), at=4 * MINUTE)
    notify(prometheus, alert("A"), at=5 * MINUTE)  # the slower twin still says the old firing
    assert IngestEvent.objects.latest("pk").verdict == "dropped"
    notify(prometheus, alert("A", began=NOW + 6 * MINUTE), at=6 * MINUTE)
    assert Incident.objects.count() == 2


def test_pain_19_an_old_open_alert_swallows_no_new_alarm_and_keys_stay_with_their_sender(
    prometheus, service, ada
):
    transitions.change_settings(service_id=service.pk, by=ada, now=NOW, repage_hours=6)
    notify(prometheus, alert("Disk full"))
    incident = Incident.objects.get()
    incidents.acknowledge(incident_id=incident.pk, by=ada, now=NOW + MINUTE)
    notify(prometheus, alert("Disk full"), at=6 * HOUR)
    assert incident.pages.count() == 1  # acknowledged at 03:01, so at 09:00 it is not yet old
    notify(prometheus, alert("Disk full"), at=6 * HOUR + MINUTE)
    incident.refresh_from_db()
    assert (incident.status, incident.pages.count()) == (Status.TRIGGERED, 2)
    again = incident.timeline.get(kind=Kind.UNACKNOWLEDGED)
    assert (
        again.text
        == "Disk full came again, 6h 01m after the incident began; it no longer counts as acknowledged"
    )
    assert Alert.objects.get().count == 3  # counted and aged on screen
    other = make_integration("alertmanager", service=make_service("other"))
    notify(other, alert("Disk full"), at=7 * HOUR)
    assert Incident.objects.count() == 2
    # Nobody has answered: it escalates on its own, and a repeat after hours pages again all the same.
    notify(other, alert("Disk full"), at=8 * HOUR)
    assert (
        Incident.objects.first().timeline.filter(kind=Kind.REPAGED).count() == 0
    )  # that service has no such rule
    notify(prometheus, alert("Disk full"), at=12 * HOUR + 2 * MINUTE)
    assert incident.timeline.filter(kind=Kind.REPAGED).count() == 1
    assert incident.pages.count() == 3


def test_pain_20_every_request_has_its_line_with_a_verdict_and_a_reason_and_can_be_replayed(
    prometheus, service, ada
):
    data = MaintenanceData(name="Upgrade", services=[service], starts_at=NOW, minutes=60)
    row = transitions.plan_maintenance(data=data, by=ada, now=NOW)
    held = notify(prometheus, alert("A"), at=MINUTE)
    wrong = Client().post(
        f"/api/v1/integrations/alertmanager/{prometheus.key}/", b"{", content_type="application/json"
    )
    stranger = Client().post("/api/v1/integrations/alertmanager/nobody/", {}, content_type="application/json")
    assert (wrong.status_code, stranger.status_code) == (400, 404)
    told = list(IngestEvent.objects.order_by("pk").values_list("verdict", "reason"))
    assert told == [
        ("held", "Maintenance “Upgrade” until 2026-11-24 04:00 UTC."),
        ("rejected", "JSON parse error"),
        ("rejected", "Unknown key"),
    ]
    page = Client()
    page.force_login(ada)
    assert "Held back, pages nobody" in page.get("/integrations/ledger/?verdict=held").content.decode()
    fire_due(now=NOW, by="test")
    transitions.end_maintenance(maintenance_id=row.pk, by=ada, now=NOW + 2 * MINUTE)
    fire_due(now=NOW + 2 * MINUTE, by="test")
    assert Incident.objects.get().alerts.get().title == "A"
    again = integrations.replay(event_id=held, by=ada, now=NOW + 3 * MINUTE)
    inbox.drain(integration_id=prometheus.pk, now=NOW + 3 * MINUTE)
    again.refresh_from_db()
    assert (again.verdict, again.incident_id) == ("repeated", Incident.objects.get().pk)


def test_pain_24_each_lifecycle_says_started_changed_and_ended_once_however_often_its_timer_fires(
    service, ada
):
    heard: list[tuple[str, str]] = []
    transitions.on_maintenance(lambda row, event: heard.append((row.name, event.kind)))
    data = MaintenanceData(name="Upgrade", services=[service], starts_at=NOW + HOUR, minutes=60)
    row = transitions.plan_maintenance(data=data, by=ada, now=NOW)
    longer = MaintenanceData(**{**data.__dict__, "minutes": 120})
    transitions.change_maintenance(maintenance_id=row.pk, data=longer, by=ada, now=NOW)
    incident = incidents.declare(service=service, title="5xx", severity=2, by=ada, now=NOW)
    for minutes in (60, 180):
        [timer] = Timer.objects.filter(kind__startswith="maintenance.", key=str(row.pk))
        at = NOW + minutes * MINUTE
        assert [fire(timer_id=timer.pk, now=at, by=name) for name in ("one", "two", "three")] == [
            True,
            False,
            False,
        ]
    kinds = ["planned", "changed", "started", "ended"]
    assert [kind for name, kind in heard if name == "Upgrade"] == kinds
    assert list(MaintenanceEvent.objects.order_by("pk").values_list("kind", flat=True)) == kinds
    told = incident.timeline.filter(kind=Kind.MAINTENANCE).values_list("data__event", flat=True)
    assert list(told) == ["started", "ended"]
    incident.refresh_from_db()
    assert list(timeline.verify(incident)) == []
