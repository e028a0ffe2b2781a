import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications import rules
from notifications.rules import Claim, Step, Verdict, Way

NOW = datetime(2026, 11, 24, 2, 41, tzinfo=UTC)
MAIL = Way(1, "email", "ravi@example.org")
OTHER_MAIL = Way(2, "email", "ravi@example.net")
HOOK = Way(3, "webhook", "https://example.org/ravi")
SIGN_IN = "sign-in@example.org"


def plan(steps=(), ways=(), urgency="high", sign_in_address=SIGN_IN):
    return rules.plan(urgency=urgency, steps=steps, ways=ways, sign_in_address=sign_in_address)


def shape(planned):
    return [(each.delay_seconds, each.way) for each in planned.deliveries]


def test_each_step_gives_one_message_at_its_time():
    planned = plan([Step(300, HOOK), Step(0, MAIL)], [MAIL, HOOK])

    assert shape(planned) == [(0, MAIL), (300, HOOK)]
    assert [each.reason for each in planned.deliveries] == [
        "Rule for high urgency: at once",
        "Rule for high urgency: after 5 min",
    ]
    assert not planned.unreachable


def test_the_same_step_twice_gives_one_message():
    assert shape(plan([Step(0, MAIL), Step(0, MAIL), Step(60, MAIL)], [MAIL])) == [(0, MAIL), (60, MAIL)]


def test_without_a_rule_for_the_urgency_a_verified_mail_address_is_used_at_once():
    planned = plan([], [HOOK, MAIL], urgency="low")

    assert shape(planned) == [(0, MAIL)]
    assert planned.deliveries[0].reason == "No rule for low urgency: sent at once"
    assert not planned.unreachable


def test_without_a_rule_and_without_mail_any_verified_method_is_used():
    assert shape(plan([], [HOOK])) == [(0, HOOK)]


def test_nothing_verified_uses_the_sign_in_address_at_once_and_says_so():
    planned = plan()

    assert shape(planned) == [(0, Way(None, "email", SIGN_IN))]
    assert planned.unreachable


def test_without_any_address_nothing_is_sent_and_it_is_said():
    assert plan(sign_in_address="") == rules.Plan((), unreachable=True)


ways = st.sampled_from([MAIL, OTHER_MAIL, HOOK])
steps = st.lists(st.builds(Step, st.integers(0, 86_400), ways), max_size=8)


@given(steps, st.lists(ways, unique=True, max_size=3))
def test_a_person_with_an_address_is_always_told_by_something(given_steps, given_ways):
    planned = plan(given_steps, given_ways)

    assert planned.deliveries
    assert len(set(shape(planned))) == len(planned.deliveries)
    assert planned.unreachable == (not given_steps and not given_ways)
    assert shape(planned) == sorted(shape(planned), key=lambda each: each[0])


def test_a_failed_channel_turns_to_another_kind_first_and_to_the_sign_in_address_last():
    used = {("email", MAIL.address)}
    assert rules.next_way(ways=[MAIL, OTHER_MAIL, HOOK], used=used, sign_in_address=SIGN_IN) == HOOK
    used.add(("webhook", HOOK.address))
    assert rules.next_way(ways=[MAIL, OTHER_MAIL, HOOK], used=used, sign_in_address=SIGN_IN) == OTHER_MAIL
    used.add(("email", OTHER_MAIL.address))
    assert rules.next_way(ways=[MAIL, OTHER_MAIL, HOOK], used=used, sign_in_address=SIGN_IN) == Way(
        None, "email", SIGN_IN
    )
    used.add(("email", SIGN_IN))
    assert rules.next_way(ways=[MAIL, OTHER_MAIL, HOOK], used=used, sign_in_address=SIGN_IN) is None


