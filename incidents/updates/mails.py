"""One update to one address: claimed in its timer's transaction, sent after the commit, recorded in another.

The timer is armed again as a lease when the mail is claimed. A worker that is killed leaves it, and the next attempt
carries the same Message-ID.
"""

import time
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urljoin

import structlog
from django.conf import settings
from django.db import transaction
from django.urls import reverse

from accounts.permissions import zone_of
from incidents import timeline
from incidents.models import Incident, Kind, MailStatus, Subscription, Update, UpdateMail
from incidents.transitions import lock_incident
from incidents.updates import queries, rules
from incidents.updates.links import stop_path
from incidents.updates.transitions import MAIL, topic
from notifications.channels.base import Message
from notifications.models import AttemptOutcome
from notifications.sending import attempt
from timers import network
from timers.transitions import cancel_timer, set_timer

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Claimed:
    """This attempt is ours. Whoever holds it may use the network, once."""

    mail_id: int
    incident_id: int
    number: int
    at: datetime
    message: Message


def lock(mail_id: int) -> UpdateMail | None:
    """The mail, locked until the transaction ends. None: it is gone."""
    return UpdateMail.objects.select_for_update(no_key=True).filter(pk=mail_id).first()


def claim_locked(mail: UpdateMail | None, *, now: datetime) -> Claimed | None:
    """Take the next attempt, for a caller that holds the row's lock. None: there is nothing to send."""
    if mail is None or mail.status != MailStatus.WAITING:
        return None
    # Read after the lock was granted, so an end of the subscription that came meanwhile counts.
    wanted = (
        Subscription.objects.filter(pk=mail.subscription_id, ended_at__isnull=True)
        .exclude(user__is_active=False)
        .select_related("user", "incident", "service", "created_by")
        .first()
    )
    if wanted is None:
        return _finish(mail, MailStatus.DROPPED)
    if mail.attempts >= rules.MAIL_ATTEMPTS:
        mail.last_error = mail.last_error or "The worker did not report back"
        return _finish(mail, MailStatus.FAILED)
    mail.attempts += 1
    mail.save(update_fields=["attempts"])
    set_timer(kind=MAIL, key=str(mail.pk), due_at=now + rules.MAIL_LEASE, now=now)
    update = Update.objects.select_related("incident__service").get(pk=mail.update_id)
    return Claimed(
        mail_id=mail.pk,
        incident_id=update.incident_id,
        number=mail.attempts,
        at=now,
        message=message_of(mail, update, wanted),
    )


def _finish(mail: UpdateMail, status: str) -> None:
    mail.status = status
    mail.save(update_fields=["status", "last_error", "sent_at"])
    cancel_timer(kind=MAIL, key=str(mail.pk))


@transaction.atomic
def record(*, claimed: Claimed, outcome: str, detail: str, now: datetime) -> None:
    """What became of an attempt. What was sent was sent, however late the news; other late news changes nothing."""
    is_last = outcome == AttemptOutcome.PERMANENT or (
        outcome == AttemptOutcome.TRANSIENT and claimed.number >= rules.MAIL_ATTEMPTS
    )
    incident = lock_incident(claimed.incident_id) if is_last else None  # before the mail's own lock
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
    elif incident is not None:
        _finish(mail, MailStatus.FAILED)
        _tell_once(incident, mail, now=now)
    else:
        mail.save(update_fields=["last_error"])
        set_timer(kind=MAIL, key=str(mail.pk), due_at=now + rules.mail_again(mail.attempts), now=now)


def _tell_once(incident: Incident, mail: UpdateMail, *, now: datetime) -> None:
    """The room hears of the first reader whom an update did not reach. A mail server that is down fails all of them, and
    the dialog of the next update counts them."""
    if incident.timeline.filter(kind=Kind.DELIVERY_FAILED, data__update=mail.update_id).exists():
        return
    timeline.record(
        incident, Kind.DELIVERY_FAILED, at=now,
        text=f"An update did not reach {mail.email} by e-mail: {mail.last_error[:200]}",
        data={"update": mail.update_id, "mail": mail.pk, "channel": "email", "attempts": mail.attempts},
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


def dispatch(claimed: Claimed) -> None:
    network.run(lambda: hand_over(claimed), lane="updates", threads=4)


def hand_over(claimed: Claimed) -> None:
    """Send, and record the result. If it can not be recorded, the lease brings the next attempt."""
    began = time.monotonic()
    outcome, detail = attempt(
        channel="email", message=claimed.message, last_look=lambda: _is_still_wanted(claimed)
    )
    now = claimed.at + timedelta(seconds=time.monotonic() - began)
    record(claimed=claimed, outcome=outcome, detail=detail, now=now)
    log.info("update_mail", mail=claimed.mail_id, attempt=claimed.number, outcome=outcome, detail=detail)


def _is_still_wanted(claimed: Claimed) -> bool:
    return UpdateMail.objects.filter(
        pk=claimed.mail_id, status=MailStatus.WAITING, attempts=claimed.number,
        subscription__ended_at__isnull=True, subscription__isnull=False,
    ).exists()  # fmt: skip
