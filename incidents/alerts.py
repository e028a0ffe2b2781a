"""What an alert of a sender does: open an incident, join one, count, acknowledge, resolve, or nothing."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db import transaction
from django.db.models import QuerySet

from catalog.models import Service
from core.words import duration
from incidents import queries, rules, timeline
from incidents.grouping import holding
from incidents.grouping import queries as grouping
from incidents.grouping import rules as grouping_rules
from incidents.models import Alert, AlertSettings, AlertStatus, Incident, Kind, Status
from incidents.transitions import (
    acknowledge,
    change_severity,
    clean_text,
    lock_incident,
    resolve,
    trigger,
)
from timers.transitions import set_timer

SEVERITIES = ("critical", "error", "warning", "info")

STABLE, SILENCE = "alerts.stable", "alerts.silence"
"""Timers that look whether a flapping alert has settled, and whether an alert has had no news for too long. Their key is
the alert's id. They look at the row, so that a repeat has no timer to move."""

LATE_NEWS = timedelta(minutes=10)
"""So long after a resolve, copies of the firing before it may still arrive from a sender's twins and retries."""


@dataclass(frozen=True, kw_only=True)
class AlertSignal:
    """One sender's word about one problem, in the same form whoever sent it.

    `group_key` "" means that the sender does not group. `episode_at` is when the sender says that this firing began, for
    senders that repeat themselves out of order; None for all others.
    """

    action: Literal["trigger", "acknowledge", "resolve", "note", "update"]
    dedup_key: str
    title: str = ""
    severity: str = "error"
    source: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    links: list[dict[str, str]] = field(default_factory=list)
    group_key: str = ""
    occurred_at: datetime | None = None
    episode_at: datetime | None = None


@dataclass(frozen=True)
class Outcome:
    """`verdict`: opened, joined, repeated, acknowledged, resolved, held, updated or dropped; `reason` says why."""

    verdict: str
    reason: str
    incident_id: int | None = None
    alert_id: int | None = None


@transaction.atomic
def apply_signal(
    *, origin: str, origin_name: str, service: Service, signal: AlertSignal, now: datetime, count: int = 1,
    plan: grouping_rules.Plan | None = None,
) -> Outcome:  # fmt: skip
    """Apply `count` equal signals at once. One caller at a time per origin; several origins at once are fine.

    `plan`: how the sender's alerts are grouped on services that say nothing about it.
    """
    alert = (
        Alert.objects.filter(origin=origin, dedup_key=signal.dedup_key, status=AlertStatus.FIRING)
        .order_by("-pk")
        .first()
    )
    incident = None
    if alert is not None:
        incident = lock_incident(alert.incident_id)
        alert.refresh_from_db()
        if alert.status != AlertStatus.FIRING:
            alert = incident = None
        elif alert.incident_id != incident.pk:  # a person moved it in this moment
            incident = lock_incident(alert.incident_id)
    if signal.action == "trigger":
        if alert is not None and incident is not None:
            return _repeat(incident, alert, signal=signal, now=now, count=count, origin_name=origin_name)
        return _begin(
            origin=origin,
            origin_name=origin_name,
            service=service,
            signal=signal,
            now=now,
            count=count,
            plan=plan,
        )
    if alert is None or incident is None:
        return _hear(origin, signal, now=now)
    if signal.action == "acknowledge":
        if incident.status == Status.TRIGGERED:
            acknowledge(incident_id=incident.pk, by=None, by_name=origin_name, via="sender", now=now)
        return Outcome("acknowledged", f"{incident.ref} is {incident.status}.", incident.pk, alert.pk)
    if signal.action in ("note", "update"):
        return _note(incident, alert, signal=signal, origin_name=origin_name, now=now)
    if alert.flapping_since is not None:
        return _hold_clear(incident, alert, now=now)
    return clear(incident, alert, by_name=origin_name, note="the sender says it is over", now=now)


