"""Whose ping it is, from a copy in this process that is at most two seconds old, so that a flood costs no look-ups."""

import threading
import time
from dataclasses import dataclass

from accounts.models import digest
from integrations.models import Watch

FRESH_SECONDS = 2.0


@dataclass(frozen=True)
class Known:
    watch_id: int
    name: str


class Directory:
    def __init__(self) -> None:
        self._by_key: dict[str, Known] = {}
        self._by_name: dict[str, Known] = {}
        self._written: dict[int, float] = {}
        self._read_at = float("-inf")
        self._lock = threading.Lock()

    def by_key(self, key: str) -> Known | None:
        self._refresh()
        return self._by_key.get(digest(key))

    def by_name(self, name: str) -> Known | None:
        self._refresh()
        return self._by_name.get(name.lower())

    def look_up(self, key: str) -> Known | None:
        """Ask the database about a key that is not in the copy."""
        row = Watch.objects.filter(key_digest=digest(key)).values_list("pk", "name").first()
        return Known(*row) if row else None

    def is_due(self, watch_id: int, at: float) -> bool:
        """Whether this process has not written a ping of it within the last second."""
        with self._lock:
            if at - self._written.get(watch_id, float("-inf")) < 1.0:
                return False
            self._written[watch_id] = at
            return True

    def _refresh(self) -> None:
        if time.monotonic() - self._read_at <= FRESH_SECONDS:
            return
        with self._lock:
            if time.monotonic() - self._read_at <= FRESH_SECONDS:
                return
            began = time.monotonic()
            rows = list(Watch.objects.values_list("pk", "name", "key_digest"))
            self._by_key = {key_digest: Known(pk, name) for pk, name, key_digest in rows}
            self._by_name = {name.lower(): Known(pk, name) for pk, name, _ in rows}
            self._read_at = began

    def forget(self) -> None:
        self._read_at = float("-inf")
        self._written = {}


watches = Directory()
