from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class CatalogConfig(AppConfig):
    name = "catalog"

    def ready(self) -> None:
        # What an app above the catalogue knows of a service's gaps stands in its own readiness.py.
        autodiscover_modules("readiness")
