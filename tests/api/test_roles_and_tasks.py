"""Roles, offers, experts and tasks over the API."""

import pytest
from django.utils import timezone

from accounts.models import User
from incidents import transitions
from incidents.models import Incident, OfferStatus, RoleOffer
from tests.factories.catalog import make_service

pytestmark = pytest.mark.django_db


@pytest.fixture
def incident(responder: User) -> Incident:
    return transitions.declare(
        service=make_service("checkout"), title="5xx", severity=2, by=responder, now=timezone.now()
    )


def test_a_role_is_given_offered_and_accepted(api, api_of, incident, responder, manager):
    at = f"incidents/{incident.ref}"
    given = api.post(f"{at}/roles/", {"role": "commander", "user": "ravi"})
    assert given.status_code == 200, given.content
    assert [(row["role"], row["user"]["username"]) for row in given.json()["roles"]] == [
        ("commander", "ravi")
    ]
    offered = api.post(f"{at}/offers/", {"role": "commander", "user": "ines", "known": "38% fail"})
    assert offered.status_code == 201, offered.content
    offer = offered.json()
    assert (offer["status"], offer["held_by"]["username"], offer["known"]) == ("open", "ravi", "38% fail")
    mine = api.post(f"{at}/offers/{offer['id']}/accept/")
    assert (mine.status_code, mine.json()["error"]["code"]) == (403, "not_allowed")
    accepted = api_of(manager).post(f"{at}/offers/{offer['id']}/accept/")
    assert (accepted.status_code, accepted.json()["status"]) == (200, "accepted")
    late = api_of(manager).post(f"{at}/offers/{offer['id']}/decline/", {"why": "no"})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "offer_closed")
    now = api.get(f"{at}/roles/").json()
    assert ([row["user"]["username"] for row in now["roles"]], now["offers"]) == (["ines"], [])


def test_an_offer_of_another_incident_is_not_found(api, incident, responder, manager):
    other = transitions.declare(
        service=incident.service, title="x", severity=3, by=responder, now=timezone.now()
    )
    offer = api.post(f"incidents/{incident.ref}/offers/", {"role": "scribe", "user": "ines"}).json()
    for act in ("accept", "decline", "withdraw"):
        assert api.post(f"incidents/{other.ref}/offers/{offer['id']}/{act}/").status_code == 404
    assert RoleOffer.objects.get().status == OfferStatus.OPEN
    assert (
        api.post(f"incidents/{incident.ref}/offers/{offer['id']}/withdraw/").json()["status"] == "withdrawn"
    )


def test_an_expert_is_called_by_field(api, incident, manager):
    nobody = api.post(f"incidents/{incident.ref}/experts/", {"field": "network"})
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (409, "no_expert")
    User.objects.filter(pk=manager.pk).update(expertise=["network"])
    called = api.post(f"incidents/{incident.ref}/experts/", {"field": "network", "reason": "bgp"})
    assert (called.status_code, called.json()["to"]["username"]) == (201, "ines")


def test_a_task_is_added_claimed_once_and_finished(api, api_of, incident, manager):
    at = f"incidents/{incident.ref}/tasks"
    added = api.post(f"{at}/", {"title": "Pause the queue"})
    assert (added.status_code, added.json()["number"], added.json()["assignee"]) == (201, 1, None)
    assert api.post(f"{at}/1/claim/").json()["assignee"]["username"] == "ravi"
    second = api_of(manager).post(f"{at}/1/claim/")
    assert (second.status_code, second.json()["error"]["code"]) == (409, "task_taken")
    assert second.json()["error"]["message"].startswith("Ravi Menon has task 1")
    given = api.post(f"{at}/1/assign/", {"user": "ines"})
    assert given.json()["assignee"]["username"] == "ines"
    assert api.post(f"{at}/1/assign/").json()["error"]["fields"] == {"user": ["Say who gets it."]}
    assert api.post(f"{at}/1/done/").json()["done_by"]["username"] == "ravi"
    assert api.post(f"{at}/1/burn/").status_code == 404
    assert api.post(f"{at}/9/claim/").status_code == 404
    assert [task["status"] for task in api.get(f"{at}/").json()["results"]] == ["done"]


def test_adding_a_task_again_with_the_same_key_adds_one(api, incident):
    for _ in range(2):
        api.post(f"incidents/{incident.ref}/tasks/", {"title": "x"}, Idempotency_Key="once")
    assert incident.tasks.count() == 1
