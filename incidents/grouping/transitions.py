"""What people do with alerts: settings, maintenance, silence, splitting off, merging and undoing it."""

import re
import zoneinfo
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.models import User
from accounts.permissions import at_least, who_may
from catalog.models import Service
from core.errors import Invalid, Missing, NotAllowed, Refused
from core.words import duration
from incidents import rules as incident_rules
from incidents import timeline
from incidents.alerts import SILENCE, apply_signal, from_stored
from incidents.grouping import holding, queries, rules
from incidents.models import (
    Alert,
    AlertSettings,
    AlertStatus,
    Grouping,
    HeldAlert,
    HeldStatus,
    HeldWhy,
    Incident,
    Kind,
    Maintenance,
    MaintenanceEvent,
    MaintenanceState,
    Merge,
    Status,
)
from incidents.models.grouping import new_secret
from incidents.transitions import (
    acknowledge,
    change_severity,
    clean_text,
    lock_incident,
    reopen,
    resolve,
    trigger,
)
from notifications.channels.webhook import validate_url
from timers.transitions import cancel_timers, set_timer

LONGEST_MUTE = timedelta(days=30)
UNDO_WITHIN = incident_rules.REOPEN_GRACE
MOST_SERVICES = 250
MOST_CONDITIONS = 10
MOST_MERGED = 20
RELEASED_AT_ONCE = 50

START, END = "maintenance.start", "maintenance.end"
"""Kinds of the timers of a maintenance window; their key is its id, their fence its plan."""

Fields = dict[str, list[str]]

# --- settings of a service ---------------------------------------------------------------------------------------

LIMITS = {
    "flap_count": (0, 100),
    "flap_minutes": (1, 1440),
    "flap_stable_minutes": (1, 1440),
    "auto_resolve_minutes": (0, 30 * 1440),
    "repage_hours": (0, 168),
    "guard_minutes": (0, 1440),
    "tier0_seconds": (0, 900),
}
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/-]{0,79}")


def check_grouping(*, grouping: str, fields: Sequence[str], seconds: int) -> Fields:
    """What is wrong, by field."""
    wrong: Fields = {}
    if grouping not in Grouping.values:
        wrong["grouping"] = [f"One of {', '.join(Grouping.values)}."]
    if grouping in (Grouping.ALL, Grouping.ANY) and not fields:
        wrong["grouping_fields"] = ["Name at least one field. Example: cluster"]
    if len(fields) > rules.MOST_FIELDS:
        wrong["grouping_fields"] = [f"At most {rules.MOST_FIELDS} fields."]
    for name in fields:
        if not _FIELD.fullmatch(name):
            wrong["grouping_fields"] = [f"{name[:40]!r} is not the name of a field. Example: labels.cluster"]
    if not (300 <= seconds <= 3600 or seconds == 86400):
        wrong["grouping_seconds"] = ["From 300 to 3600 seconds, or 86400."]
    return wrong


@transaction.atomic
def change_settings(*, service_id: int, by: User, now: datetime, **given: object) -> AlertSettings:
    """Change what is given. It counts for alerts that come from now on; auto-resolve for those that fire as well."""
    _check_manager(by)
    service = Service.objects.select_for_update(no_key=True).filter(pk=service_id).first()
    if service is None:
        raise Missing("There is no such service.")
    settings = queries.settings_of(service)
    for name, value in given.items():
        setattr(settings, name, value)
    settings.grouping_fields = list(
        dict.fromkeys(name.strip() for name in settings.grouping_fields if name.strip())
    )
    wrong = check_grouping(
        grouping=settings.grouping, fields=settings.grouping_fields, seconds=settings.grouping_seconds
    )
    for name, (low, high) in LIMITS.items():
        if not low <= getattr(settings, name) <= high:
            wrong[name] = [f"From {low} to {high}."]
    if settings.flap_count == 1:
        wrong["flap_count"] = ["0, or at least 2."]
    _check_tier0(settings, wrong)
    if wrong:
        raise Invalid("The settings were not changed.", fields=wrong)
    if not settings.tier0_secret:
        settings.tier0_secret = new_secret()
    settings.save()
    _watch_silence(settings, now=now)
    return settings


