from datetime import UTC, datetime, timedelta

import pytest

from core.errors import Missing
from oncall import queries
from tests.factories.accounts import make_team, make_user
from tests.factories.oncall import make_layer, make_override, make_schedule

pytestmark = pytest.mark.django_db

# FIRST_HANDOFF of the factories is Monday 5 January 2026, 08:00 UTC.
TUESDAY = datetime(2026, 1, 6, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def spans(found):
    return [
        (f"{s.starts_at:%m-%d %H:%M}", f"{s.ends_at:%m-%d %H:%M}", [u.username for u in s.people])
        for s in found
    ]


@pytest.fixture
def cast():
    return make_user("ines"), make_user("ravi"), make_user("dana")


def test_on_call_answers_for_every_id_that_was_asked_for(cast):
    ines, ravi, dana = cast
    checkout = make_schedule("Checkout", people=[ines, ravi])
    search = make_schedule("Search", people=[dana, ines])
    empty = make_schedule("Nobody")

    assert queries.on_call([checkout.pk, search.pk, empty.pk, 999], TUESDAY) == {
        checkout.pk: [ines],
        search.pk: [dana],
        empty.pk: [],
        999: [],
    }
    assert queries.on_call([checkout.pk, search.pk], TUESDAY + 7 * DAY) == {
        checkout.pk: [ravi],
        search.pk: [ines],
    }


def test_on_call_needs_two_queries_for_any_number_of_schedules(cast, django_assert_num_queries):
    schedules = [make_schedule(people=cast) for _ in range(5)]
    for schedule in schedules:
        make_layer(schedule, people=cast)
        make_override(schedule, user=cast[2], starts_at=TUESDAY - HOUR, ends_at=TUESDAY + HOUR)

    with django_assert_num_queries(2):
        found = queries.on_call([schedule.pk for schedule in schedules], TUESDAY)
        assert {user.email for people in found.values() for user in people} == {"dana@example.org"}
    with django_assert_num_queries(0):
        assert queries.on_call([], TUESDAY) == {}


def test_override_begins_at_its_start_and_is_over_at_its_end(cast):
    ines, ravi, dana = cast
    schedule = make_schedule(people=[ines, ravi])
    make_override(schedule, user=dana, starts_at=TUESDAY, ends_at=TUESDAY + HOUR)

    def who(at):
        return queries.on_call([schedule.pk], at)[schedule.pk]

    assert who(TUESDAY - timedelta(microseconds=1)) == [ines]
    assert who(TUESDAY) == [dana]
    assert who(TUESDAY + HOUR - timedelta(microseconds=1)) == [dana]
    assert who(TUESDAY + HOUR) == [ines]


def test_override_without_any_layer_puts_somebody_on_call(cast):
    schedule = make_schedule()
    make_override(schedule, user=cast[2], starts_at=TUESDAY, ends_at=TUESDAY + HOUR)

    assert queries.on_call([schedule.pk], TUESDAY) == {schedule.pk: [cast[2]]}


def test_superseded_layer_counts_only_for_the_time_before(cast):
    ines, _ravi, dana = cast
    schedule = make_schedule(people=[ines])
    schedule.layers.update(superseded_at=TUESDAY)
    make_layer(schedule, people=[dana], effective_from=TUESDAY)

    assert queries.on_call([schedule.pk], TUESDAY - HOUR) == {schedule.pk: [ines]}
    assert queries.on_call([schedule.pk], TUESDAY) == {schedule.pk: [dana]}


def test_person_who_is_switched_off_is_not_on_call(cast):
    ines, ravi, _dana = cast
    schedule = make_schedule(people=[ravi])
    make_layer(schedule, people=[ines])
    ines.is_active = False
    ines.save(update_fields=["is_active"])

    assert queries.on_call([schedule.pk], TUESDAY) == {schedule.pk: [ravi]}


def test_spoilt_row_does_not_stop_paging(cast, caplog):
    schedule = make_schedule(people=[cast[0]], time_zone="Mars/Olympus")
    schedule.layers.update(restrictions=[{"days": "all"}])

    assert queries.on_call([schedule.pk], TUESDAY) == {schedule.pk: [cast[0]]}
    assert "unknown zone 'Mars/Olympus', UTC is used" in caplog.text
    assert "Window 1 needs at least one day" in caplog.text


def test_standing_says_until_when_who_is_next_and_whom_an_override_replaces(cast, django_assert_num_queries):
    ines, ravi, dana = cast
    schedule = make_schedule(people=[ines, ravi])
    make_override(schedule, user=dana, starts_at=TUESDAY - HOUR, ends_at=TUESDAY + HOUR)
    other = make_schedule(people=[dana])

    with django_assert_num_queries(2):
        covered, alone = queries.standings([schedule, other], TUESDAY)

    assert (covered.people, covered.instead_of, covered.until) == ([dana], [ines], TUESDAY + HOUR)
    assert (covered.next.people, covered.gaps) == ([ines], [])
    assert (alone.people, alone.instead_of, alone.until, alone.next) == ([dana], [], None, None)


def test_next_handoff_is_a_gap_where_the_rotation_ends(cast):
    schedule = make_schedule(people=[cast[0]])
    schedule.layers.update(ends_at=TUESDAY + DAY)

    following = queries.next_handoff(schedule, TUESDAY)

    assert (following.starts_at, following.is_gap) == (TUESDAY + DAY, True)


def test_gaps_are_found_30_days_ahead_and_no_further(cast):
    schedule = make_schedule(people=[cast[0]])
    schedule.layers.update(ends_at=TUESDAY + 29 * DAY)
    make_override(schedule, user=cast[1], starts_at=TUESDAY + 29 * DAY, ends_at=TUESDAY + 29 * DAY + HOUR)

    assert spans(queries.gaps(schedule, TUESDAY)) == [("02-04 13:00", "02-05 12:00", [])]
    assert spans(queries.standings([schedule], TUESDAY)[0].gaps) == [("02-04 13:00", "02-05 12:00", [])]
    assert queries.gaps(schedule, TUESDAY, days=28) == []


def test_schedule_without_people_is_one_gap():
    schedule = make_schedule()

    assert spans(queries.gaps(schedule, TUESDAY, days=1)) == [("01-06 12:00", "01-07 12:00", [])]


def test_calendar_has_a_row_for_each_layer_and_what_comes_out(cast, django_assert_num_queries):
    ines, ravi, dana = cast
    schedule = make_schedule(people=[ines, ravi])
    make_layer(
        schedule, people=[dana], name="Weekend",
        restrictions=[{"days": [5, 6], "start": "00:00", "end": "00:00"}],
    )  # fmt: skip
    start = datetime(2026, 1, 9, 0, 0, tzinfo=UTC)  # a Friday
    make_override(schedule, user=ravi, starts_at=start + HOUR, ends_at=start + 2 * HOUR)

    with django_assert_num_queries(3):
        calendar = queries.calendar(schedule, start, start + 4 * DAY)

    assert [(row.name, spans(row.spans)) for row in calendar.layers] == [
        ("Layer 1", [("01-09 00:00", "01-12 08:00", ["ines"]), ("01-12 08:00", "01-13 00:00", ["ravi"])]),
        (
            "Weekend",
            [
                ("01-09 00:00", "01-10 00:00", []),
                ("01-10 00:00", "01-12 00:00", ["dana"]),
                ("01-12 00:00", "01-13 00:00", []),
            ],
        ),
    ]
    assert [s.people for s in calendar.overrides.spans] == [[], [ravi], []]
    assert [s.people for s in calendar.final] == [[ines], [ravi], [ines], [dana], [ines], [ravi]]
    assert calendar.gaps == []


def test_edited_layer_is_one_row_of_the_calendar(cast):
    ines, _ravi, dana = cast
    schedule = make_schedule(people=[ines])
    schedule.layers.update(superseded_at=TUESDAY, name="Before")
    make_layer(schedule, people=[dana], effective_from=TUESDAY, name="After")

    calendar = queries.calendar(schedule, TUESDAY - HOUR, TUESDAY + HOUR)

    assert [(row.name, spans(row.spans)) for row in calendar.layers] == [
        ("After", [("01-06 11:00", "01-06 12:00", ["ines"]), ("01-06 12:00", "01-06 13:00", ["dana"])])
    ]


def test_calendar_of_an_empty_schedule_is_a_gap():
    calendar = queries.calendar(make_schedule(), TUESDAY, TUESDAY + DAY)

    assert (calendar.layers, [s.is_gap for s in calendar.final]) == ([], [True])


def test_schedule_list_finds_by_name_and_by_team():
    checkout = make_schedule("Checkout primary", team=make_team("Payments"))
    make_schedule("Search")

    assert list(queries.schedule_list(search="checkout")) == [checkout]
    assert list(queries.schedule_list(search="payments")) == [checkout]
    assert list(queries.schedule_list(team="payments")) == [checkout]
    assert list(queries.schedule_list(team="nobody")) == []


def test_schedule_that_is_not_there_is_missing():
    with pytest.raises(Missing):
        queries.get_schedule(999)


def test_later_override_is_named_where_it_wins(cast):
    ines, ravi, dana = cast
    schedule = make_schedule()
    first = make_override(schedule, user=ines, starts_at=TUESDAY, ends_at=TUESDAY + 2 * HOUR)
    second = make_override(schedule, user=ravi, starts_at=TUESDAY + HOUR, ends_at=TUESDAY + 3 * HOUR)
    apart = make_override(schedule, user=dana, starts_at=TUESDAY + 3 * HOUR, ends_at=TUESDAY + 4 * HOUR)
    over = make_override(schedule, user=dana, starts_at=TUESDAY - 2 * HOUR, ends_at=TUESDAY)

    upcoming = list(queries.overrides_of(schedule, TUESDAY))

    assert upcoming == [first, second, apart]
    assert over not in upcoming
    assert queries.covered_by_later(upcoming) == {first.pk: [second], second.pk: [], apart.pk: []}


def test_shifts_of_a_person_over_all_schedules(cast):
    ines, ravi, dana = cast
    make_schedule("Checkout", people=[ines, ravi])
    search = make_schedule("Search", people=[dana])
    make_override(search, user=ines, starts_at=TUESDAY + HOUR, ends_at=TUESDAY + 2 * HOUR)
    make_override(search, user=ines, kind="shadow", starts_at=TUESDAY + 3 * HOUR, ends_at=TUESDAY + 4 * HOUR)

    found = queries.shifts_of(ines, TUESDAY, TUESDAY + 14 * DAY)

    assert [(duty.schedule.name, f"{duty.starts_at:%m-%d %H:%M}", duty.shadow) for duty in found] == [
        ("Checkout", "01-06 12:00", False),
        ("Search", "01-06 13:00", False),
        ("Search", "01-06 15:00", True),
        ("Checkout", "01-19 08:00", False),
    ]
