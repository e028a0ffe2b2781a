from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from accounts.models import Role, Scope
from oncall.models import Layer, Override, Schedule
from tests.api.conftest import Api
from tests.factories.accounts import make_team, make_token, make_user
from tests.factories.oncall import make_layer, make_override, make_schedule

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)  # a Wednesday
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def ines():
    return make_user("ines", full_name="Ines Okafor", role=Role.MANAGER)


@pytest.fixture
def ravi():
    return make_user("ravi", full_name="Ravi Menon")


@pytest.fixture
def manager(ines) -> Api:
    return Api(make_token(ines))


@pytest.fixture
def responder(ravi) -> Api:
    return Api(make_token(ravi))


def body(**changes) -> dict:
    layer = {"starts_at": "2026-06-01T08:00", "people": ["ines", "ravi"]}
    return {"name": "Checkout", "time_zone": "Europe/Berlin", "layers": [layer]} | changes


def error(response) -> dict:
    return response.json()["error"]


# --- reading ----------------------------------------------------------------------------------------


def test_on_call_says_who_until_when_and_who_is_next(responder, ines, ravi):
    schedule = make_schedule("Checkout", people=[ines, ravi])  # weekly, Mondays 08:00 UTC
    make_override(schedule, user=ravi, starts_at=NOW - HOUR, ends_at=NOW + HOUR)

    now = responder.get("schedules/checkout/on-call/").json()
    later = responder.get(f"schedules/{schedule.pk}/on-call/?at=2026-06-10T15:00:00+02:00").json()

    assert now["schedule"] == {"id": schedule.pk, "slug": "checkout", "name": "Checkout"}
    assert [person["username"] for person in now["people"]] == ["ravi"]
    assert [person["username"] for person in now["instead_of"]] == ["ines"]
    assert (now["at"], now["until"]) == ("2026-06-10T12:00:00Z", "2026-06-10T13:00:00Z")
    assert (now["next"]["starts_at"], now["next"]["people"][0]["username"]) == (
        "2026-06-10T13:00:00Z",
        "ines",
    )
    assert (later["at"], later["people"][0]["name"]) == ("2026-06-10T13:00:00Z", "Ines Okafor")
    assert (later["until"], later["instead_of"], later["gaps"]) == ("2026-06-15T08:00:00Z", [], [])


def test_nobody_on_call_is_an_empty_list_and_a_gap(responder):
    make_schedule("Empty")

    answer = responder.get("schedules/empty/on-call/").json()

    assert (answer["people"], answer["until"], answer["next"]) == ([], None, None)
    assert answer["gaps"] == [{"starts_at": "2026-06-10T12:00:00Z", "ends_at": "2026-07-10T12:00:00Z"}]


@pytest.mark.parametrize(
    ("at", "sentence"),
    [
        ("tomorrow", "A time in ISO 8601."),
        ("2026-06-10T12:00", "Add the offset."),
        ("2026-02-30T12:00:00Z", "A time in ISO 8601."),
        ("9999-12-31T23:59:59-12:00", "A time between 2000 and 2100."),
        ("0001-01-01T00:00:00+14:00", "A time between 2000 and 2100."),
        ("2026-06-10", "Add the offset."),
        ("2026" * 30, "A time in ISO 8601."),
    ],
)
def test_time_that_cannot_be_read_is_refused(responder, at, sentence):
    make_schedule("Empty")

    response = responder.get(f"schedules/empty/on-call/?at={at}")

    assert response.status_code == 400
    assert error(response)["fields"]["at"][0].startswith(sentence)


def test_misspelt_parameter_is_refused(responder):
    make_schedule("Empty")

    assert responder.get("schedules/empty/on-call/?when=2026-06-10T12:00Z").status_code == 400
    assert responder.get("schedules/?q=x").status_code == 400


def test_shifts_are_the_final_schedule_without_holes(responder, ines, ravi):
    make_schedule("Checkout", people=[ines, ravi])

    address = "schedules/checkout/shifts/?start=2026-06-14T08:00:00Z&end=2026-06-16T08:00:00Z"
    assert [
        (shift["starts_at"], shift["ends_at"], shift["people"][0]["username"])
        for shift in responder.get(address).json()
    ] == [
        ("2026-06-14T08:00:00Z", "2026-06-15T08:00:00Z", "ines"),
        ("2026-06-15T08:00:00Z", "2026-06-16T08:00:00Z", "ravi"),
    ]
    for wrong in ("2026-06-14T08:00:00Z", "2027-06-16T08:00:00Z"):
        response = responder.get(f"schedules/checkout/shifts/?start=2026-06-14T08:00:00Z&end={wrong}")
        assert (response.status_code, list(error(response)["fields"])) == (400, ["end"])


