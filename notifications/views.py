"""How a person is reached, and the ledger of everything that was sent."""

from datetime import date, datetime
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import ContactKind, ContactMethod, User
from accounts.permissions import at_least, role_required, zone_of
from core.errors import Missing, MusterError
from core.forms import show_refusal
from notifications import breaker, kinds, links, queries, replies, rules, transitions, verification
from notifications import methods as change
from notifications import providers as providing
from notifications.forms import AgainForm, MethodForm, RuleForm
from notifications.models import Delivery, DeliveryStatus, Urgency

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
        _prepare(method, now, code_error)
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
        "method_form": method_form or MethodForm(kind=_kind(request)),
        "kind": _kind(request),
        "kinds": kinds.offered(),
        "limits": settings.MUSTER_MESSAGE_LIMITS,
        "rule_form": rule_form or RuleForm(user=user),
        "can_add_rule": any(method.verified_at for method in mine),
        "now": now,
    }
    return render(request, "notifications/methods.html", context, status=status)


def _prepare(method: ContactMethod, now: datetime, code_error: tuple[int, str] | None = None) -> None:
    pending = getattr(method, "verification", None)
    method.code_is_on_its_way = pending is not None and now <= pending.sent_at + rules.CODE_GOOD_FOR
    method.code_error = code_error[1] if code_error and code_error[0] == method.pk else ""
    method.secrets = [part for part in method.secret.split(",") if part]


def _kind(request: HttpRequest) -> str:
    wanted = request.POST.get("kind") or request.GET.get("kind") or ""
    return wanted if wanted in dict(kinds.offered()) else "email"


def _say(request: HttpRequest, error: MusterError) -> HttpResponse:
    """A refusal of something that has no field."""
    if isinstance(error, Missing):
        raise Http404(error.message)
    messages.error(request, error.message)
    return redirect("notifications:methods")


@require_POST
@role_required("viewer")
def add_method(request: HttpRequest) -> HttpResponse:
    form = MethodForm(request.POST, kind=_kind(request))
    if form.is_valid():
        try:
            method = change.add_method(
                user=request.user, kind=form.cleaned_data["kind"], given=form.given, label=form.cleaned_data["label"],
                now=timezone.now(),
            )  # fmt: skip
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
    return redirect(f"{reverse('notifications:methods')}#method-{pk}")


@require_safe
@never_cache
@role_required("viewer")
def method_state(request: HttpRequest, pk: int) -> HttpResponse:
    """How the newest message by this method goes, for a page that looks again until it has ended."""
    method = queries.methods_of(request.user).filter(pk=pk).first()
    if method is None:
        raise Http404("You have no such contact method.")
    return render(request, "notifications/_method_state.html", {"method": method})


@require_POST
@role_required("viewer")
def rotate_secret(request: HttpRequest, pk: int) -> HttpResponse:
    """Twice: first both secrets sign, then only the new one."""
    try:
        if request.POST.get("do") == "end":
            change.end_rotation(user=request.user, method_id=pk)
            said = "Only the new secret signs now."
        else:
            change.rotate_secret(user=request.user, method_id=pk)
            said = "Messages are signed with both secrets. Put the new one into your receiver, then end the old one."
    except MusterError as error:
        return _say(request, error)
    messages.success(request, said)
    return redirect(f"{reverse('notifications:methods')}#method-{pk}")


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
@role_required("responder")
def ledger(request: HttpRequest) -> HttpResponse:
    """Every message to anybody, newest first. Older ones by id, so that new messages move nothing."""
    given = {
        name: request.GET.get(name, "").strip()[:100]
        for name in ("status", "channel", "person", "text", "on")
    }
    status = given["status"] if given["status"] in DeliveryStatus.values else ""
    channel = given["channel"] if given["channel"] in ContactKind.values else ""
    person, day = _number(given["person"]), _day(given["on"])
    text = given["text"].replace("\x00", "")
    before = _number(request.GET.get("before", ""))
    found = queries.ledger(
        status=status, user_id=person, channel=channel, text=text, day=day, zone=zone_of(request.user)
    )
    if before is not None:
        found = found.filter(pk__lt=before)
    rows = list(found[: PER_PAGE + 1])
    kept = {
        "status": status,
        "channel": channel,
        "person": person,
        "text": text,
        "on": day.isoformat() if day else "",
    }
    chosen = {key: value for key, value in kept.items() if value}
    for row in rows:
        row.shown_address = _shown(request.user, row)
    context = {
        "deliveries": rows[:PER_PAGE],
        "older_url": f"?{urlencode({**chosen, 'before': rows[PER_PAGE - 1].pk})}"
        if len(rows) > PER_PAGE
        else "",
        "first_url": f"?{urlencode(chosen)}" if before is not None else "",
        "clear_url": reverse("notifications:ledger"),
        "statuses": DeliveryStatus.choices,
        "channels": ContactKind.choices,
        "people": User.objects.filter(is_active=True).only("pk", "full_name", "username"),
        **kept,
        "filtered": bool(chosen) or before is not None,
        "may_see_providers": at_least(request.user, "manager")
        and bool(providing.accounts("sms") or providing.accounts("voice")),
        "now": timezone.now(),
    }
    return render(request, "notifications/ledger.html", context)


