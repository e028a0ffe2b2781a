"""Roles: who holds them, who is asked, and that there is always somebody responsible and a next step."""

import random
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from core.errors import Invalid, NotAllowed, Refused
from incidents import presenters, transitions
from incidents import queries as incident_queries
from incidents.links import answer_path
from incidents.models import (
    Incident,
    Kind,
    OfferStatus,
    PagePurpose,
    PageStatus,
    RoleHolding,
    RoleOffer,
    RoleRotation,
    Status,
)
from incidents.roles import queries, rules
from incidents.roles import transitions as roles
from notifications.models import Notification, NotificationStatus
from tests.factories.accounts import make_team, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.oncall import make_schedule
from timers.models import Timer
from timers.transitions import fire, fire_due

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
def sam() -> User:
    return make_user("sam", full_name="Sam Lee")


@pytest.fixture
def viola() -> User:
    return make_user("viola", full_name="Viola Weber", role="viewer")


@pytest.fixture
def rotation(ines: User, ravi: User, sam: User) -> RoleRotation:
    """At NOW Ines is on duty, then Ravi, then Sam."""
    schedule = make_schedule("Incident commanders", people=[sam, ines, ravi])
    return RoleRotation.objects.create(role="commander", schedule=schedule)


def open_incident(severity: int = 1, **fields: object) -> Incident:
    if "service" not in fields:  # the first tier is Pat, of whom these tests say nothing
        pat = User.objects.filter(username="pat").first() or make_user("pat")
        fields["service"] = make_service(primary_responder=pat)
    return transitions.trigger(title="Checkout fails", severity=severity, urgency="high", now=NOW, **fields)


@pytest.fixture
def incident(db: None) -> Incident:
    return open_incident()


def texts(incident: Incident, *kinds: str) -> list[str]:
    return list(incident.timeline.filter(kind__in=kinds).values_list("text", flat=True))


def asked(incident: Incident) -> list[tuple[str, str]]:
    return [(str(offer.to_user), offer.status) for offer in incident.offers.select_related("to_user")]


def commander(incident: Incident) -> User | None:
    """Who commands; the column and the holding agree."""
    incident.refresh_from_db()
    held = list(RoleHolding.objects.filter(incident=incident, role="commander", ended_at=None))
    assert [row.user_id for row in held] == ([incident.commander_id] if incident.commander_id else [])
    return incident.commander


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


# --- a commander by rotation ------------------------------------------------------------------------------------


def test_a_sev1_asks_the_commander_on_duty_and_a_sev3_nobody(rotation, ines):
    incident = open_incident(1)
    [offer] = incident.offers.all()
    assert (offer.to_user, offer.role, offer.by, offer.accept_by) == (
        ines,
        "commander",
        None,
        NOW + 5 * MINUTE,
    )
    assert (offer.page.recipient, offer.page.purpose, offer.page.status) == (ines, "role", PageStatus.PAGING)
    assert texts(incident, Kind.ROLE_OFFERED) == [
        "asked Ines Okafor to take command. Without an answer in 5 min, Ravi Menon is asked next"
    ]
    assert commander(incident) is None
    quiet = open_incident(3)
    assert not quiet.offers.exists()
    transitions.set_severity(incident_id=quiet.pk, severity=2, by=ines, reason="", now=NOW + MINUTE)
    assert asked(quiet) == [("Ines Okafor", OfferStatus.OPEN)]


def test_without_a_rotation_nobody_is_asked(ines):
    incident = open_incident(1)
    assert not incident.offers.exists()
    assert not Timer.objects.filter(kind__startswith="roles").exists()


def test_the_rotation_of_the_team_comes_before_the_one_for_all(rotation, sam):
    team = make_team("Payments")
    RoleRotation.objects.create(role="commander", team=team, schedule=make_schedule("Pay", people=[sam]))
    incident = open_incident(1, service=make_service(team=team))
    assert asked(incident) == [("Sam Lee", OfferStatus.OPEN)]


def test_no_answer_in_time_asks_the_next_and_the_timeline_says_so(rotation, ines, ravi):
    incident = open_incident(1)
    fire_due(now=NOW + 4 * MINUTE, by="test")
    assert asked(incident) == [("Ines Okafor", OfferStatus.OPEN)]
    fire_due(now=NOW + 5 * MINUTE, by="test")
    assert asked(incident) == [("Ines Okafor", OfferStatus.MISSED), ("Ravi Menon", OfferStatus.OPEN)]
    assert texts(incident, Kind.ROLE_MISSED) == ["Ines Okafor did not accept command in 5 min"]
    assert texts(incident, Kind.ROLE_OFFERED)[1] == (
        "asked Ravi Menon to take command. Without an answer in 5 min, Sam Lee is asked next"
    )
    mine = incident.pages.get(recipient=ines, purpose=PagePurpose.ROLE)
    assert (mine.status, mine.notification.status) == (PageStatus.MISSED, NotificationStatus.CANCELLED)
    assert incident.offers.last().asked == 2


