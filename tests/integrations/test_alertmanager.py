import json
from typing import Any

import pytest
from django.test import Client

from integrations.adapters import alertmanager
from integrations.keys import directory
from integrations.models import IngestEvent, Integration
from integrations.rules import Refusal
from tests.factories.integrations import make_integration

KEY = "a1" * 16


def alert(fingerprint: str = "7290b5a8e6aa314c", status: str = "firing", **changes: Any) -> dict[str, Any]:
    body = {
        "status": status,
        "labels": {"alertname": "HighLatency", "cluster": "eu-1", "instance": "web-1", "severity": "warning"},
        "annotations": {
            "description": "long", "runbook_url": "http://runbook.example/1", "summary": "Latency high on web-1",
        },
        "startsAt": "2026-11-24T06:09:17.123Z",
        "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-11-24T06:20:00Z",
        "generatorURL": "http://prometheus.example/graph?g0.expr=up",
        "fingerprint": fingerprint,
    }  # fmt: skip
    body.update(changes)
    return {key: value for key, value in body.items() if value is not ...}


def group(*alerts: Any, **changes: Any) -> dict[str, Any]:
    body = {
        "receiver": "app",
        "status": "firing",
        "alerts": list(alerts),
        "groupLabels": {"alertname": "HighLatency"},
        "commonLabels": {"alertname": "HighLatency"},
        "commonAnnotations": {},
        "externalURL": "http://vm:32847",
        "version": "4",
        "groupKey": '{}:{alertname="HighLatency", cluster="eu-1"}',
        "truncatedAlerts": 0,
    }
    body.update(changes)
    return {key: value for key, value in body.items() if value is not ...}


def test_a_firing_alert_becomes_a_trigger_by_its_fingerprint_in_its_group() -> None:
    parsed = alertmanager.parse(group(alert()))
    assert parsed.signals == [
        {
            "action": "trigger",
            "dedup_key": "7290b5a8e6aa314c",
            "title": "Latency high on web-1",
            "severity": "warning",
            "source": "web-1",
            "details": {
                "labels": alert()["labels"],
                "annotations": alert()["annotations"],
                "receiver": "app",
            },
            "links": [
                {"href": "http://runbook.example/1", "text": "Runbook"},
                {"href": "http://prometheus.example/graph?g0.expr=up", "text": "Graph"},
                {"href": "http://vm:32847", "text": "Alertmanager"},
            ],
            "group_key": '{}:{alertname="HighLatency", cluster="eu-1"}',
            "episode_at": "2026-11-24T06:09:17.123000+00:00",
        }
    ]
    assert (parsed.dedup_key, parsed.warnings) == ("7290b5a8e6aa314c", [])


def test_each_alert_goes_by_its_own_status() -> None:
    parsed = alertmanager.parse(group(alert("a"), alert("b", "resolved"), alert("c"), status="firing"))
    assert [(signal["action"], signal["dedup_key"]) for signal in parsed.signals] == [
        ("trigger", "a"), ("resolve", "b"), ("trigger", "c"),
    ]  # fmt: skip


@pytest.mark.parametrize("starts_at", ["2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z", "rubbish", None, ...])
def test_a_resolve_is_matched_by_fingerprint_whatever_startsat_says(starts_at: object) -> None:
    [signal] = alertmanager.parse(group(alert("a", "resolved", startsAt=starts_at))).signals
    assert (signal["action"], signal["dedup_key"], signal["episode_at"]) == ("resolve", "a", None)


@pytest.mark.parametrize(
    ("written", "severity", "warned"),
    [("critical", "critical", False), ("page", "critical", False), ("warn", "warning", False), ("none", "info", False),
     ("", "error", False), (..., "error", False), ("banana", "error", True)],
)  # fmt: skip
def test_severity_comes_from_the_label(written: object, severity: str, warned: bool) -> None:
    labels = {"alertname": "X", **({} if written is ... else {"severity": written})}
    parsed = alertmanager.parse(group(alert(labels=labels)))
    assert (parsed.signals[0]["severity"], bool(parsed.warnings)) == (severity, warned)


