from datetime import datetime

from catalog.models import Service
from incidents import presenters, queries
from incidents.roles import queries as roles

MOST = 20


def burning_on(service: Service, now: datetime) -> list[presenters.Banner]:
    """The banners of what is open on this service, worst first. Three queries."""
    rows = list(queries.open_incidents().filter(service=service).prefetch_related("phase_stamps")[:MOST])
    roles.read_offers(rows)
    return [presenters.banner(incident, now) for incident in rows]
