"""Events API v2 as its clients use it. Each row is a body that a real client sends, or one that has to be refused."""

import json
from copy import deepcopy
from typing import Any

import pytest
from django.test import Client

from integrations.adapters import pagerduty
from integrations.models import IngestEvent, Integration
from integrations.rules import Refusal
from integrations.transitions import disable
from tests.factories.integrations import make_integration

pytestmark = pytest.mark.django_db

KEY = "c0ffee00c0ffee00c0ffee00c0ffee00"


@pytest.fixture
def integration() -> Integration:
    return make_integration(key=KEY)


def post(client: Client, body: Any, path: str = "/v2/enqueue", **extra: Any) -> Any:
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    return client.post(path, data=data, content_type=extra.pop("content_type", "application/json"), **extra)


def trigger(**changes: Any) -> dict[str, Any]:
    """A full trigger. `payload__x=…` changes a field of the payload; `...` takes a field out."""
    body: dict[str, Any] = {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": "disk-7",
        "payload": {"summary": "Disk full on db-7", "source": "db-7", "severity": "critical"},
    }
    for name, value in changes.items():
        holder = body
        if name.startswith("payload__"):
            holder, name = body["payload"], name.removeprefix("payload__")
        if value is ...:
            holder.pop(name, None)
        else:
            holder[name] = value
    return body


ALERTMANAGER = trigger(
    dedup_key="4369" * 16,
    payload={
        "summary": "[FIRING:1] MailQueueHigh (127.0.0.1:40593 mail error)", "source": "Alertmanager",
        "severity": "error", "class": "queue", "component": "mail", "group": "eu",
        "custom_details": {"firing": "Labels:\n - alertname = MailQueueHigh", "num_firing": "1", "resolved": ""},
    },
    client="Alertmanager", client_url="http://am.example/#/alerts?receiver=app",
    links=[{"href": "http://prometheus.example/graph", "text": "Graph"}],
    images=[{"src": "https://img.example/a.png", "alt": "a", "href": "https://img.example"}],
)  # fmt: skip

TRIGGERS = {
    "alertmanager": ALERTMANAGER,
    "automation tool": trigger(
        payload={"summary": "Deploy failed", "source": "ci", "severity": "warning", "component": None, "class": None,
                 "group": None, "custom_details": None, "timestamp": "2026-11-24T06:04:12.596040"},
        client=None, client_url=None, links=None, images=None,
    ),
    "log alerter without a key": trigger(
        dedup_key="", payload__component="", payload__group="", payload__class="", client="log alerter"
    ),
    "monitoring server": trigger(
        dedup_key="10042", payload__source="Zürich db : 10.0.0.7",
        payload__custom_details={"Event date": "2026.11.24", "nested": {"a": [1, 2.5, None, True]}},
    ),
    "agent": trigger(payload__timestamp="2026-11-24T06:06:22.000", payload__severity="info"),
    "notifier": trigger(links=[{"href": "https://example.org"}], images=[{"src": "https://example.org/i.png"}]),
    "library": trigger(dedup_key=..., payload__timestamp="2015-07-17T08:42:58.315+0000"),
    "null key": trigger(dedup_key=None),
    "unknown fields": trigger(unknown={"x": 1}, payload__unknown=[1]),
    "longest": trigger(dedup_key="k" * 255, payload__summary="s" * 1024),
    "image without https": trigger(images=[{"src": "http://img.example/a.png"}]),
    "empty lists": trigger(links=[], images=[], payload__custom_details={}),
}  # fmt: skip


@pytest.mark.parametrize("name", TRIGGERS)
def test_triggers_of_real_clients_are_stored_and_answered(
    client: Client, integration: Integration, name: str
) -> None:
    body = TRIGGERS[name]
    response = post(client, body)
    assert response.status_code == 202, response.content
    answer = response.json()
    event = IngestEvent.objects.get()
    assert answer == {"status": "success", "message": "Event processed", "dedup_key": event.dedup_key}
    assert event.dedup_key == (body.get("dedup_key") or event.dedup_key) != ""
    assert (event.integration, event.verdict, event.kind) == (integration, "pending", "pagerduty")
    assert event.due_at == event.received_at
    [signal] = event.payload
    assert signal["action"] == "trigger"
    assert signal["title"] == body["payload"]["summary"]
    assert signal["severity"] == body["payload"]["severity"]
    assert KEY not in event.raw
    assert KEY not in json.dumps(event.payload)


