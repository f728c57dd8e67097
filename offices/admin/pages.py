"""Pages beside Django's own: in the admin's frame, with a trail; the question before an act, the secret shown once."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.forms import Form
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse

from offices.scoped_admin import ScopedAdmin


def address_of(row: Model, page: str = "change") -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=[row.pk])


def trail(row: Model, *steps: tuple[str, str]) -> list[dict[str, str]]:
    """List › row › steps, as the head of the page shows it. A step: title, and address or ""."""
    opts = row._meta
    above = [
        (str(opts.verbose_name_plural), reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")),
        (str(row), address_of(row)),
    ]
    return [{"title": title, "link": link} for title, link in (*above, *steps)]


def page(
    model_admin: ScopedAdmin, request: HttpRequest, template: str, row: Model, context: dict[str, Any]
) -> TemplateResponse:
    """`template` in the admin's frame, about `row`. The context brings a title, and a trail where it has steps."""
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(
        request,
        template,
        {
            **model_admin.admin_site.each_context(request),
            "opts": model_admin.opts,
            "original": row,
            "trail": trail(row, (context["title"], "")),
            **context,
        },
    )


def ask_first(
    model_admin: ScopedAdmin,
    request: HttpRequest,
    row: Model,
    *,
    title: str,
    explanation: str,
    button: str,
    is_danger: bool = False,
    form: Form | None = None,
) -> TemplateResponse:
    """The question before an act, with what the act needs to know. Posting it to the same address is the answer."""
    context = {
        "title": title,
        "explanation": explanation,
        "button": button,
        "is_danger": is_danger,
        "form": form,
        "back": address_of(row),
    }
    return page(model_admin, request, "portal/ask_first.html", row, context)


def show_once(
    model_admin: ScopedAdmin, request: HttpRequest, row: Model, *, title: str, label: str, secret: str, hint: str
) -> TemplateResponse:
    """A secret, on the only page that ever holds it: it is in no session, no message and no cache."""
    context = {"title": title, "label": label, "secret": secret, "hint": hint, "on": address_of(row)}
    response = page(model_admin, request, "portal/show_once.html", row, context)
    response["Cache-Control"] = "no-store"
    return response
