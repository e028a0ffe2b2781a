"""Grouping, holding back, maintenance, flapping, splitting and merging, against the database. `now` moves time."""

from datetime import UTC, datetime, timedelta

import pytest

from core.errors import Invalid, NotAllowed, Refused
from escalation import auditor
from incidents import transitions as incidents
from incidents.alerts import AlertSignal, apply_signal
from incidents.grouping import queries, rules, tier0, transitions
from incidents.grouping.transitions import MaintenanceData
from incidents.models import Alert, HeldAlert, Incident, Kind, Maintenance, MaintenanceEvent, Status
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from timers.models import Timer
from timers.transitions import fire_due

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada():
    return make_user("ada", role="manager")


@pytest.fixture
def service(ada):
    return make_service("checkout-api", criticality=1, primary_responder=ada)


def send(service, action="trigger", key="k", *, at=0, origin="integration:1", plan=None, **fields):
    fields.setdefault("title", f"5xx {key}")
    signal = AlertSignal(action=action, dedup_key=key, **fields)
    return apply_signal(
        origin=origin,
        origin_name="Prometheus",
        service=service,
        signal=signal,
        now=NOW + at * MINUTE,
        plan=plan,
    )


def settings(service, ada, **given):
    return transitions.change_settings(service_id=service.pk, by=ada, now=NOW, **given)


def texts(incident, kind):
    return list(incident.timeline.filter(kind=kind).order_by("seq").values_list("text", flat=True))


def fire(minutes):
    return fire_due(now=NOW + minutes * MINUTE, by="test")


def plan(ada, *services, minutes=60, **fields):
    data = MaintenanceData(name="Upgrade", services=services, starts_at=NOW, minutes=minutes, **fields)
    return transitions.plan_maintenance(data=data, by=ada, now=NOW)


def test_alerts_with_equal_fields_share_an_incident_and_the_reason_is_kept(service, ada):
    settings(service, ada, grouping="all", grouping_fields=["cluster", " cluster "], grouping_seconds=600)
    eu, us = ({"labels": {"cluster": name}} for name in ("eu1", "us2"))
    assert send(service, key="a", details=eu).verdict == "opened"
    assert send(service, key="b", details=us, at=1).verdict == "opened"
    joined = send(service, key="c", details=eu, at=3)
    first = Alert.objects.get(dedup_key="a").incident
    assert (joined.verdict, joined.incident_id) == ("joined", first.pk)
    because = "cluster=eu1, 3 min after the last"
    assert Alert.objects.get(dedup_key="c").joined_because == because
    assert texts(first, Kind.ALERT_JOINED) == [f"5xx c joined, since {because}"]
    assert send(service, key="d", details=eu, at=14).verdict == "opened"  # 11 min after the last


def test_a_senders_own_grouping_counts_where_the_service_groups_nothing(service, ada):
    own = rules.Plan(mode="any", fields=("cluster",), seconds=600)
    details = {"labels": {"cluster": "eu1"}}
    send(service, key="a", details=details)
    assert send(service, key="b", details=details, plan=own).verdict == "joined"
    settings(service, ada, grouping="all", grouping_fields=["job"])
    assert send(service, key="c", details=details, plan=own).verdict == "opened"


def test_settings_that_make_no_sense_are_refused_and_strangers_change_nothing(service, ada):
    for wrong, field in (
        ({"grouping": "all"}, "grouping_fields"),
        ({"grouping": "all", "grouping_fields": ["a b"]}, "grouping_fields"),
        ({"grouping_seconds": 299}, "grouping_seconds"),
        ({"flap_count": 1}, "flap_count"),
        ({"tier0_seconds": 60}, "tier0_url"),
        ({"tier0_seconds": 60, "tier0_url": "https://127.0.0.1/x"}, "tier0_url"),
        ({"repage_hours": 169}, "repage_hours"),
    ):
        with pytest.raises(Invalid) as refused:
            settings(service, ada, **wrong)
        assert list(refused.value.fields) == [field]
    with pytest.raises(NotAllowed):
        transitions.change_settings(service_id=service.pk, by=make_user("eve"), now=NOW, flap_count=3)
    assert queries.settings_of(service).pk is None or queries.settings_of(service).flap_count == 0


