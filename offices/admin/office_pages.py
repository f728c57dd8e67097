"""Offices: the form, and the pages behind its tabs: settings with the HELP message, numbers, people."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, F, Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.decorators import display

from offices import access, e164
from offices.admin import help_editor, pages
from offices.admin.numbers import OPEN
from offices.filters import ScopedRelatedFilter
from offices.forms import OfficeForm
from offices.models import Membership, Number, Office
from offices.scoped_admin import ScopedAdmin

MOST_ROWS = 200  # on a tab; the whole list has pages


@admin.register(Office)
class OfficeAdmin(ScopedAdmin):
    form = OfficeForm
    list_display = ["name", "shown_main_line", "shown_email", "number_count", "is_open", "company"]
    list_select_related = ["company"]
    list_filter = [("company", ScopedRelatedFilter), ("is_active", BooleanRadioFilter)]
    search_fields = ["name", "email"]
    search_help_text = "Name or e-mail address"
    ordering = ["company__name", "name"]
    fieldsets = [(None, {"fields": ["company", "name", "main_line", "email", "is_active"]})]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        in_use = Count("numbers", filter=Q(numbers__given_up_at__isnull=True), distinct=True)
        return super().get_queryset(request).annotate(numbers_in_use=in_use)

    @display(description="main line", ordering="main_line")
    def shown_main_line(self, office: Office) -> str:
        return e164.show(office.main_line)

    @display(description="e-mail address", ordering="email")
    def shown_email(self, office: Office) -> str:
        return office.email

    @display(description="open", boolean=True)
    def is_open(self, office: Office) -> bool:
        return office.is_active

    @display(description="numbers", ordering="numbers_in_use")
    def number_count(self, office: Any) -> int:
        return int(office.numbers_in_use)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("<int:pk>/settings/", view(self.settings_page), name="offices_office_settings"),
            path("<int:pk>/help-message/", view(self.help_message_page), name="offices_office_help_message"),
            path("<int:pk>/numbers/", view(self.numbers_page), name="offices_office_numbers"),
            path("<int:pk>/people/", view(self.people_page), name="offices_office_people"),
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        office = self.get_object(request, object_id)
        if office is not None:
            tabs = self.tabs(request, office, "change")
            extra_context = {**(extra_context or {}), "tab_list": tabs, "trail": pages.trail(office)}
        return super().change_view(request, object_id, form_url, extra_context)

    def tabs(self, request: HttpRequest, office: Model, active: str) -> list[dict[str, Any]]:
        """The tabs as Unfold wants them, those that the user may open."""
        wanted = [
            ("Office", "change", True),
            ("Office Settings", "settings", True),
            ("Numbers", "numbers", access.may(request.user, "view", Number)),
            ("People", "people", access.may(request.user, "view", Membership)),
        ]
        items = [
            {"title": title, "link": pages.address_of(office, name), "has_permission": may, "active": name == active}
            for title, name, may in wanted
        ]
        return [{"models": [{"name": "offices.office", "detail": True}], "items": items}]

    def _office(self, request: HttpRequest, pk: int) -> Office:
        office = access.offices_of(request.user).select_related("company").filter(pk=pk).first()
        if office is None:
            raise Http404
        return office

    def settings_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        office = self._office(request, pk)
        company = office.company
        context = {
            "title": "Office Settings",
            "tab_list": self.tabs(request, office, "settings"),
            "office": office,
            "help_text": office.help_text(),
            "live": office.live_help_message(),
            "may_edit_help": access.may(request.user, "help_message", office),
            "may_edit_office": self.has_change_permission(request, office),
            "company_settings": access.may(request.user, "view", company)
            and reverse("admin:offices_company_change", args=[company.pk]),
            "main_line": e164.show(office.main_line),
        }
        return pages.page(self, request, "portal/office_settings.html", office, context)

    def help_message_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        office = self._office(request, pk)
        may_edit = access.may(request.user, "help_message", office)
        if request.method == "POST" and not may_edit:
            raise PermissionDenied
        settings = ("Office Settings", pages.address_of(office, "settings"))
        return help_editor.respond(
            self,
            request,
            office,
            may_edit=may_edit,
            frame={
                "title": "Help Message",
                "trail": pages.trail(office, settings, ("Help Message", "")),
                "tab_list": self.tabs(request, office, "settings"),
            },
        )

    def numbers_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        office = self._office(request, pk)
        numbers = access.visible_to(request.user, Number).filter(office=office)
        numbers = numbers.order_by(F("given_up_at").desc(nulls_first=True), "e164")
        campaigns = {a.number_id: a.campaign for a in OPEN.filter(number__office=office).select_related("campaign")}
        rows = [
            [
                _link(pages.address_of(number), e164.show(number.e164)),
                number.label or "–",
                number.get_kind_display(),
                campaigns.get(number.pk, "–"),
                "In use" if number.is_active else "Given up",
            ]
            for number in numbers[:MOST_ROWS]
        ]
        return self._table(request, office, "numbers", Number, ["Number", "Label", "Kind", "Campaign", "State"], rows)

    def people_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        office = self._office(request, pk)
        if not access.may(request.user, "view", Membership):
            raise PermissionDenied
        people = access.visible_to(request.user, Membership).filter(office=office).select_related("user")
        rows = [
            [
                _link(pages.address_of(place), str(place.user)),
                place.user.email,
                place.get_role_display(),
                "Can sign in" if place.user.is_active else "Login closed",
            ]
            for place in people.order_by("user__last_name", "user__first_name")[:MOST_ROWS]
        ]
        return self._table(request, office, "people", Membership, ["Name", "E-mail address", "Role", "Login"], rows)

    def _table(
        self, request: HttpRequest, office: Office, name: str, model: type[Model], headers: list[str], rows: list[Any]
    ) -> HttpResponse:
        opts = model._meta
        list_address = reverse(f"admin:offices_{opts.model_name}_changelist")
        add_address = f"{reverse(f'admin:offices_{opts.model_name}_add')}?office={office.pk}"
        context = {
            "title": str(opts.verbose_name_plural).capitalize(),
            "tab_list": self.tabs(request, office, name),
            "table": {"headers": headers, "rows": rows},
            "whole_list": f"{list_address}?office__id__exact={office.pk}",
            "add": add_address if access.may(request.user, "add", model) else "",
            "noun": opts.verbose_name,
        }
        return pages.page(self, request, "portal/office_table.html", office, context)


def _link(address: str, name: str) -> str:
    return format_html('<a class="portal-link" href="{}">{}</a>', address, name)
