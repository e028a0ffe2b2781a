"""Settings, maintenance, silence, splitting and merging over the API, and who may do what."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from incidents.alerts import AlertSignal, apply_signal
from incidents.models import Alert, HeldAlert, Incident
from tests.factories.accounts import make_token, make_user
from tests.factories.catalog import make_service

pytestmark = pytest.mark.django_db


def client(role: str) -> Client:
    token = make_token(make_user(role=role))
    return Client(headers={"Authorization": f"Bearer {token}"})


def send(client: Client, method: str, path: str, body: object = None, **headers: str):
    return getattr(client, method)(f"/api/v1/{path}", body, content_type="application/json", headers=headers)


def alert(service, key: str, group: str = "g") -> Alert:
    signal = AlertSignal(action="trigger", dedup_key=key, title=key, group_key=group)
    apply_signal(origin="integration:1", origin_name="P", service=service, signal=signal, now=timezone.now())
    return Alert.objects.filter(dedup_key=key).first()


def test_settings_are_read_by_all_and_changed_by_managers():
    service = make_service("shop")
    viewer, responder, manager = client("viewer"), client("responder"), client("manager")
    path = "services/shop/alert-settings/"
    assert send(viewer, "get", path).json()["grouping"] == "service"
    assert send(responder, "patch", path, {"flap_count": 3}).status_code == 403
    changed = send(
        manager, "patch", path, {"grouping": "any", "grouping_fields": ["cluster"], "flap_count": 3}
    )
    assert (changed.status_code, changed.json()["grouping_fields"]) == (200, ["cluster"])
    assert send(manager, "get", f"services/{service.pk}/alert-settings/").json()["flap_count"] == 3
    wrong = send(manager, "patch", path, {"grouping_seconds": 4000})
    assert (wrong.status_code, list(wrong.json()["error"]["fields"])) == (400, ["grouping_seconds"])
    assert "tier0_secret" not in changed.json()
    assert send(manager, "get", "services/none/alert-settings/").status_code == 404


def test_maintenance_is_planned_once_changed_ended_and_told():
    service = make_service("shop")
    viewer, responder = client("viewer"), client("responder")
    body = {"name": "Upgrade", "services": ["shop"], "starts_at": timezone.now().isoformat(), "minutes": 60}
    assert send(viewer, "post", "maintenance/", body).status_code == 403
    twice = [send(responder, "post", "maintenance/", body, **{"Idempotency-Key": "a"}) for _ in range(2)]
    assert [answer.status_code for answer in twice] == [201, 201]
    pk = twice[0].json()["id"]
    assert twice[1].json()["id"] == pk
    assert alert(service, "x") is None
    [held] = send(viewer, "get", "held-alerts/").json()["results"]
    assert (held["title"], held["why"], held["maintenance"], held["status"]) == (
        "x",
        "maintenance",
        pk,
        "firing",
    )
    longer = send(responder, "put", f"maintenance/{pk}/", {**body, "minutes": 120})
    assert longer.json()["minutes"] == 120
    assert [row["id"] for row in send(viewer, "get", "maintenance/?state=open").json()["results"]] == [pk]
    ended = send(responder, "post", f"maintenance/{pk}/end/")
    assert (ended.status_code, ended.json()["state"]) == (200, "over")
    events = send(viewer, "get", f"maintenance/{pk}/events/").json()["results"]
    assert [event["kind"] for event in events] == ["ended", "changed", "started", "planned"]
    assert send(responder, "post", f"maintenance/{pk}/end/").status_code == 409
    assert send(responder, "put", f"maintenance/{pk}/", body).status_code == 409
    bad = send(responder, "post", "maintenance/", {**body, "recurrence": "FREQ=HOURLY"})
    assert (bad.status_code, list(bad.json()["error"]["fields"])) == (400, ["recurrence"])
    assert HeldAlert.objects.count() == 1


def test_one_alert_is_silenced_and_split_off_and_two_incidents_are_merged_and_parted():
    service = make_service("shop")
    viewer, responder = client("viewer"), client("responder")
    one, two = alert(service, "one"), alert(service, "two")
    until = (timezone.now() + timedelta(hours=1)).isoformat()
    for who, status in ((viewer, 403), (responder, 200)):
        assert send(who, "post", f"alerts/{one.pk}/mute/", {"until": until}).status_code == status
    assert send(responder, "post", f"alerts/{one.pk}/mute/", {"until": None}).json()["muted_until"] is None
    assert send(viewer, "post", f"alerts/{two.pk}/split/", {}).status_code == 403
    split = send(responder, "post", f"alerts/{two.pk}/split/", {"reason": "other"})
    assert split.status_code == 201
    ref, into = split.json()["ref"], one.incident.ref
    assert send(viewer, "post", f"incidents/{ref}/merge/", {"into": into}).status_code == 403
    assert send(responder, "post", f"incidents/{ref}/merge/", {"into": "x"}).status_code == 400
    assert send(responder, "post", f"incidents/{ref}/merge/", {"into": into}).json()["ref"] == into
    assert Incident.objects.get(pk=split.json()["id"]).status == "resolved"
    assert send(viewer, "post", f"incidents/{ref}/unmerge/").status_code == 403
    assert send(responder, "post", f"incidents/{ref}/unmerge/").json()["status"] == "triggered"
    assert send(responder, "post", f"incidents/{ref}/unmerge/").status_code == 404
    guarded = send(responder, "post", f"incidents/{into}/resolve/", {"guard_minutes": 30})
    assert guarded.status_code == 200
    assert alert(service, "one").guard_until is not None
    assert HeldAlert.objects.get().why == "guard"


def test_heartbeats_are_added_changed_paused_and_removed_by_managers():
    make_service("backup")
    viewer, manager = client("viewer"), client("manager")
    body = {"name": "nightly", "service": "backup", "interval_seconds": 60}
    assert send(viewer, "post", "heartbeats/", body).status_code == 403
    made = send(manager, "post", "heartbeats/", body)
    assert made.status_code == 201
    pk, address = made.json()["id"], made.json()["ping_url"]
    assert address.endswith(f"/heartbeat/{made.json()['key']}")
    assert Client().get(f"/heartbeat/{made.json()['key']}").status_code == 200
    shown = send(viewer, "get", f"heartbeats/{pk}/").json()
    assert (shown["state"], "key" in shown) == ("up", False)
    assert send(manager, "patch", f"heartbeats/{pk}/", {"grace_seconds": 5}).json()["grace_seconds"] == 5
    assert send(manager, "post", "heartbeats/", body).status_code == 400
    assert send(manager, "post", f"heartbeats/{pk}/pause/").json()["state"] == "paused"
    assert send(manager, "post", f"heartbeats/{pk}/resume/").json()["state"] == "new"
    assert send(viewer, "delete", f"heartbeats/{pk}/").status_code == 403
    assert send(manager, "delete", f"heartbeats/{pk}/").status_code == 204
    assert send(viewer, "get", "heartbeats/").json()["results"] == []
