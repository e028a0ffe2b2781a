"""Giving roles, answering offers, calling experts, and which rotation gives which role."""

from typing import Any
from urllib.parse import quote

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts.models import Team
from accounts.permissions import at_least, not_allowed, role_required
from core.errors import Invalid, MusterError
from core.forms import show_refusal
from incidents.models import Incident, RoleHolding, RoleOffer, RoomRole, Status
from incidents.roles import queries, rules, transitions
from incidents.roles.forms import RotationForm
from incidents.transitions import assign_role
from incidents.web import acted, ask_page, load, room

# --- asking -----------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def role(request: HttpRequest, incident: Incident) -> HttpResponse:
    """Who takes a role: oneself or another at once, or another who is asked first."""
    held = queries.holdings(incident)
    context = {
        "title": "Assign a role",
        "roles": [(value, rules.title(value), _holders(held, value)) for value in rules.ROLES],
        "people": queries.people_to_choose(),
        "fields": queries.fields(),
        "given": {"role": request.GET.get("role", ""), "field": "", "user": ""},
        "seen": _seen(held),
    }
    if request.method != "POST":
        return ask_page(request, incident, "_role.html", context)

    def act() -> str:
        chosen, field, now = request.POST.get("role", ""), request.POST.get("field", ""), timezone.now()
        title = rules.title(chosen, field.strip()) if chosen in RoomRole.values else ""
        seen = dict(pair.split(":", 1) for pair in request.POST.get("seen", "").split() if ":" in pair).get(
            chosen, ""
        )
        told = {
            "incident_id": incident.pk, "role": chosen, "field": field, "by": request.user, "now": now,
            "seen": _number(seen),
        }  # fmt: skip
        if request.POST.get("user") == "nobody":
            assign_role(user=None, **told)
            return f"Nobody holds it now: {title}."
        user = queries.chosen(request.POST.get("user", ""))
        if user == request.user or request.POST.get("how") == "assign":
            assign_role(user=user, **told)
            return f"{user} is {title[:1].lower()}{title[1:]}."
        transitions.offer_role(
            incident_id=incident.pk, role=chosen, field=field, to=user, by=request.user, now=now
        )
        return f"{user} is asked."

    def looked_at_again() -> dict[str, Any]:
        return {**context, "seen": _seen(queries.holdings(load(incident.pk)))}

    answer = acted(request, incident, "_role.html", looked_at_again, act)
    if answer.status_code == 409:  # told who has it now, the person may decide again
        answer.headers["X-Muster-Seen"] = quote(looked_at_again()["seen"])
    return answer


def _seen(held: list[RoleHolding]) -> str:
    """Who holds which role while the person decides, as a field of the form has it: "commander:7 deputy:0"."""
    holders = {row.role: row.user_id for row in held if row.role != RoomRole.EXPERT}
    return " ".join(f"{role}:{holders.get(role, 0)}" for role in rules.ROLES if role != RoomRole.EXPERT)