@pytest.mark.parametrize(
    ("status", "active", "attempts", "claimed_ago", "expected"),
    [
        ("waiting", True, 0, None, Claim.SEND),
        ("waiting", True, 4, None, Claim.SEND),
        ("waiting", True, 5, None, Claim.GIVE_UP),
        ("waiting", False, 0, None, Claim.CANCEL),
        ("sending", True, 1, 44, Claim.WAIT),
        ("sending", False, 1, 44, Claim.WAIT),
        ("sending", True, 1, 45, Claim.SEND),
        ("sending", True, 5, 45, Claim.GIVE_UP),
        ("sending", False, 1, 45, Claim.CANCEL),
        ("sent", True, 1, 60, Claim.NOTHING),
        ("failed", True, 5, 60, Claim.NOTHING),
        ("cancelled", False, 0, None, Claim.NOTHING),
    ],
)
def test_what_a_due_delivery_calls_for(status, active, attempts, claimed_ago, expected):
    claimed_at = None if claimed_ago is None else NOW - timedelta(seconds=claimed_ago)

    assert (
        rules.claim(status=status, active=active, attempts=attempts, claimed_at=claimed_at, now=NOW)
        is expected
    )


@pytest.mark.parametrize(
    ("outcome", "status", "active", "attempts", "attempt", "expected"),
    [
        ("sent", "sending", True, 1, 1, Verdict.SENT),
        ("sent", "sending", False, 1, 1, Verdict.SENT),  # it left before the answer came
        ("sent", "sending", True, 2, 1, Verdict.SENT),  # late, and true all the same
        ("sent", "failed", True, 5, 5, Verdict.SENT),
        ("sent", "cancelled", False, 1, 1, Verdict.SENT),
        ("sent", "sent", True, 2, 1, Verdict.IGNORE),
        ("transient", "sending", True, 1, 1, Verdict.RETRY),
        ("transient", "sending", True, 4, 4, Verdict.RETRY),
        ("transient", "sending", True, 5, 5, Verdict.FAILED),
        ("transient", "sending", False, 1, 1, Verdict.CANCELLED),
        ("transient", "sending", True, 2, 1, Verdict.IGNORE),
        ("transient", "sent", True, 1, 1, Verdict.IGNORE),
        ("permanent", "sending", True, 1, 1, Verdict.FAILED),
        ("permanent", "sending", False, 1, 1, Verdict.CANCELLED),
        ("permanent", "sending", True, 2, 1, Verdict.IGNORE),
        ("dropped", "sending", True, 1, 1, Verdict.AGAIN),
        ("dropped", "sending", False, 1, 1, Verdict.CANCELLED),
        ("sent", "machine", True, 1, 1, Verdict.IGNORE),
        ("dropped", "waiting", True, 1, 1, Verdict.IGNORE),
    ],
)
def test_what_an_outcome_makes_of_a_delivery(outcome, status, active, attempts, attempt, expected):
    assert (
        rules.verdict(outcome=outcome, status=status, active=active, attempts=attempts, attempt=attempt)
        is expected
    )


def test_the_back_off_grows_and_the_last_attempt_comes_within_seven_minutes():
    waits = [(rules.retry_at(attempts=number, now=NOW) - NOW).total_seconds() for number in range(1, 5)]

    assert waits == [5, 15, 60, 300]
    assert rules.MAX_ATTEMPTS == 5


def test_readiness_names_what_is_missing_most_serious_first():
    assert rules.readiness(ways=[], steps={}) == [
        "No verified contact method. Pages go to the sign-in address, and count as not reached."
    ]
    assert rules.readiness(ways=[MAIL], steps={"high": [Step(300, MAIL)]}) == [
        "No rule for low urgency. A page is sent at once to one method only.",
        "The first message of a high-urgency page waits 5 min.",
        "One kind of channel for high urgency. If it fails, nothing else rings.",
    ]
    assert rules.readiness(
        ways=[MAIL, HOOK], steps={"high": [Step(0, MAIL), Step(60, HOOK)], "low": [Step(0, MAIL)]}
    ) == []  # fmt: skip


