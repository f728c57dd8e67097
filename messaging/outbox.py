"""Texts on their way out: accepted through the gate, handed to a carrier at most once, retried or given up.

A text is *due* while `next_attempt_at` is set. Claiming moves that moment ahead (a lease, so that what a killed
worker had claimed comes back); handing over clears it before the carrier is called (so that what a killed worker
had in hand is never sent twice, but becomes uncertain).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from messaging import consent, gate, segments, throughput
from messaging.carriers.base import CarrierError, Media, OutboundText
from messaging.carriers.reading import storable
from messaging.carriers.registry import CARRIERS
from messaging.models import Conversation, Message, Recipient
from offices.models import HelpMessage, Number, User

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
# After this a hand-over that nobody finished was cut off: every wait of the carrier's client has ended long before.
CUT_OFF_AFTER = timedelta(minutes=5)
PAUSES = [5, 15, 60, 300, 900, 1800, 3600]  # seconds after the first, second ... passing error
GIVE_UP_AFTER = timedelta(hours=6)
# No more automatic replies than these per recipient and hour, so that two machines cannot talk for ever.
AUTOMATIC_REPLIES_AN_HOUR = 5


class KeyReused(Exception):
    """The idempotency key was used before, for another text."""


@transaction.atomic
def accept(
    number: Number,
    to: str,
    text: str,
    *,
    media: Sequence[Media] = (),
    author: User | None = None,
    author_name: str = "",
    idempotency_key: str = "",
) -> Message:
    """Take one text for sending, through the gate. The message comes back queued; or refused, with the verdict that
    refused it; or, between two of the portal's own numbers, delivered as chat.

    `to` is E.164. The same `idempotency_key` of a company gives the message made the first time; raises KeyReused
    when that was another text.
    """
    recipient = _locked_ends(number, to)
    kept_media = [{"url": one.url, "content_type": one.content_type} for one in media]
    if idempotency_key and (known := _known(number, to, text, kept_media, idempotency_key)):
        return known
    verdict = gate.check(number, recipient)
    now = timezone.now()
    fields: dict[str, Any] = {
        "media": kept_media,
        "author": author,
        "author_name": author_name or (str(author) if author else ""),
        "idempotency_key": idempotency_key,
    }
    if verdict.code == "chat":
        return _chat(number, recipient, text, fields)
    if not verdict.allowed:
        fields |= {"state": Message.State.REFUSED, "verdict": verdict.as_dict()}
    else:
        fields |= {"state": Message.State.QUEUED, "next_attempt_at": now, "expires_at": now + GIVE_UP_AFTER}
    try:
        with transaction.atomic():
            message = _store(number, recipient, text, fields, touch=verdict.allowed)
    except IntegrityError:
        # The same key at the same moment, for another recipient: theirs was first.
        if idempotency_key and (known := _known(number, to, text, kept_media, idempotency_key)):
            return known
        raise
    if not verdict.allowed:
        consent.record_refusal(message, verdict)
    return message


def queue_reply(
    recipient: Recipient,
    number: Number,
    text: str,
    *,
    purpose: str,
    expires_at: datetime,
    help_message: HelpMessage | None = None,
) -> Message | None:
    """Queue an automatic reply within the caller's transaction, which holds the recipient's lock.

    None where there must be no reply: toll-free numbers, whoever is no phone number, too many within the hour, and
    when it would come too late anyway.
    """
    now = timezone.now()
    if number.is_toll_free or not recipient.is_textable or expires_at <= now:
        return None
    if not gate.check(number, recipient, purpose=purpose).allowed:
        return None
    recent = Message.objects.filter(
        ~Q(purpose=Message.Purpose.ORDINARY), recipient=recipient, created_at__gt=now - timedelta(hours=1)
    )
    if len(recent.values_list("pk")[:AUTOMATIC_REPLIES_AN_HOUR]) == AUTOMATIC_REPLIES_AN_HOUR:
        return None
    fields = {
        "purpose": purpose,
        "state": Message.State.QUEUED,
        "next_attempt_at": now,
        "expires_at": expires_at,
        "help_message": help_message,
        "author_name": consent.SYSTEM_NAME,
    }
    return _store(number, recipient, text, fields, touch=True)


def hand_over_due(limit: int = 4) -> int:
    """Claim up to `limit` due texts and bring each one step further; returns how many were claimed."""
    lease, claimed = claim(limit)
    for message_id in claimed:
        hand_over(message_id, lease)
    return len(claimed)


def claim(limit: int) -> tuple[datetime, list[int]]:
    """Take up to `limit` due texts for this worker: the lease's end, and their ids. Automatic replies go before all
    others, however many of those wait: a confirmation is worth nothing after five minutes. A turn that was missed is
    lost: what had its turn while no worker ran would else leave all at once."""
    now = timezone.now()
    lease = now + LEASE
    due = "SELECT id, next_attempt_at AS planned FROM messaging_message WHERE next_attempt_at <= %(now)s"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH reply AS MATERIALIZED (
                {due} AND NOT (purpose = 'ordinary') ORDER BY planned LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            ), ordinary AS MATERIALIZED (
                {due} AND purpose = 'ordinary' ORDER BY planned
                LIMIT (SELECT %(limit)s - count(*) FROM reply) FOR UPDATE SKIP LOCKED
            ), due AS (SELECT * FROM reply UNION ALL SELECT * FROM ordinary)
            UPDATE messaging_message SET next_attempt_at = %(lease)s,
                turns_held = CASE WHEN planned < %(missed)s THEN 0 ELSE turns_held END
            FROM due WHERE messaging_message.id = due.id
            RETURNING purpose = 'ordinary', messaging_message.id
            """,
            # Materialized: as a subquery PostgreSQL may run it more than once, and then takes more than the limit.
            {"now": now, "limit": limit, "lease": lease, "missed": now - throughput.TURN_LASTS},
        )
        return lease, [row[1] for row in sorted(cursor.fetchall())]


