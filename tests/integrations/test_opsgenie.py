"""Opsgenie's Alert API as its clients use it."""

import json
import uuid
from typing import Any

import pytest
from django.test import Client

from incidents.models import Alert, Incident, Kind, Status
from integrations import inbox
from integrations.models import IngestEvent, Integration
from tests.factories.integrations import make_integration

pytestmark = pytest.mark.django_db

KEY = str(uuid.UUID(int=7))


@pytest.fixture
def integration() -> Integration:
    return make_integration("opsgenie", key=KEY)


def ask(method: str, path: str, body: Any = None, *, key: str = KEY) -> Any:
    headers = {"Authorization": f"GenieKey {key}"} if key else {}
    data = b"" if body is None else json.dumps(body)
    return getattr(Client(), method)(path, data, content_type="application/json", headers=headers)


def create(path: str = "/v2/alerts", **body: Any) -> Any:
    return ask("post", path, {"message": "Queue lag", **body})


def status_of(request_id: str) -> dict[str, Any]:
    answer = Client().get(f"/v2/alerts/requests/{request_id}", headers={"Authorization": f"GenieKey {KEY}"})
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


def test_an_alert_is_created_asked_about_and_closed_by_alias(integration: Integration) -> None:
    body = {
        "alias": "al 1/x", "description": "long text", "details": {"severity": "critical"}, "source": "am",
        "responders": [{"name": "ops", "type": "team"}], "tags": ["a", "b c"], "priority": "P2",
        "actions": ["restart", " drain"], "entity": "db", "note": "from alertmanager", "user": "",
    }  # fmt: skip
    answer = create(**body)
    assert answer.status_code == 202
    said = answer.json()
    assert (said["result"], set(said)) == ("Request will be processed", {"result", "took", "requestId"})
    data = status_of(said["requestId"])  # at once: nobody else has taken it out of the inbox
    assert (data["success"], data["isSuccess"], data["action"], data["status"], data["alias"]) == (
        True, True, "Create", "Created alert", "al 1/x",
    )  # fmt: skip
    alert = Alert.objects.get()
    assert (alert.title, alert.severity, alert.dedup_key, alert.source) == (
        "Queue lag",
        "error",
        "al 1/x",
        "am",
    )
    assert alert.details["custom_details"] == {"severity": "critical"}
    assert alert.details["actions"] == ["restart", "drain"]
    again = create("/v2/alerts/", alias="al 1/x")
    assert status_of(again.json()["requestId"])["success"] is True
    assert (Alert.objects.get().count, Incident.objects.count()) == (2, 1)
    closed = ask("post", "/v2/alerts/al%201%2Fx/close?identifierType=alias")  # no body at all
    assert status_of(closed.json()["requestId"])["action"] == "Close"
    assert Incident.objects.get().status == Status.RESOLVED
    status_of(create(alias="al 1/x").json()["requestId"])
    assert Incident.objects.count() == 2


def test_without_an_alias_the_id_of_the_answer_and_of_the_alert_both_name_it(
    integration: Integration,
) -> None:
    request_id = create().json()["requestId"]
    # notifier acts at once by the request's id, before anything was processed
    assert (
        ask("post", f"/v2/alerts/{request_id}/acknowledge?identifierType=id", {"note": "mine"}).status_code
        == 202
    )
    alert_id = status_of(request_id)["alertId"]
    status_of(
        ask("post", f"/v2/alerts/{alert_id}/notes", {"user": "bob", "note": "hello"}).json()["requestId"]
    )
    incident = Incident.objects.get()
    assert incident.status == Status.ACKNOWLEDGED
    notes = incident.timeline.filter(kind=Kind.NOTE).values_list("text", flat=True)
    assert list(notes) == ["mine", "bob: hello"]
    for path, body in (("message", {"message": "Worse"}), ("priority", {"priority": "P1"})):
        status_of(ask("put", f"/v2/alerts/{alert_id}/{path}", body).json()["requestId"])
    status_of(ask("post", f"/v2/alerts/{alert_id}/escalate", {}).json()["requestId"])
    shown = ask("get", f"/v2/alerts/{alert_id}").json()["data"]
    assert (shown["message"], shown["priority"], shown["acknowledged"], shown["status"]) == (
        "Worse", "P1", True, "open",
    )  # fmt: skip
    assert status_of(ask("post", f"/v2/alerts/{alert_id}/close/", {}).json()["requestId"])["success"] is True


def test_what_is_wrong_is_said_in_opsgenies_shape(integration: Integration) -> None:
    assert ask("post", "/v2/alerts", {"alias": "x"}).status_code == 422
    headers = {"Authorization": f"GenieKey {KEY}"}
    assert Client().post("/v2/alerts", b"{", content_type="x/y", headers=headers).status_code == 400
    for key in ("", "nobody"):
        refused = ask("post", "/v2/alerts", {"message": "x"}, key=key)
        assert (refused.status_code, set(refused.json())) == (401, {"message", "took", "requestId"})
    assert ask("delete", "/v2/alerts").status_code == 405
    unknown = ask("get", f"/v2/alerts/requests/{uuid.uuid4()}")
    assert (unknown.status_code, "not found" in unknown.json()["message"]) == (404, True)
    assert ask("get", "/v2/alerts/nothing?identifierType=alias").status_code == 404
    dropped = ask("post", "/v2/alerts/nothing/close?identifierType=alias", {}).json()["requestId"]
    assert status_of(dropped)["success"] is False
    other = make_integration("opsgenie", key="e" * 32)
    mine = create(alias="x").json()["requestId"]
    assert ask("get", f"/v2/alerts/requests/{mine}", key=other.key).status_code == 404


def test_the_key_stays_out_of_the_ledger(integration: Integration) -> None:
    create(note=f"my key is {KEY}")
    assert KEY not in IngestEvent.objects.get().raw


def test_a_grafana_contact_point_is_read_like_a_group_with_more_links() -> None:
    integration = make_integration("grafana", key="f" * 32)
    body = {
        "receiver": "muster", "status": "firing", "orgId": 1, "title": "t", "state": "alerting", "message": "m",
        "version": "1", "groupKey": "{}:{alertname=\"High\"}", "truncatedAlerts": 0, "externalURL": "http://g.example/",
        "alerts": [
            {
                "status": "firing", "labels": {"alertname": "High", "severity": "critical"}, "annotations": {},
                "startsAt": "2026-11-24T07:09:17+02:00", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
                "fingerprint": "57c6d9296de2ad39", "silenceURL": "http://g.example/s", "dashboardURL": "",
                "panelURL": "http://g.example/p", "values": {"B": 22.5}, "valueString": "[ var='B' ]", "newer": 1,
            }
        ],
    }  # fmt: skip
    answer = Client().post(
        f"/api/v1/integrations/grafana/{integration.key}/", body, content_type="application/json"
    )
    assert answer.status_code == 202
    event = IngestEvent.objects.get()
    assert (event.kind, event.reason) == ("grafana", "")
    inbox.drain(integration_id=integration.pk, now=event.received_at)
    alert = Alert.objects.get()
    assert (alert.title, alert.severity, alert.source, alert.details["values"]) == (
        "High", "critical", "Grafana", {"B": 22.5},
    )  # fmt: skip
    assert [link["text"] for link in alert.links] == ["Panel", "Silence in Grafana", "Grafana"]
