"""The metrics page as a person sees it: with lines, with points, and empty."""

from datetime import timedelta

import pytest
from django.utils import timezone

from incidents import transitions
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service


@pytest.fixture
def viewer(address):
    return make_user("vera", full_name="Vera Wolf", role="viewer")


def incidents(count: int) -> None:
    person, service = make_user("ravi", full_name="Ravi Menon"), make_service("Checkout API")
    for number in range(count):
        begun = timezone.now() - timedelta(minutes=300 + number)
        incident = transitions.trigger(
            service=service, title="5xx", severity=1 + number % 4, urgency="high", now=begun
        )
        for verb, seconds in {"acknowledge": 60 + 10 * number, "contain": 900, "resolve": 5000}.items():
            getattr(transitions, verb)(
                incident_id=incident.pk, by=person, now=begun + timedelta(seconds=seconds)
            )


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("count", [0, 3, 7])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(viewer, look, axe, theme, count):
    incidents(count)

    page = look(viewer, "/metrics/", theme=theme)

    for details in page.locator("details").all():
        details.locator("summary").click()
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert axe(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_pointer_reads_a_bucket(viewer, look):
    incidents(7)
    page = look(viewer, "/metrics/")

    page.locator("#h-acknowledge").locator("xpath=../..").locator("g.hit rect").last.hover(
        position={"x": 4, "y": 90}
    )

    readout = page.locator("#h-acknowledge").locator("xpath=../..").locator("g.hit .readout").last
    assert readout.evaluate("node => getComputedStyle(node).opacity") == "1"
    assert "median 1m 30s" in readout.text_content()
