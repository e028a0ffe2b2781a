"""What the palette finds. How it is used by keyboard: tests/browser/test_pages.py."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from incidents import transitions
from incidents.models import Incident
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
HTMX = {"HTTP_HX_REQUEST": "true"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def incident() -> Incident:
    service = make_service("checkout-api")
    return transitions.trigger(
        service=service, title="Checkout fails", severity=1, urgency="low", now=NOW, is_drill=True
    )


def found(user: User, text: str) -> str:
    client = Client()
    client.force_login(user)
    return client.get(reverse("incidents:jump"), {"q": text}, **HTMX).content.decode()


def test_it_finds_incidents_services_people_and_pages_by_their_names(incident):
    ines = make_user("ines", full_name="Ines Okafor", role="manager")
    html = found(ines, "checkout")
    assert (
        f'href="{reverse("incidents:detail", args=[incident.pk])}"' in html
        and "Drill: Checkout fails" in html
    )
    assert f'href="{reverse("catalog:service_detail", args=["checkout-api"])}"' in html
    assert f'href="{reverse("accounts:person", args=[ines.pk])}"' in found(ines, "okaf")
    assert f'href="{reverse("integrations:bridges")}"' in found(ines, "BRIDGES chat")
    assert 'role="option"' in html and "<li" not in html


def test_it_always_offers_a_search_of_all_timelines_with_the_text_as_typed():
    html = found(make_user(), 'a&b "<i>')
    assert f'href="{reverse("incidents:search")}?q=a%26b%20%22%3Ci%3E"' in html
    assert "<i>" not in html


@pytest.mark.parametrize(("role", "sees"), [("viewer", False), ("responder", True), ("manager", True)])
def test_pages_that_one_may_not_open_are_not_offered(role, sees):
    html = found(make_user(role=role), "what was sent")
    assert (reverse("notifications:ledger") in html) is sees


def test_who_has_left_and_programs_are_not_found():
    make_user("gone", full_name="Gone Person", is_active=False)
    make_user("robot", full_name="Robot Person", is_bot=True)
    assert "Nothing is called “person”." in found(make_user("ines"), "person")


def test_without_script_a_number_opens_its_incident_and_words_the_list(incident):
    client = Client()
    client.force_login(make_user())
    for text in (incident.ref, str(incident.pk), incident.ref.lower()):
        answer = client.get(reverse("incidents:jump"), {"q": text})
        assert answer.headers["Location"] == reverse("incidents:detail", args=[incident.pk])
    answer = client.get(reverse("incidents:jump"), {"q": "INC-99999"})
    assert answer.headers["Location"] == "/incidents/?status=all&q=INC-99999"


def test_it_costs_the_same_whatever_is_found(incident, django_assert_num_queries):
    user = make_user()
    client = Client()
    client.force_login(user)
    for number in range(10):
        transitions.trigger(
            service=make_service(f"thing {number}"),
            title=f"thing {number}",
            severity=2,
            urgency="low",
            now=NOW,
        )
        make_user(f"thing{number}")
    for text in ("thing", "nothing at all"):
        with django_assert_num_queries(5):  # session, person, incidents, services, people
            client.get(reverse("incidents:jump"), {"q": text}, **HTMX)
