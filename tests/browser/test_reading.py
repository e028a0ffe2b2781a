"""Reading the room in a real browser: filters in the address, who is here, and entries that are named."""

import re
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from playwright.sync_api import expect

from accounts.models import User
from incidents import timeline, transitions
from incidents.models import Incident, Kind
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service


@pytest.fixture
def ines(address) -> User:
    return make_user("ines", full_name="Ines Okafor", role="manager")


@pytest.fixture
def ravi(address) -> User:
    return make_user("ravi", full_name="Ravi Menon")


@pytest.fixture
def incident(ines: User) -> Incident:
    return transitions.declare(
        service=make_service("checkout-api"),
        title="Checkout API: 5xx",
        severity=1,
        by=ines,
        now=timezone.now() - timedelta(minutes=5),
    )


def record(incident: Incident, kind: Kind, texts: list[str], by: User) -> None:
    with transaction.atomic():
        locked = transitions.lock_incident(incident.pk)
        for text in texts:
            timeline.record(locked, kind, at=timezone.now(), actor=by, text=text)


def test_a_filter_finds_what_is_not_loaded_stands_in_the_address_and_stays_live(incident, ines, ravi, look):
    record(incident, Kind.DECISION, ["we roll back"], ravi)
    record(incident, Kind.NOTE, [f"note {number}" for number in range(150)], ravi)
    record(incident, Kind.CHANGE, [f"deploy {number}" for number in range(10)], ravi)
    page = look(ines, f"/incidents/INC-{incident.pk}/")
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#feed")).not_to_contain_text("we roll back")
    # A run is one line until somebody wants to see it.
    expect(page.locator("#feed").get_by_text("deploy 5")).to_be_hidden()
    page.get_by_role("button", name="8 alerts and changes folded").click()
    expect(page.locator("#feed").get_by_text("deploy 5")).to_be_visible()
    page.click('[data-show-only="decision"]')
    expect(page).to_have_url(re.compile(r"\?show=decision$"))
    expect(page.locator("#feed")).to_contain_text("we roll back")
    expect(page.locator('[data-show-only="decision"]')).to_have_attribute("aria-current", "true")
    record(incident, Kind.NOTE, ["said meanwhile"], ravi)
    expect(page.locator('[data-show-only="message"] .count')).to_have_text("151")
    expect(page.locator("#feed").get_by_text("said meanwhile")).to_be_hidden()
    page.click('[data-show-only="all"]')
    expect(page.locator("#feed").get_by_text("said meanwhile")).to_be_visible()
    order = page.eval_on_selector_all("#feed li[data-seq]", "all => all.map((li) => Number(li.dataset.seq))")
    assert order == list(range(order[0], incident.timeline.count() + 1))
    seq = incident.timeline.get(kind=Kind.DECISION).seq
    page.goto(f"/incidents/INC-{incident.pk}/?show=decision#e-{seq}")
    expect(page.locator(f"#e-{seq}")).to_be_visible()
    expect(page.locator("#feed > li[data-seq]")).to_have_count(1)
    # What this page does not hold stands among the earlier ones.
    page.goto("about:blank")
    page.goto(f"/incidents/INC-{incident.pk}/#e-{seq}")
    expect(page).to_have_url(re.compile(rf"/earlier/\?before={seq + 20}#e-{seq}$"))
    expect(page.locator(f"#e-{seq}")).to_be_visible()
    plain = look(ines, f"/incidents/INC-{incident.pk}/", script=False)
    plain.click('[data-show-only="decision"]')
    expect(plain.locator("#feed")).to_contain_text("we roll back")


def test_who_is_here_is_a_number_that_opens_into_names(incident, ines, ravi, look):
    page = look(ines, f"/incidents/INC-{incident.pk}/")
    expect(page.locator("#here summary")).to_have_text("1 here")
    other = look(ravi, f"/incidents/INC-{incident.pk}/")
    expect(page.locator("#here summary")).to_have_text("2 here")
    page.click("#here summary")
    expect(page.locator("#here li")).to_have_text([re.compile("Ines Okafor.*you"), re.compile("Ravi Menon")])
    # What changes beside it leaves the list open.
    transitions.acknowledge(incident_id=incident.pk, by=ravi, now=timezone.now())
    expect(page.locator(f"#person-{ravi.pk}")).to_have_attribute("data-here", "")
    expect(page.locator("#here li").first).to_be_visible()
    other.close()
    expect(page.locator("#here summary")).to_have_text("1 here", timeout=15_000)
    expect(page.locator(f"#person-{ravi.pk}")).not_to_have_attribute("data-here", "")
