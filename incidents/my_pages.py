"""What was sent to the person who looks, waiting ones first."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.permissions import role_required
from incidents import queries
from notifications.queries import readiness

PER_PAGE = 25


@require_safe
@never_cache
@role_required("viewer")
def my_pages(request: HttpRequest) -> HttpResponse:
    before = request.GET.get("before", "")
    history = queries.page_history(request.user).prefetch_related("notification__deliveries")
    if before.isdecimal() and len(before) < 18:
        history = history.filter(pk__lt=int(before))
    shown = list(history[: PER_PAGE + 1])
    rows = shown[:PER_PAGE]
    context = {
        "now": timezone.now(),
        "waiting": list(queries.waiting_pages(request.user)[:20]),
        "history": [
            {
                "page": page,
                "deliveries": list(page.notification.deliveries.all()) if page.notification else [],
            }
            for page in rows
        ],
        "next_url": f"{reverse('incidents:my_pages')}?before={rows[-1].pk}"
        if len(shown) > PER_PAGE
        else None,
        "gaps": readiness(request.user),
    }
    return render(request, "incidents/my_pages.html", context)