def _holders(held: list[RoleHolding], role: str) -> str:
    mine = [row for row in held if row.role == role]
    return ", ".join(f"{row.user} ({row.field})" if row.field else str(row.user) for row in mine)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def handoff(request: HttpRequest, incident: Incident) -> HttpResponse:
    """Give a role on, with what the next one has to know. The giver keeps it until it is accepted."""
    held = [(row.role, row.field, row.user) for row in queries.holdings(incident)]
    choices = [
        {
            "value": f"{role}:{field}",
            "title": rules.title(role, field),
            "holder": user,
            "mine": user == request.user,
        }
        for role, field, user in held
        if role != RoomRole.EXPERT or user == request.user
    ]
    mine = next((choice for choice in choices if choice["mine"]), choices[0] if choices else None)
    context = {
        "title": "Hand off a role",
        "choices": choices,
        "people": queries.people_to_choose(),
        "given": {"role": mine["value"] if mine else "", "known": incident.impact},
    }
    if request.method != "POST":
        return ask_page(request, incident, "_role_handoff.html", context)

    def act() -> str:
        wanted = request.POST.get("role", "")
        if wanted not in {choice["value"] for choice in choices}:
            raise Invalid("Choose which role. It may have changed hands meanwhile.", fields={})
        role, _, field = wanted.partition(":")
        user = queries.chosen(request.POST.get("user", ""))
        texts = {name: request.POST.get(name, "") for name in ("known", "in_progress", "next_steps")}
        offer = transitions.offer_role(
            incident_id=incident.pk,
            role=role,
            field=field,
            to=user,
            by=request.user,
            now=timezone.now(),
            **texts,
        )
        keeps = "You keep it" if offer.from_user == request.user else f"{offer.from_user} keeps it"
        return f"{user} is asked. {keeps} until then."

    return acted(request, incident, "_role_handoff.html", lambda: context, act)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def hand_over(request: HttpRequest, incident: Incident) -> HttpResponse:
    """Give the incident itself to a person or a team, who have to accept it."""
    context = {
        "title": f"Hand over {incident.ref}",
        "people": queries.people_to_choose(),
        "teams": list(Team.objects.order_by("name")[:500]),
        "holder": incident.acknowledged_by if incident.status != Status.TRIGGERED else None,
        "given": {
            "known": incident.impact,
            "minutes": str(rules.handover_seconds(incident.severity) // 60),
            "to": "person" if incident.status != Status.TRIGGERED else "team",
        },
    }
    if request.method != "POST":
        return ask_page(request, incident, "_hand_over.html", context)

    def act() -> str:
        to_team = request.POST.get("to") == "team"
        user = None if to_team else queries.chosen(request.POST.get("user", ""))
        slug = request.POST.get("team", "")
        team = Team.objects.filter(slug=slug).first() if to_team else None
        if to_team and team is None:
            raise Invalid("Choose a team.", fields={"team": ["Choose a team."]})
        texts = {name: request.POST.get(name, "") for name in ("known", "in_progress", "next_steps")}
        offer = transitions.hand_over(
            incident_id=incident.pk, to=user, team=team, by=request.user, now=timezone.now(),
            accept_seconds=_seconds(request.POST.get("minutes", "")), **texts,
        )  # fmt: skip
        keeps = "You keep it" if offer.from_user == request.user else f"{offer.from_user} keeps it"
        return f"{offer.asked_name} {'is paged' if to_team else 'is asked'}. {keeps} until then."

    return acted(request, incident, "_hand_over.html", lambda: context, act)


def _seconds(minutes: str) -> int | None:
    if not minutes.strip():
        return None
    if not (minutes.isascii() and minutes.isdecimal() and len(minutes) < 6):
        raise Invalid("Minutes to accept: a whole number.", fields={"minutes": ["A whole number."]})
    return int(minutes) * 60


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def call_expert(request: HttpRequest, incident: Incident) -> HttpResponse:
    context = {"title": "Call an expert", "fields": queries.fields(), "given": {}}
    if request.method != "POST":
        return ask_page(request, incident, "_role_expert.html", context)

    def act() -> str:
        offer = transitions.call_expert(
            incident_id=incident.pk, field=request.POST.get("field", ""), by=request.user,
            reason=request.POST.get("reason", ""), now=timezone.now(),
        )  # fmt: skip
        return f"{offer.to_user} is paged."

    return acted(request, incident, "_role_expert.html", lambda: context, act)


# --- answering --------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def offer_accept(request: HttpRequest, incident: Incident, offer_id: int) -> HttpResponse:
    return _answer(request, incident, offer_id, accepts=True)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def offer_decline(request: HttpRequest, incident: Incident, offer_id: int) -> HttpResponse:
    return _answer(request, incident, offer_id, accepts=False)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def offer_withdraw(request: HttpRequest, incident: Incident, offer_id: int) -> HttpResponse:
    """GET asks, POST asks nobody any more; who may not is told who may."""
    offer = _offer(incident, offer_id)
    name = rules.title(offer.role, offer.field)
    context = {
        "title": f"Ask {offer.asked_name} no more?",
        "offer": offer,
        "name": name,
        "what": rules.words(offer.role, offer.field),
        "may": queries.may_withdraw(offer, request.user),
        "given": {},
    }
    if request.method != "POST":
        return ask_page(request, incident, "_role_withdraw.html", context)

    def act() -> str:
        transitions.withdraw(offer_id=offer.pk, by=request.user, now=timezone.now())
        return f"{offer.asked_name} is no longer asked: {name}."

    return acted(request, incident, "_role_withdraw.html", lambda: context, act)


def _offer(incident: Incident, offer_id: int) -> RoleOffer:
    rows = RoleOffer.objects.select_related("incident", "to_user", "to_team", "from_user", "by")
    offer = rows.filter(pk=offer_id, incident=incident).first()
    if offer is None:
        raise Http404("There is no such offer in this incident.")
    return offer


def _answer(request: HttpRequest, incident: Incident, offer_id: int, *, accepts: bool) -> HttpResponse:
    offer = _offer(incident, offer_id)
    name = rules.title(offer.role, offer.field)
    context = {
        "title": f"Accept: {name}?" if accepts else f"Decline: {name}?",
        "offer": offer,
        "what": rules.words(offer.role, offer.field),
        "accepts": accepts,
        "given": {},
    }
    if request.method != "POST":
        return ask_page(request, incident, "_role_answer.html", context)

    def act() -> str:
        if accepts:
            transitions.accept(offer_id=offer.pk, by=request.user, now=timezone.now())
            return f"You have it: {name}."
        transitions.decline(
            offer_id=offer.pk, by=request.user, why=request.POST.get("why", ""), now=timezone.now()
        )
        return "You declined."

    return acted(request, incident, "_role_answer.html", lambda: context, act)


# --- rotations --------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@role_required("viewer")
def rotations(request: HttpRequest) -> HttpResponse:
    """Which schedule gives which role; managers change it."""
    may_edit = at_least(request.user, "manager")
    if request.method == "POST" and not may_edit:
        return not_allowed(request, "manager")
    rotation_id = _number(request.GET.get("edit", "")) if may_edit else None
    edited = queries.rotations().filter(pk=rotation_id).first()
    form = RotationForm(request.POST if request.method == "POST" else None, initial=RotationForm.of(edited))
    status = 200
    if request.method == "POST":
        if form.is_valid():
            try:
                transitions.save_rotation(
                    rotation_id=rotation_id, seen=request.POST.get("seen"), **form.wanted()
                )
            except MusterError as refusal:
                show_refusal(refusal, form)
                status = refusal.status
            else:
                messages.success(request, "The rotation is saved. Whoever is asked next is asked by it.")
                return redirect("incidents:rotations")
        else:
            status = 400
    rows = [{"rotation": row, "title": rules.title(row.role, row.field)} for row in queries.rotations()]
    seen = queries.seen(edited) if edited else ""  # told of another's change, the person may save over it
    context = {"rows": rows, "form": form, "edited": edited, "seen": seen, "may_edit": may_edit}
    return render(request, "incidents/role_rotations.html", context, status=status)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None


@require_POST
@role_required("manager")
def rotation_remove(request: HttpRequest, rotation_id: int) -> HttpResponse:
    transitions.remove_rotation(rotation_id=rotation_id)
    messages.success(request, "The rotation is removed. Nobody is asked by it any more.")
    return redirect(reverse("incidents:rotations"))
