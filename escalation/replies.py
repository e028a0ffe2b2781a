"""Escalating from a call or an SMS: the same as the button."""

from datetime import datetime

from accounts.models import User
from escalation import transitions
from incidents.replies import page_of
from notifications import hooks, rules
from notifications.models import Notification

_VIA = {"phone": "by phone", "sms": "by SMS"}


@hooks.action(rules.ESCALATE)
def escalate(notification: Notification, by: User, now: datetime, via: str) -> str:
    page = page_of(notification)
    incident = transitions.escalate_now(
        incident_id=page.incident_id, by=by, reason=_VIA.get(via, "by link"), now=now
    )
    return f"{incident.ref} is escalated. The next people are paged."