def hand_over(message_id: int, lease: datetime) -> None:
    """Ask the gate once more under the recipient's lock, commit that the text is in the carrier's hands, call it."""
    began, message = timezone.now(), take_in_hand(message_id, lease)
    if message is None:
        return
    account = message.number.account
    text = OutboundText(
        sender=message.number.e164,
        to=message.recipient.e164,
        text=message.text,
        reference=str(message.pk),
        status_url=f"{settings.PUBLIC_URL}/webhooks/{account.carrier}/{account.public_id}/",
        media=[Media(one["url"], one.get("content_type", ""), one.get("size")) for one in message.media],
    )
    try:
        carrier_id = CARRIERS[account.carrier].send(account.credentials, text)
    except CarrierError as error:
        _not_taken(message, error)
        if error.is_trouble:
            throughput.note_failure(account, error, began)
        else:
            throughput.note_taken(account, began)
    except Exception:
        # Nobody knows whether it left: a person or the carrier's status settles it.
        log.exception("handing over text %s failed", message.pk)
        message.advance(Message.State.UNCERTAIN, error="The portal failed while handing it over.")
    else:
        _taken(message, storable(carrier_id)[:255])
        throughput.note_taken(account, began)


def take_in_hand(message_id: int, lease: datetime) -> Message | None:
    """The text, now sending by a committed transaction; None when somebody or something else settled it, and when it
    must wait: for its turn, or for an account that fails."""
    waiting = Message.objects.select_related("recipient", "number__account__health")
    claimed = waiting.filter(pk=message_id, next_attempt_at=lease).first()
    if claimed is None:
        return None
    now = timezone.now()
    is_too_late = claimed.expires_at is not None and claimed.expires_at <= now
    # A text that will not leave takes no turn, and does not try whether a paused account works again.
    if not is_too_late and (wait := throughput.wait_for(claimed, now)):
        _put_off(claimed, lease, wait)
        return None
    with transaction.atomic():
        recipient = Recipient.objects.locked(claimed.company_id, claimed.recipient.e164)
        message = (
            Message.objects.select_related("number__account__health", "number__office", "number__company", "author")
            .select_for_update(of=("self",))
            .get(pk=message_id)
        )
        if message.next_attempt_at != lease:
            return None
        message.recipient = recipient
        now = timezone.now()
        if message.expires_at is not None and message.expires_at <= now:
            why = f"Not sent: it would have come too late. {message.error}".strip()
            message.advance(Message.State.FAILED, error=why)
            return None
        verdict = gate.check(message.number, recipient, purpose=message.purpose)
        if not verdict.allowed or verdict.code == "chat":
            message.advance(Message.State.CANCELLED, verdict=verdict.as_dict())
            consent.record_refusal(message, verdict)
            return None
        message.account = message.number.account
        taken = {"handed_over_at": now, "attempts": message.attempts + 1, "account": message.account}
        return message if message.advance(Message.State.SENDING, **taken) else None


def _put_off(message: Message, lease: datetime, wait: throughput.Wait) -> None:
    """Plan the text for when it may go, or for when it is too late for it, whichever comes first. In a pause all that
    are due wait together."""
    at = timezone.now() if wait.is_pause else min(wait.until, message.expires_at or wait.until)
    Message.objects.filter(pk=message.pk, next_attempt_at=lease).update(
        next_attempt_at=at, turns_held=wait.turns, error=wait.reason
    )
    if wait.is_pause:
        throughput.rest(message.number.account, wait.until)


def _taken(message: Message, carrier_id: str) -> None:
    sent = {"sent_at": timezone.now(), "error": ""}
    try:
        with transaction.atomic():
            # A status may have come before this answer: the text is then sent already.
            if not message.advance(Message.State.SENT, carrier_message_id=carrier_id, **sent):
                Message.objects.filter(pk=message.pk).update(carrier_message_id=carrier_id)
    except IntegrityError:
        sent["error"] = "The carrier gave it the id of another text: no status of it can be told from that one's."
        message.advance(Message.State.SENT, **sent)


