import threading
from decimal import Decimal

import pytest
from django.db import connection

from accounts.models import Role
from catalog import queries, rules, transitions
from catalog.models import Dependency, Service, Slo
from catalog.transitions import ServiceData, SloData
from core.errors import Invalid, Missing, NotAllowed
from tests.factories.accounts import make_team, make_user
from tests.factories.catalog import make_dependency, make_service, make_slo

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager():
    return make_user("manager", role=Role.MANAGER)


def test_created_service_is_as_it_was_wanted(manager):
    team, ines, ravi = make_team("Payments"), make_user("ines"), make_user("ravi")
    ledger = make_service("ledger-db")

    service = transitions.create_service(
        by=manager,
        data=ServiceData(
            name=" Checkout API ", description="Takes money", criticality=1, team=team,
            primary_responder=ines, secondary_responder=ravi, tags=[" Payments", "payments", "eu "],
            links=[{"text": "Dashboard", "href": "https://grafana.example.org/d/1"}],
            grouping_minutes=30, acknowledge_timeout_minutes=60, needs=[ledger],
            slos=[SloData("Availability", Decimal("99.95"), 28, "5xx of POST /confirm")],
        ),
    )  # fmt: skip

    service.refresh_from_db()
    assert (service.name, service.slug, service.criticality, service.team) == (
        "Checkout API", "checkout-api", 1, team)  # fmt: skip
    assert (service.primary_responder, service.secondary_responder) == (ines, ravi)
    assert service.tags == ["payments", "eu"]
    assert service.links == [{"text": "Dashboard", "href": "https://grafana.example.org/d/1"}]
    assert (service.grouping_minutes, service.acknowledge_timeout_minutes) == (30, 60)
    assert list(service.depends_on.all()) == [ledger]
    slo = service.slos.get()
    assert (slo.name, slo.target_percent, slo.window_days) == ("Availability", Decimal("99.95"), 28)


def test_names_that_look_alike_get_two_addresses(manager):
    make_service("checkout-api")
    assert (
        transitions.create_service(by=manager, data=ServiceData(name="Checkout API")).slug == "checkout-api-2"
    )
    assert transitions.create_service(by=manager, data=ServiceData(name="検索")).slug == "service"
    assert transitions.create_service(by=manager, data=ServiceData(name="New")).slug == "service-new"
    assert transitions.create_service(by=manager, data=ServiceData(name="42")).slug == "service-42"


def test_renamed_service_keeps_its_address_and_what_was_not_named(manager):
    service, ledger = make_service("checkout-api"), make_service("ledger-db")
    make_dependency(service, needs=ledger)
    make_slo(service)

    transitions.update_service(service_id=service.pk, by=manager, data=ServiceData(name="Checkout"))

    service.refresh_from_db()
    assert (service.name, service.slug) == ("Checkout", "checkout-api")
    assert (service.dependencies.count(), service.slos.count()) == (1, 1)


def test_update_replaces_dependencies_and_objectives_that_are_named(manager):
    service, ledger, rates = make_service("checkout-api"), make_service("ledger-db"), make_service("rates")
    kept = make_dependency(service, needs=ledger, note="reads balances")
    make_dependency(service, needs=make_service("old"))
    availability = make_slo(service, name="Availability", target_percent="99")
    make_slo(service, name="Latency")

    transitions.update_service(
        service_id=service.pk, by=manager,
        data=ServiceData(
            name="checkout-api", needs=[ledger, rates], slos=[SloData("Availability", Decimal("99.9"))]
        ),
    )  # fmt: skip

    assert {d.depends_on.name: d.note for d in service.dependencies.all()} == {
        "ledger-db": "reads balances",
        "rates": "",
    }
    assert Dependency.objects.filter(pk=kept.pk).exists()
    assert [(slo.pk, slo.target_percent) for slo in service.slos.all()] == [
        (availability.pk, Decimal("99.9"))
    ]


