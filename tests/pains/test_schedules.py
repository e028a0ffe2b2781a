"""What users of other pagers suffer from with schedules, each with the number it has in our list.

The arithmetic at every jump of every zone's clock (pain 9) is tests/oncall/test_zones.py.
"""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from icalendar import Calendar
from recurring_ical_events import of as events_of

from accounts.models import Role
from notifications.models import Notification
from oncall import queries
from oncall.models import Override, TemporarySchedule
from tests.api.conftest import Api
from tests.factories.accounts import make_email, make_token, make_user
from timers.models import Timer
from timers.transitions import fire_due

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 10, 20, 9, 0, tzinfo=UTC)  # a Tuesday, five days before clocks go back in Berlin
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def clock():
    cache.clear()
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def cast():
    people = {
        name: make_user(name, full_name=name.title(), time_zone=zone)
        for name, zone in (("ada", "Europe/Berlin"), ("bob", "Asia/Kolkata"), ("cyd", "America/New_York"))
    }
    for person in people.values():
        make_email(person, verified_at=NOW - DAY)
    people["mia"] = make_user("mia", full_name="Mia", role=Role.MANAGER, time_zone="Europe/Berlin")
    return people


def api(user) -> Api:
    return Api(make_token(user))


def write(cast, *layers, **fields) -> dict:
    answer = api(cast["mia"]).post(
        "schedules/", {"name": "Checkout", "time_zone": "Europe/Berlin", "layers": list(layers)} | fields
    )
    assert answer.status_code == 201, answer.content
    return answer.json()


def names(people) -> list[str]:
    return [str(person) for person in people]


def page_of(user, address) -> str:
    client = Client()
    client.force_login(user)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", client.get(address).content.decode()))


