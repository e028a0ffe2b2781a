"""What is proved about a contact method, as a table, and in which order findings stand."""

from datetime import UTC, datetime, timedelta

import pytest

from readiness import rules
from readiness.rules import Finding, Proof

NOW = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
DAY = timedelta(days=1)
EVERY = 90 * DAY


@pytest.mark.parametrize(
    ("verified", "flagged", "is_off", "every", "proof"),
    [
        (None, None, False, EVERY, Proof.NONE),
        (1, None, True, EVERY, Proof.NONE),
        (1, None, False, EVERY, Proof.GOOD),
        (90, None, False, EVERY, Proof.DUE),
        (103, None, False, EVERY, Proof.DUE),
        (104, None, False, EVERY, Proof.LAPSED),
        (900, None, False, None, Proof.GOOD),
        (5, 1, False, EVERY, Proof.FLAGGED),
        (1, 5, False, EVERY, Proof.GOOD),  # verified again since
    ],
)
def test_a_proof_ages(verified, flagged, is_off, every, proof):
    ago = {None: None} | {days: NOW - days * DAY for days in (1, 5, 90, 103, 104, 900)}
    found = rules.proof(
        verified_at=ago[verified], flagged_at=ago[flagged], is_off=is_off, now=NOW, every=every
    )
    assert found == proof


@pytest.mark.parametrize(
    ("proofs", "why"),
    [
        ([], "no contact method is verified"),
        ([Proof.NONE], "no contact method is verified"),
        ([Proof.FLAGGED, Proof.NONE], "the last message to each contact method failed"),
        ([Proof.LAPSED, Proof.FLAGGED], "no contact method was confirmed lately"),
        ([Proof.DUE], ""),
        ([Proof.NONE, Proof.GOOD], ""),
    ],
)
def test_one_confirmed_method_lets_a_person_be_on_call(proofs, why):
    assert rules.why_not_reached(proofs) == why


def test_what_fails_tonight_stands_first_and_nothing_stands_twice():
    def finding(topic: str, level: str, about: str) -> Finding:
        return Finding(topic, level, about, "x", "y")

    rows = [
        finding("keys", "bad", "Key"), finding("engine", "soon", "Auditor"), finding("people", "bad", "Zoe"),
        finding("people", "bad", "adam"), finding("people", "bad", "adam"),
    ]  # fmt: skip
    assert [each.about for each in rules.in_order(rows)] == ["adam", "Zoe", "Key", "Auditor"]
    groups = rules.grouped([each.as_json() for each in rules.in_order(rows)])
    assert [(topic, len(found)) for topic, _, found in groups] == [("people", 2), ("keys", 1), ("engine", 1)]
