"""“Could we text them then?” on a recipient's page: the question, and the answer as far as the user may see it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import formats, timezone
from django.utils.dateparse import parse_datetime
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from messaging import point_in_time
from messaging.admin.columns import PREVIEW, row_link
from messaging.gate import CALLS
from messaging.models import ConsentEvent, Conversation, Hold, OptOut, Recipient
from messaging.models.record import Block, Scope
from offices import access, e164
from offices.models import Number

CODES = {
    "ok": "Nothing stood against it",
    "chat": "Chat between two of the portal's numbers",
    "opted_out_company": "Opted out of the whole company",
    "opted_out_campaign": "Opted out of one campaign",
    "opted_out_number": "Opted out of one number",
    "opted_out_carrier": "Opted out at the carrier",
    "held": "On hold until reviewed",
    "number_inactive": "Our number was not in use",
    "not_textable": "No number that can be texted",
}
# Moments that clocks and databases can tell; nothing is on record before.
EARLIEST_YEAR, LATEST_YEAR = 1970, 9998


class TwoMoments(forms.ValidationError):
    """A time that the clock showed twice: `moments` are both of them."""

    def __init__(self, moments: list[datetime]) -> None:
        super().__init__("The clocks were put back then, and showed this time twice. Choose one of the two below.")
        self.moments = moments


class NumberThen(forms.ModelChoiceField):
    """One of our numbers, also one that was given up since."""

    def label_from_instance(self, number: Any) -> str:
        return str(number) if number.is_active else f"{number}, given up"


class MomentInZone(forms.Field):
    """A moment as typed in the portal's zone; or with a zone of its own, as addresses keep it."""

    widget = UnfoldAdminTextInputWidget

    def to_python(self, value: Any) -> datetime | None:
        if not value:
            return None
        try:
            moment = parse_datetime(str(value).strip())
        except ValueError:
            moment = None
        if moment is None:
            raise forms.ValidationError("Write a date and a time, for example 2026-11-03 14:15:07.")
        if not EARLIEST_YEAR <= moment.year <= LATEST_YEAR:
            raise forms.ValidationError(f"Choose a date from {EARLIEST_YEAR} on.")
        moment = _in_zone(moment) if moment.tzinfo is None else moment.astimezone(UTC)
        if moment > timezone.now():
            raise forms.ValidationError("This moment is yet to come: the gate knows the past and now.")
        return moment

    def prepare_value(self, value: Any) -> Any:
        """As the browser's own field for dates and times wants it."""
        if isinstance(value, str):
            try:
                value = parse_datetime(value.strip())
            except ValueError:
                return value
        if not isinstance(value, datetime):
            return value
        known = value.tzinfo is not None and EARLIEST_YEAR <= value.year <= LATEST_YEAR
        local = timezone.localtime(value) if known else value
        return local.replace(tzinfo=None, microsecond=0).isoformat()


