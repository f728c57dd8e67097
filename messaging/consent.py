"""What recipients want: opt_out, opt_in, hold, release, lift. The only writer of ConsentEvent, OptOut and Hold.

Every function here wants the recipient's lock (Recipient.objects.locked) held by its caller's transaction,
or takes it itself where it starts from a row that already exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from messaging import gate, keywords
from messaging.business_days import business_days_after
from messaging.models import ConsentEvent, Hold, Message, OptOut, Recipient
from messaging.models.record import Block, Scope
from offices.models import Campaign, Number, User

Kind = ConsentEvent.Kind
Source = ConsentEvent.Source

SYSTEM_NAME = "the portal"
# Of a received text that a hold shows, and the gate quotes; the event keeps the whole of it.
LONGEST_SHOWN = 1_000


@transaction.atomic
def opt_out(
    recipient: Recipient,
    number: Number | None,
    *,
    text: str,
    at: datetime,
    reading: keywords.Reading | None = None,
    message: Message | None = None,
    kind: str = Kind.OPT_OUT,
    source: str = Source.RECIPIENT,
    scope: str | None = None,
    carrier: str = "",
    actor: User | None = None,
    reason: str = "",
) -> ConsentEvent:
    """Record that `recipient` opted out by texting `number`, and block the scope.

    The scope is the number's campaign when that is registered, and otherwise the whole company (B08, B09).
    A second opt-out adds an event and leaves the block as it is. `at` is the carrier's own time, in UTC.
    `number` is None when the opt-out was about no number in particular: then it is about the whole company.
    Source: Dialpad help, "Opt In and Out of SMS Messages", section Stop.
    """
    campaign = number.current_campaign() if number else None
    where = scope_of(number, campaign, scope)
    event = _record(
        recipient, number, campaign, kind=kind, source=source, scope=where["scope"], text=text, at=at,
        reading=reading, message=message, carrier=carrier, actor=actor, reason=reason,
    )  # fmt: skip
    now = timezone.now()
    block = OptOut(
        company_id=recipient.company_id,
        office_id=number.office_id if number else None,
        recipient=recipient,
        texted_number=number.e164 if number else "",
        text=text,
        texted_at=min(at, now),
        opened_at=now,
        opened_by=event,
        is_carrier=source == Source.CARRIER,
        **where,
    )
    # One open record per recipient and scope is a constraint of the table; here it just does not hurt.
    OptOut.objects.bulk_create([block], ignore_conflicts=True)
    _overtake_holds(recipient, where, event)
    cancel_overtaken(recipient)
    return event


@transaction.atomic
def opt_in(
    recipient: Recipient,
    number: Number,
    *,
    text: str,
    at: datetime,
    reading: keywords.Reading | None = None,
    message: Message | None = None,
    source: str = Source.RECIPIENT,
    actor: User | None = None,
    reason: str = "",
) -> ConsentEvent:
    """Record that `recipient` opted in by texting `number`, and lift every block that covers that number (B13).

    A STOP that the recipient wrote after this UNSTOP, but that arrived before it, stays: carriers do not keep
    the order, and the later wish counts.
    """
    event = _record(
        recipient, number, number.current_campaign(), kind=Kind.OPT_IN, source=source, text=text, at=at,
        reading=reading, message=message, actor=actor, reason=reason,
    )  # fmt: skip
    now = timezone.now()
    covering = gate.blocks_covering([(number, recipient.e164)]).get((number.pk, recipient.e164), [])
    last_wishes = _last_wishes(recipient, covering)
    # Carriers write whole seconds.
    earlier = [block for block in covering if last_wishes[block].replace(microsecond=0) <= at]
    OptOut.objects.filter(pk__in=[b.pk for b in earlier if isinstance(b, OptOut)]).update(
        closed_at=now, closed_by=event
    )
    Hold.objects.filter(pk__in=[b.pk for b in earlier if isinstance(b, Hold)]).update(
        closed_at=now, closed_by=event, outcome=Hold.Outcome.OVERTAKEN
    )
    return event


@transaction.atomic
def help_asked(
    recipient: Recipient,
    number: Number,
    *,
    text: str,
    at: datetime,
    reading: keywords.Reading,
    message: Message,
) -> ConsentEvent:
    """Record that `recipient` asked for help; it changes no block."""
    return _record(
        recipient, number, number.current_campaign(), kind=Kind.HELP, source=Source.RECIPIENT, text=text, at=at,
        reading=reading, message=message,
    )  # fmt: skip


@transaction.atomic
def hold(
    recipient: Recipient,
    number: Number,
    *,
    text: str,
    at: datetime,
    reading: keywords.Reading,
    message: Message,
) -> ConsentEvent:
    """Put texting on hold after a near miss, in the scope that STOP would have had (N1).

    On a toll-free number, where STOP would have been the network's, the hold is on that number alone.
    """
    campaign = number.current_campaign()
    network = number.is_toll_free and not recipient.company.toll_free_stop
    where = scope_of(number, campaign, Scope.NUMBER if network else None)
    event = _record(
        recipient, number, campaign, kind=Kind.HOLD, source=Source.RECIPIENT, scope=where["scope"], text=text, at=at,
        reading=reading, message=message, reason=f"Near miss: {reading.near_miss}.",
    )  # fmt: skip
    now = timezone.now()
    waiting = Hold(
        company_id=recipient.company_id,
        office_id=number.office_id,
        recipient=recipient,
        texted_number=number.e164,
        text=text[:LONGEST_SHOWN],
        texted_at=min(at, now),
        opened_at=now,
        opened_by=event,
        near_miss=reading.near_miss,
        matched_words=reading.words[:200],
        message=message,
        due_at=business_days_after(now),
        **where,
    )
    Hold.objects.bulk_create([waiting], ignore_conflicts=True)
    cancel_overtaken(recipient)
    return event


def review(hold_id: int, *, is_opt_out: bool, reviewer: User | None, reason: str) -> Hold:
    """Settle a hold: it is an opt-out, or texting is released. Settling it again changes nothing.

    `reviewer` is None when nobody reviewed it in time and the portal settles it.
    """
    with transaction.atomic():
        found = Hold.objects.select_related("recipient", "message").get(pk=hold_id)
        recipient = Recipient.objects.locked(found.company_id, found.recipient.e164)
        rows = Hold.objects.select_related("campaign", "opened_by")
        waiting = rows.select_for_update(of=("self",)).get(pk=hold_id)
        if not waiting.is_open:
            return waiting
        number = Number.objects.select_related("office", "company").get(pk=found.message.number_id)
        source = Source.PERSON if reviewer else Source.SYSTEM
        if is_opt_out:
            event = _opt_out_like(waiting, recipient, number, source, reviewer, reason)
            outcome = Hold.Outcome.OPTED_OUT
        else:
            event = _record(
                recipient, number, number.current_campaign(), kind=Kind.RELEASE, source=source, scope=waiting.scope,
                text=waiting.text, at=timezone.now(), actor=reviewer, reason=reason,
            )  # fmt: skip
            outcome = Hold.Outcome.RELEASED
        # Not before the opt-out began: at no moment between the two were texts allowed.
        waiting.closed_at, waiting.closed_by, waiting.outcome = timezone.now(), event, outcome
        waiting.reviewer, waiting.review_reason = reviewer, reason
        waiting.save(update_fields=["closed_at", "closed_by", "outcome", "reviewer", "review_reason"])
        return waiting


def settle_due_holds(*, limit: int = 100) -> int:
    """Turn up to `limit` holds that nobody reviewed in time into opt-outs; returns how many."""
    due = Hold.objects.filter(closed_at__isnull=True, due_at__lte=timezone.now()).order_by("due_at")
    settled = list(due.values_list("pk", flat=True)[:limit])
    for hold_id in settled:
        review(hold_id, is_opt_out=True, reviewer=None, reason="Not reviewed within ten business days.")
    return len(settled)


@transaction.atomic
def opt_out_at_carrier(recipient: Recipient, number: Number, *, carrier: str, detail: str) -> ConsentEvent:
    """The carrier refused a text because the recipient had opted out there: block this number for them."""
    return opt_out(
        recipient, number, text="", at=timezone.now(), kind=Kind.CARRIER, source=Source.CARRIER,
        scope=Scope.NUMBER, carrier=carrier, reason=f"{carrier}: {detail}",
    )  # fmt: skip


@transaction.atomic
def lift(recipient: Recipient, found: OptOut, *, actor: User, reason: str) -> ConsentEvent:
    """Close exactly this opt-out, since the recipient has consented anew. `lifting` knows whether that may be.

    Unlike the recipient's own UNSTOP, the opt-in by a person carries the scope that it lifts, and lifts no other.
    """
    event = _record(
        recipient, _texted(found), found.campaign, kind=Kind.OPT_IN, source=Source.PERSON, scope=found.scope,
        at=timezone.now(), actor=actor, reason=reason,
    )  # fmt: skip
    OptOut.objects.filter(pk=found.pk, closed_at__isnull=True).update(closed_at=timezone.now(), closed_by=event)
    return event


@transaction.atomic
def note(recipient: Recipient, found: OptOut, *, actor: User, reason: str) -> ConsentEvent:
    """Record what people did about lifting an opt-out. By hand and without a scope: it changes nothing in force."""
    return _record(
        recipient, _texted(found), found.campaign, kind=Kind.MANUAL, source=Source.PERSON, at=timezone.now(),
        actor=actor, reason=reason,
    )  # fmt: skip


def _texted(found: OptOut) -> Number | None:
    ours = Number.objects.filter(company_id=found.company_id, e164=found.texted_number)
    return ours.select_related("office").first()


def record_refusal(message: Message, verdict: gate.Verdict) -> ConsentEvent:
    """Record that a text was refused or cancelled, and by which verdict. The text itself stays with the message."""
    number = message.number
    return _record(
        message.recipient, number, number.current_campaign(), kind=Kind.REFUSAL,
        source=Source.PERSON if message.author_id else Source.API if message.author_name else Source.SYSTEM,
        at=timezone.now(), message=message, actor=message.author, reason=f"{verdict.code}: {verdict.reason}",
        actor_name=message.author_name,
    )  # fmt: skip


def cancel_overtaken(recipient: Recipient) -> int:
    """Cancel the recipient's waiting texts that the gate no longer lets through; returns how many."""
    waiting = list(
        Message.objects.filter(recipient=recipient, next_attempt_at__isnull=False, purpose=Message.Purpose.ORDINARY)
        .select_related("number__account", "number__office", "number__company", "author")
        .order_by("pk")
        .select_for_update(of=("self",))
    )
    verdicts = gate.check_many([(message.number, recipient.e164) for message in waiting])
    cancelled = 0
    for message, verdict in zip(waiting, verdicts, strict=True):
        if not verdict.allowed and message.advance(Message.State.CANCELLED, verdict=verdict.as_dict()):
            message.recipient = recipient
            record_refusal(message, verdict)
            cancelled += 1
    return cancelled


