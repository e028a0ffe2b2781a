from django.core.management.base import BaseCommand

from incidents import timeline
from notifications import hooks
from timers import registry


def _name(function: object) -> str:
    return f"{function.__module__}.{function.__qualname__}"


class Command(BaseCommand):
    help = "Lists what happens when: who reacts to timeline entries, timers, deliveries, and on each round of the timekeeper."

    def handle(self, *args: object, **options: object) -> None:
        self.stdout.write("Timeline entries, in the entry's transaction, in this order:")
        for kind, functions in sorted(timeline.subscribers().items()):
            self.stdout.write(f"  {kind}: {', '.join(_name(function) for function in functions)}")
        self.stdout.write("Timers, in the transaction that removes the row:")
        for handler in registry.handlers():
            self.stdout.write(f"  {handler.kind} (queue {handler.queue}): {_name(handler.handle)}")
        self.stdout.write("Deliveries, in a transaction of their own:")
        for result in ("sent", "failed"):
            names = [_name(hook) for hook in hooks.hooks_for(result)]
            self.stdout.write(f"  {result}: {', '.join(names) or 'nobody'}")
        self.stdout.write("Each round of the timekeeper:")
        for sweep in registry.sweeps():
            self.stdout.write(f"  {_name(sweep)}")
