"""Whatever is sent, the answer is the documented error in the one shape, and nothing is stored."""

import json
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError
from django.test import Client

from incidents.models import Incident
from tests.api.conftest import Api
from tests.factories.catalog import make_service

pytestmark = pytest.mark.django_db

GOOD = {"service": "checkout", "title": "x", "severity": 1}


@pytest.fixture(autouse=True)
def _service(db: None) -> None:
    make_service("Checkout API", slug="checkout")


def send(api: Api, body: bytes, content_type: str = "application/json") -> Any:
    return api.client.post("/api/v1/incidents/", body, content_type=content_type, headers=api.headers)


def refused(response: Any, status: int, code: str) -> None:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    error = response.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert not Incident.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"not json",
        b"[]",
        b"null",
        b'"text"',
        b"5",
        b'{"title": NaN}',
        b'{"title": Infinity}',
        b"\xff\xfe",
        b'{"title": "\\u0000"}',
        b'{"ti\\u0000tle": "x"}',
        b'{"title": "\\ud800"}',
        b'{"details": [{"deep": ["\\u0000"]}]}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"severity": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_not_proper_json_is_malformed(api: Api, body: bytes) -> None:
    refused(send(api, body), 400, "malformed")


def test_numbers_beyond_every_column_are_invalid(api: Api) -> None:
    refused(send(api, json.dumps(GOOD | {"service": 10**30}).encode()), 400, "invalid")
    refused(send(api, json.dumps(GOOD | {"severity": 10**30}).encode()), 400, "invalid")


@pytest.mark.parametrize("size", [257 * 1024, 512 * 1024, 3 * 1024 * 1024])
def test_a_body_that_is_too_large_is_413(api: Api, size: int) -> None:
    refused(send(api, json.dumps(GOOD | {"impact": "x" * size}).encode()), 413, "too_large")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "?",
    ],
)
def test_another_content_type_is_415(api: Api, content_type: str) -> None:
    refused(send(api, json.dumps(GOOD).encode(), content_type), 415, "unsupported_media_type")


def test_json_with_a_charset_is_json(api: Api) -> None:
    assert send(api, json.dumps(GOOD).encode(), "application/json; charset=utf-8").status_code == 201


@pytest.mark.parametrize("method", ["TRACE", "QUERY", "DELETE", "PUT", "PATCH"])
def test_another_method_is_405_and_says_which_ones_work(api: Api, method: str) -> None:
    response = api.call(method, "incidents/")
    refused(response, 405, "method_not_allowed")
    assert response["Allow"] == "GET, POST, HEAD, OPTIONS"


def test_a_move_takes_post_only(api: Api) -> None:
    response = api.get("incidents/1/acknowledge/")
    refused(response, 405, "method_not_allowed")
    assert response["Allow"] == "POST, OPTIONS"


def test_whatever_accept_says_the_answer_is_json(api: Api) -> None:
    for accept in ("text/html", "application/xml", "nonsense", "*/*;q=0"):
        response = api.get("incidents/", Accept=accept)
        assert response.status_code == 200
        assert response["Content-Type"] == "application/json"


def test_head_and_options_work(api: Api) -> None:
    assert api.call("HEAD", "incidents/").status_code == 200
    assert api.call("OPTIONS", "incidents/").json()["schema"] == "/api/v1/schema/"


def test_a_lost_database_is_503(api: Api) -> None:
    with mock.patch("incidents.api.queries.incident_list", side_effect=OperationalError("gone")):
        response = api.get("incidents/")
    refused(response, 503, "unavailable")
    assert response["Retry-After"] == "5"


def test_what_nobody_foresaw_is_500_in_the_same_shape(api: Api) -> None:
    api.client.raise_request_exception = False
    with mock.patch("incidents.api.queries.incident_list", side_effect=RuntimeError("a secret")):
        response = api.get("incidents/")
    refused(response, 500, "failed")
    assert "secret" not in response.content.decode()


def test_a_stranger_learns_nothing_from_a_body(client: Client) -> None:
    response = client.post("/api/v1/incidents/", b"{", content_type="application/json")
    assert response.status_code == 401
