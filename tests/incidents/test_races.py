"""Two people at the same moment. Each control shows what would happen without the incident's lock."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection

from accounts.models import User
from core.errors import Refused
from incidents import timeline, transitions
from incidents.channel import transitions as channel
from incidents.models import Incident, Kind, Task, Update
from incidents.todo import transitions as todo
from incidents.updates import transitions as updates
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name="Ines Okafor", role="manager")


@pytest.fixture
def ravi() -> User:
    return make_user("ravi", full_name="Ravi Menon", role="manager")


@pytest.fixture
def incident(ines: User) -> Incident:
    return transitions.trigger(service=make_service(), title="5xx", severity=1, urgency="high", now=NOW)


def without_lock(incident_id: int) -> Incident:
    return Incident.objects.select_related("service__team", "commander").get(pk=incident_id)


def meet(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:
    """Whoever has called this function goes on when another has as well, or after a moment."""
    together, look = threading.Barrier(2), getattr(module, name)

    def slowly(*args: object, **fields: object) -> object:
        seen = look(*args, **fields)
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(1)
        return seen

    monkeypatch.setattr(module, name, slowly)


def at_once(*functions: Callable[[], object]) -> list[str]:
    """How each ended: "done", the code of a refusal, or the name of a fault."""

    def run(function: Callable[[], object]) -> str:
        try:
            function()
        except Refused as error:
            return error.code
        except Exception as error:
            return type(error).__name__
        finally:
            connection.close()
        return "done"

    with ThreadPoolExecutor(len(functions)) as pool:
        return sorted(each.result(30) for each in [pool.submit(run, function) for function in functions])


def is_whole(incident: Incident) -> bool:
    return list(timeline.verify(Incident.objects.get(pk=incident.pk))) == []


# --- two updates ------------------------------------------------------------------------------------------------


def send_two(incident: Incident, *people: User) -> list[str]:
    return at_once(
        *(
            lambda person=person: updates.post_update(
                incident_id=incident.pk,
                impact="All",
                action=str(person),
                next_minutes=None,
                by=person,
                now=NOW,
            )
            for person in people
        )
    )


def test_control_without_the_lock_one_of_two_updates_is_lost(incident, ines, ravi, monkeypatch):
    monkeypatch.setattr(updates, "lock_incident", without_lock)
    meet(monkeypatch, updates.queries, "update_count")
    assert send_two(incident, ines, ravi) == [IntegrityError.__name__, "done"]
    assert Update.objects.count() == 1


def test_two_updates_at_once_are_both_kept(incident, ines, ravi, monkeypatch):
    meet(monkeypatch, updates.queries, "update_count")
    assert send_two(incident, ines, ravi) == ["done", "done"]
    assert sorted(Update.objects.values_list("action", flat=True)) == ["Ines Okafor", "Ravi Menon"]
    entries = incident.timeline.filter(kind=Kind.UPDATE_POSTED).order_by("seq")
    assert [entry.data["number"] for entry in entries] == [1, 2]
    assert list(entries.values_list("seq", flat=True)) == sorted(Update.objects.values_list("seq", flat=True))
    assert is_whole(incident)


# --- one task ---------------------------------------------------------------------------------------------------


def claim_both(incident: Incident, *people: User) -> list[str]:
    return at_once(
        *(
            lambda person=person: todo.claim(incident_id=incident.pk, number=1, by=person, now=NOW)
            for person in people
        )
    )


@pytest.fixture
def task(incident: Incident, ines: User) -> Task:
    return todo.add_task(incident_id=incident.pk, title="Look at db-7", by=ines, now=NOW)


def test_control_without_the_lock_both_believe_that_the_task_is_free(incident, task, ines, ravi, monkeypatch):
    monkeypatch.setattr(todo, "lock_incident", without_lock)
    meet(monkeypatch, todo, "_refuse_unless")
    # Both have decided to take it; only the number of the timeline's next entry stops one, without a word why.
    assert claim_both(incident, ines, ravi) == [IntegrityError.__name__, "done"]


def test_two_people_claim_one_task_at_once_and_the_second_hears_who_has_it(
    incident, task, ines, ravi, monkeypatch
):
    meet(monkeypatch, todo, "_refuse_unless")
    assert claim_both(incident, ines, ravi) == ["done", "task_taken"]
    task.refresh_from_db()
    entry = incident.timeline.get(kind=Kind.TASK, data__act="claimed")
    assert task.assignee == entry.actor
    assert is_whole(incident)


# --- one message ------------------------------------------------------------------------------------------------


def amend_both(incident: Incident, seq: int, *people: User) -> list[str]:
    return at_once(
        *(
            lambda person=person: channel.amend(
                incident_id=incident.pk, seq=seq, text=str(person), by=person, now=NOW, rev=0
            )
            for person in people
        )
    )


@pytest.fixture
def seq(incident: Incident, ines: User) -> int:
    return channel.say(incident_id=incident.pk, text="zero", by=ines, now=NOW).seq


def test_control_without_the_lock_both_amend_the_version_that_they_read(
    incident, seq, ines, ravi, monkeypatch
):
    monkeypatch.setattr(channel, "lock_incident", without_lock)
    meet(monkeypatch, channel.queries, "words_of")
    assert amend_both(incident, seq, ines, ravi) == [IntegrityError.__name__, "done"]


def test_two_people_who_amend_at_the_same_moment_both_learn_what_happened(
    incident, seq, ines, ravi, monkeypatch
):
    meet(monkeypatch, channel.queries, "words_of")
    assert amend_both(incident, seq, ines, ravi) == ["amended_meanwhile", "done"]
    assert incident.timeline.filter(kind=Kind.AMENDED).count() == 1
    assert is_whole(incident)
