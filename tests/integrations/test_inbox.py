"""From the inbox to the incident: order, counts, failures, retries. `now` moves time; nothing sleeps."""

import random
import string
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from incidents.models import Alert, Incident, TimelineEntry
from integrations import inbox, queries, rules, subscribers, transitions
from integrations.models import ChangeEvent, IngestEvent
from tests.factories.accounts import make_user
from tests.factories.catalog import make_dependency
from tests.factories.integrations import RECEIVED_AT, make_event, make_integration

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 6, 0, 1, tzinfo=UTC)
LATER = timedelta(minutes=5)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, a batch is one transaction here."""
    monkeypatch.setattr(inbox, "PATIENCE_SECONDS", 60)


def trigger(key: str = "k", **fields: Any) -> dict[str, Any]:
    return rules.signal("trigger", key, **{"title": "Disk full", **fields})


def resolve(key: str = "k") -> dict[str, Any]:
    return rules.signal("resolve", key)


def verdicts() -> list[str]:
    return list(IngestEvent.objects.order_by("pk").values_list("verdict", flat=True))


def drain(integration: Any, now: datetime = NOW) -> int | None:
    turn = inbox.drain(integration_id=integration.pk, now=now)
    return turn and turn.handled


def test_a_trigger_opens_an_incident_and_its_row_says_so() -> None:
    integration = make_integration()
    event = make_event(integration)
    assert drain(integration) == 1
    event.refresh_from_db()
    incident = Incident.objects.get()
    assert (event.verdict, event.incident_id, event.due_at, event.processed_at) == (
        "opened",
        incident.pk,
        None,
        NOW,
    )
    assert (incident.service_id, incident.title, incident.opened_from) == (
        integration.service_id, "Disk full", integration.name,
    )  # fmt: skip
    integration.refresh_from_db()
    assert integration.last_event_at == RECEIVED_AT
    assert drain(integration) == 0


def test_repeats_are_counted_at_once() -> None:
    integration = make_integration()
    for number in range(5):
        make_event(integration, trigger(title=f"Disk full {number}"))
    assert drain(integration) == 5
    assert verdicts() == ["opened", "repeated", "repeated", "repeated", "repeated"]
    alert = Alert.objects.get()
    assert alert.count == 5
    assert IngestEvent.objects.filter(incident=alert.incident).count() == 5


def test_trigger_resolve_trigger_opens_twice() -> None:
    integration = make_integration()
    make_event(integration, trigger())
    make_event(integration, resolve())
    make_event(integration, trigger())
    make_event(integration, resolve("other"))
    drain(integration)
    assert verdicts() == ["opened", "resolved", "opened", "dropped"]
    assert [incident.status for incident in Incident.objects.order_by("pk")] == ["resolved", "triggered"]


def test_acknowledge_and_resolve_of_another_key_or_sender_change_nothing() -> None:
    one, other = make_integration(), make_integration()
    make_event(one, trigger("k"))
    make_event(other, rules.signal("acknowledge", "k"))
    make_event(other, resolve("k"))
    drain(one)
    drain(other)
    assert verdicts() == ["opened", "dropped", "dropped"]
    assert Incident.objects.get().status == "triggered"


def test_a_trigger_while_acknowledged_leaves_it_acknowledged() -> None:
    integration = make_integration()
    for signal in (trigger(), rules.signal("acknowledge", "k"), trigger()):
        make_event(integration, signal)
    drain(integration)
    assert verdicts() == ["opened", "acknowledged", "repeated"]
    assert Incident.objects.get().status == "acknowledged"


def test_a_group_of_alerts_is_one_incident_and_one_row() -> None:
    integration = make_integration("alertmanager")
    make_event(integration, trigger("a", group_key="g"), trigger("b", group_key="g"), dedup_key="g")
    drain(integration)
    event = IngestEvent.objects.get()
    assert (event.verdict, event.reason) == ("opened", "2 alerts: 1 opened, 1 joined")
    assert [outcome["verdict"] for outcome in event.outcomes] == ["opened", "joined"]
    incident = Incident.objects.get()
    assert incident.alert_count == 2
    make_event(integration, resolve("a"), trigger("b", group_key="g"), dedup_key="g")
    drain(integration)
    incident.refresh_from_db()
    assert incident.status == "triggered"
    make_event(integration, resolve("b"), dedup_key="g")
    drain(integration)
    incident.refresh_from_db()
    assert incident.status == "resolved"


def test_a_late_firing_after_the_resolve_does_not_reopen() -> None:
    integration = make_integration("alertmanager")
    began = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
    make_event(integration, trigger(episode_at=began))
    make_event(integration, resolve())
    make_event(integration, trigger(episode_at=began))
    make_event(integration, trigger(episode_at=began - LATER))
    drain(integration)
    assert verdicts() == ["opened", "resolved", "dropped", "dropped"]
    assert Incident.objects.count() == 1
    make_event(integration, trigger(episode_at=began + LATER))
    drain(integration)
    assert Incident.objects.count() == 2


def test_a_firing_long_after_the_resolve_is_believed_whatever_its_beginning() -> None:
    """Prometheus, cut off from Alertmanager and back again, goes on with the beginning that it had before."""
    integration = make_integration("alertmanager")
    began = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
    for minutes, signal in ((0, trigger(episode_at=began)), (1, resolve()), (12, trigger(episode_at=began))):
        make_event(integration, signal)
        drain(integration, NOW + timedelta(minutes=minutes))
    assert verdicts() == ["opened", "resolved", "opened"]


def test_a_beginning_that_moved_while_firing_counts_as_known() -> None:
    integration = make_integration("alertmanager")
    began = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
    moved = began + timedelta(seconds=5)
    for signal in (trigger(episode_at=began), trigger(episode_at=moved)):
        make_event(integration, signal)
        drain(integration)
    make_event(integration, resolve())
    make_event(integration, trigger(episode_at=moved))
    drain(integration)
    assert verdicts() == ["opened", "repeated", "resolved", "dropped"]


def test_an_empty_group_is_dropped() -> None:
    integration = make_integration("alertmanager")
    IngestEvent.objects.create(
        integration=integration, kind="alertmanager", received_at=RECEIVED_AT, payload=[], due_at=RECEIVED_AT
    )
    drain(integration)
    assert verdicts() == ["dropped"]


def test_a_change_is_recorded_and_pages_nobody() -> None:
    integration = make_integration()
    change = {"action": "change", "summary": "Deploy", "source": "ci", "details": {"a": 1}, "links": [],
              "occurred_at": "2026-11-24T05:00:00+00:00"}  # fmt: skip
    make_event(integration, change)
    make_event(integration, {**change, "occurred_at": None})
    drain(integration)
    assert verdicts() == ["change", "change"]
    assert not Incident.objects.exists()
    first, second = ChangeEvent.objects.order_by("pk")
    assert (first.summary, first.service_id) == ("Deploy", integration.service_id)
    assert first.occurred_at == datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
    assert second.occurred_at == RECEIVED_AT


def test_a_change_is_written_into_what_is_open_on_the_service_and_nowhere_else() -> None:
    integration, other = make_integration(), make_integration()
    for each in (integration, other):
        make_event(each)
        drain(each)
    open_one = Incident.objects.get(service=integration.service)
    change = {
        "action": "change",
        "summary": "Deploy 4.2",
        "source": "ci",
        "details": {},
        "links": [],
        "occurred_at": None,
    }
    make_event(integration, change)
    drain(integration)
    event = IngestEvent.objects.latest("pk")
    assert (event.verdict, event.incident_id, event.reason) == ("change", open_one.pk, "Deploy 4.2")
    [entry] = TimelineEntry.objects.filter(kind="change")
    assert (entry.incident_id, entry.text, entry.actor_name) == (open_one.pk, "Deploy 4.2", integration.name)
    open_one.refresh_from_db()
    assert open_one.status == "triggered"


def test_what_changed_before_it_broke_is_found_on_the_service_and_what_it_needs() -> None:
    integration, needed, stranger = make_integration(), make_integration(), make_integration()
    make_dependency(integration.service, needs=needed.service)
    hours = timedelta(hours=1)
    for sender, text, before in (
        (integration, "own", 1 * hours), (integration, "long ago", 25 * hours), (integration, "after", -1 * hours),
        (needed, "needed", 2 * hours), (stranger, "stranger", 1 * hours),
    ):  # fmt: skip
        at = NOW - before
        ChangeEvent.objects.create(
            integration=sender, service=sender.service, summary=text, occurred_at=at, received_at=at
        )
    make_event(integration)
    drain(integration)
    found = queries.changes_before(Incident.objects.get(), limit=8)
    assert [change.summary for change in found] == ["own", "needed"]


def test_warnings_stay_readable_beside_the_verdict() -> None:
    integration = make_integration()
    make_event(integration, reason="Timestamp 'x' is not a time")
    drain(integration)
    assert IngestEvent.objects.get().reason.endswith(" Timestamp 'x' is not a time")


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Keys whose signals fail, after they have written something."""
    bad: set[str] = {"bad"}
    real = inbox.apply_signal

    def failing(**given: Any) -> Any:
        if given["signal"].dedup_key in bad:
            with inbox.transaction.atomic():
                real(**given)
                raise ValueError("boom")
        return real(**given)

    monkeypatch.setattr(inbox, "apply_signal", failing)
    return bad


