"""The ladder in the room, escalating by hand, and the policies."""

import json
from dataclasses import dataclass, field
from datetime import datetime

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import Team
from accounts.permissions import at_least, role_required
from catalog.models import Service
from core.errors import Invalid, MusterError
from core.forms import show_refusal
from escalation import queries, transitions
from escalation.forms import PolicyForm, TierForms, data_of, initial_of, target_choices
from escalation.models import Policy
from incidents import queries as incident_queries
from incidents.answer import read_token
from incidents.asks import Ask, Fact
from incidents.models import Incident

PAGE = 50


def _incident(incident_id: int) -> Incident:
    incident = incident_queries.incident(incident_id)
    if incident is None:
        raise Http404(f"INC-{incident_id} does not exist")
    return incident


# ---------------------------------------------------------------------------------------------------- in the room


@require_safe
@never_cache
@role_required("viewer")
def ladder(request: HttpRequest, incident_id: int) -> HttpResponse:
    """The tiers of this incident, which the room loads beside its timeline."""
    incident, now = _incident(incident_id), timezone.now()
    context = {
        "incident": incident,
        "ladder": queries.ladder(incident, now=now),
        "may_act": at_least(request.user, "responder"),
        "now": now,
    }
    return render(request, "escalation/_ladder.html", context)


@dataclass(frozen=True)
class Level:
    value: str
    label: str
    words: str
    state: str
    chosen: bool = False


@dataclass(frozen=True)
class EscalateAsk(Ask):
    levels: list[Level] = field(default_factory=list)


def _ask(incident: Incident, *, now: datetime) -> EscalateAsk:
    shown = queries.ladder(incident, now=now)
    following = "the catch-all"
    levels = []
    for rung in shown.rungs if shown else []:
        if rung.level is None or rung.state == "passed":
            continue
        if rung.state == "next":
            following = f"tier {rung.level}, {rung.name}"
        people = ", ".join(str(person.user) for person in rung.people)
        words = rung.name + (f": {people}" if people else "")
        levels.append(Level(str(rung.level), f"Tier {rung.level}", words, rung.state))
    levels.insert(0, Level("", "The next one", following, "", chosen=True))
    running = shown is not None and shown.is_running
    facts = [Fact("Happens", "that tier is paged at once, by each person's own rules")]
    if running:
        facts.append(Fact("Countdown", "begins anew with that tier"))
    else:
        facts.append(Fact("Countdown", "none: the incident is acknowledged, so nothing follows by itself"))
    return EscalateAsk(
        verb="escalate", title=f"Escalate {incident.ref} now?", button="Page now", facts=facts, leave="Page nobody",
        reason_label="Why", levels=levels,
    )  # fmt: skip


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@role_required("responder")
def escalate(request: HttpRequest, incident_id: int) -> HttpResponse:
    """GET asks which tier, POST pages it."""
    incident, now = _incident(incident_id), timezone.now()
    is_fragment = bool(request.htmx) and not request.htmx.boosted
    if request.method != "POST":
        context = {"incident": incident, "ask": _ask(incident, now=now), "given": {}}
        return render(request, "incidents/_ask.html" if is_fragment else "incidents/ask.html", context)
    try:
        _escalate(request, incident.pk, now=now)
    except MusterError as error:
        message = error.in_full
        if is_fragment:
            return HttpResponse(
                message, status=error.status, content_type="text/plain; charset=utf-8",
                headers={"X-Muster-Sentence": "1"},
            )  # fmt: skip
        context = {
            "incident": incident, "ask": _ask(incident, now=now), "given": request.POST.dict(), "refused": message,
        }  # fmt: skip
        return render(request, "incidents/ask.html", context, status=error.status)
    if is_fragment:
        return HttpResponse(status=204, headers={"HX-Trigger": json.dumps({"incident:changed": True})})
    messages.success(request, f"{incident.ref} is escalated")
    return redirect(reverse("incidents:detail", args=[incident.pk]))


def _escalate(request: HttpRequest, incident_id: int, *, now: datetime) -> None:
    level, reason = request.POST.get("level", ""), request.POST.get("reason", "")
    told = {
        "incident_id": incident_id,
        "by": request.user,
        "reason": reason,
        "seen": _seen(request),
        "now": now,
    }
    if not level:
        transitions.escalate_now(**told)
    elif level.isdecimal() and len(level) < 3:
        transitions.escalate_to(level=int(level), **told)
    else:
        raise Invalid("Choose a tier.", fields={"level": ["Choose a tier."]})


def _seen(request: HttpRequest) -> int | None:
    text = request.POST.get("seen", "")
    return int(text) if text.isdecimal() and len(text) < 10 else None


