"""The live check beside the HELP message editor: the four parts, characters and segments of what is being typed."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST

from messaging import segments
from offices import access, help_versions

LONGEST = 5_000  # what is longer is refused anyway, and reading it would cost


@require_POST
def help_check(request: HttpRequest) -> HttpResponse:
    """POST `office` (its id) and `text`: the checklist and the preview, as HTML to put into the page."""
    if not (request.user.is_authenticated and request.user.is_staff):
        raise PermissionDenied
    wanted = request.POST.get("office", "")
    office = get_object_or_404(
        access.offices_of(request.user).select_related("company"), pk=wanted if wanted.isdecimal() else None
    )
    # As the form will store it, so that page and server count the same characters.
    text = request.POST.get("text", "")[:LONGEST].replace("\r\n", "\n").strip()
    parts = help_versions.check(office, text)
    context = {
        "parts": parts,
        "text": text,
        "characters": len(text),
        "segments": segments.count(text),
        "live": True,
    }
    return render(request, "portal/help_check.html", context)
