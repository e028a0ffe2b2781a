from django.core.management.base import BaseCommand

from core import processes
from core.supervisor import Supervisor, say_to_terminal


class Command(BaseCommand):
    help = (
        "Run the web server alone: for a machine or container that serves pages, the API and incoming alerts."
    )
    requires_system_checks = ()

    def handle(self, **options: object) -> None:
        bound = processes.listen()
        supervisor = Supervisor(say=say_to_terminal)
        supervisor.listen()
        try:
            for child in processes.web(bound):
                supervisor.add(child)
            supervisor.run()
        finally:
            supervisor.stop()