def test_a_generated_key_is_new_each_time(client: Client, integration: Integration) -> None:
    keys = {post(client, trigger(dedup_key=key)).json()["dedup_key"] for key in (..., "", None, "  ")}
    assert len(keys) == 4
    assert all(len(key) == 32 for key in keys)


def test_what_alertmanager_sends_is_kept(integration: Integration) -> None:
    [signal] = pagerduty.parse(deepcopy(ALERTMANAGER)).signals
    assert signal == {
        "action": "trigger",
        "dedup_key": "4369" * 16,
        "title": "[FIRING:1] MailQueueHigh (127.0.0.1:40593 mail error)",
        "severity": "error",
        "source": "Alertmanager",
        "details": {
            "component": "mail",
            "group": "eu",
            "class": "queue",
            "custom_details": ALERTMANAGER["payload"]["custom_details"],
            "client": "Alertmanager",
            "client_url": "http://am.example/#/alerts?receiver=app",
            "images": [{"src": "https://img.example/a.png", "alt": "a", "href": "https://img.example"}],
        },
        "links": [
            {"href": "http://prometheus.example/graph", "text": "Graph"},
            {"href": "http://am.example/#/alerts?receiver=app", "text": "Alertmanager"},
        ],
        "group_key": "",
        "episode_at": None,
    }


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"client": None, "client_url": None},
        {"payload": {"summary": "x", "source": "y", "severity": "info"}},
        {
            "payload": ALERTMANAGER["payload"],
            "links": ALERTMANAGER["links"],
            "images": ALERTMANAGER["images"],
        },
        {"payload": {"summary": 5}, "links": "rubbish"},
    ],
)
def test_acknowledge_and_resolve_need_three_fields_and_take_any_more(
    client: Client, integration: Integration, action: str, more: dict
) -> None:
    response = post(client, {"routing_key": KEY, "event_action": action, "dedup_key": "disk-7", **more})
    assert response.status_code == 202
    assert response.json() == {"status": "success", "message": "Event processed", "dedup_key": "disk-7"}
    [signal] = IngestEvent.objects.get().payload
    assert (signal["action"], signal["dedup_key"], signal["title"]) == (action, "disk-7", "")


