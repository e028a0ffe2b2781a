from datetime import timedelta

import pytest

from core.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90 s", 90),
        ("2m", 120),
        ("5 min", 300),
        ("1h 30m", 5400),
        ("1 h", 3600),
        ("10", 600),
        ("2 minutes", 120),
    ],
)
def test_durations_as_people_type_them(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "-5", "5 days", "1.5h", "9999999999 h", "m"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="Write a time like 90 s"):
        parse_duration(text)
