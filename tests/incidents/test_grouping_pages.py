"""The pages of maintenance, settings, held alerts, and the questions about single alerts; and who may see and do what."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from incidents.alerts import AlertSignal, apply_signal
from incidents.models import Alert, AlertSettings, HeldAlert, Incident, Maintenance
from integrations.models import Watch
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from tests.factories.integrations import make_integration

pytestmark = pytest.mark.django_db


@pytest.fixture
def service():
    return make_service("shop", primary_responder=make_user("ada"))


def as_(role: str) -> Client:
    client = Client()
    client.force_login(make_user(role=role, time_zone="Europe/Berlin"))
    return client


def alert(service, key: str) -> Alert | None:
    signal = AlertSignal(action="trigger", dedup_key=key, title=f"5xx {key}", group_key="g")
    apply_signal(origin="integration:1", origin_name="P", service=service, signal=signal, now=timezone.now())
    return Alert.objects.filter(dedup_key=key, status="firing").first()


def test_maintenance_is_planned_seen_where_it_matters_changed_and_ended(service):
    viewer, responder = as_("viewer"), as_("responder")
    assert viewer.get("/alerts/maintenance/new/").status_code == 403
    assert "No maintenance is planned" in viewer.get("/alerts/maintenance/").content.decode()
    page = responder.get("/alerts/maintenance/new/?service=shop").content.decode()
    assert f'<option value="{service.pk}" selected>' in page
    given = {
        "name": "Upgrade <b>", "services": [service.pk], "starts_at": "2026-01-01T03:00", "lasts": "2 h", "repeats": "",
        "zone": "Europe/Berlin", "condition_op": "is", "reroute_on_end": "on",
    }  # fmt: skip
    for wrong, sentence in (
        ({"lasts": "long"}, "30 min, 2 h or 1 d."),
        ({"zone": "Mars"}, "This time zone is not known"),
        ({"repeats": "own", "recurrence": "FREQ=HOURLY"}, "FREQ is DAILY"),
        ({"repeats": "FREQ=DAILY", "lasts": "2 d"}, "begins before this one ends"),
    ):
        refused = responder.post("/alerts/maintenance/new/", {**given, **wrong})
        assert (refused.status_code, sentence in refused.content.decode()) == (422, True), wrong
    made = responder.post("/alerts/maintenance/new/", given)
    row = Maintenance.objects.get()
    assert (made.status_code, row.minutes, row.starts_at > timezone.now() - timedelta(minutes=1)) == (
        302,
        120,
        True,
    )
    assert alert(service, "a") is None
    for address in ("/", "/incidents/", "/alerts/services/shop/panel/"):
        page = viewer.get(address).content.decode()
        assert "Upgrade &lt;b&gt;" in page, address
    assert "5xx a" in viewer.get(f"/alerts/maintenance/{row.pk}/").content.decode()
    assert "5xx a" in viewer.get("/alerts/held/").content.decode()
    edit = responder.get(f"/alerts/maintenance/{row.pk}/edit/").content.decode()
    assert 'value="2 h"' in edit
    responder.post(f"/alerts/maintenance/{row.pk}/edit/", {**given, "lasts": "1 d"})
    row.refresh_from_db()
    assert row.minutes == 1440
    assert viewer.post(f"/alerts/maintenance/{row.pk}/end/").status_code == 403
    responder.post(f"/alerts/maintenance/{row.pk}/end/", {"what": "this"})
    row.refresh_from_db()
    assert row.state == "over"
    assert viewer.get("/alerts/maintenance/?state=all").status_code == 200


def test_settings_are_changed_by_managers_and_said_on_the_services_page(service):
    manager = as_("manager")
    assert as_("responder").get("/alerts/services/shop/").status_code == 403
    page = manager.get("/alerts/services/shop/")
    assert page.status_code == 200
    given = {name: page.context["form"][name].value() for name in page.context["form"].fields}
    wrong = manager.post("/alerts/services/shop/", {**given, "grouping": "all", "grouping_fields": ""})
    assert (wrong.status_code, "Name at least one field" in wrong.content.decode()) == (422, True)
    wanted = {"grouping": "all", "grouping_fields": "cluster, job", "flap_count": "3"}
    manager.post("/alerts/services/shop/", {**given, **wanted})
    assert AlertSettings.objects.get().grouping_fields == ["cluster", "job"]
    said = manager.get("/alerts/services/shop/panel/").content.decode()
    assert "all of cluster, job are equal, within 1 h of the last one." in said
    assert "Flapping from 3 openings within 30 min" in said


def test_one_alert_is_silenced_split_off_and_merged_back_from_the_room(service):
    one, two = alert(service, "one"), alert(service, "two")
    viewer, responder = as_("viewer"), as_("responder")
    room, path = f"/incidents/{one.incident.ref}/", f"/incidents/{one.incident.ref}/alerts/{two.pk}/"
    assert "joined because the sender groups it with the others" in viewer.get(room).content.decode()
    seen = viewer.get(path).content.decode()
    assert ("5xx two" in seen, "Silence it" in seen) == (True, False)
    assert viewer.post(path, {"act": "mute", "minutes": "60"}).status_code == 403
    assert responder.post(path, {"act": "mute", "minutes": "61"}).status_code == 400
    responder.post(path, {"act": "mute", "minutes": "60"})
    two.refresh_from_db()
    assert two.muted_until is not None
    assert "silent until" in responder.get(room).content.decode()
    responder.post(path, {"act": "unmute"})
    responder.post(path, {"act": "split", "reason": "other"})
    other = Incident.objects.first()
    assert other.alerts.get().pk == two.pk
    merge = f"/incidents/{other.ref}/merge/"
    assert viewer.get(merge).status_code == 403
    assert one.incident.ref in responder.get(merge).content.decode()
    responder.post(merge, {"into": str(one.incident_id)})
    other.refresh_from_db()
    assert other.status == "resolved"
    assert "Undo the merge" in responder.get(merge).content.decode()
    responder.post(merge, {"act": "undo"})
    other.refresh_from_db()
    assert other.status == "triggered"


def test_resolving_what_still_fires_asks_and_the_quiet_time_is_kept(service):
    one = alert(service, "one")
    responder = as_("responder")
    path = f"/incidents/{one.incident.ref}/resolve/"
    page = responder.get(path).content.decode()
    assert "Resolve it with alerts still firing?" in page
    assert '<option value="60" selected>1 hour</option>' in page
    responder.post(path, {"note": "", "guard": "60"})
    assert alert(service, "one") is None
    assert (Incident.objects.count(), HeldAlert.objects.get().why) == (1, "guard")


def test_a_heartbeat_is_added_shown_and_removed_on_its_pages(service):
    viewer, manager = as_("viewer"), as_("manager")
    given = {"name": "nightly", "service": service.pk, "interval_seconds": "1 h", "grace_seconds": "5 min",
             "severity": "error", "description": "Look <here>"}  # fmt: skip
    assert viewer.post("/integrations/heartbeats/create/", given).status_code == 403
    wrong = manager.post("/integrations/heartbeats/create/", {**given, "interval_seconds": "often"})
    assert wrong.status_code == 422
    made = manager.post("/integrations/heartbeats/create/", given).content.decode()
    watch = Watch.objects.get()
    assert (watch.interval_seconds, watch.grace_seconds, "/heartbeat/" in made) == (3600, 300, True)
    path = f"/integrations/heartbeats/{watch.pk}/"
    assert "Waits for its first ping" in viewer.get("/integrations/heartbeats/").content.decode()
    seen = viewer.get(path).content.decode()
    assert ("Look &lt;here&gt;" in seen, f"…{watch.key_hint}" in seen) == (True, True)
    manager.post(path, {**given, "grace_seconds": "30 s"})
    manager.post(f"{path}pause/", {"to": "pause"})
    watch.refresh_from_db()
    assert (watch.grace_seconds, watch.state) == (30, "paused")
    assert manager.post(f"{path}rotate/").status_code == 200
    assert viewer.post(f"{path}remove/").status_code == 403
    manager.post(f"{path}remove/")
    assert not Watch.objects.exists()


def test_every_kind_of_integration_says_how_it_is_set_up_and_groups_by_itself(service):
    manager = as_("manager")
    for kind in ("grafana", "opsgenie"):
        integration = make_integration(kind, service=service)
        page = manager.get(f"/integrations/{integration.pk}/").content.decode()
        assert "Point the sender here" in page
    given = {"grouping": "any", "grouping_fields": "cluster", "grouping_seconds": "600"}
    given |= {"name": "x", "service": service.pk}
    assert manager.post(f"/integrations/{integration.pk}/", given).status_code == 302
    integration.refresh_from_db()
    assert (integration.grouping, integration.grouping_fields, integration.grouping_seconds) == (
        "any", ["cluster"], 600,
    )  # fmt: skip
