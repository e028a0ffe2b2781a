"""Updates to stakeholders: the clock of the next one, reminders, and who gets them by mail."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from core.errors import Invalid, NotAllowed
from incidents import timeline
from incidents import transitions as incidents
from incidents.models import (
    Incident,
    Kind,
    MailStatus,
    RoleHolding,
    RoomRole,
    Subscription,
    Update,
    UpdateMail,
)
from incidents.presenters import next_update
from incidents.updates import links, mails, rules, transitions
from notifications import channels
from notifications.channels.base import Message
from notifications.models import Notification, NotificationStatus
from tests.api.conftest import Api
from tests.factories.accounts import make_email, make_token, make_user
from tests.factories.catalog import make_service
from tests.notifications.fakes import FakeChannel
from timers.models import Timer
from timers.transitions import fire_due

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HTMX = {"HTTP_HX_REQUEST": "true"}
MINUTES = (15, 30, 120, 0)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _cadence(settings) -> None:
    settings.MUSTER_UPDATE_MINUTES = list(MINUTES)
    settings.MUSTER_BASE_URL = "https://muster.example"


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name="Ines Okafor", time_zone="Europe/Berlin")


@pytest.fixture
def ravi() -> User:
    return make_user("ravi", full_name="Ravi Menon")


@pytest.fixture
def viewer() -> User:
    return make_user("viola", full_name="Viola Weber", role="viewer")


@pytest.fixture
def incident(ravi: User) -> Incident:
    service = make_service("Checkout API", slug="checkout-api", criticality=1, primary_responder=ravi)
    return incidents.trigger(service=service, title="5xx after rollout", severity=1, urgency="high", now=NOW)


@pytest.fixture
def taken(incident: Incident, ines: User) -> Incident:
    """Acknowledged a minute after it began: the first update is due at 03:16."""
    incidents.acknowledge(incident_id=incident.pk, by=ines, now=NOW + MINUTE)
    return fresh(incident)


@pytest.fixture
def fake(monkeypatch) -> FakeChannel:
    channel = FakeChannel("email")
    monkeypatch.setitem(channels.CHANNELS, "email", channel)
    return channel


def test_contained_without_an_acknowledgement_an_update_is_due_too(incident, ines):
    incidents.contain(incident_id=incident.pk, by=ines, now=NOW + MINUTE)
    assert fresh(incident).next_update_at == due(incident) == NOW + 16 * MINUTE


def test_containing_keeps_what_was_promised_before(taken, ines):
    incidents.contain(incident_id=taken.pk, by=ines, now=NOW + 5 * MINUTE)
    assert fresh(taken).next_update_at == NOW + 16 * MINUTE


def test_a_subscription_by_a_colleague_belongs_to_the_account_of_the_address(taken, ines, viewer):
    made = subscribe(ines, viewer.email.upper())
    assert (made.user, made.created_by) == (viewer, ines)
    assert subscribe(viewer, user=viewer).pk == made.pk


def fresh(incident: Incident) -> Incident:
    return Incident.objects.get(pk=incident.pk)


def post(incident: Incident, by: User | None, *, at: datetime, **fields) -> Update:
    fields = {"impact": "38% of checkouts fail", "action": "We roll back.", "next_minutes": None, **fields}
    return transitions.post_update(incident_id=incident.pk, by=by, now=at, **fields)


def due(incident: Incident) -> datetime | None:
    """When the timer of the next update fires; it always says the same as the incident."""
    found = Timer.objects.filter(kind=transitions.OVERDUE, key=str(incident.pk)).values_list(
        "due_at", flat=True
    )
    return next(iter(found), None)


def count(incident: Incident, kind: Kind) -> int:
    return incident.timeline.filter(kind=kind).count()


def told(recipient: User | None = None) -> list[Notification]:
    rows = Notification.objects.filter(context__kind="update").order_by("pk")
    return list(rows.filter(recipient=recipient) if recipient else rows)


def at(incident: Incident, name: str = "update") -> str:
    return reverse(f"incidents:{name}", args=[incident.pk])


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


# --- rules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("severity", "minutes"), [(1, 15), (2, 30), (3, 120)])
def test_each_severity_has_its_cadence(severity, minutes):
    assert rules.cadence(severity, MINUTES) == minutes * MINUTE


def test_zero_minutes_promise_nothing():
    assert rules.cadence(4, MINUTES) is None
    assert rules.cadence(1, ()) is None


def test_a_promise_wins_over_the_cadence_and_lies_within_a_day():
    def when(promised):
        return rules.next_due(posted_at=NOW, promised=promised, severity=1, minutes=MINUTES)

    assert when(None) == NOW + 15 * MINUTE
    assert when(NOW + 90 * MINUTE) == NOW + 90 * MINUTE
    for wrong in (NOW, NOW - MINUTE, NOW + timedelta(hours=24, seconds=1)):
        with pytest.raises(Invalid):
            when(wrong)


def test_reminders_come_every_third_of_the_cadence_but_not_sooner_than_three_minutes():
    assert rules.nag_again(1, 30 * MINUTE) == 10 * MINUTE
    assert rules.nag_again(1, 5 * MINUTE) == 3 * MINUTE
    assert rules.nag_again(12, 15 * MINUTE) == 60 * MINUTE


def test_the_timeline_says_the_first_the_third_and_then_every_third_reminder():
    assert [times for times in range(1, 10) if rules.says_so(times)] == [1, 3, 6, 9]


# --- the clock --------------------------------------------------------------------------------------------------


def test_nothing_is_promised_before_somebody_has_taken_charge(incident):
    assert fresh(incident).next_update_at is None
    assert due(incident) is None


def test_the_first_update_is_due_a_cadence_after_the_acknowledgement(taken):
    assert (taken.next_update_at, taken.next_update_from) == (NOW + 16 * MINUTE, NOW + MINUTE)
    assert due(taken) == NOW + 16 * MINUTE


def test_a_severity_without_cadence_starts_no_clock(ines):
    quiet = incidents.trigger(service=make_service(), title="Typo", severity=4, urgency="low", now=NOW)
    incidents.acknowledge(incident_id=quiet.pk, by=ines, now=NOW)
    assert fresh(quiet).next_update_at is None
    assert due(quiet) is None


def test_a_second_acknowledgement_leaves_the_promise(taken, ravi):
    incidents.acknowledge(incident_id=taken.pk, by=ravi, now=NOW + 5 * MINUTE)
    assert fresh(taken).next_update_at == NOW + 16 * MINUTE


def test_posting_moves_the_due_time_sets_the_impact_and_stands_in_the_timeline(taken, ines):
    update = post(taken, ines, at=NOW + 10 * MINUTE)
    after = fresh(taken)
    assert (after.next_update_at, after.last_update_at) == (NOW + 25 * MINUTE, NOW + 10 * MINUTE)
    assert after.impact == "38% of checkouts fail"
    assert due(taken) == NOW + 25 * MINUTE
    entry = taken.timeline.get(kind=Kind.UPDATE_POSTED)
    assert (entry.seq, entry.actor) == (update.seq, ines)
    assert entry.text == "sent update 1: 38% of checkouts fail\nWe roll back."
    assert entry.data == {
        "update": update.pk, "number": 1, "impact": "38% of checkouts fail", "action": "We roll back.", "mails": 0,
        "next_update_at": "2026-11-24T03:25:00+00:00",
    }  # fmt: skip
    assert count(taken, Kind.IMPACT_CHANGED) == 0
    assert list(timeline.verify(after)) == []


def test_a_promise_of_ones_own_and_none_at_all(taken, ines):
    post(taken, ines, at=NOW + 10 * MINUTE, next_minutes=240)
    assert due(taken) == NOW + 250 * MINUTE
    post(taken, ines, at=NOW + 12 * MINUTE, next_minutes=0)
    assert fresh(taken).next_update_at is None
    assert due(taken) is None


def test_a_form_that_was_sent_twice_sends_one_update(taken, ines, ravi):
    first = post(taken, ines, at=NOW + 10 * MINUTE)
    assert post(taken, ines, at=NOW + 10 * MINUTE + timedelta(seconds=59)) == first
    assert due(taken) == NOW + 25 * MINUTE
    assert post(taken, ravi, at=NOW + 11 * MINUTE) != first
    assert post(taken, ines, at=NOW + 12 * MINUTE) != first
    assert count(taken, Kind.UPDATE_POSTED) == 3


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"impact": " "}, "impact"),
        ({"impact": "x" * 301}, "impact"),
        ({"action": ""}, "action"),
        ({"action": "x" * 4001}, "action"),
        ({"next_minutes": -1}, "next_minutes"),
        ({"next_minutes": 1441}, "next_minutes"),
    ],
)
def test_what_is_wrong_with_an_update_is_said_and_nothing_is_sent(taken, ines, given, field):
    with pytest.raises(Invalid) as refused:
        post(taken, ines, at=NOW + 5 * MINUTE, **given)
    assert list(refused.value.fields) == [field]
    assert Update.objects.count() == 0
    assert fresh(taken).next_update_at == NOW + 16 * MINUTE
    assert count(taken, Kind.UPDATE_POSTED) == 0


def test_severity_change_brings_it_forward_never_back(ines):
    incident = incidents.trigger(service=make_service(), title="Slow", severity=3, urgency="high", now=NOW)
    incidents.acknowledge(incident_id=incident.pk, by=ines, now=NOW)
    assert due(incident) == NOW + 120 * MINUTE

    def change(severity, minutes):
        incidents.set_severity(
            incident_id=incident.pk, severity=severity, by=ines, reason="", now=NOW + minutes * MINUTE
        )
        return due(incident)

    assert change(2, 10) == NOW + 30 * MINUTE  # counted from where the promise began
    assert change(3, 11) == NOW + 30 * MINUTE
    assert change(1, 20) == NOW + 20 * MINUTE  # its time is up already, which is now
    assert fresh(incident).next_update_from == NOW


def test_an_incident_that_becomes_bad_gets_a_clock_then(ines):
    incident = incidents.trigger(service=make_service(), title="Typo", severity=4, urgency="low", now=NOW)
    incidents.acknowledge(incident_id=incident.pk, by=ines, now=NOW)
    incidents.set_severity(
        incident_id=incident.pk, severity=1, by=ines, reason="worse", now=NOW + 60 * MINUTE
    )
    assert due(incident) == NOW + 75 * MINUTE


def test_resolving_ends_it_and_reopening_waits_for_an_acknowledgement(taken, ines):
    incidents.resolve(incident_id=taken.pk, by=ines, now=NOW + 5 * MINUTE)
    assert (fresh(taken).next_update_at, due(taken)) == (None, None)
    incidents.reopen(incident_id=taken.pk, by=ines, reason="again", now=NOW + 6 * MINUTE)
    assert due(taken) is None
    incidents.acknowledge(incident_id=taken.pk, by=ines, now=NOW + 7 * MINUTE)
    assert due(taken) == NOW + 22 * MINUTE


def test_after_the_end_an_update_is_still_possible_and_promises_nothing(taken, ines):
    incidents.resolve(incident_id=taken.pk, by=ines, now=NOW + 5 * MINUTE)
    update = post(taken, ines, at=NOW + 6 * MINUTE, action="It is over.", next_minutes=30)
    assert update.next_update_at is None
    assert (fresh(taken).next_update_at, due(taken)) == (None, None)


@pytest.mark.parametrize(
    ("minute", "state", "text"), [(2, "calm", "14:00"), (14, "soon", "02:00"), (20, "over", "04:00")]
)
def test_the_clock_is_calm_then_soon_then_over(taken, minute, state, text):
    shown = next_update(taken, NOW + minute * MINUTE)
    assert (shown.state, shown.text, shown.window) == (state, text, 900)


def test_the_room_shows_the_promise_and_keeps_its_old_words_after_the_end(taken, ines, viewer):
    page = signed_in(viewer).get(at(taken, "detail")).content.decode()
    assert 'data-due="2026-11-24T03:16:00.000Z" data-window="900" data-over' in page
    assert "Next update in" in page and "Update overdue by" in page
    incidents.resolve(incident_id=taken.pk, by=ines, now=NOW + 5 * MINUTE)
    assert "Answered after" in signed_in(viewer).get(at(taken, "detail")).content.decode()


# --- late -------------------------------------------------------------------------------------------------------


def test_overdue_tells_the_commander_once_per_round_and_says_so_in_the_timeline(taken, ines, ravi):
    incidents.assign_commander(incident_id=taken.pk, user=ravi, by=ines, now=NOW + 2 * MINUTE)
    assert told() == []
    fire_due(now=NOW + 16 * MINUTE, by="test")
    fire_due(now=NOW + 16 * MINUTE, by="test")
    [first] = told()
    assert (first.recipient, first.urgency, first.topic) == (ravi, "high", f"incident:{taken.pk}:updates")
    assert first.title == "SEV1 Checkout API: stakeholders wait for an update"
    assert first.link == at(taken)
    entry = taken.timeline.get(kind=Kind.UPDATE_OVERDUE)
    assert entry.text == "The update that was promised to stakeholders is due. Reminded Ravi Menon"
    assert entry.data == {"due_at": "2026-11-24T03:16:00+00:00", "told": [ravi.pk], "times": 1}
    assert due(taken) == NOW + 21 * MINUTE
    fire_due(now=NOW + 21 * MINUTE, by="test")
    assert [row.recipient for row in told()] == [ravi, ravi]
    assert count(taken, Kind.UPDATE_OVERDUE) == 1
    fire_due(now=NOW + 26 * MINUTE, by="test")
    assert fresh(taken).update_nags == 3
    last = taken.timeline.filter(kind=Kind.UPDATE_OVERDUE).order_by("-seq").first()
    assert last.text.startswith("The update that was promised to stakeholders is 10 min late.")


def test_without_a_commander_whoever_has_it_is_reminded(taken, ines):
    fire_due(now=NOW + 16 * MINUTE, by="test")
    assert [row.recipient for row in told()] == [ines]


def test_from_the_third_reminder_on_deputy_and_communications_hear_of_it(taken, ines, ravi):
    holders = {RoomRole.COMMUNICATIONS: make_user("carla"), RoomRole.DEPUTY: make_user("dora")}
    for role, user in holders.items():
        RoleHolding.objects.create(incident=taken, role=role, user=user, since=NOW)
    incidents.assign_commander(incident_id=taken.pk, user=ravi, by=ines, now=NOW + 2 * MINUTE)
    for minute in (16, 21):
        fire_due(now=NOW + minute * MINUTE, by="test")
    assert {row.recipient for row in told()} == {ravi}
    fire_due(now=NOW + 26 * MINUTE, by="test")
    assert {row.recipient for row in told()} == {ravi, *holders.values()}
    assert Notification.objects.filter(recipient=ravi, context__kind="update").count() == 3


def test_posting_silences_the_nag(taken, ines):
    fire_due(now=NOW + 16 * MINUTE, by="test")
    post(taken, ines, at=NOW + 17 * MINUTE)
    [reminder] = told()
    assert reminder.status == NotificationStatus.CANCELLED
    fire_due(now=NOW + 31 * MINUTE, by="test")
    assert len(told()) == 1
    assert fresh(taken).update_nags == 0
    fire_due(now=NOW + 32 * MINUTE, by="test")
    assert len(told()) == 2


def test_an_acknowledgement_does_not_cancel_the_nag(taken, ravi):
    make_email(ravi, verified_at=NOW)
    fire_due(now=NOW + 16 * MINUTE, by="test")
    incidents.acknowledge(incident_id=taken.pk, by=ravi, now=NOW + 17 * MINUTE)
    incidents.contain(incident_id=taken.pk, by=ravi, now=NOW + 18 * MINUTE)
    [reminder] = told()
    assert reminder.status == NotificationStatus.ACTIVE
    assert due(taken) == NOW + 21 * MINUTE
    incidents.resolve(incident_id=taken.pk, by=ravi, now=NOW + 19 * MINUTE)
    reminder.refresh_from_db()
    assert reminder.status == NotificationStatus.CANCELLED
    assert due(taken) is None


def test_a_timer_that_lost_its_payload_still_knows_its_incident(taken):
    Timer.objects.filter(kind=transitions.OVERDUE).update(payload={})
    fire_due(now=NOW + 16 * MINUTE, by="test")
    assert count(taken, Kind.UPDATE_OVERDUE) == 1


def test_a_timer_that_fires_too_early_comes_again_when_it_is_due(taken):
    Timer.objects.filter(kind=transitions.OVERDUE).update(due_at=NOW + 5 * MINUTE)
    fire_due(now=NOW + 5 * MINUTE, by="test")
    assert (told(), due(taken)) == ([], NOW + 16 * MINUTE)


# --- by mail ----------------------------------------------------------------------------------------------------


def subscribe(by: User, email: str = "", **fields) -> Subscription:
    fields = {
        "incident_id": None,
        "service_id": None,
        "min_severity": 4,
        "user": None if email else by,
        **fields,
    }
    return transitions.subscribe(email=email or by.email, by=by, now=NOW, **fields)


def send_mails(now: datetime, run) -> None:
    with run(execute=True):
        fire_due(now=now, by="test")


def test_a_mail_goes_to_each_address_once_for_what_it_subscribed_to(
    taken, ines, viewer, fake, django_capture_on_commit_callbacks
):
    subscribe(viewer)
    subscribe(viewer, incident_id=taken.pk, min_severity=4)
    subscribe(ines, "Board@Example.org", min_severity=1)
    subscribe(ines, "shop@example.org", service_id=taken.service_id)
    subscribe(ines, "other@example.org", service_id=make_service().pk)
    post(taken, ines, at=NOW + 10 * MINUTE)
    send_mails(NOW + 10 * MINUTE, django_capture_on_commit_callbacks)
    send_mails(NOW + 12 * MINUTE, django_capture_on_commit_callbacks)
    assert sorted(mail.address for mail in fake.accepted) == [
        "board@example.org", "shop@example.org", "viola@example.org",
    ]  # fmt: skip
    assert set(UpdateMail.objects.values_list("status", "attempts")) == {(MailStatus.SENT, 1)}
    assert taken.timeline.get(kind=Kind.UPDATE_POSTED).data["mails"] == 3
    assert Timer.objects.filter(kind=transitions.MAIL).count() == 0


def test_the_mail_says_what_is_hurt_what_is_done_when_more_comes_and_how_to_end_it(
    taken, ines, viewer, fake, django_capture_on_commit_callbacks
):
    mine = subscribe(viewer)
    subscribe(ines, "board@example.org", service_id=taken.service_id, min_severity=2)
    post(taken, ines, at=NOW + 10 * MINUTE, action="Step 1: <b>roll back</b>\nStep 2: look")
    send_mails(NOW + 10 * MINUTE, django_capture_on_commit_callbacks)
    mail = next(each for each in fake.accepted if each.address == "viola@example.org")
    assert mail.title == "SEV1 Checkout API: update 1"
    assert mail.body.splitlines() == [
        f"SEV1 Checkout API: update 1 on {taken.ref}, 5xx after rollout",
        "Impact: 38% of checkouts fail",
        "What is done: Step 1: <b>roll back</b>",
        "Step 2: look",
        "Next update: by 24 Nov 03:25 UTC",
        "Running since: 24 Nov 03:00 UTC",
    ]
    stop = f"https://muster.example{links.stop_path(mine.pk)}"
    assert mail.why == (
        f"You get this because you subscribed to updates of all incidents. To get no more of them: {stop}"
    )
    assert (mail.unsubscribe, mail.link) == (stop, f"https://muster.example/incidents/INC-{taken.pk}/")
    other = next(each for each in fake.accepted if each.address == "board@example.org")
    assert other.link == ""  # without an account the room is a closed door
    assert other.why.startswith(
        "You get this because Ines Okafor subscribed you to updates of all incidents of SEV2 and worse on Checkout API."
    )


def test_the_letter_carries_the_key_as_its_id_and_a_header_to_unsubscribe(
    taken, ines, viewer, django_capture_on_commit_callbacks, mailoutbox
):
    subscription = subscribe(viewer)
    post(taken, ines, at=NOW + 10 * MINUTE, action="<script>alert(1)</script>")
    send_mails(NOW + 10 * MINUTE, django_capture_on_commit_callbacks)
    [letter] = mailoutbox
    row = UpdateMail.objects.get()
    assert letter.extra_headers["Message-ID"] == f"<{row.idempotency_key}@muster.example>"
    assert (
        letter.extra_headers["List-Unsubscribe"]
        == f"<https://muster.example{links.stop_path(subscription.pk)}>"
    )
    assert letter.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    html = letter.alternatives[0][0]
    assert "<script>" not in html and "&lt;script&gt;" in html


def test_a_drill_says_so_first(ines, fake, django_capture_on_commit_callbacks):
    drill = incidents.trigger(
        service=make_service("Search"), title="Try", severity=2, urgency="high", now=NOW, is_drill=True
    )
    subscribe(ines)
    post(drill, ines, at=NOW + MINUTE)
    send_mails(NOW + MINUTE, django_capture_on_commit_callbacks)
    [mail] = [each for each in fake.accepted if each.kind == "update"]
    assert mail.title == "DRILL SEV2 Search: update 1"


class Killed(BaseException):
    """Nothing that a worker could catch."""


def killed(message: Message) -> None:
    raise Killed


def test_a_mail_goes_out_although_the_worker_died_and_carries_the_same_id(
    taken, ines, viewer, fake, django_capture_on_commit_callbacks
):
    subscribe(viewer)
    post(taken, ines, at=NOW + 10 * MINUTE)
    with django_capture_on_commit_callbacks(execute=False):  # queued, and lost with the process
        fire_due(now=NOW + 10 * MINUTE, by="test")
    row = UpdateMail.objects.get()
    assert (row.status, row.attempts, fake.tried) == (MailStatus.WAITING, 0, [])
    send_mails(NOW + 10 * MINUTE + timedelta(seconds=59), django_capture_on_commit_callbacks)
    assert fake.tried == []
    fake.answers = [killed]
    with pytest.raises(Killed):
        send_mails(NOW + 11 * MINUTE, django_capture_on_commit_callbacks)
    send_mails(NOW + 13 * MINUTE, django_capture_on_commit_callbacks)
    row.refresh_from_db()
    assert (row.status, row.attempts) == (MailStatus.SENT, 2)
    assert [mail.idempotency_key for mail in fake.tried] == [str(row.idempotency_key)] * 2


def test_a_mail_that_waits_behind_a_slow_server_counts_as_tried_when_it_is(
    taken, ines, viewer, fake, monkeypatch, django_capture_on_commit_callbacks
):
    queue = []
    monkeypatch.setattr(mails.network, "run", lambda work, **_: queue.append(work))
    subscribe(viewer)
    post(taken, ines, at=NOW + 10 * MINUTE)
    for minute in range(10, 20):  # more leases than it has attempts
        send_mails(NOW + minute * MINUTE, django_capture_on_commit_callbacks)
    row = UpdateMail.objects.get()
    assert (len(queue), row.status, row.attempts) == (10, MailStatus.WAITING, 0)
    for work in queue:
        work()
    row.refresh_from_db()
    assert (row.status, row.attempts, len(fake.tried)) == (MailStatus.SENT, 1, 1)


def test_a_mail_that_kills_five_workers_has_failed_and_the_room_hears_of_it(
    taken, ines, viewer, fake, django_capture_on_commit_callbacks
):
    fake.answers = [killed] * 5
    subscribe(viewer)
    post(taken, ines, at=NOW + 10 * MINUTE)
    for minute in range(10, 20, 2):
        with pytest.raises(Killed):
            send_mails(NOW + minute * MINUTE, django_capture_on_commit_callbacks)
    send_mails(NOW + 20 * MINUTE, django_capture_on_commit_callbacks)
    row = UpdateMail.objects.get()
    assert (row.status, row.attempts, len(fake.tried)) == (MailStatus.FAILED, 5, 5)
    send_mails(NOW + 22 * MINUTE, django_capture_on_commit_callbacks)
    assert taken.timeline.get(kind=Kind.DELIVERY_FAILED).text == (
        "Update 1 did not reach 1 of 1 reader by e-mail: viola@example.org. The worker did not report back"
    )


def test_a_mail_that_is_not_taken_is_tried_again_five_times_and_then_counts_as_failed(
    taken, ines, viewer, fake, django_capture_on_commit_callbacks
):
    fake.by_address = {viewer.email: "transient"}
    subscribe(viewer)
    post(taken, ines, at=NOW + 10 * MINUTE)
    for _ in range(8):
        send_mails(NOW + timedelta(hours=2), django_capture_on_commit_callbacks)
        Timer.objects.filter(kind=transitions.MAIL).update(due_at=NOW)
    row = UpdateMail.objects.get()
    tried = [mail for mail in fake.tried if mail.address == viewer.email]
    assert (row.status, row.attempts, len(tried)) == (MailStatus.FAILED, 5, 5)
    assert "451 come back later" in row.last_error


def test_an_address_that_is_refused_is_not_tried_again(
    taken, ines, viewer, fake, django_capture_on_commit_callbacks
):
    fake.by_address = {viewer.email: "permanent"}
    subscribe(viewer)
    post(taken, ines, at=NOW + 10 * MINUTE)
    send_mails(NOW + 10 * MINUTE, django_capture_on_commit_callbacks)
    row = UpdateMail.objects.get()
    assert (row.status, row.attempts) == (MailStatus.FAILED, 1)
    assert Timer.objects.filter(kind=transitions.MAIL).count() == 0


def unreached(incident: Incident) -> list[str]:
    entries = incident.timeline.filter(kind=Kind.DELIVERY_FAILED).order_by("seq")
    return list(entries.values_list("text", flat=True))


def test_the_room_hears_in_one_entry_whom_an_update_did_not_reach_when_nothing_is_on_its_way(
    taken, ines, viewer, fake, django_capture_on_commit_callbacks
):
    for number in range(7):
        address = f"board{number}@example.org"
        fake.by_address[address] = "permanent"
        subscribe(ines, address)
    subscribe(viewer)
    fake.by_address[viewer.email] = "transient"
    post(taken, ines, at=NOW + 10 * MINUTE)
    send_mails(NOW + 10 * MINUTE, django_capture_on_commit_callbacks)
    assert UpdateMail.objects.filter(status=MailStatus.FAILED).count() == 7
    assert "7 mails not delivered" in signed_in(ines).get(at(taken)).content.decode()
    send_mails(NOW + 11 * MINUTE, django_capture_on_commit_callbacks)
    assert unreached(taken) == []  # one is tried again
    fake.by_address[viewer.email] = "ok"
    for minute in (13, 14, 15):
        send_mails(NOW + minute * MINUTE, django_capture_on_commit_callbacks)
    assert unreached(taken) == [
        "Update 1 did not reach 7 of 8 readers by e-mail: board0@example.org, board1@example.org,"
        " board2@example.org, board3@example.org, board4@example.org and 2 more. 550 nobody here"
    ]
    assert not Timer.objects.filter(kind=transitions.UNREACHED).exists()


def test_after_half_an_hour_the_room_hears_what_is_known_and_later_only_what_is_new(
    taken, ines, viewer, fake, django_capture_on_commit_callbacks
):
    fake.by_address = {"board@example.org": "permanent", viewer.email: "transient"}
    subscribe(ines, "board@example.org")
    subscribe(viewer)
    post(taken, ines, at=NOW + 10 * MINUTE)
    send_mails(NOW + 10 * MINUTE, django_capture_on_commit_callbacks)
    Timer.objects.filter(kind=transitions.MAIL).update(due_at=NOW + 50 * MINUTE)  # a server that hangs
    for minute in (39, 40):
        send_mails(NOW + minute * MINUTE, django_capture_on_commit_callbacks)
        assert len(unreached(taken)) == (minute == 40)
    fake.by_address[viewer.email] = "permanent"
    for minute in (50, 51, 52):
        send_mails(NOW + minute * MINUTE, django_capture_on_commit_callbacks)
    assert unreached(taken) == [
        "Update 1 did not reach 1 of 2 readers by e-mail: board@example.org. 550 nobody here",
        "Update 1 did not reach 1 of 2 readers by e-mail: viola@example.org. 550 nobody here",
    ]
    assert list(timeline.verify(fresh(taken))) == []


def test_who_was_not_reached_is_named_up_to_five_and_the_most_frequent_reason_is_said():
    said = rules.unreached(number=2, emails=[f"{n}@x" for n in range(1200)], of=3000, errors=["a", "b", "b"])
    assert (
        said
        == "Update 2 did not reach 1,200 of 3,000 readers by e-mail: 0@x, 1@x, 2@x, 3@x, 4@x and 1,195 more. Mostly: b"
    )


def test_late_news_of_an_old_attempt_counts_only_when_it_was_sent(taken, ines, viewer, fake):
    subscribe(viewer)
    post(taken, ines, at=NOW + 10 * MINUTE)
    row = UpdateMail.objects.get()
    first = mails.Queued(mail_id=row.pk, number=1)
    old = mails.claim(first, now=NOW + 10 * MINUTE)
    assert mails.claim(first, now=NOW + 10 * MINUTE) is None
    mails.claim(mails.Queued(mail_id=row.pk, number=2), now=NOW + 11 * MINUTE)
    mails.record(claimed=old, outcome="permanent", detail="550", now=NOW + 12 * MINUTE)
    row.refresh_from_db()
    assert (row.status, row.attempts) == (MailStatus.WAITING, 2)
    mails.record(claimed=old, outcome="sent", detail="", now=NOW + 12 * MINUTE)
    row.refresh_from_db()
    assert (row.status, row.sent_at) == (MailStatus.SENT, NOW + 12 * MINUTE)


def test_nothing_is_sent_to_who_unsubscribed_meanwhile_or_left(
    taken, ines, viewer, fake, django_capture_on_commit_callbacks
):
    subscription = subscribe(viewer)
    gone = make_user("gone")
    subscribe(gone)
    post(taken, ines, at=NOW + 10 * MINUTE)
    transitions.unsubscribe(subscription_id=subscription.pk, now=NOW + 10 * MINUTE)
    User.objects.filter(pk=gone.pk).update(is_active=False)
    send_mails(NOW + 10 * MINUTE, django_capture_on_commit_callbacks)
    assert fake.tried == []
    assert set(UpdateMail.objects.values_list("status", flat=True)) == {MailStatus.DROPPED}


# --- subscribing ------------------------------------------------------------------------------------------------


def test_subscribing_again_only_changes_the_severity(ines):
    first = subscribe(ines, "board@example.org", min_severity=1)
    again = subscribe(ines, "BOARD@example.org", min_severity=3)
    assert first.pk == again.pk
    assert list(Subscription.objects.values_list("email", "min_severity")) == [("board@example.org", 3)]


def test_a_viewer_subscribes_oneself_and_nobody_else(viewer):
    subscribe(viewer)
    with pytest.raises(NotAllowed):
        subscribe(viewer, "board@example.org")
    assert Subscription.objects.count() == 1


@pytest.mark.parametrize("address", ["", "nobody", "a@b\nBcc: all@example.org", "x" * 300 + "@example.org"])
def test_what_is_no_address_is_refused(ines, address):
    with pytest.raises(Invalid):
        subscribe(ines, user=None, **{"email": address} if address else {"email": " "})
    assert Subscription.objects.count() == 0


def test_unsubscribing_needs_a_post_and_no_session(viewer):
    subscription = subscribe(viewer)
    address = links.stop_path(subscription.pk)
    page = Client().get(address)
    assert page.status_code == 200
    assert "Stop these mails?" in page.content.decode()
    subscription.refresh_from_db()
    assert subscription.ended_at is None
    answer = Client(enforce_csrf_checks=True).post(address, {"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
    assert "No more mails" in answer.content.decode()
    subscription.refresh_from_db()
    assert subscription.ended_at is not None


def test_a_link_that_was_cut_off_or_forged_stops_nothing(viewer):
    subscription = subscribe(viewer)
    address = links.stop_path(subscription.pk)
    for broken in (address[:-5] + "/", reverse("status:unsubscribe", args=[str(subscription.pk)])):
        assert Client().post(broken).status_code == 404
    subscription.refresh_from_db()
    assert subscription.ended_at is None


def test_the_page_of_subscriptions_adds_and_stops_and_a_viewer_sees_only_their_own(ines, viewer):
    address = reverse("status:subscriptions")
    answer = signed_in(ines).post(address, {"email": "board@example.org", "service": "", "min_severity": "2"})
    assert answer.status_code == 302
    board = Subscription.objects.get()
    assert (board.user, board.min_severity, board.created_by) == (None, 2, ines)
    client = signed_in(viewer)
    assert (
        client.post(address, {"email": "x@example.org", "service": "", "min_severity": "4"}).status_code
        == 302
    )
    mine = Subscription.objects.get(user=viewer)
    assert mine.email == "viola@example.org"
    page = client.get(address).content.decode()
    assert "viola@example.org" in page and "board@example.org" not in page
    assert client.post(reverse("status:stop", args=[board.pk])).status_code == 404
    assert client.post(reverse("status:stop", args=[mine.pk])).status_code == 302
    assert list(Subscription.objects.filter(ended_at=None)) == [board]


def test_a_wrong_subscription_keeps_what_was_typed(ines):
    answer = signed_in(ines).post(
        reverse("status:subscriptions"), {"email": "nonsense", "service": "", "min_severity": "2"}
    )
    assert answer.status_code == 400
    assert 'value="nonsense"' in answer.content.decode()
    assert Subscription.objects.count() == 0


def test_one_press_subscribes_to_an_incident(taken, viewer):
    answer = signed_in(viewer).post(at(taken, "update_subscribe"), {"next": "/status/"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/status/")
    row = Subscription.objects.get()
    assert (row.incident, row.user, row.email) == (taken, viewer, "viola@example.org")


# --- the dialog and the page --------------------------------------------------------------------------------------


def test_the_form_holds_a_draft_and_says_who_reads_it(taken, ines):
    incidents.set_impact(incident_id=taken.pk, impact="Checkout fails", by=ines, now=NOW + 2 * MINUTE)
    subscribe(ines)
    page = signed_in(ines).get(at(taken)).content.decode()
    assert 'value="Checkout fails"' in page
    assert "We are finding out what is broken" in page
    assert "and 1 address by e-mail" in page
    assert '<option value="15" selected>in 15 min</option>' in page
    fragment = signed_in(ines).get(at(taken), **HTMX).content.decode()
    assert "<html" not in fragment and 'id="h-ask"' in fragment


def test_without_script_the_form_sends_and_goes_back_to_the_room(taken, ines):
    given = {"impact": "All of it", "action": "We roll back.", "next_minutes": "60"}
    answer = signed_in(ines).post(at(taken), given)
    assert (answer.status_code, answer.headers["Location"]) == (302, at(taken, "detail"))
    update = Update.objects.get()
    assert (update.impact, update.action, update.author) == ("All of it", "We roll back.", ines)
    assert update.next_update_at == update.at + 60 * MINUTE


def test_in_the_room_the_dialog_sends(taken, ines):
    given = {"impact": "All of it", "action": "We roll back.", "next_minutes": "0"}
    answer = signed_in(ines).post(at(taken), given, **HTMX)
    assert answer.status_code == 204
    assert "incident:changed" in answer.headers["HX-Trigger"]
    assert Update.objects.get().next_update_at is None


def test_an_update_without_words_is_refused_and_keeps_what_was_typed(taken, ines):
    given = {"impact": "All of it", "action": " ", "next_minutes": "60"}
    page = signed_in(ines).post(at(taken), given)
    assert page.status_code == 400
    assert 'value="All of it"' in page.content.decode()
    assert "Say what is done about it." in page.content.decode()
    answer = signed_in(ines).post(at(taken), given, **HTMX)
    assert (answer.status_code, answer.content.decode()) == (400, "Say what is done about it.")
    assert Update.objects.count() == 0


def test_an_update_does_not_set_back_an_impact_that_changed_meanwhile(taken, ines, ravi):
    incidents.set_impact(incident_id=taken.pk, impact="One in ten fails", by=ines, now=NOW + 2 * MINUTE)
    page = signed_in(ines).get(at(taken)).content.decode()
    assert '<input type="hidden" name="seen" value="One in ten fails">' in page
    post(taken, ravi, at=NOW + 5 * MINUTE, impact="All of it, in the EU")
    given = {
        "impact": "One in ten fails",
        "action": "Typed.",
        "next_minutes": "15",
        "seen": "One in ten fails",
    }

    answer = signed_in(ines).post(at(taken), given, **HTMX)
    assert (answer.status_code, answer.headers["X-Muster-Seen"]) == (409, "All%20of%20it%2C%20in%20the%20EU")
    assert "changed the impact to: All of it, in the EU. Your text is kept." in answer.content.decode()
    assert answer.content.decode().startswith("Ravi Menon, ")
    page = signed_in(ines).post(at(taken), given)
    assert page.status_code == 409
    for kept in ("Typed.", 'value="One in ten fails"', 'name="seen" value="All of it, in the EU"'):
        assert kept in page.content.decode()
    assert (fresh(taken).impact, Update.objects.count()) == ("All of it, in the EU", 1)

    signed_in(ines).post(at(taken), {**given, "seen": "All of it, in the EU"})
    assert (fresh(taken).impact, Update.objects.count()) == ("One in ten fails", 2)
    # who has seen less but says what it is now is not stopped
    signed_in(ines).post(at(taken), {**given, "action": "More.", "seen": ""})
    assert Update.objects.count() == 3


def test_a_viewer_may_not_send_and_reads_who_may(taken, viewer):
    assert signed_in(viewer).get(at(taken)).status_code == 403
    answer = signed_in(viewer).post(at(taken), {"impact": "x", "action": "y", "next_minutes": "15"})
    assert answer.status_code == 403
    assert Update.objects.count() == 0


def test_script_in_an_update_stays_text_everywhere(taken, ines):
    script = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    post(taken, ines, at=NOW + 5 * MINUTE, impact=script, action=script)
    client = signed_in(ines)
    for address in (
        at(taken),
        at(taken, "detail"),
        reverse("status:internal"),
        at(taken, "news") + "?after=0",
    ):
        page = client.get(address).content.decode()
        assert "<script>alert(1)" not in page and "<img src=x" not in page, address
        assert "&lt;script&gt;alert(1)" in page, address


# --- the API ------------------------------------------------------------------------------------------------------


def test_api_posts_an_update_and_lists_them_newest_first(taken, ines):
    api = Api(make_token(ines))
    path = f"incidents/{taken.ref}/updates/"
    first = api.post(path, {"impact": "All of it", "action": "We look."})
    assert first.status_code == 201
    said = first.json()
    assert (said["impact"], said["author"]["username"]) == ("All of it", "ines")
    assert said["mails"] == {"waiting": 0, "sent": 0, "failed": 0, "dropped": 0}
    api.post(path, {"impact": "Half of it", "action": "We mend.", "next_minutes": 0})
    rows = api.get(path).json()["results"]
    assert [row["impact"] for row in rows] == ["Half of it", "All of it"]
    assert rows[0]["next_update_at"] is None


def test_api_refuses_what_is_wrong_and_sends_nothing(taken, ines):
    api = Api(make_token(ines))
    path = f"incidents/{taken.ref}/updates/"
    for body in ({}, {"impact": "x"}, {"impact": "x", "action": "y", "next_minutes": 1441}, {"impact": 1}):
        assert api.post(path, body).status_code == 400
    assert api.post("incidents/INC-999999/updates/", {"impact": "x", "action": "y"}).status_code == 404
    assert api.get("incidents/INC-999999/updates/").status_code == 404
    assert Update.objects.count() == 0


def test_api_does_not_send_twice_for_one_idempotency_key(taken, ines, monkeypatch):
    monkeypatch.setattr(transitions, "SENT_TWICE", timedelta(0))  # or the same words would be known anyway
    api = Api(make_token(ines))
    body = {"impact": "All of it", "action": "We look."}
    answers = [
        api.post(f"incidents/{taken.ref}/updates/", body, Idempotency_Key="k1").json() for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert Update.objects.count() == 1
