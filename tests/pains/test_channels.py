"""What users of other pagers suffer from, for channels: each pain ends here, named after it."""

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.test import Client, TestCase
from django.utils import timezone

from accounts.models import ContactMethod, Role
from incidents import transitions as incidents
from incidents.models import Kind
from notifications import channels, chat, kinds, methods, rules, sending, transitions
from notifications.models import Delivery
from notifications.sealing import unseal
from tests.factories.accounts import make_email, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.notifications import NOW, make_notification, make_rule
from tests.notifications.conftest import *  # noqa: F403  the servers that speak the providers' APIs
from tests.notifications.fakes import FakeChannel
from tests.notifications.phones import GOOD, signed_by_twilio
from timers.transitions import fire_due

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def fire(now) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True):
        fire_due(now=now, by="test")


def method(user, kind: str, address: str = GOOD, *, after: timedelta = timedelta(0)) -> ContactMethod:
    found = ContactMethod.objects.create(user=user, kind=kind, address=address, verified_at=NOW)
    make_rule(found, after=after)
    return found


def post(path: str, fields: dict[str, str]):
    path = path.removeprefix("https://muster.example")
    signed = signed_by_twilio(f"https://muster.example{path}", fields)
    return Client().post(path, urlencode(fields), content_type="application/x-www-form-urlencoded", **signed)


def test_pain_3_pages_do_not_go_on_after_the_acknowledgement_on_any_channel(monkeypatch, settings):
    """Of each channel one message waits, one is claimed and one was taken along; after the answer none leaves."""
    settings.MUSTER_SMS_PROVIDERS = settings.MUSTER_VOICE_PROVIDERS = []
    ravi = make_user("ravi")
    fakes = {kind: FakeChannel(kind) for kind in channels.CHANNELS}
    for kind, fake in fakes.items():
        monkeypatch.setitem(channels.CHANNELS, kind, fake)
        method(ravi, kind, f"{kind}-address")
        method(ravi, kind, f"{kind}-later", after=MINUTE)
    service = make_service("checkout", criticality=1)
    make_policy(tier(1, ravi), service=service)
    found = [
        incidents.trigger(service=service, title=f"number {number}", severity=1, urgency="high", now=NOW)
        for number in range(2)
    ]
    claimed = []
    monkeypatch.setattr(sending, "dispatch", claimed.append)
    fire(NOW)
    assert len(claimed) == len(fakes)
    assert {len(each.attempts) for each in claimed} == {2}, "both incidents in one message"

    for incident in found:
        incidents.acknowledge(incident_id=incident.pk, by=ravi, now=NOW + SECOND)
    for each in claimed:
        sending.hand_over(each)
    monkeypatch.undo()
    fire(NOW + 10 * MINUTE)

    assert sum(len(fake.tried) for fake in fakes.values()) == 0
    assert set(Delivery.objects.values_list("status", flat=True)) == {"cancelled"}


def test_pain_14_voicemail_is_not_counted_as_delivered(phones, fake):
    ravi = make_user("ravi")
    voice = method(ravi, "voice")
    method(ravi, "sms", after=10 * MINUTE)
    service = make_service("checkout", criticality=1)
    make_policy(tier(1, ravi), service=service)
    incident = incidents.trigger(service=service, title="5xx", severity=1, urgency="high", now=timezone.now())
    fire(timezone.now())
    [call] = phones["voice1"].arrived
    assert call["MachineDetection"] == "Enable"

    answer = post(
        call["Url"], {"CallSid": call["sid"], "CallStatus": "in-progress", "AnsweredBy": "machine_start"}
    )

    assert "<Hangup/>" in answer.content.decode(), "nothing is said to a machine"
    delivery = Delivery.objects.get(channel="voice")
    assert (delivery.status, delivery.receipt) == ("machine", "in-progress by machine start")
    incident.refresh_from_db()
    assert incident.status == "triggered", "voicemail is no acknowledgement"
    fire(timezone.now())
    assert len(phones["sms1"].arrived) == 1, "the next channel at once, not after ten minutes"
    assert Delivery.objects.get(channel="sms").reason == "Phone call was answered by a machine: at once"
    assert (
        "was not reached by Phone call: in-progress by machine start"
        in incident.timeline.get(kind=Kind.DELIVERY_FAILED).text
    )
    voice.refresh_from_db()
    assert voice.flag_reason == "A machine answered"

    # A person who takes the next call clears the flag.
    make_notification(ravi, now=timezone.now() + timedelta(hours=1))
    fire(timezone.now() + timedelta(hours=1))
    call = phones["voice1"].arrived[-1]
    post(call["StatusCallback"], {"CallSid": call["sid"], "CallStatus": "completed", "AnsweredBy": "human"})
    voice.refresh_from_db()
    assert voice.flagged_at is None


