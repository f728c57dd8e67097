"""Recipients, their conversations, every text in either direction, and what carriers posted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from offices import e164
from offices.models import CarrierAccount, Company, HelpMessage, Number


class RecipientManager(models.Manager["Recipient"]):
    def locked(self, company_id: int, address: str) -> Recipient:
        """The company's recipient with this number, made when new, with its row locked until the transaction ends."""
        rows = self.select_for_update().filter(company_id=company_id, e164=address)
        found = rows.first()
        if found is None:
            # Two may find nobody at once: one inserts, the other waits here for that and reads it below.
            self.bulk_create([Recipient(company_id=company_id, e164=address)], ignore_conflicts=True)
            found = rows.get()
        return found


class Recipient(models.Model):
    """A person outside, as one company knows them. **This row is the lock**: STOP, UNSTOP, holds, and accepting or
    handing over a text take it first, so which of two comes first is decided by the database."""

    company_lookup = "company"
    office_lookup = None

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="recipients")
    e164 = models.CharField(
        "number",
        max_length=20,
        help_text="E.164; for a sender that is no phone number its short code or name, which cannot be answered.",
    )
    name = models.CharField(max_length=120, blank=True, help_text="For your people; never sent.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = RecipientManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["company", "e164"], name="recipient_once_per_company"),
            models.CheckConstraint(
                condition=Q(e164__regex=r"^(\+[1-9]\d{6,14}|[1-9]\d{2,7}|[A-Za-z0-9 ._&+-]{1,11})$"),
                name="recipient_e164_or_sender_id",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}, {e164.show(self.e164)}" if self.name else e164.show(self.e164)

    @staticmethod
    def reach_of_offices(offices: Iterable[int | None]) -> Q:
        """People of an office see the recipients whom one of its numbers has a conversation with."""
        return Exists(Conversation.objects.filter(recipient=OuterRef("pk"), number__office__in=offices))  # type: ignore[return-value]

    @property
    def is_textable(self) -> bool:
        return e164.is_e164(self.e164)


class ConversationManager(models.Manager["Conversation"]):
    def touch(self, number: Number, recipient: Recipient, *, text: str, direction: str, at: datetime) -> Conversation:
        """The pair's conversation, made when new, with its last text noted."""
        conversation = Conversation(
            company_id=number.company_id,
            number=number,
            recipient=recipient,
            last_message_at=at,
            last_text=text[:120],
            last_direction=direction,
        )
        (kept,) = self.bulk_create(
            [conversation],
            update_conflicts=True,
            unique_fields=["number", "recipient"],
            update_fields=["last_message_at", "last_text", "last_direction"],
        )
        return kept


class Conversation(models.Model):
    """All texts between one of our numbers and one recipient."""

    company_lookup = "company"
    office_lookup = "number__office"

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    number = models.ForeignKey(
        Number, on_delete=models.PROTECT, related_name="conversations", verbose_name="our number"
    )
    recipient = models.ForeignKey(Recipient, on_delete=models.PROTECT, related_name="conversations")
    last_message_at = models.DateTimeField("last text", db_default=Now())
    last_text = models.CharField(max_length=120, blank=True)
    last_direction = models.CharField(max_length=3, default="in")

    objects = ConversationManager()

    class Meta:
        ordering = ["-last_message_at"]
        constraints = [models.UniqueConstraint(fields=["number", "recipient"], name="conversation_once_per_pair")]
        indexes = [
            models.Index(fields=["company", "-last_message_at"], name="conversation_by_company"),
            models.Index(fields=["number", "-last_message_at"], name="conversation_by_number"),
            models.Index(fields=["recipient", "number"], name="conversation_by_recipient"),
        ]

    def __str__(self) -> str:
        return f"{self.recipient} with {self.number}"


class Message(models.Model):
    class Direction(models.TextChoices):
        IN = "in", "From the recipient"
        OUT = "out", "To the recipient"

    class Channel(models.TextChoices):
        CHAT = "chat", "Chat"
        SMS = "sms", "SMS"
        MMS = "mms", "MMS"

    class Purpose(models.TextChoices):
        ORDINARY = "ordinary", "Text"
        CONFIRMATION = "confirmation", "Confirmation of STOP"
        HELP_REPLY = "help_reply", "Answer to HELP"

    class State(models.TextChoices):
        RECEIVED = "received", "Received"
        QUEUED = "queued", "Queued"
        SENDING = "sending", "Sending"
        SENT = "sent", "Sent"
        DELIVERED = "delivered", "Delivered"
        REFUSED = "refused", "Refused"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"
        UNCERTAIN = "uncertain", "Uncertain"

    # A state never goes backwards: to each, where a text may come from.
    BEFORE = {
        State.SENDING: [State.QUEUED, State.SENDING],
        State.SENT: [State.QUEUED, State.SENDING, State.UNCERTAIN],
        State.DELIVERED: [State.QUEUED, State.SENDING, State.UNCERTAIN, State.SENT],
        State.FAILED: [State.QUEUED, State.SENDING, State.UNCERTAIN, State.SENT],
        State.CANCELLED: [State.QUEUED, State.SENDING],
        State.UNCERTAIN: [State.SENDING],
    }

    class Outcome(models.TextChoices):
        OPTED_OUT = "opted_out", "Opted out"
        OPTED_IN = "opted_in", "Opted in"
        HELP = "help", "Asked for help"
        HELD = "held", "Held for review"
        CONVERSATION = "conversation", "Conversation"
        CHAT = "chat", "Chat"
        NETWORK_KEYWORD = "network_keyword", "Handled by the network"

    company_lookup = "company"
    office_lookup = "number__office"

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="messages")
    recipient = models.ForeignKey(Recipient, on_delete=models.PROTECT, related_name="+")
    number = models.ForeignKey(Number, on_delete=models.PROTECT, related_name="+")
    account = models.ForeignKey(CarrierAccount, on_delete=models.PROTECT, null=True, related_name="+")
    direction = models.CharField(max_length=3, choices=Direction.choices)
    channel = models.CharField(max_length=4, choices=Channel.choices)
    purpose = models.CharField(max_length=12, choices=Purpose.choices, default=Purpose.ORDINARY)
    text = models.TextField(blank=True)
    media = models.JSONField(default=list, blank=True, help_text="List of {url, content_type, size}.")
    segments = models.PositiveSmallIntegerField(default=1)
    state = models.CharField(max_length=10, choices=State.choices)
    outcome = models.CharField(
        max_length=16, choices=Outcome.choices, blank=True, help_text="How a received text was read."
    )
    carrier_message_id = models.CharField(max_length=255, blank=True)
    idempotency_key = models.CharField(max_length=255, blank=True)
    help_message = models.ForeignKey(HelpMessage, on_delete=models.PROTECT, null=True, related_name="+")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    author_name = models.CharField(max_length=200, blank=True)

    received_at = models.DateTimeField(null=True, help_text="The carrier's own time of a received text.")
    created_at = models.DateTimeField(db_default=Now())
    # When the worker has something to do with it next; None while it is in a carrier's hands, and when it is over.
    next_attempt_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True, help_text="Never sent after this moment.")
    handed_over_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    # For how many of the limits (the number's, then the account's) it has its turn already: see throughput.
    turns_held = models.PositiveSmallIntegerField(default=0, db_default=0)
    verdict = models.JSONField(null=True, help_text="Why it was refused or cancelled.")
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "direction", "carrier_message_id"],
                condition=~Q(carrier_message_id=""),
                name="message_once_per_carrier_id",
            ),
            models.UniqueConstraint(
                fields=["company", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="message_once_per_idempotency_key",
            ),
            models.CheckConstraint(
                condition=Q(channel="chat", account__isnull=True)
                | Q(channel="chat", direction="in")
                | (Q(account__isnull=False) & ~Q(channel="chat")),
                name="message_chat_touches_no_carrier",
            ),
        ]
        indexes = [
            models.Index(fields=["conversation", "-id"], name="message_by_conversation"),
            models.Index(fields=["company", "-id"], name="message_by_company"),
            models.Index(fields=["number", "-id"], name="message_by_number"),
            models.Index(fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="message_due"),
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False) & ~Q(purpose="ordinary"),
                name="message_reply_due",
            ),
            models.Index(
                fields=["recipient"],
                condition=Q(next_attempt_at__isnull=False),
                name="message_waiting_by_recipient",
            ),
            models.Index(
                fields=["handed_over_at"],
                condition=Q(state="sending", next_attempt_at__isnull=True),
                name="message_in_carriers_hands",
            ),
            models.Index(
                fields=["company", "-id"], condition=Q(state__in=["failed", "uncertain"]), name="message_in_trouble"
            ),
            models.Index(fields=["-id"], condition=Q(state="uncertain"), name="message_uncertain"),
            models.Index(
                fields=["recipient", "created_at"],
                condition=~Q(purpose="ordinary"),
                name="message_automatic_replies",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_direction_display()}, {self.get_state_display().lower()}"

    @property
    def is_outbound(self) -> bool:
        return self.direction == self.Direction.OUT

    def advance(self, state: str, **fields: Any) -> bool:
        """Bring the row forward to `state` and set `fields`; False, and nothing changed, when that were a step back.

        Nothing more is planned for it, unless `next_attempt_at` is among the fields.
        """
        fields = {"next_attempt_at": None, **fields, "state": state}
        changed = Message.objects.filter(pk=self.pk, state__in=self.BEFORE[self.State(state)]).update(**fields)
        if changed:
            for name, value in fields.items():
                setattr(self, name, value)
        return bool(changed)


