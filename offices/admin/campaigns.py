"""Campaigns: what is registered, with samples of what is sent, and the numbers in it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from offices.admin.numbers import CAMPAIGN_COLOURS
from offices.filters import ScopedRelatedFilter
from offices.forms import CampaignForm
from offices.models import Campaign, CampaignAssignment
from offices.scoped_admin import ReadOnlyInline, ScopedAdmin


class NumbersInIt(ReadOnlyInline):
    model = CampaignAssignment
    fields = ["number_link", "office", "starts_at", "ends_at"]
    readonly_fields = ["number_link", "office"]
    verbose_name_plural = "numbers"
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("number__office").order_by("-ends_at", "-starts_at")

    @display(description="number")
    def number_link(self, assignment: CampaignAssignment) -> str:
        link = reverse("admin:offices_number_change", args=[assignment.number_id])
        return format_html('<a class="portal-link" href="{}">{}</a>', link, assignment.number)

    @display(description="office")
    def office(self, assignment: CampaignAssignment) -> str:
        return str(assignment.number.office)


@admin.register(Campaign)
class CampaignAdmin(ScopedAdmin):
    form = CampaignForm
    list_display = ["name", "status_badge", "registry_id", "use_case", "number_count", "company"]
    list_select_related = ["company"]
    list_filter = [("company", ScopedRelatedFilter), ("status", ChoicesDropdownFilter)]
    search_fields = ["name", "registry_id"]
    search_help_text = "Name or Campaign Registry id"
    ordering = ["name", "pk"]
    inlines = [NumbersInIt]
    fieldsets = [
        (None, {"fields": ["company", "name", "status", "registry_id", "use_case", "description"]}),
        ("What you send", {"fields": ["sample_messages"]}),
        ("Automatic messages, as registered", {"fields": ["opt_in_message", "opt_out_message", "help_message"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        still_in = Count("assignments", filter=Q(assignments__ends_at__isnull=True))
        return super().get_queryset(request).annotate(numbers_now=still_in)

    @display(description="status", ordering="status", label=CAMPAIGN_COLOURS)
    def status_badge(self, campaign: Campaign) -> tuple[str, str]:
        return campaign.status, campaign.get_status_display()

    @display(description="numbers", ordering="numbers_now")
    def number_count(self, campaign: Any) -> int:
        return int(campaign.numbers_now)
