"""Tables of who is on call. Dates are real transitions: Europe/Berlin 29 March and 25 October 2026."""

from datetime import UTC, datetime, timedelta

import pytest

from core.errors import Invalid
from oncall.rules import (
    LayerData,
    OverrideData,
    ScheduleData,
    Shift,
    Window,
    first_instant,
    last_instant,
    layer_shifts,
    on_call_at,
    overrides_at,
    read_windows,
    rotation_at,
    say_window,
    shift_at,
    shifts,
    write_windows,
)

BERLIN = "Europe/Berlin"
INES, RAVI, DANA, MEI = 1, 2, 3, 4


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def wall(text: str) -> datetime:
    return datetime.fromisoformat(text)


def schedule(*layers: LayerData, zone: str = BERLIN, **fields) -> ScheduleData:
    return ScheduleData(zone=zone, layers=layers, **fields)


def windows(*raw: dict) -> tuple[Window, ...]:
    return read_windows(list(raw))


def spans(result: list[Shift]) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(f"{s.starts_at:%m-%d %H:%M}", f"{s.ends_at:%m-%d %H:%M}", s.people) for s in result]


# --- wall clock -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "shown", "first", "last"),
    [
        (BERLIN, "2026-07-01 08:00", "2026-07-01 06:00", "2026-07-01 06:00"),
        # 02:00 to 03:00 does not exist: the first instant after the gap
        (BERLIN, "2026-03-29 02:00", "2026-03-29 01:00", "2026-03-29 01:00"),
        (BERLIN, "2026-03-29 02:30", "2026-03-29 01:00", "2026-03-29 01:00"),
        (BERLIN, "2026-03-29 02:59:59", "2026-03-29 01:00", "2026-03-29 01:00"),
        (BERLIN, "2026-03-29 03:00", "2026-03-29 01:00", "2026-03-29 01:00"),
        # 02:00 to 03:00 is there twice: a start takes the first, an end the last
        (BERLIN, "2026-10-25 02:00", "2026-10-25 00:00", "2026-10-25 01:00"),
        (BERLIN, "2026-10-25 02:30", "2026-10-25 00:30", "2026-10-25 01:30"),
        (BERLIN, "2026-10-25 03:00", "2026-10-25 02:00", "2026-10-25 02:00"),
        # half an hour
        ("Australia/Lord_Howe", "2026-10-04 02:15", "2026-10-03 15:30", "2026-10-03 15:30"),
        ("Australia/Lord_Howe", "2026-04-05 01:45", "2026-04-04 14:45", "2026-04-04 15:15"),
        # midnight itself is skipped
        ("Asia/Beirut", "2026-03-29 00:30", "2026-03-28 22:00", "2026-03-28 22:00"),
        # a whole date is skipped
        ("Pacific/Apia", "2011-12-30 08:00", "2011-12-30 10:00", "2011-12-30 10:00"),
    ],
)
def test_wall_clock_times_become_instants(zone, shown, first, last):
    assert first_instant(wall(shown), zone) == utc(first)
    assert last_instant(wall(shown), zone) == utc(last)


# --- rotations ------------------------------------------------------------------------------------


def test_weekly_handoff_keeps_its_wall_clock_time_when_clocks_change():
    rota = schedule(LayerData(utc("2026-03-16 07:00"), (INES, RAVI)))  # Monday 08:00 in Berlin

    assert spans(shifts(rota, utc("2026-03-16 07:00"), utc("2026-04-06 06:00"))) == [
        ("03-16 07:00", "03-23 07:00", (INES,)),
        ("03-23 07:00", "03-30 06:00", (RAVI,)),  # 167 hours
        ("03-30 06:00", "04-06 06:00", (INES,)),
    ]


def test_daily_shift_is_23_hours_in_spring_and_25_in_autumn():
    rota = schedule(LayerData(utc("2026-01-01 07:00"), (INES, RAVI), unit="days"))

    lengths = {
        shift.starts_at.date().isoformat(): (shift.ends_at - shift.starts_at) / timedelta(hours=1)
        for shift in shifts(rota, utc("2026-01-01 07:00"), utc("2026-11-30 07:00"))
    }

    assert lengths["2026-03-28"] == 23
    assert lengths["2026-10-24"] == 25
    assert {hours for day, hours in lengths.items() if day not in {"2026-03-28", "2026-10-24"}} == {24}


