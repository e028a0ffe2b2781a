import time
from datetime import datetime

from celery import shared_task
from django.utils import timezone

from integrations import hints, inbox

# Escalations are fired by the same processes: a storm of alerts must not keep them waiting.
LONGEST_SECONDS = 0.25

FLOOD = 50
"""A task that found so many events, and came to their end, was in the middle of a flood …"""
PAUSE_SECONDS = 0.2
"""… whose next events are taken together after this pause: a hundred repeats cost little more than one."""


@shared_task(name=hints.TASK, ignore_result=True)
def drain(integration_id: int, due_at: str = "") -> None:
    """Until nothing waits, or until it is somebody else's turn.

    One that finds another worker at the inbox leaves it at once, or a flood would occupy every worker: who drains
    looks again after letting go, so what was stored meanwhile is found.
    """
    if due_at:
        hints.late(timezone.now() - datetime.fromisoformat(due_at))
    stop_at = time.monotonic() + LONGEST_SECONDS
    found = 0
    while time.monotonic() < stop_at:
        turn = inbox.drain(integration_id=integration_id, now=timezone.now())
        if turn is None:
            return
        found += turn.handled
        if turn.left:  # different alerts take their time: a pause would only make them later
            continue
        if found >= FLOOD:
            hints.again(integration_id, after_seconds=PAUSE_SECONDS)
            return
        # What is stored from now on makes a hint of its own; what was stored before is seen by this look.
        hints.done(integration_id)
        if not inbox.waits(integration_id=integration_id, now=timezone.now()):
            return
    hints.again(integration_id)