def _check_tier0(settings: AlertSettings, wrong: Fields) -> None:
    for name in ("tier0_url", "tier0_check_url"):
        address = getattr(settings, name).strip()
        setattr(settings, name, address)
        if address:
            try:
                validate_url(address)
            except ValidationError as error:
                wrong[name] = list(error.messages)
    if settings.tier0_seconds and not (settings.tier0_url or settings.tier0_check_url):
        wrong["tier0_url"] = ["Say what is called in this time, or what is checked."]
    if settings.tier0_seconds and settings.tier0_seconds < 10:
        wrong["tier0_seconds"] = ["0, or from 10 to 900."]
    if settings.tier0_check_path and not settings.tier0_check_url:
        wrong["tier0_check_path"] = ["Only together with the address of a check."]


def _watch_silence(settings: AlertSettings, *, now: datetime) -> None:
    firing = Alert.objects.filter(service=settings.service, status=AlertStatus.FIRING)
    ids = list(firing.order_by("-pk").values_list("pk", "last_seen_at")[:2000])
    if not settings.auto_resolve_minutes:
        cancel_timers(kind=SILENCE, keys=[str(pk) for pk, _ in ids])
        return
    for pk, seen_at in ids:
        due_at = max(seen_at + timedelta(minutes=settings.auto_resolve_minutes), now)
        set_timer(kind=SILENCE, key=str(pk), due_at=due_at, now=now)


def _check_manager(by: User) -> None:
    if not at_least(by, "manager"):
        raise NotAllowed(who_may("manager"))


def _check_responder(by: User) -> None:
    if not at_least(by, "responder"):
        raise NotAllowed(who_may("responder"))


# --- maintenance -------------------------------------------------------------------------------------------------

_on_maintenance: list[Callable[[Maintenance, MaintenanceEvent], None]] = []


def on_maintenance(
    function: Callable[[Maintenance, MaintenanceEvent], None],
) -> Callable[[Maintenance, MaintenanceEvent], None]:
    """Have a function called for each event of a maintenance window, in its transaction: each start and end once."""
    if function not in _on_maintenance:
        _on_maintenance.append(function)
    return function


@dataclass(frozen=True, kw_only=True)
class MaintenanceData:
    name: str
    services: Sequence[Service]
    starts_at: datetime
    minutes: int
    reason: str = ""
    zone: str = "UTC"
    recurrence: str = ""
    conditions: Sequence[dict[str, str]] = ()
    reroute_on_end: bool = True
    critical_pierces: bool = False


@transaction.atomic
def plan_maintenance(*, data: MaintenanceData, by: User, now: datetime) -> Maintenance:
    """A start in the past is now."""
    _check_responder(by)
    row = Maintenance(created_by=by)
    _write_plan(row, data, now=now)
    row.save()
    row.services.set(data.services)
    _event(row, "planned", at=now, by=by)
    _arm(row, now=now)
    return row


@transaction.atomic
def change_maintenance(*, maintenance_id: int, data: MaintenanceData, by: User, now: datetime) -> Maintenance:
    """What is under way keeps its start. Raises Refused when it is over."""
    _check_responder(by)
    row = lock_maintenance(maintenance_id)
    _refuse_when_past(row)
    started = row.starts_at if row.starts_at <= now else None
    if started is not None:
        begin_maintenance(row, now=now)  # its timer may be late
    if started is not None and not data.recurrence:
        data = MaintenanceData(**{**data.__dict__, "starts_at": started})
    _write_plan(row, data, now=now, started=started)
    row.save()
    if started is not None and row.state == MaintenanceState.PLANNED:  # a series that is not now any more
        _event(row, "ended", at=now, by=by, occurrence_at=started)
        _look_at_held(row, now=now)
    row.services.set(data.services)
    _event(row, "changed", at=now, by=by)
    HeldAlert.objects.filter(maintenance=row, status=HeldStatus.FIRING).update(until=row.ends_at)
    _arm(row, now=now)
    return row


def _refuse_when_past(row: Maintenance) -> None:
    if row.state in (MaintenanceState.OVER, MaintenanceState.CANCELLED):
        raise Refused(f"{row.name} is over. Plan another one.", code="maintenance_over")


