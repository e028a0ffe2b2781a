"""A list costs the same number of queries with three rows and with thirty."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from escalation.rules import TargetData
from incidents import transitions
from incidents.models import RoleRotation
from tests.api.conftest import Api
from tests.factories.accounts import make_team, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.oncall import make_schedule

pytestmark = pytest.mark.django_db


def cost(api: Api, path: str) -> int:
    api.get("me/")  # notes the use of the token, which happens once a minute
    with CaptureQueriesContext(
        connection,
    ) as queries:
        response = api.get(path)
    assert response.status_code == 200, response.content
    return len(queries)


def fill(count: int, responder: User) -> None:
    now = timezone.now()
    for number in range(count):
        people = [make_user(), make_user()]
        team = make_team(members=people)
        service = make_service(team=team, primary_responder=people[0], secondary_responder=people[1])
        schedule = make_schedule(people=people, team=team)
        targets = [TargetData(kind="schedule", id=schedule.pk), TargetData(kind="team", id=team.pk)]
        RoleRotation.objects.create(role="commander", schedule=schedule, team=team, max_severity=0)
        make_policy(tier(1, people[0], targets=targets), tier(2, *people), service=service)
        incident = transitions.declare(
            service=service, title=f"No {number}", severity=1, by=responder, now=now
        )
        transitions.acknowledge(incident_id=incident.pk, by=people[0], now=now)
        transitions.assign_commander(incident_id=incident.pk, user=people[1], by=responder, now=now)


# A token costs one query; the rest is what the list needs.
@pytest.mark.parametrize(
    ("path", "queries"),
    [
        ("incidents/?limit=200", 2),
        ("incidents/?limit=200&status=open&severity=1&q=no", 2),
        ("policies/?limit=200", 9),
        ("rotations/?limit=200", 2),
        ("services/?limit=200", 4),
        ("schedules/?limit=200", 5),
        ("teams/?limit=200", 3),
        ("users/?limit=200", 3),
        ("tokens/?limit=200", 2),
    ],
)
def test_a_list_costs_the_same_whatever_its_length(
    api: Api, responder: User, path: str, queries: int
) -> None:
    fill(3, responder)
    assert cost(api, path) == queries
    fill(9, responder)
    assert cost(api, path) == queries


@pytest.mark.parametrize(("part", "queries"), [("", 2), ("timeline/", 3), ("alerts/", 3), ("pages/", 3)])
def test_one_incident_costs_the_same_whatever_happened(
    api: Api, responder: User, part: str, queries: int
) -> None:
    fill(1, responder)
    ref = api.get("incidents/").json()["results"][0]["ref"]
    assert cost(api, f"incidents/{ref}/{part}") == queries
    for number in range(10):
        api.post(f"incidents/{ref}/note/", {"text": f"{number}"})
        api.post(f"incidents/{ref}/call/", {"user": make_user().username})
    assert cost(api, f"incidents/{ref}/{part}") == queries
