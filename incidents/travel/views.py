"""The banner where the room is not: on the service's page, in runbooks, and on pages of others."""

from urllib.parse import urljoin

from django.conf import settings
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.permissions import role_required
from catalog.models import Service
from incidents import presenters, queries
from incidents.models import Incident
from incidents.travel.links import GOOD_FOR, embed_path, read_embed_token
from incidents.travel.queries import burning_on
from incidents.web import is_fragment, room


@require_safe
@never_cache
@role_required("viewer")
def of_service(request: HttpRequest, slug: str) -> HttpResponse:
    """The strips of what is open on one service; its page reads them again when an incident changes."""
    service = get_object_or_404(Service, slug=slug)
    now = timezone.now()
    context = {"service": service, "banners": burning_on(service, now), "now": now}
    return render(request, "travel/_of_service.html", context)


@require_safe
@role_required("viewer")
@room
def strip(request: HttpRequest, incident: Incident) -> HttpResponse:
    """One incident in a line, for a page that is about it."""
    now = timezone.now()
    context = {"banner": presenters.banner(incident, now), "now": now, "lead": False}
    return render(request, "incidents/_strip.html", context)


@require_safe
@role_required("responder")
@room
def embed(request: HttpRequest, incident: Incident) -> HttpResponse:
    """The address under which other pages show the banner. A dialog in the room, a page without script."""
    context = {
        "incident": incident,
        "address": urljoin(f"{settings.MUSTER_BASE_URL}/", embed_path(incident.pk)),
        "origins": settings.MUSTER_EMBED_ORIGINS,
        "days": GOOD_FOR.days,
    }
    return render(request, "travel/_embed.html" if is_fragment(request) else "travel/embed.html", context)


@require_safe
@never_cache
def banner(request: HttpRequest, token: str) -> HttpResponse:
    """The banner alone, for whoever has its address. Which sites may frame it, the settings say."""
    try:
        incident = queries.incident(read_embed_token(token))
    except signing.BadSignature:
        incident = None
    if incident is None:
        raise Http404("This address does not work, or no longer.")
    now = timezone.now()
    with timezone.override("UTC"):
        context = {"banner": presenters.banner(incident, now), "now": now}
        response = render(request, "travel/banner.html", context)
    response.headers["Content-Security-Policy"] = policy(settings.MUSTER_EMBED_ORIGINS)
    return response


def policy(origins: list[str]) -> str:
    """As everywhere, but for who may frame it; and there is no form in it."""
    parts = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        f"frame-ancestors {' '.join(origins) or chr(39) + 'none' + chr(39)}",
    ]
    return "; ".join(parts)
