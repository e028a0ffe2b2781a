"""The figures that are kept say what the timelines say, whatever happens and in whatever order."""

import io
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import User
from core.errors import MusterError
from incidents import transitions
from incidents.models import Incident
from metrics import queries
from metrics.models import IncidentFigures
from metrics.queries import Choice
from metrics.rules import Measure, Population, Unanswered
from metrics.transitions import rebuild
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def opened(*, at: datetime = NOW, **fields: object) -> Incident:
    given_ = {
        "service": fields.pop("service", None) or make_service(),
        "title": "5xx",
        "severity": 2,
    } | fields
    return transitions.trigger(urgency="high", now=at, **given_)


def kept(incident: Incident) -> tuple:
    return IncidentFigures.objects.values_list(
        "acknowledge", "contain", "repair", "unanswered", "severity", "is_drill", "service", "triggered_at"
    ).get(pk=incident.pk)


def wanted(incident: Incident) -> tuple:
    """The same from the raw timeline, by the pure rules."""
    incident.refresh_from_db()
    found = queries.of_incident(incident=incident)
    seconds = [
        None if value is None else pytest.approx(value.total_seconds(), abs=1e-6)
        for value in (found.acknowledge, found.contain, found.repair)
    ]
    reason = str(found.unanswered or "")
    return (
        *seconds, reason, incident.severity, incident.is_drill, incident.service_id, incident.triggered_at,
    )  # fmt: skip


VERBS = ("acknowledge", "contain", "resolve", "reopen", "unacknowledge", "severity", "note", "page")

steps = st.lists(
    st.tuples(
        st.integers(0, 2),  # which incident
        st.sampled_from(VERBS),
        st.sampled_from(["person", "other", "bot", "sender"]),
        st.sampled_from([0.5, 3, 40, 4000]),  # seconds until then
        st.integers(1, 4),
    ),
    min_size=5,
    max_size=25,
)


@pytest.mark.django_db
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_after_any_transitions_the_figures_are_those_of_the_timelines(db, story):
    with transaction.atomic():
        who = {
            "person": make_user(), "other": make_user(), "bot": make_user(is_bot=True), "sender": None,
        }  # fmt: skip
        service = make_service()
        incidents = [opened(service=service, is_drill=number == 2).pk for number in range(3)]
        now = NOW
        for which, verb, actor, seconds, severity in story:
            now += timedelta(seconds=seconds)
            play(
                verb,
                incident_id=incidents[which],
                by=who[actor],
                person=who["person"],
                severity=severity,
                now=now,
            )

        for incident in Incident.objects.all():
            assert kept(incident) == wanted(incident)
        assert IncidentFigures.objects.count() == Incident.objects.count() >= 3
        assert rebuild(batch=2).changed == 0
        transaction.set_rollback(True)


def play(verb: str, *, incident_id: int, by: User | None, person: User, severity: int, now: datetime) -> None:
    try:
        match verb:
            case "acknowledge" | "contain" | "resolve":
                getattr(transitions, verb)(
                    incident_id=incident_id, by=by, now=now, by_name="" if by else "prometheus"
                )
            case "reopen":
                transitions.reopen(incident_id=incident_id, by=person, reason="again", now=now)
            case "unacknowledge":
                transitions.unacknowledge(incident_id=incident_id, now=now, reason="nobody is here")
            case "severity":
                transitions.set_severity(
                    incident_id=incident_id, severity=severity, by=person, reason="", now=now
                )
            case "note":
                transitions.add_note(incident_id=incident_id, text="Look", by=person, now=now)
            case "page" if by is not None:
                transitions.page_person(incident_id=incident_id, user=by, by=person, reason="", now=now)
    except MusterError:
        pass


