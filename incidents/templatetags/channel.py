"""Marks of the channel."""

from django import template

from incidents.channel import commands
from incidents.models import Incident

register = template.Library()


@register.inclusion_tag("incidents/_commands.html")
def slash_commands(incident: Incident) -> dict[str, object]:
    """The commands that make sense now, for the list over the composer."""
    return commands.listed(incident)
