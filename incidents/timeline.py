"""The append-only timeline of an incident, and who reacts to its entries.

Each entry's hash covers the entry and the hash before it, so that a change or a gap shows. Whoever reacts has
registered for a kind with `on` and runs in the transaction of the entry, in order of registration.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from accounts.models import User
from core.live import publish
from incidents.models import Incident, Kind, TimelineEntry

Subscriber = Callable[[Incident, TimelineEntry], None]

CHANNEL = "muster:incidents"
SYSTEM = "Muster"

_subscribers: dict[str, list[Subscriber]] = defaultdict(list)


def on(*kinds: Kind) -> Callable[[Subscriber], Subscriber]:
    """Have a function called with (incident, entry) for entries of these kinds, in the entry's transaction.

    The incident is locked. Raising undoes the whole transition.
    """

    def register(function: Subscriber) -> Subscriber:
        for kind in kinds:
            if function not in _subscribers[kind]:
                _subscribers[kind].append(function)
        return function

    return register


def subscribers() -> dict[str, list[Subscriber]]:
    return {kind: list(functions) for kind, functions in _subscribers.items() if functions}


def chain_hash(
    *, prev_hash: str, incident_id: int, seq: int, kind: str, at: datetime, actor_id: int | None, actor_name: str,
    text: str, data: dict[str, Any],
) -> str:  # fmt: skip
    """SHA-256 in hex over the canonical JSON of the entry and the hash before it ("" for the first)."""
    content = [
        prev_hash, incident_id, seq, str(kind), at.astimezone(UTC).isoformat(timespec="microseconds"), actor_id,
        actor_name, text, data,
    ]  # fmt: skip
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def record(
    incident: Incident, kind: Kind, *, at: datetime, text: str, actor: User | None = None, actor_name: str = "",
    data: dict[str, Any] | None = None,
) -> TimelineEntry:  # fmt: skip
    """Append one entry and let the subscribers react. The caller holds the incident's lock.

    `data` is JSON without floats, which do not survive a round trip through the database unchanged.
    """
    data = data or {}
    entry = TimelineEntry(
        incident=incident, seq=incident.last_seq + 1, kind=kind, at=at, actor=actor,
        actor_name=(actor_name or (str(actor) if actor else SYSTEM))[:120], text=text, data=data,
        prev_hash=incident.last_hash,
    )  # fmt: skip
    entry.hash = chain_hash(
        prev_hash=entry.prev_hash, incident_id=incident.pk, seq=entry.seq, kind=entry.kind, at=entry.at,
        actor_id=entry.actor_id, actor_name=entry.actor_name, text=entry.text, data=entry.data,
    )  # fmt: skip
    entry.save(force_insert=True)
    incident.last_seq, incident.last_hash = entry.seq, entry.hash
    incident.save(update_fields=["last_seq", "last_hash"])
    message = f"{incident.pk}:{entry.seq}"
    transaction.on_commit(lambda: publish(CHANNEL, message))
    for subscriber in _subscribers[kind]:
        subscriber(incident, entry)
    return entry


def verify(incident: Incident) -> Iterator[str]:
    """What is wrong with the chain of one incident, a sentence each. Nothing: it is whole."""
    yield from check(incident, incident.timeline.order_by("seq").iterator(chunk_size=1000))


def check(incident: Incident, entries: Iterable[TimelineEntry]) -> Iterator[str]:
    """The same of entries that were read already: all of the incident up to its last_seq, in order."""
    previous, expected_seq = "", 0
    for entry in entries:
        expected_seq += 1
        if entry.seq != expected_seq:
            yield f"{incident.ref}: entry {expected_seq} is missing"
            expected_seq = entry.seq
        if entry.prev_hash != previous:
            yield f"{incident.ref}: entry {entry.seq} does not follow from the entry before it"
        wanted = chain_hash(
            prev_hash=entry.prev_hash, incident_id=incident.pk, seq=entry.seq, kind=entry.kind, at=entry.at,
            actor_id=entry.actor_id, actor_name=entry.actor_name, text=entry.text, data=entry.data,
        )  # fmt: skip
        if entry.hash != wanted:
            yield f"{incident.ref}: entry {entry.seq} was changed"
        previous = entry.hash
    if (expected_seq, previous) != (incident.last_seq, incident.last_hash):
        yield f"{incident.ref}: the timeline ends at entry {expected_seq}, the incident at {incident.last_seq}"
