"""Chats that follow incidents: what they are told, and what people may do from there."""

import hashlib
import hmac
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from accounts.models import User
from core.errors import Invalid
from incidents import timeline, transitions
from incidents.channel.transitions import amend, say
from incidents.models import Incident, Kind, Status
from integrations.bridge import chat, endpoint, rules
from integrations.bridge import transitions as bridges
from integrations.limits import Buckets
from integrations.models import BridgeInbound, BridgeMessage, ChatBridge, MessageStatus
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from timers.models import Timer
from timers.transitions import fire_due

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOOK = "3ccdd113474722377935511fc85d3dd4"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh(settings) -> None:
    settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS = True
    settings.MUSTER_UPDATE_MINUTES = (0, 0, 0, 0)
    endpoint._known.clear()


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name="Ines Okafor", role="manager")


@pytest.fixture
def ravi() -> User:
    return make_user("ravi", full_name="Ravi Menon")


@pytest.fixture
def viola() -> User:
    return make_user("viola", full_name="Viola Weber", role="viewer")


@pytest.fixture
def opened() -> Incident:
    """Before there was any bridge, so that nothing waits."""
    return transitions.trigger(
        service=make_service("checkout-api"),
        title="Checkout fails",
        severity=2,
        urgency="low",
        now=NOW - MINUTE,
    )


def make_bridge(address: str = f"mmost://localhost:9/{HOOK}", **fields) -> tuple[ChatBridge, bridges.Secrets]:
    fields = {
        "name": "#incidents", "service": None, "min_severity": 4, "mirrors_banner": True, "mirrors_talk": True, **fields,
    }  # fmt: skip
    return bridges.create_bridge(address=address, **fields)


@pytest.fixture
def mattermost(opened, httpserver):
    """A bridge to a real server; the texts that it got, in order."""
    httpserver.expect_request(f"/hooks/{HOOK}", method="POST").respond_with_data("ok")
    make_bridge(f"mmost://localhost:{httpserver.port}/{HOOK}")

    def texts() -> list[str]:
        return [request.get_json()["text"] for request, _ in httpserver.log]

    return texts


@pytest.fixture
def later(django_capture_on_commit_callbacks):
    def pass_time(now: datetime) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            fire_due(now=now, by="test")

    return pass_time


def statuses() -> list[str]:
    return list(BridgeMessage.objects.order_by("seq").values_list("status", flat=True))


# --- what a chat is told ----------------------------------------------------------------------------------------


def test_a_burst_is_one_message_in_order_with_the_banner_on_top(mattermost, opened, ines, later):
    transitions.acknowledge(incident_id=opened.pk, by=ines, now=NOW)
    transitions.set_impact(incident_id=opened.pk, impact="38% of checkouts", by=ines, now=NOW)
    transitions.add_note(incident_id=opened.pk, text="Rolling back", by=ines, now=NOW)
    later(NOW + 2 * SECOND)
    [text] = mattermost()
    lines = [line for line in text.splitlines() if line.strip()]
    assert f"SEV2 Checkout fails ({opened.ref}): Not contained" in lines[0]
    assert [line.partition(": ")[0] for line in lines[1:-1]] == ["03:00 UTC Ines Okafor"] * 3
    assert ["acknowledged" in lines[1], "38%" in lines[2], lines[3].endswith("Rolling back")] == [True] * 3
    assert lines[-1].endswith(f"/incidents/{opened.ref}/")
    assert statuses() == [MessageStatus.SENT] * 3
    assert not Timer.objects.filter(kind=bridges.SEND).exists()


def test_an_amendment_is_told_as_one_where_talk_is(mattermost, opened, ines, later):
    make_bridge(f"mmost://localhost:9/{HOOK}", name="banner only", mirrors_talk=False)
    seq = say(incident_id=opened.pk, text="38% fail", by=ines, now=NOW).seq
    later(NOW + 2 * SECOND)
    amend(incident_id=opened.pk, seq=seq, text="@ravi 83% fail", by=ines, now=NOW + MINUTE)
    later(NOW + 2 * MINUTE)
    _, text = mattermost()
    assert "03:01 UTC Ines Okafor: amended: @\u200bravi 83% fail" in text
    assert BridgeMessage.objects.count() == 2


