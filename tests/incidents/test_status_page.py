"""The internal status page, and the public one, on which nothing stands that nobody published."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from core.errors import Invalid, NotAllowed, Refused
from incidents import timeline
from incidents import transitions as incidents
from incidents.models import (
    Incident,
    Kind,
    PublicPost,
    RoleHolding,
    RoomRole,
    StatusComponent,
    Subscription,
    Update,
)
from incidents.updates import queries, rules, transitions
from notifications.models import Notification
from tests.api.conftest import Api
from tests.factories.accounts import make_token, make_user
from tests.factories.catalog import make_service
from timers.transitions import fire_due

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _public(settings) -> None:
    settings.MUSTER_PUBLIC_STATUS = True
    settings.MUSTER_UPDATE_MINUTES = [15, 30, 120, 0]


@pytest.fixture
def mona() -> User:
    return make_user("mona", full_name="Mona Manager", role="manager")


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name="Ines Okafor")


@pytest.fixture
def viewer() -> User:
    return make_user("viola", full_name="Viola Weber", role="viewer")


@pytest.fixture
def shop(mona: User) -> StatusComponent:
    service = make_service("checkout-api-internal")
    return transitions.save_component(service_id=service.pk, name="Shop", is_public=True, by=mona)


@pytest.fixture
def incident(shop: StatusComponent) -> Incident:
    return incidents.trigger(
        service=shop.service, title="Secret ledger on host db-7 is down", severity=1, urgency="high",
        now=timezone.now() - 10 * MINUTE, impact="Internal words",
    )  # fmt: skip


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def public() -> str:
    answer = Client().get("/status/public/")
    assert answer.status_code == 200
    return answer.content.decode()


def publish(incident: Incident, by: User, shop: StatusComponent, **fields) -> PublicPost:
    fields = {
        "state": "investigating", "level": "partial", "components": [shop], "title": "Paying is difficult",
        "text": "Some payments fail. We look.", "now": timezone.now(), **fields,
    }  # fmt: skip
    return transitions.publish(incident_id=incident.pk, by=by, **fields)


def at(incident: Incident, name: str = "publish", *more: int) -> str:
    return reverse(f"incidents:{name}", args=[incident.pk, *more])


# --- inside -----------------------------------------------------------------------------------------------------


def test_the_internal_page_says_what_is_hurt_what_is_done_and_when_more_comes(incident, ines, viewer):
    now = timezone.now()
    incidents.acknowledge(incident_id=incident.pk, by=ines, now=now)
    transitions.post_update(
        incident_id=incident.pk,
        impact="No invoices",
        action="We roll back.",
        next_minutes=20,
        by=ines,
        now=now,
    )
    make_service("quiet")
    page = signed_in(viewer).get("/status/").content.decode()
    assert "1 of 2 services is hurt" in page
    assert "No invoices" in page and "We roll back." in page and "by Ines Okafor" in page
    assert "Next update in" in page
    assert incident.ref in page


def test_a_drill_hurts_no_service_and_is_marked(viewer):
    incidents.trigger(
        service=make_service(), title="Try", severity=1, urgency="high", now=timezone.now(), is_drill=True
    )
    page = signed_in(viewer).get("/status/").content.decode()
    assert "All services work" in page
    assert ">Drill<" in page


def test_queries_of_the_status_page_are_constant(
    incident, ines, viewer, django_assert_max_num_queries, django_assert_num_queries
):
    client = signed_in(viewer)
    client.get("/status/")
    with django_assert_max_num_queries(9) as few:
        client.get("/status/")
    for number in range(6):
        other = incidents.trigger(
            service=make_service(), title=f"Other {number}", severity=2, urgency="high", now=timezone.now()
        )
        incidents.acknowledge(incident_id=other.pk, by=ines, now=timezone.now())
        transitions.post_update(
            incident_id=other.pk, impact="x", action="y", next_minutes=20, by=ines, now=timezone.now()
        )
        if number % 2:
            incidents.resolve(incident_id=other.pk, by=ines, now=timezone.now())
    with django_assert_num_queries(len(few)):
        client.get("/status/")


def test_the_status_page_is_for_people_who_signed_in():
    assert Client().get("/status/").status_code == 302


def test_the_api_tells_the_same_status(incident, ines):
    incidents.acknowledge(incident_id=incident.pk, by=ines, now=timezone.now())
    transitions.post_update(
        incident_id=incident.pk, impact="No invoices", action="We roll back.", next_minutes=20, by=ines,
        now=timezone.now(),
    )  # fmt: skip
    said = Api(make_token(make_user("vera", role="viewer"))).get("status/").json()
    [row] = said["incidents"]
    assert (row["ref"], row["severity"], row["last_update"]["impact"]) == (
        incident.ref,
        "SEV1",
        "No invoices",
    )
    assert row["next_update"]["state"] == "calm"
    [service] = said["services"]
    assert (service["severity"], service["incidents"]) == ("SEV1", [incident.ref])


# --- publishing -------------------------------------------------------------------------------------------------


def test_the_worst_level_counts():
    assert rules.worst_level(["none", "major", "degraded"]) == "major"
    assert rules.worst_level([]) == "none"


def test_nothing_is_public_until_it_is_published(incident, ines, mona, shop):
    before = public()
    incidents.acknowledge(incident_id=incident.pk, by=ines, now=timezone.now())
    transitions.post_update(
        incident_id=incident.pk, impact="All of it", action="We look.", next_minutes=None, by=ines,
        now=timezone.now(),
    )  # fmt: skip
    assert public() == before
    publish(incident, mona, shop)
    after = public()
    assert "Paying is difficult" in after and "Something is partly down" in after


def test_whatever_happens_to_an_incident_the_public_page_stays_as_it_was(incident, ines, mona, shop):
    post, before, now = publish(incident, mona, shop), public(), timezone.now()
    pk, who = incident.pk, {"by": ines, "now": now}
    incidents.acknowledge(incident_id=pk, **who)
    incidents.set_severity(incident_id=pk, severity=3, reason="", **who)
    incidents.set_severity(incident_id=pk, severity=1, reason="worse", **who)
    incidents.set_impact(incident_id=pk, impact="Everything", **who)
    incidents.contain(incident_id=pk, **who)
    transitions.post_update(incident_id=pk, impact="All", action="We look.", next_minutes=None, **who)
    fire_due(now=now + timedelta(hours=3), by="test")
    incidents.resolve(incident_id=pk, **who)
    incidents.reopen(incident_id=pk, reason="again", **who)
    assert public() == before
    assert list(PublicPost.objects.all()) == [post]


def test_strangers_publish_withdraw_send_and_subscribe_nothing(incident, ines, mona, viewer, shop):
    post = publish(incident, mona, shop)
    before = public()
    given = {
        "title": "x", "text": "y", "state": "over", "level": "none", "components": [shop.pk], "impact": "x",
        "action": "y", "next_minutes": "15", "email": "x@example.org", "service": "", "min_severity": "4",
    }  # fmt: skip
    room = [at(incident), at(incident, "withdraw", post.pk), at(incident, "update")]
    inside = [
        at(incident, "update_subscribe"),
        reverse("status:subscriptions"),
        reverse("status:stop", args=[1]),
    ]
    components = reverse("status:components")
    for address in (*room, *inside, components):
        answer = Client().post(address, given)
        assert (answer.status_code, answer.headers["Location"][:15]) == (302, "/account/login/"), address
    for address in (*room, components):
        assert signed_in(viewer).post(address, given).status_code == 403, address
    for address in (*room[:2], components):  # neither commands nor communicates
        assert signed_in(ines).post(address, given).status_code == 403, address
    body = {"impact": "x", "action": "y"}
    path = f"incidents/{incident.ref}/updates/"
    assert Api(make_token(viewer)).post(path, body).status_code == 403
    assert Client().post(f"/api/v1/{path}", body).status_code == 401
    post.refresh_from_db()
    assert (PublicPost.objects.count(), post.withdrawn_at, public()) == (1, None, before)
    assert (Update.objects.count(), Subscription.objects.count()) == (0, 0)


def test_public_page_names_no_person_and_no_internal_title(incident, mona, shop):
    publish(incident, mona, shop)
    page = public()
    for inner in ("Secret ledger", "db-7", "Internal words", "Mona", "INC-", "checkout-api-internal", "SEV"):
        assert inner not in page


def test_the_public_page_needs_no_cookie_and_may_be_kept_for_a_moment(shop):
    answer = Client().get("/status/public/")
    assert answer.headers["Cache-Control"] == "public, max-age=15"
    assert "Vary" not in answer.headers or "Cookie" not in answer.headers["Vary"]
    assert answer.cookies == {}
    assert "<script" not in answer.content.decode()


def test_without_the_setting_there_is_no_public_page_and_nothing_can_be_published(
    incident, mona, shop, settings
):
    settings.MUSTER_PUBLIC_STATUS = False
    assert Client().get("/status/public/").status_code == 404
    with pytest.raises(Refused) as refused:
        publish(incident, mona, shop)
    assert refused.value.code == "public_status_off"
    assert PublicPost.objects.count() == 0
    assert "Publish" not in signed_in(mona).get(at(incident, "acts")).content.decode()


def test_a_drill_can_not_be_published(mona, shop):
    drill = incidents.trigger(
        service=shop.service, title="Try", severity=1, urgency="high", now=NOW, is_drill=True
    )
    with pytest.raises(Refused) as refused:
        publish(drill, mona, shop)
    assert (refused.value.status, refused.value.code) == (409, "drill_not_public")
    assert PublicPost.objects.count() == 0
    assert drill.timeline.filter(kind=Kind.UPDATE_PUBLISHED).count() == 0
    assert signed_in(mona).post(at(drill), {"title": "x", "text": "y"}).status_code == 409
    assert "Publish" not in signed_in(mona).get(at(drill, "acts")).content.decode()


def test_the_commander_and_communications_may_publish_another_responder_may_not(incident, ines, mona, shop):
    with pytest.raises(NotAllowed, match="The commander, whoever holds communications"):
        publish(incident, ines, shop)
    assert PublicPost.objects.count() == 0
    incidents.assign_commander(incident_id=incident.pk, user=ines, by=mona, now=timezone.now())
    publish(incident, ines, shop)
    carla = make_user("carla")
    RoleHolding.objects.create(incident=incident, role=RoomRole.COMMUNICATIONS, user=carla, since=NOW)
    publish(incident, carla, shop)
    assert PublicPost.objects.count() == 2


def test_a_viewer_may_not_publish(incident, viewer):
    assert signed_in(viewer).get(at(incident)).status_code == 403
    assert signed_in(viewer).post(at(incident), {"title": "x"}).status_code == 403
    assert PublicPost.objects.count() == 0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"title": " "}, "title"),
        ({"text": ""}, "text"),
        ({"state": "unknown"}, "state"),
        ({"level": "unknown"}, "level"),
        ({"components": []}, "components"),
    ],
)
def test_what_is_wrong_with_a_post_is_said_and_nothing_is_published(incident, mona, shop, given, field):
    with pytest.raises(Invalid) as refused:
        publish(incident, mona, shop, **given)
    assert list(refused.value.fields) == [field]
    assert PublicPost.objects.count() == 0


def test_a_component_that_is_not_public_can_not_be_named(incident, mona):
    hidden = transitions.save_component(service_id=make_service().pk, name="Ledger", by=mona)
    with pytest.raises(Invalid):
        publish(incident, mona, hidden)
    assert "Ledger" not in public()


def test_publishing_stands_in_the_timeline_with_its_words(incident, mona, shop):
    post = publish(incident, mona, shop)
    entry = incident.timeline.get(kind=Kind.UPDATE_PUBLISHED)
    assert entry.text == (
        "published for customers: Paying is difficult (investigating)\nSome payments fail. We look."
    )
    assert entry.data == {
        "post": post.pk, "state": "investigating", "level": "partial", "components": ["checkout-api-internal"],
        "withdrawn": False,
    }  # fmt: skip
    assert list(timeline.verify(Incident.objects.get(pk=incident.pk))) == []


def test_later_posts_of_an_incident_are_one_story_and_the_last_one_counts(incident, mona, shop):
    publish(incident, mona, shop, now=timezone.now() - 5 * MINUTE)
    publish(
        incident, mona, shop, state="over", level="major", title="Paying works again", text="It is mended."
    )
    page = queries.public_page(timezone.now())
    assert (page.level, page.running, len(page.past)) == ("none", [], 1)
    assert [post.state for post in page.past[0].posts] == ["over", "investigating"]
    assert "Everything works" in public()


def test_withdrawing_takes_it_off_the_page_and_stays_in_the_timeline(incident, mona, shop):
    before = public()
    post = publish(incident, mona, shop)
    answer = signed_in(mona).post(at(incident, "withdraw", post.pk))
    assert answer.status_code == 302
    assert public() == before
    transitions.withdraw(post_id=post.pk, by=mona, now=timezone.now())
    texts = incident.timeline.filter(kind=Kind.UPDATE_PUBLISHED).values_list("text", "data__withdrawn")
    assert list(texts)[1:] == [("withdrew from the public page: Paying is difficult", True)]


def test_whoever_published_is_asked_to_say_that_it_is_over(incident, ines, mona, shop):
    publish(incident, mona, shop)
    incidents.resolve(incident_id=incident.pk, by=ines, now=timezone.now())
    [asked] = Notification.objects.filter(context__kind="update")
    assert (asked.recipient, asked.link) == (mona, at(incident))
    assert asked.title == f"{incident.ref} is over, and the public page still says: Paying is difficult"


def test_a_last_update_leaves_the_reminder_which_ends_with_the_story(incident, ines, mona, shop):
    publish(incident, mona, shop)
    incidents.resolve(incident_id=incident.pk, by=ines, now=timezone.now())
    transitions.post_update(
        incident_id=incident.pk, impact="None any more", action="Rolled back.", next_minutes=0, by=ines,
        now=timezone.now(),
    )  # fmt: skip
    asked = Notification.objects.filter(recipient=mona, context__kind="update")
    assert [row.status for row in asked] == ["active"]
    publish(incident, mona, shop, state="over")
    assert [row.status for row in asked.all()] == ["cancelled"]


def test_nobody_is_asked_when_the_story_is_over_or_there_is_none(incident, ines, mona, shop):
    publish(incident, mona, shop, now=timezone.now() - MINUTE)
    publish(incident, mona, shop, state="over")
    incidents.resolve(incident_id=incident.pk, by=ines, now=timezone.now())
    other = incidents.trigger(service=shop.service, title="Other", severity=2, urgency="high", now=NOW)
    incidents.resolve(incident_id=other.pk, by=ines, now=NOW + MINUTE)
    assert not Notification.objects.filter(context__kind="update").exists()


def test_somebody_elses_post_is_not_withdrawn_through_another_incident(incident, mona, shop):
    post = publish(incident, mona, shop)
    other = incidents.trigger(service=shop.service, title="Other", severity=2, urgency="high", now=NOW)
    assert signed_in(mona).post(at(other, "withdraw", post.pk)).status_code == 404
    post.refresh_from_db()
    assert post.withdrawn_at is None


def test_the_form_publishes_what_was_typed_and_takes_nothing_over(incident, mona, shop):
    client = signed_in(mona)
    form = client.get(at(incident)).content.decode()
    assert "Happens" in form and "Customers" in form and "Way back" in form
    assert 'value="Secret' not in form and "Internal words" not in form
    given = {
        "title": "Paying is difficult", "text": "<script>alert(1)</script>", "state": "investigating",
        "level": "major", "components": [str(shop.pk)],
    }  # fmt: skip
    assert client.post(at(incident), given).status_code == 302
    page = public()
    assert "<script>" not in page and "&lt;script&gt;alert(1)" in page


def test_a_form_without_components_is_refused_and_keeps_what_was_typed(incident, mona, shop):
    given = {"title": "Paying is difficult", "text": "We look.", "state": "investigating", "level": "major"}
    answer = signed_in(mona).post(at(incident), given)
    assert answer.status_code == 400
    assert 'value="Paying is difficult"' in answer.content.decode()
    assert PublicPost.objects.count() == 0


# --- components -------------------------------------------------------------------------------------------------


def test_managers_choose_which_services_are_public(mona, ines):
    service = make_service("billing")
    prefix = f"s{service.pk}"
    given = {
        "service": service.pk, f"{prefix}-name": "Invoices", f"{prefix}-group": "Money",
        f"{prefix}-position": "2", f"{prefix}-is_public": "on",
    }  # fmt: skip
    assert signed_in(ines).post("/status/components/", given).status_code == 403
    assert StatusComponent.objects.count() == 0
    assert signed_in(mona).post("/status/components/", given).status_code == 302
    row = StatusComponent.objects.get()
    assert (row.service, row.name, row.group, row.position, row.is_public) == (
        service, "Invoices", "Money", 2, True,
    )  # fmt: skip
    assert "Invoices" in public()


def test_a_component_needs_a_name(mona):
    service = make_service("billing")
    answer = signed_in(mona).post("/status/components/", {"service": service.pk, f"s{service.pk}-name": " "})
    assert answer.status_code == 400
    assert StatusComponent.objects.count() == 0


def test_the_public_page_takes_the_same_queries_however_much_stands_there(
    incident, mona, shop, django_assert_num_queries
):
    publish(incident, mona, shop)
    with django_assert_num_queries(3):
        public()
    for number in range(5):
        part = transitions.save_component(
            service_id=make_service().pk, name=f"Part {number}", is_public=True, by=mona
        )
        other = incidents.trigger(service=part.service, title="x", severity=2, urgency="high", now=NOW)
        publish(other, mona, part)
    with django_assert_num_queries(3):
        public()


def test_a_refusal_is_a_page_for_who_opened_the_address_and_words_for_a_script(
    incident: Incident, mona: User, settings
) -> None:
    settings.MUSTER_PUBLIC_STATUS = False
    client, url = Client(), reverse("incidents:publish", args=[incident.pk])
    client.force_login(mona)
    page = client.get(url, headers={"Accept": "text/html,*/*"})
    assert (page.status_code, page["Content-Type"]) == (409, "text/html; charset=utf-8")
    assert "This installation has no public status page." in page.content.decode()
    assert reverse("incidents:search") in page.content.decode()
    part = client.get(url, headers={"Accept": "text/html,*/*", "HX-Request": "true"})
    assert (part.status_code, part["Content-Type"]) == (409, "text/plain; charset=utf-8")
