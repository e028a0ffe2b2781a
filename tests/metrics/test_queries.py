"""What PostgreSQL computes, against the same in Python."""

import statistics
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from incidents.models import Incident, TimelineEntry
from metrics import queries
from metrics.queries import Choice
from metrics.rules import Mark, Measure, Population, Unanswered, figures
from metrics.transitions import figure
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from timers.models import Firing

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)

pytestmark = pytest.mark.django_db


class Cast:
    def __init__(self) -> None:
        self.person = make_user("ann")
        self.bot = make_user("robot", is_bot=True)
        self.service = make_service("Checkout")
        self.other = make_service("Search")

    def incident(self, at: datetime, marks: list[tuple[str, float, str]], **fields: object) -> Incident:
        """`marks`: kind, seconds after the beginning, and who: person, bot or nobody."""
        fields = {
            "service": self.service,
            "severity": 2,
            "title": "5xx",
            "urgency": "high",
            "triggered_at": at,
        } | fields
        made = Incident.objects.create(**fields)
        who = {"person": self.person, "bot": self.bot, "nobody": None}
        TimelineEntry.objects.bulk_create(
            TimelineEntry(
                incident=made, seq=seq, kind=kind, at=at + timedelta(seconds=seconds), actor=who[actor],
                actor_name=actor, text="", hash="-",
            )
            for seq, (kind, seconds, actor) in enumerate([("triggered", 0, "nobody"), *marks], 1)
        )  # fmt: skip
        figure(incident_ids=[made.pk])
        return made

    def answered(self, at: datetime, seconds: float, **fields: object) -> Incident:
        return self.incident(at, [("acknowledged", seconds, "person")], **fields)


@pytest.fixture
def cast() -> Cast:
    return Cast()


def choice(**fields: object) -> Choice:
    return Choice(**{"population": Population.PRODUCTION, "since": NOW - 30 * DAY, "until": NOW, **fields})


def overview(wanted: Choice | None = None, *, buckets: int = 5) -> queries.Overview:
    wanted = wanted or choice()
    step = (wanted.until - wanted.since) / buckets
    return queries.overview(choice=wanted, edges=[wanted.since + step * at for at in range(buckets + 1)])


marks = st.lists(
    st.tuples(
        st.sampled_from(["acknowledged", "also_acknowledged", "contained", "resolved", "reopened", "note"]),
        st.floats(0, 12).map(lambda value: round(value, 3)),
        st.sampled_from(["person", "bot", "nobody"]),
    ),
    max_size=7,
).map(lambda rows: sorted(rows, key=lambda row: row[1]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(marks, min_size=1, max_size=12))
def test_sql_and_python_agree_on_every_incident(cast, timelines):
    with transaction.atomic():
        made = [cast.incident(NOW - DAY - timedelta(minutes=at), rows) for at, rows in enumerate(timelines)]

        found = {row.incident_id: row for row in queries.rows(choice=choice())}

        for incident, rows in zip(made, timelines, strict=True):
            wanted = figures(
                incident.triggered_at,
                [
                    Mark(
                        kind=kind,
                        at=incident.triggered_at + timedelta(seconds=at),
                        by_machine=who != "person",
                    )
                    for kind, at, who in rows
                ],
            )
            row = found[incident.pk]
            for name in Measure:
                expected = getattr(wanted, name)
                assert getattr(row, name) == (
                    None if expected is None else pytest.approx(expected.total_seconds(), abs=1e-6)
                )
            assert row.unanswered == (wanted.unanswered or "")
            assert queries.of_incident(incident=incident) == wanted
        transaction.set_rollback(True)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=30))
def test_percentiles_are_those_of_an_independent_computation(cast, values):
    with transaction.atomic():
        for at, value in enumerate(values):
            cast.answered(NOW - DAY - timedelta(minutes=at), value)

        spread = overview().now.spreads[Measure.ACKNOWLEDGE]

        if len(values) > 1:
            tenths = statistics.quantiles(values, n=10, method="inclusive")
            assert spread.p90 == pytest.approx(tenths[8])
        assert spread.median == pytest.approx(statistics.median(values))
        assert spread.count == len(values)
        assert spread.points == (tuple(sorted(set(values))) if len(values) < 5 else ())
        transaction.set_rollback(True)