def test_list_pages_and_filters_in_a_constant_number_of_queries(
    responder, ines, ravi, django_assert_num_queries
):
    for number in range(4):
        make_schedule(f"Checkout {number}", people=[ines, ravi], team=make_team(f"Payments {number}"))
    make_schedule("Search")
    responder.get("schedules/")

    with django_assert_num_queries(5):  # token, schedules with team, layers, members with people, fillers
        first = responder.get("schedules/?limit=3").json()
    following = responder.get(first["next"]).json()

    assert [row["name"] for row in first["results"]] == ["Checkout 0", "Checkout 1", "Checkout 2"]
    assert [row["name"] for row in following["results"]] == ["Checkout 3", "Search"]
    assert following["next"] is None
    assert [row["name"] for row in responder.get("schedules/?search=sear").json()["results"]] == ["Search"]
    assert [row["slug"] for row in responder.get("schedules/?team=payments-2").json()["results"]] == [
        "checkout-2"
    ]


def test_on_call_costs_a_constant_number_of_queries(responder, ines, ravi, django_assert_num_queries):
    schedule = make_schedule("Checkout", people=[ines, ravi])
    for _ in range(3):
        make_layer(schedule, people=[ravi, ines])
    responder.get("schedules/")

    # token, schedule, layers, members, fillers; members and overrides for the rules
    with django_assert_num_queries(7):
        responder.get("schedules/checkout/on-call/")


@pytest.mark.parametrize("ref", ["nothing", "999", "9" * 40, "%00", "a%20b"])
def test_schedule_that_is_not_there(responder, ref):
    for path in ("", "on-call/", "shifts/", "overrides/"):
        response = responder.get(f"schedules/{ref}/{path}")
        assert (response.status_code, error(response)["code"]) == (404, "not_found")


# --- writing ----------------------------------------------------------------------------------------


def test_manager_creates_a_schedule_whose_times_are_wall_clock_in_its_zone(manager, ines, ravi):
    make_team("Payments")
    nights = [{"days": [0, 4], "start": "18:00", "end": "08:00"}]

    response = manager.post("schedules/", body(
        team="payments", description="Cards",
        layers=[
            {"starts_at": "2026-06-01T08:00", "people": ["ines", ravi.pk], "turn_unit": "days", "turn_length": 2},
            {"starts_at": "2026-06-01T08:00:00+00:00", "people": ["RAVI"], "restrictions": nights,
             "ends_at": "2026-10-25T02:30", "name": "Nights"},
        ],
    ))  # fmt: skip

    assert response.status_code == 201
    made = response.json()
    assert (made["slug"], made["team"]["slug"], made["time_zone"]) == (
        "checkout",
        "payments",
        "Europe/Berlin",
    )
    first, second = made["layers"]
    assert (first["starts_at"], first["turn_unit"], first["turn_length"]) == (
        "2026-06-01T06:00:00Z",
        "days",
        2,
    )
    assert [person["username"] for person in first["people"]] == ["ines", "ravi"]
    # An end in the repeated hour is its last occurrence.
    assert (second["starts_at"], second["ends_at"]) == ("2026-06-01T08:00:00Z", "2026-10-25T01:30:00Z")
    assert second["restrictions"] == nights
    assert manager.get("schedules/checkout/").json() == made


