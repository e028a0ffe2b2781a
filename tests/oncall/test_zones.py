"""Properties of schedules over the real transitions of real zones."""

import random
from datetime import UTC, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from oncall.queries import HORIZON, ahead
from oncall.rules import (
    LayerData,
    OverrideData,
    ScheduleData,
    Stint,
    TemporaryData,
    Window,
    absent_at,
    difference,
    first_instant,
    last_instant,
    layer_shifts,
    on_call_at,
    runs,
    shadow_shifts,
    shift_at,
    shifts,
    wall_clock,
)

ZONES = sorted(available_timezones())
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
LAST = datetime(2029, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)


@cache
def transitions(zone: str) -> tuple[datetime, ...]:
    """The instants from 2024 to 2028 in which the clock of `zone` jumps."""
    tz = ZoneInfo(zone)
    found = []
    day = FIRST
    while day < LAST:
        step = min(day + 2 * DAY, LAST)
        low, high = day, step
        if low.astimezone(tz).utcoffset() != high.astimezone(tz).utcoffset():
            old = low.astimezone(tz).utcoffset()
            while high - low > timedelta(seconds=1):
                middle = (low + (high - low) / 2).replace(microsecond=0)
                low, high = (middle, high) if middle.astimezone(tz).utcoffset() == old else (low, middle)
            found.append(high)
        day = step
    return tuple(found)


def test_every_transition_of_every_zone_leaves_no_gap_and_no_unintended_overlap():
    """A daily handoff, and a pair of windows, put exactly where each clock of the world jumps."""
    seen = 0
    for zone in ZONES:
        tz = ZoneInfo(zone)
        for jump in transitions(zone):
            seen += 1
            old, new = (jump - INSTANT).astimezone(tz).utcoffset(), jump.astimezone(tz).utcoffset()
            # A time inside the jump: it does not exist, or it is there twice.
            inside = wall_clock(jump, zone) + (old - new) / 2
            handoff = first_instant(inside, zone)
            assert handoff == (jump if new > old else jump - (old - new) / 2)

            rota = ScheduleData(
                zone, (LayerData(first_instant(inside - 3 * DAY, zone), (1, 2), unit="days"),)
            )
            around = shifts(rota, jump - DAY - 2 * HOUR, jump + DAY + 2 * HOUR)
            assert all(len(shift.people) == 1 for shift in around)
            assert handoff in [shift.starts_at for shift in around]
            assert all(a.ends_at == b.starts_at for a, b in pairwise(around))

            at = inside.replace(second=0, microsecond=0).time()
            other = (datetime.combine(datetime(2000, 1, 1), at) + 12 * HOUR).time()
            every = frozenset(range(7))
            ending = LayerData(jump - 9 * DAY, (1,), windows=(Window(every, other, at),))
            starting = LayerData(jump - 9 * DAY, (2,), windows=(Window(every, at, other),), position=1)
            both = ScheduleData(zone, (ending, starting))
            assert not any(shift.is_gap for shift in shifts(both, jump - DAY, jump + DAY))
            near = (jump - 6 * HOUR, jump + 6 * HOUR)
            ends = next(s.ends_at for s in layer_shifts(both, ending, *near) if s.people)
            starts = next(s.starts_at for s in layer_shifts(both, starting, *near) if s.people)
            assert ends - starts == (old - new if new < old else timedelta())
    assert seen > 1500


def test_wall_clock_times_outside_jumps_are_one_instant_in_every_zone():
    for zone in ZONES:
        for month in (1, 4, 7, 10):
            noon = datetime(2026, month, 15, 12)
            assert first_instant(noon, zone) == last_instant(noon, zone)
            assert wall_clock(first_instant(noon, zone), zone) == noon


people = st.lists(st.integers(1, 6), min_size=1, max_size=5).map(tuple)
clock_times = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 45]))
windows = st.builds(Window, st.frozensets(st.integers(0, 6), min_size=1), start=clock_times, end=clock_times)


