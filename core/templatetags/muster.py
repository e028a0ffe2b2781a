"""The small marks of which every page is made: icons, placards, times, durations, initials."""
# ruff: noqa: S308  what is marked safe here is either ours (icons, placards) or escaped part by part

import functools
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django import template
from django.conf import settings
from django.contrib.staticfiles import finders
from django.forms import BoundField, widgets
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from core import words

register = template.Library()

# --- icons ------------------------------------------------------------------------------------------------------

_PATHS = re.compile(r"<(?:path|circle|line|rect|ellipse|polyline|polygon)\b[^>]*/>")
_EMPTY = re.compile(r'<path stroke="none"[^>]*fill="none"[^>]*/>\s*')


class IconMissing(LookupError):
    """A template names an icon that `make setup` did not fetch."""


# The one filled icon, "this is where we are". The others are outlines, so that ink stays rare.
_FILLED = {
    "player-play": '<path d="M6 4v16a1 1 0 0 0 1.524 .852l13 -8a1 1 0 0 0 0 -1.704l-13 -8a1 1 0 0 0 -1.524 .852z"/>',
}


@functools.cache
def _icon_paths(name: str, filled: bool) -> str:
    if filled:
        return _FILLED[name]
    found = finders.find(f"vendor/icons/{name}.svg")
    if not found:
        if settings.DEBUG:
            raise IconMissing(f"No icon {name!r} under static/vendor/icons/. `make setup` fetches them.")
        return ""
    svg = _EMPTY.sub("", Path(found).read_text())
    return "".join(_PATHS.findall(svg))


@functools.cache
def _icon(name: str, size: str, filled: bool, label: str, tone: str) -> SafeString:
    classes = " ".join(
        filter(None, ["icon", f"icon-{size}" if size else "", "icon-filled" if filled else "", tone])
    )
    role = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html(
        '<svg class="{}" viewBox="0 0 24 24" {}>{}</svg>', classes, role, mark_safe(_icon_paths(name, filled))
    )


@register.simple_tag
def icon(name: str, size: str = "", *, filled: bool = False, label: str = "", tone: str = "") -> SafeString:
    """Inline Tabler icon. Without a `label` it is decoration beside a word; `size` is sm or lg."""
    return _icon(name, size, filled, label, tone)


# --- severity ---------------------------------------------------------------------------------------------------

_PLACARDS = {
    1: '<path d="M7.45 1h9.1L23 7.45v9.1L16.55 23h-9.1L1 16.55v-9.1z"/><text x="12" y="16.6" font-size="13.5">1</text>',
    2: '<path d="M10.5 2.05a1.75 1.75 0 0 1 3 0l9.9 17.1a1.75 1.75 0 0 1-1.5 2.6H2.1a1.75 1.75 0 0 1-1.5-2.6z"/>'
    '<text x="12" y="18.9" font-size="11.5">2</text>',
    3: '<path d="M10.9.95a1.55 1.55 0 0 1 2.2 0l9.95 9.95a1.55 1.55 0 0 1 0 2.2l-9.95 9.95a1.55 1.55 0 0 1-2.2 0L.95 '
    '13.1a1.55 1.55 0 0 1 0-2.2z"/><text x="12" y="16.5" font-size="12.5">3</text>',
    4: '<circle cx="12" cy="12" r="11"/><text x="12" y="16.5" font-size="13">4</text>',
}


@register.simple_tag
def placard(severity: int, size: str = "", *, label: bool = True) -> SafeString:
    """The numeral in its shape. Where the words "SEV1" stand beside it, pass label=False."""
    severity = int(severity)
    return format_html(
        '<svg class="placard sev{}{}" viewBox="0 0 24 24" {}>{}</svg>',
        severity,
        f" placard-{size}" if size else "",
        format_html('role="img" aria-label="SEV{}"', severity) if label else mark_safe('aria-hidden="true"'),
        mark_safe(_PLACARDS[severity]),
    )


# --- time -------------------------------------------------------------------------------------------------------


