"""The timeline can only grow, and a change or a gap shows."""

from datetime import UTC, datetime, timedelta, timezone

import pgtrigger
import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, transaction

from incidents import timeline, transitions
from incidents.models import Incident, Kind, Status, TimelineEntry
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from timers.models import Timer

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def incident():
    service = make_service("checkout-api", primary_responder=make_user("ada"))
    return transitions.trigger(service=service, title="5xx", severity=1, urgency="high", now=NOW)


def test_entries_are_numbered_from_one_and_chained(incident):
    transitions.add_note(incident_id=incident.pk, text="Only EU", by=make_user("bob"), now=NOW)
    entries = list(incident.timeline.all())
    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert [entry.prev_hash for entry in entries] == ["", entries[0].hash, entries[1].hash]
    incident.refresh_from_db()
    assert (incident.last_seq, incident.last_hash) == (3, entries[2].hash)


@pytest.mark.parametrize(
    "change", [lambda rows: rows.update(text="Nothing happened"), lambda rows: rows.delete()]
)
def test_the_database_itself_refuses_to_change_or_delete_entries(incident, change):
    with pytest.raises(ProgrammingError, match="Cannot update or delete"), transaction.atomic():
        change(TimelineEntry.objects.filter(incident=incident, seq=1))
    assert TimelineEntry.objects.get(incident=incident, seq=1).text == "opened SEV1 on checkout-api: 5xx"


def test_verify_finds_nothing_wrong_with_a_whole_timeline(incident, capsys):
    call_command("verify_timeline")
    assert capsys.readouterr().out == "1 timelines are whole.\n"


def test_verify_finds_a_changed_entry(incident):
    with pgtrigger.ignore("incidents.TimelineEntry:append_only"):
        TimelineEntry.objects.filter(incident=incident, seq=1).update(text="All fine")
    assert list(timeline.verify(incident)) == [f"{incident.ref}: entry 1 was changed"]
    with pytest.raises(CommandError, match="1 faults in 1 timelines"):
        call_command("verify_timeline", incident.ref)


def test_verify_finds_a_missing_entry_in_the_middle_and_at_the_end(incident):
    by = make_user("bob")
    for text in ("one", "two"):
        transitions.add_note(incident_id=incident.pk, text=text, by=by, now=NOW)
    incident.refresh_from_db()
    with pgtrigger.ignore("incidents.TimelineEntry:append_only"):
        TimelineEntry.objects.filter(incident=incident, seq=3).delete()
        assert list(timeline.verify(incident)) == [
            f"{incident.ref}: entry 3 is missing",
            f"{incident.ref}: entry 4 does not follow from the entry before it",
        ]
        TimelineEntry.objects.filter(incident=incident, seq=4).delete()
    assert list(timeline.verify(incident)) == [
        f"{incident.ref}: the timeline ends at entry 2, the incident at 4"
    ]


def test_the_hash_does_not_depend_on_the_zone_in_which_a_time_is_written():
    fields = {
        "prev_hash": "", "incident_id": 1, "seq": 1, "kind": Kind.NOTE, "actor_id": None, "actor_name": "Muster",
        "text": "ß", "data": {"b": 1, "a": [1, None]},
    }  # fmt: skip
    berlin = timezone(timedelta(hours=1))
    assert timeline.chain_hash(at=NOW, **fields) == timeline.chain_hash(at=NOW.astimezone(berlin), **fields)
    assert timeline.chain_hash(at=NOW, **fields) != timeline.chain_hash(at=NOW, **{**fields, "text": "s"})


def test_when_the_entry_cannot_be_written_nothing_of_the_transition_is(incident, monkeypatch):
    by = make_user("bob")
    timers = list(Timer.objects.order_by("pk").values_list("kind", "key", "due_at"))

    def broken(*args, **kwargs):
        raise RuntimeError("disk full")

    monkeypatch.setattr(timeline, "record", broken)
    with pytest.raises(RuntimeError):
        transitions.acknowledge(incident_id=incident.pk, by=by, now=NOW)
    incident = Incident.objects.get()
    assert (incident.status, incident.acknowledged_at, incident.last_seq) == (Status.TRIGGERED, None, 2)
    assert list(Timer.objects.order_by("pk").values_list("kind", "key", "due_at")) == timers
    assert incident.pages.get().status == "paging"


def test_a_subscriber_that_raises_undoes_the_transition(incident, monkeypatch):
    def broken(incident, entry):
        raise RuntimeError("no")

    monkeypatch.setitem(timeline._subscribers, Kind.CONTAINED, [broken])
    with pytest.raises(RuntimeError):
        transitions.contain(incident_id=incident.pk, by=make_user("bob"), now=NOW)
    incident = Incident.objects.get()
    assert (incident.status, incident.contained_at, incident.last_seq) == (Status.TRIGGERED, None, 2)


def test_the_command_lists_who_reacts_to_what(capsys):
    call_command("subscribers")
    said = capsys.readouterr().out
    [acknowledged] = [line for line in said.splitlines() if line.startswith("  acknowledged: ")]
    assert (
        "escalation.subscribers.end, escalation.subscribers.watch_acknowledgement, metrics.subscribers.figure"
    ) in acknowledged
    assert "  escalation.step (queue timers): escalation.subscribers.step\n" in said
    assert "  escalation.auditor.audit_when_due\n" in said
