"""What the timers of schedules do."""

from datetime import datetime

from oncall import notices, swaps
from oncall.models import Schedule, SwapRequest
from timers.models import Timer
from timers.registry import handler


def _lock_schedule(timer: Timer) -> Schedule | None:
    return Schedule.objects.select_for_update(no_key=True).filter(pk=int(timer.key)).first()


def _lock_swap(timer: Timer) -> SwapRequest | None:
    return swaps.lock(int(timer.key))


@handler(notices.KIND, queue="default", lock=_lock_schedule)
def duty_notices(timer: Timer, now: datetime, schedule: Schedule | None) -> None:
    """Somebody is to be told of a shift, or the schedule changed, or a day has passed."""
    if schedule is not None:
        notices.give(schedule, now=now)


@handler(swaps.EXPIRY, queue="default", lock=_lock_swap)
def swap_expires(timer: Timer, now: datetime, swap: SwapRequest | None) -> None:
    if swap is not None:
        swaps.expire(swap, now=now)
