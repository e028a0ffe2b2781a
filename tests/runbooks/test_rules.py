"""What a runbook's text means, as tables; no database."""

import pytest

from runbooks import render, rules
from tests.factories.runbooks import TEXT


def test_sections_and_steps_are_read_from_the_headings():
    document = rules.read(TEXT)
    assert document.intro == "How one sees it: 5xx above 2%."
    assert [section.title for section in document.sections] == ["Triage", "Steps", "Rollback"]
    assert [(step.number, step.title, step.minutes) for step in document.steps] == [
        (1, "Freeze deploys", 5),
        (2, "Shift traffic", 10),
    ]
    assert document.steps[0].body == "`deploy freeze checkout`"
    assert document.sections[2].body == "Shift it back."
    assert document.minutes == 15


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("## Steps\n\n### One\n\n### Two\n", ["One", "Two"]),
        ("## Procedure\n### One (3 minutes)\nx\n## Steps\n### Two\n", ["One", "Two"]),
        ("## Steps\n```\n### no heading\n```\n### One\n", ["One"]),
        ("## Notes\n### Not a step\n", []),
        ("### Before any section\n## Steps\n", []),
        ("## Steps\r\n\r\n### One\r\nx\r\n", ["One"]),
        ("", []),
    ],
)
def test_only_headings_of_a_section_of_steps_are_steps(text, steps):
    assert [step.title for step in rules.read(text).steps] == steps


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("  \n", "Write what to do."),
        ("x" * 100_001, "At most 100,000 characters; these are 100,001."),
        ("## Steps\n" + "### Do\n" * 101, "At most 100 steps; these are 101."),
        ("## Steps\n### (5 min)\n", "Step 1 has no title."),
    ],
)
def test_a_text_that_cannot_be_kept_is_refused_with_the_reason(text, fault):
    assert rules.faults(text) == [fault]


def test_a_whole_text_lacks_nothing_and_a_thin_one_says_what():
    assert rules.faults(TEXT) == []
    assert rules.weaknesses(rules.read(TEXT)) == []
    thin = rules.weaknesses(rules.read("## Steps\n### Restart it\n"))
    assert thin == [
        "Step 1, Restart it, says no more than its title.",
        'It does not say how to go back. Add a section "## Rollback".',
    ]
    assert "has no steps" in rules.weaknesses(rules.read("Think."))[0]


def test_difference_shows_changed_lines_with_their_neighbours():
    old = "a\nb\nc\nd\ne\nf\ng\nh\ni\n"
    new = "a\nB\nc\nd\ne\nf\ng\nh\nI\n"
    assert [(line.change, line.text) for line in rules.difference(old, new, around=1)] == [
        ("same", "a"), ("gone", "b"), ("new", "B"), ("same", "c"), ("gap", ""),
        ("same", "h"), ("gone", "i"), ("new", "I"),
    ]  # fmt: skip
    assert rules.difference(old, old) == []


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
        ("![x](https://evil.example/x.png)", "<p>!<a href="),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ("```\n<b>\n```", '<pre class="code mono"><code>&lt;b&gt;\n</code></pre>'),
        ("# Big", "<h4>Big</h4>"),
        ("| a |\n| - |\n| 1 |", '<table class="m-table">'),
    ],
)
def test_the_text_becomes_html_that_runs_nothing_and_loads_nothing(text, html):
    assert render.html(text).startswith(html)
    assert "<img" not in render.html(text) and "<script" not in render.html(text)
