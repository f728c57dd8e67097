"""Comparing with a carrier's own list: texts that never reached us, uncertain ones, and opt-outs at the carrier.

The first are taken in, the second settled, the third taken over. It only ever tightens: an opt-out that the carrier
does not have stays, and an UNSTOP found in a list lifts nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import ClassVar

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from messaging import consent, gate, received_text, statuses
from messaging.carriers.base import (
    CarrierError,
    InboundText,
    ListedOptOut,
    ListedText,
    NotUnderstood,
    StatusUpdate,
)  # fmt: skip
from messaging.carriers.reading import international
from messaging.carriers.registry import CARRIERS
from messaging.models import CarrierHealth, ConsentEvent, Message, OptOut, Recipient, TextPart
from offices import e164
from offices.models import CarrierAccount, Number

log = logging.getLogger(__name__)

STILL_COMING = timedelta(minutes=10)  # a webhook, or a hand-over, may not be over yet
CLOSE = timedelta(minutes=10)  # between our hand-over of a text and the carrier's time for it
USUAL = timedelta(hours=48)
LONGEST = timedelta(days=7)
AT_ONCE = 200
NIGHT = 3  # o'clock, by the portal's time zone
TRY_AGAIN = timedelta(hours=1)
WHY = "Found in the carrier's list; its webhook never came."


@dataclass
class Findings:
    """What one comparison found, by count."""

    looked_at: int = 0
    taken_in: int = 0
    opted_out: int = 0
    settled: int = 0
    never_left: int = 0
    not_ours: int = 0

    WORDS: ClassVar[dict[str, str]] = {
        "looked_at": "entries compared",
        "taken_in": "received texts taken in",
        "opted_out": "opt-outs taken over",
        "settled": "texts of ours settled",
        "never_left": "texts never left",
        "not_ours": "entries of other numbers",
    }

    def __str__(self) -> str:
        counts = {one.name: getattr(self, one.name) for one in fields(self)}
        return ", ".join(f"{count} {self.WORDS[name]}" for name, count in counts.items() if count) or "nothing listed"


@dataclass
class _Unsure:
    """What the list may hold of our uncertain texts: those it does hold, by their keys; and the ends, number's key and
    recipient, between which it holds texts that are not known to be others."""

    listed: set[int] = field(default_factory=set)
    between: set[tuple[int, str]] = field(default_factory=set)


def reconcile(
    account: CarrierAccount,
    since: datetime,
    until: datetime,
    *,
    dry_run: bool = False,
    progress: Callable[[Findings], None] = lambda found: None,
) -> Findings:
    """Compare what the carrier has between two moments with what we have. Raises CarrierError when its list breaks
    off; what was found until then is done. `dry_run` counts and changes nothing."""
    adapter, found = CARRIERS[account.carrier], Findings()
    until = min(until, timezone.now() - STILL_COMING)
    if since >= until:  # an account of a moment ago
        return found
    active = account.numbers.filter(given_up_at__isnull=True).select_related("company", "office", "account")
    numbers = {number.e164: number for number in active}
    listed = adapter.listed(account.credentials, since, until)
    unsure = _Unsure()
    for entries in _chunks(listed):
        found.looked_at += len(entries)
        texts = [entry for entry in entries if isinstance(entry, ListedText)]
        _compare_received(account, [text for text in texts if text.is_inbound], numbers, found, dry_run)
        _compare_sent(account, [text for text in texts if not text.is_inbound], numbers, found, dry_run, unsure)
        _compare_opt_outs([one for one in entries if isinstance(one, ListedOptOut)], numbers, found, dry_run)
        progress(found)
    if adapter.LISTS_SENT:
        _settle_never_left(account, since + CLOSE, until - CLOSE, found, dry_run, unsure)
    return found


def next_due() -> int:
    """Compare one account whose night has come; returns how many were. Several workers share them."""
    now = timezone.now()
    with_list = [name for name, carrier in CARRIERS.items() if carrier.HAS_LIST]
    due = Q(health__reconcile_after__isnull=True) | Q(health__reconcile_after__lte=now)
    account = (
        CarrierAccount.objects.select_related("health")
        .filter(due, carrier__in=with_list, is_active=True)
        .exclude(secrets=[])
        .order_by("pk")
        .first()
    )
    if account is None:
        return 0
    mine = Q(reconcile_after__isnull=True) | Q(reconcile_after__lte=now)
    if CarrierHealth.note(account, mine, reconcile_after=now + TRY_AGAIN):
        with suppress(CarrierError):  # it is on the account's page, and tried again
            compare(account, timedelta(0))
    return 1


def compare(
    account: CarrierAccount,
    window: timedelta,
    *,
    dry_run: bool = False,
    progress: Callable[[Findings], None] = lambda found: None,
) -> Findings:
    """Reconcile the account and keep what was found on its page. With no window: since the last time, and not from
    before the account was here, when texts went elsewhere. Raises CarrierError, which is kept there too."""
    now = timezone.now()
    health = CarrierHealth.objects.filter(account=account).first()
    last = health.reconciled_at - timedelta(hours=1) if health and health.reconciled_at else now - USUAL
    since = now - window if window else max(last, now - LONGEST, account.created_at)
    try:
        found = reconcile(account, since, now, dry_run=dry_run, progress=progress)
    except CarrierError as error:
        log.warning("%s account %s could not be compared: %s", account.carrier, account.pk, error)
        if not dry_run:
            CarrierHealth.note(account, reconciliation=f"The carrier's list could not be read: {error}"[:500])
        raise
    if not dry_run:
        CarrierHealth.note(account, reconciled_at=now, reconcile_after=tonight(now), reconciliation=str(found))
    return found


def tonight(now: datetime) -> datetime:
    """The next night's hour at which accounts are compared."""
    night = timezone.localtime(now).replace(hour=NIGHT, minute=0, second=0, microsecond=0)
    return night if night > now else night + timedelta(days=1)


