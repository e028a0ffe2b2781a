from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from incidents import asks, transitions
from incidents.models import Incident, Kind, Status, Task
from incidents.todo import transitions as todo
from tests.factories.accounts import make_team, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HTMX = {"HTTP_HX_REQUEST": "true"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name="Ines Okafor", time_zone="Europe/Berlin")


@pytest.fixture
def ravi() -> User:
    return make_user("ravi", full_name="Ravi Menon")


@pytest.fixture
def viewer() -> User:
    return make_user("viola", full_name="Viola Weber", role="viewer")


@pytest.fixture
def incident(ines: User, ravi: User) -> Incident:
    service = make_service("checkout-api", criticality=1, team=make_team("Payments"))
    make_policy(tier(1, ines), tier(2, ravi), service=service, catch_all=ines, name="Checkout")
    return transitions.trigger(
        service=service,
        title="Checkout API: 5xx",
        severity=1,
        urgency="high",
        now=NOW,
        opened_from="Alertmanager",
    )


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def at(incident: Incident, name: str = "detail") -> str:
    return reverse(f"incidents:{name}", args=[incident.pk])


def kinds(incident: Incident) -> list[str]:
    return list(incident.timeline.values_list("kind", flat=True))


# --- who may --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["detail", "acts", "earlier", "news"])
def test_a_stranger_is_sent_to_the_sign_in_page_and_back(client, incident, name):
    answer = client.get(at(incident, name))
    assert answer.status_code == 302
    assert (
        answer.headers["Location"]
        == f"/account/login/?next=%2Fincidents%2FINC-{incident.pk}%2F{'' if name == 'detail' else name + '%2F'}"
    )


@pytest.mark.parametrize("verb", list(asks.ASKS))
def test_a_viewer_may_neither_ask_nor_act(incident, viewer, verb):
    client = signed_in(viewer)
    assert client.get(at(incident, verb)).status_code == 403
    before = kinds(incident)
    assert client.post(at(incident, verb), {"reason": "x", "severity": "4"}).status_code == 403
    incident.refresh_from_db()
    assert (incident.status, incident.severity, kinds(incident)) == (Status.TRIGGERED, 1, before)


def test_a_viewer_may_not_write_to_the_room(incident, viewer):
    before = kinds(incident)
    assert signed_in(viewer).post(at(incident, "note"), {"text": "hello"}).status_code == 403
    assert kinds(incident) == before


def test_a_viewer_sees_the_button_dashed_with_who_may(incident, viewer):
    page = signed_in(viewer).get(at(incident)).content.decode()
    assert 'aria-disabled="true" aria-describedby="acts-why">Acknowledge</button>' in page
    assert "Responders, managers and admins may do this." in page
    assert 'id="composer"' not in page


# --- the room -------------------------------------------------------------------------------------------------------


def test_the_address_may_be_written_in_three_ways(incident, ines):
    client = signed_in(ines)
    assert at(incident) == f"/incidents/INC-{incident.pk}/"
    for path in (
        f"/incidents/INC-{incident.pk}/",
        f"/incidents/inc-{incident.pk}/",
        f"/incidents/{incident.pk}/",
    ):
        assert client.get(path).status_code == 200


def test_an_incident_that_is_not_there_answers_404(ines):
    assert signed_in(ines).get("/incidents/INC-999999/").status_code == 404
    assert signed_in(ines).get("/incidents/INC-999999999999999999/").status_code == 404


def test_the_room_says_what_burns_who_is_paged_and_when(incident, ines):
    page = signed_in(ines).get(at(incident)).content.decode()
    assert "Nobody has answered" in page
    assert "Tier 2 is paged in" in page
    assert 'data-due="2026-11-24T03:02:00.000Z"' in page
    assert 'data-window="120"' in page
    assert "unless answered by" in page
    assert (
        '<time datetime="2026-11-24T03:02:00Z" data-t="clock" title="2026-11-24 03:02:00 UTC">04:02:00</time>'
        in page
    )
    assert page.index("Ines Okafor") > 0
    assert 'data-tz="Europe/Berlin"' in page


def test_the_room_takes_the_same_queries_however_long_its_timeline(incident, ines, django_assert_num_queries):
    client = signed_in(ines)
    client.get(at(incident))
    with django_assert_num_queries(19):
        client.get(at(incident))
    for number in range(30):
        transitions.add_note(incident_id=incident.pk, text=f"note {number}", by=ines, now=NOW + MINUTE)
    with django_assert_num_queries(19):
        client.get(at(incident))