def test_one_poisoned_event_stops_no_other_and_leaves_nothing(poison: set[str]) -> None:
    integration = make_integration()
    make_event(integration, trigger("a"))
    make_event(integration, trigger("bad"))
    make_event(integration, trigger("c"))
    assert drain(integration) == 3
    assert verdicts() == ["opened", "failed", "opened"]
    assert sorted(Alert.objects.values_list("dedup_key", flat=True)) == ["a", "c"]
    failed = IngestEvent.objects.get(verdict="failed")
    assert (failed.attempts, failed.due_at, failed.reason, failed.processed_at) == (
        1, NOW + timedelta(seconds=2), "ValueError: boom", None,
    )  # fmt: skip


def test_a_failed_event_is_tried_again_and_works_when_the_fault_is_gone(poison: set[str]) -> None:
    integration = make_integration()
    make_event(integration, trigger("bad"))
    drain(integration)
    assert drain(integration, NOW + timedelta(seconds=1)) == 0
    poison.clear()
    assert drain(integration, NOW + timedelta(seconds=2)) == 1
    assert verdicts() == ["opened"]


def test_a_failed_event_is_never_lost_and_can_be_replayed(poison: set[str], woken: list[int]) -> None:
    integration = make_integration()
    make_event(integration, trigger("bad"))
    for attempt in range(10):
        drain(integration, NOW + timedelta(hours=attempt))
    event = IngestEvent.objects.get()
    assert (event.verdict, event.attempts, event.due_at) == ("failed", rules.MOST_ATTEMPTS, None)
    poison.clear()
    transitions.replay(event_id=event.pk, by=make_user("mara"), now=NOW)
    drain(integration)
    event.refresh_from_db()
    assert event.verdict == "opened"
    assert "Replayed by Mara" in event.reason


