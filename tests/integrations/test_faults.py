"""What a sender hears while parts of Muster are away."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connections
from django.test import Client
from django.utils import timezone

from core.bridge import ANSWER_AFTER
from integrations import endpoints, hints
from integrations.keys import directory
from integrations.limits import Buckets
from integrations.models import IngestEvent, Integration
from tests.factories.integrations import make_integration

pytestmark = pytest.mark.django_db(transaction=True)

BODIES = {
    "/v2/enqueue": {
        "event_action": "trigger", "payload": {"summary": "Disk full", "source": "db-7", "severity": "critical"},
    },
    "/v2/change/enqueue": {"payload": {"summary": "Deploy"}},
    "/api/v1/integrations/alertmanager/KEY/": {"alerts": []},
    "/api/v1/integrations/webhook/KEY/": {"title": "Disk full"},
}  # fmt: skip
KINDS = {"alertmanager": "alertmanager", "webhook": "webhook"}


def send(path: str, integration: Integration) -> Any:
    body = {"routing_key": integration.key, **BODIES[path]}
    return Client().post(
        path.replace("KEY", integration.key), json.dumps(body), content_type="application/json"
    )


def integration_for(path: str) -> Integration:
    return make_integration(next((kind for kind in KINDS if kind in path), "pagerduty"))


class Database:
    """The database as this thread's connections see it: `leave` makes its address one where nobody listens."""

    def __init__(self) -> None:
        self.settings = connections["default"].settings_dict
        self.before = {"HOST": self.settings["HOST"], "OPTIONS": self.settings["OPTIONS"]}

    def leave(self) -> None:
        connections["default"].close()
        connections["default"].close_pool()
        self.settings["HOST"] = "/nowhere"
        pool = {**self.before["OPTIONS"]["pool"], "timeout": 0.2}
        self.settings["OPTIONS"] = {**self.before["OPTIONS"], "pool": pool}

    def come_back(self) -> None:
        connections["default"].close()
        connections["default"].close_pool()
        self.settings.update(self.before)


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database()
    yield database
    database.come_back()


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("known_before", [True, False])
def test_without_the_database_every_sender_is_asked_to_come_again(
    path: str, known_before: bool, database: Database
) -> None:
    integration = integration_for(path)
    if known_before:
        assert directory.find(integration.key) is not None
    database.leave()
    response = send(path, integration)
    database.come_back()
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert response["Content-Type"] == "application/json"
    assert "Nothing was stored" in json.dumps(response.json())
    assert not IngestEvent.objects.exists()
    assert send(path, integration).status_code == 202
    assert IngestEvent.objects.count() == 1


@pytest.mark.parametrize("path", BODIES)
def test_a_fault_of_ours_is_500_in_json_and_never_202(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    integration = integration_for(path)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(endpoints, "_store", fail)
    response = send(path, integration)
    assert response.status_code == 500
    assert "Nothing was stored" in json.dumps(response.json())
    assert not IngestEvent.objects.exists()


@pytest.mark.parametrize("path", BODIES)
def test_an_inbox_that_overflows_asks_to_come_again(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    integration = integration_for(path)
    monkeypatch.setattr("integrations.keys.MOST_WAITING", 2)
    for _ in range(3):
        assert send(path, integration).status_code == 202
    directory.forget()
    response = send(path, integration)
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert IngestEvent.objects.count() == 3
    other = make_integration("webhook")
    assert send("/api/v1/integrations/webhook/KEY/", other).status_code == 202


@pytest.fixture
def waker() -> Iterator[hints.Waker]:
    server = redis.Redis.from_url(settings.REDIS_URL)
    server.flushdb()
    yield hints.Waker()
    server.flushdb()


def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    published: list[tuple] = []
    monkeypatch.setattr(
        hints, "publish",
        lambda task, args, *, queue, eta: published.append((task, args[0], queue, eta and eta - timezone.now())) or True,
    )  # fmt: skip
    return published


def test_one_hint_stands_for_all_until_a_worker_is_done(
    waker: hints.Waker, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = sent(monkeypatch)
    assert waker.hint(7) is waker.hint(7) is True
    assert published == [("integrations.drain", 7, "default", None)]
    waker.done(7)
    assert waker.hint(7) is True
    assert len(published) == 2
    assert waker.hint(8) is True
    assert len(published) == 3


def test_a_hint_that_was_not_sent_stands_for_nothing(
    waker: hints.Waker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "publish", lambda *args, **rest: False)
    assert waker.hint(7) is False
    published = sent(monkeypatch)
    assert waker.hint(7) is True
    assert len(published) == 1


def test_without_a_broker_nothing_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    published = sent(monkeypatch)
    monkeypatch.setattr(settings, "REDIS_URL", "unix:///nowhere/valkey.sock")
    waker = hints.Waker()
    assert waker.hint(7) is False
    waker.done(7)
    waker.late(timedelta(seconds=1))
    assert waker.again(7) is False
    assert (published, waker.lateness()) == ([], 0.0)


def test_a_further_turn_is_asked_for_whoever_was_told_and_may_lie_ahead(
    waker: hints.Waker, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = sent(monkeypatch)
    assert waker.hint(7) is waker.again(7) is waker.again(7, after_seconds=60) is waker.hint(7) is True
    assert [row[:3] for row in published] == [("integrations.drain", 7, "default")] * 3
    assert published[1][3] is None
    assert timedelta(seconds=50) < published[2][3] <= timedelta(seconds=60)


def test_web_servers_hear_from_the_next_hint_that_workers_are_behind(
    waker: hints.Waker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(monkeypatch)
    worker = hints.Waker()
    worker.late(timedelta(milliseconds=99))
    waker.hint(7)
    assert waker.lateness() == 0.0
    worker.late(timedelta(milliseconds=340))
    assert waker.lateness() == 0.0
    waker.hint(7)
    assert waker.lateness() == 0.34
    waker._heard_at -= 0.5
    assert waker.lateness() == 0.0


def test_only_who_sends_much_is_answered_later_and_only_while_workers_are_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = "/v2/enqueue"
    flooding, other = integration_for(path), make_integration("webhook")
    monkeypatch.setattr(endpoints, "modest", Buckets(burst=2, per_minute=0))
    late = [0.0]
    monkeypatch.setattr(hints, "lateness", lambda: late[0])

    def held(path: str, integration: Integration) -> float:
        response = send(path, integration)
        assert response.status_code == 202
        return response.wsgi_request.META.get(ANSWER_AFTER, 0.0)

    assert [held(path, flooding) for _ in range(3)] == [0.0, 0.0, 0.0]
    late[0] = 0.25
    assert held(path, flooding) == 0.25
    assert held("/api/v1/integrations/webhook/KEY/", other) == 0.0
    late[0] = 8.0
    assert held(path, flooding) == 1.0
    assert IngestEvent.objects.count() == 6


def test_waking_returns_at_once_and_the_hint_follows(
    waker: hints.Waker, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = hints.threading.Event()
    monkeypatch.setattr(hints, "publish", lambda *args, **rest: done.set() or True)
    waker.wake(7)
    assert done.wait(5)
