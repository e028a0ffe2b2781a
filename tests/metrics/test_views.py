"""The metrics page, its file and its endpoint."""

import csv
import io
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from incidents import transitions
from incidents.models import Incident
from tests.factories.accounts import make_token, make_user
from tests.factories.catalog import make_service

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(client):
    user = make_user("vera", role="viewer")
    client.force_login(user)
    return user


def story(
    *, minutes_ago: int, answer: float, service=None, title: str = "5xx on confirm", severity: int = 2
) -> Incident:
    """One incident from beginning to end through the real transitions."""
    person = make_user()
    begun = timezone.now() - timedelta(minutes=minutes_ago)
    incident = transitions.trigger(
        service=service or make_service(), title=title, severity=severity, urgency="high", now=begun
    )
    ends = {"acknowledge": answer, "contain": answer + 60, "resolve": answer + 120}
    for verb, seconds in ends.items():
        getattr(transitions, verb)(incident_id=incident.pk, by=person, now=begun + timedelta(seconds=seconds))
    return incident


def test_an_empty_page_says_what_is_true(client, viewer):
    page = client.get("/metrics/").content.decode()

    assert '<h1 class="t-title">Nothing happened</h1>' in page
    assert "No incident began in these 90 days" in page
    assert '<svg class="plot"' not in page


def test_one_incident_is_shown_and_nothing_is_claimed(client, viewer):
    story(minutes_ago=50, answer=70)

    page = client.get("/metrics/").content.decode()

    assert "Too few to say" in page
    assert "1 incident in production" in page
    assert "1m 10s" in page


def test_the_figures_of_the_page_come_from_the_timelines(client, viewer):
    service = make_service("Checkout API")
    for number in range(5):
        story(minutes_ago=500 - number, answer=60 + 10 * number, service=service)

    page = client.get("/metrics/").content.decode()

    assert "We answer in 1m 20s, contain in 2m 20s and repair in 3m 20s" in page
    assert "Checkout API" in page
    assert "severity=2" in page


def test_every_choice_stands_in_the_address_and_nonsense_becomes_the_default(client, viewer):
    page = client.get("/metrics/?days=30&severity=SEV1&population=drill&service=nothing").content.decode()
    nonsense = client.get("/metrics/?days=abc&severity=9&population=x&service=%00").content.decode()

    assert re.search(
        r'<a class="tab" href="\?days=30&amp;population=drill&amp;severity=1" aria-current="true">30 days',
        page,
    )
    assert '<option value="1" selected>' in page
    assert re.search(r'aria-current="true">90 days', nonsense)


def test_signing_in_is_needed(client):
    assert client.get("/metrics/").status_code == 302
    assert client.get("/metrics/incidents.csv").status_code == 302
    assert client.get("/api/v1/metrics/").status_code == 401


def test_the_page_takes_the_same_few_queries_for_one_and_for_many(client, viewer):
    story(minutes_ago=50, answer=70)
    with CaptureQueriesContext(connection) as one:
        client.get("/metrics/")
    for number in range(8):
        story(minutes_ago=300 + number, answer=30)

    with CaptureQueriesContext(connection) as many:
        client.get("/metrics/")

    assert len(many) == len(one) <= 8


def test_the_file_has_a_line_for_each_incident_and_no_formulas(client, viewer):
    first = story(minutes_ago=90, answer=70, service=make_service("Search"), title="=1+1")
    second = story(minutes_ago=50, answer=30.5)

    response = client.get("/metrics/incidents.csv?days=30")

    lines = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
    assert [line["incident"] for line in lines] == [second.ref, first.ref]
    assert (lines[1]["title"], lines[1]["service"], lines[1]["severity"]) == ("'=1+1", "Search", "SEV2")
    assert (lines[0]["seconds_to_acknowledge"], lines[1]["seconds_to_repair"]) == ("30.500", "190.000")
    assert response.headers["Content-Disposition"].startswith(
        'attachment; filename="muster-production-30-days-to-'
    )


def test_the_endpoint_says_the_same_as_the_page(client):
    for number in range(5):
        story(minutes_ago=500 - number, answer=60 + 10 * number)
    token = make_token(make_user(role="viewer"), scope="read")

    told = client.get("/api/v1/metrics/?days=30", headers={"Authorization": f"Bearer {token}"}).json()

    assert told["finding"] == "We answer in 1m 20s, contain in 2m 20s and repair in 3m 20s"
    assert told["now"]["acknowledge"] == {"count": 5, "median_seconds": 80.0, "p90_seconds": 96.0}
    assert told["now"]["not_acknowledged"] == {"ended_itself": 0, "ended_by_hand": 0, "open": 0}
    assert sum(bucket["incidents"] for bucket in told["buckets"]) == 5


@pytest.mark.parametrize(
    "query", ["days=31", "days=x", "population=all", "severity=SEV9", "service=none", "color=1"]
)
def test_the_endpoint_refuses_what_it_does_not_know(client, query):
    token = make_token(make_user(role="viewer"), scope="read")

    response = client.get(f"/api/v1/metrics/?{query}", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 400
    assert list(response.json()["error"]["fields"]) == [query.split("=")[0]]


def test_the_figures_of_one_incident(client, viewer):
    incident = story(minutes_ago=50, answer=70)

    page = client.get(f"/metrics/incident/{incident.pk}/").content.decode()

    assert "in 1m 10s" in page
    assert "in 2m 10s" in page
    assert client.get("/metrics/incident/999999/").status_code == 404