@pytest.mark.django_db
class TestEach:
    def test_an_incident_begins_with_nothing_measured(self):
        incident = opened(severity=3, is_drill=True)

        assert kept(incident) == (None, None, None, "open", 3, True, incident.service_id, NOW)

    def test_opening_an_incident_takes_one_statement_for_the_figures(self):
        with CaptureQueriesContext(connection) as statements:
            opened()

        about = [each["sql"] for each in statements if "metrics_incidentfigures" in each["sql"]]
        assert len(about) == 1
        assert "INSERT" in about[0]

    def test_each_milestone_is_measured_when_it_comes(self):
        incident, person = opened(), make_user()

        transitions.acknowledge(incident_id=incident.pk, by=person, now=NOW + timedelta(seconds=70))
        assert kept(incident)[:4] == (70, None, None, "")
        transitions.contain(incident_id=incident.pk, by=person, now=NOW + timedelta(seconds=130))
        assert kept(incident)[:4] == (70, 130, None, "")
        transitions.resolve(incident_id=incident.pk, by=person, now=NOW + timedelta(seconds=190))
        assert kept(incident)[:4] == (70, 130, 190, "")
        transitions.reopen(
            incident_id=incident.pk, by=person, reason="again", now=NOW + timedelta(seconds=250)
        )
        assert kept(incident)[:4] == (70, 130, None, "")
        transitions.resolve(incident_id=incident.pk, by=person, now=NOW + timedelta(seconds=300.5))
        assert kept(incident)[:4] == (70, 130, 300.5, "")

    def test_a_severity_that_changes_moves_the_incident(self):
        incident = opened(severity=2)

        transitions.set_severity(incident_id=incident.pk, severity=4, by=make_user(), reason="small", now=NOW)

        assert kept(incident)[4] == 4

    def test_what_is_undone_leaves_nothing(self):
        incident, person = opened(), make_user()

        with pytest.raises(ZeroDivisionError), transaction.atomic():
            transitions.resolve(incident_id=incident.pk, by=person, now=NOW + timedelta(seconds=9))
            raise ZeroDivisionError

        assert kept(incident)[:4] == (None, None, None, "open")

    def test_an_account_that_turns_out_to_be_a_machine(self):
        incident, other, person = opened(), opened(), make_user()
        for each in (incident, other):
            transitions.acknowledge(incident_id=each.pk, by=person, now=NOW + timedelta(seconds=3))
        transitions.resolve(incident_id=other.pk, by=person, now=NOW + timedelta(seconds=60))

        person.is_bot = True
        person.save()

        assert kept(incident)[:4] == (None, None, None, "open")
        assert kept(other)[:4] == (None, None, 60, "ended_itself")

        person.is_bot = False
        person.save(update_fields=["is_bot"])

        assert kept(incident)[:4] == (3, None, None, "")

    def test_the_command_repairs_what_is_missing_or_wrong_and_leaves_what_is_right(self):
        incidents = [opened() for _ in range(3)]
        for incident in incidents:
            transitions.acknowledge(incident_id=incident.pk, by=make_user(), now=NOW + timedelta(seconds=70))
        IncidentFigures.objects.filter(pk=incidents[0].pk).delete()
        IncidentFigures.objects.filter(pk=incidents[1].pk).update(acknowledge=1, severity=4)
        IncidentFigures.objects.update(changed_by=7)
        out = io.StringIO()

        call_command("rebuild_metrics", stdout=out)
        call_command("rebuild_metrics", stdout=out)

        assert out.getvalue().splitlines() == [
            "Looked at 3 incidents. 2 had no figures or wrong ones.",
            "Looked at 3 incidents. All figures were right.",
        ]
        assert [kept(incident)[:5] for incident in incidents] == [(70, None, None, "", 2)] * 3
        assert IncidentFigures.objects.get(pk=incidents[2].pk).changed_by == 7

    def test_many_random_stories_and_a_rebuild_from_nothing(self):
        dice = random.Random(20261124)
        people = [make_user(), make_user(), make_user(is_bot=True), None]
        service, now = make_service(), NOW
        ids = [opened(service=service).pk for _ in range(15)]
        for _ in range(200):
            now += timedelta(seconds=dice.choice([0.2, 1, 30, 900]))
            play(
                dice.choice(VERBS), incident_id=dice.choice(ids), by=dice.choice(people), person=people[0],
                severity=dice.randint(1, 4), now=now,
            )  # fmt: skip
        before = [kept(incident) for incident in Incident.objects.order_by("pk")]
        IncidentFigures.objects.all().delete()

        done = rebuild(batch=7)

        assert done.changed == done.incidents == len(before)
        assert [kept(incident) for incident in Incident.objects.order_by("pk")] == before
        IncidentFigures.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute(import_module("metrics.migrations.0003_fill_figures").FILL)
        assert [kept(incident) for incident in Incident.objects.order_by("pk")] == before
        assert {row[3] for row in before} >= {"", "ended_itself", "ended_by_hand"}


