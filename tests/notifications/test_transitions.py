from datetime import timedelta

import pytest
from django.db import transaction

from core.errors import Refused
from notifications import hooks, queries, sending, transitions
from notifications.models import Attempt, Delivery, Notification
from tests.factories.accounts import make_email, make_user
from tests.factories.notifications import NOW, make_notification, make_rule
from timers import network
from timers.models import Timer
from timers.transitions import fire_due, set_timer

pytestmark = pytest.mark.django_db(transaction=True)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def make_webhook(user, *, verified_at=NOW):
    return user.contact_methods.create(
        kind="webhook", address="https://example.org/ravi", secret="s3cret", verified_at=verified_at
    )


@pytest.fixture
def ravi(fake, fake_webhook):
    """Mail at once, a webhook after two minutes."""
    user = make_user("ravi", full_name="Ravi Menon")
    make_rule(make_email(user, verified_at=NOW))
    make_rule(make_webhook(user), after=seconds(120))
    return user


def states(notification) -> list[tuple[str, str, int]]:
    return [(row.channel, row.status, row.attempts) for row in queries.deliveries_of(notification)]


def armed() -> dict[str, int]:
    """Kind of each timer, and in how many seconds after NOW it is due."""
    return {
        f"{timer.kind} {Delivery.objects.get(pk=timer.key.split(':')[0]).channel}": round(
            (timer.due_at - NOW).total_seconds()
        )
        for timer in Timer.objects.all()
    }


def fire(now) -> int:
    return fire_due(now=now, by="test")


# --- by the person's rules --------------------------------------------------------------------------------------


def test_a_page_follows_the_rules_of_the_person(ravi, fake, fake_webhook):
    page = make_notification(ravi)

    fire(NOW)
    assert [message.address for message in fake.accepted] == ["ravi@example.org"]
    assert fake_webhook.accepted == []
    assert states(page) == [("email", "sent", 1), ("webhook", "waiting", 0)]

    fire(NOW + seconds(119))
    assert fake_webhook.accepted == []
    fire(NOW + seconds(120))
    assert [message.address for message in fake_webhook.accepted] == ["https://example.org/ravi"]
    assert states(page) == [("email", "sent", 1), ("webhook", "sent", 1)]
    assert armed() == {}

    fire(NOW + timedelta(days=1))
    assert len(fake.tried) == len(fake_webhook.tried) == 1


def test_the_message_says_who_it_is_for_and_leads_to_the_page(ravi, fake):
    make_notification(ravi, title="DRILL SEV1 Checkout fails", link="/p/token/")
    fire(NOW)

    [message] = fake.accepted
    assert message.title == "DRILL SEV1 Checkout fails"
    assert message.link == "http://localhost:8000/p/token/"
    assert message.why == "Muster sent this to Ravi Menon. Rule for high urgency: at once."


def test_nobody_is_told_when_the_callers_transaction_fails(ravi, fake):
    with pytest.raises(RuntimeError), transaction.atomic():
        make_notification(ravi)
        raise RuntimeError

    assert Notification.objects.count() == Delivery.objects.count() == Timer.objects.count() == 0
    assert fire(NOW + timedelta(hours=1)) == 0
    assert fake.tried == []


def test_the_same_dedupe_key_tells_once(ravi, fake):
    first = make_notification(ravi, dedupe_key="page:1")
    again = make_notification(ravi, dedupe_key="page:1", title="Other", now=NOW + seconds(1))

    fire(NOW + seconds(1))
    assert again.pk == first.pk
    assert again.title == "SEV1 Checkout fails"
    assert len(fake.accepted) == 1
    assert Delivery.objects.count() == 2


def test_a_person_without_a_verified_method_is_mailed_at_once_and_counts_as_unreachable(fake):
    user = make_user("new")
    make_rule(make_email(user, address="unverified@example.org"))

    page = make_notification(user)
    fire(NOW)

    assert page.unreachable
    assert [message.address for message in fake.accepted] == ["new@example.org"]


