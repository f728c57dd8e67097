"""May this text go from this number to this person? One question or many, now or at a past moment.

The gate only reads. Whoever acts on its answer holds the recipient's lock while asking (see Recipient).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.utils import formats, timezone

from messaging.models import Hold, Message, OptOut, Recipient
from messaging.models.record import Block, Scope
from offices import e164
from offices.models import CampaignAssignment, Company, Number, NumberAbsence

CALLS = "Calls are still allowed."
# Whoever is blocked by several records hears of the widest.
WIDEST_FIRST = [Scope.COMPANY, Scope.CAMPAIGN, Scope.NUMBER]


@dataclass(frozen=True)
class Verdict:
    """The gate's answer. `reason` is a sentence for the sender; `opt_out` is None unless a record decided."""

    allowed: bool
    code: str
    reason: str
    scope: dict[str, Any] | None = None
    opt_out: dict[str, Any] | None = None
    voice_allowed: bool = True  # STOP is about texts only (B12)

    def as_dict(self) -> dict[str, Any]:
        """The verdict as the API and the record write it; times in ISO 8601 with their zone."""
        return {
            "allowed": self.allowed,
            "code": self.code,
            "reason": self.reason,
            "scope": self.scope,
            "opt_out": self.opt_out,
            "voice_allowed": self.voice_allowed,
        }


OK = Verdict(True, "ok", f"Texts are allowed. {CALLS}")
CHAT = Verdict(True, "chat", f"Both are numbers of this portal: chat, which no opt-out touches. {CALLS}")
VOICE = Verdict(True, "ok", "Calls are always allowed: an opt-out is about texts only.")


def check(
    number: Number,
    recipient: Recipient,
    *,
    at: datetime | None = None,
    purpose: str = Message.Purpose.ORDINARY,
) -> Verdict:
    """May a text go from `number` to `recipient`, now or as of the past moment `at` (UTC)?

    The one confirmation of a STOP and the answer to HELP pass opt-outs and holds (N3, B15).
    """
    return check_many([(number, recipient.e164)], at=at, purpose=purpose)[0]


def check_addresses(company: Company, pairs: Sequence[tuple[str, str]], *, at: datetime | None = None) -> list[Verdict]:
    """The verdict for each (our number, recipient) as people and machines write them, in the same order.

    A number that is not the company's is answered like one that was given up: it is nobody's business
    whether another company has it.
    """
    ours: list[str | None] = []
    theirs: list[str | None] = []
    for sender, to in pairs:
        ours.append(_parsed(e164.parse_own, sender))
        theirs.append(_parsed(e164.parse, to))
    numbers = {
        number.e164: number
        for number in Number.objects.filter(company=company, e164__in={n for n in ours if n}).select_related(
            "company", "account"
        )
    }
    verdicts: list[Verdict | None] = [None] * len(pairs)
    known: list[tuple[int, Number, str]] = []
    for index, (own, address) in enumerate(zip(ours, theirs, strict=True)):
        if own is None or own not in numbers:
            verdicts[index] = _not_yours(pairs[index][0])
        elif address is None:
            verdicts[index] = _not_textable(pairs[index][1])
        else:
            known.append((index, numbers[own], address))
    found = check_many([(number, to) for _, number, to in known], at=at)
    for (index, _, _), verdict in zip(known, found, strict=True):
        verdicts[index] = verdict
    return [verdict for verdict in verdicts if verdict is not None]


def check_many(
    pairs: Sequence[tuple[Number, str]],
    *,
    at: datetime | None = None,
    purpose: str = Message.Purpose.ORDINARY,
) -> list[Verdict]:
    """The verdict for each (number, recipient's E.164), in the same order and in a fixed number of queries."""
    if not pairs:
        return []
    absent = _absent({number.e164 for number, _ in pairs} | {to for _, to in pairs}, at) if at else set()
    own = _own_numbers({to for _, to in pairs}, at) - absent
    passes = purpose != Message.Purpose.ORDINARY
    covering = {} if passes else blocks_covering(pairs, at=at)
    return [
        _not_active(number)
        if number.e164 in absent
        else _judge(number, to, to in own, covering.get((number.pk, to), ()), at)
        for number, to in pairs
    ]


def blocks_covering(
    pairs: Sequence[tuple[Number, str]], *, at: datetime | None = None
) -> dict[tuple[int, str], list[Block]]:
    """The opt-outs and holds in force that cover each (number's id, recipient's E.164), widest first."""
    numbers = {number.pk: number for number, _ in pairs}
    companies = {number.company_id for number in numbers.values()}
    in_force = Q(recipient__company__in=companies, recipient__e164__in={to for _, to in pairs})
    if at is None:
        # No look at opened_at: clocks of two machines may differ, an open record counts at once.
        in_force &= Q(closed_at__isnull=True)
    else:
        in_force &= Q(opened_at__lte=at) & (Q(closed_at__isnull=True) | Q(closed_at__gt=at))
    blocks: list[Block] = []
    for model in (OptOut, Hold):
        blocks += model.objects.filter(in_force).select_related("recipient", "campaign", "company")
    if not blocks:
        return {}
    blocks.sort(key=lambda block: (isinstance(block, Hold), WIDEST_FIRST.index(Scope(block.scope)), block.pk))
    times = _times_in_campaigns(numbers, {block.campaign_id for block in blocks if block.campaign_id}, at)
    by_recipient: dict[tuple[int, str], list[Block]] = defaultdict(list)
    for block in blocks:
        by_recipient[block.company_id, block.recipient.e164].append(block)
    found: dict[tuple[int, str], list[Block]] = {}
    for number, to in pairs:
        of_recipient = by_recipient.get((number.company_id, to), ())
        covering = [b for b in of_recipient if covers(b, number, times.get((number.pk, b.campaign_id), ()))]
        if covering:
            found[number.pk, to] = covering
    return found