def test_a_repeat_costs_the_same_statements_whatever_is_set(service, ada, django_assert_num_queries):
    def repeat(key, at):
        with django_assert_num_queries(7):  # savepoint, alert, incident, alert again, both written, savepoint
            assert send(service, key=key, at=at).verdict == "repeated"

    send(service, key="plain")
    repeat("plain", 1)
    settings(
        service, ada, grouping="all", grouping_fields=["cluster"], flap_count=2, auto_resolve_minutes=30, repage_hours=6,
        tier0_seconds=60, tier0_url="https://auto.example/fix",
    )  # fmt: skip
    send(service, key="all", at=2)
    plan(ada, service)
    for at in (3, 4):
        repeat("all", at)


# --- maintenance -------------------------------------------------------------------------------------------------


def test_during_maintenance_alerts_are_kept_their_ends_are_heard_and_at_the_end_the_rest_opens(service, ada):
    open_before = send(service, key="before", at=-1)
    pages = Incident.objects.get().pages.count()
    row = plan(ada, service)
    assert fire(0) >= 1
    row.refresh_from_db()
    assert row.state == "active"
    for key in ("stays", "ends", "taken"):
        outcome = send(service, key=key, at=1)
        assert (outcome.verdict, outcome.reason) == (
            "held",
            "Maintenance “Upgrade” until 2026-11-24 04:00 UTC.",
        )
    assert send(service, key="stays", at=2).verdict == "held"
    assert send(service, "resolve", key="ends", at=2).verdict == "resolved"
    assert send(service, "acknowledge", key="taken", at=2).verdict == "acknowledged"
    assert send(service, key="before", at=3).verdict == "repeated"  # what was open goes on
    incident = Incident.objects.get(pk=open_before.incident_id)
    assert incident.pages.count() == pages
    assert texts(incident, Kind.MAINTENANCE)[0].startswith(
        "maintenance “Upgrade” began: new alerts of checkout-api"
    )
    fire(60)
    fire(61)
    opened = {alert.dedup_key: alert for alert in Alert.objects.exclude(dedup_key="before")}
    assert set(opened) == {"stays", "taken"}
    assert (opened["stays"].count, opened["stays"].incident.status) == (2, Status.TRIGGERED)
    assert opened["stays"].incident.pages.count() == 1
    assert opened["taken"].incident.status == Status.ACKNOWLEDGED
    rows = dict(HeldAlert.objects.values_list("dedup_key", "status"))
    assert rows == {"stays": "released", "ends": "cleared", "taken": "released"}
    row.refresh_from_db()
    assert row.state == "over"
    assert list(MaintenanceEvent.objects.order_by("pk").values_list("kind", flat=True)) == [
        "planned", "started", "ended",
    ]  # fmt: skip
    assert send(service, key="later", at=62).verdict == "opened"


def test_held_alerts_are_forgotten_a_month_after_their_end_and_never_while_they_fire(service, ada):
    plan(ada, service, minutes=24 * 60, recurrence="FREQ=DAILY")
    send(service, key="fires")
    send(service, key="ended")
    send(service, "resolve", key="ended", at=1)
    assert transitions.prune(now=NOW + timedelta(days=30)) == 0
    assert transitions.prune(now=NOW + timedelta(days=31)) == 1
    assert HeldAlert.objects.get().dedup_key == "fires"


def test_from_its_end_on_alerts_open_even_if_the_timer_is_late_and_nothing_opens_twice(service, ada):
    plan(ada, service)
    send(service, at=1)
    assert send(service, at=60).verdict == "opened"
    for minutes in (61, 61, 62):
        fire(minutes)
    assert (Incident.objects.count(), HeldAlert.objects.get().status) == (1, "released")


def test_conditions_and_piercing_let_other_alerts_through(service, ada):
    eu1 = {"field": "cluster", "op": "is", "value": "eu1"}
    plan(ada, service, conditions=[eu1], critical_pierces=True)
    details = {"labels": {"cluster": "eu1"}}
    assert send(service, key="a", details=details).verdict == "held"
    assert send(service, key="b").verdict == "opened"
    assert send(service, key="c", details=details, severity="critical").verdict == "opened"
    assert send(make_service("other"), key="d", origin="integration:2", details=details).verdict == "opened"


