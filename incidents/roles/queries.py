from datetime import datetime

from accounts.models import User
from incidents.models import Incident


def room_context(incident: Incident, now: datetime) -> dict[str, object]:
    """What the shared parts of the room show of this. The same for every viewer."""
    return {}


def acts_context(incident: Incident, user: User) -> dict[str, object]:
    """What the viewer is asked to take."""
    return {}
