"""Carrier accounts: what the portal needs to speak with a carrier, and the address that the carrier posts to."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from offices.filters import ScopedRelatedFilter
from offices.forms import CarrierAccountForm
from offices.models import CarrierAccount
from offices.scoped_admin import ScopedAdmin

Carrier = CarrierAccount.Carrier


@admin.register(CarrierAccount)
class CarrierAccountAdmin(ScopedAdmin):
    form = CarrierAccountForm
    list_display = ["name", "carrier", "is_active", "company"]
    list_select_related = ["company"]
    list_filter = [("company", ScopedRelatedFilter), ("carrier", ChoicesDropdownFilter)]
    search_fields = ["name"]
    readonly_fields = ["inbound_address", "is_set_up"]
    conditional_fields = {
        "account_sid": f"carrier == '{Carrier.TWILIO}'",
        "auth_token": f"carrier == '{Carrier.TWILIO}'",
        "send_url": f"carrier == '{Carrier.GENERIC}'",
        "send_token": f"carrier == '{Carrier.GENERIC}'",
    }

    class Media:
        js = ["portal/copy.js"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        about: list[str] = ["company", "name", "carrier", "is_active"]
        if obj is None:
            return [(None, {"fields": [*about, "account_sid", "auth_token", "send_url", "send_token"]})]
        if self.has_one_company(request):
            about.remove("company")
        receiving = ("Receiving", {"fields": ["inbound_address"]})
        if not self.has_change_permission(request, obj):
            return [(None, {"fields": [*about, "is_set_up"]}), receiving]
        wanted = {
            Carrier.TWILIO: ["account_sid", "auth_token"],
            Carrier.GENERIC: ["send_url", "send_token"],
        }.get(obj.carrier)
        at_carrier = [("At the carrier", {"fields": wanted})] if wanted else []
        return [(None, {"fields": about}), *at_carrier, receiving]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"carrier": Carrier.TWILIO, **super().get_changeform_initial_data(request)}

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The carrier stays: texts on record name it, and its ids are its own."""
        fixed = super().get_readonly_fields(request, obj)
        return [*fixed, "carrier"] if obj else fixed

    @display(description="set up", boolean=True)
    def is_set_up(self, account: CarrierAccount) -> bool:
        return bool(account.credentials) or account.carrier == Carrier.CONSOLE

    @display(description="address for received texts")
    def inbound_address(self, account: CarrierAccount) -> str:
        if account.carrier == Carrier.TWILIO:
            path = reverse("webhook", args=[account.carrier, account.public_id])
            hint = "Enter it at the carrier as the address for incoming messages, with HTTP POST."
        else:
            path = reverse("api:inbound")
            hint = "Post to it with an API token of this account that may deliver received texts."
        context = {"id": "inbound-address", "value": f"{settings.PUBLIC_URL}{path}", "hint": hint}
        return render_to_string("portal/copy.html", context)
