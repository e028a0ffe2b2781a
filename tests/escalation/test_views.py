from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.models import Role
from escalation.models import Policy, ServicePolicy
from escalation.transitions import escalate_now
from incidents import links, transitions
from incidents.models import Kind, PageStatus
from tests.factories.accounts import make_team, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast():
    people = {name: make_user(name) for name in ("ada", "bob", "cyd")}
    service = make_service("checkout-api", criticality=1)
    policy = make_policy(
        tier(1, people["ada"]),
        tier(2, people["bob"]),
        tier(3, people["cyd"]),
        service=service,
        name="Checkout",
    )
    incident = transitions.trigger(
        service=service, title="5xx", severity=1, urgency="high", now=timezone.now() - timedelta(seconds=30)
    )
    return {**people, "service": service, "policy": policy, "incident": incident}


def sign_in(client, role: str = Role.RESPONDER):
    user = make_user(f"the-{role}", role=role)
    client.force_login(user)
    return user


def test_the_ladder_shows_who_is_paged_and_who_comes_next(client, cast, django_assert_max_num_queries):
    sign_in(client, Role.VIEWER)
    with django_assert_max_num_queries(8):
        answer = client.get(reverse("escalation:ladder", args=[cast["incident"].pk]))
    assert answer.status_code == 200
    shown = answer.context["ladder"]
    assert [(rung.level, rung.state) for rung in shown.rungs] == [
        (1, "paging"), (2, "next"), (3, "later"), (None, "later"),
    ]  # fmt: skip
    assert shown.rungs[2].due_at - shown.rungs[1].due_at == timedelta(seconds=120)
    assert "Do what tier 2 does." in answer.content.decode()


def test_after_the_answer_the_ladder_says_who_and_how_fast(client, cast):
    sign_in(client)
    incident = cast["incident"]
    transitions.acknowledge(
        incident_id=incident.pk, by=cast["ada"], now=incident.triggered_at + timedelta(seconds=70)
    )
    shown = client.get(reverse("escalation:ladder", args=[incident.pk])).context["ladder"]
    assert [(rung.level, rung.state, rung.due_at) for rung in shown.rungs] == [
        (1, "answered", None), (2, "later", None), (3, "later", None), (None, "later", None),
    ]  # fmt: skip
    assert shown.rungs[0].answered_after == timedelta(seconds=70)


def test_a_tier_that_was_paged_when_somebody_else_answered_is_called_off_not_missed(client, cast):
    sign_in(client)
    incident, at = cast["incident"], timezone.now()
    escalate_now(incident_id=incident.pk, by=cast["ada"], reason="", now=at)
    transitions.acknowledge(incident_id=incident.pk, by=cast["ada"], now=at)
    shown = client.get(reverse("escalation:ladder", args=[incident.pk])).context["ladder"]
    assert [rung.state for rung in shown.rungs] == ["answered", "off", "later", "later"]


def test_escalating_asks_first_and_pages_on_post(client, cast):
    sign_in(client)
    address = reverse("escalation:escalate", args=[cast["incident"].pk])
    asked = client.get(address)
    assert asked.status_code == 200
    assert [level.value for level in asked.context["ask"].levels] == ["", "1", "2", "3"]
    assert cast["incident"].pages.count() == 1
    answer = client.post(address, {"level": "3", "reason": "big"})
    assert answer.status_code == 302
    assert list(cast["incident"].pages.order_by("pk").values_list("recipient__username", flat=True)) == [
        "ada",
        "cyd",
    ]
    assert cast["incident"].timeline.get(kind=Kind.ESCALATED).text == "escalated to tier 3: big"


@pytest.mark.parametrize("level", ["7", "nine", "-1", "99999999999999999999"])
def test_a_tier_that_does_not_exist_is_refused_with_a_sentence_and_pages_nobody(client, cast, level):
    sign_in(client)
    answer = client.post(reverse("escalation:escalate", args=[cast["incident"].pk]), {"level": level})
    assert answer.status_code == 400
    assert cast["incident"].pages.count() == 1
    assert not cast["incident"].timeline.filter(kind=Kind.ESCALATED).exists()


