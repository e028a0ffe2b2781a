"""Putting an incident off: what people type, until when that is, and what ends it."""

from datetime import UTC, datetime, time, timedelta

import pytest

from core.errors import Invalid, Refused
from incidents import transitions as incidents
from incidents.channel import commands
from incidents.models import Kind, PageStatus, Status
from incidents.snooze import rules, transitions
from incidents.transitions import SNOOZE
from oncall.rules import Window
from tests.factories.accounts import make_email, make_token, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from timers.models import Timer
from timers.transitions import fire_due

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)  # a Tuesday; 04:00 in Berlin
HOUR = timedelta(hours=1)


# --- rules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "span", "at", "why"),
    [
        ("2h disk ordered", 2 * HOUR, None, "disk ordered"),
        ("1h 30m why", timedelta(minutes=90), None, "why"),
        ("45", timedelta(minutes=45), None, ""),
        ("2 h", 2 * HOUR, None, ""),
        ("until 09:00 the vendor calls", None, datetime(2026, 11, 24, 8, tzinfo=UTC), "the vendor calls"),
        ("until 03:30", None, datetime(2026, 11, 25, 2, 30, tzinfo=UTC), ""),
        ("until Mon 09:00", None, datetime(2026, 11, 30, 8, tzinfo=UTC), ""),
        ("until tomorrow 07:15 x", None, datetime(2026, 11, 25, 6, 15, tzinfo=UTC), "x"),
        ("until hours no rush", None, None, "no rush"),
        ("until working hours", None, None, ""),
    ],
)
def test_what_is_typed_is_a_span_a_time_or_the_next_working_hours(text, span, at, why):
    assert rules.read(text, zone="Europe/Berlin", now=NOW) == rules.Typed(span=span, at=at, why=why)


@pytest.mark.parametrize("text", ["", "until", "until noon", "soon", "until 25:00"])
def test_what_is_not_understood_shows_how(text):
    with pytest.raises(Invalid, match="/snooze 2h why"):
        rules.read(text, zone="UTC", now=NOW)


def test_the_next_working_hours_are_of_their_zone_and_never_those_that_run():
    office = rules.OFFICE
    assert rules.next_opening(office, "Europe/Berlin", NOW) == datetime(2026, 11, 24, 8, tzinfo=UTC)
    during = datetime(2026, 11, 27, 10, tzinfo=UTC)  # Friday
    assert rules.next_opening(office, "Europe/Berlin", during) == datetime(2026, 11, 30, 8, tzinfo=UTC)
    night = (Window(days=frozenset({6}), start=time(22), end=time(6)),)
    assert rules.next_opening(night, "UTC", NOW) == datetime(2026, 11, 29, 22, tzinfo=UTC)
    assert rules.next_opening((), "UTC", NOW) is None


@pytest.mark.parametrize(
    ("ahead", "wrong"),
    [
        (timedelta(seconds=1), ""),
        (timedelta(days=7), ""),
        (timedelta(milliseconds=999), "That is in the past. Choose a later time."),
        (timedelta(days=7, seconds=1), "At most 7 days ahead."),
    ],
)
def test_a_snooze_is_from_one_second_to_seven_days(ahead, wrong):
    assert rules.check(NOW + ahead, now=NOW) == wrong


# --- stories ----------------------------------------------------------------------------------------------------


@pytest.fixture
def cast(db):
    people = {
        name: make_user(name, full_name=name.title(), time_zone="Europe/Berlin") for name in ("ada", "bob")
    }
    for person in people.values():
        make_email(person, verified_at=NOW - timedelta(days=1))
    service = make_service("checkout", acknowledge_timeout_minutes=30)
    make_policy(tier(1, people["ada"]), tier(2, people["bob"]), service=service)
    incident = incidents.trigger(service=service, title="5xx", severity=1, urgency="high", now=NOW)
    return {**people, "service": service, "incident": incident}


def paged(incident) -> list[str]:
    return list(incident.pages.order_by("pk").values_list("recipient__username", flat=True))


def test_a_snooze_stops_paging_and_at_its_end_pages_the_snoozer_and_goes_on(cast):
    incident = cast["incident"]
    transitions.snooze(
        incident_id=incident.pk, by=cast["bob"], until=NOW + 2 * HOUR, reason="disk ordered", now=NOW
    )
    incident.refresh_from_db()
    assert (incident.status, incident.acknowledged_by, incident.snoozed_by) == (
        Status.ACKNOWLEDGED, cast["bob"], cast["bob"],
    )  # fmt: skip
    assert incident.timeline.get(kind=Kind.SNOOZED).text == "snoozed it for 2 h: disk ordered"
    assert not incident.pages.filter(status=PageStatus.PAGING).exists()
    assert incident.next_page_at is None
    fire_due(now=NOW + 2 * HOUR - timedelta(seconds=1), by="test")
    assert paged(incident) == ["ada"]  # not even the time of the acknowledgement ran out
    fire_due(now=NOW + 2 * HOUR, by="test")
    incident.refresh_from_db()
    assert (incident.status, incident.snoozed_until, incident.snoozed_by) == (Status.TRIGGERED, None, None)
    assert incident.timeline.get(kind=Kind.UNACKNOWLEDGED).text == "the snooze of Bob ended"
    assert sorted(paged(incident)) == ["ada", "ada", "bob"]
    assert incident.next_page_at == NOW + 2 * HOUR + timedelta(seconds=120)