def test_after_the_last_the_first_is_asked_again_and_the_time_grows(rotation):
    incident, at = open_incident(1), NOW
    waits = []
    for _ in range(8):
        offer = incident.offers.get(status=OfferStatus.OPEN)
        waits.append((offer.to_user.username, int((offer.accept_by - at).total_seconds())))
        at = offer.accept_by
        fire_due(now=at, by="test")
    assert waits == [
        ("ines", 300), ("ravi", 300), ("sam", 300),
        ("ines", 600), ("ravi", 600), ("sam", 600),
        ("ines", 900), ("ravi", 900),
    ]  # fmt: skip


def test_when_the_rotation_is_used_up_the_admins_are_asked(ines):
    RoleRotation.objects.create(role="commander", schedule=make_schedule("Two", people=[ines]))
    admin = make_user("ada", role="admin")
    incident = open_incident(1)
    fire_due(now=NOW + 5 * MINUTE, by="test")
    assert incident.offers.get(status=OfferStatus.OPEN).to_user == admin


def test_who_declines_is_followed_at_once_but_nobody_is_asked_twice_in_a_row(rotation, ines, ravi, sam):
    incident = open_incident(1)
    for person in (ines, ravi, sam):
        offer = incident.offers.get(status=OfferStatus.OPEN)
        assert offer.to_user == person
        roles.decline(offer_id=offer.pk, by=person, why="asleep", now=NOW + MINUTE)
    assert not incident.offers.filter(status=OfferStatus.OPEN).exists()
    assert Timer.objects.filter(kind="roles.seek").count() == 1
    fire_due(now=NOW + 11 * MINUTE, by="test")
    assert incident.offers.get(status=OfferStatus.OPEN).to_user == ines


