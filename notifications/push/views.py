"""Where a browser subscribes, where its service worker comes from, and where that reports."""

import functools
import hashlib
import json
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from accounts.permissions import role_required
from core.errors import MusterError
from notifications.channels import push as channel
from notifications.push import rules, transitions, vapid

LONGEST = 8192
SEVERITIES = ("sev1", "sev2", "sev3", "sev4", "drill")


@require_POST
@role_required("viewer")
def use_browser(request: HttpRequest) -> HttpResponse:
    try:
        method = transitions.use_browser(
            user=request.user, given=_given(request.POST, request), label=request.POST.get("label", ""),
            now=timezone.now(),
        )  # fmt: skip
    except MusterError as error:
        return _refused(error)
    return JsonResponse({"method": method.pk, "verified": method.verified_at is not None})


# The worker has no page and so no form's secret to send. The old address is a secret that only this browser, its push
# service and we know, and the session must be that of its owner.
@csrf_exempt
@require_POST
def renew(request: HttpRequest) -> HttpResponse:
    given = _json(request)
    if not request.user.is_authenticated:
        return HttpResponse(status=403)
    subscription, old = given.get("subscription"), given.get("old")
    if not isinstance(subscription, dict) or not isinstance(old, str):
        return HttpResponse(status=400)
    keys = subscription.get("keys")
    flat = {**(keys if isinstance(keys, dict) else {}), "endpoint": subscription.get("endpoint")}
    try:
        transitions.renew(user=request.user, old=old, given=_given(flat, request), now=timezone.now())
    except MusterError as error:
        return _refused(error)
    return HttpResponse(status=204)


# The signed token came within the push, and is what a check against forged requests looks for.
@csrf_exempt
@require_POST
def confirm(request: HttpRequest) -> HttpResponse:
    token = _json(request).get("token")
    if not isinstance(token, str):
        return HttpResponse(status=400)
    try:
        method = transitions.confirm(token=token, now=timezone.now())
    except MusterError as error:
        return _refused(error)
    return JsonResponse({"method": method.pk})


def _given(fields: Any, request: HttpRequest) -> dict[str, str]:
    given = {name: str(fields.get(name) or "") for name in ("endpoint", "p256dh", "auth")}
    return {**given, "browser": rules.browser_words(request.headers.get("User-Agent", ""))}


def _json(request: HttpRequest) -> dict[str, Any]:
    if len(request.body) > LONGEST:
        return {}
    try:
        found = json.loads(request.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _refused(error: MusterError) -> HttpResponse:
    said = next((text for texts in error.fields.values() for text in texts), "") if error.fields else ""
    return JsonResponse(
        {"error": {"code": error.code, "message": said or error.message}}, status=error.status
    )


# --- what a browser keeps ---------------------------------------------------------------------------------------


@require_safe
def service_worker(request: HttpRequest) -> HttpResponse:
    """At the root, because a worker looks after the paths below its own."""
    response = HttpResponse(_worker(settings.DEBUG), content_type="text/javascript; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Service-Worker-Allowed"] = "/"
    return response


def _worker(fresh: bool) -> str:
    return _build() if fresh else _built()


@functools.cache
def _built() -> str:
    return _build()


def _build() -> str:
    code = (settings.BASE_DIR / "static" / "js" / "sw.js").read_text()
    page = (settings.BASE_DIR / "templates" / "notifications" / "push" / "offline.html").read_text()
    shell = [reverse("push_offline"), static("css/answer.css")]
    knows = {
        "offline": shell[0],
        "shell": shell,
        "key": vapid.public_text(channel.key()),
        "confirm": reverse("notifications:push_confirm"),
        "renew": reverse("notifications:push_renew"),
        "pages": reverse("incidents:my_pages"),
        "icon": static("img/icon-192.png"),
        "icons": {name: static(f"img/push-{name}.png") for name in SEVERITIES},
        "badge": static("img/push-badge.png"),
    }
    # A new page or style is a new worker, which fetches its shell again.
    knows["cache"] = "muster-" + hashlib.sha256((json.dumps(knows) + page).encode()).hexdigest()[:12]
    return f"const MUSTER = {json.dumps(knows)};\n{code}"


@require_safe
@never_cache
def offline(request: HttpRequest) -> HttpResponse:
    """Kept by the worker and shown when Muster cannot be reached. The same for everybody."""
    return render(request, "notifications/push/offline.html")
