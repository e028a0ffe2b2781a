"""Senders that have to ping: adding and changing them, their pings, and their silence."""

import re
import secrets
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts.models import digest
from catalog.models import Service
from core.errors import Invalid, Missing
from core.words import duration
from incidents.alerts import SEVERITIES, AlertSignal, apply_signal
from integrations.heartbeats import rules
from integrations.heartbeats.directory import watches
from integrations.models import HeartbeatState, Watch
from timers.transitions import cancel_timer, set_timer

SILENT = "heartbeat.silent"
"""Kind of the timer that looks whether a sender is silent; its key is the row's id. A ping moves no timer."""

PING_EVERY = timedelta(seconds=1)
"""Pings that come closer than this to the one before are not written."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:@-]{0,99}")


def new_key() -> str:
    return secrets.token_hex(16)


@transaction.atomic
def add(
    *, name: str, service: Service, interval_seconds: int, now: datetime, grace_seconds: int = 60,
    severity: str = "error", description: str = "", key: str = "",
) -> tuple[Watch, str]:  # fmt: skip
    """The watch and its key, which nobody can read again. It is watched from its first ping on."""
    key = key or new_key()
    watch = Watch(state_since=now, key_digest=digest(key), key_hint=key[-4:])
    _write(
        watch, name=name, service=service, interval_seconds=interval_seconds, grace_seconds=grace_seconds,
        severity=severity, description=description,
    )  # fmt: skip
    transaction.on_commit(watches.forget)
    return watch, key


@transaction.atomic
def change(
    *, watch_id: int, name: str, service: Service, interval_seconds: int, grace_seconds: int, severity: str,
    description: str, now: datetime,
) -> Watch:  # fmt: skip
    watch = lock(watch_id)
    _write(
        watch, name=name, service=service, interval_seconds=interval_seconds, grace_seconds=grace_seconds,
        severity=severity, description=description,
    )  # fmt: skip
    if watch.state == HeartbeatState.UP:
        _arm(watch, now=now)
    transaction.on_commit(watches.forget)
    return watch


def _write(
    watch: Watch, *, name: str, service: Service, interval_seconds: int, grace_seconds: int, severity: str,
    description: str,
) -> None:  # fmt: skip
    wrong: dict[str, list[str]] = {}
    name = name.strip()
    if not _NAME.fullmatch(name):
        wrong["name"] = ["Up to 100 letters, digits, blanks and . _ : @ -. It stands in an address."]
    low, high = int(rules.SHORTEST.total_seconds()), int(rules.LONGEST.total_seconds())
    if not low <= interval_seconds <= high:
        wrong["interval_seconds"] = [f"From {low} seconds to 31 days."]
    if not 0 <= grace_seconds <= high:
        wrong["grace_seconds"] = ["From 0 seconds to 31 days."]
    if severity not in SEVERITIES:
        wrong["severity"] = [f"One of {', '.join(SEVERITIES)}."]
    if len(description) > 300:
        wrong["description"] = ["At most 300 characters."]
    if wrong:
        raise Invalid("The heartbeat was not saved.", fields=wrong)
    watch.name, watch.service, watch.description = name, service, description.strip()
    watch.interval_seconds, watch.grace_seconds, watch.severity = interval_seconds, grace_seconds, severity
    try:
        with transaction.atomic():
            watch.save()
    except IntegrityError:
        raise Invalid(
            f"There is a heartbeat called {name}.", fields={"name": ["Another one has this name."]}
        ) from None


def lock(watch_id: int) -> Watch:
    found = (
        Watch.objects.select_for_update(of=("self",), no_key=True)
        .select_related("service")
        .filter(pk=watch_id)
        .first()
    )
    if found is None:
        raise Missing("There is no such heartbeat.")
    return found


@transaction.atomic
def rotate_key(*, watch_id: int) -> tuple[Watch, str]:
    watch = lock(watch_id)
    key = new_key()
    watch.key_digest, watch.key_hint = digest(key), key[-4:]
    watch.save(update_fields=["key_digest", "key_hint"])
    transaction.on_commit(watches.forget)
    return watch, key


@transaction.atomic
def pause(*, watch_id: int, now: datetime) -> Watch:
    """Nobody is paged for its silence. An incident that it has opened ends. Again changes nothing."""
    watch = lock(watch_id)
    if watch.state != HeartbeatState.PAUSED:
        _speak(watch, "resolve", now=now)
        _become(watch, HeartbeatState.PAUSED, now=now)
        cancel_timer(kind=SILENT, key=str(watch.pk))
    return watch


@transaction.atomic
def unpause(*, watch_id: int, now: datetime) -> Watch:
    """It is watched again from its next ping on."""
    watch = lock(watch_id)
    if watch.state == HeartbeatState.PAUSED:
        _become(watch, HeartbeatState.NEW, now=now)
    return watch


@transaction.atomic
def remove(*, watch_id: int, now: datetime) -> None:
    watch = lock(watch_id)
    _speak(watch, "resolve", now=now)
    cancel_timer(kind=SILENT, key=str(watch.pk))
    watch.delete()
    transaction.on_commit(watches.forget)


# --- pings -------------------------------------------------------------------------------------------------------


def ping(*, watch_id: int, now: datetime) -> None:
    """One short statement for who is alive; only the first ping and the first after a silence are more."""
    alive = Watch.objects.filter(pk=watch_id, state=HeartbeatState.UP)
    close = alive.filter(Q(last_ping_at__isnull=True) | Q(last_ping_at__lt=now - PING_EVERY))
    if close.update(last_ping_at=now) or alive.exists():
        return
    _revive(watch_id=watch_id, now=now)


@transaction.atomic
def _revive(*, watch_id: int, now: datetime) -> None:
    watch = (
        Watch.objects.select_for_update(of=("self",), no_key=True)
        .select_related("service")
        .filter(pk=watch_id)
        .first()
    )
    if watch is None:
        return
    watch.last_ping_at = max(now, watch.last_ping_at or now)
    watch.save(update_fields=["last_ping_at"])
    if watch.state == HeartbeatState.SILENT:
        _speak(watch, "resolve", now=now)
    if watch.state in (HeartbeatState.SILENT, HeartbeatState.NEW):
        _become(watch, HeartbeatState.UP, now=now)
        _arm(watch, now=now)


def _arm(watch: Watch, *, now: datetime) -> None:
    due_at = rules.silent_at(
        last_ping_at=watch.last_ping_at or now, interval_seconds=watch.interval_seconds,
        grace_seconds=watch.grace_seconds,
    )  # fmt: skip
    set_timer(kind=SILENT, key=str(watch.pk), due_at=max(due_at, now), now=now)


def _become(watch: Watch, state: str, *, now: datetime) -> None:
    watch.state, watch.state_since = state, now
    watch.save(update_fields=["state", "state_since"])


def look(watch: Watch, *, now: datetime) -> None:
    """Its time is up, unless it has pinged since the timer was set. For the timer, which holds the lock."""
    if watch.state != HeartbeatState.UP or watch.last_ping_at is None:
        return
    silent_at = rules.silent_at(
        last_ping_at=watch.last_ping_at, interval_seconds=watch.interval_seconds, grace_seconds=watch.grace_seconds
    )  # fmt: skip
    if silent_at > now:
        set_timer(kind=SILENT, key=str(watch.pk), due_at=silent_at, now=now)
        return
    _become(watch, HeartbeatState.SILENT, now=now)
    _speak(watch, "trigger", now=now)


def _speak(watch: Watch, action: str, *, now: datetime) -> None:
    """To incidents it is a sender like others."""
    every = duration(timedelta(seconds=watch.interval_seconds))
    details = {
        "heartbeat": watch.name, "expected_every": every,
        "last_ping_at": watch.last_ping_at.isoformat() if watch.last_ping_at else "never",
    }  # fmt: skip
    if watch.description:
        details["description"] = watch.description
    silence = duration(now - watch.last_ping_at) if watch.last_ping_at else "a long time"
    signal = AlertSignal(
        action=action, dedup_key="silence", severity=watch.severity, source=watch.name, details=details,
        title=f"{watch.name} is silent: no heartbeat for {silence}, expected every {every}",
    )  # fmt: skip
    apply_signal(
        origin=watch.origin,
        origin_name=f"Heartbeat {watch.name}"[:120],
        service=watch.service,
        signal=signal,
        now=now,
    )