def _hear(origin: str, signal: AlertSignal, *, now: datetime) -> Outcome:
    """Nothing of this key is open; it may be held back."""
    held = holding.hear(origin=origin, dedup_key=signal.dedup_key, action=signal.action, now=now)
    if held is None:
        return Outcome("dropped", f"No open alert has this key, so there was nothing to {signal.action}.")
    if signal.action == "resolve":
        return Outcome("resolved", f"It cleared while it was held back ({held.get_why_display().lower()}).")
    if signal.action == "acknowledge":
        return Outcome("acknowledged", f"It is held back until {held.until:%Y-%m-%d %H:%M} UTC.")
    return Outcome("updated", "It is held back.")


def _begin(
    *, origin: str, origin_name: str, service: Service, signal: AlertSignal, now: datetime, count: int,
    plan: grouping_rules.Plan | None,
) -> Outcome:  # fmt: skip
    same_key = Alert.objects.filter(origin=origin, dedup_key=signal.dedup_key)
    last = same_key.select_related("muted_by").order_by("-pk").first()
    if signal.episode_at is not None and _already_over(last, signal, now=now):
        return Outcome("dropped", "A late repeat of a firing that its sender has already resolved.")
    # Two senders of one service decide one after the other, or both would open an incident.
    Service.objects.select_for_update(no_key=True).only("pk").get(pk=service.pk)
    says = {
        "title": signal.title, "severity": signal.severity, "source": signal.source, "details": signal.details,
    }  # fmt: skip
    hold = holding.reason_to_hold(service=service, last=last, alert=says, now=now)
    if hold is not None:
        holding.keep(
            hold, service=service, origin=origin, origin_name=origin_name, signal=as_stored(signal),
            grouping=_plan_as_stored(plan), now=now, count=count,
        )  # fmt: skip
        return Outcome("held", hold.words, last.incident_id if last and not hold.maintenance_id else None)
    settings = grouping.settings_of(service)
    flaps = _openings(same_key, settings, now=now)
    severity = rules.severity_for(signal.severity, service.criticality)
    urgency = rules.urgency_for(signal.severity, severity)
    chosen = grouping.plan_of(service, settings, plan)
    group = grouping_rules.choose(
        _candidates(service, origin, signal.group_key),
        grouping.members(service, chosen, now=now) if chosen.by_content else [],
        alert=says,
        plan=chosen,
        opened_in_window=queries.opened_since(service, now - rules.STORM_WINDOW),
        now=now,
    )
    title = clean_text(signal.title) or signal.dedup_key
    told = {
        "origin": origin, "service": service, "signal": signal, "title": title, "settings": settings, "flaps": flaps,
        "now": now, "count": count,
    }  # fmt: skip
    if group is not None:
        incident = lock_incident(group.incident_id)
        if incident.is_open:
            return _join(
                incident,
                origin_name=origin_name,
                because=group.because,
                severity=severity,
                urgency=urgency,
                **told,
            )
    tier0_until = _tier0_until(service, settings, now=now) if urgency == "high" else None
    incident = trigger(
        service=service, title=title, severity=severity, urgency=urgency, now=now, opened_from=origin_name,
        repage_at=now + timedelta(hours=settings.repage_hours) if settings.repage_hours else None,
        tier0_until=tier0_until,
        data={"alert_severity": signal.severity, "criticality": service.criticality, "source": signal.source[:300]},
    )  # fmt: skip
    alert = _add_alert(incident, because="", **told)
    return Outcome("opened", f"SEV{severity}: {signal.severity} on a service of criticality {service.criticality}.",
                   incident.pk, alert.pk)  # fmt: skip


def as_stored(signal: AlertSignal) -> dict[str, Any]:
    """JSON from which the same signal can be made again: see `from_stored`."""
    return {
        **{name: getattr(signal, name) for name in AlertSignal.__dataclass_fields__},
        "occurred_at": signal.occurred_at and signal.occurred_at.isoformat(),
        "episode_at": signal.episode_at and signal.episode_at.isoformat(),
    }