def test_a_disabled_method_is_not_used(ravi, fake, fake_webhook):
    ravi.contact_methods.filter(kind="email").update(disabled_at=NOW)

    page = make_notification(ravi)
    fire(NOW + timedelta(hours=1))

    assert fake.tried == []
    assert states(page) == [("webhook", "sent", 1)]


# --- after the answer -------------------------------------------------------------------------------------------


def test_after_an_answer_nothing_that_waits_is_sent(ravi, fake, fake_webhook):
    page = make_notification(ravi)
    fire(NOW)

    ended = transitions.cancel_topic(topic=page.topic, now=NOW + seconds(30), status="answered")

    assert ended == 1
    assert armed() == {}
    fire(NOW + timedelta(hours=1))
    assert fake_webhook.tried == []
    assert states(page) == [("email", "sent", 1), ("webhook", "cancelled", 0)]
    page.refresh_from_db()
    assert (page.status, page.ended_at) == ("answered", NOW + seconds(30))


def test_a_topic_is_cancelled_for_one_person_only(ravi, fake, fake_webhook):
    other = make_user("ines")
    make_rule(make_email(other, verified_at=NOW), after=seconds(60))
    page = make_notification(ravi, topic="incident:7")
    others = make_notification(other, topic="incident:7")

    assert transitions.cancel_topic(topic="incident:7", now=NOW, recipient=ravi) == 1

    fire(NOW + timedelta(hours=1))
    assert [row[1] for row in states(page)] == ["cancelled", "cancelled"]
    assert states(others) == [("email", "sent", 1)]


def test_cancelling_again_changes_nothing(ravi):
    page = make_notification(ravi)
    transitions.cancel_topic(topic=page.topic, now=NOW + seconds(1))

    assert transitions.cancel_topic(topic=page.topic, now=NOW + seconds(2), status="answered") == 0

    page.refresh_from_db()
    assert (page.status, page.ended_at) == ("cancelled", NOW + seconds(1))


def test_an_answer_between_claim_and_hand_over_stops_the_message(ravi, fake):
    page = make_notification(ravi)
    mail = page.deliveries.get(channel="email")
    claimed = transitions.claim(delivery=mail, now=NOW)

    transitions.cancel_topic(topic=page.topic, now=NOW + seconds(1))
    sending.hand_over(claimed)

    assert fake.tried == []
    mail.refresh_from_db()
    assert mail.status == "cancelled"
    assert mail.tries.get().outcome == "dropped"
    assert armed() == {}


def test_an_answer_while_the_server_thinks_leaves_a_true_ledger_and_no_retry(ravi, fake):
    page = make_notification(ravi)

    def answered_meanwhile(message):
        transitions.cancel_topic(topic=page.topic, now=NOW + seconds(1))

    fake.answers = [answered_meanwhile]
    fire(NOW)

    assert states(page) == [("email", "sent", 1), ("webhook", "cancelled", 0)]
    assert armed() == {}


def test_a_temporary_failure_after_the_answer_is_not_tried_again(ravi, fake):
    page = make_notification(ravi)

    def answered_and_refused(message):
        transitions.cancel_topic(topic=page.topic, now=NOW + seconds(1))
        raise sending.TransientError("451 later")

    fake.answers = [answered_and_refused]
    fire(NOW)
    fire(NOW + timedelta(hours=1))

    assert len(fake.tried) == 1
    assert states(page)[0] == ("email", "cancelled", 1)


# --- when it does not work --------------------------------------------------------------------------------------


