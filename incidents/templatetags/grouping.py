"""The banner of maintenance on pages that say what burns."""

from typing import Any

from django import template
from django.utils import timezone

from incidents.grouping.queries import banners

register = template.Library()


@register.inclusion_tag("grouping/_banners.html")
def maintenance_banner() -> dict[str, Any]:
    """What is under way, and so pages nobody. One query when nothing is."""
    now = timezone.now()
    return {"banners": banners(now=now), "now": now}
