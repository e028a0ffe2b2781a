"""The repository on the database: drafts, publishing, search, and runbooks at hand in a room, by page, command and API."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from accounts.models import Role, User
from catalog.models import Service
from core.errors import NotAllowed, Refused
from incidents import timeline
from incidents import transitions as incident_transitions
from incidents.channel import commands
from incidents.models import Incident, Kind
from runbooks import queries, transitions
from runbooks.models import Runbook, Use, Version
from runbooks.transitions import RunbookData
from tests.factories.accounts import make_token, make_user
from tests.factories.catalog import make_service
from tests.factories.runbooks import TEXT, make_runbook

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
def viewer() -> User:
    return make_user("viola", role=Role.VIEWER)


@pytest.fixture
def service() -> Service:
    return make_service("checkout-api")


@pytest.fixture
def incident(service: Service) -> Incident:
    return incident_transitions.trigger(
        service=service, title="Checkout fails", severity=1, urgency="high", now=NOW
    )


@pytest.fixture
def runbook(ines: User, ravi: User, service: Service) -> Runbook:
    return make_runbook("Checkout returns 5xx", author=ines, publisher=ravi, now=NOW, services=(service,))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def token_of(user: User) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {make_token(user)}"}


def words_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


# --- versions ---------------------------------------------------------------------------------------


def test_a_second_person_publishes_and_the_next_text_is_a_draft_until_then(runbook, ines, ravi):
    again = RunbookData(title="Checkout returns 5xx", text=TEXT + "\nMore.\n", why="learned")
    with pytest.raises(NotAllowed):
        draft = transitions.save_draft(runbook_id=runbook.pk, data=again, by=ines, now=NOW)
        transitions.publish(runbook_id=runbook.pk, number=2, by=ines, now=NOW)
    runbook.refresh_from_db()
    assert (draft.number, draft.status, runbook.published.number) == (2, "draft", 1)

    transitions.publish(runbook_id=runbook.pk, number=2, by=ravi, now=NOW)
    runbook.refresh_from_db()
    assert (runbook.published.number, runbook.published.published_by) == (2, ravi)
    with pytest.raises(Refused, match="Ravi Menon published version 2 1 min ago"):
        transitions.publish(runbook_id=runbook.pk, number=2, by=ravi, now=NOW + MINUTE)


def test_a_manager_publishes_what_they_wrote(ines):
    boss = make_user("boss", role=Role.MANAGER)
    assert make_runbook("Own", author=boss, publisher=boss, now=NOW).published.number == 1


def test_saving_what_is_published_makes_no_draft_and_drops_one_that_was_begun(runbook, ines):
    changed = RunbookData(title=runbook.title, text="Other.")
    draft = transitions.save_draft(runbook_id=runbook.pk, data=changed, by=ines, now=NOW)
    same = RunbookData(title=runbook.title, text=TEXT)
    assert draft.number == 2
    saved = transitions.save_draft(runbook_id=runbook.pk, data=same, by=ines, now=NOW)
    assert saved.number == 1
    assert list(runbook.versions.values_list("number", "status")) == [(1, "published")]


def test_two_people_who_edit_at_once_lose_nothing(runbook, ines, ravi):
    first = signed_in(ines).get(reverse("runbooks:edit", args=[runbook.slug]))
    fields = {**first.context["form"].initial, "text": "Words of Ines.", "title": runbook.title}
    transitions.save_draft(
        runbook_id=runbook.pk, data=RunbookData(title=runbook.title, text="Words of Ravi."), by=ravi, now=NOW + MINUTE
    )  # fmt: skip

    refused = signed_in(ines).post(reverse("runbooks:edit", args=[runbook.slug]), fields)
    assert refused.status_code == 409
    assert "Ravi Menon wrote version 2" in words_of(refused) and "Words of Ines." in refused.content.decode()
    assert runbook.versions.get(number=2).text == "Words of Ravi.\n"

    told = re.search(r'name="read_at" value="([^"]+)"', refused.content.decode())[1]
    saved = signed_in(ines).post(reverse("runbooks:edit", args=[runbook.slug]), {**fields, "read_at": told})
    assert saved.status_code == 302
    assert runbook.versions.get(number=2).text == "Words of Ines.\n"


def test_what_was_published_or_changed_in_the_head_meanwhile_is_not_overwritten_unseen(runbook, ines, ravi):
    def save(text: str, tags: tuple[str, ...], by: User, minute: int, read_at: datetime | None) -> Version:
        data = RunbookData(title=runbook.title, text=text, tags=tags)
        now = NOW + minute * MINUTE
        return transitions.save_draft(runbook_id=runbook.pk, data=data, by=by, now=now, read_at=read_at)

    began = runbook.saved_at
    save("Words of Ravi.", (), ravi, 1, began)
    transitions.publish(runbook_id=runbook.pk, number=2, by=ines, now=NOW + 2 * MINUTE)
    with pytest.raises(Refused, match="saved 2 min ago, after you began; Ravi Menon wrote version 2"):
        save("Words of Ines.", (), ines, 3, began)
    save("Words of Ravi.", ("eu",), ravi, 4, NOW + MINUTE)  # the text is as published: only a tag is new
    with pytest.raises(Refused):
        save("Words of Ravi.", ("us",), ines, 5, NOW + MINUTE)
    runbook.refresh_from_db()
    assert (runbook.tags, runbook.versions.count(), runbook.saved_at) == (["eu"], 2, NOW + 4 * MINUTE)
    # pressed twice, and one's own draft without a word of what was read: both go through
    save("Words of Ravi.", ("eu",), ravi, 6, began)
    save("One.", ("eu",), ines, 7, None)
    assert save("Two.", ("eu",), ines, 8, None).number == 3
    runbook.refresh_from_db()
    assert runbook.saved_at == NOW + 8 * MINUTE


def test_nobody_publishes_what_they_have_not_read_or_wrote_themselves(runbook, ines, ravi):
    def save(text: str, why: str, by: User, minute: int) -> Version:
        runbook.refresh_from_db()
        data = RunbookData(title=runbook.title, text=text, why=why)
        now = NOW + minute * MINUTE
        return transitions.save_draft(
            runbook_id=runbook.pk, data=data, by=by, now=now, read_at=runbook.saved_at
        )

    save("First.", "", ines, 1)
    address = f"{reverse('runbooks:detail', args=[runbook.slug])}?version=2"
    read = re.search(r'name="read_at" value="([^"]+)"', signed_in(ravi).get(address).content.decode())[1]
    save("Second.", "", ines, 2)
    publish = reverse("runbooks:publish", args=[runbook.slug, 2])
    told = signed_in(ravi).post(publish, {"read_at": read}, follow=True)
    assert "Ines Okafor changed this draft" in words_of(told) and "Second." in words_of(told)
    # whoever adds only a word of why is not the author, so the author cannot publish it
    assert save("Second.", "why", ravi, 3).author == ines
    with pytest.raises(NotAllowed):
        transitions.publish(runbook_id=runbook.pk, number=2, by=ines, now=NOW)
    runbook.refresh_from_db()
    assert runbook.published.number == 1
    read = re.search(r'name="read_at" value="([^"]+)"', told.content.decode())[1]
    signed_in(ravi).post(publish, {"read_at": read})
    runbook.refresh_from_db()
    assert runbook.published.number == 2


def test_what_people_and_services_leave_behind_stays_readable(runbook, incident, service, ines, ravi):
    """A service that goes, an author who leaves, and a runbook archived while it is at hand."""
    transitions.attach(incident_id=incident.pk, runbook_id=runbook.pk, by=ines, now=NOW)
    gone = make_service("legacy")
    runbook.services.add(gone)
    gone.delete()
    draft = RunbookData(title=runbook.title, text="Left behind.", services=(service,))
    transitions.save_draft(runbook_id=runbook.pk, data=draft, by=ines, now=NOW + MINUTE)
    User.objects.filter(pk=ines.pk).update(is_active=False)
    transitions.archive(runbook_id=runbook.pk, by=make_user("boss", role=Role.MANAGER), now=NOW)

    client, slug = signed_in(ravi), runbook.slug
    panel = words_of(client.get(reverse("runbooks:panel", args=[incident.pk]), **HTMX))
    assert "Freeze deploys" in panel and "taken up by Ines Okafor" in panel
    detail = words_of(client.get(reverse("runbooks:detail", args=[slug]), {"version": "2"}))
    assert "Archived" in detail and "Left behind." in detail and "legacy" not in detail
    shown = Client().get(f"/api/v1/runbooks/{slug}/", **token_of(ravi)).json()
    assert (shown["archived_at"], [one["slug"] for one in shown["services"]]) == (
        "2026-11-24T03:00:00Z", ["checkout-api"],
    )  # fmt: skip
    assert Client().get("/api/v1/runbooks/", **token_of(ravi)).json()["results"] == []
    assert client.post(reverse("runbooks:publish", args=[slug, 2])).status_code == 302
    runbook.refresh_from_db()
    assert (runbook.published.number, runbook.archived_at, Use.objects.get().version.number) == (2, None, 1)


def test_a_refused_form_keeps_what_was_typed_and_stores_nothing(ines, service):
    typed = {
        "title": "New", "outage_class": "network", "services": "checkout-api, nope", "text": "Long text", "tags": "a",
    }  # fmt: skip
    answer = signed_in(ines).post(reverse("runbooks:new"), typed)
    assert answer.status_code == 422
    assert "No service is called nope." in words_of(answer) and "Long text" in answer.content.decode()
    assert Runbook.objects.count() == 0 and Version.objects.count() == 0


def test_script_in_every_field_stays_text(ines, ravi):
    evil = "<script>alert(1)</script>"
    runbook = make_runbook(
        f"T{evil}", author=ines, publisher=ravi, now=NOW, summary=evil, tags=(evil,), why=evil,
        text=f"{evil}\n\n## {evil}\n\n## Steps\n\n### {evil}\n\n{evil}\n",
    )  # fmt: skip
    for address in (
        reverse("runbooks:list"),
        reverse("runbooks:detail", args=[runbook.slug]),
        reverse("runbooks:edit", args=[runbook.slug]),
    ):
        page = signed_in(ines).get(address).content.decode()
        assert evil not in page and "&lt;script&gt;alert(1)" in page, address


# --- finding ----------------------------------------------------------------------------------------


def test_it_is_found_by_title_service_tag_and_words_of_the_published_text(runbook, ines, ravi):
    other = make_runbook(
        "Queue grows", author=ines, publisher=ravi, now=NOW, tags=("kafka",), text="Drain it."
    )
    draft = make_runbook("Only a draft", author=ines, publisher=None, now=NOW)
    found = {
        "returns 5": [runbook], "checkout-api": [runbook], "kafka": [other], "draining": [other],
        "freezing deploys": [runbook], "only": [draft], "nothing": [],
    }  # fmt: skip
    assert {words: list(queries.repository(search=words)) for words in found} == found
    assert list(queries.repository(published=True)) == [runbook, other]


def test_the_list_filters_by_its_address_in_few_queries(runbook, ines, django_assert_max_num_queries):
    client = signed_in(ines)
    with django_assert_max_num_queries(8):
        page = client.get(reverse("runbooks:list"), {"q": "5xx", "class": "other"})
    assert "Checkout returns 5xx" in words_of(page) and "version 1" in words_of(page)
    assert "No runbook fits" in words_of(client.get(reverse("runbooks:list"), {"class": "network"}))


# --- in the room ------------------------------------------------------------------------------------


def test_taken_up_by_command_it_is_at_hand_in_the_version_of_then(runbook, incident, ines, ravi):
    done = commands.run(incident=incident, text="/runbook 5xx", by=ines, now=NOW)
    assert done is True
    commands.run(incident=incident, text="/runbook 5xx", by=ines, now=NOW + MINUTE)
    entry = incident.timeline.get(kind=Kind.RUNBOOK)
    assert entry.text == "took up the runbook Checkout returns 5xx, version 1"

    newer = RunbookData(title=runbook.title, text="New text.", services=list(runbook.services.all()))
    transitions.save_draft(runbook_id=runbook.pk, data=newer, by=ines, now=NOW)
    transitions.publish(runbook_id=runbook.pk, number=2, by=ravi, now=NOW)
    assert Use.objects.get().version.number == 1
    incident.refresh_from_db()
    assert list(timeline.verify(incident)) == []


@pytest.mark.parametrize(("words", "refusal"), [("nothing", "No one runbook"), ("e", "Several are")])
def test_a_command_that_names_no_one_runbook_says_which_are_near(
    words, refusal, runbook, incident, ines, ravi
):
    make_runbook("Queue grows", author=ines, publisher=ravi, now=NOW)
    with pytest.raises(Exception, match=refusal):
        commands.run(incident=incident, text=f"/runbook {words}", by=ines, now=NOW)
    assert Use.objects.count() == 0 and not incident.timeline.filter(kind=Kind.RUNBOOK).exists()


def test_the_room_offers_what_fits_and_takes_it_up_and_lays_it_aside(runbook, incident, ines):
    client, panel = signed_in(ines), reverse("runbooks:panel", args=[incident.pk])
    assert "Take up" in words_of(client.get(panel, **HTMX))
    taken = client.post(reverse("runbooks:attach", args=[incident.pk]), {"runbook": runbook.slug}, **HTMX)
    assert taken.status_code == 204
    shown = words_of(client.get(panel, **HTMX))
    assert "Freeze deploys" in shown and "15 min" in shown and "Take up" not in shown
    client.post(reverse("runbooks:detach", args=[incident.pk, runbook.slug]), **HTMX)
    assert Use.objects.count() == 0
    assert incident.timeline.filter(kind=Kind.RUNBOOK).count() == 2


def test_without_script_the_choice_is_a_page_that_finds_by_words(runbook, incident, ines):
    client, address = signed_in(ines), reverse("runbooks:attach", args=[incident.pk])
    assert "Checkout returns 5xx" in words_of(client.get(address))
    assert "No published runbook has these words" in words_of(client.get(address, {"q": "kafka"}))
    assert client.post(address, {"runbook": runbook.slug}).status_code == 302
    assert client.post(address, {"runbook": "nope"}).status_code == 404
    assert Use.objects.count() == 1


@pytest.mark.parametrize("state", ["over", "draft", "archived"])
def test_what_is_over_or_not_published_is_refused_and_nothing_changes(state, runbook, incident, ines, ravi):
    if state == "over":
        incident_transitions.resolve(incident_id=incident.pk, by=ines, now=NOW)
    elif state == "draft":
        runbook = make_runbook("Only a draft", author=ines, publisher=None, now=NOW)
    else:
        transitions.archive(runbook_id=runbook.pk, by=make_user("boss", role=Role.MANAGER), now=NOW)
    with pytest.raises(Refused):
        transitions.attach(incident_id=incident.pk, runbook_id=runbook.pk, by=ines, now=NOW)
    assert Use.objects.count() == 0 and not incident.timeline.filter(kind=Kind.RUNBOOK).exists()


def test_the_banner_travels_to_the_runbooks_page(
    runbook, incident, ines, ravi, django_assert_max_num_queries
):
    elsewhere = incident_transitions.trigger(
        service=make_service("search"), title="Search is slow", severity=3, urgency="low", now=NOW
    )
    transitions.attach(incident_id=elsewhere.pk, runbook_id=runbook.pk, by=ines, now=NOW)
    client = signed_in(ines)
    with time_machine.travel(NOW + MINUTE), django_assert_max_num_queries(12):
        page = client.get(reverse("runbooks:detail", args=[runbook.slug])).content.decode()
    # where it is at hand first, then what else burns on its services
    assert re.findall(r'class="strip[^"]*"[^>]*aria-label="([^"]+)"', page) == [elsewhere.ref, incident.ref]
    incident_transitions.resolve(incident_id=elsewhere.pk, by=ravi, now=NOW)
    again = client.get(reverse("runbooks:burning", args=[runbook.slug]), **HTMX).content.decode()
    assert elsewhere.ref not in again and incident.ref in again


def test_in_a_storm_the_incident_that_has_it_at_hand_is_not_left_out(
    runbook, incident, service, ines, monkeypatch
):
    monkeypatch.setattr(queries, "MOST_BANNERS", 1)
    small = incident_transitions.trigger(
        service=make_service("search"), title="Slow", severity=4, urgency="low", now=NOW
    )
    transitions.attach(incident_id=small.pk, runbook_id=runbook.pk, by=ines, now=NOW)
    assert [banner.incident for banner in queries.banners(runbook, NOW)] == [small]

    monkeypatch.setattr(transitions, "MOST_AT_HAND", 1)
    other = make_runbook("Another", author=ines, publisher=make_user("sam"), now=NOW)
    transitions.attach(incident_id=small.pk, runbook_id=runbook.pk, by=ines, now=NOW)  # it is there already
    with pytest.raises(Refused, match="Lay one aside first"):
        transitions.attach(incident_id=small.pk, runbook_id=other.pk, by=ines, now=NOW)
    assert Use.objects.count() == 1


def test_a_services_page_loads_its_published_runbooks(runbook, service, ines):
    make_runbook("Only a draft", author=ines, publisher=None, now=NOW, services=(service,))
    client, address = signed_in(ines), reverse("runbooks:of_service", args=[service.slug])
    page = client.get(reverse("catalog:service_detail", args=[service.slug])).content.decode()
    assert f'hx-get="{address}"' in page
    shown = words_of(client.get(address, **HTMX))
    assert "Checkout returns 5xx" in shown and "Only a draft" not in shown
    empty = make_service("search")
    assert "Write one" in words_of(client.get(reverse("runbooks:of_service", args=[empty.slug])))


# --- who may, and the API ---------------------------------------------------------------------------


def test_a_viewer_reads_and_changes_nothing(runbook, incident, viewer):
    client = signed_in(viewer)
    assert client.get(reverse("runbooks:detail", args=[runbook.slug])).status_code == 200
    refused = [
        client.get(reverse("runbooks:new")),
        client.post(reverse("runbooks:edit", args=[runbook.slug]), {"title": "x", "text": "y"}),
        client.post(reverse("runbooks:publish", args=[runbook.slug, 1])),
        client.post(reverse("runbooks:archive", args=[runbook.slug])),
        client.post(reverse("runbooks:attach", args=[incident.pk]), {"runbook": runbook.slug}),
        client.post(reverse("runbooks:detach", args=[incident.pk, runbook.slug])),
        client.post("/api/v1/runbooks/", "{}", content_type="application/json", **token_of(viewer)),
        client.post(f"/api/v1/incidents/{incident.pk}/runbooks/", "{}", content_type="application/json", **token_of(viewer)),
    ]  # fmt: skip
    assert [answer.status_code for answer in refused] == [403] * 8
    assert Client().get(reverse("runbooks:list")).status_code == 302
    assert Use.objects.count() == 0 and Version.objects.count() == 1


def test_the_api_writes_publishes_finds_and_takes_up(incident, ines, ravi, service):
    def call(method, address, user, body=None):
        sent = {"data": json.dumps(body), "content_type": "application/json"} if body is not None else {}
        return getattr(Client(), method)(f"/api/v1/{address}", **sent, **token_of(user))

    made = call(
        "post", "runbooks/", ines, {"title": "Checkout 5xx", "text": TEXT, "services": ["checkout-api"]}
    )
    assert made.status_code == 201
    assert (made.json()["slug"], made.json()["published_version"], made.json()["draft_version"]) == (
        "checkout-5xx", None, 1,
    )  # fmt: skip
    assert call("post", "runbooks/checkout-5xx/publish/", ines, {"version": 1}).status_code == 403
    assert (
        call("post", "runbooks/checkout-5xx/publish/", ravi, {"version": 1}).json()["published_version"] == 1
    )
    version = call("get", "runbooks/checkout-5xx/versions/1/", ines).json()
    assert [step["title"] for step in version["steps"]] == ["Freeze deploys", "Shift traffic"]
    assert [row["slug"] for row in call("get", "runbooks/?search=freeze", ines).json()["results"]] == [
        "checkout-5xx"
    ]
    changed = {"title": "Checkout 5xx", "text": "Other."}
    assert call("put", "runbooks/checkout-5xx/", ines, changed).json()["draft_version"] == 2
    lost = call("put", "runbooks/checkout-5xx/", ravi, {"title": "Checkout 5xx", "text": "Mine."})
    assert (lost.status_code, lost.json()["error"]["code"]) == (409, "changed_meanwhile")

    taken = call("post", f"incidents/{incident.ref}/runbooks/", ines, {"runbook": "checkout-5xx"})
    assert (taken.status_code, taken.json()["version"]) == (201, 1)
    assert [row["slug"] for row in call("get", f"incidents/{incident.ref}/runbooks/", ines).json()] == [
        "checkout-5xx"
    ]
    assert call("delete", f"incidents/{incident.ref}/runbooks/checkout-5xx/", ines).status_code == 204
    assert call("get", "runbooks/nope/", ines).status_code == 404
    assert Use.objects.count() == 0
