"""Accounts at carriers: what the portal needs to speak with each, its secrets sealed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone

from offices.credentials import Credentials, Unreadable, seal, unseal
from offices.models.companies import Company


def new_public_id() -> str:
    """The part of a webhook's address that cannot be guessed: 128 random bits."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True)
class KeptSecret:
    """What may be shown of a secret: which it is, when it was entered and by whom; never the secret."""

    id: str
    name: str
    added_at: datetime
    added_by: str


class CarrierAccount(models.Model):
    class Carrier(models.TextChoices):
        CONSOLE = "console", "Console (log and table; demo and tests)"
        TWILIO = "twilio", "Twilio"
        SIGNALWIRE = "signalwire", "SignalWire"
        TELNYX = "telnyx", "Telnyx"
        BANDWIDTH = "bandwidth", "Bandwidth"
        PLIVO = "plivo", "Plivo"
        VONAGE = "vonage", "Vonage (Messages API)"
        VONAGE_SMS = "vonage_sms", "Vonage (SMS API)"
        DIALPAD = "dialpad", "Dialpad"
        SINCH = "sinch", "Sinch"
        INFOBIP = "infobip", "Infobip"
        AWS = "aws", "AWS End User Messaging"
        GENERIC = "generic", "Generic (any gateway, by the portal's own format)"

    class AnsweredBy(models.TextChoices):
        PORTAL = "portal", "We reply"
        CARRIER = "carrier", "The carrier replies"

    company_lookup = "company"
    office_lookup = None

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="carrier_accounts")
    name = models.CharField(max_length=120)
    carrier = models.CharField(max_length=20, choices=Carrier.choices)
    public_id = models.CharField(max_length=40, unique=True, default=new_public_id, editable=False)
    # What each adapter calls its own, by the names in its SETTINGS.
    settings = models.JSONField(default=dict, blank=True)
    # In the order in which they were entered: {"id", "name", "sealed", "added_at", "added_by"}.
    secrets = models.JSONField(default=list, blank=True, editable=False)
    stop_answered_by = models.CharField(
        "who answers STOP",
        max_length=8,
        choices=AnsweredBy.choices,
        default=AnsweredBy.PORTAL,
        help_text="One STOP gets one confirmation. When the webhook says that the carrier has replied, we never do.",
    )
    help_answered_by = models.CharField(
        "who answers HELP",
        max_length=8,
        choices=AnsweredBy.choices,
        default=AnsweredBy.PORTAL,
        help_text="Only our answer is the office's own HELP message. Switch the carrier's off, if it has one.",
    )
    segments_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="The most that leave through this account, as its 10DLC registration allows. Empty: no limit.",
    )
    is_active = models.BooleanField(
        default=True,
        help_text="Off: nothing leaves through it. What comes in is obeyed all the same: a STOP must not be lost.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["company__name", "name"]
        constraints = [
            models.UniqueConstraint(fields=["company", "name"], name="carrier_account_name_once_per_company"),
            models.CheckConstraint(
                condition=models.Q(segments_per_minute__isnull=True) | models.Q(segments_per_minute__gt=0),
                name="carrier_account_limit_above_zero",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def credentials(self) -> Credentials:
        """Settings and secrets, unsealed. Of a secret sealed with a lost SECRET_KEY only the name is there."""
        opened: dict[str, list[str]] = {}
        unreadable = set()
        for kept in reversed(self.secrets):
            try:
                opened.setdefault(kept["name"], []).append(unseal(kept["sealed"]))
            except Unreadable:
                unreadable.add(kept["name"])
        return Credentials(dict(self.settings), opened, frozenset(unreadable))

    def kept_secrets(self, name: str) -> list[KeptSecret]:
        """The secrets of that name, the newest first, as far as they may be shown."""
        return [
            KeptSecret(kept["id"], kept["name"], datetime.fromisoformat(kept["added_at"]), kept["added_by"])
            for kept in reversed(self.secrets)
            if kept["name"] == name
        ]

    def is_readable(self, secret_id: str) -> bool:
        """False when the secret was sealed with a SECRET_KEY that is no longer known."""
        try:
            unseal(next(kept["sealed"] for kept in self.secrets if kept["id"] == secret_id))
        except (Unreadable, StopIteration):
            return False
        return True

    @transaction.atomic
    def add_secret(self, name: str, secret: str, *, by: Any = None) -> str:
        """Keep one more secret of that name, sealed; those there stay valid until they are removed. Returns its id.

        The row is saved already, and this instance follows it.
        """
        fresh = {
            "id": secrets.token_hex(4),
            "name": name,
            "sealed": seal(secret),
            "added_at": timezone.now().isoformat(),
            "added_by": str(by or ""),
        }
        self._keep([*self._kept(), fresh])
        return fresh["id"]

    @transaction.atomic
    def remove_secret(self, secret_id: str) -> bool:
        """Forget one secret; False when it is not there."""
        kept = self._kept()
        rest = [one for one in kept if one["id"] != secret_id]
        self._keep(rest)
        return len(rest) < len(kept)

    @transaction.atomic
    def seal_again(self) -> int:
        """Seal every secret with the current SECRET_KEY; returns how many. One that cannot be read stays as it is."""
        kept, count = self._kept(), 0
        for one in kept:
            try:
                one["sealed"] = seal(unseal(one["sealed"]))
            except Unreadable:
                continue
            count += 1
        self._keep(kept)
        return count

    def _kept(self) -> list[dict[str, str]]:
        """The secrets as they stand, under the row's lock: two admins may enter one at the same time."""
        return list(CarrierAccount.objects.select_for_update().get(pk=self.pk).secrets)

    def _keep(self, kept: list[dict[str, str]]) -> None:
        self.secrets = kept
        CarrierAccount.objects.filter(pk=self.pk).update(secrets=kept)

    def answers(self, command: str) -> bool:
        """Whether the carrier answers that command by itself, as its admins have set it."""
        by: Mapping[str, str] = {"STOP": self.stop_answered_by, "HELP": self.help_answered_by}
        return by.get(command) == self.AnsweredBy.CARRIER