def test_a_series_goes_on_after_each_end_and_ends_early_without_losing_what_follows(service, ada):
    row = plan(ada, service, recurrence="freq=daily;count=3", reroute_on_end=False)
    fire(0)
    send(service, at=1)
    transitions.end_maintenance(maintenance_id=row.pk, by=ada, now=NOW + 10 * MINUTE)
    row.refresh_from_db()
    day = timedelta(days=1)
    assert (row.state, row.starts_at, row.ends_at) == ("planned", NOW + day, NOW + day + 60 * MINUTE)
    assert HeldAlert.objects.get().status == "dropped"
    assert send(service, key="free", at=11).verdict == "opened"
    for minutes in (24 * 60, 25 * 60, 48 * 60, 49 * 60):
        fire(minutes)
    row.refresh_from_db()
    assert row.state == "over"
    kinds = list(row.events.order_by("pk").values_list("kind", flat=True))
    assert kinds == ["planned", *["started", "ended"] * 3]
    with pytest.raises(Refused):
        transitions.end_maintenance(maintenance_id=row.pk, by=ada, now=NOW + 50 * 60 * MINUTE)


def test_what_is_planned_can_be_changed_and_cancelled_and_what_is_over_cannot(service, ada):
    data = MaintenanceData(name="Later", services=[service], starts_at=NOW + 60 * MINUTE, minutes=60)
    row = transitions.plan_maintenance(data=data, by=ada, now=NOW)
    sooner = MaintenanceData(**{**data.__dict__, "starts_at": NOW - MINUTE})
    row = transitions.change_maintenance(maintenance_id=row.pk, data=sooner, by=ada, now=NOW)
    assert row.starts_at == NOW  # the past is now
    assert send(service, at=1).verdict == "held"
    longer = MaintenanceData(**{**data.__dict__, "minutes": 120})
    row = transitions.change_maintenance(maintenance_id=row.pk, data=longer, by=ada, now=NOW + 2 * MINUTE)
    assert (row.starts_at, row.ends_at) == (NOW, NOW + 120 * MINUTE)
    fire(120)
    fire(121)
    with pytest.raises(Refused):
        transitions.change_maintenance(maintenance_id=row.pk, data=data, by=ada, now=NOW + 122 * MINUTE)
    much_later = MaintenanceData(**{**data.__dict__, "starts_at": NOW + 300 * MINUTE})
    other = transitions.plan_maintenance(data=much_later, by=ada, now=NOW)
    assert transitions.end_maintenance(maintenance_id=other.pk, by=ada, now=NOW).state == "cancelled"
    assert not Timer.objects.filter(key=str(other.pk), kind__startswith="maintenance").exists()
    with pytest.raises(NotAllowed):
        transitions.plan_maintenance(data=data, by=make_user("vera", role="viewer"), now=NOW)
    with pytest.raises(Invalid) as refused:
        plan(ada, zone="Mars", minutes=0, conditions=[{"field": "", "op": "x", "value": ""}])
    assert set(refused.value.fields) == {
        "services", "minutes", "zone", "conditions.0.field", "conditions.0.op", "conditions.0.value",
    }  # fmt: skip
    assert Maintenance.objects.count() == 2


# --- flapping, silence, old news ---------------------------------------------------------------------------------


def test_a_flapping_alert_pages_once_and_ends_when_it_has_stayed_cleared(service, ada):
    settings(service, ada, flap_count=3, flap_minutes=30, flap_stable_minutes=15)
    for at in (0, 2):
        send(service, at=at)
        send(service, "resolve", at=at + 1)
    assert Incident.objects.count() == 2  # the first ones are taken for what they say
    assert send(service, at=4).verdict == "opened"
    incident = Incident.objects.first()
    assert texts(incident, Kind.FLAPPING) == [
        "5xx k is flapping: it opened 3 times within 30 min. It counts as one until it has stayed as it is for 15 min"
    ]
    for at in (5, 7, 9):
        assert send(service, "resolve", at=at).verdict == "held"
        assert send(service, at=at + 1).verdict == "repeated"
    assert (Incident.objects.count(), incident.pages.count(), incident.alerts.get().flap_count) == (3, 1, 6)
    send(service, "resolve", at=11)
    fire(19)  # it has changed since that look was arranged
    assert Incident.objects.get(pk=incident.pk).status == Status.TRIGGERED
    fire(26)
    incident.refresh_from_db()
    assert (incident.status, incident.alerts.get().flapping_since) == (Status.RESOLVED, None)