def test_pain_14_every_channel_works_without_being_reachable_from_outside(phones, settings, monkeypatch):
    """No callback is asked for, and every message carries the signed link, which the person opens themselves."""
    settings.MUSTER_PHONE_CALLBACKS = False
    ravi = make_user("ravi")
    fakes = {kind: FakeChannel(kind) for kind in channels.CHANNELS if kind not in ("sms", "voice")}
    for kind, fake in fakes.items():
        monkeypatch.setitem(channels.CHANNELS, kind, fake)
        method(ravi, kind, f"{kind}-address")
    method(ravi, "sms")
    method(ravi, "voice")
    service = make_service("checkout", criticality=1)
    make_policy(tier(1, ravi), service=service)
    incident = incidents.trigger(service=service, title="5xx", severity=1, urgency="high", now=timezone.now())
    fire(timezone.now())

    [sms], [call] = phones["sms1"].arrived, phones["voice1"].arrived
    assert "StatusCallback" not in sms
    assert not {"Url", "StatusCallback"} & set(call)
    assert "Reply" not in sms["Body"]
    links = [fake.accepted[0].link for fake in fakes.values()] + [sms["Body"].rsplit(" ", 1)[1]]
    assert len(set(links)) == 1
    assert (
        Client().post(links[0].removeprefix("https://muster.example"), {"do": "acknowledge"}).status_code
        == 303
    )
    incident.refresh_from_db()
    assert incident.acknowledged_by == ravi


def test_pain_15_a_page_does_not_hang_on_one_provider(phones):
    ravi = make_user("ravi")
    method(ravi, "sms")
    method(ravi, "voice")
    phones["sms1"].down = phones["voice1"].down = True

    page = make_notification(ravi)
    fire(NOW)

    assert {(row.channel, row.status, row.provider, row.attempts) for row in page.deliveries.all()} == {
        ("sms", "sent", "sms2", 1), ("voice", "sent", "voice2", 1),
    }  # fmt: skip
    assert "sms1: Answered 503" in page.deliveries.get(channel="sms").tries.get().detail


@pytest.mark.parametrize(
    ("kind", "given", "shown", "whole"),
    [
        ("ntfy", {"server": "https://ntfy.example.org", "topic": "pager-x7", "token": "tk_secret"},
         "pag… at ntfy.example.org", "ntfys://tk_secret@ntfy.example.org/pager-x7"),
        ("telegram", {"token": "123456789:AAbbccddeeffgghhiijjkkll", "chat": "-100123"},
         "chat -100123", "tgram://123456789:AAbbccddeeffgghhiijjkkll/-100123"),
        ("matrix", {"server": "https://matrix.example.org", "token": "syt_secret", "room": "!abc:example.org"},
         "!abc:example.org", "matrixs://syt_secret@matrix.example.org/!abc%3Aexample.org"),
        ("slack", {"address": "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"},
         "Slack (", "TIiajkdnlazkcOXrIdevi7FQ"),
        ("discord", {"address": "https://discord.com/api/webhooks/123456789/abcdefghijklmnopqrstuvwxyz"},
         "Discord (", "abcdefghijklmnopqrstuvwxyz"),
        ("teams", {"address": "https://prod-1.westus.logic.azure.com:443/workflows/abcdef0123456789abcdef0123456789/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=SeCrEt-sIgNaTuRe"},
         "Teams at prod-1.westus.logic.azure.com (", "SeCrEt-sIgNaTuRe"),
        ("apprise", {"address": "gotifys://push.example.org/AbCdEfGhIjKlMno"},
         "Gotify at push.example.org (", "gotifys://push.example.org/AbCdEfGhIjKlMno"),
    ],
)  # fmt: skip
def test_pain_16_a_team_pages_in_the_chat_that_it_has(kind, given, shown, whole, monkeypatch, client):
    """By a form with the chat's own words; the secret is encrypted, and shown to nobody again."""
    fake = FakeChannel(kind)
    monkeypatch.setitem(channels.CHANNELS, kind, fake)
    monkeypatch.setattr("notifications.chat._check_addresses", lambda host: None)
    ravi = make_user("ravi")
    client.force_login(ravi)

    with TestCase.captureOnCommitCallbacks(execute=True):
        assert (
            client.post("/notifications/methods/add/", {"kind": kind, "label": "team", **given}).status_code
            == 302
        )
    found = ravi.contact_methods.get()
    assert found.address.startswith(shown)
    assert whole in unseal(found.sealed)
    for secret in [text for name, text in given.items() if name in ("token", "address")]:
        assert secret[-12:] not in found.address + found.sealed
        assert secret[-12:] not in client.get("/notifications/methods/").content.decode()

    fire(timezone.now())
    assert whole in fake.accepted[0].address
    code = fake.accepted[0].context["code"]
    client.post(f"/notifications/methods/{found.pk}/verify/", {"code": code})
    methods.send_test(user=ravi, method_id=found.pk, now=timezone.now())
    fire(timezone.now())
    assert fake.accepted[-1].title == "Test: Muster reaches you here"


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("ntfy", {"server": "https://10.0.0.5", "topic": "x"}),
        ("ntfy", {"server": "http://ntfy.example.org", "topic": "x"}),
        ("matrix", {"server": "https://localhost", "token": "t", "room": "!a:b"}),
        ("apprise", {"address": "gotifys://169.254.169.254/AbCdEfGhIjKlMno"}),
        ("apprise", {"address": "syslog://localhost"}),
        ("apprise", {"address": "dbus://"}),
        ("slack", {"address": "https://discord.com/api/webhooks/123456789/abcdefghijklmnopqrstuvwxyz"}),
    ],
)
def test_pain_16_no_chat_address_leads_into_this_network_or_runs_anything(kind, given, client):
    ravi = make_user("ravi")
    client.force_login(ravi)

    assert client.post("/notifications/methods/add/", {"kind": kind, **given}).status_code == 422
    assert not ravi.contact_methods.exists()


