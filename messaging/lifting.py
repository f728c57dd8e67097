"""Lifting an opt-out by hand: one company admin asks, with evidence of new consent; a second one decides."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from messaging import by_hand, consent, gate
from messaging.models import ConsentEvent, LiftRequest, OptOut, Recipient
from messaging.models.record import Scope
from offices import access
from offices.models import Number, User

Decision = LiftRequest.Decision
Kind = ConsentEvent.Kind

ANSWERED = {Decision.APPROVED: "approved", Decision.REFUSED: "refused", Decision.WITHDRAWN: "withdrawn"}
CARRIERS_OWN = (
    "The carrier keeps this opt-out, and would refuse the texts whatever is decided here. "
    "The recipient lifts it by texting START to that number."
)
STOPPED_SINCE = "The recipient opted out again after this was asked for, so the evidence is older than their last wish."
NOTHING_LEFT = "The opt-out is no longer in force: there is nothing to lift."


def obstacle(found: OptOut) -> str:
    """Why it cannot be asked to lift this opt-out; "" when it can."""
    if found.is_carrier:
        return CARRIERS_OWN
    if not found.is_open:
        return NOTHING_LEFT
    if LiftRequest.objects.filter(opt_out=found, decision=Decision.WAITING).exists():
        return "It has been asked already to lift this opt-out, and waits for a decision."
    return ""


@transaction.atomic
def ask(opt_out_id: int, *, user: User, evidence: str) -> tuple[LiftRequest | None, str]:
    """Ask to lift the opt-out: the request and "", or None and why not. Raises PermissionDenied for all but admins
    of its company."""
    known = OptOut.objects.select_related("recipient").get(pk=opt_out_id)
    if not access.is_company_admin(user, known.company_id):
        raise PermissionDenied
    recipient = Recipient.objects.locked(known.company_id, known.recipient.e164)
    found = OptOut.objects.select_related("campaign").get(pk=opt_out_id)
    if why_not := obstacle(found):
        return None, why_not
    event = consent.note(
        recipient, found, actor=user, reason=f"Asked to lift {_named(found)}.\nEvidence of new consent: {evidence}"
    )
    made = LiftRequest.objects.create(
        company_id=found.company_id,
        recipient=recipient,
        opt_out=found,
        requested_by=user,
        evidence=evidence,
        requested_at=timezone.now(),
        requested_event=event,
    )
    return made, ""


@transaction.atomic
def decide(request_id: int, wanted: Decision, *, user: User, note: str) -> tuple[LiftRequest, str]:
    """Settle a request as `wanted`: the request as it is then, and "" or why it is not settled like that.

    Approved or refused by another company admin than the one who asked, withdrawn by that one. An approval is turned
    into a refusal when the recipient has opted out again since, or nothing is left to lift. Settling it again changes
    nothing. Raises PermissionDenied for all but admins of its company.
    """
    known = LiftRequest.objects.select_related("recipient").get(pk=request_id)
    if not access.is_company_admin(user, known.company_id):
        raise PermissionDenied
    recipient = Recipient.objects.locked(known.company_id, known.recipient.e164)
    rows = LiftRequest.objects.select_related("requested_by", "opt_out__campaign", "decided_by")
    waiting = rows.select_for_update(of=("self",)).get(pk=request_id)
    if not waiting.is_waiting:
        return waiting, f"{waiting.decided_by} was faster: {waiting.get_decision_display().lower()}."
    is_own = waiting.requested_by_id == user.pk
    if is_own and wanted != Decision.WITHDRAWN:
        return waiting, "You asked for it: another company admin has to decide. You can withdraw it."
    if not is_own and wanted == Decision.WITHDRAWN:
        return waiting, "Only whoever asked withdraws it. You can refuse it."
    why_not = overtaken(waiting) if wanted == Decision.APPROVED else ""
    if why_not:
        wanted, note = Decision.REFUSED, f"{why_not} {note}".strip()
    asked = (
        f"{waiting.requested_by} (login {waiting.requested_by_id}) asked on {waiting.requested_at.isoformat()}, "
        f"entry {waiting.requested_event_id}"
    )
    reason = f"Lifting {_named(waiting.opt_out)}: {ANSWERED[wanted]} by {user} (login {user.pk}). {asked}."
    reason += f"\nEvidence of new consent: {waiting.evidence}" + (f"\nNote: {note}" if note else "")
    write = consent.lift if wanted == Decision.APPROVED else consent.note
    event = write(recipient, waiting.opt_out, actor=user, reason=reason)
    waiting.decision, waiting.decided_by, waiting.note = wanted, user, note
    waiting.decided_at, waiting.decided_event = timezone.now(), event
    waiting.save(update_fields=["decision", "decided_by", "decided_at", "decided_event", "note"])
    return waiting, why_not


def freed(found: OptOut) -> tuple[list[Number], list[Number]]:
    """The numbers that lifting this opt-out alone would let text the recipient again, and those that stay blocked."""
    numbers = by_hand.covered(found)
    to = found.recipient.e164
    covering = gate.blocks_covering([(number, to) for number in numbers])
    others = {
        number.pk
        for number in numbers
        if any(not isinstance(block, OptOut) or block.pk != found.pk for block in covering.get((number.pk, to), ()))
    }
    return [n for n in numbers if n.pk not in others], [n for n in numbers if n.pk in others]


def overtaken(waiting: LiftRequest) -> str:
    """Why what was asked for is out of date; "" when it is not."""
    # By the order in the record, not by the carrier's time: a STOP that came late counts too.
    since = ConsentEvent.objects.filter(recipient=waiting.recipient_id, pk__gt=waiting.requested_event_id)
    wishes = Q(kind__in=[Kind.OPT_OUT, Kind.CARRIER]) | Q(kind__in=[Kind.MANUAL, Kind.IMPORT], scope__in=Scope.values)
    if since.filter(wishes).exists():
        return STOPPED_SINCE
    return "" if waiting.opt_out.is_open else NOTHING_LEFT


def _named(found: OptOut) -> str:
    """An opt-out as the record names it."""
    scope = {
        Scope.COMPANY: "the whole company",
        Scope.CAMPAIGN: f"the campaign “{found.campaign}” (id {found.campaign_id})",
        Scope.NUMBER: f"the number {found.texted_number}",
    }[Scope(found.scope)]
    return f"opt-out {found.pk} of {scope}, opened by entry {found.opened_by_id}"
