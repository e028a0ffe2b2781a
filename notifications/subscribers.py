"""What the timers of this app do."""

from datetime import datetime

from django.db import transaction

from notifications import hooks, queries, readiness, sending, transitions  # noqa: F401  readiness registers itself
from timers import network
from timers.models import Timer
from timers.registry import handler


def _lock(timer: Timer) -> object:
    # Whoever repairs a lost timer need not know what we keep in it.
    notification_id = timer.payload.get("notification") or queries.notification_id_of(int(timer.key))
    return transitions.lock(notification_id)


@handler(transitions.DELIVER, queue="deliver", lock=_lock)
def deliver(timer: Timer, now: datetime, _notification: object) -> None:
    """A message is due, its retry is, or the worker that had it is taken for dead."""
    if network.queues():
        queued = transitions.queue_locked(delivery_id=int(timer.key), now=now)
        if queued is not None:
            transaction.on_commit(lambda: sending.dispatch_later(queued, now=now))
        return
    claimed = transitions.claim_locked(delivery_id=int(timer.key), now=now)
    if claimed is not None:
        transaction.on_commit(lambda: sending.dispatch(claimed))


@handler(transitions.RESULT, queue="default")
def delivery_result(timer: Timer, now: datetime) -> None:
    delivery = queries.delivery_to_send(timer.payload["delivery"])
    if delivery is None:
        return
    for hook in hooks.hooks_for(timer.payload["result"]):
        hook(delivery, now)
