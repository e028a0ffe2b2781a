"""Senders whose silence opens an incident."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import Client

from core.errors import Invalid
from incidents.models import Incident, Status
from integrations.heartbeats import transitions
from integrations.heartbeats.directory import watches
from integrations.models import Watch
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from tests.factories.integrations import make_integration
from timers.models import Timer
from timers.transitions import fire_due

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KEY = "b" * 32


@pytest.fixture(autouse=True)
def fresh():
    watches.forget()


@pytest.fixture
def watch() -> Watch:
    service = make_service("backup", primary_responder=make_user("ada"))
    told = {"interval_seconds": 600, "grace_seconds": 120, "description": "Look at /var/backup"}
    return transitions.add(name="nightly backup", service=service, now=NOW, key=KEY, **told)[0]


def ping(path: str = f"/heartbeat/{KEY}", *, at: float, method: str = "get", **headers: str) -> int:
    watches._written.clear()  # another process
    with time_machine.travel(NOW + at * MINUTE, tick=False):
        return getattr(Client(), method)(path, headers=headers).status_code


def state() -> str:
    return Watch.objects.get().state


def test_silence_opens_an_incident_and_the_next_ping_resolves_it(watch):
    fire_due(now=NOW + 60 * MINUTE, by="test")
    assert state() == "new"  # watched from its first ping on
    assert ping(at=0) == 200
    assert ping(at=8, method="post") == 200
    fire_due(now=NOW + 13 * MINUTE, by="test")  # the timer of the first ping: there was another
    assert (state(), Incident.objects.count()) == ("up", 0)
    fire_due(now=NOW + 20 * MINUTE, by="test")
    incident = Incident.objects.get()
    assert (state(), incident.title, incident.opened_from, incident.pages.count()) == (
        "silent", "nightly backup is silent: no heartbeat for 12 min, expected every 10 min",
        "Heartbeat nightly backup", 1,
    )  # fmt: skip
    assert incident.alerts.get().details["description"] == "Look at /var/backup"
    assert ping(at=25, method="head") == 200
    incident.refresh_from_db()
    assert (state(), incident.status) == ("up", Status.RESOLVED)
    assert Timer.objects.get(kind="heartbeat.silent").due_at == NOW + 37 * MINUTE


def test_a_flood_of_pings_costs_one_short_statement_a_second(
    watch, django_assert_num_queries, django_assert_max_num_queries
):
    ping(at=0)
    watches._written.clear()
    with django_assert_num_queries(1):
        assert Client().get(f"/heartbeat/{KEY}/").status_code == 200
    with django_assert_max_num_queries(4):  # a slow machine may need some seconds for them
        for _ in range(100):
            assert Client().get(f"/heartbeat/{KEY}").status_code == 200


def test_opsgenies_clients_ping_by_name_with_their_key(watch):
    make_integration("opsgenie", key="c" * 32)
    path = "/v2/heartbeats/nightly%20backup/ping"
    assert ping(path, at=0, Authorization="GenieKey " + "c" * 32) == 202
    assert ping(path + "/", at=1, method="post", Authorization="GenieKey " + "c" * 32) == 202
    assert state() == "up"
    assert ping(path, at=2, Authorization="GenieKey wrong") == 401
    assert ping(path, at=2) == 401
    assert ping("/v2/heartbeats/other/ping", at=2, Authorization="GenieKey " + "c" * 32) == 404
    assert ping("/heartbeat/wrong", at=2) == 404
    assert Watch.objects.get().last_ping_at == NOW + MINUTE


def test_paused_it_pages_nobody_and_what_it_opened_ends(watch):
    ping(at=0)
    fire_due(now=NOW + 12 * MINUTE, by="test")
    transitions.pause(watch_id=watch.pk, now=NOW + 13 * MINUTE)
    assert Incident.objects.get().status == Status.RESOLVED
    ping(at=14)
    fire_due(now=NOW + 60 * MINUTE, by="test")
    assert (state(), Incident.objects.count()) == ("paused", 1)
    transitions.unpause(watch_id=watch.pk, now=NOW + 61 * MINUTE)
    ping(at=62)
    assert state() == "up"
    transitions.remove(watch_id=watch.pk, now=NOW + 63 * MINUTE)
    assert not Timer.objects.filter(kind="heartbeat.silent").exists()


def test_what_cannot_be_watched_is_refused(watch):
    good = {"name": "x", "service": watch.service, "interval_seconds": 60, "now": NOW}
    for wrong in ({"name": "a/b"}, {"name": "nightly backup"}, {"interval_seconds": 9}, {"severity": "loud"}):
        with pytest.raises(Invalid):
            transitions.add(**{**good, **wrong})
    assert Watch.objects.count() == 1
