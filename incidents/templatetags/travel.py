"""The banner on pages of apps that lie below the incidents and cannot ask for it in Python."""

from typing import Any

from django import template
from django.utils import timezone

from catalog.models import Service
from incidents.travel.queries import burning_on

register = template.Library()


@register.inclusion_tag("travel/_of_service.html")
def burning(service: Service) -> dict[str, Any]:
    """What is open on `service`; it reads itself again where static/js/live.js is on the page."""
    now = timezone.now()
    return {"service": service, "banners": burning_on(service, now), "now": now}
