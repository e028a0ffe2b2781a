"""The transcript: Markdown, JSON and the page to print."""

import json
import re
from datetime import UTC, datetime, timedelta

import pgtrigger
import pytest
from django.test import Client
from django.urls import reverse
from markdown_it import MarkdownIt

from accounts.models import User
from incidents import timeline, transitions
from incidents.models import Incident, TimelineEntry
from incidents.reading import queries, rules
from tests.api.conftest import Api
from tests.factories.accounts import make_token, make_user
from tests.factories.catalog import make_service

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

FORGED = [
    "# A heading",
    "line\n\n# A heading\n\n- a list\n\n---\n",
    "```\nfence\n```\n# after the fence",
    "`````\nlonger fence",
    "[link](https://evil.example) ![image](https://evil.example/x.png) <img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "text\n===",
    "&lt;b&gt; &#60;i&#62; **bold** _em_ ~~gone~~ `code`",
    "1. one\r\n2. two\r# three",
    "\\# backslash \\",
    "    # indented",
]

pytestmark = pytest.mark.django_db


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name="Ines *Okafor*", time_zone="Europe/Berlin")


@pytest.fixture
def incident(ines: User) -> Incident:
    opened = transitions.trigger(
        service=make_service("checkout-api"), title="# 5xx <b>now</b>", severity=1, urgency="high", now=NOW
    )
    transitions.acknowledge(incident_id=opened.pk, by=ines, now=NOW + MINUTE)
    for text in FORGED:
        transitions.add_note(incident_id=opened.pk, text=text, by=ines, now=NOW + 2 * MINUTE)
    transitions.contain(incident_id=opened.pk, by=ines, now=NOW + 3 * MINUTE)
    transitions.resolve(incident_id=opened.pk, by=ines, now=NOW + 4 * MINUTE)
    opened.refresh_from_db()
    return opened


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def read(client: Client, incident: Incident, name: str) -> str:
    response = client.get(reverse(f"incidents:{name}", args=[incident.pk]))
    assert response.status_code == 200
    return response.getvalue().decode()


@pytest.mark.parametrize("name", ["export_md", "export_json", "print"])
def test_a_stranger_is_sent_to_the_sign_in_page_and_a_viewer_reads(client, incident, name):
    address = reverse(f"incidents:{name}", args=[incident.pk])
    assert client.get(address).headers["Location"].startswith("/account/login/")
    assert signed_in(make_user("viola", role="viewer")).get(address).status_code == 200
    assert signed_in(make_user("vera", role="viewer")).post(address).status_code == 405


def test_json_is_the_timeline_and_verifies(incident, ines):
    data = json.loads(read(signed_in(ines), incident, "export_json"))
    assert data["verified"] is True and data["wrong"] == []
    assert data["incident"]["ref"] == incident.ref
    assert [row["seq"] for row in data["timeline"]] == list(range(1, incident.last_seq + 1))
    previous = ""
    for row in data["timeline"]:
        assert row["prev_hash"] == previous
        previous = timeline.chain_hash(
            prev_hash=previous, incident_id=incident.pk, seq=row["seq"], kind=row["kind"],
            at=datetime.fromisoformat(row["at"]), actor_id=row["actor"]["id"] if row["actor"] else None,
            actor_name=row["actor_name"], text=row["text"], data=row["data"],
        )  # fmt: skip
        assert row["hash"] == previous
    assert previous == incident.last_hash
    assert [one["phase"] for one in data["phases"]][:2] == ["detection", "triage"]


def test_a_file_is_named_and_never_shown_as_a_page(incident, ines):
    response = signed_in(ines).get(reverse("incidents:export_md", args=[incident.pk]))
    assert response.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{incident.ref}.md"'
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in response.headers["Cache-Control"]


