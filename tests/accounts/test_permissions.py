import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils import timezone

from accounts.models import Role
from accounts.permissions import at_least, role_required, who_may
from tests.factories.accounts import make_user

pytestmark = pytest.mark.django_db


@role_required("responder")
def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(timezone.get_current_timezone_name())


def ask(user: object, **headers: str) -> HttpResponse:
    request = RequestFactory().get("/incidents/?status=open", headers=headers)
    request.user = user
    return view(request)


@pytest.mark.parametrize(
    ("role", "may"),
    [(Role.VIEWER, False), (Role.RESPONDER, True), (Role.MANAGER, True), (Role.ADMIN, True)],
)
def test_each_role_may_what_the_ones_below_it_may(role: str, may: bool) -> None:
    assert at_least(make_user(role=role), Role.RESPONDER) is may


def test_an_inactive_admin_may_nothing() -> None:
    assert not at_least(make_user(role=Role.ADMIN, is_active=False), Role.VIEWER)


def test_nobody_may_nothing() -> None:
    assert not at_least(AnonymousUser(), Role.VIEWER)


def test_a_page_sends_a_stranger_to_sign_in_and_back() -> None:
    response = ask(AnonymousUser())
    assert response.status_code == 302
    assert response["Location"] == "/account/login/?next=%2Fincidents%2F%3Fstatus%3Dopen"


def test_a_fragment_makes_its_page_go_to_sign_in_and_back_to_the_page() -> None:
    response = ask(
        AnonymousUser(), HX_Request="true", HX_Current_URL="http://testserver/incidents/INC-4/?tab=pages"
    )
    assert response.status_code == 401
    assert response["HX-Redirect"] == "/account/login/?next=%2Fincidents%2FINC-4%2F%3Ftab%3Dpages"


def test_signing_in_never_leads_to_another_site() -> None:
    response = ask(AnonymousUser(), HX_Request="true", HX_Current_URL="http://evil.example//evil.example/x")
    assert response["HX-Redirect"] == "/account/login/?next=%2F"


def test_a_refusal_says_who_may_and_whom_to_ask() -> None:
    make_user(role=Role.ADMIN, full_name="Ada Admin")
    response = ask(make_user(role=Role.VIEWER, full_name="Vera Lund"))
    assert response.status_code == 403
    text = response.content.decode()
    assert "Responders, managers and admins may do this. You are signed in as Vera Lund, viewer." in text
    assert "Ask Ada Admin for a higher role." in text


def test_who_may_speaks_of_one_role_too() -> None:
    assert who_may("admin") == "Admins may do this."


def test_a_view_runs_in_the_zone_of_the_person() -> None:
    assert ask(make_user(time_zone="Asia/Kolkata")).content == b"Asia/Kolkata"


def test_a_zone_that_the_machine_does_not_know_counts_as_utc() -> None:
    assert ask(make_user(time_zone="Mars/Olympus")).content == b"UTC"


def test_a_misspelt_role_is_found_when_the_module_is_loaded() -> None:
    with pytest.raises(ValueError, match="'responders' is not a role"):
        role_required("responders")