def test_what_comes_later_is_told_later_and_nothing_twice(mattermost, opened, ines, later):
    transitions.add_note(incident_id=opened.pk, text="first", by=ines, now=NOW)
    later(NOW + 2 * SECOND)
    transitions.add_note(incident_id=opened.pk, text="second", by=ines, now=NOW + MINUTE)
    later(NOW + 2 * MINUTE)
    later(NOW + 10 * MINUTE)
    first, second = mattermost()
    assert "first" in first and "second" not in first
    assert "second" in second and "first" not in second


def test_a_long_story_is_told_in_several_messages(mattermost, opened, ines, later):
    for number in range(8):
        say(incident_id=opened.pk, text=f"line {number} {'x' * 400}", by=ines, now=NOW)
    for seconds in (2, 4, 6, 8):
        later(NOW + seconds * SECOND)
    assert len(mattermost()) == 2
    told = "\n".join(mattermost())
    assert [number for number in range(8) if f"line {number} " in told] == list(range(8))
    assert set(statuses()) == {MessageStatus.SENT}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, True),
        ({"min_severity": 2}, True),
        ({"min_severity": 1}, False),
        ({"mirrors_talk": False}, False),
        ({"mirrors_banner": False}, True),
    ],
)
def test_a_note_goes_where_it_is_wanted(opened, ines, fields, told):
    make_bridge(**fields)
    transitions.add_note(incident_id=opened.pk, text="Rolling back", by=ines, now=NOW)
    assert BridgeMessage.objects.exists() is told


def test_a_bridge_of_one_service_is_told_of_that_one_only(opened, ines):
    mine, _ = make_bridge(service=opened.service)
    make_bridge(name="others", service=make_service("ledger"))
    transitions.acknowledge(incident_id=opened.pk, by=ines, now=NOW)
    assert list(BridgeMessage.objects.values_list("bridge_id", flat=True)) == [mine.pk]


def test_who_heard_of_it_hears_the_rest_although_it_became_milder(opened, ines):
    told, _ = make_bridge(min_severity=1)
    transitions.set_severity(incident_id=opened.pk, severity=1, by=ines, reason="worse", now=NOW)
    transitions.set_severity(incident_id=opened.pk, severity=3, by=ines, reason="milder", now=NOW)
    make_bridge(name="too mild for it, and never told", min_severity=1)
    transitions.resolve(incident_id=opened.pk, by=ines, now=NOW)
    seqs = list(BridgeMessage.objects.order_by("seq").values_list("bridge_id", "seq"))
    kinds = [opened.timeline.get(seq=seq).kind for _, seq in seqs]
    assert {bridge for bridge, _ in seqs} == {told.pk}
    assert kinds[-2:] == ["severity_changed", "resolved"]


def test_a_drill_says_so_in_its_first_word(mattermost, ines, later):
    drill = transitions.trigger(
        service=make_service("ledger"), title="Practice", severity=3, urgency="low", now=NOW, is_drill=True
    )
    later(NOW + 2 * SECOND)
    assert any(
        text.lstrip("#* \r\n").startswith(f"DRILL SEV3 Practice ({drill.ref})") for text in mattermost()
    )


def test_words_of_people_call_nobody_in_the_chat(mattermost, opened, ines, later):
    say(incident_id=opened.pk, text="@channel <!here> @all come", by=ines, now=NOW)
    later(NOW + 2 * SECOND)
    [text] = mattermost()
    for call in ("@channel", "<!here>", "@all"):
        assert call not in text
    assert "\u200bchannel" in text


# --- when the chat is away --------------------------------------------------------------------------------------


def test_a_dead_chat_costs_the_incident_nothing_and_is_told_when_it_is_back(opened, ines, later, httpserver):
    bridge, _ = make_bridge(f"mmost://localhost:{httpserver.port}/{HOOK}")
    httpserver.expect_ordered_request(f"/hooks/{HOOK}").respond_with_data("down", status=502)
    httpserver.expect_ordered_request(f"/hooks/{HOOK}").respond_with_data("ok")
    transitions.acknowledge(incident_id=opened.pk, by=ines, now=NOW)
    later(NOW + 2 * SECOND)
    bridge.refresh_from_db()
    opened.refresh_from_db()
    assert opened.status == Status.ACKNOWLEDGED
    assert bridge.last_error and bridge.last_sent_at is None
    assert HOOK not in bridge.last_error
    assert statuses() == [MessageStatus.WAITING]
    later(NOW + 5 * SECOND)
    assert len(httpserver.log) == 1, "tried again too early"
    later(NOW + MINUTE)
    bridge.refresh_from_db()
    assert (bridge.last_error, statuses()) == ("", [MessageStatus.SENT])
    assert bridge.last_sent_at is not None


