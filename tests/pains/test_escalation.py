"""What users of other pagers suffer from, each with the number it has in our list, told as a story that ends well.

Told elsewhere, and only named here: a timer that fires twice (pain 2) is tests/timers/test_races.py, a page after the
acknowledgement (pain 3) also tests/notifications/test_races.py, voice and SMS (pain 14) are with the channels.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import ContactMethod
from catalog.models import Criticality
from escalation import engine
from escalation import transitions as escalation
from escalation.auditor import audit
from escalation.models import CoverageGap, Policy, RoundRobin, Run, RunStatus
from escalation.rules import TargetData
from incidents import transitions as incidents
from incidents.models import Incident, Kind, PageStatus, Severity, Status
from notifications.models import Delivery, Notification, NotificationStatus, Urgency
from tests.factories.accounts import make_email, make_team, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.oncall import make_layer, make_override, make_schedule
from timers.models import Timer
from timers.transitions import fire, fire_due

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
TWO_MINUTES = timedelta(seconds=120)


@pytest.fixture
def cast():
    people = {name: make_user(name) for name in ("ada", "bob", "cyd", "dir", "eve")}
    for person in people.values():
        make_email(person, verified_at=NOW - timedelta(days=1))
    return {**people, "service": make_service("checkout-api", criticality=Criticality.CRITICAL)}


def on(schedule) -> TargetData:
    return TargetData(kind="schedule", id=schedule.pk)


def open_incident(cast, *, at=NOW, severity=Severity.SEV1) -> Incident:
    return incidents.trigger(
        service=cast["service"], title="5xx", severity=severity, urgency=Urgency.HIGH, now=at
    )


def paged(incident) -> list[str]:
    return list(incident.pages.order_by("pk").values_list("recipient__username", flat=True))


def kinds(incident) -> list[str]:
    return list(incident.timeline.order_by("seq").values_list("kind", flat=True))


def statuses(incident) -> dict[str, str]:
    return dict(incident.pages.order_by("pk").values_list("recipient__username", "status"))


def pass_time(*, to: datetime) -> None:
    """Fire the timers of escalation one after the other at their own times, as real life would."""
    mine = Timer.objects.filter(kind__in=[engine.STEP, engine.HANDOFF, engine.HOLD], due_at__lte=to)
    while (timer := mine.order_by("due_at", "pk").first()) is not None:
        fire(timer_id=timer.pk, now=timer.due_at, by="test")


def ack(incident, who, *, at) -> None:
    incidents.acknowledge(incident_id=incident.pk, by=who, now=at)


def messages_to(person) -> list[str]:
    return list(Notification.objects.filter(recipient=person).order_by("pk").values_list("status", flat=True))


# --- 1: timers that never fire ----------------------------------------------------------------------------------------


def test_pain_01_every_deadline_of_a_run_is_a_row_that_the_auditor_puts_back(cast):
    team = make_team("network", members=[cast["eve"]])
    late, spare = make_schedule("Late", people=[cast["ada"]]), make_schedule("Spare")
    make_override(
        late, user=cast["bob"], starts_at=NOW + timedelta(seconds=60), ends_at=NOW + timedelta(days=1)
    )
    make_policy(
        replace(tier(1, targets=[on(spare)]), when_unstaffed="hold_until_staffed"), tier(2, targets=[on(late)]),
        service=cast["service"],
    )  # fmt: skip
    incident = open_incident(cast)
    escalation.escalate_to_team(incident_id=incident.pk, team=team, by=cast["cyd"], reason="packets", now=NOW)
    before = sorted(Timer.objects.filter(kind__startswith="escalation.").values_list("kind", "key", "due_at"))
    assert [kind for kind, *_ in before] == [engine.HANDOFF, engine.HOLD, engine.STEP, engine.STEP]
    Timer.objects.filter(kind__startswith="escalation.").delete()
    report = audit(now=NOW + timedelta(seconds=30))
    assert len(report.repaired) >= 2
    after = sorted(Timer.objects.filter(kind__startswith="escalation.").values_list("kind", "key", "due_at"))
    assert after == before


# --- 2: twice -------------------------------------------------------------------------------------------------------


def test_pain_02_a_timer_that_fires_again_pages_nobody_again(cast):
    make_policy(tier(1, cast["ada"]), tier(2, cast["bob"]), service=cast["service"])
    incident = open_incident(cast)
    for _ in range(3):
        engine.time_is_up(Incident.objects.get(), step=1, now=NOW + TWO_MINUTES)
    assert paged(incident) == ["ada", "bob"]


# --- 3: pages after the answer ----------------------------------------------------------------------------------------


def test_pain_03_nothing_of_any_run_is_left_after_it_is_resolved(cast):
    team = make_team("network", members=[cast["eve"]])
    everybody = replace(tier(1, cast["ada"], cast["bob"]), ack_mode="all")
    make_policy(everybody, tier(2, cast["cyd"]), service=cast["service"])
    incident = open_incident(cast)
    ack(incident, cast["ada"], at=NOW + timedelta(seconds=10))
    escalation.escalate_to_team(incident_id=incident.pk, team=team, by=cast["ada"], reason="x", now=NOW)
    assert statuses(incident) == {
        "ada": PageStatus.ACKNOWLEDGED, "bob": PageStatus.PAGING, "eve": PageStatus.PAGING,
    }  # fmt: skip
    incidents.resolve(incident_id=incident.pk, by=cast["ada"], now=NOW + timedelta(seconds=20))
    assert statuses(incident)["bob"] == statuses(incident)["eve"] == PageStatus.CANCELLED
    assert not Notification.objects.filter(status=NotificationStatus.ACTIVE).exists()
    assert not Timer.objects.filter(kind__in=[engine.STEP, engine.HANDOFF, engine.HOLD, "deliver"]).exists()
    assert set(Run.objects.values_list("status", flat=True)) == {RunStatus.STOPPED}


# --- 6: a tier without anybody ------------------------------------------------------------------------------------------


def test_pain_06_unstaffed_level_is_skipped_at_once(cast):
    make_policy(
        tier(1, targets=[on(make_schedule("Storage"))]), tier(2, cast["bob"]), service=cast["service"]
    )
    incident = open_incident(cast)
    assert paged(incident) == ["bob"]
    gap = CoverageGap.objects.get()
    assert (gap.level, gap.outcome, gap.why, gap.at) == (1, "skipped", "nobody is on call on Storage", NOW)


def test_pain_06_a_held_level_is_paged_when_somebody_comes_on_call(cast):
    storage = make_schedule("Storage")
    make_layer(storage, people=[cast["ada"]], starts_at=NOW + timedelta(minutes=3))
    held = replace(tier(1, targets=[on(storage)]), when_unstaffed="hold_until_staffed")
    make_policy(held, tier(2, cast["bob"], seconds=600), tier(3, cast["cyd"]), service=cast["service"])
    incident = open_incident(cast)
    assert paged(incident) == ["bob"]
    pass_time(to=NOW + timedelta(minutes=3))
    assert paged(incident) == ["bob", "ada"]
    run = Run.objects.get()
    assert (run.index, run.due_at) == (1, NOW + timedelta(minutes=10))  # the countdown of tier 2 went on
    gap = CoverageGap.objects.get()
    assert (gap.outcome, gap.ended_because, gap.ended_at) == (
        "held",
        "somebody came",
        NOW + timedelta(minutes=3),
    )
    assert "(somebody is there now): Ada, on call for Storage" in incident.timeline.last().text
    ack(incident, cast["ada"], at=NOW + timedelta(minutes=4))
    assert incident.timeline.get(kind=Kind.ACKNOWLEDGED).data["tier"] == 1


def test_pain_06_a_hold_sees_an_override_within_minutes_and_ends_at_its_limit(cast):
    storage = make_schedule("Storage")
    held = replace(tier(1, targets=[on(storage)]), when_unstaffed="hold_until_staffed", hold_limit_minutes=60)
    make_policy(held, tier(2, cast["bob"], seconds=86_400), service=cast["service"])
    first, other = open_incident(cast), open_incident(cast)
    pass_time(to=NOW + timedelta(minutes=20))
    assert paged(first) == ["bob"]
    incidents.resolve(incident_id=other.pk, by=cast["bob"], now=NOW + timedelta(minutes=20))
    make_override(
        storage, user=cast["ada"], starts_at=NOW + timedelta(minutes=21), ends_at=NOW + timedelta(minutes=22)
    )
    pass_time(to=NOW + timedelta(minutes=60))
    assert paged(first) == ["bob"]  # it was looked at in minute 20 and 25
    gap = first.coverage_gaps.get()
    assert (gap.ended_because, gap.ended_at) == ("nobody came", NOW + timedelta(minutes=60))
    assert other.coverage_gaps.get().ended_because == "the escalation ended"
    assert not Timer.objects.filter(kind=engine.HOLD).exists()


def test_pain_06_a_reopened_incident_looks_for_somebody_again(cast):
    storage = make_schedule("Storage")
    make_layer(storage, people=[cast["ada"]], starts_at=NOW + timedelta(minutes=30))
    held = replace(tier(1, targets=[on(storage)]), when_unstaffed="hold_until_staffed")
    make_policy(held, tier(2, cast["bob"], seconds=86_400), service=cast["service"])
    incident = open_incident(cast)
    incidents.resolve(incident_id=incident.pk, by=cast["bob"], now=NOW + timedelta(minutes=1))
    assert CoverageGap.objects.get().ended_because == "the escalation ended"
    again = NOW + timedelta(minutes=10)
    incidents.reopen(incident_id=incident.pk, by=cast["bob"], reason="not over", now=again)
    gap = CoverageGap.objects.get()
    assert (gap.at, gap.look_at, gap.ended_at) == (again, again + timedelta(minutes=5), None)
    pass_time(to=NOW + timedelta(minutes=30))
    assert paged(incident) == ["bob", "bob", "ada"]


def test_pain_06_a_level_that_waits_gives_its_time_and_then_the_next_is_paged(cast):
    storage = make_schedule("Storage")
    waits = replace(tier(1, targets=[on(storage)]), when_unstaffed="wait")
    make_policy(waits, tier(2, cast["bob"]), service=cast["service"])
    incident = open_incident(cast)
    assert (paged(incident), Incident.objects.get().next_page_at) == ([], NOW + TWO_MINUTES)
    pass_time(to=NOW + TWO_MINUTES)
    assert paged(incident) == ["bob"]
    assert CoverageGap.objects.get().outcome == "waited"


def test_pain_06_all_levels_unstaffed_is_never_dropped_and_kept_for_the_council(cast):
    empty = on(make_schedule("Storage"))
    make_policy(
        replace(tier(1, targets=[empty]), when_unstaffed="wait"),
        replace(tier(2, targets=[empty]), when_unstaffed="hold_until_staffed"),
        service=cast["service"], repeats=20, catch_all=cast["dir"],
    )  # fmt: skip
    incident = open_incident(cast)
    assert paged(incident) == ["dir"]
    assert list(CoverageGap.objects.order_by("pk").values_list("level", "outcome")) == [
        (1, "skipped"), (2, "held"), (None, "nobody"),
    ]  # fmt: skip
    pass_time(to=NOW + timedelta(minutes=15))
    assert paged(incident) == ["dir", "dir"]


# --- 8: steps never reached, channels for one level --------------------------------------------------------------------


def test_pain_08_whoever_comes_on_call_during_a_level_is_paged_too_unless_the_policy_says_no(cast):
    handoff = NOW + timedelta(seconds=60)
    rota = make_schedule("Rota", people=[cast["ada"]])
    make_override(rota, user=cast["bob"], starts_at=handoff, ends_at=NOW + timedelta(days=1))
    policy = make_policy(tier(1, targets=[on(rota)]), tier(2, cast["cyd"]), service=cast["service"])
    incident = open_incident(cast)
    assert Run.objects.get().handoff_at == handoff
    pass_time(to=handoff)
    assert paged(incident) == ["ada", "bob"]
    assert incident.pages.get(recipient=cast["bob"]).answer_by == NOW + TWO_MINUTES
    pass_time(to=NOW + TWO_MINUTES)
    assert paged(incident) == ["ada", "bob", "cyd"]
    Policy.objects.filter(pk=policy.pk).update(add_on_handoff=False, version=2)
    other = open_incident(cast)
    pass_time(to=handoff)
    assert paged(other) == ["ada"]


def test_pain_08_a_level_pages_by_its_own_channels_and_whoever_has_none_by_the_own_rules(cast):
    ContactMethod.objects.create(
        user=cast["ada"], kind="ntfy", address="https://push.test/ada", verified_at=NOW
    )
    make_policy(
        replace(tier(1, cast["ada"], cast["bob"]), channels=["ntfy", "voice"]), service=cast["service"]
    )
    open_incident(cast)
    sent = Delivery.objects.order_by("pk").values_list(
        "notification__recipient__username", "channel", "due_at"
    )
    assert list(sent) == [("ada", "ntfy", NOW), ("bob", "email", NOW)]


# --- 10: conditions only in UTC, without weekdays ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("2026-11-24T08:59", "bob"),
        ("2026-11-24T09:00", "ada"),
        ("2026-11-27T16:59", "ada"),
        ("2026-11-28T12:00", "bob"),  # Saturday
    ],
)
def test_pain_10_working_hours_have_days_and_are_of_the_schedules_zone(cast, local, expected):
    tokyo = make_schedule("Tokyo", people=[cast["ada"]], time_zone="Asia/Tokyo")
    make_policy(
        replace(tier(1, targets=[on(tokyo)]), hours="in"), tier(2, cast["bob"]), service=cast["service"]
    )
    incident = open_incident(cast, at=datetime.fromisoformat(local + "+09:00"))
    assert paged(incident) == [expected]


# --- 11: everything equally loud -------------------------------------------------------------------------------------------


def test_pain_11_the_matrix_sets_urgency_start_level_and_time_to_answer(cast):
    make_policy(tier(1, cast["ada"]), tier(2, cast["bob"]), service=cast["service"])
    escalation.set_matrix_cell(severity=1, criticality=1, start_level=2, answer_seconds=45)
    escalation.set_matrix_cell(severity=2, criticality=1, urgency="low")
    loud, quiet = open_incident(cast), open_incident(cast, severity=Severity.SEV2)
    as_before = open_incident(cast, severity=Severity.SEV3)
    assert (paged(loud), Incident.objects.get(pk=loud.pk).next_page_at) == (
        ["bob"],
        NOW + timedelta(seconds=45),
    )
    assert (quiet.urgency, paged(quiet), Incident.objects.get(pk=quiet.pk).next_page_at) == (
        "low", ["ada"], None,
    )  # fmt: skip
    assert (as_before.urgency, paged(as_before)) == ("high", ["ada"])
    assert Incident.objects.get(pk=as_before.pk).next_page_at == NOW + timedelta(seconds=900)
    incidents.set_severity(
        incident_id=as_before.pk, severity=2, by=cast["cyd"], reason="less", now=NOW + timedelta(seconds=1)
    )
    assert Incident.objects.get(pk=as_before.pk).urgency == "low"


# --- 12: the first answer silences everybody ---------------------------------------------------------------------------------


def test_pain_12_with_all_the_others_stay_paged_until_they_answer(cast):
    everybody = replace(tier(1, cast["ada"], cast["bob"], cast["cyd"]), ack_mode="all")
    make_policy(everybody, tier(2, cast["dir"]), service=cast["service"])
    incident = open_incident(cast)
    assert "3 of 3 have to answer" in incident.timeline.last().text
    ack(incident, cast["ada"], at=NOW + timedelta(seconds=10))
    incident.refresh_from_db()
    assert incident.status == Status.ACKNOWLEDGED
    assert statuses(incident) == {
        "ada": PageStatus.ACKNOWLEDGED, "bob": PageStatus.PAGING, "cyd": PageStatus.PAGING,
    }  # fmt: skip
    assert (messages_to(cast["ada"]), messages_to(cast["bob"])) == (["answered"], ["active"])
    run = Run.objects.get()
    assert str(engine.tallies(incident, run)[1]) == "1 of 3 answered"
    assert incident.next_page_at == NOW + TWO_MINUTES  # the time of those who are missing goes on
    ack(incident, cast["bob"], at=NOW + timedelta(seconds=20))
    ack(incident, cast["bob"], at=NOW + timedelta(seconds=21))
    assert Run.objects.get().status == RunStatus.GATHERING
    ack(incident, cast["cyd"], at=NOW + timedelta(seconds=30))
    incident.refresh_from_db()
    assert (Run.objects.get().status, incident.next_page_at) == (RunStatus.STOPPED, None)
    assert incident.acknowledged_by == cast["ada"]
    pass_time(to=NOW + timedelta(hours=1))
    assert paged(incident) == ["ada", "bob", "cyd"]


def test_pain_12_a_quorum_that_is_not_reached_in_time_pages_the_next_level_and_no_catch_all(cast):
    two = replace(tier(1, cast["ada"], cast["bob"], cast["cyd"]), ack_mode="quorum", quorum=2)
    make_policy(two, tier(2, cast["dir"]), service=cast["service"], repeats=3, catch_all=cast["eve"])
    incident = open_incident(cast)
    ack(incident, cast["ada"], at=NOW + timedelta(seconds=10))
    pass_time(to=NOW + TWO_MINUTES)
    assert paged(incident) == ["ada", "bob", "cyd", "dir"]
    assert "(too few have answered in time)" in incident.timeline.last().text
    pass_time(to=NOW + 2 * TWO_MINUTES)
    assert paged(incident) == ["ada", "bob", "cyd", "dir"]
    assert kinds(incident)[-1] == Kind.EXHAUSTED
    assert "tier 1: 1 of 3 answered, 2 have to; tier 2: 0 of 1 answered" in incident.timeline.last().text
    assert Run.objects.get().status == RunStatus.STOPPED


def test_pain_12_whoever_answers_late_still_makes_the_quorum_and_a_stranger_does_not(cast):
    two = replace(tier(1, cast["ada"], cast["bob"], cast["cyd"]), ack_mode="quorum", quorum=2)
    make_policy(two, tier(2, cast["dir"]), service=cast["service"])
    incident = open_incident(cast)
    ack(incident, cast["eve"], at=NOW + timedelta(seconds=5))  # takes charge, and was not paged
    assert Run.objects.get().status == RunStatus.GATHERING
    ack(incident, cast["ada"], at=NOW + timedelta(seconds=10))
    pass_time(to=NOW + TWO_MINUTES)
    ack(incident, cast["bob"], at=NOW + TWO_MINUTES + timedelta(seconds=5))
    assert statuses(incident) == {
        "ada": PageStatus.ACKNOWLEDGED, "bob": PageStatus.ACKNOWLEDGED, "cyd": PageStatus.MISSED,
        "dir": PageStatus.CANCELLED,
    }  # fmt: skip
    assert not Notification.objects.filter(status=NotificationStatus.ACTIVE).exists()
    assert not Timer.objects.filter(kind__in=[engine.STEP, "deliver"]).exists()


# --- 13: escalate to a chosen level or team ------------------------------------------------------------------------------------


def test_pain_13_a_team_is_called_in_beside_the_own_policy_until_it_answers(cast):
    network = make_team("network", members=[cast["eve"]])
    theirs = make_policy(tier(1, cast["cyd"]), tier(2, cast["dir"]))
    Policy.objects.filter(pk=theirs.pk).update(team=network)
    make_policy(tier(1, cast["ada"]), tier(2, cast["bob"]), service=cast["service"])
    incident = open_incident(cast)
    at = NOW + timedelta(seconds=30)
    told = {"incident_id": incident.pk, "team": network, "by": cast["ada"], "reason": "loss"}
    escalation.escalate_to_team(**told, now=at)
    with pytest.raises(escalation.Refused):
        escalation.escalate_to_team(**told, now=at)
    assert paged(incident) == ["ada", "cyd"]
    page = incident.pages.get(recipient=cast["cyd"])
    assert page.reason == f"{cast['ada']} called in {network}: loss. Named in the policy"
    ack(incident, cast["ada"], at=NOW + timedelta(seconds=40))
    assert statuses(incident)["cyd"] == PageStatus.PAGING  # their run goes on
    incident.refresh_from_db()
    assert incident.next_page_label == f"{network}, tier 2 is paged"
    pass_time(to=at + TWO_MINUTES)
    assert paged(incident) == ["ada", "cyd", "dir"]
    ack(incident, cast["eve"], at=at + timedelta(seconds=130))  # of that team, if never paged
    assert set(Run.objects.values_list("status", flat=True)) == {RunStatus.STOPPED}
    assert statuses(incident)["dir"] == PageStatus.CANCELLED
    escalation.escalate_to_team(**told, now=at + timedelta(hours=1))  # again, as it has ended
    assert paged(incident) == ["ada", "cyd", "dir", "cyd"]
    assert Run.objects.count() == 2


def test_a_team_without_a_policy_is_called_in_whole(cast):
    network = make_team("network", members=[cast["eve"], cast["dir"]])
    make_policy(tier(1, cast["ada"]), service=cast["service"])
    incident = open_incident(cast)
    escalation.escalate_to_team(incident_id=incident.pk, team=network, by=cast["ada"], reason="", now=NOW)
    assert sorted(paged(incident)) == ["ada", "dir", "eve"]


# --- turns, criteria, versions, the end -----------------------------------------------------------------------------------------


def test_targets_take_turns_over_incidents(cast):
    turns = replace(tier(1, cast["ada"], cast["bob"], cast["cyd"]), round_robin=True)
    make_policy(turns, tier(2, cast["dir"]), service=cast["service"])
    assert [paged(open_incident(cast)) for _ in range(4)] == [["ada"], ["bob"], ["cyd"], ["ada"]]
    assert RoundRobin.objects.get().turn == 1


def test_a_criterion_pages_a_tier_early_and_never_back(cast):
    grew = replace(tier(3, cast["cyd"]), early=[{"kind": "impact_grew"}])
    expert = replace(tier(4, cast["dir"]), early=[{"kind": "containment_missed"}])
    make_policy(tier(1, cast["ada"]), tier(2, cast["bob"]), grew, expert, service=cast["service"])
    incident = open_incident(cast, severity=Severity.SEV3)
    told = {"incident_id": incident.pk, "by": cast["eve"], "reason": "spreads"}
    incidents.set_severity(severity=2, now=NOW + timedelta(seconds=5), **told)
    assert paged(incident) == ["ada", "cyd"]
    assert "(it got worse): Cyd" in incident.timeline.last().text
    incidents.set_severity(severity=3, now=NOW + timedelta(seconds=6), **told)
    incidents.set_severity(severity=1, now=NOW + timedelta(seconds=7), **told)
    assert paged(incident) == ["ada", "cyd"]
    ack(incident, cast["ada"], at=NOW + timedelta(seconds=8))
    incident = incidents.lock_incident(incident.pk)
    cause = engine.Cause("containment_missed")
    assert engine.enter_early(incident, cause, now=NOW + timedelta(minutes=30)) is True
    assert engine.enter_early(incident, cause, now=NOW + timedelta(minutes=31)) is False
    assert paged(incident) == ["ada", "cyd", "dir"]
    assert not Timer.objects.filter(kind=engine.STEP).exists()  # somebody has it


def test_the_last_repeat_is_told_once_and_the_catch_all_comes(cast):
    make_policy(tier(1, cast["ada"]), service=cast["service"], repeats=1, catch_all=cast["dir"])
    incident = open_incident(cast)
    pass_time(to=NOW + timedelta(minutes=40))
    assert paged(incident) == ["ada", "ada", "dir", "dir", "dir"]
    assert incident.timeline.get(kind=Kind.EXHAUSTED).text == "all tiers were paged 2 times without an answer"


@pytest.mark.parametrize(("mode", "after"), [("resume", ["bob"]), ("restart", ["ada", "bob"])])
def test_an_acknowledgement_that_ends_resumes_or_restarts_and_pages_whoever_gave_it(cast, mode, after):
    policy = make_policy(tier(1, cast["ada"]), tier(2, cast["bob"]), service=cast["service"])
    Policy.objects.filter(pk=policy.pk).update(on_ack_timeout=mode, version=2)
    incident = open_incident(cast)
    pass_time(to=NOW + TWO_MINUTES)
    ack(incident, cast["bob"], at=NOW + timedelta(minutes=3))
    incidents.unacknowledge(incident_id=incident.pk, now=NOW + timedelta(hours=1), reason="stale")
    assert paged(incident) == ["ada", "bob", *after]


def test_a_low_urgency_incident_waits_for_nobody_and_still_pages_somebody(cast):
    waits = replace(tier(1, targets=[on(make_schedule("Storage"))]), when_unstaffed="wait")
    make_policy(waits, tier(2, cast["bob"]), service=cast["service"])
    incident = incidents.trigger(
        service=cast["service"], title="slow", severity=4, urgency=Urgency.LOW, now=NOW
    )
    assert paged(incident) == ["bob"]
    fire_due(now=NOW + timedelta(hours=10), by="test")
    assert paged(incident) == ["bob"]