def _said(at: datetime, style: str, now: datetime) -> str:
    """`at` in words, in the zone that it carries. static/js/clocks.js says the same in the viewer's zone."""
    if style == "clock":
        return f"{at:%H:%M:%S}"
    if style == "hm":
        return f"{at:%H:%M}"
    if style == "date":
        return f"{at.day} {at:%b %Y}"
    if style == "full":
        return f"{at.day} {at:%b %Y}, {at:%H:%M:%S}"
    if style == "day":
        if at.date() == now.date():
            return f"{at:%H:%M}"
        if abs(at.date() - now.date()) < timedelta(days=7):
            return f"{at:%a %H:%M}"
        if at.year == now.year or 0 < (at.date() - now.date()).days < 183:  # what comes needs its hour
            return f"{at.day} {at:%b %H:%M}"
        return f"{at.day} {at:%b %Y}"
    raise template.TemplateSyntaxError(f"local_time knows no style {style!r}")


@register.simple_tag
def local_time(at: datetime | None, style: str = "clock") -> SafeString | str:
    """`at` in the current zone (the viewer's on a page, UTC in what all viewers share), with UTC in the title.

    Styles: clock 02:41:08 · hm 02:41 · day Sun 16:20 · date 3 Oct 2026 · full 3 Oct 2026, 02:41:08.
    """
    if at is None:
        return ""
    utc = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}" data-t="{}" title="{}">{}</time>',
        f"{utc:%Y-%m-%dT%H:%M:%SZ}",
        style,
        f"{utc:%Y-%m-%d %H:%M:%S} UTC",
        _said(timezone.localtime(at), style, timezone.localtime()),
    )


@register.filter
def iso(at: datetime | None) -> str:
    """UTC with milliseconds, as scripts read it."""
    return "" if not at else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@register.filter
def duration(value: timedelta | float | None) -> str:
    """44 s, 3m 10s, 22 min, 1h 24m."""
    return "" if value is None else words.duration(value)


@register.filter
def until(start: datetime | None, end: datetime | None) -> timedelta | None:
    """The time from `start` to `end`: {{ page.paged_at|until:page.ended_at|duration }}."""
    return None if start is None or end is None else end - start


@register.filter
def ago(start: datetime | None, now: datetime) -> str:
    """How long `start` is past, in words; static/js/clocks.js counts on where the element has data-ago."""
    return "" if start is None else words.duration(now - start)


@register.filter
def clock(value: timedelta | float | None) -> str:
    return "" if value is None else words.clock(value)


# --- people -----------------------------------------------------------------------------------------------------


@register.simple_tag
def avatar(person: object, size: str = "", *, me: bool = False) -> SafeString:
    """Initials of a person or a name. The name stands beside it, so a screen reader hears it once."""
    return format_html(
        '<span class="avatar{}{}" aria-hidden="true">{}</span>',
        f" avatar-{size}" if size else "",
        " avatar-me" if me else "",
        words.initials(str(person)) if person else "",
    )


@register.filter
def lower_first(text: str) -> str:
    """For a label that goes on a sentence: Without an answer, tier 2 is paged."""
    return text[:1].lower() + text[1:]


# --- forms ------------------------------------------------------------------------------------------------------


@register.filter
def add_class(field: BoundField, names: str) -> SafeString:
    given = field.field.widget.attrs.get("class", "")
    return field.as_widget(attrs={"class": f"{given} {names}".strip()})


@register.filter
def without_placeholder(field: BoundField) -> BoundField:
    """For fields of others that say their label twice."""
    field.field.widget.attrs.pop("placeholder", None)
    return field


@register.filter
def control(field: BoundField) -> SafeString:
    """The field's widget in the look of its kind, red when its value was refused."""
    widget = field.field.widget
    if isinstance(widget, widgets.CheckboxInput):
        return add_class(field, "form-check-input")
    if isinstance(widget, widgets.RadioSelect | widgets.CheckboxSelectMultiple):
        return field.as_widget()
    kind = "form-select" if isinstance(widget, widgets.Select) else "form-control"
    return add_class(field, f"{kind} is-invalid" if field.errors else kind)
