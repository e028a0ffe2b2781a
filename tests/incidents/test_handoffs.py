"""Handing over the incident itself, to a person and to a team; the giver has it until then."""

from datetime import UTC, datetime, timedelta

import pytest

from core.errors import NotAllowed, Refused
from escalation.models import Run, RunStatus
from incidents import transitions as incidents
from incidents.channel import commands
from incidents.links import answer_path
from incidents.models import Kind, OfferStatus, PageStatus, RoleOffer, Status
from incidents.roles import queries
from incidents.roles import transitions as roles
from notifications.models import Notification
from tests.factories.accounts import make_email, make_team, make_token, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from timers.transitions import fire_due

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def cast():
    people = {
        name: make_user(name, full_name=name.title()) for name in ("ines", "ravi", "nora", "nick", "zoe")
    }
    for person in people.values():
        make_email(person, verified_at=NOW - timedelta(days=1))
    service = make_service("checkout")
    make_policy(tier(1, people["ines"]), service=service)
    network = make_team("Network", members=[people["nora"], people["nick"]])
    policy = make_policy(tier(1, people["nora"]), tier(2, people["nick"]), name="Network's")
    policy.team = network
    policy.save()
    incident = incidents.trigger(service=service, title="5xx", severity=1, urgency="high", now=NOW)
    return {**people, "incident": incident, "network": network}


def held(cast):
    incidents.acknowledge(incident_id=cast["incident"].pk, by=cast["ines"], now=NOW)
    return cast["incident"]


def has_it(incident):
    incident.refresh_from_db()
    return incident.acknowledged_by


def test_a_person_accepts_and_has_it_from_then_on(cast):
    incident, ines, ravi = held(cast), cast["ines"], cast["ravi"]
    offer = roles.hand_over(
        incident_id=incident.pk, to=ravi, by=ines, now=NOW, known="pool is full", next_steps="restart"
    )
    assert (offer.accept_by, offer.from_user, has_it(incident)) == (NOW + 5 * MINUTE, ines, ines)
    assert incident.timeline.last().text == (
        "hands the incident to Ravi and keeps it until then\nKnown: pool is full\nNext: restart"
    )
    assert queries.holdings(incident) == []  # it is no role
    with pytest.raises(NotAllowed, match="Only Ravi"):
        roles.accept(offer_id=offer.pk, by=cast["zoe"], now=NOW)
    roles.accept(offer_id=offer.pk, by=ravi, now=NOW + MINUTE)
    assert has_it(incident) == ravi
    assert incident.timeline.last().text == "accepted the incident from Ines"
    assert roles.accept(offer_id=offer.pk, by=ravi, now=NOW + MINUTE).status == OfferStatus.ACCEPTED
    assert incident.timeline.filter(kind=Kind.HANDED_OVER).count() == 1
    with pytest.raises(Refused, match="Ravi has it already"):
        roles.hand_over(incident_id=incident.pk, to=ravi, by=ines, now=NOW)


@pytest.mark.parametrize("ending", ["declined", "missed"])
def test_without_acceptance_the_giver_is_paged_high_and_keeps_it(cast, ending):
    incident, ines, ravi = held(cast), cast["ines"], cast["ravi"]
    offer = roles.hand_over(incident_id=incident.pk, to=ravi, by=ines, now=NOW, accept_seconds=120)
    incidents.set_severity(incident_id=incident.pk, severity=4, by=ines, reason="", now=NOW)
    if ending == "declined":
        roles.decline(offer_id=offer.pk, by=ravi, why="asleep", now=NOW + MINUTE)
        said = "Ravi declined the incident: asleep. You keep the incident."
    else:
        fire_due(now=NOW + 2 * MINUTE, by="test")
        said = "Ravi did not accept the incident in 2 min. You keep the incident."
    page = incident.pages.get(step_key=f"handover:{offer.pk}")
    assert (page.recipient, page.reason, page.status) == (ines, said, PageStatus.PAGING)
    assert page.notification.urgency == "high"  # though the incident is not
    assert has_it(incident) == ines
    assert incident.timeline.filter(text__contains="; Ines keeps it").exists()
    with pytest.raises(Refused):
        roles.accept(offer_id=offer.pk, by=ravi, now=NOW + 3 * MINUTE)
    assert has_it(incident) == ines
    incidents.acknowledge(incident_id=incident.pk, by=ines, now=NOW + 3 * MINUTE)
    page.refresh_from_db()
    assert page.status == PageStatus.ACKNOWLEDGED


def test_nobody_can_give_to_a_person_what_nobody_has(cast):
    with pytest.raises(Refused, match="Acknowledge it first"):
        roles.hand_over(incident_id=cast["incident"].pk, to=cast["ravi"], by=cast["ines"], now=NOW)
    assert not RoleOffer.objects.exists()


