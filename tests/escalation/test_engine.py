"""Stories of escalation, told by moving the time and looking at who was paged, and who was not."""

from datetime import UTC, datetime, timedelta

import pytest

from catalog.models import Criticality
from escalation import transitions as escalation
from escalation.engine import STEP
from escalation.models import Run, RunStatus
from escalation.rules import TargetData
from incidents import transitions as incidents
from incidents.models import Incident, Kind, Page, PageStatus, Severity, Status
from notifications.models import Delivery, DeliveryStatus, Notification, NotificationStatus, Urgency
from tests.factories.accounts import make_email, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.oncall import make_schedule
from timers.models import Firing, Timer
from timers.transitions import fire, fire_due

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@pytest.fixture
def cast():
    """One person for each tier, and the service that they look after."""
    people = {name: make_user(name) for name in ("ada", "bob", "cyd", "dir")}
    for person in people.values():
        make_email(person, verified_at=NOW - timedelta(days=1))
    service = make_service("checkout-api", criticality=Criticality.CRITICAL)
    make_policy(
        tier(1, people["ada"]), tier(2, people["bob"]), tier(3, people["cyd"]), service=service, repeats=1,
        catch_all=people["dir"],
    )  # fmt: skip
    return {**people, "service": service}


def open_incident(service, *, at=NOW, severity=Severity.SEV1, urgency=Urgency.HIGH) -> Incident:
    return incidents.trigger(service=service, title="5xx", severity=severity, urgency=urgency, now=at)


def paged(incident) -> list[str]:
    return list(incident.pages.order_by("pk").values_list("recipient__username", flat=True))


def kinds(incident) -> list[str]:
    return list(incident.timeline.values_list("kind", flat=True))


def escalation_timers():
    return Timer.objects.filter(kind=STEP)


def pass_time(*, to: datetime) -> None:
    """Fire the escalation's timers one after the other at their own times, as real life would."""
    while (timer := escalation_timers().filter(due_at__lte=to).order_by("due_at").first()) is not None:
        fire(timer_id=timer.pk, now=timer.due_at, by="test")


def test_an_incident_pages_the_first_tier_at_once_and_arms_its_timer(cast):
    incident = open_incident(cast["service"])
    assert paged(incident) == ["ada"]
    assert kinds(incident) == [Kind.TRIGGERED, Kind.PAGED]
    timer = escalation_timers().get()
    assert (timer.due_at, timer.fence) == (NOW + timedelta(seconds=120), 1)
    incident.refresh_from_db()
    assert incident.next_page_at == NOW + timedelta(seconds=120)
    assert incident.next_page_label == "Tier 2 is paged"
    assert incident.timeline.last().text == (
        "paged tier 1, Tier 1 people: Ada, named in the policy. Without an answer, tier 2 is paged in 2 min"
    )


def test_before_the_time_is_up_nobody_else_is_paged(cast):
    incident = open_incident(cast["service"])
    fire_due(now=NOW + timedelta(seconds=119), by="test")
    assert paged(incident) == ["ada"]
    assert kinds(incident) == [Kind.TRIGGERED, Kind.PAGED]


def test_no_answer_climbs_the_tiers_repeats_and_ends_with_the_catch_all_that_comes_again(cast):
    incident = open_incident(cast["service"])
    expected = ["ada", "bob", "cyd", "ada", "bob", "cyd", "dir"]
    for step in range(1, 7):
        pass_time(to=NOW + timedelta(seconds=120 * step))
        assert paged(incident) == expected[: step + 1]
    incident.refresh_from_db()
    assert incident.next_page_label == "The catch-all is paged again"
    assert Run.objects.get().status == RunStatus.CATCH_ALL
    last = NOW + timedelta(seconds=720)
    assert escalation_timers().get().due_at == last + timedelta(minutes=15)
    pass_time(to=last + timedelta(minutes=30))
    assert paged(incident) == [*expected, "dir", "dir"]
    assert kinds(incident)[:8] == [
        Kind.TRIGGERED, Kind.PAGED, Kind.PAGE_MISSED, Kind.PAGED, Kind.PAGE_MISSED, Kind.PAGED, Kind.PAGE_MISSED,
        Kind.POLICY_REPEATED,
    ]  # fmt: skip


