import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from accounts.models import Role
from core.errors import Invalid, Missing, NotAllowed, Refused
from oncall import queries, transitions
from oncall.models import Layer, LayerMember, Override, Schedule
from oncall.transitions import LayerInput
from tests.factories.accounts import make_team, make_user
from tests.factories.oncall import FIRST_HANDOFF, make_override, make_schedule

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)  # a Wednesday
MONDAY = datetime(2026, 6, 1, 6, 0, tzinfo=UTC)  # 08:00 in Berlin
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def manager():
    return make_user("manager", role=Role.MANAGER)


@pytest.fixture
def ines():
    return make_user("ines", full_name="Ines Okafor")


@pytest.fixture
def ravi():
    return make_user("ravi", full_name="Ravi Menon")


def wanted(*people, **fields) -> LayerInput:
    fields.setdefault("starts_at", MONDAY)
    return LayerInput(people=people, **fields)


def create(by, *layers, **fields) -> Schedule:
    fields = {"name": "Checkout", "time_zone": "Europe/Berlin"} | fields
    return transitions.create_schedule(layers=layers, by=by, now=NOW, **fields)


def as_it_is(layer: Layer, **changes) -> LayerInput:
    fields = {
        "id": layer.pk,
        "name": layer.name,
        "starts_at": layer.starts_at,
        "ends_at": layer.ends_at,
        "turn_unit": layer.turn_unit,
        "turn_length": layer.turn_length,
        "people_at_once": layer.people_at_once,
        "restrictions": layer.restrictions,
        "people": [member.user for member in layer.members.all()],
    }
    return LayerInput(**(fields | changes))


def update(by, schedule, *layers, **fields) -> Schedule:
    fields = {"name": schedule.name, "time_zone": schedule.time_zone, "now": NOW + DAY} | fields
    return transitions.update_schedule(schedule_id=schedule.pk, layers=layers, by=by, **fields)


def who(schedule, at):
    return queries.on_call([schedule.pk], at)[schedule.pk]


# --- creating ---------------------------------------------------------------------------------------


def test_created_schedule_puts_its_people_on_call_from_now(manager, ines, ravi):
    nights = [{"days": [0, 1, 2, 3, 4], "start": "18:00", "end": "08:00"}]
    team = make_team("Payments")

    schedule = create(
        manager, wanted(ines, ravi), wanted(ravi, name="Nights", restrictions=nights),
        name="  Checkout primary ", team=team, description="Cards and carts",
    )  # fmt: skip

    assert (schedule.name, schedule.slug, schedule.team) == ("Checkout primary", "checkout-primary", team)
    first, second = schedule.layers.order_by("position")
    assert (first.position, second.position, second.name) == (0, 1, "Nights")
    assert second.restrictions == nights
    assert who(schedule, NOW) == [ravi]  # the second week
    assert who(schedule, NOW + 6 * DAY) == [ines]
    assert who(schedule, NOW + 6 * DAY + 8 * HOUR) == [ravi]  # 22:00 in Berlin: nights win
    assert who(schedule, NOW - HOUR) == []  # before it existed nobody was on call


def test_two_schedules_whose_names_look_alike_get_two_slugs(manager, ines):
    assert create(manager, wanted(ines), name="Checkout!").slug == "checkout"
    assert create(manager, wanted(ines), name="Checkout?").slug == "checkout-2"
    assert create(manager, wanted(ines), name="当番").slug == "schedule"
    assert create(manager, wanted(ines), name="New").slug == "schedule-new"
    assert create(manager, wanted(ines), name="42").slug == "schedule-42"


REFUSED = [
    ({"name": "  "}, {}, "name", "A schedule needs a name."),
    ({"name": "CHECKOUT OLD"}, {}, "name", "There is already a schedule called CHECKOUT OLD."),
    ({"time_zone": "Europe/Berlinn"}, {}, "time_zone", "'Europe/Berlinn' is not a time zone."),
    ({"time_zone": ""}, {}, "time_zone", "'' is not a time zone."),
    ({"time_zone": "../etc/passwd"}, {}, "time_zone", "'../etc/passwd' is not a time zone."),
    ({}, {"people": ()}, "layers.0.people", "Nobody is in this rotation."),
    ({}, {"people_at_once": 2}, "layers.0.people_at_once", "2 people at a time need at least as many"),
    ({}, {"people_at_once": 0}, "layers.0.people_at_once", "At least one person is on call"),
    ({}, {"turn_length": 0}, "layers.0.turn_length", "A turn lasts from 1 to 366 weeks."),
    ({}, {"turn_length": 367, "turn_unit": "hours"}, "layers.0.turn_length", "A turn lasts from 1 to 366 hours."),
    ({}, {"turn_unit": "moons"}, "layers.0.turn_unit", "A turn is counted in hours, days, weeks, custom."),
    ({}, {"ends_at": MONDAY}, "layers.0.ends_at", "It ends before it starts."),
    ({}, {"ends_at": MONDAY - HOUR}, "layers.0.ends_at", "It ends before it starts."),
    ({}, {"starts_at": datetime(1999, 1, 1, tzinfo=UTC)}, "layers.0.starts_at", "The start lies between"),
    ({}, {"ends_at": datetime(9999, 1, 1, tzinfo=UTC)}, "layers.0.ends_at", "The end lies between"),
    ({}, {"restrictions": [{"days": [9]}]}, "layers.0.restrictions", "Window 1 needs at least one day"),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "layer", "key", "sentence"), REFUSED)
