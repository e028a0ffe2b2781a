"""The pages about being reached and about what was sent: nothing for axe, nothing scrolls sideways."""

from datetime import timedelta

import pytest
from django.utils import timezone

from notifications import breaker, channels, verification
from notifications.links import bundle_path
from notifications.models import Bundle, Delivery
from notifications.phone_accounts import read_accounts
from tests.factories.accounts import make_email, make_user
from tests.factories.notifications import make_notification, make_rule
from tests.notifications.fakes import FakeChannel
from timers.transitions import fire_due


@pytest.fixture
def manager(address, monkeypatch):
    now = timezone.now()
    user = make_user("ines", full_name="Ines Okafor", role="manager")
    mail = make_email(user, verified_at=now, label="Work")
    make_rule(mail)
    make_rule(mail, after=timedelta(minutes=5))
    verification.send_code(
        method=user.contact_methods.create(
            kind="webhook",
            address="https://hooks.example.org/a/rather/long/address/that/has/to/wrap",
            secret="ab" * 24,
        ),
        now=now,
    )
    for kind in ("email", "webhook"):
        monkeypatch.setitem(channels.CHANNELS, kind, FakeChannel(kind))
    make_notification(user, now=now)
    fire_due(now=now, by="test")
    return user


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(manager, look, axe, theme, settings):
    settings.MUSTER_SMS_PROVIDERS = read_accounts(
        "sms", "twilio://AC1:tok@?from=+4930999 vonage://k:s@?from=Muster"
    )
    for _ in range(3):
        breaker.failed(settings.MUSTER_SMS_PROVIDERS[0], error="No answer within 8 s", now=timezone.now())
    manager.contact_methods.update(flagged_at=timezone.now(), flag_reason="A machine answered")
    sent = Delivery.objects.filter(status="sent").latest("pk")
    bundle = Bundle.objects.create(
        recipient=manager, idempotency_key=sent.idempotency_key, created_at=timezone.now()
    )
    Delivery.objects.filter(notification=sent.notification).update(bundle=bundle)
    found = {}
    for path in (
        "/notifications/methods/?kind=telegram", "/notifications/ledger/", f"/notifications/ledger/{sent.pk}/",
        "/notifications/providers/", bundle_path(bundle.pk),
    ):  # fmt: skip
        page = look(manager, path, theme=theme)
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 844})
            found[f"{path} {width}"] = axe(page)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
                f"{path} scrolls at {width}"
            )
    assert {where: what for where, what in found.items() if what} == {}


def test_a_step_is_added_and_removed_without_script(manager, look):
    page = look(manager, "/notifications/methods/", script=False)
    page.get_by_label("Urgency", exact=True).select_option("low")
    page.get_by_label("Minutes after the page").fill("10")
    page.get_by_role("button", name="Add step").click()
    page.get_by_text("After 10 min").wait_for()

    low = page.locator("section", has_text="Low urgency")
    low.get_by_role("button", name="Remove… this step").first.click()
    low.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.get_by_text("After 10 min").wait_for(state="detached")


def test_what_becomes_of_a_test_appears_beside_the_method_by_itself(manager, look):
    page = look(manager, "/notifications/methods/")
    method = page.locator("article", has_text="ines@example.org")
    method.get_by_role("button", name="Send a test").click()
    assert method.get_by_text("a message is on its way…").is_visible()

    fire_due(now=timezone.now(), by="test")

    method.get_by_text("last message sent: 250 accepted").wait_for(timeout=5000)
