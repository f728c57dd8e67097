"""How fast texts may leave: what a number and an account are allowed, and pauses for an account that fails.

Decided by rows, so that any number of workers on any number of machines keep to it together. A text that must wait
gets the moment of its turn and is not looked at before then.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from messaging.carriers.base import CarrierError
from messaging.models import CarrierHealth, Message, Pace
from offices.models import CarrierAccount, Number

log = logging.getLogger(__name__)

# After so many failures in a row an account is left alone, and then tried by one text at a time.
FAILURES_UNTIL_PAUSE = 5
PAUSES = [15, 30, 60, 120]  # seconds, from one trial to the next
LONGEST_PAUSE = 600.0  # seconds that a Retry-After of a carrier holds a whole account
NOTED_EVERY = timedelta(seconds=10)
NUMBERS_TURN, ACCOUNTS_TURN = 1, 2
TURN_LASTS = timedelta(seconds=5)  # what is claimed later than so after its turn needs a new one


@dataclass(frozen=True)
class Wait:
    """Not now: `until` its turn, with as many turns held as `turns`; `reason` is for people."""

    until: datetime
    turns: int
    reason: str
    is_pause: bool = False


def wait_for(message: Message, now: datetime) -> Wait | None:
    """None when the text may be handed over now; it has its turn then, at the number's limit and at the account's.

    Automatic replies take a turn and do not wait for it: a confirmation is worth nothing after five minutes. Nor does
    the one text that tries whether a paused account works again: in the pause nothing has left.
    `message` comes with its number, that number's account and the account's health.
    """
    number, account = message.number, message.number.account
    pause, is_trial = _pause(account, now)
    if pause:
        # It gives up its turns: when the pause is over, not all go at once.
        return Wait(pause, 0, "The carrier account is paused after failures.", is_pause=True)
    is_urgent = is_trial or message.purpose != Message.Purpose.ORDINARY
    for turn, owner in ((NUMBERS_TURN, number), (ACCOUNTS_TURN, account)):
        if owner.segments_per_minute and message.turns_held < turn:
            at = _take_turn(owner, message.segments, now, message.expires_at)
            if at > now and not is_urgent:
                return Wait(at, turn, f"Waits for its turn: {owner.segments_per_minute} segments a minute.")
    return None


def _take_turn(owner: Number | CarrierAccount, segments: int, now: datetime, expires_at: datetime | None) -> datetime:
    """The moment from which the owner's limit has room for so many more segments; that room is taken.

    The row holds until when the room is taken: each text moves it on by the time that its segments are worth. When
    there is room only after `expires_at`, that comes back and nothing is taken: texts that will never leave must not
    keep away those that come later.
    """
    if not owner.segments_per_minute:
        return now
    key = "number_id" if isinstance(owner, Number) else "account_id"
    per_minute = owner.segments_per_minute
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO messaging_pace AS pace (company_id, {key}, per_minute, taken_until)
                VALUES (%(company)s, %(owner)s, %(per_minute)s, %(now)s + make_interval(secs => %(worth)s))
            ON CONFLICT ({key}) DO UPDATE
                SET taken_until = greatest(pace.taken_until, %(now)s) + make_interval(secs => %(worth)s)
                WHERE pace.taken_until < coalesce(%(expires_at)s, 'infinity'::timestamptz)
                    OR pace.per_minute <> %(per_minute)s
            RETURNING taken_until - make_interval(secs => %(worth)s), per_minute
            """,
            {
                "company": owner.company_id,
                "owner": owner.pk,
                "per_minute": per_minute,
                "now": now,
                "worth": 60 * segments / per_minute,
                "expires_at": expires_at,
            },
        )
        found: tuple[datetime, int] | None = cursor.fetchone()
    if found is None:
        return expires_at or now
    at, given_by = found
    if given_by != per_minute:
        plan_anew(owner)
        return _take_turn(owner, segments, now, expires_at)
    return at


def plan_changed() -> int:
    """Give new turns wherever a limit is not what the turns were given by; returns to how many texts."""
    stale = Pace.objects.select_related("number__account", "account").exclude(
        Q(number__isnull=False, number__segments_per_minute=F("per_minute"))
        | Q(account__isnull=False, account__segments_per_minute=F("per_minute"))
    )
    count = 0
    for pace in stale:
        if owner := pace.number or pace.account:
            count += plan_anew(owner)
    return count


def plan_anew(owner: Number | CarrierAccount) -> int:
    """Give the waiting texts of a number or account new turns, as its limit is now; returns how many.

    Where the account has a limit, those of all its numbers: else the others keep the turns at the account that lie
    before, and turns at a number that nobody has any more stay taken.
    """
    owner.refresh_from_db(fields=["segments_per_minute"])
    own = Pace.objects.filter(**{"number" if isinstance(owner, Number) else "account": owner})
    # Of several who see the change at once one plans: what the others have taken since counts.
    if not own.exclude(per_minute=owner.segments_per_minute or 0).delete()[0]:
        return 0
    account = owner.account if isinstance(owner, Number) else owner
    if account is owner or account.segments_per_minute:
        Pace.objects.filter(Q(account=account) | Q(number__account=account)).delete()
        owner = account
    return _plan(owner, "turns_held > 0", timezone.now())


