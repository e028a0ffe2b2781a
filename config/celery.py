"""The Celery application. `manage.py work` and `manage.py up` start its workers (core/processes.py)."""

import os
from typing import Any

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("muster")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.worker_init.connect
def keep_connections(**_: Any) -> None:
    """A worker process does one task after another, so it keeps one connection instead of a pool, and looks before each
    task whether it is still good. Celery itself would close connection and pool after each task."""
    from django.db import close_old_connections, connections  # noqa: PLC0415  only once Django is set up

    database = connections.settings["default"]
    database["OPTIONS"].pop("pool", None)
    database["CONN_MAX_AGE"] = None

    def look(**_: Any) -> None:
        close_old_connections()

    for fixup in app._fixups:
        for signal, theirs in (
            (signals.task_prerun, fixup.worker_fixup.on_task_prerun),
            (signals.task_postrun, fixup.worker_fixup.on_task_postrun),
        ):
            signal.disconnect(theirs)
            signal.connect(look, weak=False)
