"""Invented incidents obey the rules that real ones obey."""

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from demo import history
from demo.scenarios import SCENARIOS
from incidents.rules import MOVES

NOW = datetime(2026, 11, 24, 8, 20, tzinfo=UTC)

PEOPLE = {
    name: history.Actor(id=number, name=name.title())
    for number, name in enumerate(["ann", "bo", "cy", "bot"], 1)
}
TIERS = [
    history.Tier(
        level=level,
        name=f"Tier {level}",
        expected="Look",
        index=level,
        seconds={1: 120, 2: 180, 3: 300, 4: 600},
    )
    for level in (1, 2, 3)
]
WORLD = history.World(
    people=PEOPLE,
    services={each.service: (each.service, 1 + len(each.service) % 4) for each in SCENARIOS},
    tiers={each.service: TIERS for each in SCENARIOS},
    sender={each.service: "Alertmanager" for each in SCENARIOS},
    bot="bot",
    paged=lambda service, tier, at: [(["ann", "bo", "cy"][tier.level - 1], "On call")],
    commander=lambda at: "cy",
)

POT = history.pot(SCENARIOS, world=WORLD)

_STATUS = {
    "acknowledged": "acknowledged", "contained": "contained", "resolved": "resolved", "reopened": "triggered",
}  # fmt: skip


def make(seed: int, hours_ago: float, *, is_drill: bool = False) -> history.PastIncident:
    return history.make(
        random.Random(seed), out_of=POT, world=WORLD, at=NOW - timedelta(hours=hours_ago), now=NOW,
        is_drill=is_drill,
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.floats(5, 4000), st.booleans())
def test_every_course_follows_the_moves_of_an_incident_and_ends_resolved(seed, hours_ago, is_drill):
    past = make(seed, hours_ago, is_drill=is_drill)

    status = "triggered"
    for entry in past.entries:
        if entry.kind in _STATUS:
            assert _STATUS[entry.kind] in MOVES[status], [each.kind for each in past.entries]
            status = _STATUS[entry.kind]
    assert status == "resolved"
    assert past.entries[0].kind == "triggered"


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.floats(5, 4000))
def test_time_only_goes_forward_and_all_of_it_is_past(seed, hours_ago):
    past = make(seed, hours_ago)

    times = [entry.at for entry in past.entries]
    assert times == sorted(times)
    assert past.triggered_at == times[0]
    assert times[-1] < NOW
    assert all(page.status != "paging" and page.ended_at >= page.paged_at for page in past.pages)
    assert all(alert.first_seen_at <= alert.last_seen_at <= alert.resolved_at for alert in past.alerts)


def test_the_same_seed_tells_the_same_story():
    assert make(7, 100) == make(7, 100)
    assert make(7, 100) != make(8, 100)


def test_acknowledgements_spread_as_people_do():
    answered = [
        past for seed in range(600) if (past := make(seed, 1990)).acknowledged_at and past.urgency == "high"
    ]
    seconds = sorted((past.acknowledged_at - past.triggered_at).total_seconds() for past in answered)

    assert 30 < seconds[len(seconds) // 2] < 200
    assert 150 < seconds[len(seconds) * 9 // 10] < 900
    assert 0.1 < sum(len(past.pages) > 1 for past in answered) / len(answered) < 0.5


def test_some_end_before_anybody_answers():
    ended = [past for seed in range(600) if (past := make(seed, 1990)).acknowledged_at is None]

    assert 0.03 < len(ended) / 600 < 0.15
    assert all(past.resolved_by is None and past.severity >= 3 for past in ended)