@pytest.mark.parametrize(
    ("annotations", "labels", "title"),
    [
        ({"summary": "S"}, {"alertname": "A"}, "S"),
        ({"summary": " "}, {"alertname": "A", "instance": "i"}, "A on i"),
        ({"description": "First line\nsecond"}, {"alertname": "A"}, "First line"),
        ({}, {"alertname": "A", "job": "j"}, "A on j"),
        ({}, {}, "Alert without a name"),
        (None, None, "Alert without a name"),
    ],
)
def test_the_title_is_the_best_that_there_is(annotations: object, labels: object, title: str) -> None:
    [signal] = alertmanager.parse(group(alert(annotations=annotations, labels=labels))).signals
    assert signal["title"] == title


@pytest.mark.parametrize(
    "missing",
    [
        "receiver",
        "status",
        "groupLabels",
        "commonLabels",
        "externalURL",
        "version",
        "groupKey",
        "truncatedAlerts",
    ],
)
def test_missing_fields_of_the_group_lose_nothing(missing: str) -> None:
    [signal] = alertmanager.parse(group(alert(), **{missing: ...})).signals
    assert signal["title"] == "Latency high on web-1"


@pytest.mark.parametrize("missing", ["labels", "annotations", "startsAt", "endsAt", "generatorURL", "status"])
def test_missing_fields_of_an_alert_lose_nothing(missing: str) -> None:
    [signal] = alertmanager.parse(group(alert(**{missing: ...}))).signals
    assert (signal["action"], signal["dedup_key"]) == ("trigger", "7290b5a8e6aa314c")


def test_without_fingerprint_the_labels_are_the_identity() -> None:
    [one] = alertmanager.parse(group(alert(...))).signals
    [two] = alertmanager.parse(group(alert(..., startsAt="2026-11-25T00:00:00Z"))).signals
    [other] = alertmanager.parse(group(alert(..., labels={"alertname": "Else"}))).signals
    assert one["dedup_key"] == two["dedup_key"] != other["dedup_key"]


def test_newer_fields_are_ignored_and_odd_values_become_text() -> None:
    body = group(
        alert(labels={"alertname": "A", "n": 5, "none": None, "o": {"x": 1}}, notification_reason="new"),
        notification_reason="first notification", routeLabels={"a": "b"}, truncatedAlerts=3,
    )  # fmt: skip
    parsed = alertmanager.parse(body)
    assert parsed.signals[0]["details"]["labels"] == {"alertname": "A", "n": "5", "none": "", "o": '{"x": 1}'}
    assert parsed.warnings == ["The sender left out 3 alerts of this group"]


def test_a_long_group_key_keeps_its_identity_within_the_column() -> None:
    one, two = '{}:{a="' + "x" * 900 + "1", '{}:{a="' + "x" * 900 + "2"
    keys = [
        alertmanager.parse(group(alert(), groupKey=key)).signals[0]["group_key"] for key in (one, two, one)
    ]
    assert keys[0] == keys[2] != keys[1]
    assert all(len(key) <= 512 for key in keys)


