"""Carrier accounts: what the portal needs to speak with a carrier, how to connect it, and how it fares."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from messaging.admin.carrier_account_form import (
    CarrierAccountForm,
    kept_account_form,
    new_account_form,
    settings_of,
    shown_for_its_carrier,
)
from messaging.admin.carrier_state import StateColumns, is_set_up, last_genuine, standing
from messaging.admin.columns import moment, row_link
from messaging.carriers.base import CarrierError
from messaging.carriers.registry import CARRIERS
from offices.admin import pages
from offices.filters import ScopedRelatedFilter
from offices.models import CarrierAccount
from offices.scoped_admin import ScopedAdmin

# They receive through the inbound API as well, with a token.
BY_TOKEN = {CarrierAccount.Carrier.GENERIC, CarrierAccount.Carrier.CONSOLE}
ANSWERS = ["stop_answered_by", "help_answered_by"]
SHOWN_NUMBERS = 50


@admin.register(CarrierAccount)
class CarrierAccountAdmin(StateColumns, ScopedAdmin):
    list_display = ["name", "carrier", "in_use", "state", "numbers_in_use", "company"]
    list_select_related = ["company", "health"]
    list_filter = [("company", ScopedRelatedFilter), ("carrier", ChoicesDropdownFilter)]
    search_fields = ["name"]
    ordering = ["company__name", "name"]  # the model's own gets lost where rows are counted
    conditional_fields = shown_for_its_carrier()
    actions_detail = ["test_connection", "remove_secret"]
    change_form_outer_before_template = "messaging/admin/carrier_test.html"

    class Media:
        js = ["portal/copy.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        in_use = Count("numbers", filter=Q(numbers__given_up_at__isnull=True))
        rows: QuerySet = super().get_queryset(request).annotate(number_count=in_use)
        return rows

    # The page ---------------------------------------------------------------------------------------------------

    @method_decorator(sensitive_post_parameters())
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(request, *args, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            form: type[ModelForm] = new_account_form()
        elif self.has_change_permission(request, obj):
            form = kept_account_form(obj.carrier)
        else:
            form = ModelForm
        return super().get_form(request, obj, change=change, **{**kwargs, "form": form})

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"carrier": CarrierAccount.Carrier.TWILIO, **super().get_changeform_initial_data(request)}

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Whoever may only look sees neither settings nor secrets: whether there are any is enough."""
        about = ["company", "name", "carrier", "is_active"]
        if obj is None:
            return [(None, {"fields": about}), ("At the carrier", {"fields": [*self.conditional_fields]})]
        if self.has_one_company(request):
            about.remove("company")
        by_token = ["inbound_address"] if obj.carrier in BY_TOKEN else []
        connecting = ["webhook_address", *by_token, "steps", "its_numbers"]
        rest = [
            ("Connecting it", {"fields": connecting}),
            ("Who answers", {"fields": ANSWERS, "description": self.who_answers(obj)}),
            ("Sending", {"fields": ["segments_per_minute"]}),
            ("State", {"fields": self.STATE}),
        ]
        if not self.has_change_permission(request, obj):
            about[about.index("is_active")] = "in_use"
            return [(None, {"fields": [*about, "is_set_up"]}), *rest]
        wanted = list(kept_account_form(obj.carrier).declared_fields)
        return [(None, {"fields": about}), *([("At the carrier", {"fields": wanted})] if wanted else []), *rest]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The carrier stays: texts on record name it, and its ids are its own."""
        fixed = super().get_readonly_fields(request, obj)
        shown = ["carrier", "webhook_address", "inbound_address", "steps", "its_numbers"]
        shown += ["in_use", "is_set_up", *self.STATE]
        return [*fixed, *shown] if obj else fixed

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """None in the page's head, where an action is a link: both are asked for by buttons of the page itself."""
        return []

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        account = context.get("original")
        if account is not None:
            tone, words = standing(account)
            context.update(state=words, tone=tone, may_test=self.has_change_permission(request, account))
        return super().render_change_form(request, context, *args, **kwargs)

    # What it shows ----------------------------------------------------------------------------------------------

    @display(description="numbers in use", ordering="number_count")
    def numbers_in_use(self, account: Any) -> int:
        count: int = account.number_count
        return count

    @display(description="in use", boolean=True, ordering="is_active")
    def in_use(self, account: CarrierAccount) -> bool:
        return account.is_active

    @display(description="set up", boolean=True)
    def is_set_up(self, account: CarrierAccount) -> bool:
        return is_set_up(account)

    @display(description="webhook address")
    def webhook_address(self, account: CarrierAccount) -> str:
        hint = "Received texts and statuses are posted to it. Nobody can guess it, and every request must be genuine."
        if not settings.PUBLIC_URL.startswith("https://"):
            hint = f"No carrier reaches this: set PUBLIC_URL to the portal's public https address. {hint}"
        return copied("webhook-address", _webhook(account), hint)

    @display(description="inbound API")
    def inbound_address(self, account: CarrierAccount) -> str:
        hint = "Post to it with an API token of this account that may deliver received texts."
        return copied("inbound-address", f"{settings.PUBLIC_URL}{reverse('api:inbound')}", hint)

    @display(description="step by step")
    def steps(self, account: CarrierAccount) -> SafeString | str:
        adapter = CARRIERS.get(account.carrier)
        if adapter is None or not adapter.STEPS:
            return "There is nothing to do."
        address = format_html("<code>{}</code>", _webhook(account))
        written = [
            (format_html_join(address, "{}", [(part,) for part in step.split("{webhook}")]),) for step in adapter.STEPS
        ]
        return format_html('<ol class="carrier-steps">{}</ol>', format_html_join("", "<li>{}</li>", written))

    @display(description="its numbers")
    def its_numbers(self, account: CarrierAccount) -> SafeString | str:
        numbers = list(account.numbers.filter(given_up_at__isnull=True)[: SHOWN_NUMBERS + 1])
        if not numbers:
            return "None yet: add a number under Numbers, or move one here, and choose this account for it."
        shown = format_html_join(", ", "{}", [(row_link(number),) for number in numbers[:SHOWN_NUMBERS]])
        return format_html("{}{}", shown, " and more" if len(numbers) > SHOWN_NUMBERS else "")

    def who_answers(self, account: CarrierAccount) -> str:
        adapter = CARRIERS.get(account.carrier)
        name = adapter.label.partition(" (")[0] if adapter else "The carrier"
        if adapter and adapter.ANSWERS_STOP:
            by_itself = f"{name} answers STOP by itself, unless that is switched off there."
        elif account.carrier in BY_TOKEN:
            by_itself = "A gateway of your own answers STOP only if it was made to."
        else:
            by_itself = f"{name} is not known to answer STOP by itself."
        return str(
            format_html(
                "{} “The carrier replies” keeps the portal silent; “We reply” sends the company's own words, once. "
                "Choose what is so at the carrier: one STOP gets one confirmation. Where a webhook says that the "
                "carrier has replied, the portal never does, whatever is set here.",
                by_itself,
            )
        )

    # What it does -----------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The row without its secrets, which somebody else may be changing; then what was typed, one by one."""
        assert isinstance(obj, CarrierAccount)
        if not change:
            super().save_model(request, obj, form, change)
        else:
            obj.save(update_fields=["name", "is_active", "settings", *ANSWERS, "segments_per_minute"])
        assert isinstance(form, CarrierAccountForm)
        for name, secret in form.typed.items():
            obj.add_secret(name, secret, by=request.user)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        messages.success(request, f"Added: {obj}. Now connect it, as it says below.")
        return redirect(pages.address_of(obj))

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        messages.success(request, f"Saved: {obj}.")
        return redirect(pages.address_of(obj))

    @action(description="Test this connection", permissions=["change"], url_path="test")
    def test_connection(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask the carrier something that changes nothing, and say on the account's page what it answered."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        account = self._account(request, object_id)
        adapter = CARRIERS.get(account.carrier)
        try:
            if adapter is None:
                raise CarrierError("The portal does not speak with this carrier.")
            messages.success(request, adapter.test(account.credentials))
        except CarrierError as error:
            messages.error(request, str(error))
        messages.info(request, last_genuine(account))
        return redirect(pages.address_of(account))

    @action(description="Remove a secret", permissions=["change"], url_path="remove-secret")
    def remove_secret(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then forget the secret that ?secret= names."""
        account = self._account(request, object_id)
        named = request.GET.get("secret", "")
        labels = {setting.name: setting.label for setting in settings_of(account.carrier)}
        names = dict.fromkeys(kept["name"] for kept in account.secrets)
        secret = next((one for name in names for one in account.kept_secrets(name) if one.id == named), None)
        if secret is None:
            messages.info(request, "That secret is not kept any more: somebody else was faster.")
            return redirect(pages.address_of(account))
        label, entered = labels.get(secret.name, secret.name), moment(secret.added_at)
        if request.method == "POST":
            with transaction.atomic():
                account.remove_secret(secret.id)
                self.log_change(request, account, f"Removed: {label}, entered on {entered}.")
            messages.success(request, f"Removed: {label}, entered on {entered}.")
            return redirect(pages.address_of(account))
        others = [one for one in account.kept_secrets(secret.name) if one.id != secret.id]
        follows = (
            f"What was entered on {moment(others[0].added_at)} stays in use."
            if others
            else "It is the last one. Until you enter another, webhooks that need it are refused, and texts leave "
            "without it or not at all."
        )
        return pages.ask_first(
            self,
            request,
            account,
            title=f"Remove: {label}",
            explanation=f"Entered on {entered}. Whatever still uses it is refused from then on. {follows}",
            button="Remove it",
            is_danger=True,
        )

    def _account(self, request: HttpRequest, object_id: str) -> CarrierAccount:
        account = self.get_object(request, object_id)
        if account is None:
            raise Http404
        assert isinstance(account, CarrierAccount)
        return account


def copied(field_id: str, value: str, hint: str) -> str:
    return render_to_string("portal/copy.html", {"id": field_id, "value": value, "hint": hint})


def _webhook(account: CarrierAccount) -> str:
    return f"{settings.PUBLIC_URL}{reverse('webhook', args=[account.carrier, account.public_id])}"
