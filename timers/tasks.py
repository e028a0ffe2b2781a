from celery import shared_task
from django.utils import timezone

from timers import transitions


@shared_task(name="timers.fire", ignore_result=True)
def fire(timer_id: int) -> None:
    transitions.fire(timer_id=timer_id, now=timezone.now(), by="celery")
