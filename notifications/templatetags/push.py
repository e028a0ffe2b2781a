from django import template

from accounts.models import ContactKind, ContactMethod
from notifications.channels import push as channel
from notifications.kinds import KINDS
from notifications.push import vapid

register = template.Library()


@register.inclusion_tag("notifications/_push.html", takes_context=True)
def push_panel(context: template.Context) -> dict:
    """How to add the browser that shows this page. Empty where browsers would not subscribe."""
    return {
        "request": context["request"],
        "csrf_token": context["csrf_token"],
        "may_push": KINDS[ContactKind.PUSH].needs(),
        "push_key": vapid.public_text(channel.key()),
    }


@register.filter
def push_mark(method: ContactMethod) -> str:
    """By which push.js recognises its own browser; empty for other methods."""
    return method.address[-7:-1] if method.kind == ContactKind.PUSH else ""
