"""Waking a worker for an inbox. Only a hint: without it the timekeeper comes by a second later.

The request that stored an event does not wait for the broker: a thread of the process sends the hint, at most a
hundred times a second, and one hint stands for all events until a worker has found the inbox empty.

Workers say on the same way when they are behind, and then senders that send much get their answers later: what they
send next would only wait, and take the processor from the pages that are on their way.
"""

import threading
import time
from datetime import timedelta

import redis
import structlog
from django.conf import settings
from django.utils import timezone

from timers.handover import publish

log = structlog.get_logger(__name__)

TASK = "integrations.drain"
_LATE = "muster:workers-late"  # milliseconds that the last turn waited for a worker
_LATE_FROM, _LATE_FOR = timedelta(milliseconds=100), timedelta(milliseconds=500)
_UNDER_WAY_MS = 2000
_PAUSE_SECONDS = 0.01
_AFTER_FAILURE_SECONDS = 1.0


def _client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=0.5, socket_connect_timeout=0.5, max_connections=20
    )


def _name(integration_id: int) -> str:
    return f"muster:drain:{integration_id}"


class Waker:
    def __init__(self) -> None:
        self._waiting: set[int] = set()
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._redis: redis.Redis | None = None
        self._late, self._heard_at = 0.0, float("-inf")

    def wake(self, integration_id: int) -> None:
        with self._condition:
            self._waiting.add(integration_id)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="inbox-hints", daemon=True)
                self._thread.start()
            self._condition.notify()

    def done(self, integration_id: int) -> None:
        """The inbox seems to be empty: what arrives from now on needs a new hint."""
        try:
            self._server().delete(_name(integration_id))
        except (redis.RedisError, OSError) as error:
            log.warning("hint_not_cleared", error=repr(error))

    def hint(self, integration_id: int) -> bool:
        """Whether a worker knows, or will: False when the broker does not answer."""
        return self._tell(integration_id, unless_told=True)

    def again(self, integration_id: int, *, after_seconds: float = 0.0) -> bool:
        """Another turn for a worker that leaves an inbox with something in it, or soon to be. Like hint otherwise."""
        return self._tell(integration_id, unless_told=False, after_seconds=after_seconds)

    def late(self, waited: timedelta) -> None:
        """A worker came to an inbox `waited` after it was asked to. Told to the web servers for half a second."""
        if waited < _LATE_FROM:
            return
        try:
            self._server().set(_LATE, waited // timedelta(milliseconds=1), px=_LATE_FOR)
        except (redis.RedisError, OSError) as error:
            log.warning("broker_does_not_answer", error=repr(error))

    def lateness(self) -> float:
        """Seconds that workers are behind, as far as this process has heard."""
        return self._late if time.monotonic() - self._heard_at < _LATE_FOR.total_seconds() else 0.0

    def _tell(self, integration_id: int, *, unless_told: bool, after_seconds: float = 0.0) -> bool:
        due_at = timezone.now() + timedelta(seconds=after_seconds)
        try:
            with self._server().pipeline(transaction=False) as both:
                both.set(_name(integration_id), 1, nx=unless_told, px=_UNDER_WAY_MS)
                both.get(_LATE)
                is_first, late = both.execute()
        except (redis.RedisError, OSError) as error:
            log.warning("broker_does_not_answer", error=repr(error))
            return False
        self._late, self._heard_at = int(late or 0) / 1000, time.monotonic()
        if not is_first:
            return True
        eta = due_at if after_seconds else None
        if publish(TASK, [integration_id, due_at.isoformat()], queue="default", eta=eta):
            return True
        self.done(
            integration_id
        )  # or the next one would be left out for the sake of this one, which was never sent
        return False

    def _server(self) -> redis.Redis:
        if self._redis is None:
            self._redis = _client()
        return self._redis

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._waiting:
                    self._condition.wait()
                ids, self._waiting = self._waiting, set()
            pause = _PAUSE_SECONDS
            try:
                told = [self.hint(integration_id) for integration_id in ids]
                if not all(told):
                    pause = _AFTER_FAILURE_SECONDS
            except Exception:
                log.exception("hint_failed")
            time.sleep(pause)


_waker = Waker()
wake, done, hint, again = _waker.wake, _waker.done, _waker.hint, _waker.again
late, lateness = _waker.late, _waker.lateness