def test_an_alert_without_news_for_long_enough_is_over_and_repeats_move_no_timer(service, ada):
    send(service, key="older")
    settings(service, ada, auto_resolve_minutes=30)
    send(service)
    due = Timer.objects.get(kind="alerts.silence", key=str(Alert.objects.get(dedup_key="k").pk)).due_at
    send(service, at=20)
    assert Timer.objects.filter(kind="alerts.silence", due_at=due).exists()
    fire(31)
    statuses = dict(Alert.objects.values_list("dedup_key", "status"))
    assert statuses == {"older": "resolved", "k": "firing"}
    fire(50)
    incident = Alert.objects.get(dedup_key="k").incident
    assert (incident.status, incident.timeline.get(kind=Kind.RESOLVED).actor_name) == (
        Status.RESOLVED, "Auto-resolve",
    )  # fmt: skip


# --- by hand -----------------------------------------------------------------------------------------------------


def test_a_silenced_alert_pages_nobody_until_then_and_speaks_again_when_it_still_fires(service, ada):
    send(service, key="a", group_key="g", severity="info")
    send(service, key="b", group_key="g", severity="info")
    alert = Alert.objects.get(dedup_key="a")
    transitions.mute(alert_id=alert.pk, until=NOW + 60 * MINUTE, by=ada, now=NOW)
    incident = alert.incident
    assert texts(incident, Kind.ALERT_MUTED) == ["silenced 5xx a for 1 h"]
    send(service, key="a", severity="critical", at=1)  # worse, and still silent
    incident.refresh_from_db()
    assert (incident.severity, incident.pages.filter(paged_at__gt=NOW).count()) == (4, 0)
    for key in ("a", "b"):
        send(service, "resolve", key=key, at=2)
    assert send(service, key="a", at=3).verdict == "held"
    assert send(service, key="b", at=3).verdict == "opened"
    fire(60)
    assert Alert.objects.filter(dedup_key="a", status="firing").get().incident.status == Status.TRIGGERED
    for until in (NOW, NOW + timedelta(days=31)):
        with pytest.raises(Invalid):
            transitions.mute(alert_id=alert.pk, until=until, by=ada, now=NOW)


def test_an_alert_that_is_split_off_pages_at_once_and_both_timelines_say_so(service, ada):
    send(service, key="a", group_key="g")
    source = Incident.objects.get()
    incidents.acknowledge(incident_id=source.pk, by=ada, now=NOW)
    with pytest.raises(Refused):
        transitions.split_off(alert_id=Alert.objects.get().pk, by=ada, now=NOW)
    send(service, key="b", group_key="g", at=1)
    other = transitions.split_off(
        alert_id=Alert.objects.get(dedup_key="b").pk, by=ada, now=NOW + 2 * MINUTE, reason="another disk"
    )
    assert (other.status, other.pages.count(), other.alert_count) == (Status.TRIGGERED, 1, 1)
    source.refresh_from_db()
    assert (source.status, source.alert_count, source.event_count) == (Status.ACKNOWLEDGED, 1, 1)
    assert texts(source, Kind.ALERT_MOVED) == [f"split 5xx b off into {other.ref}: another disk"]
    assert texts(other, Kind.ALERT_MOVED) == [f"was split off {source.ref}: another disk"]
    transitions.undo(move_id=other.merged_in.get().pk, by=ada, now=NOW + 3 * MINUTE)
    other.refresh_from_db()
    assert (other.status, source.alerts.count()) == (Status.RESOLVED, 2)


def test_a_merged_incident_ends_and_comes_back_paging_when_the_merge_is_undone(service, ada):
    send(service, key="a", severity="warning")
    send(service, key="b", severity="critical", at=1)
    target, source = Incident.objects.order_by("pk")
    incidents.acknowledge(incident_id=target.pk, by=ada, now=NOW + MINUTE)
    merged = transitions.merge(source_id=source.pk, target_id=target.pk, by=ada, now=NOW + 2 * MINUTE)
    source.refresh_from_db()
    assert (source.status, merged.severity, merged.alert_count) == (Status.RESOLVED, 1, 2)
    assert not source.pages.filter(status="paging").exists()
    assert queries.merge_of(source).target_id == target.pk
    # the sender's next words go where the alert is
    assert send(service, key="b", severity="critical", at=3).incident_id == target.pk
    with pytest.raises(Refused):
        transitions.merge(source_id=source.pk, target_id=target.pk, by=ada, now=NOW + 3 * MINUTE)
    move = queries.merge_of(source).pk
    with pytest.raises(Refused):
        transitions.undo(move_id=move, by=ada, now=NOW + 63 * MINUTE)
    back = transitions.undo(move_id=move, by=ada, now=NOW + 4 * MINUTE)
    target.refresh_from_db()
    assert (back.pk, back.status, back.alerts.get().dedup_key) == (source.pk, Status.TRIGGERED, "b")
    assert (back.pages.filter(status="paging").count(), target.alert_count) == (1, 1)
    with pytest.raises(Refused):
        transitions.undo(move_id=move, by=ada, now=NOW + 5 * MINUTE)
    drill = incidents.declare(service=service, title="Drill", severity=3, by=ada, now=NOW, is_drill=True)
    with pytest.raises(Refused):
        transitions.merge(source_id=drill.pk, target_id=target.pk, by=ada, now=NOW + 5 * MINUTE)