def test_a_retry_does_not_undo_what_came_after(poison: set[str]) -> None:
    integration = make_integration()
    make_event(integration, trigger("bad"))
    drain(integration)
    poison.clear()
    make_event(integration, resolve("bad"))
    drain(integration)
    drain(integration, NOW + LATER)
    assert verdicts() == ["dropped", "dropped"]
    assert not Incident.objects.exists()


def test_an_acknowledgement_that_found_nothing_does_not_replace_the_alert_it_was_meant_for(
    poison: set[str],
) -> None:
    integration = make_integration()
    make_event(integration, trigger("bad"))
    drain(integration)
    poison.clear()
    make_event(integration, rules.signal("acknowledge", "bad"))
    drain(integration)
    drain(integration, NOW + LATER)
    assert verdicts() == ["opened", "dropped"]
    assert Incident.objects.count() == 1


def test_of_a_group_only_the_failed_alert_is_tried_again(poison: set[str]) -> None:
    integration = make_integration("alertmanager")
    make_event(integration, trigger("a"), trigger("bad"), dedup_key="g")
    drain(integration)
    poison.clear()
    drain(integration, NOW + LATER)
    event = IngestEvent.objects.get()
    assert [outcome["verdict"] for outcome in event.outcomes] == ["opened", "opened"]
    assert Alert.objects.get(dedup_key="a").count == 1


