"""The page plan says beforehand whom the engine pages, and a policy's page what is wrong with it."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import ContactKind, ContactMethod
from escalation import foresight
from escalation.rules import TargetData
from incidents import transitions as incidents
from tests.factories.accounts import make_email, make_token, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.notifications import make_rule
from tests.factories.oncall import make_override, make_schedule
from timers.transitions import fire_due

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast():
    people = {name: make_user(name, full_name=name.title()) for name in ("ada", "bob", "cyd", "dan")}
    return people | {"service": make_service("checkout-api", criticality=1)}


def on(schedule) -> TargetData:
    return TargetData(kind="schedule", id=schedule.pk)


def course(plan) -> list[tuple[str, list[str], int | None]]:
    return [
        (
            moment.title, [call.person.username for call in moment.calls],
            int((moment.due_at - plan.at).total_seconds()) if moment.due_at else None,
        )
        for moment in plan.moments
    ]  # fmt: skip


def words_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_pain_08_the_plan_is_what_the_engine_then_does(cast):
    rota = make_schedule("Rota", people=[cast["ada"]])
    make_override(rota, user=cast["bob"], starts_at=NOW + MINUTE, ends_at=NOW + timedelta(days=1))
    empty = make_schedule("Empty")
    make_policy(
        tier(1, targets=[on(rota)], seconds=120), tier(2, targets=[on(empty)]), tier(3, cast["cyd"], seconds=300),
        service=cast["service"], catch_all=cast["dan"],
    )  # fmt: skip
    plan = foresight.page_plan(service=cast["service"], severity=1, at=NOW)
    assert course(plan) == [
        ("Tier 1, Tier 1 people", ["ada"], 120),
        ("Tier 1, Tier 1 people", ["bob"], 120),
        ("Tier 3, Tier 3 people", ["cyd"], 420),
        ("Catch-all", ["dan"], 420 + 900),
    ]
    assert plan.moments[1].is_joining is True
    assert plan.moments[2].passed == ("Tier 2, Tier 2 people, is passed: nobody is on call on Empty",)

    incident = incidents.trigger(service=cast["service"], title="5xx", severity=1, urgency="high", now=NOW)
    for at in (NOW + MINUTE, NOW + 2 * MINUTE, NOW + 7 * MINUTE):
        fire_due(now=at, by="test")
    happened = incident.pages.order_by("paged_at", "pk").values_list("recipient__username", "paged_at")
    foreseen = [(call.person.username, moment.at) for moment in plan.moments for call in moment.calls]
    assert list(happened) == foreseen


def test_each_call_says_by_what_and_when_and_who_is_not_known_to_be_reached(cast):
    mail = make_email(cast["ada"], verified_at=NOW)
    phone = ContactMethod.objects.create(
        user=cast["ada"], kind=ContactKind.SMS, address="+4930123456", verified_at=NOW
    )
    make_rule(mail)
    make_rule(phone, after=2 * MINUTE)
    make_policy(tier(1, cast["ada"], cast["bob"]), service=cast["service"])
    [ada, bob] = foresight.page_plan(service=cast["service"], severity=1, at=NOW).moments[0].calls
    assert [(message.channel, message.at) for message in ada.messages] == [
        ("E-mail", NOW),
        ("SMS", NOW + 2 * MINUTE),
    ]
    assert (ada.unreachable, bob.unreachable, bob.messages[0].channel) == (False, True, "E-mail")


def test_low_urgency_pages_once_and_a_service_without_a_policy_has_a_plan_too(cast):
    make_policy(tier(1, cast["ada"]), tier(2, cast["bob"]), service=cast["service"])
    plan = foresight.page_plan(service=cast["service"], severity=4, at=NOW)
    assert course(plan) == [("Tier 1, Tier 1 people", ["ada"], None)]
    bare = make_service("wiki", primary_responder=cast["cyd"])
    plan = foresight.page_plan(service=bare, severity=1, at=NOW)
    assert (plan.policy, plan.moments[0].calls[0].person) == (None, cast["cyd"])


def test_the_page_and_the_api_tell_the_plan_and_the_faults(cast):
    empty = make_schedule("Empty")
    policy = make_policy(
        tier(1, targets=[on(empty)]), tier(2, cast["bob"]), service=cast["service"], catch_all=cast["dan"]
    )
    client = Client()
    client.force_login(make_user("viola", role="viewer"))
    assert "Ask before the night does" in words_of(client.get(reverse("escalation:plan")))
    asked = {"service": "checkout-api", "severity": "1", "at": "2026-11-29T03:00"}
    shown = words_of(client.get(reverse("escalation:plan"), asked))
    assert "is passed: nobody is on call on Empty" in shown and "Bob" in shown and "Catch-all" in shown
    refused = client.get(reverse("escalation:plan"), {**asked, "at": "when"})
    assert refused.status_code == 422
    assert "Nobody can be reached here at any time" in words_of(
        client.get(reverse("escalation:faults", args=[policy.slug]))
    )

    token = {"HTTP_AUTHORIZATION": f"Bearer {make_token(cast['ada'])}"}
    told = (
        Client()
        .get("/api/v1/services/checkout-api/page-plan/?severity=2&at=2026-11-29T03:00:00Z", **token)
        .json()
    )
    assert [call["person"]["username"] for call in told["moments"][0]["calls"]] == ["bob"]
    assert told["faults"][0]["level"] == 1
    assert Client().get("/api/v1/services/checkout-api/page-plan/?severity=9", **token).status_code == 400
    assert Client().get("/api/v1/services/nope/page-plan/", **token).status_code == 404
    assert Client().get(reverse("escalation:plan")).status_code == 302