turns = st.lists(
    st.tuples(st.sampled_from(["hours", "days", "weeks"]), st.integers(1, 9)), min_size=1, max_size=3
).map(tuple)


@st.composite
def moments(draw, zone: str):
    """Mostly close to where the clock jumps, since that is where it can go wrong."""
    jumps = transitions(zone)
    centre = draw(st.sampled_from(jumps)) if jumps else datetime(2026, 6, 1, tzinfo=UTC)
    return centre + timedelta(minutes=15 * draw(st.integers(-4 * 72, 4 * 72)))


@st.composite
def schedules(draw):
    zone = draw(st.sampled_from(ZONES))
    layers = []
    for position in range(draw(st.integers(1, 3))):
        starts_at = draw(moments(zone)) - draw(st.sampled_from([timedelta(), 10 * DAY, 200 * DAY]))
        layers.append(
            LayerData(
                starts_at=starts_at,
                people=draw(people),
                unit=draw(st.sampled_from(["hours", "days", "weeks", "custom"])),
                length=draw(st.integers(1, 12)),
                turns=draw(turns),
                mode=draw(st.sampled_from(["override", "override", "parallel", "shadow"])),
                at_once=draw(st.integers(1, 2)),
                windows=tuple(draw(st.lists(windows, max_size=2))),
                ends_at=draw(st.none() | st.just(starts_at + 300 * DAY)),
                position=position,
            )
        )
    overrides = []
    for number in range(draw(st.integers(0, 2))):
        begins = draw(moments(zone))
        overrides.append(
            OverrideData(
                user=draw(st.integers(1, 6)),
                starts_at=begins,
                ends_at=begins + timedelta(minutes=draw(st.integers(1, 3000))),
                created_at=FIRST,
                id=number,
                kind=draw(st.sampled_from(["replace", "add", "remove", "shadow"])),
                replaces=draw(st.none() | st.integers(1, 6)),
            )
        )
    temporary = []
    for number in range(draw(st.integers(0, 2))):
        begins = draw(moments(zone))
        stints = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 40)), min_size=1, max_size=3))
        temporary.append(
            TemporaryData(
                starts_at=begins,
                ends_at=begins + 2 * DAY,
                created_at=FIRST,
                shifts=tuple(
                    Stint(who, begins + after * HOUR, begins + (after + 9) * HOUR) for who, after in stints
                ),
                id=number,
            )
        )
    filler = draw(st.none() | st.integers(1, 6))
    away = Stint(draw(st.integers(1, 6)), draw(moments(zone)), None)
    absent = draw(st.frozensets(st.integers(1, 6), max_size=2))
    start = draw(moments(zone))
    data = ScheduleData(
        zone, tuple(layers), tuple(overrides), absent, absences=(away,), temporary=tuple(temporary),
        fillers=(Stint(filler, FIRST),) if filler else (),
    )  # fmt: skip
    return data, start, start + 5 * DAY


@settings(max_examples=120, deadline=None)
@given(schedules(), st.randoms(use_true_random=False))
def test_shifts_cover_the_span_once_and_agree_with_on_call_at(case, chance: random.Random):
    rota, start, end = case
    result = shifts(rota, start, end)

    assert (result[0].starts_at, result[-1].ends_at) == (start, end)
    assert all(shift.starts_at < shift.ends_at for shift in result)
    for left, right in pairwise(result):
        assert left.ends_at == right.starts_at
        assert left.people != right.people
    for shift in result:
        length = (shift.ends_at - shift.starts_at) // INSTANT
        for at in (0, length - 1, chance.randrange(length)):
            assert tuple(on_call_at(rota, shift.starts_at + at * INSTANT)) == shift.people
        assert not set(shift.people) & rota.absent
        assert len(set(shift.people)) == len(shift.people)
        fillers = {stint.user for stint in rota.fillers} - absent_at(rota, shift.starts_at)
        assert shift.people or not fillers, "nobody is on call though there is a filler"
    for run in runs(result):
        inside = [shift for shift in result if run.starts_at <= shift.starts_at < run.ends_at]
        assert all(run.user in shift.people for shift in inside)
    for shadow in shadow_shifts(rota, start, end):
        for shift in result:
            if shift.starts_at < shadow.ends_at and shadow.starts_at < shift.ends_at:
                assert not set(shadow.people) & set(shift.people), "who is paged does not shadow"


