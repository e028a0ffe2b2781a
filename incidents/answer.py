"""Answering a page from the link in a message: no sign-in, no script, one press.

Looking never acts, because mail scanners open every link; only a POST acknowledges.
"""

from datetime import datetime
from typing import Any

from django.core import signing
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts.permissions import zone_of
from core.errors import Invalid, MusterError, Refused
from incidents import links, presenters, transitions
from incidents.models import (
    WHOLE_INCIDENT,
    Incident,
    Kind,
    OfferStatus,
    Page,
    PagePurpose,
    PageStatus,
    RoleOffer,
    Status,
)
from incidents.roles import rules as role_rules
from incidents.roles import transitions as roles
from incidents.snooze import forms as snooze_forms
from incidents.snooze import transitions as snooze

BROKEN_PER_MINUTE = 30
"""Links that do not work, from one address. A link that works always works, however many do not."""


class LinkBroken(MusterError):
    status = 404
    code = "link_broken"


class LinkExpired(MusterError):
    status = 410
    code = "link_expired"


def read_token(token: str, now: datetime) -> Page:
    """The page that this link answers, with incident, service and recipient. Raises LinkBroken or LinkExpired."""
    try:
        page_id = links.read_answer_token(token)
    except signing.BadSignature:
        raise LinkBroken("This link does not work. It may have been cut off in the message.") from None
    page = (
        Page.objects.select_related(
            "incident__service", "incident__acknowledged_by", "incident__snoozed_by", "recipient"
        )
        .filter(pk=page_id, recipient__is_active=True)
        .first()
    )
    if page is None:
        raise LinkBroken("This link does not work. Sign in to see what waits for you.")
    if now > page.paged_at + links.GOOD_FOR:
        raise LinkExpired("This link is too old. Links in pages work for 48 hours.")
    return page


# Exempt from the check against forged requests: the signed token in the address is what such a check looks for, a
# secret that no other site knows, and a mail program's browser often keeps no cookie for the usual one.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def answer(request: HttpRequest, token: str) -> HttpResponse:
    now = timezone.now()
    try:
        page = read_token(token, now)
    except (LinkBroken, LinkExpired) as error:
        return _dead(request, error, now)
    if page.purpose == PagePurpose.ROLE:
        return _answer_about_role(request, page, token, now)
    refused, do = "", request.POST.get("do", "acknowledge")
    if request.method == "POST" and do in ("acknowledge", "snooze"):
        try:
            if do == "snooze":
                _snooze(request, page, now)
            else:
                transitions.acknowledge(incident_id=page.incident_id, by=page.recipient, now=now, via="link")
        except Refused as error:
            refused = f"{error.message} You have nothing to do."
        except Invalid as error:
            refused = error.in_full
        else:
            # Reloading the page that follows must not send the form again.
            return HttpResponseRedirect(reverse("answer", args=[token]), status=303)
    with timezone.override(zone_of(page.recipient)):
        context = {**context_of(page, now), "refused": refused, "escalate_url": _escalate_url(page, token)}
        return render(request, "incidents/answer.html", context, status=409 if refused else 200)


def _snooze(request: HttpRequest, page: Page, now: datetime) -> None:
    until = snooze_forms.until_given(request.POST, person=page.recipient, now=now)
    snooze.snooze(
        incident_id=page.incident_id, by=page.recipient, until=until, reason=request.POST.get("reason", ""),
        now=now, via="link",
    )  # fmt: skip


def _answer_about_role(request: HttpRequest, page: Page, token: str, now: datetime) -> HttpResponse:
    """The page that asks to take a role. Acknowledging the incident is a second button, while nobody has."""
    refused, do = "", request.POST.get("do", "")
    if request.method == "POST" and do in ("accept", "decline", "acknowledge"):
        try:
            if do == "acknowledge":
                transitions.acknowledge(incident_id=page.incident_id, by=page.recipient, now=now, via="link")
            else:
                _say_to_offer(page, do, why=request.POST.get("why", ""), now=now)
        except Refused as error:
            refused = error.message
        else:
            return HttpResponseRedirect(reverse("answer", args=[token]), status=303)
    with timezone.override(zone_of(page.recipient)):
        context = {**context_of_role(page, now), "refused": refused}
        return render(request, "incidents/role_asked.html", context, status=409 if refused else 200)


