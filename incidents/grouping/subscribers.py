"""The deadlines of alerts and of maintenance."""

from datetime import datetime, timedelta

from core.words import duration
from incidents import timeline
from incidents.alerts import SILENCE, STABLE, clear
from incidents.grouping import holding, queries, rules, tier0, transitions
from incidents.models import Alert, AlertStatus, Incident, Kind, Maintenance, TimelineEntry
from incidents.transitions import lock_incident
from timers import registry
from timers.models import Timer
from timers.transitions import set_timer


@timeline.on(Kind.ACKNOWLEDGED)
def watch_for_old_news(incident: Incident, entry: TimelineEntry) -> None:
    """From so long after the acknowledgement on, a new trigger pages again."""
    if incident.alert_count:
        hours = queries.settings_of(incident.service).repage_hours
        if hours or incident.repage_at is not None:
            incident.repage_at = entry.at + timedelta(hours=hours) if hours else None
            incident.save(update_fields=["repage_at"])


# --- maintenance -------------------------------------------------------------------------------------------------


def _lock_maintenance(timer: Timer) -> Maintenance | None:
    return Maintenance.objects.select_for_update(of=("self",), no_key=True).filter(pk=int(timer.key)).first()


@registry.handler(transitions.START, lock=_lock_maintenance)
def start(timer: Timer, now: datetime, maintenance: Maintenance | None) -> None:
    if maintenance is not None and maintenance.fence == timer.fence:
        transitions.begin_maintenance(maintenance, now=now)


@registry.handler(transitions.END, lock=_lock_maintenance)
def end(timer: Timer, now: datetime, maintenance: Maintenance | None) -> None:
    if maintenance is not None and maintenance.fence == timer.fence:
        transitions.finish_maintenance(maintenance, now=now)


@registry.handler(holding.RELEASE)
def release(timer: Timer, now: datetime) -> None:
    transitions.release(held_id=int(timer.key), now=now)


# --- alerts ------------------------------------------------------------------------------------------------------


def _lock_incident_of(timer: Timer) -> Incident | None:
    incident_id = Alert.objects.filter(pk=int(timer.key)).values_list("incident_id", flat=True).first()
    return lock_incident(incident_id) if incident_id else None


def _firing(timer: Timer, incident: Incident | None) -> Alert | None:
    if incident is None or not incident.is_open:
        return None
    return Alert.objects.filter(pk=int(timer.key), incident=incident, status=AlertStatus.FIRING).first()


@registry.handler(SILENCE, lock=_lock_incident_of)
def silent(timer: Timer, now: datetime, incident: Incident | None) -> None:
    """No news for so long: it is over. A repeat moves no timer, so look when the last one was."""
    alert = _firing(timer, incident)
    if alert is None:
        return
    minutes = queries.settings_of(alert.service).auto_resolve_minutes
    if not minutes:
        return
    due_at = alert.last_seen_at + timedelta(minutes=minutes)
    if due_at > now:
        set_timer(kind=SILENCE, key=timer.key, due_at=due_at, now=now)
        return
    note = f"no news of it for {duration(timedelta(minutes=minutes))}"
    clear(incident, alert, by_name="Auto-resolve", note=note, now=now)


@registry.handler(STABLE, lock=_lock_incident_of)
def settled(timer: Timer, now: datetime, incident: Incident | None) -> None:
    alert = _firing(timer, incident)
    if alert is None or alert.flapping_since is None:
        return
    stable = timedelta(minutes=queries.settings_of(alert.service).flap_stable_minutes)
    found = rules.settled(
        held_clear_at=alert.held_clear_at,
        seen_count=timer.fence,
        count=alert.flap_count,
        stable=stable,
        now=now,
    )
    if found.again_at is not None:
        set_timer(kind=STABLE, key=timer.key, due_at=found.again_at, fence=alert.flap_count, now=now)
        return
    times = f"after it had opened {alert.flap_count} times"
    if found.over:
        words = f"{alert.title[:200]} has stayed cleared for {duration(stable)}, {times}"
    else:
        words = f"{alert.title[:200]} has fired steadily for {duration(stable)}, {times}"
        alert.flapping_since = None
        alert.save(update_fields=["flapping_since"])
    timeline.record(
        incident, Kind.FLAPPING, at=now, text=words, data={"alert": alert.pk, "times": alert.flap_count}
    )
    if found.over:
        clear(incident, alert, by_name="Muster", note=f"cleared, and stable for {duration(stable)}", now=now)


PRUNE_EVERY = timedelta(hours=1)
_prune_at: datetime | None = None


@registry.sweep
def prune(now: datetime) -> None:
    global _prune_at
    if _prune_at is None or now >= _prune_at:
        transitions.prune(now=now)
        _prune_at = now + PRUNE_EVERY


tier0.register()
