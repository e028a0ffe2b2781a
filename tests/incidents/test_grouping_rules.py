"""Which alerts belong together and which are held back, as tables."""

from datetime import UTC, datetime, timedelta

import pytest

from incidents.grouping import rules
from incidents.grouping.rules import Member, Plan, Window
from incidents.rules import Candidate

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EU1 = {"severity": "error", "title": "5xx", "details": {"labels": {"cluster": "eu1", "job": "api"}, "n": 7}}


def alert(cluster: str, job: str = "api", severity: str = "error") -> dict:
    return {"severity": severity, "details": {"labels": {"cluster": cluster, "job": job}}}


def member(incident_id: int, cluster: str, *, job: str = "api", ago: int = 3, opened: int = 60) -> Member:
    return Member(
        incident_id=incident_id, opened_at=NOW - opened * MINUTE, last_seen_at=NOW - ago * MINUTE,
        alert=alert(cluster, job),
    )  # fmt: skip


def test_a_field_is_found_where_senders_put_it():
    for name, value in (
        ("cluster", "eu1"), ("labels.cluster", "eu1"), ("severity", "error"), ("title", "5xx"), ("n", "7"),
        ("labels", ""), ("absent", ""), ("labels.absent", ""),
    ):  # fmt: skip
        assert rules.value_of(EU1, name) == value, name


ALL = Plan(mode="all", fields=("cluster", "job"), seconds=600)
ANY = Plan(mode="any", fields=("cluster", "job"), seconds=600)
OPEN = Plan(mode="open")


@pytest.mark.parametrize(
    ("plan", "candidates", "members", "opened", "joins", "because"),
    [
        (ALL, [], [], 0, None, ""),
        (ALL, [1], [member(1, "eu1")], 0, 1, "cluster=eu1, job=api, 3 min after the last"),
        (ALL, [1], [member(1, "eu1", job="db")], 0, None, ""),
        (ANY, [1], [member(1, "eu1", job="db")], 0, 1, "cluster=eu1, 3 min after the last"),
        (ANY, [1], [member(1, "us2", job="db")], 0, None, ""),
        (ALL, [2, 1], [member(2, "us2"), member(1, "eu1")], 0, 1, "cluster=eu1, job=api, 3 min after the last"),
        (ALL, [1], [member(1, "eu1", ago=11)], 0, None, ""),  # the window is over
        (ALL, [1], [member(1, "eu1", opened=24 * 60 + 1)], 0, None, ""),  # never longer than a day
        (ALL, [1], [member(1, "us2")], 20, 1, "alert storm: 20 incidents of this service within 60 s"),
        (Plan(mode="all", fields=("absent",)), [1], [member(1, "eu1")], 0, None, ""),  # nothing equals nothing
        (OPEN, [1], [], 0, 1, "all alerts of this service share one until it is resolved"),
        (OPEN, [], [], 0, None, ""),
        (Plan(minutes=0), [1], [], 0, None, ""),
    ],
)  # fmt: skip
def test_an_alert_joins_by_content_and_says_why(plan, candidates, members, opened, joins, because):
    found = rules.choose(
        [Candidate(pk, NOW - MINUTE) for pk in candidates], members, alert=alert("eu1"), plan=plan,
        opened_in_window=opened, now=NOW,
    )  # fmt: skip
    assert (found.incident_id, found.because) == (joins, because) if joins else found is None


def test_what_its_sender_groups_stays_together_whatever_the_plan():
    found = rules.choose(
        [Candidate(9, None, same_group=True)], [member(1, "eu1")], alert=alert("eu1"), plan=ALL, opened_in_window=0,
        now=NOW,
    )  # fmt: skip
    assert found.incident_id == 9


def test_an_alert_flaps_when_it_opens_often_enough_and_never_when_that_is_off():
    openings = [NOW - minutes * MINUTE for minutes in (1, 5, 29, 31)]
    assert rules.openings_in(openings, minutes=30, now=NOW) == 4
    assert [rules.is_flapping(openings, count=count, minutes=30, now=NOW) for count in (0, 4, 5)] == [
        False, True, False,
    ]  # fmt: skip


def test_a_flapping_alert_has_settled_when_nothing_changed_for_long_enough():
    def look(cleared: int | None, *, seen: int, count: int) -> rules.Settled:
        at = None if cleared is None else NOW - cleared * MINUTE
        return rules.settled(held_clear_at=at, seen_count=seen, count=count, stable=15 * MINUTE, now=NOW)

    assert look(15, seen=4, count=4) == rules.Settled(over=True)
    assert look(5, seen=4, count=9) == rules.Settled(again_at=NOW + 10 * MINUTE)
    assert look(None, seen=4, count=4) == rules.Settled(steady=True)
    assert look(None, seen=4, count=5) == rules.Settled(again_at=NOW + 15 * MINUTE)


def window(*, ends: int = 60, pierces: bool = False, **condition: str) -> Window:
    return Window(
        id=ends, name="m", starts_at=NOW, ends_at=NOW + ends * MINUTE, conditions=[condition] if condition else [],
        critical_pierces=pierces,
    )  # fmt: skip


