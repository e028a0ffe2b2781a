import pytest

from integrations import endpoints, hints
from integrations.keys import directory


@pytest.fixture(autouse=True)
def fresh_process() -> None:
    """Each test begins like a process that has seen no request yet."""
    directory.forget()
    endpoints.strangers.forget()
    endpoints.refusals.forget()


@pytest.fixture(autouse=True)
def woken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The integrations for which a worker was called. No worker runs here, so nothing goes to the broker."""
    called: list[int] = []
    monkeypatch.setattr(hints, "wake", called.append)
    return called