def _pause(account: CarrierAccount, now: datetime) -> tuple[datetime | None, bool]:
    """Until when the account rests, None when it does not; and whether this is the one text that tries whether it
    works again."""
    health: CarrierHealth | None = getattr(account, "health", None)
    if health is None or health.paused_until is None:
        return None, False
    if health.paused_until > now:
        return health.paused_until, False
    if health.failures < FAILURES_UNTIL_PAUSE:
        return None, False
    # Of all who find the pause over one moves it on, and goes to see.
    next_trial = now + timedelta(seconds=_seconds(health.failures))
    over = Q(paused_until=health.paused_until)
    return (None, True) if CarrierHealth.note(account, over, paused_until=next_trial) else (next_trial, False)


def note_taken(account: CarrierAccount, began: datetime) -> None:
    """The carrier answered as it should, be it that it will not have this text: the account works, unless it has
    failed since `began`, when this text was handed over."""
    health: CarrierHealth | None = getattr(account, "health", None)
    now = timezone.now()
    is_known = health and health.last_taken_at and health.last_taken_at > now - NOTED_EVERY
    if is_known and health and not health.failures and health.paused_until is None:
        return
    is_newest = Q(last_failure_at__isnull=True) | Q(last_failure_at__lte=began)
    if not CarrierHealth.note(account, is_newest, last_taken_at=now, failures=0, paused_until=None):
        CarrierHealth.note(account, last_taken_at=now)
    elif health and health.failures >= FAILURES_UNTIL_PAUSE:
        log.warning("%s account %s takes texts again", account.carrier, account.pk)
        wake(account)


def note_failure(account: CarrierAccount, error: CarrierError, began: datetime) -> None:
    """The account or its carrier failed: after some of it in a row, or when asked to wait, all its texts rest.

    Of a paused account only the trials count: what `began`, was handed over, before the last failure says nothing new.
    """
    CarrierHealth.objects.get_or_create(account=account, defaults={"company_id": account.company_id})
    with transaction.atomic():
        # All in one: whoever sees the last of the failures sees the pause as well.
        health, now = CarrierHealth.objects.select_for_update().get(account=account), timezone.now()
        is_news = health.last_failure_at is None or health.last_failure_at <= began
        counts = health.failures < FAILURES_UNTIL_PAUSE or is_news
        health.failures += counts
        health.last_failure, health.last_failure_at = str(error)[:500], now
        until = now + timedelta(seconds=max(_seconds(health.failures) if counts else 0.0, _asked(error)))
        health.paused_until = max(health.paused_until or until, until) if until > now else health.paused_until
        health.save(update_fields=["failures", "last_failure", "last_failure_at", "paused_until"])
    if until > now:
        log.warning("%s account %s rests after %s failures", account.carrier, account.pk, health.failures)
        rest(account, health.paused_until or until)


def rest(account: CarrierAccount, until: datetime) -> int:
    """Put off all texts of the account that are due before `until`, in one go; returns how many."""
    return _plan(account, "next_attempt_at <= %(now)s", until)


def wake(account: CarrierAccount) -> int:
    """Make due the texts that were put off while the account rested; returns how many. Those that the carrier has
    refused before wait out their own pauses."""
    return _plan(account, "next_attempt_at > %(now)s AND turns_held = 0 AND state = 'queued'", timezone.now())


def _plan(owner: Number | CarrierAccount, which: str, at: datetime) -> int:
    """Plan those waiting texts of a number or account that `which` (SQL) names for `at`, without turns; returns how
    many. They keep their order, and pass one another by no more than a second.

    Rows that somebody holds are left out: whoever cancels or claims them decides by themselves, and a STOP must not
    wait, or fail, because of this.
    """
    numbers = "%(owner)s" if isinstance(owner, Number) else "SELECT id FROM offices_number WHERE account_id = %(owner)s"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE messaging_message
            SET turns_held = 0, next_attempt_at = %(at)s + make_interval(secs => (id %% 1000000) / 1e6)
            WHERE id IN (
                SELECT id FROM messaging_message
                WHERE number_id IN ({numbers}) AND next_attempt_at IS NOT NULL AND {which}
                FOR UPDATE SKIP LOCKED
            )
            """,
            {"owner": owner.pk, "at": at, "now": timezone.now()},
        )
        return cursor.rowcount


def _seconds(failures: int) -> float:
    """How long an account rests after so many failures in a row: growing, with a tenth of jitter."""
    pause = PAUSES[min(failures - FAILURES_UNTIL_PAUSE, len(PAUSES) - 1)] if failures >= FAILURES_UNTIL_PAUSE else 0
    return pause * random.uniform(0.9, 1.1)


def _asked(error: CarrierError) -> float:
    return min(error.retry_after or 0.0, LONGEST_PAUSE)
