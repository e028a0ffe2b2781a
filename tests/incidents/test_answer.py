"""Answering from the link in a message, as a phone does: no session, no script."""

import gzip
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.core import signing
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from incidents import answer, links, transitions
from incidents.models import Incident, Kind, Page, PageStatus, Status
from notifications.models import Delivery
from tests.factories.accounts import make_email, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.notifications import make_rule

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 2, 41, tzinfo=UTC)


@pytest.fixture
def phone() -> Client:
    """A browser that nobody has signed in with, and that checks forged requests as the real one does."""
    cache.clear()
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def at(time_machine):
    time_machine.move_to(NOW + timedelta(minutes=1), tick=False)
    return time_machine


@pytest.fixture
def ravi():
    user = make_user("ravi", full_name="Ravi Menon", time_zone="Europe/Berlin")
    make_email(user, verified_at=NOW)
    return user


@pytest.fixture
def ines():
    user = make_user("ines", full_name="Ines Okafor")
    make_email(user, verified_at=NOW)
    return user


@pytest.fixture
def incident(ravi, ines, at) -> Incident:
    service = make_service("checkout-api", criticality=1)
    make_policy(tier(1, ravi, ines), tier(2, make_user("tier2")), service=service)
    return transitions.trigger(
        service=service, title="Checkout API: 5xx", severity=1, urgency="high", impact="38% of checkouts fail",
        now=NOW,
    )  # fmt: skip


def link(incident: Incident, user) -> str:
    return links.answer_path(incident.pages.get(recipient=user).pk)


def page(incident, user) -> Page:
    return incident.pages.get(recipient=user)


