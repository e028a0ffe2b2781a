"""SMS and calls from the rule to the provider, and what comes back."""

import json
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.test import Client, TestCase
from django.utils import timezone

from accounts.models import ContactMethod, User
from incidents import transitions as incidents
from incidents.models import Kind
from notifications import breaker, receipts, rules, sending, transitions
from notifications.channels.base import Accepted
from notifications.models import Delivery, ProviderState, Reply
from notifications.phone_accounts import read_accounts
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.notifications import NOW, make_notification, make_rule
from tests.notifications.phones import GOOD, NEVER, TOKEN, signed_by_twilio, signed_by_vonage, with_sig
from timers.models import Timer
from timers.transitions import fire_due

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


def phone(user: User, kind: str, number: str = GOOD, *, after: timedelta = timedelta(0)) -> ContactMethod:
    method = ContactMethod.objects.create(user=user, kind=kind, address=number, verified_at=NOW)
    make_rule(method, after=after)
    return method


def fire(now) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True):
        fire_due(now=now, by="test")


@pytest.fixture
def ravi(fake) -> User:
    return make_user("ravi")


@pytest.fixture
def paged(ravi):
    """Incidents that page Ravi, by title."""
    service = make_service("checkout", criticality=1)
    make_policy(tier(1, ravi), tier(2, make_user("ines")), service=service)

    def page(title: str):
        incident = incidents.trigger(
            service=service, title=title, severity=1, urgency="high", now=timezone.now()
        )
        fire(timezone.now())
        return incident

    return page


def post(path: str, fields: dict[str, str], *, token: str = TOKEN, **headers):
    signed = headers or signed_by_twilio(f"https://muster.example{path}", fields)
    if token != TOKEN:
        signed = {"HTTP_X_TWILIO_SIGNATURE": "bm90IHRoaXM="}
    return Client(enforce_csrf_checks=True).post(
        path, urlencode(fields), content_type="application/x-www-form-urlencoded", **signed
    )


def text_in(sink, **fields) -> str:
    """What Twilio is answered when an SMS comes in."""
    fields = {
        "MessageSid": f"SM{len(fields['Body'])}{timezone.now().timestamp()}",
        "From": GOOD,
        "To": "+4930999",
    } | fields
    answer = post("/notifications/phone/sms1/sms/", fields)
    assert answer.status_code == 200
    return answer.content.decode()


# --- sending ----------------------------------------------------------------------------------------------------


def test_the_second_provider_takes_what_the_first_does_not_and_the_breaker_remembers(ravi, phones):
    phone(ravi, "sms")
    phones["sms1"].down = True
    for number in range(4):
        make_notification(ravi, dedupe_key=f"n{number}", now=NOW + number * 60 * SECOND)
        fire(NOW + number * 60 * SECOND)

    sent = list(Delivery.objects.order_by("pk"))
    assert [(row.status, row.provider) for row in sent] == [("sent", "sms2")] * 4
    assert len(phones["sms2"].arrived) == 4
    assert phones["sms1"].asked == rules.FAILURES_TO_OPEN, "the fourth message does not wait for it"
    state = ProviderState.objects.get(kind="sms", name="sms1")
    assert state.opened_at is not None
    assert "503" in state.last_error

    # When its time has come one message tries it, and it is used again.
    phones["sms1"].down = False
    ProviderState.objects.filter(pk=state.pk).update(probe_at=timezone.now())
    make_notification(ravi, dedupe_key="n9", now=NOW + timedelta(hours=4))
    fire(NOW + timedelta(hours=4))
    assert Delivery.objects.latest("pk").provider == "sms1"
    assert ProviderState.objects.get(pk=state.pk).opened_at is None