def _not_taken(message: Message, error: CarrierError) -> None:
    if error.uncertain:
        message.advance(Message.State.UNCERTAIN, error=str(error))
        return
    if error.opted_out:
        with transaction.atomic():
            recipient = Recipient.objects.locked(message.company_id, message.recipient.e164)
            message.advance(Message.State.FAILED, error=str(error))
            consent.opt_out_at_carrier(
                recipient, message.number, carrier=message.number.account.carrier, detail=str(error)
            )
        return
    at = timezone.now() + timedelta(seconds=next_pause(message.attempts, error.retry_after))
    if error.permanent or (message.expires_at is not None and at >= message.expires_at):
        message.advance(Message.State.FAILED, error=str(error))
    else:
        message.advance(Message.State.SENDING, next_attempt_at=at, error=str(error), turns_held=0)


def next_pause(attempts: int, retry_after: float | None = None) -> float:
    """Seconds until the next attempt after `attempts` passing errors: growing, with a tenth of jitter, and never
    shorter than what the carrier asked for."""
    pause = PAUSES[min(attempts, len(PAUSES)) - 1] * random.uniform(0.9, 1.1)
    return max(pause, retry_after or 0)


def settle_cut_off() -> int:
    """Texts whose worker died with them in hand become uncertain; returns how many."""
    return Message.objects.filter(
        state=Message.State.SENDING,
        next_attempt_at__isnull=True,
        handed_over_at__lt=timezone.now() - CUT_OFF_AFTER,
    ).update(
        state=Message.State.UNCERTAIN,
        error="The worker stopped while handing it over. Ask the carrier whether it left.",
    )


def _locked_ends(number: Number, to: str) -> Recipient:
    """The recipient, locked. When `to` is one of the portal's own numbers, both ends of the chat are, always in the
    same order: two who text each other at the same time must not wait for each other for ever."""
    ends = [(number.company_id, to)]
    other = Number.objects.filter(e164=to, given_up_at__isnull=True).values_list("company_id", flat=True).first()
    if other is not None and number.is_active:
        ends.append((other, number.e164))
    locked = {end: Recipient.objects.locked(*end) for end in sorted(ends)}
    return locked[ends[0]]


def _known(number: Number, to: str, text: str, media: list[dict[str, str]], key: str) -> Message | None:
    known = (
        Message.objects.select_related("number", "recipient")
        .filter(company_id=number.company_id, idempotency_key=key)
        .first()
    )
    if known and (known.number_id, known.recipient.e164, known.text, known.media) != (number.pk, to, text, media):
        raise KeyReused("This Idempotency-Key was used before for another text. Use a new key for each text.")
    return known


def _store(number: Number, recipient: Recipient, text: str, fields: dict[str, Any], *, touch: bool) -> Message:
    at = timezone.now()
    if touch:
        conversation = Conversation.objects.touch(number, recipient, text=text, direction=Message.Direction.OUT, at=at)
    else:
        # A refused text is no news in the conversation list.
        conversation, _ = Conversation.objects.get_or_create(
            number=number,
            recipient=recipient,
            defaults={"company_id": number.company_id, "last_message_at": at},
        )
    return Message.objects.create(
        **{
            "company_id": number.company_id,
            "conversation": conversation,
            "recipient": recipient,
            "number": number,
            "account": number.account,
            "direction": Message.Direction.OUT,
            "channel": Message.Channel.MMS if fields.get("media") else Message.Channel.SMS,
            "text": text,
            "segments": min(segments.count(text).count, 32_767),
            **fields,
        }
    )


def _chat(number: Number, recipient: Recipient, text: str, fields: dict[str, Any]) -> Message:
    """Deliver a text between two of the portal's own numbers: once in each one's conversation, by no carrier (B01)."""
    other = Number.objects.get(e164=recipient.e164)
    chat = {
        "account": None,
        "channel": Message.Channel.CHAT,
        "state": Message.State.DELIVERED,
        "sent_at": timezone.now(),
    }
    message = _store(number, recipient, text, {**fields, **chat}, touch=True)
    receive_chat(other, number.e164, text, media=fields["media"])
    return message


def receive_chat(number: Number, sender: str, text: str, *, media: list[dict[str, str]], **fields: Any) -> Message:
    """Store a chat text that `number` got from `sender`, another of the portal's numbers. No keyword is read in it."""
    recipient = Recipient.objects.locked(number.company_id, sender)
    at = timezone.now()
    conversation = Conversation.objects.touch(number, recipient, text=text, direction=Message.Direction.IN, at=at)
    return Message.objects.create(
        company_id=number.company_id,
        conversation=conversation,
        recipient=recipient,
        number=number,
        direction=Message.Direction.IN,
        channel=Message.Channel.CHAT,
        state=Message.State.RECEIVED,
        outcome=Message.Outcome.CHAT,
        text=text,
        media=media,
        received_at=at,
        **fields,
    )