def test_handoff_in_the_repeated_hour_is_at_its_first_occurrence():
    rota = schedule(LayerData(utc("2026-10-20 00:30"), (INES, RAVI), unit="days"))  # daily at 02:30

    assert on_call_at(rota, utc("2026-10-25 00:29")) == [INES]
    assert on_call_at(rota, utc("2026-10-25 00:30")) == [RAVI]
    # The clock shows 02:10 again. It is still Ravi's turn.
    assert on_call_at(rota, utc("2026-10-25 01:10")) == [RAVI]
    assert on_call_at(rota, utc("2026-10-26 01:29")) == [RAVI]
    assert on_call_at(rota, utc("2026-10-26 01:30")) == [INES]


def test_handoff_in_the_skipped_hour_is_at_the_first_instant_after_it():
    rota = schedule(LayerData(utc("2026-03-20 01:30"), (INES, RAVI), unit="days"))  # daily at 02:30

    assert spans(shifts(rota, utc("2026-03-28 01:30"), utc("2026-03-30 00:30"))) == [
        ("03-28 01:30", "03-29 01:00", (INES,)),
        ("03-29 01:00", "03-30 00:30", (RAVI,)),
    ]


def test_eight_hour_shifts_stay_at_the_same_wall_clock_hours():
    rota = schedule(LayerData(utc("2026-03-26 23:00"), (INES, RAVI, DANA), unit="hours", length=8))

    assert spans(shifts(rota, utc("2026-03-28 23:00"), utc("2026-03-29 22:00"))) == [
        ("03-28 23:00", "03-29 06:00", (INES,)),  # 00:00 to 08:00 has seven hours
        ("03-29 06:00", "03-29 14:00", (RAVI,)),
        ("03-29 14:00", "03-29 22:00", (DANA,)),
    ]


def test_hourly_turn_lasts_two_hours_when_its_hour_repeats_and_none_when_it_is_skipped():
    autumn = schedule(LayerData(utc("2026-10-24 22:00"), (INES, RAVI, DANA, MEI), unit="hours"))
    assert spans(shifts(autumn, utc("2026-10-24 22:00"), utc("2026-10-25 03:00"))) == [
        ("10-24 22:00", "10-24 23:00", (INES,)),
        ("10-24 23:00", "10-25 00:00", (RAVI,)),
        ("10-25 00:00", "10-25 02:00", (DANA,)),  # 02:00, twice
        ("10-25 02:00", "10-25 03:00", (MEI,)),
    ]

    spring = schedule(LayerData(utc("2026-03-28 23:00"), (INES, RAVI, DANA, MEI), unit="hours"))
    assert spans(shifts(spring, utc("2026-03-28 23:00"), utc("2026-03-29 02:00"))) == [
        ("03-28 23:00", "03-29 00:00", (INES,)),
        ("03-29 00:00", "03-29 01:00", (RAVI,)),
        ("03-29 01:00", "03-29 02:00", (MEI,)),  # Dana's 02:00 is skipped
    ]


def test_nobody_is_on_call_before_the_first_handoff_and_after_the_end():
    rota = schedule(LayerData(utc("2026-06-01 08:00"), (INES,), ends_at=utc("2026-06-02 08:00")))

    assert spans(shifts(rota, utc("2026-06-01 00:00"), utc("2026-06-03 00:00"))) == [
        ("06-01 00:00", "06-01 08:00", ()),
        ("06-01 08:00", "06-02 08:00", (INES,)),
        ("06-02 08:00", "06-03 00:00", ()),
    ]


def test_layer_that_starts_in_the_second_of_two_equal_hours_starts_there():
    rota = schedule(LayerData(utc("2026-10-25 01:30"), (INES, RAVI), unit="days"))

    assert on_call_at(rota, utc("2026-10-25 00:30")) == []
    assert on_call_at(rota, utc("2026-10-25 01:30")) == [INES]
    assert on_call_at(rota, utc("2026-10-26 01:30")) == [RAVI]


def test_two_at_once_rest_together():
    rota = schedule(LayerData(utc("2026-06-01 08:00"), (INES, RAVI, DANA, MEI), unit="days", at_once=2))

    assert [s.people for s in shifts(rota, utc("2026-06-01 08:00"), utc("2026-06-04 08:00"))] == [
        (INES, RAVI),
        (DANA, MEI),
        (INES, RAVI),
    ]


def test_two_at_once_of_three_never_twice_the_same():
    rota = schedule(LayerData(utc("2026-06-01 08:00"), (INES, RAVI, DANA), unit="days", at_once=2))

    assert [s.people for s in shifts(rota, utc("2026-06-01 08:00"), utc("2026-06-04 08:00"))] == [
        (INES, RAVI),
        (DANA, INES),
        (RAVI, DANA),
    ]


# --- windows --------------------------------------------------------------------------------------