def _chunks(listed: Iterator[ListedText | ListedOptOut]) -> Iterable[list[ListedText | ListedOptOut]]:
    chunk: list[ListedText | ListedOptOut] = []
    try:
        for entry in listed:
            chunk.append(entry)
            if len(chunk) == AT_ONCE:
                yield chunk
                chunk = []
    except CarrierError:
        # What came before the list broke off counts.
        yield chunk
        raise
    yield chunk


def _own(numbers: dict[str, Number], address: str) -> Number | None:
    try:
        return numbers.get(e164.parse_own(international(address)))
    except e164.NotAPhoneNumber:
        return None


def _person(address: str) -> str:
    try:
        return e164.parse_sender(international(address))
    except e164.NotAPhoneNumber:
        return ""


def _compare_received(
    account: CarrierAccount, texts: list[ListedText], numbers: dict[str, Number], found: Findings, dry_run: bool
) -> None:
    ids = [text.message_id for text in texts]
    # Also by the company's other accounts at this carrier: a number may have come by one before.
    here = CarrierAccount.objects.filter(company=account.company_id, carrier=account.carrier)
    rows = Message.objects.filter(account__in=here, direction=Message.Direction.IN, carrier_message_id__in=ids)
    known = set(rows.values_list("carrier_message_id", flat=True))
    parts = TextPart.objects.filter(account__in=here, carrier_message_id__in=ids)
    known |= set(parts.values_list("carrier_message_id", flat=True))
    for text in texts:
        if text.message_id in known:
            continue
        if _own(numbers, text.to) is None:
            found.not_ours += 1
            continue
        if not dry_run:
            try:
                if text.text is None:
                    text = replace(text, text=_words(account, text.message_id))
                with transaction.atomic():
                    taken = received_text.receive(account, _as_received(text), may_lift=False, reason=WHY)
            except NotUnderstood as error:
                log.warning("%s account %s lists a text that makes no sense: %s", account.carrier, account.pk, error)
                continue
            if taken.duplicate:  # its webhook came meanwhile, or it is on two pages
                continue
        found.taken_in += 1


def _words(account: CarrierAccount, message_id: str) -> str | None:
    """The words of a listed text; None where this one's are not to be had: it is held, and the others go on."""
    try:
        return CARRIERS[account.carrier].words(account.credentials, message_id)
    except CarrierError as error:
        if error.is_trouble:
            raise
        return None


def _as_received(text: ListedText) -> InboundText:
    return InboundText(
        international(text.sender), international(text.to), text.text, text.message_id, text.media, text.at
    )


