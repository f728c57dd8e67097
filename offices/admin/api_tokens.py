"""API tokens: made with a secret that is shown once, and revoked; nothing else about them changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from unfold.decorators import action, display

from offices.admin import pages
from offices.filters import ScopedRelatedFilter
from offices.forms import ApiTokenForm
from offices.models import ApiToken
from offices.scoped_admin import ScopedAdmin


@admin.register(ApiToken)
class ApiTokenAdmin(ScopedAdmin):
    form = ApiTokenForm
    list_display = ["name", "beginning", "may_do", "account", "state", "last_used_at", "company"]
    list_select_related = ["company", "account"]
    list_filter = [("company", ScopedRelatedFilter), ("account", ScopedRelatedFilter)]
    search_fields = ["name", "prefix"]
    search_help_text = "Name, or how the token begins"
    actions_detail = ["revoke"]
    fieldsets = [(None, {"fields": ["company", "name", "scopes", "account", "expires_on"]})]
    change_fieldsets = [
        (None, {"fields": ["company", "name", "beginning", "may_do", "account", "expires_at"]}),
        ("Its life", {"fields": ["standing", "created_at", "last_used_at", "revoked_at"]}),
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.fieldsets
        hidden = {"company"} if self.has_one_company(request) else set()
        return [
            (name, {"fields": [field for field in options["fields"] if field not in hidden]})
            for name, options in self.change_fieldsets
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What a token may do stays as it was when somebody got it; only its name can be put better."""
        shown = [field for _, options in self.change_fieldsets for field in options["fields"]]
        return [field for field in shown if field != "name"] if obj else []

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if change:
            kwargs["form"] = ModelForm
        return super().get_form(request, obj, change=change, **kwargs)

    @display(description="begins with")
    def beginning(self, token: ApiToken) -> str:
        return f"{token.prefix}…"

    @display(description="may")
    def may_do(self, token: ApiToken) -> str:
        return ", ".join(str(ApiToken.Scope(scope).label) for scope in token.scopes)

    @display(description="state", label={"live": "success", "revoked": "danger", "expired": "warning"})
    def state(self, token: ApiToken) -> tuple[str, str]:
        if token.revoked_at:
            return "revoked", "Revoked"
        return ("live", "Live") if token.is_live else ("expired", "Expired")

    @display(description="state")
    def standing(self, token: ApiToken) -> str:
        return self.state(token)[1]

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        if not change:
            assert isinstance(obj, ApiToken)
            obj.new_secret = obj.renew_secret()  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return pages.show_once(
            self,
            request,
            obj,
            title="The new token",
            label=f"Token “{obj.name}”",
            secret=obj.new_secret,
            hint="Copy it now and keep it safe: the portal keeps only a fingerprint, and nobody can see it again. "
            "It travels as “Authorization: Bearer …”.",
        )

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> Sequence[Any]:
        token = self.get_object(request, str(object_id))
        return super().get_actions_detail(request, object_id) if token and not token.revoked_at else []

    @action(description="Revoke", permissions=["revoke"], icon="block")
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        token = self.get_object(request, object_id)
        if token is None:
            raise Http404
        if request.method == "POST":
            if token.revoked_at is None:
                token.revoked_at = timezone.now()
                token.save(update_fields=["revoked_at"])
                self.log_change(request, token, "Revoked.")
            messages.success(request, f"Revoked: {token}. Whoever uses it is refused from now on.")
            return redirect(pages.address_of(token))
        return pages.ask_first(
            self,
            request,
            token,
            title="Revoke this token",
            explanation=f"“{token.name}” is refused from that moment on, for good. To replace it without an outage, "
            "make a new token first.",
            button="Revoke the token",
            is_danger=True,
        )