def test_window_over_midnight_counts_on_the_morning_after():
    nights = windows({"days": [4], "start": "18:00", "end": "08:00"})  # Friday evening to Saturday morning
    rota = schedule(LayerData(utc("2026-06-01 00:00"), (INES,), windows=nights), zone="UTC")

    assert spans(shifts(rota, utc("2026-06-05 00:00"), utc("2026-06-07 00:00"))) == [
        ("06-05 00:00", "06-05 18:00", ()),
        ("06-05 18:00", "06-06 08:00", (INES,)),
        ("06-06 08:00", "06-07 00:00", ()),
    ]


def test_window_from_midnight_to_midnight_is_the_whole_local_day():
    sunday = windows({"days": [6], "start": "00:00", "end": "00:00"})
    rota = schedule(LayerData(utc("2026-01-01 00:00"), (INES,), windows=sunday))

    assert spans(shifts(rota, utc("2026-10-24 00:00"), utc("2026-10-27 00:00")))[1] == (
        "10-24 22:00",
        "10-25 23:00",
        (INES,),
    )


def test_day_and_night_windows_meet_in_the_repeated_hour_with_both_and_never_with_nobody():
    day = LayerData(utc("2026-01-01 00:00"), (INES,), windows=windows(
        {"days": [0, 1, 2, 3, 4, 5, 6], "start": "02:30", "end": "14:30"}))  # fmt: skip
    night = LayerData(utc("2026-01-01 00:00"), (RAVI,), windows=windows(
        {"days": [0, 1, 2, 3, 4, 5, 6], "start": "14:30", "end": "02:30"}))  # fmt: skip

    start, end = utc("2026-10-24 18:00"), utc("2026-10-25 06:00")
    assert spans(layer_shifts(schedule(day), day, start, end)) == [
        ("10-24 18:00", "10-25 00:30", ()),
        ("10-25 00:30", "10-25 06:00", (INES,)),
    ]
    assert spans(layer_shifts(schedule(night), night, start, end)) == [
        ("10-24 18:00", "10-25 01:30", (RAVI,)),
        ("10-25 01:30", "10-25 06:00", ()),
    ]


def test_window_inside_the_skipped_hour_does_not_open():
    early = windows({"days": [6], "start": "02:10", "end": "02:50"})
    rota = schedule(LayerData(utc("2026-01-01 00:00"), (INES,), windows=early))

    assert spans(shifts(rota, utc("2026-03-29 00:00"), utc("2026-03-29 03:00"))) == [
        ("03-29 00:00", "03-29 03:00", ())
    ]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ("nights", "Restrictions are a list."),
        ([3], "Window 1 needs days, start and end"),
        ([{"days": [], "start": "08:00", "end": "18:00"}], "Window 1 needs at least one day"),
        ([{"days": [7], "start": "08:00", "end": "18:00"}], "Window 1 needs at least one day"),
        ([{"days": [True], "start": "08:00", "end": "18:00"}], "Window 1 needs at least one day"),
        ([{"days": [0], "start": "8:00", "end": "18:00"}], "The start of window 1 is a time of day."),
        ([{"days": [0], "start": "08:00", "end": "24:00"}], "The end of window 1 is a time of day."),
        ([{"days": [0], "start": "08:00\n", "end": "18:00"}], "The start of window 1 is a time of day."),
        ([{"days": [0], "start": "08:00", "end": None}], "The end of window 1 is a time of day."),
        (
            [{"days": [0], "start": "08:00", "end": "18:00", "zone": "UTC"}],
            "Window 1 needs days, start and end",
        ),
        ([{"days": [0], "start": "08:00", "end": "18:00"}] * 15, "A layer has at most 14 windows."),
    ],
)
def test_window_that_cannot_be_read_is_refused_with_its_number(raw, sentence):
    with pytest.raises(Invalid) as refusal:
        read_windows(raw)
    assert refusal.value.message.startswith(sentence)


def test_windows_are_written_as_they_were_read():
    raw = [{"days": [0, 4], "start": "18:00", "end": "08:00"}]
    assert write_windows(read_windows(raw)) == raw


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"days": [0, 1, 2, 3, 4], "start": "18:00", "end": "08:00"}, "Mon to Fri, 18:00 to 08:00"),
        ({"days": [5, 6], "start": "00:00", "end": "00:00"}, "Sat, Sun, all day"),
        ({"days": [6, 5, 4, 3, 2, 1, 0], "start": "09:00", "end": "17:30"}, "Every day, 09:00 to 17:30"),
    ],
)
def test_window_in_words(raw, said):
    assert say_window(windows(raw)[0]) == said


# --- layers and overrides -------------------------------------------------------------------------


