"""The record: every consent event as it happened. To look at, for everybody; nobody adds, changes or deletes here."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RangeDateFilter
from unfold.decorators import display

from messaging.admin.columns import Preview, moment, row_link, whole_text
from messaging.admin.looking import LookingAdmin
from messaging.admin.searching import NumberSearch
from messaging.models import ConsentEvent, SealedEvent
from offices import e164
from offices.filters import ScopedRelatedFilter

Kind = ConsentEvent.Kind


@admin.register(ConsentEvent)
class ConsentEventAdmin(Preview, NumberSearch, LookingAdmin):
    list_title = "Record"
    text_field = "received_text"
    list_display = [
        "entry", "shown_received_at", "shown_kind", "shown_recipient", "company", "shown_number", "shown_preview",
        "shown_source",
    ]  # fmt: skip
    list_display_links = ["entry", "shown_received_at"]
    list_select_related = ["company"]
    list_filter = [
        ("kind", ChoicesDropdownFilter),
        ("source", ChoicesDropdownFilter),
        ("stored_at", RangeDateFilter),
        ("company", ScopedRelatedFilter),
        ("office", ScopedRelatedFilter),
    ]
    linked_lookups = ["recipient"]
    search_help_text = "Number, its last digits, or who did it"
    ordering = ["-pk"]
    sortable_by = ()
    number_lookups = ["recipient_e164", "number_e164"]
    name_lookups = ["actor_name"]
    actions = None
    fieldsets = [
        (None, {"fields": ["entry", "kind", "shown_source", "shown_scope", "reason"]}),
        ("Recipient", {"fields": ["linked_recipient", "recipient_e164"]}),
        ("What was received", {"fields": ["shown_text", "matched_words", "reading", "rule_version"]}),
        ("When", {"fields": ["shown_received_at", "shown_stored_at"]}),
        ("Our number, as it was then", {"fields": ["number_e164", "number_kind", "office_name", "office", "company"]}),
        (
            "Its campaign, as it was then",
            {"fields": ["campaign_name", "campaign_registry_id", "campaign_status", "campaign_id_then"]},
        ),
        ("By whom", {"fields": ["actor_name", "actor_id_then"]}),
        ("By which message", {"fields": ["carrier", "carrier_message_id", "message_id_then"]}),
        ("What shows a change", {"fields": ["hash", "shown_seal"]}),
    ]

    @display(description="entry")
    def entry(self, event: ConsentEvent) -> str:
        return str(event.pk)

    @display(description="received")
    def shown_received_at(self, event: ConsentEvent) -> str:
        return moment(event.received_at)

    @display(description="stored")
    def shown_stored_at(self, event: ConsentEvent) -> str:
        return moment(event.stored_at)

    @display(
        description="kind",
        label={
            Kind.OPT_OUT: "danger",
            Kind.CARRIER: "danger",
            Kind.OPT_IN: "success",
            Kind.RELEASE: "success",
            Kind.HOLD: "warning",
            Kind.REFUSAL: "warning",
            Kind.HELP: "info",
        },
    )
    def shown_kind(self, event: ConsentEvent) -> tuple[str, str]:
        return event.kind, event.get_kind_display()

    @display(description="by")
    def shown_source(self, event: ConsentEvent) -> str:
        return f"{event.get_source_display()}: {event.actor_name}" if event.actor_name else event.get_source_display()

    @display(description="scope")
    def shown_scope(self, event: ConsentEvent) -> str:
        return event.get_scope_display() or "-"

    @display(description="recipient")
    def shown_recipient(self, event: ConsentEvent) -> str:
        return e164.show(event.recipient_e164)

    @display(description="our number")
    def shown_number(self, event: ConsentEvent) -> str:
        return e164.show(event.number_e164) or "-"

    @display(description="text")
    def shown_text(self, event: ConsentEvent) -> Any:
        return whole_text(event.received_text)

    @display(description="sealed")
    def shown_seal(self, event: ConsentEvent) -> str:
        place = SealedEvent.objects.select_related("seal").filter(pk=event.pk).first()
        if place is None:
            return "Not yet. The worker seals each minute."
        return f"Seal {place.seal.number}, {moment(place.seal.sealed_at)}: {place.seal.hash}"

    @display(description="recipient")
    def linked_recipient(self, event: ConsentEvent) -> Any:
        return row_link(event.recipient)