def test_a_worker_that_dies_in_the_middle_leaves_it_to_another_which_asks_the_next_once(
    rotation, monkeypatch
):
    incident = open_incident(1)
    timer = Timer.objects.get(kind="roles.accept")
    at = NOW + 5 * MINUTE

    class Died(BaseException):
        """The connection ends with the process, and the transaction with the connection."""

    def die(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(roles, "_after_no", die)  # it has written that nobody answered, and asked nobody
        fire(timer_id=timer.pk, now=at, by="test")
    assert [status for _, status in asked(incident)] == [OfferStatus.OPEN]
    assert [fire(timer_id=timer.pk, now=at, by="test") for _ in range(2)] == [True, False]
    assert [status for _, status in asked(incident)] == [OfferStatus.MISSED, OfferStatus.OPEN]
    assert len(texts(incident, Kind.ROLE_MISSED)) == 1


def test_leaving_the_seat_empty_ends_the_asking_too(rotation, ines, ravi):
    incident = open_incident(1)
    transitions.assign_role(incident_id=incident.pk, role="commander", user=None, by=ravi, now=NOW + MINUTE)
    assert asked(incident) == [("Ines Okafor", "withdrawn")]
    assert incident.pages.get(purpose="role").status == PageStatus.CANCELLED
    assert texts(incident, Kind.ROLE_DECLINED) == ["no longer asks Ines Okafor to take command"]


@pytest.mark.parametrize("fields", [{"is_bot": True}, {"role": "viewer"}, {"is_active": False}])
def test_who_cannot_act_is_given_no_role(incident, ines, fields):
    with pytest.raises(Invalid, match="cannot act here"):
        transitions.assign_role(
            incident_id=incident.pk, role="commander", user=make_user("nobody", **fields), by=ines, now=NOW
        )
    assert commander(incident) is None


def test_a_schedule_that_cannot_be_read_keeps_no_incident_from_opening_and_is_tried_until_it_can(
    rotation, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(queries, "candidates", lambda *_: 1 / 0)
        incident = open_incident(1)
        fire_due(now=NOW + MINUTE, by="test")
        assert not incident.offers.exists()
        failing = Timer.objects.get(kind="roles.seek")
        assert (failing.attempts, failing.last_error) == (1, "ZeroDivisionError('division by zero')")
    fire_due(now=NOW + 2 * MINUTE, by="test")
    assert asked(incident) == [("Ines Okafor", OfferStatus.OPEN)]
    transitions.add_note(incident_id=incident.pk, text="goes on", by=make_user(), now=NOW)
    assert texts(incident, Kind.NOTE) == ["goes on"]


# --- accepting and declining ------------------------------------------------------------------------------------


def test_accepting_makes_one_commander_and_twice_is_once(rotation, ines, ravi):
    incident = open_incident(1)
    offer = incident.offers.get()
    with pytest.raises(NotAllowed, match="Only Ines Okafor"):
        roles.accept(offer_id=offer.pk, by=ravi, now=NOW + MINUTE)
    for minutes in (1, 2):
        roles.accept(offer_id=offer.pk, by=ines, now=NOW + minutes * MINUTE)
    assert commander(incident) == ines
    assert texts(incident, Kind.ROLE_ASSIGNED) == ["accepted command"]
    with pytest.raises(Refused, match="Ines Okafor accepted it 2 min ago") as refused:
        roles.decline(offer_id=offer.pk, by=ravi, now=NOW + 3 * MINUTE)
    assert (refused.value.status, refused.value.code) == (409, "offer_closed")
    offer.page.refresh_from_db()
    assert (offer.page.status, offer.page.notification.status) == (
        PageStatus.ACKNOWLEDGED,
        NotificationStatus.ANSWERED,
    )
    assert not Timer.objects.filter(kind="roles.accept").exists()


def test_an_acknowledgement_of_the_first_tier_does_not_call_off_the_commanders_page(rotation, ines, ravi):
    service = make_service()
    make_policy(tier(1, ravi), service=service, catch_all=ravi)
    incident = open_incident(1, service=service)
    transitions.acknowledge(incident_id=incident.pk, by=ravi, now=NOW + MINUTE)
    page = incident.pages.get(recipient=ines)
    assert (page.status, page.notification.status) == (PageStatus.PAGING, NotificationStatus.ACTIVE)
    assert asked(incident) == [("Ines Okafor", OfferStatus.OPEN)]
    # Nor does accepting command take the incident.
    roles.accept(offer_id=incident.offers.get().pk, by=ines, now=NOW + 2 * MINUTE)
    incident.refresh_from_db()
    assert incident.acknowledged_by == ravi


def test_the_giver_commands_until_the_handoff_is_accepted(incident, ines, ravi):
    transitions.assign_commander(incident_id=incident.pk, user=ines, by=ines, now=NOW)
    offer = roles.offer_role(
        incident_id=incident.pk, role="commander", to=ravi, by=ines, now=NOW + MINUTE, known="38% fail",
        in_progress="rolling back", next_steps="watch the error rate",
    )  # fmt: skip
    assert (commander(incident), offer.from_user) == (ines, ines)
    assert texts(incident, Kind.ROLE_OFFERED) == [
        "hands command to Ravi Menon, and keeps it until then\n"
        "Known: 38% fail\nIn progress: rolling back\nNext: watch the error rate"
    ]
    assert "Known: 38% fail" in offer.page.expected
    roles.accept(offer_id=offer.pk, by=ravi, now=NOW + 2 * MINUTE)
    assert commander(incident) == ravi
    assert texts(incident, Kind.ROLE_ASSIGNED)[-1] == "accepted command from Ines Okafor"


@pytest.mark.parametrize("answer", ["decline", "silence"])
def test_without_a_yes_the_giver_keeps_it_and_is_told(incident, ines, ravi, answer):
    transitions.assign_commander(incident_id=incident.pk, user=ines, by=ines, now=NOW)
    offer = roles.offer_role(incident_id=incident.pk, role="commander", to=ravi, by=ines, now=NOW)
    if answer == "decline":
        roles.decline(offer_id=offer.pk, by=ravi, why="on a train", now=NOW + MINUTE)
        said = "declined command; Ines Okafor keeps it: on a train"
    else:
        fire_due(now=NOW + 5 * MINUTE, by="test")
        said = "Ravi Menon did not accept command in 5 min; Ines Okafor keeps it"
    assert commander(incident) == ines
    assert texts(incident, Kind.ROLE_DECLINED, Kind.ROLE_MISSED) == [said]
    assert Notification.objects.filter(recipient=ines, topic=f"incident:{incident.pk}:roles").count() == 1
    assert not incident.offers.filter(status=OfferStatus.OPEN).exists()


def test_assigning_by_hand_withdraws_the_offer_that_waits(rotation, ines, ravi):
    incident = open_incident(1)
    transitions.assign_commander(incident_id=incident.pk, user=ravi, by=ravi, now=NOW + MINUTE)
    assert asked(incident) == [("Ines Okafor", OfferStatus.WITHDRAWN)]
    assert incident.pages.get(purpose=PagePurpose.ROLE).status == PageStatus.CANCELLED
    with pytest.raises(Refused, match="It was withdrawn 1 min ago"):
        roles.accept(offer_id=incident.offers.get().pk, by=ines, now=NOW + 2 * MINUTE)
    assert commander(incident) == ravi


def test_who_takes_command_while_being_asked_has_accepted(rotation, ines):
    incident = open_incident(1)
    transitions.assign_commander(incident_id=incident.pk, user=ines, by=ines, now=NOW + MINUTE)
    assert asked(incident) == [("Ines Okafor", OfferStatus.ACCEPTED)]


def test_asking_another_one_withdraws_the_first_and_says_so(incident, ines, ravi, sam):
    roles.offer_role(incident_id=incident.pk, role="scribe", to=ravi, by=ines, now=NOW)
    roles.offer_role(incident_id=incident.pk, role="scribe", to=sam, by=ines, now=NOW)
    assert asked(incident) == [("Ravi Menon", OfferStatus.WITHDRAWN), ("Sam Lee", OfferStatus.OPEN)]
    assert texts(incident, Kind.ROLE_OFFERED)[1] == (
        "asked Sam Lee to take the role of scribe within 5 min; Ravi Menon is no longer asked"
    )


def test_resolving_withdraws_offers_and_cancels_their_messages_and_times(rotation, ines, ravi):
    incident = open_incident(1)
    roles.offer_role(incident_id=incident.pk, role="scribe", to=ravi, by=ines, now=NOW)
    transitions.resolve(incident_id=incident.pk, by=ines, now=NOW + MINUTE)
    assert {status for _, status in asked(incident)} == {OfferStatus.WITHDRAWN}
    assert not Notification.objects.filter(status=NotificationStatus.ACTIVE).exists()
    assert not Timer.objects.filter(kind__startswith="roles").exists()
    with pytest.raises(Refused, match="Nobody was asked"):
        roles.offer_role(incident_id=incident.pk, role="scribe", to=ravi, by=ines, now=NOW + MINUTE)
    assert incident.offers.count() == 2


def test_reopened_the_search_for_a_commander_begins_again(rotation, ines):
    incident = open_incident(1)
    transitions.resolve(incident_id=incident.pk, by=ines, now=NOW + MINUTE)
    transitions.reopen(incident_id=incident.pk, by=ines, reason="back", now=NOW + 2 * MINUTE)
    assert asked(incident)[-1] == ("Ines Okafor", OfferStatus.OPEN)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"role": "king"}, "role"),
        ({"role": "expert"}, "field"),
        ({"role": "scribe", "field": "network"}, "field"),
        ({"role": "expert", "field": "x" * 41}, "field"),
        ({"role": "scribe", "known": "x" * 2001}, "known"),
        ({"role": "scribe", "accept_seconds": 1}, "accept_seconds"),
    ],
)
def test_what_is_wrong_with_an_offer_is_said_by_field_and_nobody_is_asked(incident, ines, ravi, fields, name):
    with pytest.raises(Invalid) as refused:
        roles.offer_role(incident_id=incident.pk, to=ravi, by=ines, now=NOW, **fields)
    assert list(refused.value.fields) == [name]
    assert not incident.offers.exists()


