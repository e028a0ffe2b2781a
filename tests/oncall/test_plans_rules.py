"""Modes, kinds of overrides, temporary schedules, fillers, notices and the score: values in, values out."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from core.errors import Invalid
from oncall.quality import evenness, quality
from oncall.rules import (
    LayerData,
    Notice,
    OverrideData,
    Run,
    ScheduleData,
    Shift,
    Stint,
    TemporaryData,
    Window,
    changes,
    next_people,
    notices,
    on_call_at,
    read_turns,
    runs,
    shadow_shifts,
    shadows_at,
    shifts,
)

MONDAY = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
INES, RAVI, DANA, KAHU = 1, 2, 3, 4


def layer(*people: int, mode: str = "override", position: int = 0, **fields) -> LayerData:
    return LayerData(MONDAY, people, mode=mode, position=position, **fields)


def override(user: int, kind: str = "replace", *, number: int = 1, **fields) -> OverrideData:
    return OverrideData(
        user=user, kind=kind, starts_at=MONDAY, ends_at=MONDAY + DAY, created_at=MONDAY, id=number, **fields
    )


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        (["override", "override", "override"], [DANA]),  # PagerDuty: the last layer wins
        (["parallel", "parallel", "parallel"], [INES, RAVI, DANA]),  # Opsgenie: all of them
        (["override", "override", "parallel"], [RAVI, DANA]),
        (["override", "parallel", "override"], [DANA]),
        (["parallel", "override", "parallel"], [RAVI, DANA]),
        (["override", "shadow", "shadow"], [INES]),
    ],
)
def test_a_layer_adds_its_people_or_hides_what_is_below(modes, expected):
    layers = tuple(
        layer(person, mode=mode, position=place)
        for place, (person, mode) in enumerate(zip((INES, RAVI, DANA), modes, strict=True))
    )
    assert on_call_at(ScheduleData("UTC", layers), MONDAY) == expected


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([override(DANA)], [DANA]),
        ([override(DANA, replaces=RAVI)], [INES, DANA]),
        ([override(DANA, replaces=KAHU)], [INES, RAVI]),  # who is not on call is not replaced
        ([override(RAVI, replaces=INES)], [RAVI]),
        ([override(DANA, "add")], [INES, RAVI, DANA]),
        ([override(INES, "add")], [INES, RAVI]),
        ([override(INES, "remove")], [RAVI]),
        ([override(INES, "remove"), override(RAVI, "remove", number=2)], []),
        ([override(INES, "remove"), override(INES, "add", number=2)], [RAVI, INES]),
        ([override(INES, "add", number=1), override(INES, "remove", number=2)], [RAVI]),
        (
            [override(DANA, "add", number=1), override(KAHU, number=2)],
            [KAHU],
        ),  # the later one is for everybody
        ([override(KAHU, number=1), override(DANA, "add", number=2)], [KAHU, DANA]),
        ([override(KAHU, "shadow")], [INES, RAVI]),
    ],
)
def test_overrides_act_in_the_order_in_which_they_were_made(overrides, expected):
    rota = ScheduleData("UTC", (layer(INES, RAVI, at_once=2),), tuple(reversed(overrides)))
    assert on_call_at(rota, MONDAY) == expected
    assert on_call_at(rota, MONDAY + DAY) == [INES, RAVI]


def test_temporary_schedule_beats_overrides_and_the_later_of_two_counts():
    first = TemporaryData(MONDAY, MONDAY + 2 * DAY, MONDAY, (Stint(DANA, MONDAY, MONDAY + HOUR),), id=1)
    later = replace(
        first, starts_at=MONDAY + DAY, shifts=(Stint(KAHU, MONDAY + DAY, MONDAY + 3 * DAY),), id=2
    )
    rota = ScheduleData("UTC", (layer(INES),), (override(RAVI),), temporary=(later, first))

    found = [
        (shift.starts_at - MONDAY, shift.people) for shift in shifts(rota, MONDAY - HOUR, MONDAY + 3 * DAY)
    ]

    assert found == [(-HOUR, ()), (0 * HOUR, (DANA,)), (HOUR, ()), (DAY, (KAHU,)), (2 * DAY, (INES,))]
    filled = replace(rota, fillers=(Stint(INES, MONDAY),))
    assert on_call_at(filled, MONDAY + HOUR) == [INES]
    assert on_call_at(filled, MONDAY) == [DANA]
    assert on_call_at(filled, MONDAY - HOUR) == []  # nobody filled then


def test_switched_off_from_a_day_on_leaves_the_time_before():
    rota = ScheduleData("UTC", (layer(INES, RAVI, unit="days"),), absences=(Stint(RAVI, MONDAY + 2 * DAY),))
    found = [(shift.starts_at - MONDAY, shift.people) for shift in shifts(rota, MONDAY, MONDAY + 5 * DAY)]
    assert found == [
        (0 * DAY, (INES,)), (1 * DAY, (RAVI,)), (2 * DAY, (INES,)), (3 * DAY, ()), (4 * DAY, (INES,)),
    ]  # fmt: skip


def test_turns_of_five_and_two_days_are_weekdays_and_weekends():
    rota = ScheduleData("UTC", (layer(INES, RAVI, unit="custom", turns=(("days", 5), ("days", 2))),))
    found = [(shift.starts_at - MONDAY, shift.people) for shift in shifts(rota, MONDAY, MONDAY + 13 * DAY)]
    assert found == [(0 * DAY, (INES,)), (5 * DAY, (RAVI,)), (7 * DAY, (INES,)), (12 * DAY, (RAVI,))]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ([], "Custom turns are a list of 1 to 12."),
        ("5 days", "Custom turns are a list of 1 to 12."),
        ([{"unit": "days"}], "Turn 1 needs a unit and a length, and nothing else."),
        ([{"unit": "days", "length": 1}, {"unit": "moons", "length": 1}], "Turn 2 is counted in"),
        ([{"unit": "days", "length": 0}], "Turn 1 lasts from 1 to 366 days."),
        ([{"unit": "days", "length": True}], "Turn 1 lasts from 1 to 366 days."),
    ],
)
def test_turns_that_cannot_be_read_are_refused(raw, sentence):
    with pytest.raises(Invalid) as refusal:
        read_turns(raw)
    assert refusal.value.message.startswith(sentence)


def test_shadows_follow_and_are_never_on_call():
    rota = ScheduleData(
        "UTC",
        (layer(INES, RAVI, unit="days"), layer(DANA, INES, unit="days", mode="shadow", position=1)),
        (override(KAHU, "shadow"),),
    )
    assert shadows_at(rota, MONDAY) == [DANA, KAHU]
    assert shadows_at(rota, MONDAY + DAY) == [INES]
    assert shadows_at(rota, MONDAY + 2 * DAY) == [DANA]
    assert {person for shift in shifts(rota, MONDAY, MONDAY + 9 * DAY) for person in shift.people} == {1, 2}
    assert shadow_shifts(ScheduleData("UTC"), MONDAY, MONDAY + DAY) == [Shift(MONDAY, MONDAY + DAY, ())]


def test_next_people_and_changes_pass_over_another_order_and_gaps():
    spans = [
        Shift(MONDAY + number * HOUR, MONDAY + (number + 1) * HOUR, people)
        for number, people in enumerate([(INES, RAVI), (RAVI, INES), (), (INES,), (INES, DANA)])
    ]
    assert changes(spans) == [MONDAY + 2 * HOUR, MONDAY + 3 * HOUR, MONDAY + 4 * HOUR]
    assert next_people(spans) == (DANA,)
    assert next_people(spans[:4]) == next_people([]) == ()


def test_who_had_less_than_a_day_of_rest_is_not_told_again():
    weeknights = Window(frozenset(range(5)), time(20), time(6))
    nightly = ScheduleData("UTC", (layer(INES, RAVI, windows=(weeknights,)),))
    told = notices(runs(shifts(nightly, MONDAY, MONDAY + 21 * DAY)), before=DAY, at_start=True)

    assert [(notice.user, notice.kind, notice.due_at - MONDAY) for notice in told] == [
        (INES, "before", -4 * HOUR), (INES, "start", 20 * HOUR),
        (RAVI, "before", 6 * DAY + 20 * HOUR), (RAVI, "start", 7 * DAY + 20 * HOUR),
        (INES, "before", 13 * DAY + 20 * HOUR), (INES, "start", 14 * DAY + 20 * HOUR),
    ]  # fmt: skip
    one = [Run(INES, MONDAY, MONDAY + DAY)]
    assert notices(one, before=timedelta(), at_start=False) == []
    assert notices(one, before=timedelta(), at_start=True) == [
        Notice(INES, "start", MONDAY, MONDAY, MONDAY + DAY)
    ]


# --- the score --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "share"),
    [([], 1.0), ([0, 0], 1.0), ([7], 0.0), ([5, 5], 1.0), ([10, 0], 0.0), ([6, 2], 0.5), ([3, 3, 0], 0.5)],
)
def test_evenness_is_one_when_all_carry_the_same_and_none_when_one_carries_all(hours, share):
    assert evenness([hour * HOUR for hour in hours]) == pytest.approx(share)


def test_score_of_an_even_rotation_is_full_and_each_part_says_why():
    found = quality(ScheduleData("UTC", (layer(INES, RAVI),)), MONDAY, MONDAY + 52 * 7 * DAY, zones={})
    assert found.score == 100
    assert [(part.name, part.points, part.of) for part in found.parts] == [
        ("Coverage", 50, 50), ("Hours", 25, 25), ("Nights", 15, 15), ("Weekends", 10, 10),
    ]  # fmt: skip
    assert [(load.user, load.time, load.nights, load.weekends) for load in found.loads] == [
        (INES, 4368 * HOUR, 1456 * HOUR, 1248 * HOUR),
        (RAVI, 4368 * HOUR, 1456 * HOUR, 1248 * HOUR),
    ]
    assert [part.text for part in found.parts] == [
        "Somebody is on call all the time.", "Each has 4,368 h.", "Each has 1,456 h.", "Each has 1,248 h.",
    ]  # fmt: skip


def test_score_counts_gaps_imbalance_and_each_ones_own_nights():
    # Ines is on call from 08:00 to 20:00, in Berlin; Kahu for the rest but two hours, which are day in Auckland.
    day = Window(frozenset(range(7)), time(8), time(20))
    night = Window(frozenset(range(7)), time(20), time(6))
    rota = ScheduleData(
        "UTC", (layer(INES, windows=(day,)), layer(KAHU, windows=(night,), position=1), layer(RAVI, mode="shadow", position=2))
    )  # fmt: skip
    zones = {INES: "Europe/Berlin", KAHU: "Pacific/Auckland"}
    found = quality(rota, MONDAY, MONDAY + 7 * DAY, zones=zones)

    coverage, hours, nights, _ = found.parts
    assert found.uncovered == 14 * HOUR
    assert coverage.points == round(50 * (1 - 14 / 168))
    assert coverage.text == "Nobody is on call for 14 h of 168 h."
    assert [(load.user, load.time / HOUR, load.nights / HOUR) for load in found.loads] == [
        (INES, 84, 0), (KAHU, 70, 0),
    ]  # fmt: skip
    assert (hours.points, nights.points) == (23, 15)  # 25 × (1 − 14 / 154), and nobody is up at night
    assert nights.text == "No night hours to share."
    assert found.score == sum(part.points for part in found.parts)

    filled = quality(replace(rota, fillers=(Stint(RAVI, MONDAY),)), MONDAY, MONDAY + 7 * DAY, zones=zones)
    assert (filled.uncovered, filled.filled) == (0 * HOUR, 14 * HOUR)
    assert filled.parts[0].text == "Somebody is on call all the time. The filler stands in for 14 h."
    alone = quality(ScheduleData("UTC", (layer(INES),)), MONDAY, MONDAY + 7 * DAY, zones={})
    assert (alone.score, alone.parts[1].text) == (50, "One person carries all of it: 168 h.")
    nobody = quality(ScheduleData("UTC"), MONDAY, MONDAY + DAY, zones={})
    assert (nobody.score, nobody.parts[1].text) == (0, "Nobody is in a rotation.")
