"""Opt-outs that came by phone, e-mail or paper: what recording one would block, and recording it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models, transaction

from messaging import consent, gate
from messaging.models import ConsentEvent, Message, OptOut, Recipient
from messaging.models.record import Block, Scope
from offices.models import CampaignAssignment, Company, Number, User


class Way(models.TextChoices):
    """How a wish that was no text reached us."""

    PHONE = "phone", "By phone"
    EMAIL = "email", "By e-mail"
    LETTER = "letter", "By letter or on paper"
    IN_PERSON = "in person", "In person"
    OTHER = "other", "In another way"


@dataclass(frozen=True)
class Wish:
    """An opt-out as somebody told it. `number` is None when it was about none of ours in particular."""

    company: Company
    address: str  # E.164
    number: Number | None
    whole_company: bool
    at: datetime
    way: str = Way.OTHER
    reason: str = ""
    evidence: str = ""

    @property
    def scope(self) -> str | None:
        return Scope.COMPANY if self.whole_company or self.number is None else None

    @property
    def words(self) -> str:
        """What the record says of it."""
        return f"Came {Way(self.way).label.lower()}. Reason: {self.reason}\nEvidence: {self.evidence}"


@dataclass(frozen=True)
class Plan:
    """What an opt-out would do: all numbers it blocks, all waiting texts it cancels, and what is in force already."""

    where: dict[str, Any]
    numbers: list[Number]
    texts: list[Message]
    in_force: OptOut | None
    opted_in_since: ConsentEvent | None

    @property
    def fingerprint(self) -> str:
        """Tells whether the scope is still the one that was shown."""
        campaign = self.where["campaign"]
        said = [self.where["scope"], campaign and campaign.pk, *sorted(number.pk for number in self.numbers)]
        return hashlib.sha256(repr(said).encode()).hexdigest()[:20]


def plan(wish: Wish) -> Plan:
    """What recording `wish` would do now."""
    campaign = wish.number.current_campaign() if wish.number else None
    where = consent.scope_of(wish.number, campaign, wish.scope)
    numbers = covered(
        OptOut(
            company=wish.company,
            texted_number=wish.number.e164 if wish.number else "",
            texted_at=wish.at,
            **where,
        )
    )
    waiting = Message.objects.filter(
        company=wish.company,
        recipient__e164=wish.address,
        next_attempt_at__isnull=False,
        purpose=Message.Purpose.ORDINARY,
        number__in=[number.pk for number in numbers],
    )
    of_recipient = {"recipient__company": wish.company, "recipient__e164": wish.address}
    known = OptOut.objects.filter(**of_recipient, closed_at__isnull=True, **where)
    since = ConsentEvent.objects.filter(**of_recipient, kind=ConsentEvent.Kind.OPT_IN, received_at__gt=wish.at)
    return Plan(
        where,
        numbers,
        list(waiting.select_related("number").order_by("pk")),
        known.first(),
        since.order_by("-pk").first(),
    )


def covered(block: Block) -> list[Number]:
    """The company's numbers in use that an opt-out blocks, as the gate reads it."""
    times: dict[int, list[CampaignAssignment]] = defaultdict(list)
    if block.campaign_id:
        for time in CampaignAssignment.objects.filter(campaign=block.campaign_id):
            times[time.number_id].append(time)
    ours = Number.objects.filter(company=block.company_id, given_up_at__isnull=True).select_related("office")
    return [number for number in ours if gate.covers(block, number, times.get(number.pk, ()))]


@transaction.atomic
def record(wish: Wish, *, actor: User, shown: str) -> ConsentEvent | None:
    """Record the opt-out in the scope that was shown; None when that has changed since, and nothing is recorded."""
    recipient = Recipient.objects.locked(wish.company.pk, wish.address)
    if plan(wish).fingerprint != shown:
        # A recipient whom the lock has just made must not stay behind.
        transaction.set_rollback(True)
        return None
    return consent.opt_out(
        recipient,
        wish.number,
        text="",
        at=wish.at,
        kind=ConsentEvent.Kind.MANUAL,
        source=ConsentEvent.Source.PERSON,
        scope=wish.scope,
        actor=actor,
        reason=wish.words,
    )