def test_after_a_day_it_is_given_up(opened, ines, later, httpserver):
    make_bridge(f"mmost://localhost:{httpserver.port}/{HOOK}")
    httpserver.expect_request(f"/hooks/{HOOK}").respond_with_data("down", status=500)
    transitions.add_note(incident_id=opened.pk, text="Rolling back", by=ines, now=NOW)
    later(NOW + 2 * SECOND)
    later(NOW + timedelta(hours=25))
    assert statuses() == [MessageStatus.FAILED]
    assert not Timer.objects.filter(kind=bridges.SEND).exists()


def test_a_worker_that_dies_before_sending_is_followed_by_another(mattermost, opened, ines, later):
    transitions.add_note(incident_id=opened.pk, text="Rolling back", by=ines, now=NOW)
    fire_due(now=NOW + 2 * SECOND, by="test")  # claimed, committed, and killed: nothing of it is sent
    assert (mattermost(), statuses()) == ([], [MessageStatus.WAITING])
    later(NOW + MINUTE)
    assert mattermost() == [], "the lease is not over"
    later(NOW + 2 * MINUTE)
    later(NOW + 10 * MINUTE)
    assert len(mattermost()) == 1
    assert statuses() == [MessageStatus.SENT]


def test_what_happens_while_one_message_is_under_way_follows_it(mattermost, opened, ines, later):
    transitions.add_note(incident_id=opened.pk, text="first", by=ines, now=NOW)
    bridge = ChatBridge.objects.get()
    claimed = bridges.claim(bridge_id=bridge.pk, incident=opened, now=NOW + SECOND)
    transitions.add_note(incident_id=opened.pk, text="second", by=ines, now=NOW + SECOND)
    bridges.record(claimed=claimed, error="", now=NOW + 2 * SECOND)
    assert statuses() == [MessageStatus.SENT, MessageStatus.WAITING]
    later(NOW + 4 * SECOND)
    [text] = mattermost()
    assert "second" in text and "first" not in text


def test_a_disabled_bridge_is_told_nothing_also_not_what_waits(mattermost, opened, ines, later):
    transitions.add_note(incident_id=opened.pk, text="first", by=ines, now=NOW)
    bridges.disable(bridge_id=ChatBridge.objects.get().pk, now=NOW)
    transitions.add_note(incident_id=opened.pk, text="second", by=ines, now=NOW)
    later(NOW + MINUTE)
    assert (mattermost(), statuses()) == ([], [MessageStatus.DROPPED])


def test_the_subscription_is_one_query_and_the_entry_stands_without_a_bridge(opened, ines):
    assert bridges.mirror in timeline.subscribers()[Kind.NOTE]
    transitions.add_note(incident_id=opened.pk, text="alone", by=ines, now=NOW)
    assert not BridgeMessage.objects.exists() and not Timer.objects.filter(kind=bridges.SEND).exists()


# --- which addresses are taken ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "Slack"),
        (f"https://chat.example.org/hooks/{HOOK}", "Mattermost at chat.example.org"),
        (f"mmosts://chat.example.org/{HOOK}", "Mattermost at chat.example.org"),
        ("https://discord.com/api/webhooks/123456789012345678/AbCdEfGhIj", "Discord"),
        (
            "https://prod-1.westus.logic.azure.com:443/workflows/643e69f83c8944438d68119179a10a64/triggers/manual/"
            "paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=KODuebWbDGYFr0z0eu",
            "Teams at prod-1.westus.logic.azure.com",
        ),
    ],
)
def test_addresses_as_the_chats_give_them_out(settings, address, shown):
    settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS = False
    assert chat.read(address).shown_as == shown


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("file:///etc/passwd", "does not know this kind"),
        ("syslog://", "does not know this kind"),
        ("mailto://a:b@example.org", "does not know this kind"),
        ("https://example.org/hook", "no address of a chat"),
        ("http://[", "no address"),
        ("", "does not know this kind"),
        (f"mmost://chat.example.org/{HOOK}", "unencrypted"),
        (f"mmosts://127.0.0.1/{HOOK}", "private network"),
        (f"mmosts://10.1.2.3/{HOOK}", "private network"),
        (f"mmosts://[::1]/{HOOK}", "private network"),
        (f"mmosts://metadata.internal/{HOOK}", "private network"),
        ("jsons://169.254.169.254/latest", "private network"),
        (f"mmosts://chat.example.org/{HOOK}?verify=no", "'verify'"),
        (f"mmosts://chat.example.org/{HOOK}?redirect=yes", "'redirect'"),
        ("workflows://host.example.org:443/workflow/sig?template=/etc/passwd", "'template'"),
    ],
)
def test_what_is_no_chat_or_leads_inside_is_refused(settings, address, sentence):
    settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS = False
    with pytest.raises(Invalid) as refused:
        make_bridge(address)
    assert sentence in refused.value.message
    assert not ChatBridge.objects.exists()