def _write_plan(
    row: Maintenance, data: MaintenanceData, *, now: datetime, started: datetime | None = None
) -> None:
    wrong: Fields = {}
    name = clean_text(data.name).strip()
    if not name or len(name) > 120:
        wrong["name"] = ["From 1 to 120 characters."]
    if not data.services:
        wrong["services"] = ["Choose at least one service."]
    elif len(data.services) > MOST_SERVICES:
        wrong["services"] = [f"At most {MOST_SERVICES} services."]
    if not 1 <= data.minutes <= rules.LONGEST_MINUTES:
        wrong["minutes"] = ["From 1 minute to 31 days."]
    if data.zone not in zoneinfo.available_timezones():
        wrong["zone"] = ["This time zone is not known. Example: Europe/Berlin"]
    conditions = _conditions(data.conditions, wrong)
    first = data.starts_at if data.recurrence or started else max(data.starts_at, now)
    found = None
    if not wrong:
        try:
            if data.recurrence:
                rules.check_recurrence(data.recurrence, first=first, zone=data.zone, minutes=data.minutes)
                found = rules.next_span(
                    data.recurrence, first=first, zone=data.zone, minutes=data.minutes, after=now
                )
            else:
                found = (first, rules.span(first, zone=data.zone, minutes=data.minutes)[1])
        except (rules.BadRecurrence, OverflowError) as error:
            wrong["recurrence"] = [str(error)]
        else:
            if found is None or found[1] <= now:
                wrong["starts_at"] = ["It would be over already."]
    if wrong:
        raise Invalid("The maintenance was not saved.", fields=wrong)
    row.name, row.reason = name, clean_text(data.reason).strip()[:300]
    row.conditions, row.zone, row.recurrence = conditions, data.zone, data.recurrence.strip().upper()
    row.first_starts_at, row.minutes = first, data.minutes
    row.starts_at, row.ends_at = found
    row.reroute_on_end, row.critical_pierces = data.reroute_on_end, data.critical_pierces
    row.state = (
        MaintenanceState.ACTIVE if started is not None and row.starts_at <= now else MaintenanceState.PLANNED
    )
    row.fence += 1


def _conditions(given: Sequence[dict[str, str]], wrong: Fields) -> list[dict[str, str]]:
    kept = []
    for number, item in enumerate(given):
        field, op, value = (str(item.get(name, "")).strip() for name in ("field", "op", "value"))
        if not _FIELD.fullmatch(field):
            wrong[f"conditions.{number}.field"] = ["The name of a field. Example: labels.cluster"]
        if op not in rules.OPS:
            wrong[f"conditions.{number}.op"] = [f"One of {', '.join(rules.OPS)}."]
        if not value or len(value) > 200:
            wrong[f"conditions.{number}.value"] = ["From 1 to 200 characters."]
        kept.append({"field": field, "op": op, "value": clean_text(value)})
    if len(kept) > MOST_CONDITIONS:
        wrong["conditions"] = [f"At most {MOST_CONDITIONS} conditions."]
    return kept


def lock_maintenance(maintenance_id: int) -> Maintenance:
    row = Maintenance.objects.select_for_update(of=("self",), no_key=True).filter(pk=maintenance_id).first()
    if row is None:
        raise Missing("There is no such maintenance.")
    return row


def _arm(row: Maintenance, *, now: datetime) -> None:
    told = {"key": str(row.pk), "fence": row.fence, "now": now}
    cancel_timers(kind=START, keys=[str(row.pk)])
    cancel_timers(kind=END, keys=[str(row.pk)])
    if row.state == MaintenanceState.PLANNED:
        set_timer(kind=START, due_at=row.starts_at, **told)
    elif row.state == MaintenanceState.ACTIVE:
        set_timer(kind=END, due_at=row.ends_at, **told)


def _event(
    row: Maintenance,
    kind: str,
    *,
    at: datetime,
    by: User | None = None,
    occurrence_at: datetime | None = None,
) -> None:
    """Once for each start and each end, however often their timers fire."""
    event = MaintenanceEvent(
        maintenance=row, kind=kind, occurrence_at=occurrence_at or row.starts_at, at=at, by=by
    )
    event.save()
    if kind in ("started", "ended", "cancelled"):
        _tell_rooms(row, kind, at=at, by=by)
    for function in _on_maintenance:
        function(row, event)


