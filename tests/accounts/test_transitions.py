from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, transaction

from accounts import transitions
from accounts.models import ApiToken, AuditEntry, Role, digest
from core.errors import Invalid, Missing, Refused
from tests.factories.accounts import make_user

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def make(**fields: object) -> tuple[ApiToken, str]:
    fields.setdefault("user", None)
    fields["user"] = fields["user"] or make_user()
    return transitions.create_token(
        **{"name": "deploys", "scope": "write", "expires_at": None, "now": NOW} | fields
    )


def test_only_the_digest_of_a_token_is_kept() -> None:
    token, secret = make()
    assert secret.startswith("muster_") and len(secret) == 50
    assert token.digest == digest(secret)
    assert token.hint == secret[:12]
    assert not [value for value in ApiToken.objects.values().get().values() if value == secret]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": "  "}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"scope": "all"}, "scope"),
        ({"expires_at": NOW}, "expires_at"),
    ],
)
def test_a_wrong_token_is_refused_and_nothing_is_stored(fields: dict, wrong: str) -> None:
    with pytest.raises(Invalid) as refusal:
        make(**fields)
    assert list(refusal.value.fields) == [wrong]
    assert not ApiToken.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_person_has_at_most_fifty_tokens_that_work() -> None:
    user = make_user()
    for _ in range(transitions.MAX_TOKENS):
        token, _ = make(user=user)
    with pytest.raises(Refused):
        make(user=user)
    transitions.revoke_token(token_id=token.pk, user=user, now=NOW)
    make(user=user)


def test_revoking_again_changes_nothing() -> None:
    user = make_user()
    token, _ = make(user=user)
    transitions.revoke_token(token_id=token.pk, user=user, now=NOW)
    transitions.revoke_token(token_id=token.pk, user=user, now=NOW + timedelta(hours=1))
    token.refresh_from_db()
    assert token.revoked_at == NOW
    assert AuditEntry.objects.filter(action="token_revoked").count() == 1


def test_nobody_revokes_the_token_of_another_but_an_admin() -> None:
    token, _ = make()
    with pytest.raises(Missing):
        transitions.revoke_token(token_id=token.pk, user=make_user(role=Role.MANAGER), now=NOW)
    token.refresh_from_db()
    assert token.revoked_at is None
    transitions.revoke_token(token_id=token.pk, user=make_user(role=Role.ADMIN), now=NOW)
    token.refresh_from_db()
    assert token.revoked_at == NOW


def test_a_change_of_role_is_written_down() -> None:
    admin, user = make_user(role=Role.ADMIN), make_user(full_name="Ravi Menon")
    transitions.set_role(user_id=user.pk, role=Role.MANAGER, by=admin, now=NOW)
    user.refresh_from_db()
    assert user.role == Role.MANAGER
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.subject, entry.at) == (admin, user, NOW)
    assert entry.text == "changed the role of Ravi Menon from responder to manager"


def test_the_last_admin_stays_admin() -> None:
    admin = make_user(role=Role.ADMIN)
    make_user(role=Role.ADMIN, is_active=False)
    with pytest.raises(Refused, match="is the last admin"):
        transitions.set_role(user_id=admin.pk, role=Role.VIEWER, by=admin, now=NOW)
    admin.refresh_from_db()
    assert admin.role == Role.ADMIN
    assert not AuditEntry.objects.exists()


def test_an_admin_steps_down_when_another_remains() -> None:
    admin, other = make_user(role=Role.ADMIN), make_user(role=Role.ADMIN)
    transitions.set_role(user_id=admin.pk, role=Role.VIEWER, by=other, now=NOW)
    admin.refresh_from_db()
    assert admin.role == Role.VIEWER


def test_the_database_refuses_to_change_the_audit() -> None:
    make()
    with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
        AuditEntry.objects.update(text="nothing happened")
    with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
        AuditEntry.objects.all().delete()
    assert AuditEntry.objects.get().action == "token_created"
