from typing import Any

import pytest

from integrations import hints, inbox, tasks
from integrations.models import IngestEvent
from tests.factories.integrations import make_event, make_integration

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    calls: list[tuple[str, int]] = []
    monkeypatch.setattr(hints, "begun", lambda pk: calls.append(("begun", pk)))
    monkeypatch.setattr(hints, "hint", lambda pk: calls.append(("hint", pk)))
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
    assert told == [("begun", integration.pk)]


def test_a_task_that_takes_long_gives_way_and_asks_for_another_turn(
    told: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "LONGEST_SECONDS", 0)
    integration = make_integration()
    make_event(integration)
    tasks.drain(integration.pk)
    assert told == [("begun", integration.pk), ("hint", integration.pk)]
    assert IngestEvent.objects.get().verdict == "pending"


def test_a_task_leaves_an_inbox_that_another_drains(told: list, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def taken(**given: Any) -> None:
        looked.append(given["integration_id"])

    monkeypatch.setattr(tasks, "LONGEST_SECONDS", 60)
    monkeypatch.setattr(tasks.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(inbox, "drain", taken)
    tasks.drain(7)
    assert looked == [7, 7, 7, 7]
    assert told == [("begun", 7)]
