"""Who may be on call, who counts as being there, what the look finds, and who may give a waiver."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import ApiToken, AuditEntry, ContactKind, ContactMethod, Role, User, digest
from catalog.models import Service
from core.errors import Invalid, NotAllowed
from escalation.rules import TargetData
from incidents import transitions as incidents
from incidents.models import Kind
from notifications.models import Notification
from oncall import transitions as oncall
from oncall.models import Override
from readiness import look, queries, rules, subscribers, transitions
from readiness.models import Report, Waiver
from readiness.subscribers import LOOK, daily, keep_looking, next_look
from tests.factories.accounts import make_email, make_token, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.notifications import make_rule
from tests.factories.oncall import make_schedule
from timers.models import Heartbeat, Timer
from timers.transitions import fire_due

DAY = timedelta(days=1)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def on(settings):
    settings.MUSTER_READINESS = "reachable"
    settings.MUSTER_REVERIFY_DAYS = 90


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def boss(now) -> User:
    boss = make_user("boss", full_name="Bo Boss", role=Role.ADMIN)
    make_email(boss, verified_at=now - DAY)
    return boss


@pytest.fixture
def ines(now) -> User:
    ines = make_user("ines", full_name="Ines Okafor")
    make_email(ines, verified_at=now - DAY)
    return ines


@pytest.fixture
def lucia() -> User:
    """Her address was never verified."""
    lucia = make_user("lucia", full_name="Lucia Ferrer")
    make_email(lucia)
    return lucia


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def quiet(now: datetime) -> None:
    Heartbeat.objects.update_or_create(pk="auditor", defaults={"beat_at": now})


def told(findings) -> list[tuple[str, str, str]]:
    return [(each.level, each.about, each.text) for each in findings]


# --- the gate ---------------------------------------------------------------------------------------


def put_on_call(user: User, *, by: User, now: datetime, schedule) -> Override:
    return oncall.add_override(
        schedule_id=schedule.pk, user=user, starts_at=now + DAY, ends_at=now + 2 * DAY, by=by, now=now
    )


def test_whoever_cannot_be_reached_is_not_put_on_call_without_a_waiver(boss, ines, lucia, now, settings):
    schedule = make_schedule("Data", people=[ines])
    with pytest.raises(Invalid) as refused:
        put_on_call(lucia, by=boss, now=now, schedule=schedule)
    assert "Lucia Ferrer cannot be reached: no contact method is verified." in refused.value.in_full
    assert Override.objects.count() == 0

    transitions.give_waiver(user=lucia, reason="By the desk phone", until=now + 7 * DAY, by=boss, now=now)
    put_on_call(lucia, by=boss, now=now, schedule=schedule)
    assert Override.objects.get().user == lucia
    entry = AuditEntry.objects.get(action="waiver_given")
    assert (entry.actor, entry.subject) == (boss, lucia)

    transitions.end_waiver(waiver_id=Waiver.objects.get().pk, by=boss, now=now)
    assert queries.kept_out([lucia], now=now) == {lucia.pk: "no contact method is verified"}
    settings.MUSTER_READINESS = "off"
    put_on_call(lucia, by=boss, now=now, schedule=schedule)
    assert Override.objects.count() == 2


def test_strict_also_wants_rules_and_two_kinds_of_channels(boss, ines, now, settings):
    settings.MUSTER_READINESS = "strict"
    schedule = make_schedule("Data", people=[boss])
    with pytest.raises(Invalid, match="Ines Okafor is not ready: No rule for high urgency"):
        put_on_call(ines, by=boss, now=now, schedule=schedule)
    phone = ContactMethod.objects.create(
        user=ines, kind=ContactKind.SMS, address="+4930123456", verified_at=now
    )
    for method in (phone, ines.contact_methods.get(kind="email")):
        make_rule(method)
        make_rule(method, urgency="low")
    put_on_call(ines, by=boss, now=now, schedule=schedule)
    assert Override.objects.count() == 1


@pytest.mark.parametrize(
    ("reason", "days", "field"), [("", 7, "reason"), ("x" * 301, 7, "reason"), ("x", 0, "until"), ("x", 91, "until")]
)  # fmt: skip
def test_a_waiver_needs_a_reason_and_an_end(reason, days, field, boss, lucia, now):
    with pytest.raises(Invalid) as refused:
        transitions.give_waiver(user=lucia, reason=reason, until=now + days * DAY, by=boss, now=now)
    assert list(refused.value.fields) == [field]
    assert Waiver.objects.count() == 0 and AuditEntry.objects.count() == 0


# --- who counts as being there ----------------------------------------------------------------------


def test_pain_07_an_unreachable_person_counts_as_absent_and_the_next_tier_is_paged_at_once(
    boss, ines, lucia, now
):
    service = make_service("ledger-db")
    make_policy(tier(1, lucia), tier(2, ines), service=service, catch_all=boss)
    incident = incidents.trigger(service=service, title="5xx", severity=1, urgency="high", now=now)
    assert list(incident.pages.values_list("recipient", flat=True)) == [ines.pk]
    assert incident.timeline.filter(kind=Kind.TIER_SKIPPED).count() == 1


def test_when_nobody_can_be_reached_the_catch_all_is_paged_and_never_nobody(lucia, now):
    service = make_service("ledger-db")
    make_policy(tier(1, lucia), service=service, catch_all=lucia)
    incident = incidents.trigger(service=service, title="5xx", severity=1, urgency="high", now=now)
    assert list(incident.pages.values_list("recipient", flat=True)) == [lucia.pk]
    assert Notification.objects.get(recipient=lucia).unreachable is True


def test_a_waiver_makes_a_person_count_and_a_lapsed_method_still_rings(boss, ines, lucia, now):
    ContactMethod.objects.filter(user=ines).update(verified_at=now - 400 * DAY)
    assert queries.reached([ines.pk, lucia.pk], now=now) == {ines.pk}
    assert queries.kept_out([ines], now=now) == {ines.pk: "no contact method was confirmed lately"}
    transitions.give_waiver(user=lucia, reason="Desk phone", until=now + DAY, by=boss, now=now)
    assert queries.reached([ines.pk, lucia.pk], now=now) == {ines.pk, lucia.pk}


def test_one_failed_message_does_not_make_a_person_absent_but_keeps_them_from_new_duty(ines, now):
    ContactMethod.objects.filter(user=ines).update(flagged_at=now, flag_reason="552 mailbox full")
    assert queries.reached([ines.pk], now=now) == {ines.pk}
    assert queries.kept_out([ines], now=now) == {ines.pk: "the last message to each contact method failed"}


# --- the look ---------------------------------------------------------------------------------------


def test_a_night_without_faults_finds_nothing(boss, ines, now):
    quiet(now)
    phone = ContactMethod.objects.create(
        user=ines, kind=ContactKind.SMS, address="+4930123456", verified_at=now
    )
    for method in (phone, ines.contact_methods.get(kind="email")):
        make_rule(method)
        make_rule(method, urgency="low")
    schedule = make_schedule("Data", people=[ines])
    make_policy(
        tier(1, targets=[TargetData(kind="schedule", id=schedule.pk)]),
        service=make_service("ledger-db", criticality=1), catch_all=boss,
    )  # fmt: skip
    assert look.tonight(now) == []


def test_the_look_finds_gaps_people_steps_services_engine_and_keys(boss, ines, lucia, now):
    Heartbeat.objects.update_or_create(pk="auditor", defaults={"beat_at": now - timedelta(minutes=5)})
    empty, hers = make_schedule("Empty"), make_schedule("Data", people=[lucia])
    make_policy(
        tier(1, targets=[TargetData(kind="schedule", id=empty.pk)]),
        tier(2, targets=[TargetData(kind="schedule", id=hers.pk)]),
        tier(3, ines), name="Ledger", service=make_service("ledger-db", criticality=1), catch_all=boss,
    )  # fmt: skip
    make_service("wiki", criticality=4)
    secret = make_token(boss, name="Deploys")
    ApiToken.objects.filter(digest=digest(secret)).update(
        last_used_at=now - DAY, expires_at=now + timedelta(hours=3)
    )

    found = told(look.tonight(now))
    until = f"until {now + DAY:%a %H:%M} UTC"
    assert ("bad", "Auditor", f"It has not looked since {now - timedelta(minutes=5):%H:%M} UTC.") in found
    assert any(row[:2] == ("bad", "Empty") and row[2].startswith("Nobody is on call until") for row in found)
    assert any(
        row[:2] == ("bad", "Lucia Ferrer") and row[2].endswith("but no contact method is verified.")
        for row in found
    )
    assert ("bad", "Ledger", f"Tier 1, Tier 1 people, reaches nobody {until}.") in found
    assert ("bad", "Ledger", f"Tier 2, Tier 2 people, reaches nobody {until}.") in found
    assert ("soon", "Wiki", "It has no escalation policy.") in [(a, b.title(), c) for a, b, c in found]
    assert any(row[:2] == ("bad", "Deploys of Bo Boss") for row in found)
    assert not any("Tier 3" in text for _, _, text in found)


def test_a_step_that_is_empty_for_part_of_the_night_says_when(boss, ines, lucia, now):
    quiet(now)
    schedule = make_schedule("Data", people=[ines])
    starts, ends = now + timedelta(hours=3), now + timedelta(hours=6)
    Override.objects.create(schedule=schedule, user=lucia, starts_at=starts, ends_at=ends)
    make_policy(
        tier(1, targets=[TargetData(kind="schedule", id=schedule.pk)]), name="Ledger",
        service=make_service("ledger-db", criticality=1), catch_all=boss,
    )  # fmt: skip
    texts = [text for _, about, text in told(look.tonight(now)) if about == "Ledger"]
    assert texts == [f"Tier 1, Tier 1 people, reaches nobody from {starts:%a %H:%M} to {ends:%a %H:%M} UTC."]


def test_the_daily_look_is_kept_comes_again_and_reminds_of_old_proofs_once_a_week(ines, now):
    quiet(now)
    ContactMethod.objects.filter(user=ines).update(verified_at=now - 91 * DAY)
    Timer.objects.filter(kind=LOOK).delete()
    subscribers._asked_at = -subscribers._EVERY  # as in a process that has just begun
    keep_looking(now - subscribers.SETTLING)
    fire_due(now=now, by="test")
    report = Report.objects.get()
    assert (report.looked_at, report.asked_by) == (now, None)
    assert Timer.objects.get(kind=LOOK).due_at == next_look(now)
    for later in (now + DAY, now + 2 * DAY):
        daily(Timer.objects.get(kind=LOOK), later)
    reminders = Notification.objects.filter(topic__startswith="reverify:")
    assert reminders.count() == 1 and "Is E-mail ines@example.org still yours?" in reminders.get().title
    daily(Timer.objects.get(kind=LOOK), now + 8 * DAY)
    assert reminders.count() == 2


def test_next_look_is_at_three_in_the_afternoon():
    at = datetime(2026, 11, 24, 14, 59, tzinfo=UTC)
    assert next_look(at) == datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
    assert next_look(at + timedelta(minutes=1)) == datetime(2026, 11, 25, 15, 0, tzinfo=UTC)


def test_a_look_takes_the_same_queries_for_many_people(ines, now, django_assert_max_num_queries):
    quiet(now)
    people = [make_user(f"p{number}") for number in range(30)]
    schedules = [make_schedule(f"S{number}", people=people) for number in range(5)]
    for number, schedule in enumerate(schedules):
        make_policy(
            tier(1, targets=[TargetData(kind="schedule", id=schedule.pk)]), service=make_service(f"s{number}"),
            catch_all=ines,
        )  # fmt: skip
    look.tonight(now)  # snapshots are kept
    with django_assert_max_num_queries(12 + 10 * len(schedules)):
        look.tonight(now)


# --- pages, API, strangers --------------------------------------------------------------------------


def test_the_page_looks_when_asked_and_shows_what_it_found(boss, lucia, now):
    Service.objects.all().delete()
    quiet(now)
    make_service("ledger-db", criticality=1)
    client, page = signed_in(boss), reverse("readiness:tonight")
    assert "The first look is due" in client.get(page).content.decode()
    assert client.post(reverse("readiness:look")).status_code == 302
    shown = client.get(page).content.decode()
    assert "1 would fail in the coming 24 hours" in shown and "It has no escalation policy." in shown
    assert "Nothing of this kind" in client.get(page, {"topic": "keys"}).content.decode()

    typed = {"user": "lucia", "reason": "<script>alert(1)</script>", "days": "7"}
    assert client.post(reverse("readiness:waive"), typed).status_code == 302
    shown = client.get(page).content.decode()
    assert "&lt;script&gt;" in shown and "<script>alert" not in shown
    refused = client.post(reverse("readiness:waive"), {**typed, "days": "900"})
    assert refused.status_code == 422 and "&lt;script&gt;" in refused.content.decode()
    assert client.post(reverse("readiness:end_waiver", args=[Waiver.objects.get().pk])).status_code == 302
    assert queries.waivers().count() == 0


def test_only_managers_give_waivers_and_viewers_only_read(ines, lucia, now):
    viewer = make_user("viola", role=Role.VIEWER)
    with pytest.raises(NotAllowed):
        transitions.give_waiver(user=lucia, reason="x", until=now + DAY, by=ines, now=now)
    assert signed_in(ines).post(reverse("readiness:waive"), {}).status_code == 403
    assert signed_in(ines).post(reverse("readiness:end_waiver", args=[1])).status_code == 403
    assert signed_in(viewer).get(reverse("readiness:tonight")).status_code == 200
    assert signed_in(viewer).post(reverse("readiness:look")).status_code == 403
    assert Client().get(reverse("readiness:tonight")).status_code == 302
    assert Waiver.objects.count() == 0 and Report.objects.count() == 0


def test_the_api_looks_tells_and_keeps_waivers(boss, ines, lucia, now):
    quiet(now)

    def call(method, address, user, body=None):
        sent = {"data": json.dumps(body), "content_type": "application/json"} if body is not None else {}
        return getattr(Client(), method)(
            f"/api/v1/{address}", **sent, HTTP_AUTHORIZATION=f"Bearer {make_token(user)}"
        )

    assert call("get", "readiness/", ines).status_code == 404
    assert call("post", "readiness/", ines).status_code == 201
    assert call("get", "readiness/", ines).json()["bad"] == 0
    asked = {"user": "lucia", "reason": "Desk phone", "until": (now + DAY).isoformat()}
    assert call("post", "waivers/", ines, asked).status_code == 403
    made = call("post", "waivers/", boss, asked)
    assert (made.status_code, made.json()["reason"]) == (201, "Desk phone")
    assert [row["user"]["username"] for row in call("get", "waivers/", ines).json()["results"]] == ["lucia"]
    assert call("delete", f"waivers/{made.json()['id']}/", boss).status_code == 204
    assert call("delete", "waivers/nope/", boss).status_code == 404
    assert rules.LONGEST_WAIVER == 90 * DAY and queries.waivers().count() == 0
