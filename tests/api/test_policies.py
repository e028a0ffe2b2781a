from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import User
from escalation.models import MatrixCell, Policy, Tier
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


def test_all_that_a_policy_can_say_is_written_and_read_back(managers: Api, policy: dict) -> None:
    more = {
        "ack_mode": "quorum", "quorum": 3, "when_unstaffed": "hold_until_staffed", "hold_limit_minutes": 90,
        "hours": "in", "severities": [1, 2], "round_robin": False, "channels": ["sms", "voice"],
        "early": [{"kind": "impact_grew"}, {"kind": "expertise", "field": "database"}],
    }  # fmt: skip
    policy["tiers"][0] |= more
    policy["tiers"][0]["targets"] = [
        {"kind": "schedule_next", "id": "payments-primary", "hours": "out", "severities": [1]}
    ]
    head = {
        "on_ack_timeout": "restart", "add_on_handoff": False, "time_zone": "Europe/Berlin",
        "working_hours": [{"days": [0, 1], "start": "08:00", "end": "18:00"}],
    }  # fmt: skip
    response = managers.post("policies/", policy | head | {"why": "the council asked"})
    assert response.status_code == 201, response.content
    answer = response.json()
    tier = answer["tiers"][0]
    assert {key: tier[key] for key in more} == more
    assert {key: answer[key] for key in head} == head
    assert [(each["kind"], each["hours"], each["severities"]) for each in tier["targets"]] == [
        ("schedule_next", "out", [1])
    ]
    policy["repeats"] = 5
    assert managers.put("policies/payments/", policy | head).json()["version"] == 2
    assert managers.put("policies/payments/", policy | {"time_zone": "Mars/Base"}).status_code == 400
    versions = managers.get("policies/payments/versions/").json()["results"]
    assert [(each["version"], each["why"], each["changed"]) for each in versions] == [
        (2, "", ["Without an answer, all tiers are paged again, 5 times, then Ravi Menon every 15 min until somebody answers."
                 " Before: Without an answer, all tiers are paged again, 2 times, then Ravi Menon every 15 min until somebody"
                 " answers."]),
        (1, "the council asked", []),
    ]  # fmt: skip
    response = managers.post("policies/payments/restore/", {"version": 1})
    assert (response.status_code, response.json()["version"], response.json()["repeats"]) == (200, 3, 2)
    assert {key: response.json()["tiers"][0][key] for key in more} == more
    assert managers.post("policies/payments/restore/", {"version": 9}).status_code == 404
    assert managers.get("policies/none/versions/").status_code == 404


def test_only_an_admin_says_what_a_severity_means(
    managers: Api, api_of: Callable[..., Api], admin: User
) -> None:
    cell = {
        "severity": 1,
        "criticality": 2,
        "urgency": "high",
        "start_level": 2,
        "answer_seconds": 60,
        "containment_minutes": 90,
        "commander": "ask",
    }
    assert managers.put("matrix/", cell).status_code == 403
    assert not MatrixCell.objects.exists()
    admins = api_of(admin)
    cells = admins.put("matrix/", cell).json()
    assert (len(cells), cells[1]) == (16, cell)
    assert managers.get("matrix/").json() == cells
    assert admins.put("matrix/", {"severity": 1, "criticality": 2}).status_code == 200
    assert not MatrixCell.objects.exists()
    assert admins.put("matrix/", cell | {"severity": 5}).status_code == 400
    assert managers.get("coverage-gaps/").json()["results"] == []
