"""What an alert of a sender does: open an incident, join one, count, acknowledge, resolve, or nothing."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db import transaction

from catalog.models import Service
from incidents import queries, rules, timeline
from incidents.models import Alert, AlertStatus, Incident, Kind, Status
from incidents.transitions import (
    acknowledge,
    change_severity,
    clean_text,
    lock_incident,
    resolve,
    trigger,
)

SEVERITIES = ("critical", "error", "warning", "info")

LATE_NEWS = timedelta(minutes=10)
"""So long after a resolve, copies of the firing before it may still arrive from a sender's twins and retries."""


@dataclass(frozen=True, kw_only=True)
class AlertSignal:
    """One sender's word about one problem, in the same form whoever sent it.

    `group_key` "" means that the sender does not group. `episode_at` is when the sender says that this firing began, for
    senders that repeat themselves out of order; None for all others.
    """

    action: Literal["trigger", "acknowledge", "resolve"]
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
    """`verdict`: opened, joined, repeated, acknowledged, resolved or dropped; `reason` says why in words."""

    verdict: str
    reason: str
    incident_id: int | None = None
    alert_id: int | None = None


@transaction.atomic
def apply_signal(
    *, origin: str, origin_name: str, service: Service, signal: AlertSignal, now: datetime, count: int = 1
) -> Outcome:
    """Apply `count` equal signals at once. One caller at a time per origin; several origins at once are fine."""
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
    if signal.action == "trigger":
        if alert is not None and incident is not None:
            return _repeat(incident, alert, signal=signal, now=now, count=count, origin_name=origin_name)
        return _begin(
            origin=origin, origin_name=origin_name, service=service, signal=signal, now=now, count=count
        )
    if alert is None or incident is None:
        return Outcome("dropped", f"No open alert has this key, so there was nothing to {signal.action}.")
    if signal.action == "acknowledge":
        if incident.status == Status.TRIGGERED:
            acknowledge(incident_id=incident.pk, by=None, by_name=origin_name, via="sender", now=now)
        return Outcome("acknowledged", f"{incident.ref} is {incident.status}.", incident.pk, alert.pk)
    return _clear(incident, alert, origin_name=origin_name, now=now)


def _begin(
    *, origin: str, origin_name: str, service: Service, signal: AlertSignal, now: datetime, count: int
) -> Outcome:
    if signal.episode_at is not None and _already_over(origin, signal, now=now):
        return Outcome("dropped", "A late repeat of a firing that its sender has already resolved.")
    # Two senders of one service decide one after the other, or both would open an incident.
    Service.objects.select_for_update(no_key=True).only("pk").get(pk=service.pk)
    severity = rules.severity_for(signal.severity, service.criticality)
    urgency = rules.urgency_for(signal.severity, severity)
    grouping = rules.group(
        _candidates(service, origin, signal.group_key),
        window_minutes=service.grouping_minutes,
        opened_in_window=queries.opened_since(service, now - rules.STORM_WINDOW),
        now=now,
    )
    title = clean_text(signal.title) or signal.dedup_key
    if grouping is not None:
        incident = lock_incident(grouping.incident_id)
        if incident.is_open:
            return _join(
                incident, origin=origin, origin_name=origin_name, service=service, signal=signal, title=title,
                because=grouping.because, severity=severity, urgency=urgency, now=now, count=count,
            )  # fmt: skip
    incident = trigger(
        service=service, title=title, severity=severity, urgency=urgency, now=now, opened_from=origin_name,
        data={"alert_severity": signal.severity, "criticality": service.criticality, "source": signal.source[:300]},
    )  # fmt: skip
    alert = _add_alert(
        incident, origin=origin, service=service, signal=signal, title=title, because="", now=now, count=count
    )
    return Outcome("opened", f"SEV{severity}: {signal.severity} on a service of criticality {service.criticality}.",
                   incident.pk, alert.pk)  # fmt: skip


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