def test_a_crash_in_the_middle_leaves_everything_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    integration = make_integration()
    make_event(integration, trigger("a"))
    make_event(integration, trigger("b"))
    write = inbox._write

    def crash(*args: Any, **kwargs: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(inbox, "_write", crash)
    with pytest.raises(KeyboardInterrupt):
        drain(integration)
    assert verdicts() == ["pending", "pending"]
    assert not Incident.objects.exists()
    monkeypatch.setattr(inbox, "_write", write)
    drain(integration)
    assert verdicts() == ["opened", "opened"]
    assert [alert.count for alert in Alert.objects.all()] == [1, 1]


def test_a_batch_that_takes_long_ends_and_leaves_the_rest_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    integration = make_integration()
    monkeypatch.setattr(inbox, "PATIENCE_SECONDS", -1)
    for key in ("a", "b", "c"):
        make_event(integration, trigger(key), trigger(f"{key}2"), dedup_key=key)
    assert drain(integration) == 1
    assert verdicts() == ["pending", "pending", "pending"]
    counts = [drain(integration) for _ in range(5)]
    assert counts == [1, 1, 1, 1, 1]
    assert verdicts() == ["opened", "opened", "opened"]
    assert Incident.objects.count() == 6
    assert drain(integration) == 0


def test_large_events_are_taken_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    integration = make_integration()
    monkeypatch.setattr(inbox, "PATIENCE_SECONDS", 60)
    monkeypatch.setattr(inbox, "MOST_BYTES", 150_000)
    for key in ("a", "b", "c"):
        noise = "".join(random.Random(key).choices(string.ascii_letters, k=100_000))
        make_event(integration, trigger(key, details={"noise": noise}))
    turns = [inbox.drain(integration_id=integration.pk, now=NOW) for _ in range(3)]
    assert turns == [inbox.Turn(1, left=True), inbox.Turn(1, left=True), inbox.Turn(1)]
    assert verdicts() == ["opened", "opened", "opened"]


def test_a_processed_event_is_replayed_as_a_new_row(woken: list[int]) -> None:
    integration = make_integration()
    event = make_event(integration, trigger(), raw="{}")
    drain(integration)
    again = transitions.replay(event_id=event.pk, by=make_user("mara"), now=NOW)
    drain(integration)
    assert again.pk != event.pk
    assert verdicts() == ["opened", "repeated"]


def test_what_was_refused_cannot_be_replayed() -> None:
    event = IngestEvent.objects.create(kind="pagerduty", received_at=NOW, verdict="rejected")
    with pytest.raises(transitions.Refused):
        transitions.replay(event_id=event.pk, by=make_user(), now=NOW)
    assert IngestEvent.objects.count() == 1


def test_the_timekeeper_calls_a_worker_after_one_second_and_works_itself_after_three(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    integration = make_integration()
    hinted: list[int] = []
    monkeypatch.setattr(subscribers.hints, "hint", lambda pk: hinted.append(pk) or True)
    make_event(integration)
    subscribers.sweep_inboxes(RECEIVED_AT + timedelta(seconds=0.9))
    assert hinted == []
    subscribers.sweep_inboxes(RECEIVED_AT + timedelta(seconds=1.1))
    assert (hinted, verdicts()) == ([integration.pk], ["pending"])
    subscribers.sweep_inboxes(RECEIVED_AT + timedelta(seconds=3.1))
    assert verdicts() == ["opened"]


def test_without_a_broker_the_timekeeper_works_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    integration = make_integration()
    monkeypatch.setattr(subscribers.hints, "hint", lambda pk: False)
    make_event(integration)
    subscribers.sweep_inboxes(RECEIVED_AT + timedelta(seconds=1.1))
    assert verdicts() == ["opened"]


def test_a_broker_that_hangs_is_asked_once_and_costs_no_time_for_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    asked: list[int] = []

    def hangs(pk: int) -> bool:
        asked.append(pk)
        clock[0] += 0.5  # its time-out, longer than a round may work
        return False

    monkeypatch.setattr(subscribers.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(subscribers.hints, "hint", hangs)
    for name in ("one", "two"):
        make_event(make_integration(name=name))
    subscribers.sweep_inboxes(RECEIVED_AT + timedelta(seconds=1.1))
    assert verdicts() == ["opened", "opened"]
    assert len(asked) == 1


def test_looking_for_waiting_inboxes_is_one_query(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert queries.waiting_inboxes(before=NOW) == []


def test_old_rows_go_and_waiting_ones_stay() -> None:
    integration = make_integration()
    old, older = NOW - timedelta(days=4), NOW - timedelta(days=31)
    done = {"due_at": None, "verdict": "opened"}
    make_event(integration, received_at=older, **done)
    make_event(integration, received_at=old, due_at=None, verdict="repeated")
    kept = [
        make_event(integration, received_at=older),
        make_event(integration, received_at=old, **done),
        make_event(integration, received_at=NOW, due_at=None, verdict="repeated"),
    ]
    assert transitions.prune(now=NOW) == 2
    assert list(IngestEvent.objects.order_by("pk")) == kept


def test_a_ledger_with_much_that_is_old_is_pruned_in_short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribers, "_prune_at", None)
    monkeypatch.setattr(transitions, "PRUNE_BATCH", 2)
    integration = make_integration()
    for _ in range(5):
        make_event(integration, received_at=NOW - timedelta(days=31), due_at=None, verdict="opened")
    left = []
    for seconds in (0, 4, 5, 10, 15, 69, 70):
        subscribers.prune_ledger(NOW + timedelta(seconds=seconds))
        left.append(IngestEvent.objects.count())
        if seconds == 10:
            make_event(integration, received_at=NOW - timedelta(days=31), due_at=None, verdict="opened")
    assert left == [3, 3, 1, 0, 1, 1, 0]


def test_the_index_that_pruning_reads_follows_the_ledger_without_waiting_for_a_vacuum() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'ingest_by_time'")
        assert "autosummarize=on" in cursor.fetchone()[0]
