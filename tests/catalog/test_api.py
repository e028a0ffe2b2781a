import pytest

from accounts.models import Role, Scope
from catalog.models import Dependency, Service
from tests.api.conftest import Api
from tests.factories.accounts import make_team, make_token, make_user
from tests.factories.catalog import make_dependency, make_service, make_slo

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager() -> Api:
    return Api(make_token(make_user("manager", role=Role.MANAGER)))


@pytest.fixture
def viewer() -> Api:
    return Api(make_token(make_user("vera", role=Role.VIEWER)))


def error(response) -> dict:
    return response.json()["error"]


def names(response) -> list[str]:
    return [row["name"] for row in response.json()["results"]]


# --- reading ----------------------------------------------------------------------------------------


def test_service_tells_owner_needs_promises_and_gaps(viewer):
    service = make_service(
        "checkout-api", criticality=1, team=make_team("Payments"), primary_responder=make_user("ines"),
        tags=["eu"], links=[{"text": "Dashboard", "href": "https://grafana.example.org"}],
    )  # fmt: skip
    make_dependency(service, needs=make_service("ledger-db"))
    make_dependency(make_service("shop"), needs=service)
    make_slo(service, target_percent="99.95")

    told = viewer.get("services/checkout-api/").json()

    assert (told["criticality"], told["team"]["slug"], told["primary_responder"]["username"]) == (
        1, "payments", "ines")  # fmt: skip
    assert told["secondary_responder"] is None
    assert [need["slug"] for need in told["depends_on"]] == ["ledger-db"]
    assert (told["needed_by_count"], told["tags"]) == (1, ["eu"])
    assert told["links"] == [{"text": "Dashboard", "href": "https://grafana.example.org"}]
    assert told["slos"] == [
        {"name": "Availability", "target_percent": 99.95, "window_days": 30, "indicator": ""}
    ]
    assert {"code": "secondary", "text": "No secondary responder",
            "consequence": "When its primary does not answer, nobody who knows it is next."} in told["gaps"]  # fmt: skip
    assert viewer.get(f"services/{service.pk}/").json() == told


def test_list_pages_and_filters_in_a_constant_number_of_queries(viewer, django_assert_num_queries):
    payments = make_team("Payments")
    for number in range(4):
        service = make_service(f"api-{number}", team=payments, criticality=1 + number % 2, tags=["eu"])
        make_dependency(service, needs=make_service(f"db-{number}", criticality=4))
        make_slo(service)
    viewer.get("services/")

    with django_assert_num_queries(4):  # token, services, objectives, dependencies
        first = viewer.get("services/?limit=3")
    following = viewer.get(first.json()["next"])

    assert names(first) == ["api-0", "db-0", "api-1"]
    assert names(following) == ["db-1", "api-2", "db-2"]
    assert names(viewer.get("services/?criticality=1")) == ["api-0", "api-2"]
    assert names(viewer.get("services/?team=payments&criticality=2")) == ["api-1", "api-3"]
    assert names(viewer.get("services/?tag=eu&search=3")) == ["api-3"]
    assert names(viewer.get("services/?gap=owner")) == ["db-0", "db-1", "db-2", "db-3"]


@pytest.mark.parametrize(
    "query", ["criticality=9", "criticality=high", "name=x", "cursor=!", "limit=0", "search=%00"]
)
def test_filter_that_cannot_be_is_refused(viewer, query):
    assert viewer.get(f"services/?{query}").status_code == 400


def test_blast_radius_is_the_nearest_first(viewer):
    ledger, checkout, shop = make_service("ledger-db"), make_service("checkout-api"), make_service("shop")
    make_dependency(checkout, needs=ledger)
    make_dependency(shop, needs=checkout)

    assert [
        (item["service"]["slug"], item["distance"], (item["via"] or {}).get("slug"))
        for item in viewer.get("services/ledger-db/blast-radius/").json()
    ] == [("checkout-api", 1, None), ("shop", 2, "checkout-api")]


@pytest.mark.parametrize("ref", ["nothing", "999", "9" * 40, "%00"])
def test_service_that_is_not_there(viewer, manager, ref):
    assert viewer.get(f"services/{ref}/").status_code == 404
    assert viewer.get(f"services/{ref}/blast-radius/").status_code == 404
    assert manager.put(f"services/{ref}/", {"name": "x"}).status_code == 404


# --- writing ----------------------------------------------------------------------------------------