def test_what_a_person_wrote_stays_text(incident, ines):
    client = signed_in(ines)
    client.post(at(incident, "note"), {"text": '<script>alert(1)</script> `a<b` "quoted"'})
    transitions.set_impact(
        incident_id=incident.pk, impact='"><img src=x onerror=alert(1)>', by=ines, now=NOW + MINUTE
    )
    page = client.get(at(incident)).content.decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert '<code class="mono">a&lt;b</code>' in page
    assert "<img src=x" not in page


def test_the_room_shows_the_last_entries_and_a_way_to_the_earlier_ones(incident, ines, monkeypatch):
    monkeypatch.setattr("incidents.views.FEED_FIRST", 5)
    for number in range(10):
        transitions.add_note(incident_id=incident.pk, text=f"note {number}", by=ines, now=NOW + MINUTE)
    incident.refresh_from_db()
    client = signed_in(ines)
    page = client.get(at(incident)).content.decode()
    assert "note 9" in page and "note 5" in page and "note 4" not in page
    first = incident.last_seq - 4
    assert f"{first - 1} earlier entries" in page
    more = client.get(at(incident, "earlier"), {"before": first}, **HTMX).content.decode()
    assert "note 4" in more and f'id="e-{first - 1}"' in more and "note 5" not in more
    assert "<html" not in more
    assert "<html" in client.get(at(incident, "earlier"), {"before": first}).content.decode()


def test_news_brings_what_is_later_and_the_slots_in_utc(incident, ines):
    client = signed_in(ines)
    incident.refresh_from_db()
    transitions.add_note(incident_id=incident.pk, text="later", by=ines, now=NOW + MINUTE)
    news = client.get(at(incident, "news"), {"after": incident.last_seq}).content.decode()
    assert news.count("data-seq=") == 1
    assert f'id="e-{incident.last_seq + 1}"' in news
    assert ">03:01:00</time>" in news  # UTC, although Ines looks
    for slot in (
        "b-status",
        "b-facts",
        "b-phases",
        "b-clock-run",
        "b-clock-update",
        "b-clock-tier",
        "people",
        "alerts",
    ):
        assert news.count(f'id="{slot}"') == 1


# --- acting ---------------------------------------------------------------------------------------------------------


def test_acknowledge_without_script_goes_back_to_the_room_and_says_so(incident, ines):
    answer = signed_in(ines).post(at(incident, "acknowledge"), follow=True)
    incident.refresh_from_db()
    assert (incident.status, incident.acknowledged_by) == (Status.ACKNOWLEDGED, ines)
    assert answer.redirect_chain == [(at(incident), 302)]
    assert f"You acknowledged INC-{incident.pk}. Nobody else is paged." in answer.content.decode()


def test_acknowledge_goes_on_where_the_form_came_from_but_never_to_another_site(incident, ines):
    client = signed_in(ines)
    assert client.post(at(incident, "acknowledge"), {"next": "/"}).headers["Location"] == "/"
    evil = client.post(at(incident, "acknowledge"), {"next": "https://example.com/"})
    assert evil.headers["Location"] == at(incident)


def test_acknowledge_by_htmx_tells_the_fragments_and_swaps_nothing(incident, ines):
    answer = signed_in(ines).post(at(incident, "acknowledge"), **HTMX)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["HX-Trigger"] == '{"incident:changed": true}'


def test_a_move_that_comes_too_late_says_who_was_first_and_keeps_the_text(incident, ines, ravi):
    transitions.resolve(incident_id=incident.pk, by=ravi, now=NOW + 4 * MINUTE)
    incident.refresh_from_db()
    before = kinds(incident)
    client = signed_in(ines)
    answer = client.post(at(incident, "contain"), {"note": "rolled back"}, **HTMX)
    assert answer.status_code == 409
    assert answer.headers["X-Muster-Sentence"] == "1"
    assert answer.content.decode() == (
        "Not done. Ravi Menon resolved, 4 min after detection at 04:04:00. Your text is kept."
    )
    page = client.post(at(incident, "contain"), {"note": "rolled back"})
    assert page.status_code == 409
    assert 'value="rolled back"' in page.content.decode()
    assert "Ravi Menon resolved" in page.content.decode()
    assert kinds(incident) == before


