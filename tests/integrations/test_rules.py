import json
from datetime import UTC, datetime

import pytest

from integrations import rules
from integrations.rules import Unreadable


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2026-11-24T06:04:12.596040", at(2026, 11, 24, 6, 4, 12, 596040)),
        ("2026-11-24T06:06:22.000", at(2026, 11, 24, 6, 6, 22)),
        ("2026-11-24T06:04:29.489924Z", at(2026, 11, 24, 6, 4, 29, 489924)),
        ("2015-07-17T08:42:58.315+0000", at(2015, 7, 17, 8, 42, 58, 315000)),
        ("2026-11-24T08:04:12+02:00", at(2026, 11, 24, 6, 4, 12)),
        ("2026-11-24T06:09:17.123456789Z", at(2026, 11, 24, 6, 9, 17, 123456)),
        ("2026-11-24 06:04:12", at(2026, 11, 24, 6, 4, 12)),
        (1795500000, datetime.fromtimestamp(1795500000, UTC)),
        (1795500000000, datetime.fromtimestamp(1795500000, UTC)),
    ],
)
def test_times_are_read_in_every_form_seen(written: object, instant: datetime) -> None:
    assert rules.time_of(written) == instant


@pytest.mark.parametrize(
    "written",
    [
        None, "", "yesterday", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", 1e300, float("nan"), -1, True, [], {},
        "24/11/2026",
    ],
)  # fmt: skip
def test_what_is_no_time_is_none(written: object) -> None:
    assert rules.time_of(written) is None


@pytest.mark.parametrize(
    ("word", "severity"),
    [("critical", "critical"), ("Page", "critical"), ("P1", "critical"), ("error", "error"), ("high", "error"),
     ("warn", "warning"), (" Warning ", "warning"), ("none", "info"), ("info", "info")],
)  # fmt: skip
def test_severity_words(word: str, severity: str) -> None:
    assert rules.severity_of(word) == (severity, "")


def test_an_unknown_severity_counts_as_error_and_says_so() -> None:
    assert rules.severity_of("banana") == ("error", "Severity 'banana' is not known: counted as error")
    assert rules.severity_of("") == ("error", "")
    assert rules.severity_of(None) == ("error", "")


def test_nul_and_lone_surrogates_are_replaced_wherever_they_are() -> None:
    body = rules.read_object(r'{"a\u0000": ["x\ud800y", {"b": "\uDFFF"}], "smile": "\ud83d\ude00"}')
    assert body == {"a\ufffd": ["x\ufffdy", {"b": "\ufffd"}], "smile": "😀"}


def test_numbers_that_postgres_cannot_hold_become_text() -> None:
    body = rules.read_object('{"a": 1e999, "b": -1e999, "c": ' + "9" * 5000 + ', "d": 1.5, "e": 12}')
    assert body == {"a": "1e999", "b": "-1e999", "c": "9" * 5000, "d": 1.5, "e": 12}
    json.dumps(body, allow_nan=False)


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "{", "nope", '{"a":1}{', "{'a':1}", '{"a":NaN}', '{"a":Infinity}', '{"a":"\x00"}', '{"a":"\n"}',
        "[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000, '{"a":' * 60 + "1" + "}" * 60,
        "[]", '"text"', "1", "null", "true",
    ],
)  # fmt: skip
def test_what_is_no_object_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        rules.read_object(text)


def test_a_byte_order_mark_and_blanks_in_front_are_read() -> None:
    assert rules.read_object(rules.read_text(b'\xef\xbb\xbf \r\n {"a": 1}\n')) == {"a": 1}
    with pytest.raises(Unreadable, match="not UTF-8"):
        rules.read_text(b'{"a": "\xe9"}')


def test_the_key_is_never_kept() -> None:
    key = "0123456789abcdef0123456789abcdef"
    text = f'{{"routing_key": "{key}", "note": "my key is {key}"}}'
    assert rules.without_key(text, key, longest=1000) == '{"routing_key": "[key]", "note": "my key is [key]"}'
    assert rules.masked_refusal(f'{{"routing_key": "{key}', "") == '{"routing_key": "[key]'
    assert key not in rules.masked_refusal(f"routing_key={key}&x=\x00", "")


def trigger(key: str, **fields: object) -> dict:
    return rules.signal("trigger", key, **fields)


def test_repeats_of_a_key_become_one_operation_with_the_newest_content() -> None:
    one, two = trigger("a", title="1"), trigger("a", title="2")
    operations = rules.collapse([(0, 0, one), (1, 0, trigger("b")), (2, 0, two), (3, 0, two)])
    assert [(each.signal["dedup_key"], each.signal["title"], each.places) for each in operations] == [
        ("a", "2", [(0, 0), (2, 0), (3, 0)]),
        ("b", "", [(1, 0)]),
    ]


def test_a_resolve_between_two_triggers_keeps_its_place() -> None:
    operations = rules.collapse(
        [
            (0, 0, trigger("a")),
            (1, 0, rules.signal("resolve", "a")),
            (2, 0, trigger("a")),
            (3, 0, trigger("a")),
        ]
    )
    assert [(each.signal["action"], each.count) for each in operations] == [
        ("trigger", 1), ("resolve", 1), ("trigger", 2),
    ]  # fmt: skip


def test_a_change_of_severity_is_not_swallowed() -> None:
    operations = rules.collapse(
        [(0, 0, trigger("a", severity="warning")), (1, 0, trigger("a", severity="critical")),
         (2, 0, trigger("a", severity="warning"))]
    )  # fmt: skip
    assert [each.signal["severity"] for each in operations] == ["warning", "critical", "warning"]


def test_of_several_verdicts_the_most_important_is_shown() -> None:
    assert rules.verdict_of_all(["repeated", "resolved", "repeated"]) == "resolved"
    assert rules.verdict_of_all(["repeated", "failed", "opened"]) == "failed"
    assert rules.verdict_of_all([]) == "dropped"
    assert rules.counted(["repeated", "opened", "repeated"]) == "3 alerts: 1 opened, 2 repeated"


def test_attempts_come_at_growing_distance_and_end() -> None:
    now = at(2026, 11, 24)
    waits = [rules.next_attempt(attempts, now) for attempts in range(1, 9)]
    assert [(wait - now).total_seconds() if wait else None for wait in waits] == [
        2,
        4,
        8,
        16,
        32,
        64,
        128,
        None,
    ]


@pytest.mark.parametrize(
    "href", ["javascript:alert(1)", "data:text/html,x", "//evil", "", None, 5, "http://", "ftp://a"]
)
def test_what_is_no_web_address_never_becomes_a_link(href: object) -> None:
    assert rules.link(href) == []
