"""The search over all timelines."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from incidents import timeline, transitions
from incidents.models import Incident, Kind, TimelineEntry
from incidents.reading import queries, rules
from tests.api.conftest import Api
from tests.factories.accounts import make_token, make_user
from tests.factories.catalog import make_service

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
SEARCH = reverse("incidents:search")

pytestmark = pytest.mark.django_db


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name="Ines Okafor")


def opened(title: str, *, service: str, severity: int = 2) -> Incident:
    return transitions.trigger(
        service=make_service(service), title=title, severity=severity, urgency="high", now=NOW
    )


@pytest.fixture
def checkout() -> Incident:
    return opened("Checkout API: 5xx", service="checkout-api", severity=1)


@pytest.fixture
def search_() -> Incident:
    return opened("Index is late", service="search", severity=3)


def say(incident: Incident, text: str, by: User, *, minutes: int = 1) -> TimelineEntry:
    transitions.add_note(incident_id=incident.pk, text=text, by=by, now=NOW + timedelta(minutes=minutes))
    return incident.timeline.get(kind=Kind.NOTE, text=text)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def seqs(text: str, **filters) -> list[tuple[int, int]]:
    return [(found.entry.incident_id, found.entry.seq) for found in queries.search(text, **filters)]


def test_a_word_is_found_in_any_incident_and_form_newest_first(checkout, search_, ines):
    a = say(checkout, "Rolling back the pool change", ines)
    b = say(search_, "The rollback rolled everything", ines)
    say(search_, "Nothing to see", ines)
    assert seqs("roll") == [(search_.pk, b.seq), (checkout.pk, a.seq)]
    assert seqs("rolls pool") == [(checkout.pk, a.seq)]


def test_quoted_words_stand_together_and_a_minus_leaves_out(checkout, ines):
    a = say(checkout, "connection pool is empty", ines)
    b = say(checkout, "pool of seldom connection", ines)
    assert seqs('"connection pool"') == [(checkout.pk, a.seq)]
    assert seqs("pool -empty") == [(checkout.pk, b.seq)]
    assert seqs("empty or seldom") == [(checkout.pk, b.seq), (checkout.pk, a.seq)]


def test_filters_narrow_it(checkout, search_, ines):
    a, b = say(checkout, "the pool", ines), say(search_, "the pool", ines)
    assert seqs("pool", incident_id=checkout.pk) == [(checkout.pk, a.seq)]
    assert seqs("pool", severity=3) == [(search_.pk, b.seq)]
    assert seqs("pool", service_id=checkout.service_id) == [(checkout.pk, a.seq)]
    assert seqs("pool", kinds=[Kind.PAGED]) == []
    assert seqs("pool", before=b.pk) == [(checkout.pk, a.seq)]
    assert seqs("pool", limit=1) == [(search_.pk, b.seq)]


def test_the_amended_words_and_the_first_are_both_found(checkout, ines):
    note = say(checkout, "it was the databse", ines)
    locked = transitions.lock_incident(checkout.pk)
    timeline.record(
        locked, Kind.AMENDED, at=NOW, actor=ines, text="it was the cache", data={"of": note.seq, "rev": 1}
    )
    found = queries.search("cache")
    assert [(one.entry.kind, one.about) for one in found] == [(Kind.AMENDED, note.seq)]
    assert seqs("databse") == [(checkout.pk, note.seq)]


def test_what_was_found_is_marked_and_everything_else_is_escaped(checkout, ines):
    say(checkout, '<script>alert(1)</script> pool & "pool"', ines)
    (found,) = queries.search("pool")
    assert found.html == (
        "&lt;script&gt;alert(1)&lt;/script&gt; <mark>pool</mark> &amp; &quot;<mark>pool</mark>&quot;"
    )


def test_of_a_long_text_the_part_with_the_word_is_shown(checkout, ines):
    say(checkout, "line of a log\n" * 500 + "the pool <b> is empty\n" + "line of a log\n" * 500 + "end", ines)
    (found,) = queries.search("pool")
    assert "the <mark>pool</mark> &lt;b&gt; is empty" in found.html
    assert found.html.startswith("… ") and found.html.endswith(" …")
    assert len(found.html) < 600


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("```\npool is empty\n```", "pool is empty"),
        ("See:\n```python\npool.close()\n```\nand wait", "See:\npool.close()\nand wait"),
        ("~~~\npool\n~~~", "pool"),
        ("```pool is empty```", "pool is empty"),
        ("the `pool` is ~~empty~~", "the `pool` is ~~empty~~"),
        ("```", "```"),
    ],
)
def test_the_marks_around_code_are_not_shown(text, words):
    assert rules.without_fences(text) == words


def test_marks_that_a_person_wrote_are_no_marks():
    assert rules.marked("\ue000a\ue001 \ue001b\ue000 \ue000<i>") == "<mark>a</mark> b &lt;i&gt;"


def test_the_index_answers_it(checkout, ines):
    say(checkout, "the pool", ines)
    with CaptureQueriesContext(connection) as asked:
        queries.search("pool")
    [found, *_] = [query["sql"] for query in asked if "ORDER BY" in query["sql"]]
    with connection.cursor() as cursor:
        # A table of one entry is read whole; what is asked here is whether the index fits the question.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_indexscan = off")
        cursor.execute(f"EXPLAIN {found}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "timeline_words" in plan


# --- the page -------------------------------------------------------------------------------------------------------


def test_a_stranger_is_sent_to_the_sign_in_page(client):
    assert (
        client.get(SEARCH, {"q": "pool"})
        .headers["Location"]
        .startswith("/account/login/?next=%2Fincidents%2Fsearch")
    )


def test_a_viewer_finds_an_entry_and_goes_to_where_it_stands(checkout, ines):
    note = say(checkout, "the pool <b>", ines)
    page = signed_in(make_user("viola", role="viewer")).get(SEARCH, {"q": "pool"}).content.decode()
    assert f'href="/incidents/INC-{checkout.pk}/#e-{note.seq}"' in page
    assert "the <mark>pool</mark> &lt;b&gt;" in page
    assert "Ines Okafor" in page


def test_an_old_entry_is_read_among_the_earlier_ones(checkout, ines):
    note = say(checkout, "the pool", ines)
    Incident.objects.filter(pk=checkout.pk).update(last_seq=note.seq + 500)
    page = signed_in(ines).get(SEARCH, {"q": "pool"}).content.decode()
    assert f'href="/incidents/INC-{checkout.pk}/earlier/?before={note.seq + 20}#e-{note.seq}"' in page


def test_titles_are_found_too(checkout, ines):
    page = signed_in(ines).get(SEARCH, {"q": "Checkout"}).content.decode()
    assert '<h2 class="t-section" id="h-titles">Incidents</h2>' in page


def test_filters_and_the_next_page_stand_in_the_address(checkout, ines, monkeypatch):
    monkeypatch.setattr("incidents.reading.views.PAGE", 2)
    notes = [say(checkout, f"pool {number}", ines, minutes=number) for number in range(3)]
    client = signed_in(ines)
    page = client.get(SEARCH, {"q": "pool", "incident": checkout.ref, "show": "message"}).content.decode()
    older = f"?q=pool&amp;incident={checkout.ref}&amp;show=message&amp;before={notes[1].pk}"
    assert older in page
    assert page.count('class="hit"') == 2
    last = client.get(SEARCH + older.replace("&amp;", "&")).content.decode()
    assert last.count('class="hit"') == 1
    assert "Newest" in last


@pytest.mark.parametrize(
    "query",
    ["", "?q=", "?q=%00", "?q=" + "x" * 5000, "?q=the", "?q=%3A%26%7C!(%27", "?q=x&before=x&severity=9&show=x&service=x",
     "?q=x&incident=INC-999999999999999999", "?q=x&before=999999999999999999", "?q=%F0%28", "?q=x&incident=%EF%BC%91"],
)  # fmt: skip
def test_any_query_is_answered(checkout, ines, query):
    answer = signed_in(ines).get(SEARCH + query)
    assert answer.status_code == 200
    assert '<h1 class="t-title">Search' in answer.content.decode()


def test_the_page_takes_the_same_queries_however_much_is_found(
    checkout, search_, ines, django_assert_max_num_queries
):
    client = signed_in(ines)
    say(checkout, "pool", ines)
    client.get(SEARCH, {"q": "pool"})
    with django_assert_max_num_queries(8) as few:
        client.get(SEARCH, {"q": "pool"})
    for number in range(20):
        say(search_ if number % 2 else checkout, f"pool {number}", ines)
    with django_assert_max_num_queries(len(few.captured_queries)):
        client.get(SEARCH, {"q": "pool"})


def test_the_api_finds_the_same(checkout, ines):
    note = say(checkout, "the pool", ines)
    api = Api(make_token(make_user("viola", role="viewer")))
    (found,) = api.get("search/?q=pool").json()["results"]
    assert (found["incident"], found["seq"], found["text"]) == (checkout.ref, note.seq, "the pool")
    assert api.get("search/").json() == {"results": []}
    assert api.get("search/?q=").status_code == 400
    assert api.get("search/?q=pool&limit=0").status_code == 400