def test_one_of_two_workers_has_the_probe_and_a_page_never_waits_for_breakers(phones):
    accounts = [phones["sms1"].account(), phones["sms2"].account()]
    for _ in range(3):
        breaker.failed(accounts[0], error="503", now=NOW)
    assert breaker.usable(accounts, now=NOW) == accounts[1:]
    later = NOW + rules.open_for(3)
    assert breaker.usable(accounts, now=later) == accounts
    assert breaker.usable(accounts, now=later) == accounts[1:], "the probe is taken"
    for _ in range(3):
        breaker.failed(accounts[1], error="503", now=NOW)
    assert breaker.usable(accounts, now=NOW) == accounts


def test_a_number_that_no_provider_reaches_is_asked_once_and_flagged(ravi, phones, fake):
    landline = phone(ravi, "sms", NEVER)
    page = make_notification(ravi)
    fire(NOW)
    fire(NOW + SECOND)

    failed = page.deliveries.get(channel="sms")
    assert (failed.status, failed.attempts) == ("failed", 1)
    assert phones["sms2"].asked == 0
    landline.refresh_from_db()
    assert "21211" in landline.flag_reason
    assert ProviderState.objects.get(name="sms1").failures == 0, "the provider did its work"
    assert [message.address for message in fake.accepted] == [ravi.email], "the next way, at once"


def test_credentials_stand_in_no_repr_log_or_ledger(ravi, phones, caplog):
    phone(ravi, "sms")
    phones["sms1"].down = phones["sms2"].down = True
    page = make_notification(ravi)
    fire(NOW)

    said = f"{phones['sms1'].account()!r} {caplog.text} {page.deliveries.get().last_error}"
    assert "sms1" in said
    assert TOKEN not in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pigeon://a:b@?from=1", "must start with twilio:// or vonage://"),
        ("twilio://AC1@?from=+49301", "needs the account's secret"),
        ("twilio://AC1:tok@", "needs an account before the @ and from="),
        ("vonage://app@?from=49301", "needs key_file"),
        ("twilio://AC1:tok@?from=1&colour=red", "unknown option colour"),
        ("twilio://AC1:tok@?from=1 twilio://AC2:tok@?from=1", "two providers twilio"),
    ],
)
def test_a_setting_that_cannot_be_used_says_why_without_the_secret(text, sentence):
    with pytest.raises(ValueError) as error:
        read_accounts("voice", text)
    assert sentence in str(error.value)
    assert "tok" not in str(error.value)


def test_a_setting_names_hosts_senders_and_order():
    first, second = read_accounts(
        "sms", "twilio://AC1:t%40k@?from=+49301 vonage+http://key:s@127.0.0.1:8081?from=Muster"
    )
    assert (first.base, first.sender, first.password) == ("https://api.twilio.com", "+49301", "t@k")
    assert (second.base, second.sender, second.name) == ("http://127.0.0.1:8081", "Muster", "vonage")


# --- calls ------------------------------------------------------------------------------------------------------


def test_a_call_is_answered_with_a_key_and_another_page_is_refused_politely(ravi, phones, paged):
    phone(ravi, "voice")
    incident = paged("5xx on payments")
    [call] = phones["voice1"].arrived
    path = call["Url"].removeprefix("https://muster.example")

    heard = post(
        path, {"CallSid": call["sid"], "CallStatus": "in-progress", "AnsweredBy": "human"}
    ).content.decode()
    assert "5xx on payments" in heard
    assert "Press 4 to acknowledge, 5 to escalate, 6 to resolve, 0 for help, star to hear it again." in heard
    keys = f"{path}keys/1/"
    assert f'action="https://muster.example{keys}"' in heard

    assert (
        "Acknowledge says that you have it"
        in post(keys, {"CallSid": call["sid"], "Digits": "0"}).content.decode()
    )
    assert (
        "This key does nothing"
        in post(f"{path}keys/2/", {"CallSid": call["sid"], "Digits": "9"}).content.decode()
    )
    assert (
        "5xx on payments" in post(f"{path}keys/3/", {"CallSid": call["sid"], "Digits": "*"}).content.decode()
    )
    incident.refresh_from_db()
    assert incident.status == "triggered"

    said = post(f"{path}keys/4/", {"CallSid": call["sid"], "Digits": "4"}).content.decode()
    assert f"{incident.ref} is yours. Nobody else is paged. Goodbye." in said
    incident.refresh_from_db()
    assert (incident.status, incident.acknowledged_by) == ("acknowledged", ravi)
    assert incident.timeline.get(kind=Kind.ACKNOWLEDGED).data["via"] == "phone"

    assert (
        f"{incident.ref} is resolved."
        in post(f"{path}keys/5/", {"CallSid": call["sid"], "Digits": "6"}).content.decode()
    )