def _opt_out_like(
    waiting: Hold, recipient: Recipient, number: Number, source: str, reviewer: User | None, reason: str
) -> ConsentEvent:
    """The opt-out that a hold becomes: in the scope that was held, as of the text that was held."""
    then = waiting.opened_by
    event = _record(
        # The campaign that was held, also when the number has left it since.
        recipient, number, waiting.campaign or number.current_campaign(), kind=Kind.OPT_OUT, source=source,
        scope=waiting.scope, text=waiting.text, at=waiting.texted_at, actor=reviewer, reason=reason,
        words=waiting.matched_words, rule_version=then.rule_version, carrier_message_id=then.carrier_message_id,
        carrier=then.carrier, message_id=waiting.message_id,
    )  # fmt: skip
    record = OptOut(
        company_id=waiting.company_id,
        office_id=waiting.office_id,
        recipient=recipient,
        scope=waiting.scope,
        campaign_id=waiting.campaign_id,
        texted_number=waiting.texted_number,
        text=waiting.text,
        texted_at=waiting.texted_at,
        opened_at=timezone.now(),
        opened_by=event,
    )
    OptOut.objects.bulk_create([record], ignore_conflicts=True)
    return event


def scope_of(number: Number | None, campaign: Campaign | None, scope: str | None) -> dict[str, Any]:
    """The scope of an opt-out texted to `number`, as fields of a Block. Only a registered campaign is one."""
    if scope == Scope.NUMBER:
        return {"scope": Scope.NUMBER, "campaign": None}
    if number and campaign and campaign.is_registered and scope != Scope.COMPANY and not number.is_toll_free:
        return {"scope": Scope.CAMPAIGN, "campaign": campaign}
    return {"scope": Scope.COMPANY, "campaign": None}