def test_reopen_without_a_reason_is_refused_with_a_sentence(incident, ines):
    transitions.resolve(incident_id=incident.pk, by=ines, now=NOW + MINUTE)
    answer = signed_in(ines).post(at(incident, "reopen"), {"reason": " "}, **HTMX)
    assert (answer.status_code, answer.content.decode()) == (400, "Say why it is not over.")
    incident.refresh_from_db()
    assert incident.status == Status.RESOLVED


def test_reopened_late_leads_to_the_new_incident(incident, ines):
    transitions.resolve(incident_id=incident.pk, by=ines, now=NOW + MINUTE)
    answer = signed_in(ines).post(at(incident, "reopen"), {"reason": "again"}, **HTMX)
    newest = Incident.objects.order_by("-pk").first()
    assert newest.pk != incident.pk
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, at(newest))


@pytest.mark.parametrize("given", [{}, {"severity": "0"}, {"severity": "x"}, {"severity": "12"}])
def test_a_severity_that_does_not_exist_changes_nothing(incident, ines, given):
    answer = signed_in(ines).post(at(incident, "severity"), given, **HTMX)
    assert (answer.status_code, answer.content.decode()) == (400, "Choose one of SEV1, SEV2, SEV3, SEV4.")
    incident.refresh_from_db()
    assert incident.severity == 1


def test_calling_somebody_in_pages_exactly_that_person(incident, ines, ravi):
    answer = signed_in(ines).post(at(incident, "page"), {"user": ravi.pk, "reason": "pool is full"}, **HTMX)
    assert answer.status_code == 204
    pages = incident.pages.filter(step_key__startswith="hand:")
    assert [(page.recipient, page.reason) for page in pages] == [
        (ravi, "Ines Okafor called you in: pool is full")
    ]


@pytest.mark.parametrize("given", ["", "x", "999999", "99999999999999999999"])
def test_calling_nobody_in_is_refused(incident, ines, given):
    before = incident.pages.count()
    answer = signed_in(ines).post(at(incident, "page"), {"user": given}, **HTMX)
    assert (answer.status_code, answer.content.decode()) == (400, "Choose whom to page.")
    assert incident.pages.count() == before


@pytest.mark.parametrize("verb", list(asks.ASKS))
def test_each_question_is_a_page_without_script_and_a_fragment_with_it(incident, ines, verb):
    client = signed_in(ines)
    page, fragment = client.get(at(incident, verb)), client.get(at(incident, verb), **HTMX)
    assert (page.status_code, fragment.status_code) == (200, 200)
    assert "<html" in page.content.decode() and "<html" not in fragment.content.decode()
    assert f'action="{at(incident, verb)}"' in fragment.content.decode()


def test_looking_at_a_question_does_nothing(incident, ines):
    before = kinds(incident)
    for verb in asks.ASKS:
        signed_in(ines).get(at(incident, verb))
    assert kinds(incident) == before


# --- notes ----------------------------------------------------------------------------------------------------------


def test_a_note_by_htmx_answers_with_every_entry_that_the_feed_lacks(incident, ines, ravi):
    incident.refresh_from_db()
    seen = incident.last_seq
    transitions.add_note(incident_id=incident.pk, text="first", by=ravi, now=NOW + MINUTE)
    answer = signed_in(ines).post(at(incident, "note"), {"text": "second", "after": seen}, **HTMX)
    html = answer.content.decode()
    assert [f'id="e-{seen + 1}"' in html, f'id="e-{seen + 2}"' in html] == [True, True]
    assert html.index("first") < html.index("second")


@pytest.mark.parametrize(
    ("text", "sentence"), [("  ", "Write something first."), ("\x00" * 0, "Write something first.")]
)
def test_an_empty_note_is_refused(incident, ines, text, sentence):
    before = kinds(incident)
    answer = signed_in(ines).post(at(incident, "note"), {"text": text}, **HTMX)
    assert (answer.status_code, answer.content.decode()) == (400, sentence)
    assert kinds(incident) == before


def test_a_note_that_is_too_long_comes_back_to_the_writer_without_script(incident, ines):
    answer = signed_in(ines).post(at(incident, "note"), {"text": "x" * 20_001}, follow=True)
    page = answer.content.decode()
    assert "At most 20,000 characters" in page
    assert "x" * 1500 in page
    assert Kind.NOTE not in kinds(incident)


