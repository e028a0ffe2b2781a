import re

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Role
from catalog.models import Dependency, Service
from tests.factories.accounts import make_team, make_user
from tests.factories.catalog import make_dependency, make_service, make_slo

pytestmark = pytest.mark.django_db

FRAME = 3  # queries of every page: session, person, the pages that wait for them


@pytest.fixture
def ines():
    return make_user("ines", full_name="Ines Okafor", role=Role.MANAGER)


@pytest.fixture
def ravi():
    return make_user("ravi", full_name="Ravi Menon")


def client_of(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def manager(ines) -> Client:
    return client_of(ines)


@pytest.fixture
def viewer() -> Client:
    return client_of(make_user("vera", role=Role.VIEWER))


def text_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())).strip()


def page(name, *args) -> str:
    return reverse(f"catalog:{name}", args=args)


# --- list -------------------------------------------------------------------------------------------


def test_list_shows_owner_counts_and_gaps(viewer, ines, ravi):
    ready = make_service(
        "checkout-api",
        criticality=1,
        team=make_team("Payments"),
        primary_responder=ines,
        secondary_responder=ravi,
    )
    make_dependency(ready, needs=make_service("ledger-db"))

    seen = text_of(viewer.get(page("service_list")))

    assert "checkout-api Critical Payments Ines Okafor Ravi Menon 1 0" in seen
    assert "ledger-db Medium no team nobody nobody 0 1 No owning team and" in seen


def test_list_pages_and_filters_in_a_constant_number_of_queries(viewer, django_assert_num_queries):
    for number in range(51):
        make_service(
            f"api-{number:02}", criticality=1 if number == 7 else 3, tags=["eu"] if number == 8 else []
        )
    viewer.get(page("service_list"))

    # count, services, services with gaps, teams
    with django_assert_num_queries(FRAME + 4):
        first = viewer.get(page("service_list"))
    assert "1 to 50 of 51" in text_of(first)
    assert "api-50" in text_of(viewer.get(page("service_list") + "?page=2"))
    for query, name in (("?criticality=1", "api-07"), ("?q=eu", "api-08"), ("?q=api-09&gap=any", "api-09")):
        found = text_of(viewer.get(page("service_list") + query))
        assert (name in found, "api-10" in found) == (True, False)
    for query in ("?criticality=x", "?criticality=99", "?gap=%00", "?page=0", "?q=" + "x" * 5000):
        assert viewer.get(page("service_list") + query).status_code == 200


def test_empty_list_says_what_follows(viewer):
    assert "There is no service yet" in text_of(viewer.get(page("service_list")))
    assert "No service fits" in text_of(viewer.get(page("service_list") + "?gap=any"))


# --- one service ------------------------------------------------------------------------------------


def test_page_shows_what_breaks_with_it_what_it_needs_and_what_it_lacks(viewer, ines):
    ledger = make_service(
        "ledger-db", criticality=1, primary_responder=ines, grouping_minutes=30, tags=["eu"],
        links=[{"text": "Dashboard", "href": "https://grafana.example.org/d/1"}],
    )  # fmt: skip
    checkout, shop = make_service("checkout-api"), make_service("shop")
    make_dependency(checkout, needs=ledger)
    make_dependency(shop, needs=checkout)
    make_dependency(ledger, needs=make_service("disk"), note="stores rows")
    make_slo(ledger, target_percent="99.95")

    response = viewer.get(page("service_detail", "ledger-db"))
    seen, html = text_of(response), response.content.decode()

    assert "What breaks with it 2 1 directly" in seen
    assert "checkout-api Medium needs it directly shop Medium through checkout-api" in seen
    assert "disk stores rows" in seen
    assert "No owning team Nobody is asked to keep it well." in seen
    assert "No secondary responder" in seen
    assert "Availability 99.95% over 30 days" in seen
    assert "An alert within 30 min of the last one joins the open incident." in seen
    assert 'href="https://grafana.example.org/d/1" rel="noopener noreferrer"' in html
    assert f'hx-get="{reverse("escalation:service_panel", args=["ledger-db"])}"' in html
    assert " style=" not in html


