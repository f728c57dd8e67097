"""Searching lists by a number in any writing, by its last digits, or by a name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from offices import e164

FEWEST_DIGITS = 3


class NumberSearch:
    """For a ModelAdmin: looks for numbers in `number_lookups` and for names in `name_lookups`."""

    search_fields: Sequence[str] = ("pk",)  # only so that there is a box to type in
    search_help_text = "Number, its last digits, or a name"
    number_lookups: Sequence[str] = ("recipient__e164",)
    name_lookups: Sequence[str] = ("recipient__name",)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        typed = search_term.replace("\x00", "").strip()
        return (queryset.filter(self.meaning(typed)) if typed else queryset), False

    def meaning(self, typed: str) -> Q:
        """A complete number means that number, a few digits its end, and all else is looked for in names."""
        digits = re.sub(r"\D", "", typed)
        if not re.search(r"[^\W\d_]", typed) and len(digits) >= FEWEST_DIGITS:
            full = _full_number(typed) if len(digits) >= 10 else None
            return (
                self._any(self.number_lookups, "", full)
                if full
                else self._any(self.number_lookups, "__endswith", digits)
            )
        return self._any(self.name_lookups, "__icontains", typed) | self._any(self.number_lookups, "", typed)

    def _any(self, lookups: Sequence[str], how: str, value: str) -> Q:
        found = Q(pk__in=[])
        for lookup in lookups:
            found |= Q(**{f"{lookup}{how}": value})
        return found


def _full_number(typed: str) -> str | None:
    try:
        return e164.parse(typed)
    except e164.NotAPhoneNumber:
        return None