# --- experts ----------------------------------------------------------------------------------------------------


def test_an_expert_is_whoever_is_on_call_for_the_field_then_who_knows_it(incident, ines, ravi, sam):
    RoleRotation.objects.create(role="expert", field="network", schedule=make_schedule("Net", people=[ravi]))
    User.objects.filter(pk=sam.pk).update(expertise=["Network"])
    offer = roles.call_expert(incident_id=incident.pk, field="Network", by=ines, reason="bgp", now=NOW)
    assert (offer.to_user, offer.field, offer.page.reason) == (
        ravi, "network", "Ines Okafor needs an expert: bgp. Rotation: Net",
    )  # fmt: skip
    with pytest.raises(Refused, match="Ravi Menon is asked already"):
        roles.call_expert(incident_id=incident.pk, field="network", by=ines, now=NOW)
    fire_due(now=NOW + 5 * MINUTE, by="test")
    offer = incident.offers.get(status=OfferStatus.OPEN)
    assert offer.to_user == sam
    roles.accept(offer_id=offer.pk, by=sam, now=NOW + 6 * MINUTE)
    assert texts(incident, Kind.ROLE_ASSIGNED) == ["accepted the role of expert, network"]
    assert [str(row.user) for row in queries.holdings(incident)] == ["Sam Lee"]


def test_an_expert_who_was_chosen_by_name_is_followed_by_nobody(incident, ines, ravi, sam):
    User.objects.filter(pk=sam.pk).update(expertise=["network"])
    offer = roles.offer_role(
        incident_id=incident.pk, role="expert", field="network", to=ravi, by=ines, now=NOW
    )
    assert offer.page.otherwise == "nobody else is asked"
    client = Client()
    client.force_login(ravi)
    page = client.get(reverse("incidents:offer_decline", args=[incident.pk, offer.pk])).content.decode()
    assert "<dt>Happens</dt><dd>Ines Okafor is told</dd>" in page
    roles.decline(offer_id=offer.pk, by=ravi, now=NOW + MINUTE)
    assert not incident.offers.filter(status=OfferStatus.OPEN).exists()
    assert Notification.objects.filter(recipient=ines, topic__endswith=":roles").count() == 1


