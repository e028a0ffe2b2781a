from django.core.management.base import BaseCommand, CommandError, CommandParser

from incidents import timeline
from incidents.models import Incident


class Command(BaseCommand):
    help = "Checks the hash chain of every timeline, or of the incidents that are named. Exits with 1 when one is broken."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("refs", nargs="*", metavar="INC-42", help="Only these incidents.")

    def handle(self, *args: object, **options: object) -> None:
        incidents = Incident.objects.order_by("pk")
        refs = options["refs"]
        if refs:
            try:
                wanted = [int(ref.upper().removeprefix("INC-")) for ref in refs]
            except ValueError:
                raise CommandError("Name incidents like INC-42.") from None
            incidents = incidents.filter(pk__in=wanted)
            missing = set(wanted) - set(incidents.values_list("pk", flat=True))
            if missing:
                raise CommandError(f"There is no {', '.join(f'INC-{pk}' for pk in sorted(missing))}.")
        checked = broken = 0
        for incident in incidents.iterator(chunk_size=500):
            checked += 1
            for sentence in timeline.verify(incident):
                broken += 1
                self.stderr.write(sentence)
        if broken:
            raise CommandError(f"{broken} faults in {checked} timelines.")
        self.stdout.write(f"{checked} timelines are whole.")