def test_page_costs_a_constant_number_of_queries(manager, django_assert_num_queries):
    service = make_service("checkout-api")
    for number in range(5):
        make_dependency(service, needs=make_service(f"db-{number}"))
        make_dependency(make_service(f"shop-{number}"), needs=service)
        make_slo(service, name=f"Objective {number}")
    manager.get(page("service_detail", "checkout-api"))

    # service, needs, graph, affected, objectives, names for the form, what burns
    with django_assert_num_queries(FRAME + 7):
        manager.get(page("service_detail", "checkout-api"))


def test_service_that_is_not_there_is_404(manager):
    for name in ("service_detail", "service_edit", "dependency_add"):
        assert manager.get(page(name, "nothing")).status_code == 404


# --- who may ----------------------------------------------------------------------------------------


def test_anonymous_is_sent_to_the_sign_in_page():
    make_service("shop")

    for address in (page("service_list"), page("service_detail", "shop"), page("service_edit", "shop"),
                    page("service_new")):  # fmt: skip
        response = Client().get(address)
        assert (response.status_code, response.headers["Location"].split("?")[0]) == (
            302,
            reverse("account_login"),
        )


def test_viewers_and_responders_read_and_change_nothing(viewer, ravi):
    make_dependency(make_service("shop"), needs=make_service("ledger-db"))

    for stranger in (viewer, client_of(ravi)):
        assert "Needs a manager" in text_of(stranger.get(page("service_detail", "shop")))
        assert stranger.get(page("service_new")).status_code == 403
        assert stranger.post(page("service_edit", "shop"), form_data(name="mine")).status_code == 403
        assert stranger.post(page("dependency_add", "ledger-db"), {"service": "shop"}).status_code == 403
        assert stranger.post(page("dependency_remove", "shop", "ledger-db")).status_code == 403
    assert sorted(Service.objects.values_list("name", flat=True)) == ["ledger-db", "shop"]
    assert Dependency.objects.count() == 1


# --- dependencies -----------------------------------------------------------------------------------


def test_manager_adds_and_removes_a_dependency(manager):
    make_service("shop")
    make_service("Ledger DB", slug="ledger-db")

    added = manager.post(
        page("dependency_add", "shop"), {"service": "ledger db", "note": "orders"}, follow=True
    )
    assert "shop needs Ledger DB" in text_of(added)
    assert Dependency.objects.get().note == "orders"

    removed = manager.post(page("dependency_remove", "shop", "ledger-db"), follow=True)
    assert "shop no longer needs Ledger DB" in text_of(removed)
    assert not Dependency.objects.exists()


def test_refused_dependency_says_why_and_keeps_what_was_typed(manager):
    make_dependency(make_service("shop"), needs=make_service("ledger-db"))

    for sent, sentence in [
        (
            {"service": "shop"},
            "ledger-db cannot depend on shop: shop needs ledger-db. Break that chain first.",
        ),
        ({"service": "ledger-db"}, "ledger-db cannot depend on itself."),
        ({"service": "nothing"}, "There is no service called nothing."),
        ({"service": "\x00"}, "Null characters are not allowed."),
        ({"service": "shop", "note": "x" * 201}, "at most 200 characters"),
        ({}, "This field is required."),
    ]:
        response = manager.post(page("dependency_add", "ledger-db"), sent)
        assert response.status_code in (400, 422)
        assert sentence in text_of(response)
        if sent.get("service", "").isalpha():
            assert f'value="{sent["service"]}"' in response.content.decode()
    assert Dependency.objects.count() == 1


# --- editing ----------------------------------------------------------------------------------------


def form_data(*, links=(), slos=(), **head) -> dict:
    data = {
        "name": "checkout-api", "description": "", "criticality": "3", "team": "", "primary_responder": "",
        "secondary_responder": "", "tags": "", "grouping_minutes": "0", "acknowledge_timeout_minutes": "0",
    } | head  # fmt: skip
    for prefix, rows in (("link", links), ("slo", slos)):
        data |= {f"{prefix}-TOTAL_FORMS": str(len(rows)), f"{prefix}-INITIAL_FORMS": "0"}
        for number, row in enumerate(rows):
            data |= {f"{prefix}-{number}-{key}": value for key, value in row.items()}
    return data


