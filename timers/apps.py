from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class TimersConfig(AppConfig):
    name = "timers"

    def ready(self) -> None:
        # Every app's subscribers.py registers what it does on timers, timeline entries and deliveries.
        autodiscover_modules("subscribers")
