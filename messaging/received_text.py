"""One received text: read, stored, acted on and answered, within its caller's transaction (N6)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from messaging import consent, keywords, outbox, parts, segments
from messaging.carriers.base import InboundText, NotUnderstood, Part
from messaging.carriers.reading import storable
from messaging.models import Conversation, Message, Recipient, TextPart
from offices import e164
from offices.models import CarrierAccount, Company, Number

log = logging.getLogger(__name__)

CONFIRM_WITHIN = timedelta(minutes=5)  # 47 CFR 64.1200(a)(12): a confirmation comes within five minutes
ANSWER_HELP_WITHIN = timedelta(hours=1)
MOST_SEGMENTS = 32_767  # what the column holds; no carrier sends so many
Outcome = Message.Outcome


@dataclass(frozen=True)
class Taken:
    """What became of a text: its message (None for a part whose others are missing yet), and whether it came before."""

    message: Message | None = None
    duplicate: bool = False


def receive(
    account: CarrierAccount,
    text: InboundText,
    *,
    stored_at: datetime | None = None,
    may_lift: bool = True,
    reason: str = "",
) -> Taken:
    """Store one text, read it, act on it and queue the answer, within the caller's transaction.

    `stored_at` is when it first came, for one that is run again later. Without `may_lift` an UNSTOP is stored and
    lifts nothing; nor does one by an account that does not carry the number. `reason` goes on record. Raises
    NotUnderstood.
    """
    text = replace(text, message_id=storable(text.message_id))
    number = _our_number(account, text)
    may_lift = may_lift and number.account_id == account.pk
    sender = _sender(text)
    first_seen = stored_at or timezone.now()
    if Number.objects.filter(e164=sender, given_up_at__isnull=True).exists():
        if before := _known(account, text, number, sender):
            return Taken(message=before, duplicate=True)
        chat = outbox.receive_chat(
            number, sender, storable(text.text or ""), media=_kept_media(text), account=account,
            carrier_message_id=text.message_id,
        )  # fmt: skip
        return Taken(message=chat)
    recipient = Recipient.objects.locked(account.company_id, sender)
    recipient.company = number.company
    # A part that does not tell its words may hold a STOP: a person looks at it at once, by itself.
    if text.part is not None and text.text is not None:
        return _receive_part(account, number, recipient, text, text.part, first_seen)
    # Under the lock: a second delivery at the same instant waits above, and finds the first one here.
    if before := _known(account, text, number, sender):
        return Taken(message=before, duplicate=True)
    return Taken(message=_store(account, number, recipient, text, first_seen, may_lift=may_lift, reason=reason))


def settle_open_parts() -> int:
    """Take in the texts of which a part has not come in time, with the gap shown; returns how many."""
    late = parts.overdue()
    for row in late:
        try:
            _settle_like(row)
        except IntegrityError:
            # The others must not wait for it.
            log.exception("the text of part %s cannot be taken in", row.pk)
    return len(late)


@transaction.atomic
def _settle_like(row: TextPart) -> None:
    """Take in the text that the part belongs to, as much as is there."""
    recipient = Recipient.objects.locked(row.company_id, row.recipient.e164)
    number = Number.objects.select_related("company", "office__company", "account").get(pk=row.number_id)
    recipient.company = number.company
    rows = parts.waiting(row.account, number, recipient, Part(row.reference, row.position, row.total))
    _store_joined(row.account, number, recipient, rows, InboundText("", "", "", ""), row.stored_at)


def _receive_part(
    account: CarrierAccount, number: Number, recipient: Recipient, text: InboundText, part: Part, first_seen: datetime
) -> Taken:
    """Keep one part; with the last of them the whole text is taken in."""
    text, part = replace(text, text=storable(text.text or "")), replace(part, reference=storable(part.reference))
    if before := parts.known(account, number, recipient, text, part):
        return Taken(message=before.message, duplicate=True)
    rows = parts.waiting(account, number, recipient, part)
    if parts.is_reused(rows, text, part):
        _store_joined(account, number, recipient, rows, text, first_seen)
    parts.keep(account, number, recipient, text, part)
    rows = parts.waiting(account, number, recipient, part)
    if not parts.is_whole(rows):
        return Taken()
    return Taken(message=_store_joined(account, number, recipient, rows, text, first_seen))


def _store_joined(
    account: CarrierAccount,
    number: Number,
    recipient: Recipient,
    rows: list[TextPart],
    text: InboundText,
    first_seen: datetime,
) -> Message | None:
    if not rows:  # somebody else has taken them in meanwhile
        return None
    whole = parts.joined(rows, text)
    if Message.objects.filter(
        account=account, direction=Message.Direction.IN, carrier_message_id=whole.message_id
    ).exists():
        # The carrier gave a part's id to another text as well: both count.
        whole = replace(whole, message_id=f"{whole.message_id[:240]}/{rows[0].pk}")
    message = _store(account, number, recipient, whole, first_seen)
    parts.settle(rows, message)
    return message


def _store(
    account: CarrierAccount,
    number: Number,
    recipient: Recipient,
    text: InboundText,
    first_seen: datetime,
    *,
    may_lift: bool = True,
    reason: str = "",
) -> Message:
    """Store one text that is not there yet and act on it, under the recipient's lock."""
    at = min(text.received_at or first_seen, first_seen)
    body = storable(text.text or "")
    media = _kept_media(text)
    reading = _reading(number, text, body)
    outcome = outcome_of(number, recipient, reading)
    if outcome == Outcome.OPTED_IN and not may_lift:
        outcome = Outcome.CONVERSATION
    message = Message.objects.create(
        company_id=account.company_id,
        conversation=Conversation.objects.touch(
            number, recipient, text=body, direction=Message.Direction.IN, at=first_seen
        ),
        recipient=recipient,
        number=number,
        account=account,
        direction=Message.Direction.IN,
        channel=Message.Channel.MMS if media else Message.Channel.SMS,
        state=Message.State.RECEIVED,
        outcome=outcome,
        text=body,
        media=media,
        segments=min(segments.count(body).count, MOST_SEGMENTS),
        carrier_message_id=text.message_id,
        received_at=at,
    )
    replied = text.carrier_replied or account.answers(reading.command or "")
    _act(message, number, recipient, reading, at, replied=replied, reason=reason)
    return message


