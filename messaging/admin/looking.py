"""Pages that only show: titled as in the sidebar, and without a button to a history that nobody could have written."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from offices.scoped_admin import ReadOnlyAdmin


class LookingAdmin(ReadOnlyAdmin):
    list_title = ""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        shown = {**(extra_context or {}), "title": self.list_title, "trail": [{"title": self.list_title}]}
        answer: HttpResponse = super().changelist_view(request, shown)
        return answer

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        back = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        name = f"{self.opts.verbose_name} {object_id}"
        shown = {"trail": [{"title": self.list_title, "link": back}, {"title": name}], "show_history": False}
        answer: HttpResponse = super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})
        return answer
