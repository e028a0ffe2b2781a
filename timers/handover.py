"""Telling Celery about a timer. A hint only: losing it costs seconds, never the deadline."""

import time
from datetime import datetime

import structlog
from celery import current_app

from timers.registry import handler_for

log = structlog.get_logger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 4.0
"""Seconds without asking after a failure, doubled with each further one: a broker that hangs costs a time-out each."""

_silent_until = 0.0
_pause = 0.0


def hand_over(*, timer_id: int, kind: str, due_at: datetime) -> bool:
    """Publish the hint. False when the broker does not answer; then it is not asked again for a while."""
    handler = handler_for(kind)
    return publish("timers.fire", [timer_id], queue=handler.queue if handler else "timers", eta=due_at)


def publish(task: str, args: list, *, queue: str, eta: datetime | None = None) -> bool:
    """Send a task by name without ever holding up the caller for long. False: not sent."""
    global _silent_until, _pause
    if time.monotonic() < _silent_until:
        return False
    try:
        current_app.send_task(task, args=args, queue=queue, eta=eta, retry=False, ignore_result=True)
    except Exception as error:  # the broker's client raises half a dozen unrelated types
        _pause = min(_pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
        _silent_until = time.monotonic() + _pause
        log.warning("broker_does_not_answer", error=repr(error))
        return False
    _pause = 0.0
    return True
