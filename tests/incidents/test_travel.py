"""The banner where the room is not: strips, the service's page, the API, and pages of others."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
import time_machine
from django.core import signing
from django.test import Client
from django.urls import reverse

from accounts.models import User
from catalog.models import Service
from incidents import presenters, transitions
from incidents.models import Incident
from incidents.travel.links import SALT, embed_path
from tests.factories.accounts import make_token, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name="Ines Okafor")


@pytest.fixture
def viewer() -> User:
    return make_user("viola", full_name="Viola Weber", role="viewer")


@pytest.fixture
def service(ines: User) -> Service:
    service = make_service("checkout-api")
    make_policy(tier(1, ines, seconds=600), tier(2, ines, seconds=600), service=service, catch_all=ines)
    return service


@pytest.fixture
def incident(service: Service) -> Incident:
    return transitions.trigger(
        service=service,
        title="Checkout fails",
        severity=1,
        urgency="high",
        now=NOW,
        impact="38% of checkouts",
    )


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def promised(incident: Incident, at: datetime) -> Incident:
    Incident.objects.filter(pk=incident.pk).update(next_update_at=at, next_update_from=NOW)
    incident.refresh_from_db()
    return incident


# --- the strip --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "state", "text"), [(60, "calm", "50:00"), (12, "soon", "02:00"), (5, "over", "05:00")]
)
def test_a_promised_update_counts_down_and_then_is_late(incident, minutes, state, text):
    promised(incident, NOW + minutes * MINUTE)
    clock = presenters.banner(incident, NOW + 10 * MINUTE).next_update
    assert (clock.state, clock.text) == (state, text)


def test_what_is_over_promises_no_update(incident, ines):
    promised(incident, NOW + MINUTE)
    ended = transitions.resolve(incident_id=incident.pk, by=ines, now=NOW + 2 * MINUTE)
    ended.next_update_at = NOW + MINUTE
    assert presenters.banner(ended, NOW + 3 * MINUTE).next_update is None


def test_the_strip_shows_the_next_page_first_and_the_next_update_once_nobody_is_paged(incident, ines, viewer):
    promised(incident, NOW + 30 * MINUTE)
    address = reverse("incidents:strip", args=[incident.pk])
    with time_machine.travel(NOW + MINUTE, tick=False):
        before = signed_in(viewer).get(address).content.decode()
        transitions.acknowledge(incident_id=incident.pk, by=ines, now=NOW + MINUTE)
        promised(incident, NOW + 30 * MINUTE)
        after = signed_in(viewer).get(address).content.decode()
    assert "Tier 2 in" in before and "Update in" not in before
    assert "Update in" in after and "29:00" in after


# --- the service's page -----------------------------------------------------------------------------------------


def test_the_service_page_shows_what_burns_on_it_and_nothing_of_others(service, incident, ines, viewer):
    other = transitions.trigger(
        service=make_service("ledger"), title="Ledger slow", severity=2, urgency="high", now=NOW
    )
    ended = transitions.trigger(service=service, title="Old news", severity=3, urgency="low", now=NOW)
    transitions.resolve(incident_id=ended.pk, by=ines, now=NOW)
    page = signed_in(viewer).get(reverse("catalog:service_detail", args=[service.slug])).content.decode()
    part = signed_in(viewer).get(reverse("incidents:of_service", args=[service.slug])).content.decode()
    for html in (page, part):
        assert incident.title in html and incident.ref in html
        assert other.title not in html and ended.title not in html
    assert f'data-regions="{reverse("incidents:of_service", args=[service.slug])}"' in page


def test_a_quiet_service_has_an_empty_place_for_it(service, viewer):
    page = signed_in(viewer).get(reverse("catalog:service_detail", args=[service.slug])).content.decode()
    assert '<div class="burns" id="burns" data-region></div>' in page


def test_what_burns_costs_three_queries_however_many(service, ines, django_assert_num_queries):
    address = reverse("incidents:of_service", args=[service.slug])
    client = signed_in(ines)
    for number in range(4):
        transitions.trigger(service=service, title=f"Fault {number}", severity=2, urgency="low", now=NOW)
    client.get(address)
    with django_assert_num_queries(6):  # session, person, service, incidents, their phases and offers
        client.get(address)


def test_of_a_service_that_is_not_there_is_404(viewer):
    assert signed_in(viewer).get("/incidents/of-service/nothing/").status_code == 404


# --- the API ----------------------------------------------------------------------------------------------------


def ask(user: User, path: str):
    return Client().get(path, HTTP_AUTHORIZATION=f"Bearer {make_token(user, scope='read')}")


def test_the_api_says_what_the_banner_says(incident, ines, viewer):
    transitions.acknowledge(incident_id=incident.pk, by=ines, now=NOW + 2 * MINUTE)
    transitions.assign_commander(incident_id=incident.pk, user=ines, by=ines, now=NOW + 2 * MINUTE)
    promised(incident, NOW + 12 * MINUTE)
    with time_machine.travel(NOW + 10 * MINUTE, tick=False):
        body = ask(viewer, f"/api/v1/incidents/{incident.ref}/banner/").json()
    phases = body.pop("phases")
    assert body == {
        "ref": incident.ref,
        "title": "Checkout fails",
        "severity": "SEV1",
        "status": "acknowledged",
        "state": "Not contained",
        "service": {"id": incident.service_id, "slug": "checkout-api", "name": "checkout-api"},
        "phase": "triage",
        "commander": {"id": ines.pk, "username": "ines", "name": "Ines Okafor"},
        "impact": "38% of checkouts",
        "is_drill": False,
        "triggered_at": "2026-11-24T03:00:00Z",
        "running_seconds": 600,
        "next_page": None,
        "next_update": {"at": "2026-11-24T03:12:00Z", "state": "soon"},
        "snooze": None,
        "contain": None,
        "url": body["url"],
    }
    assert body["url"].endswith(f"/incidents/{incident.ref}/")
    assert [(row["phase"], row["state"]) for row in phases] == [
        ("detection", "done"),
        ("triage", "now"),
        ("escalation", "todo"),
        ("containment", "todo"),
        ("root_cause", "todo"),
        ("review", "todo"),
    ]


def test_the_api_says_who_is_paged_next(incident, viewer):
    with time_machine.travel(NOW + MINUTE, tick=False):
        body = ask(viewer, f"/api/v1/incidents/{incident.pk}/banner/").json()
    assert body["next_page"]["at"] == "2026-11-24T03:10:00Z"
    assert body["next_page"]["label"].startswith("Tier 2")
    assert (body["next_page"]["state"], body["next_update"], body["commander"]) == ("calm", None, None)


def test_without_its_slash_the_banner_is_sent_on(incident, viewer):
    response = ask(viewer, f"/api/v1/incidents/{incident.ref}/banner")
    assert (response.status_code, response.headers["Location"]) == (
        308,
        f"/api/v1/incidents/{incident.ref}/banner/",
    )


def test_of_an_incident_that_is_not_there_the_banner_is_404(viewer):
    assert ask(viewer, "/api/v1/incidents/INC-99999/banner/").json()["error"]["code"] == "not_found"


# --- pages of others --------------------------------------------------------------------------------------------


def test_the_embedded_banner_shows_the_banner_and_nothing_else(incident, ines):
    transitions.add_note(incident_id=incident.pk, text="the key is hunter2", by=ines, now=NOW)
    response = Client().get(embed_path(incident.pk))
    html = response.content.decode()
    assert response.status_code == 200
    assert "Checkout fails" in html and "38% of checkouts" in html and "Nobody has answered" in html
    assert "hunter2" not in html and "<form" not in html and "csrf" not in html
    assert "Set-Cookie" not in response.headers and not response.cookies


def test_only_the_sites_of_the_settings_may_frame_it(incident, settings, viewer):
    address = embed_path(incident.pk)
    assert "frame-ancestors 'none'" in Client().get(address).headers["Content-Security-Policy"]
    settings.MUSTER_EMBED_ORIGINS = ["https://wiki.example.org", "https://board.example.org"]
    policy = Client().get(address).headers["Content-Security-Policy"]
    assert "frame-ancestors https://wiki.example.org https://board.example.org" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy
    elsewhere = signed_in(viewer).get("/").headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in elsewhere


def test_an_old_a_broken_and_a_foreign_address_show_nothing(incident):
    with time_machine.travel(NOW, tick=False):
        old = embed_path(incident.pk)
    with time_machine.travel(NOW + timedelta(days=29), tick=False):
        assert Client().get(old).status_code == 200
    with time_machine.travel(NOW + timedelta(days=31), tick=False):
        assert Client().get(old).status_code == 404
    other = reverse("embed:banner", args=[signing.dumps(incident.pk, salt="muster.answer")])
    gone = reverse("embed:banner", args=[signing.dumps(999_999, salt=SALT)])
    for path in (other, gone, "/embed/nothing/", embed_path(incident.pk)[:-3] + "x/"):
        response = Client().get(path)
        assert response.status_code == 404
        assert "Checkout fails" not in response.content.decode()


def test_words_of_people_stay_words_on_it(incident):
    Incident.objects.filter(pk=incident.pk).update(
        title="<script>alert(1)</script>", impact='"><img src=x onerror=alert(1)>'
    )
    html = Client().get(embed_path(incident.pk)).content.decode()
    assert "<script>alert" not in html and "<img" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_a_drill_says_so_on_pages_of_others(service, ines):
    drill = transitions.trigger(
        service=service, title="Practice", severity=2, urgency="high", now=NOW, is_drill=True
    )
    html = Client().get(embed_path(drill.pk)).content.decode()
    assert "<title>DRILL SEV2" in html and ">Drill</span>" in html


@pytest.mark.parametrize("htmx", [True, False])
def test_the_dialog_gives_an_address_that_works(incident, ines, settings, htmx):
    settings.MUSTER_EMBED_ORIGINS = ["https://wiki.example.org"]
    headers = {"HTTP_HX_REQUEST": "true"} if htmx else {}
    html = signed_in(ines).get(reverse("incidents:embed", args=[incident.pk]), **headers).content.decode()
    assert ("<html" in html) is not htmx
    address = re.search(r'id="embed-address" value="([^"]+)"', html)[1]
    assert "&lt;iframe src=" in html and "https://wiki.example.org may show it" in html
    assert Client().get(urlsplit(address).path).status_code == 200


def test_who_may_only_read_makes_no_address_for_others(incident, viewer):
    assert signed_in(viewer).get(reverse("incidents:embed", args=[incident.pk])).status_code == 403