def test_by_expertise_the_one_with_the_fewest_roles_comes_first(incident, ines, ravi, sam):
    User.objects.filter(pk__in=[ravi.pk, sam.pk]).update(expertise=["database"])
    transitions.assign_role(incident_id=incident.pk, role="scribe", user=ravi, by=ines, now=NOW)
    assert roles.call_expert(incident_id=incident.pk, field="database", by=ines, now=NOW).to_user == sam


def test_a_field_that_nobody_knows_is_refused_with_those_that_somebody_does(incident, ines, ravi):
    User.objects.filter(pk=ravi.pk).update(expertise=["Storage"])
    with pytest.raises(Refused, match="Fields with somebody: storage") as refused:
        roles.call_expert(incident_id=incident.pk, field="work", by=ines, now=NOW)
    assert refused.value.code == "no_expert"
    assert not incident.offers.exists()


# --- one truth --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_the_commander_column_equals_the_holding(rotation, ines, ravi, sam, seed):
    dice = random.Random(seed)
    incident, at = open_incident(1), NOW
    people = [ines, ravi, sam]
    for _ in range(40):
        at += MINUTE
        person, waiting = dice.choice(people), incident.offers.filter(status=OfferStatus.OPEN).first()
        move = dice.choice(["assign", "relieve", "offer", "accept", "decline", "time", "resolve", "reopen"])
        try:
            if move in ("assign", "relieve"):
                user = person if move == "assign" else None
                transitions.assign_commander(incident_id=incident.pk, user=user, by=person, now=at)
            elif move == "offer":
                roles.offer_role(
                    incident_id=incident.pk, role="commander", to=person, by=dice.choice(people), now=at
                )
            elif move in ("accept", "decline") and waiting is not None:
                getattr(roles, move)(offer_id=waiting.pk, by=waiting.to_user, now=at)
            elif move == "time":
                at += 20 * MINUTE
                fire_due(now=at, by="test")
            elif move == "resolve":
                transitions.resolve(incident_id=incident.pk, by=person, now=at)
            elif move == "reopen":
                transitions.reopen(incident_id=incident.pk, by=person, reason="x", now=at)
        except Refused:
            pass
        commander(incident)
        assert incident.offers.filter(status=OfferStatus.OPEN, role="commander").count() <= 1
        incident.refresh_from_db()
        if incident.status == Status.RESOLVED:
            assert not incident.offers.filter(status=OfferStatus.OPEN).exists()


def test_two_change_the_impact_and_the_second_is_told_and_loses_no_word(incident, ines, ravi):
    transitions.set_impact(incident_id=incident.pk, impact="EU only", by=ravi, now=NOW, seen="")
    with pytest.raises(
        Refused, match=r"Ravi Menon, 3 s ago, changed the impact to: EU only\. Your text is kept"
    ):
        transitions.set_impact(
            incident_id=incident.pk, impact="all of it", by=ines, now=NOW + timedelta(seconds=3), seen=""
        )
    incident.refresh_from_db()
    assert incident.impact == "EU only"
    address = reverse("incidents:impact", args=[incident.pk])
    late = {"impact": "all of it", "seen": ""}
    refused = signed_in(ines).post(address, late, **HTMX)
    assert (refused.status_code, refused["X-Muster-Seen"]) == (409, "EU%20only")
    page = signed_in(ines).post(address, late)
    assert 'name="seen" value="EU only"' in page.content.decode()
    assert 'value="all of it"' in page.content.decode()
    signed_in(ines).post(address, late | {"seen": "EU only"})
    incident.refresh_from_db()
    assert incident.impact == "all of it"


def test_two_change_the_severity_and_the_second_is_told(incident, ines, ravi):
    transitions.set_severity(incident_id=incident.pk, severity=2, by=ravi, reason="", now=NOW, seen=1)
    with pytest.raises(Refused, match="changed the severity to SEV2") as refused:
        transitions.set_severity(incident_id=incident.pk, severity=3, by=ines, reason="", now=NOW, seen=1)
    assert refused.value.code == "changed_meanwhile"
    incident.refresh_from_db()
    assert incident.severity == 2


# --- the room ---------------------------------------------------------------------------------------------------


def people_of(incident: Incident) -> tuple[list[str], list[tuple[str, str]]]:
    fresh = incident_queries.incident(incident.pk)
    context = presenters.slots_context(fresh, NOW)
    seats = [(seat.title, str(seat.offer.to_user) if seat.offer else "") for seat in context["seats"]]
    people = [f"{row.user}: {row.role}" for row in context["people"] if row.user.username != "pat"]
    return people, seats


