"""Who may send alerts, and the ledger of everything that came in."""

import json
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.permissions import at_least, role_required
from core.errors import Missing, MusterError
from core.forms import show_refusal
from incidents.models import Incident
from incidents.refs import number_in
from integrations import queries, transitions
from integrations.forms import IntegrationChangeForm, IntegrationForm
from integrations.models import IngestEvent, Integration, IntegrationKind, Verdict

PER_PAGE = 50
FILTERS = ("q", "kind", "state")
LONGEST_SHOWN = 64 * 1024


# --- integrations -----------------------------------------------------------------------------------------------


@require_safe
@never_cache
@role_required("viewer")
def integration_list(request: HttpRequest) -> HttpResponse:
    return _list(request)


def _list(request: HttpRequest, *, form: forms.Form | None = None, status: int = 200) -> HttpResponse:
    chosen = {name: request.GET.get(name, "").replace("\x00", "")[:100].strip() for name in FILTERS}
    found = queries.integration_list(text=chosen["q"], kind=chosen["kind"], state=chosen["state"])
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    waiting = queries.waiting_counts()
    for integration in page:
        integration.waiting = waiting.get(integration.pk, 0)
    context = {
        "page": page,
        "integrations": page.object_list,
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "kinds": IntegrationKind.choices,
        "form": form or IntegrationForm(),
        "may_edit": at_least(request.user, "manager"),
        "may_read_ledger": at_least(request.user, "responder"),
        "now": timezone.now(),
    }
    return render(request, "integrations/list.html", context, status=status)


@require_POST
@never_cache
@role_required("manager")
def create(request: HttpRequest) -> HttpResponse:
    """Answers with the page itself, not a redirect: the key is in this answer and nowhere else."""
    form = IntegrationForm(request.POST)
    if not form.is_valid():
        return _list(request, form=form, status=422)
    try:
        integration, key = transitions.create_integration(**form.cleaned_data)
    except MusterError as refusal:
        show_refusal(refusal, form)
        return _list(request, form=form, status=refusal.status)
    return _detail(request, integration, new_key=key)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@role_required("viewer")
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    integration = _integration(pk)
    if request.method != "POST":
        return _detail(request, integration)
    if not at_least(request.user, "manager"):
        messages.error(request, "Managers and admins may change an integration.")
        return redirect("integrations:detail", pk)
    form = IntegrationChangeForm(request.POST)
    if form.is_valid():
        try:
            transitions.change_integration(integration_id=pk, **form.cleaned_data)
        except MusterError as refusal:
            show_refusal(refusal, form)
        else:
            messages.success(request, "Saved. It counts for events from now on.")
            return redirect("integrations:detail", pk)
    return _detail(request, integration, form=form, status=422)


def _detail(
    request: HttpRequest,
    integration: Integration,
    *,
    new_key: str = "",
    form: forms.Form | None = None,
    status: int = 200,
) -> HttpResponse:
    initial = {
        "name": integration.name,
        "service": integration.service_id,
        "grouping": integration.grouping,
        "grouping_fields": ", ".join(integration.grouping_fields),
        "grouping_seconds": integration.grouping_seconds,
    }
    context = {
        "integration": integration,
        "new_key": new_key,
        "setup": _setup(integration, new_key),
        "form": form or IntegrationChangeForm(initial=initial),
        "events": list(queries.ledger(integration=integration.pk)[:10]),
        "waiting": queries.waiting_counts().get(integration.pk, 0),
        "may_edit": at_least(request.user, "manager"),
        "may_read_ledger": at_least(request.user, "responder"),
        "now": timezone.now(),
    }
    return render(request, "integrations/detail.html", context, status=status)


@dataclass(frozen=True)
class Setup:
    """How to point a sender here: where to send, what to write into its configuration, and how to try it."""

    address: str
    where: str
    configuration: str
    test: str


