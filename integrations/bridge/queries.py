from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from accounts.models import User
from incidents.models import Incident, TimelineEntry
from integrations.models import BridgeMessage, ChatBridge, MessageStatus

SHOWN = 20


def bridge_list(*, text: str = "", state: str = "") -> QuerySet[ChatBridge]:
    """By name; `text` narrows by name or service. `state`: on, off (disabled), or failing."""
    found = (
        ChatBridge.objects.select_related("service")
        .annotate(waiting=Count("messages", filter=Q(messages__status=MessageStatus.WAITING)))
        .order_by("name", "pk")
    )
    if text:
        found = found.filter(Q(name__icontains=text) | Q(service__name__icontains=text))
    if state == "off":
        return found.filter(disabled_at__isnull=False)
    if state == "failing":
        return found.filter(disabled_at__isnull=True).exclude(last_error="")
    return found.filter(disabled_at__isnull=True) if state == "on" else found


def bridges_of(incident: Incident) -> list[ChatBridge]:
    """Which chats are told of this incident: those that take its severity, and those that heard of it when it was worse,
    or their last line would stay "nobody has answered" for ever."""
    heard = BridgeMessage.objects.filter(bridge=OuterRef("pk"), incident=incident)
    return list(
        ChatBridge.objects.filter(
            Q(service_id=None) | Q(service_id=incident.service_id),
            Q(min_severity__gte=incident.severity) | Exists(heard),
            disabled_at=None,
        ).order_by("pk")
    )


def waiting(bridge_id: int, incident_id: int) -> QuerySet[BridgeMessage]:
    """What this chat has not been told of this incident, in order."""
    return BridgeMessage.objects.filter(
        bridge_id=bridge_id, incident_id=incident_id, status=MessageStatus.WAITING
    ).order_by("seq")


def entries(incident_id: int, seqs: list[int]) -> list[TimelineEntry]:
    return list(TimelineEntry.objects.filter(incident_id=incident_id, seq__in=seqs).order_by("seq"))


def latest(bridge: ChatBridge) -> list[BridgeMessage]:
    return list(bridge.messages.select_related("incident").order_by("-pk")[:SHOWN])


def person(name: str) -> User | None:
    """Whom a chat means by a user name or an e-mail address. None: nobody, or more than one."""
    found = list(
        User.objects.filter(Q(username__iexact=name) | Q(email__iexact=name), is_active=True, is_bot=False)[
            :2
        ]
    )
    return found[0] if len(found) == 1 else None
