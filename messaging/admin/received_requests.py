"""Received requests: what carriers posted; those that could not be understood wait here for the operator."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RadioFilter
from unfold.decorators import action, display

from messaging import inbound
from messaging.admin.columns import link, moment
from messaging.admin.deciding import DecidingAdmin, Decision
from messaging.models import WebhookReceipt
from offices.filters import ScopedRelatedFilter
from offices.models import User

LONGEST_SHOWN = 50_000  # characters of a body; the database keeps all of it
NOT_UNDERSTOOD, ALL = "not-understood", "all"


def _run_again(receipt: WebhookReceipt, user: User, reason: str) -> str:
    received = inbound.run_again(receipt, by=user)
    return "" if received.understood else f"Request {receipt.pk} is still not understood: {received.error}"


def _dismiss(receipt: WebhookReceipt, user: User, reason: str) -> str:
    return "" if inbound.dismiss(receipt, by=user) else f"Request {receipt.pk} was settled before."


def readable(body: bytes, content_type: str) -> str:
    """A body for people: JSON indented, a form with a field a line, anything else as it is; bytes that are no
    UTF-8 shown as such."""
    text = body.decode("utf-8", "backslashreplace")
    if "json" in content_type:
        try:
            return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return text
    if "x-www-form-urlencoded" in content_type:
        return "\n".join(f"{name}: {value}" for name, value in parse_qsl(text, keep_blank_values=True)) or text
    return text


class Understood(RadioFilter):
    """Those that are not understood, unless asked for all."""

    title = "which"
    parameter_name = "which"
    all_option = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(NOT_UNDERSTOOD, "Not understood"), (ALL, "All")]

    def value(self) -> str:
        return ALL if super().value() == ALL else NOT_UNDERSTOOD

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset if self.value() == ALL else queryset.filter(status=WebhookReceipt.Status.NOT_UNDERSTOOD)


@admin.register(WebhookReceipt)
class WebhookReceiptAdmin(DecidingAdmin):
    list_title = "Received requests"
    list_display = ["entry", "shown_stored_at", "account", "company", "shown_status", "error"]
    list_select_related = ["account", "company"]
    list_filter = [Understood, ("company", ScopedRelatedFilter), ("account", ScopedRelatedFilter)]
    ordering = ["-pk"]
    sortable_by = ()
    fieldsets = [
        (None, {"fields": ["status", "error", "shown_stored_at", "company", "account", "carrier"]}),
        ("The request", {"fields": ["content_type", "shown_body"]}),
        ("What became of it", {"fields": ["conversation", "settled_at", "settled_by"]}),
    ]
    actions = ["run_these_again", "dismiss_these"]
    actions_detail = ["run_again", "dismiss"]
    decisions = [
        Decision(
            "run-again",
            "Run again",
            "The request is taken once more, as if the carrier had just posted it. Mend first what was wrong.",
            "Run again",
            "{count} {rows} understood and settled.",
            _run_again,
        ),
        Decision(
            "dismiss",
            "Dismiss",
            "The request needs nothing more. It stays stored, but no longer waits here.",
            "Dismiss",
            "{count} {rows} dismissed.",
            _dismiss,
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows: QuerySet = super().get_queryset(request).defer("body")
        return rows

    def undecided(self, rows: QuerySet) -> QuerySet:
        return rows.filter(status=WebhookReceipt.Status.NOT_UNDERSTOOD).select_related("account").order_by("pk")

    def described(self, receipt: WebhookReceipt) -> tuple[str, str]:
        title = f"Request {receipt.pk}, {receipt.account}, {moment(receipt.stored_at)}: {receipt.error}"
        return title, readable(bytes(receipt.body[:LONGEST_SHOWN]), receipt.content_type)

    @action(description="Run again", permissions=["decide"])
    def run_these_again(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        return self.ask("run-again", queryset.values_list("pk", flat=True))

    @action(description="Dismiss", permissions=["decide"])
    def dismiss_these(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        return self.ask("dismiss", queryset.values_list("pk", flat=True))

    @action(description="Run again", permissions=["decide"], url_path="run-again", icon="replay")
    def run_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.ask("run-again", [object_id])

    @action(description="Dismiss", permissions=["decide"], url_path="dismiss", icon="archive")
    def dismiss(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.ask("dismiss", [object_id])

    @display(description="request")
    def entry(self, receipt: WebhookReceipt) -> str:
        return str(receipt.pk)

    @display(description="received")
    def shown_stored_at(self, receipt: WebhookReceipt) -> str:
        return moment(receipt.stored_at)

    @display(
        description="state",
        label={"understood": "success", "not_understood": "danger", "resolved": "success", "dismissed": ""},
    )
    def shown_status(self, receipt: WebhookReceipt) -> tuple[str, str]:
        return receipt.status, receipt.get_status_display()

    @display(description="body")
    def shown_body(self, receipt: WebhookReceipt) -> SafeString:
        body = bytes(receipt.body)
        text = readable(body, receipt.content_type)
        cut = f"\n… {len(text) - LONGEST_SHOWN:,} characters more" if len(text) > LONGEST_SHOWN else ""
        return format_html(
            '<pre class="whitespace-pre-wrap break-words">{}{}</pre><p>{} bytes</p>',
            text[:LONGEST_SHOWN],
            cut,
            f"{len(body):,}",
        )

    @display(description="conversation")
    def conversation(self, receipt: WebhookReceipt) -> Any:
        if receipt.message is None:
            return "-"
        return link(reverse("messaging:conversation", args=[receipt.message.conversation_id]), "Open the conversation")
