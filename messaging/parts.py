"""Long texts that the network cut: their parts are kept until the whole can be read.

A keyword is a keyword only as the whole text, so none is read in a part (carriers of old SMS interfaces hand on the
parts as they come, in any order, each as a text of its own).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from django.utils import timezone

from messaging.carriers.base import InboundText, NotUnderstood, Part
from messaging.models import Message, Recipient, TextPart
from offices.models import CarrierAccount, Number

# A part that has not come by then will not; what is there is taken in with the gap shown.
WAIT = timedelta(minutes=15)
MOST_PARTS = 255  # 3GPP TS 23.040, section 9.2.3.24.1: the count is one octet


def known(
    account: CarrierAccount, number: Number, recipient: Recipient, text: InboundText, part: Part
) -> TextPart | None:
    """The part, when it came before. Raises NotUnderstood when its id was another text's: one of the two would be
    lost, and may hold a STOP."""
    same_id = {"account": account, "carrier_message_id": text.message_id}
    before = TextPart.objects.select_related("message").filter(**same_id).first()
    if before is None:
        is_used = Message.objects.filter(**same_id, direction=Message.Direction.IN).exists()
    else:
        came = (before.number_id, before.recipient_id, before.reference, before.position, before.total, before.text)
        is_used = came != (number.pk, recipient.pk, part.reference, part.number, part.total, text.text or "")
    if is_used:
        raise NotUnderstood(f"Message id {text.message_id[:80]!r} came before with another text: ids must be unique.")
    return before


def keep(account: CarrierAccount, number: Number, recipient: Recipient, text: InboundText, part: Part) -> None:
    """Store one part, under the recipient's lock. Raises NotUnderstood."""
    if not 1 <= part.number <= part.total <= MOST_PARTS or len(part.reference) > 64:
        raise NotUnderstood(f"Part {part.number} of {part.total} is none: a text has 1 to {MOST_PARTS} parts.")
    TextPart.objects.create(
        company_id=account.company_id,
        account=account,
        number=number,
        recipient=recipient,
        reference=part.reference,
        position=part.number,
        total=part.total,
        text=text.text or "",
        carrier_message_id=text.message_id,
        received_at=text.received_at,
    )


def waiting(account: CarrierAccount, number: Number, recipient: Recipient, part: Part) -> list[TextPart]:
    """The parts that are there of the text that `part` belongs to, in their order."""
    rows = TextPart.objects.filter(
        account=account,
        number=number,
        recipient=recipient,
        reference=part.reference,
        total=part.total,
        message__isnull=True,
    )
    return list(rows.order_by("position", "pk"))


def is_reused(rows: list[TextPart], text: InboundText, part: Part) -> bool:
    """True when the place of `part` is taken by other words: its reference, often one octet, means a new text."""
    return any(row.position == part.number and row.text != (text.text or "") for row in rows)


def is_whole(rows: list[TextPart]) -> bool:
    """True when every part is there."""
    return bool(rows) and {row.position for row in rows} == set(range(1, rows[0].total + 1))


def joined(rows: list[TextPart], text: InboundText) -> InboundText:
    """The whole text, as of its first part. A part that is missing leaves words, on a line of their own: the rest is no
    keyword by itself then, but a STOP in it is seen, and held."""
    words = {row.position: row.text for row in reversed(rows)}
    total = rows[0].total
    whole = "".join(words.get(place, f"\n[part {place} of {total} is missing]\n") for place in range(1, total + 1))
    times = [row.received_at for row in rows if row.received_at]
    return replace(
        text, text=whole, message_id=rows[0].carrier_message_id, received_at=min(times, default=None), part=None
    )


def settle(rows: list[TextPart], message: Message) -> None:
    """The parts belong to `message` now."""
    TextPart.objects.filter(pk__in=[row.pk for row in rows]).update(message=message)


def overdue(limit: int = 100) -> list[TextPart]:
    """One part of each text that has waited long enough for the rest."""
    late = TextPart.objects.filter(message__isnull=True, stored_at__lt=timezone.now() - WAIT)
    groups: dict[tuple[int, int, int, str, int], TextPart] = {}
    for row in late.select_related("account", "number", "recipient").order_by("stored_at")[:limit]:
        groups.setdefault((row.account_id, row.number_id, row.recipient_id, row.reference, row.total), row)
    return list(groups.values())
