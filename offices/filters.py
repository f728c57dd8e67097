"""Filters of lists that offer a user only what they may see, so that a sidebar never names another company's rows."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.options import ModelAdmin
from django.db.models import Field, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RelatedDropdownFilter
from unfold.contrib.filters.forms import AutocompleteDropdownForm

from offices import access

# More choices than a dropdown is good for: use ScopedAutocompleteFilter where there can be.
MOST_CHOICES = 300


def named_apart(rows: QuerySet) -> list[tuple[Any, str]]:
    """(pk, name) of each row; with its company where the rows are of several, as an operator's are."""
    model: Any = rows.model
    if model.company_lookup != "company":
        return [(row.pk, str(row)) for row in rows[:MOST_CHOICES]]
    found = list(rows.select_related("company")[:MOST_CHOICES])
    if len({row.company_id for row in found}) < 2:
        return [(row.pk, str(row)) for row in found]
    return [(row.pk, f"{row} · {row.company}") for row in found]


class ScopedRelatedFilter(RelatedDropdownFilter):
    """A dropdown of the related rows that the user may see; gone when there is nothing to choose between."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[Any, str]]:
        rows = access.visible_to(request.user, field.remote_field.model)
        ordering = self.field_admin_ordering(field, request, model_admin)
        return named_apart(rows.order_by(*ordering) if ordering else rows)


class ScopedAutocompleteForm(AutocompleteDropdownForm):
    def __init__(self, request: HttpRequest, name: str, *args: Any, field: Field, **kwargs: Any) -> None:
        super().__init__(request, name, *args, field=field, **kwargs)
        chosen = self.fields[name]
        assert isinstance(chosen, forms.ModelChoiceField)
        assert field.remote_field is not None
        # Without this the page would name whatever row the address asks for.
        chosen.queryset = access.visible_to(request.user, field.remote_field.model)


class ScopedAutocompleteFilter(AutocompleteSelectFilter):
    """For many related rows: found by typing. The related admin needs `search_fields`, and scopes what is found."""

    form_class = ScopedAutocompleteForm
