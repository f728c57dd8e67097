"""What carriers report of our texts: forward only, and an opt-out that they know of is taken over."""

from __future__ import annotations

from dataclasses import replace

from django.db import transaction

from messaging import consent
from messaging.carriers.base import StatusUpdate
from messaging.carriers.reading import storable
from messaging.models import ConsentEvent, Message, OptOut, Recipient
from offices.models import CarrierAccount


def apply(account: CarrierAccount, update: StatusUpdate) -> Message | None:
    """Bring the text that a carrier reports on forward; an unknown status changes nothing. None: not a text of ours."""
    update = replace(update, message_id=storable(update.message_id)[:255], detail=storable(update.detail))
    ours = Message.objects.select_related("recipient", "number__account", "number__office", "number__company").filter(
        account=account, direction=Message.Direction.OUT
    )
    message = ours.filter(carrier_message_id=update.message_id).first() if update.message_id else None
    if message is None and update.reference.isascii() and update.reference.isdecimal():
        # Never one that has not left us: the number may be that of a text which another system sent by this account.
        named = ours.filter(pk=int(update.reference[:18]), handed_over_at__isnull=False)
        if update.message_id:
            # A hand-over that was cut off before the carrier's id came back, or is not over yet.
            named = named.filter(carrier_message_id="", state__in=[Message.State.SENDING, Message.State.UNCERTAIN])
        message = named.first()
        if message is not None:
            Message.objects.filter(pk=message.pk, carrier_message_id="").update(carrier_message_id=update.message_id)
    if message is None:
        return None
    with transaction.atomic():
        if update.opted_out:
            recipient = Recipient.objects.locked(message.company_id, message.recipient.e164)
            message.advance(Message.State.FAILED, error=update.detail)
            # Looked up under the lock: the same report may come twice at once. Not by the text's state: it may have
            # failed, or even been delivered, before the report that says why.
            if not _is_known(message, recipient):
                consent.opt_out_at_carrier(recipient, message.number, carrier=account.carrier, detail=update.detail)
        elif update.state == "sent":
            message.advance(Message.State.SENT)
        elif update.state == "delivered":
            message.advance(Message.State.DELIVERED)
        elif update.state == "failed":
            message.advance(Message.State.FAILED, error=update.detail)
    return message


def _is_known(message: Message, recipient: Recipient) -> bool:
    """Whether the carrier's opt-out is in force already; or over, because the recipient has opted in since the text
    left: the same report may come again long after."""
    by_carrier = OptOut.objects.filter(recipient=recipient, texted_number=message.number.e164, is_carrier=True)
    back = ConsentEvent.objects.filter(
        recipient=recipient,
        kind=ConsentEvent.Kind.OPT_IN,
        number_e164=message.number.e164,
        received_at__gt=message.handed_over_at or message.created_at,
    )
    return by_carrier.filter(closed_at__isnull=True).exists() or back.exists()