def test_a_name_that_leads_inside_is_not_called(settings, monkeypatch):
    settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS = False
    found = [(2, 1, 6, "", ("93.184.216.34", 0)), (2, 1, 6, "", ("10.0.0.5", 0))]
    monkeypatch.setattr(chat.socket, "getaddrinfo", lambda *args, **kwargs: found)
    with pytest.raises(chat.ChatError, match=r"10\.0\.0\.5, inside a private network"):
        chat.send(url=f"mmosts://chat.example.org/{HOOK}", title="t", body="b")


def test_no_redirect_is_followed(httpserver):
    httpserver.expect_request(f"/hooks/{HOOK}").respond_with_data(
        "", status=302, headers={"Location": httpserver.url_for("/elsewhere")}
    )
    with pytest.raises(chat.ChatError):
        chat.send(url=f"mmost://localhost:{httpserver.port}/{HOOK}", title="t", body="b")
    assert [request.path for request, _ in httpserver.log] == [f"/hooks/{HOOK}"]


def test_the_address_is_in_no_log(caplog, httpserver):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("apprise").addHandler(caplog.handler)
    httpserver.expect_request(f"/hooks/{HOOK}").respond_with_data("no", status=404)
    with pytest.raises(chat.ChatError) as refused:
        chat.send(url=f"mmost://localhost:{httpserver.port}/{HOOK}", title="t", body="b")
    with pytest.raises(Invalid):
        chat.read("https://example.org/very-secret-hook")
    logging.getLogger("apprise").removeHandler(caplog.handler)
    of_the_server = ("werkzeug", "urllib3")
    mine = [record for record in caplog.records if not record.name.startswith(of_the_server)]
    assert HOOK not in str(refused.value)
    assert mine and not any(HOOK in record.getMessage() for record in mine)


# --- from the chat ----------------------------------------------------------------------------------------------


def send(
    made: bridges.Secrets, body: dict | bytes, *, at: datetime = NOW, now: datetime = NOW, secret: str = "", path: str = ""
):  # fmt: skip
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    stamp = str(int(at.timestamp()))
    signed = hmac.new((secret or made.signing_secret).encode(), f"{stamp}.".encode() + raw, hashlib.sha256)
    with time_machine.travel(now, tick=False):
        return Client().post(
            path or f"/api/v1/integrations/chat/{made.key}/",
            data=raw,
            content_type="application/json",
            HTTP_X_MUSTER_TIMESTAMP=stamp,
            HTTP_X_MUSTER_SIGNATURE=f"v1={signed.hexdigest()}",
        )


def words(incident: Incident, *, text: str = "Rolling back", user: str = "ravi", id: str = "m-1") -> dict:
    return {"id": id, "incident": incident.ref, "user": user, "text": text}


def entries(incident: Incident) -> int:
    return incident.timeline.count()


def test_words_from_the_chat_are_the_persons_and_do_not_go_back(opened, ravi):
    bridge, made = make_bridge()
    other, _ = make_bridge(name="another chat")
    answer = send(made, words(opened))
    assert (answer.status_code, answer.json()["status"]) == (200, "said")
    entry = opened.timeline.latest("seq")
    assert (entry.kind, entry.actor, entry.text) == (Kind.NOTE, ravi, "Rolling back")
    assert entry.data["via"] == f"chat:{bridge.pk}"
    assert list(BridgeMessage.objects.values_list("bridge_id", flat=True)) == [other.pk]