def _already_over(origin: str, signal: AlertSignal, *, now: datetime) -> bool:
    last = Alert.objects.filter(origin=origin, dedup_key=signal.dedup_key).order_by("-pk").first()
    if last is None or last.closed_by_hand:
        return False
    if last.resolved_at is not None and now - last.resolved_at > LATE_NEWS:
        # A sender that was cut off from what it watches resolves, then fires again with the beginning it had before.
        return False
    began = last.details.get("episode_at")
    return began is not None and signal.episode_at is not None and signal.episode_at.isoformat() <= began


def _add_alert(
    incident: Incident, *, origin: str, service: Service, signal: AlertSignal, title: str, because: str, now: datetime,
    count: int,
) -> Alert:  # fmt: skip
    details = dict(signal.details)
    if signal.episode_at is not None:
        details["episode_at"] = signal.episode_at.isoformat()
    alert = Alert.objects.create(
        incident=incident, service=service, origin=origin, dedup_key=signal.dedup_key, group_key=signal.group_key,
        title=title[:1024], severity=signal.severity, source=signal.source[:300], details=details, links=signal.links,
        joined_because=because[:200], count=count, first_seen_at=now, last_seen_at=now,
    )  # fmt: skip
    _count(incident, alerts=1, events=count, now=now)
    return alert


def _count(incident: Incident, *, alerts: int, events: int, now: datetime) -> None:
    incident.alert_count += alerts
    incident.event_count += events
    incident.last_event_at = now
    incident.save(update_fields=["alert_count", "event_count", "last_event_at"])


def _join(
    incident: Incident, *, origin: str, origin_name: str, service: Service, signal: AlertSignal, title: str,
    because: str, severity: int, urgency: str, now: datetime, count: int,
) -> Outcome:  # fmt: skip
    alert = _add_alert(
        incident,
        origin=origin,
        service=service,
        signal=signal,
        title=title,
        because=because,
        now=now,
        count=count,
    )
    timeline.record(
        incident, Kind.ALERT_JOINED, at=now, actor_name=origin_name, text=f"{title[:300]} joined, since {because}",
        data={"alert": alert.pk, "alert_severity": signal.severity, "because": because},
    )  # fmt: skip
    _worsen(
        incident, severity=severity, urgency=urgency, reason=title[:200], origin_name=origin_name, now=now
    )
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
    alert.save(update_fields=["count", "last_seen_at", "severity", "details", "links"])
    _count(incident, alerts=0, events=count, now=now)
    if worse:
        severity = rules.severity_for(signal.severity, alert.service.criticality)
        urgency = rules.urgency_for(signal.severity, severity)
        reason = f"the sender now says {signal.severity}"
        _worsen(incident, severity=severity, urgency=urgency, reason=reason, origin_name=origin_name, now=now)
    return Outcome("repeated", f"Seen {alert.count} times.", incident.pk, alert.pk)


def _worsen(
    incident: Incident, *, severity: int, urgency: str, reason: str, origin_name: str, now: datetime
) -> None:
    """An alert can make an incident worse, never better: that is a person's decision."""
    severity = min(severity, incident.severity)
    urgency = "high" if "high" in (urgency, incident.urgency) else "low"
    change_severity(
        incident, severity=severity, urgency=urgency, by=None, by_name=origin_name, reason=reason, now=now
    )


def _clear(incident: Incident, alert: Alert, *, origin_name: str, now: datetime) -> Outcome:
    alert.status = AlertStatus.RESOLVED
    alert.resolved_at = now
    alert.save(update_fields=["status", "resolved_at"])
    _count(incident, alerts=0, events=1, now=now)
    still = queries.firing_alert_count(incident)
    if still == 0:
        resolve(
            incident_id=incident.pk, by=None, by_name=origin_name, note="the sender says it is over", now=now
        )
        return Outcome("resolved", f"{incident.ref} is resolved.", incident.pk, alert.pk)
    timeline.record(
        incident, Kind.ALERT_RESOLVED, at=now, actor_name=origin_name,
        text=f"{alert.title[:300]} cleared, {still} still firing", data={"alert": alert.pk, "still_firing": still},
    )  # fmt: skip
    return Outcome(
        "resolved", f"The alert cleared; {still} of {incident.ref} still fire.", incident.pk, alert.pk
    )
