import json
from typing import Any

import pytest
from django.test import Client

from integrations.adapters import webhook
from integrations.models import IngestEvent, Integration
from integrations.rules import Refusal
from tests.factories.integrations import make_integration

NOTIFIER = {
    "version": "1.0",
    "title": "Backup",
    "message": "Backup of db-7 failed",
    "attachments": [],
    "type": "failure",
}


@pytest.mark.parametrize(
    ("kind", "severity"),
    [("info", "info"), ("success", "info"), ("warning", "warning"), ("failure", "error")],
)
def test_a_notifiers_type_is_the_severity(kind: str, severity: str) -> None:
    [signal] = webhook.parse({**NOTIFIER, "type": kind}).signals
    assert (signal["action"], signal["title"], signal["severity"]) == ("trigger", "Backup", severity)
    assert signal["details"]["message"] == "Backup of db-7 failed"


def test_a_notifiers_own_fields_resolve() -> None:
    parsed = webhook.parse({**NOTIFIER, "dedup_key": "x", "event_action": "resolve"})
    assert parsed.signals == [webhook.signal("resolve", "x")]
    assert parsed.dedup_key == "x"


@pytest.mark.parametrize(
    ("body", "action", "key", "title", "severity"),
    [
        (
            {"dedup_key": "d", "title": "T", "event_action": "trigger", "severity": "critical"},
            "trigger",
            "d",
            "T",
            "critical",
        ),
        ({"dedup_key": "d", "title": "T", "event_action": "Resolve"}, "resolve", "d", "", "error"),
        ({"dedup_key": "d", "event_action": "acknowledge"}, "acknowledge", "d", "", "error"),
        ({"dedup_key": 42, "summary": "S"}, "trigger", "42", "S", "error"),
        ({"alias": "d", "message": "M", "priority": "P1"}, "trigger", "d", "M", "critical"),
        ({"alias": "d", "status": "resolved"}, "resolve", "d", "", "error"),
        ({"alias": "d", "message": "M", "status": "500"}, "trigger", "d", "M", "error"),
        ({"alias": "d", "message": "two\nlines", "severity": "banana"}, "trigger", "d", "two", "error"),
    ],
)
def test_free_objects(body: dict, action: str, key: str, title: str, severity: str) -> None:
    [signal] = webhook.parse(body).signals
    assert (signal["action"], signal["dedup_key"], signal["title"], signal["severity"]) == (
        action,
        key,
        title,
        severity,
    )


@pytest.mark.parametrize(
    "body", [{"x": 1}, {"a": {"b": []}}, {"title": None, "message": " "}, {"text": 5}, {"status": "ok"}]
)
def test_any_object_is_an_alert_with_some_title(body: dict) -> None:
    [signal] = webhook.parse(body).signals
    assert signal["action"] == "trigger"
    assert signal["title"]
    assert len(signal["dedup_key"]) == 32


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, 'The object is empty: send at least "title"'),
        ({"title": ["a"]}, "'title' is invalid (must be a string)"),
        ({"title": "a", "event_action": "close"}, "'event_action' is invalid (must be 'trigger', 'acknowledge' or 'resolve')"),
        ({"title": "a", "event_action": 5}, "'event_action' is invalid (must be 'trigger', 'acknowledge' or 'resolve')"),
        ({"event_action": "resolve"}, "'dedup_key' is missing or blank: resolve has to name the alert"),
        ({"title": "a", "dedup_key": ["a"]}, "'dedup_key' is invalid (must be a string)"),
        ({"title": "a", "dedup_key": "k" * 513}, "'dedup_key' is too long (maximum is 512 characters)"),
        ({"title": "a", "severity": {}}, "'severity' is invalid (must be one of critical, error, warning, info)"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(body: dict, error: str) -> None:
    with pytest.raises(Refusal) as caught:
        webhook.parse(body)
    assert caught.value.errors == [error]


def test_links_are_found_and_scripts_are_not() -> None:
    body = {
        "title": "a",
        "url": "https://a.example",
        "runbook_url": "javascript:x",
        "links": [{"href": "http://b", "text": "B"}, 5],
    }
    [signal] = webhook.parse(body).signals
    assert signal["links"] == [
        {"href": "https://a.example", "text": "Url"},
        {"href": "http://b", "text": "B"},
    ]


@pytest.fixture
def integration(db: None) -> Integration:
    return make_integration("webhook")


def post(client: Client, integration: Integration, body: Any, slash: str = "/") -> Any:
    address = f"/api/v1/integrations/webhook/{integration.key}{slash}"
    return client.post(
        address, data=body if isinstance(body, bytes) else json.dumps(body), content_type="text/plain"
    )


@pytest.mark.parametrize("slash", ["", "/"])
def test_accepted_events_are_stored_and_answered_with_their_key(
    client: Client, integration: Integration, slash: str
) -> None:
    response = post(client, integration, NOTIFIER, slash)
    assert response.status_code == 202
    event = IngestEvent.objects.get()
    assert response.json() == {"status": "success", "message": "Event stored", "dedup_key": event.dedup_key}
    assert (event.verdict, event.kind) == ("pending", "webhook")


def test_a_title_that_is_too_long_is_cut(client: Client, integration: Integration) -> None:
    assert (
        post(
            client, integration, {"title": "t" * 3000, "source": "s" * 900, "group_key": "g" * 900}
        ).status_code
        == 202
    )
    signal = IngestEvent.objects.get().payload[0]
    assert (len(signal["title"]), len(signal["source"]), len(signal["group_key"])) == (1024, 300, 512)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"title=x", {}, {"event_action": "resolve"}])
def test_refused_events_are_400_in_json(client: Client, integration: Integration, body: Any) -> None:
    response = post(client, integration, body)
    assert response.status_code == 400
    assert response.json()["error"]["message"]
    assert IngestEvent.objects.get().verdict == "rejected"