class QuestionForm(forms.Form):
    number = NumberThen(
        Number.objects.none(),
        label="From our number",
        to_field_name="e164",
        empty_label=None,
        widget=UnfoldAdminSelectWidget,
        error_messages={
            "required": "Choose one of our numbers.",
            "invalid_choice": "Choose one of our numbers: this is none that you can see here.",
        },
    )
    at = MomentInZone(label="At", error_messages={"required": "Choose a date and a time."})

    def __init__(self, numbers: QuerySet[Number], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["number"].queryset = numbers  # type: ignore[attr-defined]
        self.fields["at"].widget = UnfoldAdminTextInputWidget(
            attrs={"type": "datetime-local", "step": "1", "aria-describedby": "then-zone then_at_error"}
        )

    def clean(self) -> dict[str, Any]:
        asked = super().clean() or {}
        number, at = asked.get("number"), asked.get("at")
        if number and at and at < (came := point_in_time.in_portal_since(number)):
            self.add_error(
                "at",
                f"{e164.show(number.e164)} came into the portal on {exactly(came)}. Nobody could be texted from it "
                "before.",
            )
        return asked

    @property
    def both_moments(self) -> list[datetime]:
        """The two that a time may mean which the clock showed twice."""
        errors = self.errors.as_data().get("at", []) if self.is_bound else []
        return [moment for error in errors if isinstance(error, TwoMoments) for moment in error.moments]


def section(request: HttpRequest, recipient: Recipient) -> dict[str, Any]:
    """What the section of the recipient's page shows; with `number` and `at` in the address, the answer too."""
    numbers = access.visible_to(request.user, Number).filter(company_id=recipient.company_id).order_by("e164")
    asked = request.GET if {"number", "at"} & set(request.GET) else None
    usual = {"number": _newest(request, numbers, recipient), "at": timezone.now()}
    form = QuestionForm(numbers, asked, initial=usual, auto_id="then_%s")
    shown: dict[str, Any] = {
        "form": form,
        "zone": timezone.get_current_timezone_name(),
        "zone_now": timezone.localtime().strftime("%Z"),
        "has_numbers": numbers.exists(),
        "calls": CALLS,
    }
    if asked is not None and form.is_valid():
        number, at = form.cleaned_data["number"], form.cleaned_data["at"]
        shown["answer"] = _shown(request, number, recipient, point_in_time.answer(number, recipient, at))
    elif form.both_moments:
        shown["either"] = [
            {"when": exactly(moment), "address": address(request.GET.get("number", ""), moment)}
            for moment in form.both_moments
        ]
    return shown


def address(number: str, at: datetime) -> str:
    """The question as the end of an address that means the same moment wherever it is opened."""
    return f"?{urlencode({'number': number, 'at': at.astimezone(UTC).isoformat().replace('+00:00', 'Z')}, safe=':')}"


def exactly(at: datetime) -> str:
    """A moment with seconds and its zone, and with what lies behind the second where there is something."""
    local = timezone.localtime(at)
    fraction = f".{local:%f}".rstrip("0") if local.microsecond else ""
    # Django's own "T" is silent in the hour that the clocks show twice.
    return f"{formats.date_format(local, 'M j, Y, g:i:s')}{fraction} {formats.date_format(local, 'A')} {local:%Z}"


def _shown(request: HttpRequest, number: Number, recipient: Recipient, found: point_in_time.Answer) -> dict[str, Any]:
    verdict, known = found.verdict, point_in_time.known_since(recipient)
    events = access.visible_to(request.user, ConsentEvent)
    before, after = point_in_time.events_around(events, recipient, found.at)
    return {
        "verdict": verdict,
        "code": CODES[verdict.code],
        "question": f"{e164.show(number.e164)} to {e164.show(recipient.e164)}",
        "at": exactly(found.at),
        "address": address(number.e164, found.at),
        "unknown": f"{e164.show(recipient.e164)} was not known to {recipient.company} then: the first that is on "
        f"record of them is of {exactly(known)}."
        if found.at < known
        else "",
        "opt_out": _opt_out(request, verdict.code, verdict.opt_out),
        "since": found.since and {"when": exactly(found.since), "at_least": found.since_at_least},
        "until": found.until and {"when": exactly(found.until), "at_least": found.until_at_least},
        "earlier": found.since and address(number.e164, found.since - point_in_time.INSTANT),
        "later": found.until and address(number.e164, found.until),
        "may_see_record": access.may(request.user, "view", ConsentEvent),
        "before": [_event(event) for event in before],
        "after": [_event(event) for event in after],
    }


def _opt_out(request: HttpRequest, code: str, decided: dict[str, Any] | None) -> dict[str, Any] | None:
    """The opt-out or hold that decided. What is another office's is told as far as the gate's own sentence does."""
    if decided is None:
        return None
    model: type[Block] = Hold if code == "held" else OptOut
    block = model._default_manager.select_related("campaign", "opened_by").get(pk=decided["id"])
    in_reach = access.may(request.user, "view", block)
    event = block.opened_by
    return {
        "noun": "Hold" if code == "held" else "Opt-out",
        "text": block.text if in_reach else None,
        "number": e164.show(block.texted_number) if in_reach else "A number of another office",
        "texted": exactly(block.texted_at),
        "in_force": exactly(block.opened_at),
        "closed": exactly(block.closed_at) if block.closed_at else "",
        "scope": _scope(block, in_reach),
        "link": row_link(block, f"{'Hold' if code == 'held' else 'Opt-out'} {block.pk}") if in_reach else "",
        "event": row_link(event, f"Entry {event.pk}") if access.may(request.user, "view", event) else "",
    }


def _scope(block: Block, in_reach: bool) -> str:
    if block.scope == Scope.COMPANY:
        return f"Every number of {block.company}"
    if block.scope == Scope.CAMPAIGN:
        return f"Every number of the campaign “{block.campaign}”"
    return f"{e164.show(block.texted_number)} only" if in_reach else "One number"


def _event(event: ConsentEvent) -> dict[str, Any]:
    text = event.received_text
    return {
        "stored": exactly(event.stored_at),
        "kind": row_link(event, event.get_kind_display()),
        "text": f"{text[:PREVIEW]}…" if len(text) > PREVIEW else text,
        "number": e164.show(event.number_e164),
        "by": event.actor_name or event.get_source_display(),
    }


def _newest(request: HttpRequest, numbers: QuerySet[Number], recipient: Recipient) -> str:
    """Of our number in the newest conversation with them that the user may see; else of any; else empty."""
    talks = access.visible_to(request.user, Conversation).filter(recipient=recipient, number__in=numbers)
    found = talks.order_by("-last_message_at", "-pk").values_list("number__e164", flat=True).first()
    return found or numbers.values_list("e164", flat=True).first() or ""


def _in_zone(naive: datetime) -> datetime:
    """The moment at which the portal's clock showed `naive`, in UTC."""
    zone = timezone.get_current_timezone()
    first, second = (naive.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(UTC)
    moments = [first.astimezone(UTC), second.astimezone(UTC)]
    if moments[0].astimezone(zone).replace(tzinfo=None) != naive:
        raise forms.ValidationError("The clocks were put forward then, and never showed this time.")
    raise TwoMoments(moments)
