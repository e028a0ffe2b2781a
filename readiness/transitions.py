"""Writes: waivers, the report, and reminders to confirm a contact method again."""

from datetime import datetime
from time import perf_counter

from django.db import transaction
from django.urls import reverse

from accounts.models import AuditEntry, ContactMethod, User
from accounts.permissions import at_least
from core.errors import Invalid, Missing, NotAllowed
from core.words import duration
from notifications.models import Urgency
from notifications.transitions import notify
from readiness import look, queries, rules
from readiness.models import Report, Waiver
from readiness.rules import Proof

KEEP = rules.NIGHT * 90
TOPIC = "reverify:"


@transaction.atomic
def give_waiver(*, user: User, reason: str, until: datetime, by: User, now: datetime) -> Waiver:
    """`by` answers for it that `user` is on call without a verified contact method. Replaces one that holds."""
    _check_manager(by)
    reason = " ".join(reason.replace("\x00", "").split())
    wrong: dict[str, list[str]] = {}
    if not reason:
        wrong["reason"] = ["Say how this person is reached instead."]
    elif len(reason) > 300:
        wrong["reason"] = ["At most 300 characters."]
    if not now < until <= now + rules.LONGEST_WAIVER:
        wrong["until"] = [f"From now on, at most {rules.LONGEST_WAIVER.days} days."]
    if not user.is_active or user.is_bot:
        wrong["user"] = [f"{user} can't be on call."]
    if wrong:
        raise Invalid("No waiver was given.", fields=wrong)
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    Waiver.objects.filter(user=user, ended_at__isnull=True).update(ended_at=now)
    waiver = Waiver.objects.create(user=user, reason=reason, until=until, given_by=by, given_at=now)
    _audit(
        waiver,
        "waiver_given",
        f"{by} lets {user} be on call unreached until {until:%d %b %Y}: {reason}",
        by,
        now,
    )
    return waiver


@transaction.atomic
def end_waiver(*, waiver_id: int, by: User, now: datetime) -> Waiver:
    """Ending one that is over changes nothing."""
    _check_manager(by)
    waiver = (
        Waiver.objects.select_for_update(of=("self",), no_key=True)
        .select_related("user")
        .filter(pk=waiver_id)
        .first()
    )
    if waiver is None:
        raise Missing("There is no such waiver.")
    if waiver.ended_at is None:
        waiver.ended_at = now
        waiver.save(update_fields=["ended_at"])
        _audit(waiver, "waiver_ended", f"{by} ended the waiver of {waiver.user}", by, now)
    return waiver


def take_a_look(*, now: datetime, by: User | None = None) -> Report:
    """Reads all that the night depends on, in one snapshot of the database, and keeps what was found."""
    began = perf_counter()
    with transaction.atomic():
        findings = look.tonight(now)
        report = Report.objects.create(
            looked_at=now, asked_by=by, findings=[finding.as_json() for finding in findings],
            bad=sum(finding.level == rules.Level.BAD for finding in findings),
            took_ms=int((perf_counter() - began) * 1000),
        )  # fmt: skip
        Report.objects.filter(looked_at__lt=now - KEEP).delete()
    return report


def remind_of_proofs(*, now: datetime) -> int:
    """Ask the owners of methods that nobody confirmed for too long. Once a week for each; how many were asked."""
    every = queries.reverify_every()
    if every is None:
        return 0
    asked = 0
    due = ContactMethod.objects.filter(
        verified_at__lte=now - every, disabled_at__isnull=True, user__is_active=True
    ).select_related("user")
    for method in due.iterator(chunk_size=500):
        if queries.proof_of(method, now=now, every=every) not in (Proof.DUE, Proof.LAPSED):
            continue
        week = (now - method.verified_at) // rules.REMIND_EVERY
        until = method.verified_at + every + rules.GRACE
        left = f"Within {duration(until - now)}" if until > now else "Now"
        with transaction.atomic():
            notify(
                recipient=method.user, dedupe_key=f"{TOPIC}{method.pk}:{method.verified_at:%Y%m%d}:{week}",
                topic=f"{TOPIC}{method.pk}", urgency=Urgency.LOW, now=now, link=reverse("notifications:methods"),
                title=f"Is {method} still yours?",
                body=f"You confirmed it {duration(now - method.verified_at)} ago. {left}, have a new code sent to it and type it "
                "in. Otherwise you cannot be put on call with it.",
                context={"kind": "reverify"},
            )  # fmt: skip
        asked += 1
    return asked


def _audit(waiver: Waiver, action: str, text: str, by: User, now: datetime) -> None:
    AuditEntry.objects.create(
        at=now, actor=by, subject=waiver.user, action=action, text=text[:300], data={"waiver": waiver.pk}
    )


def _check_manager(by: User) -> None:
    if not at_least(by, "manager"):
        raise NotAllowed("Managers and admins may give and end waivers.")
