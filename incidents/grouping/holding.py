"""Alerts that page nobody for now: because of maintenance, because a person silenced them, or because a person ended
the incident while they fired. They are kept, their ends are heard, and what still fires is looked at again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from catalog.models import Service
from incidents.grouping import queries, rules
from incidents.models import Alert, HeldAlert, HeldStatus, HeldWhy
from timers.transitions import cancel_timer, set_timer

RELEASE = "alerts.release"
"""Kind of the timer at which a held alert is looked at again; its key is the row's id."""


@dataclass(frozen=True, kw_only=True)
class Hold:
    why: str
    until: datetime
    words: str
    maintenance_id: int | None = None


def reason_to_hold(
    *, service: Service, last: Alert | None, alert: Mapping[str, Any], now: datetime
) -> Hold | None:
    """`last`: what this sender said last under the same key."""
    if last is not None and last.muted_until is not None and last.muted_until > now:
        by = f" by {last.muted_by}" if last.muted_by_id else ""
        words = f"Silenced{by} until {_clock(last.muted_until)}."
        return Hold(why=HeldWhy.MUTED, until=last.muted_until, words=words)
    if last is not None and last.closed_by_hand and last.guard_until is not None and last.guard_until > now:
        words = f"INC-{last.incident_id} was resolved while it fired: quiet until {_clock(last.guard_until)}."
        return Hold(why=HeldWhy.GUARD, until=last.guard_until, words=words)
    window = rules.holding(queries.windows_of(service, now=now), alert=alert, now=now)
    if window is None:
        return None
    words = f"Maintenance “{window.name}” until {_clock(window.ends_at)}."
    return Hold(why=HeldWhy.MAINTENANCE, until=window.ends_at, words=words, maintenance_id=window.id)


def _clock(at: datetime) -> str:
    return f"{at.astimezone(timezone.get_default_timezone()):%Y-%m-%d %H:%M %Z}"


def keep(
    hold: Hold, *, service: Service, origin: str, origin_name: str, signal: dict[str, Any],
    grouping: dict[str, Any] | None, now: datetime, count: int,
) -> HeldAlert:  # fmt: skip
    """Remember the newest word of it. Its timer is set for a hold that ends by itself; maintenance ends with its own."""
    row = HeldAlert.objects.filter(
        origin=origin, dedup_key=signal["dedup_key"], status=HeldStatus.FIRING
    ).first() or HeldAlert(origin=origin, dedup_key=signal["dedup_key"], first_seen_at=now, count=0)
    moved = row.pk is None or (row.why, row.until) != (hold.why, hold.until)
    row.service, row.origin_name = service, origin_name[:120]
    row.why, row.until, row.maintenance_id = hold.why, hold.until, hold.maintenance_id
    row.title = (signal["title"] or signal["dedup_key"])[:1024]
    row.severity, row.signal, row.grouping = signal["severity"], signal, grouping
    row.count += count
    row.last_seen_at = now
    row.save()
    if moved and hold.why != HeldWhy.MAINTENANCE:
        set_timer(kind=RELEASE, key=str(row.pk), due_at=hold.until, now=now)
    elif moved:
        cancel_timer(kind=RELEASE, key=str(row.pk))
    return row


def hear(*, origin: str, dedup_key: str, action: str, now: datetime) -> HeldAlert | None:
    """The sender says that a held alert cleared, or that somebody has it. None: there is no such alert."""
    row = HeldAlert.objects.filter(origin=origin, dedup_key=dedup_key, status=HeldStatus.FIRING).first()
    if action == "resolve":
        # What fires again from now on is another firing, which the person who ended the last one has not seen.
        Alert.objects.filter(
            origin=origin, dedup_key=dedup_key, closed_by_hand=True, guard_until__gt=now
        ).update(guard_until=None)
    if row is None:
        return None
    if action == "acknowledge":
        row.acknowledged_at = row.acknowledged_at or now
        row.save(update_fields=["acknowledged_at"])
    elif action == "resolve":
        end(row, status=HeldStatus.CLEARED, now=now)
    return row


def end(row: HeldAlert, *, status: str, now: datetime, incident_id: int | None = None) -> None:
    row.status, row.ended_at, row.incident_id = status, now, incident_id
    row.save(update_fields=["status", "ended_at", "incident"])
    cancel_timer(kind=RELEASE, key=str(row.pk))