def test_another_persons_answer_ends_it_and_the_snoozers_own_does_not(cast):
    incident = cast["incident"]
    transitions.snooze(incident_id=incident.pk, by=cast["ada"], until=NOW + 2 * HOUR, now=NOW)
    incidents.acknowledge(incident_id=incident.pk, by=cast["ada"], now=NOW + HOUR)
    incident.refresh_from_db()
    assert incident.snoozed_until == NOW + 2 * HOUR
    incidents.acknowledge(incident_id=incident.pk, by=cast["bob"], now=NOW + HOUR)
    incident.refresh_from_db()
    assert (incident.snoozed_until, incident.acknowledged_by) == (None, cast["bob"])
    assert not Timer.objects.filter(kind=SNOOZE).exists()
    assert incident.timeline.filter(kind=Kind.ACKNOWLEDGED).last().text == (
        "acknowledged, which ends the snooze of Ada"
    )
    ack = Timer.objects.get(kind="escalation.ack_timeout")
    assert ack.due_at == NOW + HOUR + timedelta(minutes=30)  # and its own time counts again


def test_what_ends_it_besides_and_what_cannot_be_snoozed(cast):
    incident, ada = cast["incident"], cast["ada"]

    def snooze(**given):
        return transitions.snooze(incident_id=incident.pk, by=ada, now=NOW, **given)

    assert snooze().snoozed_until == datetime(2026, 11, 24, 8, tzinfo=UTC)  # 09:00 where Ada is
    assert snooze(until=NOW + HOUR).snoozed_until == NOW + HOUR
    entries = incident.timeline.count()
    snooze(until=NOW + HOUR)
    assert incident.timeline.count() == entries  # sent twice
    transitions.wake(incident_id=incident.pk, by=ada, now=NOW)
    incident.refresh_from_db()
    assert (incident.status, incident.snoozed_until) == (Status.ACKNOWLEDGED, None)
    snooze(until=NOW + HOUR)
    incidents.contain(incident_id=incident.pk, by=ada, now=NOW)
    incident.refresh_from_db()
    assert incident.snoozed_until is None
    with pytest.raises(Refused, match="contained"):
        snooze(until=NOW + HOUR)
    incidents.resolve(incident_id=incident.pk, by=ada, now=NOW)
    with pytest.raises(Refused, match="resolved"):
        snooze(until=NOW + HOUR)
    assert not Timer.objects.filter(kind=SNOOZE).exists()


def test_it_is_snoozed_from_the_composer_the_dialog_the_link_and_the_api(cast, client, monkeypatch):
    incident, ada = cast["incident"], cast["ada"]
    address = f"/incidents/{incident.pk}/snooze/"

    def until():
        incident.refresh_from_db()
        return incident.snoozed_until

    commands.run(incident=incident, text="/snooze until 09:00 vendor", by=ada, now=NOW)
    assert until() == datetime(2026, 11, 24, 8, tzinfo=UTC)
    client.force_login(make_user(role="viewer"))
    before = until()
    assert client.post(address, {"for": "2h"}).status_code == 403
    assert until() == before
    client.force_login(ada)
    assert "Next working hours" in client.get(address).content.decode()
    assert client.post(address, {"for": "at", "until": "gone"}).status_code == 400
    assert client.post(address, {"for": "2h", "reason": "x"}).status_code == 302
    assert until() - datetime.now(UTC) > timedelta(minutes=119)
    assert "by <b>Ada</b>: x" in client.get(f"/incidents/{incident.pk}/").content.decode()
    assert "Snoozed" in client.get("/incidents/").content.decode()
    client.post(f"/incidents/{incident.pk}/snooze/end/")
    assert until() is None
    token = make_token(ada)
    answered = client.post(
        f"/api/v1/incidents/INC-{incident.pk}/snooze/", {"seconds": 3600, "reason": "later"},
        content_type="application/json", headers={"Authorization": f"Bearer {token}"},
    )  # fmt: skip
    assert answered.status_code == 200, answered.content
    assert answered.json()["snoozed_by"]["username"] == "ada"
    again = client.post(
        f"/api/v1/incidents/{incident.pk}/snooze/", {"seconds": 604801},
        content_type="application/json", headers={"Authorization": f"Bearer {token}"},
    )  # fmt: skip
    assert again.status_code == 400
