"""The numbers that a business texts from."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone

from offices import e164
from offices.models.carrier_accounts import CarrierAccount, new_public_id  # noqa: F401 - the first migration names it here
from offices.models.companies import Company, Office


class NumberKindField(models.CharField):
    """Derived from the number by the numbering plan at every save; nobody chooses it."""

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        value: str = e164.kind(model_instance.e164)  # type: ignore[attr-defined]
        setattr(model_instance, self.attname, value)
        return value

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


class Number(models.Model):
    class Kind(models.TextChoices):
        TEN_DIGIT = "ten_digit", "Ten-digit"
        TOLL_FREE = "toll_free", "Toll-free"
        SHORT_CODE = "short_code", "Short code"

    company_lookup = "company"
    office_lookup = "office"

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="numbers")
    office = models.ForeignKey(Office, on_delete=models.PROTECT, related_name="numbers")
    account = models.ForeignKey(
        CarrierAccount, on_delete=models.PROTECT, related_name="numbers", verbose_name="carrier account"
    )
    e164 = models.CharField(
        "number",
        max_length=16,
        unique=True,
        error_messages={"unique": "This number is already in the portal."},
    )
    kind = NumberKindField(max_length=10, choices=Kind.choices, editable=False)
    label = models.CharField(max_length=60, blank=True, help_text="For your people, for example: Front desk.")
    segments_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="The most that leave from this number, as the carrier allows. Empty: no limit but the account's.",
    )
    given_up_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When the number was given up. It then neither sends nor receives; its record stays.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["e164"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(e164__regex=r"^(\+[1-9]\d{6,14}|[2-9]\d{4,5})$"),
                name="number_e164_or_short_code",
            ),
            models.CheckConstraint(
                condition=models.Q(segments_per_minute__isnull=True) | models.Q(segments_per_minute__gt=0),
                name="number_limit_above_zero",
            ),
        ]

    def __str__(self) -> str:
        return f"{e164.show(self.e164)} ({self.label})" if self.label else e164.show(self.e164)

    def clean(self) -> None:
        errors: dict[str, Any] = {}
        if self.e164:
            try:
                self.e164 = e164.parse_own(self.e164)
            except e164.NotAPhoneNumber as error:
                errors["e164"] = str(error)
        if self.office_id and self.company_id and self.office.company_id != self.company_id:
            errors["office"] = "Choose an office of the number's own company."
        if self.account_id and self.company_id and self.account.company_id != self.company_id:
            errors["account"] = "Choose a carrier account of the number's own company."
        if errors:
            raise ValidationError(errors)

    @property
    def is_toll_free(self) -> bool:
        return self.kind == self.Kind.TOLL_FREE

    @property
    def is_active(self) -> bool:
        return self.given_up_at is None

    def give_up(self) -> bool:
        """Take the number out of use, from now on; False when it was. Its record and its blocks stay."""
        return bool(Number.objects.filter(pk=self.pk, given_up_at__isnull=True).update(given_up_at=timezone.now()))

    @transaction.atomic
    def take_back(self) -> bool:
        """Put the number to use again; False when it was in use. The time in between stays on record."""
        number = Number.objects.select_for_update().get(pk=self.pk)
        if number.given_up_at is None:
            return False
        NumberAbsence.objects.create(
            company_id=number.company_id, number=number, starts_at=number.given_up_at, ends_at=timezone.now()
        )
        Number.objects.filter(pk=number.pk).update(given_up_at=None)
        return True

    def current_assignment(self) -> Any:
        """The open CampaignAssignment with its campaign, or None."""
        return self.assignments.filter(ends_at__isnull=True).select_related("campaign").first()

    def current_campaign(self) -> Any:
        """The Campaign that the number is in now, or None."""
        assignment = self.current_assignment()
        return assignment.campaign if assignment else None


class NumberAbsence(models.Model):
    """A time in which a number was given up, and which is over: what the gate said then can be said again."""

    company_lookup = "company"
    office_lookup = "number__office"

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    number = models.ForeignKey(Number, on_delete=models.PROTECT, related_name="absences")
    starts_at = models.DateTimeField("from")
    ends_at = models.DateTimeField("until")

    class Meta:
        ordering = ["-starts_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gte=models.F("starts_at")), name="number_absence_ends_after_start"
            )
        ]

    def __str__(self) -> str:
        return f"{self.number} out of use"