def test_a_temporary_failure_is_tried_again_with_back_off_under_the_same_key(ravi, fake):
    fake.answers = ["transient", "transient", "ok"]
    page = make_notification(ravi)

    fire(NOW)
    mail = page.deliveries.get(channel="email")
    assert (mail.status, mail.attempts, mail.last_error) == ("waiting", 1, "451 come back later")
    wait = (mail.retry_at - NOW).total_seconds()
    assert 5 <= wait < 6
    fire(NOW + seconds(4.9))
    assert len(fake.tried) == 1
    fire(NOW + seconds(6))
    assert len(fake.tried) == 2
    fire(NOW + seconds(22))

    mail.refresh_from_db()
    assert (mail.status, mail.attempts, mail.last_error) == ("sent", 3, "")
    assert len({message.idempotency_key for message in fake.tried}) == 1
    assert [row.outcome for row in mail.tries.all()] == ["transient", "transient", "sent"]


def test_after_the_last_attempt_it_has_failed_and_the_next_method_is_used_at_once(fake, fake_webhook):
    user = make_user("ravi")
    make_rule(make_email(user, verified_at=NOW))
    make_rule(make_webhook(user), after=timedelta(hours=2))
    fake.by_address = {"ravi@example.org": "transient"}
    page = make_notification(user)

    now = NOW
    for wait in (0, 6, 16, 61, 301):
        assert fake_webhook.tried == []
        now += seconds(wait)
        fire(now)
    fire(now + seconds(1))

    assert len(fake.tried) == 5
    assert len(fake_webhook.accepted) == 1
    assert states(page) == [("email", "failed", 5), ("webhook", "sent", 1)]
    assert page.deliveries.get(channel="webhook").reason == "E-mail failed: at once"


def test_a_final_refusal_turns_to_the_next_method_at_once(ravi, fake, fake_webhook):
    fake.by_address = {"ravi@example.org": "permanent"}
    page = make_notification(ravi)

    fire(NOW)
    fire(NOW + seconds(1))

    assert len(fake.tried) == 1
    assert states(page) == [("email", "failed", 1), ("webhook", "sent", 1)]
    page.refresh_from_db()
    assert not page.unreachable


def test_a_failed_method_turns_to_one_that_no_rule_names(fake, fake_webhook):
    user = make_user("ravi")
    make_rule(make_email(user, address="only-rule@example.org", verified_at=NOW))
    make_webhook(user)
    fake.by_address = {"only-rule@example.org": "permanent"}
    page = make_notification(user)

    fire(NOW)
    fire(NOW + seconds(1))

    assert states(page) == [("email", "failed", 1), ("webhook", "sent", 1)]


def test_when_every_way_fails_the_person_counts_as_unreachable(ravi, fake, fake_webhook):
    fake.by_address = {"ravi@example.org": "permanent"}
    fake_webhook.by_address = {"https://example.org/ravi": "permanent"}
    page = make_notification(ravi)

    for second in range(4):
        fire(NOW + seconds(second))

    assert states(page) == [("email", "failed", 1), ("webhook", "failed", 1)]
    page.refresh_from_db()
    assert page.unreachable
    assert armed() == {}


def test_the_failure_of_one_person_does_not_hold_up_another(ravi, fake):
    fake.by_address = {"ravi@example.org": "transient"}
    other = make_user("ines")
    make_rule(make_email(other, verified_at=NOW))
    make_notification(ravi, topic="incident:7")
    make_notification(other, topic="incident:7")

    fire(NOW)

    assert [message.address for message in fake.accepted] == ["ines@example.org"]


def test_a_fault_in_a_channel_is_tried_again_and_shown(ravi, fake):
    def fault(message):
        raise ZeroDivisionError

    fake.answers = [fault]
    page = make_notification(ravi)
    fire(NOW)

    mail = page.deliveries.get(channel="email")
    assert mail.status == "waiting"
    assert "ZeroDivisionError" in mail.last_error


# --- a worker that dies -----------------------------------------------------------------------------------------


