"""The record of consent: what happened (added only), and what it leaves in force."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from messaging.evidence import EventHashField
from messaging.models.texts import Message, Recipient
from offices.models import Campaign, Company, Number, Office


class Scope(models.TextChoices):
    CAMPAIGN = "campaign", "One campaign"
    COMPANY = "company", "Whole company"
    NUMBER = "number", "One number"


class ConsentEvent(models.Model):
    """One thing that happened to a recipient's consent. Added, never changed or deleted: a trigger holds it.

    Facts are copied, not linked: the row must prove itself after the number is given up.
    """

    class Kind(models.TextChoices):
        OPT_OUT = "opt_out", "Opt-out"
        OPT_IN = "opt_in", "Opt-in"
        HELP = "help", "Help"
        HOLD = "hold", "Hold"
        RELEASE = "release", "Release"
        REFUSAL = "refusal", "Text refused"
        IMPORT = "import", "Import"
        MANUAL = "manual", "By hand"
        CARRIER = "carrier", "Carrier's opt-out"

    class Source(models.TextChoices):
        RECIPIENT = "recipient", "Recipient's text"
        PERSON = "person", "A person in the portal"
        CARRIER = "carrier", "Carrier"
        API = "api", "Integration"
        SYSTEM = "system", "Portal"

    company_lookup = "company"
    office_lookup = "office"

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    office = models.ForeignKey(Office, on_delete=models.PROTECT, null=True, related_name="+")
    recipient = models.ForeignKey(Recipient, on_delete=models.PROTECT, related_name="events")
    recipient_e164 = models.CharField("recipient's number", max_length=20)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    source = models.CharField(max_length=10, choices=Source.choices)

    number_e164 = models.CharField("our number", max_length=16, blank=True)
    number_kind = models.CharField(max_length=10, choices=Number.Kind.choices, blank=True)
    office_name = models.CharField(max_length=120, blank=True)
    campaign_id_then = models.BigIntegerField(null=True)
    campaign_name = models.CharField(max_length=120, blank=True)
    campaign_registry_id = models.CharField(max_length=20, blank=True)
    campaign_status = models.CharField(max_length=12, choices=Campaign.Status.choices, blank=True)
    scope = models.CharField(max_length=10, choices=Scope.choices, blank=True)

    received_text = models.TextField(blank=True)
    matched_words = models.CharField(max_length=200, blank=True)
    reading = models.CharField(max_length=10, choices=Company.Reading.choices, blank=True)
    rule_version = models.CharField(max_length=20, blank=True)
    reason = models.TextField(blank=True)

    received_at = models.DateTimeField(help_text="The carrier's own time where it gives one.")
    # Ours, and not the database's default: it is in the hash.
    stored_at = models.DateTimeField(default=timezone.now, db_default=Now())
    carrier = models.CharField(max_length=20, blank=True)
    carrier_message_id = models.CharField(max_length=255, blank=True)
    message_id_then = models.BigIntegerField(null=True)
    actor_id_then = models.BigIntegerField(null=True)
    actor_name = models.CharField(max_length=200, blank=True)
    hash = EventHashField(max_length=64, editable=False)

    class Meta:
        ordering = ["-pk"]
        constraints = [models.CheckConstraint(condition=Q(hash__regex=r"^[0-9a-f]{64}$"), name="event_has_its_hash")]
        indexes = [
            models.Index(fields=["recipient", "-id"], name="event_by_recipient"),
            models.Index(fields=["company", "-id"], name="event_by_company"),
            models.Index(fields=["office", "-id"], name="event_by_office"),
            models.Index(fields=["company", "kind", "-id"], name="event_by_kind"),
            models.Index(fields=["company", "recipient_e164"], name="event_by_recipient_number"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.recipient_e164}"


class Block(models.Model):
    """What keeps texts from a recipient in one scope, from when until when: an opt-out or a hold."""

    company_lookup = "company"
    office_lookup = "office"

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    office = models.ForeignKey(Office, on_delete=models.PROTECT, null=True, related_name="+")
    recipient = models.ForeignKey(Recipient, on_delete=models.PROTECT, related_name="%(class)ss")
    scope = models.CharField(max_length=10, choices=Scope.choices)
    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    texted_number = models.CharField(max_length=16, help_text="The number that the recipient texted.")
    text = models.TextField(blank=True)
    # The carrier's time of the text, or ours when that is earlier. Numbers that were in the
    # campaign at any time since then are covered.
    texted_at = models.DateTimeField()
    opened_at = models.DateTimeField(help_text="From when on the gate refuses.")
    opened_by = models.ForeignKey(ConsentEvent, on_delete=models.PROTECT, related_name="+")
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(ConsentEvent, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        abstract = True
        ordering = ["-pk"]

    @property
    def is_open(self) -> bool:
        return self.closed_at is None


def _one_open_per_scope(name: str) -> list[models.BaseConstraint]:
    still_open = Q(closed_at__isnull=True)
    return [
        models.UniqueConstraint(
            fields=["recipient"],
            condition=still_open & Q(scope="company"),
            name=f"{name}_one_open_per_company",
        ),
        models.UniqueConstraint(
            fields=["recipient", "campaign"],
            condition=still_open & Q(scope="campaign"),
            name=f"{name}_one_open_per_campaign",
        ),
        models.UniqueConstraint(
            fields=["recipient", "texted_number"],
            condition=still_open & Q(scope="number"),
            name=f"{name}_one_open_per_number",
        ),
        models.CheckConstraint(
            condition=Q(scope="campaign", campaign__isnull=False) | (~Q(scope="campaign") & Q(campaign__isnull=True)),
            name=f"{name}_campaign_fits_scope",
        ),
        models.CheckConstraint(
            condition=Q(closed_at__isnull=True, closed_by__isnull=True)
            | Q(closed_at__isnull=False, closed_by__isnull=False),
            name=f"{name}_closed_by_an_event",
        ),
    ]


class OptOut(Block):
    """An opt-out record: in force until an opt-in closes it."""

    is_carrier = models.BooleanField(default=False, help_text="The carrier told us; the recipient's text never came.")

    class Meta(Block.Meta):
        abstract = False
        verbose_name = "opt-out"
        constraints = _one_open_per_scope("optout")
        indexes = [
            models.Index(fields=["recipient", "opened_at"], name="optout_by_recipient"),
            models.Index(fields=["company", "-id"], name="optout_by_company"),
            models.Index(fields=["office", "-id"], name="optout_by_office"),
            models.Index(fields=["company", "-id"], condition=Q(closed_at__isnull=True), name="optout_open_by_company"),
        ]

    def __str__(self) -> str:
        return f"Opt-out of {self.recipient}"


class Hold(Block):
    """Texting stopped until a person has judged a near miss (N1)."""

    class Outcome(models.TextChoices):
        WAITING = "waiting", "Waits for review"
        OPTED_OUT = "opted_out", "Became an opt-out"
        RELEASED = "released", "Released"
        OVERTAKEN = "overtaken", "Overtaken by STOP or UNSTOP"

    near_miss = models.CharField(max_length=40, help_text="What kind of near miss it is.")
    matched_words = models.CharField(max_length=200, blank=True)
    message = models.ForeignKey(Message, on_delete=models.PROTECT, related_name="+")
    due_at = models.DateTimeField(help_text="Unreviewed then, it becomes an opt-out.")
    outcome = models.CharField(max_length=10, choices=Outcome.choices, default=Outcome.WAITING)
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    review_reason = models.TextField(blank=True)

    class Meta(Block.Meta):
        abstract = False
        constraints = [
            *_one_open_per_scope("hold"),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True, outcome="waiting")
                | (Q(closed_at__isnull=False) & ~Q(outcome="waiting")),
                name="hold_outcome_fits_closing",
            ),
        ]
        indexes = [
            models.Index(fields=["recipient", "opened_at"], name="hold_by_recipient"),
            models.Index(fields=["due_at"], condition=Q(closed_at__isnull=True), name="hold_due"),
            models.Index(fields=["company", "-id"], name="hold_by_company"),
            # The badge in the sidebar counts these on every page.
            models.Index(fields=["company"], condition=Q(closed_at__isnull=True), name="hold_open_by_company"),
            models.Index(fields=["office"], condition=Q(closed_at__isnull=True), name="hold_open_by_office"),
        ]

    def __str__(self) -> str:
        return f"Hold on {self.recipient}"
