"""A carrier's request: all the texts and statuses in it taken in one transaction, or kept for an operator (N6)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import IntegrityError, OperationalError, transaction
from django.utils import timezone
from psycopg.errors import DeadlockDetected

from messaging import received_text, statuses
from messaging.carriers.base import InboundText, NotUnderstood, StatusUpdate, Unread, Visit, WebhookRequest
from messaging.carriers.reading import storable
from messaging.carriers.registry import CARRIERS
from messaging.models import Message, WebhookReceipt
from offices.models import CarrierAccount, User

log = logging.getLogger(__name__)

MOST_TRIES = 3
# Of a request's headers the record keeps these many, without those that would let somebody sign in.
MOST_HEADERS, LONGEST_HEADER = 60, 2_000
SIGN_IN_HEADERS = {"authorization", "proxy-authorization", "cookie"}
REUSABLE = "x-plivo-signature"  # covers neither words nor time: whoever reads it could sign anything with it


@dataclass(frozen=True)
class Received:
    """What became of a request: the message (None for a status), its outcome, and whether it was known before; or,
    for what could not be understood, the receipt that keeps it and the sentence that says why.

    `visits` are addresses that the carrier asks us to open, once all this is committed.
    """

    receipt: WebhookReceipt | None = None
    message: Message | None = None
    duplicate: bool = False
    error: str = ""
    visits: Sequence[str] = ()

    @property
    def understood(self) -> bool:
        return not self.error

    @property
    def outcome(self) -> str:
        return self.message.outcome if self.message else ""


def take(account: CarrierAccount, request: WebhookRequest) -> Received:
    """Take one genuine request: all that it causes is committed when this returns, or nothing is.

    What cannot be understood is committed as a receipt for the operator; of several texts in one request the others
    count all the same.
    """
    try:
        for _ in range(MOST_TRIES - 1):
            try:
                return _take(account, request)
            except (IntegrityError, OperationalError) as error:
                # The same message id at the same moment: the other one is stored by now, so this finds it.
                # Or two requests with several texts each waited for each other's recipients.
                if isinstance(error, OperationalError) and not isinstance(error.__cause__, DeadlockDetected):
                    raise
        return _take(account, request)
    except NotUnderstood as error:
        why = str(error)
    except IntegrityError:
        log.exception("a request for %s account %s clashes with what is stored", account.carrier, account.pk)
        why = "It clashes with what is stored already."
    return Received(receipt=_receipt(account, request, WebhookReceipt.Status.NOT_UNDERSTOOD, why), error=why)


def run_again(receipt: WebhookReceipt, *, by: User | None) -> Received:
    """Take a kept request once more, after what was wrong has been mended; it is settled when understood."""
    address = f"{settings.PUBLIC_URL}/?{receipt.query}" if receipt.query else ""
    request = WebhookRequest(
        receipt.method, address, bytes(receipt.body), receipt.content_type, receipt.headers, carrier=receipt.carrier
    )
    try:
        with transaction.atomic():
            kept = WebhookReceipt.objects.select_for_update().select_related("account").get(pk=receipt.pk)
            if kept.status != WebhookReceipt.Status.NOT_UNDERSTOOD:
                return Received(receipt=kept, message=kept.message, duplicate=True)
            return _take(kept.account, request, kept, by)
    except NotUnderstood as error:
        WebhookReceipt.objects.filter(pk=receipt.pk).update(error=storable(str(error)))
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
    events = CARRIERS[request.carrier or account.carrier].parse(request)
    # Always in the same order, so that two requests do not wait for each other's recipients.
    texts = sorted([event for event in events if isinstance(event, InboundText)], key=lambda text: text.sender)
    visits = [event.url for event in events if isinstance(event, Visit)]
    errors = [event.reason for event in events if isinstance(event, Unread)]
    taken, about = received_text.Taken(), None
    news = not texts or len(texts) < len(events)
    for text in texts:
        try:
            # Alone, an error leaves nothing of the request; among others it must not take them with it.
            with transaction.atomic() if len(events) > 1 else nullcontext():
                taken = received_text.receive(account, text, stored_at=kept.stored_at if kept else None)
            news = news or not taken.duplicate
        except NotUnderstood as error:
            errors.append(str(error))
    # Those of one text stay in their order.
    for update in sorted([event for event in events if isinstance(event, StatusUpdate)], key=lambda it: it.message_id):
        about = statuses.apply(account, update) or about
    why = storable(" ".join(dict.fromkeys(errors)))
    if errors and len(events) == 1:
        raise NotUnderstood(why)
    if kept is not None:
        if errors:
            kept.error = why
        else:
            kept.status, kept.message = WebhookReceipt.Status.RESOLVED, taken.message or about
            kept.settled_at, kept.settled_by = timezone.now(), by
        kept.save(update_fields=["status", "message", "error", "settled_at", "settled_by"])
        return Received(kept, taken.message, taken.duplicate, why, visits)
    if not news and not errors:
        return Received(message=taken.message, duplicate=True, visits=visits)
    status = WebhookReceipt.Status.NOT_UNDERSTOOD if errors else WebhookReceipt.Status.UNDERSTOOD
    receipt = _receipt(account, request, status, why, taken.message or about)
    return Received(receipt, taken.message, taken.duplicate, why, visits)


def _receipt(
    account: CarrierAccount,
    request: WebhookRequest,
    status: str,
    error: str = "",
    message: Message | None = None,
) -> WebhookReceipt:
    fields: dict[str, Any] = {"account": account, "status": status, "method": request.method, "body": request.body}
    fields |= {"query": storable(request.query), "carrier": request.carrier or account.carrier}
    is_kept = status == WebhookReceipt.Status.NOT_UNDERSTOOD
    # Carriers come again for a day with what was not taken: it waits for the operator once.
    if is_kept and (waiting := WebhookReceipt.objects.filter(**fields).first()):
        return waiting
    return WebhookReceipt.objects.create(
        **fields,
        company_id=account.company_id,
        content_type=storable(request.content_type[:255]),
        headers={
            storable(name): storable(value[:LONGEST_HEADER])
            for name, value in list(request.headers.items())[:MOST_HEADERS]
            if name.lower() not in SIGN_IN_HEADERS and not name.lower().startswith(REUSABLE)
        },
        error=storable(error),
        message=message,
    )