def test_acknowledging_stops_everything_and_nothing_pending_is_sent(cast, settings):
    settings.MUSTER_UPDATE_MINUTES = [0, 0, 0, 0]  # a day passes without a word to stakeholders
    incident = open_incident(cast["service"])
    pass_time(to=NOW + timedelta(seconds=120))
    incidents.acknowledge(incident_id=incident.pk, by=cast["bob"], now=NOW + timedelta(seconds=150))
    assert not Timer.objects.filter(kind__in=[STEP, "deliver"]).exists()
    assert not Notification.objects.filter(status=NotificationStatus.ACTIVE).exists()
    assert not Delivery.objects.filter(status=DeliveryStatus.WAITING).exists()
    before = kinds(incident)
    pass_time(to=NOW + timedelta(days=1))
    fire_due(now=NOW + timedelta(days=1), by="test")
    assert kinds(incident) == before
    statuses = dict(incident.pages.values_list("recipient__username", "status"))
    assert statuses == {"ada": PageStatus.MISSED, "bob": PageStatus.ACKNOWLEDGED}
    incident.refresh_from_db()
    assert (incident.status, incident.acknowledged_by, incident.next_page_at) == (
        Status.ACKNOWLEDGED,
        cast["bob"],
        None,
    )
    entry = incident.timeline.get(kind=Kind.ACKNOWLEDGED)
    assert (entry.data["seconds"], entry.data["page_seconds"], entry.data["tier"]) == (150, 30, 2)


def test_a_timer_of_an_earlier_step_does_nothing(cast):
    incident = open_incident(cast["service"])
    stale = escalation_timers().get()
    escalation.escalate_now(
        incident_id=incident.pk, by=cast["cyd"], reason="big", now=NOW + timedelta(seconds=10)
    )
    escalation_timers().update(fence=stale.fence, due_at=NOW + timedelta(seconds=120))
    fire_due(now=NOW + timedelta(seconds=121), by="test")
    assert paged(incident) == ["ada", "bob"]


def test_a_tier_with_nobody_on_call_is_skipped_at_once_and_said(cast):
    service = make_service("ledger", criticality=Criticality.CRITICAL)
    empty = make_schedule("Storage")
    make_policy(
        tier(1, targets=[TargetData(kind="schedule", id=empty.pk)]), tier(2, cast["bob"]), service=service
    )
    incident = open_incident(service)
    assert paged(incident) == ["bob"]
    assert kinds(incident) == [Kind.TRIGGERED, Kind.TIER_SKIPPED, Kind.PAGED]
    assert incident.timeline.get(kind=Kind.TIER_SKIPPED).text == (
        "skipped tier 1, Tier 1 people: nobody is on call on Storage"
    )


def test_all_tiers_empty_goes_to_the_catch_all_at_once(cast):
    service = make_service("ledger", criticality=Criticality.CRITICAL)
    empty = make_schedule("Storage")
    target = TargetData(kind="schedule", id=empty.pk)
    make_policy(
        tier(1, targets=[target]),
        tier(2, targets=[target]),
        service=service,
        repeats=20,
        catch_all=cast["dir"],
    )
    incident = open_incident(service)
    assert paged(incident) == ["dir"]
    assert kinds(incident) == [Kind.TRIGGERED, Kind.TIER_SKIPPED, Kind.TIER_SKIPPED, Kind.CATCH_ALL]
    assert escalation_timers().get().due_at == NOW + timedelta(minutes=15)


def test_a_service_without_policy_pages_its_responders_then_the_admins(cast):
    admin = make_user("root", role="admin")
    service = make_service("orphan", criticality=Criticality.CRITICAL, primary_responder=cast["ada"])
    incident = open_incident(service)
    assert paged(incident) == ["ada"]
    pass_time(to=NOW + timedelta(seconds=300))
    pass_time(to=NOW + timedelta(seconds=600))
    assert paged(incident) == ["ada", "ada", admin.username]


