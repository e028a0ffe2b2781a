from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import User
from escalation.models import Policy, Tier
from tests.api.conftest import Api
from tests.factories.accounts import make_team
from tests.factories.oncall import make_schedule

pytestmark = pytest.mark.django_db


@pytest.fixture
def managers(api_of: Callable[..., Api], manager: User) -> Api:
    return api_of(manager)


@pytest.fixture
def policy(responder: User) -> dict[str, Any]:
    make_schedule("Payments primary", slug="payments-primary")
    make_team("Payments", slug="payments")
    return {
        "name": "Payments",
        "team": "payments",
        "repeats": 2,
        "catch_all": "ravi",
        "tiers": [
            {
                "level": 1,
                "name": "On call",
                "expected_outcome": "Acknowledge and contain.",
                "ack_seconds": {"SEV1": 120},
                "targets": [{"kind": "schedule", "id": "payments-primary"}],
            },
            {
                "level": 2,
                "name": "Everybody",
                "expected_outcome": "Help.",
                "targets": [
                    {"kind": "user", "id": "ravi"},
                    {"kind": "team", "id": "payments"},
                    {"kind": "role", "role": "manager"},
                    {"kind": "service_primary"},
                ],
            },
        ],
    }


def test_a_policy_is_written_as_a_whole(managers: Api, policy: dict, responder: User) -> None:
    response = managers.post("policies/", policy)
    assert response.status_code == 201, response.content
    answer = response.json()
    assert (answer["slug"], answer["version"], answer["repeats"]) == ("payments", 1, 2)
    assert answer["team"]["slug"] == "payments"
    assert answer["catch_all"]["username"] == "ravi"
    one, two = answer["tiers"]
    assert one["ack_seconds"] == {"SEV1": 120, "SEV2": 600, "SEV3": 1800, "SEV4": 3600}
    assert [(target["kind"], target["name"]) for target in one["targets"]] == [
        ("schedule", "Payments primary")
    ]
    assert [target["kind"] for target in two["targets"]] == ["user", "team", "role", "service_primary"]
    assert two["targets"][0]["id"] == responder.pk
    assert managers.get("policies/payments/").json() == answer
    assert managers.get("policies/").json()["results"] == [answer]


def test_replacing_a_policy_raises_its_version(managers: Api, policy: dict) -> None:
    managers.post("policies/", policy)
    policy["tiers"] = policy["tiers"][:1]
    response = managers.put("policies/payments/", policy)
    assert response.status_code == 200, response.content
    assert response.json()["version"] == 2
    assert [tier["level"] for tier in response.json()["tiers"]] == [1]
    assert Tier.objects.count() == 1


def _tier(policy: dict, **changed: Any) -> dict:
    return policy | {"tiers": [policy["tiers"][0] | changed]}


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda policy: policy | {"name": ""}, "name"),
        (lambda policy: policy | {"name": "x" * 121}, "name"),
        (lambda policy: policy | {"tiers": []}, "tiers"),
        (lambda policy: policy | {"tiers": {}}, "tiers"),
        (lambda policy: policy | {"tiers": policy["tiers"][:1] * 2}, "tiers"),
        (lambda policy: policy | {"tiers": policy["tiers"] * 6}, "tiers"),
        (lambda policy: policy | {"repeats": 21}, "repeats"),
        (lambda policy: policy | {"repeats": -1}, "repeats"),
        (lambda policy: policy | {"catch_all": "nobody"}, "catch_all"),
        (lambda policy: policy | {"catch_all_every_minutes": 0}, "catch_all_every_minutes"),
        (lambda policy: policy | {"team": "nobody"}, "team"),
        (lambda policy: policy | {"tier": []}, "tier"),
        (lambda policy: _tier(policy, targets=[]), "tiers.1"),
        (lambda policy: _tier(policy, expected_outcome=""), "tiers.1"),
        (lambda policy: _tier(policy, level=10), "tiers.0.level"),
        (lambda policy: _tier(policy, ack_seconds={"SEV1": 0}), "tiers.0.ack_seconds.SEV1"),
        (lambda policy: _tier(policy, ack_seconds={"SEV5": 60}), "tiers.0.ack_seconds.SEV5"),
        (lambda policy: _tier(policy, targets=[{"kind": "pigeon"}]), "tiers.0.targets.0.kind"),
        (lambda policy: _tier(policy, targets=[{"kind": "user"}]), "tiers.0.targets.0.id"),
        (lambda policy: _tier(policy, targets=[{"kind": "user", "id": 999}]), "tiers.0.targets.0.id"),
        (lambda policy: _tier(policy, targets=[{"kind": "role"}]), "tiers.0.targets.0.role"),
        (
            lambda policy: _tier(policy, targets=[{"kind": "service_primary", "id": 1}]),
            "tiers.0.targets.0.id",
        ),
        (lambda policy: _tier(policy, targets=[5]), "tiers.0.targets.0"),
        (lambda policy: _tier(policy, targets=[{"kind": "service_primary"}] * 11), "tiers.0.targets"),
    ],
)
def test_a_wrong_policy_names_the_place_and_stores_nothing(
    managers: Api, policy: dict, spoil: Callable[[dict], dict], field: str
) -> None:
    response = managers.post("policies/", spoil(policy))
    assert response.status_code == 400
    assert field in response.json()["error"]["fields"], response.content
    assert not Policy.objects.exists()


def test_a_wrong_replacement_leaves_the_policy_as_it_was(managers: Api, policy: dict) -> None:
    before = managers.post("policies/", policy).json()
    response = managers.put("policies/payments/", policy | {"tiers": []})
    assert response.status_code == 400
    assert managers.get("policies/payments/").json() == before


def test_two_policies_cannot_share_a_name(managers: Api, policy: dict) -> None:
    managers.post("policies/", policy)
    response = managers.post("policies/", policy)
    assert response.status_code == 400
    assert response.json()["error"]["fields"] == {"name": ["Another policy has this name."]}
    assert Policy.objects.count() == 1


def test_responders_read_policies_and_do_not_write_them(api: Api, managers: Api, policy: dict) -> None:
    managers.post("policies/", policy)
    assert api.get("policies/payments/").status_code == 200
    for response in (api.post("policies/", policy), api.put("policies/payments/", policy)):
        assert response.status_code == 403
        assert response.json()["error"]["message"] == "Managers and admins may do this. You are a responder."
    assert Policy.objects.get().version == 1


def test_a_policy_that_is_not_there_is_404(managers: Api, policy: dict) -> None:
    assert managers.get("policies/nothing/").status_code == 404
    assert managers.put("policies/nothing/", policy).status_code == 404
    assert managers.get("policies/%00/").status_code == 404
