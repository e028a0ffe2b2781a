from django.apps import AppConfig

from core import pool


class CoreConfig(AppConfig):
    name = "core"

    def ready(self) -> None:
        pool.install()
