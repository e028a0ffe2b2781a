"""Changing the calendar by hand, asking for swaps and calendar addresses: plain forms, without any script."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from accounts.models import Role
from oncall import feeds, queries, swaps
from oncall.models import CalendarFeed, Override, SwapStatus, TemporarySchedule
from tests.factories.accounts import make_user
from tests.factories.oncall import make_override, make_schedule

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)  # a Wednesday
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def ines():
    return make_user("ines", full_name="Ines Okafor", role=Role.MANAGER, time_zone="Europe/Berlin")


@pytest.fixture
def ravi():
    return make_user("ravi", full_name="Ravi Menon", time_zone="Asia/Kolkata")


@pytest.fixture
def checkout(ines, ravi):
    return make_schedule("Checkout", people=[ines, ravi])


def client_of(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())).strip()


def page(name, *args) -> str:
    return reverse(f"oncall:{name}", args=args)


def override(**changes) -> dict:
    fields = {
        "kind": "replace", "user": "ravi", "starts_at": "2026-06-10T20:00", "ends_at": "2026-06-11T08:00",
        "zone": "UTC",
    }  # fmt: skip
    return {f"override-{key}": value for key, value in (fields | changes).items()}


def test_a_click_in_the_calendar_opens_the_form_filled_in_and_preview_shows_who_changes(checkout, ines):
    client = client_of(ines)
    html = client.get(page("schedule_detail", "checkout")).content.decode()
    link = re.search(r'<a class="cal-link" href="([^"]+)"', html)[1].replace("&amp;", "&")

    form = client.get(link).content.decode()
    assert 'value="2026-06-10T00:00"' in form
    assert 'value="ines"' in form

    seen = text_of(client.post(page("override_add", "checkout"), override() | {"preview": "1"}))
    assert "What would change 1" in seen
    assert "Wed 10 Jun 20:00 to Thu 11 Jun 08:00 Ines Okafor Ravi Menon 12 h" in seen
    assert not Override.objects.exists()
    nothing = text_of(client.post(page("override_add", "checkout"), override(user="ines") | {"preview": "1"}))
    assert "Nothing would change" in nothing
    removed = client.post(
        page("override_add", "checkout"), override(kind="remove", user="ines") | {"preview": "1"}
    )
    assert "Nobody would be on call 1 time, first from" in text_of(removed)

    client.post(page("override_add", "checkout"), override(kind="add"))
    assert queries.on_call([checkout.pk], NOW + 9 * HOUR)[checkout.pk] == [ines, Override.objects.get().user]
    assert "Ravi Menon beside the others" in text_of(client.get(page("schedule_detail", "checkout")))


def test_month_shows_each_day_on_the_clock_of_the_schedule(checkout, ines, ravi):
    viewer = client_of(make_user("vera", role=Role.VIEWER))
    response = viewer.get(page("schedule_detail", "checkout") + "?view=month&from=2026-06-20")
    seen = text_of(response)
    assert "June 2026" in seen
    assert "Mon 15 Ines Okafor 08:00 Ravi Menon" in seen
    assert "cal-link" not in response.content.decode()
    assert 'month-entry cal-entry-a" href' not in response.content.decode()
    berlin = make_schedule("Berlin", people=[ines], time_zone="Europe/Berlin")
    assert "25 hours" in text_of(
        viewer.get(page("schedule_detail", berlin.slug) + "?view=month&from=2026-10-01")
    )


def test_editing_layers_shows_the_difference_before_it_is_saved(checkout, ines, ravi):
    make_user("dana", full_name="Dana Whitfield")
    client = client_of(ines)
    layer = checkout.layers.get()
    data = {
        "name": "Checkout", "time_zone": "UTC", "filler": "dana", "notice_hours": "1.5",
        "layer-TOTAL_FORMS": "1", "layer-INITIAL_FORMS": "1", "layer-0-id": layer.pk, "layer-0-people": ["ines", "dana"],
        "layer-0-turn_length": "1", "layer-0-turn_unit": "custom", "layer-0-turns": "5 days, 2 days",
        "layer-0-mode": "override", "layer-0-people_at_once": "1", "layer-0-starts_at": "2026-01-05T08:00",
    }  # fmt: skip

    previewed = client.post(page("schedule_edit", "checkout"), data | {"preview": "1"})
    assert "Sat 13 Jun 08:00 to Mon 15 Jun 08:00 Ines Okafor Dana Whitfield 2 d" in text_of(previewed)
    assert 'value="5 days, 2 days"' in previewed.content.decode()
    checkout.refresh_from_db()
    assert (checkout.layers.get().turn_unit, checkout.notice_minutes) == ("weeks", 1440)

    refused = client.post(page("schedule_edit", "checkout"), data | {"layer-0-turns": "5 moons"})
    assert (refused.status_code, "5 moons is no length." in text_of(refused)) == (422, True)
    client.post(page("schedule_edit", "checkout"), data)
    checkout.refresh_from_db()
    assert (checkout.notice_minutes, checkout.notice_at_start) == (90, False)
    seen = text_of(client.get(page("schedule_detail", "checkout")))
    assert "5 days then 2 days each, handoff from Mon 08:00" in seen
    assert "else Dana Whitfield fills" in seen


def test_temporary_schedule_is_previewed_saved_and_ended(checkout, ines, ravi):
    client = client_of(ines)
    data = {
        "name": "Black Friday", "starts_at": "2026-06-12T08:00", "ends_at": "2026-06-13T08:00", "zone": "UTC",
        "people": ["ravi", "ines"], "hours": "12", "at_once": "1",
    }  # fmt: skip
    assert "What would change 1" in text_of(
        client.post(page("temporary_add", "checkout"), data | {"preview": "1"})
    )
    assert not TemporarySchedule.objects.exists()
    refused = client.post(page("temporary_add", "checkout"), data | {"at_once": "3"})
    assert (refused.status_code, "More than there are people." in text_of(refused)) == (422, True)

    client.post(page("temporary_add", "checkout"), data)
    temporary = TemporarySchedule.objects.get()
    assert [(shift.user, shift.starts_at.hour) for shift in temporary.shifts.all()] == [(ravi, 8), (ines, 20)]
    assert client_of(ravi).get(page("temporary_add", "checkout")).status_code == 403
    assert client_of(ravi).post(page("temporary_remove", "checkout", temporary.pk)).status_code == 403
    client.post(page("temporary_remove", "checkout", temporary.pk))
    assert not TemporarySchedule.objects.exists()


def test_swap_is_asked_and_answered_from_my_shifts(checkout, ines, ravi):
    client, other = client_of(ines), client_of(ravi)
    form = {"asked": "ravi", "starts_at": "2026-06-12T08:00", "ends_at": "2026-06-13T08:00", "zone": "UTC"}
    assert "Wed 10 Jun 12:00 to Mon 15 Jun 08:00" in text_of(client.get(page("swap_ask", "checkout")))
    refused = client.post(page("swap_ask", "checkout"), form | {"asked": "ines"})
    assert (refused.status_code, "Ask somebody else." in text_of(refused)) == (400, True)
    asked = text_of(client.post(page("swap_ask", "checkout"), form, follow=True))
    assert "Ravi Menon is asked and has until Fri 12 Jun 10:00. Until then you stay on call." in asked

    swap = checkout.swaps.get()
    mine = text_of(other.get(page("mine")))
    assert "You are next on call" in mine
    assert "Ines Okafor asks you Checkout" in mine
    client.post(page("swap_answer", swap.pk, "accept"))
    swap.refresh_from_db()
    assert swap.status == SwapStatus.PENDING
    other.post(page("swap_answer", swap.pk, "accept"), {"answer": "Gladly"})
    swap.refresh_from_db()
    assert (swap.status, swap.answer) == (SwapStatus.ACCEPTED, "Gladly")
    assert "You are on call for Checkout now" in text_of(client.get(page("mine")))
    again = swaps.ask_swap(
        schedule_id=checkout.pk, asked=ravi, starts_at=NOW, ends_at=NOW + HOUR, by=ines, now=NOW
    )
    client.post(page("swap_answer", again.pk, "withdraw"))
    assert checkout.swaps.get(pk=again.pk).status == SwapStatus.WITHDRAWN


def test_calendar_address_is_shown_once_and_revoked(checkout, ines, ravi):
    viewer = client_of(make_user("vera", role=Role.VIEWER))
    made = viewer.post(page("feed_make"), {"schedule": "checkout"})
    address = re.search(r'value="(http[^"]+\.ics)"', made.content.decode())[1]
    assert made["Cache-Control"] == "no-store"
    feed = CalendarFeed.objects.get()
    seen = viewer.get(page("mine")).content.decode()
    assert (feed.hint in seen, address in seen) == (True, False)
    client_of(ravi).post(page("feed_revoke", feed.pk))
    assert feeds.open_feed(address.rsplit("/", 1)[1].removesuffix(".ics"), now=NOW) == feed
    viewer.post(page("feed_revoke", feed.pk))
    assert Client().get(address).status_code == 404


def test_score_is_explained_and_bad_spans_are_a_year(checkout, ines, ravi):
    client = client_of(ravi)
    seen = text_of(client.get(page("schedule_quality", "checkout") + "?weeks=4"))
    assert "Checkout scores 100 of 100" in seen
    assert "Coverage 50 of 50 Somebody is on call all the time." in seen
    for weeks in ("0", "53", "0052999", "x", "²"):
        assert "The next 52 weeks" in text_of(
            client.get(page("schedule_quality", "checkout") + f"?weeks={weeks}")
        )
    make_override(checkout, user=ravi, kind="shadow", starts_at=NOW - HOUR, ends_at=NOW + HOUR)
    assert "Ravi Menon shadows and is not paged." in text_of(client.get(page("schedule_detail", "checkout")))
