"""Whose key it is, from a copy in this process that is at most two seconds old."""

import threading
import time
from dataclasses import dataclass

from accounts.models import digest
from integrations.models import IngestEvent, Integration

FRESH_SECONDS = 2.0
MOST_WAITING = 50_000
"""So many events of one sender wait unprocessed before further ones are turned away with 503."""


@dataclass(frozen=True)
class Sender:
    integration_id: int
    kind: str
    disabled: bool
    overfull: bool


class Directory:
    """All integrations by the digest of their key. Their number is small, and a stranger's key costs no query."""

    def __init__(self) -> None:
        self._senders: dict[str, Sender] = {}
        self._read_at = float("-inf")
        self._lock = threading.Lock()

    def find(self, key: str) -> Sender | None:
        """None: not in the copy, which may be too old for it."""
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            with self._lock:
                if time.monotonic() - self._read_at > FRESH_SECONDS:
                    self._read()
        return self._senders.get(digest(key))

    def look_up(self, key: str) -> Sender | None:
        """Ask the database about a key that is not in the copy. None: unknown."""
        wanted = digest(key)
        row = Integration.objects.filter(key_digest=wanted).values_list("pk", "kind", "disabled_at").first()
        if row is None:
            return None
        found = Sender(row[0], row[1], row[2] is not None, overfull=False)
        self._senders = {**self._senders, wanted: found}
        return found

    def _read(self) -> None:
        began = time.monotonic()
        overfull = _overfull()
        self._senders = {
            key_digest: Sender(pk, kind, disabled_at is not None, pk in overfull)
            for pk, kind, disabled_at, key_digest in Integration.objects.values_list(
                "pk", "kind", "disabled_at", "key_digest"
            )
        }
        self._read_at = began

    def forget(self) -> None:
        """Read again on the next request: an integration was changed here."""
        self._read_at = float("-inf")
        self._senders = {}


def _overfull() -> set[int]:
    waiting = (
        IngestEvent.objects.filter(due_at__isnull=False).order_by().values_list("integration_id", flat=True)
    )
    if waiting[: MOST_WAITING + 1].count() <= MOST_WAITING:
        return set()
    counts: dict[int, int] = {}
    for pk in Integration.objects.values_list("pk", flat=True):
        counts[pk] = waiting.filter(integration_id=pk)[: MOST_WAITING + 1].count()
    return {pk for pk, count in counts.items() if count > MOST_WAITING}


directory = Directory()
