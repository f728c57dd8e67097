"""One received text: stored, understood, acted on and answered, in one transaction (N6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from messaging import consent, keywords, outbox, segments
from messaging.carriers.base import InboundText, NotUnderstood, StatusUpdate, WebhookRequest
from messaging.carriers.registry import CARRIERS
from messaging.models import Conversation, Message, Recipient, WebhookReceipt
from offices import e164
from offices.models import CarrierAccount, Company, Number, User

CONFIRM_WITHIN = timedelta(minutes=5)  # 47 CFR 64.1200(a)(12): a confirmation comes within five minutes
ANSWER_HELP_WITHIN = timedelta(hours=1)
MOST_SEGMENTS = 32_767  # what the column holds; no carrier sends so many
Outcome = Message.Outcome


@dataclass(frozen=True)
class Received:
    """What became of a request: the message (None for a status), its outcome, and whether it was known before; or,
    for what could not be understood, the receipt that keeps it and the sentence that says why."""

    receipt: WebhookReceipt | None = None
    message: Message | None = None
    duplicate: bool = False
    error: str = ""

    @property
    def understood(self) -> bool:
        return not self.error

    @property
    def outcome(self) -> str:
        return self.message.outcome if self.message else ""


def take(account: CarrierAccount, request: WebhookRequest) -> Received:
    """Take one genuine request: all that it causes is committed when this returns, or nothing is.

    What cannot be understood is committed alone, as a receipt for the operator.
    """
    try:
        try:
            return _take(account, request)
        except IntegrityError:
            # The same message id at the same moment: the other one is stored by now, so this finds it.
            return _take(account, request)
    except NotUnderstood as error:
        return Received(
            receipt=_receipt(account, request, WebhookReceipt.Status.NOT_UNDERSTOOD, str(error)),
            error=str(error),
        )


def run_again(receipt: WebhookReceipt, *, by: User | None) -> Received:
    """Take a kept request once more, after what was wrong has been mended; it is settled when understood."""
    request = WebhookRequest("POST", "", bytes(receipt.body), receipt.content_type, carrier=receipt.carrier)
    try:
        with transaction.atomic():
            kept = WebhookReceipt.objects.select_for_update().select_related("account").get(pk=receipt.pk)
            if kept.status != WebhookReceipt.Status.NOT_UNDERSTOOD:
                return Received(receipt=kept, message=kept.message, duplicate=True)
            return _take(kept.account, request, kept, by)
    except NotUnderstood as error:
        WebhookReceipt.objects.filter(pk=receipt.pk).update(error=str(error))
        return Received(receipt=receipt, error=str(error))


def dismiss(receipt: WebhookReceipt, *, by: User) -> bool:
    """Say that a kept request needs nothing more; False when it was settled before. It stays stored."""
    return bool(
        WebhookReceipt.objects.filter(pk=receipt.pk, status=WebhookReceipt.Status.NOT_UNDERSTOOD).update(
            status=WebhookReceipt.Status.DISMISSED, settled_at=timezone.now(), settled_by=by
        )
    )


@transaction.atomic
def _take(
    account: CarrierAccount, request: WebhookRequest, kept: WebhookReceipt | None = None, by: User | None = None
) -> Received:
    received = Received()
    for event in CARRIERS[request.carrier or account.carrier].parse(request):
        if isinstance(event, StatusUpdate):
            outbox.apply_status(account, event)
        else:
            received = receive(account, event, stored_at=kept.stored_at if kept else None)
    if kept is not None:
        kept.status, kept.message = WebhookReceipt.Status.RESOLVED, received.message
        kept.settled_at, kept.settled_by = timezone.now(), by
        kept.save(update_fields=["status", "message", "settled_at", "settled_by"])
        return Received(receipt=kept, message=received.message, duplicate=received.duplicate)
    if received.duplicate:
        return received
    receipt = _receipt(account, request, WebhookReceipt.Status.UNDERSTOOD, message=received.message)
    return Received(receipt=receipt, message=received.message)


def receive(account: CarrierAccount, text: InboundText, *, stored_at: datetime | None = None) -> Received:
    """Store one text, read it, act on it and queue the answer, within the caller's transaction.

    `stored_at` is when it first came, for one that is run again later. Raises NotUnderstood.
    """
    number = _our_number(account, text)
    sender = _sender(text)
    body = _storable(text.text)
    media = [{"url": _storable(one.url), "content_type": _storable(one.content_type)} for one in text.media]
    first_seen = stored_at or timezone.now()
    at = min(text.received_at or first_seen, first_seen)
    if Number.objects.filter(e164=sender, given_up_at__isnull=True).exists():
        if known := _known(account, text, number, sender, body):
            return Received(message=known, duplicate=True)
        chat = outbox.receive_chat(
            number, sender, body, media=media, account=account, carrier_message_id=_storable(text.message_id)
        )
        return Received(message=chat)
    recipient = Recipient.objects.locked(account.company_id, sender)
    recipient.company = number.company
    # Under the lock: a second delivery at the same instant waits above, and finds the first one here.
    if known := _known(account, text, number, sender, body):
        return Received(message=known, duplicate=True)
    reading = read(number, body)
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
        outcome=outcome_of(number, recipient, reading),
        text=body,
        media=media,
        segments=min(segments.count(body).count, MOST_SEGMENTS),
        carrier_message_id=_storable(text.message_id),
        received_at=at,
    )
    _act(message, number, recipient, reading, at, replied=text.carrier_replied)
    return Received(message=message)


def _act(
    message: Message,
    number: Number,
    recipient: Recipient,
    reading: keywords.Reading,
    at: datetime,
    *,
    replied: bool,
) -> None:
    """Do what the text asks for. `replied`: the carrier has answered it, and two answers would be one too many."""
    facts: dict[str, Any] = {"text": message.text, "at": at, "reading": reading, "message": message}
    if message.outcome == Outcome.OPTED_OUT:
        consent.opt_out(recipient, number, **facts)
        if number.company.confirm_stop and not replied:
            outbox.queue_reply(
                recipient,
                number,
                confirmation_text(number.company),
                purpose=Message.Purpose.CONFIRMATION,
                expires_at=at + CONFIRM_WITHIN,
            )
    elif message.outcome == Outcome.OPTED_IN:
        consent.opt_in(recipient, number, **facts)
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
    """The account's number that was texted. One of another account is as unknown as one of nobody's."""
    try:
        to = e164.parse_own(text.to)
    except e164.NotAPhoneNumber:
        raise NotUnderstood(f"“to” ({text.to[:40]!r}) is not a phone number.") from None
    number = (
        Number.objects.select_related("company", "office__company", "account")
        .filter(e164=to, account=account, given_up_at__isnull=True)
        .first()
    )
    if number is None:
        raise NotUnderstood(
            f"“to” ({to}) is no active number of this carrier account. Add it to the account, then run this again."
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


def _known(account: CarrierAccount, text: InboundText, number: Number, sender: str, body: str) -> Message | None:
    """The message stored when this one came before. Raises NotUnderstood when its id was another text's: the id then
    proves nothing, and a STOP among the two must not be lost."""
    known = (
        Message.objects.select_related("recipient")
        .filter(account=account, direction=Message.Direction.IN, carrier_message_id=_storable(text.message_id))
        .first()
    )
    if known and (known.number_id, known.recipient.e164, known.text) != (number.pk, sender, body):
        raise NotUnderstood(f"Message id {text.message_id[:80]!r} came before with another text: ids must be unique.")
    return known


def _storable(text: str) -> str:
    """The text as PostgreSQL can keep it: no NUL, no half of a surrogate pair. The receipt keeps the raw bytes."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _receipt(
    account: CarrierAccount,
    request: WebhookRequest,
    status: str,
    error: str = "",
    message: Message | None = None,
) -> WebhookReceipt:
    return WebhookReceipt.objects.create(
        company_id=account.company_id,
        account=account,
        carrier=request.carrier or account.carrier,
        content_type=request.content_type[:255],
        body=request.body,
        status=status,
        error=_storable(error),
        message=message,
    )