def _tell_rooms(row: Maintenance, kind: str, *, at: datetime, by: User | None) -> None:
    """Incidents that were open before go on paging; their rooms say why new alerts stay away."""
    open_now = Incident.objects.filter(service__in=row.services.all()).exclude(status=Status.RESOLVED)
    for incident_id in sorted(open_now.order_by("-pk").values_list("pk", flat=True)[:50]):
        incident = lock_incident(incident_id)
        if not incident.is_open:
            continue
        words = {
            "started": f"maintenance “{row.name}” began: new alerts of {incident.service} page nobody until "
            f"{row.ends_at:%H:%M} UTC; this incident goes on",
            "ended": f"maintenance “{row.name}” ended: new alerts page again",
            "cancelled": f"maintenance “{row.name}” was cancelled: new alerts page again",
        }[kind]
        timeline.record(
            incident, Kind.MAINTENANCE, at=at, actor=by, text=words,
            data={"maintenance": row.pk, "event": kind, "until": row.ends_at.isoformat()},
        )  # fmt: skip


def begin_maintenance(row: Maintenance, *, now: datetime) -> None:
    """Its start has come. For the timer, which holds the lock."""
    if row.state != MaintenanceState.PLANNED:
        return
    row.state = MaintenanceState.ACTIVE
    row.save(update_fields=["state"])
    _event(row, "started", at=now)
    _arm(row, now=now)


@transaction.atomic
def end_maintenance(*, maintenance_id: int, by: User, now: datetime) -> Maintenance:
    """End what is under way now, the series goes on; what has not begun is cancelled with all that follows."""
    _check_responder(by)
    row = lock_maintenance(maintenance_id)
    _refuse_when_past(row)
    if row.state == MaintenanceState.PLANNED and row.starts_at > now:
        row.state = MaintenanceState.CANCELLED
        row.fence += 1
        row.save(update_fields=["state", "fence"])
        _event(row, "cancelled", at=now, by=by)
        _arm(row, now=now)
        return row
    if row.state == MaintenanceState.PLANNED:  # its timer is late
        begin_maintenance(row, now=now)
    row.ends_at = max(now, row.starts_at + timedelta(milliseconds=1))
    finish_maintenance(row, now=now, by=by)
    return row


@transaction.atomic
def cancel_series(*, maintenance_id: int, by: User, now: datetime) -> Maintenance:
    """No further occurrence, and what is under way ends."""
    _check_responder(by)
    row = lock_maintenance(maintenance_id)
    _refuse_when_past(row)
    row.recurrence = ""
    row.save(update_fields=["recurrence"])
    return end_maintenance(maintenance_id=maintenance_id, by=by, now=now)


def finish_maintenance(row: Maintenance, *, now: datetime, by: User | None = None) -> None:
    """The occurrence is over: the next one is planned, and what still fires is looked at. For callers with the lock."""
    if row.state != MaintenanceState.ACTIVE:
        return
    _event(row, "ended", at=now, by=by)
    _look_at_held(row, now=now)
    following = _following(row, now=now)
    if following is None:
        row.state = MaintenanceState.OVER
    else:
        row.starts_at, row.ends_at = following
        row.state = MaintenanceState.PLANNED
    row.fence += 1
    row.save(update_fields=["state", "starts_at", "ends_at", "fence"])
    _arm(row, now=now)


