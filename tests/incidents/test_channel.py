"""Messages, answers, mentions, amendments and pins: what is written stays text, and the timeline is never changed."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from core.errors import Invalid, Missing, NotAllowed, Refused
from incidents import presenters, timeline, transitions
from incidents.channel import queries, render, rules
from incidents.channel import transitions as channel
from incidents.live import reads
from incidents.models import EntryOverlay, Incident, Kind
from notifications.models import Notification, NotificationStatus
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HTMX = {"HTTP_HX_REQUEST": "true"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name="Ines Okafor")


@pytest.fixture
def ravi() -> User:
    return make_user("ravi", full_name="Ravi Menon")


@pytest.fixture
def incident() -> Incident:
    return transitions.trigger(
        service=make_service("checkout-api"), title="Checkout API: 5xx", severity=1, urgency="high", now=NOW
    )


def say(incident: Incident, text: str, by: User, **more: object) -> int:
    return channel.say(incident_id=incident.pk, text=text, by=by, now=NOW + MINUTE, **more).seq


def shown(incident: Incident, seq: int) -> str:
    return presenters.entry_html(queries.entry(incident.pk, seq))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def at(incident: Incident, name: str = "detail", *more: object) -> str:
    return reverse(f"incidents:{name}", args=[incident.pk, *more])


def is_whole(incident: Incident) -> bool:
    incident.refresh_from_db()
    return list(timeline.verify(incident)) == []


# --- how words are set ----------------------------------------------------------------------------------------------

EVIL = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<svg/onload=alert(1)>", "<b>bold</b>"]


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize(
    "around", ["{}", "`{}`", "```\n{}\n```", "- {}", "> {}", "**{}**", "[{}](https://a.example)"]
)
def test_markup_that_a_person_types_stays_text(text, around):
    html = render.say(around.format(text))
    assert set(re.findall(r"<(\w+)", html)) <= {
        "p",
        "br",
        "strong",
        "code",
        "pre",
        "ul",
        "li",
        "blockquote",
        "a",
    }
    assert "&lt;" in html


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "JaVaScRiPt:x"]
)
def test_links_keep_http_only(address):
    assert "href" not in render.say(f"[press]({address}) <{address}> {address}")


def test_an_image_in_markdown_loads_nothing():
    html = render.say("![graph](https://spy.example/pixel.png)")
    assert "<img" not in html and "src" not in html
    assert 'href="https://spy.example/pixel.png" rel="nofollow noreferrer noopener"' in html


def test_a_bare_address_is_a_link_whatever_marks_stand_in_it():
    html = render.say("see https://es.example/_cat/_x_?a=1&b=*2* and (https://a.example/b_(c)), *now*.")
    assert re.findall(r'href="([^"]+)"', html) == [
        "https://es.example/_cat/_x_?a=1&amp;b=*2",
        "https://a.example/b_(c)",
    ]
    assert html.endswith("https://a.example/b_(c)</a>), <em>now</em>.</p>")


def test_a_code_fence_keeps_blanks_and_angle_brackets():
    assert render.say("```\n  if a  <  b:\n\tgo\n```") == (
        '<pre class="code mono"><code>  if a  &lt;  b:\n\tgo\n</code></pre>'
    )


@pytest.mark.parametrize(
    "text",
    [
        "# not a heading",
        "    indented as in a log",
        "C:\\*temp",
        "---",
        "snake_case_name",
        "*.log *.txt",
        "a\\_b",
    ],
)
def test_what_looks_like_markdown_by_accident_stays_as_typed(text):
    assert render.say(text) == f"<p>{text.strip()}</p>"


def test_an_entity_is_no_character():
    assert render.say("a &lt; b") == "<p>a &amp;lt; b</p>"


def test_a_thousand_lines_fold_and_stay_whole(incident, ines):
    text = "\n".join(f"line {number} of the log" for number in range(1000))
    html = shown(incident, say(incident, text, ines))
    assert "<summary>1,000 lines: line 0 of the log</summary>" in html
    assert html.count("<br>") == 999
    assert "line 999 of the log" in html
    assert incident.timeline.get(kind=Kind.NOTE).text == text


def test_thirty_lines_do_not_fold():
    assert "<details" not in render.folded("\n".join("x" * 30))
    assert "<details" in render.folded("\n".join("x" * 31))


# --- mentions -------------------------------------------------------------------------------------------------------


def told() -> list[tuple[str, str]]:
    return list(Notification.objects.order_by("pk").values_list("recipient__username", "topic"))


def test_a_mention_tells_once_and_never_oneself(incident, ines, ravi):
    seq = say(incident, "@ravi, @Ravi and @ines: look", ines)
    assert told() == [("ravi", f"incident:{incident.pk}:talk")]
    note = Notification.objects.get()
    assert note.title == f"Ines Okafor mentioned you in {incident.ref}, SEV1 Checkout API: 5xx"
    assert (note.urgency, note.link) == ("low", f"/incidents/{incident.ref}/#e-{seq}")
    assert f'<span class="mention" data-person="{ravi.pk}">@Ravi</span>' in shown(incident, seq)


def test_a_mention_in_code_an_address_or_of_nobody_tells_nobody(incident, ines, ravi):
    make_user("gone", is_active=False)
    seq = say(
        incident, "`@ravi` me@ravi.example https://a.example/@ravi @nobody @gone\n```\n@ravi\n```", ines
    )
    assert told() == []
    assert 'class="mention"' not in shown(incident, seq)


def test_a_message_tells_ten_people_at_most(incident, ines):
    for number in range(12):
        make_user(f"p{number}")
    say(incident, " ".join(f"@p{number}" for number in range(12)), ines)
    assert len(told()) == 10


def test_an_acknowledgement_does_not_call_off_a_mention(incident, ines, ravi):
    say(incident, "@ravi look", ines)
    transitions.acknowledge(incident_id=incident.pk, by=ines, now=NOW + 2 * MINUTE)
    assert Notification.objects.get().status == NotificationStatus.ACTIVE


def test_a_drill_says_so_first(ines, ravi):
    drill = transitions.trigger(
        service=make_service("x"), title="T", severity=3, urgency="low", now=NOW, is_drill=True
    )
    say(drill, "@ravi look", ines)
    assert Notification.objects.get(topic__endswith=":talk").title.startswith(
        "DRILL Ines Okafor mentioned you"
    )


def test_who_is_mentioned_first_by_an_amendment_is_told_once(incident, ines, ravi):
    seq = say(incident, "@ravi look", ines)
    sam, lea = make_user("sam", full_name="Sam Lee"), make_user("lea")
    for text in ("@ravi @sam look", "@ravi look", "@sam @lea @ines look"):
        channel.amend(incident_id=incident.pk, seq=seq, text=text, by=ines, now=NOW + 2 * MINUTE)
    told = Notification.objects.filter(topic__endswith=":talk").order_by("pk")
    assert [row.recipient for row in told] == [ravi, sam, lea]
    assert (told[1].title[:28], told[1].body) == ("Ines Okafor mentioned you in", "@ravi @sam look")
    assert told[1].link.endswith(f"#e-{seq}")
    assert [one["user"] for one in incident.timeline.last().data["mentions"]] == ["sam", "lea", "ines"]
    html = shown(incident, seq)  # as it reads now, whom it mentions now
    assert [html.count(f'data-person="{one.pk}"') for one in (sam, lea, ines, ravi)] == [1, 1, 1, 0]
    assert list(timeline.verify(Incident.objects.get())) == []


# --- sent again -----------------------------------------------------------------------------------------------------


def test_what_is_sent_again_with_its_key_is_stored_once_and_shown(incident, ines, ravi):
    client, key = signed_in(ines), "k" * 16
    address, sent = at(incident, "note"), {"text": "@ravi look", "key": key, "after": incident.last_seq}
    first, again = client.post(address, sent, **HTMX), client.post(address, sent, **HTMX)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.content == again.content and b"look" in again.content
    assert Notification.objects.filter(topic__endswith=":talk").count() == 1
    assert client.post(address, {**sent, "text": "/sev 1 worse"}, **HTMX).status_code == 422

    other = client.post(address, {**sent, "text": "@ravi look here"}, **HTMX)
    assert (other.status_code, other["X-Muster-Arrived"]) == (422, "1")
    assert other.content == (
        b"What you sent before has arrived; only its answer was lost. Press Send again to send this too."
    )
    assert incident.timeline.filter(kind=Kind.NOTE).count() == 1
    assert client.post(address, {"text": "/task drain it", "key": "t" * 16}, **HTMX).status_code == 200
    assert client.post(address, {"text": "/task drain it", "key": "t" * 16}, **HTMX).status_code == 200
    assert incident.tasks.count() == 1
    # The key is of one person in one incident, and what was refused is not remembered.
    assert signed_in(ravi).post(address, {**sent, "text": "mine"}, **HTMX).status_code == 200
    assert client.post(address, {"text": " ", "key": "r" * 16}, **HTMX).status_code == 400
    assert client.post(address, {"text": "now", "key": "r" * 16}, **HTMX).status_code == 200
    assert incident.timeline.filter(kind=Kind.NOTE).count() == 3


def test_without_script_a_refused_message_comes_back_whole_in_the_form(incident, ines):
    seq = say(incident, "first", ines)
    text = "</textarea><script>" + "x" * 20_001
    answer = signed_in(ines).post(at(incident, "note"), {"text": text, "reply_to": seq, "key": "k" * 16})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert f"&lt;/textarea&gt;&lt;script&gt;{'x' * 20_001}</textarea>" in page
    assert "At most 20,000 characters; this has 20,020." in page
    assert f'id="reply-to" value="{seq}"' in page
    assert "k" * 16 not in page  # the next one is another message
    assert incident.timeline.filter(kind=Kind.NOTE).count() == 1


# --- answers --------------------------------------------------------------------------------------------------------


def test_an_answer_names_what_it_answers_as_it_reads_now(incident, ines, ravi):
    first = say(incident, "pool is full", ines)
    channel.amend(incident_id=incident.pk, seq=first, text="the pool is empty", by=ines, now=NOW + MINUTE)
    seq = say(incident, "since when", ravi, reply_to=first)
    data = incident.timeline.get(seq=seq).data
    assert data == {"reply_to": first, "reply_name": "Ines Okafor", "reply_text": "the pool is empty"}
    assert f'<a href="#e-{first}">Ines Okafor: the pool is empty</a>' in shown(incident, seq)


def test_an_answer_to_an_entry_of_another_incident_is_refused(incident, ines):
    other = transitions.trigger(service=make_service("b"), title="B", severity=3, urgency="low", now=NOW)
    for number in range(5):
        seq = say(other, f"n{number}", ines)
    with pytest.raises(Missing):
        say(incident, "x", ines, reply_to=seq)
    assert not incident.timeline.filter(kind=Kind.NOTE).exists()


def test_somebody_from_outside_may_speak_under_a_name(incident):
    seq = say(incident, "hello <b>", None, by_name="ravi (chat)", via="chat:7")
    entry = incident.timeline.get(seq=seq)
    assert (entry.actor, entry.actor_name, entry.data) == (None, "ravi (chat)", {"via": "chat:7"})
    assert "<b>ravi (chat)</b> hello &lt;b&gt;" in shown(incident, seq)


# --- decisions and updates are cards --------------------------------------------------------------------------------


def test_a_decision_is_framed_and_says_that_the_commander_made_it(incident, ines, ravi):
    transitions.assign_commander(incident_id=incident.pk, user=ines, by=ines, now=NOW)
    by_commander = channel.decide(incident_id=incident.pk, text="Roll back `r4470`", by=ines, now=NOW)
    by_other = channel.decide(incident_id=incident.pk, text="Wait", by=ravi, now=NOW)
    assert "<header><b>Decision</b><span>Ines Okafor, commander</span></header>" in shown(
        incident, by_commander.seq
    )
    assert '<code class="mono">r4470</code>' in shown(incident, by_commander.seq)
    assert "<span>Ravi Menon</span></header>" in shown(incident, by_other.seq)
    assert 'data-group="decision"' in shown(incident, by_other.seq)


def test_an_update_is_a_card_with_its_promise(incident, ines):
    entry = timeline.record(
        transitions.lock_incident(incident.pk), Kind.UPDATE_POSTED, at=NOW, actor=ines, text="sent update 1",
        data={"impact": "Four in <ten> fail", "action": "We revert", "next_update_at": NOW.isoformat(), "mails": 12},
    )  # fmt: skip
    html = shown(incident, entry.seq)
    assert (
        '<b>Update to stakeholders</b><span>Ines Okafor</span><span class="end">mailed to 12</span>' in html
    )
    assert "<p>Four in &lt;ten&gt; fail</p><p>We revert</p><p>Next update by <time" in html


# --- amending -------------------------------------------------------------------------------------------------------


def test_amending_keeps_the_first_words_and_the_chain_verifies(incident, ines):
    seq = say(incident, "ist words", ines)
    entry = channel.amend(
        incident_id=incident.pk, seq=seq, text="first words", by=ines, now=NOW + 2 * MINUTE, rev=0
    )
    assert (entry.kind, entry.text, entry.data) == (Kind.AMENDED, "first words", {"of": seq, "rev": 1})
    assert incident.timeline.get(seq=seq).text == "ist words"
    assert queries.words_of(queries.entry(incident.pk, seq)) == "first words"
    html = shown(incident, seq)
    assert "first words" in html and "ist words</p>" not in html.replace("first words", "")
    assert 'data-rev="1"' in html and "amended" in html
    assert is_whole(incident)


def test_an_amended_decision_stays_as_short_as_a_decision(incident, ines):
    seq = channel.decide(incident_id=incident.pk, text="Roll back", by=ines, now=NOW).seq
    with pytest.raises(Invalid, match="2,000"):
        channel.amend(incident_id=incident.pk, seq=seq, text="x" * 2001, by=ines, now=NOW)
    assert queries.words_of(queries.entry(incident.pk, seq)) == "Roll back"


def test_two_amend_at_once_and_the_second_sees_the_first(incident, ines):
    boss = make_user("boss", full_name="Bo Boss", role="manager")
    seq = say(incident, "one", ines)
    channel.amend(incident_id=incident.pk, seq=seq, text="two", by=boss, now=NOW + MINUTE, rev=0)
    before = incident.timeline.count()
    with pytest.raises(Refused, match=r"^Bo Boss changed it 3 s ago\. Your text is kept\."):
        channel.amend(
            incident_id=incident.pk,
            seq=seq,
            text="three",
            by=ines,
            now=NOW + MINUTE + timedelta(seconds=3),
            rev=0,
        )
    assert incident.timeline.count() == before
    assert queries.words_of(queries.entry(incident.pk, seq)) == "two"


def test_a_pin_is_no_reason_to_refuse_an_amendment(incident, ines, ravi):
    seq = say(incident, "one", ines)
    channel.mark(incident_id=incident.pk, seq=seq, mark="pin", on=True, by=ravi, now=NOW)
    channel.amend(incident_id=incident.pk, seq=seq, text="two", by=ines, now=NOW, rev=0)
    overlay = EntryOverlay.objects.get()
    assert (overlay.rev, overlay.text, overlay.pinned_by) == (2, "two", ravi)


def test_only_the_author_or_a_manager_amends(incident, ines, ravi):
    seq = say(incident, "mine", ines)
    with pytest.raises(NotAllowed, match="Ines Okafor wrote this"):
        channel.amend(incident_id=incident.pk, seq=seq, text="yours", by=ravi, now=NOW)
    assert signed_in(ravi).post(at(incident, "amend", seq), {"text": "yours", "rev": 0}).status_code == 403
    assert not EntryOverlay.objects.exists()


def test_what_muster_wrote_is_not_amended(incident, ines):
    with pytest.raises(Refused) as refused:
        channel.amend(incident_id=incident.pk, seq=1, text="x", by=ines, now=NOW)
    assert refused.value.code == "not_amendable"


def test_the_same_words_amend_nothing(incident, ines):
    seq = say(incident, "same", ines)
    channel.amend(incident_id=incident.pk, seq=seq, text=" same ", by=ines, now=NOW)
    assert not incident.timeline.filter(kind=Kind.AMENDED).exists()


# --- pins and stars -------------------------------------------------------------------------------------------------


def test_what_is_pinned_stands_above_the_feed_the_latest_first(incident, ines, ravi):
    seqs = [say(incident, f"fact {number}", ines) for number in range(4)]
    for number, seq in enumerate(seqs):
        channel.mark(
            incident_id=incident.pk, seq=seq, mark="pin", on=True, by=ravi, now=NOW + number * MINUTE
        )
    known = queries.room_context(incident, NOW)["known"]
    assert [(pin["seq"], pin["who"]) for pin in known] == [(seq, "Ines") for seq in seqs[:0:-1]]
    page = signed_in(ravi).get(at(incident)).content.decode()
    assert page.index("What we know.") < page.index("fact 3") < page.index('id="feed"')
    channel.mark(incident_id=incident.pk, seq=seqs[3], mark="pin", on=False, by=ravi, now=NOW)
    assert [pin["seq"] for pin in queries.room_context(incident, NOW)["known"]] == [seqs[2], seqs[1], seqs[0]]
    assert is_whole(incident)


def test_marking_again_does_nothing(incident, ines):
    seq = say(incident, "fact", ines)
    for _ in range(2):
        channel.mark(incident_id=incident.pk, seq=seq, mark="star", on=True, by=ines, now=NOW)
    assert incident.timeline.filter(kind=Kind.MARKED).count() == 1
    marked = incident.timeline.get(kind=Kind.MARKED)
    assert marked.text == "starred: fact"
    assert marked.data == {"of": seq, "mark": "star", "on": True, "rev": 1}


def test_a_mark_on_a_mark_and_an_unknown_mark_are_refused(incident, ines):
    seq = say(incident, "fact", ines)
    marked = channel.mark(incident_id=incident.pk, seq=seq, mark="star", on=True, by=ines, now=NOW)
    with pytest.raises(Refused):
        channel.mark(incident_id=incident.pk, seq=marked.seq, mark="pin", on=True, by=ines, now=NOW)
    with pytest.raises(Invalid):
        channel.mark(incident_id=incident.pk, seq=seq, mark="like", on=True, by=ines, now=NOW)
    with pytest.raises(Missing):
        channel.mark(incident_id=incident.pk, seq=999, mark="pin", on=True, by=ines, now=NOW)
    assert EntryOverlay.objects.count() == 1


def test_a_change_reaches_an_open_room_as_the_new_version(incident, ines):
    seq = say(incident, "fact", ines)
    assert b"data-echo" not in reads.entries(incident.pk, seq - 1, 10)[0].data
    channel.mark(incident_id=incident.pk, seq=seq, mark="pin", on=True, by=ines, now=NOW)
    channel.amend(incident_id=incident.pk, seq=seq, text="better fact", by=ines, now=NOW)
    original, pinned, amended = reads.entries(incident.pk, seq - 1, 10)
    assert b"data-rev" not in original.data and b"fact" in original.data
    for event in (pinned, amended):
        assert event.data.count(b"<li ") == 2
        assert f'id="e-{seq}" data-seq="{seq}"'.encode() in event.data
        assert b'data-rev="2" data-echo' in event.data and b"better fact" in event.data
    assert b'aria-label="Pinned"' in amended.data
    assert b"What we know." in reads.slots(incident.pk)


def test_changes_cost_the_live_stream_one_query_more(incident, ines, django_assert_num_queries):
    seqs = [say(incident, f"fact {number}", ines) for number in range(6)]
    with django_assert_num_queries(1):
        reads.entries(incident.pk, 0, 50)
    for seq in seqs:
        channel.mark(incident_id=incident.pk, seq=seq, mark="pin", on=True, by=ines, now=NOW)
    with django_assert_num_queries(2):
        reads.entries(incident.pk, 0, 50)


# --- pages ----------------------------------------------------------------------------------------------------------


def test_the_own_message_and_an_amended_one_come_with_the_answer(incident, ines):
    seq = say(incident, "fact", ines)
    incident.refresh_from_db()
    channel.amend(incident_id=incident.pk, seq=seq, text="better", by=ines, now=NOW)
    answer = signed_in(ines).post(at(incident, "note"), {"text": "more", "after": incident.last_seq}, **HTMX)
    html = answer.content.decode()
    assert html.count("<li ") == 3  # the amendment, what it amended, the message
    assert f'id="e-{seq}"' in html and "better" in html and "more" in html


def test_the_page_of_an_entry_shows_every_version_and_works_without_script(incident, ines, ravi):
    seq = say(incident, "first <i>", ines)
    client = signed_in(ines)
    client.post(at(incident, "amend", seq), {"text": "second", "rev": "0"})
    client.post(at(incident, "amend", seq), {"text": "third", "rev": "1"})
    assert client.post(at(incident, "mark", seq), {"mark": "pin", "on": "1"}).status_code == 302
    answer = client.post(at(incident, "note"), {"text": "why", "reply_to": str(seq)})
    assert answer.headers["Location"] == f"{at(incident)}#composer"
    page = client.get(at(incident, "entry", seq)).content.decode()
    order = [page.index(words) for words in ("third", "first &lt;i&gt;", ">second<", "1 answer", "why")]
    assert order == sorted(order)
    assert "Unpin" in page and 'name="rev" value="3"' in page
    fragment = client.get(at(incident, "entry", seq), **HTMX).content.decode()
    assert "<html" not in fragment and f'id="e-{seq}"' not in fragment


def test_a_refused_amendment_keeps_the_text_on_the_page(incident, ines):
    seq = say(incident, "one", ines)
    channel.amend(incident_id=incident.pk, seq=seq, text="two", by=ines, now=NOW)
    answer = signed_in(ines).post(at(incident, "amend", seq), {"text": "three <b>", "rev": "0"})
    assert answer.status_code == 409
    page = answer.content.decode()
    assert "Ines Okafor changed it" in page and "three &lt;b&gt;</textarea>" in page


def test_a_viewer_reads_an_entry_and_may_do_nothing_with_it(incident, ines):
    seq = say(incident, "fact", ines)
    client = signed_in(make_user("viola", role="viewer"))
    page = client.get(at(incident, "entry", seq)).content.decode()
    assert "fact" in page and "<textarea" not in page and "Pin above" not in page
    for name, data in (("amend", {"text": "x"}), ("mark", {"mark": "pin", "on": "1"})):
        assert client.post(at(incident, name, seq), data).status_code == 403
    assert client.post(at(incident, "decide"), {"reason": "x"}).status_code == 403
    assert not EntryOverlay.objects.exists()


def test_an_entry_that_is_not_there_answers_404(incident, ines):
    client = signed_in(ines)
    for seq in (999, 2**40):
        assert client.get(at(incident, "entry", seq)).status_code == 404


def test_a_toggle_does_the_other_thing(incident, ines):
    seq = say(incident, "fact", ines)
    client = signed_in(ines)
    for pinned in (True, False):
        answer = client.post(at(incident, "mark", seq), {"mark": "pin", "on": "toggle"}, **HTMX)
        assert answer.status_code == 204
        assert (EntryOverlay.objects.get().pinned_at is not None) == pinned


def test_a_decision_is_asked_for_and_kept_when_empty(incident, ines):
    client = signed_in(ines)
    assert "Record a decision" in client.get(at(incident, "decide")).content.decode()
    assert client.post(at(incident, "decide"), {"reason": " "}).status_code == 400
    assert client.post(at(incident, "decide"), {"reason": "go"}).status_code == 302
    assert incident.timeline.get(kind=Kind.DECISION).text == "go"


def test_people_are_offered_by_what_is_typed_after_the_at(incident, ines, ravi):
    make_user("bot", full_name="Ravi Bot", is_bot=True)
    client = signed_in(ines)
    assert [user.username for user in queries.people_matching("men")] == ["ravi"]
    html = client.get(at(incident, "mention"), {"q": "ra"}).content.decode()
    assert 'data-mention="@ravi"' in html and "bot" not in html


# --- what a file or a line may be -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\logs\\a.log", "a.log"),
        ("invoice\u202egnp.exe", "invoicegnp.exe"),
        ("\x00\n.. ", "file"),
        ("", "file"),
        ("a" * 300 + ".png", "a" * 116 + ".png"),
        ("\ud800x.txt", "x.txt"),
    ],
)
def test_a_file_is_called_by_the_harmless_part_of_its_name(given, kept):
    assert rules.safe_name(given) == kept
