"""Who is in a room now, over all web processes. Kept in Valkey alone, where it goes by itself when a process dies.

Each process writes the people of its own open streams every few seconds and reads everybody's. What is there is
courtesy, not truth: without the broker a process shows its own people.
"""

import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from core.words import initials
from incidents.live import sse

STALE_AFTER = 15  # s without a word from the process that has a person
KEPT_FOR = 60  # s; a room that nobody writes to any more
NAMED = 30  # people by name in one event; of the others the number and, for dots on the page, the ids
MARKED = 300

People = Mapping[int, Collection[int]]
"""The people of each room, by the id of its incident."""


def told(names: Iterable[tuple[int, str]]) -> bytes:
    """The event for a room: its people by name, the same bytes for the same people."""
    people = sorted(names, key=lambda one: (one[1].casefold(), one[0]))
    data: dict[str, Any] = {
        "people": [
            {"id": pk, "name": name[:60], "initials": initials(name)[:4]} for pk, name in people[:NAMED]
        ],
        "others": len(people[NAMED:]),
    }
    if data["others"]:
        data["ids"] = [pk for pk, _ in people[NAMED:MARKED]]
    return sse.event_json("here", data)


@dataclass(frozen=True)
class _Member:
    """One person in one process, as it stands in the set of a room."""

    user_id: int
    process: str

    @classmethod
    def read(cls, raw: bytes) -> "_Member | None":
        user_id, _, process = raw.decode("ascii", "replace").partition(":")
        return cls(int(user_id), process) if user_id.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.user_id}:{self.process}"


class Presence:
    """What this process has written about its people, and how it reads everybody's."""

    def __init__(self) -> None:
        self.process = uuid.uuid4().hex[:12]
        self._written: dict[int, set[int]] = {}

    @staticmethod
    def key(incident_id: int) -> str:
        return f"muster:here:{incident_id}"

    async def exchange(self, broker: Redis, own: People) -> dict[int, set[int]]:
        """Write who is here, take away who has left, and read who is in these rooms. One round trip for all of them,
        and one for the time, which is the broker's, as the clocks of several machines differ."""
        gone = {
            incident_id: users - set(own.get(incident_id, ())) for incident_id, users in self._written.items()
        }
        if not own and not any(gone.values()):
            return {}
        seconds, _ = await broker.time()
        async with broker.pipeline(transaction=False) as pipe:
            for incident_id, users in gone.items():
                if users:
                    pipe.zrem(self.key(incident_id), *(self._member(user) for user in users))
            for incident_id, users in own.items():
                key = self.key(incident_id)
                if users:
                    pipe.zadd(key, {self._member(user): seconds for user in users})
                pipe.zremrangebyscore(key, "-inf", seconds - STALE_AFTER)
                pipe.expire(key, KEPT_FOR)
                pipe.zrange(key, 0, -1)
            answers = await pipe.execute()
        self._written = {incident_id: set(users) for incident_id, users in own.items() if users}
        lists = [answer for answer in answers if isinstance(answer, list)]
        return {
            incident_id: {member.user_id for raw in members if (member := _Member.read(raw))} | set(users)
            for (incident_id, users), members in zip(own.items(), lists, strict=True)
        }

    def _member(self, user_id: int) -> str:
        return str(_Member(user_id, self.process))


class Names:
    """Names of people, read again after a minute."""

    KEPT = 60.0

    def __init__(self) -> None:
        self._names: dict[int, tuple[str, float]] = {}

    def missing(self, ids: Collection[int]) -> list[int]:
        now = time.monotonic()
        return [pk for pk in ids if pk not in self._names or self._names[pk][1] < now]

    def keep(self, names: Mapping[int, str]) -> None:
        until = time.monotonic() + self.KEPT
        self._names.update({pk: (name, until) for pk, name in names.items()})
        if len(self._names) > 10_000:
            self._names = dict(list(self._names.items())[-5000:])

    def of(self, ids: Collection[int]) -> list[tuple[int, str]]:
        """(id, name) of those who exist."""
        return [(pk, self._names[pk][0]) for pk in ids if pk in self._names]
