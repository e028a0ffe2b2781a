"""What is wrong with a policy in a week, as tables; no database."""

from datetime import UTC, datetime, timedelta

import pytest

from escalation.rules.lint import WEEK, Fault, Stretch, lint, say_times

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
DAY = timedelta(days=1)


def tier(level: int, **more: object) -> dict:
    return {"level": level, "name": f"T{level}", "targets": [{"kind": "user", "id": 1}], **more}


def policy(*tiers: dict, repeats: int = 1, **more: object) -> dict:
    return {"tiers": list(tiers), "repeats": repeats, "working_hours": [], "matrix": {}, **more}


def always(*people: int) -> list[Stretch]:
    return [Stretch(MONDAY, MONDAY + WEEK, frozenset(people))]


def texts(faults: list[Fault]) -> list[tuple[int | None, str]]:
    return [(each.level, each.text) for each in faults]


def test_a_policy_whose_steps_all_reach_somebody_has_no_fault():
    assert lint(policy(tier(1), tier(2)), staffing={0: always(1), 1: always(2)}) == []


NEVER = "This step can never be reached: "


@pytest.mark.parametrize(
    ("snapshot", "staffing", "found"),
    [
        (
            policy(tier(1), tier(2), matrix={str(n): {"start_level": 2} for n in (1, 2, 3, 4)}, repeats=0),
            {0: always(1), 1: always(2)},
            [(1, f"{NEVER}every severity begins at a later tier.")],
        ),
        (
            policy(tier(1, hours="in"), tier(2)), {0: always(1), 1: always(2)},
            [(1, f"{NEVER}it is for working hours, and the policy has none.")],
        ),
        (
            policy(tier(1, severities=[1], targets=[{"kind": "user", "id": 1, "severities": [3]}]), tier(2)),
            {0: always(1), 1: always(2)},
            [(1, f"{NEVER}its people are for other severities than the tier.")],
        ),
        (
            policy(tier(1), tier(2)), {0: always(1, 2), 1: always(2)},
            [(2, "Everybody here is paged by an earlier tier already, so this step is always passed.")],
        ),
        (
            policy(tier(1, hours="in"), tier(2, hours="out"), working_hours=[{"days": [0], "start": "09:00", "end": "17:00"}]),
            {0: always(1), 1: always(1)},
            [],
        ),
        (
            policy(tier(1, ack_mode="quorum", quorum=3), tier(2)), {0: always(1, 2), 1: always(4)},
            [(1, "3 have to answer, but at times only 2 can.")],
        ),
        (
            policy(tier(1), tier(2)), {0: always(), 1: always(2)},
            [(1, "Nobody can be reached here at any time of the coming week.")],
        ),
        (
            policy(tier(1), tier(2)),
            {0: [Stretch(MONDAY, MONDAY + 6 * DAY, frozenset({1})), Stretch(MONDAY + 6 * DAY, MONDAY + WEEK, frozenset())],
             1: always(2)},
            [(1, "Nobody can be reached here on Sundays.")],
        ),
        (
            policy(tier(1)), {0: always()},
            [
                (1, "Nobody can be reached here at any time of the coming week."),
                (None, "No tier reaches anybody: only the catch-all is ever paged."),
            ],
        ),
        (
            policy(tier(1), repeats=0), {0: always(1)},
            [(None, "One tier without repeats: after it comes the catch-all.")],
        ),
        (policy(tier(0, targets=[]), tier(1)), {1: always(1)}, []),
    ],
)  # fmt: skip
def test_pain_08_what_is_wrong_with_a_policy_is_said_before_the_night(snapshot, staffing, found):
    assert texts(lint(snapshot, staffing=staffing)) == found


@pytest.mark.parametrize(
    ("spans", "zone", "said"),
    [
        ([(0, 24)], "UTC", "on Mondays"),
        ([(120, 168)], "UTC", "on Saturdays and Sundays"),
        ([(120, 144), (144, 168)], "UTC", "on Saturdays and Sundays"),
        ([(18, 32)], "UTC", "from Mon 18:00 to Tue 08:00"),
        ([(18, 32), (42, 56), (66, 80)], "UTC", "from Mon 18:00 to Tue 08:00 and 2 more times in a week"),
        ([(23, 47)], "Europe/Berlin", "on Tuesdays"),
        ([(0, 24)], "Europe/Berlin", "from Mon 01:00 to Tue 01:00"),
    ],
)
def test_times_are_said_in_whole_days_where_they_are_whole_days_there(spans, zone, said):
    hour = timedelta(hours=1)
    stretches = [Stretch(MONDAY + a * hour, MONDAY + b * hour, frozenset()) for a, b in spans]
    assert say_times(stretches, zone=zone) == said