def test_manager_creates_and_replaces_a_service(manager):
    make_team("Payments")
    make_user("ines")
    ravi = make_user("ravi")
    make_service("ledger-db")

    made = manager.post("services/", {
        "name": "Checkout API", "criticality": 1, "team": "payments", "primary_responder": "ines",
        "secondary_responder": ravi.pk, "tags": ["EU"], "depends_on": ["ledger-db"],
        "links": [{"text": "Dashboard", "href": "https://grafana.example.org"}],
        "slos": [{"name": "Availability", "target_percent": 99.95}], "grouping_minutes": 30,
    })  # fmt: skip

    assert made.status_code == 201
    assert (made.json()["slug"], made.json()["tags"], made.json()["grouping_minutes"]) == (
        "checkout-api", ["eu"], 30)  # fmt: skip
    assert manager.get("services/checkout-api/").json() == made.json()

    changed = manager.put("services/checkout-api/", {"name": "Checkout"}).json()
    assert (changed["slug"], changed["name"], changed["criticality"], changed["team"]) == (
        "checkout-api", "Checkout", 3, None)  # fmt: skip
    assert [need["slug"] for need in changed["depends_on"]] == ["ledger-db"]
    assert [slo["name"] for slo in changed["slos"]] == ["Availability"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "Ledger-DB"}, "name"),
        ({"criticality": 7}, "criticality"),
        ({"criticality": "one"}, "criticality"),
        ({"team": "nobody"}, "team"),
        ({"primary_responder": "nobody"}, "primary_responder"),
        ({"primary_responder": 10**30}, "primary_responder"),
        ({"primary_responder": True}, "primary_responder"),
        ({"primary_responder": "ines", "secondary_responder": "ines"}, "secondary_responder"),
        ({"depends_on": ["nothing"]}, "depends_on.0"),
        ({"depends_on": "ledger-db"}, "depends_on"),
        ({"links": [{"text": "x", "href": "javascript:alert(1)"}]}, "links.0.href"),
        ({"slos": [{"name": "A", "target_percent": 101}]}, "slos.0.target_percent"),
        ({"slos": [{"name": "A", "target_percent": 0}]}, "slos.0.target_percent"),
        ({"grouping_minutes": -1}, "grouping_minutes"),
        ({"grouping_minutes": 1.5}, "grouping_minutes"),
        ({"tags": ["x" * 41]}, "tags.0"),
        ({"tags": [1]}, "tags.0"),
        ({"owner": "payments"}, "owner"),
    ],
)
def test_service_that_cannot_be_is_refused_by_field_and_nothing_is_stored(manager, changes, key):
    make_user("ines")
    make_service("ledger-db")

    response = manager.post("services/", {"name": "new"} | changes)

    assert response.status_code == 400
    assert key in error(response)["fields"]
    assert Service.objects.count() == 1


def test_dependency_that_closes_a_cycle_is_refused(manager):
    shop, ledger = make_service("shop"), make_service("ledger-db")
    added = manager.post("services/shop/dependencies/", {"service": "ledger-db", "note": "orders"})

    assert (added.status_code, added.json()["service"]["slug"], added.json()["note"]) == (
        201, "ledger-db", "orders")  # fmt: skip
    for refused in (
        manager.post("services/ledger-db/dependencies/", {"service": "shop"}),
        manager.put("services/ledger-db/", {"name": "ledger-db", "depends_on": ["shop"]}),
        manager.post("services/shop/dependencies/", {"service": "shop"}),
    ):
        assert (refused.status_code, error(refused)["code"] in {"cycle", "invalid"}) == (400, True)
        assert "depends_on" in error(refused)["fields"]
    assert Dependency.objects.get().depends_on == ledger

    assert manager.delete("services/shop/dependencies/ledger-db/").status_code == 204
    assert manager.delete("services/shop/dependencies/nothing/").status_code == 404
    assert not Dependency.objects.filter(service=shop).exists()


def test_catalogue_is_read_by_all_and_written_by_managers(viewer):
    make_dependency(make_service("shop"), needs=make_service("ledger-db"))
    responder = Api(make_token(make_user("ravi")))
    read_only = Api(make_token(make_user("admin", role=Role.ADMIN), scope=Scope.READ))

    assert Api().get("services/").status_code == 401
    assert viewer.get("services/shop/").status_code == 200
    for stranger in (viewer, responder, read_only):
        assert stranger.post("services/", {"name": "mine"}).status_code == 403
        assert stranger.put("services/shop/", {"name": "mine"}).status_code == 403
        assert stranger.post("services/ledger-db/dependencies/", {"service": "shop"}).status_code == 403
        assert stranger.delete("services/shop/dependencies/ledger-db/").status_code == 403
    assert sorted(Service.objects.values_list("name", flat=True)) == ["ledger-db", "shop"]
    assert Dependency.objects.count() == 1