def test_the_person_on_call_is_looked_up_when_the_tier_begins_not_before(cast):
    schedule = make_schedule("Specialists", people=[cast["bob"]])
    service = make_service("search", criticality=Criticality.CRITICAL)
    make_policy(
        tier(1, cast["ada"]), tier(2, targets=[TargetData(kind="schedule", id=schedule.pk)]), service=service
    )
    incident = open_incident(service)
    schedule.layers.get().members.update(user=cast["cyd"])
    pass_time(to=NOW + timedelta(seconds=120))
    assert paged(incident) == ["ada", "cyd"]


def test_editing_the_policy_moves_no_running_incident(cast):
    incident = open_incident(cast["service"])
    run = Run.objects.get()
    run.policy.tiers.all().delete()
    pass_time(to=NOW + timedelta(seconds=120))
    assert paged(incident) == ["ada", "bob"]


def test_one_person_in_two_tiers_of_a_pass_is_paged_once_and_the_tier_is_skipped(cast):
    service = make_service("search", criticality=Criticality.CRITICAL)
    make_policy(tier(1, cast["ada"]), tier(2, cast["ada"]), tier(3, cast["cyd"]), service=service)
    incident = open_incident(service)
    pass_time(to=NOW + timedelta(seconds=120))
    assert paged(incident) == ["ada", "cyd"]
    assert "everybody there has been paged" in incident.timeline.get(kind=Kind.TIER_SKIPPED).text


def test_low_urgency_pages_the_first_tier_and_does_not_escalate(cast):
    incident = open_incident(cast["service"], severity=Severity.SEV4, urgency=Urgency.LOW)
    assert paged(incident) == ["ada"]
    assert not escalation_timers().exists()
    incident.refresh_from_db()
    assert incident.next_page_at is None


def test_a_low_incident_pages_the_catch_all_once_when_no_tier_has_anybody(cast):
    service = make_service("ledger", criticality=Criticality.CRITICAL)
    nobody = TargetData(kind="schedule", id=make_schedule("Storage").pk)
    make_policy(tier(1, targets=[nobody]), service=service, catch_all=cast["dir"])
    incident = open_incident(service, severity=Severity.SEV4, urgency=Urgency.LOW)
    assert paged(incident) == ["dir"]
    assert not escalation_timers().exists()
    incident.refresh_from_db()
    assert incident.next_page_at is None
    assert incident.timeline.last().text == "paged the catch-all (no tier is left that has somebody): Dir"
    later = NOW + timedelta(minutes=5)
    incidents.set_severity(
        incident_id=incident.pk, severity=1, by=cast["cyd"], reason="it spreads", now=later
    )
    assert paged(incident) == ["dir", "dir"]
    assert escalation_timers().get().due_at == later + timedelta(minutes=15)


def test_a_low_incident_that_becomes_urgent_pages_again_and_escalates(cast):
    incident = open_incident(cast["service"], severity=Severity.SEV4, urgency=Urgency.LOW)
    later = NOW + timedelta(minutes=5)
    incidents.set_severity(
        incident_id=incident.pk, severity=1, by=cast["cyd"], reason="it spreads", now=later
    )
    assert paged(incident) == ["ada", "ada"]
    assert escalation_timers().get().due_at == later + timedelta(seconds=120)


def test_a_worse_severity_shortens_the_countdown_from_when_the_step_began(cast):
    incident = open_incident(cast["service"], severity=Severity.SEV3)
    assert escalation_timers().get().due_at == NOW + timedelta(seconds=900)
    incidents.set_severity(
        incident_id=incident.pk, severity=1, by=cast["cyd"], reason="", now=NOW + timedelta(seconds=60)
    )
    assert escalation_timers().get().due_at == NOW + timedelta(seconds=120)


def test_escalate_to_a_tier_jumps_and_starts_its_time_anew(cast):
    incident = open_incident(cast["service"])
    at = NOW + timedelta(seconds=30)
    escalation.escalate_to(incident_id=incident.pk, level=3, by=cast["ada"], reason="need leads", now=at)
    assert paged(incident) == ["ada", "cyd"]
    assert escalation_timers().get().due_at == at + timedelta(seconds=120)
    assert kinds(incident)[-2:] == [Kind.ESCALATED, Kind.PAGED]