@csrf_exempt  # the signed token in the address is what a forger lacks; there may be no session at all
@require_POST
def answer_escalate(request: HttpRequest, token: str) -> HttpResponse:
    """Escalate from the answer page, with the same signed link as the answer itself."""
    now = timezone.now()
    page = read_token(token, now)
    transitions.escalate_now(
        incident_id=page.incident_id, by=page.recipient, reason=request.POST.get("reason", ""),
        seen=_seen(request), now=now,
    )  # fmt: skip
    return redirect(reverse("answer", args=[token]))


# ---------------------------------------------------------------------------------------------------- policies


@require_safe
@role_required("viewer")
def policy_list(request: HttpRequest) -> HttpResponse:
    text = request.GET.get("q", "").replace("\x00", "")[:100].strip()
    team = request.GET.get("team", "").replace("\x00", "")[:100]
    page = Paginator(queries.policies(text=text, team=team), PAGE).get_page(request.GET.get("page"))
    without = Service.objects.filter(escalation__isnull=True)
    return render(
        request, "escalation/policy_list.html",
        {
            "page": page, "without_policy": list(without[:20]), "without_count": without.count(),
            "may_edit": at_least(request.user, "manager"), "teams": Team.objects.order_by("name"), "q": text,
            "chosen_team": team,
        },
    )  # fmt: skip


def _policy(slug: str) -> Policy:
    policy = queries.policy_in_full(slug)
    if policy is None:
        raise Http404("There is no such policy")
    return policy


@require_safe
@role_required("viewer")
def policy_detail(request: HttpRequest, slug: str) -> HttpResponse:
    policy = _policy(slug)
    context = {
        "policy": policy,
        "tiers": list(policy.tiers.all()),
        "services": [link.service for link in policy.service_policies.all()],
        "running": queries.runs_of(policy).count(),
        "may_edit": at_least(request.user, "manager"),
    }
    return render(request, "escalation/policy_detail.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("manager")
def policy_edit(request: HttpRequest, slug: str = "") -> HttpResponse:
    """Make or change a policy. What was typed is kept when it is refused."""
    policy = _policy(slug) if slug else None
    head_initial, tiers_initial = initial_of(policy)
    options = {"initial": tiers_initial, "form_kwargs": {"choices": target_choices()}, "prefix": "tier"}
    if request.method != "POST":
        head, tiers = PolicyForm(initial=head_initial), TierForms(**options)
        return _policy_form(request, policy, head, tiers)
    head, tiers = PolicyForm(request.POST, initial=head_initial), TierForms(request.POST, **options)
    if head.is_valid() and tiers.is_valid():
        wanted = [
            form.cleaned_data
            for form in tiers
            if form.cleaned_data.get("name") and not form.cleaned_data.get("DELETE")
        ]
        try:
            saved = transitions.save_policy(policy=policy, data=data_of(head.cleaned_data, wanted))
        except Invalid as error:
            show_refusal(error, head)
        else:
            messages.success(
                request, f"{saved.name} is saved as version {saved.version}; running incidents keep theirs"
            )
            return redirect(reverse("escalation:policy_detail", args=[saved.slug]))
    return _policy_form(request, policy, head, tiers, status=400)


def _policy_form(
    request: HttpRequest, policy: Policy | None, head: PolicyForm, tiers: object, *, status: int = 200
) -> HttpResponse:
    context = {"policy": policy, "form": head, "tiers": tiers}
    return render(request, "escalation/policy_form.html", context, status=status)


# ---------------------------------------------------------------------------------------------------- of a service


def _service(slug: str) -> Service:
    service = (
        Service.objects.select_related("primary_responder", "secondary_responder").filter(slug=slug).first()
    )
    if service is None:
        raise Http404("There is no such service")
    return service


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("viewer")
def service_panel(request: HttpRequest, slug: str) -> HttpResponse:
    """How a service escalates, which its page loads; a manager chooses the policy here."""
    service = _service(slug)
    may_edit = at_least(request.user, "manager")
    if request.method == "POST":
        return _choose_policy(request, service)
    context = {
        "service": service,
        "policy": queries.policy_of(service),
        "snapshot": queries.what_pages(service),
        "choices": list(Policy.objects.order_by("name")[:500]) if may_edit else [],
        "may_edit": may_edit,
    }
    return render(request, "escalation/_service_panel.html", context)


@role_required("manager")
def _choose_policy(request: HttpRequest, service: Service) -> HttpResponse:
    chosen = request.POST.get("policy", "")
    policy = Policy.objects.filter(slug=chosen).first()
    if chosen and policy is None:
        raise Http404("There is no such policy")
    transitions.set_service_policy(service_id=service.pk, policy=policy)
    messages.success(
        request,
        f"{service.name} is escalated by {policy.name if policy else 'its responders, then the admins'}",
    )
    return redirect(reverse("catalog:service_detail", args=[service.slug]))