# --- what is kept in the cache ----------------------------------------------------------------------------------


def look() -> queries.Overview:
    choice = Choice(population=Population.PRODUCTION, since=NOW - DAY, until=NOW + DAY)
    return queries.overview(choice=choice, edges=[choice.since, choice.until])


def points() -> tuple[float, ...]:
    return look().now.spreads[Measure.ACKNOWLEDGE].points


def computed() -> bool:
    """Whether a look now has to compute, instead of finding what was kept."""
    with CaptureQueriesContext(connection) as statements:
        look()
    return len(statements) == 2


class Elsewhere:
    """A transaction in another thread, held open until it is told to end."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work, self._done, self._go = work, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            with transaction.atomic():
                self._work()
                self._done.set()
                self._go.wait(30)
        finally:
            connection.close()

    def __enter__(self) -> "Elsewhere":
        self._thread.start()
        assert self._done.wait(30)
        return self

    def commit(self) -> None:
        self._go.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def __exit__(self, *_: object) -> None:
        self.commit()


def meets_a_lock(work: Callable[[], object]) -> threading.Thread:
    """Runs `work` in a thread and returns when it waits for another transaction."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    pause = threading.Event()
    for _ in range(1000):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return thread
        pause.wait(0.02)
    raise AssertionError("Nothing waited for a lock.")


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_a_rebuild_waits_for_a_transition_and_says_what_it_left(self):
        person, incident = make_user(), opened()
        IncidentFigures.objects.all().delete()

        with Elsewhere(
            lambda: transitions.acknowledge(
                incident_id=incident.pk, by=person, now=NOW + timedelta(seconds=70)
            )
        ) as first:
            thread = meets_a_lock(rebuild)
            first.commit()
            thread.join(30)

        assert kept(incident)[:4] == (70, None, None, "")

    def test_an_account_becomes_a_machine_while_it_acknowledges(self):
        person, incident = make_user(), opened()

        def become_a_bot() -> None:
            bot = User.objects.get(pk=person.pk)
            bot.is_bot = True
            bot.save(update_fields=["is_bot"])

        with Elsewhere(
            lambda: transitions.acknowledge(
                incident_id=incident.pk, by=person, now=NOW + timedelta(seconds=3)
            )
        ) as first:
            thread = meets_a_lock(become_a_bot)
            first.commit()
            thread.join(30)

        assert kept(incident)[:4] == (None, None, None, "open")
        assert kept(incident) == wanted(incident)


@pytest.fixture
def fresh_cache():
    cache.clear()
    yield
    cache.clear()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("fresh_cache")
