"""The timer of silence."""

from datetime import datetime

from integrations.heartbeats import transitions
from integrations.models import Watch
from timers import registry
from timers.models import Timer


def _lock(timer: Timer) -> Watch | None:
    return (
        Watch.objects.select_for_update(of=("self",), no_key=True)
        .select_related("service")
        .filter(pk=int(timer.key))
        .first()
    )


@registry.handler(transitions.SILENT, lock=_lock)
def silent(timer: Timer, now: datetime, watch: Watch | None) -> None:
    if watch is not None:
        transitions.look(watch, now=now)