def test_a_worker_killed_between_claim_and_record_is_followed_by_another_after_the_lease(ravi, fake):
    page = make_notification(ravi)
    mail = page.deliveries.get(channel="email")
    assert transitions.claim(delivery=mail, now=NOW).number == 1
    # SIGKILL: nothing more is heard of it.

    assert armed()["deliver email"] == 45
    fire(NOW + seconds(44))
    assert fake.tried == []
    fire(NOW + seconds(45))

    mail.refresh_from_db()
    assert (mail.status, mail.attempts) == ("sent", 2)
    assert [row.outcome for row in mail.tries.all()] == ["lost", "sent"]
    assert fake.accepted[0].idempotency_key == str(mail.idempotency_key)


def test_a_lost_worker_whose_page_was_answered_leaves_nothing_behind(ravi, fake):
    page = make_notification(ravi)
    mail = page.deliveries.get(channel="email")
    transitions.claim(delivery=mail, now=NOW)
    transitions.cancel_topic(topic=page.topic, now=NOW + seconds(1))

    assert armed() == {"deliver email": 45}
    fire(NOW + seconds(45))

    assert fake.tried == []
    mail.refresh_from_db()
    assert (mail.status, mail.last_error) == ("cancelled", "The worker did not report back")
    assert armed() == {}


def test_workers_that_all_die_end_in_a_failure_and_not_in_a_loop(ravi, fake, fake_webhook):
    page = make_notification(ravi)
    mail = page.deliveries.get(channel="email")
    now = NOW
    for number in range(1, 6):
        assert transitions.claim(delivery=mail, now=now).number == number
        now += seconds(45)

    assert transitions.claim(delivery=mail, now=now) is None

    mail.refresh_from_db()
    assert (mail.status, mail.last_error) == ("failed", "The worker did not report back")
    assert Attempt.objects.filter(delivery=mail, outcome="lost").count() == 5


def test_waiting_for_a_turn_in_the_timekeeper_costs_no_attempt(ravi, fake, monkeypatch):
    """Celery is away and the mail server slow: a message may wait for longer than five leases before its first try."""
    page = make_notification(ravi)
    mail = page.deliveries.get(channel="email")
    turns: dict[object, object] = {}
    monkeypatch.setattr(network, "run", lambda work, *, once=None, **_: turns.setdefault(once, work))
    monkeypatch.setattr(network, "queues", lambda: True)
    for lease in range(8):
        fire(NOW + seconds(45 * lease))
    waiting = [once for once in turns if once.delivery_id == mail.pk]
    mail.refresh_from_db()
    assert (mail.status, mail.attempts) == ("waiting", 0)
    assert len(waiting) == 1, "it waits once, however often the lease ends"

    turns[waiting[0]]()
    turns[waiting[0]]()

    mail.refresh_from_db()
    assert (mail.status, mail.attempts) == ("sent", 1)
    assert len(fake.accepted) == 1


@pytest.mark.parametrize("ended", ["answered", "tried", "lost"])
def test_who_has_its_turn_late_looks_again(ravi, fake, ended):
    page = make_notification(ravi)
    mail = page.deliveries.get(channel="email")
    queued = transitions.queue_locked(delivery_id=mail.pk, now=NOW)
    if ended == "answered":
        transitions.cancel_topic(topic=page.topic, now=NOW)
    else:
        other = transitions.claim(delivery=mail, now=NOW)
        if ended == "tried":
            transitions.record(claimed=other, outcome="transient", detail="451", now=NOW)

    assert transitions.claim_queued(queued, now=NOW + seconds(1)) is None
    assert fake.tried == []
    mail.refresh_from_db()
    assert mail.attempts == (0 if ended == "answered" else 1)


def test_late_news_of_a_sent_message_counts_and_of_a_failed_one_does_not(ravi, fake):
    page = make_notification(ravi)
    mail = page.deliveries.get(channel="email")
    first = transitions.claim(delivery=mail, now=NOW)
    second = transitions.claim(delivery=mail, now=NOW + seconds(45))
    later = NOW + seconds(46)

    transitions.record(claimed=first, outcome="transient", detail="451", now=later)
    mail.refresh_from_db()
    assert (mail.status, mail.attempts) == ("sending", 2)

    transitions.record(claimed=first, outcome="sent", detail="250", now=later)
    transitions.record(claimed=second, outcome="transient", detail="451", now=later)
    mail.refresh_from_db()
    assert (mail.status, mail.finished_at) == ("sent", later)
    assert "deliver email" not in armed()


