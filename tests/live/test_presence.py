"""Who is in the room: over several web processes, with and without the broker."""

import asyncio

import pytest
import redis.asyncio

from incidents.live import presence
from incidents.live.presence import Names, Presence
from tests.factories.accounts import make_user
from tests.live.conftest import Stream, sign_in, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


def names(stream: Stream) -> list[str] | None:
    """Who is here as that browser was told last."""
    told = [event.json for event in stream.events if event.name == "here"]
    return [one["name"] for one in told[-1]["people"]] if told else None


def sees(stream: Stream, *expected: str) -> None:
    wait_for(lambda: names(stream) == list(expected), what=f"{expected} instead of {names(stream)}")


@pytest.fixture
def ravi(transactional_db) -> str:
    return sign_in(make_user("ravi", full_name="Ravi Menon"))


@pytest.fixture
def mei(transactional_db) -> str:
    return sign_in(make_user("mei", full_name="Mei Tanaka"))


def test_who_looks_is_in_the_room_and_leaves_it_over_two_processes(look, incident, new_web, ravi, mei):
    other = new_web()
    here = look(session=ravi)
    sees(here, "Ravi Menon")
    there = look(session=mei, port=other.port)
    sees(there, "Mei Tanaka", "Ravi Menon")
    sees(here, "Mei Tanaka", "Ravi Menon")
    there.close()
    sees(here, "Ravi Menon")
    told = next(event.json for event in here.events if event.name == "here")
    assert told["people"][0]["initials"] == "RM"
    assert told["others"] == 0


def test_two_tabs_are_one_person(look, incident, ravi, mei):
    first, second, other = look(session=ravi), look(session=ravi), look(session=mei)
    sees(other, "Mei Tanaka", "Ravi Menon")
    sees(second, "Mei Tanaka", "Ravi Menon")
    second.close()
    late = look(session=mei)  # whoever comes later is told at once, also that the other tab is still open
    sees(late, "Mei Tanaka", "Ravi Menon")
    sees(first, "Mei Tanaka", "Ravi Menon")


def test_without_the_broker_it_is_ones_own_process(look, incident, valkey, ravi, mei):
    valkey.stop()
    try:
        here = look(session=ravi)
        sees(here, "Ravi Menon")
        here.take("beat")
        look(session=mei)
        sees(here, "Mei Tanaka", "Ravi Menon")
    finally:
        valkey.start()


# --- the parts ------------------------------------------------------------------------------------------------------


def exchange(url: str, *steps: tuple[Presence, dict[int, set[int]]]) -> list[dict[int, set[int]]]:
    async def story() -> list[dict[int, set[int]]]:
        broker = redis.asyncio.Redis.from_url(url)
        await broker.flushdb()
        try:
            return [await process.exchange(broker, own) for process, own in steps]
        finally:
            await broker.aclose()

    return asyncio.run(story())


def test_every_process_reads_everybodys_people_and_takes_only_its_own_away(valkey):
    a, b = Presence(), Presence()
    answers = exchange(
        valkey.url,
        (a, {7: {1, 2}}),
        (b, {7: {2, 3}, 8: {3}}),
        (a, {7: {1}}),
        (b, {7: {3}}),
        (a, {}),
        (b, {7: {3}}),
    )
    assert answers == [{7: {1, 2}}, {7: {1, 2, 3}, 8: {3}}, {7: {1, 2, 3}}, {7: {1, 3}}, {}, {7: {3}}]


def test_a_process_that_died_is_forgotten(valkey, monkeypatch):
    a, b = Presence(), Presence()
    exchange(valkey.url, (a, {7: {1}}))
    monkeypatch.setattr(presence, "STALE_AFTER", -1)  # as if that had been long ago
    assert exchange(valkey.url, (b, {7: {2}})) == [{7: {2}}]


def test_two_hundred_people_are_one_short_event():
    told = presence.told((pk, f"Person with a rather long name {pk}") for pk in range(100_000, 100_200))
    assert len(told) <= 4_096
    assert b'"others":170' in told


def test_the_same_people_are_the_same_bytes():
    assert presence.told([(2, "b"), (1, "a")]) == presence.told([(1, "a"), (2, "b")])


def test_names_are_read_once_a_minute(monkeypatch):
    at = [100.0]
    monkeypatch.setattr(presence.time, "monotonic", lambda: at[0])
    kept = Names()
    assert kept.missing([1, 2]) == [1, 2]
    kept.keep({1: "Ines"})
    assert (kept.missing([1, 2]), kept.of([1, 2])) == ([2], [(1, "Ines")])
    at[0] += 60.1
    assert kept.missing([1, 2]) == [1, 2]