def test_the_same_id_again_says_it_once(opened, ravi):
    _, made = make_bridge()
    send(made, words(opened))
    before = entries(opened)
    answer = send(made, words(opened), now=NOW + MINUTE, at=NOW + MINUTE)
    assert (answer.status_code, answer.json()["status"]) == (200, "repeated")
    assert entries(opened) == before


def test_acknowledge_from_the_chat_is_the_persons(opened, ravi):
    _, made = make_bridge()
    answer = send(made, words(opened, text="Acknowledge", user="RAVI@example.org"))
    opened.refresh_from_db()
    assert answer.json() == {
        "status": "done", "incident": opened.ref, "message": "Ravi Menon has it. Nobody else is paged.",
    }  # fmt: skip
    assert (opened.status, opened.acknowledged_by) == (Status.ACKNOWLEDGED, ravi)


def test_who_comes_second_is_told_who_has_it(opened, ravi, ines):
    _, made = make_bridge()
    transitions.acknowledge(incident_id=opened.pk, by=ines, now=NOW)
    answer = send(made, words(opened, text="acknowledge"))
    assert answer.json()["message"].startswith("Ines Okafor has it already.")


def test_a_command_from_the_chat_does_what_it_does_in_the_room(opened, ravi):
    _, made = make_bridge()
    assert send(made, words(opened, text="/sev 1 it spreads")).status_code == 200
    opened.refresh_from_db()
    assert opened.severity == 1
    assert opened.timeline.get(kind=Kind.SEVERITY_CHANGED).actor == ravi


@pytest.mark.parametrize("user", ["somebody", "viola", "gone"])
@pytest.mark.parametrize("text", ["acknowledge", "/resolve"])
def test_who_is_no_responder_may_not_act_from_the_chat(opened, viola, user, text):
    make_user("gone", is_active=False)
    _, made = make_bridge()
    before = entries(opened)
    answer = send(made, words(opened, text=text, user=user))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")
    assert answer.json()["error"]["message"].startswith(f"{user} is no responder here")
    opened.refresh_from_db()
    assert (opened.status, entries(opened)) == (Status.TRIGGERED, before)
    assert not BridgeInbound.objects.exists(), "refused, so the same id may come again"


@pytest.mark.parametrize("user", ["somebody", "viola"])
def test_anybody_in_the_chat_may_write(opened, viola, user):
    _, made = make_bridge()
    assert send(made, words(opened, user=user, text="I see it too")).status_code == 200
    entry = opened.timeline.latest("seq")
    assert (entry.actor, entry.actor_name, entry.text) == (None, f"{user} (chat)", "I see it too")


def test_a_command_that_is_none_is_refused_and_nothing_happens(opened, ravi):
    _, made = make_bridge()
    before = entries(opened)
    answer = send(made, words(opened, text="/resolev now"))
    assert answer.status_code == 400 and "/resolve" in answer.json()["error"]["message"]
    assert entries(opened) == before


def test_a_blank_before_the_stroke_makes_it_text_as_the_refusal_says(opened, ravi):
    _, made = make_bridge()
    assert send(made, words(opened, text=" /healthz is 500")).status_code == 200
    assert opened.timeline.latest("seq").text == "/healthz is 500"


def test_a_move_that_the_state_does_not_admit_is_409(opened, ravi, ines):
    _, made = make_bridge()
    transitions.resolve(incident_id=opened.pk, by=ines, now=NOW)
    assert send(made, words(opened, text="acknowledge")).status_code == 409


def test_a_bridge_of_another_service_reaches_no_incident_of_this_one(opened, ravi):
    _, made = make_bridge(service=make_service("ledger"))
    before = entries(opened)
    assert send(made, words(opened, text="acknowledge")).status_code == 404
    assert entries(opened) == before


@pytest.mark.parametrize(
    ("secret", "at"),
    [("wrong", NOW), ("", NOW - 6 * MINUTE), ("", NOW + 6 * MINUTE)],
    ids=["secret", "old", "early"],
)
def test_what_is_not_signed_now_by_the_chat_is_refused(opened, ravi, secret, at):
    _, made = make_bridge()
    before = entries(opened)
    answer = send(made, words(opened, text="acknowledge"), secret=secret, at=at)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "bad_signature")
    opened.refresh_from_db()
    assert (opened.status, entries(opened)) == (Status.TRIGGERED, before)