def test_a_merge_of_an_answered_incident_is_undone_without_a_message(service, ada):
    send(service, key="a")
    send(service, key="b", at=1)
    target, source = Incident.objects.order_by("pk")
    incidents.acknowledge(incident_id=source.pk, by=ada, now=NOW + MINUTE)
    transitions.merge(source_id=source.pk, target_id=target.pk, by=ada, now=NOW + 2 * MINUTE)
    back = transitions.undo(move_id=queries.merge_of(source).pk, by=ada, now=NOW + 3 * MINUTE)
    assert (back.status, back.acknowledged_by_id) == (Status.ACKNOWLEDGED, ada.pk)
    assert not back.pages.filter(status="paging").exists()


# --- tier 0 ------------------------------------------------------------------------------------------------------


@pytest.fixture
def automated(service, ada, settings_of_hooks):
    settings(
        service, ada, tier0_seconds=120, tier0_url="https://auto.example/fix",
        tier0_check_url="https://auto.example/health", tier0_check_path="ok", tier0_check_value="true",
    )  # fmt: skip
    return settings_of_hooks


@pytest.fixture
def settings_of_hooks(monkeypatch):
    """What the outside answers by method, and what was asked of it. It is asked at once, not after a commit."""
    outside = {"POST": (200, b"started"), "GET": (200, b'{"ok": false}'), "calls": []}

    def call(method, address, *, body=b"", headers=None):
        outside["calls"].append((method, address, headers, body))
        return outside[method]

    monkeypatch.setattr(tier0, "call", call)
    monkeypatch.setattr(tier0, "_after_commit", lambda work: work())
    return outside


def test_an_automated_action_that_helps_in_time_wakes_nobody_and_gets_no_second_window(service, automated):
    send(service)
    incident = Incident.objects.get()
    assert (incident.pages.count(), incident.next_page_at) == (0, NOW + 2 * MINUTE)
    auditor.audit(now=NOW + MINUTE)
    assert incident.pages.count() == 0  # nobody takes the waiting for a mistake
    fire(0)
    [(method, address, headers, body)] = automated["calls"]
    assert (method, address) == ("POST", "https://auto.example/fix")
    secret = queries.settings_of(service).tier0_secret
    assert headers["X-Muster-Signature"] == tier0.sign(body, [secret])
    fire(0.5)
    automated["GET"] = (200, b'{"ok": true}')
    fire(1)
    incident.refresh_from_db()
    assert (incident.status, incident.pages.count()) == (Status.RESOLVED, 0)
    assert incident.timeline.get(kind=Kind.RESOLVED).actor_name == "Tier 0"
    assert send(service, at=2).verdict == "held"  # the sender repeats what was fixed a moment ago
    fire(6)
    assert Incident.objects.first().pages.count() == 1


def test_people_are_paged_when_the_check_does_not_pass_in_time(service, automated):
    send(service)
    for minutes in (0, 0.5, 1, 2):
        fire(minutes)
    incident = Incident.objects.get()
    assert (incident.status, incident.pages.count()) == (Status.TRIGGERED, 1)
    automated["GET"] = (200, b'{"ok": true}')
    tier0.helped(incident.pk, now=NOW + MINUTE)  # an answer that hung
    incident.refresh_from_db()
    assert incident.status == Status.TRIGGERED


def test_people_are_paged_at_once_when_the_action_fails_and_nothing_else_can_help(
    service, ada, settings_of_hooks
):
    settings(service, ada, tier0_seconds=600, tier0_url="https://auto.example/fix")
    settings_of_hooks["POST"] = (500, b"no")
    send(service)
    fire(0)
    incident = Incident.objects.get()
    assert incident.pages.count() == 1
    assert texts(incident, Kind.TIER0)[-1] == "the automated action answered 500 no; people are paged now"