def test_after_going_back_to_a_tier_the_tiers_above_it_are_paged_again(cast):
    incident = open_incident(cast["service"])
    pass_time(to=NOW + timedelta(seconds=120))
    at = NOW + timedelta(seconds=150)
    escalation.escalate_to(incident_id=incident.pk, level=1, by=cast["dir"], reason="ada is back", now=at)
    pass_time(to=at + timedelta(seconds=240))
    assert paged(incident) == ["ada", "bob", "ada", "bob", "cyd"]
    assert Kind.TIER_SKIPPED not in kinds(incident)


def test_escalating_an_acknowledged_incident_pages_but_arms_nothing(cast):
    incident = open_incident(cast["service"])
    incidents.acknowledge(incident_id=incident.pk, by=cast["ada"], now=NOW + timedelta(seconds=10))
    escalation.escalate_now(
        incident_id=incident.pk, by=cast["ada"], reason="help", now=NOW + timedelta(seconds=20)
    )
    assert paged(incident) == ["ada", "bob"]
    assert not escalation_timers().exists()
    incidents.acknowledge(incident_id=incident.pk, by=cast["bob"], now=NOW + timedelta(seconds=40))
    assert incident.pages.get(recipient=cast["bob"]).status == PageStatus.ACKNOWLEDGED
    assert kinds(incident)[-1] == Kind.ALSO_ACKNOWLEDGED
    incident.refresh_from_db()
    assert incident.acknowledged_by == cast["ada"]


def test_an_acknowledgement_that_goes_stale_pages_the_same_tier_again(cast):
    cast["service"].acknowledge_timeout_minutes = 30
    cast["service"].save()
    incident = open_incident(cast["service"])
    incidents.acknowledge(incident_id=incident.pk, by=cast["ada"], now=NOW + timedelta(minutes=1))
    fire_due(now=NOW + timedelta(minutes=30), by="test")
    assert paged(incident) == ["ada"]
    fire_due(now=NOW + timedelta(minutes=31), by="test")
    assert paged(incident) == ["ada", "ada"]
    incident.refresh_from_db()
    assert incident.status == Status.TRIGGERED
    assert incident.acknowledged_at == NOW + timedelta(minutes=1)


def test_an_acknowledgement_that_goes_stale_pages_the_tier_of_who_gave_it_then_those_above(cast):
    cast["service"].acknowledge_timeout_minutes = 30
    cast["service"].save()
    incident = open_incident(cast["service"])
    pass_time(to=NOW + timedelta(seconds=120))
    incidents.acknowledge(incident_id=incident.pk, by=cast["ada"], now=NOW + timedelta(minutes=3))
    stale = NOW + timedelta(minutes=33)
    fire_due(now=stale, by="test")
    assert paged(incident) == ["ada", "bob", "ada"]
    pass_time(to=stale + timedelta(seconds=120))
    assert paged(incident) == ["ada", "bob", "ada", "bob"]


def test_lateness_is_recorded_for_every_firing(cast):
    open_incident(cast["service"])
    due = escalation_timers().get().due_at
    fire_due(now=due + timedelta(milliseconds=40), by="test")
    firing = Firing.objects.get(kind=STEP)
    assert (firing.due_at, firing.lateness_ms, firing.by) == (due, 40, "test")


def test_each_page_says_why_what_is_expected_and_what_comes_next(cast):
    incident = open_incident(cast["service"])
    page = Page.objects.get(incident=incident)
    assert page.reason == "Named in the policy"
    assert page.expected == "Do what tier 1 does."
    assert page.otherwise == "Tier 2 is paged in 2 min"
    assert page.answer_by == NOW + timedelta(seconds=120)
    assert page.notification.body == (
        f"SEV1 checkout-api: 5xx (INC-{incident.pk})\nExpected of you: Do what tier 1 does.\n"
        "Why you: Named in the policy\nWithout an answer: Tier 2 is paged in 2 min"
    )