def test_the_same_attempt_is_claimed_once(ravi):
    mail = make_notification(ravi).deliveries.get(channel="email")

    assert transitions.claim(delivery=mail, now=NOW) is not None
    assert transitions.claim(delivery=mail, now=NOW) is None
    assert Attempt.objects.filter(delivery=mail).count() == 1


def test_a_lost_timer_that_is_set_again_without_our_payload_sends_the_message(ravi, fake):
    mail = make_notification(ravi).deliveries.get(channel="email")
    Timer.objects.filter(kind="deliver", key=str(mail.pk)).delete()
    set_timer(kind="deliver", key=str(mail.pk), due_at=NOW, now=NOW)

    fire(NOW)

    assert len(fake.accepted) == 1


# --- hooks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch) -> list:
    """What subscribers are told."""
    calls: list = []
    monkeypatch.setattr(hooks, "_failed", [lambda delivery, now: calls.append(("failed", delivery.channel))])
    monkeypatch.setattr(hooks, "_sent", [lambda delivery, now: calls.append(("sent", delivery.channel))])
    return calls


def test_subscribers_hear_of_a_final_failure_and_of_what_was_sent_once_each(ravi, fake, told):
    fake.by_address = {"ravi@example.org": "permanent"}
    make_notification(ravi)
    for second in range(4):
        fire(NOW + seconds(second))

    assert told == [("failed", "email"), ("sent", "webhook")]


def test_a_failing_subscriber_is_asked_again_and_undoes_nothing(ravi, fake, monkeypatch):
    calls = []

    def fails_first(delivery, now):
        calls.append(delivery.channel)
        if len(calls) == 1:
            raise RuntimeError

    monkeypatch.setattr(hooks, "_sent", [fails_first])
    page = make_notification(ravi)
    fire(NOW)
    fire(NOW + seconds(1))
    assert states(page)[0] == ("email", "sent", 1)
    fire(NOW + seconds(10))

    assert calls == ["email", "email"]
    assert len(fake.accepted) == 1


# --- by hand ----------------------------------------------------------------------------------------------------


def test_a_failed_message_can_be_sent_again_while_somebody_waits(fake):
    user = make_user("ravi")
    make_rule(make_email(user, verified_at=NOW))
    fake.answers = ["permanent"]
    page = make_notification(user)
    fire(NOW)
    failed = page.deliveries.get()

    transitions.send_again(
        delivery_id=failed.pk, by=make_user("boss", full_name="Ines Okafor"), now=NOW + seconds(9)
    )
    fire(NOW + seconds(9))

    assert len(fake.accepted) == 1
    again = page.deliveries.get(status="sent")
    assert again.reason == "Sent again by Ines Okafor"
    assert again.idempotency_key != failed.idempotency_key


def test_what_did_not_fail_is_not_sent_again(ravi, fake):
    page = make_notification(ravi)
    fire(NOW)
    sent = page.deliveries.get(status="sent")

    with pytest.raises(Refused, match="Only a failed one"):
        transitions.send_again(delivery_id=sent.pk, by=ravi, now=NOW)

    assert page.deliveries.count() == 2


def test_removing_a_method_turns_what_waits_for_it_to_the_next(ravi, fake, fake_webhook):
    page = make_notification(ravi)
    hook = ravi.contact_methods.get(kind="webhook")
    mail = ravi.contact_methods.get(kind="email")

    transitions.drop_method(method=mail, now=NOW)
    fire(NOW)

    assert fake.tried == []
    assert [message.address for message in fake_webhook.accepted] == [hook.address]
    assert states(page) == [("email", "failed", 0), ("webhook", "sent", 1)]
