"""Opt-outs: who gets no texts, in which scope, since when, and by which text."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RadioFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from messaging.admin import by_hand, lift_requests
from messaging.admin.columns import BlockColumns
from messaging.admin.looking import LookingAdmin
from messaging.admin.searching import NumberSearch
from messaging.models import ConsentEvent, OptOut
from offices import access
from offices.filters import ScopedRelatedFilter


class InForce(RadioFilter):
    title = "in force"
    parameter_name = "in_force"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "In force"), ("no", "Closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() in ("yes", "no"):
            return queryset.filter(closed_at__isnull=self.value() == "yes")
        return queryset


@admin.register(OptOut)
class OptOutAdmin(BlockColumns, NumberSearch, LookingAdmin):
    list_title = "Opt-outs"
    list_display = [
        "shown_recipient", "company", "shown_scope", "shown_texted_number", "shown_preview", "shown_texted_at", "force",
    ]  # fmt: skip
    list_select_related = ["recipient", "campaign", "company"]
    list_filter = [
        InForce,
        ("scope", ChoicesDropdownFilter),
        ("company", ScopedRelatedFilter),
        ("office", ScopedRelatedFilter),
        ("campaign", ScopedRelatedFilter),
    ]
    linked_lookups = ["recipient"]
    ordering = ["-pk"]
    sortable_by = ()
    number_lookups = ["recipient__e164", "texted_number"]
    actions = None
    actions_list = ["record_opt_out", "download_list"]
    actions_detail = ["ask_to_lift"]
    fieldsets = [
        (None, {"fields": ["linked_recipient", "shown_scope", "in_force", "company", "office"]}),
        ("The text", {"fields": ["shown_texted_number", "shown_text", "shown_texted_at", "known_from"]}),
        ("In the record", {"fields": ["shown_opened", "opening", "shown_closed", "closing"]}),
    ]

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "export")

    @action(
        description="Download the suppression list", permissions=["export"], icon="download", url_path="download-list"
    )
    def download_list(self, request: HttpRequest) -> HttpResponse:
        """All that is in force, as a file: whatever the list is filtered by."""
        return redirect("suppression_list")

    @display(description="state", label={"yes": "danger", "no": ""})
    def force(self, opt_out: OptOut) -> tuple[str, str]:
        return ("yes", "In force") if opt_out.is_open else ("no", "Closed")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """A carrier's opt-out was no text: what stands there instead is when and how we learned of it."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not obj.is_carrier:
            return fieldsets
        learned = ("What the carrier said", {"fields": ["blocked_number", "learned_at", "known_from"]})
        return [learned if name == "The text" else (name, options) for name, options in fieldsets]

    @display(description="our number")
    def blocked_number(self, opt_out: OptOut) -> str:
        return self.shown_texted_number(opt_out)

    @display(description="learned")
    def learned_at(self, opt_out: OptOut) -> str:
        return self.shown_texted_at(opt_out)

    @display(description="state")
    def in_force(self, opt_out: OptOut) -> str:
        return "In force" if opt_out.is_open else "Closed"

    @display(description="known from")
    def known_from(self, opt_out: OptOut) -> str:
        if opt_out.is_carrier:
            return "The carrier; no text of the recipient came to us"
        by_person = opt_out.opened_by.kind == ConsentEvent.Kind.MANUAL
        return f"{opt_out.opened_by.actor_name}, who recorded it by hand" if by_person else "The recipient's text"

    def has_opt_out_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return by_hand.may_record(request.user)

    @action(
        description=by_hand.TITLE,
        permissions=["opt_out"],
        url_path="record",
        icon="block",
        variant=ActionVariant.PRIMARY,
    )
    def record_opt_out(self, request: HttpRequest) -> HttpResponse:
        return by_hand.respond(self, request)

    def has_lift_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        opt_out = obj if isinstance(obj, OptOut) else OptOut.objects.filter(pk=obj).first()
        return opt_out is not None and access.is_company_admin(request.user, opt_out.company_id)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """No button on the page of one that is closed."""
        if not OptOut.objects.filter(pk=object_id, closed_at__isnull=True).exists():
            return []
        actions: list[Any] = super().get_actions_detail(request, object_id)
        return actions

    @action(description="Ask to lift", permissions=["lift"], url_path="ask-to-lift", icon="lock_open")
    def ask_to_lift(self, request: HttpRequest, object_id: str) -> HttpResponse:
        opt_out = self.get_object(request, object_id)
        if opt_out is None:
            raise Http404
        assert isinstance(opt_out, OptOut)
        return lift_requests.ask_page(self, request, opt_out)
