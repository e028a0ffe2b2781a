"""How a person is reached, and the ledger of everything that was sent."""

from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from accounts.permissions import role_required
from core.errors import Missing, MusterError
from core.forms import show_refusal
from notifications import methods as change
from notifications import queries, rules, transitions, verification
from notifications.forms import MethodForm, RuleForm
from notifications.models import DeliveryStatus, Urgency

PER_PAGE = 50

# --- how Muster reaches me --------------------------------------------------------------------------------------


@require_safe
@never_cache
@role_required("viewer")
def methods(request: HttpRequest) -> HttpResponse:
    return _methods(request)


def _methods(
    request: HttpRequest, *, method_form: forms.Form | None = None, rule_form: forms.Form | None = None,
    code_error: tuple[int, str] | None = None, status: int = 200,
) -> HttpResponse:  # fmt: skip
    user, now = request.user, timezone.now()
    mine = list(queries.methods_of(user))
    for method in mine:
        pending = getattr(method, "verification", None)
        method.code_is_on_its_way = pending is not None and now <= pending.sent_at + rules.CODE_GOOD_FOR
        method.code_error = code_error[1] if code_error and code_error[0] == method.pk else ""
    steps = list(user.notification_rules.select_related("method").order_by("delay_seconds", "pk"))
    context = {
        "methods": mine,
        "gaps": queries.readiness(user),
        "urgencies": [
            {
                "value": urgency.value,
                "label": urgency.label,
                "steps": [step for step in steps if step.urgency == urgency],
                "plan": queries.plan_of(user, urgency),
            }
            for urgency in Urgency
        ],
        "method_form": method_form or MethodForm(),
        "rule_form": rule_form or RuleForm(user=user),
        "can_add_rule": any(method.verified_at for method in mine),
        "now": now,
    }
    return render(request, "notifications/methods.html", context, status=status)


def _say(request: HttpRequest, error: MusterError) -> HttpResponse:
    """A refusal of something that has no field."""
    if isinstance(error, Missing):
        raise Http404(error.message)
    messages.error(request, error.message)
    return redirect("notifications:methods")


@require_POST
@role_required("viewer")
def add_method(request: HttpRequest) -> HttpResponse:
    form = MethodForm(request.POST)
    if form.is_valid():
        try:
            method = change.add_method(user=request.user, now=timezone.now(), **form.cleaned_data)
        except MusterError as error:
            show_refusal(error, form)
        else:
            messages.success(request, f"A code is on its way to {method.address}. Type it in below.")
            return redirect("notifications:methods")
    return _methods(request, method_form=form, status=422)


@require_POST
@role_required("viewer")
def verify_method(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        method = change.method_of(request.user, pk)
        verification.confirm(method=method, code=request.POST.get("code", "")[:40], now=timezone.now())
    except Missing as error:
        return _say(request, error)
    except MusterError as error:
        return _methods(request, code_error=(pk, error.message), status=422)
    messages.success(request, f"{method} is verified. Pages can be sent there now.")
    return redirect("notifications:methods")


@require_POST
@role_required("viewer")
def send_code(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        method = change.method_of(request.user, pk)
        verification.send_code(method=method, now=timezone.now())
    except MusterError as error:
        return _say(request, error)
    messages.success(request, f"A new code is on its way to {method.address}.")
    return redirect("notifications:methods")


@require_POST
@role_required("viewer")
def send_test(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        change.send_test(user=request.user, method_id=pk, now=timezone.now())
    except MusterError as error:
        return _say(request, error)
    messages.success(request, "A test is on its way. What becomes of it stands beside the method.")
    return redirect("notifications:methods")


@require_POST
@role_required("viewer")
def remove_method(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        called = change.remove_method(user=request.user, method_id=pk, now=timezone.now())
    except MusterError as error:
        return _say(request, error)
    messages.success(request, f"{called} is removed, and the steps that used it.")
    return redirect("notifications:methods")


@require_POST
@role_required("viewer")
def add_rule(request: HttpRequest) -> HttpResponse:
    form = RuleForm(request.POST, user=request.user)
    if form.is_valid():
        try:
            change.add_rule(
                user=request.user, urgency=form.cleaned_data["urgency"], minutes=form.cleaned_data["minutes"],
                method_id=int(form.cleaned_data["method"]),
            )  # fmt: skip
        except MusterError as error:
            show_refusal(error, form)
        else:
            return redirect("notifications:methods")
    return _methods(request, rule_form=form, status=422)


@require_POST
@role_required("viewer")
def remove_rule(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        change.remove_rule(user=request.user, rule_id=pk)
    except MusterError as error:
        return _say(request, error)
    return redirect("notifications:methods")


# --- the ledger -------------------------------------------------------------------------------------------------


@require_safe
@never_cache
@role_required("manager")
def ledger(request: HttpRequest) -> HttpResponse:
    """Every message to anybody, newest first. Older ones by id, so that new messages move nothing."""
    status = request.GET.get("status", "")
    status = status if status in DeliveryStatus.values else ""
    person = _number(request.GET.get("person", ""))
    before = _number(request.GET.get("before", ""))
    found = queries.ledger(status=status, user_id=person)
    if before is not None:
        found = found.filter(pk__lt=before)
    rows = list(found[: PER_PAGE + 1])
    chosen = {key: value for key, value in (("status", status), ("person", person)) if value}
    context = {
        "deliveries": rows[:PER_PAGE],
        "older_url": f"?{urlencode({**chosen, 'before': rows[PER_PAGE - 1].pk})}"
        if len(rows) > PER_PAGE
        else "",
        "first_url": f"?{urlencode(chosen)}" if before is not None else "",
        "clear_url": reverse("notifications:ledger"),
        "statuses": DeliveryStatus.choices,
        "people": User.objects.filter(is_active=True).only("pk", "full_name", "username"),
        "status": status,
        "person": person,
        "filtered": bool(chosen) or before is not None,
        "now": timezone.now(),
    }
    return render(request, "notifications/ledger.html", context)


@require_safe
@never_cache
@role_required("manager")
def delivery(request: HttpRequest, pk: int) -> HttpResponse:
    """One message: what it said, why then and there, and each attempt with the answer."""
    found = queries.delivery_to_send(pk)
    if found is None:
        raise Http404("There is no such message")
    context = {
        "delivery": found,
        "tries": list(found.tries.order_by("number")),
        "others": [each for each in queries.deliveries_of(found.notification) if each.pk != found.pk],
        "may_send_again": found.status == DeliveryStatus.FAILED and found.notification.status == "active",
        "now": timezone.now(),
    }
    return render(request, "notifications/delivery.html", context)


@require_POST
@role_required("manager")
def send_again(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        again = transitions.send_again(delivery_id=pk, by=request.user, now=timezone.now())
    except Missing as error:
        raise Http404(error.message) from None
    except MusterError as error:
        messages.error(request, error.message)
        return redirect("notifications:delivery", pk)
    messages.success(request, "Sent again, as a message of its own.")
    return redirect("notifications:delivery", again.pk)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 18 else None