REFUSED = [
    ({"name": "  "}, "name", "A service needs a name."),
    ({"name": "LEDGER-DB"}, "name", "There is already a service called LEDGER-DB."),
    ({"criticality": 5}, "criticality", "From 1 for critical to 4 for low."),
    ({"criticality": 0}, "criticality", "From 1 for critical to 4 for low."),
    ({"grouping_minutes": -1}, "grouping_minutes", "From 0 to 10080 minutes"),
    ({"grouping_minutes": 10081}, "grouping_minutes", "From 0 to 10080 minutes"),
    ({"acknowledge_timeout_minutes": 10081}, "acknowledge_timeout_minutes", "From 0 to 10080 minutes"),
    ({"tags": ["x" * 41]}, "tags", "A tag has at most 40 characters."),
    ({"tags": [str(n) for n in range(21)]}, "tags", "At most 20 tags."),
    ({"links": [{"text": "Go", "href": "javascript:alert(1)"}]}, "links.0.href", "An address that begins"),
    ({"links": [{"text": "Go", "href": "https://a b"}]}, "links.0.href", "An address that begins"),
    ({"links": [{"text": "Go", "href": "https://[x"}]}, "links.0.href", "An address that begins"),
    ({"links": [{"text": "", "href": "https://a.example"}]}, "links.0.text", "Say what it is."),
    ({"slos": [SloData("", Decimal("99"))]}, "slos.0.name", "Say what is promised."),
    ({"slos": [SloData("A", Decimal("0"))]}, "slos.0.target_percent", "Above 0 and at most 100."),
    ({"slos": [SloData("A", Decimal("100.1"))]}, "slos.0.target_percent", "Above 0 and at most 100."),
    ({"slos": [SloData("A", Decimal("NaN"))]}, "slos.0.target_percent", "Above 0 and at most 100."),
    ({"slos": [SloData("A", Decimal("99"), 0)]}, "slos.0.window_days", "From 1 to 366 days."),
    ({"slos": [SloData("A", Decimal("99")), SloData("A", Decimal("98"))]}, "slos.1.name", "A is there twice."),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "key", "sentence"), REFUSED)
def test_service_that_cannot_be_is_refused_with_a_sentence_and_nothing_changes(
    manager, changes, key, sentence
):
    make_service("ledger-db")
    service = make_service("checkout-api", tags=["kept"])

    with pytest.raises(Invalid) as refusal:
        transitions.create_service(by=manager, data=ServiceData(**{"name": "new", **changes}))
    with pytest.raises(Invalid):
        transitions.update_service(
            service_id=service.pk, by=manager, data=ServiceData(**{"name": "renamed", **changes})
        )

    assert list(refusal.value.fields) == [key]
    assert refusal.value.fields[key][0].startswith(sentence)
    service.refresh_from_db()
    assert (service.name, service.tags) == ("checkout-api", ["kept"])
    assert Service.objects.count() == 2
    assert not Slo.objects.exists()


def test_responders_are_two_people_who_can_be_paged(manager):
    ines, gone = make_user("ines", full_name="Ines Okafor"), make_user("gone", is_active=False)

    with pytest.raises(Invalid) as twice:
        transitions.create_service(
            by=manager, data=ServiceData(name="a", primary_responder=ines, secondary_responder=ines)
        )
    with pytest.raises(Invalid) as away:
        transitions.create_service(by=manager, data=ServiceData(name="a", primary_responder=gone))

    assert twice.value.message == "Ines Okafor is the primary already. Name somebody who stands in."
    assert list(away.value.fields) == ["primary_responder"]
    assert not Service.objects.exists()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.RESPONDER])
def test_catalogue_is_changed_by_managers_only(role):
    stranger = make_user("stranger", role=role)
    service, ledger = make_service("checkout-api"), make_service("ledger-db")
    make_dependency(service, needs=ledger)

    with pytest.raises(NotAllowed):
        transitions.create_service(by=stranger, data=ServiceData(name="new"))
    with pytest.raises(NotAllowed):
        transitions.update_service(service_id=service.pk, by=stranger, data=ServiceData(name="renamed"))
    with pytest.raises(NotAllowed):
        transitions.add_dependency(service_id=ledger.pk, needs_id=service.pk, by=stranger)
    with pytest.raises(NotAllowed):
        transitions.remove_dependency(service_id=service.pk, needs_id=ledger.pk, by=stranger)

    assert sorted(Service.objects.values_list("name", flat=True)) == ["checkout-api", "ledger-db"]
    assert Dependency.objects.count() == 1


