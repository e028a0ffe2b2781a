"""An alert becomes a page, a person answers or the next tier is paged: told with real processes, mail and HTTP."""

import re
import time

import pytest

from tests.journeys.conftest import Muster, wait_for

pytestmark = pytest.mark.xdist_group("journey-story")

WORLD = {"seconds": 2, "repeats": 1}

CLIMB = ["ravi", "jonas", "ines"]


def link_in(message) -> str:
    return re.search(r"http://\S+(/p/\S+)", message.get_body(("plain",)).get_content())[1]


def test_nobody_answers_and_every_tier_is_paged_on_time_and_then_the_catch_all_again(muster: Muster):
    incident_id = muster.open("silence")
    assert muster.send("silence").status_code == 202
    expected = [*CLIMB, *CLIMB, "director"]
    wait_for(lambda: len(muster.paged(incident_id)) >= 7, seconds=25, what="six steps of two seconds")
    assert muster.paged(incident_id) == expected
    assert muster.kinds(incident_id) == [
        "triggered", "paged", "page_missed", "paged", "page_missed", "paged", "page_missed", "policy_repeated", "paged",
        "page_missed", "paged", "page_missed", "paged", "page_missed", "exhausted", "catch_all",
    ]  # fmt: skip
    assert wait_for(lambda: muster.incident("silence")["event_count"] == 2)
    firings = muster.firings(incident_id)
    assert len(firings) == 6
    assert {by for _, by in firings} == {"celery"}
    assert max(late for late, _ in firings) < 1500
    ref = f"INC-{incident_id}"
    wait_for(lambda: len(muster.mailbox.recipients(ref=ref)) >= 7, what="seven mails")
    assert sorted(muster.mailbox.recipients(ref=ref)) == sorted(expected)
    assert muster.api("POST", f"incidents/{incident_id}/resolve/").status_code == 200


def test_the_link_in_the_mail_shows_on_get_acts_on_post_and_then_it_is_silent(muster: Muster):
    incident_id = muster.open("answered")
    ref = f"INC-{incident_id}"
    [message] = wait_for(lambda: muster.mailbox.to("ravi", ref=ref), what="mail to ravi")
    path = link_in(message)
    for _ in range(3):  # a mail scanner
        seen = muster.http.get(path)
        assert seen.status_code == 200
        assert "5xx answered" in seen.text
    assert muster.incident("answered")["status"] == "triggered"
    answer = muster.http.post(path, follow_redirects=True)
    assert answer.status_code == 200
    assert "You have it" in answer.text
    incident = muster.incident("answered")
    assert (incident["status"], incident["next_page_at"]) == ("acknowledged", None)
    mails, kinds, paged = (
        muster.mailbox.recipients(ref=ref),
        muster.kinds(incident_id),
        muster.paged(incident_id),
    )
    time.sleep(5)  # silence can only be heard by listening: two more tiers would have been paged by now
    assert muster.mailbox.recipients(ref=ref) == mails
    assert muster.kinds(incident_id) == kinds
    assert muster.paged(incident_id) == paged


def test_a_resolve_of_the_sender_resolves_and_the_timeline_is_whole(muster: Muster):
    incident_id = muster.open("over")
    assert muster.send("over", "resolve").status_code == 202
    wait_for(lambda: muster.incident("over")["status"] == "resolved")
    assert muster.kinds(incident_id)[-2:] == ["resolved", "phase"]
    again = muster.open("over")
    assert wait_for(lambda: muster.incident("over")["id"] != incident_id)
    muster.api("POST", f"incidents/{muster.incident('over')['id']}/acknowledge/")
    assert again