class WebhookReceipt(models.Model):
    """A genuine request of a carrier as it came, with what became of it. Those not understood wait for the operator."""

    class Status(models.TextChoices):
        UNDERSTOOD = "understood", "Understood"
        NOT_UNDERSTOOD = "not_understood", "Not understood"
        RESOLVED = "resolved", "Run again with success"
        DISMISSED = "dismissed", "Dismissed"

    company_lookup = "company"
    office_lookup = None

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    account = models.ForeignKey(CarrierAccount, on_delete=models.PROTECT, related_name="+")
    carrier = models.CharField(max_length=20)
    method = models.CharField(max_length=4, default="POST", db_default="POST")
    query = models.TextField(
        blank=True, default="", db_default="", help_text="What followed the question mark in the address."
    )
    content_type = models.CharField(max_length=255, blank=True)
    headers = models.JSONField(default=dict, db_default={}, help_text="As they came, without those that sign in.")
    body = models.BinaryField()
    status = models.CharField(max_length=16, choices=Status.choices)
    error = models.TextField(blank=True)
    message = models.ForeignKey(Message, on_delete=models.PROTECT, null=True, related_name="receipts")
    stored_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True)
    settled_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        verbose_name = "received request"
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["-id"], condition=Q(status="not_understood"), name="receipt_not_understood"),
            models.Index(fields=["company", "-id"], name="receipt_by_company"),
        ]

    def __str__(self) -> str:
        return f"{self.carrier} request {self.pk}"


class ConsoleText(models.Model):
    """A text that the console carrier took: what a network would have got, in demo and tests."""

    sender = models.CharField(max_length=20)
    to = models.CharField(max_length=20)
    text = models.TextField(blank=True)
    media = models.JSONField(default=list)
    reference = models.CharField(max_length=64)
    taken_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["to", "-id"], name="console_text_by_recipient")]

    def __str__(self) -> str:
        return f"Console text {self.pk}"