def _setup(integration: Integration, key: str) -> Setup | None:
    shown, base = key or "KEY", settings.MUSTER_BASE_URL
    if integration.kind == IntegrationKind.PAGERDUTY:
        address = f"{base}/v2/enqueue"
        return Setup(
            address,
            "Anything that speaks PagerDuty Events v2: change its URL and give it the key as routing key.",
            f"receivers:\n- name: muster\n  pagerduty_configs:\n  - url: {address}\n    routing_key: {shown}",
            _curl(
                address,
                {
                    "routing_key": shown,
                    "event_action": "trigger",
                    "dedup_key": "test",
                    "payload": {"summary": "Test", "source": "by hand", "severity": "warning"},
                },
            ),
        )
    if integration.kind == IntegrationKind.ALERTMANAGER:
        address = f"{base}/api/v1/integrations/alertmanager/{shown}/"
        alert = {"status": "firing", "labels": {"alertname": "Test", "severity": "warning"}}
        return Setup(
            address,
            "A receiver of Alertmanager. Its groups become incidents, its fingerprints alerts.",
            f"receivers:\n- name: muster\n  webhook_configs:\n  - url: {address}\n    send_resolved: true",
            _curl(address, {"version": "4", "groupKey": "test", "alerts": [alert]}),
        )
    if integration.kind == IntegrationKind.GRAFANA:
        address = f"{base}/api/v1/integrations/grafana/{shown}/"
        alert = {"status": "firing", "labels": {"alertname": "Test", "severity": "warning"}}
        return Setup(
            address,
            "A contact point of the kind Webhook in Grafana's alerting. Its Test button works.",
            "",
            _curl(address, {"version": "1", "groupKey": "test", "alerts": [alert]}),
        )
    if integration.kind == IntegrationKind.OPSGENIE:
        address = f"{base}/v2/alerts"
        command = _curl(address, {"message": "Test", "alias": "test", "priority": "P3"})
        return Setup(
            address,
            "Anything that speaks Opsgenie's Alert API: change its URL and give it the key. Closing and acknowledging "
            "work by alias and by id; heartbeats are pinged with the same key.",
            f"receivers:\n- name: muster\n  opsgenie_configs:\n  - api_url: {base}/\n    api_key: {shown}",
            command.replace("curl -H", f"curl -H 'Authorization: GenieKey {shown}' -H", 1),
        )
    if integration.kind == IntegrationKind.WEBHOOK:
        address = f"{base}/api/v1/integrations/webhook/{shown}/"
        return Setup(
            address,
            "Any program that posts JSON. Known fields: title, message, severity, dedup_key and event_action "
            "(trigger, acknowledge, resolve). Everything else is kept to read.",
            "",
            _curl(address, {"title": "Test", "severity": "warning", "dedup_key": "test"}),
        )
    return None


def _curl(address: str, body: dict) -> str:
    return f"curl -H 'Content-Type: application/json' -d '{json.dumps(body)}' {address}"


@require_POST
@never_cache
@role_required("manager")
def rotate(request: HttpRequest, pk: int) -> HttpResponse:
    """Like `create`: the key is in this answer and nowhere else."""
    _integration(pk)
    integration, key = transitions.rotate_key(integration_id=pk)
    return _detail(request, integration, new_key=key)


@require_POST
@role_required("manager")
def disable(request: HttpRequest, pk: int) -> HttpResponse:
    _integration(pk)
    transitions.disable(integration_id=pk, now=timezone.now())
    messages.success(request, "Its events are refused from now on. Open alerts stay.")
    return redirect("integrations:detail", pk)


@require_POST
@role_required("manager")
def enable(request: HttpRequest, pk: int) -> HttpResponse:
    _integration(pk)
    transitions.enable(integration_id=pk)
    messages.success(request, "Its events are accepted again.")
    return redirect("integrations:detail", pk)


def _integration(pk: int) -> Integration:
    found = queries.integration_list().filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such integration")
    return found


# --- the ledger -------------------------------------------------------------------------------------------------


