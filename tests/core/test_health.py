"""What monitors ask, and the answers when the database is away."""

from datetime import timedelta
from types import SimpleNamespace

import psycopg
import pytest
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.utils import timezone

from config import health
from core.errors import Refused
from core.middleware import POLICY, Failures, Headers, database_is_away
from timers.models import Timer


def away() -> OperationalError:
    error = OperationalError("connection is bad")
    error.__cause__ = psycopg.OperationalError("connection is bad")
    return error


def because(cause: Exception) -> OperationalError:
    error = OperationalError("no")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "is_away"),
    [
        (away(), True),
        (InterfaceError("the connection is closed"), True),
        (because(psycopg.errors.AdminShutdown("terminating")), True),
        (because(psycopg.errors.CannotConnectNow("starting up")), True),
        (because(psycopg.errors.TooManyConnections("sorry")), True),
        (because(psycopg.errors.DeadlockDetected("deadlock")), False),
        (because(psycopg.errors.QueryCanceled("statement timeout")), False),
        (ValueError("x"), False),
        (None, False),
    ],
)
def test_only_a_database_that_cannot_be_reached_is_away(error: Exception | None, is_away: bool) -> None:
    assert database_is_away(error) is is_away


def test_what_was_raised_from_a_lost_database_counts_too() -> None:
    outer = RuntimeError("while rendering")
    outer.__cause__ = away()
    assert database_is_away(outer) is True


def answer(path: str, error: Exception) -> HttpResponse:
    response = Failures(lambda request: HttpResponse()).process_exception(RequestFactory().get(path), error)
    assert response is not None
    return response


@pytest.mark.parametrize(
    "path",
    ["/v2/enqueue", "/api/v1/integrations/alertmanager/x/", "/api/v1/incidents/", "/metrics", "/readyz"],
)
def test_programs_are_told_503_in_json_and_when_to_come_back(path: str) -> None:
    response = answer(path, away())
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert response["Content-Type"] == "application/json"
    assert b'"code": "unavailable"' in response.content


@pytest.mark.parametrize("path", ["/incidents/1/", "/metrics/"])
def test_people_are_shown_a_page(path: str) -> None:
    response = answer(path, away())
    assert response.status_code == 503
    assert response["Content-Type"].startswith("text/html")
    assert b"The database does not answer" in response.content


def test_a_lost_database_is_503_also_when_the_error_has_no_words() -> None:
    wordless = RuntimeError()
    wordless.__cause__ = away()
    assert answer("/incidents/1/", wordless).status_code == 503


def test_a_refusal_that_a_view_forgot_keeps_its_status_and_words() -> None:
    refused = Refused("Ravi acknowledged first.")
    assert answer("/api/v1/incidents/1/acknowledge/", refused).status_code == 409
    assert answer("/incidents/1/acknowledge/", refused).content == b"Ravi acknowledged first."


def test_another_fault_is_left_to_django() -> None:
    assert Failures(lambda request: HttpResponse()).process_exception(HttpRequest(), ValueError("x")) is None


def test_the_handler_of_last_resort_knows_a_lost_database() -> None:
    request = RequestFactory().get("/v2/enqueue")
    try:
        raise away()
    except OperationalError:
        assert health.server_error(request).status_code == 503
    try:
        raise ValueError("x")
    except ValueError:
        assert health.server_error(request).status_code == 500


def test_the_policy_is_on_every_answer_and_a_view_may_set_its_own() -> None:
    request = RequestFactory().get("/")
    assert Headers(lambda request: HttpResponse())(request)["Content-Security-Policy"] == POLICY
    own = HttpResponse(headers={"Content-Security-Policy": "default-src 'self'"})
    assert Headers(lambda request: own)(request)["Content-Security-Policy"] == "default-src 'self'"


@pytest.mark.django_db
def test_readyz_answers_200_while_the_database_does(client: Client) -> None:
    assert client.get("/readyz").json() == {"status": "ready"}


@pytest.mark.django_db
def test_readyz_answers_503_without_the_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def cursor() -> None:
        raise away()

    monkeypatch.setattr(health, "connection", SimpleNamespace(cursor=cursor))
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response["Retry-After"] == "5"


@pytest.mark.django_db
def test_metrics_tell_of_deadlines_that_were_missed(client: Client) -> None:
    late = timezone.now() - timedelta(seconds=90)
    Timer.objects.create(kind="test", key="1", due_at=late, first_due_at=late, attempts=2)
    told = client.get("/metrics").content.decode()
    assert "muster_timers_overdue 1.0" in told
    assert "muster_timers_failing 1.0" in told
    overdue = next(line for line in told.splitlines() if line.startswith("muster_timers_overdue_seconds "))
    assert 90 <= float(overdue.split()[1]) < 120


@pytest.mark.django_db
def test_metrics_are_for_this_machine_only_and_for_no_proxy_on_it(client: Client) -> None:
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="203.0.113.9").status_code == 403
    assert client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 403


@pytest.mark.django_db
@override_settings(MUSTER_METRICS_TOKEN="geheim")
def test_with_a_token_only_the_token_counts(client: Client) -> None:
    assert client.get("/metrics").status_code == 403
    assert client.get("/metrics", headers={"Authorization": "Bearer falsch"}).status_code == 403
    allowed = client.get("/metrics", headers={"Authorization": "Bearer geheim"}, REMOTE_ADDR="203.0.113.9")
    assert allowed.status_code == 200