def test_a_resolved_incident_is_not_escalated(client, cast):
    user = sign_in(client)
    transitions.resolve(incident_id=cast["incident"].pk, by=user, now=timezone.now())
    answer = client.post(
        reverse("escalation:escalate", args=[cast["incident"].pk]),
        {"level": ""},
        headers={"HX-Request": "true"},
    )
    assert (answer.status_code, answer.content.decode()) == (
        409, f"{cast['incident'].ref} is resolved. Nobody was paged.",
    )  # fmt: skip
    assert cast["incident"].pages.count() == 1


def test_a_viewer_may_look_but_not_escalate_nor_edit(client, cast):
    sign_in(client, Role.VIEWER)
    assert (
        client.post(reverse("escalation:escalate", args=[cast["incident"].pk]), {"level": ""}).status_code
        == 403
    )
    assert client.get(reverse("escalation:policy_edit", args=[cast["policy"].slug])).status_code == 403
    panel = reverse("escalation:service_panel", args=[cast["service"].slug])
    assert client.post(panel, {"policy": ""}).status_code == 403
    assert client.get(panel).status_code == 200
    assert cast["incident"].pages.count() == 1
    assert ServicePolicy.objects.count() == 1


def test_the_link_of_a_page_escalates_without_signing_in_on_post_only(client, cast):
    page = cast["incident"].pages.get()
    token = links.answer_path(page.pk).split("/")[2]
    address = reverse("escalation:answer_escalate", args=[token])
    make_team("Network")
    asked = client.get(address)
    assert (asked.status_code, [level.value for level in asked.context["ask"].levels]) == (
        200,
        ["", "1", "2", "3"],
    )
    assert cast["incident"].pages.count() == 1
    assert client.post(address).status_code == 302
    assert list(cast["incident"].pages.order_by("pk").values_list("recipient__username", flat=True)) == [
        "ada",
        "bob",
    ]
    assert cast["incident"].timeline.get(kind=Kind.ESCALATED).actor == cast["ada"]


def test_pressing_twice_on_the_phone_pages_one_tier(client, cast):
    page = cast["incident"].pages.get()
    path = links.answer_path(page.pk)
    cast["incident"].refresh_from_db()
    seen = cast["incident"].last_seq
    assert f'name="seen" value="{seen}"' in client.get(path).content.decode()
    address = reverse("escalation:answer_escalate", args=[path.split("/")[2]])
    for _ in range(2):
        assert client.post(address, {"reason": "big", "seen": str(seen)}).status_code == 302
    paged = list(cast["incident"].pages.order_by("pk").values_list("recipient__username", flat=True))
    assert paged == ["ada", "bob"]
    assert cast["incident"].timeline.filter(kind=Kind.ESCALATED).count() == 1


def test_who_looks_again_may_escalate_again(client, cast):
    sign_in(client)
    address = reverse("escalation:escalate", args=[cast["incident"].pk])
    for tier_paged in ("bob", "cyd"):
        cast["incident"].refresh_from_db()
        seen = cast["incident"].last_seq
        assert f'name="seen" value="{seen}"' in client.get(address).content.decode()
        for _ in range(2):
            assert client.post(address, {"seen": str(seen)}).status_code == 302
        assert cast["incident"].pages.first().recipient.username == tier_paged
    assert cast["incident"].pages.count() == 3


def test_a_forged_link_escalates_nothing(client, cast):
    page = cast["incident"].pages.get()
    token = links.answer_path(page.pk).split("/")[2]
    assert client.post(reverse("escalation:answer_escalate", args=[token[:-2] + "xx"])).status_code == 404
    assert cast["incident"].pages.count() == 1
    assert cast["incident"].pages.get().status == PageStatus.PAGING


