"""How an incident's number stands in an address: /incidents/INC-42/. Importing this makes <ref:incident_id> known."""

from django.urls import register_converter

from core.errors import Missing
from incidents import queries
from incidents.models import Incident


class RefConverter:
    """Reads INC-42, inc-42 or 42; writes INC-42 from an id."""

    regex = "(?:[Ii][Nn][Cc]-)?[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value.rpartition("-")[2])

    def to_url(self, value: int | str) -> str:
        return f"INC-{str(value).rpartition('-')[2]}"


register_converter(RefConverter, "ref")


def number_in(text: str) -> int | None:
    """42 of "42" and of "INC-42" in any case. None: it is no incident's number."""
    digits = text.strip().upper().removeprefix("INC-")
    return int(digits) if digits.isdecimal() and digits.isascii() and len(digits) < 19 else None


def incident_id(ref: str) -> int:
    """The id that an address of the API names, whether or not there is such an incident. Raises Missing."""
    number = number_in(ref)
    if number is None:
        raise Missing(f"There is no incident {ref[:40]!r}.")
    return number


def incident_of(ref: str) -> Incident:
    """The incident that an address of the API names, with its people. Raises Missing."""
    pk = incident_id(ref)
    incident = queries.incident(pk)
    if incident is None:
        raise Missing(f"There is no incident INC-{pk}.")
    return incident