def from_stored(stored: dict[str, Any]) -> AlertSignal:
    times = {
        name: datetime.fromisoformat(stored[name]) if stored.get(name) else None
        for name in ("occurred_at", "episode_at")
    }
    return AlertSignal(**{**stored, **times})


def _plan_as_stored(plan: grouping_rules.Plan | None) -> dict[str, Any] | None:
    return plan and {"mode": plan.mode, "fields": list(plan.fields), "seconds": plan.seconds}


def _openings(same_key: QuerySet[Alert], settings: AlertSettings, *, now: datetime) -> int:
    """How often the alert has opened of late, when that is flapping; else 0."""
    if not settings.flap_count:
        return 0
    since = now - timedelta(minutes=settings.flap_minutes)
    openings = list(same_key.filter(first_seen_at__gte=since).values_list("first_seen_at", flat=True)[:200])
    limits = {"minutes": settings.flap_minutes, "now": now}
    if not grouping_rules.is_flapping(openings, count=settings.flap_count, **limits):
        return 0
    return grouping_rules.openings_in(openings, **limits)


def _tier0_until(service: Service, settings: AlertSettings, *, now: datetime) -> datetime | None:
    if not settings.tier0_seconds:
        return None
    helped = grouping.helped_last_at(service, since=now - grouping_rules.TIER0_REST)
    return grouping_rules.tier0_until(seconds=settings.tier0_seconds, helped_last_at=helped, now=now)


def _candidates(service: Service, origin: str, group_key: str) -> list[rules.Candidate]:
    if group_key:
        same = (
            Alert.objects.filter(origin=origin, group_key=group_key)
            .exclude(incident__status=Status.RESOLVED)
            .order_by("-pk")
            .values_list("incident_id", flat=True)
            .first()
        )
        if same is not None:
            return [rules.Candidate(same, None, same_group=True)]
    open_ones = Incident.objects.filter(service=service).exclude(status=Status.RESOLVED).order_by("-pk")
    return [rules.Candidate(*newest) for newest in open_ones.values_list("pk", "last_event_at")[:1]]


def _already_over(last: Alert | None, signal: AlertSignal, *, now: datetime) -> bool:
    if last is None or last.closed_by_hand:
        return False
    if last.resolved_at is not None and now - last.resolved_at > LATE_NEWS:
        # A sender that was cut off from what it watches resolves, then fires again with the beginning it had before.
        return False
    began = last.details.get("episode_at")
    return began is not None and signal.episode_at is not None and signal.episode_at.isoformat() <= began


def _add_alert(
    incident: Incident, *, origin: str, service: Service, signal: AlertSignal, title: str, because: str,
    settings: AlertSettings, flaps: int, now: datetime, count: int,
) -> Alert:  # fmt: skip
    details = dict(signal.details)
    if signal.episode_at is not None:
        details["episode_at"] = signal.episode_at.isoformat()
    alert = Alert.objects.create(
        incident=incident, service=service, origin=origin, dedup_key=signal.dedup_key, group_key=signal.group_key,
        title=title[:1024], severity=signal.severity, source=signal.source[:300], details=details, links=signal.links,
        joined_because=because[:200], count=count, first_seen_at=now, last_seen_at=now,
        flapping_since=now if flaps else None, flap_count=flaps,
    )  # fmt: skip
    _count(incident, alerts=1, events=count, now=now)
    if settings.auto_resolve_minutes:
        silent_at = now + timedelta(minutes=settings.auto_resolve_minutes)
        set_timer(kind=SILENCE, key=str(alert.pk), due_at=silent_at, now=now)
    if flaps:
        stable = timedelta(minutes=settings.flap_stable_minutes)
        set_timer(kind=STABLE, key=str(alert.pk), due_at=now + stable, fence=flaps, now=now)
        timeline.record(
            incident, Kind.FLAPPING, at=now,
            text=f"{title[:300]} is flapping: it opened {flaps} times within {settings.flap_minutes} min. It counts as "
            f"one until it has stayed as it is for {duration(stable)}",
            data={"alert": alert.pk, "times": flaps},
        )  # fmt: skip
    return alert


