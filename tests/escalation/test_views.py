from dataclasses import replace
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.models import Role
from escalation import versions
from escalation.models import MatrixCell, Policy, ServicePolicy
from escalation.rules import TargetData
from escalation.transitions import escalate_now, save_policy
from incidents import links, transitions
from incidents.models import Kind, PageStatus
from tests.factories.accounts import make_team, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.oncall import make_schedule

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
    with django_assert_max_num_queries(10):  # one of them counts the gaps of the last days
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


def full_form(cast, **changes):
    """All that the editor can say about one tier."""
    schedule = make_schedule("Payments", people=[cast["ada"]])
    return policy_form(**{
        "on_ack_timeout": "restart", "working_hours": "Mon to Fri, 08:00 to 18:00\nSat, 10:00 to 12:00",
        "time_zone": "Europe/Berlin", "why": "the council asked", "tier-0-ack_mode": "quorum", "tier-0-quorum": "2",
        "tier-0-when_unstaffed": "hold_until_staffed", "tier-0-hold_limit": "2 h", "tier-0-hours": "in",
        "tier-0-severities": ["1", "2"], "tier-0-containment_missed": "on", "tier-0-expertise_needed": "database, network",
        "tier-0-channels": ["sms"], "tier-0-targets": [f"schedule_next:{schedule.pk}"],
        "tier-0-targets_out": [f"user:{cast['bob'].pk}"], **changes,
    })  # fmt: skip


def test_the_editor_keeps_all_that_a_tier_can_say_and_the_page_says_it_in_sentences(client, cast):
    sign_in(client, Role.MANAGER)
    answer = client.post(reverse("escalation:policy_new"), full_form(cast))
    policy = Policy.objects.get(name="Ledger")
    assert answer.headers["Location"] == reverse("escalation:policy_detail", args=[policy.slug])
    made = policy.tiers.get()
    assert (made.ack_mode, made.quorum, made.when_unstaffed, made.hold_limit_minutes, made.hours) == (
        "quorum", 2, "hold_until_staffed", 120, "in",
    )  # fmt: skip
    assert (made.severities, made.channels) == ([1, 2], ["sms"])
    assert made.early == [
        {"kind": "containment_missed"}, {"kind": "expertise", "field": "database"},
        {"kind": "expertise", "field": "network"},
    ]  # fmt: skip
    assert (policy.on_ack_timeout, policy.add_on_handoff, policy.time_zone) == (
        "restart",
        False,
        "Europe/Berlin",
    )
    assert policy.working_hours == [
        {"days": [0, 1, 2, 3, 4], "start": "08:00", "end": "18:00"},
        {"days": [5], "start": "10:00", "end": "12:00"},
    ]
    page = client.get(answer.headers["Location"]).content.decode()
    for sentence in (
        "Pages whoever is next on call on Payments and Bob (outside working hours only).",
        "2 have to answer: the others stay paged after the first acknowledgement.",
        "When nobody is there, the next tier is paged at once, and this one as soon as somebody comes, within 2 h.",
        "Is paged before its turn when the containment target is missed, database expertise is needed or network expertise",
        "Counts for SEV1 and SEV2, in working hours only; else it is passed.",
        "Whoever comes on call while a tier waits is not paged.",
        "Working hours: Mon to Fri, 08:00 to 18:00, Sat, 10:00 to 12:00 (Europe/Berlin).",
    ):
        assert sentence in page
    edit = reverse("escalation:policy_edit", args=[policy.slug])
    shown = client.get(edit).context
    again = {**shown["form"].initial, "why": ""}
    assert shown["form"]["working_hours"].value() == "Mon to Fri, 08:00 to 18:00\nSat, 10:00 to 12:00"
    assert again["time_zone"] == "Europe/Berlin"
    assert shown["tiers"].forms[0].initial["targets_out"] == [f"user:{cast['bob'].pk}"]


def test_the_form_of_a_policy_sent_back_as_it_came_changes_nothing(client, cast):
    sign_in(client, Role.MANAGER)
    policy = cast["policy"]
    data = versions.data_of(policy.versions.get().snapshot)
    limited = TargetData(kind="user", id=cast["cyd"].pk, severities=[1, 2], hours="in")
    first = replace(
        data.tiers[0],
        targets=[*data.tiers[0].targets, limited],
        ack_seconds=dict.fromkeys((1, 2, 3, 4), 86_400),
    )
    policy = save_policy(policy=policy, data=replace(data, tiers=[first, *data.tiers[1:]]))
    edit = reverse("escalation:policy_edit", args=[policy.slug])
    shown = client.get(edit).context
    sent = {}
    for form in [shown["form"], shown["tiers"].management_form, *shown["tiers"].forms]:
        for field in form:
            value = field.value()
            if value is not None and value is not False and value != "":
                sent[field.html_name] = value
    assert client.post(edit, sent).status_code == 302
    policy.refresh_from_db()
    assert policy.version == 3
    before, after = (policy.versions.get(version=number).snapshot for number in (2, 3))
    assert {**after, "version": 2} == before


@pytest.mark.parametrize("line", ["whenever", "Mon to Nope, 08:00 to 18:00", "Mon, 8 to 18"])
def test_working_hours_that_nobody_understands_are_refused_with_an_example(client, cast, line):
    sign_in(client, Role.MANAGER)
    answer = client.post(reverse("escalation:policy_new"), policy_form(working_hours=line))
    assert answer.status_code == 400
    assert "Example: Mon to Fri, 09:00 to 17:00" in answer.content.decode()
    assert Policy.objects.count() == 1