def _last_wishes(recipient: Recipient, blocks: Sequence[Block]) -> dict[Block, datetime]:
    """When the recipient last wrote what each of the open blocks stands for: its own text, or one that has come
    since and found the block there already."""
    last = {block: block.texted_at for block in blocks}
    if not blocks:
        return last
    since = ConsentEvent.objects.filter(
        recipient=recipient, pk__gt=min(block.opened_by_id for block in blocks), scope__in=Scope.values
    ).exclude(kind__in=[Kind.RELEASE, Kind.OPT_IN])
    for event in since:
        for block in blocks:
            if (
                event.pk > block.opened_by_id
                and isinstance(block, Hold) == (event.kind == Kind.HOLD)
                and event.scope == block.scope
                and (event.scope != Scope.CAMPAIGN or event.campaign_id_then == block.campaign_id)
                and (event.scope != Scope.NUMBER or event.number_e164 == block.texted_number)
            ):
                last[block] = max(last[block], event.received_at)
    return last


def _overtake_holds(recipient: Recipient, where: dict[str, Any], event: ConsentEvent) -> None:
    """Close the holds that an opt-out makes needless: those in its own scope, and all when it is the company's."""
    holds = Hold.objects.filter(recipient=recipient, closed_at__isnull=True)
    if where["scope"] != Scope.COMPANY:
        holds = holds.filter(scope=where["scope"], campaign=where["campaign"])
        if where["scope"] == Scope.NUMBER:
            holds = holds.filter(texted_number=event.number_e164)
    holds.update(closed_at=timezone.now(), closed_by=event, outcome=Hold.Outcome.OVERTAKEN)