def _count(incident: Incident, *, alerts: int, events: int, now: datetime) -> None:
    incident.alert_count += alerts
    incident.event_count += events
    incident.last_event_at = now
    incident.save(update_fields=["alert_count", "event_count", "last_event_at"])


def _join(
    incident: Incident, *, origin_name: str, signal: AlertSignal, title: str, because: str, severity: int,
    urgency: str, now: datetime, **told: Any,
) -> Outcome:  # fmt: skip
    alert = _add_alert(incident, signal=signal, title=title, because=because, now=now, **told)
    timeline.record(
        incident, Kind.ALERT_JOINED, at=now, actor_name=origin_name, text=f"{title[:300]} joined, since {because}",
        data={"alert": alert.pk, "alert_severity": signal.severity, "because": because},
    )  # fmt: skip
    _worsen(
        incident, severity=severity, urgency=urgency, reason=title[:200], origin_name=origin_name, now=now
    )
    _page_again_if_due(incident, alert, origin_name=origin_name, now=now)
    return Outcome("joined", f"Joined {incident.ref}, since {because}.", incident.pk, alert.pk)


def _repeat(
    incident: Incident, alert: Alert, *, signal: AlertSignal, now: datetime, count: int, origin_name: str
) -> Outcome:
    """A change of numbers, not of a person's night. Only when the sender says that it got worse is it told."""
    worse = rules.is_worse(signal.severity, alert.severity)
    alert.count += count
    alert.last_seen_at = now
    alert.severity = signal.severity
    # The newest word replaces the older one: merged, the row of a sender with ever new field names would grow without end.
    episodes = [
        alert.details.get("episode_at", ""),
        signal.episode_at.isoformat() if signal.episode_at else "",
    ]
    alert.details = dict(signal.details or alert.details)
    if any(episodes):
        alert.details["episode_at"] = max(episodes)
    alert.links = signal.links or alert.links
    if alert.held_clear_at is not None:  # flapping: it is back before it was believed to be over
        alert.held_clear_at = None
        alert.flap_count += 1
    alert.save(
        update_fields=["count", "last_seen_at", "severity", "details", "links", "held_clear_at", "flap_count"]
    )
    _count(incident, alerts=0, events=count, now=now)
    is_muted = alert.muted_until is not None and alert.muted_until > now
    if worse and not is_muted:
        severity = rules.severity_for(signal.severity, alert.service.criticality)
        urgency = rules.urgency_for(signal.severity, severity)
        reason = f"the sender now says {signal.severity}"
        _worsen(incident, severity=severity, urgency=urgency, reason=reason, origin_name=origin_name, now=now)
    if not is_muted:
        _page_again_if_due(incident, alert, origin_name=origin_name, now=now)
    return Outcome("repeated", f"Seen {alert.count} times.", incident.pk, alert.pk)


def _page_again_if_due(incident: Incident, alert: Alert, *, origin_name: str, now: datetime) -> None:
    """An old problem must not swallow new alarms for ever: after so many hours a trigger pages again."""
    if incident.repage_at is None or incident.repage_at > now:
        return
    if incident.snoozed_until is not None and incident.snoozed_until > now:
        return  # a person has put it off; the first trigger after that pages
    hours = grouping.settings_of(incident.service).repage_hours
    incident.repage_at = now + timedelta(hours=hours) if hours else None
    since = duration(now - incident.triggered_at)
    words = f"{alert.title[:200]} came again, {since} after the incident began"
    if incident.status == Status.TRIGGERED:
        incident.save(update_fields=["repage_at"])
        timeline.record(
            incident, Kind.REPAGED, at=now, actor_name=origin_name, text=f"{words}, and nobody has answered",
            data={"alert": alert.pk, "count": alert.count},
        )  # fmt: skip
        return
    was = incident.get_status_display().lower()
    incident.status = Status.TRIGGERED
    incident.fence += 1
    incident.save(update_fields=["status", "fence", "repage_at"])
    timeline.record(
        incident, Kind.UNACKNOWLEDGED, at=now, actor_name=origin_name, text=f"{words}; it no longer counts as {was}",
        data={"alert": alert.pk, "count": alert.count, "was": was},
    )  # fmt: skip


