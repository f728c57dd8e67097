"""Numbers: where each belongs, the campaign it is in, and giving it up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Exists, Model, OuterRef, Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, RadioFilter
from unfold.decorators import action, display

from offices import access, e164
from offices.admin import pages
from offices.filters import MOST_CHOICES, ScopedRelatedFilter
from offices.forms import NumberForm
from offices.models import Campaign, CampaignAssignment, Number
from offices.models.campaigns import assign
from offices.scoped_admin import ReadOnlyInline, ScopedAdmin

CAMPAIGN_COLOURS = {
    Campaign.Status.REGISTERED: "success",
    Campaign.Status.PENDING: "info",
    Campaign.Status.DRAFT: "",
    Campaign.Status.REJECTED: "danger",
    Campaign.Status.SUSPENDED: "warning",
    Campaign.Status.EXPIRED: "warning",
}
OPEN = CampaignAssignment.objects.filter(ends_at__isnull=True)


class InCampaign(DropdownFilter):
    title = "campaign"
    parameter_name = "campaign"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        campaigns = access.visible_to(request.user, Campaign)[:MOST_CHOICES]
        return [
            ("none", "In no campaign"),
            ("unregistered", "In no registered campaign"),
            *((str(campaign.pk), str(campaign)) for campaign in campaigns),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        chosen = self.value() or ""
        here = OPEN.filter(number=OuterRef("pk"))
        if chosen == "none":
            return queryset.exclude(Exists(here))
        if chosen == "unregistered":
            registered = here.filter(campaign__status=Campaign.Status.REGISTERED)
            return queryset.filter(given_up_at=None, kind=Number.Kind.TEN_DIGIT).exclude(Exists(registered))
        return queryset.filter(Exists(here.filter(campaign=int(chosen)))) if chosen.isdecimal() else queryset


class InUse(RadioFilter):
    title = "in use"
    parameter_name = "in_use"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "In use"), ("no", "Given up")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() in ("yes", "no"):
            return queryset.filter(given_up_at__isnull=self.value() == "yes")
        return queryset


class CampaignHistory(ReadOnlyInline):
    model = CampaignAssignment
    fields = ["campaign", "starts_at", "ends_at"]
    verbose_name_plural = "campaign history"
    hide_title = True


@admin.register(Number)
class NumberAdmin(ScopedAdmin):
    form = NumberForm
    list_display = ["shown", "label", "kind_badge", "office", "campaign_badge", "in_use", "company"]
    list_display_links = ["shown"]
    list_select_related = ["office", "company"]
    list_filter = [
        ("company", ScopedRelatedFilter),
        ("office", ScopedRelatedFilter),
        InCampaign,
        ("kind", ChoicesDropdownFilter),
        InUse,
    ]
    search_fields = ["e164", "label", "office__name"]
    search_help_text = "Number, label or office"
    ordering = ["e164"]
    inlines = [CampaignHistory]
    actions_detail = ["give_up", "take_back"]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        assignments = Prefetch("assignments", OPEN.select_related("campaign"), to_attr="open_assignments")
        return super().get_queryset(request).prefetch_related(assignments)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> Any:
        """A number is found however it is written: "(202) 555-0143"."""
        digits = "".join(c for c in search_term if c.isdigit())
        if len(digits) > 2 and not any(c.isalpha() for c in search_term):
            search_term = digits
        return super().get_search_results(request, queryset, search_term)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            fields = ["e164", "label", "office", "campaign", "account", "segments_per_minute"]
            return [(None, {"fields": fields})]
        about = ["shown", "kind", "label", "office", "campaign", "account", "segments_per_minute"]
        if not access.may(request.user, "view", Campaign):
            about.remove("campaign")
        if not self.has_change_permission(request, obj):
            # The carrier and its limits are nothing that an office works with.
            about = [name for name in about if name not in ("account", "segments_per_minute")]
        return [(None, {"fields": [*about, "given_up_at"] if obj.given_up_at else about})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fixed = [*super().get_readonly_fields(request, obj)]
        return [*fixed, "shown", "kind", "given_up_at"] if obj else fixed

    @display(description="number", ordering="e164")
    def shown(self, number: Number) -> str:
        return e164.show(number.e164)

    @display(
        description="kind",
        ordering="kind",
        label={Number.Kind.TEN_DIGIT: "", Number.Kind.TOLL_FREE: "info", Number.Kind.SHORT_CODE: "primary"},
    )
    def kind_badge(self, number: Number) -> tuple[str, str]:
        return number.kind, number.get_kind_display()

    @display(description="campaign", label=CAMPAIGN_COLOURS)
    def campaign_badge(self, number: Number) -> tuple[str, str] | None:
        campaign = self.campaign(number)
        return (campaign.status, str(campaign)) if campaign else None

    def campaign(self, number: Number) -> Campaign | None:
        """Also what those read who may not choose it."""
        for assignment in getattr(number, "open_assignments", []):
            return assignment.campaign
        return None

    @display(description="in use", boolean=True)
    def in_use(self, number: Number) -> bool:
        return number.is_active

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "campaign" in form.cleaned_data:
            assert isinstance(obj, Number)
            assign(obj, form.cleaned_data["campaign"])

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> Sequence[Any]:
        """One of the two: what fits the number as it is."""
        number = self.get_object(request, str(object_id))
        wanted = "give_up" if number is None or number.is_active else "take_back"
        return [act for act in super().get_actions_detail(request, object_id) if act.path == wanted.replace("_", "-")]

    @action(description="Give up", permissions=["change"], url_path="give-up", icon="phone_disabled")
    def give_up(self, request: HttpRequest, object_id: str) -> HttpResponse:
        number = self._number(request, object_id)
        if request.method == "POST":
            return self._settle(request, number, given_up=True)
        return pages.ask_first(
            self,
            request,
            number,
            title="Give up this number",
            explanation=f"{e164.show(number.e164)} will neither send nor receive texts any more. Its conversations "
            "and its record stay, and so do the opt-outs that were texted to it. You can take it back later.",
            button="Give up the number",
            is_danger=True,
        )

    @action(description="Take back", permissions=["change"], url_path="take-back", icon="phone_enabled")
    def take_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        number = self._number(request, object_id)
        if request.method == "POST":
            return self._settle(request, number, given_up=False)
        return pages.ask_first(
            self,
            request,
            number,
            title="Take this number back",
            explanation=f"{e164.show(number.e164)} will send and receive texts again, for the office and in the "
            "campaign that it was in. Whoever had opted out stays opted out.",
            button="Take the number back",
        )

    def _number(self, request: HttpRequest, object_id: str) -> Number:
        number = self.get_object(request, object_id)
        if number is None:
            raise Http404
        assert isinstance(number, Number)
        return number

    def _settle(self, request: HttpRequest, number: Number, *, given_up: bool) -> HttpResponse:
        if number.give_up() if given_up else number.take_back():
            said = "Given up" if given_up else "Taken back"
            self.log_change(request, number, f"{said}.")
            messages.success(request, f"{said}: {e164.show(number.e164)}.")
        return redirect(pages.address_of(number))