def test_several_incidents_are_one_call_and_one_sms_with_one_answer(
    ravi, phones, paged, settings, monkeypatch
):
    settings.MUSTER_MESSAGE_LIMITS = {}
    phone(ravi, "voice", after=5 * 60 * SECOND)
    phone(ravi, "sms", after=5 * 60 * SECOND)
    found = [paged(title) for title in ("Checkout fails", "Search is slow", "Disk fills")]
    assert not phones["voice1"].arrived

    fire(timezone.now() + timedelta(minutes=5))

    [call], [sms] = phones["voice1"].arrived, phones["sms1"].arrived
    assert sms["Body"].startswith("3 pages wait for you. 1: SEV1 ")
    assert "Reply ack all, or ack and a number. All: https://muster.example/notifications/all/" in sms["Body"]
    path = call["Url"].removeprefix("https://muster.example")
    heard = post(path, {"CallSid": call["sid"], "AnsweredBy": "human"}).content.decode()
    assert "3 pages wait for you." in heard
    assert all(incident.title in heard for incident in found)
    assert "Press 4 to acknowledge all, 5 to escalate all, 6 to resolve all" in heard

    assert f"{found[2].ref} is yours" in text_in(phones["sms1"], Body="ack 3")
    said = post(f"{path}keys/1/", {"CallSid": call["sid"], "Digits": "4"}).content.decode()
    assert all(f"{incident.ref} is yours" in said for incident in found)
    assert {type(each).objects.get(pk=each.pk).status for each in found} == {"acknowledged"}


def test_news_of_a_machine_that_comes_before_our_own_result_counts(ravi, phones, monkeypatch):
    phone(ravi, "voice")
    page = make_notification(ravi)
    claimed = []
    monkeypatch.setattr(sending, "dispatch", claimed.append)
    fire(NOW)
    call = page.deliveries.get(channel="voice")

    settled = transitions.settle(
        deliveries=Delivery.objects.filter(pk=call.pk),
        result="machine",
        said="answered by a machine",
        now=NOW,
    )
    said = Accepted("queued CA1", provider="voice1", provider_id="CA1")
    transitions.record(claimed=claimed[0], outcome="sent", detail=said, now=NOW)

    call.refresh_from_db()
    assert settled == 1
    assert (call.status, call.provider, call.receipt) == ("machine", "voice1", "answered by a machine")
    assert not Timer.objects.filter(key=str(call.pk)).exists()


@pytest.mark.parametrize("outcome", ["sent", "transient", None])
def test_news_of_a_person_that_comes_before_our_own_result_ends_the_message(
    ravi, phones, monkeypatch, outcome
):
    """Until now the lease took such a message for lost, and the person was told a second time."""
    phone(ravi, "sms")
    page = make_notification(ravi)
    claimed = []
    monkeypatch.setattr(sending, "dispatch", claimed.append)
    fire(NOW)
    sms = page.deliveries.get(channel="sms")

    transitions.settle(
        deliveries=Delivery.objects.filter(pk=sms.pk), result="reached", said="delivered", now=NOW + SECOND
    )
    if outcome:
        said = (
            Accepted("queued SM1", provider="sms1", provider_id="SM1") if outcome == "sent" else "No answer"
        )
        transitions.record(claimed=claimed[0], outcome=outcome, detail=said, now=NOW + 2 * SECOND)
    fire(NOW + timedelta(minutes=3))

    sms.refresh_from_db()
    assert (sms.status, sms.attempts, sms.receipt) == ("sent", 1, "delivered")
    assert len(claimed) == 1
    assert not Timer.objects.filter(key=str(sms.pk)).exists()


