"""What the catalogue shows as a gap because of escalation."""

from django.db.models import Q

from catalog.readiness import Check, register

register(
    Check(
        code="policy",
        text="No escalation policy",
        consequence="Its responders are paged, then the admins, and nobody else.",
        condition=Q(escalation__isnull=True),
        icon="stairs-up",
    )
)
