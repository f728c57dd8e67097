"""The base of every admin class: what a user sees and may do comes from `access`, never from Django's permissions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.options import InlineModelAdmin
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.db.models import Field, ForeignKey, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.admin import ModelAdmin, TabularInline

from offices import access, paging
from offices.models import Company, Office

# What may follow a filter's field in an address. Anything longer walks into other tables.
LOOKUPS = {
    "exact", "in", "isnull", "id", "id__exact", "pk__exact", "id__in", "pk__in", "gt", "gte", "lt", "lte",
    "date", "year", "month", "day", "contains", "icontains",
}  # fmt: skip


class TheOnlyChoice(forms.ModelChoiceField):
    """Hidden, and always the one row that there is to choose, whatever is posted."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "widget": forms.HiddenInput, "required": False})
        assert self.queryset is not None
        self.initial = self.queryset.get().pk

    def clean(self, value: Any) -> Model:
        assert self.queryset is not None
        only: Model = self.queryset.get()
        return only


class Scoped:
    """What lists, forms and inlines share: the rows in reach, and the right to each action."""

    model: type[Model]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return access.visible_to(request.user, super().get_queryset(request))  # type: ignore[misc]

    def may(self, request: HttpRequest, action: str, row: Any = None) -> bool:
        """As `access.may`, asked once a request for each row. Unfold hands over a row's id instead of the row."""
        known: dict[Any, bool] = request.__dict__.setdefault("_asked_of_access", {})
        pk = row.pk if isinstance(row, Model) else row
        key = (action, self.model, str(pk) if pk is not None else None)
        if key not in known:
            if pk is None:
                known[key] = access.may(request.user, action, self.model)
            else:
                row = row if isinstance(row, self.model) else self.model._default_manager.filter(pk=pk).first()
                known[key] = row is not None and access.may(request.user, action, row)
        return known[key]

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> QuerySet:
        """The related rows to choose from: those that the user sees, where they may write rows of this model."""
        rows = super().get_field_queryset(db, db_field, request)  # type: ignore[misc]
        if rows is None:
            rows = db_field.remote_field.model._default_manager.all()
        if access.is_operator(request.user):
            return rows
        companies, offices, companies_of_offices = access.reach(request.user, self.model, "change")
        related = db_field.remote_field.model
        if related is Company:
            # Also for office admins, who do not see the company's settings but write rows that belong to it.
            return rows.filter(pk__in=companies | companies_of_offices)
        rows = access.visible_to(request.user, rows)
        if related is Office:
            return rows.filter(Q(company__in=companies) | Q(pk__in=offices))
        if getattr(related, "company_lookup", "") == "company":
            return rows.filter(company__in=companies | companies_of_offices)
        return rows

    def formfield_for_foreignkey(self, db_field: ForeignKey, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.remote_field.model is Company and "queryset" not in kwargs:
            companies = self.get_field_queryset(kwargs.get("using"), db_field, request)
            if len(companies[:2]) == 1:
                return TheOnlyChoice(queryset=companies, label=db_field.verbose_name)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        # No pencils and plus signs behind a choice: related rows have their own place in the sidebar.
        if field and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget
        return field


class ScopedAdmin(Scoped, ModelAdmin):
    """Base of every ModelAdmin of the portal.

    Rows in reach, rights by `access`, pages without COUNT over a whole table, addresses that filter by nothing
    but the list's own filters. `deletable` is off: rows are the record of something, and stay.
    """

    list_per_page = 50
    list_filter_submit = True
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count the whole table, once for each choice
    paginator = paging.Paginator
    warn_unsaved_form = True
    compressed_fields = True
    deletable = False
    # Fields of this model that links elsewhere filter by, beside those of list_filter.
    linked_lookups: Sequence[str] = ()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "view", obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "add")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "change", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.deletable and self.may(request, "delete", obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.user = request.user  # the class was made for this request
        return form

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        opts = self.opts
        above = reverse(f"{self.admin_site.name}:{opts.app_label}_{opts.model_name}_changelist")
        trail = [{"title": opts.verbose_name_plural, "link": above}, {"title": f"Add {opts.verbose_name}"}]
        answer: HttpResponse = super().add_view(request, form_url, {"trail": trail, **(extra_context or {})})
        return answer

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """One button that saves: what follows is a click away in the sidebar."""
        context.update(show_save_and_continue=False, show_save_and_add_another=False)
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        """Save, and take it back when the row would not be in the user's reach where it is now."""
        super().save_model(request, obj, form, change)
        if not access.may(request.user, "change" if change else "add", obj):
            raise PermissionDenied

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only the list's own filters: ?credentials__auth_token__startswith=... would answer letter by letter."""
        first = lookup.split("__")[0]
        try:
            self.opts.get_field(first)
        except FieldDoesNotExist:
            return True  # a filter's own parameter; what is none is refused when the query is built
        filters = self.get_list_filter(request) if request else self.list_filter
        names = {name[0] if isinstance(name, list | tuple) else name for name in filters}
        names = {name for name in names if isinstance(name, str)} | {*self.linked_lookups}
        return any(
            lookup == name or (lookup.startswith(f"{name}__") and lookup[len(name) + 2 :] in LOOKUPS) for name in names
        )

    def has_one_company(self, request: HttpRequest) -> bool:
        """True when naming the company would tell the user nothing."""
        return not access.is_operator(request.user) and len(access.companies_of(request.user)[:2]) < 2

    def get_list_display(self, request: HttpRequest) -> Any:
        columns = super().get_list_display(request)
        return [name for name in columns if name != "company"] if self.has_one_company(request) else columns

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A row never moves to another company."""
        fixed = super().get_readonly_fields(request, obj)
        return [*fixed, "company"] if obj is not None and self._has_company else fixed

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not self._has_company or not self.has_one_company(request):
            return fieldsets
        return [
            (name, {**options, "fields": [f for f in options["fields"] if f != "company"]})
            for name, options in fieldsets
        ]

    @property
    def _has_company(self) -> bool:
        return getattr(self.model, "company_lookup", "") == "company"


class ReadOnlyAdmin(ScopedAdmin):
    """For what is only ever looked at, by operators as well."""

    warn_unsaved_form = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyInline(Scoped, TabularInline):
    """Related rows to look at, on a page of their parent's; as a tab unless said otherwise."""

    extra = 0
    max_num = 0
    can_delete = False
    tab = True
    per_page = 20

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """The rows in reach. Django's own asks for the right without the page's row, and would be empty."""
        return access.visible_to(request.user, super(InlineModelAdmin, self).get_queryset(request))  # type: ignore[misc]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Also of the row that the page is about; a row that is only being added has no related ones."""
        return obj is not None and self.may(request, "view")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