def test_a_team_is_paged_by_its_policy_and_has_it_when_somebody_of_it_acknowledges(cast):
    incident, ines, nora = held(cast), cast["ines"], cast["nora"]
    offer = roles.hand_over(
        incident_id=incident.pk, team=cast["network"], by=ines, now=NOW, known="BGP flaps"
    )
    run = Run.objects.get(origin=f"team:{cast['network'].pk}")
    assert (run.status, has_it(incident), offer.page) == (RunStatus.RUNNING, ines, None)
    page = incident.pages.get(recipient=nora)
    assert page.reason.startswith("Ines called in Network: take the incident over. Known: BGP flaps")
    incidents.acknowledge(incident_id=incident.pk, by=cast["zoe"], now=NOW)  # of no team that is asked
    assert has_it(incident) == ines
    incidents.acknowledge(incident_id=incident.pk, by=nora, now=NOW + MINUTE)
    assert has_it(incident) == nora
    offer.refresh_from_db()
    assert (offer.status, offer.to_user) == (OfferStatus.ACCEPTED, nora)
    run.refresh_from_db()
    assert run.status == RunStatus.STOPPED
    assert incident.timeline.last().text == "accepted the incident from Ines for Network"
    assert not incident.pages.filter(status=PageStatus.PAGING).exists()


def test_a_team_is_asked_while_the_own_policy_goes_on_and_takes_over_from_nobody(cast):
    incident, nick = cast["incident"], cast["nick"]
    offer = roles.hand_over(incident_id=incident.pk, team=cast["network"], by=cast["zoe"], now=NOW)
    assert Run.objects.filter(status=RunStatus.RUNNING).count() == 2
    roles.accept(offer_id=offer.pk, by=nick, now=NOW + MINUTE)
    incident.refresh_from_db()
    assert (incident.status, incident.acknowledged_by) == (Status.ACKNOWLEDGED, nick)
    assert not Run.objects.exclude(status=RunStatus.STOPPED).exists()
    with pytest.raises(Refused):  # two of the team at once: the second hears who was first
        roles.accept(offer_id=offer.pk, by=cast["nora"], now=NOW + MINUTE)
    assert has_it(incident) == nick


def test_a_team_that_declines_is_paged_no_more_and_one_that_is_late_goes_on_being_paged(cast):
    incident, ines = held(cast), cast["ines"]
    offer = roles.hand_over(incident_id=incident.pk, team=cast["network"], by=ines, now=NOW)
    roles.decline(offer_id=offer.pk, by=cast["nora"], why="not ours", now=NOW)
    assert Run.objects.get(origin__startswith="team").status == RunStatus.STOPPED
    assert list(
        incident.pages.filter(status=PageStatus.PAGING).values_list("recipient__username", flat=True)
    ) == ["ines"]
    late = roles.hand_over(
        incident_id=incident.pk, team=cast["network"], by=ines, now=NOW + MINUTE, accept_seconds=60
    )
    fire_due(now=NOW + 2 * MINUTE, by="test")
    late.refresh_from_db()
    assert late.status == OfferStatus.MISSED
    assert Run.objects.get(origin__startswith="team").status == RunStatus.RUNNING
    assert incident.timeline.get(kind=Kind.ROLE_MISSED).text == (
        "Network did not accept the incident in 1 min; Ines keeps it"
    )
    incidents.acknowledge(incident_id=incident.pk, by=cast["nora"], now=NOW + 3 * MINUTE)
    assert has_it(incident) == ines


def test_it_is_handed_over_from_the_composer_the_dialog_the_link_and_the_api(cast, client):
    incident, ines, ravi = held(cast), cast["ines"], cast["ravi"]
    commands.run(incident=incident, text="/handoff incident @ravi pool is full", by=ines, now=NOW)
    offer = RoleOffer.objects.get()
    assert (offer.to_user, offer.known) == (ravi, "pool is full")
    commands.run(incident=incident, text="/handoff incident team network BGP", by=ines, now=NOW)
    offer.refresh_from_db()
    assert (offer.status, RoleOffer.objects.last().to_team) == (OfferStatus.WITHDRAWN, cast["network"])
    client.force_login(make_user(role="viewer"))
    address = f"/incidents/{incident.pk}/hand-over/"
    assert client.post(address, {"to": "person", "user": ravi.pk}).status_code == 403
    assert RoleOffer.objects.count() == 2
    client.force_login(ines)
    assert client.get(address).status_code == 200
    assert client.post(address, {"to": "person", "user": ravi.pk, "minutes": "7"}).status_code == 302
    offer = RoleOffer.objects.last()
    assert offer.accept_by - offer.offered_at == 7 * MINUTE
    assert "Ines hands over to Ravi" in client.get(f"/incidents/{incident.pk}/").content.decode()
    assert "Ines hands over to Ravi" in client.get("/").content.decode()
    client.logout()
    link = answer_path(offer.page_id)
    assert "Accept: The incident" in client.get(link).content.decode()
    client.post(link, {"do": "accept"})
    assert has_it(incident) == ravi
    told = client.post(
        f"/api/v1/incidents/{incident.pk}/handovers/", {"user": "ines", "known": "x"},
        content_type="application/json", headers={"Authorization": f"Bearer {make_token(ravi)}"},
    )  # fmt: skip
    assert told.status_code == 201, told.content
    assert (told.json()["role"], told.json()["to"]["username"]) == ("incident", "ines")
    listed = client.get(
        f"/api/v1/incidents/{incident.pk}/handovers/", headers={"Authorization": f"Bearer {make_token(ravi)}"}
    )
    assert len(listed.json()["results"]) == 4
    assert Notification.objects.filter(recipient=ines).exists()
