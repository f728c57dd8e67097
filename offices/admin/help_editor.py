"""The editor of an office's HELP message: write, save, go back to the canned text, see who wrote what when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from offices import help_versions
from offices.admin import pages
from offices.forms import HelpMessageForm
from offices.models import Office, User

if TYPE_CHECKING:
    from offices.scoped_admin import ScopedAdmin

MOST_VERSIONS = 50


def respond(
    model_admin: ScopedAdmin, request: HttpRequest, office: Office, *, may_edit: bool, frame: dict[str, Any]
) -> HttpResponse:
    """The editor for `office`, and what becomes of a posted text. Only who may edit gets here with a POST."""
    if request.method == "POST" and "_canned" in request.POST:
        return _back_to_canned(model_admin, request, office)
    live = office.live_help_message()
    form = HelpMessageForm(
        office,
        request.POST if request.method == "POST" else None,
        initial={"text": office.help_text(), "version": live.pk if live else 0},
    )
    overtaken_by = None
    if request.method == "POST" and form.is_valid():
        assert isinstance(request.user, User)
        text, seen = form.cleaned_data["text"], form.cleaned_data["version"]
        written = help_versions.write(office, text, author=request.user, seen=seen)
        if written.overtaken_by is None:
            return _saved(model_admin, request, office, written)
        overtaken_by = written.overtaken_by
        # The author has it before them now: saving once more replaces it.
        data: Any = form.data
        form.data = {**data.dict(), "version": str(overtaken_by.pk)}
    text = (form["text"].value() or "").replace("\r\n", "\n").strip()
    versions = list(office.help_messages.all()[:MOST_VERSIONS])
    context = {
        **frame,
        "office": office,
        "form": form,
        "may_edit": may_edit,
        "is_canned": not versions or versions[0].is_canned,
        "canned_text": office.canned_help_text(),
        "help_text": office.help_text(),
        "parts": help_versions.check(office, text),
        "text": text,
        "characters": len(text),
        "versions": versions,
        "overtaken_by": overtaken_by,
    }
    return pages.page(model_admin, request, "portal/help_message.html", office, context)


def _saved(
    model_admin: ScopedAdmin, request: HttpRequest, office: Office, written: help_versions.Written
) -> HttpResponse:
    if written.version is None:
        messages.info(request, "This text answers HELP already, so nothing was changed.")
    else:
        model_admin.log_change(request, office, "Changed the HELP message.")
        messages.success(request, "Saved. The next HELP is answered with this text.")
    return redirect(pages.address_of(office, "help_message"))


def _back_to_canned(model_admin: ScopedAdmin, request: HttpRequest, office: Office) -> HttpResponse:
    assert isinstance(request.user, User)
    written = help_versions.back_to_canned(office, author=request.user)
    if written.version is None:
        messages.info(request, "The canned text answers HELP already.")
    else:
        model_admin.log_change(request, office, "Went back to the canned HELP message.")
        messages.success(request, "The next HELP is answered with the canned text.")
    return redirect(pages.address_of(office, "help_message"))
