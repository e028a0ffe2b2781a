"""What people see of senders and of what they sent, and who may do what."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Role, digest
from incidents.models import Incident
from integrations import inbox
from integrations.models import ChangeEvent, IngestEvent, Integration, IntegrationKind
from tests.factories.accounts import make_token, make_user
from tests.factories.catalog import make_service
from tests.factories.integrations import RECEIVED_AT, make_event, make_integration

pytestmark = pytest.mark.django_db


def as_role(client: Client, role: str) -> Client:
    client.force_login(make_user(role=role))
    return client


PAGES = [("integrations:list", Role.VIEWER), ("integrations:ledger", Role.RESPONDER)]


@pytest.mark.parametrize(("name", "role"), PAGES)
def test_pages_open_for_who_may_read_them(client: Client, name: str, role: str) -> None:
    assert client.get(reverse(name)).status_code == 302
    assert as_role(client, role).get(reverse(name)).status_code == 200


def test_viewers_do_not_read_the_ledger(client: Client) -> None:
    event = make_event(make_integration())
    as_role(client, Role.VIEWER)
    assert client.get(reverse("integrations:ledger")).status_code == 403
    assert client.get(reverse("integrations:event", args=[event.pk])).status_code == 403


def test_a_manager_adds_an_integration_and_sees_its_key_once(client: Client) -> None:
    service = make_service("checkout")
    as_role(client, Role.MANAGER)
    response = client.post(
        reverse("integrations:create"), {"name": "Prometheus", "kind": "alertmanager", "service": service.pk}
    )
    integration = Integration.objects.get()
    key = response.context["new_key"]
    assert response.status_code == 200
    assert (integration.key_digest, integration.key_hint, len(key)) == (digest(key), key[-4:], 32)
    page = response.content.decode()
    assert f"/api/v1/integrations/alertmanager/{key}/" in page
    assert "no-store" in response["Cache-Control"]
    again = client.get(reverse("integrations:detail", args=[integration.pk])).content.decode()
    assert key not in again
    assert f"…{key[-4:]}" in again


@pytest.mark.parametrize("role", [Role.VIEWER, Role.RESPONDER])
def test_only_managers_change_integrations(client: Client, role: str) -> None:
    integration = make_integration(name="old")
    before = Integration.objects.values().get()
    as_role(client, role)
    for name in ("rotate", "disable", "enable"):
        assert client.post(reverse(f"integrations:{name}", args=[integration.pk])).status_code == 403
    given = {"name": "new", "kind": "webhook", "service": integration.service_id}
    assert client.post(reverse("integrations:create"), given).status_code == 403
    client.post(reverse("integrations:detail", args=[integration.pk]), given)
    assert Integration.objects.values().get() == before


def test_a_new_key_replaces_the_old_one(client: Client) -> None:
    integration = make_integration("webhook")
    address = "/api/v1/integrations/webhook/{}/"
    assert (
        client.post(address.format(integration.key), '{"title": "a"}', content_type="text/plain").status_code
        == 202
    )
    as_role(client, Role.MANAGER)
    new = client.post(reverse("integrations:rotate", args=[integration.pk])).context["new_key"]
    from_now_on = [
        client.post(address.format(key), '{"title": "a"}', content_type="text/plain").status_code
        for key in (integration.key, new)
    ]
    # The copy of the keys is read again after the commit, which a test of this kind never reaches.
    assert Integration.objects.get().key_digest == digest(new)
    assert from_now_on[1] == 202


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"name": "  "},
        {"name": "a", "kind": "carrier pigeon"},
        {"name": "a", "kind": "webhook", "service": 0},
    ],
)
def test_what_is_missing_is_said_at_the_form(client: Client, given: dict) -> None:
    response = as_role(client, Role.MANAGER).post(reverse("integrations:create"), given)
    assert response.status_code == 422
    assert response.context["form"].errors
    assert not Integration.objects.exists()


def test_the_ledger_shows_what_came_escaped(client: Client) -> None:
    integration = make_integration()
    event = make_event(integration, raw='{"a": "<script>alert(1)</script>"}', dedup_key="<b>k</b>")
    as_role(client, Role.RESPONDER)
    page = client.get(reverse("integrations:event", args=[event.pk])).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert "<b>k</b>" not in client.get(reverse("integrations:ledger")).content.decode()


def test_the_ledger_filters_and_turns_pages(client: Client) -> None:
    one, other = make_integration(), make_integration()
    for number in range(60):
        make_event(one, due_at=None, verdict="repeated", dedup_key=f"key-{number}")
    make_event(other, due_at=None, verdict="opened", dedup_key="other")
    IngestEvent.objects.create(
        kind="pagerduty", received_at=RECEIVED_AT, verdict="rejected", reason="Unknown key"
    )
    as_role(client, Role.RESPONDER)

    def keys(query: str) -> list[str]:
        return [
            event.dedup_key for event in client.get(reverse("integrations:ledger") + query).context["events"]
        ]

    assert len(keys("")) == 50
    assert keys(f"?integration={other.pk}") == ["other"]
    assert keys("?verdict=opened") == ["other"]
    assert keys("?verdict=rejected") == keys("?integration=unknown") == [""]
    assert keys("?dedup_key=key-7") == ["key-7"]
    first = client.get(reverse("integrations:ledger") + f"?integration={one.pk}").context
    assert keys(first["older_url"]) == [f"key-{number}" for number in range(9, -1, -1)]
    for odd in ("?integration=x&verdict=nope&before=-1", "?before=99999999999999999999", "?dedup_key=%00"):
        assert client.get(reverse("integrations:ledger") + odd).status_code == 200


def test_the_ledger_costs_the_same_number_of_queries_however_long_it_is(
    client: Client, django_assert_max_num_queries: Any
) -> None:
    integration = make_integration()
    make_event(integration)
    inbox.drain(integration_id=integration.pk, now=RECEIVED_AT)
    incident = Incident.objects.get()
    for _ in range(60):
        make_event(integration, due_at=None, verdict="repeated", incident=incident)
    as_role(client, Role.RESPONDER)
    with django_assert_max_num_queries(8):
        client.get(reverse("integrations:ledger"))


def test_a_manager_replays_and_a_responder_does_not(client: Client, woken: list[int]) -> None:
    integration = make_integration()
    event = make_event(integration, verdict="failed", due_at=None, attempts=8, reason="ValueError: boom")
    address = reverse("integrations:replay", args=[event.pk])
    as_role(client, Role.RESPONDER)
    assert client.post(address).status_code == 403
    event.refresh_from_db()
    assert event.verdict == "failed"
    as_role(client, Role.MANAGER)
    assert client.post(address).status_code == 302
    event.refresh_from_db()
    assert (event.verdict, event.attempts) == ("pending", 0)


def test_every_kind_of_event_has_a_page(client: Client) -> None:
    integration = make_integration("alertmanager")
    make_event(integration, *[{"action": "trigger", "dedup_key": str(n), "title": "T", "severity": "error", "source": "",
                               "details": {}, "links": [], "group_key": "g", "episode_at": None} for n in range(3)])  # fmt: skip
    inbox.drain(integration_id=integration.pk, now=RECEIVED_AT)
    change = {
        "action": "change",
        "summary": "Deploy",
        "source": "",
        "details": {},
        "links": [],
        "occurred_at": None,
    }
    make_event(integration, change)
    IngestEvent.objects.create(kind="webhook", received_at=RECEIVED_AT, verdict="rejected", raw="[" * 3000)
    as_role(client, Role.MANAGER)
    for event in IngestEvent.objects.all():
        assert client.get(reverse("integrations:event", args=[event.pk])).status_code == 200
    assert client.get(reverse("integrations:event", args=[10**9])).status_code == 404


def test_the_room_shows_what_changed_before(client: Client) -> None:
    integration = make_integration()
    ChangeEvent.objects.create(
        integration=integration, service=integration.service, summary="<b>r4471</b>", received_at=RECEIVED_AT,
        occurred_at=RECEIVED_AT - timedelta(minutes=5),
    )  # fmt: skip
    make_event(integration)
    inbox.drain(integration_id=integration.pk, now=RECEIVED_AT)
    address = reverse("integrations:changes", args=[Incident.objects.get().pk])
    assert client.get(address).status_code == 302
    page = as_role(client, Role.VIEWER).get(address).content.decode()
    assert "&lt;b&gt;r4471&lt;/b&gt;" in page
    assert "5 min before" in page
    assert client.get(reverse("integrations:changes", args=[10**9])).status_code == 404


# --- API ------------------------------------------------------------------------------------------------------


def api(client: Client, method: str, path: str, role: str = Role.MANAGER, body: Any = None) -> Any:
    token = make_token(make_user(role=role))
    return client.generic(
        method, f"/api/v1/{path}", json.dumps(body) if body is not None else "",
        content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {token}",
    )  # fmt: skip


def test_the_api_adds_changes_and_disables(client: Client) -> None:
    service, other = make_service("checkout"), make_service("search")
    made = api(
        client, "POST", "integrations/", body={"name": "A", "kind": "pagerduty", "service": service.slug}
    )
    assert made.status_code == 201
    key, number = made.json()["key"], made.json()["id"]
    assert Integration.objects.get(pk=number).key_digest == digest(key)
    changed = api(client, "PATCH", f"integrations/{number}/", body={"service": other.slug})
    assert (changed.status_code, changed.json()["service"]["slug"], changed.json()["name"]) == (
        200,
        "search",
        "A",
    )
    assert "key" not in changed.json()
    assert api(client, "POST", f"integrations/{number}/disable/").json()["disabled_at"] is not None
    assert api(client, "POST", f"integrations/{number}/enable/").json()["disabled_at"] is None
    assert api(client, "POST", f"integrations/{number}/rotate/").json()["key"] != key
    assert [each["id"] for each in api(client, "GET", "integrations/").json()["results"]] == [number]
    assert api(client, "GET", "integrations/999999/").status_code == 404
    assert api(client, "POST", "integrations/", Role.RESPONDER, body={}).status_code == 403


def test_the_api_reads_the_ledger(client: Client) -> None:
    integration = make_integration()
    make_event(integration, dedup_key="k")
    inbox.drain(integration_id=integration.pk, now=RECEIVED_AT)
    incident = Incident.objects.get()
    answer = api(client, "GET", f"ingest-events/?integration={integration.pk}&verdict=opened", Role.RESPONDER)
    assert answer.status_code == 200
    [row] = answer.json()["results"]
    assert (row["verdict"], row["dedup_key"], row["incident"]) == (
        "opened", "k", {"id": incident.pk, "ref": incident.ref},
    )  # fmt: skip
    detail = api(client, "GET", f"ingest-events/{row['id']}/", Role.RESPONDER).json()
    assert detail["signals"][0]["title"] == "Disk full"
    assert api(client, "POST", f"ingest-events/{row['id']}/replay/", Role.RESPONDER).status_code == 403
    again = api(client, "POST", f"ingest-events/{row['id']}/replay/")
    assert (again.status_code, again.json()["verdict"]) == (202, "pending")
    assert api(client, "GET", "ingest-events/?integration=x").status_code == 400
    assert api(client, "GET", "ingest-events/", Role.VIEWER).status_code == 403


def test_senders_are_narrowed_by_the_address_and_come_in_pages(client: Client) -> None:
    as_role(client, Role.VIEWER)
    service = make_service(name="Ledger database")
    for name in ("Heard", "Off", "Silent"):
        make_integration(name=name, service=service)
    Integration.objects.filter(name="Heard").update(last_event_at=RECEIVED_AT, kind=IntegrationKind.GRAFANA)
    Integration.objects.filter(name="Off").update(disabled_at=RECEIVED_AT, last_event_at=RECEIVED_AT)

    def named(query: str) -> list[str]:
        return [row.name for row in client.get(reverse("integrations:list") + query).context["page"]]

    assert named("") == named("?q=ledger") == named("?state=nonsense") == ["Heard", "Off", "Silent"]
    assert named("?state=on") == ["Heard", "Silent"]
    assert named("?state=silent") == ["Silent"]
    assert named("?state=off") == ["Off"]
    assert named("?kind=grafana") == named("?q=HEAR%00") == ["Heard"]
    assert named("?page=9&q=off") == ["Off"]
    assert "Clear the filters" in client.get(reverse("integrations:list") + "?q=zzz").content.decode()
    assert "Clear the filters" in client.get(reverse("integrations:bridges") + "?state=off").content.decode()
