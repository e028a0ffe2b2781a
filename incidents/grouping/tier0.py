"""Tier 0: an automated action gets the first minutes, and people are paged unless its check passes in time.

The end of that time is the escalation's own timer, set with the incident: whatever happens here, people are paged then.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import transaction

from core.words import duration
from incidents import timeline
from incidents.grouping import queries, rules
from incidents.models import AlertSettings, Incident, Kind, Status, TimelineEntry
from incidents.transitions import lock_incident, resolve
from notifications.channels.base import ChannelError, PermanentError
from notifications.channels.webhook import ID_HEADER, SIGNATURE_HEADER, call, sign
from timers import network, registry
from timers.models import Timer
from timers.transitions import cancel_timer, set_timer

log = structlog.get_logger(__name__)

ACT, CHECK = "incidents.tier0", "incidents.tier0_check"
CHECK_EVERY = timedelta(seconds=10)
GUARD_MINUTES = 5
"""Senders that repeat what was fixed a moment ago open nothing for so long."""
LANE, THREADS = "tier0", 4

BY = "Tier 0"


def waits(incident: Incident, *, now: datetime) -> bool:
    """Whether people have not been paged yet because the action has its time."""
    return (
        incident.status == Status.TRIGGERED
        and incident.tier0_until is not None
        and incident.tier0_until > now
    )


def begin(incident: Incident, entry: TimelineEntry) -> None:
    if incident.tier0_until is None:
        return
    settings = queries.settings_of(incident.service)
    after = duration(incident.tier0_until - entry.at)
    first = "calls its automated action" if settings.tier0_url else "waits for its check"
    timeline.record(
        incident, Kind.TIER0, at=entry.at, text=f"{first}; people are paged in {after} unless that helps",
        data={"until": incident.tier0_until.isoformat()},
    )  # fmt: skip
    set_timer(kind=ACT, key=str(incident.pk), due_at=entry.at, now=entry.at)


def end(incident: Incident, entry: TimelineEntry) -> None:
    if incident.tier0_until is not None:
        cancel_timer(kind=ACT, key=str(incident.pk))
        cancel_timer(kind=CHECK, key=str(incident.pk))


def _lock(timer: Timer) -> Incident:
    return lock_incident(int(timer.key))


def act(timer: Timer, now: datetime, incident: Incident) -> None:
    if not waits(incident, now=now):
        return
    settings = queries.settings_of(incident.service)
    if settings.tier0_check_url:
        set_timer(kind=CHECK, key=timer.key, due_at=now + CHECK_EVERY, now=now)
    if settings.tier0_url:
        body = payload(incident)
        _after_commit(lambda: _call(incident.pk, settings, body, now=now))


def payload(incident: Incident) -> bytes:
    alert = incident.alerts.order_by("pk").first()
    return json.dumps(
        {
            "event": {
                "id": f"tier0:{incident.pk}", "event_type": "incident.tier0", "resource_type": "incident",
                "occurred_at": incident.triggered_at.isoformat(),
                "data": {
                    "ref": incident.ref, "title": incident.title, "severity": f"SEV{incident.severity}",
                    "service": incident.service.slug, "people_are_paged_at": incident.tier0_until.isoformat(),
                    "alert": {
                        "dedup_key": alert.dedup_key, "title": alert.title, "severity": alert.severity,
                        "details": alert.details,
                    }
                    if alert
                    else None,
                },
            }
        },
        ensure_ascii=False,
    ).encode()  # fmt: skip


def _after_commit(work: Callable[[], object]) -> None:
    transaction.on_commit(lambda: network.run(work, lane=LANE, threads=THREADS))


def _call(incident_id: int, settings: AlertSettings, body: bytes, *, now: datetime) -> None:
    """Once. A failure pages people at once: there is nothing to wait for, unless a check of its own may still pass."""
    headers = {
        "Content-Type": "application/json", ID_HEADER: f"tier0:{incident_id}",
        SIGNATURE_HEADER: sign(body, [settings.tier0_secret]),
    }  # fmt: skip
    try:
        status, said = call("POST", settings.tier0_url, body=body, headers=headers)
        failed = not 200 <= status < 300
        words = f"the automated action answered {status} {said[:120].decode('utf-8', 'replace')}".strip()
    except ChannelError as error:
        failed, words = True, f"the automated action could not be called: {error}"
    _tell(incident_id, words, failed=failed and not settings.tier0_check_url, now=now)


@transaction.atomic
def _tell(incident_id: int, words: str, *, failed: bool, now: datetime) -> None:
    incident = lock_incident(incident_id)
    then = "; people are paged now" if failed and incident.status == Status.TRIGGERED else ""
    timeline.record(
        incident, Kind.TIER0, at=now, actor_name=BY, text=f"{words[:400]}{then}", data={"failed": failed}
    )


def check(timer: Timer, now: datetime, incident: Incident) -> None:
    """Again and again while there is time. The next look is arranged before this one, which may hang."""
    if not waits(incident, now=now):
        return
    settings = queries.settings_of(incident.service)
    if not settings.tier0_check_url:
        return
    following = now + CHECK_EVERY
    if following < incident.tier0_until:
        set_timer(kind=CHECK, key=timer.key, due_at=following, now=now)
    _after_commit(lambda: _look(incident.pk, settings, now=now))


def _look(incident_id: int, settings: AlertSettings, *, now: datetime) -> None:
    try:
        status, said = call("GET", settings.tier0_check_url, headers={"Accept": "application/json"})
    except PermanentError as error:
        _tell(incident_id, f"its check cannot be made: {error}", failed=True, now=now)
        return
    except ChannelError as error:
        log.info("tier0_check_failed", incident=incident_id, error=str(error))
        return
    if rules.passes(
        status=status, body=_json(said), path=settings.tier0_check_path, wanted=settings.tier0_check_value
    ):
        helped(incident_id, now=now)


def _json(said: bytes) -> Any:
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        return None


@transaction.atomic
def helped(incident_id: int, *, now: datetime) -> None:
    """The check passed while nobody had been paged: it is over, and nobody was woken. Too late it changes nothing."""
    incident = lock_incident(incident_id)
    if not waits(incident, now=now) or incident.pages.exists():
        return
    timeline.record(
        incident, Kind.TIER0, at=now, actor_name=BY, text="its check passed", data={"passed": True}
    )
    resolve(
        incident_id=incident_id, by=None, by_name=BY, note="the automated action helped; nobody was paged", now=now,
        guard_minutes=GUARD_MINUTES,
    )  # fmt: skip


def register() -> None:
    timeline.on(Kind.TRIGGERED)(begin)
    timeline.on(Kind.ACKNOWLEDGED, Kind.CONTAINED, Kind.RESOLVED)(end)
    registry.handler(ACT, lock=_lock)(act)
    registry.handler(CHECK, lock=_lock)(check)
