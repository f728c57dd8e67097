"""How each carrier account fares: its last webhooks, its troubles, and how fast it may be used just now.

Apart from the account's own row, which is configuration: this changes with every few texts.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q

from offices.models import CarrierAccount, Company, Number


class CarrierHealth(models.Model):
    company_lookup = "company"
    office_lookup = None

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    account = models.OneToOneField(CarrierAccount, on_delete=models.PROTECT, related_name="health")

    last_genuine_at = models.DateTimeField("last genuine webhook", null=True)
    last_refused_at = models.DateTimeField("last refused webhook", null=True)
    last_refusal = models.TextField("why it was refused", blank=True)
    refused = models.PositiveBigIntegerField("refused webhooks", default=0)

    last_taken_at = models.DateTimeField("last text that the carrier took", null=True)
    # Failures in a row that were the account's and not one text's.
    failures = models.PositiveIntegerField(default=0)
    last_failure_at = models.DateTimeField(null=True)
    last_failure = models.TextField(blank=True)
    # Nothing is handed over before this moment.
    paused_until = models.DateTimeField(null=True)

    reconcile_after = models.DateTimeField(null=True)
    reconciled_at = models.DateTimeField("last comparison with the carrier's list", null=True)
    reconciliation = models.TextField("what it found", blank=True)

    class Meta:
        verbose_name = "state of a carrier account"
        verbose_name_plural = "states of carrier accounts"
        indexes = [models.Index(fields=["company"], condition=Q(failures__gt=0), name="carrier_health_in_trouble")]

    def __str__(self) -> str:
        return f"State of {self.account}"

    @classmethod
    def note(cls, account: CarrierAccount, *conditions: Q, **changes: Any) -> bool:
        """Write `changes` to the account's row where `conditions` hold, making the row when there is none yet.

        False when a condition did not hold. One statement, so that nobody's count is lost.
        """
        rows = cls.objects.filter(*conditions, account=account)
        if rows.update(**changes):
            return True
        if not cls.objects.filter(account=account).exists():
            fresh = CarrierHealth(account=account, company_id=account.company_id)
            CarrierHealth.objects.bulk_create([fresh], ignore_conflicts=True)
        # Also when it exists: somebody may have made it just after the first look.
        return bool(rows.update(**changes))


class Pace(models.Model):
    """Until when the texts that have their turn already use up what a number, or a whole account, may send."""

    company_lookup = "company"
    office_lookup = None

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    account = models.OneToOneField(CarrierAccount, on_delete=models.PROTECT, null=True, related_name="+")
    number = models.OneToOneField(Number, on_delete=models.PROTECT, null=True, related_name="+")
    taken_until = models.DateTimeField()
    # What the turns were given by: when the limit is another now, they are given anew.
    per_minute = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(account__isnull=True, number__isnull=False) | Q(account__isnull=False, number__isnull=True),
                name="pace_of_a_number_or_an_account",
            )
        ]

    def __str__(self) -> str:
        return f"Pace of {self.number or self.account}"
