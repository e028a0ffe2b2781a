"""Re-checks what must always hold, repairs it, reports it, and tells an outside heartbeat that all is well.

Runs inside every timekeeper, one at a time, independent of Celery and of the engine's own bookkeeping.
"""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import CharField, Exists, OuterRef, Q, Value
from django.db.models.functions import Cast, Concat

from core.middleware import database_is_away
from escalation import engine
from escalation.models import OWN, CoverageGap, Run, RunStatus
from escalation.targets import catch_all_people
from incidents import timeline
from incidents.models import Incident, Kind, Status
from incidents.transitions import lock_incident
from notifications.models import Delivery, DeliveryStatus, NotificationStatus, Urgency
from notifications.transitions import DELIVER, notify
from timers import queries as timer_queries
from timers.handover import publish
from timers.models import Heartbeat, Timer
from timers.transitions import set_timers

log = structlog.get_logger(__name__)

EVERY = timedelta(seconds=15)
OVERDUE_BY = timedelta(seconds=60)
SETTLING = timedelta(seconds=5)
"""What is younger may be in the middle of a transaction that this one can not see whole."""
NAME = "auditor"
_LOCK = 0x6D757374  # any number that nothing else in the database uses


@dataclass
class Report:
    at: datetime
    repaired: list[str] = field(default_factory=list)
    overdue: list[str] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.overdue

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "at": self.at.isoformat(), "clean": self.is_clean}


def audit_when_due(now: datetime) -> Report | None:
    """The sweep: does nothing when another timekeeper audited less than 15 s ago."""
    last = Heartbeat.objects.filter(pk=NAME).values_list("beat_at", flat=True).first()
    if last is not None and now - last < EVERY:
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            return None
        try:
            report = audit(now=now)
            beat = {"beat_at": now, "detail": report.as_json()}
            Heartbeat.objects.update_or_create(name=NAME, defaults=beat)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
    if report.is_clean and settings.MUSTER_HEARTBEAT_URL:
        publish("escalation.beat_outside", [], queue="default")
    return report


def audit(*, now: datetime) -> Report:
    """Check and repair everything once, each incident in a transaction of its own."""
    report = Report(at=now)
    for repair, incident_ids in (
        (_watch_again, _unwatched_incidents(now)),
        (_watch_more_again, _unwatched_runs(now)),
        (_end_run, _runs_without_need()),
    ):
        for incident_id in incident_ids:
            try:
                wrong = repair(incident_id, now=now)
            except Exception as error:  # what is wrong with one incident must not leave the others unwatched
                if database_is_away(error):
                    raise
                log.exception("auditor_cannot_repair", incident=incident_id)
                report.overdue.append(f"INC-{incident_id} cannot be repaired: {error!r}"[:300])
            else:
                if wrong:
                    report.repaired.append(f"INC-{incident_id}: {wrong}")
    report.repaired += _rearm_deliveries(now)
    report.overdue += [str(timer) for timer in timer_queries.overdue(now=now, by=OVERDUE_BY)[:50]]
    report.failing = [f"{timer}: {timer.last_error[:200]}" for timer in timer_queries.failing()[:50]]
    if report.repaired:
        log.warning("auditor_repaired", what=report.repaired)
    if report.overdue:
        log.error("auditor_overdue", what=report.overdue)
        _page_admins(report, now=now)
    return report


def _step_timer() -> Exists:
    key = Cast(OuterRef("pk"), CharField())
    return Exists(Timer.objects.filter(kind=engine.STEP, key=key))


def _unwatched_incidents(now: datetime) -> list[int]:
    """Urgent incidents that nobody has answered and that no timer will escalate."""
    waiting = Incident.objects.filter(
        status=Status.TRIGGERED, urgency=Urgency.HIGH, triggered_at__lt=now - SETTLING
    ).filter(~_step_timer())
    return list(waiting.order_by("pk").values_list("pk", flat=True)[:500])


