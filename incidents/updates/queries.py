from datetime import datetime

from incidents.models import Incident


def room_context(incident: Incident, now: datetime) -> dict[str, object]:
    """What the shared parts of the room show of this. The same for every viewer."""
    return {}
