"""One update to one address: queued in its timer's transaction, claimed when somebody tries it, recorded in another.

The timer is armed again as a lease when a mail is queued and when it is claimed. A worker that is killed leaves it, and
the next attempt carries the same Message-ID. Only a claim counts as an attempt: where the timekeeper sends, a mail may
wait in its queue for longer than a lease.
"""

import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urljoin

import structlog
from django.conf import settings
from django.db import transaction
from django.urls import reverse

from accounts.permissions import zone_of
from incidents import timeline
from incidents.models import Incident, Kind, MailStatus, Subscription, Update, UpdateMail
from incidents.updates import queries, rules
from incidents.updates.links import stop_path
from incidents.updates.transitions import MAIL, UNREACHED, topic
from notifications.channels.base import Message
from notifications.models import AttemptOutcome
from notifications.sending import attempt, clock_from
from timers import network
from timers.transitions import cancel_timer, set_timer

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Queued:
    """It is to be tried soon. The same attempt may be queued more than once; the first who claims it has it."""

    mail_id: int
    number: int


@dataclass(frozen=True)
class Claimed:
    """This attempt is ours. Whoever holds it may use the network, once."""

    mail_id: int
    number: int
    message: Message


def lock(mail_id: int) -> UpdateMail | None:
    """The mail, locked until the transaction ends. None: it is gone."""
    return UpdateMail.objects.select_for_update(no_key=True).filter(pk=mail_id).first()


def queue_locked(mail: UpdateMail | None, *, now: datetime) -> Queued | None:
    """For a caller that holds the row's lock. None: there is nothing to send."""
    if mail is None or mail.status != MailStatus.WAITING:
        return None
    _lease(mail, now=now)
    return Queued(mail_id=mail.pk, number=mail.attempts + 1)


def _lease(mail: UpdateMail, *, now: datetime) -> None:
    set_timer(kind=MAIL, key=str(mail.pk), due_at=now + rules.MAIL_LEASE, now=now)


@transaction.atomic
def claim(queued: Queued, *, now: datetime) -> Claimed | None:
    """Take the attempt, and count it. None: somebody else did, or there is nothing to send any more."""
    mail = lock(queued.mail_id)
    if mail is None or mail.status != MailStatus.WAITING or mail.attempts != queued.number - 1:
        return None
    # Read after the lock was granted, so an end of the subscription that came meanwhile counts.
    wanted = (
        Subscription.objects.filter(pk=mail.subscription_id, ended_at__isnull=True)
        .exclude(user__is_active=False)
        .select_related("user", "incident", "service", "created_by")
        .first()
    )
    if wanted is None:
        _finish(mail, MailStatus.DROPPED)
        return None
    if mail.attempts >= rules.MAIL_ATTEMPTS:
        mail.last_error = mail.last_error or "The worker did not report back"
        _fail(mail, now=now)
        return None
    mail.attempts = queued.number
    mail.save(update_fields=["attempts"])
    _lease(mail, now=now)
    update = Update.objects.select_related("incident__service").get(pk=mail.update_id)
    return Claimed(mail_id=mail.pk, number=mail.attempts, message=message_of(mail, update, wanted))


def _finish(mail: UpdateMail, status: str) -> None:
    mail.status = status
    mail.save(update_fields=["status", "last_error", "sent_at"])
    cancel_timer(kind=MAIL, key=str(mail.pk))


def _fail(mail: UpdateMail, *, now: datetime) -> None:
    """The room hears of it soon, of all that failed together. All who fail in one minute set the same time."""
    _finish(mail, MailStatus.FAILED)
    set_timer(kind=UNREACHED, key=str(mail.update_id), due_at=rules.told_at(now), now=now)


@transaction.atomic
def record(*, claimed: Claimed, outcome: str, detail: str, now: datetime) -> None:
    """What became of an attempt. What was sent was sent, however late the news; other late news changes nothing."""
    mail = lock(claimed.mail_id)
    if mail is None or mail.status == MailStatus.SENT:
        return
    if outcome == AttemptOutcome.SENT:
        mail.sent_at, mail.last_error = now, ""
        _finish(mail, MailStatus.SENT)
        return
    if mail.status != MailStatus.WAITING or mail.attempts != claimed.number:
        return
    mail.last_error = detail[:500]
    if outcome == AttemptOutcome.DROPPED:
        _finish(mail, MailStatus.DROPPED)
    elif outcome == AttemptOutcome.PERMANENT or mail.attempts >= rules.MAIL_ATTEMPTS:
        _fail(mail, now=now)
    else:
        mail.save(update_fields=["last_error"])
        set_timer(kind=MAIL, key=str(mail.pk), due_at=now + rules.mail_again(mail.attempts), now=now)