@settings(max_examples=40, deadline=None)
@given(schedules(), schedules())
def test_a_difference_is_exactly_where_other_people_are_on_call(one, two):
    """Applying it to the one gives the other."""
    before = shifts(one[0], one[1], one[2])
    after = shifts(two[0], one[1], one[2])
    changed = difference(before, after)

    assert all(change.starts_at < change.ends_at for change in changed)
    assert all(left.ends_at <= right.starts_at for left, right in pairwise(changed))
    for at in sorted({shift.starts_at for shift in (*before, *after)}):
        was, becomes = set(shift_at(before, at).people), set(shift_at(after, at).people)
        found = [change for change in changed if change.starts_at <= at < change.ends_at]
        assert [(set(change.before), set(change.after)) for change in found] == (
            [(was, becomes)] if was != becomes else []
        )
    assert difference(before, before) == []


@settings(max_examples=60, deadline=None)
@given(schedules(), st.integers(1, 119))
def test_shifts_of_two_halves_are_the_shifts_of_the_whole(case, hours):
    """Where somebody looks changes nothing of what is true."""
    rota, start, end = case
    middle = start + hours * HOUR
    halves = shifts(rota, start, middle) + shifts(rota, middle, end)

    def points(spans):
        return [
            (s.starts_at, s.people) for n, s in enumerate(spans) if not n or spans[n - 1].people != s.people
        ]

    assert points(halves) == points(shifts(rota, start, end))


@settings(max_examples=40, deadline=None)
@given(schedules(), st.integers(0, 47))
def test_what_is_kept_for_a_day_is_what_would_be_worked_out_now(case, hours):
    rota, start, _ = case
    at = start + hours * HOUR
    assert ahead(rota, at) == shifts(rota, at, at + HORIZON)


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from(ZONES), turns)
def test_turns_of_several_lengths_follow_each_other_on_the_wall_clock(data, zone, lengths):
    starts_at = data.draw(moments(zone))
    rota = ScheduleData(zone, (LayerData(starts_at, (1, 2, 3, 4, 5), unit="custom", turns=lengths),))
    wall, expected = wall_clock(starts_at, zone), []
    for turn in range(6):
        unit, length = lengths[turn % len(lengths)]
        end = wall + {"hours": HOUR, "days": DAY, "weeks": 7 * DAY}[unit] * length
        expected.append((first_instant(wall, zone), first_instant(end, zone), (turn % 5 + 1,)))
        wall = end

    found = shifts(rota, starts_at, first_instant(wall, zone))

    # An hour that is skipped takes its turn along, and no handoff is ever earlier than the one before.
    wanted = [(max(start, starts_at), end, who) for start, end, who in expected if start < end]
    assert [(shift.starts_at, shift.ends_at, shift.people) for shift in found] == wanted


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from(ZONES), st.sampled_from(["hours", "days", "weeks"]), st.integers(1, 8))
def test_rotation_without_windows_always_has_somebody_and_hands_off_on_its_wall_clock_grid(
    data, zone, unit, length
):
    starts_at = data.draw(moments(zone))
    step = {"hours": HOUR, "days": DAY, "weeks": 7 * DAY}[unit] * length
    rota = ScheduleData(zone, (LayerData(starts_at, (1, 2, 3), unit=unit, length=length),))
    grid = wall_clock(starts_at, zone)

    for shift in shifts(rota, starts_at, starts_at + 9 * DAY):
        assert len(shift.people) == 1
        if shift.starts_at > starts_at:
            turns = (wall_clock(shift.starts_at, zone) - grid) // step
            late = wall_clock(shift.starts_at, zone) - (grid + turns * step)
            # On the grid, or pushed out of an hour that does not exist.
            assert not late or shift.starts_at in transitions(zone)
