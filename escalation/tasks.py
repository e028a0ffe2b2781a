import httpx
import structlog
from celery import shared_task
from django.conf import settings

log = structlog.get_logger(__name__)


@shared_task(name="escalation.beat_outside", ignore_result=True)
def beat_outside() -> None:
    """Tell a watcher outside that the auditor ran and found nothing overdue. Its silence is the alarm."""
    try:
        httpx.get(settings.MUSTER_HEARTBEAT_URL, timeout=10).raise_for_status()
    except httpx.HTTPError as error:
        log.warning("heartbeat_not_delivered", error=repr(error))
