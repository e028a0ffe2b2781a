"""Many at once, against the real database."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from django.utils import timezone

from incidents.models import Alert, Incident
from integrations import inbox, rules
from integrations.models import IngestEvent
from tests.factories.catalog import make_service
from tests.factories.integrations import make_event, make_integration

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 20


def at_once(times: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work(number)` gave in as many threads, all let go at the same moment."""
    barrier = threading.Barrier(times)
    results: list[Any] = [None] * times

    def run(number: int) -> None:
        try:
            barrier.wait()
            results[number] = work(number)
        except Exception as error:
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[number]) for number in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def drain_all(integration_id: int) -> int:
    """Like the task: until nothing waits, or somebody else is at it."""
    handled = 0
    while True:
        done = inbox.drain(integration_id=integration_id, now=timezone.now())
        if done is None or not done.handled:
            return handled
        handled += done.handled


def post(key: str, dedup_key: str) -> int:
    body = {
        "routing_key": key,
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "payload": {"summary": "Disk full", "source": "db-7", "severity": "critical"},
    }
    return Client().post("/v2/enqueue", json.dumps(body), content_type="application/json").status_code


def test_the_same_event_from_twenty_senders_at_once_is_one_incident_with_the_right_count() -> None:
    integration = make_integration()

    def send_and_drain(number: int) -> int:
        status = post(integration.key, "same")
        drain_all(integration.pk)
        return status

    assert at_once(THREADS, send_and_drain) == [202] * THREADS
    drain_all(integration.pk)
    assert Incident.objects.count() == 1
    alert = Alert.objects.get()
    assert (alert.count, alert.incident.event_count, alert.incident.alert_count) == (THREADS, THREADS, 1)
    verdicts = list(IngestEvent.objects.values_list("verdict", flat=True))
    assert (verdicts.count("opened"), verdicts.count("repeated")) == (1, THREADS - 1)


def test_two_senders_of_one_service_with_the_same_key_are_two_incidents() -> None:
    one = make_integration()
    other = make_integration(service=one.service)

    def send_and_drain(number: int) -> int:
        integration = (one, other)[number % 2]
        status = post(integration.key, "same")
        drain_all(integration.pk)
        return status

    assert at_once(8, send_and_drain) == [202] * 8
    drain_all(one.pk)
    drain_all(other.pk)
    assert Incident.objects.count() == 2
    assert sorted(Alert.objects.values_list("count", flat=True)) == [4, 4]


def test_while_one_worker_drains_an_inbox_others_move_on() -> None:
    integration, other = make_integration(), make_integration()
    make_event(integration)
    make_event(other)
    with transaction.atomic():
        type(integration).objects.select_for_update(no_key=True).get(pk=integration.pk)
        results = at_once(2, lambda number: drain_all((integration.pk, other.pk)[number]))
        assert results == [0, 1]
    assert drain_all(integration.pk) == 1


def test_without_the_lock_the_same_rows_would_be_applied_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: this is what the lock prevents."""
    integration = make_integration()
    make_event(integration)
    monkeypatch.setattr(
        type(integration).objects.none().__class__, "select_for_update", lambda self, **given: self
    )
    both_have_read = threading.Barrier(2)
    applied: list[int] = []
    process = inbox._process

    def meet(integration: Any, rows: list, **given: Any) -> None:
        both_have_read.wait(timeout=10)
        applied.append(len(rows))
        if len(applied) == 1:
            process(integration, rows, **given)

    monkeypatch.setattr(inbox, "_process", meet)
    at_once(2, lambda number: inbox.drain(integration_id=integration.pk, now=timezone.now()))
    assert applied == [1, 1]


def test_accepting_events_does_not_wait_for_a_worker_that_holds_the_lock() -> None:
    integration = make_integration()
    assert post(integration.key, "a") == 202
    with transaction.atomic():
        type(integration).objects.select_for_update(no_key=True).get(pk=integration.pk)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        assert at_once(1, lambda number: post(integration.key, "b")) == [202]


def test_two_senders_of_one_service_do_not_deadlock_over_its_incident() -> None:
    service = make_service("checkout", grouping_minutes=30)
    one, other = make_integration(service=service), make_integration(service=service)
    make_event(one, rules.signal("trigger", "a1", title="5xx"))
    inbox.drain(integration_id=one.pk, now=timezone.now())
    for integration, key in ((one, "a1"), (one, "a2"), (other, "b1")):
        make_event(integration, rules.signal("trigger", key, title="5xx"))

    def drain_the_other() -> None:
        try:
            inbox.drain(integration_id=other.pk, now=timezone.now())
        finally:
            connections.close_all()

    rival = threading.Thread(target=drain_the_other)

    def let_the_rival_lock_first(execute: Any, sql: str, *rest: Any) -> Any:
        # The first lock of the service: with the incident of "a1" locked before it, each would wait for the other.
        if sql.startswith('SELECT "catalog_service"') and "FOR NO KEY UPDATE" in sql and rival.ident is None:
            rival.start()
            rival.join(timeout=0.5)
        return execute(sql, *rest)

    with connection.execute_wrapper(let_the_rival_lock_first):
        inbox.drain(integration_id=one.pk, now=timezone.now())
    rival.join()
    verdicts = IngestEvent.objects.order_by("pk").values_list("dedup_key", "verdict")
    assert list(verdicts) == [("a1", "opened"), ("a1", "repeated"), ("a2", "joined"), ("b1", "joined")]
