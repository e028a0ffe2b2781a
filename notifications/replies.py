"""What people do from a message: a key in a call, a reply to an SMS, the link to all of a bundle.

Whoever answers acts as the owner of the contact method, with the transitions of the buttons and with that person's
rights. Each request of a provider is carried out once; the same again gets the same answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction

from accounts.models import ContactKind, ContactMethod, User
from accounts.permissions import at_least, who_may
from core.errors import MusterError
from notifications import hooks, queries, rules, transitions
from notifications.mail import Mail, is_automatic, read_token, wish
from notifications.models import Delivery, Notification, NotificationStatus, Reply

log = structlog.get_logger(__name__)


HELP_AGAIN = timedelta(hours=1)
"""How long texts that say nothing are not answered after one was."""


@dataclass(frozen=True)
class Answer:
    text: str
    again: bool = False
    """Whether this request was carried out before."""


def act_on(*, notifications: Sequence[Notification], do: str, by: User, now: datetime, via: str) -> list[str]:
    """Does it for each, and a sentence for each. What is refused for one is done for the others."""
    if not by.is_active or not at_least(by, "responder"):
        return [f"Nothing was done. {who_may('responder')}"]
    said = []
    for notification in notifications:
        try:
            with transaction.atomic():
                said.append(hooks.act(do, notification=notification, by=by, now=now, via=via))
        except MusterError as error:
            said.append(error.message)
    return list(dict.fromkeys(said))


# --- calls ------------------------------------------------------------------------------------------------------


@transaction.atomic
def press(
    *, provider: str, external_id: str, deliveries: Sequence[Delivery], key: str, now: datetime
) -> Answer:
    """A key was pressed in a call about these messages."""
    reply, is_new = _note(provider=provider, external_id=external_id, channel="voice", text=key, now=now)
    if not is_new:
        return Answer(reply.answer, again=True)
    first = deliveries[0] if deliveries else None
    method = first.method if first else None
    do = rules.KEYS.get(key, "")
    if method is None or not _is_in_use(method):
        text = "This number is no longer yours to answer with. Sign in to see what waits for you."
    elif do == rules.HELP:
        text = rules.SPOKEN_HELP
    elif do == rules.REPEAT or not do:
        text = "" if do else "This key does nothing."
    else:
        waiting = [each.notification for each in deliveries]
        text = " ".join(act_on(notifications=waiting, do=do, by=method.user, now=now, via="phone"))
    _finish(reply, method=method, delivery=first, answer=text)
    return Answer(text)


# --- SMS --------------------------------------------------------------------------------------------------------


@transaction.atomic
def read_sms(*, provider: str, external_id: str, sender: str, text: str, now: datetime) -> Answer:
    """An SMS came in. Empty when nothing is answered: to strangers, and to the same message again."""
    reply, is_new = _note(provider=provider, external_id=external_id, channel="sms", text=text, now=now)
    if not is_new:
        return Answer(reply.answer, again=True)
    number = rules.phone_number(sender if sender.startswith("+") else f"+{sender}")
    methods = [
        method
        for method in ContactMethod.objects.select_related("user").filter(
            kind=ContactKind.SMS, address=number or "?"
        )
        if _is_in_use(method)
    ]
    if not methods:
        log.info("sms_from_stranger", provider=provider)
        return Answer("")
    wish = rules.read_reply(text)
    method, delivery, said = methods[0], None, rules.SMS_HELP
    if wish is None and queries.was_answered_with(rules.SMS_HELP, method=method, since=now - HELP_AGAIN):
        said = ""  # two machines would go on for ever
    elif wish is not None and wish.do != rules.HELP:
        method, delivery, said = _carry_out(methods, wish, now=now)
    _finish(reply, method=method, delivery=delivery, answer=said)
    return Answer(said)


def _carry_out(
    methods: Sequence[ContactMethod], wish: rules.Wish, *, now: datetime
) -> tuple[ContactMethod, Delivery | None, str]:
    if wish.code is not None:
        found = queries.message_with_code(methods, wish.code, since=now - rules.GOOD_FOR)
        if found is None or found.method is None:
            return (
                methods[0],
                None,
                f"No message of the last 48 h has the number {wish.code}. {rules.SMS_HELP}",
            )
        said = act_on(
            notifications=[found.notification], do=wish.do, by=found.method.user, now=now, via="sms"
        )
        return found.method, found, " ".join(said)
    waiting = queries.waiting_of(methods, since=now - rules.GOOD_FOR)
    if not waiting:
        return methods[0], None, "Nothing waits for you."
    if len(waiting) > 1 and not wish.all:
        listed = ", ".join(
            f"{each.code}: {rules.subject(each.notification.title)[:40]}" for each in waiting[:6]
        )
        return methods[0], None, f"{len(waiting)} wait for you. Reply with a number, or all. {listed}"
    said = []
    for method in methods:
        mine = [each.notification for each in waiting if each.method_id == method.pk]
        if mine:
            said += act_on(notifications=mine, do=wish.do, by=method.user, now=now, via="sms")
    return methods[0], waiting[0], " ".join(said)[:480]


def answer_by_sms(*, method: ContactMethod, key: str, text: str, now: datetime) -> None:
    """For providers that take no answer with the request: as a message of its own."""
    transitions.notify_by(
        method=method, dedupe_key=f"answer:{key}"[:200], topic=f"{queries.ANSWER_TOPIC}{method.pk}", title=text[:300],
        body="", reason="Answer to your SMS", context={"kind": "answer"}, now=now,
    )  # fmt: skip


# --- mails ------------------------------------------------------------------------------------------------------


@transaction.atomic
def read_mail(*, mail: Mail, now: datetime) -> str:
    """A reply to one of our mails came in. Says what became of it; the person gets that as a mail, unless it was nothing.

    The address that it went to is the right to answer, as the link in the mail is; it must come from the method's own
    address besides. What was quoted, machines and strangers are ignored.
    """
    keys = [
        key
        for address in mail.to
        if (key := read_token(address, domain=settings.MUSTER_REPLY_DOMAIN, secret=settings.SECRET_KEY))
    ]
    do = wish(mail.text)
    if not keys or not do or is_automatic(mail):
        return "Ignored."
    found = queries.of_provider(key=keys[0]).filter(channel="email")
    deliveries = [
        each
        for each in found.select_related("notification__recipient", "method__user").order_by("due_at", "pk")
        if each.method is not None
        and _is_in_use(each.method)
        and each.method.address.lower() == mail.sender.lower()
        and now <= each.created_at + rules.GOOD_FOR
    ]
    if not deliveries:
        log.info("mail_from_stranger")
        return "Ignored."
    reply, is_new = _note(provider="mail", external_id=mail.id, channel="email", text=mail.text, now=now)
    if not is_new:
        return reply.answer
    method = deliveries[0].method
    waiting = [each.notification for each in deliveries]
    said = " ".join(act_on(notifications=waiting, do=do, by=method.user, now=now, via="mail"))
    _finish(reply, method=method, delivery=deliveries[0], answer=said)
    transitions.notify_by(
        method=method, dedupe_key=f"answer:mail:{reply.pk}", topic=f"{queries.ANSWER_TOPIC}{method.pk}",
        title=said[:300], body="", reason="Answer to your mail", context={"kind": "answer"}, now=now,
    )  # fmt: skip
    return said


# --- all of a bundle --------------------------------------------------------------------------------------------


def acknowledge_all(*, bundle_id: int, by: User, now: datetime) -> list[str]:
    waiting = [
        notification
        for notification in queries.notifications_of_bundle(bundle_id)
        if notification.status == NotificationStatus.ACTIVE
    ]
    return act_on(notifications=waiting, do=rules.ACKNOWLEDGE, by=by, now=now, via="link")


KEEP = timedelta(days=30)
PRUNE_BATCH = 5000


def prune(*, now: datetime) -> int:
    """A provider repeats a request for a day at most; after that nobody asks whether it was carried out."""
    old = Reply.objects.filter(received_at__lt=now - KEEP).order_by("received_at").values("pk")[:PRUNE_BATCH]
    return Reply.objects.filter(pk__in=old).delete()[0]


# --- helpers ----------------------------------------------------------------------------------------------------


def _note(*, provider: str, external_id: str, channel: str, text: str, now: datetime) -> tuple[Reply, bool]:
    """The row, and whether it is new. Of two at once, the second waits here for the first."""
    clean = "".join(letter for letter in text if letter.isprintable())[:500]
    Reply.objects.bulk_create(
        [
            Reply(
                provider=provider[:40], external_id=external_id[:200], channel=channel, text=clean, received_at=now
            )
        ],
        ignore_conflicts=True,
    )  # fmt: skip
    reply = Reply.objects.select_for_update().get(provider=provider[:40], external_id=external_id[:200])
    return reply, reply.received_at == now and not reply.answer and reply.method_id is None


def _finish(reply: Reply, *, method: ContactMethod | None, delivery: Delivery | None, answer: str) -> None:
    reply.method, reply.delivery, reply.answer = method, delivery, answer[:700]
    reply.save(update_fields=["method", "delivery", "answer"])


def _is_in_use(method: ContactMethod) -> bool:
    return method.verified_at is not None and method.disabled_at is None and method.user.is_active
