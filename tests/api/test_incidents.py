"""What the incident endpoints promise. That transitions do the right thing is tested in tests/incidents."""

from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from catalog.models import Service
from incidents.alerts import AlertSignal, apply_signal
from incidents.models import Incident, Status
from tests.api.conftest import Api
from tests.factories.catalog import make_service

pytestmark = pytest.mark.django_db


@pytest.fixture
def checkout(db: None) -> Service:
    return make_service("Checkout API", slug="checkout")


def declare(
    api: Api, service: str = "checkout", title: str = "5xx after rollout", severity: Any = "SEV1"
) -> dict:
    response = api.post("incidents/", {"service": service, "title": title, "severity": severity})
    assert response.status_code == 201, response.content
    return response.json()


def refs(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [incident["ref"] for incident in response.json()["results"]]


def test_declaring_opens_an_incident_and_answers_with_it(
    api: Api, checkout: Service, responder: User
) -> None:
    incident = declare(api)
    row = Incident.objects.get()
    assert incident["id"] == row.pk
    assert incident["ref"] == f"INC-{row.pk}"
    assert incident["status"] == "triggered"
    assert (incident["severity"], incident["severity_number"]) == ("SEV1", 1)
    assert incident["service"] == {"id": checkout.pk, "slug": "checkout", "name": "Checkout API"}
    assert incident["opened_by"] == {"id": responder.pk, "username": "ravi", "name": "Ravi Menon"}
    assert incident["url"] == f"http://localhost:8000/incidents/INC-{row.pk}/"
    assert incident["acknowledged_at"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "service"),
        ({"service": "nowhere"}, "service"),
        ({"service": 999}, "service"),
        ({"service": True}, "service"),
        ({"service": ["checkout"]}, "service"),
        ({"title": ""}, "title"),
        ({"title": "   "}, "title"),
        ({"title": 5}, "title"),
        ({"title": "x" * 301}, "title"),
        ({"severity": 5}, "severity"),
        ({"severity": "SEV0"}, "severity"),
        ({"severity": True}, "severity"),
        ({"severity": None}, "severity"),
        ({"impact": "x" * 301}, "impact"),
        ({"is_drill": "yes"}, "is_drill"),
        ({"severty": 1}, "severty"),
    ],
)
def test_a_wrong_declaration_names_the_field_and_stores_nothing(
    api: Api, checkout: Service, body: dict, field: str
) -> None:
    good = {"service": "checkout", "title": "x", "severity": 1} if body else {}
    response = api.post("incidents/", good | body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "invalid"
    assert field in error["fields"]
    assert not Incident.objects.exists()


def test_an_incident_is_found_by_number_and_by_ref(api: Api, checkout: Service) -> None:
    incident = declare(api)
    for ref in (incident["id"], incident["ref"], incident["ref"].lower()):
        assert api.get(f"incidents/{ref}/").json() == incident


@pytest.mark.parametrize("ref", ["0", "999", "INC-999", "x", "INC-", "9" * 30, "-1", "%00", "1%20", "٣"])
def test_what_is_no_incident_is_404(api: Api, ref: str) -> None:
    for path in ("", "timeline/", "alerts/", "pages/", "escalation/"):
        response = api.get(f"incidents/{ref}/{path}")
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "not_found"
    assert api.post(f"incidents/{ref}/acknowledge/").status_code == 404
    assert api.post(f"incidents/{ref}/escalate/").status_code == 404


def test_the_list_is_filtered(api: Api, checkout: Service) -> None:
    make_service("Search", slug="search")
    one, two, three = (
        declare(api),
        declare(api, "search", "Slow", 3),
        declare(api, "search", "Slower", "SEV4"),
    )
    api.post(f"incidents/{two['ref']}/acknowledge/")
    api.post(f"incidents/{three['ref']}/resolve/")
    everything = [three["ref"], two["ref"], one["ref"]]
    assert refs(api.get("incidents/")) == everything
    assert refs(api.get("incidents/?status=open")) == [two["ref"], one["ref"]]
    assert refs(api.get("incidents/?status=triggered,resolved")) == [three["ref"], one["ref"]]
    assert refs(api.get("incidents/?status=open,resolved")) == everything
    assert refs(api.get("incidents/?service=search")) == [three["ref"], two["ref"]]
    assert refs(api.get(f"incidents/?service={checkout.pk}")) == [one["ref"]]
    assert refs(api.get("incidents/?severity=1")) == [one["ref"]]
    assert refs(api.get("incidents/?severity=SEV3,4")) == [three["ref"], two["ref"]]
    assert refs(api.get("incidents/?q=slow")) == [three["ref"], two["ref"]]
    assert refs(api.get(f"incidents/?q={one['ref']}")) == [one["ref"]]
    assert refs(api.get("incidents/?service=search&severity=3&status=acknowledged")) == [two["ref"]]
    assert refs(api.get("incidents/?population=drill")) == []


def test_the_incident_of_a_dedup_key_is_found(api: Api, checkout: Service) -> None:
    declare(api)
    outcome = apply_signal(
        origin="integration:1",
        origin_name="Prometheus",
        service=checkout,
        signal=AlertSignal(action="trigger", dedup_key="disk/db-1", title="Disk full", severity="critical"),
        now=timezone.now(),
    )
    assert refs(api.get("incidents/?dedup_key=disk/db-1")) == [f"INC-{outcome.incident_id}"]
    assert refs(api.get("incidents/?dedup_key=disk")) == []
    [alert] = api.get(f"incidents/{outcome.incident_id}/alerts/").json()["results"]
    assert (alert["dedup_key"], alert["status"], alert["count"]) == ("disk/db-1", "firing", 1)
    assert api.get(f"incidents/{outcome.incident_id}/").json()["alert_count"] == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=burning", "status"),
        ("status=,", "status"),
        ("statuss=open", "statuss"),
        ("status=", "status"),
        ("dedup_key=", "dedup_key"),
        ("service=", "service"),
        ("limit=", "limit"),
        ("cursor=", "cursor"),
        ("severity=SEV9", "severity"),
        ("severity=high", "severity"),
        ("service=nowhere", "service"),
        ("service=checkout,nowhere", "service"),
        ("population=all", "population"),
        ("dedup_key=" + "x" * 513, "dedup_key"),
        ("q=" + "x" * 201, "q"),
        ("q=%00", "q"),
        ("dedup_key=a%00b", "dedup_key"),
        ("service=%00", "service"),
        ("cursor=%00", "cursor"),
        ("cursor=nonsense", "cursor"),
        ("cursor=" + "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "cursor"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
    ],
)
def test_a_wrong_filter_is_named(api: Api, checkout: Service, query: str, field: str) -> None:
    response = api.get(f"incidents/?{query}")
    assert response.status_code == 400
    assert list(response.json()["error"]["fields"]) == [field]