def _compare_sent(
    account: CarrierAccount,
    texts: list[ListedText],
    numbers: dict[str, Number],
    found: Findings,
    dry_run: bool,
    unsure: _Unsure,
) -> None:
    ours = Message.objects.filter(account=account, direction=Message.Direction.OUT)
    known = {row.carrier_message_id: row for row in ours.filter(carrier_message_id__in=[t.message_id for t in texts])}
    uncertain = _uncertain(ours, texts)
    for text in texts:
        number, person = _own(numbers, text.sender), _person(text.to)
        if number is None or not person:
            found.not_ours += 1
            continue
        message = known.get(text.message_id)
        if message is None:
            fitting = [one for one in uncertain if one.pk not in unsure.listed and _fits(one, number, person, text)]
            if len(fitting) == 1:
                message = fitting[0]
                unsure.listed.add(message.pk)
            else:
                unsure.between.add((number.pk, person))
        # Whatever became of it then: that the carrier lists it says that it left.
        state = text.state or ("sent" if message and message.state == Message.State.UNCERTAIN else None)
        if message is not None and state in _reachable(message):
            found.settled += 1
            if not dry_run:
                if not message.carrier_message_id:
                    ours.filter(pk=message.pk, carrier_message_id="").update(carrier_message_id=text.message_id)
                statuses.apply(account, StatusUpdate(text.message_id, state, text.detail))
        if text.opted_out:
            _take_over(number, person, text.at, text.detail, found, dry_run)


def _reachable(message: Message) -> list[str]:
    states = Message.State
    return [state for state in (states.SENT, states.DELIVERED, states.FAILED) if message.state in Message.BEFORE[state]]


def _uncertain(ours: QuerySet[Message], texts: list[ListedText]) -> list[Message]:
    """Our texts without the carrier's id that can be among those listed, by their time."""
    if not texts:
        return []
    times = [text.at for text in texts]
    near = (min(times) - CLOSE, max(times) + CLOSE)
    rows = ours.filter(state=Message.State.UNCERTAIN, carrier_message_id="", handed_over_at__range=near)
    return list(rows.select_related("recipient"))


def _fits(message: Message, number: Number, person: str, text: ListedText) -> bool:
    at = message.handed_over_at
    return (
        (message.number_id, message.recipient.e164) == (number.pk, person)
        and text.text in (None, message.text)
        and at is not None
        and abs(at - text.at) <= CLOSE
    )


def _settle_never_left(
    account: CarrierAccount, since: datetime, until: datetime, found: Findings, dry_run: bool, unsure: _Unsure
) -> None:
    """Uncertain texts that the whole list does not hold, nor anything that they could be, were never taken. They are
    not sent again by themselves."""
    unlisted = Message.objects.filter(
        account=account,
        direction=Message.Direction.OUT,
        state=Message.State.UNCERTAIN,
        carrier_message_id="",
        handed_over_at__range=(since, until),
    )
    for message in unlisted.exclude(pk__in=unsure.listed).select_related("recipient"):
        if (message.number_id, message.recipient.e164) in unsure.between:
            continue
        if dry_run or message.advance(
            Message.State.FAILED, error="The carrier's list does not hold it: it never left."
        ):
            found.never_left += 1


def _compare_opt_outs(entries: list[ListedOptOut], numbers: dict[str, Number], found: Findings, dry_run: bool) -> None:
    listed: list[tuple[Number, str, ListedOptOut]] = []
    for entry in entries:
        person = _person(entry.recipient)
        number = _own(numbers, entry.number) if entry.number else None
        if not person or (entry.number and number is None):
            found.not_ours += 1
            continue
        listed += [(one, person, entry) for one in ([number] if number else numbers.values())]
    # Nearly all are known, each night: they are looked up together, and nobody's row is locked for them.
    known = _opted_out([(number, person) for number, person, _ in listed])
    for number, person, entry in listed:
        if (number.pk, person) not in known:
            _take_over(number, person, entry.at, entry.detail, found, dry_run)


def _opted_out(pairs: list[tuple[Number, str]]) -> set[tuple[int, str]]:
    """Those of the pairs between which an opt-out is in force. A hold is none: it may be released."""
    covering = gate.blocks_covering(pairs)
    return {pair for pair, blocks in covering.items() if any(isinstance(block, OptOut) for block in blocks)}


def _take_over(number: Number, person: str, at: datetime | None, detail: str, found: Findings, dry_run: bool) -> None:
    """Block the number for somebody who opted out at the carrier, unless it is, or they opted in to it since."""
    company_id = number.company_id
    with transaction.atomic():
        if not dry_run:
            recipient = Recipient.objects.locked(company_id, person)
        back = ConsentEvent.objects.filter(
            recipient__company=company_id,
            recipient__e164=person,
            kind=ConsentEvent.Kind.OPT_IN,
            number_e164=number.e164,
        )
        if _opted_out([(number, person)]) or (at is not None and back.filter(received_at__gt=at).exists()):
            return
        found.opted_out += 1
        if not dry_run:
            carrier = number.account.carrier
            consent.opt_out_at_carrier(recipient, number, carrier=carrier, detail=f"{detail} (in its list)")
