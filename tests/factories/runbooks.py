from datetime import datetime

from accounts.models import User
from catalog.models import Service
from runbooks import transitions
from runbooks.models import Runbook
from runbooks.transitions import RunbookData

TEXT = """How one sees it: 5xx above 2%.

## Triage

- What changed last?

## Steps

### Freeze deploys (5 min)

`deploy freeze checkout`

### Shift traffic (10 min)

Half of it to `eu-2`.

## Rollback

Shift it back.
"""


def make_runbook(
    title: str, *, author: User, publisher: User | None, now: datetime, text: str = TEXT, services: tuple[Service, ...] = (),
    **head: object,
) -> Runbook:  # fmt: skip
    """`publisher` None: it stays a draft."""
    data = RunbookData(title=title, text=text, services=services, **head)
    runbook = transitions.create_runbook(data=data, by=author, now=now)
    if publisher:
        transitions.publish(runbook_id=runbook.pk, number=1, by=publisher, now=now)
        runbook.refresh_from_db()
    return runbook
