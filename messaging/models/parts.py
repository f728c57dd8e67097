"""Parts of long texts, kept until all are there: a keyword is read in the whole text and never in a part."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.models.texts import Message, Recipient
from offices.models import CarrierAccount, Company, Number


class TextPart(models.Model):
    company_lookup = "company"
    office_lookup = "number__office"

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    account = models.ForeignKey(CarrierAccount, on_delete=models.PROTECT, related_name="+")
    number = models.ForeignKey(Number, on_delete=models.PROTECT, related_name="+")
    recipient = models.ForeignKey(Recipient, on_delete=models.PROTECT, related_name="+")
    reference = models.CharField(max_length=64)
    position = models.PositiveSmallIntegerField()
    total = models.PositiveSmallIntegerField()
    text = models.TextField(blank=True)
    carrier_message_id = models.CharField(max_length=255)
    received_at = models.DateTimeField(null=True)
    stored_at = models.DateTimeField(db_default=Now())
    message = models.ForeignKey(Message, on_delete=models.PROTECT, null=True, related_name="parts")

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["account", "carrier_message_id"], name="text_part_once_per_carrier_id"),
            models.CheckConstraint(
                condition=Q(position__gte=1, position__lte=models.F("total")), name="text_part_within_its_text"
            ),
        ]
        indexes = [
            models.Index(
                fields=["recipient", "number", "reference"],
                condition=Q(message__isnull=True),
                name="text_part_open_by_sender",
            ),
            models.Index(fields=["stored_at"], condition=Q(message__isnull=True), name="text_part_open"),
        ]

    def __str__(self) -> str:
        return f"Part {self.position} of {self.total}"
