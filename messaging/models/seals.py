"""Seals: what binds the record. Each covers the events since the one before, and the one before itself."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from offices.models import Company


class Seal(models.Model):
    """One link of a company's chain. Added, never changed or deleted: a trigger holds it."""

    company_lookup = "company"
    office_lookup = None

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    number = models.PositiveIntegerField(help_text="1, 2, 3 … within the company.")
    sealed_at = models.DateTimeField()
    events = models.PositiveIntegerField(help_text="How many events it covers.")
    first_event = models.BigIntegerField()
    last_event = models.BigIntegerField()
    root = models.CharField(max_length=64, help_text="Of the Merkle tree over its events, in hexadecimal.")
    former = models.CharField(max_length=64, help_text="The hash of the seal before; zeros for the first.")
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["company", "number"], name="seal_once_per_number"),
            models.UniqueConstraint(fields=["company", "former"], name="seal_chain_never_forks"),
            models.CheckConstraint(condition=Q(events__gt=0), name="seal_of_something"),
        ]

    def __str__(self) -> str:
        return f"Seal {self.number}"


class SealedEvent(models.Model):
    """Where an event stands in its seal. It names the event and does not link it: it must outlive a removed one."""

    company_lookup = "company"
    office_lookup = None

    event_id = models.BigIntegerField(primary_key=True)
    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    seal = models.ForeignKey(Seal, on_delete=models.PROTECT, related_name="leaves")
    position = models.PositiveIntegerField(help_text="From 0, in the order of the events' ids.")
    leaf = models.CharField(max_length=64, help_text="Of the event's id and hash, in hexadecimal.")

    class Meta:
        ordering = ["seal", "position"]
        constraints = [models.UniqueConstraint(fields=["seal", "position"], name="sealed_event_once_per_position")]

    def __str__(self) -> str:
        return f"Event {self.event_id} in {self.seal}"
