"""Waking a worker for an inbox. Only a hint: without it the timekeeper comes by a second later.

The request that stored an event does not wait for the broker: a thread of the process sends the hint, at most a
hundred times a second, and one hint stands for all events that arrive before a worker begins.
"""

import threading
import time

import redis
import structlog
from django.conf import settings

from timers.handover import publish

log = structlog.get_logger(__name__)

TASK = "integrations.drain"
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

    def wake(self, integration_id: int) -> None:
        with self._condition:
            self._waiting.add(integration_id)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="inbox-hints", daemon=True)
                self._thread.start()
            self._condition.notify()

    def begun(self, integration_id: int) -> None:
        """A worker reads the inbox from now on: what arrives later needs a new hint."""
        try:
            self._server().delete(_name(integration_id))
        except (redis.RedisError, OSError) as error:
            log.warning("hint_not_cleared", error=repr(error))

    def hint(self, integration_id: int) -> bool:
        """Whether a worker knows, or will: False when the broker does not answer."""
        try:
            if not self._server().set(_name(integration_id), 1, nx=True, px=_UNDER_WAY_MS):
                return True
        except (redis.RedisError, OSError) as error:
            log.warning("broker_does_not_answer", error=repr(error))
            return False
        return publish(TASK, [integration_id], queue="default")

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
wake, begun, hint = _waker.wake, _waker.begun, _waker.hint
