"""Files: what they are decides their bytes, what is stored is what was sent, and the browser runs nothing of them."""

import gzip
import hashlib
from datetime import UTC, datetime

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import User
from core.errors import Invalid
from incidents import timeline, transitions
from incidents.channel import rules
from incidents.channel import transitions as channel
from incidents.models import Attachment, AttachmentBlob, Incident, Kind
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
HTMX = {"HTTP_HX_REQUEST": "true"}
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 40
HTML = b"<html><script>alert(1)</script></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'

pytestmark = pytest.mark.django_db


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name="Ines Okafor")


def make_incident(slug: str = "checkout-api") -> Incident:
    return transitions.trigger(service=make_service(slug), title="5xx", severity=2, urgency="high", now=NOW)


@pytest.fixture
def incident() -> Incident:
    return make_incident()


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def send(
    incident: Incident, user: User, *files: tuple[str, bytes], text: str = "", **extra: object
) -> object:
    sent = [SimpleUploadedFile(name, data, content_type="image/png") for name, data in files]
    address = reverse("incidents:note", args=[incident.pk])
    return signed_in(user).post(address, {"text": text, "files": sent}, **{**HTMX, **extra})


def address_of(row: Attachment) -> str:
    return reverse("incidents:attachment", args=[row.incident_id, row.pk, row.name])


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"GIF89a...", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", None),
        (b"%PDF-1.7\n\x00", "application/pdf"),
        (gzip.compress(b"log", mtime=0), "application/gzip"),
        (b"PK\x03\x04\x00", "application/zip"),
        (HTML, "text/plain"),
        (SVG, "text/plain"),
        ("Zürich\n".encode(), "text/plain"),
        ("Zürich\n".encode("latin-1"), None),
        (b"MZ\x90\x00\x03", None),
        (b"\x7fELF\x02\x01\x00", None),
    ],
)
def test_the_type_is_what_the_bytes_say(data, kind):
    assert rules.sniff(data) == kind


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("graph.png", HTML, "graph.png says PNG and is not one. It is text."),
        ("graph.png", b"\xff\xd8\xff\xe0", "graph.png says PNG and is not one. It is JPEG."),
        ("graph.JPG", SVG, "graph.JPG says JPEG and is not one."),
        ("core", b"\x7fELF\x00", "core is neither an image, a PDF, an archive (ZIP, gzip) nor UTF-8 text."),
        ("dump.gz", b"\x00\x01", "dump.gz says gzip and is not one. Nothing was stored."),
        ("empty.log", b"", "empty.log is empty."),
    ],
)
def test_a_file_that_lies_about_its_type_is_refused_and_nothing_is_stored(incident, ines, name, data, says):
    before = incident.timeline.count()
    answer = send(incident, ines, ("ok.png", PNG), (name, data), text="see")
    assert (answer.status_code, answer.headers["X-Muster-Sentence"]) == (400, "1")
    assert answer.content.decode().startswith(says)
    assert (Attachment.objects.count(), AttachmentBlob.objects.count()) == (0, 0)
    assert incident.timeline.count() == before


def test_the_digest_stands_in_the_chain(incident, ines):
    assert send(incident, ines, ("graph.png", PNG), text="see").status_code == 200
    row = Attachment.objects.get()
    digest = hashlib.sha256(PNG).hexdigest()
    note = incident.timeline.get(kind=Kind.NOTE)
    assert note.data["attachments"] == [
        {"id": row.pk, "name": "graph.png", "type": "image/png", "bytes": len(PNG), "sha256": digest}
    ]
    assert (row.seq, row.size, row.blob_id, row.uploaded_by) == (note.seq, len(PNG), digest, ines)
    incident.refresh_from_db()
    assert list(timeline.verify(incident)) == []


def test_the_same_bytes_are_kept_once(incident, ines):
    send(incident, ines, ("a.png", PNG), ("b.png", PNG), text="twice")
    assert (Attachment.objects.count(), AttachmentBlob.objects.count()) == (2, 1)


def test_a_file_needs_no_words(incident, ines):
    assert send(incident, ines, ("a.log", b"boom"), ("b.log", b"bang")).status_code == 200
    assert incident.timeline.get(kind=Kind.NOTE).text == "attached a.log, b.log"


