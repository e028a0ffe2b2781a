"""The process that sees to it that every deadline is met, with Celery's help or without it."""

import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from timers import queries, registry, transitions
from timers.models import Firing, Heartbeat

log = structlog.get_logger(__name__)

ROUND_SECONDS = 1.0
BEAT_EVERY = timedelta(seconds=5)
PRUNE_EVERY = timedelta(hours=1)
KEEP_FIRINGS = timedelta(days=30)
LOCK_MS = 2000
"""So long a timekeeper waits for a lock. One transaction that hangs somewhere must hold up its own timer only."""


class Timekeeper:
    """Any number may run: rows are claimed, so they share the work."""

    def __init__(self, *, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.name = f"timekeeper {socket.gethostname()} {os.getpid()}"
        self.stopping = threading.Event()
        self.beat_at: datetime | None = None
        self.pruned_at: datetime | None = None

    def run(self) -> None:
        """Until `stopping` is set. A database that is away is waited for; nothing is lost meanwhile."""
        while not self.stopping.is_set():
            began = time.monotonic()
            pause = ROUND_SECONDS
            try:
                close_old_connections()
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{LOCK_MS}ms"])
                pause = self.round(self.clock())
            except (DatabaseError, InterfaceError) as error:
                log.warning("timekeeper_database_away", error=repr(error))
            except Exception:
                log.exception("timekeeper_round_failed")
            self.stopping.wait(max(0.0, pause - (time.monotonic() - began)))

    def round(self, now: datetime) -> float:
        """One round. Seconds until the next: shorter when timers must be fired from here because the broker is away."""
        _, broker_answers = transitions.hand_over_due_soon(now=now)
        transitions.fire_due(now=now, by="timekeeper", patient=broker_answers)
        for sweep in registry.sweeps():
            try:
                sweep(now)
            except (DatabaseError, InterfaceError):
                raise
            except Exception:
                log.exception("sweep_failed", sweep=f"{sweep.__module__}.{sweep.__qualname__}")
        self._keep_house(now)
        if broker_answers:
            return ROUND_SECONDS
        due_at = queries.next_due_at()
        if due_at is None:
            return ROUND_SECONDS
        return min(ROUND_SECONDS, max(0.02, (due_at - self.clock()).total_seconds()))

    def _keep_house(self, now: datetime) -> None:
        if self.beat_at is None or now - self.beat_at >= BEAT_EVERY:
            Heartbeat.objects.update_or_create(name=self.name, defaults={"beat_at": now})
            self.beat_at = now
        if self.pruned_at is None or now - self.pruned_at >= PRUNE_EVERY:
            Firing.objects.filter(fired_at__lt=now - KEEP_FIRINGS).delete()
            Heartbeat.objects.filter(beat_at__lt=now - timedelta(days=1)).delete()
            self.pruned_at = now