def covers(block: Block, number: Number, times_in_campaign: Iterable[CampaignAssignment]) -> bool:
    """Does an opt-out or hold cover `number`? The rule that keeps blocks from vanishing by accident (N4):

    the whole company; or a campaign that the number has been in at any time since the text; or the number
    that was texted. `times_in_campaign` are the number's assignments to the block's campaign.
    """
    if block.scope == Scope.COMPANY or block.texted_number == number.e164:
        return True
    return block.scope == Scope.CAMPAIGN and any(
        time.ends_at is None or time.ends_at >= block.texted_at for time in times_in_campaign
    )


def _times_in_campaigns(
    numbers: Iterable[int], campaigns: set[int], at: datetime | None
) -> dict[tuple[int, int | None], list[CampaignAssignment]]:
    times: dict[tuple[int, int | None], list[CampaignAssignment]] = defaultdict(list)
    if campaigns:
        found = CampaignAssignment.objects.filter(campaign__in=campaigns, number__in=list(numbers))
        for time in found.filter(starts_at__lte=at) if at else found:
            times[time.number_id, time.campaign_id].append(time)
    return times


def _own_numbers(addresses: Iterable[str], at: datetime | None) -> set[str]:
    """Those of `addresses` that are (or at `at` were) numbers of this portal, of whatever company."""
    own = Number.objects.filter(e164__in=list(addresses))
    if at is None:
        own = own.filter(given_up_at__isnull=True)
    else:
        own = own.filter(Q(given_up_at__isnull=True) | Q(given_up_at__gt=at), created_at__lte=at)
    return set(own.values_list("e164", flat=True))


def _absent(numbers: set[str], at: datetime) -> set[str]:
    """Those of the portal's numbers that were given up at `at`, and taken back since."""
    then = NumberAbsence.objects.filter(number__e164__in=numbers, starts_at__lte=at, ends_at__gt=at)
    return set(then.values_list("number__e164", flat=True))


def _judge(number: Number, to: str, is_own: bool, covering: Sequence[Block], at: datetime | None) -> Verdict:
    if number.given_up_at is not None and (at is None or number.given_up_at <= at):
        return _not_active(number)
    if is_own:
        return CHAT
    if not e164.is_e164(to):
        return _not_textable(to)
    if at is None and not number.account.is_active:
        return Verdict(
            False,
            "number_inactive",
            f"The carrier account of {e164.show(number.e164)} is switched off; an operator can switch it on. {CALLS}",
        )
    return _blocked(covering[0]) if covering else OK


def _blocked(block: Block) -> Verdict:
    who, said = e164.show(block.recipient.e164), _quoted(block.text)
    when = _when(block.texted_at)
    scope = {
        "kind": block.scope,
        "campaign": block.campaign
        and {"id": block.campaign.pk, "name": block.campaign.name, "registry_id": block.campaign.registry_id},
    }
    record = {
        "id": block.pk,
        "texted_number": block.texted_number,
        "text": block.text,
        "at": block.texted_at.isoformat(),
        "event": block.opened_by_id,
    }
    if isinstance(block, Hold):
        reason = (
            f"{who} wrote {said} on {when}. Texting {_reach(block)} is on hold until a person has reviewed it. {CALLS}"
        )
        return Verdict(False, "held", reason, scope, record)
    carrier_says = isinstance(block, OptOut) and block.is_carrier
    if carrier_says:
        reason = f"On {when} the carrier said that {who} has opted out of texts {_reach(block)}. {CALLS}"
        return Verdict(False, "opted_out_carrier", reason, scope, record)
    act = f"replied {said}" if block.text else "opted out"
    return Verdict(
        False,
        f"opted_out_{block.scope}",
        f"{who} {act} on {when}. Texts {_reach(block)} are blocked. {CALLS}",
        scope,
        record,
    )


def _reach(block: Block) -> str:
    if block.scope == Scope.COMPANY:
        return f"from every number of {block.company}"
    if block.scope == Scope.CAMPAIGN:
        return f"from every number of the campaign “{block.campaign}”"
    return f"from {e164.show(block.texted_number)}"


def _quoted(text: str) -> str:
    """What was said, in a sentence: a command bare in capitals, other words in quotes and shortened."""
    if len(text) <= 12 and text.isascii() and text.replace(" ", "").replace("-", "").isalpha() and text == text.strip():
        return text.upper()
    shown = text if len(text) <= 80 else f"{text[:79]}…"
    return f"“{shown}”"


def _when(moment: datetime) -> str:
    local = timezone.localtime(moment)
    return f"{formats.date_format(local, 'M j, Y')} at {formats.date_format(local, 'g:i A T')}"


def _not_active(number: Number) -> Verdict:
    return Verdict(
        False,
        "number_inactive",
        f"{e164.show(number.e164)} was given up and sends no texts. Use another number of the office. {CALLS}",
    )


def _not_yours(written: str) -> Verdict:
    return Verdict(
        False,
        "number_inactive",
        f"{written[:40]} is not an active number of your company. Check the “from” number. {CALLS}",
    )


def _not_textable(written: str) -> Verdict:
    return Verdict(
        False,
        "not_textable",
        f"{written[:40]} cannot be texted: it is no full phone number. Write it like +12025550143. {CALLS}",
    )


def _parsed(parse: Any, written: str) -> str | None:
    try:
        return str(parse(written))
    except e164.NotAPhoneNumber:
        return None