# --- declaring ------------------------------------------------------------------------------------------------------


def test_declaring_opens_the_room_of_a_new_incident(incident, ines):
    service = incident.service
    answer = signed_in(ines).post(
        reverse("incidents:declare"),
        {"title": " Cart is empty ", "service": service.pk, "severity": "2", "impact": "half of them"},
    )
    made = Incident.objects.order_by("-pk").first()
    assert answer.headers["Location"] == at(made)
    assert (made.title, made.severity, made.impact, made.opened_by, made.is_drill) == (
        "Cart is empty", 2, "half of them", ines, False,
    )  # fmt: skip


def test_a_declaration_that_lacks_something_says_what_and_keeps_what_was_typed(incident, ines):
    before = Incident.objects.count()
    answer = signed_in(ines).post(
        reverse("incidents:declare"), {"title": "", "severity": "7", "impact": "half of them"}
    )
    page = answer.content.decode()
    assert answer.status_code == 400
    for sentence in (
        "Say in a few words what is broken.",
        "Choose the service; without one nobody knows whom to page.",
        "One of SEV1, SEV2, SEV3, SEV4.",
        'value="half of them"',
    ):
        assert sentence in page
    assert Incident.objects.count() == before


def test_a_viewer_may_not_declare(incident, viewer):
    before = Incident.objects.count()
    answer = signed_in(viewer).post(
        reverse("incidents:declare"), {"title": "x", "service": incident.service.pk, "severity": "2"}
    )
    assert answer.status_code == 403
    assert Incident.objects.count() == before


# --- now and list ---------------------------------------------------------------------------------------------------


def test_home_says_in_words_what_burns_and_what_waits_for_me(incident, ines):
    page = signed_in(ines).get("/").content.decode()
    assert "One incident is burning, and nobody has answered" in page
    assert "Waiting for you" in page
    assert f'action="{at(incident, "acknowledge")}"' in page


def test_home_is_calm_when_nothing_burns(incident, ines):
    transitions.resolve(incident_id=incident.pk, by=ines, now=timezone.now())
    page = signed_in(ines).get("/").content.decode()
    assert "Nothing is burning" in page
    assert "Checkout API: 5xx" in page  # among the closed


def test_home_takes_the_same_queries_with_one_incident_and_with_ten(
    incident, ines, django_assert_num_queries
):
    client = signed_in(ines)
    client.get("/")
    with django_assert_num_queries(13):
        client.get("/")
    for number in range(9):
        more = transitions.declare(
            service=incident.service, title=f"more {number}", severity=3, by=ines, now=NOW
        )
        todo.add_task(incident_id=more.pk, title=f"task {number}", by=ines, now=NOW, assignee=ines)
    with django_assert_num_queries(13):
        client.get("/")


def test_home_lists_my_open_tasks_of_open_incidents_what_is_due_first(incident, ines):
    client, now = signed_in(ines), timezone.now()
    assert "No task of an open incident is yours." in client.get("/").content.decode()
    hour = timedelta(hours=1)
    other, over = (
        make_user("sam"),
        transitions.declare(service=incident.service, title="over", severity=3, by=ines, now=now),
    )
    for title, place, who, due_at in (
        ("no hurry", incident, ines, None), ("soon", incident, ines, now + hour),
        ("of another", incident, other, now + hour), ("of what is over", over, ines, None),
    ):  # fmt: skip
        todo.add_task(incident_id=place.pk, title=title, by=ines, now=now, assignee=who, due_at=due_at)
    transitions.resolve(incident_id=over.pk, by=ines, now=now)
    late = todo.add_task(incident_id=incident.pk, title="late <b>", by=other, now=now, due_at=now + hour)
    todo.claim(incident_id=incident.pk, number=late.number, by=ines, now=now)
    Task.objects.filter(pk=late.pk).update(due_at=now - hour)

    page = client.get("/").content.decode()
    mine = page[page.index('id="now-tasks"') : page.index('id="h-duty"')]
    assert [title for title in ("of another", "of what is over") if title in mine] == []
    places = [mine.index(f">{title}<") for title in ("late &lt;b&gt;", "soon", "no hurry")]
    assert places == sorted(places)
    assert mine.count("late, was due") == 1
    done = client.post(
        reverse("incidents:task", args=[incident.pk, late.number]), {"act": "done", "next": "/"}
    )
    assert (done.status_code, done["Location"]) == (302, "/")
    assert ">late &lt;b&gt;<" not in client.get("/").content.decode()