def test_an_incident_belongs_to_the_window_in_which_it_began(cast):
    cast.answered(NOW - 30 * DAY, 10)  # the first instant of the window
    cast.answered(NOW - 30 * DAY - timedelta(microseconds=1), 20)  # the last of the one before
    cast.answered(NOW - timedelta(microseconds=1), 30)
    cast.answered(NOW, 40)
    cast.answered(NOW - 60 * DAY - timedelta(microseconds=1), 50)

    found = overview()

    assert (found.now.incidents, found.before.incidents) == (2, 1)
    assert found.now.spreads[Measure.ACKNOWLEDGE].points == (10, 30)
    assert [cut.incidents for cut in found.buckets] == [1, 0, 0, 0, 1]


def test_drills_and_production_are_never_mixed(cast):
    cast.answered(NOW - DAY, 10)
    cast.answered(NOW - DAY, 99, is_drill=True)

    assert overview().now.spreads[Measure.ACKNOWLEDGE].points == (10,)
    assert overview(choice(population=Population.DRILL)).now.spreads[Measure.ACKNOWLEDGE].points == (99,)


def test_severity_and_service_narrow_everything(cast):
    cast.answered(NOW - DAY, 10, severity=1)
    cast.answered(NOW - DAY, 20, severity=3)
    cast.answered(NOW - DAY, 30, severity=1, service=cast.other)

    by_severity = overview(choice(severity=1))
    by_service = overview(choice(service_id=cast.other.pk))

    assert by_severity.now.spreads[Measure.ACKNOWLEDGE].points == (10, 30)
    assert list(by_severity.by_severity) == [1]
    assert by_service.now.spreads[Measure.ACKNOWLEDGE].points == (30,)
    assert list(by_service.by_service) == [cast.other.pk]


def test_what_ended_before_an_answer_is_counted_apart(cast):
    cast.incident(NOW - DAY, [("resolved", 40, "nobody")])
    cast.incident(NOW - DAY, [("resolved", 40, "person")])
    cast.incident(NOW - DAY, [])
    cast.answered(NOW - DAY, 70)

    now = overview().now

    assert now.incidents == 4
    assert now.spreads[Measure.ACKNOWLEDGE].count == 1
    assert now.unanswered == {Unanswered.ENDED_ITSELF: 1, Unanswered.ENDED_BY_HAND: 1, Unanswered.OPEN: 1}


def test_each_cut_counts_its_own(cast):
    for severity in (1, 2, 2):
        cast.answered(NOW - DAY, 10 * severity, severity=severity)
    cast.answered(NOW - DAY, 500, severity=2, service=cast.other)

    found = overview()

    assert {severity: cut.incidents for severity, cut in found.by_severity.items()} == {1: 1, 2: 3}
    assert {service: cut.incidents for service, cut in found.by_service.items()} == {
        cast.service.pk: 3,
        cast.other.pk: 1,
    }
    assert found.by_severity[2].spreads[Measure.ACKNOWLEDGE].points == (20, 500)


def test_an_empty_database_gives_empty_figures():
    found = overview()

    assert found.now == found.before == queries.EMPTY
    assert found.buckets == [queries.EMPTY] * 5


def test_lateness_of_what_fired_since_then():
    Firing.objects.bulk_create(
        Firing(kind="escalation.step", key=str(late), due_at=NOW, fired_at=NOW, lateness_ms=late, by="celery")
        for late in range(101)
    )
    Firing.objects.create(
        kind="x", key="old", due_at=NOW, fired_at=NOW - 2 * DAY, lateness_ms=9999, by="celery"
    )

    found = queries.lateness(since=NOW - DAY)

    assert (found.count, found.p50, found.p99, found.worst) == (101, 50, 99, 100)
    assert queries.lateness(since=NOW + DAY).count == 0
