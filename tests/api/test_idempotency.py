import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import IdempotentRequest, User
from incidents.models import Incident, Kind
from tests.api.conftest import Api
from tests.factories.accounts import make_token, make_user
from tests.factories.catalog import make_service

GOOD = {"service": "checkout", "title": "x", "severity": 1}


@pytest.fixture
def _service(db: None) -> None:
    make_service("Checkout API", slug="checkout")


pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_service")]


def declare(api: Api, key: str, **changed: Any) -> Any:
    return api.post("incidents/", GOOD | changed, Idempotency_Key=key)


def test_the_same_key_again_acts_once_and_is_answered_the_same(api: Api) -> None:
    first, again = declare(api, "k-1"), declare(api, "k-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert "Idempotent-Replay" not in first
    assert again["Idempotent-Replay"] == "true"
    assert Incident.objects.count() == 1


def test_another_key_or_none_acts_again(api: Api) -> None:
    declare(api, "k-1")
    declare(api, "k-2")
    api.post("incidents/", GOOD)
    assert Incident.objects.count() == 3


def test_the_key_with_another_request_is_422_and_acts_not(api: Api) -> None:
    declare(api, "k-1")
    response = declare(api, "k-1", title="another")
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "idempotency_key_reused"
    assert Incident.objects.count() == 1


def test_a_refused_request_may_be_sent_again_with_its_key(api: Api) -> None:
    assert declare(api, "k-1", title="").status_code == 400
    assert declare(api, "k-1").status_code == 201


def test_keys_of_two_people_are_two_keys(api: Api, api_of: Callable[..., Api], manager: User) -> None:
    declare(api, "k-1")
    assert declare(api_of(manager), "k-1").status_code == 201
    assert Incident.objects.count() == 2


def test_a_note_is_written_once(api: Api) -> None:
    ref = declare(api, "k-1").json()["ref"]
    for _ in range(2):
        response = api.post(f"incidents/{ref}/note/", {"text": "Rolled back"}, Idempotency_Key="n-1")
        assert response.status_code == 200
    assert Incident.objects.get().timeline.filter(kind=Kind.NOTE).count() == 1


def test_a_key_is_forgotten_after_a_day(api: Api) -> None:
    declare(api, "k-1")
    IdempotentRequest.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert declare(api, "k-1", title="another").status_code == 201
    assert IdempotentRequest.objects.get().created_at > timezone.now() - timedelta(hours=1)


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a b", "é"])
def test_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    response = declare(api, key)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_idempotency_key"
    assert not Incident.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_at_once_with_one_key_act_once() -> None:
    make_service("Search", slug="search")
    token = make_token(make_user())
    barrier, answers = threading.Barrier(4), []

    def post() -> None:
        try:
            barrier.wait()
            response = Client().post(
                "/api/v1/incidents/",
                GOOD | {"service": "search"},
                content_type="application/json",
                headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "k-1"},
            )
            answers.append((response.status_code, response.json()["ref"]))
        finally:
            connection.close()

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert len(set(answers)) == 1
    assert Incident.objects.count() == 1
