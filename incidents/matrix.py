"""What a severity means on services of one criticality, where somebody above has laid it down; without that, the defaults
of `rules` hold. Escalation keeps the matrix and registers itself here."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ruling:
    urgency: str = ""
    """high or low; empty: as the alert, or the severity alone, says."""
    asks_commander: bool | None = None
    """None: as the rotation of commanders says."""


Decide = Callable[[int, int], Ruling]


def _nothing_laid_down(severity: int, criticality: int) -> Ruling:
    return Ruling()


_decide: Decide = _nothing_laid_down


def decided_by(function: Decide) -> Decide:
    """Have `function(severity, criticality)` say what holds."""
    global _decide
    _decide = function
    return function


def ruling(*, severity: int, criticality: int) -> Ruling:
    return _decide(severity, criticality)
