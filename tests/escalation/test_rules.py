"""Who is paged when, as tables of values and as properties over policies that nobody thought of."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escalation import rules
from escalation.rules import (
    Candidate,
    CatchAll,
    Cause,
    Outcome,
    Paged,
    PageTier,
    Position,
    Situation,
    TargetData,
    TierData,
    WaitAt,
)
from escalation.rules.policy import PolicyData

TUESDAY = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
SUNDAY = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
SECONDS = {"1": 60, "2": 120, "3": 180, "4": 240}


def a_target(number: int, **more):
    return {"kind": "schedule", "id": number, "role": "", "name": f"S{number}", **more}


def a_tier(level: int, *targets: int | dict, **more):
    named = [each if isinstance(each, dict) else a_target(each) for each in targets]
    return {
        "level": level, "name": f"T{level}", "criteria": "", "expected": "act", "expertise": "", "ack_seconds": SECONDS,
        "targets": named, **more,
    }  # fmt: skip


def a_policy(*tiers, repeats=0, **more):
    return {
        "policy": 1, "name": "P", "version": 1, "repeats": repeats, "catch_all": [], "catch_all_every_seconds": 900,
        "working_hours": [{"days": [0, 1, 2, 3, 4], "start": "09:00", "end": "17:00"}], "tiers": list(tiers), **more,
    }  # fmt: skip


def staffed(snapshot, who: dict[int, list[int]]):
    """By id of the schedule, who is on call there."""

    def staffing(index: int):
        return [
            [Candidate(user, "on call") for user in who.get(target["id"], [])]
            for target in snapshot["tiers"][index]["targets"]
        ]

    return staffing


def decide(snapshot, who, *, at=TUESDAY, severity=1, timed=True, **more):
    return rules.decide(
        snapshot,
        Position(0, 0),
        situation=Situation(severity, at, timed),
        staffing=staffed(snapshot, who),
        **more,
    )


def people(decision):
    return [each.user_id for each in decision.then.recipients]


@pytest.mark.parametrize(
    ("when_unstaffed", "timed", "outcome", "paged"),
    [
        ("skip", True, Outcome.SKIPPED, [2]),
        ("hold_until_staffed", True, Outcome.HELD, [2]),
        ("wait", True, None, None),
        ("wait", False, Outcome.SKIPPED, [2]),  # without a countdown nothing would follow
    ],
)
def test_a_tier_without_anybody_does_what_it_was_told_to(when_unstaffed, timed, outcome, paged):
    snapshot = a_policy(a_tier(1, 1, when_unstaffed=when_unstaffed), a_tier(2, 2))
    decision = decide(snapshot, {2: [2]}, timed=timed)
    if paged is None:
        assert decision.then == WaitAt(Position(0, 0), "nobody is on call on S1")
        assert decision.passed == []
    else:
        assert people(decision) == paged
        assert [(each.outcome, each.position) for each in decision.passed] == [(outcome, Position(0, 0))]


@pytest.mark.parametrize("when_unstaffed", ["skip", "hold_until_staffed", "wait"])
def test_nobody_anywhere_is_the_catch_all_at_once_whatever_the_tiers_say(when_unstaffed):
    snapshot = a_policy(
        a_tier(1, 1, when_unstaffed=when_unstaffed), a_tier(2, 2, when_unstaffed=when_unstaffed), repeats=20
    )
    decision = decide(snapshot, {})
    assert decision.then == CatchAll("no tier is left that has somebody", nobody=True)
    assert len(decision.passed) == 2
    [step] = rules.plan(
        snapshot, severity=1, urgent=True, at=TUESDAY, staffing=lambda index, at: staffed(snapshot, {})(index)
    )
    assert step.at == TUESDAY


@pytest.mark.parametrize(
    ("more", "at", "severity", "counts"),
    [
        ({}, SUNDAY, 4, True),
        ({"hours": "in"}, TUESDAY, 1, True),
        ({"hours": "in"}, SUNDAY, 1, False),
        ({"hours": "out"}, TUESDAY, 1, False),
        ({"hours": "out"}, SUNDAY, 1, True),
        ({"hours": "in", "zone": "Asia/Tokyo"}, TUESDAY, 1, False),  # 19:00 there
        ({"hours": "in", "zone": "America/New_York"}, TUESDAY, 1, False),  # 05:00 there
        ({"hours": "in", "zone": "Europe/Kyiv"}, TUESDAY + timedelta(hours=5), 1, False),  # 17:00 is over
        ({"hours": "in", "zone": "No/Where"}, TUESDAY, 1, True),  # UTC then
        ({"severities": [1, 2]}, TUESDAY, 2, True),
        ({"severities": [1, 2]}, TUESDAY, 3, False),
        ({"severities": [3], "hours": "in"}, SUNDAY, 3, False),
    ],
)
def test_a_tier_and_a_target_count_by_hours_and_severity(more, at, severity, counts):
    as_tier = a_policy(a_tier(1, 1, **more), a_tier(2, 2))
    assert people(decide(as_tier, {1: [1], 2: [2]}, at=at, severity=severity)) == ([1] if counts else [2])
    as_target = a_policy(a_tier(1, a_target(1, **more), 2))
    assert people(decide(as_target, {1: [1], 2: [2]}, at=at, severity=severity)) == (
        [1, 2] if counts else [2]
    )


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens():
    nights = a_policy(
        a_tier(1, 1, hours="in"), working_hours=[{"days": [4], "start": "22:00", "end": "06:00"}]
    )
    friday = datetime(2026, 11, 27, 23, 0, tzinfo=UTC)
    for hours, inside in ((-2, False), (0, True), (6, True), (7, False), (24, False)):
        assert rules.in_working_hours(nights, zone="UTC", at=friday + timedelta(hours=hours)) is inside


def test_targets_take_turns_and_one_without_anybody_loses_its_turn():
    snapshot = a_policy(a_tier(1, 1, 2, 3, round_robin=True), a_tier(2, 4))
    everybody = {1: [1], 2: [2], 3: [3], 4: [4]}
    for turn, expected in ((0, [1]), (1, [2]), (2, [3]), (5, [3])):
        decision = decide(snapshot, everybody, turns={1: turn})
        assert (people(decision), decision.then.target) == (expected, turn % 3)
    decision = decide(snapshot, {**everybody, 2: []}, turns={1: 1})
    assert (people(decision), decision.then.target) == ([3], 2)
    assert people(decide(snapshot, {4: [4]}, turns={1: 1})) == [4]


@pytest.mark.parametrize(
    ("tier", "people", "answered", "enough", "words"),
    [
        ({}, {1, 2, 3}, {2}, True, "1 of 3 answered"),
        ({"ack_mode": "any"}, {1, 2}, set(), False, "0 of 2 answered"),
        ({"ack_mode": "all"}, {1, 2, 3}, {1, 2}, False, "2 of 3 answered"),
        ({"ack_mode": "all"}, {1, 2, 3}, {1, 2, 3}, True, "3 of 3 answered"),
        ({"ack_mode": "quorum", "quorum": 2}, {1, 2, 3}, {1}, False, "1 of 3 answered, 2 have to"),
        ({"ack_mode": "quorum", "quorum": 2}, {1, 2, 3}, {1, 9}, False, "1 of 3 answered, 2 have to"),
        ({"ack_mode": "quorum", "quorum": 2}, {1, 2, 3}, {1, 3}, True, "2 of 3 answered, 2 have to"),
        ({"ack_mode": "quorum", "quorum": 5}, {1, 2}, {1, 2}, True, "2 of 2 answered"),
    ],
)
def test_a_tier_is_answered_by_one_by_everybody_or_by_so_many_of_its_people(
    tier, people, answered, enough, words
):
    tally = rules.tally(tier, paged=people, answered=answered)
    assert (tally.is_enough, str(tally)) == (enough, words)


def test_the_matrix_says_where_to_begin_and_shortens_the_time_to_answer():
    cell = {"urgency": "", "start_level": 2, "answer_seconds": 30, "commander": ""}
    snapshot = a_policy(a_tier(1, 1), a_tier(3, 2), matrix={"1": cell, "2": {**cell, "start_level": 9}})
    assert rules.start_position(snapshot, severity=1) == Position(1, 0)
    assert rules.start_position(snapshot, severity=2) == Position(0, 0)  # no tier is so high
    assert rules.start_position(snapshot, severity=3) == Position(0, 0)
    times = [rules.time_to_answer(snapshot, snapshot["tiers"][0], severity).seconds for severity in (1, 2, 3)]
    assert times == [30, 30, 180]


@pytest.mark.parametrize(
    ("cause", "after", "index"),
    [
        (Cause("containment_missed"), 0, 1),
        (Cause("containment_missed"), 1, None),  # never back
        (Cause("impact_grew"), 0, 2),
        (Cause("expertise", "Database"), 0, 2),
        (Cause("expertise", "network"), 0, 3),  # the tier's own expertise
        (Cause("expertise", "storage"), 0, None),
    ],
)
def test_a_criterion_has_a_tier_paged_before_its_turn(cause, after, index):
    snapshot = a_policy(
        a_tier(1, 1),
        a_tier(2, 2, early=[{"kind": "containment_missed"}]),
        a_tier(3, 3, early=[{"kind": "impact_grew"}, {"kind": "expertise", "field": "database"}]),
        a_tier(4, 4, early=[{"kind": "expertise"}], expertise="Network"),
    )
    assert rules.entered_by(snapshot, cause, after=after) == index


def test_whoever_comes_on_call_joins_and_nobody_is_paged_twice():
    snapshot = a_policy(a_tier(1, 1), a_tier(2, 2))
    joins = rules.joining(
        snapshot, Position(0, 0), situation=Situation(1, TUESDAY), staffing=staffed(snapshot, {1: [1, 5, 7]}),
        paged=[Paged(0, 1, 1), Paged(0, 2, 7)],
    )  # fmt: skip
    assert [each.user_id for each in joins] == [5]


def test_a_plan_has_handoffs_and_held_tiers_at_their_times():
    snapshot = a_policy(a_tier(1, 1, when_unstaffed="hold_until_staffed", hold_seconds=3600), a_tier(2, 2))
    handoff = TUESDAY + timedelta(seconds=20)

    def staffing(index, at):
        later = {1: [9], 2: [3]} if at >= handoff else {2: [2]}
        return staffed(snapshot, later)(index)

    steps = rules.plan(
        snapshot, severity=1, urgent=True, at=TUESDAY, staffing=staffing,
        changes=lambda index, at: handoff if at < handoff else None,
    )  # fmt: skip
    told = [((step.at - TUESDAY).seconds, [each.user_id for each in step.joins]) for step in steps]
    assert told == [(0, []), (20, [9]), (20, [3]), (60, [])]
    assert steps[-1].decision.then == CatchAll("all repeats are over", exhausted=True)


# --- properties ---------------------------------------------------------------------------------------------------

USERS = st.integers(1, 6)
targets = st.builds(
    a_target, st.integers(1, 5), hours=st.sampled_from(["", "in", "out"]),
    severities=st.lists(st.integers(1, 4), max_size=3),
)  # fmt: skip


@st.composite
def policies(draw):
    levels = sorted(draw(st.sets(st.integers(0, 9), min_size=1, max_size=5)))
    tiers = [
        a_tier(
            level, *draw(st.lists(targets, max_size=3)),
            when_unstaffed=draw(st.sampled_from(["skip", "hold_until_staffed", "wait"])), hold_seconds=600,
            round_robin=draw(st.booleans()), hours=draw(st.sampled_from(["", "in", "out"])),
            severities=draw(st.lists(st.integers(1, 4), max_size=2)),
            ack_mode=draw(st.sampled_from(["any", "all", "quorum"])), quorum=draw(st.integers(1, 4)),
        )
        for level in levels
    ]  # fmt: skip
    start_level = draw(st.none() | st.integers(0, 9))
    cell = {"urgency": "", "start_level": start_level, "answer_seconds": draw(st.none() | st.integers(1, 90))}
    return a_policy(*tiers, repeats=draw(st.integers(0, 4)), matrix={"1": cell})


WORLDS = st.lists(
    st.dictionaries(st.integers(1, 5), st.lists(USERS, max_size=3), max_size=5), min_size=1, max_size=4
)


@settings(max_examples=200, deadline=None)
@given(
    snapshot=policies(), worlds=WORLDS, severity=st.integers(1, 4), urgent=st.booleans(),
    hour=st.integers(0, 167),
)  # fmt: skip
def test_every_plan_ends_in_somebody_and_pages_each_person_once_in_a_tier_and_pass(
    snapshot, worlds, severity, urgent, hour
):
    """Whatever the policy, whoever is there: somebody is paged at once or the tier was told to wait; it ends with the
    catch-all when urgent; nobody is paged twice in a tier and pass; times only go forward."""
    at = SUNDAY + timedelta(hours=hour)

    def staffing(index, moment):  # who is on call changes every 45 s
        world = worlds[int((moment - at).total_seconds()) // 45 % len(worlds)]
        return staffed(snapshot, world)(index)

    def change(index, moment):
        return at + timedelta(seconds=45) * (int((moment - at).total_seconds()) // 45 + 1)

    steps = rules.plan(snapshot, severity=severity, urgent=urgent, at=at, staffing=staffing, changes=change)
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    last = steps[-1].decision.then
    assert isinstance(last, CatchAll) if urgent else isinstance(last, PageTier | CatchAll)
    seen: set[tuple[int, int, int]] = set()
    for step in steps:
        then = step.decision.then
        if isinstance(then, CatchAll):
            continue
        chosen = [each.user_id for each in (step.joins or getattr(then, "recipients", ()))]
        assert chosen or isinstance(then, WaitAt)
        for user in chosen:
            key = (then.position.loop, then.position.index, user)
            assert key not in seen
            seen.add(key)
    if not any(any(world.values()) for world in worlds):
        assert isinstance(steps[0].decision.then, CatchAll)
        assert steps[0].at == at


# --- a policy that is saved -----------------------------------------------------------------------------------------


def _policy(**more):
    tier = {
        "level": 1, "name": "On call", "expected_outcome": "Act.", "ack_seconds": dict.fromkeys((1, 2, 3, 4), 300),
        "targets": [TargetData(kind="user", id=1)], **more,
    }  # fmt: skip
    return PolicyData(name="P", tiers=[TierData(**tier)])


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"ack_mode": "most"}, "How many answers tier 1 needs: one of any, all, quorum."),
        ({"ack_mode": "quorum", "quorum": 0}, "How many answers tier 1 needs: from 1 to 100."),
        (
            {"ack_mode": "all", "round_robin": True},
            "Tier 1 pages one target after the other, so one answer is enough there.",
        ),
        (
            {"when_unstaffed": "drop"},
            "When nobody is there, tier 1 does one of skip, hold_until_staffed, wait.",
        ),
        (
            {"when_unstaffed": "hold_until_staffed", "hold_limit_minutes": 0},
            "Tier 1 waits for somebody from 1 minute to 7 days.",
        ),
        (
            {"hours": "night"},
            "Tier 1 counts at any time (empty), in working hours (in) or outside them (out).",
        ),
        ({"severities": [5]}, "Tier 1 counts for severities from 1 to 4."),
        (
            {"early": [{"kind": "boredom"}]},
            "Tier 1 is paged early for one of containment_missed, impact_grew, expertise, with a field for expertise.",
        ),
        (
            {"early": [{"kind": "expertise"}]},
            "Say which expertise tier 1 has, so that it is paged when it is needed.",
        ),
    ],
)
def test_what_is_wrong_with_a_tier_is_said_in_a_sentence(more, sentence):
    assert rules.faults(_policy(**more)) == {"tiers.1": [sentence]}
    assert rules.faults(_policy()) == {}