def test_schedule_that_cannot_work_is_refused_with_a_sentence_and_nothing_is_stored(
    manager, ines, schedule, layer, key, sentence
):
    make_schedule("Checkout old")

    with pytest.raises(Invalid) as refusal:
        create(manager, LayerInput(**({"starts_at": MONDAY, "people": (ines,)} | layer)), **schedule)

    assert list(refusal.value.fields) == [key]
    assert refusal.value.fields[key][0].startswith(sentence)
    assert Schedule.objects.count() == 1
    assert not Layer.objects.exists()


def test_schedule_without_layers_is_refused(manager):
    with pytest.raises(Invalid) as refusal:
        create(manager)

    assert refusal.value.fields == {
        "layers": ["A schedule needs at least one layer with people, or it pages nobody."]
    }
    assert not Schedule.objects.exists()


def test_everything_that_is_wrong_is_said_at_once(manager, ines):
    with pytest.raises(Invalid) as refusal:
        create(manager, wanted(ines), wanted(turn_length=0), name="", time_zone="Mars/Olympus")

    assert set(refusal.value.fields) == {"name", "time_zone", "layers.1.people", "layers.1.turn_length"}


def test_person_who_is_switched_off_cannot_be_put_on_call(manager):
    gone = make_user("gone", full_name="Gone Girl", is_active=False)

    with pytest.raises(Invalid) as refusal:
        create(manager, wanted(gone))

    assert refusal.value.message == "Gone Girl cannot be on call: the account is switched off."
    assert not Schedule.objects.exists()


def test_same_person_twice_is_a_double_share_but_not_with_two_at_a_time(manager, ines, ravi):
    schedule = create(manager, wanted(ines, ines, ravi))
    assert [who(schedule, NOW + week * 7 * DAY)[0].username for week in range(3)] == ["ines", "ravi", "ines"]

    with pytest.raises(Invalid) as refusal:
        create(manager, wanted(ines, ines, ravi, people_at_once=2), name="Other")
    assert list(refusal.value.fields) == ["layers.0.people"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.RESPONDER])
def test_schedules_are_for_managers(role, ines):
    stranger = make_user("stranger", role=role)
    schedule = make_schedule(people=[ines])

    with pytest.raises(NotAllowed):
        create(stranger, wanted(ines))
    with pytest.raises(NotAllowed):
        update(stranger, schedule, wanted(stranger))
    with pytest.raises(NotAllowed):
        transitions.delete_schedule(schedule_id=schedule.pk, by=stranger)

    assert Schedule.objects.get() == schedule
    assert who(schedule, NOW) == [ines]


# --- editing ----------------------------------------------------------------------------------------


def test_edit_changes_who_is_on_call_from_now_and_never_before(manager, ines, ravi):
    schedule = create(manager, wanted(ines))
    layer = schedule.layers.get()

    update(manager, schedule, as_it_is(layer, people=[ravi]))

    assert who(schedule, NOW + DAY - HOUR) == [ines]
    assert who(schedule, NOW + DAY) == [ravi]
    assert queries.current_layers().get().position == 0


def test_saving_what_is_there_already_replaces_nothing(manager, ines, ravi):
    schedule = create(manager, wanted(ines, ravi, name="Weekly"))
    layer = schedule.layers.get()

    update(manager, schedule, as_it_is(layer, name="Weekly rota"), name="Checkout one", description="New")

    schedule.refresh_from_db()
    assert (schedule.name, schedule.slug, schedule.description) == ("Checkout one", "checkout", "New")
    assert [(row.pk, row.name, row.superseded_at) for row in Layer.objects.all()] == [
        (layer.pk, "Weekly rota", None)
    ]


def test_layer_that_is_left_out_ends_now(manager, ines, ravi):
    schedule = create(manager, wanted(ines), wanted(ravi))
    below, above = schedule.layers.order_by("position")

    update(manager, schedule, as_it_is(below))

    above.refresh_from_db()
    assert above.superseded_at == NOW + DAY
    assert (who(schedule, NOW), who(schedule, NOW + DAY)) == ([ravi], [ines])


