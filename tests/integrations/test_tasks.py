from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from integrations import hints, inbox, rules, tasks
from integrations.models import IngestEvent
from tests.factories.integrations import make_event, make_integration

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    calls: list[tuple] = []
    monkeypatch.setattr(hints, "done", lambda pk: calls.append(("done", pk)))
    monkeypatch.setattr(hints, "late", lambda waited: calls.append(("late", waited)))
    monkeypatch.setattr(
        hints, "again", lambda pk, *, after_seconds=0.0: calls.append(("again", pk, after_seconds))
    )
    return calls


def test_a_task_drains_until_nothing_waits(told: list, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "LONGEST_SECONDS", 60)
    monkeypatch.setattr(inbox, "PATIENCE_SECONDS", -1)
    integration = make_integration()
    for _ in range(3):
        make_event(integration, {"action": "change", "summary": "s", "source": "", "details": {}, "links": [],
                                 "occurred_at": None})  # fmt: skip
    tasks.drain(integration.pk)
    assert set(IngestEvent.objects.values_list("verdict", flat=True)) == {"change"}
    assert told == [("done", integration.pk)]


def test_an_event_that_was_stored_while_its_worker_let_go_is_seen(
    told: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "LONGEST_SECONDS", 60)
    integration = make_integration()
    make_event(integration)
    late = []

    def done(pk: int) -> None:
        if not late:  # its own hint meets the worker that is still at it, and is gone
            late.append(make_event(integration))

    monkeypatch.setattr(hints, "done", done)
    tasks.drain(integration.pk)
    assert set(IngestEvent.objects.values_list("verdict", flat=True)) == {"opened", "repeated"}


def test_a_task_that_takes_long_gives_way_and_asks_for_another_turn(
    told: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "LONGEST_SECONDS", 0)
    integration = make_integration()
    make_event(integration)
    tasks.drain(integration.pk)
    assert told == [("again", integration.pk, 0.0)]
    assert IngestEvent.objects.get().verdict == "pending"


def test_what_follows_in_a_flood_is_taken_together_a_little_later(
    told: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "LONGEST_SECONDS", 60)
    monkeypatch.setattr(tasks, "FLOOD", 3)
    integration = make_integration()
    for _ in range(3):
        make_event(integration)
    tasks.drain(integration.pk)
    assert told == [("again", integration.pk, 0.2)]
    assert not IngestEvent.objects.filter(verdict="pending").exists()


def test_different_alerts_that_take_their_time_are_gone_on_with_without_a_pause(
    told: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "LONGEST_SECONDS", 60)
    monkeypatch.setattr(tasks, "FLOOD", 2)
    monkeypatch.setattr(inbox, "PATIENCE_SECONDS", -1)  # one alert in each transaction
    integration = make_integration()
    for key in ("a", "b", "c", "d"):
        make_event(integration, rules.signal("trigger", key, title=key))
    tasks.drain(integration.pk)
    assert not IngestEvent.objects.filter(verdict="pending").exists()
    assert told == [("again", integration.pk, 0.2)]


def test_a_task_leaves_an_inbox_that_another_drains_at_once(
    told: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def taken(**given: Any) -> None:
        looked.append(given["integration_id"])

    monkeypatch.setattr(tasks, "LONGEST_SECONDS", 60)
    monkeypatch.setattr(inbox, "drain", taken)
    tasks.drain(7)
    assert looked == [7]
    assert told == []


def test_a_task_tells_how_long_it_waited_for_a_worker(told: list) -> None:
    asked_at = timezone.now() - timedelta(seconds=2)
    tasks.drain(make_integration().pk, asked_at.isoformat())
    assert told[0][0] == "late"
    assert timedelta(seconds=2) <= told[0][1] < timedelta(seconds=7)
