"""Sealing the record, and finding whatever was changed behind a seal.

A seal waits for nobody and nobody waits for it: it takes what is committed. An event that is committed a moment later,
though its id is smaller, is taken by the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from messaging import evidence, proof
from messaging.models import ConsentEvent, Seal, SealedEvent
from offices.models import Company

MOST_AT_ONCE = 20_000  # events in one seal: what a proof of one of them needs stays small
# No transaction that adds an event lasts so long: what is older than this and in no seal was put there.
SETTLED = timedelta(hours=1)
# The first number of a two-part advisory lock; the second is the company.
LOCK = 0x5EA1


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was sealed. `event` is the event's id, `seal` the seal's number; None where it is not
    about one."""

    kind: str  # "edited", "removed", "inserted", "moved", "seal"
    words: str
    event: int | None = None
    seal: int | None = None


def seal_all() -> int:
    """Seal what every company's record has got since its last seal; returns how many events."""
    return sum(seal(company_id) for company_id in Company.objects.order_by("pk").values_list("pk", flat=True))


@transaction.atomic
def seal(company_id: int) -> int:
    """Seal the company's events that no seal covers yet; returns how many, at most MOST_AT_ONCE."""
    with connection.cursor() as cursor:
        # Only whoever seals waits here: a chain has one end.
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK, company_id])
    now = timezone.now()
    fresh = list(_unsealed(company_id).order_by("pk").values_list("pk", "hash")[:MOST_AT_ONCE])
    if not fresh:
        return 0
    former = Seal.objects.filter(company_id=company_id).order_by("-number").first()
    leaves = [proof.leaf(event_id, hashed) for event_id, hashed in fresh]
    made = Seal(
        company_id=company_id,
        number=former.number + 1 if former else 1,
        sealed_at=now,
        events=len(fresh),
        first_event=fresh[0][0],
        last_event=fresh[-1][0],
        root=proof.root(leaves).hex(),
        former=former.hash if former else proof.GENESIS,
    )
    made.hash = proof.seal_hash(evidence.seal_values(made))
    made.save(force_insert=True)
    SealedEvent.objects.bulk_create(
        [
            SealedEvent(company_id=company_id, seal=made, event_id=event_id, position=position, leaf=leaf.hex())
            for position, ((event_id, _), leaf) in enumerate(zip(fresh, leaves, strict=True))
        ],
        batch_size=2_000,
    )
    return len(fresh)


def _unsealed(company_id: int) -> QuerySet[ConsentEvent]:
    """Events in no seal. Those that would have to be among settled ones are not looked at again."""
    sealed = SealedEvent.objects.filter(event_id=OuterRef("pk"))
    return ConsentEvent.objects.filter(~Exists(sealed), company_id=company_id, pk__gt=_settled(company_id))


def _settled(company_id: int) -> int:
    """The event up to which nothing can be added any more, except by somebody who should not."""
    old = Seal.objects.filter(company_id=company_id, sealed_at__lt=timezone.now() - SETTLED)
    return old.order_by("-number").values_list("last_event", flat=True).first() or 0


def verify(company_id: int) -> Iterator[Finding]:
    """Everything in the company's record that is not as it was sealed, seal by seal; memory for one seal.

    What it cannot know, and how seals that are kept elsewhere help, is in docs/record.md.
    """
    former, number = proof.GENESIS, 0
    for made in Seal.objects.filter(company_id=company_id).order_by("number").iterator(chunk_size=500):
        for missing in range(number + 1, made.number):
            yield Finding("seal", f"Seal {missing} is missing.", seal=missing)
        number = made.number
        yield from _verify_seal(made, former)
        former = made.hash
    yield from _verify_unsealed(company_id)


def _verify_seal(made: Seal, former: str) -> Iterator[Finding]:
    name = f"Seal {made.number}"
    if proof.seal_hash(evidence.seal_values(made)) != made.hash:
        yield Finding("seal", f"{name} was changed: its hash is not that of what it says.", seal=made.number)
    if made.former != former:
        yield Finding("seal", f"{name} does not follow the seal before it.", seal=made.number)
    leaves = list(made.leaves.order_by("position").values_list("position", "event_id", "leaf"))
    ids = [event_id for _, event_id, _ in leaves]
    if [position for position, _, _ in leaves] != list(range(made.events)) or ids != sorted(ids):
        yield Finding("seal", f"The list of {name}'s events is not whole, or not in order.", seal=made.number)
    hashes, edited = {}, []
    for event in ConsentEvent.objects.filter(pk__in=made.leaves.values("event_id")).iterator(chunk_size=1_000):
        hashes[event.pk] = proof.event_hash(evidence.values(event))
        if hashes[event.pk] != event.hash:
            edited.append(event.pk)
    odd = [
        (event_id, leaf)
        for _, event_id, leaf in leaves
        if event_id in hashes and proof.leaf(event_id, hashes[event_id]).hex() != leaf
    ]
    for event_id in ids:
        if event_id not in hashes:
            yield Finding("removed", f"Event {event_id} was removed.", event_id, made.number)
    yield from _name_changes(made, dict(odd), hashes)
    sealed_root = proof.root(bytes.fromhex(leaf) for _, _, leaf in leaves).hex()
    if sealed_root != made.root:
        words = f"{name} covers other events, or other words, than events {made.first_event} to {made.last_event} now."
        yield Finding("seal", words, seal=made.number)
    for event_id in set(edited) - {event_id for event_id, _ in odd}:
        # As it was sealed, but its own hash was changed.
        yield Finding("edited", f"The hash of event {event_id} was changed.", event_id, made.number)


def _name_changes(made: Seal, odd: dict[int, str], hashes: dict[int, str]) -> Iterator[Finding]:
    """Events that are not as sealed: changed, or put where another one was."""
    for event_id, leaf in odd.items():
        origin = next((other for other in odd if proof.leaf(event_id, hashes[other]).hex() == leaf), None)
        if origin is None:
            yield Finding("edited", f"Event {event_id} was changed.", event_id, made.number)
        else:
            yield Finding("moved", f"Event {event_id} now stands as event {origin}.", event_id, made.number)


def _verify_unsealed(company_id: int) -> Iterator[Finding]:
    """Events that no seal covers: each must have its own hash, and be newer than what is settled."""
    settled = _settled(company_id)
    sealed = SealedEvent.objects.filter(event_id=OuterRef("pk"))
    for event in ConsentEvent.objects.filter(~Exists(sealed), company_id=company_id).order_by("pk").iterator():
        if event.pk <= settled:
            words = f"Event {event.pk} was put among older ones: it is in no seal."
            yield Finding("inserted", words, event.pk)
        elif proof.event_hash(evidence.values(event)) != event.hash:
            yield Finding("edited", f"Event {event.pk}, which is not sealed yet, was changed.", event.pk)
