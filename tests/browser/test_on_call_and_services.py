"""Schedules and services in a real browser: for axe, for both sizes and themes, and with scripts switched off."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Role
from catalog.models import Service
from oncall.models import Override, Schedule
from tests.factories.accounts import make_team, make_user
from tests.factories.catalog import make_dependency, make_service, make_slo
from tests.factories.oncall import make_layer, make_override, make_schedule

HOUR = timedelta(hours=1)


@pytest.fixture
def ines(address):
    return make_user("ines", full_name="Ines Okafor", role=Role.MANAGER, time_zone="Asia/Kolkata")


@pytest.fixture
def ravi(address):
    return make_user("ravi", full_name="Ravi Menon", time_zone="Europe/Berlin")


@pytest.fixture
def places(ines, ravi):
    payments, now = make_team("Payments"), timezone.now()
    schedule = make_schedule("Checkout", people=[ravi, ines], time_zone="Europe/Berlin", team=payments)
    make_layer(
        schedule, people=[ines], name="Nights",
        restrictions=[{"days": [0, 1, 2, 3, 4], "start": "22:00", "end": "06:00"}],
    )  # fmt: skip
    schedule.layers.filter(position=0).update(ends_at=now + 120 * HOUR)  # so that there is a gap
    make_override(schedule, user=ines, starts_at=now - HOUR, ends_at=now + 3 * HOUR, reason="Dentist")
    make_override(schedule, user=ravi, starts_at=now + HOUR, ends_at=now + 5 * HOUR)
    make_schedule("Nobody")
    service = make_service(
        "checkout-api", criticality=1, team=payments, primary_responder=ravi, tags=["eu"], grouping_minutes=10,
        links=[{"text": "Dashboard", "href": "https://grafana.example.org/d/1"}],
    )  # fmt: skip
    make_dependency(service, needs=make_service("ledger-db"), note="reads balances")
    make_dependency(make_service("shop"), needs=service)
    make_slo(service)
    return [
        "/schedules/",
        "/schedules/checkout/",
        "/schedules/checkout/?from=2026-10-20",
        "/schedules/checkout/?view=month",
        "/schedules/checkout/quality/",
        "/schedules/checkout/temporary/",
        "/schedules/checkout/overrides/?start=2026-12-01T08:00&end=2026-12-01T09:00&replaces=ravi",
        "/schedules/checkout/swap/",
        "/schedules/mine/",
        "/schedules/nobody/",
        "/schedules/new/",
        "/schedules/checkout/edit/",
        "/services/",
        "/services/checkout-api/",
        "/services/new/",
        "/services/checkout-api/edit/",
    ]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(places, look, axe, ines, theme):
    found = {}
    page = look(ines, "/schedules/", theme=theme)
    for path in places:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            found[path, width] = axe(page)
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found[path, width].append("scrolls sideways")

    assert {key: faults for key, faults in found.items() if faults} == {}
    assert list(look.reports) == []


def test_manager_makes_a_schedule_without_any_script(look, ines, ravi):
    page = look(ines, "/schedules/new/", script=False)
    page.get_by_label("Name", exact=False).first.fill("Checkout primary")
    page.locator("[name='layer-0-people']").nth(0).fill("ravi")
    page.locator("[name='layer-0-people']").nth(1).fill("nobody")
    page.get_by_role("button", name="Save schedule").click()

    assert "Nobody active is called nobody." in page.locator(".field-error").inner_text()
    assert page.locator("[name='layer-0-people']").nth(0).input_value() == "ravi"
    assert not Schedule.objects.exists()
    look.reports.clear()  # the browser notes the refusal's status

    page.locator("[name='layer-0-people']").nth(1).fill("Ines Okafor")
    page.get_by_role("button", name="Save schedule").click()
    page.wait_for_url("**/schedules/checkout-primary/")

    people = Schedule.objects.get().layers.get().members.values_list("user__username", flat=True)
    assert list(people) == ["ravi", "ines"]


def test_responder_takes_a_shift_and_gives_it_back(look, ines, ravi):
    make_schedule("Checkout", people=[ines], time_zone="Europe/Berlin")
    tomorrow = (timezone.localtime() + timedelta(days=1)).strftime("%Y-%m-%d")
    page = look(ravi, "/schedules/checkout/")
    page.get_by_label("From", exact=True).fill(f"{tomorrow}T18:00")
    page.get_by_label("To", exact=True).fill(f"{tomorrow}T20:00")
    page.get_by_role("button", name="Take it").click()

    page.get_by_text("Ravi Menon is on call from").wait_for()
    assert Override.objects.get().user == ravi
    assert page.locator("svg.cal-final title", has_text="Ravi Menon").count() == 1

    page.get_by_role("button", name="Remove… the override of Ravi Menon").click()
    page.get_by_role("dialog", name="Remove this override?").get_by_role("button", name="Remove").click()
    page.get_by_text("Ravi Menon no longer stands in.").wait_for()
    assert not Override.objects.exists()


def test_service_page_loads_its_policy_and_refuses_a_cycle(look, ines):
    shop, ledger = make_service("shop"), make_service("ledger-db")
    make_dependency(shop, needs=ledger)
    page = look(ines, "/services/ledger-db/")
    page.locator("#service-escalation").wait_for()
    page.get_by_label("It also needs").fill("shop")
    page.get_by_role("button", name="Add", exact=True).click()

    page.get_by_text("ledger-db cannot depend on shop: shop needs ledger-db.").wait_for()
    assert page.get_by_label("It also needs").input_value() == "shop"
    assert not Service.objects.get(slug="ledger-db").dependencies.exists()
    look.reports.clear()  # the browser notes the refusal's status


def test_a_time_in_the_calendar_is_changed_after_a_look_at_what_changes(look, axe, ines, ravi):
    schedule = make_schedule("Checkout", people=[ines], time_zone="Europe/Berlin")
    page = look(ines, "/schedules/checkout/")
    page.locator("a.cal-link").last.click()
    page.locator("[name='override-replaces'][value='ines']").wait_for()
    assert page.url.endswith("/schedules/checkout/")  # it came to the page, which stayed

    tomorrow = (timezone.localtime() + timedelta(days=1)).strftime("%Y-%m-%d")
    page.get_by_label("Who", exact=True).fill("ravi")
    page.get_by_label("From", exact=True).fill(f"{tomorrow}T18:00")
    page.get_by_label("To", exact=True).fill(f"{tomorrow}T20:00")
    page.get_by_role("button", name="Preview").click()
    row = page.locator("#change .m-table tbody tr")
    row.wait_for()
    assert row.locator("td").all_inner_texts()[1:3] == ["Ines Okafor", "Ravi Menon"]
    assert not Override.objects.exists()
    assert page.locator("#do-preview").evaluate("element => document.activeElement === element")
    assert axe(page) == []

    page.get_by_role("button", name="Put on call").click()
    page.get_by_text("Ravi Menon is on call from").wait_for()
    made = Override.objects.get()
    assert (made.schedule, made.user, made.replaces) == (schedule, ravi, ines)
