"""The ladder in the room, escalating by hand, and the policies."""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import Team, User
from accounts.permissions import at_least, role_required, zone_of
from catalog.models import Criticality, Service
from core.errors import Invalid, MusterError
from core.forms import show_refusal
from escalation import queries, rules, transitions
from escalation.forms import CellForm, PolicyForm, TierForms, data_of, initial_of, target_choices
from escalation.models import Policy
from escalation.snapshots import snapshot_of
from incidents import queries as incident_queries
from incidents.answer import read_token
from incidents.asks import Ask, Fact
from incidents.models import Incident, Severity

PAGE = 50
GAPS_OF = timedelta(days=7)


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
    teams: list[Team] = field(default_factory=list)
    """That can be called in beside the own policy."""


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
        reason_label="Why", levels=levels, teams=list(Team.objects.order_by("name")[:500]),
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
        _escalate(request, incident.pk, by=request.user, now=now)
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


def _escalate(request: HttpRequest, incident_id: int, *, by: User, now: datetime) -> None:
    level, team = request.POST.get("level", ""), request.POST.get("team", "")
    told = {
        "incident_id": incident_id,
        "by": by,
        "reason": request.POST.get("reason", ""),
        "seen": _seen(request),
        "now": now,
    }
    if team:
        transitions.escalate_to_team(team=transitions.team_named(team[:120]), **told)
    elif not level:
        transitions.escalate_now(**told)
    elif level.isdecimal() and len(level) < 3:
        transitions.escalate_to(level=int(level), **told)
    else:
        raise Invalid("Choose a tier.", fields={"level": ["Choose a tier."]})


def _seen(request: HttpRequest) -> int | None:
    text = request.POST.get("seen", "")
    return int(text) if text.isdecimal() and len(text) < 10 else None


@csrf_exempt  # the signed token in the address is what a forger lacks; there may be no session at all
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def answer_escalate(request: HttpRequest, token: str) -> HttpResponse:
    """Escalate from the answer page, with the same signed link as the answer itself. Looking pages nobody."""
    now = timezone.now()
    page = read_token(token, now)
    refused, status = "", 200
    if request.method == "POST":
        try:
            _escalate(request, page.incident_id, by=page.recipient, now=now)
        except MusterError as error:
            refused, status = error.in_full, error.status
        else:
            return redirect(reverse("answer", args=[token]))
    with timezone.override(zone_of(page.recipient)):
        context = {
            "page": page, "incident": page.incident, "ask": _ask(page.incident, now=now), "now": now,
            "refused": refused, "back": reverse("answer", args=[token]), "given": request.POST.dict(),
        }  # fmt: skip
        return render(request, "escalation/answer_escalate.html", context, status=status)


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
            "gap_count": queries.coverage_gaps().filter(at__gte=timezone.now() - GAPS_OF).count(),
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
    snapshot = snapshot_of(policy)
    turns = queries.next_in_turn(policy, snapshot)
    context = {
        "policy": policy,
        "tiers": [(tier, rules.say_tier(tier), turns.get(tier["level"])) for tier in snapshot["tiers"]],
        "sentences": rules.say_policy(snapshot),
        "versions": list(queries.versions_of(policy)[:3]),
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
            saved = transitions.save_policy(
                policy=policy, data=data_of(head.cleaned_data, wanted), by=request.user, now=timezone.now(),
                why=head.cleaned_data["why"],
            )  # fmt: skip
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


@require_safe
@role_required("viewer")
def policy_versions(request: HttpRequest, slug: str) -> HttpResponse:
    """Every save, the newest first: who, when, why, and what it changed."""
    policy = _policy(slug)
    page = Paginator(queries.versions_of(policy), PAGE).get_page(request.GET.get("page"))
    kept = list(page)
    earlier = {each.version: each.snapshot for each in queries.versions_of(policy).filter(
        version__in=[each.version - 1 for each in kept])}  # fmt: skip
    shown = [
        (each, rules.difference(earlier[each.version - 1], each.snapshot) if each.version - 1 in earlier else None)
        for each in kept
    ]  # fmt: skip
    context = {
        "policy": policy,
        "page": page,
        "versions": shown,
        "may_edit": at_least(request.user, "manager"),
    }
    return render(request, "escalation/policy_versions.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("viewer")
def policy_version(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """One version in sentences and what has changed since; a manager makes it the present one again."""
    policy = _policy(slug)
    kept = queries.version_of(policy, number)
    if kept is None:
        raise Http404("There is no such version")
    if request.method == "POST":
        return _restore(request, policy, number)
    context = {
        "policy": policy, "version": kept, "sentences": rules.say_policy(kept.snapshot),
        "tiers": [(tier, rules.say_tier(tier), None) for tier in kept.snapshot["tiers"]],
        "since": rules.difference(kept.snapshot, snapshot_of(policy)), "may_edit": at_least(request.user, "manager"),
    }  # fmt: skip
    return render(request, "escalation/policy_version.html", context)


@role_required("manager")
def _restore(request: HttpRequest, policy: Policy, number: int) -> HttpResponse:
    try:
        saved = transitions.restore_version(
            policy=policy,
            version=number,
            by=request.user,
            why=request.POST.get("why", ""),
            now=timezone.now(),
        )
    except MusterError as error:
        messages.error(request, error.in_full)
        return redirect(reverse("escalation:policy_version", args=[policy.slug, number]))
    messages.success(
        request, f"{saved.name} is again as in version {number}; this is version {saved.version}"
    )
    return redirect(reverse("escalation:policy_detail", args=[saved.slug]))


# ---------------------------------------------------------------------------------------------------- matrix and gaps


@require_safe
@role_required("viewer")
def matrix(request: HttpRequest) -> HttpResponse:
    """What each severity means on services of each criticality."""
    rows = [(Severity(number), row) for number, row in enumerate(queries.matrix(), start=1)]
    context = {"rows": rows, "criticalities": Criticality, "may_edit": at_least(request.user, "admin")}
    return render(request, "escalation/matrix.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("admin")
def matrix_cell(request: HttpRequest, severity: int, criticality: int) -> HttpResponse:
    if severity not in Severity.values or criticality not in Criticality.values:
        raise Http404("There is no such cell")
    cell = queries.matrix()[severity - 1][criticality - 1]
    form = CellForm(request.POST or None, initial=asdict(cell))
    if request.method == "POST" and form.is_valid():
        try:
            transitions.set_matrix_cell(severity=severity, criticality=criticality, **form.cleaned_data)
        except Invalid as error:
            show_refusal(error, form)
        else:
            messages.success(
                request, f"SEV{severity} on {Criticality(criticality).label.lower()} services is changed"
            )
            return redirect(reverse("escalation:matrix"))
    context = {"form": form, "severity": severity, "criticality": Criticality(criticality)}
    return render(request, "escalation/matrix_cell.html", context, status=400 if form.errors else 200)


@require_safe
@role_required("viewer")
def gap_list(request: HttpRequest) -> HttpResponse:
    """Where a page found nobody, for the council."""
    page = Paginator(queries.coverage_gaps(), PAGE).get_page(request.GET.get("page"))
    return render(request, "escalation/gap_list.html", {"page": page})


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
        "treatments": [each for each in queries.treatments_of(service) if not each.is_default],
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
