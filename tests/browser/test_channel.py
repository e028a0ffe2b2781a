"""Writing to the room in a real browser: commands and names by keyboard, pins and amendments in other open rooms, files."""

import struct
import zlib
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from incidents import transitions
from incidents.channel import transitions as channel
from incidents.models import Attachment, Kind
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service

MINUTE = timedelta(minutes=1)


def png() -> bytes:
    """One red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


@pytest.fixture
def ines(address):
    return make_user("ines", full_name="Ines Okafor", role="manager")


@pytest.fixture
def ravi(address):
    return make_user("ravi", full_name="Ravi Menon")


@pytest.fixture
def incident(ines):
    return transitions.declare(
        service=make_service("checkout-api"), title="Checkout API: 5xx", severity=2, by=ines,
        now=timezone.now() - MINUTE,
    )  # fmt: skip


def room_of(incident):
    return f"/incidents/{incident.ref}/"


def test_commands_names_answers_and_pins_by_keyboard_alone(incident, ines, ravi, look):
    fact = channel.say(incident_id=incident.pk, text="the pool is ful", by=ines, now=timezone.now())
    other = look(ravi, room_of(incident))
    page = look(ines, room_of(incident))
    expect(page.locator("#live")).to_have_text("Live")
    expect(other.locator("#live")).to_have_text("Live")
    say, menu = page.locator("#say-text"), page.locator("#slash")
    page.keyboard.press("/")
    expect(menu.locator("[role=option]:visible")).not_to_have_count(0)
    page.keyboard.type("se")
    expect(menu.locator("[role=option]:visible")).to_have_count(1)
    page.keyboard.press("Tab")
    expect(say).to_have_value("/sev ")
    expect(menu).to_be_hidden()
    expect(page.locator("#usage")).to_have_text("/sev 1 why: Change the severity")
    page.keyboard.type("1 it spreads")
    page.keyboard.press("Enter")
    expect(other.locator("#feed")).to_contain_text("changed severity from SEV2 to SEV1: it spreads")
    expect(say).to_have_value("")

    say.fill("/wrod")
    page.keyboard.press("Enter")
    expect(page.locator("#composer [data-refused]")).to_contain_text("/wrod is not a command.")
    expect(say).to_have_value("/wrod")
    look.reports[:] = [report for report in look.reports if "400" not in report]

    say.fill("")
    page.keyboard.type("ask @rav")
    expect(page.locator("#ats [role=option]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(say).to_have_value("ask @ravi ")
    page.keyboard.press("Enter")
    expect(other.locator(".mention[data-me]")).to_have_text("@ravi")

    page.keyboard.press("Escape")
    page.locator(f"#e-{fact.seq}").evaluate("li => { li.tabIndex = -1; li.focus(); }")
    page.keyboard.press("p")
    expect(other.locator("#known")).to_contain_text("What we know. the pool is ful")
    expect(other.locator(f'#e-{fact.seq} [aria-label="Pinned"]')).to_have_count(1)
    count = other.locator('[data-show-only="message"] .count').text_content()

    page.locator(f"#e-{fact.seq}").evaluate("li => { li.tabIndex = -1; li.focus(); }")
    page.keyboard.press("e")
    page.click("#ask .amend summary")
    page.fill("#amend-text", "the pool is full")
    page.click('#ask .amend button:has-text("Amend")')
    expect(other.locator(f"#e-{fact.seq}")).to_contain_text("Ines Okafor the pool is full")
    expect(other.locator("#known")).to_contain_text("the pool is full")
    expect(other.locator('[data-show-only="message"] .count')).to_have_text(str(int(count) + 1))

    other.locator(f"#e-{fact.seq}").evaluate("li => { li.tabIndex = -1; li.focus(); }")
    other.keyboard.press("r")
    expect(other.locator("#reply-bar")).to_contain_text("the pool is full")
    other.keyboard.type("since when")
    other.keyboard.press("Enter")
    expect(page.locator(".talk .re")).to_contain_text("Ines Okafor: the pool is full")
    expect(other.locator("#reply-bar")).to_be_hidden()


def test_a_file_is_shown_before_it_is_sent_and_a_lie_is_refused_with_everything_kept(incident, ines, look):
    page = look(ines, room_of(incident), width=390, height=844)
    picker, send = page.locator("#say-files"), page.locator("#composer button:not([type])")
    page.fill("#say-text", "see the graph")
    picker.set_input_files([{"name": "graph.png", "mimeType": "image/png", "buffer": b"<html>"}])
    expect(page.locator("#chosen")).to_contain_text("graph.png")
    send.click()
    expect(page.locator("#composer [data-refused]")).to_have_text(
        "graph.png says PNG and is not one. It is text."
    )
    expect(page.locator("#say-text")).to_have_value("see the graph")
    expect(page.locator("#chosen li")).to_have_count(1)
    assert not incident.timeline.filter(kind=Kind.NOTE).exists()
    look.reports[:] = [report for report in look.reports if "400" not in report]
    page.click('#chosen button[aria-label="Leave graph.png out"]')
    expect(page.locator("#chosen li")).to_have_count(0)
    picker.set_input_files([{"name": "graph.png", "mimeType": "image/png", "buffer": png()}])
    send.click()
    image = page.locator("#feed .shot img")
    expect(image).to_have_js_property("naturalWidth", 1)
    expect(page.locator("#chosen li")).to_have_count(0)
    assert Attachment.objects.get().content_type == "image/png"