def test_put_replaces_the_schedule_from_now_on(manager, ines, ravi):
    made = manager.post("schedules/", body()).json()
    layer = made["layers"][0]

    changed = manager.put(
        "schedules/checkout/",
        body(name="Checkout primary", layers=[
            {"id": layer["id"], "starts_at": layer["starts_at"], "people": ["ravi"]}]),
    ).json()  # fmt: skip

    assert (changed["id"], changed["slug"], changed["name"]) == (made["id"], "checkout", "Checkout primary")
    assert changed["layers"][0]["id"] != layer["id"]
    stale = manager.put("schedules/checkout/", body(layers=made["layers"] and [
        {"id": layer["id"], "starts_at": layer["starts_at"], "people": ["ines"]}]))  # fmt: skip
    assert (stale.status_code, error(stale)["code"]) == (409, "conflict")
    assert [row["username"] for row in manager.get("schedules/checkout/").json()["layers"][0]["people"]] == [
        "ravi"
    ]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"layers": []}, "layers"),
        ({"layers": [{"starts_at": "2026-06-01T08:00", "people": []}]}, "layers.0.people"),
        ({"layers": [{"starts_at": "2026-06-01T08:00", "people": ["nobody"]}]}, "layers.0.people.0"),
        ({"layers": [{"starts_at": "2026-06-01T08:00", "people": [10**30]}]}, "layers.0.people.0"),
        ({"layers": [{"starts_at": "2026-06-01T08:00", "people": "ines"}]}, "layers.0.people"),
        ({"layers": [{"starts_at": "soon", "people": ["ines"]}]}, "layers.0.starts_at"),
        ({"layers": [{"starts_at": 5, "people": ["ines"]}]}, "layers.0.starts_at"),
        ({"layers": [{"people": ["ines"]}]}, "layers.0.starts_at"),
        ({"layers": [{"starts_at": "2026-06-01T08:00", "people": ["ines"], "turn_length": 0}]},
         "layers.0.turn_length"),
        ({"layers": [{"starts_at": "2026-06-01T08:00", "people": ["ines"], "turn_length": "2"}]},
         "layers.0.turn_length"),
        ({"layers": [{"starts_at": "2026-06-01T08:00", "people": ["ines"], "turn_unit": "moons"}]},
         "layers.0.turn_unit"),
        ({"layers": [{"starts_at": "2026-06-01T08:00", "people": ["ines"], "people_at_once": 2}]},
         "layers.0.people_at_once"),
        ({"layers": [{"starts_at": "2026-06-01T08:00", "people": ["ines"], "ends_at": "2026-06-01T08:00"}]},
         "layers.0.ends_at"),
        ({"layers": [{"starts_at": "2026-06-01T08:00", "people": ["ines"], "until": "x"}]}, "layers.0.until"),
        ({"layers": [{"starts_at": "2026-06-01T08:00", "people": ["ines"], "restrictions": [
            {"days": [1], "start": "25:00", "end": "08:00"}]}]}, "layers.0.restrictions"),
        ({"layers": [{"starts_at": "2026-06-01T08:00", "people": ["ines"], "restrictions": [{"days": [8]}]}]},
         "layers.0.restrictions.0.days.0"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"time_zone": 1}, "time_zone"),
        ({"name": ""}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"name": None}, "name"),
        ({"team": "nobody"}, "team"),
        ({"color": "red"}, "color"),
    ],
)  # fmt: skip
def test_schedule_that_cannot_work_is_refused_by_field_and_nothing_is_stored(manager, changes, key):
    response = manager.post("schedules/", body(**changes))

    assert response.status_code == 400
    assert key in error(response)["fields"]
    assert not Schedule.objects.exists()


def test_refused_put_changes_nothing(manager, ines):
    make_schedule("Checkout", people=[ines])

    response = manager.put("schedules/checkout/", body(name="Renamed", layers=[]))

    assert response.status_code == 400
    assert Schedule.objects.get().name == "Checkout"
    assert Layer.objects.get().superseded_at is None


def test_name_that_is_taken_is_refused(manager, ines, ravi):
    make_schedule("checkout")

    response = manager.post("schedules/", body())

    assert error(response)["fields"] == {"name": ["There is already a schedule called Checkout."]}
    assert Schedule.objects.count() == 1


def test_schedules_are_read_by_all_and_written_by_managers(responder, ines, ravi):
    schedule = make_schedule("Checkout", people=[ines])
    viewer = Api(make_token(make_user("vera", role=Role.VIEWER)))
    read_only = Api(make_token(ines, scope=Scope.READ))

    assert Api().get("schedules/").status_code == 401
    assert Api().get("schedules/checkout/on-call/").status_code == 401
    assert viewer.get("schedules/checkout/on-call/").status_code == 200
    for stranger in (viewer, responder, read_only):
        assert stranger.post("schedules/", body(name="Mine")).status_code == 403
        assert stranger.put("schedules/checkout/", body(name="Mine")).status_code == 403
        assert stranger.delete("schedules/checkout/").status_code == 403
    assert viewer.post("schedules/checkout/overrides/", {}).status_code == 403
    assert list(Schedule.objects.values_list("name", flat=True)) == ["Checkout"]
    assert schedule.layers.get().superseded_at is None


