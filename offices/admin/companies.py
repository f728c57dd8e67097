"""Companies: made and named by operators, set up by their own admins."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.postgres.fields import ArrayField
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget

from offices import access
from offices.forms import CompanyForm, WordsField
from offices.models import Company
from offices.scoped_admin import ScopedAdmin


@admin.register(Company)
class CompanyAdmin(ScopedAdmin):
    form = CompanyForm
    list_display = ["name", "reading", "confirm_stop", "toll_free_stop"]
    search_fields = ["name"]
    radio_fields = {"reading": admin.VERTICAL}
    formfield_overrides = {ArrayField: {"form_class": WordsField, "widget": UnfoldAdminTextInputWidget}}
    fieldsets = [
        ("The registered brand", {"fields": ["name", "trade_names"]}),
        ("What counts as a command", {
            "fields": ["reading", "extra_stop_words", "extra_start_words", "extra_help_words"],
        }),
        ("After a STOP", {"fields": ["confirm_stop", "confirmation_text"]}),
        ("Toll-free numbers", {"fields": ["toll_free_stop"]}),
    ]  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What the brand is called is registered, and what a HELP message is judged by: operators change it."""
        return [] if access.is_operator(request.user) else ["name", "trade_names"]
