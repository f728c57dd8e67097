"""Bearer tokens for carriers and integrations: one company, scopes, an end, shown once.

Only a digest is kept: whoever reads the table cannot use what is in it. Several can live at once, so
that a token is replaced without an outage.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from offices.models.carrier_accounts import CarrierAccount
from offices.models.companies import Company

PREFIX_LENGTH = 10


class ApiToken(models.Model):
    class Scope(models.TextChoices):
        INBOUND = "inbound", "Deliver received texts"
        CHECK = "check", "Ask the gate"
        SEND = "send", "Send texts"
        READ = "read", "Read opt-outs, events and messages"

    company_lookup = "company"
    office_lookup = None

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="api_tokens")
    account = models.ForeignKey(
        CarrierAccount,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="api_tokens",
        verbose_name="carrier account",
        help_text="For a token that delivers received texts: the account whose numbers it may speak for.",
    )
    name = models.CharField(max_length=120, help_text="Who uses it, for example: CRM.")
    scopes = ArrayField(models.CharField(max_length=10, choices=Scope.choices), help_text="What it may do.")
    prefix = models.CharField(max_length=PREFIX_LENGTH, editable=False, help_text="How the token begins.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = "API token"
        ordering = ["company__name", "name"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(scopes__contains=["inbound"]) | Q(account__isnull=False),
                name="api_token_inbound_has_account",
                violation_error_message="Choose the carrier account that this token delivers texts for.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def clean(self) -> None:
        if self.account_id and self.company_id and self.account and self.account.company_id != self.company_id:
            raise ValidationError({"account": "Choose a carrier account of the same company."})

    @property
    def is_live(self) -> bool:
        now = timezone.now()
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)

    def renew_secret(self) -> str:
        """Give this unsaved token its secret and return it: the only time that it is seen."""
        secret = f"sop_{secrets.token_urlsafe(32)}"
        self.prefix = secret[:PREFIX_LENGTH]
        self.digest = digest_of(secret)
        return secret


def digest_of(secret: str) -> str:
    """Hex SHA-256. A slow hash guards weak passwords; 256 random bits need none."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def issue(
    company: Company,
    name: str,
    scopes: list[str],
    *,
    account: CarrierAccount | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """A new saved token and its secret."""
    token = ApiToken(company=company, name=name, scopes=scopes, account=account, expires_at=expires_at)
    secret = token.renew_secret()
    token.full_clean(exclude=["digest", "prefix"])
    token.save()
    return token, secret


def find(secret: str) -> ApiToken | None:
    """The live token with this secret, its last use noted at most once a minute; None for any other."""
    token = ApiToken.objects.select_related("company", "account").filter(digest=digest_of(secret)).first()
    if token is None or not token.is_live:
        return None
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > timedelta(minutes=1):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token
