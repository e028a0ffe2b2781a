"""Roles, offers, experts and tasks over the API."""

import pytest
from django.utils import timezone

from accounts.models import User
from incidents import transitions
from incidents.models import Incident, OfferStatus, RoleOffer, RoleRotation
from tests.factories.accounts import make_team
from tests.factories.catalog import make_service
from tests.factories.oncall import make_schedule

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
    late = api_of(manager).post(f"{at}/1/assign/", {"user": "ines", "seen": None})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "task_taken")
    assert api_of(manager).post(f"{at}/1/release/", {"seen": "ines"}).status_code == 409
    assert incident.tasks.get().assignee.username == "ravi"
    given = api.post(f"{at}/1/assign/", {"user": "ines", "seen": "ravi"})
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


def test_of_two_who_decide_at_once_the_second_is_told_over_the_api_too(api_of, incident, responder, manager):
    at, schedule = f"incidents/{incident.ref}/roles/", make_schedule("Net", people=[responder])
    both = {"role": "scribe", "seen": None}
    assert api_of(responder).post(at, both | {"user": "ravi"}).status_code == 200
    late = api_of(manager).post(at, both | {"user": "ines"})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "changed_meanwhile")
    assert [(row.role, str(row.user)) for row in incident.holdings.all()] == [("scribe", "Ravi Menon")]
    assert api_of(manager).post(at, {"role": "scribe", "seen": "ravi", "user": "ines"}).status_code == 200

    wanted = {"role": "commander", "schedule": schedule.slug}
    made = api_of(manager).post("rotations/", wanted).json()
    change = wanted | {"seen": made["seen"]}
    rotation = f"rotations/{made['id']}/"
    first = api_of(manager).put(rotation, change | {"max_severity": 1})
    late = api_of(manager).put(rotation, change | {"max_severity": 3})
    assert (first.status_code, late.status_code, late.json()["error"]["code"]) == (
        200, 409, "changed_meanwhile",
    )  # fmt: skip
    assert RoleRotation.objects.get().max_severity == 1
    assert (
        api_of(manager).put(rotation, change | {"max_severity": 1}).status_code == 200
    )  # the same, sent twice
    now = change | {"max_severity": 3, "seen": first.json()["seen"]}
    assert api_of(manager).put(rotation, now).json()["max_severity"] == 3


def test_a_rotation_is_written_read_and_removed_by_managers_alone(api, api_of, responder, manager):
    team, schedule = make_team("Payments"), make_schedule("Incident commanders", people=[responder])
    wanted = {"role": "commander", "schedule": schedule.slug, "team": team.slug, "max_severity": 1}
    refused = api.post("rotations/", wanted)
    assert (refused.status_code, RoleRotation.objects.count()) == (403, 0)
    assert refused.json()["error"]["message"].startswith("Managers and admins may do this.")

    made = api_of(manager).post("rotations/", wanted, Idempotency_Key="once")
    assert made.status_code == 201, made.content
    rotation = made.json()
    assert rotation == {
        "id": rotation["id"], "role": "commander", "field": "", "accept_seconds": 300, "max_severity": 1,
        "schedule": {"id": schedule.pk, "slug": schedule.slug, "name": "Incident commanders"},
        "team": {"id": team.pk, "slug": team.slug, "name": "Payments"}, "seen": rotation["seen"],
    }  # fmt: skip
    assert api_of(manager).post("rotations/", wanted, Idempotency_Key="once").json() == rotation
    twin = api_of(manager).post("rotations/", wanted)
    assert (twin.status_code, list(twin.json()["error"]["fields"])) == (400, ["team"])

    expert = api_of(manager).post(
        "rotations/", {"role": "expert", "field": " Network ", "schedule": schedule.pk}
    )
    assert (expert.json()["field"], expert.json()["team"], expert.json()["max_severity"]) == (
        "network",
        None,
        2,
    )
    first = api.get("rotations/?limit=1").json()
    assert [row["id"] for row in first["results"]] == [rotation["id"]]
    assert [row["id"] for row in api.get(first["next"]).json()["results"]] == [expert.json()["id"]]

    at = f"rotations/{rotation['id']}/"
    for body, field in (
        ({**wanted, "role": "scribe"}, "role"), ({**wanted, "field": "network"}, "field"),
        ({**wanted, "schedule": "nowhere"}, "schedule"), ({**wanted, "accept_seconds": 5}, "accept_seconds"),
        ({**wanted, "max_severity": 7}, "max_severity"), ({**wanted, "colour": "red"}, "colour"),
    ):  # fmt: skip
        answer = api_of(manager).put(at, body)
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, [field]), body
    assert (api.put(at, wanted).status_code, api.delete(at).status_code) == (403, 403)
    assert api.get(at).json() == rotation
    changed = api_of(manager).put(at, {**wanted, "team": None, "accept_seconds": 600})
    assert (changed.json()["team"], changed.json()["accept_seconds"]) == (None, 600)
    assert api_of(manager).delete(at).status_code == 204
    assert (api.get(at).status_code, api_of(manager).put(at, wanted).status_code) == (404, 404)