def _act(
    message: Message,
    number: Number,
    recipient: Recipient,
    reading: keywords.Reading,
    at: datetime,
    *,
    replied: bool,
    reason: str,
) -> None:
    """Do what the text asks for. `replied`: the carrier has answered it, and two answers would be one too many."""
    facts: dict[str, Any] = {"text": message.text, "at": at, "reading": reading, "message": message}
    if message.outcome == Outcome.OPTED_OUT:
        consent.opt_out(recipient, number, reason=reason, **facts)
        if number.company.confirm_stop and not replied:
            outbox.queue_reply(
                recipient,
                number,
                confirmation_text(number.company),
                purpose=Message.Purpose.CONFIRMATION,
                expires_at=at + CONFIRM_WITHIN,
            )
    elif message.outcome == Outcome.OPTED_IN:
        consent.opt_in(recipient, number, reason=reason, **facts)
    elif message.outcome == Outcome.HELP:
        consent.help_asked(recipient, number, **facts)
        if not replied:
            answer, live = number.office.help_reply()
            outbox.queue_reply(
                recipient,
                number,
                answer,
                purpose=Message.Purpose.HELP_REPLY,
                expires_at=at + ANSWER_HELP_WITHIN,
                help_message=live,
            )
    elif message.outcome == Outcome.HELD:
        consent.hold(recipient, number, **facts)