def _note(
    incident: Incident, alert: Alert, *, signal: AlertSignal, origin_name: str, now: datetime
) -> Outcome:
    """The sender adds words, or says what the alert says now. Only a worse severity has a consequence."""
    if signal.action == "note":
        timeline.record(
            incident,
            Kind.NOTE,
            at=now,
            actor_name=origin_name,
            text=clean_text(signal.title),
            data={"alert": alert.pk},
        )
        return Outcome("updated", "It is in the timeline.", incident.pk, alert.pk)
    alert.title = (clean_text(signal.title) or alert.title)[:1024]
    alert.details = {**alert.details, **signal.details}
    worse = bool(signal.severity) and rules.is_worse(signal.severity, alert.severity)
    alert.severity = signal.severity or alert.severity
    alert.save(update_fields=["title", "details", "severity"])
    if worse:
        severity = rules.severity_for(signal.severity, alert.service.criticality)
        _worsen(
            incident, severity=severity, urgency=rules.urgency_for(signal.severity, severity), now=now,
            reason=f"the sender now says {signal.severity}", origin_name=origin_name,
        )  # fmt: skip
    return Outcome("updated", "The alert says it now.", incident.pk, alert.pk)


def _worsen(
    incident: Incident, *, severity: int, urgency: str, reason: str, origin_name: str, now: datetime
) -> None:
    """An alert can make an incident worse, never better: that is a person's decision."""
    severity = min(severity, incident.severity)
    urgency = "high" if "high" in (urgency, incident.urgency) else "low"
    change_severity(
        incident, severity=severity, urgency=urgency, by=None, by_name=origin_name, reason=reason, now=now
    )


def _hold_clear(incident: Incident, alert: Alert, *, now: datetime) -> Outcome:
    """It flaps: its end is believed when it has stayed so for a while, or each new beginning would page again."""
    alert.held_clear_at = alert.held_clear_at or now
    alert.save(update_fields=["held_clear_at"])
    _count(incident, alerts=0, events=1, now=now)
    words = f"Flapping, {alert.flap_count} times so far: {incident.ref} stays open until it has settled."
    return Outcome("held", words, incident.pk, alert.pk)


def clear(incident: Incident, alert: Alert, *, by_name: str, note: str, now: datetime) -> Outcome:
    """The alert is over; with the last one the incident is. For callers that hold the lock."""
    alert.status = AlertStatus.RESOLVED
    alert.resolved_at = now
    alert.flapping_since = alert.held_clear_at = None
    alert.save(update_fields=["status", "resolved_at", "flapping_since", "held_clear_at"])
    _count(incident, alerts=0, events=1, now=now)
    still = queries.firing_alert_count(incident)
    if still == 0:
        resolve(incident_id=incident.pk, by=None, by_name=by_name, note=note, now=now)
        return Outcome("resolved", f"{incident.ref} is resolved.", incident.pk, alert.pk)
    timeline.record(
        incident, Kind.ALERT_RESOLVED, at=now, actor_name=by_name,
        text=f"{alert.title[:300]} cleared, {still} still firing", data={"alert": alert.pk, "still_firing": still},
    )  # fmt: skip
    return Outcome(
        "resolved", f"The alert cleared; {still} of {incident.ref} still fire.", incident.pk, alert.pk
    )