@pytest.fixture
def many(incident, ines):
    search = make_service("search", team=make_team("Search"))
    done = transitions.declare(service=search, title="Slow in APAC", severity=3, by=ines, now=NOW)
    transitions.resolve(incident_id=done.pk, by=ines, now=NOW + MINUTE)
    drill = transitions.declare(service=search, title="Practice", severity=2, by=ines, now=NOW, is_drill=True)
    return incident, done, drill


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", {"Checkout API: 5xx", "Practice"}),
        ("status=closed", {"Slow in APAC"}),
        ("status=all", {"Checkout API: 5xx", "Practice", "Slow in APAC"}),
        ("status=nonsense", {"Checkout API: 5xx", "Practice"}),
        ("status=all&severity=3", {"Slow in APAC"}),
        ("status=all&service=search", {"Slow in APAC", "Practice"}),
        ("status=all&team=payments", {"Checkout API: 5xx"}),
        ("status=all&q=apac", {"Slow in APAC"}),
        ("status=all&kind=drill", {"Practice"}),
        (
            "status=all&q=%00&before=!!!&severity=9&service=none",
            {"Checkout API: 5xx", "Practice", "Slow in APAC"},
        ),
    ],
)
def test_the_list_shows_what_its_address_says(many, ines, query, shown):
    page = signed_in(ines).get(f"/incidents/?{query}").content.decode()
    assert {one.title for one in many if one.title in page} == shown


def test_the_list_turns_pages_without_skipping_or_repeating(many, ines, monkeypatch):
    monkeypatch.setattr("incidents.views.PAGE", 2)
    client = signed_in(ines)
    first = client.get("/incidents/?status=all")
    second = client.get(first.context["older_url"])
    seen = [banner.incident.pk for answer in (first, second) for banner in answer.context["banners"]] + [
        row.pk for answer in (first, second) for row in answer.context["closed"]
    ]
    assert sorted(seen) == sorted(one.pk for one in many)
    assert second.context["older_url"] is None


def test_the_list_takes_the_same_queries_with_three_and_with_thirty(many, ines, django_assert_num_queries):
    client = signed_in(ines)
    client.get("/incidents/?status=all")
    with django_assert_num_queries(9):
        client.get("/incidents/?status=all")
    for number in range(27):
        transitions.declare(service=many[0].service, title=f"more {number}", severity=3, by=ines, now=NOW)
    with django_assert_num_queries(9):
        client.get("/incidents/?status=all")


def test_the_jump_box_finds_by_number_and_by_words_and_is_a_list_without_script(many, ines):
    client = signed_in(ines)
    incident = many[0]
    for text in (f"INC-{incident.pk}", str(incident.pk), "checkout"):
        assert at(incident) in client.get(reverse("incidents:jump"), {"q": text}, **HTMX).content.decode()
    nothing = client.get(reverse("incidents:jump"), {"q": "<b>"}, **HTMX).content.decode()
    assert "Nothing is called “&lt;b&gt;”." in nothing
    assert (
        client.get(reverse("incidents:jump"), {"q": "a b"}).headers["Location"]
        == "/incidents/?status=all&q=a+b"
    )


def test_whoever_is_called_in_by_hand_can_answer_although_it_is_acknowledged(incident, ines, ravi):
    transitions.acknowledge(incident_id=incident.pk, by=ines, now=NOW + MINUTE)
    client = signed_in(ravi)
    assert "Acknowledge</button>" not in client.get(at(incident, "acts")).content.decode()
    transitions.page_person(incident_id=incident.pk, user=ravi, by=ines, reason="pool", now=NOW + 2 * MINUTE)
    buttons = client.get(at(incident, "acts")).content.decode()
    assert "Acknowledge</button>" in buttons and 'data-key="a"' in buttons
    assert client.post(at(incident, "acknowledge"), **HTMX).status_code == 204
    assert "Acknowledge</button>" not in client.get(at(incident, "acts")).content.decode()
    assert kinds(incident)[-1] == Kind.ALSO_ACKNOWLEDGED
