import re
from typing import Any

import pytest
from django.test import Client

from accounts.models import ApiToken, AuditEntry, Role, User
from tests.factories.accounts import PASSWORD, make_team, make_token, make_user

pytestmark = pytest.mark.django_db


def sign_in(client: Client, **fields: Any) -> Any:
    user = make_user(**fields)
    client.force_login(user)
    return user


def test_a_new_token_is_shown_once(client: Client) -> None:
    user = sign_in(client)
    response = client.post("/profile/tokens/", {"name": "deploys", "scope": "read", "lifetime": "30"})
    secret = re.search(r"muster_[\w-]{43}", response.content.decode())[0]
    assert "no-store" in response["Cache-Control"]
    token = user.api_tokens.get()
    assert (token.name, token.scope) == ("deploys", "read")
    page = client.get("/profile/").content.decode()
    assert token.hint in page
    assert secret not in page


def test_a_token_without_a_name_is_refused_beside_the_field(client: Client) -> None:
    sign_in(client)
    response = client.post("/profile/tokens/", {"name": "", "scope": "read", "lifetime": "30"})
    assert response.status_code == 422
    assert not ApiToken.objects.exists()


def test_a_revoked_token_stays_in_the_list_without_a_button(client: Client) -> None:
    user = sign_in(client)
    client.post("/profile/tokens/", {"name": "deploys", "scope": "read", "lifetime": ""})
    token = user.api_tokens.get()
    response = client.post(f"/profile/tokens/{token.pk}/revoke/", follow=True)
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert "What used it is refused from now on." in response.content.decode()
    assert f"/profile/tokens/{token.pk}/revoke/" not in response.content.decode()


def test_the_profile_keeps_name_and_zone(client: Client) -> None:
    user = sign_in(client)
    response = client.post("/profile/", {"full_name": "Ravi Menon", "time_zone": "Asia/Kolkata"})
    assert response.status_code == 302
    user.refresh_from_db()
    assert (user.full_name, user.time_zone) == ("Ravi Menon", "Asia/Kolkata")


@pytest.mark.parametrize(
    "wrong",
    [
        {"full_name": "", "time_zone": "UTC"},
        {"full_name": "Ravi", "time_zone": "Mars/Olympus"},
        {"full_name": "Ra\x00vi", "time_zone": "UTC"},
        {"full_name": "x" * 121, "time_zone": "UTC"},
    ],
)
def test_a_wrong_profile_is_refused_and_nothing_changes(client: Client, wrong: dict) -> None:
    user = sign_in(client, full_name="Before")
    assert client.post("/profile/", wrong).status_code == 422
    user.refresh_from_db()
    assert (user.full_name, user.time_zone) == ("Before", "UTC")


def test_the_toggle_keeps_the_theme(client: Client) -> None:
    user = sign_in(client)
    assert (
        client.post("/profile/theme/", {"theme": "dark"}, headers={"HX-Request": "true"}).status_code == 204
    )
    user.refresh_from_db()
    assert user.theme == "dark"
    assert 'data-bs-theme="dark"' in client.get("/profile/").content.decode()
    assert client.post("/profile/theme/", {"theme": "pink"}).status_code == 400
    user.refresh_from_db()
    assert user.theme == "dark"


def test_the_toggle_without_a_script_goes_back_but_never_to_another_site(client: Client) -> None:
    sign_in(client)
    there = client.post(
        "/profile/theme/", {"theme": "dark"}, headers={"Referer": "http://testserver/people/"}
    )
    assert there["Location"] == "http://testserver/people/"
    away = client.post("/profile/theme/", {"theme": "dark"}, headers={"Referer": "http://evil.example/"})
    assert away["Location"] == "/profile/"


def test_people_are_found_by_name_and_come_in_pages(client: Client) -> None:
    sign_in(client, role=Role.VIEWER, full_name="Zoe")
    for number in range(60):
        make_user(full_name=f"Person {number:02d}")
    first = client.get("/people/").content.decode()
    assert "Person 00" in first and "Person 59" not in first
    assert "Person 59" in client.get("/people/?page=2").content.decode()
    found = client.get("/people/?q=person+59").content.decode()
    assert "Person 59" in found and "Person 00" not in found
    assert client.get("/people/?q=%00&page=x").status_code == 200


def test_people_and_teams_are_narrowed_by_the_address(client: Client) -> None:
    sign_in(client, role=Role.VIEWER, full_name="Zoe")
    ravi = make_user(full_name="Ravi", role=Role.MANAGER, expertise=["network"])
    make_user(full_name="Gone", is_active=False)
    make_team("Payments", members=[ravi])
    make_team("Search", members=[])

    def named(query: str) -> list[str]:
        return [str(row) for row in client.get(query).context["page"]]

    assert named("/people/") == ["Ravi", "Zoe"]
    for narrow in ("role=manager", "team=payments", "q=Network", "team=payments&role=manager&q=rav"):
        assert named(f"/people/?{narrow}") == ["Ravi"], narrow
    assert named("/people/?state=inactive") == ["Gone"]
    for nothing in ("team=none", "role=king", "team=%00x"):
        assert named(f"/people/?{nothing}") == [], nothing
    assert named("/teams/?q=pay") == ["Payments"]
    assert "led by" not in client.get("/teams/").content.decode()