def text_of(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def kinds(incident) -> list[str]:
    return list(incident.timeline.order_by("seq").values_list("kind", flat=True))


def test_the_page_says_what_it_is_and_what_follows(phone, incident, ravi):
    response = phone.get(link(incident, ravi))

    said = text_of(response)
    assert response.status_code == 200
    assert "SEV1: Checkout API: 5xx" in said
    assert "38% of checkouts fail" in said
    assert "03:41" in said  # 02:41 UTC where Ravi is
    assert "Do what tier 1 does." in said
    assert "Acknowledge It is yours, nobody else is paged" in said
    assert "Without an answer" in said


@pytest.mark.parametrize("method", ["get", "head"])
def test_looking_changes_nothing_however_often(phone, incident, ravi, method):
    before = kinds(incident)
    for _ in range(3):
        assert getattr(phone, method)(link(incident, ravi)).status_code == 200

    incident.refresh_from_db()
    assert incident.status == Status.TRIGGERED
    assert page(incident, ravi).status == PageStatus.PAGING
    assert kinds(incident) == before


def test_one_press_acknowledges_without_session_cookie_or_script(phone, incident, ravi):
    response = phone.post(link(incident, ravi))

    assert (response.status_code, response["Location"]) == (303, link(incident, ravi))
    incident.refresh_from_db()
    assert (incident.status, incident.acknowledged_by, incident.acknowledged_at) == (
        Status.ACKNOWLEDGED, ravi, NOW + timedelta(minutes=1),
    )  # fmt: skip
    assert page(incident, ravi).status == PageStatus.ACKNOWLEDGED
    entry = incident.timeline.get(kind=Kind.ACKNOWLEDGED)
    assert (entry.actor, entry.data["via"]) == (ravi, "link")
    assert not Delivery.objects.filter(status="waiting").exists()

    assert "You have it since 03:42:00" in text_of(phone.get(response["Location"]))


def test_pressing_twice_writes_one_entry(phone, incident, ravi):
    phone.post(link(incident, ravi))
    phone.post(link(incident, ravi))

    assert kinds(incident).count(Kind.ACKNOWLEDGED) == 1
    assert Kind.ALSO_ACKNOWLEDGED not in kinds(incident)


def test_who_comes_second_reads_who_was_first_and_is_noted(phone, incident, ravi, ines):
    phone.post(link(incident, ines))

    response = phone.post(link(incident, ravi), follow=True)

    assert response.status_code == 200
    assert "Ines Okafor has it since 03:42:00" in text_of(response)
    incident.refresh_from_db()
    assert incident.acknowledged_by == ines
    assert incident.timeline.get(kind=Kind.ALSO_ACKNOWLEDGED).actor == ravi


def test_a_late_answer_to_a_missed_page_counts(phone, incident, ravi):
    Page.objects.filter(pk=page(incident, ravi).pk).update(status=PageStatus.MISSED, ended_at=NOW)

    phone.post(link(incident, ravi))

    incident.refresh_from_db()
    assert incident.acknowledged_by == ravi
    assert page(incident, ravi).status == PageStatus.ACKNOWLEDGED


def test_who_is_called_in_by_hand_answers_too_although_somebody_has_it(phone, incident, ravi, ines):
    transitions.acknowledge(incident_id=incident.pk, by=ines, now=NOW + timedelta(seconds=10))
    lea = make_user("lea", full_name="Lea Brandt")
    make_rule(make_email(lea, verified_at=NOW), after=timedelta(minutes=5))
    transitions.page_person(
        incident_id=incident.pk, user=lea, by=ines, reason="the database", now=NOW + timedelta(seconds=20)
    )
    assert "Acknowledge" in text_of(phone.get(link(incident, lea)))
    assert Delivery.objects.filter(notification__recipient=lea, status="waiting").count() == 1

    answered = phone.post(link(incident, lea), follow=True)

    assert "Ines Okafor has it" in text_of(answered)
    assert page(incident, lea).status == PageStatus.ACKNOWLEDGED
    assert incident.timeline.get(kind=Kind.ALSO_ACKNOWLEDGED).actor == lea
    assert not Delivery.objects.filter(status="waiting").exists()


def test_after_the_end_the_page_says_so_and_a_press_changes_nothing(phone, incident, ravi, ines):
    transitions.resolve(incident_id=incident.pk, by=ines, now=NOW + timedelta(seconds=30))
    before = kinds(incident)

    looked = phone.get(link(incident, ravi))
    pressed = phone.post(link(incident, ravi))

    assert "Resolved at 03:41:30" in text_of(looked)
    assert pressed.status_code == 409
    assert "Resolved at 03:41:30" in text_of(pressed)
    assert kinds(incident) == before


def test_a_contained_incident_says_so(phone, incident, ravi, ines):
    transitions.contain(incident_id=incident.pk, by=ines, now=NOW + timedelta(seconds=30))

    assert "Contained since 03:41:30" in text_of(phone.get(link(incident, ravi)))


def test_a_sender_that_acknowledged_is_named(phone, incident, ravi):
    transitions.acknowledge(
        incident_id=incident.pk, by=None, by_name="Prometheus", now=NOW + timedelta(seconds=9)
    )

    assert "Prometheus has it since 03:41:09" in text_of(phone.get(link(incident, ravi)))


def test_the_press_of_something_else_does_not_acknowledge(phone, incident, ravi):
    phone.post(link(incident, ravi), {"do": "look"})

    incident.refresh_from_db()
    assert incident.status == Status.TRIGGERED


@pytest.mark.parametrize("method", ["put", "delete", "patch"])
def test_other_methods_are_refused(phone, incident, ravi, method):
    assert getattr(phone, method)(link(incident, ravi)).status_code == 405


# --- links that do not work -------------------------------------------------------------------------------------


def test_a_link_ends_after_48_hours_and_says_the_way_on(phone, incident, ravi, at):
    at.move_to(NOW + timedelta(hours=48), tick=False)
    assert phone.get(link(incident, ravi)).status_code == 200
    at.move_to(NOW + timedelta(hours=48, seconds=1), tick=False)

    looked = phone.get(link(incident, ravi))
    pressed = phone.post(link(incident, ravi))

    assert looked.status_code == pressed.status_code == 410
    assert "This link is too old" in text_of(looked)
    assert reverse("incidents:my_pages") in looked.content.decode()
    incident.refresh_from_db()
    assert incident.status == Status.TRIGGERED


def forged(incident, ravi) -> list[str]:
    good = link(incident, ravi).removeprefix("/p/").rstrip("/")
    return [
        good[:-1],
        good[:-1] + ("A" if good[-1] != "A" else "B"),
        good + "A",
        str(page(incident, ravi).pk),
        "x",
        signing.dumps(page(incident, ravi).pk, salt="another"),
        signing.dumps(page(incident, ravi).pk, key="another key", salt=links.SALT),
        "%00",
        "ü:1:2",
    ]


def test_forged_and_cut_links_act_on_nothing(phone, incident, ravi):
    for token in forged(incident, ravi):
        response = phone.post(f"/p/{token}/")
        assert response.status_code == 404, token
        assert "This link does not work" in text_of(response)

    incident.refresh_from_db()
    assert incident.status == Status.TRIGGERED


def test_a_link_to_a_page_that_is_gone_does_not_work(phone, incident):
    assert phone.get(links.answer_path(999_999)).status_code == 404


def test_a_person_who_has_left_answers_nothing(phone, incident, ravi):
    ravi.is_active = False
    ravi.save()

    assert phone.post(link(incident, ravi)).status_code == 404
    incident.refresh_from_db()
    assert incident.status == Status.TRIGGERED


def test_guessing_is_slowed_but_a_good_link_always_works(phone, incident, ravi, monkeypatch):
    monkeypatch.setattr(answer, "BROKEN_PER_MINUTE", 3)
    statuses = [phone.get("/p/guess/").status_code for _ in range(5)]

    assert statuses == [404, 404, 404, 429, 429]
    assert phone.get("/p/guess/")["Retry-After"] == "60"
    assert phone.post(link(incident, ravi)).status_code == 303


# --- what it costs ----------------------------------------------------------------------------------------------


def test_everything_of_a_first_visit_is_at_most_25_kilobytes(phone, incident, ravi):
    html = phone.get(link(incident, ravi)).content
    total = len(gzip.compress(html))
    for path in re.findall(r'(?:href|src)="/static/([^"]+)"', html.decode()):
        plain = re.sub(r"\.[0-9a-f]{12}(\.\w+)$", r"\1", path)
        total += len(gzip.compress(Path(finders.find(plain)).read_bytes()))

    assert total <= 25_000


def test_the_page_says_nothing_to_caches_searchers_or_other_sites(phone, incident, ravi):
    response = phone.get(link(incident, ravi))

    assert "no-store" in response["Cache-Control"]
    assert 'name="robots" content="noindex"' in response.content.decode()
    assert "style=" not in response.content.decode()
    assert "onclick" not in response.content.decode()


def test_looking_takes_a_fixed_number_of_queries(phone, incident, ravi, django_assert_max_num_queries):
    with django_assert_max_num_queries(3):
        phone.get(link(incident, ravi))


# --- my pages ---------------------------------------------------------------------------------------------------


def test_my_pages_show_what_waits_first_with_its_button_and_then_what_was(incident, ravi, ines):
    client = Client()
    client.force_login(ravi)
    response = client.get(reverse("incidents:my_pages"))

    said = text_of(response)
    assert response.status_code == 200
    assert "One page waits for you" in said
    assert reverse("incidents:acknowledge", args=[incident.pk]) in response.content.decode()
    assert said.index("One page waits") < said.index("Sent to you")

    transitions.acknowledge(incident_id=incident.pk, by=ines, now=NOW + timedelta(minutes=2))
    said = text_of(client.get(reverse("incidents:my_pages")))
    assert "No page waits for you" in said
    assert "called off" in said


def test_my_pages_are_mine_and_come_in_portions(incident, ravi):
    other = Client()
    other.force_login(make_user("other"))
    assert "You were never paged" in text_of(other.get(reverse("incidents:my_pages")))

    first = page(incident, ravi)
    for number in range(30):
        Page.objects.create(
            incident=incident, recipient=ravi, step_key=f"x:{number}", reason="again", paged_at=NOW,
            status=PageStatus.CANCELLED, ended_at=NOW,
        )  # fmt: skip
    client = Client()
    client.force_login(ravi)
    newest = client.get(reverse("incidents:my_pages"))
    assert len(newest.context["history"]) == 25
    older = client.get(newest.context["next_url"])
    assert [row["page"].pk for row in older.context["history"]][-1] == first.pk
    assert older.context["next_url"] is None


def test_my_pages_ask_for_a_sign_in(phone):
    response = phone.get(reverse("incidents:my_pages"))

    assert response.status_code == 302
    assert "next=" in response["Location"]
