"""Set, cancel and fire. A deadline exists exactly as long as its row."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q

from timers import rules
from timers.handover import hand_over
from timers.models import Firing, Timer
from timers.registry import bulk_kinds, fired_by, handler_for

log = structlog.get_logger(__name__)


def set_timer(
    *, kind: str, key: str, due_at: datetime, now: datetime, fence: int = 0, payload: dict | None = None
) -> None:
    """Set or replace the timer of this kind and key. It exists when the surrounding transaction commits."""
    set_timers([Timer(kind=kind, key=key, due_at=due_at, fence=fence, payload=payload or {})], now=now)


def set_timers(timers: Iterable[Timer], *, now: datetime) -> None:
    """Like set_timer for each, in one statement. Of a kind and key that is given twice the last one counts.

    The broker is given the first of them when the transaction commits. So that whoever set a thousand does not wait for
    it a thousand times, the timekeeper gives it the rest, within a second.
    """
    # In one order, so that two who set the same timers do not wait for each other.
    rows = [row for _, row in sorted({(timer.kind, timer.key): timer for timer in timers}.items())]
    close = [timer for timer in rows if timer.due_at <= now + rules.HORIZON][: rules.HANDED_ON_COMMIT]
    for timer in rows:
        timer.first_due_at, timer.handed_at = timer.due_at, None
    for timer in close:
        timer.handed_at = now  # so the timekeeper need not do it as well
    Timer.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["kind", "key"],
        update_fields=["due_at", "first_due_at", "fence", "payload", "handed_at", "attempts", "last_error"],
    )
    if close:
        transaction.on_commit(lambda: _hand_over_or_return(close))


def _hand_over_or_return(timers: Iterable[Timer]) -> None:
    refused = [
        timer for timer in timers if not hand_over(timer_id=timer.pk, kind=timer.kind, due_at=timer.due_at)
    ]
    if refused:
        # Who was set anew meanwhile has been given again, or will be.
        unchanged = [Q(pk=timer.pk, due_at=timer.due_at) for timer in refused]
        Timer.objects.filter(reduce(or_, unchanged)).update(handed_at=None)


def cancel_timer(*, kind: str, key: str) -> bool:
    """False when there was none, which is not an error: it may just have fired."""
    return cancel_timers(kind=kind, keys=[key]) > 0


def cancel_timers(*, kind: str, keys: Iterable[str]) -> int:
    return Timer.objects.filter(kind=kind, key__in=list(keys)).delete()[0]


def fire(*, timer_id: int, now: datetime, by: str) -> bool:
    """Fire one timer if it is due and nobody else has. True when its handler ran, whether or not it succeeded.

    Safe to call any number of times, from any number of processes: the row is removed in the transaction of its effect.
    """
    seen = Timer.objects.filter(pk=timer_id).first()
    if seen is None or seen.due_at > now + rules.EARLY:
        return False
    handler = handler_for(seen.kind)
    if handler is None:
        return _keep(seen, now=now, error=LookupError(f"no handler for timers of kind {seen.kind!r}"))
    who = fired_by.set(by)
    try:
        with transaction.atomic():
            locked = (handler.lock(seen),) if handler.lock is not None else ()
            # Deleting waits for whoever has the row and then finds it gone; a timer that was set anew is not ours.
            mine = Timer.objects.filter(pk=timer_id, due_at=seen.due_at, fence=seen.fence)
            if mine.delete()[0] == 0:
                return False
            moment = max(now, seen.due_at)
            handler.handle(seen, moment, *locked)
            Firing.objects.create(
                kind=seen.kind, key=seen.key, due_at=seen.first_due_at, fired_at=moment, by=by,
                lateness_ms=round((moment - seen.first_due_at) / timedelta(milliseconds=1)),
            )  # fmt: skip
    except (OperationalError, InterfaceError) as error:
        # A deadlock or a lost connection: the row is untouched, and soon overdue, so the timekeeper tries again.
        # What the database refuses (a constraint, a value) it will refuse again: that is the handler's fault, below.
        log.warning("timer_fire_interrupted", kind=seen.kind, key=seen.key, error=repr(error))
        raise
    except Exception as error:
        log.exception("timer_handler_failed", kind=seen.kind, key=seen.key)
        return _keep(seen, now=now, error=error)
    finally:
        fired_by.reset(who)
    return True


def _keep(timer: Timer, *, now: datetime, error: Exception) -> bool:
    attempts = timer.attempts + 1
    Timer.objects.filter(pk=timer.pk, due_at=timer.due_at).update(
        due_at=now + rules.backoff(attempts), attempts=attempts, last_error=repr(error)[:2000], handed_at=None
    )
    return True


def fire_due(*, now: datetime, by: str, patient: bool = False, limit: int = 500) -> int:
    """Fire what is due in this process, oldest first, and of bulk kinds a few after all others. How many handlers ran.

    `patient`: only what Celery has had long enough.
    """
    patience, bulk_patience = (
        (rules.PATIENCE, rules.BULK_PATIENCE) if patient else (timedelta(0), timedelta(0))
    )
    timers = Timer.objects.order_by("due_at").values_list("pk", flat=True)
    bulk = timers.filter(kind__in=bulk_kinds(), due_at__lte=now - bulk_patience)
    due = timers.exclude(kind__in=bulk_kinds()).filter(due_at__lte=now - patience)
    fired = 0
    for timer_id in [*due[:limit], *bulk[: rules.BULK_AT_ONCE]]:
        try:
            fired += fire(timer_id=timer_id, now=now, by=by)
        except (OperationalError, InterfaceError):
            if transaction.get_connection().in_atomic_block:
                raise
            transaction.get_connection().close_if_unusable_or_obsolete()
    return fired


def hand_over_due_soon(*, now: datetime, limit: int = 1000) -> tuple[int, bool]:
    """Give Celery the timers of the next seconds that it does not have yet.

    How many were given, and whether the broker answered. Rows that it did not take are free again at once.
    """
    with transaction.atomic():
        timers = (
            Timer.objects.select_for_update(skip_locked=True, no_key=True)
            .filter(handed_at__isnull=True, due_at__lte=now + rules.HORIZON)
            .order_by("due_at")
            .values_list("pk", "kind", "due_at")
        )
        bulk = timers.filter(kind__in=bulk_kinds())
        soon = [*timers.exclude(kind__in=bulk_kinds())[:limit], *bulk[: rules.BULK_AT_ONCE]]
        if not soon:
            return 0, True
        Timer.objects.filter(pk__in=[pk for pk, _, _ in soon]).update(handed_at=now)
    refused = [pk for pk, kind, due_at in soon if not hand_over(timer_id=pk, kind=kind, due_at=due_at)]
    if refused:
        Timer.objects.filter(pk__in=refused).update(handed_at=None)
    return len(soon) - len(refused), not refused
