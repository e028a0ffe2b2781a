"""Subscribing a browser, and the proof that a push arrived there."""

from collections.abc import Mapping
from datetime import datetime

from django.core import signing
from django.db import transaction
from django.utils.crypto import constant_time_compare

from accounts.models import ContactKind, ContactMethod, User
from core.errors import Missing
from notifications import kinds, methods, verification
from notifications.channels.base import PermanentError
from notifications.channels.push import CONFIRM_SALT, GONE
from notifications.models import Delivery
from notifications.push import rules
from notifications.rules import CODE_GOOD_FOR
from notifications.sealing import seal, unseal


@transaction.atomic
def use_browser(*, user: User, given: Mapping[str, str], label: str, now: datetime) -> ContactMethod:
    """The person's method for this browser. Unless a push has arrived there already, one is on its way.

    The same browser again is the same method. Raises Invalid with the field.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    target = kinds.read(ContactKind.PUSH, given)
    known = _with_endpoint(user, given["endpoint"])
    if known is None:
        return methods.add_method(user=user, kind=ContactKind.PUSH, given=given, label=label, now=now)
    if known.flagged_at is not None or known.disabled_at is not None:
        known.verified_at = None  # it has failed: a push must arrive before it is used again
    known.sealed, known.disabled_at = seal(target.whole), None
    known.save(update_fields=["sealed", "disabled_at", "verified_at"])
    if known.verified_at is None:
        verification.send_code(method=known, now=now)
    return known


@transaction.atomic
def renew(*, user: User, old: str, given: Mapping[str, str], now: datetime) -> ContactMethod:
    """The browser has replaced its subscription. A push must arrive by the new one before it is used.

    Raises Missing unless the old address is one of the person's.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    target = kinds.read(ContactKind.PUSH, given)
    method = _with_endpoint(user, old)
    if method is None:
        raise Missing("You have no such browser.")
    method.address, method.sealed = target.shown, seal(target.whole)
    method.verified_at = method.disabled_at = None
    method.save(update_fields=["address", "sealed", "verified_at", "disabled_at"])
    verification.send_code(method=method, now=now)
    return method


def confirm(*, token: str, now: datetime) -> ContactMethod:
    """A push arrived: the worker sends back what was in it. Raises Missing for a token that is old, used or not ours."""
    try:
        mark, code = signing.loads(token, salt=CONFIRM_SALT, max_age=CODE_GOOD_FOR)
    except (signing.BadSignature, ValueError):
        raise Missing("This push is too old.") from None
    # Two people may use one browser; each has a code of their own.
    for method in ContactMethod.objects.filter(
        kind=ContactKind.PUSH, address__endswith=f"({mark})", user__is_active=True
    ):
        if constant_time_compare(verification.code_for(method), code):
            verification.confirm(method=method, code=code, now=now)
            return method
    raise Missing("This push is too old.")


def switch_off(delivery: Delivery, now: datetime) -> None:
    """A browser that has ended its subscription never takes a message again: later pages must not begin with it."""
    if delivery.channel == ContactKind.PUSH and delivery.last_error.startswith(GONE):
        ContactMethod.objects.filter(pk=delivery.method_id, disabled_at__isnull=True).update(disabled_at=now)


def _with_endpoint(user: User, endpoint: str) -> ContactMethod | None:
    found = user.contact_methods.select_for_update(no_key=True).filter(
        kind=ContactKind.PUSH, address__endswith=f"({rules.mark(endpoint)})"
    )
    return next((method for method in found if _endpoint(method) in ("", endpoint)), None)


def _endpoint(method: ContactMethod) -> str:
    """Empty when it can no longer be read, which a new subscription mends."""
    try:
        return rules.read_subscription(unseal(method.sealed)).endpoint
    except (PermanentError, ValueError):
        return ""
