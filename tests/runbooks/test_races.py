"""Two people at the same runbook. Each control shows what would happen without the row's lock."""

from datetime import UTC, datetime

import pytest

from accounts.models import User
from incidents import transitions as incident_transitions
from runbooks import transitions
from runbooks.models import Runbook, Use
from runbooks.transitions import RunbookData
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from tests.factories.runbooks import TEXT, make_runbook
from tests.incidents.test_races import at_once, meet

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db(transaction=True)


def without_lock(runbook_id: int) -> Runbook:
    return Runbook.objects.get(pk=runbook_id)


@pytest.fixture
def people() -> list[User]:
    return [make_user(name, role="manager") for name in ("ines", "ravi")]


def publish_both(runbook: Runbook, people: list[User], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    meet(monkeypatch, transitions, "_lock")
    return at_once(
        *(
            lambda person=person: transitions.publish(
                runbook_id=runbook.pk, number=1, by=person, now=NOW, read_at=NOW
            )
            for person in people
        )
    )


def test_control_without_the_lock_both_have_published(people, monkeypatch):
    runbook = make_runbook("Checkout", author=people[0], publisher=None, now=NOW)
    monkeypatch.setattr(transitions, "_lock", without_lock)
    assert publish_both(runbook, people, monkeypatch) == ["done", "done"]


def test_of_two_who_publish_at_once_the_second_is_told(people, monkeypatch):
    runbook = make_runbook("Checkout", author=people[0], publisher=None, now=NOW)
    assert publish_both(runbook, people, monkeypatch) == ["already_published", "done"]
    runbook.refresh_from_db()
    assert runbook.published.number == 1


def test_what_is_archived_at_this_moment_is_taken_up_before_it_or_not_at_all(people, monkeypatch):
    """Whoever looks first at the runbook holds it until it is at hand."""
    runbook = make_runbook("Checkout", author=people[0], publisher=people[1], now=NOW)
    incident = incident_transitions.trigger(
        service=make_service(), title="5xx", severity=1, urgency="high", now=NOW
    )
    meet(monkeypatch, transitions, "_lock")
    ended = at_once(
        lambda: transitions.attach(incident_id=incident.pk, runbook_id=runbook.pk, by=people[0], now=NOW),
        lambda: transitions.archive(runbook_id=runbook.pk, by=people[1], now=NOW),
    )
    assert ended == (["done", "done"] if Use.objects.exists() else ["done", "not_published"])


def test_two_who_save_at_once_keep_both_texts(people, monkeypatch):
    runbook = make_runbook("Checkout", author=people[0], publisher=people[1], now=NOW)
    later = NOW.replace(minute=1)
    meet(monkeypatch, transitions, "_check")
    ended = at_once(
        *(
            lambda person=person: transitions.save_draft(
                runbook_id=runbook.pk, data=RunbookData(title="Checkout", text=f"{TEXT}\n{person}"), by=person, now=later,
                read_at=NOW,
            )
            for person in people
        )
    )  # fmt: skip
    assert ended == ["changed_meanwhile", "done"]
    assert runbook.versions.count() == 2