def test_pages_follow_each_other_without_gap_while_incidents_arrive(api: Api, checkout: Service) -> None:
    numbers = [declare(api, title=f"Number {number}")["ref"] for number in range(5)]
    first = api.get("incidents/?limit=2&status=open").json()
    declare(api, title="It came in between")
    second = api.get(first["next"]).json()
    third = api.get(second["next"]).json()
    seen = [incident["ref"] for page in (first, second, third) for incident in page["results"]]
    assert seen == numbers[::-1]
    assert third["next"] is None


def test_an_incident_goes_its_way_by_post(api: Api, checkout: Service, manager: User) -> None:
    ref = declare(api)["ref"]

    def move(name: str, **body: Any) -> dict:
        response = api.post(f"incidents/{ref}/{name}/", body)
        assert response.status_code == 200, response.content
        assert response.json()["ref"] == ref
        return response.json()

    acknowledged = move("acknowledge")
    assert acknowledged["status"] == "acknowledged"
    assert acknowledged["acknowledged_by"]["username"] == "ravi"
    assert acknowledged["next_page_at"] is None
    assert move("commander", user="ines")["commander"]["id"] == manager.pk
    assert move("commander", user=None)["commander"] is None
    assert move("impact", impact="A third of all orders")["impact"] == "A third of all orders"
    assert move("severity", severity="SEV2", reason="only the EU")["severity"] == "SEV2"
    assert move("note", text="Rolled back")["last_seq"] > acknowledged["last_seq"]
    assert move("phase", phase="containment")["phase"] == "containment"
    assert move("call", user=manager.pk, reason="we need the vendor")["status"] == "acknowledged"
    assert move("contain", note="traffic moved")["status"] == "contained"
    resolved = move("resolve", note="fixed")
    assert resolved["status"] == "resolved"
    assert resolved["resolved_by"]["username"] == "ravi"
    assert move("reopen", reason="it is back")["status"] == "triggered"
    [page] = api.get(f"incidents/{ref}/pages/").json()["results"][-1:]
    assert page["recipient"]["username"] == "ines"
    kinds = [entry["kind"] for entry in api.get(f"incidents/{ref}/timeline/?limit=500").json()["results"]]
    for kind in ("acknowledged", "role_assigned", "impact_changed", "severity_changed", "note", "contained"):
        assert kind in kinds


def test_acknowledging_again_is_200_and_changes_nothing(api: Api, checkout: Service) -> None:
    ref = declare(api)["ref"]
    first = api.post(f"incidents/{ref}/acknowledge/").json()
    assert api.post(f"incidents/{ref}/acknowledge/").json() == first