def test_service_that_is_not_there(manager):
    service = make_service()
    with pytest.raises(Missing):
        transitions.update_service(service_id=999, by=manager, data=ServiceData(name="x"))
    with pytest.raises(Missing):
        transitions.add_dependency(service_id=service.pk, needs_id=999, by=manager)
    with pytest.raises(Missing):
        transitions.add_dependency(service_id=999, needs_id=service.pk, by=manager)


# --- the graph --------------------------------------------------------------------------------------


def test_dependency_that_closes_a_cycle_is_refused_with_the_chain(manager):
    shop, checkout, ledger = make_service("shop"), make_service("checkout-api"), make_service("ledger-db")
    transitions.add_dependency(service_id=shop.pk, needs_id=checkout.pk, by=manager)
    transitions.add_dependency(service_id=checkout.pk, needs_id=ledger.pk, by=manager)

    with pytest.raises(Invalid) as refusal:
        transitions.add_dependency(service_id=ledger.pk, needs_id=shop.pk, by=manager)
    with pytest.raises(Invalid):
        transitions.update_service(
            service_id=ledger.pk, by=manager, data=ServiceData(name="renamed", needs=[shop])
        )

    assert refusal.value.code == "cycle"
    assert refusal.value.message == (
        "ledger-db cannot depend on shop: shop needs checkout-api needs ledger-db. Break that chain first."
    )
    assert queries.graph() == {shop.pk: {checkout.pk}, checkout.pk: {ledger.pk}}
    ledger.refresh_from_db()
    assert ledger.name == "ledger-db"


def test_service_does_not_depend_on_itself(manager):
    service = make_service("shop")

    with pytest.raises(Invalid) as refusal:
        transitions.add_dependency(service_id=service.pk, needs_id=service.pk, by=manager)
    with pytest.raises(Invalid):
        transitions.update_service(
            service_id=service.pk, by=manager, data=ServiceData(name="shop", needs=[service])
        )

    assert refusal.value.message == "shop cannot depend on itself."
    assert not Dependency.objects.exists()


def test_dependency_added_twice_is_there_once_with_the_new_note(manager):
    shop, ledger = make_service("shop"), make_service("ledger-db")
    transitions.add_dependency(service_id=shop.pk, needs_id=ledger.pk, by=manager)
    transitions.add_dependency(service_id=shop.pk, needs_id=ledger.pk, by=manager, note=" orders ")

    assert [d.note for d in Dependency.objects.all()] == ["orders"]

    transitions.remove_dependency(service_id=shop.pk, needs_id=ledger.pk, by=manager)
    transitions.remove_dependency(service_id=shop.pk, needs_id=ledger.pk, by=manager)
    assert not Dependency.objects.exists()


def _both_at_once(pairs, manager) -> list[str]:
    """Adds both edges in two transactions that begin together."""
    results: list[str] = []
    start = threading.Barrier(2)

    def add(service, needs) -> None:
        start.wait()
        try:
            transitions.add_dependency(service_id=service.pk, needs_id=needs.pk, by=manager)
            results.append("added")
        except Invalid:
            results.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=add, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(results)


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_two_edges_at_once_close_a_cycle(monkeypatch):
    """The control: it shows the race that the next test shows gone."""
    manager = make_user("manager", role=Role.MANAGER)
    shop, ledger = make_service("shop"), make_service("ledger-db")
    both_have_looked = threading.Barrier(2)
    read = queries.graph

    def read_and_wait():
        found = read()
        both_have_looked.wait(timeout=10)
        return found

    monkeypatch.setattr(transitions, "_lock_graph", lambda: None)
    monkeypatch.setattr(queries, "graph", read_and_wait)

    assert _both_at_once([(shop, ledger), (ledger, shop)], manager) == ["added", "added"]
    assert rules.way(read(), shop.pk, ledger.pk)
    assert rules.way(read(), ledger.pk, shop.pk)


@pytest.mark.django_db(transaction=True)
def test_with_the_lock_one_of_two_edges_that_close_a_cycle_is_refused():
    manager = make_user("manager", role=Role.MANAGER)
    shop, ledger = make_service("shop"), make_service("ledger-db")

    assert _both_at_once([(shop, ledger), (ledger, shop)], manager) == ["added", "refused"]
    assert Dependency.objects.count() == 1