def test_what_was_delivered_though_nobody_answered_us_is_not_tried_again(ravi, phones, monkeypatch):
    phone(ravi, "sms")
    page = make_notification(ravi)
    claimed = []
    monkeypatch.setattr(sending, "dispatch", claimed.append)
    fire(NOW)
    transitions.record(
        claimed=claimed[0], outcome="transient", detail="No answer within 8 s", now=NOW + SECOND
    )
    sms = page.deliveries.get(channel="sms")
    assert sms.status == "waiting"

    for result in ("failed", "reached"):  # of an attempt that failed anyway there is nothing to learn
        transitions.settle(
            deliveries=Delivery.objects.filter(pk=sms.pk), result=result, said=result, now=NOW + 2 * SECOND
        )
    fire(NOW + timedelta(minutes=3))

    sms.refresh_from_db()
    assert (sms.status, sms.receipt, sms.last_error) == ("sent", "reached", "")
    assert len(claimed) == 1


def test_a_call_that_was_held_back_rings_at_once_when_the_first_word_did_not_arrive(ravi, phones, settings):
    settings.MUSTER_MESSAGE_LIMITS = {"voice": [rules.Limit(1, 15)]}
    phone(ravi, "sms")
    phone(ravi, "voice", after=timedelta(minutes=2))
    make_notification(ravi, topic="incident:before", now=NOW - timedelta(minutes=2))
    fire(NOW - timedelta(minutes=2))
    fire(NOW)  # that page's call
    page = make_notification(ravi, topic="incident:now", now=NOW)
    fire(NOW)
    fire(NOW + timedelta(minutes=2))
    call = page.deliveries.get(channel="voice")
    assert (call.status, call.held_why) == ("waiting", "1 in 15 min is the most")

    at = NOW + timedelta(minutes=3)
    transitions.settle(
        deliveries=page.deliveries.filter(channel="sms"), result="failed", said="undelivered", now=at
    )
    fire(at)

    call.refresh_from_db()
    assert call.status == "sent"


def test_five_escalates_once_however_often_the_request_is_sent(ravi, phones, paged):
    phone(ravi, "voice")
    incident = paged("5xx")
    [call] = phones["voice1"].arrived
    keys = call["Url"].removeprefix("https://muster.example") + "keys/1/"

    first = post(keys, {"CallSid": call["sid"], "Digits": "5"}).content.decode()
    again = post(keys, {"CallSid": call["sid"], "Digits": "5"}).content.decode()

    assert "is escalated. The next people are paged." in first
    assert again == first
    assert incident.timeline.filter(kind=Kind.ESCALATED, actor=ravi).count() == 1


def test_vonage_rings_and_takes_keys_too(ravi, phones, settings, paged):
    settings.MUSTER_VOICE_PROVIDERS = [phones["voice2"].account()]
    phone(ravi, "voice")
    incident = paged("5xx")
    [call] = phones["voice2"].arrived
    talk, take = call["ncco"]
    assert "5xx" in talk["text"]
    path = take["eventUrl"][0].removeprefix("https://muster.example")
    body = json.dumps({"uuid": call["uuid"], "dtmf": {"digits": "4", "timed_out": False}}).encode()

    answer = Client().post(path, body, content_type="application/json", **signed_by_vonage(body))

    assert answer.json()[0]["text"] == f"{incident.ref} is yours. Nobody else is paged. Goodbye."
    incident.refresh_from_db()
    assert incident.status == "acknowledged"


