import time

from celery import shared_task
from django.utils import timezone

from integrations import hints, inbox

# Escalations are fired by the same processes: a storm of alerts must not keep them waiting.
LONGEST_SECONDS = 0.25


@shared_task(name=hints.TASK, ignore_result=True)
def drain(integration_id: int) -> None:
    """Until nothing waits, or until it is somebody else's turn."""
    hints.begun(integration_id)
    stop_at = time.monotonic() + LONGEST_SECONDS
    refused = 0
    while time.monotonic() < stop_at:
        handled = inbox.drain(integration_id=integration_id, now=timezone.now())
        if handled is None:
            # Another worker is at it; it may have looked just before our event was stored, so look once more.
            refused += 1
            if refused == 4:
                return
            time.sleep(0.05)
        elif handled == 0:
            return
    hints.hint(integration_id)
