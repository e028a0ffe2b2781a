"""Telling Celery about a timer. A hint only: losing it costs seconds, never the deadline."""

import time
from datetime import datetime

import structlog
from celery import current_app

from timers.registry import handler_for

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 1.0
_silent_until = 0.0


def hand_over(*, timer_id: int, kind: str, due_at: datetime) -> bool:
    """Publish the hint. False when the broker does not answer; then it is not asked again for a second."""
    handler = handler_for(kind)
    return publish("timers.fire", [timer_id], queue=handler.queue if handler else "timers", eta=due_at)


def publish(task: str, args: list, *, queue: str, eta: datetime | None = None) -> bool:
    """Send a task by name without ever holding up the caller for long. False: not sent."""
    global _silent_until
    if time.monotonic() < _silent_until:
        return False
    try:
        current_app.send_task(task, args=args, queue=queue, eta=eta, retry=False, ignore_result=True)
    except Exception as error:  # the broker's client raises half a dozen unrelated types
        _silent_until = time.monotonic() + _PAUSE_SECONDS
        log.warning("broker_does_not_answer", error=repr(error))
        return False
    return True