def test_manager_makes_a_service(manager, ines, ravi):
    make_team("Payments")

    response = manager.post(
        page("service_new"),
        form_data(
            criticality="1", team="payments", primary_responder="Ines Okafor (ines)",
            secondary_responder="ravi@example.org", tags="EU, payments,", grouping_minutes="30",
            links=[{"text": "Dashboard", "href": "https://grafana.example.org"}, {"text": "", "href": ""}],
            slos=[{"name": "Availability", "target_percent": "99.95", "window_days": "", "indicator": ""},
                  {"name": "", "target_percent": "", "window_days": "30", "indicator": ""}],
        ),
        follow=True,
    )  # fmt: skip

    service = Service.objects.get()
    assert response.redirect_chain == [(page("service_detail", "checkout-api"), 302)]
    assert (service.criticality, service.team.slug, service.tags) == (1, "payments", ["eu", "payments"])
    assert (service.primary_responder, service.secondary_responder) == (ines, ravi)
    assert service.links == [{"text": "Dashboard", "href": "https://grafana.example.org"}]
    assert [(slo.name, slo.window_days) for slo in service.slos.all()] == [("Availability", 30)]


def test_edit_page_shows_what_is_there_and_saving_keeps_dependencies(manager, ines):
    service = make_service("checkout-api", primary_responder=ines, tags=["eu"], grouping_minutes=15,
                           links=[{"text": "Dashboard", "href": "https://grafana.example.org"}])  # fmt: skip
    make_slo(service, target_percent="99.95")
    make_dependency(service, needs=make_service("ledger-db"))

    html = manager.get(page("service_edit", "checkout-api")).content.decode()
    for value in ("Ines Okafor (ines)", "eu", "15", "https://grafana.example.org", "99.95"):
        assert f'value="{value}"' in html

    response = manager.post(page("service_edit", "checkout-api"), form_data(name="Checkout"))
    service.refresh_from_db()
    assert (response.status_code, service.name, service.slug) == (302, "Checkout", "checkout-api")
    assert service.dependencies.count() == 1
    assert not service.slos.exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": "LEDGER-DB"}, "There is already a service called LEDGER-DB."),
        ({"criticality": "7"}, "Select a valid choice."),
        ({"team": "nobody"}, "Select a valid choice."),
        ({"primary_responder": "nobody"}, "Nobody active is called nobody."),
        ({"primary_responder": "ines", "secondary_responder": "ines"}, "Ines Okafor is the primary already."),
        ({"tags": "x" * 41}, "A tag has at most 40 characters."),
        ({"grouping_minutes": "-1"}, "greater than or equal to 0"),
        ({"links": [{"text": "Go", "href": "javascript:alert(1)"}]}, "An address that begins with https:// or http://"),
        ({"links": [{"text": "", "href": "https://a.example"}]}, "Say what it is."),
        ({"slos": [{"name": "A", "target_percent": "101", "window_days": "30"}]}, "less than or equal to 100"),
        ({"slos": [{"name": "A", "target_percent": "NaN", "window_days": "30"}]}, "Enter a number."),
        ({"slos": [{"name": "A", "target_percent": "", "window_days": "30"}]}, "Above 0 and at most 100."),
        ({"description": "a\x00b"}, "Null characters are not allowed."),
    ],
)  # fmt: skip
def test_service_is_refused_beside_its_field_keeps_what_was_typed_and_changes_nothing(
    manager, ines, changes, sentence
):
    make_service("ledger-db")
    service = make_service("checkout-api")
    sent = form_data(**{"tags": "kept-tag", "name": "renamed"} | changes)

    for address in (page("service_new"), page("service_edit", "checkout-api")):
        response = manager.post(address, sent)
        assert response.status_code in (400, 422)
        assert sentence in text_of(response)
        if "tags" not in changes:
            assert 'value="kept-tag"' in response.content.decode()

    service.refresh_from_db()
    assert service.name == "checkout-api"
    assert Service.objects.count() == 2
