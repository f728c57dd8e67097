"""Could this number text this person at that moment, and why? The gate's verdict then, since when, until when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from messaging import gate
from messaging.models import ConsentEvent, Hold, OptOut, Recipient
from offices.models import CampaignAssignment, Number, NumberAbsence

# Verdicts asked for to either side, in search of the one that differs.
MOST_ASKED = 100
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Answer:
    """What the gate said at `at` (UTC), and the time around it in which it said the same.

    `since` is the first moment of that time, None when it reaches back to before anything was on record. `until`
    is the first moment after it, None when it lasts. Where the search was given up, `since_at_least` or
    `until_at_least` is true: then it lasted from or to that moment at least.
    """

    at: datetime
    verdict: gate.Verdict
    since: datetime | None
    until: datetime | None
    since_at_least: bool = False
    until_at_least: bool = False


def answer(number: Number, recipient: Recipient, at: datetime) -> Answer:
    """The verdict at the past moment `at`, with the nearest moments before and after at which it changes."""
    turns = turning_points(number, recipient)
    verdict = gate.check(number, recipient, at=at)

    def changed(moment: datetime) -> bool:
        return gate.check(number, recipient, at=moment) != verdict

    since, since_at_least = None, False
    back = [turn for turn in reversed(turns) if turn <= at]
    # What held just before a turning point held from the one before it on.
    before = [*back[1:], back[-1] - INSTANT] if back else []
    for asked, (turn, earlier) in enumerate(zip(back, before, strict=True)):
        since, since_at_least = turn, asked == MOST_ASKED
        if since_at_least or changed(earlier):
            break
    else:
        since = None
    until, until_at_least = None, False
    for asked, turn in enumerate(turn for turn in turns if turn > at):
        until_at_least = asked == MOST_ASKED
        if until_at_least or changed(turn):
            until = turn
            break
    return Answer(at, verdict, since, until, since_at_least, until_at_least)


def turning_points(number: Number, recipient: Recipient) -> list[datetime]:
    """All past moments at which the gate's verdict for the pair may have changed, oldest first.

    They are those at which a block of the recipient was opened or closed (each by an event of the record), at which
    the number joined a campaign, and at which the number, or the recipient's own where that is one of the portal's,
    came, was given up or taken back. Between two of them the gate reads the same rows, and so says the same.
    """
    found: set[datetime | None] = set()
    for model in (OptOut, Hold):
        found.update(_both(model.objects.filter(recipient=recipient).values_list("opened_at", "closed_at")))
    found.update(CampaignAssignment.objects.filter(number=number).values_list("starts_at", flat=True))
    concerned = Number.objects.filter(e164__in=[number.e164, recipient.e164])
    found.update(_both(concerned.values_list("created_at", "given_up_at")))
    found.update(_both(NumberAbsence.objects.filter(number__in=concerned).values_list("starts_at", "ends_at")))
    now = timezone.now()
    return sorted(moment for moment in found if moment is not None and moment <= now)


def known_since(recipient: Recipient) -> datetime:
    """When the company first heard of the recipient; the record may reach back further than their row."""
    first = ConsentEvent.objects.filter(recipient=recipient).order_by("stored_at").values_list("stored_at", flat=True)
    return min([recipient.created_at, *first[:1]])


def in_portal_since(number: Number) -> datetime:
    """When the number came; its campaigns may reach back further than its row."""
    first = CampaignAssignment.objects.filter(number=number).order_by("starts_at").values_list("starts_at", flat=True)
    return min([number.created_at, *first[:1]])


def events_around(
    events: QuerySet[ConsentEvent], recipient: Recipient, at: datetime, *, most: int = 3
) -> tuple[list[ConsentEvent], list[ConsentEvent]]:
    """Of `events`, the recipient's last `most` until `at` and first `most` after it, both oldest first."""
    theirs = events.filter(recipient=recipient)
    before = theirs.filter(stored_at__lte=at).order_by("-stored_at", "-pk")[:most]
    after = theirs.filter(stored_at__gt=at).order_by("stored_at", "pk")[:most]
    return list(before)[::-1], list(after)


def _both(pairs: Iterable[tuple[datetime | None, datetime | None]]) -> list[datetime | None]:
    return [moment for pair in pairs for moment in pair]