def test_layer_that_never_counted_leaves_no_trace_when_it_changes(manager, ines, ravi):
    schedule = create(manager, wanted(ines), wanted(ravi, starts_at=NOW + 30 * DAY))
    below, ahead = schedule.layers.order_by("position")

    update(manager, schedule, as_it_is(below), as_it_is(ahead, turn_length=2))

    assert not Layer.objects.filter(pk=ahead.pk).exists()
    assert [layer.turn_length for layer in queries.current_layers().order_by("position")] == [1, 2]


def test_layers_can_change_places(manager, ines, ravi):
    schedule = create(manager, wanted(ines), wanted(ravi))
    below, above = schedule.layers.order_by("position")

    update(manager, schedule, as_it_is(above), as_it_is(below))

    assert (who(schedule, NOW), who(schedule, NOW + DAY)) == ([ravi], [ines])


def test_move_to_another_zone_keeps_the_past_in_the_old_one(manager, ines, ravi):
    daily = wanted(ines, ravi, turn_unit="days", starts_at=datetime(2026, 6, 1, 12, 0, tzinfo=UTC))
    schedule = create(manager, daily, time_zone="America/New_York")  # at 08:00 there
    layer = schedule.layers.get()
    # The week in which New York has set its clocks back and Berlin a week before: 08:00 is 13:00 UTC.
    november = datetime(2026, 11, 4, 12, 30, tzinfo=UTC)
    before = who(schedule, november)
    assert before != who(schedule, november + HOUR)

    update(manager, schedule, as_it_is(layer), time_zone="UTC", now=november + DAY)

    layer.refresh_from_db()
    assert (layer.time_zone, layer.superseded_at) == ("America/New_York", november + DAY)
    assert who(schedule, november) == before
    assert who(schedule, november + HOUR) != before
    assert who(schedule, november + 2 * DAY - HOUR) != who(schedule, november + 2 * DAY)  # now at 12:00 UTC


def test_edit_of_a_layer_that_somebody_replaced_meanwhile_is_refused(manager, ines, ravi):
    schedule = create(manager, wanted(ines))
    stale = as_it_is(schedule.layers.get())
    update(manager, schedule, as_it_is(schedule.layers.get(), people=[ravi]))

    with pytest.raises(Refused) as refusal:
        update(manager, schedule, stale, now=NOW + 2 * DAY)

    assert refusal.value.message.startswith("Somebody changed the layers meanwhile.")
    assert who(schedule, NOW + 2 * DAY) == [ravi]


def test_refused_edit_changes_nothing(manager, ines, ravi):
    other = make_schedule("Search")
    schedule = create(manager, wanted(ines))
    layer = schedule.layers.get()

    with pytest.raises(Invalid):
        update(manager, schedule, as_it_is(layer, people=[ravi]), name="search")
    with pytest.raises(Invalid):
        update(manager, schedule, as_it_is(layer, people=[]), name="Renamed")
    with pytest.raises(Invalid):
        update(manager, schedule, as_it_is(layer), as_it_is(layer))
    with pytest.raises(Missing):
        transitions.update_schedule(
            schedule_id=999, name="X", time_zone="UTC", layers=[wanted(ines)], by=manager, now=NOW
        )

    schedule.refresh_from_db()
    assert (schedule.name, other.name) == ("Checkout", "Search")
    assert [row.superseded_at for row in Layer.objects.all()] == [None]
    assert LayerMember.objects.get().user == ines


def test_deleted_schedule_takes_its_layers_along(manager, ines):
    schedule = create(manager, wanted(ines))

    transitions.delete_schedule(schedule_id=schedule.pk, by=manager)

    assert not Layer.objects.exists()


# --- overrides --------------------------------------------------------------------------------------


def cover(schedule, user, by, *, starts_at=NOW + HOUR, ends_at=NOW + 3 * HOUR, **fields) -> Override:
    return transitions.add_override(
        schedule_id=schedule.pk, user=user, starts_at=starts_at, ends_at=ends_at, by=by, now=NOW, **fields
    )


def test_responder_covers_a_shift(ines, ravi):
    schedule = make_schedule(people=[ines])

    override = cover(schedule, ravi, ravi, reason=" Dentist ")

    assert (override.user, override.created_by, override.reason) == (ravi, ravi, "Dentist")
    assert who(schedule, NOW) == [ines]
    assert who(schedule, NOW + HOUR) == [ravi]
    assert who(schedule, NOW + 3 * HOUR) == [ines]


def test_responder_may_not_put_somebody_else_on_call(ines, ravi, manager):
    schedule = make_schedule(people=[ines])
    viewer = make_user("viewer", role=Role.VIEWER)

    with pytest.raises(NotAllowed) as refusal:
        cover(schedule, ines, ravi)
    with pytest.raises(NotAllowed):
        cover(schedule, viewer, viewer)

    assert refusal.value.message == "You may put yourself on call. Managers may put others."
    assert not Override.objects.exists()
    assert cover(schedule, ines, manager).user == ines


