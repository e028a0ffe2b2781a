"""Run inside a Muster under test by `manage.py shell -c`: makes people, policies and services, and prints what it made.

python manage.py shell -c "from tests.journeys.world import build; build({...})"
"""

import json
from typing import Any

from django.utils import timezone

from accounts.models import Role, digest
from escalation.rules import TargetData
from integrations.models import Integration
from notifications.models import NotificationRule
from tests.factories.accounts import PASSWORD, make_email, make_team, make_token, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.oncall import make_schedule


def build(seconds: int = 2, services: int = 1, repeats: int = 1) -> None:
    """Three tiers of one person each, on a schedule in tier 1, with `seconds` to acknowledge; a catch-all."""
    now = timezone.now()
    people = {
        name: make_user(name, role=role, password=PASSWORD)
        for name, role in (
            ("ravi", Role.RESPONDER), ("jonas", Role.RESPONDER), ("ines", Role.MANAGER), ("director", Role.ADMIN),
        )
    }  # fmt: skip
    for person in people.values():
        email = make_email(person, verified_at=now)
        NotificationRule.objects.create(user=person, urgency="high", delay_seconds=0, method=email)
    make_team("Checkout", members=list(people.values()))
    schedule = make_schedule("Checkout", people=[people["ravi"]])
    keys, ids = [], []
    for number in range(services):
        service = make_service(f"checkout-{number}", criticality=1)
        make_policy(
            tier(1, targets=[TargetData(kind="schedule", id=schedule.pk)], seconds=seconds),
            tier(2, people["jonas"], seconds=seconds),
            tier(3, people["ines"], seconds=seconds),
            service=service, repeats=repeats, catch_all=people["director"],
        )  # fmt: skip
        key = Integration.new_key()
        Integration.objects.create(
            name=f"Alerts {number}",
            kind="pagerduty",
            service=service,
            key_digest=digest(key),
            key_hint=key[-4:],
        )
        keys.append(key)
        ids.append(service.pk)
    made: dict[str, Any] = {
        "routing_keys": keys, "services": ids, "token": make_token(people["ines"]), "password": PASSWORD,
    }  # fmt: skip
    print("WORLD " + json.dumps(made))