def test_a_short_text_never_cuts_its_link():
    text = rules.short_text(
        title="SEV1 Checkout API: 5xx", body="word " * 80, link="https://muster.example/p/abc/"
    )

    assert len(text) <= 160
    assert text.startswith("SEV1 Checkout API: 5xx. word")
    assert text.endswith("…: https://muster.example/p/abc/")


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_subject_is_one_line_and_a_short_text_fits(title, body):
    assert "\n" not in rules.subject(title) and "\r" not in rules.subject(title)
    assert len(rules.short_text(title=title, body=body, link="https://m.example/p/x/")) <= 160


# --- phones, replies, limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("ack 12", rules.Wish("acknowledge", code=12)),
        ("4 12", rules.Wish("acknowledge", code=12)),
        ("12 ack", rules.Wish("acknowledge", code=12)),
        ("  ACK: 7. ", rules.Wish("acknowledge", code=7)),
        ("Ack All!", rules.Wish("acknowledge", all=True)),
        ("5 3", rules.Wish("escalate", code=3)),
        ("resolve 999", rules.Wish("resolve", code=999)),
        ("ack", rules.Wish("acknowledge")),
        ("help", rules.Wish("help")),
        ("?", rules.Wish("help")),
        ("ack 1000", None),
        ("ack twelve", None),
        ("ack 1 2", None),
        ("I am driving", None),
        ("", None),
        ("12", None),
    ],
)
def test_what_a_reply_means(text, wish):
    assert rules.read_reply(text) == wish


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+49 (0)30 123-456", "+4930123456"), ("0049 30 123456", "+4930123456"), ("+1 (555) 010-9999", "+15550109999"),
        ("030 123456", None), ("+49", None), ("+0301234567", None), ("+4930123456789012345", None), ("+49 30 CALL", None),
    ],
)  # fmt: skip
def test_a_phone_number_needs_its_country_code(text, number):
    assert rules.phone_number(text) == number


def test_limits_count_what_left_and_the_strictest_says_when():
    now = NOW
    left = [now - timedelta(seconds=second) for second in (30, 200, 400)]
    minute, quarter = rules.Limit(1, 1), rules.Limit(3, 15)

    assert rules.free_at(left=left, limits=[minute], now=now) == (left[0] + timedelta(minutes=1), minute)
    assert rules.free_at(left=left, limits=[minute, quarter], now=now) == (
        left[2] + timedelta(minutes=15),
        quarter,
    )
    assert rules.free_at(left=left[1:], limits=[minute, quarter], now=now) is None
    assert rules.free_at(left=left, limits=[], now=now) is None
    assert str(quarter) == "3 in 15 min are the most"


def test_an_sms_about_many_pages_keeps_its_link_and_how_to_reply():
    titles = [
        (f"SEV1 Service {number} answers with errors since the rollout", number) for number in range(1, 21)
    ]
    link = "https://muster.example/notifications/all/abc/"

    text = rules.bundle_sms(titles=titles, link=link, may_reply=True)

    assert len(text) <= 440
    assert text.startswith("20 pages wait for you. 1: SEV1 Service 1 answers")
    assert text.endswith(f"Reply ack all, or ack and a number. All: {link}")
    assert re.search(r"And 1\d more\.", text)
    assert "Reply" not in rules.bundle_sms(titles=titles, link=link, may_reply=False)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("+4930123456", "+49…456"),
        ("ravi@example.org", "r…@example.org"),
        ("https://x.org/hook/s3cret", "https://x.org/…"),
    ],
)
def test_addresses_of_others_are_shown_in_part(address, shown):
    assert rules.masked(address) == shown


def test_a_provider_is_left_out_longer_after_each_failed_trial():
    assert [rules.open_for(failures).total_seconds() for failures in (3, 4, 5, 6, 7, 50)] == [
        60,
        120,
        240,
        480,
        600,
        600,
    ]
