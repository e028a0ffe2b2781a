import fcntl
import hashlib
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand

# Thousands of icons that templates put inline; no page asks for one by its address.
NOT_SERVED = ["icons", "vendor/icons/*", ".gitkeep"]


def fingerprint() -> str:
    """Changes when a static file is added, changed or removed."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list(NOT_SERVED):
            stat = Path(storage.path(name)).stat()
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


class Command(BaseCommand):
    help = "Collect and compress the static files, when they have changed."
    requires_system_checks = ()

    def handle(self, **options: object) -> None:
        target = Path(settings.STATIC_ROOT)
        target.mkdir(parents=True, exist_ok=True)
        mark = target / ".fingerprint"
        with open(target / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            now = fingerprint()
            if mark.exists() and mark.read_text() == now:
                return
            # Nothing is cleared: a server that runs meanwhile is still asked for files under their older names.
            call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=NOT_SERVED)
            mark.write_text(now)