def test_last_layer_that_has_somebody_wins():
    always = LayerData(utc("2026-06-01 00:00"), (INES,), position=0)
    office = LayerData(
        utc("2026-06-01 00:00"), (RAVI,), position=1,
        windows=windows({"days": [0, 1, 2, 3, 4], "start": "09:00", "end": "17:00"}),
    )  # fmt: skip
    rota = schedule(office, always, zone="UTC")  # the order of the tuple does not matter

    assert on_call_at(rota, utc("2026-06-01 08:59")) == [INES]
    assert on_call_at(rota, utc("2026-06-01 09:00")) == [RAVI]
    assert on_call_at(rota, utc("2026-06-01 17:00")) == [INES]
    assert on_call_at(rota, utc("2026-06-06 12:00")) == [INES]


def test_override_replaces_everybody_for_its_span():
    rota = schedule(
        LayerData(utc("2026-06-01 00:00"), (INES, RAVI), at_once=2),
        overrides=(
            OverrideData(DANA, utc("2026-06-02 10:00"), utc("2026-06-02 12:00"), utc("2026-06-01 00:00")),
        ),
    )

    assert spans(shifts(rota, utc("2026-06-02 00:00"), utc("2026-06-03 00:00"))) == [
        ("06-02 00:00", "06-02 10:00", (INES, RAVI)),
        ("06-02 10:00", "06-02 12:00", (DANA,)),
        ("06-02 12:00", "06-03 00:00", (INES, RAVI)),
    ]


def test_of_two_overrides_the_one_created_later_wins():
    first = OverrideData(
        DANA, utc("2026-06-02 10:00"), utc("2026-06-02 14:00"), utc("2026-06-01 00:00"), id=1
    )
    later = OverrideData(MEI, utc("2026-06-02 12:00"), utc("2026-06-02 13:00"), utc("2026-06-01 09:00"), id=2)
    rota = schedule(overrides=(later, first))

    assert spans(shifts(rota, utc("2026-06-02 10:00"), utc("2026-06-02 15:00"))) == [
        ("06-02 10:00", "06-02 12:00", (DANA,)),
        ("06-02 12:00", "06-02 13:00", (MEI,)),
        ("06-02 13:00", "06-02 14:00", (DANA,)),
        ("06-02 14:00", "06-02 15:00", ()),
    ]
    assert overrides_at(rota, utc("2026-06-02 12:30"))[-1] == later


def test_person_whose_account_is_off_keeps_the_place_and_is_not_on_call():
    below = LayerData(utc("2026-06-01 00:00"), (MEI,), position=0)
    rota = schedule(
        below,
        LayerData(utc("2026-06-01 00:00"), (INES, RAVI), unit="days", position=1),
        zone="UTC",
        overrides=(
            OverrideData(RAVI, utc("2026-06-03 00:00"), utc("2026-06-04 00:00"), utc("2026-06-01 00:00")),
        ),
        absent=frozenset({RAVI}),
    )

    assert on_call_at(rota, utc("2026-06-01 12:00")) == [INES]
    assert on_call_at(rota, utc("2026-06-02 12:00")) == [MEI]  # Ravi's day falls to the layer below
    assert on_call_at(rota, utc("2026-06-03 12:00")) == [INES]  # his override counts for nothing
    assert rotation_at(rota, utc("2026-06-02 12:00")) == (MEI,)


def test_edited_layer_counts_from_the_edit_and_the_old_one_until_then():
    edit = utc("2026-06-10 12:00")
    old = LayerData(utc("2026-06-01 08:00"), (INES, RAVI), superseded_at=edit)
    new = LayerData(utc("2026-06-01 08:00"), (DANA, MEI), effective_from=edit)
    rota = schedule(old, new, zone="UTC")

    assert spans(shifts(rota, utc("2026-06-01 08:00"), utc("2026-06-22 08:00"))) == [
        ("06-01 08:00", "06-08 08:00", (INES,)),
        ("06-08 08:00", "06-10 12:00", (RAVI,)),
        ("06-10 12:00", "06-15 08:00", (MEI,)),
        ("06-15 08:00", "06-22 08:00", (DANA,)),
    ]


def test_shift_at_finds_the_one_that_covers_an_instant():
    rota = schedule(LayerData(utc("2026-06-01 08:00"), (INES, RAVI), unit="days"), zone="UTC")
    week = shifts(rota, utc("2026-06-01 08:00"), utc("2026-06-08 08:00"))

    assert shift_at(week, utc("2026-06-02 08:00")) == week[1]
    assert shift_at(week, utc("2026-06-01 07:59")) is None
    assert shift_at(week, utc("2026-06-08 08:00")) is None


def test_empty_span_has_no_shifts():
    assert shifts(schedule(), utc("2026-06-01 08:00"), utc("2026-06-01 08:00")) == []