def test_a_move_that_the_state_does_not_admit_is_409_and_changes_nothing(api: Api, checkout: Service) -> None:
    ref = declare(api)["ref"]
    before = api.post(f"incidents/{ref}/resolve/").json()
    for name, body in [
        ("acknowledge", {}),
        ("escalate", {}),
        ("contain", {}),
        ("severity", {"severity": 2}),
        ("call", {"user": "ravi"}),
    ]:
        response = api.post(f"incidents/{ref}/{name}/", body)
        assert response.status_code == 409, name
        assert set(response.json()["error"]) == {"code", "message"}
    assert api.get(f"incidents/{ref}/").json() == before


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("reopen", {}, "reason"),
        ("severity", {}, "severity"),
        ("severity", {"severity": 9}, "severity"),
        ("commander", {}, "user"),
        ("commander", {"user": "nobody"}, "user"),
        ("call", {"user": None}, "user"),
        ("note", {"text": ""}, "text"),
        ("note", {"text": "x" * 20_001}, "text"),
        ("impact", {"impact": "x" * 301}, "impact"),
        ("phase", {"phase": "party"}, "phase"),
        ("contain", {"note": 5}, "note"),
        ("acknowledge", {"note": "x"}, "note"),
        ("escalate", {"level": 10}, "level"),
        ("escalate", {"level": "1"}, "level"),
        ("escalate", {"reason": "x" * 301}, "reason"),
    ],
)
def test_a_wrong_move_names_the_field_and_changes_nothing(
    api: Api, checkout: Service, name: str, body: dict, field: str
) -> None:
    before = declare(api)
    response = api.post(f"incidents/{before['ref']}/{name}/", body)
    assert response.status_code == 400
    assert field in response.json()["error"]["fields"]
    assert api.get(f"incidents/{before['ref']}/").json() == before


def test_a_move_needs_no_body(checkout: Service, api: Api) -> None:
    ref = declare(api)["ref"]
    response = api.client.post(
        f"/api/v1/incidents/{ref}/acknowledge/", headers=api.headers, content_type="application/json"
    )
    assert response.status_code == 200
    assert response.json()["status"] == "acknowledged"


def test_the_timeline_goes_on_after_what_one_has(api: Api, checkout: Service) -> None:
    ref = declare(api)["ref"]
    for number in range(5):
        api.post(f"incidents/{ref}/note/", {"text": f"Note {number}"})
    page = api.get(f"incidents/{ref}/timeline/?limit=4").json()
    rest = api.get(page["next"]).json()
    seqs = [entry["seq"] for entry in page["results"] + rest["results"]]
    assert seqs == list(range(1, len(seqs) + 1))
    assert rest["next"] is None
    assert api.get(f"incidents/{ref}/timeline/?after={seqs[-1]}").json()["results"] == []
    last = rest["results"][-1]
    assert (last["text"], last["actor"]["username"]) == ("Note 4", "ravi")
    assert last["prev_hash"] == rest["results"][-2]["hash"]


def test_escalating_pages_and_the_ladder_says_so(api: Api, checkout: Service) -> None:
    ref = declare(api)["ref"]
    response = api.post(f"incidents/{ref}/escalate/", {"reason": "more hands"})
    assert response.status_code == 200
    ladder = api.get(f"incidents/{ref}/escalation/").json()
    assert ladder["is_running"] is True
    assert ladder["rungs"][-1]["name"] == "Catch-all"
    entries = api.get(f"incidents/{ref}/timeline/").json()["results"]
    [escalated] = [entry for entry in entries if entry["kind"] == "escalated"]
    assert escalated["text"].endswith(": more hands")


def test_a_tier_that_the_policy_does_not_have_is_refused(api: Api, checkout: Service) -> None:
    before = declare(api)
    response = api.post(f"incidents/{before['ref']}/escalate/", {"level": 7})
    assert response.status_code == 400
    assert "level" in response.json()["error"]["fields"]
    assert api.get(f"incidents/{before['ref']}/").json() == before


def test_an_address_without_its_slash_is_sent_on_with_method_and_body(api: Api, checkout: Service) -> None:
    body = {"service": "checkout", "title": "x", "severity": 1}
    response = api.post("incidents", body)
    assert (response.status_code, response["Location"]) == (308, "/api/v1/incidents/")
    assert not Incident.objects.filter(status=Status.TRIGGERED).exists()


def test_unknown_addresses_answer_in_json(client: Client) -> None:
    for path in ("/api/v1/nothing/", "/api/v1/nothing", "/api/v1/"):
        response = client.get(path)
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(("q", "count"), [("50%", 1), ("5_%", 0), ("a_b", 1), ("C:\\", 1), ("ROLLOUT", 3)])
def test_signs_of_a_pattern_are_only_letters_in_a_search(
    api: Api, checkout: Service, q: str, count: int
) -> None:
    for title in ("Rollout at 50% failed", "Rollout of a_b failed", "Rollout to C:\\ failed"):
        declare(api, title=title)
    assert len(refs(api.get(f"incidents/?q={quote(q)}"))) == count