def wall(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


def test_pain_09_handoffs_stay_on_the_wall_clock_and_no_hour_is_lost_when_clocks_change(cast):
    made = write(
        cast,
        {"name": "Daily", "starts_at": "2026-10-01T02:30", "turn_unit": "days", "people": ["ada", "bob"]},
    )
    shifts = (
        api(cast["ada"])
        .get("schedules/checkout/shifts/?start=2026-10-22T00:30Z&end=2026-10-28T01:30Z")
        .json()
    )

    starts = [datetime.fromisoformat(shift["starts_at"]) for shift in shifts]
    ends = [datetime.fromisoformat(shift["ends_at"]) for shift in shifts]
    assert {f"{start.astimezone(BERLIN):%H:%M}" for start in starts} == {"02:30"}
    assert starts[1:] == ends[:-1]
    assert [(end - start) // HOUR for start, end in zip(starts, ends, strict=True)] == [
        24,
        24,
        24,
        25,
        24,
        24,
    ]
    # 02:30 is there twice that night: the handoff is at the first.
    before, after = wall("2026-10-25 02:29"), wall("2026-10-25 02:31", fold=1)
    people = [
        names(queries.on_call([made["id"]], at)[made["id"]])
        for at in (before, before + 2 * timedelta(minutes=1), after)
    ]
    assert people == [["Bob"], ["Ada"], ["Ada"]]
    # In spring it does not exist: the handoff is at the first instant after the gap.
    spring = queries.staffing_changes([made["id"]], wall("2027-03-28 00:00"), wall("2027-03-28 12:00"))
    assert spring == [datetime(2027, 3, 28, 1, 0, tzinfo=UTC)]

    seen = page_of(cast["bob"], "/schedules/checkout/?from=2026-10-20")
    assert "Europe/Berlin, where your clock is 3 h 30 min ahead" in seen
    assert "Sun 25 · 25 hours" in seen
    assert "Sun 25 Oct 02:30 to Mon 26 Oct 02:30" in seen  # the schedule's clock
    assert "Your time, Asia/Kolkata" in seen
    assert "06:00 to Mon 07:00" in seen  # Bob's: an hour later after the change


def test_pain_10_windows_have_days_and_a_zone_and_turns_any_length(cast):
    """Nights that begin on working days, on Berlin's clock, over midnight and over the change of clocks; the weekend is
    another turn. An exception starts at a minute of somebody's choice, on their own clock."""
    made = write(
        cast,
        {
            "name": "Turns", "starts_at": "2026-10-19T18:10", "people": ["ada", "bob"], "turn_unit": "custom",
            "turns": [{"unit": "days", "length": 4}, {"unit": "days", "length": 3}, {"unit": "hours", "length": 7 * 24}],
            "restrictions": [{"days": [0, 1, 2, 3, 4], "start": "18:10", "end": "07:45"},
                             {"days": [5, 6], "start": "00:00", "end": "00:00"}],
        },
    )  # fmt: skip

    def on_call(text, fold=0):
        return names(queries.on_call([made["id"]], wall(text, fold))[made["id"]])

    assert [on_call(f"2026-10-21 {time}") for time in ("07:44", "07:45", "18:09", "18:10", "23:59")] == [
        ["Ada"], [], [], ["Ada"], ["Ada"],
    ]  # fmt: skip
    assert [on_call(f"2026-10-{day}") for day in ("23 18:09", "23 18:10", "24 07:50", "26 00:00", "26 18:10")] == [
        [], ["Bob"], ["Bob"], [], ["Ada"],
    ]  # fmt: skip
    assert on_call("2026-10-25 02:30", fold=1) == ["Bob"]
    client = Client()
    client.force_login(cast["cyd"])
    client.post(
        "/schedules/checkout/overrides/",
        {"override-starts_at": "2026-10-20T06:07", "override-ends_at": "2026-10-20T06:38",
         "override-zone": "America/New_York", "override-kind": "add"},
    )  # fmt: skip
    assert [on_call(f"2026-10-20 12:{minute}") for minute in ("06", "07", "37", "38")] == [
        [],
        ["Cyd"],
        ["Cyd"],
        [],
    ]


def test_pain_21_everybody_knows_who_is_next_a_year_ahead_and_is_told_before(cast, clock):
    made = write(
        cast, {"name": "Weekly", "starts_at": "2026-10-19T08:00", "people": ["ada", "bob", "cyd"]},
        {"name": "Learning", "starts_at": "2026-10-19T08:00", "people": ["mia"], "mode": "shadow"},
        notice_minutes=36 * 60,
    )  # fmt: skip
    bob = api(cast["bob"])

    now = bob.get("schedules/checkout/on-call/").json()
    assert ([each["name"] for each in now["people"]], now["until"]) == (["Ada"], "2026-10-26T07:00:00Z")
    assert [each["name"] for each in now["next_on_call"]] == ["Bob"]
    assert names(queries.next_on_call(made["id"], NOW)) == ["Bob"]  # what a tier "next on call" pages
    assert "then Bob" in page_of(cast["cyd"], "/schedules/checkout/")

    own = bob.post("calendar-feeds/").json()["url"]
    team = bob.post("calendar-feeds/", {"schedule": "checkout"}).json()["url"]
    calendars = [Calendar.from_ical(Client().get(address).content) for address in (own, team)]
    year = [events_of(calendar).between(NOW, NOW + 365 * DAY) for calendar in calendars]
    assert {str(event["SUMMARY"]) for event in year[0]} == {"On call: Checkout"}
    assert {str(event["SUMMARY"]) for event in year[1]} == {
        f"On call: {name} (Checkout)" for name in ("Ada", "Bob", "Cyd")
    } | {"Shadowing: Mia (Checkout)"}
    assert min(event.start for event in year[0]) == datetime(2026, 10, 26, 7, tzinfo=UTC)
    assert max(event.end for event in year[1]) > NOW + 365 * DAY
    assert len(year[0]) == 18  # every third week

    told: list[tuple[str, str, datetime]] = []
    for _ in range(40):
        due = min(Timer.objects.filter(kind="duty_notices").values_list("due_at", flat=True))
        if due > NOW + 7 * DAY:
            break
        clock.move_to(max(due, NOW))
        fire_due(now=max(due, NOW), by="test")
    told = [
        (each.recipient.username, each.title, each.created_at) for each in Notification.objects.order_by("pk")
    ]
    start = datetime(2026, 10, 26, 7, tzinfo=UTC)
    assert told == [
        (
            "ada",
            "You are on call for Checkout now",
            NOW,
        ),  # the schedule begins to count in the middle of her week
        ("mia", "You shadow Checkout now", NOW),
        ("bob", "You are on call for Checkout from Mon 26 Oct 12:30", start - 36 * HOUR),
        ("bob", "You are on call for Checkout now", start),
    ]
    assert {each.urgency for each in Notification.objects.all()} == {"low"}


def test_pain_22_peaks_gaps_and_swaps_are_planned_looked_at_and_undone_without_touching_the_rules(cast):
    made = write(
        cast,
        {"name": "Office", "starts_at": "2026-10-19T08:00", "people": ["ada", "bob"],
         "restrictions": [{"days": [0, 1, 2, 3, 4, 5, 6], "start": "08:00", "end": "20:00"}]},
    )  # fmt: skip
    mia, ada, bob = (api(cast[name]) for name in ("mia", "ada", "bob"))
    layers = mia.get("schedules/checkout/").json()["layers"]

    def on_call(at):
        return names(queries.on_call([made["id"]], at)[made["id"]])

    # 1. Gaps are filled by a person of last resort, and the difference is seen before it is saved.
    assert len(mia.get("schedules/checkout/on-call/").json()["gaps"]) == 30
    kept = [
        {key: layer[key] for key in ("id", "name", "starts_at", "restrictions")}
        | {"people": [person["username"] for person in layer["people"]]}
        for layer in layers
    ]
    body = {"name": "Checkout", "time_zone": "Europe/Berlin", "layers": kept, "filler": "cyd"}
    preview = mia.post("schedules/checkout/preview/", body).json()
    assert {(tuple(each["before"]), each["after"][0]["name"]) for each in preview["changed"]} == {((), "Cyd")}
    assert preview["gaps"] == []
    assert on_call(NOW + 12 * HOUR) == []
    assert mia.put("schedules/checkout/", body).status_code == 200
    assert (on_call(NOW + 12 * HOUR), on_call(NOW)) == (["Cyd"], ["Ada"])

    # 2. A peak has shifts of its own for a span, trimmed to it; what it beats is warned of; it ends without a trace in the rules.
    mia.post(
        "schedules/checkout/overrides/",
        {"user": "cyd", "starts_at": "2026-10-23T08:00", "ends_at": "2026-10-23T12:00"},
    )
    peak = {
        "name": "Black Friday", "starts_at": "2026-10-23T06:00", "ends_at": "2026-10-24T06:00",
        "shifts": [{"user": "bob", "starts_at": "2026-10-23T00:00", "ends_at": "2026-10-23T18:00"},
                   {"user": "ada", "starts_at": "2026-10-23T17:00", "ends_at": "2026-10-25T00:00"}],
    }  # fmt: skip
    planned = mia.post("schedules/checkout/temporary/", peak).json()
    assert [on_call(wall(f"2026-10-{at}")) for at in ("23 05:59", "23 09:00", "23 17:30", "24 05:00", "24 06:00")] == [
        ["Cyd"], ["Bob"], ["Bob", "Ada"], ["Ada"], ["Cyd"],
    ]  # fmt: skip
    assert [each["text"] for each in mia.get("schedules/checkout/warnings/").json()] == [
        "Black Friday beats the override for Cyd."
    ]
    assert mia.delete(f"schedules/checkout/temporary/{planned['id']}/").status_code == 204
    assert on_call(wall("2026-10-23 09:00")) == ["Cyd"]
    assert not TemporarySchedule.objects.exists()

    # 3. Ada asks Bob, Bob accepts, and only that time changes.
    swap = ada.post(
        "swaps/",
        {
            "schedule": "checkout",
            "asked": "bob",
            "starts_at": "2026-10-22T08:00",
            "ends_at": "2026-10-23T08:00",
        },
    ).json()
    assert on_call(wall("2026-10-22 09:00")) == ["Ada"]
    assert bob.post(f"swaps/{swap['id']}/accept/").json()["status"] == "accepted"
    assert [on_call(wall(f"2026-10-{day} 09:00")) for day in (21, 22, 24)] == [["Ada"], ["Bob"], ["Ada"]]
    assert [str(each.user) for each in Override.objects.exclude(swap=None)] == ["Bob"]
    assert mia.get("schedules/checkout/").json()["layers"] == layers
