"""Tells the web processes that something has changed. A hint, never the truth: who misses it looks anyway.

`publish` is called right after a commit, so a broker that is dead or slow may not cost the caller more than a
moment, and only now and then: after a failure nothing is sent for a while, after each further one twice as long.
"""

import logging
import threading
import time

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

INCIDENTS = "muster:incidents"  # messages "<incident id>:<seq>"

TIMEOUT = 0.08
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0

log = logging.getLogger(__name__)


class Publisher:
    """One for each process; may be used by all of its threads."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url,
            socket_connect_timeout=TIMEOUT,
            socket_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            # No greetings: a fresh connection costs one round trip.
            protocol=2,
            driver_info=None,
        )
        self._lock = threading.Lock()
        self._quiet_until = 0.0
        self._pause = 0.0

    def publish(self, channel: str, message: str) -> bool:
        """Whether the broker has taken it. Never raises."""
        if time.monotonic() < self._quiet_until:
            return False
        try:
            try:
                self._redis.publish(channel, message)
            except redis.TimeoutError:
                raise
            except redis.ConnectionError:
                # Most often a connection from before the broker's restart; a fresh one works or is refused.
                self._redis.publish(channel, message)
        except (redis.RedisError, OSError) as error:
            with self._lock:
                now = time.monotonic()
                if now < self._quiet_until:  # another thread failed meanwhile
                    return False
                self._pause = min(self._pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
                self._quiet_until = now + self._pause
            log.warning("No hints to pages for %.1f s: the broker does not answer (%s).", self._pause, error)
            return False
        self._pause = 0.0
        return True


_publisher: Publisher | None = None


def publish(channel: str, message: str) -> bool:
    """Send `message` to whoever listens on `channel` now. False: nobody could be told, which is no error."""
    global _publisher
    if _publisher is None:
        _publisher = Publisher(settings.REDIS_URL)
    return _publisher.publish(channel, message)