class TestKept:
    def acknowledge(self, incident: Incident, seconds: int, person: User) -> None:
        transitions.acknowledge(incident_id=incident.pk, by=person, now=NOW + timedelta(seconds=seconds))

    def test_a_second_look_finds_the_first_and_a_change_ends_that(self):
        person, incident = make_user(), opened()
        assert [computed(), computed(), computed()] == [True, False, False]
        assert look().now.unanswered[Unanswered.OPEN] == 1

        self.acknowledge(incident, 70, person)

        assert points() == (70,)
        assert not computed()
        assert look() == look()

    def test_what_changes_nothing_in_the_figures_ends_nothing(self):
        person, incident = make_user(), opened()
        look()

        transitions.add_note(incident_id=incident.pk, text="Look", by=person, now=NOW)
        rebuild()

        assert not computed()

    def test_another_choice_is_another_figure(self):
        opened(severity=1)
        opened(severity=2)
        choice = Choice(population=Population.PRODUCTION, since=NOW - DAY, until=NOW + DAY, severity=1)

        assert look().now.incidents == 2
        assert queries.overview(choice=choice, edges=[choice.since, choice.until]).now.incidents == 1
        assert look().now.incidents == 2

    def test_transactions_that_end_out_of_order_are_both_seen(self):
        person, other = make_user(), make_user()
        early, late = opened(), opened()
        with Elsewhere(lambda: self.acknowledge(early, 10, person)) as first:
            self.acknowledge(late, 20, other)  # begun later, ended earlier
            assert points() == (20,)
            assert points() == (20,)

            first.commit()

            assert points() == (10, 20)
        changed = dict(IncidentFigures.objects.values_list("pk", "changed_by"))
        assert changed[early.pk] < changed[late.pk]  # the newest number alone would have said: no change

    def test_three_that_end_in_the_opposite_order(self):
        people = [make_user() for _ in range(3)]
        incidents = [opened() for _ in range(3)]
        seen = []

        with (
            Elsewhere(lambda: self.acknowledge(incidents[0], 1, people[0])) as first,
            Elsewhere(lambda: self.acknowledge(incidents[1], 2, people[1])) as second,
            Elsewhere(lambda: self.acknowledge(incidents[2], 3, people[2])) as third,
        ):
            for each in (third, second, first):
                seen.append(points())
                each.commit()
        seen.append(points())

        assert seen == [(), (3,), (2, 3), (1, 2, 3)]
        assert not computed()

    def test_an_older_transaction_that_is_undone_changes_nothing(self):
        person, other = make_user(), make_user()
        early, late = opened(), opened()

        def undone() -> None:
            self.acknowledge(early, 10, person)
            transaction.set_rollback(True)

        with Elsewhere(undone):
            self.acknowledge(late, 20, other)
            assert points() == (20,)
        assert points() == (20,)

    def test_what_is_not_committed_is_seen_by_its_own_transaction_only(self):
        person, incident = make_user(), opened()
        assert points() == ()

        with transaction.atomic():
            self.acknowledge(incident, 10, person)
            assert points() == (10,)
            transaction.set_rollback(True)

        assert points() == ()

    def test_numbers_of_another_server_are_not_trusted(self):
        """A dump that was restored: its transactions are numbered higher than this server has come so far."""
        person, incident = make_user(), opened()
        IncidentFigures.objects.update(changed_by=2**60)
        assert [computed(), computed()] == [True, True]

        self.acknowledge(incident, 10, person)
        opened()

        assert look().now.incidents == 2

    def test_losing_the_cache_costs_time_only(self):
        self.acknowledge(opened(), 10, make_user())
        assert points() == (10,)

        cache.clear()

        assert computed()
        assert points() == (10,)

    def test_many_at_once_all_end_up_in_the_figures(self):
        """Openings do not wait for each other, and no look during them is kept for too long."""
        people = [make_user() for _ in range(4)]
        services = [make_service() for _ in range(4)]
        stop, seen = threading.Event(), []

        def work(number: int) -> None:
            try:
                for at in range(5):
                    incident = opened(service=services[number])
                    self.acknowledge(incident, 10 + at, people[number])
            finally:
                connection.close()

        def watch() -> None:
            try:
                while not stop.is_set():
                    seen.append(look().now.incidents)
            finally:
                connection.close()

        watcher = threading.Thread(target=watch)
        workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in [watcher, *workers]:
            thread.start()
        for thread in workers:
            thread.join(60)
        stop.set()
        watcher.join(60)

        found = look()
        assert (found.now.incidents, found.now.spreads[Measure.ACKNOWLEDGE].count) == (20, 20)
        assert seen == sorted(seen)