def test_pain_16_a_matrix_server_sends_nobody_to_another_address(monkeypatch):
    """Its discovery could name one inside this network, after the host itself was checked."""
    asked = []
    plugin = chat._plugin("matrixs://token@matrix.example.org/!abc%3Aexample.org")
    monkeypatch.setattr(plugin, "_fetch", lambda *args, **options: asked.append(options) or (False, {}, 404))

    assert plugin.base_url == "https://matrix.example.org"
    assert asked == []


def test_pain_20_each_attempt_is_found_again_and_can_be_sent_again(client, fake):
    ravi = make_user("ravi", full_name="Ravi Menon")
    make_rule(make_email(ravi, verified_at=NOW))
    fake.answers = ["permanent"]
    lost = make_notification(ravi, title="SEV1 Checkout fails")
    make_notification(make_user("ines"), title="SEV2 Search is slow", now=NOW + 25 * 60 * MINUTE)
    fire(NOW)
    fire(NOW + SECOND)
    fire(NOW + 25 * 60 * MINUTE)
    ines = make_user("boss", role=Role.RESPONDER)
    client.force_login(ines)

    def shown(**query) -> set[str]:
        found = client.get("/notifications/ledger/", query).context["deliveries"]
        return {row.notification.title for row in found}

    assert (
        shown(text="checkout")
        == shown(text="nobody here")
        == shown(person=ravi.pk)
        == {"SEV1 Checkout fails"}
    )
    assert shown(on="2026-11-24", channel="email", status="failed") == {"SEV1 Checkout fails"}
    assert shown(on="2026-11-25") == {"SEV2 Search is slow"}
    assert shown(channel="sms") == set()

    failed = lost.deliveries.filter(status="failed").first()
    assert client.post(f"/notifications/ledger/{failed.pk}/send-again/", {"reason": ""}).status_code == 422
    assert (
        client.post(f"/notifications/ledger/{failed.pk}/send-again/", {"reason": "Box was full"}).status_code
        == 302
    )
    fire(timezone.now())
    again = lost.deliveries.get(again_of=failed)
    assert (again.status, again.reason) == ("sent", "Sent again by Boss: Box was full")
    assert again.tries.count() == 1


def test_kinds_that_this_installation_cannot_send_are_not_offered(settings):
    settings.MUSTER_SMS_PROVIDERS = settings.MUSTER_VOICE_PROVIDERS = []
    assert not {"sms", "voice"} & {value for value, _ in kinds.offered()}
    assert rules.masked("+4930123456") == "+49…456"
    assert transitions.CODED == ("sms",)