def _record(
    recipient: Recipient,
    number: Number | None,
    campaign: Campaign | None,
    *,
    kind: str,
    source: str,
    at: datetime,
    text: str = "",
    scope: str = "",
    reading: keywords.Reading | None = None,
    words: str = "",
    rule_version: str = "",
    message: Message | None = None,
    message_id: int | None = None,
    carrier: str = "",
    carrier_message_id: str = "",
    actor: User | None = None,
    actor_name: str = "",
    reason: str = "",
) -> ConsentEvent:
    """Add one event, with the facts copied as they are at this moment; about no number in particular for None."""
    return ConsentEvent.objects.create(
        company_id=recipient.company_id,
        office_id=number.office_id if number else None,
        office_name=number.office.name if number else "",
        recipient=recipient,
        recipient_e164=recipient.e164,
        kind=kind,
        source=source,
        number_e164=number.e164 if number else "",
        number_kind=number.kind if number else "",
        campaign_id_then=campaign.pk if campaign else None,
        campaign_name=campaign.name if campaign else "",
        campaign_registry_id=campaign.registry_id if campaign else "",
        campaign_status=campaign.status if campaign else "",
        scope=scope,
        received_text=text,
        matched_words=(reading.words if reading else words)[:200],
        reading=number.company.reading if reading and number else "",
        rule_version=reading.version if reading else rule_version,
        reason=reason,
        received_at=at,
        carrier=carrier or (number.account.carrier if message and number else ""),
        carrier_message_id=carrier_message_id or (message.carrier_message_id if message else ""),
        message_id_then=message.pk if message else message_id,
        actor_id_then=actor.pk if actor else None,
        actor_name=str(actor) if actor else actor_name or (SYSTEM_NAME if source == Source.SYSTEM else ""),
    )
