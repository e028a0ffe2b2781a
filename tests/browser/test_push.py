"""A real Chromium, its service worker and a real push service, from one press to an acknowledged page.

Two things stand in for what a machine without a network cannot have. `PushManager` gives a subscription to the push
service of these tests, since the browser's own is not reachable. What arrives there is decrypted with the subscription's
keys and handed to the worker by the debugger, as the browser would.
"""

import json
import os
from collections.abc import Iterator

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from incidents import transitions
from notifications.models import Delivery
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.notifications import make_rule
from tests.live.conftest import Web, wait_for
from tests.notifications.browsers import PushService
from timers.transitions import fire_due

STUB = """
const keys = %s;
const given = { endpoint: keys.endpoint, options: { applicationServerKey: null }, toJSON: () => ({
  endpoint: keys.endpoint, keys: { p256dh: keys.p256dh, auth: keys.auth } }) };
PushManager.prototype.subscribe = async (wanted) => {
  given.options.applicationServerKey = wanted.applicationServerKey.buffer;
  sessionStorage.setItem("subscribed", "yes");
  return given;
};
PushManager.prototype.getSubscription = async () => {
  if (!sessionStorage.getItem("subscribed")) return null;
  const text = document.getElementById("push-form").dataset.key.replace(/-/g, "+").replace(/_/g, "/");
  given.options.applicationServerKey = Uint8Array.from(atob(text + "="), (c) => c.charCodeAt(0)).buffer;
  return given;
};
"""


@pytest.fixture(scope="module")
def web(django_db_setup: None) -> Iterator[Web]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSTER_ALLOW_PRIVATE_WEBHOOKS", "true")  # the push service listens on this machine
        server = Web(os.environ["REDIS_URL"])
        yield server
        server.close()


class Worker:
    """The page's service worker, and the debugger's line to it."""

    def __init__(self, page) -> None:
        self.page = page
        self.origin = page.url.split("/notifications")[0]
        self.line = page.context.new_cdp_session(page)
        self.registrations: list[str] = []
        self.line.on(
            "ServiceWorker.workerRegistrationUpdated",
            lambda event: self.registrations.extend(
                each["registrationId"] for each in event["registrations"]
            ),
        )
        self.line.send("ServiceWorker.enable")
        [self.worker] = page.context.service_workers or [page.context.wait_for_event("serviceworker")]

    def push(self, said: dict) -> None:
        for _ in range(100):
            if self.registrations:
                break
            self.page.wait_for_timeout(50)  # lets the debugger's news in
        self.line.send(
            "ServiceWorker.deliverPushMessage",
            {"origin": self.origin, "registrationId": self.registrations[-1], "data": json.dumps(said)},
        )

    def shown(self) -> list[dict]:
        return self.worker.evaluate(
            "async () => (await registration.getNotifications()).map(({ title, body, icon, actions, tag }) =>"
            " ({ title, body, icon, tag, actions: actions.map((each) => each.action) }))"
        )

    def press(self, action: str) -> None:
        """The newest notification's button."""
        self.worker.evaluate(
            "async (action) => { const found = (await registration.getNotifications()).pop();"
            " dispatchEvent(new NotificationEvent('notificationclick', { notification: found, action })); }",
            action,
        )


def test_one_press_subscribes_a_push_verifies_and_a_page_is_acknowledged_with_no_tab_open(
    address, look, axe, settings, httpserver, web
):
    settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS = True
    service = PushService(httpserver)
    ravi, now = make_user("ravi", full_name="Ravi Menon"), timezone.now()
    page = look(ravi, "/notifications/methods/")
    page.context.grant_permissions(["notifications"], origin=address)
    page.context.add_init_script(STUB % json.dumps(service.given()))
    page.reload()
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert axe(page) == [] and page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.locator("#push-label").fill("Phone")
    page.get_by_role("button", name="Use this browser").click()
    expect(page.get_by_text("A push is on its way here")).to_be_visible()
    worker = Worker(page)
    method = ravi.contact_methods.get()
    assert method.verified_at is None

    fire_due(now=timezone.now(), by="test")
    wait_for(lambda: service.requests, what="the push that verifies")
    worker.push(service.opened()[0])
    expect(page.locator(f"#state-{method.pk} .state.good")).to_contain_text("verified")
    expect(page.get_by_text("This browser is in use.")).to_be_visible()
    expect(page.get_by_text("this browser", exact=True)).to_be_visible()
    assert [each["title"] for each in worker.shown()] == ["Muster reaches you here"]
    method.refresh_from_db()
    assert method.verified_at is not None

    make_rule(method)
    checkout = make_service("checkout")
    make_policy(tier(1, ravi), service=checkout)
    incident = transitions.declare(
        service=checkout, title="Checkout fails", severity=1, by=make_user("ines"), now=now
    )
    for _ in range(2):
        fire_due(now=timezone.now(), by="test")
    wait_for(lambda: len(service.requests) == 2, what="the page")
    page.goto("about:blank")
    worker.push(service.opened()[1])
    wait_for(lambda: len(worker.shown()) == 2, what="the notification")
    shown = worker.shown()[-1]
    assert "Checkout fails" in shown["title"] and shown["actions"] == ["ack", "open"]
    assert "push-sev1" in shown["icon"]
    assert Delivery.objects.filter(channel="push", status="sent").count() == 2

    worker.press("ack")
    wait_for(lambda: worker.shown()[-1]["title"] == "Acknowledged", what="the answer")
    incident.refresh_from_db()
    assert (incident.status, incident.acknowledged_by) == ("acknowledged", ravi)

    kept = worker.worker.evaluate(
        "async () => (await Promise.all((await caches.keys()).map(async (name) =>"
        " (await (await caches.open(name)).keys()).map((one) => new URL(one.url).pathname)))).flat()"
    )
    assert len(kept) == 2 and kept[0] == "/offline/" and "answer" in kept[1]
    worker.push(service.opened()[1])
    wait_for(lambda: worker.shown()[-1]["title"] == shown["title"], what="the notification again")
    web.stop()
    web.bound.close()
    worker.press("ack")  # what cannot be handed over must never look as if it were
    wait_for(lambda: worker.shown()[-1]["title"] == "Not acknowledged", what="the refusal")
    assert worker.shown()[-1]["actions"] == ["ack", "open"]
    page.goto(f"{address}/incidents/")
    expect(page.get_by_role("heading", name="Muster cannot be reached")).to_be_visible()
    expect(page.get_by_text("Paging goes on without your page")).to_be_visible()
    look.reports.clear()  # the browser reports that the server is away