def test_what_is_not_signed_by_the_account_is_refused(ravi, phones, settings, paged):
    settings.MUSTER_VOICE_PROVIDERS.reverse()
    settings.MUSTER_VOICE_PROVIDERS = [phones["voice2"].account(), phones["voice1"].account()]
    phone(ravi, "sms")
    phone(ravi, "voice")
    incident = paged("5xx")
    [call] = phones["voice2"].arrived
    keys = call["ncco"][1]["eventUrl"][0].removeprefix("https://muster.example")
    body = json.dumps({"uuid": call["uuid"], "dtmf": {"digits": "4"}}).encode()
    other = json.dumps({"uuid": call["uuid"], "dtmf": {"digits": "6"}}).encode()
    old = timezone.now().timestamp() - 3600
    sms = {"MessageSid": "SM1", "From": GOOD, "Body": "ack all"}

    for answer in (
        Client().post(keys, body, content_type="application/json"),
        Client().post(keys, body, content_type="application/json", **signed_by_vonage(other)),
        Client().post(keys, body, content_type="application/json", **signed_by_vonage(body, at=old)),
        post("/notifications/phone/sms1/sms/", sms, token="wrong"),
        Client().get(
            "/notifications/phone/sms2/sms/", {"msisdn": GOOD[1:], "messageId": "x", "text": "ack all"}
        ),
    ):
        assert answer.status_code == 403
    nonsense = Client().post("/notifications/phone/sms2/sms/", "[" * 60_000, content_type="application/json")
    assert nonsense.status_code == 400
    endless = Client().get("/notifications/phone/sms2/sms/", {"messageId": "x", "timestamp": "9" * 5000})
    assert endless.status_code == 403
    assert post("/notifications/phone/nobody/sms/", sms).status_code == 404
    settings.MUSTER_PHONE_CALLBACKS = False
    assert post("/notifications/phone/sms1/sms/", sms).status_code == 404
    incident.refresh_from_db()
    assert incident.status == "triggered"
    assert not Reply.objects.exists()


# --- SMS --------------------------------------------------------------------------------------------------------


def test_an_sms_is_answered_with_its_number_and_the_answer_confirms(ravi, phones, settings, paged):
    settings.MUSTER_MESSAGE_LIMITS = {}
    phone(ravi, "sms")
    first, second = paged("Checkout fails"), paged("Search is slow")
    texts = [message["Body"] for message in phones["sms1"].arrived]
    assert texts[0].endswith("Reply ack 1.")
    assert texts[1].endswith("Reply ack 2.")
    assert "https://muster.example/p/" in texts[0]

    assert "2 wait for you. Reply with a number, or all. 1: " in text_in(phones["sms1"], Body="ack")
    assert "No message of the last 48 h has the number 77" in text_in(phones["sms1"], Body="ack 77")
    assert "ack 12 acknowledges" in text_in(phones["sms1"], Body="who are you?")
    assert "<Message>" not in text_in(phones["sms1"], Body="I am driving and will answer later")
    assert f"{second.ref} is yours" in text_in(phones["sms1"], Body="4 2")
    second.refresh_from_db()
    first.refresh_from_db()
    assert (first.status, second.status) == ("triggered", "acknowledged")
    assert second.timeline.get(kind=Kind.ACKNOWLEDGED).data["via"] == "sms"
    assert f"{first.ref} is yours" in text_in(phones["sms1"], Body="Ack all!")
    assert "Nothing waits for you." in text_in(phones["sms1"], Body="ack all")
    assert f"{first.ref} is resolved." in text_in(phones["sms1"], Body="RES 1")


def test_the_same_sms_twice_acts_once_and_strangers_hear_nothing(ravi, phones, paged):
    phone(ravi, "sms")
    incident = paged("5xx")
    fields = {"MessageSid": "SM42", "From": GOOD, "Body": "esc 1"}

    assert "is escalated" in post("/notifications/phone/sms1/sms/", fields).content.decode()
    assert "<Message>" not in post("/notifications/phone/sms1/sms/", fields).content.decode()
    assert incident.timeline.filter(kind=Kind.ESCALATED, actor=ravi).count() == 1
    stranger = text_in(phones["sms1"], Body="res 1", From="+4930555555")
    assert "<Message>" not in stranger
    incident.refresh_from_db()
    assert incident.status == "triggered"