def _look_at_held(row: Maintenance, *, now: datetime) -> None:
    waiting = HeldAlert.objects.filter(maintenance=row, why=HeldWhy.MAINTENANCE, status=HeldStatus.FIRING)
    if row.reroute_on_end:
        for place, pk in enumerate(waiting.order_by("pk").values_list("pk", flat=True)):
            # A timer for each, so that one that fails keeps no other back; in batches, so that it is no storm of ours.
            due_at = now + timedelta(seconds=place // RELEASED_AT_ONCE)
            set_timer(kind=holding.RELEASE, key=str(pk), due_at=due_at, now=now)
    else:
        waiting.update(status=HeldStatus.DROPPED, ended_at=now)


def _following(row: Maintenance, *, now: datetime) -> tuple[datetime, datetime] | None:
    if not row.recurrence:
        return None
    planned_end = rules.span(row.starts_at, zone=row.zone, minutes=row.minutes)[1]
    return rules.next_span(
        row.recurrence,
        first=row.first_starts_at,
        zone=row.zone,
        minutes=row.minutes,
        after=max(now, planned_end),
    )


# --- what was held back ------------------------------------------------------------------------------------------


@transaction.atomic
def release(*, held_id: int, now: datetime) -> str:
    """The time of a held alert is over: while it fires it opens or joins an incident like one that comes now.

    Another hold may apply by now; then it waits for that one. The verdict, "" when there was nothing to do.
    """
    # The service first, as its senders do: what they say in this moment is heard before or after, not beside it.
    Service.objects.select_for_update(no_key=True).filter(held_alerts=held_id).first()
    row = (
        HeldAlert.objects.select_for_update(of=("self",), no_key=True)
        .select_related("service")
        .filter(pk=held_id)
        .first()
    )
    if row is None or row.status != HeldStatus.FIRING:
        return ""
    open_one = Alert.objects.filter(
        origin=row.origin, dedup_key=row.dedup_key, status=AlertStatus.FIRING
    ).first()
    if open_one is not None:  # it has come again since the hold ended
        holding.end(row, status=HeldStatus.RELEASED, now=now, incident_id=open_one.incident_id)
        return "repeated"
    grouping = row.grouping or {}
    plan = (
        rules.Plan(mode=grouping["mode"], fields=tuple(grouping["fields"]), seconds=grouping["seconds"])
        if grouping
        else None
    )
    outcome = apply_signal(
        origin=row.origin, origin_name=row.origin_name, service=row.service, signal=from_stored(row.signal), now=now,
        count=row.count, plan=plan,
    )  # fmt: skip
    if outcome.verdict == "held":  # it was counted again
        HeldAlert.objects.filter(pk=row.pk).update(count=row.count)
        return "held"
    holding.end(row, status=HeldStatus.RELEASED, now=now, incident_id=outcome.incident_id)
    if outcome.incident_id is not None:
        incident = lock_incident(outcome.incident_id)
        kept = f"it was held back for {duration(now - row.first_seen_at)} ({row.get_why_display().lower()})"
        timeline.record(
            incident, Kind.NOTE, at=now, text=f"{row.title[:200]} still fires; {kept}", data={"held": row.pk}
        )
        if (
            row.acknowledged_at is not None
            and incident.status == Status.TRIGGERED
            and outcome.verdict == "opened"
        ):
            acknowledge(incident_id=incident.pk, by=None, by_name=row.origin_name, via="sender", now=now)
    return outcome.verdict


KEEP = timedelta(days=30)
PRUNE_BATCH = 1000


def prune(*, now: datetime) -> int:
    """Forget held alerts whose end is old. How many."""
    old = HeldAlert.objects.exclude(status=HeldStatus.FIRING).filter(ended_at__lt=now - KEEP)
    return HeldAlert.objects.filter(
        pk__in=list(old.order_by("pk").values_list("pk", flat=True)[:PRUNE_BATCH])
    ).delete()[0]


# --- silence -----------------------------------------------------------------------------------------------------


@transaction.atomic
def mute(*, alert_id: int, until: datetime | None, by: User, now: datetime) -> Alert:
    """Nothing that this one alert says pages until then, also when it clears and fires again. None: it speaks again.

    The incident and its other alerts go on as they are.
    """
    _check_responder(by)
    Service.objects.select_for_update(no_key=True).filter(alerts=alert_id).first()
    alert, incident = _lock_alert(alert_id)
    if until is not None and not now < until <= now + LONGEST_MUTE:
        sentence = "From now to 30 days ahead."
        raise Invalid(sentence, fields={"until": [sentence]})
    if until is None and alert.muted_until is None:
        return alert
    alert.muted_until, alert.muted_by = until, by if until else None
    alert.save(update_fields=["muted_until", "muted_by"])
    held = HeldAlert.objects.filter(
        origin=alert.origin, dedup_key=alert.dedup_key, status=HeldStatus.FIRING, why=HeldWhy.MUTED
    ).first()
    if held is not None:
        held.until = until or now
        held.save(update_fields=["until"])
        set_timer(kind=holding.RELEASE, key=str(held.pk), due_at=held.until, now=now)
    words = (
        f"silenced {alert.title[:200]} for {duration(until - now)}"
        if until
        else f"lets {alert.title[:200]} page again"
    )
    timeline.record(
        incident, Kind.ALERT_MUTED, at=now, actor=by, text=words,
        data={"alert": alert.pk, "until": until.isoformat() if until else None},
    )  # fmt: skip
    return alert


def _lock_alert(alert_id: int) -> tuple[Alert, Incident]:
    """The alert and its incident, locked. Raises Missing."""
    incident_id = Alert.objects.filter(pk=alert_id).values_list("incident_id", flat=True).first()
    if incident_id is None:
        raise Missing("There is no such alert.")
    incident = lock_incident(incident_id)
    alert = Alert.objects.select_for_update(no_key=True).select_related(None).get(pk=alert_id)
    if alert.incident_id != incident.pk:
        raise Refused("Somebody moved this alert in this moment. Look again.", code="changed_meanwhile")
    return alert, incident


# --- splitting and merging ---------------------------------------------------------------------------------------


@transaction.atomic
def split_off(*, alert_id: int, by: User, now: datetime, reason: str = "") -> Incident:
    """Give a firing alert an incident of its own, which pages at once. The other timeline says where it went."""
    _check_responder(by)
    alert, source = _lock_alert(alert_id)
    reason = clean_text(reason).strip()[:300]
    if not source.is_open or alert.status != AlertStatus.FIRING:
        raise Refused("Only a firing alert of an open incident can be split off.", code="alert_not_firing")
    if source.alerts.count() < 2:
        raise Refused(f"It is the only alert of {source.ref}.", code="only_alert")
    severity = incident_rules.severity_for(alert.severity, alert.service.criticality)
    why = f": {reason}" if reason else ""
    target = trigger(
        service=alert.service, title=alert.title, severity=severity, now=now, by=by, is_drill=source.is_drill,
        urgency=incident_rules.urgency_for(alert.severity, severity), data={"split_from": source.ref, "reason": reason},
    )  # fmt: skip
    _move([alert], source, target)
    move = Merge.objects.create(
        source=source, target=target, alerts=[alert.pk], whole=False, by=by, at=now, reason=reason
    )
    _say_moved(
        source,
        f"split {alert.title[:200]} off into {target.ref}{why}",
        other=target,
        move=move,
        by=by,
        now=now,
    )
    _say_moved(target, f"was split off {source.ref}{why}", other=source, move=move, by=by, now=now)
    return target


@transaction.atomic
def merge(*, source_id: int, target_id: int, by: User, now: datetime, reason: str = "") -> Incident:
    """The alerts of `source` go to `target`, which goes on; `source` ends and pages nobody any more. `target`."""
    _check_responder(by)
    if source_id == target_id:
        raise Invalid("An incident cannot be merged into itself.", fields={"into": ["Choose another one."]})
    first, second = (lock_incident(pk) for pk in sorted((source_id, target_id)))
    source, target = (first, second) if first.pk == source_id else (second, first)
    for each in (source, target):
        if not each.is_open:
            raise Refused(f"{each.ref} is resolved. Nothing was merged.", code="already_resolved")
    if source.is_drill != target.is_drill:
        raise Refused("A drill and a real incident stay apart.", code="drill_and_real")
    if Merge.objects.filter(target=target, whole=True, undone_at__isnull=True).count() >= MOST_MERGED:
        raise Refused(f"{target.ref} has taken {MOST_MERGED} already.", code="too_many_merged")
    reason = clean_text(reason).strip()[:300]
    why = f": {reason}" if reason else ""
    alerts = list(source.alerts.select_for_update(no_key=True).select_related(None))
    move = Merge.objects.create(
        source=source, target=target, alerts=[alert.pk for alert in alerts], status_before=source.status,
        acknowledged_by=source.acknowledged_by if source.status != Status.TRIGGERED else None, by=by, at=now,
        reason=reason,
    )  # fmt: skip
    _move(alerts, source, target)
    words = f"{len(alerts)} {'alert' if len(alerts) == 1 else 'alerts'}"
    _say_moved(
        source, f"merged into {target.ref}{why}", other=target, move=move, by=by, now=now, kind=Kind.MERGED
    )
    _say_moved(
        target, f"took over {source.ref}, {source.title[:200]}, with {words}{why}", other=source, move=move, by=by,
        now=now, kind=Kind.MERGED,
    )  # fmt: skip
    change_severity(
        target, severity=min(source.severity, target.severity), by=by, now=now, reason=f"{source.ref} was merged in",
        urgency="high" if "high" in (source.urgency, target.urgency) else "low",
    )  # fmt: skip
    resolve(incident_id=source.pk, by=by, now=now, note=f"merged into {target.ref}")
    return target


@transaction.atomic
def undo(*, move_id: int, by: User, now: datetime) -> Incident:
    """Put the alerts back where they were, within an hour. The incident that has them again.

    A merged incident is open again and pages, unless somebody had answered it: then it is that person's again.
    Splitting off is undone by merging the new incident back.
    """
    _check_responder(by)
    move = Merge.objects.select_for_update(no_key=True).filter(pk=move_id).first()
    if move is None:
        raise Missing("There is no such merge.")
    if move.undone_at is not None:
        raise Refused("It is undone already.", code="already_undone")
    if now - move.at > UNDO_WITHIN:
        raise Refused(
            f"It was {duration(now - move.at)} ago; it can be undone within an hour.", code="too_late"
        )
    locked = {pk: lock_incident(pk) for pk in sorted((move.source_id, move.target_id))}
    source, target = locked[move.source_id], locked[move.target_id]
    move.undone_at = now
    move.save(update_fields=["undone_at"])
    if not move.whole:
        if not source.is_open or not target.is_open:
            raise Refused("One of the two is resolved. They stay as they are.", code="already_resolved")
        return merge(source_id=target.pk, target_id=source.pk, by=by, now=now, reason="the split is undone")
    if source.status != Status.RESOLVED:
        raise Refused(f"{source.ref} was reopened meanwhile.", code="already_open")
    back = list(
        Alert.objects.select_for_update(no_key=True)
        .filter(pk__in=move.alerts, incident=target)
        .select_related(None)
    )
    _move(back, target, source)
    _say_moved(
        target, f"gave {source.ref} back: the merge is undone", other=source, move=move, by=by, now=now,
        kind=Kind.UNMERGED,
    )  # fmt: skip
    _say_moved(
        source,
        f"left {target.ref}: the merge is undone",
        other=target,
        move=move,
        by=by,
        now=now,
        kind=Kind.UNMERGED,
    )
    reopen(incident_id=source.pk, by=by, reason=f"the merge into {target.ref} is undone", now=now)
    if move.status_before != Status.TRIGGERED:  # its pages are called off before they have left
        acknowledge(incident_id=source.pk, by=move.acknowledged_by or by, now=now)
    if target.is_open and target.alert_count and not target.alerts.filter(status=AlertStatus.FIRING).exists():
        resolve(incident_id=target.pk, by=None, by_name="", note="none of its own alerts fires", now=now)
    return lock_incident(source.pk)


def _move(alerts: Sequence[Alert], source: Incident, target: Incident) -> None:
    """Both are locked. The counts follow."""
    events = sum(alert.count for alert in alerts)
    Alert.objects.filter(pk__in=[alert.pk for alert in alerts]).update(incident=target)
    for incident, sign in ((source, -1), (target, 1)):
        incident.alert_count = max(incident.alert_count + sign * len(alerts), 0)
        incident.event_count = max(incident.event_count + sign * events, 0)
        incident.save(update_fields=["alert_count", "event_count"])


def _say_moved(
    incident: Incident, text: str, *, other: Incident, move: Merge, by: User, now: datetime,
    kind: Kind = Kind.ALERT_MOVED,
) -> None:  # fmt: skip
    timeline.record(
        incident, kind, at=now, actor=by, text=text,
        data={"other": other.ref, "move": move.pk, "alerts": move.alerts[:50], "count": len(move.alerts)},
    )  # fmt: skip