def _unwatched_runs(now: datetime) -> list[int]:
    """Incidents of which something else waits without a timer: a team that was called in, more answers, whoever comes
    on call next, a tier that has nobody yet."""
    whole = Cast(OuterRef("pk"), CharField())
    own = Cast(OuterRef("incident_id"), CharField())
    more = Concat(own, Value(":"), whole, output_field=CharField())
    active = Run.objects.exclude(status=RunStatus.STOPPED).filter(started_at__lt=now - SETTLING)
    steps = active.filter(due_at__isnull=False).exclude(incident__status=Status.TRIGGERED, origin=OWN)
    lost = steps.filter(
        Q(origin=OWN) & ~Exists(Timer.objects.filter(kind=engine.STEP, key=own))
        | ~Q(origin=OWN) & ~Exists(Timer.objects.filter(kind=engine.STEP, key=more))
    )
    handoffs = active.filter(handoff_at__isnull=False).filter(
        ~Exists(Timer.objects.filter(kind=engine.HANDOFF, key=whole))
    )
    holds = CoverageGap.objects.filter(look_at__isnull=False, at__lt=now - SETTLING).filter(
        ~Exists(Timer.objects.filter(kind=engine.HOLD, key=whole))
    )
    found = {
        pk for rows in (lost, handoffs, holds) for pk in rows.values_list("incident_id", flat=True)[:500]
    }
    return sorted(found)


def _runs_without_need() -> list[int]:
    """No timer outlives its incident's need of it."""
    needed = Q(incident__status=Status.TRIGGERED) | Q(incident__status=Status.ACKNOWLEDGED) & (
        ~Q(origin=OWN) | Q(status=RunStatus.GATHERING)
    )
    running = Run.objects.exclude(status=RunStatus.STOPPED).exclude(needed)
    return list(running.values_list("incident_id", flat=True).distinct()[:500])


@transaction.atomic
def _watch_again(incident_id: int, *, now: datetime) -> str:
    """What was wrong; empty: nothing any more."""
    incident = lock_incident(incident_id)
    is_watched = Timer.objects.filter(kind=engine.STEP, key=str(incident.pk)).exists()
    if incident.status != Status.TRIGGERED or incident.urgency != Urgency.HIGH or is_watched:
        return ""
    wrong = engine.repair(incident, now=now)
    timeline.record(
        incident, Kind.REPAIRED, at=now, text=f"found by the auditor: {wrong}; the next step is set again"
    )
    return wrong


@transaction.atomic
def _watch_more_again(incident_id: int, *, now: datetime) -> str:
    """What was wrong; empty: nothing any more."""
    incident = lock_incident(incident_id)
    wrong = engine.set_lost_timers(incident, now=now)
    if wrong:
        timeline.record(
            incident, Kind.REPAIRED, at=now, text=f"found by the auditor: {wrong}; it is set again"
        )
    return wrong


@transaction.atomic
def _end_run(incident_id: int, *, now: datetime) -> str:
    """What was wrong; empty: nothing any more."""
    incident = lock_incident(incident_id)
    if not engine.stop_needless(incident, now=now):
        return ""
    return "its escalation was still running"


def _rearm_deliveries(now: datetime) -> list[str]:
    """Messages that wait without a timer would wait for ever."""
    key = Cast(OuterRef("pk"), CharField())
    orphans = Delivery.objects.filter(
        status__in=[DeliveryStatus.WAITING, DeliveryStatus.SENDING],
        notification__status=NotificationStatus.ACTIVE,
        created_at__lt=now - SETTLING,
    ).filter(~Exists(Timer.objects.filter(kind=DELIVER, key=key)))
    found = list(orphans.order_by("pk")[:500])
    set_timers([Timer(kind=DELIVER, key=str(row.pk), due_at=max(now, row.due_at)) for row in found], now=now)
    return [f"delivery {row.pk}: its timer was missing" for row in found]


def _page_admins(report: Report, *, now: datetime) -> None:
    """At most once an hour: the pager itself is late. Without an admin, whom the catch-all would page."""
    for admin in catch_all_people([]):
        notify(
            recipient=admin, dedupe_key=f"auditor:{now:%Y-%m-%dT%H}:{admin.pk}", topic="auditor", urgency=Urgency.HIGH,
            title="Muster is late: deadlines are overdue by more than a minute",
            body="\n".join(["These should have happened:", *report.overdue[:10], "Look at the workers and the timekeepers."]),
            link="/", context={"overdue": len(report.overdue)}, now=now,
        )  # fmt: skip