def test_the_people_panel_shows_roles_in_their_order_who_is_asked_and_what_is_vacant(
    rotation, ines, ravi, sam
):
    incident = open_incident(1)
    transitions.assign_role(incident_id=incident.pk, role="scribe", user=sam, by=ines, now=NOW)
    assert people_of(incident) == (
        ["Sam Lee: Scribe"],
        [("Commander", "Ines Okafor"), ("Deputy commander", ""), ("Communications", "")],
    )
    transitions.assign_commander(incident_id=incident.pk, user=ravi, by=ravi, now=NOW)
    transitions.assign_role(
        incident_id=incident.pk, role="expert", field="network", user=sam, by=ines, now=NOW
    )
    assert people_of(incident)[0] == ["Ravi Menon: Commander", "Sam Lee: Scribe, Expert, network"]
    page = signed_in(ines).get(reverse("incidents:detail", args=[incident.pk])).content.decode()
    assert 'id="vacant-deputy"' in page


def test_a_small_incident_misses_only_a_commander(ines):
    assert people_of(open_incident(3)) == ([], [("Commander", "")])


def test_an_imported_incident_shows_its_commander_without_a_holding(incident, ines):
    Incident.objects.filter(pk=incident.pk).update(commander=ines)
    assert people_of(incident)[0] == ["Ines Okafor: Commander"]


def test_roles_cost_the_room_two_queries(rotation, ines, ravi, django_assert_num_queries):
    incident = open_incident(1)
    for number in range(3):
        transitions.assign_role(
            incident_id=incident.pk, role="expert", field=f"field{number}", user=ravi, by=ines, now=NOW
        )
    fresh = incident_queries.incident(incident.pk)
    with django_assert_num_queries(2):
        queries.room_context(fresh, NOW)
        assert queries.acts_context(fresh, ines)["my_offers"][0][1] == "Commander"


def test_who_is_asked_sees_the_buttons_and_nobody_else(rotation, ines, ravi):
    incident = open_incident(1)
    accept = reverse("incidents:offer_accept", args=[incident.pk, incident.offers.get().pk])
    address = reverse("incidents:acts", args=[incident.pk])
    assert accept in signed_in(ines).get(address).content.decode()
    assert accept not in signed_in(ravi).get(address).content.decode()
    assert signed_in(ines).get(accept).status_code == 200
    assert commander(incident) is None
    assert signed_in(ines).post(accept, **HTMX).status_code == 204
    assert commander(incident) == ines


def test_my_pages_ask_to_accept_and_a_question_that_is_over_waits_no_more(rotation, ines):
    incident = open_incident(1)
    accept = reverse("incidents:offer_accept", args=[incident.pk, incident.offers.get().pk])
    for name in ("incidents:my_pages", "home"):
        page = signed_in(ines).get(reverse(name)).content.decode()
        assert accept in page
        assert "Accept: Commander" in page
    fire_due(now=NOW + 5 * MINUTE, by="test")
    assert not incident_queries.waiting_pages(ines).filter(purpose=PagePurpose.ROLE).exists()


def test_the_link_in_the_message_accepts_by_post_alone(rotation, ines):
    incident = open_incident(1)
    Incident.objects.filter(pk=incident.pk).update(triggered_at=NOW)
    offer = incident.offers.get()
    page = offer.page
    page.paged_at = datetime.now(UTC)
    page.save(update_fields=["paged_at"])
    phone, address = Client(), answer_path(page.pk)
    for _ in range(2):
        shown = phone.get(address).content.decode()
        assert "Accept: Commander" in shown
        assert "Acknowledge INC-" in shown
    assert (commander(incident), asked(incident)) == (None, [("Ines Okafor", OfferStatus.OPEN)])
    assert phone.post(address, {"do": "acknowledge"}).status_code == 303
    incident.refresh_from_db()
    assert (incident.status, incident.commander) == (Status.ACKNOWLEDGED, None)
    assert phone.post(address, {"do": "accept"}).status_code == 303
    assert commander(incident) == ines
    assert "Commander: you have it" in phone.get(address).content.decode()
    again = phone.post(address, {"do": "decline"})
    assert again.status_code == 409
    assert commander(incident) == ines


@pytest.mark.parametrize("name", ["role", "handoff", "call_expert"])
def test_the_questions_are_pages_and_dialogs_and_not_for_viewers(incident, ines, viola, name):
    transitions.assign_commander(incident_id=incident.pk, user=ines, by=ines, now=NOW)
    address = reverse(f"incidents:{name}", args=[incident.pk])
    page = signed_in(ines).get(address)
    assert page.status_code == 200
    assert "<html" in page.content.decode()
    assert "<html" not in signed_in(ines).get(address, **HTMX).content.decode()
    before = incident.timeline.count()
    for method in ("get", "post"):
        assert getattr(signed_in(viola), method)(address).status_code == 403
        assert getattr(Client(), method)(address).status_code == 302
    assert incident.timeline.count() == before


