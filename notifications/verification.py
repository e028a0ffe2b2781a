"""Codes that prove that a person reads what is sent to a contact method."""

import secrets
from datetime import datetime

from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts.models import ContactMethod
from core.errors import Invalid, Refused
from notifications import queries, rules, transitions
from notifications.models import Verification


def code_for(method: ContactMethod | None) -> str:
    """The six digits that are valid for this method now; empty when none was asked for. Kept nowhere."""
    verification = Verification.objects.filter(method=method).first() if method else None
    if verification is None:
        return ""
    value = f"{verification.method_id}:{verification.nonce}"
    digest = salted_hmac("muster.contact_method", value, algorithm="sha256").hexdigest()
    return f"{int(digest[:15], 16) % 1_000_000:06d}"


@transaction.atomic
def send_code(*, method: ContactMethod, now: datetime) -> None:
    """A new code is sent; an older one no longer counts. Raises Refused when too many were asked for."""
    asked = queries.sent_by_hand_since(method.user, queries.VERIFY_TOPIC, queries.recently(now))
    if asked >= rules.CODES_PER_HOUR:
        raise Refused(
            f"{asked} codes were sent within the hour. The next one can be sent later.", code="too_many"
        )
    nonce = secrets.token_hex(16)
    Verification.objects.update_or_create(
        method=method, defaults={"nonce": nonce, "sent_at": now, "wrong_tries": 0}
    )
    topic = f"{queries.VERIFY_TOPIC}{method.pk}"
    transitions.cancel_topic(topic=topic, now=now)
    minutes = int(rules.CODE_GOOD_FOR.total_seconds() // 60)
    transitions.notify_by(
        method=method, dedupe_key=f"verify:{nonce}", topic=topic, now=now, reason="To verify this method",
        title="Your code for Muster",
        body=f"Type this code into Muster within {minutes} min. Then pages can be sent here.",
        context={"kind": "verification"},
    )  # fmt: skip


def confirm(*, method: ContactMethod, code: str, now: datetime) -> None:
    """The method counts from now on. Raises Invalid with what to do when the code is wrong or old."""
    if not _confirmed(method=method, code=code, now=now):
        raise Invalid(
            "This is not the code. Look at the newest message.", fields={"code": ["This is not the code."]}
        )


@transaction.atomic
def _confirmed(*, method: ContactMethod, code: str, now: datetime) -> bool:
    """False after a wrong code, which is counted: raising here would undo the count."""
    verification = Verification.objects.select_for_update().filter(method=method).first()
    if verification is None or now > verification.sent_at + rules.CODE_GOOD_FOR:
        raise Invalid("This code is too old. Send a new one.", fields={"code": ["This code is too old."]})
    if verification.wrong_tries >= rules.CODE_WRONG_TRIES:
        raise Invalid("Too many wrong codes. Send a new one.", fields={"code": ["Too many wrong codes."]})
    if not constant_time_compare("".join(code.split()), code_for(method)):
        verification.wrong_tries += 1
        verification.save(update_fields=["wrong_tries"])
        return False
    verification.delete()
    ContactMethod.objects.filter(pk=method.pk).update(verified_at=now, flagged_at=None, flag_reason="")
    method.verified_at = now
    transitions.cancel_topic(topic=f"{queries.VERIFY_TOPIC}{method.pk}", now=now)
    return True
