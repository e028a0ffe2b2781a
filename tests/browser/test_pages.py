"""Every page in both themes and both sizes: nothing for axe, no report of the policy, no sideways scroll."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from incidents import transitions
from incidents.channel import transitions as channel
from incidents.links import answer_path
from incidents.models import Incident
from incidents.roles import transitions as roles
from incidents.todo import transitions as todo
from incidents.travel.links import embed_path
from incidents.updates import transitions as updates
from integrations.bridge import transitions as bridges
from integrations.models import ChatBridge
from tests.factories.accounts import make_team, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier

MINUTE = timedelta(minutes=1)


@pytest.fixture
def cast(address, settings):
    settings.MUSTER_PUBLIC_STATUS = True
    ines = make_user("ines", full_name="Ines Okafor", role="manager", time_zone="Europe/Berlin")
    ravi = make_user("ravi", full_name="Ravi Menon")
    viola = make_user("viola", full_name="Viola Weber", role="viewer")
    service = make_service("checkout-api", criticality=1, team=make_team("Payments"), primary_responder=ravi)
    make_policy(
        tier(1, ravi, seconds=600),
        tier(2, ines, seconds=600),
        service=service,
        catch_all=ines,
        name="Checkout",
    )
    now = timezone.now()
    incident = transitions.declare(
        service=service, title="Checkout API: 5xx after config rollout", severity=1, by=ines, now=now - 4 * MINUTE,
        impact="38% of checkouts fail in EU and UK",
    )  # fmt: skip
    transitions.add_note(
        incident_id=incident.pk, text="Only `POST /confirm` fails.", by=ravi, now=now - 3 * MINUTE
    )
    talk = {"incident_id": incident.pk, "now": now - 2 * MINUTE}
    log = channel.say(
        text="As in the log, @ines:\n```\nupstream  5s\n```\n1. pool\n2. proxy", by=ravi, **talk
    )
    channel.say(text="See it", by=ines, reply_to=log.seq, files=[channel.Upload("node.log", b"x")], **talk)
    channel.amend(seq=log.seq, text="As in the log:\n```\nupstream  60s\n```", by=ravi, **talk)
    channel.mark(seq=log.seq, mark="pin", on=True, by=ines, **talk)
    channel.decide(text="Roll back to `r4470`", by=ines, **talk)
    for severity in (2, 3, 4):
        other = transitions.declare(
            service=service, title=f"Another of severity {severity}", severity=severity, by=ines,
            now=now - 90 * MINUTE, is_drill=severity == 2,
        )  # fmt: skip
        if severity > 2:
            transitions.acknowledge(incident_id=other.pk, by=ravi, now=now - 88 * MINUTE)
        if severity == 4:
            transitions.resolve(incident_id=other.pk, by=ravi, now=now - 60 * MINUTE)
        if severity == 3:
            updates.post_update(
                incident_id=other.pk, impact="Slow for some", action="We look.", next_minutes=5, by=ravi,
                now=now - 20 * MINUTE,
            )  # fmt: skip
    updates.subscribe(
        email="board@example.org", user=None, incident_id=None, service_id=service.pk, min_severity=2, by=ravi, now=now
    )  # fmt: skip
    shop = updates.save_component(service_id=service.pk, name="Shop", is_public=True, by=ines)
    updates.publish(
        incident_id=incident.pk, state="investigating", level="partial", components=[shop], title="Paying fails",
        text="We look.", by=ines, now=now,
    )  # fmt: skip
    transitions.assign_role(incident_id=incident.pk, role="deputy", user=ines, by=ines, now=now)
    roles.offer_role(
        incident_id=incident.pk, role="scribe", to=ravi, by=ines, now=now, known="Since the rollout"
    )
    for title, person in (("Pause the refund queue", ravi), ("Keep a heap dump", None)):
        todo.add_task(
            incident_id=incident.pk, title=title, by=ines, now=now, assignee=person, due_at=now + MINUTE
        )
    bridge, _ = bridges.create_bridge(
        name="#incidents", address="https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        service=None, min_severity=2, mirrors_banner=True, mirrors_talk=True,
    )  # fmt: skip
    bridge.messages.create(incident=incident, seq=1, status="sent", created_at=now, sent_at=now)
    return {"ines": ines, "ravi": ravi, "viola": viola, "incident": incident}


def paths(incident: Incident) -> dict[str, str]:
    room = f"/incidents/INC-{incident.pk}/"
    page = incident.pages.order_by("pk").first()
    return {
        "home": "/",
        "list": "/incidents/?status=all",
        "room": room,
        "declare": "/incidents/declare/",
        "question": f"{room}resolve/",
        "my pages": "/incidents/my-pages/",
        "answer": answer_path(page.pk),
        "asked": answer_path(incident.offers.first().page_id),
        "role": f"{room}role/",
        "handoff": f"{room}handoff/",
        "expert": f"{room}expert/",
        "task": f"{room}tasks/1/",
        "new task": f"{room}tasks/new/",
        "rotations": "/incidents/rotations/",
        "update": f"{room}update/",
        "entry": f"{room}entries/{incident.timeline.get(kind='amended').data['of']}/",
        "earlier": f"{room}earlier/?show=message",
        "phases": f"{room}phases/",
        "print": f"{room}print/",
        "search": "/incidents/search/?q=checkout",
        "publish": f"{room}publish/",
        "status": "/status/",
        "subscriptions": "/status/subscriptions/",
        "components": "/status/components/",
        "public": "/status/public/",
        "service": "/services/checkout-api/",
        "embed": f"{room}embed/",
        "embedded": embed_path(incident.pk),
        "bridges": "/integrations/chat/",
        "bridge": f"/integrations/chat/{ChatBridge.objects.get().pk}/",
        "sign in": "/account/login/",
        "nothing": "/nothing-is-here/",
    }


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing_on_any_page_and_nothing_scrolls_sideways(cast, look, axe, theme):
    found = {}
    for name, path in paths(cast["incident"]).items():
        page = look(
            None if name in ("answer", "asked", "sign in", "public", "embedded") else cast["ines"],
            path,
            theme=theme,
        )
        if name == "room":
            page.wait_for_selector(".ladder .tier")
            page.wait_for_selector("#live.good")
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            found[name, width] = axe(page)
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found[name, width].append("scrolls sideways")
        page.close()
    look.reports[:] = [report for report in look.reports if "404" not in report]  # "nothing" is one
    assert {where: what for where, what in found.items() if what} == {}


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing_in_the_dialogs_and_for_a_viewer(cast, look, axe, theme):
    room = paths(cast["incident"])["room"]
    page = look(cast["ines"], room, theme=theme)
    page.keyboard.press("?")
    page.wait_for_selector("#keys[open]")
    assert axe(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.fill("#jump-q", "another")
    page.wait_for_selector("#found .placard")
    assert axe(page) == []
    page.keyboard.press("Escape")
    page.click("text=Page now >> nth=0")
    page.wait_for_selector("#ask[open]")
    assert axe(page) == []
    page = look(cast["viola"], room, theme=theme)
    page.wait_for_selector(".ladder .tier")
    assert axe(page) == []


def test_the_palette_goes_and_does_by_keyboard_alone(cast, look):
    page = look(cast["ines"], paths(cast["incident"])["room"])
    chosen = page.locator("#found-list [aria-selected=true]")
    page.wait_for_selector("#live.good")
    page.keyboard.press("Control+k")
    expect(page.locator("#jump-q")).to_be_focused()
    expect(chosen).to_have_count(0)  # nothing happens by an Enter too many
    page.keyboard.type("describe the imp")
    expect(chosen).to_contain_text("Describe the impact…")
    page.keyboard.press("Enter")
    expect(page.locator("#ask-reason")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("another of severity")
    expect(page.locator("#found [role=option]", has_text="Another of severity 3")).to_be_visible()
    expect(chosen).to_contain_text("Another of severity 4")
    page.keyboard.press("ArrowDown")
    expect(chosen).to_contain_text("Another of severity 3")
    expect(page.locator("#jump-q")).to_have_attribute("aria-activedescendant", chosen.get_attribute("id"))
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("Another of severity 3")


def test_that_somebody_is_paged_is_said_at_once_and_a_message_is_not(cast, look):
    incident, ines = cast["incident"], cast["ines"]
    page = look(ines, paths(incident)["room"])
    page.wait_for_selector("#live.good")
    expect(page.locator("#feed-scroll")).to_have_attribute("aria-live", "polite")
    transitions.add_note(incident_id=incident.pk, text="Rolling back", by=ines, now=timezone.now())
    expect(page.locator("#feed")).to_contain_text("Rolling back")
    expect(page.locator("#say-now[role=alert]")).to_be_empty()
    transitions.page_person(
        incident_id=incident.pk, user=cast["ravi"], by=ines, reason="the pool", now=timezone.now()
    )
    expect(page.locator("#say-now")).to_contain_text("Ravi Menon")


def test_the_list_of_keys_names_what_the_page_has(cast, look):
    page = look(cast["ines"], paths(cast["incident"])["room"])
    page.keyboard.press("?")
    expect(page.locator("#keys dd", has_text="Write to the room")).to_be_visible()
    expect(page.locator("#keys dd", has_text="Next and last entry")).to_be_visible()
    page.goto("/incidents/")
    page.keyboard.press("?")
    expect(page.locator("#keys dd", has_text="Search, go or do")).to_be_visible()
    expect(page.locator("#keys dd", has_text="Next and last entry")).to_be_hidden()
    expect(page.locator("#keys h3", has_text="On this page")).to_be_hidden()


def test_the_pages_keep_their_weight(cast, look):
    """Compressed, as promised in the guide: fonts, style, script, and the answer page as a whole."""
    weights: dict[str, int] = {}

    def measure(page) -> None:
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        kinds: dict[str, str] = {}
        session.on("Network.responseReceived", lambda e: kinds.update({e["requestId"]: e["type"]}))
        session.on(
            "Network.loadingFinished",
            lambda e: (
                weights.update(
                    {
                        kinds[e["requestId"]]: weights.get(kinds[e["requestId"]], 0)
                        + int(e["encodedDataLength"])
                    }
                )
                if e["requestId"] in kinds
                else None
            ),
        )
        page.reload(wait_until="load")
        page.wait_for_timeout(500)

    page = look(cast["ines"], paths(cast["incident"])["room"])
    page.context.clear_cookies(name="nothing")
    session = page.context.new_cdp_session(page)
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    measure(page)
    assert weights["Stylesheet"] <= 50_000
    assert weights["Script"] <= 45_000
    assert weights["Font"] <= 57_000
    # Roles, tasks, commands and their menus are in it once, each entry adds less than a hundred bytes.
    assert weights["Document"] <= 18_000
    assert sum(weights.values()) <= 180_000  # 250 KB were promised
    weights.clear()
    page = look(None, paths(cast["incident"])["answer"])
    page.context.new_cdp_session(page).send("Network.setCacheDisabled", {"cacheDisabled": True})
    measure(page)
    assert sum(weights.values()) <= 25_000