def test_the_form_assigns_oneself_at_once_and_asks_others(incident, ines, ravi):
    address = reverse("incidents:role", args=[incident.pk])
    client = signed_in(ines)
    client.post(address, {"role": "scribe", "user": ines.pk, "how": "ask"})
    client.post(address, {"role": "deputy", "user": ravi.pk, "how": "ask"})
    client.post(address, {"role": "communications", "user": ravi.pk, "how": "assign"})
    held = {row.role: str(row.user) for row in queries.holdings(incident)}
    assert held == {"scribe": "Ines Okafor", "communications": "Ravi Menon"}
    assert [(offer.role, str(offer.to_user)) for offer in incident.offers.all()] == [("deputy", "Ravi Menon")]
    client.post(address, {"role": "scribe", "user": "nobody"})
    assert [row.role for row in queries.holdings(incident)] == ["communications"]
    refused = client.post(address, {"role": "scribe", "user": ""}, **HTMX)
    assert (refused.status_code, refused.content.decode()) == (400, "Choose a person.")


@pytest.mark.parametrize("form", ["command", "role"])
def test_two_take_a_role_and_the_second_is_told_and_decides_again(incident, ines, ravi, form):
    address = reverse(f"incidents:{form}", args=[incident.pk])
    clients = {}
    for who in (ines, ravi):
        clients[who] = Client()
        clients[who].force_login(who)
    asked = clients[ravi].get(address, **HTMX).content.decode()
    seen = re.search(r'name="seen" value="([^"]*)"', asked)[1]
    given = {"role": "commander", "user": ravi.pk, "how": "assign", "seen": seen}
    assert clients[ines].post(address, {**given, "user": ines.pk}, **HTMX).status_code == 204
    before = incident.timeline.count()
    refused = clients[ravi].post(address, given, **HTMX)
    assert refused.status_code == 409
    assert refused.content.decode() == "Ines Okafor has command by now. Nothing was changed; decide again."
    incident.refresh_from_db()
    assert (incident.commander, incident.timeline.count()) == (ines, before)
    again = {**given, "seen": unquote(refused["X-Muster-Seen"])}
    assert clients[ravi].post(address, again, **HTMX).status_code == 204
    incident.refresh_from_db()
    assert incident.commander == ravi


def test_the_handoff_form_keeps_what_was_typed_and_what_people_write_stays_text(incident, ines, ravi):
    transitions.assign_commander(incident_id=incident.pk, user=ines, by=ines, now=NOW)
    address = reverse("incidents:handoff", args=[incident.pk])
    evil = '<script>x</script>"><img onerror=y>'
    given = {"role": "commander:", "user": "", "known": evil, "in_progress": evil, "next_steps": evil}
    refused = signed_in(ines).post(address, given)
    assert refused.status_code == 400
    signed_in(ines).post(address, given | {"user": ravi.pk})
    offer = incident.offers.get()
    assert offer.known == evil
    answer = reverse("incidents:offer_accept", args=[incident.pk, offer.pk])
    room = reverse("incidents:detail", args=[incident.pk])
    pages = [
        refused,
        signed_in(ravi).get(answer),
        signed_in(ravi).get(room),
        Client().get(answer_path(offer.page_id)),
    ]
    for page in pages:
        assert "<script>x" not in page.content.decode()
        assert "<img onerror" not in page.content.decode()


def test_who_asked_who_gives_the_commander_and_managers_withdraw_an_offer_and_nobody_else(
    incident, ines, ravi, sam
):
    transitions.assign_commander(incident_id=incident.pk, user=ines, by=ines, now=NOW)
    giver, mona = make_user("gil", full_name="Gil Alvarez"), make_user("mona", role="manager")
    transitions.assign_role(incident_id=incident.pk, role="scribe", field="", user=giver, by=giver, now=NOW)
    asker = make_user("ada")
    stranger = Client()
    stranger.force_login(sam)
    for by in (asker, giver, ines, mona):
        offer = roles.offer_role(incident_id=incident.pk, role="scribe", to=ravi, by=asker, now=NOW)
        address = reverse("incidents:offer_withdraw", args=[incident.pk, offer.pk])
        assert b">Withdraw</button>" not in stranger.get(address).content
        refused = stranger.post(address, **HTMX)
        assert refused.status_code == 403
        assert refused.content.startswith(b"Whoever asked or gives the role, the commander")
        with pytest.raises(NotAllowed):
            roles.withdraw(offer_id=offer.pk, by=ravi, now=NOW)
        offer.refresh_from_db()
        assert (offer.status, offer.page.status) == (OfferStatus.OPEN, PageStatus.PAGING)
        client = Client()
        client.force_login(by)
        asks = client.get(address).content.decode()
        assert "Ask Ravi Menon no more?" in asks and "Gil Alvarez keeps the role of scribe" in asks
        assert client.post(address, **HTMX).status_code == 204
        offer.refresh_from_db()
        assert (offer.status, offer.page.status) == (OfferStatus.WITHDRAWN, PageStatus.CANCELLED)
        assert incident.timeline.last().text == "no longer asks Ravi Menon to take the role of scribe"
        again = client.post(address, **HTMX)
        assert again.status_code == 409 and b"It was withdrawn" in again.content


