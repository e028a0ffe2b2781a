"""Where a timer's slow work runs, after its commit: in the worker that fired it, but not in the timekeeper, which has
deadlines to meet while another server thinks."""

from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

import structlog
from django.db import connection

from timers.registry import fired_by

log = structlog.get_logger(__name__)

_lanes: dict[str, ThreadPoolExecutor] = {}
_waiting: set[tuple[str, Hashable]] = set()


def queues() -> bool:
    """Whether `run` would let the work wait for a thread now."""
    return fired_by.get() == "timekeeper"


def run(work: Callable[[], object], *, lane: str, threads: int, once: Hashable = None) -> None:
    """`work` raises only when its result could not be recorded. Each lane has threads of its own in the timekeeper, so
    that a chat that hangs holds up no page. What waits there under the same `once` is not queued a second time."""
    if not queues():
        work()
        return
    if once is not None:
        if (lane, once) in _waiting:
            return
        _waiting.add((lane, once))
    if lane not in _lanes:
        _lanes[lane] = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=lane)
    _lanes[lane].submit(_aside, work, lane, once)


def _aside(work: Callable[[], object], lane: str, once: Hashable) -> None:
    _waiting.discard((lane, once))
    try:
        work()
    except Exception:
        log.exception("result_not_recorded", lane=lane)
    finally:
        connection.close()
