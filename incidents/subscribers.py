"""What an incident does when a message of it can not be delivered."""

from datetime import datetime

from django.db import transaction

from incidents import replies as _replies  # noqa: F401  registers itself, as the subscribers below do
from incidents import timeline
from incidents.grouping import subscribers as grouping_subscribers  # noqa: F401  registers itself, as the next three do
from incidents.models import Kind, Page
from incidents.roles import subscribers as roles_subscribers  # noqa: F401
from incidents.snooze import commands as snooze_commands  # noqa: F401
from incidents.snooze import subscribers as snooze_subscribers  # noqa: F401
from incidents.todo import subscribers as todo_subscribers  # noqa: F401
from incidents.transitions import lock_incident
from incidents.updates import subscribers as updates_subscribers  # noqa: F401
from notifications import hooks
from notifications.models import Delivery


@hooks.on_delivery_failed
@transaction.atomic
def tell(delivery: Delivery, now: datetime) -> None:
    """A message that nobody got belongs into the timeline: the commander has to know who was not reached."""
    page = Page.objects.filter(notification_id=delivery.notification_id).only("incident_id").first()
    if page is None:
        return
    incident = lock_incident(page.incident_id)
    timeline.record(
        incident, Kind.DELIVERY_FAILED, at=now,
        text=f"{delivery.notification.recipient} was not reached by {delivery.channel_label}: "
        f"{delivery.last_error[:200]}",
        data={"delivery": delivery.pk, "channel": delivery.channel, "attempts": delivery.attempts},
    )  # fmt: skip
