"""The forms of carrier accounts: what each carrier needs, as its adapter says; secrets go in and never come out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from unfold.widgets import UnfoldAdminPasswordToggleWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from messaging.carriers.base import Setting
from messaging.carriers.registry import CARRIERS
from offices.forms import AT_LEAST_ONE
from offices.models import CarrierAccount

LONGEST = 4000  # characters of a setting or a secret
OWN = "at_carrier"


def settings_of(carrier: str) -> Sequence[Setting]:
    """What an account at that carrier needs; nothing where no adapter speaks for it."""
    return CARRIERS[carrier].SETTINGS if carrier in CARRIERS else ()


def field_name(setting: Setting, carrier: str = OWN) -> str:
    """The setting's field. On the page for a new account those of all carriers stand side by side, by the same names
    often; on the page of one account there are only its own."""
    return f"{carrier}__{setting.name}"


def shown_for_its_carrier() -> dict[str, str]:
    """Unfold's conditional fields: on the page for a new account each carrier's are shown when it is chosen."""
    return {
        field_name(setting, carrier): f"carrier == '{carrier}'"
        for carrier in CARRIERS
        for setting in settings_of(carrier)
    }


class SecretWidget(UnfoldAdminPasswordToggleWidget):
    """Where a secret is typed; above it, which ones are kept. What is kept is never in the page."""

    kept: Sequence[dict[str, Any]] | None = None
    is_needed = False

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        typed = super().render(name, None, attrs, renderer)
        if self.kept is None:
            return typed
        return render_to_string(
            "messaging/admin/carrier_secrets.html", {"kept": self.kept, "is_needed": self.is_needed, "typed": typed}
        )


# A request's headers take no other signs: one that was copied along would stop every text of the account.
WRITABLE = RegexValidator(
    r"\A[ -~]*\Z", "It holds a sign that no carrier gives out. Copy it anew, without what stands around it."
)


def field_for(setting: Setting, carrier: str) -> forms.Field:
    """The form's field of one setting; what is missing or wrong is said with where to find it."""
    label = CARRIERS[carrier].label.partition(" (")[0]
    needed = f"{label} needs the {lower_first(setting.label)}."
    common: dict[str, Any] = {
        "label": setting.label,
        "required": setting.required,
        # Unfold writes a help text into the page as it is.
        "help_text": mark_safe(escape(setting.help)),
        "error_messages": {"required": f"{needed} {setting.help}".strip()},
    }
    if setting.choices:
        # Nothing is chosen because it stood first.
        choices = [("", "Select value"), *setting.choices]
        return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget, **common)
    attrs = {"autocomplete": "new-password" if setting.secret else "off", "spellcheck": "false"}
    checks = [WRITABLE]
    if setting.pattern:
        wrong = f"That does not look like the {lower_first(setting.label)}. What is written below says how it looks."
        checks.append(RegexValidator(rf"\A(?:{setting.pattern})\Z", wrong))
    widget = SecretWidget(attrs) if setting.secret else UnfoldAdminTextInputWidget(attrs)
    return forms.CharField(max_length=LONGEST, widget=widget, validators=checks, **common)


def lower_first(label: str) -> str:
    """A label within a sentence: "Auth token" becomes "auth token"; "API key" and "AWS region" stay."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label


class CarrierAccountForm(forms.ModelForm):
    """What both forms share: the settings go into the row, the typed secrets wait in `typed` for whoever saves."""

    typed: dict[str, str]

    def chosen(self) -> str:
        """The carrier that this form is about."""
        raise NotImplementedError

    def own_fields(self) -> dict[str, Setting]:
        raise NotImplementedError

    def full_clean(self) -> None:
        self.typed = {}
        super().full_clean()
        if self.is_bound and self.errors:
            for name in self.typed:
                # A secret that was typed does not come back with the page.
                self.fields[self._names()[name]].widget.attrs["placeholder"] = "Type it once more"

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kept = dict(self.instance.settings)
        for name, setting in self.own_fields().items():
            given = cleaned.get(name) or ""
            if not setting.secret:
                kept[setting.name] = given
            elif given:
                self.typed[setting.name] = given
                if given in self.instance.credentials.secrets.get(setting.name, ()):
                    self.add_error(name, ValidationError("That one is kept already."))
        self.instance.settings = {name: value for name, value in kept.items() if value}
        return cleaned

    def _names(self) -> dict[str, str]:
        return {setting.name: name for name, setting in self.own_fields().items()}


class NewAccountForm(CarrierAccountForm):
    """A new account, with the fields of every carrier; those of the chosen one count."""

    class Meta:
        model = CarrierAccount
        fields = ("company", "name", "carrier", "is_active")
        labels = {"is_active": "In use"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(value, label) for value, label in CarrierAccount.Carrier.choices if value in CARRIERS]
        self.fields["carrier"].choices = choices  # type: ignore[attr-defined]

    def chosen(self) -> str:
        carrier: str = self.cleaned_data.get("carrier", "")
        return carrier

    def own_fields(self) -> dict[str, Setting]:
        return {field_name(setting, self.chosen()): setting for setting in settings_of(self.chosen())}

    def clean(self) -> dict[str, Any]:
        own = self.own_fields()
        for name in shown_for_its_carrier():
            if name not in own:
                self.errors.pop(name, None)
        carrier = self.chosen()
        if carrier in CARRIERS and CARRIERS[carrier].ANSWERS_STOP:
            self.instance.stop_answered_by = CarrierAccount.AnsweredBy.CARRIER
        return super().clean()


class KeptAccountForm(CarrierAccountForm):
    """An account that is there. A secret that is typed is added to those kept; left empty, they stay as they are."""

    class Meta:
        model = CarrierAccount
        fields = ("name", "is_active", "stop_answered_by", "help_answered_by", "segments_per_minute")
        labels = {"is_active": "In use"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["segments_per_minute"].validators.append(MinValueValidator(1, AT_LEAST_ONE))
        credentials = self.instance.credentials
        for name, setting in self.own_fields().items():
            if not setting.secret:
                self.initial[name] = credentials.settings.get(setting.name, "")
                continue
            field = self.fields[name]
            assert isinstance(field.widget, SecretWidget)
            field.widget.kept = kept = describe_secrets(self.instance, setting.name)
            field.widget.is_needed, field.required = field.required, False
            field.widget.attrs["placeholder"] = "Add another" if kept else "Enter one"

    def chosen(self) -> str:
        return self.instance.carrier

    def own_fields(self) -> dict[str, Setting]:
        return {field_name(setting): setting for setting in settings_of(self.instance.carrier)}


def describe_secrets(account: CarrierAccount, name: str) -> list[dict[str, Any]]:
    """What the page says of each secret of that name, the newest first: {"secret", "is_readable", "is_used"}."""
    found: list[dict[str, Any]] = []
    for secret in account.kept_secrets(name):
        is_readable = account.is_readable(secret.id)
        is_used = is_readable and not any(one["is_readable"] for one in found)
        found.append({"secret": secret, "is_readable": is_readable, "is_used": is_used, "account": account})
    return found


@cache
def new_account_form() -> type[NewAccountForm]:
    fields = {
        field_name(setting, carrier): field_for(setting, carrier)
        for carrier in CARRIERS
        for setting in settings_of(carrier)
    }
    return type("NewAccountFormOfAllCarriers", (NewAccountForm,), fields)


@cache
def kept_account_form(carrier: str) -> type[KeptAccountForm]:
    fields: dict[str, Any] = {field_name(setting): field_for(setting, carrier) for setting in settings_of(carrier)}
    return type("KeptAccountFormOfOneCarrier", (KeptAccountForm,), fields)