def test_who_lost_the_right_to_answer_does_not_answer_by_sms(ravi, phones, paged):
    phone(ravi, "sms")
    incident = paged("5xx")
    User.objects.filter(pk=ravi.pk).update(role="viewer")

    assert "Nothing was done." in text_in(phones["sms1"], Body="ack 1")
    incident.refresh_from_db()
    assert incident.status == "triggered"


def test_an_sms_by_vonage_is_answered_with_an_sms(ravi, phones, settings, paged):
    settings.MUSTER_SMS_PROVIDERS = [phones["sms2"].account()]
    phone(ravi, "sms")
    incident = paged("5xx")
    fields = with_sig(
        {"msisdn": GOOD[1:], "to": "4930999", "messageId": "0A1", "text": "ack 1", "type": "text"}
    )

    answer = Client().post(
        "/notifications/phone/sms2/sms/", urlencode(fields), content_type="application/x-www-form-urlencoded"
    )

    assert answer.status_code == 204
    incident.refresh_from_db()
    assert incident.status == "acknowledged"
    fire(timezone.now())
    assert phones["sms2"].arrived[-1]["text"] == f"{incident.ref} is yours. Nobody else is paged."


def test_what_a_provider_says_later_stands_in_the_ledger(ravi, phones, fake):
    method = phone(ravi, "sms")
    ContactMethod.objects.filter(pk=method.pk).update(flagged_at=NOW, flag_reason="old")
    reached = make_notification(ravi)
    fire(NOW)
    lost = make_notification(ravi, now=NOW + SECOND)
    fire(NOW + SECOND)
    by_key = dict(zip(phones["sms1"].keys, phones["sms1"].arrived, strict=True))

    for page, status in ((reached, "delivered"), (lost, "undelivered")):
        delivery = page.deliveries.get(channel="sms")
        message = by_key[str(delivery.idempotency_key)]
        path = message["StatusCallback"].removeprefix("https://muster.example")
        fields = {
            "MessageSid": message["sid"],
            "MessageStatus": status,
            "ErrorCode": "30006" if status != "delivered" else "",
        }
        assert post(path, fields).status_code == 204
        assert post(path, fields).status_code == 204

    delivered = reached.deliveries.get(channel="sms")
    assert (delivered.status, delivered.receipt) == ("sent", "delivered")
    failed = lost.deliveries.get(channel="sms")
    assert (failed.status, failed.last_error) == ("failed", "undelivered, error 30006")
    method.refresh_from_db()
    assert method.flag_reason == "undelivered, error 30006"
    assert Timer.objects.filter(kind=transitions.RECEIPT).count() == 0


def test_without_callbacks_muster_asks_the_provider_what_became_of_a_call(ravi, phones, settings, fake):
    """Outbound-only: the text goes with the request, and the answering machine is found out by asking."""
    settings.MUSTER_PHONE_CALLBACKS = False
    phone(ravi, "voice")
    page = make_notification(ravi)
    fire(NOW)
    [call] = phones["voice1"].arrived
    assert "Url" not in call
    assert "Answer with the link in your other messages" in call["Twiml"]
    assert "Gather" not in call["Twiml"]

    fire(NOW + rules.RECEIPTS[0])
    assert page.deliveries.get(channel="voice").status == "sent", "still ringing"
    phones["voice1"].states[call["sid"]] = {"status": "completed", "answered_by": "machine_start"}
    fire(NOW + rules.RECEIPTS[0] + rules.RECEIPTS[1])

    assert page.deliveries.get(channel="voice").status == "machine"
    fire(NOW + rules.RECEIPTS[0] + rules.RECEIPTS[1])
    assert [message.address for message in fake.accepted] == [ravi.email]
    receipts.ask(delivery_id=page.deliveries.get(channel="voice").pk, turn=0, now=NOW)
