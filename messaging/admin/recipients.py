"""Recipients: their name for our people, and all that is known of their consent."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.decorators import action, display

from messaging.admin import asking_then, by_hand
from messaging.admin.columns import BlockColumns, Preview, link, moment, row_link
from messaging.admin.searching import NumberSearch
from messaging.models import ConsentEvent, Conversation, Hold, OptOut, Recipient
from offices import e164
from offices.filters import ScopedRelatedFilter
from offices.scoped_admin import ReadOnlyInline, ScopedAdmin


class OpenBlockInline(BlockColumns, ReadOnlyInline):
    """Those in force: what keeps texts from this recipient now."""

    fields = ["opened", "shown_texted_number", "shown_preview", "shown_texted_at"]
    readonly_fields = fields
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).filter(closed_at__isnull=True).select_related("campaign", "recipient")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return [(None, {"fields": self.fields})]

    @display(description="blocks texts from")
    def opened(self, block: Any) -> Any:
        return row_link(block, self.shown_scope(block))


class OptOutInline(OpenBlockInline):
    model = OptOut
    verbose_name_plural = "opt-outs in force"


class HoldInline(OpenBlockInline):
    model = Hold
    verbose_name_plural = "holds waiting"


class ConversationInline(ReadOnlyInline):
    model = Conversation
    fields = ["opened", "last_text", "shown_when"]
    readonly_fields = fields
    hide_title = True
    ordering = ["-last_message_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("number", "recipient")

    @display(description="with our number")
    def opened(self, conversation: Conversation) -> Any:
        return link(reverse("messaging:conversation", args=[conversation.pk]), conversation.number)

    @display(description="when")
    def shown_when(self, conversation: Conversation) -> str:
        return moment(conversation.last_message_at)


class EventInline(Preview, ReadOnlyInline):
    model = ConsentEvent
    text_field = "received_text"
    fields = ["opened", "shown_number", "shown_preview", "shown_received_at", "shown_source"]
    readonly_fields = fields
    ordering = ["-pk"]
    hide_title = True
    verbose_name_plural = "record"

    @display(description="kind")
    def opened(self, event: ConsentEvent) -> Any:
        return row_link(event, event.get_kind_display())

    @display(description="by")
    def shown_source(self, event: ConsentEvent) -> str:
        return event.actor_name or event.get_source_display()

    @display(description="our number")
    def shown_number(self, event: ConsentEvent) -> str:
        return e164.show(event.number_e164)

    @display(description="received")
    def shown_received_at(self, event: ConsentEvent) -> str:
        return moment(event.received_at)


@admin.register(Recipient)
class RecipientAdmin(NumberSearch, ScopedAdmin):
    list_display = ["shown_number", "name", "company", "created_at"]
    list_select_related = ["company"]
    list_filter = [("company", ScopedRelatedFilter)]
    ordering = ["-pk"]
    sortable_by = ()
    number_lookups = ["e164"]
    name_lookups = ["name"]
    fieldsets = [(None, {"fields": ["name", "shown_number", "company", "created_at"]})]
    readonly_fields = ["shown_number", "created_at"]
    inlines = [OptOutInline, HoldInline, ConversationInline, EventInline]
    actions_detail = ["record_opt_out"]
    change_form_outer_after_template = "messaging/admin/asking_then.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """With the question about a past moment below the form. What was typed in the portal's zone is led to an
        address with the moment in UTC: it can be kept and sent, whatever zone the portal has by then."""
        recipient = self.get_object(request, object_id)
        if recipient is not None and self.has_view_permission(request, recipient):
            then = asking_then.section(request, recipient)
            answer = then.get("answer")
            if answer and request.method == "GET" and "Z" not in request.GET["at"]:
                return redirect(f"{request.path}{answer['address']}")
            extra_context = {**(extra_context or {}), "then": then}
        shown: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        return shown

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Recipients come by their first text, or by ours to them."""
        return False

    def has_opt_out_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        recipient = obj if isinstance(obj, Recipient) else self.get_object(request, str(obj))
        return (
            isinstance(recipient, Recipient)
            and recipient.is_textable
            and by_hand.may_record(request.user, recipient.company)
        )

    @action(description=by_hand.TITLE, permissions=["opt_out"], url_path="record-opt-out", icon="block")
    def record_opt_out(self, request: HttpRequest, object_id: str) -> HttpResponse:
        recipient = self.get_object(request, object_id)
        if recipient is None:
            raise Http404
        assert isinstance(recipient, Recipient)
        return by_hand.respond(self, request, recipient)

    @display(description="number")
    def shown_number(self, recipient: Recipient) -> str:
        return e164.show(recipient.e164)
