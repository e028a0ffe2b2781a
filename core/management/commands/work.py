from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from core import processes
from core.supervisor import Supervisor, say_to_terminal


class Command(BaseCommand):
    help = "Run the workers alone: for a machine or container that escalates and delivers."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "group",
            nargs="*",
            choices=[[], *processes.QUEUES],
            help="Which workers; without a name all of them.",
        )

    def handle(self, *, group: list[str], **options: Any) -> None:
        supervisor = Supervisor(say=say_to_terminal)
        supervisor.listen()
        try:
            for child in processes.workers(groups=group):
                supervisor.add(child)
            supervisor.run()
        finally:
            supervisor.stop()
