"""Tasks of the room: one person at a time has one, and whoever comes second is told."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from core.errors import Invalid, Missing, Refused
from incidents import presenters, transitions
from incidents import queries as incident_queries
from incidents.models import Incident, Kind, Task
from incidents.todo import transitions as todo
from notifications.models import Notification, NotificationStatus
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from timers.models import Timer
from timers.transitions import fire_due

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HTMX = {"HTTP_HX_REQUEST": "true"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def mei() -> User:
    return make_user("mei", full_name="Mei Lin")


@pytest.fixture
def ravi() -> User:
    return make_user("ravi", full_name="Ravi Menon")


@pytest.fixture
def viola() -> User:
    return make_user("viola", full_name="Viola Weber", role="viewer")


@pytest.fixture
def incident(db: None) -> Incident:
    return transitions.trigger(
        service=make_service(), title="Checkout fails", severity=2, urgency="high", now=NOW
    )


@pytest.fixture
def task(incident: Incident, mei: User) -> Task:
    return todo.add_task(incident_id=incident.pk, title="Pause the queue", by=mei, now=NOW)


def said(incident: Incident) -> list[str]:
    return [f"{entry.actor_name} {entry.text}" for entry in incident.timeline.filter(kind=Kind.TASK)]


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_task_goes_its_way_and_the_timeline_says_each_step(incident, task, mei, ravi):
    of = {"incident_id": incident.pk, "number": 1}
    todo.claim(**of, by=mei, now=NOW)
    todo.claim(**of, by=mei, now=NOW)
    todo.release(**of, by=mei, now=NOW)
    todo.assign(**of, user=mei, by=ravi, now=NOW)
    todo.assign(**of, user=ravi, by=ravi, now=NOW)
    todo.finish(**of, by=mei, now=NOW)
    todo.finish(**of, by=ravi, now=NOW)
    todo.reopen_task(**of, by=ravi, now=NOW)
    todo.drop(**of, by=ravi, now=NOW)
    assert said(incident) == [
        "Mei Lin added task 1: Pause the queue",
        "Mei Lin took task 1: Pause the queue",
        "Mei Lin released task 1: Pause the queue",
        "Ravi Menon gave task 1 to Mei Lin: Pause the queue",
        "Ravi Menon took task 1, which Mei Lin had: Pause the queue",
        "Mei Lin finished task 1: Pause the queue",
        "Ravi Menon reopened task 1: Pause the queue",
        "Ravi Menon dropped task 1: Pause the queue",
    ]
    assert incident.timeline.last().data == {
        "task": task.pk, "number": 1, "act": "dropped", "assignee": ravi.pk, "due_at": None,
    }  # fmt: skip


def test_what_another_has_cannot_be_claimed_until_it_is_released(incident, task, mei, ravi):
    of = {"incident_id": incident.pk, "number": 1}
    todo.claim(**of, by=mei, now=NOW)
    with pytest.raises(Refused, match=r"Mei Lin has task 1 since 2 min\. Nothing was changed") as refused:
        todo.claim(**of, by=ravi, now=NOW + 2 * MINUTE)
    assert (refused.value.status, refused.value.code) == (409, "task_taken")
    task.refresh_from_db()
    assert (task.assignee, task.claimed_at) == (mei, NOW)
    todo.release(**of, by=mei, now=NOW + 3 * MINUTE)
    todo.claim(**of, by=ravi, now=NOW + 4 * MINUTE)
    task.refresh_from_db()
    assert task.assignee == ravi


def test_giving_away_what_changed_hands_meanwhile_is_refused(incident, task, mei, ravi):
    todo.claim(incident_id=incident.pk, number=1, by=mei, now=NOW)
    with pytest.raises(Refused, match="Mei Lin has task 1"):
        todo.assign(incident_id=incident.pk, number=1, user=ravi, by=ravi, now=NOW, seen=0)
    with pytest.raises(Refused, match="Mei Lin has task 1"):
        todo.release(incident_id=incident.pk, number=1, by=ravi, now=NOW, seen=ravi.pk)
    task.refresh_from_db()
    assert task.assignee == mei


def test_what_is_done_takes_no_claim_and_says_who_did_it(incident, task, mei, ravi):
    todo.finish(incident_id=incident.pk, number=1, by=mei, now=NOW)
    with pytest.raises(Refused, match="Mei Lin finished task 1 1 min ago"):
        todo.claim(incident_id=incident.pk, number=1, by=ravi, now=NOW + MINUTE)
    with pytest.raises(Missing, match="has no task 2"):
        todo.claim(incident_id=incident.pk, number=2, by=ravi, now=NOW)


@pytest.mark.parametrize("fields", [{"title": " "}, {"title": "x" * 301}, {"title": "x", "due_at": NOW}])
def test_a_task_that_says_nothing_or_is_late_already_is_refused(incident, mei, fields):
    with pytest.raises(Invalid):
        todo.add_task(incident_id=incident.pk, by=mei, now=NOW, **fields)
    assert not incident.tasks.exists()


def test_who_is_given_a_task_is_told_once_and_oneself_is_not(incident, task, mei, ravi):
    todo.add_task(incident_id=incident.pk, title="Mine", by=mei, now=NOW, assignee=mei)
    assert not Notification.objects.exists()
    todo.assign(incident_id=incident.pk, number=1, user=ravi, by=mei, now=NOW)
    todo.assign(incident_id=incident.pk, number=1, user=ravi, by=mei, now=NOW)
    [told] = Notification.objects.all()
    assert (told.recipient, told.urgency) == (ravi, "low")
    assert told.title == f"{incident.ref}: Mei Lin gave you a task: Pause the queue"
    transitions.resolve(incident_id=incident.pk, by=mei, now=NOW)
    told.refresh_from_db()
    assert told.status == NotificationStatus.CANCELLED


def test_when_its_time_is_over_whoever_has_it_is_told(incident, mei, ravi):
    due = NOW + 10 * MINUTE
    todo.add_task(incident_id=incident.pk, title="Dump", by=mei, now=NOW, assignee=mei, due_at=due)
    todo.add_task(incident_id=incident.pk, title="Done", by=mei, now=NOW, assignee=mei, due_at=due)
    todo.finish(incident_id=incident.pk, number=2, by=mei, now=NOW)
    fire_due(now=due, by="test")
    assert [told.title for told in Notification.objects.all()] == [f"{incident.ref}: task 1 is due: Dump"]


def test_the_end_of_the_incident_leaves_no_time_of_a_task(incident, mei):
    todo.add_task(incident_id=incident.pk, title="Dump", by=mei, now=NOW, due_at=NOW + 10 * MINUTE)
    transitions.resolve(incident_id=incident.pk, by=mei, now=NOW + MINUTE)
    assert not Timer.objects.filter(kind="tasks.due").exists()
    assert incident.tasks.get().status == "open"


def test_reopened_its_tasks_are_due_again(incident, mei):
    todo.add_task(incident_id=incident.pk, title="Dump", by=mei, now=NOW, due_at=NOW + 10 * MINUTE)
    todo.add_task(incident_id=incident.pk, title="Was due", by=mei, now=NOW, due_at=NOW + 2 * MINUTE)
    transitions.resolve(incident_id=incident.pk, by=mei, now=NOW + MINUTE)
    transitions.reopen(incident_id=incident.pk, by=mei, reason="again", now=NOW + 3 * MINUTE)
    task = incident.tasks.get(number=1)
    timers = Timer.objects.filter(kind="tasks.due").values_list("key", "due_at")
    assert list(timers) == [(str(task.pk), NOW + 10 * MINUTE)]


def test_what_nobody_has_reminds_who_wrote_it(incident, mei):
    todo.add_task(incident_id=incident.pk, title="Dump", by=mei, now=NOW, due_at=NOW + MINUTE)
    fire_due(now=NOW + MINUTE, by="test")
    assert [told.recipient for told in Notification.objects.filter(context__kind="task")] == [mei]


@pytest.mark.parametrize("fields", [{"is_bot": True}, {"role": "viewer"}, {"is_active": False}])
def test_who_cannot_act_is_given_no_task(incident, task, mei, fields):
    nobody = make_user("nobody", **fields)
    with pytest.raises(Invalid, match="cannot act here"):
        todo.add_task(incident_id=incident.pk, title="Dump", by=mei, now=NOW, assignee=nobody)
    with pytest.raises(Invalid, match="cannot act here"):
        todo.assign(incident_id=incident.pk, number=1, user=nobody, by=mei, now=NOW)
    assert list(incident.tasks.values_list("number", "assignee")) == [(1, None)]


def test_the_room_shows_tasks_in_one_query(incident, task, mei, django_assert_num_queries):
    for number in range(5):
        todo.add_task(incident_id=incident.pk, title=f"Number {number}", by=mei, now=NOW, assignee=mei)
    todo.finish(incident_id=incident.pk, number=2, by=mei, now=NOW)
    fresh = incident_queries.incident(incident.pk)
    context = presenters.slots_context(fresh, NOW)
    assert [item.number for item in context["tasks"]] == [1, 3, 4, 5, 6, 2]
    assert context["tasks_open"] == 5


def test_two_who_see_it_free_press_claim_and_the_second_reads_who_has_it(incident, task, mei, ravi):
    address = reverse("incidents:task", args=[incident.pk, 1])
    assert signed_in(mei).post(address, {"act": "claim"}, **HTMX).status_code == 204
    second = signed_in(ravi).post(address, {"act": "claim"}, **HTMX)
    assert second.status_code == 409
    assert second["X-Muster-Sentence"] == "1"
    assert second.content.decode().startswith("Mei Lin has task 1")


def test_the_pages_of_tasks_work_without_script_and_not_for_viewers_hands(incident, task, mei, viola):
    new = reverse("incidents:task_new", args=[incident.pk])
    one = reverse("incidents:task", args=[incident.pk, 1])
    evil = "<script>x</script>"
    assert signed_in(mei).post(new, {"title": evil, "user": mei.pk, "due": "30"}).status_code == 302
    assert incident.tasks.get(number=2).due_at is not None
    room = signed_in(mei).get(reverse("incidents:detail", args=[incident.pk])).content.decode()
    assert 'id="task-2"' in room
    assert evil not in room
    assert evil not in signed_in(mei).get(reverse("incidents:task", args=[incident.pk, 2])).content.decode()
    wrong = signed_in(mei).post(new, {"title": "keep me", "due": "7"})
    assert wrong.status_code == 400
    assert 'value="keep me"' in wrong.content.decode()
    assert signed_in(viola).get(one).status_code == 200
    assert "Claim" not in signed_in(viola).get(one).content.decode()
    for address in (one, new):
        assert signed_in(viola).post(address, {"act": "claim", "title": "x"}).status_code == 403
        assert Client().post(address, {"act": "claim"}).status_code == 302
    assert Task.objects.filter(assignee=viola).count() == 0
    assert signed_in(mei).post(one, {"act": "burn"}).status_code == 400
    assert signed_in(mei).get(reverse("incidents:task", args=[incident.pk, 99])).status_code == 404
