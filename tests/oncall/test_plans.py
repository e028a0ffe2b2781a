"""What the database keeps of plans: temporary schedules, fillers, swaps, notices, calendars, and looking before saving."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from icalendar import Calendar
from recurring_ical_events import of as events_of

from accounts.models import Role
from accounts.transitions import set_active
from core.errors import Invalid, Missing, NotAllowed, Refused
from notifications.models import Notification
from oncall import feeds, hooks, queries, swaps, transitions
from oncall.models import (
    CalendarFeed,
    DutyNotice,
    Filler,
    Layer,
    Override,
    SwapRequest,
    SwapStatus,
    TemporarySchedule,
)
from oncall.rules import Stint
from tests.factories.accounts import make_email, make_user
from tests.factories.oncall import make_layer, make_override, make_schedule
from tests.oncall.test_transitions import as_it_is, update, wanted
from timers.models import Timer
from timers.transitions import fire_due

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)  # a Wednesday
MONDAY = datetime(2026, 6, 15, 8, 0, tzinfo=UTC)  # the next handoff of a weekly rotation
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def manager():
    return make_user("manager", role=Role.MANAGER)


@pytest.fixture
def ines():
    return make_user("ines", full_name="Ines Okafor", time_zone="Europe/Berlin")


@pytest.fixture
def ravi():
    return make_user("ravi", full_name="Ravi Menon")


@pytest.fixture
def dana():
    return make_user("dana", full_name="Dana Whitfield")


@pytest.fixture
def checkout(ines, ravi):
    """Weekly turns of Ravi and Ines. Ravi is on call at NOW, Ines from MONDAY on."""
    return make_schedule("Checkout", people=[ravi, ines])


def who(schedule, at):
    return queries.on_call([schedule.pk], at)[schedule.pk]


def told() -> list[tuple[str, str]]:
    return [(note.recipient.username, note.title) for note in Notification.objects.order_by("pk")]


# --- the past ---------------------------------------------------------------------------------------


def test_nothing_that_is_done_today_changes_who_was_on_call_before(checkout, manager, ines, ravi, dana):
    """Members, zone, order, filler, overrides, temporary schedules, and an account that is switched off."""
    make_layer(checkout, people=[dana], restrictions=[{"days": [5], "start": "00:00", "end": "00:00"}])
    start, end = NOW - 40 * DAY, NOW

    def past():
        return [
            (span.starts_at, span.ends_at, [str(person) for person in span.people])
            for span in queries.calendar(checkout, start, end).final
        ]

    before = past()
    assert len(before) > 10

    now = NOW + 2 * HOUR
    weekly, saturdays = Layer.objects.filter(schedule=checkout).order_by("position")
    update(
        manager, checkout, as_it_is(saturdays, mode="parallel"), as_it_is(weekly, people=[dana]),
        time_zone="Asia/Tokyo", filler=dana, now=now,
    )  # fmt: skip
    transitions.add_override(
        schedule_id=checkout.pk,
        user=dana,
        kind="add",
        starts_at=start,
        ends_at=now + DAY,
        by=manager,
        now=now,
    )
    transitions.add_temporary(
        schedule_id=checkout.pk, name="Peak", starts_at=start, ends_at=now + DAY, by=manager, now=now,
        shifts=[Stint(ines.pk, start, now + DAY)], people={ines.pk: ines},
    )  # fmt: skip
    set_active(user_id=ravi.pk, active=False, by=make_user("root", role=Role.ADMIN), now=now)

    assert past() == before
    assert who(checkout, now) == [ines]


# --- fillers and temporary schedules ----------------------------------------------------------------


def test_filler_is_on_call_where_nobody_is_from_when_it_was_named(manager, ines, ravi):
    schedule = transitions.create_schedule(
        name="Nights", time_zone="UTC", by=manager, now=NOW, filler=ravi,
        layers=[wanted(ines, restrictions=[{"days": list(range(7)), "start": "20:00", "end": "08:00"}])],
    )  # fmt: skip
    assert (who(schedule, NOW), who(schedule, NOW + 10 * HOUR)) == ([ravi], [ines])
    assert queries.gaps(schedule, NOW) == []
    standing = queries.standings([schedule], NOW)[0]
    assert (standing.is_filled, standing.next_people) == (True, [ines])

    layer = schedule.layers.get()
    update(manager, schedule, as_it_is(layer), filler=None, now=NOW + DAY)
    assert who(schedule, NOW + DAY) == []
    assert who(schedule, NOW + HOUR) == [ravi]
    assert len(queries.gaps(schedule, NOW + DAY)) == 31
    assert [(filler.user, filler.ends_at) for filler in Filler.objects.all()] == [(ravi, NOW + DAY)]


def test_temporary_schedule_trims_its_shifts_and_is_replaced_and_ended_without_touching_the_past(
    checkout, manager, ines, ravi, dana
):
    def add(**fields):
        given = {
            "schedule_id": checkout.pk, "name": "Peak", "starts_at": NOW, "ends_at": NOW + DAY, "by": manager,
            "shifts": [Stint(dana.pk, NOW - HOUR, NOW + 3 * DAY)], "people": {dana.pk: dana}, "now": NOW,
        }  # fmt: skip
        return transitions.add_temporary(**given | fields)

    first = add()
    assert [(shift.starts_at, shift.ends_at) for shift in first.shifts.all()] == [(NOW, NOW + DAY)]
    assert (who(checkout, NOW), who(checkout, NOW + DAY)) == ([dana], [ravi])

    later = add(
        shifts=[Stint(ines.pk, NOW + 2 * HOUR, NOW + 4 * HOUR)], people={ines.pk: ines}, instead_of=first.pk,
        now=NOW + HOUR,
    )  # fmt: skip
    assert [who(checkout, NOW + hours * HOUR) for hours in (0, 1, 2, 4)] == [[dana], [], [ines], []]

    transitions.remove_temporary(
        schedule_id=checkout.pk, temporary_id=later.pk, by=manager, now=NOW + 3 * HOUR
    )
    assert [who(checkout, NOW + hours * HOUR) for hours in (2, 3, 4)] == [[ines], [ravi], [ravi]]
    with pytest.raises(Refused):
        transitions.remove_temporary(
            schedule_id=checkout.pk, temporary_id=later.pk, by=manager, now=NOW + 4 * HOUR
        )

    for fields, key in [
        ({"ends_at": NOW}, "ends_at"), ({"name": " "}, "name"), ({"shifts": []}, "shifts"),
        ({"shifts": [Stint(dana.pk, NOW + HOUR, NOW)]}, "shifts"),
    ]:  # fmt: skip
        with pytest.raises(Invalid) as refusal:
            add(**fields)
        assert list(refusal.value.fields) == [key]
    with pytest.raises(NotAllowed):
        add(by=ines)
    assert TemporarySchedule.objects.count() == 2


# --- looking first ----------------------------------------------------------------------------------


def test_preview_says_who_changes_and_saves_nothing(checkout, manager, ines, ravi, dana):
    layer = checkout.layers.get()

    found = transitions.preview(
        write=lambda: update(manager, checkout, as_it_is(layer, people=[dana, ines]), now=NOW),
        schedule=checkout, now=NOW, span=timedelta(weeks=3),
    )  # fmt: skip

    assert [
        (each.starts_at, each.ends_at, found.people[each.before[0]], found.people[each.after[0]])
        for each in found.changed
    ] == [(NOW, MONDAY, ravi, dana), (MONDAY + 7 * DAY, MONDAY + 14 * DAY, ravi, dana)]
    assert found.gaps == []
    assert [member.user for member in checkout.layers.get().members.all()] == [ravi, ines]
    assert not Timer.objects.exists()
    with pytest.raises(NotAllowed):
        transitions.preview(
            write=lambda: update(ines, checkout, as_it_is(layer), now=NOW), schedule=checkout, now=NOW
        )


def test_a_gate_keeps_out_who_is_not_ready_but_not_who_is_in_already(
    monkeypatch, checkout, manager, ravi, dana
):
    monkeypatch.setattr(
        hooks, "_gates", [lambda people: {user.pk: f"{user} cannot be reached." for user in people}]
    )
    layer = checkout.layers.get()
    update(manager, checkout, as_it_is(layer, turn_length=2), now=NOW)
    layer = queries.current_layers().get(schedule=checkout)
    with pytest.raises(Invalid) as refusal:
        update(manager, checkout, as_it_is(layer, people=[ravi, dana]), now=NOW + HOUR)
    assert refusal.value.fields == {"layers.0.people": ["Dana Whitfield cannot be reached."]}
    with pytest.raises(Invalid):
        transitions.add_override(
            schedule_id=checkout.pk, user=dana, starts_at=NOW, ends_at=NOW + DAY, by=dana, now=NOW
        )
    shadow = transitions.add_override(
        schedule_id=checkout.pk, user=dana, kind="shadow", starts_at=NOW, ends_at=NOW + DAY, by=dana, now=NOW
    )
    assert Override.objects.get() == shadow


# --- swaps ------------------------------------------------------------------------------------------


def ask(schedule, by, asked, **fields) -> SwapRequest:
    given = {"starts_at": MONDAY - DAY, "ends_at": MONDAY, "now": NOW, "message": "School play"}
    return swaps.ask_swap(schedule_id=schedule.pk, asked=asked, by=by, **given | fields)


def test_accepted_swap_becomes_overrides_both_ways_and_both_are_told(checkout, ines, ravi):
    swap = ask(checkout, ravi, ines, back_starts_at=MONDAY, back_ends_at=MONDAY + DAY)
    assert ask(checkout, ravi, ines, back_starts_at=MONDAY, back_ends_at=MONDAY + DAY) == swap
    assert told() == [("ines", "Ravi Menon asks you to take a shift of Checkout")]
    body = Notification.objects.get().body
    assert "Sun 14 Jun 10:00 to Mon 15 Jun 10:00 (Europe/Berlin)" in body
    assert "“School play”" in body
    assert who(checkout, MONDAY - HOUR) == [ravi]

    with pytest.raises(NotAllowed):
        swaps.accept_swap(swap_id=swap.pk, by=ravi, now=NOW + HOUR)
    swaps.accept_swap(swap_id=swap.pk, by=ines, now=NOW + HOUR, answer="Gladly")
    swaps.accept_swap(swap_id=swap.pk, by=ines, now=NOW + HOUR)

    assert [who(checkout, MONDAY + hours * HOUR) for hours in (-25, -24, 0, 24)] == [
        [ravi],
        [ines],
        [ravi],
        [ines],
    ]
    assert Override.objects.filter(swap=swap).count() == 2
    assert told()[1:] == [("ravi", "Ines Okafor takes your shift of Checkout")]
    assert not Timer.objects.filter(kind=swaps.EXPIRY).exists()
    with pytest.raises(Refused):
        swaps.decline_swap(swap_id=swap.pk, by=ines, now=NOW + HOUR)


def test_swap_that_nobody_answers_expires_by_its_timer_and_changes_nothing(checkout, ines, ravi):
    swap = ask(checkout, ravi, ines)
    assert swap.expires_at == NOW + 2 * DAY

    fire_due(now=swap.expires_at - timedelta(seconds=2), by="test")
    swap.refresh_from_db()
    assert swap.status == SwapStatus.PENDING
    fire_due(now=swap.expires_at, by="test")
    swap.refresh_from_db()

    assert (swap.status, swap.answered_at) == (SwapStatus.EXPIRED, swap.expires_at)
    assert not Override.objects.exists()
    assert told()[1:] == [("ravi", "Ines Okafor did not answer about your shift of Checkout")]
    with pytest.raises(Refused):
        swaps.accept_swap(swap_id=swap.pk, by=ines, now=swap.expires_at + HOUR)


def test_swap_is_declined_or_withdrawn_or_refused_and_the_rotation_stays(checkout, ines, ravi, dana, manager):
    swaps.decline_swap(swap_id=ask(checkout, ravi, ines).pk, by=ines, now=NOW, answer="Away")
    assert told()[1:] == [("ravi", "Ines Okafor cannot take your shift of Checkout")]
    withdrawn = ask(checkout, ravi, dana)
    with pytest.raises(NotAllowed):
        swaps.withdraw_swap(swap_id=withdrawn.pk, by=dana, now=NOW)
    swaps.withdraw_swap(swap_id=withdrawn.pk, by=ravi, now=NOW)
    with pytest.raises(Refused):
        swaps.accept_swap(swap_id=withdrawn.pk, by=dana, now=NOW)

    # Between the question and the answer somebody else took the shift.
    late = ask(checkout, ravi, ines)
    make_override(checkout, user=dana, starts_at=MONDAY - 2 * DAY, ends_at=MONDAY)
    with pytest.raises(Refused) as refusal:
        swaps.accept_swap(swap_id=late.pk, by=ines, now=NOW)
    assert refusal.value.message == "Ravi Menon is not on call in that time any more. Nothing was changed."

    viewer = make_user("viewer", role=Role.VIEWER)
    for fields, key in [
        ({"asked": ravi}, "asked"),
        ({"asked": viewer}, "asked"),
        ({"starts_at": MONDAY, "ends_at": MONDAY + DAY}, "starts_at"),  # Ines is on call then
        ({"back_starts_at": NOW}, "back_ends_at"),
        ({"back_starts_at": NOW, "back_ends_at": NOW + HOUR}, "back_starts_at"),  # Ines is not
        ({"ends_at": NOW - HOUR}, "ends_at"),
        ({"starts_at": NOW, "ends_at": NOW + DAY, "expires_at": NOW}, "expires_at"),
    ]:
        with pytest.raises(Invalid) as refusal:
            ask(checkout, ravi, **{"asked": ines, "starts_at": NOW, "ends_at": NOW + DAY, **fields})
        assert list(refusal.value.fields) == [key], fields
    with pytest.raises(NotAllowed):
        ask(checkout, viewer, ines)
    assert [override.user for override in Override.objects.all()] == [dana]


# --- notices ----------------------------------------------------------------------------------------


def test_people_are_told_a_day_before_and_at_the_start_once_and_a_shadow_too(
    checkout, manager, ines, ravi, dana
):
    make_email(ines, verified_at=NOW)
    layer = checkout.layers.get()
    update(
        manager, checkout, as_it_is(layer), wanted(dana, mode="shadow", starts_at=MONDAY), now=NOW,
        notice_minutes=24 * 60,
    )  # fmt: skip

    at, last = NOW, MONDAY + HOUR
    while at < last:
        fire_due(now=at, by="test")
        at = min(Timer.objects.values_list("due_at", flat=True)) if Timer.objects.exists() else last
        if at < last and at.minute % 7 == 0:  # whoever changes something does not make it be told again
            transitions.add_override(
                schedule_id=checkout.pk, user=dana, kind="add", starts_at=MONDAY + 90 * DAY,
                ends_at=MONDAY + 91 * DAY, by=manager, now=at,
            )  # fmt: skip
        at = max(at, NOW + timedelta(minutes=1))

    assert [(user, title) for user, title in told() if "Checkout" in title] == [
        ("ines", "You are on call for Checkout from Mon 15 Jun 10:00"),
        ("dana", "You shadow Checkout from Mon 15 Jun 08:00"),
        ("ines", "You are on call for Checkout now"),
        ("dana", "You shadow Checkout now"),
    ]
    first = Notification.objects.order_by("pk")[0]
    assert (first.created_at, first.urgency, first.link) == (MONDAY - DAY, "low", "/schedules/checkout/")
    assert first.body == (
        "Mon 15 Jun 10:00 to Mon 22 Jun 10:00 (Europe/Berlin).\n"
        "On the clock of the schedule it begins Mon 15 Jun 08:00 (UTC).\n"
        "You take over from Ravi Menon."
    )
    assert Notification.objects.order_by("pk")[1].body.endswith(
        "On call then: Ines Okafor. You are not paged."
    )
    assert DutyNotice.objects.count() == 4


def test_notices_can_be_earlier_or_off_and_come_at_once_for_a_shift_that_is_near(
    checkout, manager, ines, ravi, dana
):
    layer = checkout.layers.get()
    update(manager, checkout, as_it_is(layer), now=NOW, notice_minutes=0, notice_at_start=False)
    for hours in range(0, 24 * 8, 6):
        fire_due(now=NOW + hours * HOUR, by="test")
    assert told() == []

    now = MONDAY + 2 * DAY
    update(manager, checkout, as_it_is(layer), now=now, notice_minutes=7 * 24 * 60, notice_at_start=False)
    transitions.add_override(
        schedule_id=checkout.pk, user=dana, starts_at=now + HOUR, ends_at=now + 5 * HOUR, by=manager, now=now
    )
    fire_due(now=now, by="test")
    assert told() == [
        ("dana", "You are on call for Checkout from Wed 17 Jun 09:00"),
        ("ravi", "You are on call for Checkout from Mon 22 Jun 08:00"),
    ]


# --- calendars --------------------------------------------------------------------------------------


@pytest.fixture
def _no_counts():
    cache.clear()
    yield
    cache.clear()


def read(address: str, **headers):
    return Client().get(address, headers=headers)


@pytest.mark.usefixtures("_no_counts")
def test_feed_is_read_by_another_program_for_twelve_months_with_the_same_identities(
    checkout, ines, ravi, manager
):
    make_override(checkout, user=ines, starts_at=NOW + HOUR, ends_at=NOW + 3 * HOUR)
    with time_machine.travel(NOW, tick=False):
        _, mine = feeds.make_feed(owner=ines, schedule=None, now=NOW)
        _, all_ = feeds.make_feed(owner=manager, schedule=checkout, now=NOW)
        response = read(f"/schedules/feeds/{mine}.ics")
        everybody = Calendar.from_ical(read(f"/schedules/feeds/{all_}.ics").content)
        etag = response["ETag"]
        again = read(f"/schedules/feeds/{mine}.ics", if_none_match=etag)
    with time_machine.travel(NOW + 20 * DAY, tick=False):
        later = Calendar.from_ical(read(f"/schedules/feeds/{mine}.ics").content)

    assert (response.status_code, response["Content-Type"]) == (200, "text/calendar; charset=utf-8")
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", etag)
    assert "private" in response["Cache-Control"]

    def said(calendar, start, end):
        return {
            (event["SUMMARY"], event.start, event.end, str(event["UID"]))
            for event in events_of(calendar).between(start, end)
        }

    end = NOW + 365 * DAY
    own = said(Calendar.from_ical(response.content), NOW, end)
    expected = [duty for duty in queries.shifts_of(ines, NOW, end) if duty.ends_at < end]
    assert {(start, stop) for _, start, stop, _ in own} >= {
        (duty.starts_at, duty.ends_at) for duty in expected
    }
    assert len(own) == len({uid for *_, uid in own}) == 27
    assert {summary for summary, *_ in own} == {"On call: Checkout"}
    month = (NOW + 21 * DAY, NOW + 200 * DAY)
    assert said(Calendar.from_ical(response.content), *month) == said(later, *month)
    assert {summary for summary, *_ in said(everybody, NOW, end)} == {
        "On call: Ines Okafor (Checkout)", "On call: Ravi Menon (Checkout)",
    }  # fmt: skip
    assert all(
        event.start.tzinfo is not None and event.start.utcoffset() == 0 * HOUR for event in everybody.events
    )


@pytest.mark.usefixtures("_no_counts")
def test_feed_is_secret_revocable_and_gone_with_its_owner_and_asked_too_often_is_429(checkout, ines, ravi):
    now = timezone.now()
    _, secret = feeds.make_feed(owner=ines, schedule=None, now=now)
    assert secret not in str(CalendarFeed.objects.values().get())
    address = f"/schedules/feeds/{secret}.ics"
    assert read(address).status_code == 200
    assert read("/schedules/feeds/cal_guess.ics").status_code == 404

    _, rotated = feeds.make_feed(owner=ines, schedule=None, now=now)
    assert read(address).status_code == 404
    address = f"/schedules/feeds/{rotated}.ics"
    assert read(address).status_code == 200
    live = CalendarFeed.objects.get(revoked_at=None)
    with pytest.raises(Missing):
        feeds.revoke_feed(feed_id=live.pk, by=ravi, now=now)
    feeds.revoke_feed(feed_id=live.pk, by=ines, now=now)
    feeds.revoke_feed(feed_id=live.pk, by=ines, now=now + HOUR)
    assert read(address).status_code == 404
    live.refresh_from_db()
    assert live.revoked_at == now

    _, third = feeds.make_feed(owner=ines, schedule=checkout, now=now)
    address = f"/schedules/feeds/{third}.ics"
    answers = [read(address).status_code for _ in range(61)]
    assert (answers[59], answers[60]) == (200, 429)
    cache.clear()
    ines.is_active = False
    ines.save()
    assert read(address).status_code == 404


# --- what escalation asks ---------------------------------------------------------------------------


def test_escalation_asks_who_is_next_when_that_changes_and_from_when_somebody_is_there(
    checkout, ines, ravi, dana
):
    make_override(checkout, user=dana, kind="add", starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)
    nights = make_schedule("Nights")
    make_layer(
        nights, people=[dana], restrictions=[{"days": list(range(7)), "start": "20:00", "end": "08:00"}]
    )

    assert queries.next_on_call(checkout.pk, NOW) == [dana]
    assert queries.next_on_call(checkout.pk, NOW + HOUR) == [ines]
    assert queries.next_on_call(nights.pk, NOW) == [dana]
    assert queries.next_on_call(nights.pk, NOW + 9 * HOUR) == queries.next_on_call(999, NOW) == []
    assert queries.staffing_changes([checkout.pk, nights.pk], NOW, NOW + DAY) == [
        NOW + HOUR, NOW + 2 * HOUR, NOW + 8 * HOUR, NOW + 20 * HOUR,
    ]  # fmt: skip
    assert queries.next_staffed([nights.pk], NOW) == NOW + 8 * HOUR
    assert queries.next_staffed([nights.pk, checkout.pk], NOW) == NOW
    assert queries.next_staffed([make_schedule("Empty").pk], NOW) is None


def test_overlaps_name_what_does_not_count_and_who_is_on_call_twice(checkout, manager, ines, ravi, dana):
    make_override(checkout, user=dana, starts_at=NOW, ends_at=NOW + 4 * HOUR)
    make_override(checkout, user=ines, starts_at=NOW + 2 * HOUR, ends_at=NOW + 6 * HOUR)
    transitions.add_temporary(
        schedule_id=checkout.pk, name="Peak", starts_at=NOW + 5 * HOUR, ends_at=NOW + 7 * HOUR, by=manager,
        shifts=[Stint(dana.pk, NOW, NOW + DAY)], people={dana.pk: dana}, now=NOW,
    )  # fmt: skip
    make_schedule("Search", people=[ravi])

    found = queries.overlaps(checkout, NOW)

    hours = [
        (each.kind, each.text, (each.starts_at - NOW) // HOUR, (each.ends_at - NOW) // HOUR) for each in found
    ]
    assert hours == [
        ("override_covered", "The override for Ines Okafor was made later than the one for Dana Whitfield and wins.", 2, 4),
        ("override_beaten", "Peak beats the override for Ines Okafor.", 5, 6),
        ("two_schedules", "Ravi Menon is also on call for Search.", 7, 116),
        *[
            ("two_schedules", "Ravi Menon is also on call for Search.", 284 + weeks * 336, min(452 + weeks * 336, 720))
            for weeks in range(2)
        ],
    ]  # fmt: skip


def test_a_new_version_counts_from_a_time_ahead_and_can_be_changed_until_then(
    checkout, manager, ines, ravi, dana
):
    weekly = checkout.layers.get()
    start = MONDAY + 7 * DAY
    update(manager, checkout, as_it_is(weekly, people=[dana], name="New"), counts_from=start, now=NOW)

    def seen():
        return [who(checkout, at) for at in (NOW, start - HOUR, start, start + 70 * DAY)]

    assert seen() == [[ravi], [ines], [dana], [dana]]
    old, new = queries.current_layers().filter(schedule=checkout).order_by("position")
    assert (old.ends_at, new.effective_from) == (start, start)

    # Saved again as it is, it stays; changed, it still counts from then; another version moves it.
    update(manager, checkout, as_it_is(old), as_it_is(new), now=NOW + HOUR)
    assert seen() == [[ravi], [ines], [dana], [dana]]
    update(manager, checkout, as_it_is(old), as_it_is(new, people=[ravi]), now=NOW + 2 * HOUR)
    assert seen() == [[ravi], [ines], [ravi], [ravi]]
    old, new = queries.current_layers().filter(schedule=checkout).order_by("position")
    update(manager, checkout, as_it_is(new, people=[dana]), counts_from=MONDAY, now=NOW + 3 * HOUR)
    assert [who(checkout, at) for at in (NOW, MONDAY - HOUR, MONDAY, start)] == [
        [ravi],
        [ravi],
        [dana],
        [dana],
    ]

    layer = queries.current_layers().filter(schedule=checkout).last()
    for fields in ({"counts_from": NOW}, {"counts_from": start, "time_zone": "Asia/Tokyo"}):
        with pytest.raises(Invalid) as refusal:
            update(manager, checkout, as_it_is(layer), now=NOW + 4 * HOUR, **fields)
        assert list(refusal.value.fields) == ["counts_from"]