def test_a_signature_of_another_body_is_refused(opened, ravi):
    _, made = make_bridge()
    stamp = str(int(NOW.timestamp()))
    good = rules.signature(secret=made.signing_secret, timestamp=stamp, body=b"{}")
    with time_machine.travel(NOW, tick=False):
        answer = Client().post(
            f"/api/v1/integrations/chat/{made.key}", data=json.dumps(words(opened)), content_type="application/json",
            HTTP_X_MUSTER_TIMESTAMP=stamp, HTTP_X_MUSTER_SIGNATURE=good,
        )  # fmt: skip
    assert answer.status_code == 401


def test_without_headers_and_with_odd_ones_the_answer_is_401(opened):
    _, made = make_bridge()
    path = f"/api/v1/integrations/chat/{made.key}/"
    assert Client().post(path, data=b"{}", content_type="application/json").status_code == 401
    for stamp in ("١٢٣", "-1", "1e9", "9" * 400):
        odd = Client().post(
            path, data=b"{}", content_type="application/json", HTTP_X_MUSTER_TIMESTAMP=stamp,
            HTTP_X_MUSTER_SIGNATURE="v1=ü",
        )  # fmt: skip
        assert odd.status_code == 401


def test_an_old_key_and_a_disabled_bridge_are_refused(opened, ravi):
    bridge, old = make_bridge()
    _, made = bridges.rotate_secrets(bridge_id=bridge.pk)
    assert send(old, words(opened)).status_code == 404
    bridges.disable(bridge_id=bridge.pk, now=NOW)
    assert send(made, words(opened)).status_code == 403
    assert not opened.timeline.filter(kind=Kind.NOTE).exists()


def test_strangers_do_not_make_the_database_work_for_long(opened, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(endpoint, "strangers", Buckets(burst=3, per_minute=0))
    nobody = bridges.Secrets("nothing", "nothing")
    for _ in range(3):
        assert send(nobody, words(opened)).status_code == 404
    with django_assert_num_queries(0):
        assert send(nobody, words(opened)).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"{}", 400),
        (b'{"id": "1", "incident": "INC-x", "user": "ravi", "text": "hi"}', 400),
        (b'{"id": 7, "incident": 1, "user": ["ravi"], "text": null}', 400),
        (b'{"id": "1", "incident": "INC-99999", "user": "ravi", "text": "hi"}', 404),
        (b'{"id": "1", "incident": "INC-99999", "user": "ra\\u0000vi", "text": "\\ud800"}', 404),
        (b"[" * 70_000, 413),
    ],
)
def test_a_body_that_is_wrong_is_refused_in_one_shape(body, status):
    _, made = make_bridge()
    answer = send(made, body)
    assert answer.status_code == status
    assert set(answer.json()["error"]) >= {"code", "message"}


def test_get_is_405():
    _, made = make_bridge()
    answer = Client().get(f"/api/v1/integrations/chat/{made.key}/")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


# --- the pages --------------------------------------------------------------------------------------------------

FORM = {
    "name": "#incidents", "address": f"https://chat.example.org/hooks/{HOOK}", "min_severity": "2",
    "mirrors_banner": "on", "service": "",
}  # fmt: skip


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_key_and_secret_are_shown_once_and_the_address_never(ines):
    client = signed_in(ines)
    page = client.post(reverse("integrations:bridge_create"), FORM).content.decode()
    bridge = ChatBridge.objects.get()
    assert (
        bridge.signing_secret in page
        and f"/api/v1/integrations/chat/{page.split('new-key')[1][2:34]}/" in page
    )
    assert (bridge.min_severity, bridge.mirrors_banner, bridge.mirrors_talk) == (2, True, False)
    again = client.get(reverse("integrations:bridge", args=[bridge.pk])).content.decode()
    listed = client.get(reverse("integrations:bridges")).content.decode()
    for html in (page, again, listed):
        assert HOOK not in html
        assert "Mattermost at chat.example.org" in html
    assert bridge.signing_secret not in again + listed