def test_versions_are_compared_in_words_and_restored_by_a_manager_only(client, cast):
    user = sign_in(client, Role.MANAGER)
    policy = cast["policy"]
    data = versions.data_of(policy.versions.get().snapshot)
    save_policy(policy=policy, data=replace(data, tiers=data.tiers[:2], repeats=3), by=user, why="too many")
    page = client.get(reverse("escalation:policy_versions", args=[policy.slug]))
    assert page.context["versions"][0][1] == [
        "Without an answer, all tiers are paged again, 3 times, then all admins every 15 min until somebody answers."
        " Before: Without an answer, all admins every 15 min until somebody answers.",
        "Tier 3, Tier 3 people, is gone.",
    ]
    assert page.context["versions"][1][1] is None
    assert "too many" in page.content.decode()
    address = reverse("escalation:policy_version", args=[policy.slug, 1])
    assert "Tier 3, Tier 3 people, is gone." in client.get(address).content.decode()
    sign_in(client, Role.VIEWER)
    assert (client.get(address).status_code, client.post(address).status_code) == (200, 403)
    assert policy.tiers.count() == 2
    sign_in(client, Role.ADMIN)
    assert client.post(address, {"why": "it was right"}).status_code == 302
    policy.refresh_from_db()
    assert (policy.version, policy.repeats, policy.tiers.count()) == (3, 0, 3)
    assert policy.versions.get(version=3).why == "it was right"
    assert client.get(reverse("escalation:policy_version", args=[policy.slug, 9])).status_code == 404


def test_an_admin_says_what_a_severity_means_and_the_service_page_shows_it(client, cast):
    address = reverse("escalation:matrix_cell", args=[2, 1])
    sign_in(client, Role.MANAGER)
    assert client.post(address, {"urgency": "low"}).status_code == 403
    sign_in(client, Role.ADMIN)
    assert client.post(address, {"start_level": "12"}).status_code == 400
    assert not MatrixCell.objects.exists()
    told = {"urgency": "high", "start_level": "2", "answer_seconds": "90 s", "commander": "ask"}
    assert client.get(address).status_code == 200
    assert client.post(address, told).status_code == 302
    said = "escalates, begins with tier 2, answer within 1m 30s, a commander is asked"
    assert said in client.get(reverse("escalation:matrix")).content.decode()
    assert (
        said in client.get(reverse("escalation:service_panel", args=[cast["service"].slug])).content.decode()
    )
    assert client.get(reverse("escalation:matrix_cell", args=[5, 1])).status_code == 404


def test_a_team_is_called_in_from_the_room_and_from_a_link_and_has_a_ladder_of_its_own(client, cast):
    user = sign_in(client)
    incident = cast["incident"]
    network = make_team("Network", members=[cast["cyd"]])
    storage = make_team("Storage", members=[cast["bob"]])
    room = reverse("escalation:escalate", args=[incident.pk])
    assert client.post(room, {"level": "", "team": "network", "reason": "loss"}).status_code == 302
    assert client.post(room, {"team": "network"}).status_code == 409
    assert client.post(room, {"team": "nobody"}).status_code == 400
    token = links.answer_path(incident.pages.last().pk).split("/")[2]
    client.logout()
    link = reverse("escalation:answer_escalate", args=[token])
    assert client.post(link, {"team": "storage", "reason": "disks"}).status_code == 302
    client.force_login(user)
    shown = client.get(reverse("escalation:ladder", args=[incident.pk])).context["ladder"]
    assert [(each.team, each.reason, [rung.state for rung in each.rungs]) for each in shown.others] == [
        (network, "loss", ["paging", "later"]), (storage, "disks", ["paging", "later"]),
    ]  # fmt: skip
    assert [rung.state for rung in shown.rungs] == ["paging", "next", "later", "later"]
    told = incident.timeline.filter(kind=Kind.ESCALATED).values_list("text", flat=True)
    assert list(told) == ["escalated to the team Network: loss", "escalated to the team Storage: disks"]


def test_the_ladder_counts_the_answers_and_warns_when_nobody_was_there(client, cast):
    sign_in(client)
    service = make_service("ledger", criticality=1)
    make_policy(replace(tier(1, cast["ada"], cast["bob"]), ack_mode="all"), service=service)
    opened = {"title": "5xx", "severity": 1, "urgency": "high", "now": timezone.now()}
    both = transitions.trigger(service=service, **opened)
    transitions.acknowledge(incident_id=both.pk, by=cast["ada"], now=timezone.now())
    page = client.get(reverse("escalation:ladder", args=[both.pk]))
    assert [rung.tally for rung in page.context["ladder"].rungs] == ["1 of 2 answered", ""]
    assert "1 of 2 answered" in page.content.decode()
    empty = make_service("orphan", criticality=1)
    make_policy(tier(1, targets=[TargetData(kind="schedule", id=make_schedule("Empty").pk)]), service=empty)
    nobody = transitions.trigger(service=empty, **opened)
    page = client.get(reverse("escalation:ladder", args=[nobody.pk])).content.decode()
    assert "Nobody is on duty in any tier" in page
    assert nobody.ref in client.get(reverse("escalation:gap_list")).content.decode()
