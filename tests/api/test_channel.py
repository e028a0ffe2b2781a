"""The channel for programs: messages, decisions, amendments, marks."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.models import User
from incidents.models import Attachment, Incident, Kind
from notifications.models import Notification
from tests.api.conftest import Api
from tests.factories.accounts import make_token
from tests.factories.catalog import make_service


@pytest.fixture
def ref(api: Api) -> str:
    make_service("checkout")
    body = {"service": "checkout", "title": "5xx", "severity": "SEV2"}
    return api.post("incidents/", body).json()["ref"]


def test_a_message_is_answered_with_its_entry_and_tells_whom_it_mentions(
    api: Api, ref: str, manager: User
) -> None:
    response = api.post(f"incidents/{ref}/messages/", {"text": "@ines look"})
    assert response.status_code == 201
    entry = response.json()
    assert (entry["kind"], entry["text"], entry["actor"]["username"]) == ("note", "@ines look", "ravi")
    assert entry["data"]["mentions"] == [{"id": manager.pk, "name": "Ines Okafor", "user": "ines"}]
    assert Notification.objects.get(topic__endswith=":talk").recipient == manager
    answer = api.post(f"incidents/{ref}/messages/", {"text": "so?", "reply_to": entry["seq"]}).json()
    assert answer["data"]["reply_to"] == entry["seq"]


def test_a_message_sent_again_with_its_key_is_written_once(api: Api, ref: str) -> None:
    for _ in range(2):
        response = api.post(f"incidents/{ref}/messages/", {"text": "once"}, Idempotency_Key="k1")
        assert response.status_code == 201
    assert Incident.objects.get().timeline.filter(kind=Kind.NOTE).count() == 1


def test_a_decision_is_amended_and_marked(api: Api, ref: str) -> None:
    seq = api.post(f"incidents/{ref}/decisions/", {"text": "rol back"}).json()["seq"]
    amended = api.post(f"incidents/{ref}/entries/{seq}/amend/", {"text": "roll back", "rev": 0})
    assert (amended.status_code, amended.json()["data"]) == (200, {"of": seq, "rev": 1})
    marked = api.post(f"incidents/{ref}/entries/{seq}/mark/", {"mark": "pin", "on": True})
    assert marked.json()["text"] == "pinned: roll back"
    late = api.post(f"incidents/{ref}/entries/{seq}/amend/", {"text": "wait", "rev": 0})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "amended_meanwhile")


def test_what_another_wrote_is_not_amended_but_by_a_manager(api: Api, ref: str, manager: User) -> None:
    boss = Api(make_token(manager))
    seq = boss.post(f"incidents/{ref}/messages/", {"text": "mine"}).json()["seq"]
    response = api.post(f"incidents/{ref}/entries/{seq}/amend/", {"text": "yours"})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "not_allowed")
    own = api.post(f"incidents/{ref}/messages/", {"text": "ravi's"}).json()["seq"]
    assert boss.post(f"incidents/{ref}/entries/{own}/amend/", {"text": "better"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("messages/", {"text": ""}, "text"),
        ("messages/", {"text": "x", "reply_to": "1"}, "reply_to"),
        ("messages/", {"text": "x", "files": []}, "files"),
        ("decisions/", {"text": "x" * 2001}, "text"),
        ("entries/1/mark/", {"mark": "like", "on": True}, "mark"),
        ("entries/1/mark/", {"mark": "pin"}, "on"),
    ],
)
def test_a_wrong_body_names_the_field(api: Api, ref: str, path: str, body: dict, field: str) -> None:
    before = Incident.objects.get().last_seq
    response = api.post(f"incidents/{ref}/{path}", body)
    assert response.status_code == 400
    assert list(response.json()["error"]["fields"]) == [field]
    assert Incident.objects.get().last_seq == before


@pytest.mark.parametrize("seq", [999, 2**31, 2**70])
def test_an_entry_that_is_not_there_is_404(api: Api, ref: str, seq: int) -> None:
    body = {"mark": "pin", "on": True}
    assert api.post(f"incidents/{ref}/entries/{seq}/mark/", body).status_code == 404


def send_files(api: Api, ref: str, *files: tuple[str, bytes], key: str = "", **fields: str) -> Any:
    sent = [SimpleUploadedFile(name, data) for name, data in files]
    headers = api.headers | ({"Idempotency-Key": key} if key else {})
    return Client().post(f"/api/v1/incidents/{ref}/messages/", {**fields, "files": sent}, headers=headers)


def test_files_come_as_a_form_with_the_checks_of_the_room_and_once_per_key(
    api: Api, api_of: Any, viewer: User, ref: str, settings: Any
) -> None:
    settings.MUSTER_ATTACHMENT_MB = 1
    first = api.post(f"incidents/{ref}/messages/", {"text": "look"}).json()["seq"]
    for _ in range(2):
        made = send_files(
            api, ref, ("app.log", b"5xx"), ("b.txt", b"<b>"), key="k", text="logs", reply_to=str(first)
        )
        assert made.status_code == 201, made.content
    entry = made.json()
    assert (entry["text"], entry["data"]["reply_to"]) == ("logs", first)
    assert [(file["name"], file["type"], file["bytes"]) for file in entry["data"]["attachments"]] == [
        ("app.log", "text/plain", 3), ("b.txt", "text/plain", 3),
    ]  # fmt: skip
    reused = send_files(
        api, ref, ("app.log", b"4xx"), ("b.txt", b"<b>"), key="k", text="logs", reply_to=str(first)
    )
    assert (reused.status_code, reused.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert send_files(api, ref, ("only.log", b"x")).json()["text"] == "attached only.log"

    stored, written = Attachment.objects.count(), Incident.objects.get().last_seq
    for files, fields, wrong in (
        ([("a.png", b"<html>")], {}, "files"), ([("big.log", b"x" * (1024 * 1024 + 1))], {}, "files"),
        ([("empty.log", b"")], {}, "files"), ([(f"{n}.log", b"x") for n in range(6)], {}, "files"),
        ([], {"text": " "}, "text"), ([], {"text": "x", "colour": "red"}, "colour"),
        ([("a.log", b"x")], {"reply_to": "none"}, "reply_to"),
    ):  # fmt: skip
        refused = send_files(api, ref, *files, **fields)
        assert (refused.status_code, list(refused.json()["error"]["fields"])) == (400, [wrong]), fields
    assert send_files(api_of(viewer), ref, ("a.log", b"x")).status_code == 403
    assert send_files(Api(), ref, ("a.log", b"x")).status_code == 401
    assert (Attachment.objects.count(), Incident.objects.get().last_seq) == (stored, written)
    assert stored == 3
