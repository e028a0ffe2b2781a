"""Which chats follow incidents, and how they answer."""

from dataclasses import dataclass
from typing import Any

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
from core.errors import MusterError
from core.forms import show_refusal
from integrations.bridge import queries, transitions
from integrations.bridge.forms import BridgeChangeForm, BridgeForm
from integrations.bridge.transitions import Secrets
from integrations.models import ChatBridge

PER_PAGE = 50


@require_safe
@never_cache
@role_required("viewer")
def bridge_list(request: HttpRequest) -> HttpResponse:
    return _list(request)


def _list(request: HttpRequest, *, form: forms.Form | None = None, status: int = 200) -> HttpResponse:
    chosen = {name: request.GET.get(name, "").replace("\x00", "")[:100].strip() for name in ("q", "state")}
    found = queries.bridge_list(text=chosen["q"], state=chosen["state"])
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "bridges": page.object_list,
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "form": form or BridgeForm(),
        "may_edit": at_least(request.user, "manager"),
        "now": timezone.now(),
    }
    return render(request, "integrations/bridge_list.html", context, status=status)


@require_POST
@never_cache
@role_required("manager")
def create(request: HttpRequest) -> HttpResponse:
    """Answers with the page itself, not a redirect: key and secret are in this answer and nowhere else."""
    form = BridgeForm(request.POST)
    if not form.is_valid():
        return _list(request, form=form, status=422)
    try:
        bridge, made = transitions.create_bridge(**form.cleaned_data)
    except MusterError as refusal:
        show_refusal(refusal, form)
        return _list(request, form=form, status=422)
    return _detail(request, _bridge(bridge.pk), made=made)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@role_required("viewer")
def bridge(request: HttpRequest, pk: int) -> HttpResponse:
    found = _bridge(pk)
    if request.method != "POST":
        return _detail(request, found)
    if not at_least(request.user, "manager"):
        messages.error(request, "Managers and admins may change a bridge.")
        return redirect("integrations:bridge", pk)
    form = BridgeChangeForm(request.POST)
    if form.is_valid():
        try:
            transitions.change_bridge(bridge_id=pk, **form.cleaned_data)
        except MusterError as refusal:
            show_refusal(refusal, form)
        else:
            messages.success(request, "Saved. It counts for what happens from now on.")
            return redirect("integrations:bridge", pk)
    return _detail(request, found, form=form, status=422)


@dataclass(frozen=True)
class Setup:
    """How the chat's side is told to send here."""

    address: str
    code: str


def _setup(key: str) -> Setup:
    address = f"{settings.MUSTER_BASE_URL}/api/v1/integrations/chat/{key or 'KEY'}/"
    body = '{"id": "m-1", "incident": "INC-42", "user": "ravi", "text": "acknowledge"}'
    code = "\n".join(
        [
            f"BODY='{body}'",
            "TIME=$(date +%s)",
            'SIGN=$(printf %s "$TIME.$BODY" | openssl dgst -sha256 -hmac "$SECRET" | sed "s/.* //")',
            'curl -H "X-Muster-Timestamp: $TIME" -H "X-Muster-Signature: v1=$SIGN" \\',
            f'  -d "$BODY" {address}',
        ]
    )
    return Setup(address, code)


def _detail(
    request: HttpRequest,
    found: ChatBridge,
    *,
    made: Secrets | None = None,
    form: forms.Form | None = None,
    status: int = 200,
) -> HttpResponse:
    initial = {
        name: getattr(found, name) for name in ("name", "min_severity", "mirrors_banner", "mirrors_talk")
    } | {"service": found.service_id}
    context: dict[str, Any] = {
        "bridge": found,
        "made": made,
        "setup": _setup(made.key if made else ""),
        "form": form or BridgeChangeForm(initial=initial),
        "latest": queries.latest(found),
        "may_edit": at_least(request.user, "manager"),
        "now": timezone.now(),
    }
    return render(request, "integrations/bridge.html", context, status=status)


@require_POST
@never_cache
@role_required("manager")
def rotate(request: HttpRequest, pk: int) -> HttpResponse:
    """Like `create`: key and secret are in this answer and nowhere else."""
    _bridge(pk)
    _, made = transitions.rotate_secrets(bridge_id=pk)
    return _detail(request, _bridge(pk), made=made)


@require_POST
@role_required("manager")
def try_out(request: HttpRequest, pk: int) -> HttpResponse:
    found = _bridge(pk)
    if found.disabled_at is not None:
        messages.error(request, "It is disabled. Enable it first.")
    else:
        transitions.try_out(bridge_id=pk, now=timezone.now())
        messages.success(
            request, "A test is on its way. Look into the chat, or reload to see what it answered."
        )
    return redirect("integrations:bridge", pk)


@require_POST
@role_required("manager")
def disable(request: HttpRequest, pk: int) -> HttpResponse:
    _bridge(pk)
    transitions.disable(bridge_id=pk, now=timezone.now())
    messages.success(request, "Nothing goes to this chat any more, and nothing comes from it.")
    return redirect("integrations:bridge", pk)


@require_POST
@role_required("manager")
def enable(request: HttpRequest, pk: int) -> HttpResponse:
    _bridge(pk)
    transitions.enable(bridge_id=pk)
    messages.success(request, "What happens from now on goes to this chat again.")
    return redirect("integrations:bridge", pk)


def _bridge(pk: int) -> ChatBridge:
    found = queries.bridge_list().filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such bridge")
    return found