def test_a_changed_timeline_does_not_verify(incident, ines):
    with pgtrigger.ignore("incidents.TimelineEntry:append_only"):
        incident.timeline.filter(seq=4).update(text="was never said")
    client = signed_in(ines)
    data = json.loads(read(client, incident, "export_json"))
    assert data["verified"] is False
    assert data["wrong"] == [f"{incident.ref}: entry 4 was changed"]
    assert "NOT whole" in read(client, incident, "export_md")
    assert "not whole:" in read(client, incident, "print")


def test_a_note_cannot_forge_the_structure_of_markdown(incident, ines):
    text = read(signed_in(ines), incident, "export_md")
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(text)
    headings = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings == [rf"{incident.ref} \# 5xx \<b\>now\</b\>", "Phases", "Pages", "Timeline"]
    kinds = {token.type for token in tokens}
    kinds |= {child.type for token in tokens for child in token.children or []}
    assert not kinds & {"html_block", "html_inline", "image", "link_open", "table_open", "hr", "em_open", "s_open",
                        "ordered_list_open", "code_inline", "code_block"}  # fmt: skip
    # Every block that is there is one note, line by line.
    blocks = [token.content.rstrip("\n") for token in tokens if token.type == "fence"]
    many = [
        re.sub(r"\r\n?", "\n", note.strip("\r\n"))
        for note in FORGED
        if re.search(r"[\r\n]", note.strip("\r\n"))
    ]
    assert blocks == many


def test_markdown_says_who_when_and_how_long_it_took(incident, ines):
    text = read(signed_in(ines), incident, "export_md")
    assert "- Severity: SEV1\n" in text
    assert "- Contained: 2026-11-24 03:03:00 by Ines \\*Okafor\\*, after 3 min\n" in text
    assert f"- Timeline: {incident.last_seq} entries, whole" in text


@pytest.mark.parametrize("text", ["a", "", "``", "a\n```\nb", "````\n```\n"])
def test_a_fence_is_longer_than_what_it_holds(text):
    lines = rules.fenced(text).split("\n")
    fence = lines[0].removesuffix("text")
    assert set(fence) == {"`"} and lines[-1] == fence
    assert all(not line.lstrip().startswith(fence) for line in lines[1:-1])


def test_the_page_to_print_needs_no_script_and_keeps_text_as_text(incident, ines):
    page = read(signed_in(ines), incident, "print")
    body = page.partition("<main")[2].partition("</main>")[0]
    assert "<script" not in body
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body
    assert body.count('<tr id="e-') == incident.last_seq
    assert "24 Nov 2026, 04:00:00" in body  # in Berlin


def test_what_is_written_while_it_is_read_does_not_make_it_look_broken(incident, ines):
    """The incident was read at seq n; an entry n + 1 was committed before its timeline is read."""
    before = Incident.objects.get(pk=incident.pk)
    transitions.add_note(incident_id=incident.pk, text="later", by=ines, now=NOW + 5 * MINUTE)
    read_now = queries.transcript(before)
    assert (read_now.wrong, [entry.text for entry in read_now.entries].count("later")) == ([], 0)


def test_the_reads_do_not_grow_with_the_timeline(incident, ines, django_assert_max_num_queries):
    client = signed_in(ines)
    with django_assert_max_num_queries(16) as few:
        read(client, incident, "export_json")
    for number in range(20):
        transitions.add_note(incident_id=incident.pk, text=f"note {number}", by=ines, now=NOW + 6 * MINUTE)
    with django_assert_max_num_queries(len(few.captured_queries)):
        read(client, incident, "export_json")
    assert TimelineEntry.objects.filter(incident=incident).count() > 30


def test_the_api_gives_the_same_files(incident, ines):
    api = Api(make_token(make_user("viola", role="viewer")))
    data = json.loads(api.get(f"incidents/{incident.ref}/transcript.json/").getvalue())
    assert data["verified"] is True
    assert data["timeline"] == json.loads(read(signed_in(ines), incident, "export_json"))["timeline"]
    assert api.get(f"incidents/{incident.ref}/transcript.md/").getvalue().startswith(b"# INC-")
    assert api.get("incidents/INC-999999/transcript.md/").status_code == 404
