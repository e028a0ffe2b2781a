"""The geometry of the charts."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from metrics import charts
from metrics.charts import Bucket, axis, axis_words, readout, trend
from metrics.rules import NOTHING, Spread


def bucket(*values: float, label: str = "1 Sep") -> Bucket:
    """Five and more values show as median and p90, fewer as points."""
    if not values:
        return Bucket(label=label, incidents=0, spread=NOTHING)
    ordered = sorted(values)
    return Bucket(
        label=label,
        incidents=len(values),
        spread=Spread(
            count=len(values),
            median=ordered[len(values) // 2],
            p90=ordered[-1],
            points=tuple(ordered) if len(values) < 5 else (),
        ),
    )


FULL = bucket(60, 70, 80, 90, 100)


@given(st.floats(0, 1e9))
def test_an_axis_starts_at_zero_reaches_the_highest_value_and_has_few_steps(highest):
    ticks = axis(highest)

    assert ticks[0] == 0
    assert ticks[-1] >= highest
    assert 2 <= len(ticks) <= 6
    assert len({after - before for before, after in pairwise(ticks)}) == 1


def test_an_axis_speaks_in_one_unit():
    assert axis_words([0, 30, 60]) == ["0", "30 s", "60 s"]
    assert axis_words([0, 2700, 5400]) == ["0", "45 min", "90 min"]
    assert axis_words([0, 7200, 14_400]) == ["0", "2 h", "4 h"]
    assert axis_words([0, 172_800]) == ["0", "2 d"]


def test_at_most_four_dates_stand_below_and_never_two_beside_each_other():
    for count in (5, 9, 12):
        places = [float(x.rstrip("%")) for x, _, _ in trend([FULL] * count, end_label="24 Nov").ticks_x]
        assert len(places) <= 4
        assert min(after - before for before, after in pairwise(places)) > 14


def test_buckets_with_enough_are_joined_by_a_line_each():
    drawn = trend([FULL, FULL, FULL], end_label="24 Nov")

    assert len(drawn.medians) == len(drawn.p90s) == len(drawn.bands) == 1
    assert drawn.medians[0].count(" ") == 5  # three points
    assert (drawn.dots, drawn.lone_medians) == ([], [])


def test_a_bucket_with_few_shows_its_values_as_points_and_breaks_the_line():
    drawn = trend([FULL, FULL, bucket(40, 50), FULL, FULL], end_label="24 Nov")

    assert len(drawn.medians) == 2
    assert len(drawn.dots) == 2
    assert len({dot.x for dot in drawn.dots}) == 1


def test_a_bucket_alone_is_a_dot():
    drawn = trend([bucket(), FULL, bucket()], end_label="24 Nov")

    assert drawn.medians == []
    assert (len(drawn.lone_medians), len(drawn.lone_p90s)) == (1, 1)


def test_nothing_at_all_can_be_drawn():
    drawn = trend([bucket(), bucket()], end_label="24 Nov")

    assert (drawn.medians, drawn.dots, drawn.ends) == ([], [], [])
    assert [hit.readout for hit in drawn.hits] == ["1 Sep: no incident", "1 Sep: no incident"]


def test_labels_at_the_end_do_not_touch():
    drawn = trend([bucket(100, 100, 100, 100, 101)], end_label="24 Nov")

    p90, median = [float(end.y.rstrip("%")) for end in drawn.ends]
    assert median - p90 >= charts.LABEL_GAP - 0.01


def test_what_the_pointer_reads():
    assert readout(FULL) == "1 Sep: median 1m 20s, p90 1m 40s, 5 incidents"
    assert readout(bucket(44)) == "1 Sep: 44 s; 1 incident"
    assert readout(Bucket(label="1 Sep", incidents=2, spread=NOTHING)) == "1 Sep: 2 incidents, none measured"


@given(st.lists(st.lists(st.floats(0, 1e6), max_size=8), min_size=1, max_size=13))
def test_every_mark_lies_in_the_picture(values):
    drawn = trend([bucket(*each) for each in values], end_label="24 Nov")

    places = [dot.y for dot in [*drawn.dots, *drawn.lone_medians, *drawn.lone_p90s]] + [
        tick.at for tick in drawn.ticks_y
    ]
    assert all(charts.TOP - 0.01 <= float(place.rstrip("%")) <= charts.BOTTOM + 0.01 for place in places)
    for path in [*drawn.medians, *drawn.p90s]:
        assert all(0 <= float(number) <= 100 for number in path.removeprefix("M").split())
