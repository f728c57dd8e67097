"""Conversations: the list that leads to each one's page."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.views import ChangeList

from messaging import gate
from messaging.admin.columns import moment, who
from messaging.admin.looking import LookingAdmin
from messaging.admin.searching import NumberSearch
from messaging.models import Conversation
from offices.filters import ScopedAutocompleteFilter, ScopedRelatedFilter

STANDINGS = {
    "ok": ("open", "Open"),
    "chat": ("chat", "Chat"),
    "held": ("held", "On hold"),
    "number_inactive": ("off", "Number off"),
    "not_textable": ("off", "Read only"),
}


class WithVerdicts(ChangeList):
    """The page's rows, each with the gate's verdict: asked once for all of them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)  # type: ignore[has-type]
        self.result_list = rows
        verdicts = gate.check_many([(row.number, row.recipient.e164) for row in rows])
        for row, verdict in zip(rows, verdicts, strict=True):
            row.verdict = verdict

    def url_for_result(self, result: Conversation) -> str:
        return reverse("messaging:conversation", args=[result.pk])


@admin.register(Conversation)
class ConversationAdmin(NumberSearch, LookingAdmin):
    list_title = "Conversations"
    list_display = ["shown_recipient", "shown_number", "company", "shown_last", "shown_when", "standing"]
    list_select_related = ["recipient", "number__office", "number__account", "number__company", "company"]
    list_filter = [
        ("company", ScopedRelatedFilter),
        ("number__office", ScopedRelatedFilter),
        ("number", ScopedAutocompleteFilter),
    ]
    linked_lookups = ["recipient"]
    ordering = ["-last_message_at"]
    sortable_by = ["shown_when"]
    number_lookups = ["recipient__e164", "number__e164"]
    actions = None
    actions_list = ["new_conversation"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return WithVerdicts

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """A conversation has a page of its own."""
        if object_id.isdecimal() and len(object_id) < 19:
            return redirect("messaging:conversation", pk=int(object_id))
        return redirect("admin:messaging_conversation_changelist")

    def has_send_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "send", obj)

    @action(
        description="New conversation",
        permissions=["send"],
        icon="add_comment",
        variant=ActionVariant.PRIMARY,
        url_path="new-conversation",
    )
    def new_conversation(self, request: HttpRequest) -> HttpResponse:
        return redirect("messaging:new_conversation")

    @display(description="recipient", header=True)
    def shown_recipient(self, conversation: Conversation) -> tuple[str, str]:
        return who(conversation.recipient)

    @display(description="our number", header=True)
    def shown_number(self, conversation: Conversation) -> tuple[str, str]:
        return str(conversation.number), str(conversation.number.office)

    @display(description="last text")
    def shown_last(self, conversation: Conversation) -> str:
        text = conversation.last_text
        shown = f"{text[:60]}…" if len(text) > 60 else text or "(no words)"
        return f"You: {shown}" if conversation.last_direction == "out" else shown

    @display(description="when", ordering="last_message_at")
    def shown_when(self, conversation: Conversation) -> str:
        return moment(conversation.last_message_at)

    @display(
        description="state",
        label={"open": "", "chat": "info", "held": "warning", "blocked": "danger", "off": ""},
    )
    def standing(self, conversation: Any) -> tuple[str, str]:
        return STANDINGS.get(conversation.verdict.code, ("blocked", "Opted out"))