def test_the_room_marks_whose_button_it_is_to_withdraw(incident, ines, ravi, sam):
    transitions.assign_commander(incident_id=incident.pk, user=ines, by=ines, now=NOW)
    offer = roles.offer_role(incident_id=incident.pk, role="commander", to=ravi, by=sam, now=NOW)
    client = Client()
    client.force_login(sam)
    page = client.get(reverse("incidents:detail", args=[incident.pk])).content.decode()
    around = page[: page.index(reverse("incidents:offer_withdraw", args=[incident.pk, offer.pk]))]
    assert around.endswith(
        f'<span data-person="{sam.pk}"><span data-person="{ines.pk}"><span data-person="{ines.pk}">'
        '<a class="btn btn-quiet btn-sm btn-icon withdraw may-act" href="'
    )
    assert "data-withdraws" not in page
    client.force_login(make_user("mona", role="manager"))
    assert "data-withdraws" in client.get(reverse("incidents:detail", args=[incident.pk])).content.decode()


def test_an_offer_belongs_to_its_incident(rotation, ines):
    one, other = open_incident(1), open_incident(1)
    address = reverse("incidents:offer_accept", args=[other.pk, one.offers.get().pk])
    assert signed_in(ines).post(address).status_code == 404
    assert RoleOffer.objects.filter(status=OfferStatus.OPEN).count() == 2


# --- rotations --------------------------------------------------------------------------------------------------


def test_managers_say_which_schedule_gives_a_role(ines, viola):
    schedule = make_schedule("Incident commanders", people=[ines])
    manager = signed_in(make_user("mia", role="manager"))
    address = reverse("incidents:rotations")
    assert "No rotation gives a role yet" in manager.get(address).content.decode()
    given = {
        "role": "commander", "field": "", "schedule": schedule.pk, "team": "", "accept_minutes": 4, "max_severity": 1,
    }  # fmt: skip
    assert signed_in(ines).post(address, given).status_code == 403
    assert not RoleRotation.objects.exists()
    assert manager.post(address, given).status_code == 302
    rotation = RoleRotation.objects.get()
    assert (rotation.schedule, rotation.accept_seconds, rotation.max_severity) == (schedule, 240, 1)
    twice = manager.post(address, given)
    assert twice.status_code == 400
    assert "Change that one" in twice.content.decode()
    assert manager.post(f"{address}?edit={rotation.pk}", given | {"max_severity": 2}).status_code == 302
    assert RoleRotation.objects.get().max_severity == 2

    edit = f"{address}?edit={rotation.pk}"
    seen = manager.get(edit).context["seen"]
    assert manager.post(edit, given | {"max_severity": 3, "seen": seen}).status_code == 302
    late = manager.post(edit, given | {"accept_minutes": 9, "seen": seen})
    assert (
        late.status_code == 409 and "Somebody changed this rotation after you began" in late.content.decode()
    )
    assert RoleRotation.objects.get().accept_seconds == 240
    told = given | {"accept_minutes": 9, "seen": late.context["seen"]}
    assert manager.post(edit, told).status_code == 302
    assert RoleRotation.objects.get().accept_seconds == 540
    gone = manager.post(f"{address}?edit=999", given | {"role": "expert", "field": "network"})
    assert "Somebody may have removed it" in gone.content.decode() and RoleRotation.objects.count() == 1
    wrong = manager.post(address, given | {"role": "expert"})
    assert "Say of which field" in wrong.content.decode()
    assert "Incident commanders" in signed_in(viola).get(address).content.decode()
    remove = reverse("incidents:rotation_remove", args=[rotation.pk])
    assert signed_in(ines).post(remove).status_code == 403
    assert manager.post(remove).status_code == 302
    assert not RoleRotation.objects.exists()
    assert Client().get(address).status_code == 302


# --- rules ------------------------------------------------------------------------------------------------------


def test_who_is_asked_next_is_the_first_of_those_asked_least():
    assert rules.choose([1, 2, 3], []) == rules.Choice(person=1, round=0)
    assert rules.choose([1, 2, 3], [1, 2]) == rules.Choice(person=3, round=0)
    assert rules.choose([1, 2, 3], [1, 2, 3, 1]) == rules.Choice(person=2, round=1)
    assert rules.choose([], [1]) is None
    assert rules.candidates(on_duty=[2], following=[3], others=[1, 2, 3], last=[9, 2]) == [2, 3, 1, 9]


@pytest.mark.parametrize(
    ("base", "before", "seconds"),
    [(300, 0, 300), (300, 1, 600), (300, 2, 900), (60, 50, 900), (3600, 4, 3600)],
)
def test_who_is_asked_again_has_longer_up_to_a_quarter_of_an_hour(base, before, seconds):
    assert rules.accept_seconds(base, asked_before=before) == seconds