def policy_form(**changes):
    form = {
        "name": "Ledger", "description": "", "team": "", "repeats": "1", "catch_all": "", "catch_all_every_minutes": "15",
        "tier-TOTAL_FORMS": "1", "tier-INITIAL_FORMS": "0", "tier-0-level": "1", "tier-0-name": "On call",
        "tier-0-criteria": "", "tier-0-expected_outcome": "Look", "tier-0-expertise": "", "tier-0-sev1": "90 s",
        "tier-0-sev2": "5 min", "tier-0-sev3": "1h 30m", "tier-0-sev4": "2 h", "tier-0-targets": ["service_primary:"],
    }  # fmt: skip
    return {**form, **changes}


def test_a_manager_makes_a_policy_and_changing_it_makes_a_new_version(client, cast):
    sign_in(client, Role.MANAGER)
    answer = client.post(reverse("escalation:policy_new"), policy_form())
    policy = Policy.objects.get(name="Ledger")
    assert answer.headers["Location"] == reverse("escalation:policy_detail", args=[policy.slug])
    made = policy.tiers.get()
    assert (made.ack_seconds_sev1, made.ack_seconds_sev2, made.ack_seconds_sev3, made.ack_seconds_sev4) == (
        90, 300, 5400, 7200,
    )  # fmt: skip
    edit = reverse("escalation:policy_edit", args=[policy.slug])
    assert client.post(edit, policy_form(**{"tier-0-sev1": "2m"})).status_code == 302
    policy.refresh_from_db()
    assert (policy.version, policy.tiers.get().ack_seconds_sev1) == (2, 120)
    assert client.get(reverse("escalation:policy_detail", args=[policy.slug])).status_code == 200


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tier-0-targets": []}, "Nobody would ever be paged"),
        ({"tier-0-sev1": "soon"}, "Write a time like 90 s"),
        ({"tier-0-sev1": "0 s"}, "from 1 second to 24 hours"),
        ({"repeats": "21"}, "less than or equal to 20"),
        ({"name": "Checkout"}, "Another policy has this name."),
        ({"tier-0-expected_outcome": ""}, "the paged person reads it"),
        ({"tier-0-targets": ["user:999999"]}, "not one of the available choices"),
    ],
)
def test_a_policy_that_would_not_work_is_refused_and_nothing_is_stored(client, cast, changes, sentence):
    sign_in(client, Role.MANAGER)
    answer = client.post(reverse("escalation:policy_new"), policy_form(**changes))
    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert list(Policy.objects.values_list("name", flat=True)) == ["Checkout"]


def test_a_manager_chooses_the_policy_of_a_service(client, cast):
    sign_in(client, Role.MANAGER)
    other = make_policy(tier(1, cast["bob"]), name="Other")
    panel = reverse("escalation:service_panel", args=[cast["service"].slug])
    assert client.post(panel, {"policy": other.slug}).status_code == 302
    assert ServicePolicy.objects.get(service=cast["service"]).policy == other
    assert client.post(panel, {"policy": "no-such"}).status_code == 404
    assert ServicePolicy.objects.get(service=cast["service"]).policy == other


def test_the_list_of_policies_asks_the_same_few_questions_however_many_there_are(
    client, cast, django_assert_max_num_queries
):
    sign_in(client, Role.VIEWER)
    for number in range(20):
        make_policy(tier(1, cast["ada"]), name=f"Policy of {number}")
    with django_assert_max_num_queries(9):
        answer = client.get(reverse("escalation:policy_list"))
    assert answer.context["page"].paginator.count == 21
    url = reverse("escalation:policy_list")
    narrowed = client.get(url, {"q": "policy of 7"})
    assert [policy.name for policy in narrowed.context["page"]] == ["Policy of 7"]
    assert 'value="policy of 7"' in narrowed.content.decode()
    for nothing in ({"team": "no-such-team"}, {"q": "\x00zzz"}):
        page = client.get(url, nothing)
        assert (page.status_code, list(page.context["page"])) == (200, [])
        assert "Clear the filters" in page.content.decode()
