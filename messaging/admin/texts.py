"""Texts that went wrong: failed ones to look at, and uncertain ones, of which a person says whether they left."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from unfold.contrib.filters.admin import RadioFilter
from unfold.decorators import action, display

from messaging.admin.columns import Preview, link, moment, row_link, who, whole_text
from messaging.admin.deciding import DecidingAdmin, Decision
from messaging.admin.searching import NumberSearch
from messaging.models import Message
from offices.filters import ScopedRelatedFilter
from offices.models import User

State = Message.State


def _was_sent(message: Message, user: User, reason: str) -> str:
    return _settled(message, message.advance(State.SENT, sent_at=message.handed_over_at or timezone.now()))


def _was_not_sent(message: Message, user: User, reason: str) -> str:
    return _settled(message, message.advance(State.FAILED, error=f"Not sent, says {user}."))


def _settled(message: Message, changed: bool) -> str:
    return "" if changed else f"Text {message.pk} was settled before."


class WhatWentWrong(RadioFilter):
    title = "state"
    parameter_name = "wrong"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(State.UNCERTAIN, "Uncertain"), (State.FAILED, "Failed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(state=self.value()) if self.value() in (State.UNCERTAIN, State.FAILED) else queryset


@admin.register(Message)
class MessageAdmin(Preview, NumberSearch, DecidingAdmin):
    list_title = "Failed texts"
    list_display = [
        "shown_recipient",
        "number",
        "company",
        "shown_preview",
        "shown_state",
        "error",
        "shown_handed_over",
    ]
    list_select_related = ["recipient", "number", "company"]
    list_filter = [WhatWentWrong, ("company", ScopedRelatedFilter), ("number__office", ScopedRelatedFilter)]
    ordering = ["-pk"]
    sortable_by = ()
    number_lookups = ["recipient__e164", "number__e164"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "state",
                    "error",
                    "shown_text",
                    "linked_recipient",
                    "number",
                    "company",
                    "conversation_page",
                ]
            },
        ),
        (
            "On its way",
            {"fields": ["author_name", "created_at", "shown_handed_over", "attempts", "carrier_message_id"]},
        ),
    ]
    actions = ["these_were_sent", "these_were_not_sent"]
    actions_detail = ["it_was_sent", "it_was_not_sent"]
    decisions = [
        Decision(
            "sent",
            "It was sent",
            "The carrier says that these texts left. They count as sent and are not sent again.",
            "It was sent",
            "{count} {rows} marked as sent.",
            _was_sent,
        ),
        Decision(
            "not-sent",
            "It was not sent",
            "The carrier says that these texts never left. They count as failed; to send one after all, write it anew.",
            "It was not sent",
            "{count} {rows} marked as failed.",
            _was_not_sent,
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Only what went wrong: all other texts are seen in their conversation."""
        return super().get_queryset(request).filter(state__in=[State.UNCERTAIN, State.FAILED])

    def undecided(self, rows: QuerySet) -> QuerySet:
        return rows.filter(state=State.UNCERTAIN).select_related("recipient", "number").order_by("pk")

    def described(self, message: Message) -> tuple[str, str]:
        return f"{message.number} to {message.recipient}, {moment(message.handed_over_at)}", message.text

    @action(description="They were sent", permissions=["decide"])
    def these_were_sent(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        return self.ask("sent", queryset.values_list("pk", flat=True))

    @action(description="They were not sent", permissions=["decide"])
    def these_were_not_sent(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        return self.ask("not-sent", queryset.values_list("pk", flat=True))

    @action(description="It was sent", permissions=["decide"], url_path="sent", icon="check")
    def it_was_sent(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.ask("sent", [object_id])

    @action(description="It was not sent", permissions=["decide"], url_path="not-sent", icon="close")
    def it_was_not_sent(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.ask("not-sent", [object_id])

    @display(description="recipient", header=True)
    def shown_recipient(self, message: Message) -> tuple[str, str]:
        return who(message.recipient)

    @display(description="state", label={State.UNCERTAIN: "warning", State.FAILED: "danger"})
    def shown_state(self, message: Message) -> tuple[str, str]:
        return message.state, message.get_state_display()

    @display(description="handed over")
    def shown_handed_over(self, message: Message) -> str:
        return moment(message.handed_over_at)

    @display(description="text")
    def shown_text(self, message: Message) -> Any:
        return whole_text(message.text)

    @display(description="recipient")
    def linked_recipient(self, message: Message) -> Any:
        return row_link(message.recipient)

    @display(description="conversation")
    def conversation_page(self, message: Message) -> Any:
        return link(reverse("messaging:conversation", args=[message.conversation_id]), "Open the conversation")
