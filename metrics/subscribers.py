"""Keeps the figures of an incident as its timeline goes on, and when an account turns out to be a machine."""

from typing import Any

from django.db import transaction
from django.db.models.signals import post_save, pre_save
from django.dispatch import receiver

from accounts.models import User
from incidents import timeline
from incidents.models import Incident, Kind, TimelineEntry
from metrics import transitions


@timeline.on(Kind.TRIGGERED)
def begin(incident: Incident, entry: TimelineEntry) -> None:
    transitions.begin(incident)


@timeline.on(
    Kind.ACKNOWLEDGED, Kind.ALSO_ACKNOWLEDGED, Kind.CONTAINED, Kind.RESOLVED, Kind.REOPENED, Kind.SEVERITY_CHANGED
)  # fmt: skip
def figure(incident: Incident, entry: TimelineEntry) -> None:
    transitions.figure(incident_ids=[incident.pk])


@receiver(pre_save, sender=User, dispatch_uid="metrics.look_at_bot")
def look_at_bot(instance: User, update_fields: Any, **_: Any) -> None:
    instance.bot_changed = False
    if instance._state.adding or (update_fields is not None and "is_bot" not in update_fields):
        return
    instance.bot_changed = User.objects.filter(pk=instance.pk, is_bot=not instance.is_bot).exists()


@receiver(post_save, sender=User, dispatch_uid="metrics.refigure_bot")
@transaction.atomic
def refigure_bot(instance: User, **_: Any) -> None:
    """Now, so that it is seen together with the change; and once more when everybody sees the change, for
    transitions that were under way and looked at the account before."""
    if not instance.bot_changed:
        return
    transitions.refigure_actor(user_id=instance.pk)
    transaction.on_commit(lambda: transitions.refigure_actor(user_id=instance.pk))
