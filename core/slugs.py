"""Names for addresses, made from the names that people give."""

from collections.abc import Collection

from django.db.models import Model
from django.utils.text import slugify


def free_slug(model: type[Model], name: str, *, kind: str, reserved: Collection[str] = ()) -> str:
    """A slug for `name` that no row of `model` has, at most 79 characters long.

    A name without letters or of digits only is preceded by `kind`: the API finds things by number, too.
    """
    stem = slugify(name)[:70]
    if not stem or stem in reserved or stem.isdecimal():
        stem = f"{kind}-{stem}".rstrip("-")
    taken = set(model._default_manager.filter(slug__startswith=stem).values_list("slug", flat=True))
    slug, number = stem, 2
    while slug in taken:
        slug, number = f"{stem}-{number}", number + 1
    return slug
