"""Reads: who can be reached, who is let in all the same, and what the newest look found."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts.models import ContactMethod, User
from readiness import rules
from readiness.models import Report, Waiver
from readiness.rules import Proof


def reverify_every() -> timedelta | None:
    days = settings.MUSTER_REVERIFY_DAYS
    return timedelta(days=days) if days else None


def proofs_of(user_ids: Collection[int], *, now: datetime) -> dict[int, list[tuple[ContactMethod, Proof]]]:
    """By user id, for each that was asked for. One query."""
    found: dict[int, list[tuple[ContactMethod, Proof]]] = {pk: [] for pk in user_ids}
    every = reverify_every()
    for method in ContactMethod.objects.filter(user__in=user_ids).order_by("pk"):
        found[method.user_id].append((method, proof_of(method, now=now, every=every)))
    return found


def proof_of(method: ContactMethod, *, now: datetime, every: timedelta | None) -> Proof:
    return rules.proof(
        verified_at=method.verified_at, flagged_at=method.flagged_at, is_off=method.disabled_at is not None,
        now=now, every=every,
    )  # fmt: skip


def waivers() -> QuerySet[Waiver]:
    """Those that hold now. By the database's clock: a page is decided in the same transaction."""
    return Waiver.objects.filter(ended_at__isnull=True, until__gt=Now()).select_related("user", "given_by")


def waived(user_ids: Collection[int]) -> set[int]:
    return set(waivers().filter(user__in=user_ids).values_list("user_id", flat=True))


def reached(user_ids: Collection[int], *, now: datetime) -> set[int]:
    """Those whom a message is sent to that somebody has confirmed, and those with a waiver. Two queries."""
    proofs = proofs_of(user_ids, now=now)
    by_method = {pk for pk, mine in proofs.items() if {proof for _, proof in mine} & rules.RINGS}
    missing = set(user_ids) - by_method
    return by_method | (waived(missing) if missing else set())


def kept_out(people: Collection[User], *, now: datetime) -> dict[int, str]:
    """Why each of these people can't be put on call, by id; those with a waiver are not in it."""
    proofs = proofs_of([person.pk for person in people], now=now)
    why = {
        person.pk: reason
        for person in people
        if (reason := rules.why_not_reached(proof for _, proof in proofs[person.pk]))
    }
    let_in = waived(why) if why else set()
    return {pk: reason for pk, reason in why.items() if pk not in let_in}


def newest_report() -> Report | None:
    return Report.objects.select_related("asked_by").first()
