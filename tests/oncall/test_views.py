import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from accounts.models import Role
from oncall import queries
from oncall.models import Layer, Override, Schedule
from tests.factories.accounts import make_team, make_user
from tests.factories.oncall import make_layer, make_override, make_schedule

pytestmark = pytest.mark.django_db

FRAME = 3  # queries of every page: session, person, the pages that wait for them

NOW = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)  # a Wednesday
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def ines():
    return make_user("ines", full_name="Ines Okafor", role=Role.MANAGER, time_zone="Europe/Berlin")


@pytest.fixture
def ravi():
    return make_user("ravi", full_name="Ravi Menon", time_zone="Asia/Kolkata")


def client_of(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def manager(ines) -> Client:
    return client_of(ines)


@pytest.fixture
def responder(ravi) -> Client:
    return client_of(ravi)


def text_of(response) -> str:
    """What a reader sees, in one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())).strip()


def page(name, *args) -> str:
    return reverse(f"oncall:{name}", args=args)


# --- list -------------------------------------------------------------------------------------------


def test_list_says_who_is_on_call_until_when_and_where_nobody_is(responder, ines, ravi):
    checkout = make_schedule("Checkout", people=[ines, ravi], team=make_team("Payments"))
    make_override(checkout, user=ravi, starts_at=NOW - HOUR, ends_at=NOW + HOUR)
    make_schedule("Storage")

    response = responder.get(page("schedule_list"))
    seen = text_of(response)

    assert response.status_code == 200
    assert "Nobody is on call for Storage" in seen
    # 13:00 UTC is 18:30 on Ravi's clock.
    assert "Checkout Payments Ravi Menon for Ines Okafor 18:30 Ines Okafor covered" in seen
    assert "Storage Nobody goes on 1 gap , first 17:30" in seen


def test_list_pages_and_filters_in_a_constant_number_of_queries(
    responder, ines, ravi, django_assert_num_queries
):
    payments = make_team("Payments")
    for number in range(26):
        make_schedule(f"Schedule {number:02}", people=[ines, ravi], team=payments if number == 3 else None)
    responder.get(page("schedule_list"))

    # count, schedules with team, members, overrides, teams
    with django_assert_num_queries(FRAME + 5):
        first = responder.get(page("schedule_list"))
    assert "1 to 25 of 26" in text_of(first)
    assert "Schedule 25" in text_of(responder.get(page("schedule_list") + "?page=2"))
    for query in ("?team=payments", "?q=schedule+03"):
        found = text_of(responder.get(page("schedule_list") + query))
        assert ("Schedule 03" in found, "Schedule 04" in found) == (True, False)
    for query in ("?page=-1", "?page=x", "?q=%00", "?team=%00", "?q=" + "x" * 5000):
        assert responder.get(page("schedule_list") + query).status_code == 200


def test_empty_list_says_what_follows(responder):
    assert "There is no schedule yet" in text_of(responder.get(page("schedule_list")))
    assert "No schedule fits" in text_of(responder.get(page("schedule_list") + "?q=x"))


# --- one schedule -----------------------------------------------------------------------------------


def test_page_of_a_schedule_shows_both_clocks_the_layers_and_the_picture(responder, ines, ravi):
    schedule = make_schedule("Checkout", people=[ines, ravi], time_zone="Europe/Berlin")
    make_layer(schedule, people=[ravi], name="Nights",
               restrictions=[{"days": [0, 1, 2, 3, 4], "start": "22:00", "end": "06:00"}])  # fmt: skip

    response = responder.get(page("schedule_detail", "checkout"))
    seen, html = text_of(response), response.content.decode()

    assert "Europe/Berlin, where your clock is 3 h 30 min ahead" in seen
    assert "Ines Okafor now to Wed 10 Jun 22:00 now to" in seen
    assert "Ravi Menon you Wed 10 Jun 22:00 to Thu 11 Jun 06:00 Thu 01:30 to Thu 09:30 8 h" in seen
    assert "A week each, handoff Mon 09:00" in seen  # 08:00 UTC in January
    assert "Nights Always the same Mon to Fri, 22:00 to 06:00" in seen
    assert "<title>Ines Okafor: Wed 10 Jun 06:00 to 22:00</title>" in html
    assert " style=" not in html
    assert " onclick" not in html


def test_page_costs_a_constant_number_of_queries(manager, ines, ravi, django_assert_num_queries):
    schedule = make_schedule("Checkout", people=[ines, ravi])
    for number in range(4):
        make_layer(schedule, people=[ravi, ines])
        make_override(schedule, user=ravi, starts_at=NOW + number * HOUR, ends_at=NOW + (number + 1) * HOUR)
    manager.get(page("schedule_detail", "checkout"))

    # schedule, layers, members, filler; two for what comes, three for the calendar; overrides, temporary, swaps,
    # suggestions; seven for what overlaps
    with django_assert_num_queries(FRAME + 18):
        manager.get(page("schedule_detail", "checkout"))


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("", "10 Jun to 23 Jun 2026"),
        ("?from=2026-10-20", "20 Oct to 2 Nov 2026"),
        ("?from=yesterday", "10 Jun to 23 Jun 2026"),
        ("?from=0001-01-01", "10 Jun to 23 Jun 2026"),
        ("?from=9999-12-31", "10 Jun to 23 Jun 2026"),
    ],
)
def test_calendar_shows_two_weeks_from_the_day_that_is_asked_for(responder, ines, asked, shown):
    make_schedule("Checkout", people=[ines], time_zone="Europe/Berlin")

    assert shown in text_of(responder.get(page("schedule_detail", "checkout") + asked))


def test_calendar_says_which_day_has_25_hours(responder, ines):
    make_schedule("Checkout", people=[ines], time_zone="Europe/Berlin")

    html = responder.get(page("schedule_detail", "checkout") + "?from=2026-10-20").content.decode()

    assert "Sun 25 · 25 hours" in html


def test_gaps_and_people_who_are_switched_off_are_shown(responder, ines, ravi):
    schedule = make_schedule("Checkout", people=[ines])
    schedule.layers.update(ends_at=NOW + 24 * HOUR)
    ines.is_active = False
    ines.save(update_fields=["is_active"])

    seen = text_of(responder.get(page("schedule_detail", "checkout")))

    assert "Gaps in 30 days 1" in seen
    assert "switched off" in seen
    assert "goes on to its next tier at once" in seen


def test_schedule_that_is_not_there_is_404(manager):
    for name in ("schedule_detail", "schedule_edit", "override_add"):
        assert manager.get(page(name, "nothing")).status_code == 404
    assert manager.post(page("override_remove", "nothing", 1)).status_code == 404


# --- who may ----------------------------------------------------------------------------------------


def test_anonymous_is_sent_to_the_sign_in_page(ines):
    make_schedule("Checkout", people=[ines])
    addresses = [
        page("schedule_list"),
        page("schedule_new"),
        page("schedule_detail", "checkout"),
        page("schedule_edit", "checkout"),
    ]

    for address in addresses:
        response = Client().get(address)
        assert (response.status_code, response.headers["Location"].split("?")[0]) == (
            302,
            reverse("account_login"),
        )
    assert Client().post(page("override_add", "checkout"), {}).status_code == 302


def test_viewer_reads_and_changes_nothing(ines):
    schedule = make_schedule("Checkout", people=[ines])
    override = make_override(schedule, user=ines, starts_at=NOW, ends_at=NOW + HOUR)
    viewer = client_of(make_user("vera", role=Role.VIEWER))

    assert "Responders take shifts here." in text_of(viewer.get(page("schedule_detail", "checkout")))
    assert viewer.get(page("schedule_list")).status_code == 200
    assert viewer.get(page("schedule_new")).status_code == 403
    assert viewer.post(page("schedule_edit", "checkout"), {}).status_code == 403
    assert viewer.post(page("override_add", "checkout"), {}).status_code == 403
    assert viewer.post(page("override_remove", "checkout", override.pk)).status_code == 403
    assert Override.objects.get() == override


def test_responder_sees_that_editing_needs_a_manager(responder, ines):
    make_schedule("Checkout", people=[ines])

    html = responder.get(page("schedule_detail", "checkout")).content.decode()

    assert "Needs a manager" in html
    assert page("schedule_edit", "checkout") not in html
    assert responder.get(page("schedule_edit", "checkout")).status_code == 403
    assert responder.post(page("schedule_new"), {}).status_code == 403


# --- overrides --------------------------------------------------------------------------------------


def override_data(**changes) -> dict:
    fields = {
        "starts_at": "2026-06-10T20:00",
        "ends_at": "2026-06-10T22:00",
        "zone": "UTC",
        "reason": "Dentist",
    }
    return {f"override-{key}": value for key, value in (fields | changes).items()}


def test_responder_takes_a_shift_in_the_zone_that_was_chosen(responder, ines, ravi):
    make_schedule("Checkout", people=[ines])

    response = responder.post(
        page("override_add", "checkout"), override_data(zone="Asia/Kolkata"), follow=True
    )

    override = Override.objects.get()
    assert (override.user, override.created_by, override.reason) == (ravi, ravi, "Dentist")
    assert (override.starts_at, override.ends_at) == (
        datetime(2026, 6, 10, 14, 30, tzinfo=UTC),
        datetime(2026, 6, 10, 16, 30, tzinfo=UTC),
    )
    assert "Ravi Menon is on call from Wed 10 Jun 14:30 to 16:30, UTC" in text_of(response)


def test_responder_cannot_name_somebody_else(responder, ines, ravi):
    make_schedule("Checkout")

    responder.post(page("override_add", "checkout"), override_data(user="ines"))

    assert Override.objects.get().user == ravi


def test_override_is_refused_beside_its_field_and_keeps_what_was_typed(manager, ines):
    make_schedule("Checkout", people=[ines])

    for changes, sentence in [
        ({"user": "nobody", "reason": "Kept text"}, "Nobody active is called nobody."),
        ({"user": ""}, "Who is on call in that time."),
        ({"user": "ines", "ends_at": "2026-06-10T20:00"}, "It ends before it starts."),
        (
            {"user": "ines", "starts_at": "2026-06-09T08:00", "ends_at": "2026-06-09T09:00"},
            "This time is over.",
        ),
        ({"user": "ines", "starts_at": "soon"}, "A date and a time."),
        ({"user": "ines", "starts_at": "2026-02-30T08:00"}, "A date and a time."),
        ({"user": "ines", "starts_at": "0001-01-01T08:00"}, "A time between 2000 and 2100."),
        ({"user": "ines", "zone": "Mars/Olympus"}, "Select a valid choice."),
        ({"user": "ines", "reason": "x" * 201}, "at most 200 characters"),
        ({"user": "in\x00es"}, "Null characters are not allowed."),
    ]:
        response = manager.post(page("override_add", "checkout"), override_data(**changes))
        assert response.status_code in (400, 422)
        assert sentence in text_of(response)
        assert not Override.objects.exists()
    response = manager.post(
        page("override_add", "checkout"), override_data(user="nobody", reason="Kept text")
    )
    assert 'value="Kept text"' in response.content.decode()
    assert 'value="2026-06-10T20:00"' in response.content.decode()


def test_manager_puts_somebody_on_call_by_name_and_ends_it(manager, responder, ines, ravi):
    schedule = make_schedule("Checkout", people=[ines])

    manager.post(page("override_add", "checkout"), override_data(user="Ravi Menon (ravi)"))
    override = Override.objects.get()
    assert override.user == ravi

    other = make_schedule("Search")
    assert responder.post(page("override_remove", other.slug, override.pk)).status_code == 404
    response = responder.post(page("override_remove", schedule.slug, override.pk), follow=True)
    assert "Ravi Menon no longer stands in." in text_of(response)
    assert not Override.objects.exists()


def test_removing_what_is_over_is_refused_with_a_sentence(manager, ines):
    schedule = make_schedule("Checkout")
    over = make_override(schedule, user=ines, starts_at=NOW - 2 * HOUR, ends_at=NOW - HOUR)

    response = manager.post(page("override_remove", "checkout", over.pk), follow=True)

    assert "This override is over." in text_of(response)
    assert Override.objects.get() == over


def test_later_override_is_said_to_win(manager, ines, ravi):
    schedule = make_schedule("Checkout")
    make_override(schedule, user=ines, starts_at=NOW, ends_at=NOW + 2 * HOUR)
    make_override(schedule, user=ravi, starts_at=NOW + HOUR, ends_at=NOW + 3 * HOUR)

    assert "Ravi Menon wins where both cover" in text_of(manager.get(page("schedule_detail", "checkout")))


# --- editing ----------------------------------------------------------------------------------------


def form_data(*layers, **head) -> dict:
    """What the browser sends: a form's head, and for each layer its fields."""
    data = {"name": "Checkout", "description": "", "team": "", "time_zone": "Europe/Berlin"} | head
    data |= {"layer-TOTAL_FORMS": str(len(layers)), "layer-INITIAL_FORMS": "0"}
    for number, layer in enumerate(layers):
        fields = {
            "name": "", "people": ["ines", "ravi"], "turn_length": "1", "turn_unit": "weeks",
            "people_at_once": "1", "starts_at": "2026-06-15T08:00", "ends_at": "",
        } | layer  # fmt: skip
        data |= {f"layer-{number}-{key}": value for key, value in fields.items()}
    return data | head


def test_manager_makes_a_schedule(manager, ines, ravi):
    make_team("Payments")
    nights = {"window_0_days": ["0", "4"], "window_0_start": "18:00", "window_0_end": "08:00"}
    blank = {"people": ["", ""], "starts_at": ""}

    response = manager.post(
        page("schedule_new"),
        form_data({"people": ["Ines Okafor (ines)", "", "RAVI"]}, {"name": "Nights", "people": ["ravi, ines"]} | nights,
                  blank, team="payments"),
        follow=True,
    )  # fmt: skip

    schedule = Schedule.objects.get()
    assert response.redirect_chain == [(page("schedule_detail", "checkout"), 302)]
    assert "It counts from now on" in text_of(response)
    assert (schedule.team.slug, schedule.time_zone) == ("payments", "Europe/Berlin")
    first, second = queries.get_schedule(schedule.pk).layers.all()
    assert [member.user for member in first.members.all()] == [ines, ravi]
    assert [member.user for member in second.members.all()] == [ravi, ines]
    assert first.starts_at == datetime(2026, 6, 15, 6, 0, tzinfo=UTC)
    assert second.restrictions == [{"days": [0, 4], "start": "18:00", "end": "08:00"}]


def test_new_schedule_begins_with_next_monday_at_eight(manager):
    html = manager.get(page("schedule_new")).content.decode()

    assert 'value="2026-06-15T08:00"' in html
    assert '<option value="Europe/Berlin" selected>' in html


def test_edit_page_shows_what_is_there_and_saving_it_changes_nothing(manager, ines, ravi):
    schedule = make_schedule("Checkout", people=[ines, ravi], time_zone="Europe/Berlin")
    # The second 02:30 of that night: a form cannot say which one it means.
    make_layer(schedule, people=[ravi], starts_at=datetime(2025, 10, 26, 1, 30, 20, tzinfo=UTC), name="Nights",
               restrictions=[{"days": [5, 6], "start": "00:00", "end": "00:00"}])  # fmt: skip
    before = list(Layer.objects.values())

    html = manager.get(page("schedule_edit", "checkout")).content.decode()
    sent = _sent_by(html)
    response = manager.post(page("schedule_edit", "checkout"), sent)

    assert 'value="Ines Okafor (ines)"' in html
    assert 'value="2025-10-26T02:30"' in html
    assert response.status_code == 302
    assert list(Layer.objects.values()) == before


def _sent_by(html: str) -> dict[str, list[str]]:
    """The fields of the page's form as a browser would send them back."""
    form = re.search(r'<form method="post" class="form-wide".*?</form>', html, re.S)[0]
    sent: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        fields = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if "name" not in fields or (fields.get("type") == "checkbox" and " checked" not in tag):
            continue
        sent.setdefault(fields["name"], []).append(fields.get("value", ""))
    for name, options in re.findall(r'<select name="([^"]+)".*?>(.*?)</select>', form, re.S):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        sent[name] = [chosen[1] if chosen else ""]
    return sent


def test_removed_layer_ends_now_and_its_successor_counts(manager, ines, ravi):
    schedule = make_schedule("Checkout", people=[ines], time_zone="Europe/Berlin")
    old = schedule.layers.get()

    response = manager.post(
        page("schedule_edit", "checkout"),
        form_data({"id": old.pk, "DELETE": "on"}, {"people": ["ravi"], "starts_at": "2026-06-01T08:00"}),
    )

    assert response.status_code == 302
    old.refresh_from_db()
    assert old.superseded_at == NOW
    assert queries.on_call([schedule.pk], NOW - HOUR)[schedule.pk] == [ines]
    assert queries.on_call([schedule.pk], NOW)[schedule.pk] == [ravi]


@pytest.mark.parametrize(
    ("layer", "head", "sentence"),
    [
        ({"people": ["", ""]}, {}, "Nobody is in this rotation."),
        ({"people": ["ines", "nobody"]}, {}, "Nobody active is called nobody."),
        ({"people": ["x" * 300]}, {}, "This is no name"),
        ({"starts_at": ""}, {}, "When the first person takes over."),
        ({"starts_at": "soon"}, {}, "A date and a time."),
        ({"ends_at": "2026-06-15T07:00"}, {}, "It ends before it starts."),
        ({"turn_length": "0"}, {}, "greater than or equal to 1"),
        ({"turn_unit": "moons"}, {}, "Select a valid choice."),
        ({"people_at_once": "3"}, {}, "3 people at a time need at least as many"),
        ({"window_0_days": [], "window_0_start": "08:00", "window_0_end": "18:00"}, {}, "Window 1 needs at least one day"),
        ({"window_0_days": ["1"], "window_0_start": "", "window_0_end": "18:00"}, {}, "The start of window 1"),
        ({"window_0_days": ["9"], "window_0_start": "08:00", "window_0_end": "18:00"}, {}, "Select a valid choice."),
        ({"id": "999"}, {}, "Somebody changed the layers meanwhile."),
        ({"id": "x"}, {}, "Enter a whole number."),
        ({}, {"name": ""}, "This field is required."),
        ({}, {"name": "Check\x00out"}, "Null characters are not allowed."),
        ({}, {"time_zone": "Mars/Olympus"}, "Select a valid choice."),
        ({}, {"team": "nobody"}, "Select a valid choice."),
        ({}, {"name": "search"}, "There is already a schedule called search."),
        ({}, {"layer-TOTAL_FORMS": "x"}, "ManagementForm data is missing"),
    ],
)  # fmt: skip
def test_schedule_is_refused_beside_its_field_keeps_what_was_typed_and_changes_nothing(
    manager, ines, ravi, layer, head, sentence
):
    make_schedule("Search")
    schedule = make_schedule("Old", people=[ines])
    sent = form_data({"name": "Kept name"} | layer, **head)

    for address in (page("schedule_new"), page("schedule_edit", "old")):
        response = manager.post(address, sent)
        assert response.status_code in (400, 409, 422)
        assert sentence in text_of(response)
        if not head:
            assert 'value="Kept name"' in response.content.decode()

    assert sorted(Schedule.objects.values_list("name", flat=True)) == ["Old", "Search"]
    assert schedule.layers.get().superseded_at is None


def test_schedule_without_any_layer_is_refused(manager):
    response = manager.post(page("schedule_new"), form_data({"people": [""], "starts_at": ""}))

    assert response.status_code == 400
    assert "A schedule needs at least one layer with people, or it pages nobody." in text_of(response)
    assert not Schedule.objects.exists()
