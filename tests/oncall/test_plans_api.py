"""Layers in depth, temporary schedules, swaps, calendars and the score, over the API."""

from datetime import UTC, datetime

import pytest
import time_machine

from accounts.models import Role
from oncall.models import CalendarFeed, Layer, Override, SwapRequest, TemporarySchedule
from tests.api.conftest import Api
from tests.factories.accounts import make_token, make_user
from tests.factories.oncall import make_schedule

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)  # a Wednesday


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def cast():
    return {
        "ines": make_user("ines", role=Role.MANAGER), "ravi": make_user("ravi"), "dana": make_user("dana"),
        "vera": make_user("vera", role=Role.VIEWER),
    }  # fmt: skip


def api(user) -> Api:
    return Api(make_token(user))


def body(**changes) -> dict:
    layers = [
        {
            "name": "Week and weekend", "starts_at": "2026-06-01T08:00", "people": ["ines", "ravi"],
            "turn_unit": "custom", "turns": [{"unit": "days", "length": 5}, {"unit": "days", "length": 2}],
        },
        {"name": "Learning", "starts_at": "2026-06-01T08:00", "people": ["dana"], "mode": "shadow"},
    ]  # fmt: skip
    return {
        "name": "Checkout", "time_zone": "Europe/Berlin", "filler": "dana", "notice_minutes": 90, "layers": layers,
    } | changes  # fmt: skip


def test_schedule_with_all_of_it_is_written_read_and_previewed(cast):
    manager = api(cast["ines"])
    made = manager.post("schedules/", body()).json()

    assert [(layer["mode"], layer["turn_unit"], layer["turns"]) for layer in made["layers"]] == [
        ("override", "custom", [{"unit": "days", "length": 5}, {"unit": "days", "length": 2}]),
        ("shadow", "weeks", []),
    ]
    assert (made["filler"]["username"], made["notice_minutes"], made["notice_at_start"]) == ("dana", 90, True)
    now = manager.get("schedules/checkout/on-call/").json()
    assert [[person["username"] for person in now[key]] for key in ("people", "shadows", "next_on_call")] == [
        ["ines"], ["dana"], ["ravi"],
    ]  # fmt: skip
    assert (now["until"], now["is_filled"]) == ("2026-06-13T06:00:00Z", False)

    layers = [layer | {"people": ["ravi", "ines"]} for layer in body()["layers"]]
    preview = manager.post("schedules/checkout/preview/", body(layers=layers)).json()
    assert preview["changed"][0] | {"before": 0, "after": 0} == {
        "starts_at": "2026-06-10T12:00:00Z", "ends_at": "2026-06-13T06:00:00Z", "before": 0, "after": 0,
    }  # fmt: skip
    assert [person["username"] for person in preview["changed"][0]["after"]] == ["ravi"]
    assert Layer.objects.filter(superseded_at=None).count() == 2
    assert manager.get("schedules/checkout/on-call/").json()["people"][0]["username"] == "ines"
    assert api(cast["ravi"]).post("schedules/checkout/preview/", body()).status_code == 403

    for changes, field in [
        ({"layers": [body()["layers"][0] | {"turns": []}]}, "layers.0.turns"),
        ({"layers": [body()["layers"][0] | {"mode": "loud"}]}, "layers.0.mode"),
        ({"filler": "nobody"}, "filler"),
        ({"notice_minutes": 99999}, "notice_minutes"),
    ]:
        answer = manager.post("schedules/", body(name="Other", **changes))
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, [field])


def test_overrides_of_each_kind_and_a_temporary_schedule(cast):
    schedule = make_schedule("Checkout", people=[cast["ines"], cast["ravi"]], time_zone="Europe/Berlin")
    manager, responder = api(cast["ines"]), api(cast["ravi"])
    span = {"starts_at": "2026-06-10T20:00", "ends_at": "2026-06-11T08:00"}

    added = manager.post("schedules/checkout/overrides/", {"user": "dana", "kind": "add", **span})
    assert (added.status_code, added.json()["kind"], added.json()["replaces"]) == (201, "add", None)
    replaced = responder.post("schedules/checkout/overrides/", {"replaces": "ines", **span}).json()
    assert replaced["replaces"]["username"] == "ines"
    assert responder.post("schedules/checkout/overrides/", {"kind": "remove", **span}).status_code == 403
    refused = manager.post(
        "schedules/checkout/overrides/", {"kind": "add", "replaces": "ines", "user": "dana", **span}
    )
    assert list(refused.json()["error"]["fields"]) == ["replaces"]
    assert Override.objects.count() == 2

    plan = {"name": "Peak", **span, "shifts": [{"user": "dana", **span}]}
    assert responder.post("schedules/checkout/temporary/", plan).status_code == 403
    made = manager.call("POST", "schedules/checkout/temporary/", plan, Idempotency_Key="peak")
    again = manager.call("POST", "schedules/checkout/temporary/", plan, Idempotency_Key="peak")
    assert (made.status_code, made.json()) == (201, again.json())
    assert made.json()["shifts"][0] == {
        "user": {"id": cast["dana"].pk, "username": "dana", "name": cast["dana"].full_name},
        "starts_at": "2026-06-10T18:00:00Z", "ends_at": "2026-06-11T06:00:00Z",
    }  # fmt: skip
    address = f"schedules/checkout/temporary/{made.json()['id']}/"
    put = manager.put(address, plan | {"name": "Black Friday"}).json()
    assert manager.get("schedules/checkout/temporary/").json()["results"] == [put]
    warned = manager.get("schedules/checkout/warnings/").json()
    assert [each["kind"] for each in warned] == ["override_beaten", "override_beaten", "override_covered"]
    assert manager.delete(address).status_code == 404
    assert manager.delete(f"schedules/checkout/temporary/{put['id']}/").status_code == 204
    assert not TemporarySchedule.objects.filter(schedule=schedule).exists()


