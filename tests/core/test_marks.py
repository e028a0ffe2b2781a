"""The tags and words of which every page is made."""

from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template, TemplateSyntaxError
from django.test import override_settings
from django.utils import timezone

from core import words
from core.templatetags import muster

AT = datetime(2026, 11, 24, 2, 41, 8, tzinfo=UTC)


def render(source: str, **context: object) -> str:
    return Template("{% load muster %}" + source).render(Context(context))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s"), (0, "0 s"), (44, "44 s"), (59.9, "59 s"), (60, "1 min"), (190, "3m 10s"), (599, "9m 59s"),
        (600, "10 min"), (1320, "22 min"), (3600, "1 h"), (5040, "1h 24m"), (86_400, "1 d"), (273_600, "3d 4h"),
    ],
)  # fmt: skip
def test_durations_are_said_as_the_guide_says(seconds, said):
    assert words.duration(seconds) == said
    assert words.duration(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "00:00"),
        (151, "02:31"),
        (-48, "00:48"),
        (6729, "1:52:09"),
        (86_399, "23:59:59"),
        (273_600, "3d 4h"),
    ],
)
def test_clocks_count_in_figures(seconds, said):
    assert words.clock(seconds) == said


@pytest.mark.parametrize(
    ("name", "letters"),
    [("Ines Okafor", "IO"), ("Ana María de la Cruz", "AC"), ("Muster", "M"), ("", ""), ("é x", "ÉX")],
)
def test_initials(name, letters):
    assert words.initials(name) == letters


@pytest.mark.parametrize(
    ("style", "said"),
    [("clock", "03:41:08"), ("hm", "03:41"), ("date", "24 Nov 2026"), ("full", "24 Nov 2026, 03:41:08")],
)
def test_a_time_is_said_in_the_current_zone_with_utc_in_its_title(style, said):
    with timezone.override("Europe/Berlin"):
        html = render(f"{{% local_time at '{style}' %}}", at=AT)
    assert html == (
        f'<time datetime="2026-11-24T02:41:08Z" data-t="{style}" title="2026-11-24 02:41:08 UTC">{said}</time>'
    )


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (datetime(2026, 11, 24, 1, 0, tzinfo=UTC), "01:00"),
        (datetime(2026, 11, 22, 16, 20, tzinfo=UTC), "Sun 16:20"),
        (datetime(2026, 11, 17, 23, 59, tzinfo=UTC), "17 Nov 23:59"),
        (datetime(2025, 11, 24, 1, 0, tzinfo=UTC), "24 Nov 2025"),
        (datetime(2027, 1, 4, 9, 0, tzinfo=UTC), "4 Jan 09:00"),
        (datetime(2027, 11, 24, 9, 0, tzinfo=UTC), "24 Nov 2027"),
    ],
)
def test_a_day_is_said_as_short_as_it_is_clear(at, said):
    assert muster._said(at, "day", AT) == said


def test_a_style_that_does_not_exist_is_a_mistake_in_the_template():
    with pytest.raises(TemplateSyntaxError, match="no style 'clokc'"):
        render("{% local_time at 'clokc' %}", at=AT)


def test_no_time_is_said_as_nothing():
    assert render("{% local_time at %}{{ at|iso }}{{ at|ago:at }}{{ at|duration }}", at=None) == ""


def test_a_placard_alone_says_its_severity_and_beside_the_word_it_is_silent():
    assert 'role="img" aria-label="SEV1"' in render("{% placard 1 %}")
    assert 'aria-hidden="true"' in render("{% placard 1 label=False %}")


def test_an_icon_is_inline_and_silent_beside_a_word():
    html = render("{% icon 'check' 'sm' %}")
    assert html.startswith('<svg class="icon icon-sm" viewBox="0 0 24 24" aria-hidden="true"><path d="')
    assert 'stroke="none"' not in html
    assert 'role="img" aria-label="Answered &lt;b&gt;"' in render(
        "{% icon 'check' label=said %}", said="Answered <b>"
    )


def test_a_missing_icon_is_loud_for_developers_and_nothing_for_people():
    muster._icon_paths.cache_clear()
    with override_settings(DEBUG=True), pytest.raises(muster.IconMissing, match="make setup"):
        render("{% icon 'no-such-icon' %}")
    assert "<path" not in render("{% icon 'no-such-icon' 'lg' %}")
