from datetime import UTC, datetime, timedelta

import pytest

from core.errors import Refused
from incidents import rules
from incidents.rules import Candidate, group

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("alert", "by_criticality"),
    [
        ("critical", (1, 2, 2, 3)),
        ("error", (2, 2, 3, 3)),
        ("warning", (3, 3, 4, 4)),
        ("info", (4, 4, 4, 4)),
        ("unheard-of", (2, 2, 3, 3)),
    ],
)
def test_severity_is_alert_severity_by_criticality(alert, by_criticality):
    assert tuple(rules.severity_for(alert, criticality) for criticality in (1, 2, 3, 4)) == by_criticality


@pytest.mark.parametrize(
    ("alert", "severity", "urgency"),
    [
        ("critical", 3, "high"),
        ("error", 3, "high"),
        ("warning", 3, "low"),
        ("info", 4, "low"),
        ("warning", 2, "high"),
    ],
)
def test_urgency_is_the_senders_unless_the_incident_is_severe(alert, severity, urgency):
    assert rules.urgency_for(alert, severity) == urgency


@pytest.mark.parametrize(
    ("now_is", "allowed"),
    [
        ("triggered", {"acknowledged", "contained", "resolved"}),
        ("acknowledged", {"triggered", "contained", "resolved"}),
        ("contained", {"triggered", "resolved"}),
        ("resolved", {"triggered"}),
    ],
)
def test_moves(now_is, allowed):
    for wanted in rules.MOVES:
        if wanted in allowed:
            rules.check_move(now_is, wanted)
        else:
            with pytest.raises(Refused):
                rules.check_move(now_is, wanted)


def seconds_ago(seconds: int) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("candidates", "window", "opened", "joins"),
    [
        ([], 5, 0, None),
        ([Candidate(7, seconds_ago(300))], 5, 0, 7),
        ([Candidate(7, seconds_ago(301))], 5, 0, None),
        ([Candidate(7, seconds_ago(1))], 0, 19, None),
        ([Candidate(7, seconds_ago(1))], 0, 20, 7),
        ([], 0, 20, None),
        ([Candidate(9, None, same_group=True)], 0, 0, 9),
    ],
)
def test_grouping(candidates, window, opened, joins):
    found = group(candidates, window_minutes=window, opened_in_window=opened, now=NOW)
    assert (found.incident_id if found else None) == joins


def test_a_page_says_the_most_important_first_and_a_drill_says_so():
    text = rules.page_text(
        ref="INC-7", title="5xx", severity=1, service="checkout-api", impact="38% fail", is_drill=True,
        reason="Primary", expected="Roll back", otherwise="Tier 2 is paged in 2 min",
    )  # fmt: skip
    assert text.title == "DRILL SEV1 5xx"
    assert text.body.splitlines() == [
        "DRILL SEV1 checkout-api: 5xx (INC-7)",
        "How bad: 38% fail",
        "Expected of you: Roll back",
        "Why you: Primary",
        "Without an answer: Tier 2 is paged in 2 min",
    ]
