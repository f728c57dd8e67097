"""Recording an opt-out that was no text: the form, then what it would block and cancel, then the record."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from messaging import by_hand
from messaging.admin.columns import moment
from messaging.models import Message, Recipient
from messaging.models.record import Scope
from offices import access, e164
from offices.models import Company, Number, User
from offices.scoped_admin import ScopedAdmin

TITLE = "Record an opt-out"
MOST_SHOWN = 50
AS_STOP, COMPANY = "as_stop", "company"
WRITTEN = "%Y-%m-%dT%H:%M"  # as browsers write a date with its time


def numbers_of(user: User, company: Company | None = None) -> QuerySet[Number]:
    """The numbers that `user` may record opt-outs for."""
    found = access.visible_to(user, Number, "opt_out").select_related("office", "company")
    found = found.order_by("company__name", "office__name", "e164")
    return found.filter(company=company) if company else found


def companies_of(user: User, company: Company | None = None) -> QuerySet[Company]:
    """The companies for which `user` may record opt-outs that were about no number in particular."""
    found = access.visible_to(user, Company, "opt_out")
    return found.filter(pk=company.pk) if company else found


def may_record(user: Any, company: Company | None = None) -> bool:
    if not access.may(user, "opt_out", Number):
        return False
    return company is None or companies_of(user, company).exists() or numbers_of(user, company).exists()


class NumberOrNone(forms.ModelChoiceField):
    """Our numbers by office; "no number in particular" for those who may speak for the whole company."""

    may_be_none = False

    def label_from_instance(self, number: Number) -> str:
        return f"{number} (given up)" if number.given_up_at else str(number)

    @property
    def choices(self) -> Any:
        groups: dict[str, list[tuple[int, str]]] = {}
        for number in self.queryset or ():
            group = groups.setdefault(f"{number.office}, {number.company}", [])
            group.append((number.pk, self.label_from_instance(number)))
        return [("", "No number in particular" if self.may_be_none else "Choose a number"), *groups.items()]

    @choices.setter
    def choices(self, value: Any) -> None:
        """Set by the parent class; ours are always read anew."""


class ByHandForm(forms.Form):
    """What somebody told us, and how."""

    to = forms.CharField(
        label="Recipient's number",
        max_length=40,
        widget=UnfoldAdminTextInputWidget(
            attrs={"type": "tel", "autocomplete": "off", "placeholder": "+1 202-555-0143"}
        ),
        help_text="Also of somebody who has never texted you.",
        error_messages={"required": "Type the recipient's number."},
    )
    number = NumberOrNone(
        Number.objects.none(),
        label="Which of our numbers it was about",
        widget=UnfoldAdminSelectWidget,
        error_messages={"required": "Choose the number that it was about."},
    )
    reach = forms.ChoiceField(
        label="What it blocks",
        choices=[
            (AS_STOP, "What a STOP to that number blocks"),
            (COMPANY, "Every number of the company"),
        ],
        initial=AS_STOP,
        widget=UnfoldAdminRadioSelectWidget,
        help_text="A STOP blocks the number's registered campaign or, for a number in none, the whole company; "
        "an opt-out about no number in particular blocks the whole company.",
    )
    way = forms.ChoiceField(
        label="How it came",
        choices=[("", "Choose"), *by_hand.Way.choices],
        widget=UnfoldAdminSelectWidget,
        error_messages={"required": "Say how it came."},
    )
    at = forms.DateTimeField(
        label="When it came",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
        error_messages={"required": "Say when it came.", "invalid": "Write a date and a time."},
    )
    reason = forms.CharField(
        label="Reason",
        min_length=3,
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="In a few words, for example: Asked not to be texted any more.",
        error_messages={"required": "Say in a few words what was wished."},
    )
    evidence = forms.CharField(
        label="Evidence",
        min_length=15,
        max_length=4000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="Who said what to whom, and where that is kept. The record keeps it with your name.",
        error_messages={
            "required": "Say who said what to whom.",
            "min_length": "Say who said what to whom: at least %(limit_value)d characters.",
        },
    )

    def __init__(self, user: User, recipient: Recipient | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.recipient = recipient
        company = recipient.company if recipient else None
        if recipient:
            del self.fields["to"]
        self.companies = list(companies_of(user, company)[:2])
        number = self.fields["number"]
        assert isinstance(number, NumberOrNone)
        number.may_be_none = bool(self.companies)
        number.queryset = numbers_of(user, company)
        number.required = not self.companies
        now = timezone.localtime()
        self.fields["at"].initial = now.strftime(WRITTEN)
        self.fields["at"].help_text = f"In the portal's time ({now.tzname()}), which is now {now:%H:%M}."

    def clean_to(self) -> str:
        try:
            return e164.parse(self.cleaned_data["to"])
        except e164.NotAPhoneNumber as error:
            raise forms.ValidationError(str(error)) from None

    def clean_at(self) -> Any:
        at = self.cleaned_data["at"]
        if at > timezone.now():
            raise forms.ValidationError("That is still to come. Say when it came.")
        return at

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "number" not in cleaned:
            return cleaned
        number = cleaned["number"]
        if number:
            company = number.company
        elif len(self.companies) == 1:
            company = self.companies[0]
        else:
            self.add_error("number", "Choose a number: there are several companies.")
            return cleaned
        address = self.recipient.e164 if self.recipient else cleaned.get("to")
        if Number.objects.filter(company=company, e164=address, given_up_at__isnull=True).exists():
            self.add_error("to" if "to" in self.fields else None, "That is one of your own numbers.")
        cleaned["company"] = company
        return cleaned

    def wish(self) -> by_hand.Wish:
        given = self.cleaned_data
        return by_hand.Wish(
            company=given["company"],
            address=self.recipient.e164 if self.recipient else given["to"],
            number=given["number"],
            whole_company=given["reach"] == COMPANY,
            at=given["at"],
            way=given["way"],
            reason=given["reason"],
            evidence=given["evidence"],
        )


def respond(model_admin: ScopedAdmin, request: HttpRequest, recipient: Recipient | None = None) -> HttpResponse:
    """The page: the form; its second step, which shows the scope; and the record."""
    user = request.user
    if not may_record(user, recipient.company if recipient else None):
        raise PermissionDenied
    assert isinstance(user, User)
    posted = request.method == "POST"
    form = ByHandForm(user, recipient, request.POST if posted else None)
    shown: dict[str, Any] = {}
    status = 200
    if posted and not form.is_valid():
        status = 422
    elif posted and "edit" not in request.POST:
        wish = form.wish()
        confirmed = request.POST.get("confirmed", "")
        if confirmed and by_hand.record(wish, actor=user, shown=confirmed):
            messages.success(request, f"Recorded: {e164.show(wish.address)} has opted out.")
            return redirect(_after(user, wish))
        if confirmed:
            messages.warning(request, "What it would block has changed meanwhile. Nothing is recorded yet: look again.")
        shown = _scope_shown(user, wish)
    opts = model_admin.opts
    above = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
    trail = [{"title": "Recipients" if recipient else "Opt-outs", "link": above}]
    if recipient:
        above = reverse("admin:messaging_recipient_change", args=[recipient.pk])
        trail.append({"title": str(recipient), "link": above})
    request.current_app = model_admin.admin_site.name
    context = {
        **model_admin.admin_site.each_context(request),
        "title": TITLE,
        "trail": [*trail, {"title": TITLE}],
        "opts": opts,
        "form": form,
        "who": str(recipient) if recipient else "",
        "back": above,
        **shown,
    }
    return render(request, "messaging/admin/by_hand.html", context, status=status)


def _scope_shown(user: User, wish: by_hand.Wish) -> dict[str, Any]:
    """The second step's facts. Of other offices' numbers and texts only how many there are."""
    plan = by_hand.plan(wish)
    seen = set(access.visible_to(user, Number).values_list("pk", flat=True))
    texts = access.visible_to(user, Message).filter(pk__in=[text.pk for text in plan.texts])
    own_texts = set(texts.values_list("pk", flat=True))
    numbers = [number for number in plan.numbers if number.pk in seen]
    waiting = [text for text in plan.texts if text.pk in own_texts]
    campaign = plan.where["campaign"]
    return {
        "plan": plan,
        "address": e164.show(wish.address),
        "scope": (
            f"Every number of {wish.company}"
            if plan.where["scope"] == Scope.COMPANY
            else f"Every number of the campaign “{campaign}”, also those that join it later"
        ),
        "numbers": [(number, number.office) for number in numbers[:MOST_SHOWN]],
        "more_numbers": len(plan.numbers) - len(numbers[:MOST_SHOWN]),
        "texts": [(text.text, moment(text.created_at), text.number) for text in waiting[:MOST_SHOWN]],
        "more_texts": len(plan.texts) - len(waiting[:MOST_SHOWN]),
        "about": str(wish.number) if wish.number else "no number in particular",
        "came": f"{by_hand.Way(wish.way).label}, {moment(wish.at)}",
        "reason": wish.reason,
        "evidence": wish.evidence,
        "since": moment(plan.opted_in_since.received_at) if plan.opted_in_since else "",
    }


def _after(user: User, wish: by_hand.Wish) -> str:
    recipient = access.visible_to(user, Recipient).filter(company=wish.company, e164=wish.address).first()
    if recipient:
        return reverse("admin:messaging_recipient_change", args=[recipient.pk])
    return reverse("admin:messaging_optout_changelist")
