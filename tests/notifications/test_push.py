"""Push messages from end to end, without a browser: encrypted, handed to a real push service, and decrypted there."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import ContactMethod
from core.errors import Missing
from notifications import channels
from notifications.channels.base import PermanentError, TransientError
from notifications.channels.push import PushChannel, key, payload
from notifications.models import Delivery
from notifications.push import rules, transitions, vapid
from notifications.transitions import cancel_topic
from tests.factories.accounts import make_email, make_user
from tests.factories.notifications import make_notification, make_rule
from tests.notifications.browsers import PushService
from tests.notifications.fakes import FakeChannel
from tests.notifications.test_channel_contract import make_message
from timers.transitions import fire_due

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
ANDROID = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36"


@pytest.fixture
def service(settings, httpserver) -> PushService:
    settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS = True
    settings.MUSTER_BASE_URL = "https://muster.example"
    settings.ALLOWED_HOSTS = ["*"]
    return PushService(httpserver)


# --- the words and numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (ANDROID, "Chrome on Android"),
        (ANDROID + " EdgA/131.0", "Edge on Android"),
        (ANDROID.replace("Chrome/", "SamsungBrowser/27.0 Chrome/"), "Samsung Internet on Android"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
         "Version/18.1 Safari/605.1.15", "Safari on Mac"),
        (f"{IPHONE} Version/18.1 Mobile/15E148 Safari/604.1", "Safari on iPhone"),
        (f"{IPHONE} Mobile/15E148", "Muster on iPhone"),
        ("curl/8", "Browser on a device"), ("", "Browser on a device"),
    ],
)  # fmt: skip
def test_a_browser_is_named_as_its_person_would(agent, words):
    assert rules.browser_words(agent) == words


def test_the_installations_key_is_the_same_on_every_machine_and_another_with_another_secret():
    one, same, other = (vapid.derived_key(secret * 40) for secret in "aab")

    assert vapid.public_text(one) == vapid.public_text(same) != vapid.public_text(other)
    assert len(rules.decode(vapid.public_text(one))) == 65
    raw = rules.encode(one.private_numbers().private_value.to_bytes(32))
    assert vapid.public_text(vapid.read_key(raw)) == vapid.public_text(one)
    assert vapid.read_key("") is None
    for wrong in ("short", "A" * 44, "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----", "ü"):
        with pytest.raises(ValueError):
            vapid.read_key(wrong)


# --- on the wire ------------------------------------------------------------------------------------------------


def test_a_page_arrives_encrypted_for_one_browser_and_signed_by_this_installation(service):
    message = make_message(
        service.address(), title="SEV1 Checkout fails",
        body="DRILL SEV1 Checkout fails #42\nHow bad: 結帳\x07 fails\n" + "ü" * 5000, kind="page",
        context={"severity": "SEV1", "drill": False},
    )  # fmt: skip
    assert PushChannel().send(message, last_look=lambda: True) == "201 said"

    [said], [request] = service.opened(), service.requests
    body = said.pop("body")
    assert said == {
        "id": message.idempotency_key, "kind": "page", "title": "DRILL SEV1 Checkout fails #42", "url": "/p/x/",
        "ack": "/p/x/", "urgent": True, "icon": "sev1", "tag": rules.topic("incident:42"),
        "at": int(datetime(2026, 11, 24, 2, 41, tzinfo=UTC).timestamp() * 1000),
    }  # fmt: skip
    assert body.startswith("How bad: 結帳\x07 fails\nüü") and body.endswith("ü…")
    assert b"Checkout" not in request.get_data() and len(request.get_data()) <= 4096
    assert {name: request.headers[name] for name in ("Content-Encoding", "TTL", "Urgency", "Topic")} == {
        "Content-Encoding": "aes128gcm", "TTL": "14400", "Urgency": "high", "Topic": rules.topic("incident:42"),
    }  # fmt: skip
    assert len(request.headers["Topic"]) == 32
    claims, named = service.claims()
    assert named == vapid.public_text(key()) and claims["sub"] == "https://muster.example"
    assert (
        timedelta(0) < datetime.fromtimestamp(claims["exp"], UTC) - datetime.now(UTC) <= timedelta(hours=24)
    )


def test_who_is_asked_to_take_a_role_does_not_acknowledge_by_accident_and_a_drill_is_marked(service):
    send = PushChannel().send
    send(make_message(service.address(), kind="page", topic="incident:4:roles:2"), last_look=lambda: True)
    send(
        make_message(service.address(), kind="page", context={"severity": "SEV1", "drill": True}),
        last_look=lambda: True,
    )

    assert [(said["ack"], said["icon"]) for said in service.opened()] == [("", ""), ("/p/x/", "drill")]


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("gone", PermanentError), ("unknown", PermanentError), ("never", PermanentError), ("moved", PermanentError),
        ("later", TransientError), ("busy", TransientError),
    ],
)  # fmt: skip
def test_what_the_push_service_answers_decides_whether_trying_again_may_help(service, word, error):
    with pytest.raises(error):
        PushChannel().send(make_message(service.address(word)), last_look=lambda: True)
    assert service.requests == []  # no redirect was followed


def test_a_push_address_inside_a_private_network_is_not_called(service, settings):
    settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS = False
    for wrong in (service.address(), service.address().replace("http://", "https://"), "{}", "[]", "x"):
        with pytest.raises(PermanentError):
            PushChannel().send(make_message(wrong), last_look=lambda: True)
    assert service.requests == []


# --- a person's browser -----------------------------------------------------------------------------------------


@pytest.fixture
def ravi(db, service):
    return make_user("ravi")


@pytest.fixture
def client(ravi) -> Client:
    client = Client(headers={"user-agent": ANDROID})
    client.force_login(ravi)
    return client


def use(client: Client, service: PushService, word: str = "good", **more) -> object:
    return client.post("/notifications/push/use/", {**service.given(word), **more})


def confirm(client: Client, token: object):
    return client.post("/notifications/push/confirm/", json.dumps({"token": token}), "application/json")


def test_a_browser_counts_as_verified_only_after_a_push_has_arrived_there(
    client, ravi, service, django_capture_on_commit_callbacks
):
    assert use(client, service, label="Phone").json()["verified"] is False
    method = ravi.contact_methods.get()
    assert (method.address, method.label) == (
        f"Chrome on Android ({rules.mark(service.given()['endpoint'])})",
        "Phone",
    )
    assert service.given()["endpoint"] not in f"{method.address}{method.sealed}"

    with django_capture_on_commit_callbacks(execute=True):
        fire_due(now=timezone.now(), by="test")
    [said] = service.opened()
    stranger = Client()
    for wrong in ("", said["code"], said["confirm"][:-1], 7, None):
        assert confirm(stranger, wrong).status_code in (400, 404)
    method.refresh_from_db()
    assert method.verified_at is None

    assert confirm(stranger, said["confirm"]).json() == {"method": method.pk}  # the worker has no session
    method.refresh_from_db()
    assert method.verified_at is not None
    assert confirm(stranger, said["confirm"]).status_code == 404  # once

    assert use(client, service).json() == {"method": method.pk, "verified": True}  # pressed again
    assert ravi.contact_methods.count() == 1 and len(service.requests) == 1


def test_what_is_no_subscription_is_refused_with_a_sentence_and_a_stranger_signs_in_first(
    client, ravi, service
):
    for wrong in (
        {"p256dh": "AAAA"}, {"auth": "AAAA"}, {"endpoint": "ftp://x"}, {"auth": ""}, {"p256dh": "ü"}, {"endpoint": "x" * 501},
    ):  # fmt: skip
        answer = use(client, service, **wrong)
        assert answer.status_code == 400 and answer.json()["error"]["message"]
    assert use(Client(), service).status_code == 302
    assert (
        Client(enforce_csrf_checks=True, cookies=client.cookies).post("/notifications/push/use/").status_code
        == 403
    )
    assert not ContactMethod.objects.exists()


def verified(ravi, service: PushService, word: str) -> ContactMethod:
    now = timezone.now()
    method = transitions.use_browser(
        user=ravi, given={**service.given(word), "browser": "Chrome on Android"}, label="", now=now
    )
    ContactMethod.objects.filter(pk=method.pk).update(verified_at=now)
    cancel_topic(topic=f"verify:{method.pk}", now=now)
    method.refresh_from_db()
    return method


def test_a_browser_that_is_gone_is_switched_off_and_the_next_way_is_used_at_once(
    ravi, service, monkeypatch, django_capture_on_commit_callbacks
):
    fake = FakeChannel("email")
    monkeypatch.setitem(channels.CHANNELS, "email", fake)
    method, now = verified(ravi, service, "gone"), timezone.now()
    make_rule(method)
    make_rule(make_email(ravi, verified_at=now), after=timedelta(minutes=30))

    make_notification(ravi, now=now)
    for seconds in (1, 10, 20):
        with django_capture_on_commit_callbacks(execute=True):
            fire_due(now=now + timedelta(seconds=seconds), by="test")

    assert [each.channel for each in Delivery.objects.filter(status="sent")] == ["email"] and len(
        fake.accepted
    ) == 1
    method.refresh_from_db()
    assert method.disabled_at is not None and method.flag_reason.endswith("410 said")

    again = transitions.use_browser(
        user=ravi, given={**service.given("gone"), "browser": "B"}, label="", now=now
    )
    assert (again.pk, again.disabled_at, again.verified_at) == (method.pk, None, None)


def test_a_browser_that_replaces_its_subscription_keeps_its_steps_and_proves_itself_again(
    client, ravi, service
):
    method = verified(ravi, service, "good")
    make_rule(method)

    def renew(client: Client, old: object):
        flat = service.given("later")
        body = {"old": old, "subscription": {"endpoint": flat.pop("endpoint"), "keys": flat}}
        return client.post("/notifications/push/renew/", json.dumps(body), "application/json")

    old = service.given()["endpoint"]
    other = Client()
    other.force_login(make_user("mallory"))
    assert [renew(*each).status_code for each in ((Client(), old), (other, old), (client, "https://x/"), (client, 5))] == [
        403, 404, 404, 400,
    ]  # fmt: skip
    method.refresh_from_db()
    assert method.verified_at is not None

    assert renew(client, old).status_code == 204
    method.refresh_from_db()
    assert (
        method.verified_at is None
        and service.given("later")["endpoint"]
        in rules.read_subscription(transitions.unseal(method.sealed)).endpoint
    )
    assert ravi.notification_rules.count() == 1


def test_two_people_at_one_browser_are_verified_each_by_their_own_push(ravi, service):
    mara = make_user("mara")
    now = timezone.now()
    mine, hers = (
        transitions.use_browser(user=user, given={**service.given(), "browser": "B"}, label="", now=now)
        for user in (ravi, mara)
    )
    to = rules.read_subscription(service.address())
    code = transitions.verification.code_for(hers)
    message = make_message(service.address(), kind="verification", context={"code": code})
    token = json.loads(payload(message, to))["confirm"]

    assert transitions.confirm(token=token, now=now).pk == hers.pk
    mine.refresh_from_db()
    assert mine.verified_at is None
    with pytest.raises(Missing):
        transitions.confirm(token=token, now=now)


# --- what a browser keeps ---------------------------------------------------------------------------------------


def test_the_worker_comes_from_the_root_and_knows_nothing_of_anybody(db):
    worker, page = Client().get("/sw.js"), Client().get("/offline/")

    assert worker["Content-Type"] == "text/javascript; charset=utf-8"
    assert (worker["Cache-Control"], worker["Service-Worker-Allowed"]) == ("no-cache", "/")
    knows = json.loads(worker.content.decode().split(";\n")[0].removeprefix("const MUSTER = "))
    assert knows["key"] == vapid.public_text(key()) and knows["shell"][0] == "/offline/"
    assert page.status_code == 200 and b"Paging goes on without your page" in page.content
    assert "worker-src 'self'" in page["Content-Security-Policy"] and not page.cookies