def test_manager_deletes_a_schedule_that_no_policy_pages(manager, ines):
    make_schedule("Checkout", people=[ines])

    assert manager.delete("schedules/checkout/").status_code == 204
    assert not Schedule.objects.exists()


# --- overrides --------------------------------------------------------------------------------------


def test_responder_takes_a_shift_and_gives_it_back(responder, ines, ravi):
    schedule = make_schedule("Checkout", people=[ines], time_zone="Europe/Berlin")

    made = responder.post(
        "schedules/checkout/overrides/",
        {"starts_at": "2026-06-10T16:00", "ends_at": "2026-06-10T18:00", "reason": "Dentist"},
    )

    assert made.status_code == 201
    assert (made.json()["user"]["username"], made.json()["created_by"]["username"]) == ("ravi", "ravi")
    assert (made.json()["starts_at"], made.json()["ends_at"]) == (
        "2026-06-10T14:00:00Z",
        "2026-06-10T16:00:00Z",
    )
    listed = responder.get("schedules/checkout/overrides/").json()["results"]
    assert [row["reason"] for row in listed] == ["Dentist"]

    other = make_schedule("Search")
    number = made.json()["id"]
    assert responder.delete(f"schedules/{other.pk}/overrides/{number}/").status_code == 404
    assert responder.delete(f"schedules/{schedule.pk}/overrides/{number}/").status_code == 204
    assert responder.delete(f"schedules/{schedule.pk}/overrides/{number}/").status_code == 404
    assert not Override.objects.exists()


def test_the_same_key_adds_one_override(responder, ines):
    make_schedule("Checkout", people=[ines])
    wanted = {"starts_at": "2026-06-10T16:00", "ends_at": "2026-06-10T18:00"}

    first = responder.post("schedules/checkout/overrides/", wanted, Idempotency_Key="k1")
    again = responder.post("schedules/checkout/overrides/", wanted, Idempotency_Key="k1")

    assert first.json() == again.json()
    assert Override.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "status", "key"),
    [
        ({"user": "ines"}, 403, None),
        ({"user": "nobody"}, 400, "user"),
        ({"ends_at": "2026-06-10T16:00"}, 400, "ends_at"),
        ({"starts_at": "2026-06-09T10:00", "ends_at": "2026-06-10T11:59"}, 400, "ends_at"),
        ({"starts_at": None}, 400, "starts_at"),
        ({"reason": "x" * 201}, 400, "reason"),
        ({"reason": "a\u0000b"}, 400, None),
        ({"shift": 1}, 400, "shift"),
    ],
)
def test_override_that_cannot_be_is_refused_and_nothing_is_stored(responder, ines, changes, status, key):
    make_schedule("Checkout", people=[ines])
    wanted = {"starts_at": "2026-06-10T16:00", "ends_at": "2026-06-10T18:00"} | changes

    response = responder.post("schedules/checkout/overrides/", wanted)

    assert response.status_code == status
    assert key is None or key in error(response)["fields"]
    assert not Override.objects.exists()


def test_manager_puts_somebody_on_call_and_ends_what_runs(manager, responder, ravi):
    schedule = make_schedule("Checkout")
    made = manager.post(
        "schedules/checkout/overrides/",
        {"user": "ravi", "starts_at": "2026-06-10T12:00Z", "ends_at": "2026-06-10T18:00Z"},
    ).json()
    over = make_override(schedule, user=ravi, starts_at=NOW - 2 * HOUR, ends_at=NOW - HOUR)

    assert responder.get("schedules/checkout/on-call/").json()["people"][0]["username"] == "ravi"
    with time_machine.travel(NOW + HOUR, tick=False):
        assert manager.delete(f"schedules/checkout/overrides/{made['id']}/").status_code == 204
    assert manager.delete(f"schedules/checkout/overrides/{over.pk}/").status_code == 409

    assert Override.objects.get(pk=made["id"]).ends_at == NOW + HOUR
    since = responder.get("schedules/checkout/overrides/?since=2026-06-10T00:00:00Z").json()["results"]
    assert [row["id"] for row in since] == [made["id"], over.pk]
