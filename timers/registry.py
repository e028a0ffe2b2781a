"""Which function answers which kind of timer, and what the timekeeper does on each round. `manage.py subscribers` lists it."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

from timers.models import Timer

QUEUES = ("timers", "deliver", "default")

Handle = Callable[..., None]
Lock = Callable[[Timer], object]
Sweep = Callable[[datetime], object]


@dataclass(frozen=True)
class Handler:
    kind: str
    handle: Handle
    queue: str
    lock: Lock | None
    bulk: bool


fired_by: ContextVar[str] = ContextVar("fired_by", default="")
"""celery or timekeeper, while a timer fires and its effects on commit run; the timekeeper must not be held up."""

_handlers: dict[str, Handler] = {}
_sweeps: list[Sweep] = []


def handler(
    kind: str, *, queue: str = "timers", lock: Lock | None = None, bulk: bool = False
) -> Callable[[Handle], Handle]:
    """Register what firing a timer of `kind` does, inside the transaction that removes the row.

    The handler may set the same timer again. If it raises, the row stays, with back-off and the error.
    `lock` takes the lock of what the timer belongs to (its incident, its notification) before the timer's own row,
    which is the order in which transitions take them; without it, a handler that locks more than its timer
    can deadlock with a transition that replaces the timer.
    `bulk`: thousands may be due at once, and none of them is in a hurry; all others come first.
    The handler is called with (timer, now), and with what `lock` returned if there is one.
    """
    if queue not in QUEUES:
        raise ValueError(f"no queue {queue!r}")

    def register(handle: Handle) -> Handle:
        if kind in _handlers and _handlers[kind].handle is not handle:
            raise ValueError(f"two handlers for timers of kind {kind!r}")
        _handlers[kind] = Handler(kind=kind, handle=handle, queue=queue, lock=lock, bulk=bulk)
        return handle

    return register


def sweep(function: Sweep) -> Sweep:
    """Have the timekeeper call `function(now)` about once a second. Cheap when there is nothing to do."""
    if function not in _sweeps:
        _sweeps.append(function)
    return function


def handler_for(kind: str) -> Handler | None:
    return _handlers.get(kind)


def handlers() -> list[Handler]:
    return sorted(_handlers.values(), key=lambda each: each.kind)


def bulk_kinds() -> list[str]:
    return [each.kind for each in handlers() if each.bulk]


def sweeps() -> list[Sweep]:
    return list(_sweeps)
