"""What a service lacks before the night it matters.

Each check is a condition on the service's row, so that lists show and filter gaps without a query per service. Apps
above the catalogue register theirs when they are loaded, for what they keep themselves: its escalation policy, later
its runbooks.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import BooleanField, ExpressionWrapper, F, Q, QuerySet

from catalog.models import Service


@dataclass(frozen=True)
class Check:
    """`condition` is true where the gap is. It may follow only relations that hold one row at most."""

    code: str
    text: str
    consequence: str
    condition: Q
    icon: str = "alert-triangle"

    @property
    def annotation(self) -> str:
        return f"gap_{self.code}"


_checks: dict[str, Check] = {}


def register(check: Check) -> Check:
    if check.code in _checks and _checks[check.code] != check:
        raise ValueError(f"There is already a readiness check {check.code!r}.")
    _checks[check.code] = check
    return check


def checks() -> list[Check]:
    return list(_checks.values())


def gaps_of(service: Service) -> list[Check]:
    """The gaps of a service that was loaded by `with_gaps`."""
    return [check for check in checks() if getattr(service, check.annotation)]


def with_gaps(services: QuerySet[Service]) -> QuerySet[Service]:
    return services.annotate(
        **{
            check.annotation: ExpressionWrapper(check.condition, output_field=BooleanField())
            for check in checks()
        }
    )


def any_gap(codes: Iterable[str] | None = None) -> Q:
    """Where at least one of these checks, or of all, finds a gap."""
    wanted = Q(pk__in=[])
    for check in checks():
        if codes is None or check.code in codes:
            wanted |= check.condition
    return wanted


register(
    Check(
        code="owner",
        text="No owning team",
        consequence="Nobody is asked to keep it well.",
        condition=Q(team__isnull=True),
        icon="users",
    )
)
register(
    Check(
        code="primary",
        text="No primary responder",
        consequence="A policy that pages its primary skips that step.",
        condition=Q(primary_responder__isnull=True) | Q(primary_responder__is_active=False),
        icon="user-off",
    )
)
register(
    Check(
        code="secondary",
        text="No secondary responder",
        consequence="When its primary does not answer, nobody who knows it is next.",
        condition=Q(secondary_responder__isnull=True) | Q(secondary_responder__is_active=False),
        icon="user-off",
    )
)
register(
    Check(
        code="one_person",
        text="One person is primary and secondary",
        consequence="Nobody stands in for them.",
        condition=Q(primary_responder=F("secondary_responder")),
        icon="user-off",
    )
)
