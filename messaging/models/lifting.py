"""Requests to lift a recipient's opt-out by hand: asked for by one company admin, decided by a second one."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from messaging.models.record import ConsentEvent, OptOut
from messaging.models.texts import Recipient
from offices.models import Company


class LiftRequest(models.Model):
    """One request, with the evidence of new consent. What was asked and decided is in the record as well."""

    class Decision(models.TextChoices):
        WAITING = "waiting", "Waits for a decision"
        APPROVED = "approved", "Approved"
        REFUSED = "refused", "Refused"
        WITHDRAWN = "withdrawn", "Withdrawn"

    company_lookup = "company"
    office_lookup = None

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    recipient = models.ForeignKey(Recipient, on_delete=models.PROTECT, related_name="lift_requests")
    opt_out = models.ForeignKey(OptOut, on_delete=models.PROTECT, related_name="lift_requests")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    evidence = models.TextField(help_text="Who consented anew, to what, when and how; where it is kept.")
    requested_at = models.DateTimeField()
    requested_event = models.ForeignKey(ConsentEvent, on_delete=models.PROTECT, related_name="+")
    decision = models.CharField(max_length=10, choices=Decision.choices, default=Decision.WAITING)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    decided_event = models.ForeignKey(ConsentEvent, on_delete=models.PROTECT, null=True, related_name="+")
    note = models.TextField(blank=True)

    class Meta:
        ordering = ["-pk"]
        verbose_name = "lifting request"
        constraints = [
            models.UniqueConstraint(
                fields=["opt_out"], condition=Q(decision="waiting"), name="lift_request_one_waiting_per_opt_out"
            ),
            models.CheckConstraint(
                condition=Q(decision="waiting", decided_by=None, decided_at=None, decided_event=None)
                | (
                    ~Q(decision="waiting")
                    & Q(decided_by__isnull=False, decided_at__isnull=False, decided_event__isnull=False)
                ),
                name="lift_request_decided_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(decision="waiting")
                | Q(decision="withdrawn", decided_by=F("requested_by"))
                | (Q(decision__in=["approved", "refused"]) & ~Q(decided_by=F("requested_by"))),
                name="lift_request_decided_by_a_second_person",
            ),
            models.CheckConstraint(condition=~Q(evidence=""), name="lift_request_has_evidence"),
        ]
        indexes = [
            models.Index(fields=["company", "-id"], name="lift_request_by_company"),
            # The badge in the sidebar counts these on every page.
            models.Index(fields=["company"], condition=Q(decision="waiting"), name="lift_request_waiting"),
        ]

    def __str__(self) -> str:
        return f"Lifting request {self.pk}"

    @property
    def is_waiting(self) -> bool:
        return self.decision == self.Decision.WAITING