@require_safe
@never_cache
@role_required("responder")
def ledger(request: HttpRequest) -> HttpResponse:
    """Every request of a sender, newest first. Older ones by id, so that new requests move nothing."""
    verdict = request.GET.get("verdict", "")
    verdict = verdict if verdict in Verdict.values else ""
    integration: int | str | None = request.GET.get("integration", "")
    if integration != queries.UNKNOWN:
        integration = _number(str(integration))
    dedup_key = request.GET.get("dedup_key", "").strip()[:512].replace("\x00", "")
    incident = number_in(request.GET.get("incident", ""))
    before = _number(request.GET.get("before", ""))
    found = queries.ledger(
        integration=integration, verdict=verdict, dedup_key=dedup_key, incident_id=incident, before=before
    )
    rows = list(found[: PER_PAGE + 1])
    chosen = {
        name: value
        for name, value in (
            ("integration", integration),
            ("verdict", verdict),
            ("dedup_key", dedup_key),
            ("incident", incident),
        )
        if value
    }
    context = {
        "events": rows[:PER_PAGE],
        "older_url": f"?{urlencode({**chosen, 'before': rows[PER_PAGE - 1].pk})}"
        if len(rows) > PER_PAGE
        else "",
        "newest_url": f"?{urlencode(chosen)}" if before is not None else "",
        "verdicts": Verdict.choices,
        "integrations": Integration.objects.only("pk", "name"),
        "unknown": queries.UNKNOWN,
        "verdict": verdict,
        "integration": integration,
        "dedup_key": dedup_key,
        "incident": incident,
        "filtered": bool(chosen) or before is not None,
        "now": timezone.now(),
    }
    return render(request, "integrations/ledger.html", context)


@require_safe
@never_cache
@role_required("responder")
def event(request: HttpRequest, pk: int) -> HttpResponse:
    """One request: what came, what became of each alert in it, and why."""
    found = IngestEvent.objects.select_related("integration", "incident").filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such request")
    signals = found.payload or []
    outcomes = found.outcomes or [None] * len(signals)
    ids = [outcome["incident"] for outcome in outcomes if outcome and outcome.get("incident")]
    incidents = Incident.objects.in_bulk(ids)
    alerts = [
        {
            "signal": signal,
            "title": signal.get("title") or signal.get("summary") or "",
            "outcome": outcome,
            "verdict": Verdict(outcome["verdict"]).label if outcome else "",
            "incident": incidents.get(outcome.get("incident")) if outcome else None,
        }
        for signal, outcome in zip(signals[:200], outcomes, strict=False)
    ]
    context = {
        "event": found,
        "alerts": alerts,
        "left_out": max(len(signals) - 200, 0),
        "several": len(signals) > 1,
        "raw": _pretty(found.raw),
        "may_replay": at_least(request.user, "manager")
        and found.payload is not None
        and found.verdict != Verdict.PENDING,
        "now": timezone.now(),
    }
    return render(request, "integrations/event.html", context)


def _pretty(raw: str) -> str:
    """Indented where it is still JSON, cut where it is longer than anybody reads. The template escapes it."""
    with suppress(ValueError, RecursionError):
        raw = json.dumps(json.loads(raw), indent=2, ensure_ascii=False)
    return raw if len(raw) <= LONGEST_SHOWN else raw[:LONGEST_SHOWN] + "…"


@require_POST
@role_required("manager")
def replay(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        again = transitions.replay(event_id=pk, by=request.user, now=timezone.now())
    except Missing as error:
        raise Http404(error.message) from None
    except MusterError as error:
        messages.error(request, error.message)
        return redirect("integrations:event", pk)
    messages.success(request, "It is processed again. What becomes of it stands here in a moment.")
    return redirect("integrations:event", again.pk)


# --- in the room ------------------------------------------------------------------------------------------------


@require_safe
@never_cache
@role_required("viewer")
def changes(request: HttpRequest, incident_id: int) -> HttpResponse:
    """What changed before this incident, which the room loads beside its alerts."""
    incident = Incident.objects.filter(pk=incident_id).first()
    if incident is None:
        raise Http404(f"INC-{incident_id} does not exist")
    context = {"incident": incident, "changes": queries.changes_before(incident, limit=8)}
    return render(request, "integrations/_changes.html", context)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else None
