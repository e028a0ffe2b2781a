"""What the hub sends of the timeline."""

from datetime import UTC, datetime

import pytest
from django.db import OperationalError

from incidents import presenters, transitions
from incidents.live import reads
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def break_the_note(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    context = presenters.entry_context

    def entry_context(entry, **fields):
        if entry.kind == "note":
            raise error
        return context(entry, **fields)

    monkeypatch.setattr(presenters, "entry_context", entry_context)


@pytest.fixture
def incident():
    """One whose second last entry is a note."""
    made = transitions.trigger(service=make_service(), title="5xx", severity=3, urgency="low", now=NOW)
    by = make_user("ines", full_name="Ines <b>Okafor")
    transitions.add_note(incident_id=made.pk, text="<script>disk 97%", by=by, now=NOW)
    transitions.acknowledge(incident_id=made.pk, by=by, now=NOW)
    return made


def test_an_entry_that_can_not_be_drawn_comes_as_plain_text_and_stops_none_after_it(incident, monkeypatch):
    break_the_note(monkeypatch, KeyError("mentions"))
    note = incident.timeline.get(kind="note")
    sent = reads.entries(incident.pk, note.seq - 1, 10)
    assert [each.seq for each in sent][:2] == [note.seq, note.seq + 1]
    text = sent[0].data.decode()
    assert f'id="e-{note.seq}"' in text
    assert "Ines &lt;b&gt;Okafor" in text and "&lt;script&gt;disk 97%" in text


def test_while_the_database_is_away_an_entry_waits(incident, monkeypatch):
    break_the_note(monkeypatch, OperationalError("server closed the connection"))
    with pytest.raises(OperationalError):
        reads.entries(incident.pk, 0, 10)