def tell_the_room(update: Update, incident: Incident, *, now: datetime) -> None:
    """Who did not get an update, in one entry: when nothing of it is on its way any more, or that takes too long.

    For the timer, which holds the incident's lock.
    """
    if rules.may_still_arrive(
        waiting=update.mails.filter(status=MailStatus.WAITING).exists(), posted_at=update.at, now=now
    ):
        set_timer(kind=UNREACHED, key=str(update.pk), due_at=rules.told_at(now), now=now)
        return
    entries = incident.timeline.filter(kind=Kind.DELIVERY_FAILED, data__update=update.pk)
    said = {pk for told in entries.values_list("data__mails", flat=True) for pk in told or ()}
    failed = list(update.mails.filter(status=MailStatus.FAILED).exclude(pk__in=said))
    if not failed:
        return
    timeline.record(
        incident, Kind.DELIVERY_FAILED, at=now,
        text=rules.unreached(
            number=queries.number_of(update), emails=[mail.email for mail in failed], of=update.mails.count(),
            errors=[mail.last_error for mail in failed],
        ),
        data={"update": update.pk, "channel": "email", "mails": [mail.pk for mail in failed]},
    )  # fmt: skip


# --- what it says -----------------------------------------------------------------------------------------------


def message_of(mail: UpdateMail, update: Update, subscription: Subscription) -> Message:
    incident = update.incident
    title = rules.subject(
        severity=incident.severity, service=incident.service.name, number=queries.number_of(update),
        is_drill=incident.is_drill,
    )  # fmt: skip
    zone = zone_of(subscription.user) if subscription.user else zoneinfo.ZoneInfo("UTC")
    stop = _absolute(stop_path(subscription.pk))
    return Message(
        idempotency_key=str(mail.idempotency_key),
        address=mail.email,
        title=title,
        body="\n".join(
            [
                f"{title} on {incident.ref}, {incident.title}",
                f"Impact: {update.impact}",
                f"What is done: {update.action}",
                f"Next update: {_next(update, zone)}",
                f"Running since: {_said(incident.triggered_at, zone)}",
            ]
        ),
        # Who has no account would only meet the sign-in page.
        link=_absolute(reverse("incidents:detail", args=[incident.pk])) if subscription.user_id else "",
        action="Open the room",
        why=f"{why(subscription)} To get no more of them: {stop}",
        unsubscribe=stop,
        urgency="low",
        topic=topic(incident),
        recipient=str(subscription.user or mail.email),
        kind="update",
        created_at=update.at,
    )


def _next(update: Update, zone: zoneinfo.ZoneInfo) -> str:
    if update.next_update_at is not None:
        return f"by {_said(update.next_update_at, zone)}"
    return "none is promised" if update.incident.is_open else "none, it is over"


def _said(at: datetime, zone: zoneinfo.ZoneInfo) -> str:
    local = at.astimezone(zone)
    text = f"{local.day} {local:%b %H:%M} {local.tzname()}"
    return text if zone.key == "UTC" else f"{text} ({at.astimezone(UTC):%H:%M} UTC)"


def what(subscription: Subscription) -> str:
    """Of what: INC-42, the incidents of a service, or all."""
    if subscription.incident is not None:
        return f"updates of {subscription.incident.ref}"
    worse = "" if subscription.min_severity == 4 else f" of SEV{subscription.min_severity} and worse"
    if subscription.service is not None:
        return f"updates of all incidents{worse} on {subscription.service.name}"
    return f"updates of all incidents{worse}"


def why(subscription: Subscription) -> str:
    by = subscription.created_by
    if by is None or by.pk == subscription.user_id:
        return f"You get this because you subscribed to {what(subscription)}."
    return f"You get this because {by} subscribed you to {what(subscription)}."


def _absolute(path: str) -> str:
    return urljoin(f"{settings.MUSTER_BASE_URL}/", path)


# --- the network ------------------------------------------------------------------------------------------------


def dispatch(queued: Queued, *, now: datetime) -> None:
    clock = clock_from(now)
    network.run(lambda: hand_over(queued, clock=clock), lane="updates", threads=4, once=queued)


def hand_over(queued: Queued, *, clock: Callable[[], datetime]) -> None:
    """Claim, send, and record the result. If it can not be recorded, the lease brings the next attempt."""
    claimed = claim(queued, now=clock())
    if claimed is None:
        return
    outcome, detail = attempt(
        channel="email", message=claimed.message, last_look=lambda: _is_still_wanted(claimed)
    )
    record(claimed=claimed, outcome=outcome, detail=detail, now=clock())
    log.info("update_mail", mail=claimed.mail_id, attempt=claimed.number, outcome=outcome, detail=detail)


def _is_still_wanted(claimed: Claimed) -> bool:
    return UpdateMail.objects.filter(
        pk=claimed.mail_id, status=MailStatus.WAITING, attempts=claimed.number,
        subscription__ended_at__isnull=True, subscription__isnull=False,
    ).exists()  # fmt: skip