def _shown(user: User, delivery: Delivery) -> str:
    """Addresses of others are for those who look after the installation."""
    if at_least(user, "manager") or delivery.notification.recipient_id == user.pk:
        return delivery.address
    return rules.masked(delivery.address)


@require_safe
@never_cache
@role_required("responder")
def delivery(request: HttpRequest, pk: int) -> HttpResponse:
    """One message: what it said, why then and there, and each attempt with the answer."""
    return _delivery(request, pk)


def _delivery(
    request: HttpRequest, pk: int, *, form: forms.Form | None = None, status: int = 200
) -> HttpResponse:
    found = queries.delivery_to_send(pk)
    if found is None:
        raise Http404("There is no such message")
    found.shown_address = _shown(request.user, found)
    context = {
        "delivery": found,
        "tries": list(found.tries.order_by("number")),
        "others": [each for each in queries.deliveries_of(found.notification) if each.pk != found.pk],
        "with_it": queries.left_with(found),
        "replies": list(found.replies.order_by("pk")[:20]),
        "may_send_again": queries.may_be_sent_again(found),
        "again_form": form or AgainForm(),
        "now": timezone.now(),
    }
    return render(request, "notifications/delivery.html", context, status=status)


@require_POST
@role_required("responder")
def send_again(request: HttpRequest, pk: int) -> HttpResponse:
    form = AgainForm(request.POST)
    if not form.is_valid():
        return _delivery(request, pk, form=form, status=422)
    try:
        again = transitions.send_again(
            delivery_id=pk, by=request.user, reason=form.cleaned_data["reason"], now=timezone.now()
        )
    except Missing as error:
        raise Http404(error.message) from None
    except MusterError as error:
        messages.error(request, error.message)
        return redirect("notifications:delivery", pk)
    messages.success(request, "Sent again, as a message of its own.")
    return redirect("notifications:delivery", again.pk)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 18 else None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


# --- providers of SMS and calls ---------------------------------------------------------------------------------


@require_safe
@never_cache
@role_required("manager")
def providers(request: HttpRequest) -> HttpResponse:
    context = {
        "groups": queries.provider_states(timezone.now()),
        "callbacks": settings.MUSTER_PHONE_CALLBACKS,
        "now": timezone.now(),
    }
    return render(request, "notifications/providers.html", context)


@require_POST
@role_required("manager")
def close_provider(request: HttpRequest, kind: str, name: str) -> HttpResponse:
    try:
        breaker.close(kind=kind, name=name)
    except Missing as error:
        raise Http404(error.message) from None
    messages.success(request, f"{name} is used again from now on.")
    return redirect("notifications:providers")


# --- all of a bundle --------------------------------------------------------------------------------------------


# Exempt from the check against forged requests, as the link of a single page is: the signed token in the address is what
# such a check looks for. Looking never acts, because mail scanners open every link.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def bundle(request: HttpRequest, token: str) -> HttpResponse:
    now = timezone.now()
    try:
        found = queries.bundle(links.read_bundle_token(token))
    except signing.BadSignature:
        found = None
    if found is None or now > found.created_at + rules.GOOD_FOR or not found.recipient.is_active:
        return render(
            request, "notifications/bundle.html", {"pages": [], "now": now}, status=404 if not found else 410
        )
    said: list[str] = []
    if request.method == "POST":
        said = replies.acknowledge_all(bundle_id=found.pk, by=found.recipient, now=now)
    with timezone.override(zone_of(found.recipient)):
        pages = list(queries.notifications_of_bundle(found.pk))
        context = {
            "bundle": found, "pages": pages, "said": said, "now": now,
            "waiting": sum(1 for page in pages if page.status == "active"),
        }  # fmt: skip
        return render(request, "notifications/bundle.html", context)
