"""The forms of the admin's own pages: what is typed, tidied and refused with a sentence that helps."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib.auth import password_validation
from django.contrib.postgres.forms import SimpleArrayField, SplitArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MinLengthValidator, MinValueValidator
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminEmailInputWidget,
    UnfoldAdminPasswordToggleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleDateWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from offices import access, e164, help_message, help_versions, people
from offices.models import ApiToken, Campaign, Company, Membership, Number, Office, User
from offices.models.campaigns import SAMPLE_LENGTH

OPT_IN_WORDS = {"unstop", "start"}
HELP_WORDS = {"help", "info"}
AT_LEAST_ONE = "At least 1. Leave it empty for no limit."


class WordsField(SimpleArrayField):
    """Words or names separated by commas; one comma too many does no harm."""

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str):
            value = ",".join(word for word in value.split(",") if word.strip())
        return super().to_python(value)


class HelpMessageForm(forms.Form):
    """An office's own HELP text, refused unless all four parts are there."""

    text = forms.CharField(
        label="Text",
        required=False,
        strip=False,
        max_length=1600,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 6, "spellcheck": "true"}),
    )
    # What its author had before them: the version's id, 0 for none.
    version = forms.IntegerField(widget=forms.HiddenInput, min_value=0)

    def __init__(self, office: Office, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.office = office
        self.fields["text"].widget.attrs.update({"aria-describedby": "help-check", "required": False})

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"].replace("\r\n", "\n").strip()
        lacking = help_message.missing(help_versions.check(self.office, text))
        if lacking:
            raise ValidationError([f"{part.label} is missing. {part.hint}" for part in lacking])
        return text


class CompanyForm(forms.ModelForm):
    class Meta:
        model = Company
        fields = "__all__"  # noqa: DJ007 - the admin class names them
        labels = {
            "extra_stop_words": "More words for STOP",
            "extra_start_words": "More words for UNSTOP",
            "extra_help_words": "More words for HELP",
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        words: dict[str, set[str]] = {}
        for name in ("extra_stop_words", "extra_start_words", "extra_help_words"):
            if name in cleaned:
                cleaned[name] = list(dict.fromkeys(" ".join(word.split()).lower() for word in cleaned[name]))
            words[name] = set(cleaned.get(name) or [])
        taken = {
            "extra_stop_words": OPT_IN_WORDS | HELP_WORDS,
            "extra_start_words": {*help_message.HONOURED_WORDS} | HELP_WORDS | words["extra_stop_words"],
            "extra_help_words": {*help_message.HONOURED_WORDS} | OPT_IN_WORDS
            | words["extra_stop_words"] | words["extra_start_words"],
        }  # fmt: skip
        for name, clash in taken.items():
            if both := sorted(words[name] & clash):
                self.add_error(name, f"“{both[0]}” means something else already. Take it out here.")
        return cleaned


class OfficeForm(forms.ModelForm):
    class Meta:
        model = Office
        fields = ("company", "name", "main_line", "email", "is_active")
        labels = {"email": "E-mail address", "is_active": "Open"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["main_line"] = e164.show(self.instance.main_line)


class NumberForm(forms.ModelForm):
    """A number with the campaign that it is in. Its company is its office's."""

    campaign = forms.ModelChoiceField(
        Campaign.objects.none(),
        required=False,
        empty_label="In no campaign",
        widget=UnfoldAdminSelectWidget,
        help_text="A STOP to a number in a registered campaign blocks that campaign's numbers; "
        "to any other number it blocks the whole company.",
    )
    user: User  # set by ScopedAdmin.get_form

    class Meta:
        model = Number
        fields = ("e164", "office", "account", "label", "segments_per_minute")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "segments_per_minute" in fields:
            fields["segments_per_minute"].validators.append(MinValueValidator(1, AT_LEAST_ONE))
        campaigns = access.visible_to(self.user, Campaign).select_related("company")
        if self.instance.pk:
            company = self.instance.company_id
            campaigns = campaigns.filter(company=company)
            self.initial["campaign"] = self.instance.current_campaign()
            for name in ("office", "account"):
                if name in fields:
                    fields[name].queryset = fields[name].queryset.filter(company=company)
        if "campaign" in fields:
            fields["campaign"].queryset = campaigns
            fields["campaign"].label_from_instance = self.name_of_campaign

    def name_of_campaign(self, campaign: Campaign) -> str:
        name = f"{campaign} ({campaign.get_status_display().lower()})"
        return name if self.instance.pk else f"{name} · {campaign.company}" if self._several() else name

    def _several(self) -> bool:
        return access.is_operator(self.user) or len(access.companies_of(self.user)[:2]) > 1

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        office, campaign = cleaned.get("office"), cleaned.get("campaign")
        if office and not self.instance.pk:
            self.instance.company = office.company
        if campaign and office and campaign.company_id != office.company_id:
            self.add_error("campaign", "Choose a campaign of the office's own company.")
        elif campaign and self._kind(cleaned) != Number.Kind.TEN_DIGIT:
            self.add_error("campaign", "Only ten-digit numbers are registered in a campaign. Leave it in none.")
        return cleaned

    def _kind(self, cleaned: dict[str, Any]) -> str:
        try:
            return e164.kind(e164.parse_own(cleaned.get("e164") or self.instance.e164))
        except e164.NotAPhoneNumber:
            return Number.Kind.TEN_DIGIT  # the model says what is wrong with the number itself


class CampaignForm(forms.ModelForm):
    sample_messages = SplitArrayField(
        forms.CharField(
            required=False,
            validators=[MinLengthValidator(SAMPLE_LENGTH[0]), MaxLengthValidator(SAMPLE_LENGTH[1])],
            widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "placeholder": "A text as you send it"}),
        ),
        size=5,
        remove_trailing_nulls=True,
        required=False,
        help_text="Two to five samples of what you send, 20 to 1024 characters each.",
    )

    class Meta:
        model = Campaign
        fields = "__all__"  # noqa: DJ007 - the admin class names them

    def clean_sample_messages(self) -> list[str]:
        return [sample for sample in self.cleaned_data["sample_messages"] if sample]


class ApiTokenForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        label="What it may do",
        choices=ApiToken.Scope.choices,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    expires_on = forms.DateField(
        label="Last day",
        required=False,
        widget=UnfoldAdminSingleDateWidget,
        help_text="The token is refused from the next day on. Empty: it lives until it is revoked.",
    )
    user: User

    class Meta:
        model = ApiToken
        fields = ("company", "name", "scopes", "account")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "inbound" in cleaned.get("scopes", []) and not cleaned.get("account") and "account" not in self.errors:
            self.add_error("account", "Choose the carrier account that this token delivers texts for.")
        if last := cleaned.get("expires_on"):
            self.instance.expires_at = timezone.make_aware(datetime.combine(last + timedelta(days=1), time.min))
        return cleaned

    def clean_expires_on(self) -> date | None:
        last: date | None = self.cleaned_data["expires_on"]
        if last and last < timezone.localdate():
            raise ValidationError("That day is over. Choose today or later.")
        return last


class PersonForm(forms.ModelForm):
    """Somebody's place: a role, and an office where the role is of one; with the person's name and address."""

    first_name = forms.CharField(max_length=150, widget=UnfoldAdminTextInputWidget)
    last_name = forms.CharField(max_length=150, widget=UnfoldAdminTextInputWidget)
    email = forms.EmailField(
        label="E-mail address",
        widget=UnfoldAdminEmailInputWidget(attrs={"autocomplete": "off"}),
        help_text="They sign in with it.",
    )
    user: User  # the acting admin; set by ScopedAdmin.get_form

    class Meta:
        model = Membership
        fields = ("company", "role", "office")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "role" in fields:
            grants = access.roles_to_grant(self.user)
            granted = [choice for choice in Membership.Role.choices if choice[0] in grants]
            # Nobody becomes company admin because it stood first.
            fields["role"].choices = granted if self.instance.pk else [("", "Select value"), *granted]
        if "office" in fields:
            fields["office"].help_text = "For office admins and agents; the others see every office."
        if self.instance.pk:
            person = self.instance.user
            if "office" in fields:
                offices = fields["office"].queryset
                fields["office"].queryset = offices.filter(company=self.instance.company_id)
            is_mine = access.may_manage_login(self.user, person)
            for name in ("first_name", "last_name", "email"):
                self.initial[name] = getattr(person, name)
                self.fields[name].disabled = not is_mine
                self.fields[name].required = is_mine

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        return email if self.fields["email"].disabled else email.strip().lower()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        role, office = cleaned.get("role"), cleaned.get("office")
        if role in Membership.OFFICE_ROLES:
            if office is None and "office" not in self.errors:
                self.add_error("office", "Choose the office: office admins and agents belong to one.")
        elif role:
            # The company is what counts; the office that a browser left in the field is of no use.
            cleaned["office"] = office = None
        if office and cleaned.get("company") and office.company_id != cleaned["company"].pk:
            self.add_error("office", "Choose an office of the same company.")
        if not self.errors:
            self._refuse_twice(cleaned, role, office)
        return cleaned

    def _refuse_twice(self, cleaned: dict[str, Any], role: Any, office: Office | None) -> None:
        company = cleaned.get("company") or self.instance.company
        person = self.instance.user if self.instance.pk else people.known_login(self.user, cleaned["email"], company)
        same = Membership.objects.filter(user=person, company=company, role=role, office=office)
        if person and same.exclude(pk=self.instance.pk).exists():
            raise ValidationError("This person has that place already.")


class NewPersonForm(PersonForm):
    password = forms.CharField(
        label="First password",
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordToggleWidget(attrs={"autocomplete": "new-password"}),
        help_text="Empty: the portal makes one up and shows it once.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("password"):
            person = User(**{name: cleaned.get(name) or "" for name in ("first_name", "last_name", "email")})
            try:
                password_validation.validate_password(cleaned["password"], person)
            except ValidationError as error:
                self.add_error("password", error)
        return cleaned


class NewPasswordForm(forms.Form):
    password = forms.CharField(
        label="New password",
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordToggleWidget(attrs={"autocomplete": "new-password"}),
        help_text="Empty: the portal makes one up and shows it once.",
    )

    def __init__(self, person: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if password:
            password_validation.validate_password(password, self.person)
        return password
