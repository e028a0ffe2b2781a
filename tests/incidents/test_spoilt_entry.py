"""An entry that cannot be drawn is plain text wherever the timeline is read; the rest stands as ever."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from incidents import presenters, transitions
from incidents.channel import transitions as channel
from incidents.models import TimelineEntry
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@pytest.mark.django_db
def test_a_spoilt_entry_is_plain_text_in_the_room_in_earlier_entries_and_on_its_own_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ines = make_user("ines", full_name="Ines Okafor")
    incident = transitions.trigger(
        service=make_service("checkout-api"), title="Checkout API: 5xx", severity=1, urgency="high", now=NOW
    )
    spoilt = channel.say(incident_id=incident.pk, text="Rolling <b>back</b>", by=ines, now=NOW).seq
    channel.say(incident_id=incident.pk, text="It **holds**", by=ines, now=NOW)
    whole = presenters.entry_context

    def entry_context(entry: TimelineEntry, **options: bool) -> dict[str, object]:
        if entry.seq == spoilt:
            raise KeyError("text")
        return whole(entry, **options)

    monkeypatch.setattr(presenters, "entry_context", entry_context)
    client = Client()
    client.force_login(ines)
    plain = "<b>Ines Okafor</b> Rolling &lt;b&gt;back&lt;/b&gt;</p>"
    for name, args, rest in (
        ("detail", (), "<strong>holds</strong>"),
        ("earlier", (), "<strong>holds</strong>"),
        ("entry", (spoilt,), ""),
    ):
        answer = client.get(reverse(f"incidents:{name}", args=[incident.pk, *args]))
        page = answer.content.decode()
        assert (name, answer.status_code) == (name, 200)
        assert plain in page
        assert rest in page