@pytest.mark.parametrize(
    ("times", "key", "sentence"),
    [
        ({"starts_at": NOW + HOUR, "ends_at": NOW + HOUR}, "ends_at", "It ends before it starts."),
        ({"starts_at": NOW + 2 * HOUR, "ends_at": NOW + HOUR}, "ends_at", "It ends before it starts."),
        ({"starts_at": NOW - 2 * HOUR, "ends_at": NOW - HOUR}, "ends_at", "This time is over."),
        ({"starts_at": NOW - 2 * HOUR, "ends_at": NOW}, "ends_at", "This time is over."),
        ({"starts_at": NOW, "ends_at": datetime(3000, 1, 1, tzinfo=UTC)}, "ends_at", "The end lies between"),
    ],
)
def test_override_with_impossible_times_is_refused(ines, times, key, sentence):
    schedule = make_schedule(people=[ines])

    with pytest.raises(Invalid) as refusal:
        cover(schedule, ines, ines, **times)

    assert refusal.value.fields[key][0].startswith(sentence)
    assert not Override.objects.exists()


def test_override_for_a_person_who_is_switched_off_is_refused(manager):
    schedule = make_schedule()
    gone = make_user("gone", is_active=False)

    with pytest.raises(Invalid):
        cover(schedule, gone, manager)

    assert not Override.objects.exists()


def test_override_of_a_schedule_that_is_not_there(ines):
    with pytest.raises(Missing):
        transitions.add_override(
            schedule_id=999, user=ines, starts_at=NOW, ends_at=NOW + HOUR, by=ines, now=NOW
        )


def test_override_that_began_in_the_past_begins_now(ines, ravi):
    schedule = make_schedule(people=[ines])

    override = cover(schedule, ravi, ravi, starts_at=NOW - HOUR)

    assert override.starts_at == NOW
    assert who(schedule, NOW - timedelta(minutes=1)) == [ines]


def test_override_ahead_goes_away_and_one_that_runs_ends_now(ines, ravi):
    schedule = make_schedule(people=[ines])
    ahead = cover(schedule, ravi, ravi)
    running = make_override(schedule, user=ravi, starts_at=NOW - HOUR, ends_at=NOW + HOUR)

    transitions.remove_override(override_id=ahead.pk, by=ravi, now=NOW)
    transitions.remove_override(override_id=running.pk, by=ravi, now=NOW)

    assert [(row.pk, row.ends_at) for row in Override.objects.all()] == [(running.pk, NOW)]
    assert (who(schedule, NOW - timedelta(minutes=1)), who(schedule, NOW)) == ([ravi], [ines])


def test_override_that_is_over_stays_on_record(manager, ines):
    schedule = make_schedule()
    over = make_override(schedule, user=ines, starts_at=NOW - 2 * HOUR, ends_at=NOW - HOUR)

    with pytest.raises(Refused):
        transitions.remove_override(override_id=over.pk, by=manager, now=NOW)
    with pytest.raises(Missing):
        transitions.remove_override(override_id=999, by=manager, now=NOW)

    assert Override.objects.get().ends_at == NOW - HOUR


def test_override_of_somebody_else_stays(manager, ines, ravi):
    schedule = make_schedule()
    theirs = cover(schedule, ines, manager)
    viewer = make_user("viewer", role=Role.VIEWER)

    for stranger in (ravi, viewer):
        with pytest.raises(NotAllowed):
            transitions.remove_override(override_id=theirs.pk, by=stranger, now=NOW)
    assert Override.objects.get() == theirs

    transitions.remove_override(override_id=theirs.pk, by=ines, now=NOW)
    assert not Override.objects.exists()


# --- at the same time -------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_two_edits_at_once_one_is_kept_and_the_other_is_told():
    """Both read the same layer, both want to replace it."""
    manager = make_user("manager", role=Role.MANAGER)
    people = [make_user("ines"), make_user("ravi")]
    schedule = make_schedule("Checkout", people=[make_user("dana")])
    layer = queries.current_layers().get()
    both_ready = threading.Barrier(2)
    results: list[str] = []

    def edit(user) -> None:
        wish = as_it_is(layer, people=[user])
        both_ready.wait()
        try:
            update(manager, schedule, wish, now=FIRST_HANDOFF + DAY)
            results.append("saved")
        except Refused:
            results.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=edit, args=(user,)) for user in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == ["refused", "saved"]
    assert queries.current_layers().count() == 1
    assert len(who(schedule, FIRST_HANDOFF + 2 * DAY)) == 1
