"""What load balancers and monitors ask, and the answer when a view fails."""

import ipaddress
import secrets
import sys

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from core.middleware import database_is_away, for_programs, unavailable


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """The process can do its work: the database answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return unavailable(request)
    return JsonResponse({"status": "ready"})


def may_read_metrics(request: HttpRequest) -> bool:
    """With a token only who has it; without one only this machine, and no proxy on it."""
    if settings.MUSTER_METRICS_TOKEN:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return secrets.compare_digest(given.encode(), settings.MUSTER_METRICS_TOKEN.encode())
    if "X-Forwarded-For" in request.headers:
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def server_error(request: HttpRequest) -> HttpResponse:
    """Django calls this while it handles the exception of a view or a middleware."""
    if database_is_away(sys.exc_info()[1]):
        return unavailable(request)
    if for_programs(request):
        error = {"code": "failed", "message": "Muster failed here. The fault is written down."}
        return JsonResponse({"error": error}, status=500)
    return HttpResponse(render_to_string("500.html"), status=500)