def test_lists_cost_the_same_whatever_their_length(
    client: Client, django_assert_max_num_queries: Any
) -> None:
    sign_in(client)
    team = make_team("Payments", members=[make_user() for _ in range(40)])
    for address in ("/people/", "/teams/", f"/teams/{team.slug}/"):
        with django_assert_max_num_queries(7):
            assert client.get(address).status_code == 200


def test_a_team_counts_and_names_who_is_active(client: Client) -> None:
    sign_in(client)
    gone = make_user(full_name="Gone Away", is_active=False)
    team = make_team("Payments", members=[make_user(full_name="Here Now"), gone])
    assert [row.member_count for row in client.get("/teams/").context["page"]] == [1]
    assert "Gone Away" not in client.get(f"/teams/{team.slug}/").content.decode()
    told = client.get(f"/api/v1/teams/{team.slug}/").json()["members"]
    assert [member["user"]["name"] for member in told] == ["Here Now"]


def test_an_admin_changes_a_role(client: Client) -> None:
    sign_in(client, role=Role.ADMIN, full_name="Ada Admin")
    user = make_user(role=Role.VIEWER, full_name="Vera Lund")
    page = client.post(f"/people/{user.pk}/role/", {"role": "manager"}, follow=True).content.decode()
    user.refresh_from_db()
    assert user.role == Role.MANAGER
    assert "Vera Lund is manager now." in page
    assert "changed the role of Vera Lund from viewer to manager" in page


@pytest.mark.parametrize("role", [Role.VIEWER, Role.RESPONDER, Role.MANAGER])
def test_nobody_else_changes_a_role(client: Client, role: str) -> None:
    sign_in(client, role=role)
    user = make_user(role=Role.VIEWER)
    assert client.post(f"/people/{user.pk}/role/", {"role": "admin"}).status_code == 403
    user.refresh_from_db()
    assert user.role == Role.VIEWER
    assert not AuditEntry.objects.exists()
    assert (
        "<form" not in client.get(f"/people/{user.pk}/").content.decode().split("<main")[1].split("</main")[0]
    )


def test_the_last_admin_is_told_why_they_stay(client: Client) -> None:
    admin = sign_in(client, role=Role.ADMIN)
    page = client.post(f"/people/{admin.pk}/role/", {"role": "viewer"}, follow=True).content.decode()
    assert "is the last admin. Make somebody else an admin first." in page


NEW = {"full_name": "Nora New", "email": "nora@example.org", "username": "nora", "role": "responder"}


def test_an_added_person_sets_a_password_by_the_mailed_link(client: Client, mailoutbox: list) -> None:
    sign_in(client, role=Role.ADMIN)
    page = client.post("/people/add/", NEW, follow=True).content.decode()
    assert "A link to set a password is on its way to nora@example.org." in page
    assert "added Nora New as responder" in page
    [mail] = mailoutbox
    assert mail.to == ["nora@example.org"]
    link = re.search(r"http://testserver(/account/password/reset/key/\S+)", mail.body)[1]
    nora = Client()
    form = nora.get(link, follow=True).redirect_chain[-1][0]
    nora.post(form, {"password1": PASSWORD, "password2": PASSWORD})
    nora.post("/account/login/", {"login": "nora", "password": PASSWORD})
    assert nora.get("/profile/").status_code == 200


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"username": "RAVI"}, "username"),
        ({"email": "RAVI@example.org"}, "email"),
        ({"username": "a b"}, "username"),
        ({"email": "nobody"}, "email"),
        ({"role": "boss"}, "role"),
        ({"full_name": ""}, "full_name"),
    ],
)
def test_a_wrong_person_is_refused_beside_the_field(
    client: Client, mailoutbox: list, changed: dict, field: str
) -> None:
    sign_in(client, role=Role.ADMIN)
    make_user("ravi")
    response = client.post("/people/add/", NEW | changed)
    assert response.status_code == 422
    assert list(response.context["form"].errors) == [field]
    assert User.objects.count() == 2
    assert not mailoutbox


def test_without_a_mail_server_the_person_is_added_and_the_admin_is_told(
    client: Client, settings: Any, tmp_path: Any
) -> None:
    sign_in(client, role=Role.ADMIN)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    page = client.post("/people/add/", NEW, follow=True).content.decode()
    assert "Nora New is added, but the mail was not sent." in page


def test_who_is_made_inactive_is_out_at_once(client: Client) -> None:
    sign_in(client, role=Role.ADMIN)
    ravi = make_user("ravi")
    his = Client()
    his.force_login(ravi)
    token = make_token(ravi)
    client.post(f"/people/{ravi.pk}/active/", {"active": "false"})
    assert his.get("/profile/").status_code == 302
    assert Client().get("/api/v1/me/", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    client.post(f"/people/{ravi.pk}/active/", {"active": "true"})
    assert Client().get("/api/v1/me/", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_the_last_admin_cannot_be_made_inactive(client: Client) -> None:
    admin = sign_in(client, role=Role.ADMIN)
    page = client.post(f"/people/{admin.pk}/active/", {"active": "false"}, follow=True).content.decode()
    assert "is the last admin. Make somebody else an admin first." in page
    admin.refresh_from_db()
    assert admin.is_active
