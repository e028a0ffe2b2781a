"""Which providers are used now. The state is in rows, so that every worker on every machine knows the same.

After FAILURES_TO_OPEN failures in a row a provider is left out; when its time has come, one message may try it again. A
page never waits for a breaker: when all are left out, all are tried.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from core.errors import Missing
from notifications import rules
from notifications.models import ProviderState
from notifications.phone_accounts import Account


def usable(accounts: Sequence[Account], *, now: datetime) -> list[Account]:
    """In the order of the settings. Whoever gets a provider that is left out has its one probe."""
    if not accounts:
        return []
    opened = {
        (state.kind, state.name): state
        for state in ProviderState.objects.filter(kind=accounts[0].kind, opened_at__isnull=False)
    }
    found = []
    for account in accounts:
        state = opened.get((account.kind, account.name))
        if state is None or _takes_probe(state, now=now):
            found.append(account)
    return found or list(accounts)


def _takes_probe(state: ProviderState, *, now: datetime) -> bool:
    if state.probe_at is None or state.probe_at > now:
        return False
    # Of several workers that see the time come, one changes the row.
    mine = ProviderState.objects.filter(pk=state.pk, opened_at__isnull=False, probe_at=state.probe_at)
    return bool(mine.update(probe_at=now + rules.open_for(state.failures)))


@transaction.atomic
def failed(account: Account, *, error: str, now: datetime) -> None:
    state = _lock(account)
    state.failures += 1
    state.last_error, state.last_error_at = error[:300], now
    if state.failures >= rules.FAILURES_TO_OPEN:
        state.opened_at = state.opened_at or now
        state.probe_at = now + rules.open_for(state.failures)
    state.save()


def worked(account: Account, *, now: datetime) -> None:
    healthy = ProviderState.objects.filter(
        kind=account.kind, name=account.name, failures=0, opened_at__isnull=True
    )
    if healthy.update(last_success_at=now):
        return
    with transaction.atomic():
        state = _lock(account)
        state.failures, state.opened_at, state.probe_at, state.last_success_at = 0, None, None, now
        state.save()


@transaction.atomic
def close(*, kind: str, name: str) -> None:
    """Use it again from now on, by hand. Raises Missing."""
    closed = ProviderState.objects.filter(kind=kind, name=name).update(
        failures=0, opened_at=None, probe_at=None
    )
    if not closed:
        raise Missing("There is no such provider.")


def _lock(account: Account) -> ProviderState:
    ProviderState.objects.bulk_create(
        [ProviderState(kind=account.kind, name=account.name)], ignore_conflicts=True
    )
    return ProviderState.objects.select_for_update().get(kind=account.kind, name=account.name)
