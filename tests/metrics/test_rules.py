"""The definitions of the measures, case by case."""

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest

from metrics.rules import (
    NOTHING,
    WINDOWS,
    Change,
    Course,
    Lateness,
    Mark,
    Measure,
    Spread,
    Unanswered,
    change,
    figures,
    headline,
    lateness_words,
    span_starts,
)

START = datetime(2026, 11, 24, 2, 41, 8, tzinfo=UTC)


def mark(kind: str, seconds: float, *, by_machine: bool = False) -> Mark:
    return Mark(kind=kind, at=START + timedelta(seconds=seconds), by_machine=by_machine)


def seconds(value: timedelta | None) -> float | None:
    return None if value is None else value.total_seconds()


def spread(count: int, median: float = 100, p90: float = 300) -> Spread:
    return Spread(count=count, median=median, p90=p90)


# --- one incident -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marks", "acknowledge", "contain", "repair", "unanswered"),
    [
        ([], None, None, None, Unanswered.OPEN),
        ([mark("acknowledged", 70)], 70, None, None, None),
        ([mark("acknowledged", 70), mark("acknowledged", 900)], 70, None, None, None),
        ([mark("acknowledged", 70), mark("contained", 1200), mark("resolved", 5000)], 70, 1200, 5000, None),
        # resolving is no acknowledgement
        ([mark("resolved", 50)], None, None, 50, Unanswered.ENDED_BY_HAND),
        ([mark("resolved", 50, by_machine=True)], None, None, 50, Unanswered.ENDED_ITSELF),
        # nor is one that came after the end
        ([mark("resolved", 50, by_machine=True), mark("reopened", 60), mark("acknowledged", 90)], None, None, None,
         Unanswered.ENDED_ITSELF),
        # to repair: until it was over for good
        ([mark("acknowledged", 9), mark("resolved", 50), mark("reopened", 60), mark("resolved", 700)], 9, None, 700, None),
        ([mark("acknowledged", 9), mark("resolved", 50), mark("reopened", 60)], 9, None, None, None),
        # to containment: until the first time
        ([mark("contained", 40), mark("contained", 80)], None, 40, None, Unanswered.OPEN),
    ],
)  # fmt: skip
def test_figures_of_one_incident(marks, acknowledge, contain, repair, unanswered):
    found = figures(START, marks)

    assert (seconds(found.acknowledge), seconds(found.contain), seconds(found.repair)) == (
        acknowledge,
        contain,
        repair,
    )
    assert found.unanswered == unanswered


@pytest.mark.parametrize(("at", "counts"), [(0, False), (2.4, False), (5, False), (5.001, True), (60, True)])
def test_a_machine_answer_counts_only_after_five_seconds(at, counts):
    found = figures(START, [mark("acknowledged", at, by_machine=True)])

    assert (found.acknowledge is not None) is counts


def test_after_a_quick_machine_the_first_person_counts():
    found = figures(START, [mark("acknowledged", 2, by_machine=True), mark("also_acknowledged", 95)])

    assert seconds(found.acknowledge) == 95


def test_a_person_counts_within_five_seconds():
    assert seconds(figures(START, [mark("acknowledged", 3)]).acknowledge) == 3


# --- comparing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (spread(5, 58), spread(5, 100), Change(course=Course.FASTER, by=timedelta(seconds=42))),
        (spread(5, 142), spread(5, 100), Change(course=Course.SLOWER, by=timedelta(seconds=42))),
        (spread(5, 109), spread(5, 100), Change(course=Course.SAME)),
        (spread(5, 110), spread(5, 100), Change(course=Course.SLOWER, by=timedelta(seconds=10))),
        (spread(4, 10), spread(50, 100), Change(course=Course.UNKNOWN)),
        (spread(50, 10), spread(4, 100), Change(course=Course.UNKNOWN)),
        (spread(50, 10), NOTHING, Change(course=Course.UNKNOWN)),
    ],
)
def test_a_change_is_claimed_only_when_it_is_large_and_measured_often(now, before, expected):
    assert change(now, before) == expected


@pytest.mark.parametrize(
    ("courses", "said"),
    [
        (("faster", "slower", "same"), "We answer faster and contain slower"),
        (("faster", "slower", "slower"), "We answer faster, and contain and repair slower"),
        (("faster", "faster", "faster"), "We answer, contain and repair faster"),
        (("unknown", "slower", "same"), "We contain slower"),
        (("same", "same", "same"), "We answer, contain and repair as fast as before"),
        (("unknown", "unknown", "unknown"), "We answer in 1m 38s, contain in 1m 38s and repair in 1m 38s"),
    ],
)
def test_the_headline_says_what_moved(courses, said):
    changes = {
        measure: Change(course=Course(course)) for measure, course in zip(Measure, courses, strict=True)
    }

    assert headline(40, dict.fromkeys(Measure, spread(40, 98)), changes) == said


def test_the_headline_claims_nothing_from_little():
    unknown = dict.fromkeys(Measure, Change(course=Course.UNKNOWN))

    assert headline(3, dict.fromkeys(Measure, spread(3)), unknown) == "Too few to say"
    assert headline(0, dict.fromkeys(Measure, NOTHING), unknown) == "Nothing happened"


@pytest.mark.parametrize("days", WINDOWS)
def test_buckets_fill_the_window_without_a_rest(days):
    starts = span_starts(days=days, until=date(2026, 11, 25))

    assert (starts[0], starts[-1]) == (date(2026, 11, 25) - timedelta(days=days), date(2026, 11, 25))
    assert {after - before for before, after in itertools.pairwise(starts)} == {WINDOWS[days]}


@pytest.mark.parametrize(
    ("count", "p99", "said"),
    [
        (0, None, "No deadline ran out in the last 24 hours"),
        (4, 10, "Too few deadlines ran out to say"),
        (5, 100, "Deadlines are kept to a tenth of a second"),
        (5, 100.1, "Deadlines are kept to a second"),
        (5, 62_000, "One deadline in a hundred is 1m 02s late or later"),
    ],
)
def test_lateness_in_words(count, p99, said):
    assert lateness_words(Lateness(count=count, p50=1, p99=p99, worst=99)) == said