def test_maintenance_holds_what_its_conditions_name():
    eu1 = {"field": "cluster", "op": "is", "value": "EU1"}
    for windows, says, held in (
        ([window()], alert("eu1"), 60),
        ([window(**eu1)], alert("eu1"), 60),
        ([window(**eu1)], alert("us2"), None),
        ([window(field="cluster", op="is_not", value="eu1")], alert("us2"), 60),
        ([window(field="cluster", op="contains", value="u")], alert("eu1"), 60),
        ([window(field="cluster", op="like", value="eu*")], alert("eu1"), 60),
        ([window(field="cluster", op="like", value="eu*")], alert("us2"), None),
        ([window(pierces=True)], alert("eu1", severity="critical"), None),
        ([window(pierces=True)], alert("eu1", severity="error"), 60),
        ([window(ends=10), window(ends=30)], alert("eu1"), 30),
    ):
        found = rules.holding(windows, alert=says, now=NOW)
        assert (found.id if found else None) == held
    ended = window(ends=10)
    assert rules.holding([ended], alert=alert("eu1"), now=NOW + 10 * MINUTE) is None
    assert rules.holding([ended], alert=alert("eu1"), now=NOW - MINUTE) is None


def test_a_recurrence_keeps_its_clock_on_the_wall_when_clocks_are_set():
    first = datetime(2026, 10, 18, 0, 30, tzinfo=UTC)  # 02:30 in Berlin, summer time, a Sunday
    spans, after = [], first - MINUTE
    for _ in range(3):
        found = rules.next_span(
            "FREQ=WEEKLY;BYDAY=SU", first=first, zone="Europe/Berlin", minutes=60, after=after
        )
        spans.append(found)
        after = found[1]
    # On 25 October 02:30 comes twice: it begins at the first and ends with the last 03:30.
    assert spans == [
        (first, datetime(2026, 10, 18, 1, 30, tzinfo=UTC)),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 2, 30, tzinfo=UTC)),
        (datetime(2026, 11, 1, 1, 30, tzinfo=UTC), datetime(2026, 11, 1, 2, 30, tzinfo=UTC)),
    ]
    gone = rules.next_span(
        "FREQ=DAILY;COUNT=2", first=NOW, zone="UTC", minutes=60, after=NOW + 48 * 60 * MINUTE
    )
    assert gone is None
    assert rules.next_span("", first=NOW, zone="UTC", minutes=60, after=NOW + 60 * MINUTE) is None


@pytest.mark.parametrize(
    "bad",
    ["FREQ=HOURLY", "FREQ=DAILY;BYSECOND=1", "BYDAY=SU", "FREQ=WEEKLY;BYDAY=XX", "FREQ=DAILY;INTERVAL=x",
     "FREQ=DAILY;UNTIL=20200101T000000Z", "FREQ=DAILY"],
)  # fmt: skip
def test_a_recurrence_that_never_happens_overlaps_or_is_none_is_refused(bad):
    minutes = 25 * 60 if bad == "FREQ=DAILY" else 60
    with pytest.raises(rules.BadRecurrence):
        rules.check_recurrence(bad, first=NOW, zone="UTC", minutes=minutes)


def test_a_recurrence_is_said_in_words():
    for text, words in (
        ("", "Once"),
        ("FREQ=DAILY", "Every day"),
        ("FREQ=WEEKLY;BYDAY=SA,SU", "Every week on Sat, Sun"),
        ("FREQ=MONTHLY;INTERVAL=2;BYDAY=1SU", "Every 2 months on 1. Sun"),
        ("FREQ=DAILY;COUNT=5", "Every day, 5 times"),
        ("FREQ=WEEKLY;UNTIL=20270131T000000", "Every week, until 2027-01-31"),
    ):
        rules.check_recurrence(text or "FREQ=DAILY", first=NOW, zone="UTC", minutes=60)
        assert rules.say_recurrence(text) == words


def test_an_action_that_helped_within_the_hour_gets_no_second_window():
    ask = {"seconds": 300, "now": NOW}
    assert rules.tier0_until(helped_last_at=None, **ask) == NOW + 5 * MINUTE
    assert rules.tier0_until(helped_last_at=NOW - 59 * MINUTE, **ask) is None
    assert rules.tier0_until(helped_last_at=NOW - 60 * MINUTE, **ask) == NOW + 5 * MINUTE
    assert rules.tier0_until(seconds=0, helped_last_at=None, now=NOW) is None


@pytest.mark.parametrize(
    ("status", "body", "path", "wanted", "passes"),
    [
        (200, None, "", "", True),
        (503, {"ok": True}, "ok", "true", False),
        (200, {"ok": True}, "ok", "true", True),
        (200, {"ok": False}, "ok", "true", False),
        (200, {"a": [{"b": 3}]}, "a.0.b", "3", True),
        (200, {"a": []}, "a.0.b", "3", False),
        (200, None, "ok", "true", False),
        (200, "text", "ok", "true", False),
    ],
)
def test_a_check_passes_by_status_and_value(status, body, path, wanted, passes):
    assert rules.passes(status=status, body=body, path=path, wanted=wanted) is passes
