"""Django's cache in Redis, which may go away at any time without anybody noticing more than an empty
cache."""

import logging
from typing import Any

import redis
from django.core.cache.backends.redis import RedisCache

log = logging.getLogger(__name__)


class ForgivingCache(RedisCache):
    """Counts attempts to sign in across all processes. While Redis is away nothing is found and nothing is
    kept: people can still sign in, and their passwords are still checked, but nobody counts."""

    def _or(self, otherwise: Any, what: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(super(), what)(*args, **kwargs)
        except (redis.RedisError, OSError) as error:
            log.warning("The cache does not answer: %s", error)
            return otherwise

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self._or(default, "get", key, default, version)

    def get_many(self, keys: Any, version: int | None = None) -> dict:
        return self._or({}, "get_many", keys, version)

    def set(self, key: str, value: Any, *args: Any, **kwargs: Any) -> None:
        self._or(None, "set", key, value, *args, **kwargs)

    def set_many(self, data: Any, *args: Any, **kwargs: Any) -> list:
        return self._or(list(data), "set_many", data, *args, **kwargs)

    def add(self, key: str, value: Any, *args: Any, **kwargs: Any) -> bool:
        return self._or(True, "add", key, value, *args, **kwargs)

    def delete(self, key: str, version: int | None = None) -> bool:
        return self._or(False, "delete", key, version)

    def delete_many(self, keys: Any, version: int | None = None) -> None:
        self._or(None, "delete_many", keys, version)

    def touch(self, key: str, *args: Any, **kwargs: Any) -> bool:
        return self._or(False, "touch", key, *args, **kwargs)

    def has_key(self, key: str, version: int | None = None) -> bool:
        return self._or(False, "has_key", key, version)

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        return self._or(delta, "incr", key, delta, version)

    def clear(self) -> None:
        self._or(None, "clear")
