"""Holds: near misses that wait for a person, who says that it was an opt-out, or releases the recipient."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import formats, timezone
from unfold.contrib.filters.admin import RadioFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from messaging import consent
from messaging.admin.columns import BlockColumns, link, moment
from messaging.admin.deciding import DecidingAdmin, Decision
from messaging.admin.searching import NumberSearch
from messaging.models import Hold
from offices import e164
from offices.filters import ScopedRelatedFilter
from offices.models import User

WAITING, SETTLED = "waiting", "settled"


def _opt_out(hold: Hold, user: User, reason: str) -> str:
    return _settled(consent.review(hold.pk, is_opt_out=True, reviewer=user, reason=reason), Hold.Outcome.OPTED_OUT)


def _release(hold: Hold, user: User, reason: str) -> str:
    return _settled(consent.review(hold.pk, is_opt_out=False, reviewer=user, reason=reason), Hold.Outcome.RELEASED)


def _settled(hold: Hold, wanted: str) -> str:
    if hold.outcome == wanted:
        return ""
    return f"{hold.recipient}: settled before. {hold.get_outcome_display()}."


class Standing(RadioFilter):
    """Those that wait, unless asked for others."""

    title = "review"
    parameter_name = "standing"
    all_option = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(WAITING, "Waiting"), (SETTLED, "Settled")]

    def value(self) -> str:
        return SETTLED if super().value() == SETTLED else WAITING

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(closed_at__isnull=self.value() == WAITING)


@admin.register(Hold)
class HoldAdmin(BlockColumns, NumberSearch, DecidingAdmin):
    list_title = "Holds"
    list_display = [
        "shown_preview", "shown_recipient", "company", "near_miss_in_words", "shown_scope", "shown_texted_at", "due",
    ]  # fmt: skip
    list_select_related = ["recipient", "campaign", "company"]
    list_filter = [Standing, ("company", ScopedRelatedFilter), ("office", ScopedRelatedFilter)]
    list_before_template = "messaging/admin/hold_tabs.html"
    linked_lookups = ["recipient"]
    sortable_by = ()
    number_lookups = ["recipient__e164", "texted_number"]
    fieldsets = [
        (
            None,
            {"fields": ["shown_text", "near_miss_in_words", "linked_recipient", "conversation", "company", "office"]},
        ),
        ("On hold", {"fields": ["shown_scope", "shown_texted_number", "shown_texted_at", "shown_opened", "opening"]}),
        ("Review", {"fields": ["due", "outcome", "shown_closed", "reviewer", "review_reason", "closing"]}),
    ]
    actions = ["these_are_opt_outs", "release_these"]
    actions_row = ["it_is_an_opt_out", "release_it"]
    actions_detail = ["it_is_an_opt_out", "release_it"]
    decision_right = "review"
    decisions = [
        Decision(
            "opt-out",
            "It is an opt-out",
            "Texts to these recipients are then blocked as if they had replied STOP, as of the time of their text. "
            "Only their own UNSTOP lifts it.",
            "It is an opt-out",
            "{count} {rows} became opt-outs.",
            _opt_out,
            reason="welcome",
        ),
        Decision(
            "release",
            "Release",
            "These recipients did not wish to stop: they can be texted again at once. "
            "The record keeps your name and your reason.",
            "Release",
            "{count} {rows} released.",
            _release,
            reason="required",
        ),
    ]

    def undecided(self, rows: QuerySet) -> QuerySet:
        return rows.filter(closed_at__isnull=True).select_related("recipient", "campaign").order_by("due_at", "pk")

    def described(self, hold: Hold) -> tuple[str, str]:
        return f"{hold.recipient}, {moment(hold.texted_at)}, to {e164.show(hold.texted_number)}", f"“{hold.text}”"

    def get_ordering(self, request: HttpRequest) -> list[str]:
        return ["-closed_at", "-pk"] if self._shows_settled(request) else ["due_at", "pk"]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = {} if self._shows_settled(request) else super().get_actions(request)
        return actions

    def get_actions_row(self, request: HttpRequest) -> list[Any]:
        actions: list[Any] = [] if self._shows_settled(request) else super().get_actions_row(request)
        return actions

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        shown = {"shows_settled": self._shows_settled(request)}
        answer: HttpResponse = super().changelist_view(request, {**(extra_context or {}), **shown})
        return answer

    def _shows_settled(self, request: HttpRequest) -> bool:
        return request.GET.get("standing") == SETTLED

    @action(description="They are opt-outs", permissions=["decide"])
    def these_are_opt_outs(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        return self.ask("opt-out", queryset.values_list("pk", flat=True))

    @action(description="Release", permissions=["decide"])
    def release_these(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        return self.ask("release", queryset.values_list("pk", flat=True))

    @action(
        description="It is an opt-out",
        permissions=["decide"],
        url_path="opt-out",
        icon="block",
        variant=ActionVariant.DANGER,
    )
    def it_is_an_opt_out(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.ask("opt-out", [object_id])

    @action(description="Release", permissions=["decide"], url_path="release", icon="lock_open")
    def release_it(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.ask("release", [object_id])

    @display(description="why it is a near miss")
    def near_miss_in_words(self, hold: Hold) -> str:
        why = {
            "decorated command": "A command with something around it",
            "wish in free words": "A wish to stop, in free words",
        }.get(hold.near_miss, hold.near_miss)
        return f"{why}: “{hold.matched_words}”" if hold.matched_words else why

    @display(description="due", ordering="due_at")
    def due(self, hold: Hold) -> str:
        local = timezone.localtime(hold.due_at)
        written = formats.date_format(local, "M j, Y")
        if not hold.is_open:
            return written
        days = (local.date() - timezone.localdate()).days
        left = "overdue" if days < 0 else "today" if days == 0 else f"in {days} day{'' if days == 1 else 's'}"
        return f"{written} ({left})"

    @display(description="conversation")
    def conversation(self, hold: Hold) -> Any:
        texted = hold.message
        return link(reverse("messaging:conversation", args=[texted.conversation_id]), "Open the conversation")