def test_a_wrong_address_is_said_beside_its_field_and_the_rest_is_kept(ines):
    answer = signed_in(ines).post(
        reverse("integrations:bridge_create"), {**FORM, "address": "file:///etc/passwd"}
    )
    html = answer.content.decode()
    assert answer.status_code == 422
    assert "does not know this kind of chat" in html and 'value="#incidents"' in html
    assert not ChatBridge.objects.exists()


def test_saving_without_an_address_keeps_the_one_it_has(ines):
    bridge, _ = make_bridge()
    answer = signed_in(ines).post(
        reverse("integrations:bridge", args=[bridge.pk]), {**FORM, "address": "", "name": "renamed"}
    )
    bridge.refresh_from_db()
    assert (answer.status_code, bridge.name) == (302, "renamed")
    assert bridge.apprise_url == f"mmost://localhost:9/{HOOK}"


def test_a_test_goes_out_and_its_result_stands_with_the_bridge(ines, later, httpserver):
    httpserver.expect_request(f"/hooks/{HOOK}").respond_with_data("ok")
    bridge, _ = make_bridge(f"mmost://localhost:{httpserver.port}/{HOOK}")
    signed_in(ines).post(reverse("integrations:bridge_try", args=[bridge.pk]))
    later(datetime.now(UTC) + SECOND)
    bridge.refresh_from_db()
    assert "Muster reaches this chat" in httpserver.log[0][0].get_json()["text"]
    assert bridge.last_sent_at is not None and bridge.last_error == ""


@pytest.mark.parametrize(
    "name", ["bridge_create", "bridge_rotate", "bridge_try", "bridge_disable", "bridge_enable"]
)
def test_only_managers_change_bridges(ravi, name):
    bridge, _ = make_bridge()
    before = ChatBridge.objects.values().get()
    args = [] if name == "bridge_create" else [bridge.pk]
    assert signed_in(ravi).post(reverse(f"integrations:{name}", args=args), FORM).status_code == 403
    signed_in(ravi).post(reverse("integrations:bridge", args=[bridge.pk]), FORM)
    assert ChatBridge.objects.values().get() == before


def test_a_viewer_reads_them_without_forms(viola):
    bridge, _ = make_bridge()
    client = signed_in(viola)
    for path in (reverse("integrations:bridges"), reverse("integrations:bridge", args=[bridge.pk])):
        html = client.get(path).content.decode()
        assert "#incidents" in html and "h-change" not in html and "h-add" not in html
    assert client.get(reverse("integrations:bridge", args=[bridge.pk + 1])).status_code == 404


def test_the_list_costs_the_same_however_many(ines, django_assert_num_queries):
    client = signed_in(ines)
    for number in range(4):
        make_bridge(name=f"chat {number}", service=make_service())
    client.get(reverse("integrations:bridges"))
    with django_assert_num_queries(
        6
    ):  # session, person, the pages that wait, how many, bridges, services for the form
        client.get(reverse("integrations:bridges"))


def test_ids_and_old_messages_are_forgotten(opened, ravi):
    bridge, made = make_bridge()
    send(made, words(opened, user="somebody"))
    make_bridge(name="another")
    transitions.add_note(incident_id=opened.pk, text="waits", by=ravi, now=NOW)
    BridgeMessage.objects.filter(bridge=bridge).update(status=MessageStatus.SENT)
    assert bridges.prune(now=NOW + timedelta(hours=23)) == 0
    bridges.prune(now=NOW + timedelta(days=31))
    assert not BridgeInbound.objects.exists()
    assert statuses() == [MessageStatus.WAITING]


# --- rules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 10), (2, 20), (3, 40), (6, 320), (7, 600), (500, 600)])
def test_the_pause_doubles_up_to_ten_minutes(attempts, seconds):
    assert rules.again_after(attempts) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("@channel", "@\u200bchannel"),
        ("<!here>", "<\u200b!here>"),
        ("<@U1>", "<\u200b@\u200bU1>"),
        ("a < b", "a < b"),
        ("me@x.org", "me@\u200bx.org"),
    ],
)
def test_calls_are_defused(text, safe):
    assert rules.defused(text) == safe


@pytest.mark.parametrize(
    ("text", "number"),
    [("INC-42", 42), ("inc-42", 42), (" 42 ", 42), ("INC-", None), ("42x", None), ("-1", None)],
)
def test_an_incident_is_named_as_everywhere(text, number):
    assert rules.incident_number(text) == number
