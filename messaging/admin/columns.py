"""Columns and links that several lists of this floor share."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from messaging.models import ConsentEvent, Recipient
from messaging.models.record import Block, Scope
from offices import access, e164

PREVIEW = 80  # characters of a text in a list


def link(address: str, words: Any) -> SafeString:
    return format_html('<a class="text-primary-600 dark:text-primary-500 underline" href="{}">{}</a>', address, words)


def row_link(row: Model | None, words: Any = None) -> Any:
    """A link to a row's page in the admin; a dash for none."""
    if row is None:
        return "-"
    opts = row._meta
    return link(reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[row.pk]), words or row)


def moment(at: Any) -> str:
    """A time as people read it, with its zone: "Nov 3, 2026, 2:15 PM EST"."""
    return formats.date_format(timezone.localtime(at), "M j, Y, g:i A T") if at else "-"


def whole_text(text: str) -> SafeString:
    """A received text as it was written, for a detail page."""
    return format_html('<span class="whitespace-pre-wrap break-words">{}</span>', text) if text else SafeString("-")


def who(recipient: Recipient) -> tuple[str, str]:
    """Name over number, for a column of two lines."""
    shown = e164.show(recipient.e164)
    return (recipient.name, shown) if recipient.name else (shown, "")


class Preview:
    """For a ModelAdmin: lists read only the beginning of `text_field`, which may hold a megabyte."""

    text_field = "text"

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows: QuerySet = super().get_queryset(request)  # type: ignore[misc]
        shortened: QuerySet = rows.defer(self.text_field).annotate(preview=Left(self.text_field, PREVIEW + 1))
        return shortened

    @display(description="text")
    def shown_preview(self, row: Any) -> str:
        return f"{row.preview[:PREVIEW]}…" if len(row.preview) > PREVIEW else row.preview or "-"


class BlockColumns(Preview):
    """What opt-outs and holds show alike."""

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without links into the record for those who may not see it."""
        fieldsets = super().get_fieldsets(request, obj)  # type: ignore[misc]
        if access.may(request.user, "view", ConsentEvent):
            return fieldsets
        return [
            (name, {**options, "fields": [f for f in options["fields"] if f not in ("opening", "closing")]})
            for name, options in fieldsets
        ]

    @display(description="opened by")
    def opening(self, block: Block) -> Any:
        return row_link(block.opened_by)

    @display(description="closed by")
    def closing(self, block: Block) -> Any:
        return row_link(block.closed_by)

    @display(description="recipient", header=True)
    def shown_recipient(self, block: Block) -> tuple[str, str]:
        return who(block.recipient)

    @display(description="blocks texts from")
    def shown_scope(self, block: Block) -> str:
        if block.scope == Scope.COMPANY:
            return "Every number of the company"
        if block.scope == Scope.CAMPAIGN:
            return f"Campaign “{block.campaign}”"
        return f"{e164.show(block.texted_number)} only"

    @display(description="texted number")
    def shown_texted_number(self, block: Block) -> str:
        return e164.show(block.texted_number)

    @display(description="texted", ordering="texted_at")
    def shown_texted_at(self, block: Block) -> str:
        return moment(block.texted_at)

    @display(description="text")
    def shown_text(self, block: Block) -> SafeString:
        return whole_text(block.text)

    @display(description="recipient")
    def linked_recipient(self, block: Block) -> Any:
        return row_link(block.recipient)

    @display(description="opened")
    def shown_opened(self, block: Block) -> str:
        return moment(block.opened_at)

    @display(description="closed")
    def shown_closed(self, block: Block) -> str:
        return moment(block.closed_at)
