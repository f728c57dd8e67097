"""A2P campaigns, and which number was in which of them from when until when."""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MinLengthValidator
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from offices.models.companies import Company
from offices.models.numbers import Number

# Lengths follow The Campaign Registry's campaign form.
SAMPLE_LENGTH = (20, 1024)
AUTOMATIC_TEXT_LENGTH = (20, 320)


class Campaign(models.Model):
    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        PENDING = "pending", "Pending"
        REGISTERED = "registered", "Registered"
        REJECTED = "rejected", "Rejected"
        SUSPENDED = "suspended", "Suspended"
        EXPIRED = "expired", "Expired"

    company_lookup = "company"
    office_lookup = None

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="campaigns")
    name = models.CharField(max_length=120)
    status = models.CharField(
        max_length=12,
        choices=Status.choices,
        default=Status.DRAFT,
        help_text="Only a registered campaign limits a STOP to its own numbers. In any other state a STOP to one "
        "of its numbers blocks the whole company.",
    )
    registry_id = models.CharField(
        "Campaign Registry id",
        max_length=20,
        blank=True,
        help_text="As The Campaign Registry writes it, CXXXXXX.",
    )
    use_case = models.CharField(max_length=60, blank=True, help_text="For example: Customer care, Marketing.")
    description = models.TextField(blank=True, validators=[MinLengthValidator(40), MaxLengthValidator(4096)])
    opt_in_message = models.TextField(blank=True, validators=[MinLengthValidator(20), MaxLengthValidator(320)])
    opt_out_message = models.TextField(blank=True, validators=[MinLengthValidator(20), MaxLengthValidator(320)])
    help_message = models.TextField(blank=True, validators=[MinLengthValidator(20), MaxLengthValidator(320)])
    sample_messages = ArrayField(
        models.TextField(validators=[MinLengthValidator(20), MaxLengthValidator(1024)]),
        default=list,
        blank=True,
        help_text="Two to five samples of what you send, 20 to 1024 characters each.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["company", "name"], name="campaign_name_once_per_company")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.status not in (self.Status.DRAFT, self.Status.REJECTED) and not 2 <= len(self.sample_messages) <= 5:
            raise ValidationError(
                {"sample_messages": "The Campaign Registry wants two to five samples. Keep it a draft until then."}
            )
        if self.status == self.Status.REGISTERED and not self.registry_id:
            raise ValidationError({"registry_id": "A registered campaign has an id at The Campaign Registry."})

    @property
    def is_registered(self) -> bool:
        return self.status == self.Status.REGISTERED


class CampaignAssignment(models.Model):
    """A number's time in a campaign. Joining and leaving go through `assign`, so that no two times overlap."""

    company_lookup = "company"
    office_lookup = "number__office"

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="assignments")
    number = models.ForeignKey(Number, on_delete=models.PROTECT, related_name="assignments")
    starts_at = models.DateTimeField("from")
    ends_at = models.DateTimeField("until", null=True, blank=True)

    class Meta:
        ordering = ["-starts_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["number"], condition=Q(ends_at__isnull=True), name="assignment_one_open_per_number"
            ),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gte=F("starts_at")),
                name="assignment_ends_after_start",
            ),
        ]
        indexes = [models.Index(fields=["campaign", "number"], name="assignment_by_campaign")]

    def __str__(self) -> str:
        return f"{self.number} in {self.campaign}"


@transaction.atomic
def assign(number: Number, campaign: Campaign | None, *, at: datetime | None = None) -> CampaignAssignment | None:
    """Move `number` into `campaign`, or out of any for None, from `at` (now unless given) on.

    What the number was in before ends at the same moment and stays on record: blocks look at it (N4). It ends now
    at the earliest, whatever `at` says: a STOP that came since has blocked the number.
    Returns the open assignment, or None. Raises ValidationError for a campaign of another company.
    """
    number = Number.objects.select_for_update().get(pk=number.pk)
    if campaign is not None and campaign.company_id != number.company_id:
        raise ValidationError("A number can only join a campaign of its own company.")
    current = number.assignments.filter(ends_at__isnull=True).first()
    if current is not None:
        if campaign is not None and current.campaign_id == campaign.pk:
            return current
        # A STOP stored for this campaign is committed before the lock is had, and so lies before the end that is
        # written here; or it waits for this move to be committed. A STOP between the two would let texts through.
        touched = {current.campaign_id, campaign.pk if campaign else current.campaign_id}
        list(Campaign.objects.select_for_update().filter(pk__in=touched).order_by("pk"))
        at = current.ends_at = max(at or current.starts_at, current.starts_at, timezone.now())
        current.save(update_fields=["ends_at"])
    if campaign is None:
        return None
    return CampaignAssignment.objects.create(
        company_id=number.company_id, campaign=campaign, number=number, starts_at=at or timezone.now()
    )