def test_the_room_shows_images_and_names_the_rest(incident, ines):
    send(incident, ines, ('"><img onerror=1>.png', PNG), ("node.log", b"x" * 2048), text="see")
    page = signed_in(ines).get(reverse("incidents:detail", args=[incident.pk])).content.decode()
    image = Attachment.objects.get(content_type="image/png")
    assert f'<img src="{address_of(image)}" alt="" loading="lazy"' in page
    assert "<span>node.log</span> <small>2 KB</small>" in page
    assert "<img onerror" not in page


def test_an_image_is_shown_in_a_cage(incident, ines):
    send(incident, ines, ("graph.png", PNG))
    answer = signed_in(make_user("viola", role="viewer")).get(address_of(Attachment.objects.get()))
    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"].startswith("inline")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["Cache-Control"] == "private, max-age=3600"


@pytest.mark.parametrize(("name", "data"), [("a.html", HTML), ("a.svg", SVG), ("a.xhtml", HTML), ("a", HTML)])
def test_html_and_svg_are_served_as_text(incident, ines, name, data):
    send(incident, ines, (name, data))
    answer = signed_in(ines).get(address_of(Attachment.objects.get()))
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_what_the_browser_has_is_not_sent_again(incident, ines):
    send(incident, ines, ("graph.png", PNG))
    client, address = signed_in(ines), address_of(Attachment.objects.get())
    tag = client.get(address).headers["ETag"]
    again = client.get(address, HTTP_IF_NONE_MATCH=tag)
    assert (again.status_code, again.content) == (304, b"")


def test_too_large_is_refused_and_nothing_is_stored(incident, ines, settings):
    settings.MUSTER_ATTACHMENT_MB = 1
    answer = send(incident, ines, ("big.log", b"x" * (1024 * 1024 + 1)), text="see")
    assert answer.content.decode() == "big.log is larger than 1 MB."
    assert answer.status_code == 400
    assert not Attachment.objects.exists() and not incident.timeline.filter(kind=Kind.NOTE).exists()


def test_a_command_takes_no_files_and_says_so_before_it_does_anything(incident, ines):
    before = incident.timeline.count()
    answer = send(incident, ines, ("graph.txt", b"5xx"), text="/decide roll back, see the graph")
    assert (answer.status_code, "A command takes no files" in answer.content.decode()) == (400, True)
    assert (incident.timeline.count(), Attachment.objects.count()) == (before, 0)


def test_six_files_are_too_many(incident, ines):
    answer = send(incident, ines, *[(f"{number}.log", b"x") for number in range(6)])
    assert answer.content.decode() == "At most 5 files in one message; these are 6."
    assert not Attachment.objects.exists()


def test_an_incident_takes_so_much_and_no_more(incident, ines, monkeypatch):
    monkeypatch.setattr(rules, "INCIDENT_BYTES", 1000)
    assert send(incident, ines, ("a.log", b"x" * 900)).status_code == 200
    with pytest.raises(Invalid, match="900 bytes already"):
        channel.say(
            incident_id=incident.pk, text="", by=ines, now=NOW, files=[channel.Upload("b.log", b"y" * 101)]
        )
    assert Attachment.objects.count() == 1
    assert send(make_incident("other"), ines, ("a.log", b"x" * 900)).status_code == 200


def test_a_stranger_and_another_incident_get_no_file(incident, ines):
    send(incident, ines, ("graph.png", PNG))
    row = Attachment.objects.get()
    assert Client().get(address_of(row)).status_code == 302
    other = make_incident("other")
    wrong = reverse("incidents:attachment", args=[other.pk, row.pk, row.name])
    assert signed_in(ines).get(wrong).status_code == 404
    assert signed_in(ines).get(address_of(row).replace("graph.png", "whatever.html")).status_code == 200
    viola = make_user("viola", role="viewer")
    assert send(incident, viola, ("b.png", PNG)).status_code == 403
    assert Attachment.objects.count() == 1


def test_without_script_a_refused_file_keeps_the_words(incident, ines):
    address = reverse("incidents:note", args=[incident.pk])
    file = SimpleUploadedFile("a.png", HTML)
    answer = signed_in(ines).post(address, {"text": "see <this>", "files": [file]})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "a.png says PNG and is not one. It is text. Choose the files again." in page
    assert "see &lt;this&gt;</textarea>" in page
