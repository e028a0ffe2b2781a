"""How an incident's number stands in an address: /incidents/INC-42/. Importing this makes <ref:incident_id> known."""

from django.urls import register_converter


class RefConverter:
    """Reads INC-42, inc-42 or 42; writes INC-42 from an id."""

    regex = "(?:[Ii][Nn][Cc]-)?[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value.rpartition("-")[2])

    def to_url(self, value: int | str) -> str:
        return f"INC-{str(value).rpartition('-')[2]}"


register_converter(RefConverter, "ref")