def test_score_and_own_shifts(cast):
    make_schedule("Checkout", people=[cast["ines"], cast["ravi"]])
    viewer = api(cast["vera"])

    found = viewer.get("schedules/checkout/quality/?start=2026-06-15T08:00Z&end=2026-06-29T08:00Z").json()
    assert (found["score"], found["uncovered_hours"], [part["points"] for part in found["parts"]]) == (
        100, 0.0, [50, 25, 15, 10],
    )  # fmt: skip
    assert [(load["hours"], load["night_hours"], load["weekend_hours"]) for load in found["people"]] == [
        (168.0, 56.0, 48.0), (168.0, 56.0, 48.0),
    ]  # fmt: skip
    assert viewer.get("schedules/checkout/quality/?end=2030-01-01T00:00Z").status_code == 400
    shifts = api(cast["ravi"]).get("schedules/my-shifts/").json()
    assert [(each["schedule"]["slug"], each["starts_at"], each["shadow"]) for each in shifts] == [
        ("checkout", "2026-06-15T08:00:00Z", False), ("checkout", "2026-06-29T08:00:00Z", False),
    ]  # fmt: skip
    assert viewer.get("schedules/my-shifts/").json() == []


def test_swap_is_asked_answered_and_seen_by_the_two_only(cast):
    make_schedule("Checkout", people=[cast["ines"], cast["ravi"]], time_zone="Europe/Berlin")
    asks, answers, other = api(cast["ines"]), api(cast["ravi"]), api(cast["dana"])
    wanted = {
        "schedule": "checkout",
        "asked": "ravi",
        "starts_at": "2026-06-12T08:00",
        "ends_at": "2026-06-13T08:00",
    }

    made = asks.post("swaps/", wanted).json()
    assert (made["status"], made["starts_at"], made["expires_at"]) == (
        "pending", "2026-06-12T06:00:00Z", "2026-06-12T06:00:00Z",
    )  # fmt: skip
    assert asks.post("swaps/", wanted).json()["id"] == made["id"]
    address = f"swaps/{made['id']}/"
    assert other.get(address).status_code == other.post(f"{address}accept/").status_code == 404
    assert asks.post(f"{address}accept/").status_code == 403
    assert api(cast["vera"]).post("swaps/", wanted).status_code == 403
    assert [each["id"] for each in answers.get("swaps/?status=pending").json()["results"]] == [made["id"]]
    done = answers.post(f"{address}accept/", {"answer": "Gladly"}).json()
    assert (done["status"], done["answer"], answers.post(f"{address}accept/").status_code) == (
        "accepted",
        "Gladly",
        200,
    )
    assert asks.post(f"{address}withdraw/").status_code == 409
    assert SwapRequest.objects.count() == Override.objects.count() == 1


def test_calendar_addresses_are_ones_own_and_shown_once(cast):
    make_schedule("Checkout", people=[cast["ines"]])
    viewer, other = api(cast["vera"]), api(cast["ravi"])

    made = viewer.post("calendar-feeds/", {"schedule": "checkout"}).json()
    assert made["url"].endswith(".ics")
    assert made["hint"] in made["url"]
    listed = viewer.get("calendar-feeds/").json()["results"]
    assert [(each["id"], "url" in each) for each in listed] == [(made["id"], False)]
    assert other.get("calendar-feeds/").json()["results"] == []
    assert other.delete(f"calendar-feeds/{made['id']}/").status_code == 404
    assert viewer.client.get(made["url"]).status_code == 200
    assert viewer.delete(f"calendar-feeds/{made['id']}/").status_code == 204
    assert viewer.client.get(made["url"]).status_code == 404
    assert CalendarFeed.objects.get().revoked_at == NOW
