"""Home and list in a real browser: they follow what happens, but never move a row away under the pointer."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from incidents import transitions
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier


@pytest.fixture
def ines(address):
    return make_user("ines", full_name="Ines Okafor", role="manager")


@pytest.fixture
def service(ines):
    service = make_service("checkout-api", criticality=1)
    make_policy(tier(1, ines, seconds=600), service=service, catch_all=ines, name="Checkout")
    return service


def declare(service, ines, title, severity=2):
    now = timezone.now() - timedelta(minutes=1)
    return transitions.declare(service=service, title=title, severity=severity, by=ines, now=now)


@pytest.mark.parametrize(("path", "region"), [("/", "#now-burn"), ("/incidents/", "#list-found")])
def test_a_new_incident_appears_by_itself_but_not_under_the_pointer(service, ines, look, path, region):
    declare(service, ines, "First")
    page = look(ines, path)
    strips = page.locator(f"{region} .strip .clip[href]")
    expect(strips).to_have_text(["First"])
    with page.expect_response(lambda response: response.url.endswith(path)):
        second = declare(service, ines, "Second", severity=1)
    expect(strips).to_have_text(["Second", "First"])
    strips.first.hover()
    with page.expect_response(lambda response: response.url.endswith(path)):
        transitions.resolve(incident_id=second.pk, by=ines, now=timezone.now())
    page.wait_for_timeout(500)
    expect(strips).to_have_text(["Second", "First"])
    page.mouse.move(5, 5)
    expect(strips).to_have_text(["First"])


def test_the_headline_and_the_title_follow(service, ines, look):
    page = look(ines, "/")
    expect(page.locator("h1")).to_have_text("Nothing is burning")
    page.wait_for_timeout(1500)  # until the stream is open
    incident = declare(service, ines, "First")
    expect(page.locator("h1")).to_have_text("One incident is burning, and nobody has answered")
    expect(page).to_have_title("One incident is burning, and nobody has answered · Muster")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#now-mine")).to_contain_text(f"You answered {incident.ref}")
    expect(page.locator("h1")).to_have_text("One incident is burning")


def test_on_a_phone_the_filters_fold_away_until_asked_for(service, ines, look):
    declare(service, ines, "First")
    page = look(ines, "/incidents/", width=390, height=844)
    expect(page.locator("#f-sev")).to_be_hidden()
    page.click("[data-filter-toggle]")
    page.select_option("#f-sev", "1")
    page.wait_for_url("**/incidents/?*severity=1*")
    expect(page.locator("#list-found")).to_contain_text("No incident fits")
    expect(page.locator("#f-sev")).to_be_visible()


def test_filters_are_folded_before_the_first_paint_and_come_back_when_the_script_fails(service, ines, look):
    declare(service, ines, "First")
    page = look(ines, "/", width=390, height=844)
    page.route("**/js/ui*.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.goto("/incidents/")
    expect(page.locator("#f-sev")).to_be_hidden()  # so that nothing moves when the script comes
    expect(page.locator("[data-filter-toggle]")).to_be_visible()

    page.unroute("**/js/ui*.js")
    page.route("**/js/ui*.js", lambda route: route.fulfill(body="nothing()", content_type="text/javascript"))
    page.reload()
    expect(page.locator("#f-sev")).to_be_visible()
    look.reports.clear()  # the script that failed
