"""What a key, an SMS reply or the link to several pages does to an incident: the same as the buttons."""

from datetime import datetime

from accounts.models import User
from core.errors import Missing
from incidents import transitions
from incidents.models import Incident, OfferStatus, Page, PagePurpose, RoleOffer
from incidents.roles import transitions as roles
from notifications import hooks, rules
from notifications.models import Notification


def page_of(notification: Notification) -> Page:
    """Raises Missing for a message that is about no incident."""
    page = Page.objects.select_related("incident").filter(notification=notification).first()
    if page is None:
        raise Missing("There is nothing to do about this message.")
    return page


@hooks.action(rules.ACKNOWLEDGE)
def acknowledge(notification: Notification, by: User, now: datetime, via: str) -> str:
    page = page_of(notification)
    if page.purpose == PagePurpose.ROLE:
        offer = RoleOffer.objects.filter(page=page, status=OfferStatus.OPEN).first()
        if offer is not None:
            roles.accept(offer_id=offer.pk, by=by, now=now)
            return f"{page.incident.ref}: you have taken what you were asked for."
    incident = transitions.acknowledge(incident_id=page.incident_id, by=by, now=now, via=via)
    return _who_has_it(incident, by)


@hooks.action(rules.RESOLVE)
def resolve(notification: Notification, by: User, now: datetime, via: str) -> str:
    page = page_of(notification)
    incident = transitions.resolve(incident_id=page.incident_id, by=by, now=now)
    if incident.resolved_by_id == by.pk:
        return f"{incident.ref} is resolved."
    return f"{incident.ref} was resolved already."


def _who_has_it(incident: Incident, by: User) -> str:
    holder = incident.acknowledged_by
    if holder is not None and holder.pk != by.pk:
        return f"{holder} has {incident.ref} already. It is noted that you answered too."
    return f"{incident.ref} is yours. Nobody else is paged."