def _say_to_offer(page: Page, do: str, *, why: str, now: datetime) -> None:
    offer = _offer_of(page)
    if offer is None:
        raise Refused("The question is no longer there.", code="offer_closed")
    if do == "accept":
        roles.accept(offer_id=offer.pk, by=page.recipient, now=now)
    else:
        roles.decline(offer_id=offer.pk, by=page.recipient, why=why, now=now)


def _offer_of(page: Page) -> RoleOffer | None:
    return RoleOffer.objects.select_related("from_user", "by", "to_user").filter(page=page).first()


def context_of_role(page: Page, now: datetime) -> dict[str, Any]:
    """What the page shows that asks to take a role: see templates/incidents/role_asked.html."""
    incident, offer = page.incident, _offer_of(page)
    state = offer.status if offer is not None else OfferStatus.WITHDRAWN
    return {
        "page": page,
        "offer": offer,
        "state": state,
        "holds": state == OfferStatus.ACCEPTED and _holds(incident, page, offer),
        "title": role_rules.title(offer.role, offer.field) if offer else page.tier_name,
        "now": now,
        "unanswered": incident.status == Status.TRIGGERED,
        "accept": presenters.countdown(label="", due_at=offer.accept_by, started_at=offer.offered_at, now=now)
        if offer and offer.accept_by and state == OfferStatus.OPEN
        else None,
    }


def _holds(incident: Incident, page: Page, offer: RoleOffer) -> bool:
    if offer.role == WHOLE_INCIDENT:
        return incident.acknowledged_by_id == page.recipient_id
    return incident.holdings.filter(
        user=page.recipient, role=offer.role, field=offer.field, ended_at__isnull=True
    ).exists()


def context_of(page: Page, now: datetime) -> dict[str, Any]:
    """What the answer page shows of `page` now: see templates/incidents/answer.html."""
    incident = page.incident
    state, since, holder = "waiting", None, None
    if incident.status == Status.RESOLVED:
        state, since = "resolved", incident.resolved_at
    elif page.status == PageStatus.PAGING:
        pass  # called in by hand, whatever the incident is: this one still waits for an answer
    elif incident.status == Status.CONTAINED:
        state, since = "contained", incident.contained_at
    elif incident.status == Status.ACKNOWLEDGED:
        # The entry knows more than the incident: a sender may have acknowledged, or a second person after a lapse.
        entry = incident.timeline.filter(kind=Kind.ACKNOWLEDGED).order_by("-seq").first()
        holder = incident.acknowledged_by or (entry.actor_name if entry else "")
        since = entry.at if entry else incident.acknowledged_at
        state = "yours" if incident.acknowledged_by_id == page.recipient_id else "taken"
    return {
        "page": page,
        "state": state,
        "now": now,
        "holder": holder,
        "since": since,
        "next_page": presenters.next_page(incident, now) if state == "waiting" else None,
        "snoozes": snooze_forms.choices(incident, person=page.recipient, now=now)
        if incident.status in (Status.TRIGGERED, Status.ACKNOWLEDGED)
        else [],
    }


def _escalate_url(page: Page, token: str) -> str:
    """Escalation is above incidents, so its address is asked for by name; without it the button is left out."""
    if page.incident.status not in (Status.TRIGGERED, Status.ACKNOWLEDGED):
        return ""
    try:
        return reverse("escalation:answer_escalate", args=[token])
    except NoReverseMatch:
        return ""


def _dead(request: HttpRequest, error: MusterError, now: datetime) -> HttpResponse:
    """A link that does not work, and the way on. Guessing is cheap for nobody: after some, 429."""
    too_often = isinstance(error, LinkBroken) and _tried_too_often(request, now)
    context = {"state": "expired" if isinstance(error, LinkExpired) else "broken", "now": now}
    response = render(request, "incidents/answer.html", context, status=429 if too_often else error.status)
    if too_often:
        response.headers["Retry-After"] = "60"
    return response


def _tried_too_often(request: HttpRequest, now: datetime) -> bool:
    key = f"broken-links:{request.META.get('REMOTE_ADDR', '')}:{int(now.timestamp()) // 60}"
    if cache.add(key, 1, timeout=120):
        return False
    try:
        return cache.incr(key) > BROKEN_PER_MINUTE
    except ValueError:
        return False
