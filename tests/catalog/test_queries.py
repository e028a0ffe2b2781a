import pytest
from django.db.models import Q

from catalog import queries, readiness
from catalog.readiness import Check
from core.errors import Missing
from tests.factories.accounts import make_team, make_user
from tests.factories.catalog import make_dependency, make_service, make_slo

pytestmark = pytest.mark.django_db

OWN = {"owner", "primary", "secondary", "one_person"}


def codes(service) -> set[str]:
    """The gaps that the catalogue itself finds."""
    return {check.code for check in readiness.gaps_of(queries.get_service(service.slug))} & OWN


@pytest.fixture
def ready():
    """A service without gaps."""
    return make_service(
        "checkout-api",
        team=make_team("Payments"),
        primary_responder=make_user("ines"),
        secondary_responder=make_user("ravi"),
    )


def test_service_with_owner_and_two_responders_has_no_gap(ready):
    assert codes(ready) == set()


def test_service_with_nothing_has_every_gap():
    assert codes(make_service("orphan")) == {"owner", "primary", "secondary"}


def test_responder_who_is_switched_off_is_a_gap(ready):
    ready.primary_responder.is_active = False
    ready.primary_responder.save(update_fields=["is_active"])

    assert codes(ready) == {"primary"}


def test_one_person_for_both_is_a_gap(ready):
    ready.secondary_responder = ready.primary_responder
    ready.save(update_fields=["secondary_responder"])

    assert codes(ready) == {"one_person"}


def test_check_of_a_higher_app_shows_and_filters(ready, monkeypatch):
    monkeypatch.setattr(readiness, "_checks", dict(readiness._checks))
    readiness.register(Check("tagged", "Not tagged", "Nobody finds it.", Q(tags=[])))
    make_service("tidy", tags=["payments"], team=ready.team)

    assert "tagged" in {check.code for check in readiness.gaps_of(queries.get_service("checkout-api"))}
    assert [service.name for service in queries.service_list(gap="tagged")] == ["checkout-api"]
    with pytest.raises(ValueError, match="already a readiness check 'tagged'"):
        readiness.register(Check("tagged", "Another", "", Q()))


def test_list_is_worst_first_with_counts_in_one_query(ready, django_assert_num_queries):
    ledger = make_service("ledger-db", criticality=1)
    rates = make_service("rates", criticality=4)
    make_dependency(ready, needs=ledger)
    make_dependency(ready, needs=rates)
    make_dependency(rates, needs=ledger)
    make_slo(ready)
    make_slo(ready, name="Latency")

    with django_assert_num_queries(1):
        found = [
            (s.name, s.needs_count, s.needed_by_count, s.slo_count, str(s.team or ""), len(readiness.gaps_of(s)) > 0)
            for s in queries.service_list()
        ]  # fmt: skip

    assert [row[:5] for row in found] == [
        ("ledger-db", 0, 2, 0, ""),
        ("checkout-api", 2, 0, 2, "Payments"),
        ("rates", 1, 1, 0, ""),
    ]


def test_list_finds_by_name_team_tag_criticality_and_gap(ready):
    make_service("search", criticality=1, tags=["edge"], description="Finds things")

    def names(**filters):
        return [service.name for service in queries.service_list(**filters)]

    assert names(search="CHECK") == ["checkout-api"]
    assert names(search="payments") == ["checkout-api"]
    assert names(search="finds") == ["search"]
    assert names(search="edge") == ["search"]
    assert names(team="payments") == ["checkout-api"]
    assert names(criticality=1) == ["search"]
    assert names(tag="edge") == names(tag="Edge") == names(search="EDGE") == ["search"]
    assert names(gap="owner") == ["search"]
    assert names(gap="nonsense") == []
    assert "search" in names(gap="any")
    assert names(search="100%") == []


def test_detail_shows_what_it_needs_and_who_suffers(ready, django_assert_num_queries):
    shop, ledger, mail = make_service("shop", criticality=1), make_service("ledger-db"), make_service("mail")
    make_dependency(shop, needs=ready)
    make_dependency(ready, needs=ledger, note="reads balances")
    make_dependency(mail, needs=shop)
    make_slo(ledger)

    with django_assert_num_queries(5):
        detail = queries.detail("ledger-db")

    assert [(item.service.name, item.distance, str(item.via or "")) for item in detail.affected] == [
        ("checkout-api", 1, ""),
        ("shop", 2, "checkout-api"),
        ("mail", 3, "shop"),
    ]
    assert ([i.service.name for i in detail.direct], [i.service.name for i in detail.further]) == (
        ["checkout-api"],
        ["shop", "mail"],
    )
    assert [slo.name for slo in detail.slos] == ["Availability"]
    assert [(d.depends_on.name, d.note) for d in queries.detail("checkout-api").needs] == [
        ("ledger-db", "reads balances")
    ]


def test_detail_costs_the_same_with_a_large_graph(ready, django_assert_num_queries):
    before = ready
    for number in range(30):
        following = make_service(f"chain-{number}")
        make_dependency(following, needs=before)
        before = following

    with django_assert_num_queries(5):
        detail = queries.detail("checkout-api")

    assert len(detail.affected) == 30
    assert detail.affected[-1].distance == 30


def test_service_that_is_not_there_is_missing():
    with pytest.raises(Missing):
        queries.detail("nothing")


def test_services_with_gaps_are_counted():
    make_service("orphan")

    assert queries.count_with_gaps() == 1
