"""The service inventory: one source of truth for who owns what, and what depends on what."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from accounts.models import Team, User


class Criticality(models.IntegerChoices):
    """How much it hurts when the service is down. 1 is worst."""

    CRITICAL = 1, "Critical"
    HIGH = 2, "High"
    MEDIUM = 3, "Medium"
    LOW = 4, "Low"


class Service(models.Model):
    name = models.CharField(max_length=80, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    description = models.CharField(max_length=500, blank=True)
    criticality = models.PositiveSmallIntegerField(choices=Criticality, default=Criticality.MEDIUM)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, blank=True, related_name="services")
    primary_responder = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="primary_for"
    )
    secondary_responder = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="secondary_for"
    )
    depends_on = models.ManyToManyField(
        "self", through="Dependency", symmetrical=False, related_name="dependants", blank=True
    )
    links = models.JSONField(
        default=list, blank=True, help_text='[{"text": "Dashboard", "href": "https://…"}]'
    )
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    grouping_minutes = models.PositiveSmallIntegerField(
        default=0,
        help_text="An alert within this time of the last one joins the open incident. 0: each opens its own.",
    )
    acknowledge_timeout_minutes = models.PositiveIntegerField(
        default=0, help_text="An acknowledged incident pages again after this time. 0: never."
    )
    activity_extends_acknowledgement = models.BooleanField(
        default=True, help_text="What people do in the room starts that time anew. Bots and alerts never do."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["criticality", "name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(criticality__in=Criticality.values), name="service_criticality_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Dependency(models.Model):
    """`service` does not work well without `depends_on`."""

    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="dependencies")
    depends_on = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="dependency_of")
    note = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["service", "depends_on"], name="dependency_once"),
            models.CheckConstraint(
                condition=~models.Q(service=models.F("depends_on")), name="dependency_not_on_itself"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.service} needs {self.depends_on}"


class Slo(models.Model):
    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="slos")
    name = models.CharField(max_length=120, help_text="Example: Availability of POST /confirm")
    target_percent = models.DecimalField(max_digits=6, decimal_places=3)
    window_days = models.PositiveSmallIntegerField(default=30)
    indicator = models.CharField(
        max_length=300, blank=True, help_text="What is measured, in words or as a query."
    )

    class Meta:
        ordering = ["service_id", "name"]
        constraints = [
            models.UniqueConstraint(fields=["service", "name"], name="slo_name_once_per_service"),
            models.CheckConstraint(
                condition=models.Q(target_percent__gt=0, target_percent__lte=100),
                name="slo_target_is_a_percentage",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.target_percent}%"
