"""The timekeeper looks after inboxes: nothing that was accepted waits for a hint that got lost."""

import time
from datetime import datetime, timedelta

from django.utils import timezone

from integrations import hints, inbox, queries, transitions
from integrations.bridge import subscribers as bridge_subscribers  # noqa: F401  registers itself
from integrations.bridge import transitions as bridges
from integrations.heartbeats import subscribers as heartbeat_subscribers  # noqa: F401  registers itself
from timers.registry import sweep

HINT_AFTER = timedelta(seconds=1)
PATIENCE = timedelta(seconds=3)
LONGEST_SECONDS = 0.3
PRUNE_EVERY = timedelta(minutes=1)
PRUNE_AGAIN = timedelta(seconds=5)  # when there was more than one batch: a flood may leave millions of rows

_prune_at: datetime | None = None


@sweep
def sweep_inboxes(now: datetime) -> None:
    """Hand over what waits longer than a second; take it from here when no worker comes."""
    told, stop_at = True, None
    for integration_id, waits_since in queries.waiting_inboxes(before=now - HINT_AFTER):
        told = told and hints.hint(integration_id)  # a broker that hangs is asked once in a round
        if told and waits_since > now - PATIENCE:
            continue
        # Counted from here: waiting for a broker that hangs must not use up the time for the work.
        stop_at = stop_at or time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < stop_at:
            turn = inbox.drain(integration_id=integration_id, now=timezone.now())
            if turn is None or not turn.handled:
                break


@sweep
def prune_ledger(now: datetime) -> None:
    global _prune_at
    if _prune_at is None or now >= _prune_at:
        deleted = transitions.prune(now=now)
        bridges.prune(now=now)
        _prune_at = now + (PRUNE_AGAIN if deleted >= transitions.PRUNE_BATCH else PRUNE_EVERY)
