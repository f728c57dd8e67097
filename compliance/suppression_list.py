"""The suppression list: every opt-out in force, as a file that other senders can take over."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from compliance.cells import safe
from messaging.models import OptOut
from offices import access
from offices.models import User

COLUMNS = [
    "company", "recipient", "blocks_texts_from", "our_number", "campaign", "campaign_registry_id", "office",
    "opted_out_at", "known_from", "text", "opt_out", "event",
]  # fmt: skip
CHUNK = 2_000
# A spreadsheet would otherwise take UTF-8 for something else.
BYTE_ORDER_MARK = "\ufeff"


class Echo:
    """A file for csv.writer that hands back what is written into it."""

    def write(self, line: str) -> str:
        return line


def in_force(user: User | Any) -> QuerySet[OptOut]:
    """The opt-outs in force that the user may take out of the portal."""
    rows = access.visible_to(user, OptOut.objects.filter(closed_at__isnull=True), "export")
    return rows.select_related("company", "recipient", "campaign", "office", "opened_by").order_by("pk")


def lines(rows: QuerySet[OptOut]) -> Iterator[str]:
    """The file's lines, made as they are asked for: memory does not grow with the list."""
    write = csv.writer(Echo()).writerow
    yield BYTE_ORDER_MARK + write(COLUMNS)
    for row in rows.iterator(chunk_size=CHUNK):
        yield write([safe(value) for value in cells(row)])


def cells(opt_out: OptOut) -> list[str]:
    """One line's cells, as in COLUMNS; the time is UTC, ISO 8601."""
    return [
        opt_out.company.name,
        opt_out.recipient.e164,
        opt_out.get_scope_display(),
        opt_out.texted_number,
        opt_out.campaign.name if opt_out.campaign else "",
        opt_out.campaign.registry_id if opt_out.campaign else "",
        opt_out.office.name if opt_out.office else "",
        opt_out.texted_at.astimezone(UTC).isoformat(timespec="seconds"),
        opt_out.opened_by.source,
        opt_out.text,
        str(opt_out.pk),
        str(opt_out.opened_by_id),
    ]


@never_cache
@require_GET
def download(request: HttpRequest) -> StreamingHttpResponse:
    """The list as CSV, for company admins and auditors; who took it, and when, is in the admin's log."""
    if not access.may(request.user, "export", OptOut):
        raise PermissionDenied("You may see opt-outs, but not take the list out of the portal.")
    user: Any = request.user
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(OptOut),
        object_repr="Suppression list",
        action_flag=CHANGE,
        change_message="Downloaded the suppression list.",
    )
    name = f"suppression-list-{timezone.localtime():%Y-%m-%d-%H%M}.csv"
    return StreamingHttpResponse(
        lines(in_force(user)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"},
    )
