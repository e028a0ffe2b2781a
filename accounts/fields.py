"""Form fields that name people by what is typed, with suggestions: they work for five people and for five thousand."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.datastructures import MultiValueDict
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounts.models import User

MOST_SUGGESTIONS = 500
LONGEST = 254
_WITH_NAME = re.compile(r"\(([^()\s]+)\)\s*$")


def written(user: User) -> str:
    """How a person stands in such a field: Ines Okafor (ines)."""
    return f"{user.full_name} ({user.username})"


def suggestions() -> list[str]:
    """For the page's <datalist id="people">. Whoever is not among them can still be typed."""
    people = User.objects.filter(is_active=True).order_by("full_name", "pk")[:MOST_SUGGESTIONS]
    return [written(user) for user in people]


def find_people(texts: Sequence[str]) -> list[User]:
    """Who is meant, in that order, in one query. By user name, address, or a name that only one person has."""
    wanted = [_key(text) for text in texts]
    if not wanted:
        return []
    too_long = next((text for text in texts if len(text) > LONGEST or "\x00" in text), None)
    if too_long is not None:
        raise ValidationError("This is no name: it is too long.")
    condition = Q()
    for key in set(wanted):
        condition |= Q(username__iexact=key) | Q(email__iexact=key) | Q(full_name__iexact=key)
    people = list(User.objects.filter(condition, is_active=True))
    return [_one(text, key, people) for text, key in zip(texts, wanted, strict=True)]


def _key(text: str) -> str:
    match = _WITH_NAME.search(text)
    return (match[1] if match else text).strip().lower()


def _one(text: str, key: str, people: Iterable[User]) -> User:
    exact = [user for user in people if key in (user.username.lower(), user.email.lower())]
    named = exact or [user for user in people if user.full_name.lower() == key]
    if not named:
        raise ValidationError(f"Nobody active is called {text}. A user name or an address finds them.")
    if len(named) > 1:
        raise ValidationError(f"{len(named)} people are called {text}. Give the user name.")
    return named[0]


class PersonField(forms.CharField):
    """One person, or None when nothing is typed."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("max_length", LONGEST)
        super().__init__(**options)
        self.widget.attrs |= {"list": "people", "autocomplete": "off"}

    def prepare_value(self, value: Any) -> Any:
        return written(value) if isinstance(value, User) else value

    def clean(self, value: Any) -> User | None:
        text = super().clean(value)
        return find_people([text])[0] if text else None


class Slots(forms.Widget):
    """Several inputs of one name, some of them free. What is typed stays in its order; commas part, too."""

    free = 3
    least = 4

    def __init__(self, *, what: str, suggest: str) -> None:
        super().__init__()
        self.what, self.suggest = what, suggest

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        typed = data.getlist(name) if isinstance(data, MultiValueDict) else data.get(name, [])
        parts = (part.strip() for text in typed for part in str(text).replace("\n", ",").split(","))
        return [part for part in parts if part]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        filled = list(value or [])
        places = filled + [""] * max(self.free, self.least - len(filled))
        first_id = (attrs or {}).get("id", f"id_{name}")
        css = (attrs or {}).get("class", "form-control")
        return format_html_join(
            "\n",
            '<input class="{}" name="{}" id="{}" value="{}" list="{}" maxlength="254" autocomplete="off" '
            'aria-label="{} {}">',
            (
                (
                    css,
                    name,
                    first_id if not place else f"{first_id}_{place}",
                    text,
                    self.suggest,
                    self.what,
                    place + 1,
                )
                for place, text in enumerate(places)
            ),
        )


class PeopleField(forms.Field):
    """People in the order in which they were typed."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("widget", Slots(what="Person", suggest="people"))
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        return [written(item) if isinstance(item, User) else item for item in value or []]

    def clean(self, value: Any) -> list[User]:
        texts = super().clean(value) or []
        if len(texts) > 200:
            raise ValidationError("That is more than 200 people.")
        return find_people(texts)