def test_year_one_and_nine_decimals_are_no_problem() -> None:
    [signal] = alertmanager.parse(group(alert(startsAt="2026-11-24T06:09:17.123456789+02:00"))).signals
    assert signal["episode_at"] == "2026-11-24T04:09:17.123456+00:00"
    [signal] = alertmanager.parse(group(alert(startsAt="0001-01-01T00:00:00Z"))).signals
    assert signal["episode_at"] is None


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "'alerts' is missing: this address takes Alertmanager's webhook body, version 4"),
        (group(alerts={}), "'alerts' is invalid (must be an array)"),
        (group(5), "'alerts[0]' is invalid (must be an object)"),
        (group(alert(status="pending")), "'alerts[0].status' is invalid (must be 'firing' or 'resolved')"),
        (group(alert(status=5)), "'alerts[0].status' is invalid (must be 'firing' or 'resolved')"),
        (group(alert(labels=[])), "'alerts[0].labels' is invalid (must be an object)"),
        (group(alert(fingerprint=7)), "'alerts[0].fingerprint' is invalid (must be a string)"),
        (group(alert(), groupKey=7), "'groupKey' is invalid (must be a string)"),
    ],
)
def test_what_no_alertmanager_sends_is_refused_with_a_reason(body: dict, error: str) -> None:
    with pytest.raises(Refusal) as caught:
        alertmanager.parse(body)
    assert caught.value.errors == [error]


# --- over HTTP --------------------------------------------------------------------------------------------------


@pytest.fixture
def integration(db: None) -> Integration:
    return make_integration("alertmanager", key=KEY)


def post(client: Client, body: Any, key: str = KEY, slash: str = "/") -> Any:
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    return client.post(
        f"/api/v1/integrations/alertmanager/{key}{slash}", data=data, content_type="application/json"
    )


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_group_is_one_row(client: Client, integration: Integration, slash: str, woken: list[int]) -> None:
    response = post(client, group(alert("a"), alert("b", "resolved")), slash=slash)
    assert response.status_code == 202
    event = IngestEvent.objects.get()
    assert (event.verdict, event.kind, len(event.payload)) == ("pending", "alertmanager", 2)
    assert event.dedup_key == '{}:{alertname="HighLatency", cluster="eu-1"}'


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"{", "malformed"), (b"[]", "malformed"), (b"", "malformed"), ({}, "invalid"), (group(5), "invalid")],
)
def test_refusals_have_the_shape_of_the_api(
    client: Client, integration: Integration, body: Any, code: str
) -> None:
    response = post(client, body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["message"]
    assert IngestEvent.objects.get().verdict == "rejected"


def test_unknown_keys_are_404_and_in_a_flood_503_but_never_429(
    client: Client, integration: Integration
) -> None:
    assert post(client, b"{", key="nobody").status_code == 404
    answers = [post(client, group(alert()), key=f"{number:032}").status_code for number in range(40)]
    assert answers == [404] * 19 + [503] * 21
    assert IngestEvent.objects.count() == 19
    last = post(client, b"{", key="nobody")
    assert (last.status_code, last["Retry-After"]) == (503, "30")
    assert post(client, group(alert())).status_code == 202


def test_a_key_made_a_moment_ago_is_not_called_unknown_while_strangers_flood(
    client: Client, integration: Integration
) -> None:
    directory.find("")  # this process has its copy of the keys
    for number in range(20):
        post(client, group(alert()), key=f"{number:032}")
    fresh = make_integration("alertmanager")
    assert post(client, group(alert()), key=fresh.key).status_code == 503
    directory.forget()
    assert post(client, group(alert()), key=fresh.key).status_code == 202


def test_a_disabled_integration_is_403(client: Client, integration: Integration) -> None:
    integration.disabled_at = integration.created_at
    integration.save()
    response = post(client, group(alert()))
    assert (response.status_code, response.json()["error"]["code"]) == (403, "integration_disabled")


def test_a_group_of_thousands_is_accepted(client: Client, integration: Integration) -> None:
    body = group(*(alert(f"{number:016x}") for number in range(4000)))
    assert len(json.dumps(body)) > 1024 * 1024
    assert post(client, body).status_code == 202
    assert len(IngestEvent.objects.get().payload) == 4000


def test_more_than_4_mb_are_refused(client: Client, integration: Integration) -> None:
    response = post(client, b'{"a":"' + b"x" * 4 * 1024 * 1024 + b'"}')
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
    assert not IngestEvent.objects.exists()
