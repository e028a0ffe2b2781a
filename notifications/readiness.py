"""What the catalogue shows as a gap because a page would not reach anybody."""

from django.db.models import Exists, OuterRef, Q

from accounts.models import ContactMethod
from catalog.readiness import Check, register


def _reached(responder: str) -> Exists:
    return Exists(
        ContactMethod.objects.filter(
            user=OuterRef(responder), verified_at__isnull=False, disabled_at__isnull=True
        )
    )


register(
    Check(
        code="reach",
        text="A responder has no verified contact method",
        consequence="Their pages go to the sign-in address, and count as not reached.",
        condition=(Q(primary_responder__isnull=False) & ~Q(_reached("primary_responder")))
        | (Q(secondary_responder__isnull=False) & ~Q(_reached("secondary_responder"))),
        icon="phone-off",
    )
)