REFUSED = {
    "no key": (trigger(routing_key=...), ["'routing_key' is missing or blank"]),
    "blank key": (trigger(routing_key=""), ["'routing_key' is missing or blank"]),
    "null key": (trigger(routing_key=None), ["'routing_key' is missing or blank"]),
    "short key": (
        trigger(routing_key="abc"), ["Length of 'routing_key' is incorrect (should be 32 characters)"],
    ),
    "number as key": (trigger(routing_key=5), ["'routing_key' is invalid (must be a string)"]),
    "unknown key": (trigger(routing_key="f" * 32), ["Invalid routing key"]),
    "no action": (trigger(event_action=...), ["'event_action' is missing or blank"]),
    "wrong action": (
        trigger(event_action="Trigger"),
        ["'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')"],
    ),
    "list as action": (
        trigger(event_action=["trigger"]),
        ["'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')"],
    ),
    "no payload": (trigger(payload=...), ["'payload' is missing or blank"]),
    "text as payload": (trigger(payload="x"), ["'payload' is invalid (must be an object)"]),
    "no summary": (trigger(payload__summary=...), ["'payload.summary' is missing or blank"]),
    "blank summary": (trigger(payload__summary=" "), ["'payload.summary' is missing or blank"]),
    "number as summary": (trigger(payload__summary=7), ["'payload.summary' is invalid (must be a string)"]),
    "long summary": (
        trigger(payload__summary="s" * 1025), ["'payload.summary' is too long (maximum is 1024 characters)"],
    ),
    "no source": (trigger(payload__source=...), ["'payload.source' is missing or blank"]),
    "no severity": (trigger(payload__severity=...), ["'payload.severity' is missing or blank"]),
    "wrong severity": (
        trigger(payload__severity="Critical"),
        ["'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')"],
    ),
    "object as severity": (
        trigger(payload__severity={"a": 1}),
        ["'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')"],
    ),
    "long dedup key": (trigger(dedup_key="k" * 256), ["'dedup_key' is too long (maximum is 255 characters)"]),
    "number as dedup key": (trigger(dedup_key=5), ["'dedup_key' is invalid (must be a string)"]),
    "number as component": (trigger(payload__component=5), ["'payload.component' is invalid (must be a string)"]),
    "list as details": (
        trigger(payload__custom_details=[1]), ["'payload.custom_details' is invalid (must be an object)"],
    ),
    "object as links": (trigger(links={"href": "x"}), ["'links' is invalid (must be an array)"]),
    "text as a link": (trigger(links=["x"]), ["'links[0]' is invalid (must be an object)"]),
    "link without href": (trigger(links=[{"text": "x"}]), ["'links[0].href' is missing or blank"]),
    "image without src": (trigger(images=[{"alt": "x"}]), ["'images[0].src' is missing or blank"]),
    "resolve without a key": (
        {"routing_key": KEY, "event_action": "resolve"}, ["'dedup_key' is missing or blank"],
    ),
    "acknowledge with a blank key": (
        {"routing_key": KEY, "event_action": "acknowledge", "dedup_key": ""}, ["'dedup_key' is missing or blank"],
    ),
    "all of it": (
        {"routing_key": KEY, "payload": {}},
        ["'event_action' is missing or blank", "'payload' is missing or blank"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_events_are_refused_in_words_and_stored_as_refused(
    client: Client, integration: Integration, name: str
) -> None:
    body, errors = REFUSED[name]
    response = post(client, body)
    assert response.status_code == 400
    assert response.json() == {
        "status": "invalid event",
        "message": "Event object is invalid",
        "errors": errors,
    }
    event = IngestEvent.objects.get()
    assert (event.verdict, event.payload, event.due_at) == ("rejected", None, None)
    assert event.reason == ("Unknown key" if name == "unknown key" else "; ".join(errors))
    assert KEY not in event.raw


@pytest.mark.parametrize("path", ["/v2/enqueue", "/v2/change/enqueue"])
@pytest.mark.parametrize(
    "body",
    [
        b"", b"   ", b"{", b"not json", b"[]", b'"x"', b"12", b"null", b'{"a":NaN}', b"\xff\xfe{}", b'{"a":"\xe9"}',
        b"\x00", b'{"a":"\x00"}', b"[" * 200_000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b"routing_key=x&a=b",
    ],
)  # fmt: skip
def test_what_is_no_object_is_unrecognized(
    client: Client, integration: Integration, path: str, body: bytes
) -> None:
    response = post(client, body, path)
    assert response.status_code == 400
    answer = response.json()
    assert answer["status"] == "Unrecognized object"
    assert answer["message"] == "Event object format is unrecognized"
    assert len(answer["errors"]) == 1
    assert IngestEvent.objects.get().verdict == "rejected"


def test_json_that_does_not_parse_says_so(client: Client, integration: Integration) -> None:
    assert post(client, b"{").json() == {
        "status": "Unrecognized object",
        "message": "Event object format is unrecognized",
        "errors": ["JSON parse error"],
    }


def test_values_that_the_database_cannot_hold_do_not_lose_the_event(
    client: Client, integration: Integration
) -> None:
    body = r"""{"routing_key":"KEY","event_action":"trigger","dedup_key":"a\u0000b\ud800",
        "payload":{"summary":"x\u0000y","source":"s","severity":"info","custom_details":{"\u0000":1e999}}}""".replace(
        "KEY", KEY
    )
    response = post(client, body)
    assert response.status_code == 202
    assert response.json()["dedup_key"] == "a\ufffdb\ufffd"
    event = IngestEvent.objects.get()
    assert event.payload[0]["title"] == "x\ufffdy"
    assert event.payload[0]["details"]["custom_details"] == {"\ufffd": "1e999"}
    assert "\x00" not in event.raw


def test_a_huge_number_is_kept_as_text(client: Client, integration: Integration) -> None:
    body = json.dumps(trigger(payload__custom_details={"n": "@"})).replace('"@"', "9" * 6000)
    assert post(client, body).status_code == 202
    assert IngestEvent.objects.get().payload[0]["details"]["custom_details"]["n"] == "9" * 6000


@pytest.mark.parametrize(
    "timestamp", ["yesterday", "", None, 5, {"a": 1}, "0001-01-01T00:00:00Z", "2026-13-45T99:00"]
)
def test_a_timestamp_that_is_none_never_loses_the_event(
    client: Client, integration: Integration, timestamp: object
) -> None:
    assert post(client, trigger(payload__timestamp=timestamp)).status_code == 202
    event = IngestEvent.objects.get()
    readable = timestamp in ("", None, 5)
    warned = "is not a time: the time of arrival counts" in event.reason
    assert warned == (not readable or timestamp == 5)


def test_a_script_as_link_is_left_out(client: Client, integration: Integration) -> None:
    body = trigger(links=[{"href": "javascript:alert(1)", "text": "x"}, {"href": "http://a.example"}])
    assert post(client, body).status_code == 202
    event = IngestEvent.objects.get()
    assert event.payload[0]["links"] == [{"href": "http://a.example", "text": ""}]
    assert event.reason == "Link 'javascript:alert(1)' left out: not an http address"


def of_size(size: int) -> bytes:
    empty = len(json.dumps(trigger(payload__custom_details={"pad": ""})))
    return json.dumps(trigger(payload__custom_details={"pad": "x" * (size - empty)})).encode()


def test_512_kb_are_accepted_and_one_byte_more_is_not(client: Client, integration: Integration) -> None:
    assert post(client, of_size(512 * 1024)).status_code == 202
    response = post(client, of_size(512 * 1024 + 1))
    assert response.status_code == 413
    assert response.json() == {
        "status": "invalid event",
        "message": "Event object is invalid",
        "errors": ["The body is larger than 512 KB."],
    }
    event = IngestEvent.objects.get()
    assert len(event.payload[0]["details"]["custom_details"]["pad"]) > 500_000
    assert len(event.raw) == 32 * 1024


@pytest.mark.parametrize("path", ["/v2/enqueue", "/v2/enqueue/"])
@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        ("application/json", {}),
        ("application/json; charset=utf-8", {"HTTP_ACCEPT": "text/html"}),
        ("application/x-www-form-urlencoded", {"HTTP_ACCEPT": "*/*"}),
        ("multipart/form-data", {"HTTP_ACCEPT": "application/json;charset=utf-8"}),
        ("text/plain", {"HTTP_AUTHORIZATION": "Token token=anything"}),
        ("", {"HTTP_AUTHORIZATION": "Bearer wrong", "HTTP_COOKIE": "muster_session=rubbish"}),
        ("application/json", {"HTTP_HOST": "any.name.example:8000"}),
        ("application/json", {"HTTP_HOST": "not a host"}),
    ],
)
def test_headers_decide_nothing(
    client: Client, integration: Integration, path: str, content_type: str, headers: dict
) -> None:
    strict = Client(enforce_csrf_checks=True)
    response = post(strict, "  \n" + json.dumps(trigger()), path, content_type=content_type, **headers)
    assert response.status_code == 202
    assert response["Content-Type"] == "application/json"
    assert IngestEvent.objects.get().verdict == "pending"


@pytest.mark.parametrize("path", ["/v2/enqueue", "/v2/change/enqueue/", "/api/v1/integrations/webhook/x/"])
@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options", "trace"])
def test_only_post_is_understood(client: Client, path: str, method: str) -> None:
    response = getattr(client, method)(path)
    assert response.status_code == 405
    assert response["Allow"] == "POST"
    assert response["Content-Type"] == "application/json"
    assert not IngestEvent.objects.exists()


@pytest.mark.parametrize("path", ["/v2/", "/v2/other", "/v2/enqueue/x", "/v2/change"])
def test_what_is_not_there_is_404_in_json(client: Client, path: str) -> None:
    response = post(client, trigger(), path)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_a_key_of_another_kind_or_a_disabled_one_is_refused(
    client: Client, integration: Integration, django_capture_on_commit_callbacks: Any
) -> None:
    make_integration("webhook", key="d" * 32)
    assert post(client, trigger(routing_key="d" * 32)).json()["errors"] == ["Invalid routing key"]
    with django_capture_on_commit_callbacks(execute=True):
        disable(integration_id=integration.pk, now=integration.created_at)
    response = post(client, trigger())
    assert response.status_code == 400
    assert response.json()["errors"] == ["This integration is disabled"]
    assert not IngestEvent.objects.filter(verdict="pending").exists()


@pytest.mark.parametrize(
    ("told", "stored"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", None),
        ("", None),
    ],
)
def test_an_odd_address_does_not_lose_the_event(
    client: Client, integration: Integration, told: str, stored: str | None
) -> None:
    assert post(client, trigger(), REMOTE_ADDR=told).status_code == 202
    assert IngestEvent.objects.get().remote_address == stored


def test_a_thousand_mistakes_are_answered_with_the_first_twenty(
    client: Client, integration: Integration
) -> None:
    assert len(post(client, trigger(links=["x"] * 1000)).json()["errors"]) == 20


# --- changes ----------------------------------------------------------------------------------------------------

CHANGES = {
    "library": {"payload": {"summary": "Deploy 4.2", "timestamp": "2015-07-17T08:42:58.315+0000"}},
    "command line": {
        "payload": {"summary": "Deploy 4.2", "source": "ci", "custom_details": {"build": 5}},
        "links": [{"href": "https://ci.example/5", "text": "Build"}],
    },
    "automation tool": {
        "payload": {"summary": "Deploy 4.2", "source": "automation tool", "custom_details": {},
                    "timestamp": "2026-11-24T06:04:29.489924Z"},
    },
    "unreadable time": {"payload": {"summary": "Deploy 4.2", "timestamp": "soon"}},
}  # fmt: skip


@pytest.mark.parametrize("path", ["/v2/change/enqueue", "/v2/change/enqueue/"])
@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_real_clients_are_stored(
    client: Client, integration: Integration, path: str, name: str
) -> None:
    response = post(client, {"routing_key": KEY, **CHANGES[name]}, path)
    assert response.status_code == 202
    assert response.json() == {"status": "success", "message": "Change event processed"}
    event = IngestEvent.objects.get()
    assert (event.kind, event.verdict, event.payload[0]["action"]) == ("change", "pending", "change")
    assert event.payload[0]["summary"] == "Deploy 4.2"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "'payload' is missing or blank"),
        ({"payload": {"source": "x"}}, "'payload.summary' is missing or blank"),
        ({"payload": {"summary": "s" * 1025}}, "'payload.summary' is too long (maximum is 1024 characters)"),
        ({"payload": {"summary": "s", "source": 5}}, "'payload.source' is invalid (must be a string)"),
    ],
)
def test_wrong_changes_are_refused(client: Client, integration: Integration, body: dict, error: str) -> None:
    response = post(client, {"routing_key": KEY, **body}, "/v2/change/enqueue")
    assert response.status_code == 400
    assert response.json() == {
        "status": "invalid event",
        "message": "Event object is invalid",
        "errors": [error],
    }


# --- strangers --------------------------------------------------------------------------------------------------


def test_a_flood_of_unknown_keys_is_slowed_and_does_not_touch_known_ones(
    client: Client, integration: Integration
) -> None:
    assert post(client, trigger()).status_code == 202
    answers = [post(client, trigger(routing_key=f"{number:032}")).status_code for number in range(40)]
    assert answers == [400] * 20 + [429] * 20
    last = post(client, trigger(routing_key="9" * 32))
    assert (last.status_code, last["Retry-After"]) == (429, "30")
    assert post(client, trigger()).status_code == 202
    assert IngestEvent.objects.filter(verdict="rejected").count() <= 30


def test_the_ledger_does_not_grow_with_refusals_without_bound(
    client: Client, integration: Integration
) -> None:
    for _ in range(50):
        assert post(client, trigger(payload__severity="x")).status_code == 400
    assert IngestEvent.objects.filter(verdict="rejected", integration=integration).count() == 30


def test_parse_raises_with_all_errors_at_once() -> None:
    with pytest.raises(Refusal) as caught:
        pagerduty.parse({"event_action": "trigger", "payload": {"summary": "x"}})
    assert caught.value.errors == [
        "'payload.severity' is missing or blank",
        "'payload.source' is missing or blank",
    ]
