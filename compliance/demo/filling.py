"""Fills an empty database with the demo's two companies and their year, and puts the result before the gate."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from messaging import gate, inbound
from messaging.carriers.base import WebhookRequest
from messaging.models import (
    ConsentEvent,
    ConsoleText,
    Conversation,
    Hold,
    Message,
    OptOut,
    Recipient,
    WebhookReceipt,
)
from offices.models import Company

from . import companies, scenes, stories
from .book import Book
from .rhythm import Rhythm
from .rows import Ids
from .year import Year

SEED = 20231031
SAMPLE = 60  # texts of the year that the gate is asked about afterwards
# Dentists are busy before school and before the year ends; furnaces break when it is cold.
DENTAL = Rhythm(3.6, {1: 1.15, 6: 0.95, 7: 0.7, 8: 0.9, 9: 1.1, 10: 1.15, 11: 1.15, 12: 1.0})
HEATING = Rhythm(
    2.0, {1: 1.5, 2: 1.35, 3: 1.0, 4: 0.8, 5: 0.65, 6: 0.5, 7: 0.45, 8: 0.6, 9: 1.0, 10: 1.4, 11: 1.5, 12: 1.45}
)
TABLES: list[type[Model]] = [
    Recipient, Conversation, ConsentEvent, OptOut, Hold, Message, ConsoleText, WebhookReceipt,
]  # fmt: skip


class NotTheDemos(Exception):
    """The database belongs to somebody else; the message says so."""


class UntrueHistory(Exception):
    """What was played does not agree with the gate: the demo's rules and the portal's have come apart."""


def is_filled() -> bool:
    """Whether the demo's companies are there. Raises NotTheDemos for a database that others use."""
    names = set(Company.objects.values_list("name", flat=True))
    if names and not {companies.FIRST, companies.OTHER} <= names:
        raise NotTheDemos(
            "This database holds companies that are not the demo's, and the demo does not mix with them. "
            "Unset DATABASE_URL for a database of the demo's own, or name an empty one."
        )
    return bool(names)


@transaction.atomic
def fill(password: str, now: datetime | None = None) -> None:
    """Everything or nothing; `now` is the end of the year that is told. Everybody's password is `password`."""
    now = now or timezone.now()
    ready = companies.set_up(now, password)
    ids = Ids()
    years = []
    for firm, pace, told, staged in (
        (ready.firms[0], DENTAL, stories.DENTAL, scenes.first),
        (ready.firms[1], HEATING, stories.HEATING, scenes.other),
    ):
        book = Book(firm, ids, Random(f"{SEED} {firm.company.name}"))
        year = Year(book, pace, told, now, ZoneInfo(settings.TIME_ZONE))
        staged(year)
        year.play()
        years.append(year)
    for year in years:
        _store(year.book)
    _reset_sequences()
    for year in years:
        _verify(year)
    _not_understood(ready, now)


def analyze() -> None:
    """Let the database count what is there now, so that the first pages are as fast as later ones."""
    with connection.cursor() as cursor:
        # Named, since without names it takes catalogs along that are shared with the server's other databases.
        cursor.execute(f"ANALYZE {', '.join(model._meta.db_table for model in TABLES)}")


def _store(book: Book) -> None:
    """Insert what was played. Blocks come first, so that the gate itself can say why each text was refused."""
    refusals = {event.pk for _, event in book.refusals}
    Recipient.objects.bulk_create(book.recipients.values())
    Conversation.objects.bulk_create(book.conversations.values())
    ConsentEvent.objects.bulk_create([event for event in book.events if event.pk not in refusals])
    OptOut.objects.bulk_create(book.opt_outs)
    Hold.objects.bulk_create(book.holds)
    for message, event in book.refusals:
        verdict = gate.check(message.number, message.recipient, at=event.stored_at)
        if verdict.allowed:
            raise UntrueHistory(f"Text {message.pk} was refused, but the gate lets it through.")
        message.verdict = verdict.as_dict()
        event.reason = f"{verdict.code}: {verdict.reason}"
    ConsentEvent.objects.bulk_create([event for _, event in book.refusals])
    Message.objects.bulk_create(book.messages, batch_size=1000)
    ConsoleText.objects.bulk_create(book.console_texts)
    WebhookReceipt.objects.bulk_create(book.receipts)


def _reset_sequences() -> None:
    """The rows brought their ids along; the next ones go on from there."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), TABLES):
            cursor.execute(statement)


def _verify(year: Year) -> None:
    """Ask the real gate about the end, and about moments of the year. Raises UntrueHistory."""
    book, now = year.book, year.now
    active = [number for number in book.firm.numbers.values() if number.is_active]
    pairs = [(number, person) for person in year.people for number in active]
    verdicts = gate.check_many([(number, person.recipient.e164) for number, person in pairs])
    for (number, person), verdict in zip(pairs, verdicts, strict=True):
        if verdict.allowed == book.is_blocked(person, number, now):
            raise UntrueHistory(f"{person.recipient.pk} on {number.pk}: the gate says {verdict.code}.")
    blocked_once = {block.recipient_id for block in (*book.opt_outs, *book.holds)}
    sent = [
        message
        for message in book.messages
        if message.is_outbound
        and message.purpose == Message.Purpose.ORDINARY
        and message.recipient_id in blocked_once
        and message.state not in (Message.State.REFUSED, Message.State.CANCELLED)
    ]
    for message in book.random.sample(sent, min(SAMPLE, len(sent))):
        verdict = gate.check(message.number, message.recipient, at=message.created_at)
        if not verdict.allowed:
            raise UntrueHistory(f"Text {message.pk} went out although the gate says {verdict.code}.")


def _not_understood(ready: companies.SetUp, now: datetime) -> None:
    """Requests that were genuine and made no sense, taken by the portal itself and then dated back."""
    account, gone = ready.firms[0].account, ready.given_up.e164
    to_gone = {
        "from": "+14015550139", "to": gone, "text": "Hi, are you still at Weir Street?", "media": [],
        "message_id": "in-5f2a90c117d3e846", "received_at": (now - timedelta(days=4, hours=3)).isoformat(),
    }  # fmt: skip
    no_sender = {"to": "+14015550101", "text": "Yes", "message_id": "in-01b7c4d29f8e3a65"}
    for body, ago, is_dismissed in (
        (json.dumps(to_gone).encode(), timedelta(days=4, hours=3), False),
        (b'{"from": "+14015550141", "to": "+14015550101", "text": "ok th', timedelta(days=1, hours=6), False),
        (json.dumps(no_sender).encode(), timedelta(days=61), True),
    ):
        received = inbound.take(account, WebhookRequest("POST", "", body, "application/json"))
        if received.receipt is None or received.understood:
            raise UntrueHistory("A request that makes no sense was understood.")
        rows = WebhookReceipt.objects.filter(pk=received.receipt.pk)
        rows.update(stored_at=now - ago)
        if is_dismissed:
            inbound.dismiss(received.receipt, by=ready.operator)
            rows.update(settled_at=now - ago + timedelta(hours=2))