def confirmation_text(company: Company) -> str:
    """What confirms a STOP: the company's words, or the portal's."""
    return company.confirmation_text or (
        f"{company.name}: You have opted out and will get no more texts from us. Reply UNSTOP to opt back in."
    )


def _sender(text: InboundText) -> str:
    try:
        return e164.parse_sender(text.sender)
    except e164.NotAPhoneNumber:
        raise NotUnderstood(
            f"“from” ({text.sender[:40]!r}) is neither a phone number nor a short code nor a name."
        ) from None


def _our_number(account: CarrierAccount, text: InboundText) -> Number:
    """Our number that was texted. One that another account of the company carries now counts too: while a number moves
    from one carrier to the other, a STOP may still come by the former. Another company's is as unknown as nobody's."""
    try:
        to = e164.parse_own(text.to)
    except e164.NotAPhoneNumber:
        raise NotUnderstood(f"“to” ({text.to[:40]!r}) is not a phone number.") from None
    number = (
        Number.objects.select_related("company", "office__company", "account")
        .filter(e164=to, company=account.company_id, given_up_at__isnull=True)
        .first()
    )
    if number is None:
        raise NotUnderstood(
            f"“to” ({to}) is no active number of this company. Add it, with its carrier account, then run this again."
        )
    return number


def outcome_of(number: Number, recipient: Recipient, reading: keywords.Reading) -> str:
    """What a text counts as. On toll-free numbers the network answers commands (B05), unless the company chose to
    let a STOP count; a sender that is no phone number commands nothing."""
    if not recipient.is_textable:
        return Outcome.CONVERSATION
    if reading.kind == "near_miss":
        return Outcome.HELD
    if reading.command is None:
        return Outcome.CONVERSATION
    if number.is_toll_free and not (number.company.toll_free_stop and reading.command != "HELP"):
        return Outcome.NETWORK_KEYWORD
    return {"STOP": Outcome.OPTED_OUT, "UNSTOP": Outcome.OPTED_IN, "HELP": Outcome.HELP}[reading.command]


def _reading(number: Number, text: InboundText, body: str) -> keywords.Reading:
    """What the text means, to us and to the carrier: where it has understood a STOP it blocks already, by words that
    only it may know. Words that it does not tell may have been a STOP, so a person looks."""
    reading = read(number, body)
    if text.carrier_keyword == "STOP" and reading.command != "STOP":
        return replace(reading, kind="command", command="STOP", words=body.lower(), near_miss="")
    if text.text is None:
        return replace(reading, kind="near_miss", near_miss="the carrier does not tell the words")
    return reading


def read(number: Number, body: str) -> keywords.Reading:
    """What a text to `number` means, by the reading and the words that its company chose."""
    company = number.company
    return keywords.parse(
        body,
        forgiving=company.reading == Company.Reading.FORGIVING,
        extra_stop=company.extra_stop_words,
        extra_start=company.extra_start_words,
        extra_help=company.extra_help_words,
    )


def _known(account: CarrierAccount, text: InboundText, number: Number, sender: str) -> Message | None:
    """The message stored when this one came before. Raises NotUnderstood when its id was another text's: the id then
    proves nothing, and a STOP among the two must not be lost."""
    known = (
        Message.objects.select_related("recipient")
        .filter(account=account, direction=Message.Direction.IN, carrier_message_id=text.message_id)
        .first()
    )
    body = storable(text.text or "")
    if known and (known.number_id, known.recipient.e164, known.text) != (number.pk, sender, body):
        raise NotUnderstood(f"Message id {text.message_id[:80]!r} came before with another text: ids must be unique.")
    return known


def _kept_media(text: InboundText) -> list[dict[str, Any]]:
    """The list of files as a message keeps it: where, what, how large. They are never fetched."""
    return [
        {"url": storable(one.url), "content_type": storable(one.content_type)}
        | ({"size": one.size} if one.size is not None else {})
        for one in text.media
    ]
