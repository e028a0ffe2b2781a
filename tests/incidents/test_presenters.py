"""What the pages say, as functions of rows that need no database."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import User
from catalog.models import Service
from incidents import presenters
from incidents.models import Incident, Kind, Page, PageStatus, Phase, PhaseStamp, Status, TimelineEntry
from oncall.models import Schedule
from oncall.queries import Span, Standing

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = 60 * MINUTE


def make(status: str = Status.TRIGGERED, **fields: object) -> Incident:
    fields = {"pk": 42, "title": "5xx", "severity": 1, "triggered_at": NOW - 10 * MINUTE, **fields}
    return Incident(status=status, service=Service(pk=1, name="checkout-api"), **fields)


def banner(status: str = Status.TRIGGERED, **fields: object) -> presenters.Banner:
    return presenters.banner(make(status, **fields), NOW, stamps=[])


def entry(kind: str, text: str, *, actor_name: str = "Muster", **data: object) -> dict:
    row = TimelineEntry(seq=7, kind=kind, at=NOW, actor_name=actor_name, text=text, data=data)
    return presenters.entry_context(row)


ACKED = {"acknowledged_at": NOW}


@pytest.mark.parametrize(
    ("banners", "headline"),
    [
        ([], "Nothing is burning"),
        ([banner()], "One incident is burning, and nobody has answered"),
        ([banner(Status.ACKNOWLEDGED, **ACKED)], "One incident is burning"),
        (
            [banner(), banner(Status.ACKNOWLEDGED, **ACKED)],
            "Two incidents are burning, one without an answer",
        ),
        ([banner()] * 13, "13 incidents are burning, and nobody has answered"),
        ([banner(Status.CONTAINED, contained_at=NOW), banner(is_drill=True)], "Nothing is burning"),
    ],
)
def test_the_headline_is_the_finding(banners, headline):
    assert presenters.headline(banners) == headline


@pytest.mark.parametrize(
    ("banners", "finding"),
    [
        ([], ""),
        ([banner(Status.CONTAINED, contained_at=NOW), banner(is_drill=True)], "Nothing is burning"),
        ([banner()], "One incident burns, without a commander"),
        ([banner(commander_id=1)], "One incident burns"),
        ([banner()] * 2, "Two incidents burn, none has a commander"),
        ([banner(), banner(commander_id=1)], "Two incidents burn, one without a commander"),
        ([banner(commander_id=1)] * 13, "13 incidents burn"),
    ],
)
def test_the_list_says_what_burns_and_who_leads_it(banners, finding):
    assert presenters.finding(banners) == finding


def test_what_comes_on_call_is_in_its_order_and_holds_the_gaps():
    def standing(name: str, *spans: tuple[int, int, list[User]]) -> Standing:
        shifts = [Span(NOW + start * HOUR, NOW + end * HOUR, people) for start, end, people in spans]
        return Standing(Schedule(name=name), shifts[0].people, None, None, [], [], shifts)

    ines, ravi = User(username="ines"), User(username="ravi")
    duty = [
        standing("Shop", (0, 24, [ines]), (24, 25, [ravi])),
        standing("Pay", (0, 6, [ravi]), (6, 8, []), (8, 32, [ines]), (32, 40, [ravi])),
    ]
    assert [
        (each.at - NOW, each.schedule.name, each.people, each.until - NOW)
        for each in presenters.coming(duty, NOW, 24 * HOUR)
    ] == [
        (6 * HOUR, "Pay", [], 8 * HOUR),
        (8 * HOUR, "Pay", [ines], 32 * HOUR),
        (24 * HOUR, "Shop", [ravi], 25 * HOUR),
    ]


def test_the_line_below_counts_what_is_watched_what_is_practice_and_what_is_quiet():
    banners = [banner(), banner(Status.CONTAINED, contained_at=NOW), banner(is_drill=True)]
    assert presenters.subline(banners, quiet=(1, 3)) == (
        "One is contained and watched, one drill is running. 1 of 3 services is quiet."
    )
    assert presenters.subline([], quiet=(31, 31)) == "31 of 31 services are quiet."
    assert presenters.subline([], quiet=(0, 0)) == ""


@pytest.mark.parametrize(
    ("left", "window", "state", "text"),
    [
        (601, 1200, "calm", "10:01"),
        (240, 1200, "soon", "04:00"),
        (241, 1200, "calm", "04:01"),
        (180, 600, "soon", "03:00"),
        (181, 600, "calm", "03:01"),
        (119, 120, "soon", "01:59"),
        (0, 120, "soon", "paging…"),
        (-3, 120, "soon", "paging…"),
    ],
)
def test_a_countdown_warns_in_its_last_fifth_and_at_least_three_minutes_before(left, window, state, text):
    due_at = NOW + timedelta(seconds=left)
    clock = presenters.countdown(
        label="Tier 2 is paged", due_at=due_at, started_at=due_at - timedelta(seconds=window), now=NOW
    )
    assert (clock.state, clock.text, clock.window, clock.left) == (state, text, window, max(left, 0))


@pytest.mark.parametrize(
    ("label", "short"),
    [
        ("Tier 2 is paged", "Tier 2 in"),
        ("Tier 1 is paged again", "Tier 1 in"),
        ("The catch-all is paged again", "Catch-all in"),
        ("Somebody is paged", "Pages in"),
    ],
)
def test_a_strip_says_the_next_page_in_two_words(label, short):
    assert presenters.countdown(label=label, due_at=NOW, started_at=NOW, now=NOW).short == short


def test_a_resolved_incident_counts_down_to_nothing_and_its_time_stands_still():
    over = banner(Status.RESOLVED, resolved_at=NOW - 4 * MINUTE, next_page_at=NOW + MINUTE)
    assert (over.next_page, over.running, over.unwatched) == (None, 6 * MINUTE, False)


def test_unanswered_without_a_next_page_is_said():
    assert banner().unwatched is True
    assert banner(next_page_at=NOW + MINUTE, next_page_label="Tier 2 is paged").unwatched is False
    assert banner(Status.ACKNOWLEDGED, **ACKED).unwatched is False


def test_an_incident_that_lost_its_answer_does_not_look_new():
    assert presenters.state(make(acknowledged_at=NOW)).words == "Nobody has it now"
    assert presenters.state(make()).words == "Nobody has answered"


def test_the_phases_before_the_present_one_are_done_and_those_after_are_not_yet():
    stamps = [PhaseStamp(phase=Phase.DETECTION, at=NOW), PhaseStamp(phase=Phase.CONTAINMENT, at=NOW + MINUTE)]
    ticks = presenters.ticks(make(phase=Phase.CONTAINMENT), stamps)
    assert [(tick.label, tick.state, tick.at) for tick in ticks] == [
        ("Detection", "done", NOW),
        ("Triage", "done", None),
        ("Escalation", "done", None),
        ("Containment", "now", NOW + MINUTE),
        ("Root cause", "todo", None),
        ("Review", "todo", None),
    ]


@pytest.mark.parametrize(
    ("context", "parts"),
    [
        (
            entry(Kind.PAGED, "paged tier 1, On call (why): Ada and Bo, on call. Without an answer, tier 2 is paged in 2 min"),
            ("Paged tier 1, On call", "(why): Ada and Bo, on call", "Without an answer, tier 2 is paged in 2 min"),
        ),
        (
            entry(Kind.CATCH_ALL, "paged the catch-all (why): Ada. It is paged again every 5 min until somebody answers"),
            ("Paged the catch-all", "(why): Ada", "It is paged again every 5 min until somebody answers"),
        ),
        (entry(Kind.PAGE_MISSED, "Ada did not answer within 2 min"), ("Ada", "did not answer within 2 min", "")),
        (entry(Kind.TIER_SKIPPED, "skipped tier 2: nobody"), ("", "Skipped tier 2: nobody", "")),
        (entry(Kind.ACKNOWLEDGED, "acknowledged after 44 s", actor_name="Ada"), ("Ada", "acknowledged after 44 s", "")),
        (entry("of_a_later_version", "did something", actor_name="Ada"), ("Ada", "did something", "")),
    ],
)  # fmt: skip
def test_an_entry_sets_off_whom_it_is_about_and_what_follows(context, parts):
    assert (context["head"], context["text"], context["tail"]) == parts


def test_every_kind_of_entry_has_a_look_of_its_own_and_a_tab():
    assert set(presenters.LOOKS) == set(Kind)
    assert {look.group for look in presenters.LOOKS.values()} == {group for group, _ in presenters.GROUPS[1:]}
    assert presenters.tabs({Kind.NOTE: 3, Kind.PAGED: 2})[0].count == 5


def person(pk: int, name: str) -> User:
    return User(pk=pk, username=name.lower(), full_name=name)


def page(who: User, status: str, *, tier: int | None = 1, name: str = "On call") -> Page:
    ended = None if status == PageStatus.PAGING else NOW
    return Page(recipient=who, status=status, tier=tier, tier_name=name, paged_at=NOW, ended_at=ended)


def test_people_commander_first_then_who_answered_then_who_still_may():
    ines, ravi, dana, mei, jonas = (
        person(n, name) for n, name in enumerate(["Ines", "Ravi", "Dana", "Mei", "Jonas"], 1)
    )
    incident = make(Status.ACKNOWLEDGED, commander=ines, acknowledged_by=ravi, acknowledged_at=NOW)
    pages = [
        page(mei, PageStatus.PAGING, tier=None, name=""),
        page(ravi, PageStatus.ACKNOWLEDGED, tier=2, name="Platform"),
        page(ravi, PageStatus.MISSED),
        page(jonas, PageStatus.CANCELLED, tier=2, name="Platform"),
        page(dana, PageStatus.MISSED),
    ]
    rows = presenters.people(incident, pages)
    assert [(str(row.user), row.role, row.answer) for row in rows] == [
        ("Ines", "Commander", ""),
        ("Ravi", "Platform, On call", "answered"),
        ("Mei", "Called by hand", "waiting"),
        ("Dana", "On call", "missed"),
        ("Jonas", "Platform", "called_off"),
    ]


@pytest.mark.parametrize(
    ("status", "main"),
    [
        ("triggered", "acknowledge"),
        ("acknowledged", "contain"),
        ("contained", "resolve"),
        ("resolved", "reopen"),
    ],
)
def test_the_next_move_of_the_course_is_the_only_main_button(status, main):
    offered = dict.fromkeys(["acknowledge", "contain", "resolve", "reopen", "page", "severity"], True)
    acts = presenters.acts(make(status), offered, page_waits=False)
    assert [act.verb for act in acts if act.main] == [main]
    assert acts[0].verb == main
    assert presenters.acts(make(status), offered, page_waits=True)[0].verb == "acknowledge"
