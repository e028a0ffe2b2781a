"""Several at once, and not too many. Real threads for the races, with a control that shows what the lock is for."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client, TestCase

from accounts.models import ContactMethod
from incidents import transitions as incidents
from notifications import channels, queries, rules, sending, transitions
from notifications.models import Attempt, Bundle, Delivery, Notification
from tests.factories.accounts import make_email, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.notifications import NOW, make_notification, make_rule
from tests.notifications.fakes import FakeChannel
from timers.models import Timer
from timers.transitions import fire as fire_timer
from timers.transitions import fire_due

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def fire(now) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True):
        fire_due(now=now, by="test")


@pytest.fixture
def sms(monkeypatch, settings) -> FakeChannel:
    settings.MUSTER_MESSAGE_LIMITS = {}
    channel = FakeChannel("sms")
    monkeypatch.setitem(channels.CHANNELS, "sms", channel)
    return channel


@pytest.fixture
def ravi(fake):
    """An SMS at once and mail after five minutes."""
    user = make_user("ravi")
    make_rule(ContactMethod.objects.create(user=user, kind="sms", address="+49301", verified_at=NOW))
    make_rule(make_email(user, verified_at=NOW), after=5 * MINUTE)
    return user


def titles(message) -> list[str]:
    return [item.title for item in message.others] or [message.title]


@pytest.mark.django_db
def test_first_pages_leave_at_once_and_the_later_steps_of_all_of_them_as_one(ravi, sms, fake):
    for number in range(3):
        make_notification(
            ravi, title=f"SEV1 number {number}", now=NOW + number * 4 * SECOND, context={"ref": f"INC-{number}"}
        )  # fmt: skip
        fire(NOW + number * 4 * SECOND)
    assert [titles(message) for message in sms.accepted] == [[f"SEV1 number {number}"] for number in range(3)]
    assert [message.code for message in sms.accepted] == [1, 2, 3]

    fire(NOW + 5 * MINUTE)

    [mail] = fake.accepted
    assert mail.title == "3 pages wait for you: SEV1 number 0"
    assert mail.body.splitlines() == [
        "1. SEV1 number 0 (INC-0)", "2. SEV1 number 1 (INC-1)", "3. SEV1 number 2 (INC-2)",
    ]  # fmt: skip
    assert "/notifications/all/" in mail.link
    rows = Delivery.objects.filter(channel="email")
    assert {(row.status, row.attempts, row.bundle_id) for row in rows} == {
        ("sent", 1, Bundle.objects.get().pk)
    }
    assert not Timer.objects.filter(kind=transitions.DELIVER).exists()
    fire(NOW + 6 * MINUTE)
    assert len(fake.accepted) == 1


@pytest.mark.django_db
def test_what_is_answered_between_claim_and_hand_over_is_not_named_and_the_others_leave_at_once(
    ravi, sms, fake, monkeypatch
):
    pages = [make_notification(ravi, title=f"SEV1 number {number}") for number in range(3)]
    claimed = []
    monkeypatch.setattr(sending, "dispatch", claimed.append)
    fire(NOW)
    monkeypatch.undo()
    monkeypatch.setitem(channels.CHANNELS, "sms", sms)
    monkeypatch.setitem(channels.CHANNELS, "email", fake)
    [bundle] = claimed
    assert len(bundle.attempts) == 3

    transitions.cancel_topic(topic=pages[1].topic, now=NOW, status="answered")
    sending.hand_over(bundle)
    assert sms.tried == []
    assert Attempt.objects.filter(outcome="dropped").count() == 3

    fire(NOW + SECOND)
    assert [titles(message) for message in sms.accepted] == [["SEV1 number 0", "SEV1 number 2"]]
    assert pages[1].deliveries.get(channel="sms").status == "cancelled"


@pytest.mark.django_db
def test_answers_to_others_cost_a_message_no_attempt(ravi, sms, fake, monkeypatch):
    """Seven of eight are answered one by one, each just before all would have left."""
    pages = [make_notification(ravi, title=f"SEV1 number {number}") for number in range(8)]
    claimed = []
    monkeypatch.setattr(sending, "dispatch", claimed.append)
    for number, page in enumerate(pages[:-1]):
        fire(NOW + number * SECOND)
        transitions.cancel_topic(topic=page.topic, now=NOW + number * SECOND, status="answered")
        sending.hand_over(claimed.pop())
    assert not claimed
    fire(NOW + 7 * SECOND)
    last = pages[-1].deliveries.get(channel="sms")
    assert (last.status, last.attempts) == ("sending", 8)

    sms.answers = ["transient", "ok"]
    sending.hand_over(claimed.pop())
    fire(NOW + MINUTE)
    sending.hand_over(claimed.pop())

    assert [titles(message) for message in sms.accepted] == [["SEV1 number 7"]]
    last.refresh_from_db()
    assert last.status == "sent"


@pytest.mark.django_db
def test_the_same_messages_leave_under_the_same_key_and_a_failure_is_that_of_each(ravi, sms, fake):
    pages = [make_notification(ravi, title=f"SEV1 number {number}") for number in range(2)]
    sms.answers = ["transient", "permanent"]
    fire(NOW)
    fire(NOW + 6 * SECOND)

    first, second = sms.tried
    assert first.idempotency_key == second.idempotency_key
    assert {row.status for row in Delivery.objects.filter(channel="sms")} == {"failed"}
    fire(NOW + 7 * SECOND)
    [mail] = fake.accepted
    assert titles(mail) == [page.title for page in pages], "the next way of both, at once and as one"


@pytest.mark.django_db
def test_limits_hold_back_later_messages_say_so_and_never_hold_the_first(ravi, sms, settings):
    settings.MUSTER_MESSAGE_LIMITS = {"sms": [rules.Limit(1, 1), rules.Limit(3, 15)]}
    for number in range(4):  # four incidents within four seconds: each first page leaves
        make_notification(
            ravi, title=f"SEV1 number {number}", topic=f"incident:{number}", now=NOW + number * SECOND
        )
        fire(NOW + number * SECOND)
    assert len(sms.accepted) == 4

    for number in range(2):  # two of them page again
        make_notification(
            ravi, title=f"SEV1 again {number}", topic=f"incident:{number}", now=NOW + 2 * MINUTE
        )
    fire(NOW + 2 * MINUTE)
    fire(NOW + 14 * MINUTE)
    assert len(sms.accepted) == 4
    held = Delivery.objects.filter(channel="sms", status="waiting")
    assert {(row.held_at, row.held_why) for row in held} == {(NOW + 2 * MINUTE, "3 in 15 min are the most")}

    make_notification(ravi, title="SEV1 new", topic="incident:new", now=NOW + 3 * MINUTE)
    fire(NOW + 3 * MINUTE)  # the first page of another incident takes them along
    assert titles(sms.accepted[-1]) == ["SEV1 new", "SEV1 again 0", "SEV1 again 1"]
    assert "2 of these were held back, because 3 in 15 min are the most." in sms.accepted[-1].body
    assert not held.all().exists()


@pytest.mark.django_db
def test_what_was_held_back_leaves_when_there_is_room(ravi, sms, settings):
    settings.MUSTER_MESSAGE_LIMITS = {"sms": [rules.Limit(1, 1)]}
    make_notification(ravi, topic="incident:1")
    fire(NOW)
    make_notification(ravi, topic="incident:1", title="SEV1 again", now=NOW + 10 * SECOND)
    fire(NOW + 10 * SECOND)
    fire(NOW + 59 * SECOND)
    assert len(sms.accepted) == 1

    fire(NOW + MINUTE)

    assert sms.accepted[-1].title == "SEV1 again"
    assert "Held back: since 02:41 UTC, because 1 in 1 min is the most." in sms.accepted[-1].body


@pytest.mark.django_db
def test_one_link_acknowledges_all_of_a_bundle_but_looking_does_not(sms, fake):
    ravi = make_user("ravi")
    make_rule(make_email(ravi, verified_at=NOW))
    service = make_service("checkout", criticality=1)
    make_policy(tier(1, ravi), service=service)
    found = [
        incidents.trigger(service=service, title=f"number {number}", severity=1, urgency="high", now=NOW)
        for number in range(3)
    ]
    fire(NOW)
    path = fake.accepted[-1].link.split("://")[1].split("/", 1)[1]
    client = Client()

    with TestCase.captureOnCommitCallbacks(execute=False):
        with time_machine.travel(NOW + MINUTE, tick=False):
            assert "3 pages wait for you" in client.get(f"/{path}").content.decode()
            assert {incident.status for incident in _fresh(found)} == {"triggered"}
            said = client.post(f"/{path}").content.decode()
            assert "Nothing waits for you" in said
            assert all(f"{incident.ref} is yours" in said for incident in found)
            assert client.get("/notifications/all/nonsense/").status_code == 404
        with time_machine.travel(NOW + timedelta(hours=49), tick=False):
            assert client.post(f"/{path}").status_code == 410
    assert {(incident.status, incident.acknowledged_by) for incident in _fresh(found)} == {
        ("acknowledged", ravi)
    }


def _fresh(found):
    return [type(each).objects.get(pk=each.pk) for each in found]


# --- races ------------------------------------------------------------------------------------------------------


def at_once(*functions):
    ready = threading.Barrier(len(functions))

    def run(function):
        try:
            ready.wait(5)
            return function()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(functions)) as pool:
        return [each.result(30) for each in [pool.submit(run, function) for function in functions]]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round_", range(3))
def test_workers_that_claim_one_bundle_send_each_message_once(ravi, sms, round_):
    for number in range(6):
        make_notification(ravi, title=f"SEV1 number {number}")
    timers = list(
        Timer.objects.filter(kind=transitions.DELIVER, due_at__lte=NOW).values_list("pk", flat=True)
    )

    answers = at_once(*[lambda pk=pk: fire_timer(timer_id=pk, now=NOW, by="test") for pk in timers])
    fire_due(now=NOW + SECOND, by="test")

    assert not [answer for answer in answers if isinstance(answer, Exception)]
    named = [title for message in sms.accepted for title in titles(message)]
    assert sorted(named) == [f"SEV1 number {number}" for number in range(6)]
    assert {row.attempts for row in Delivery.objects.filter(channel="sms")} == {1}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("locked", [True, False], ids=["with the lock", "control without the lock"])
def test_an_answer_waits_for_who_takes_its_message_along(ravi, sms, monkeypatch, locked):
    """The control shows what would happen if a bundle did not lock what it takes along: the answer overtakes the claim,
    and what was answered counts as on its way."""
    lead, other = make_notification(ravi), make_notification(ravi)
    chosen, answered = threading.Event(), threading.Event()
    if not locked:
        monkeypatch.setattr(transitions, "_take_along", _without_lock(other))
    begin = transitions._begin_attempt

    def slowly(delivery, *, now):
        chosen.set()
        answered.wait(0.5)
        begin(delivery, now=now)

    monkeypatch.setattr(transitions, "_begin_attempt", slowly)
    monkeypatch.setattr(sending, "dispatch", lambda claimed: None)
    order = []

    def claim():
        transitions.claim(delivery=lead.deliveries.get(channel="sms"), now=NOW)
        order.append("claim")

    def answer():
        chosen.wait(5)
        transitions.cancel_topic(topic=other.topic, now=NOW)
        order.append("answer")
        answered.set()

    results = at_once(claim, answer)

    mine = other.deliveries.get(channel="sms")
    if locked:
        assert order == ["claim", "answer"]
        assert not queries.are_still_wanted([(mine.pk, mine.attempts)])
    else:
        assert order[0] == "answer"
        assert isinstance(results[0], Exception), "only the constraint stops it"


def _without_lock(other: Notification):
    def take(delivery, *, now):
        return list(
            Delivery.objects.select_related("notification__recipient", "method").filter(
                notification=other, channel="sms"
            )
        )

    return take
