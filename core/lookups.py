"""Conditions for which Django's own lookups make PostgreSQL choose a plan that grows with the table."""

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BooleanField, F, Func, QuerySet, Value


def holds(column: str, text: str) -> Func:
    """Whether the column holds this text in any case. Served by a trigram index on the column itself, which
    `icontains` is not, since it compares UPPER(column)."""
    pattern = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return Func(
        F(column),
        Value(f"%{pattern}%"),
        template="%(expressions)s",
        arg_joiner=" ILIKE ",
        output_field=BooleanField(),
    )


def pk_among(ids: QuerySet) -> Func:
    """Whether the primary key is among `ids`, a `.values(column)` of few rows. They are looked up first, while for
    `pk__in` the planner may walk the whole table in the wanted order and probe each row."""
    return Func(
        F("pk"),
        ArraySubquery(ids),
        template="%(expressions)s)",
        arg_joiner=" = ANY (",
        output_field=BooleanField(),
    )
