from datetime import UTC, datetime, timedelta

import pytest

from escalation import auditor
from escalation.engine import STEP
from escalation.models import Run, RunStatus
from incidents import transitions
from incidents.models import Incident, Kind, Status
from notifications.models import Delivery, Notification
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from timers.models import Heartbeat, Timer

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
SOON = NOW + timedelta(seconds=30)

pytestmark = pytest.mark.django_db


@pytest.fixture
def incident():
    service = make_service("checkout-api", primary_responder=make_user("ada"))
    return transitions.trigger(service=service, title="5xx", severity=1, urgency="high", now=NOW)


def test_when_all_is_well_nothing_is_touched(incident):
    before = list(Timer.objects.order_by("pk").values())
    report = auditor.audit(now=SOON)
    assert (report.repaired, report.overdue, report.failing, report.is_clean) == ([], [], [], True)
    assert list(Timer.objects.order_by("pk").values()) == before


def test_a_lost_timer_is_set_again_for_the_same_time(incident):
    due_at = Timer.objects.get(kind=STEP).due_at
    Timer.objects.filter(kind=STEP).delete()
    report = auditor.audit(now=SOON)
    assert report.repaired == [f"{incident.ref}: its timer was missing"]
    assert Timer.objects.get(kind=STEP).due_at == due_at
    assert incident.timeline.last().kind == Kind.REPAIRED


def test_an_incident_without_a_run_gets_one_and_pages(incident):
    Timer.objects.filter(kind=STEP).delete()
    Run.objects.all().delete()
    auditor.audit(now=SOON)
    assert Run.objects.get().status == RunStatus.RUNNING
    assert Timer.objects.filter(kind=STEP).count() == 1
    assert incident.pages.count() == 2


def test_a_run_that_outlives_its_incident_is_stopped(incident):
    Incident.objects.update(status=Status.RESOLVED, resolved_at=NOW)
    report = auditor.audit(now=SOON)
    assert report.repaired == [f"{incident.ref}: its escalation was still running"]
    assert not Timer.objects.filter(kind=STEP).exists()
    assert Run.objects.get().status == RunStatus.STOPPED


def test_a_message_without_a_timer_gets_one(incident):
    Timer.objects.filter(kind="deliver").delete()
    report = auditor.audit(now=SOON)
    assert len(report.repaired) == Delivery.objects.count() == 1
    assert Timer.objects.filter(kind="deliver").count() == 1


def test_what_is_overdue_by_more_than_a_minute_pages_the_admins_once_an_hour(incident):
    make_user("root", role="admin")
    late = Timer.objects.get(kind=STEP).due_at + timedelta(seconds=61)
    for minutes in (0, 1):
        report = auditor.audit(now=late + timedelta(minutes=minutes))
    assert not report.is_clean
    assert Notification.objects.filter(topic="auditor").count() == 1


def test_an_incident_that_is_only_just_open_is_left_to_its_own_transaction(incident):
    Timer.objects.filter(kind=STEP).delete()
    assert auditor.audit(now=NOW + timedelta(seconds=5)).repaired == []


def test_the_sweep_audits_every_fifteen_seconds_and_leaves_its_report():
    assert auditor.audit_when_due(NOW) is not None
    assert auditor.audit_when_due(NOW + timedelta(seconds=14)) is None
    assert auditor.audit_when_due(NOW + timedelta(seconds=15)) is not None
    assert Heartbeat.objects.get(pk="auditor").detail["clean"] is True


def test_repeats_that_keep_coming_do_not_hide_a_lost_timer(incident):
    Timer.objects.filter(kind=STEP).delete()
    Incident.objects.update(last_event_at=SOON)
    assert auditor.audit(now=SOON).repaired == [f"{incident.ref}: its timer was missing"]
    assert Timer.objects.filter(kind=STEP).count() == 1


def test_a_step_that_fails_again_and_again_is_overdue_although_its_back_off_moves_it(incident):
    root = make_user("root", role="admin")
    late = NOW + timedelta(minutes=20)
    Timer.objects.exclude(kind=STEP).delete()
    Timer.objects.filter(kind=STEP).update(due_at=late + timedelta(minutes=5), attempts=7)
    report = auditor.audit(now=late)
    assert not report.is_clean
    assert Notification.objects.get(topic="auditor").recipient == root


def test_an_incident_that_cannot_be_repaired_leaves_none_of_the_others_unwatched(incident, monkeypatch):
    make_user("root", role="admin")
    other = transitions.trigger(service=incident.service, title="4xx", severity=1, urgency="high", now=NOW)
    Timer.objects.filter(kind=STEP).delete()
    repair = auditor.engine.repair

    def fails_for_the_first(each, *, now):
        if each.pk == incident.pk:
            Incident.objects.filter(pk=each.pk).update(title="half done")
            raise KeyError("tiers")
        return repair(each, now=now)

    monkeypatch.setattr(auditor.engine, "repair", fails_for_the_first)
    report = auditor.audit(now=SOON)
    assert report.repaired == [f"{other.ref}: its timer was missing"]
    assert Timer.objects.get(kind=STEP).key == str(other.pk)
    assert not report.is_clean
    assert "cannot be repaired" in report.overdue[0]
    incident.refresh_from_db()
    assert incident.title == "5xx"


def test_without_an_admin_somebody_else_hears_that_the_pager_is_late(incident):
    mia = make_user("mia", role="manager")
    auditor.audit(now=Timer.objects.get(kind=STEP).due_at + timedelta(seconds=61))
    assert Notification.objects.get(topic="auditor").recipient == mia
