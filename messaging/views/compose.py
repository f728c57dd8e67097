"""A new conversation: one of our numbers, a recipient's number, a first text; and how many segments it takes."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from messaging import gate, outbox, segments
from messaging.models import Conversation, Message
from messaging.views import conversation as pages
from messaging.views import thread
from offices import access, e164
from offices.models import Number, User

MOST_COUNTED = 100_000  # characters; nobody types more, and no carrier takes it


class NumberChoice(forms.ModelChoiceField):
    """Our numbers, grouped by office, so that a long list can be read."""

    def label_from_instance(self, number: Number) -> str:
        return str(number)

    @property
    def choices(self) -> Any:
        groups: dict[str, list[tuple[int, str]]] = {}
        for number in self.queryset or ():
            groups.setdefault(f"{number.office}, {number.company}", []).append((number.pk, str(number)))
        blank = [("", "Choose a number")] if sum(map(len, groups.values())) > 1 else []
        return [*blank, *groups.items()]

    @choices.setter
    def choices(self, value: Any) -> None:
        """Set by the parent class; ours are always read anew."""


class NewConversationForm(pages.TextForm):
    number = NumberChoice(
        Number.objects.none(),
        label="From",
        widget=UnfoldAdminSelectWidget,
        error_messages={"required": "Choose the number to text from."},
    )
    to = forms.CharField(
        label="To",
        max_length=40,
        widget=UnfoldAdminTextInputWidget(
            attrs={
                "type": "tel",
                "autocomplete": "off",
                "placeholder": "+1 202-555-0143",
                "aria-describedby": "to-verdict",
            }
        ),
        error_messages={"required": "Type the recipient's number."},
    )
    field_order = ["number", "to", "text"]

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["number"].queryset = numbers_to_text_from(user)  # type: ignore[attr-defined]
        self.fields["text"].widget = UnfoldAdminTextareaWidget(
            attrs={"rows": 4, "aria-describedby": "segments", "data-counted": reverse("messaging:segments")}
        )
        self.fields["text"].label = "Text"

    def clean_to(self) -> str:
        try:
            return e164.parse(self.cleaned_data["to"])
        except e164.NotAPhoneNumber as error:
            raise forms.ValidationError(str(error)) from None


def numbers_to_text_from(user: User) -> QuerySet[Number]:
    """The active numbers in whose conversations `user` may write."""
    numbers = Number.objects.filter(given_up_at__isnull=True, account__is_active=True)
    if not access.is_operator(user):
        companies, offices, _ = access.reach(user, Conversation, "send")
        numbers = numbers.filter(Q(company__in=companies) | Q(office__in=offices))
    return numbers.select_related("office", "company", "account").order_by("company__name", "office__name", "e164")


@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """The page, and its form sent. A refused text stays in the form, under the verdict."""
    user = request.user
    assert isinstance(user, User)
    if not access.may(user, "send", Conversation):
        raise PermissionDenied("You may read conversations, but not begin one.")
    if request.method != "POST":
        asked = {name: request.GET.get(name, "") for name in ("number", "to")}
        return _page(request, NewConversationForm(user, initial=asked))
    form = NewConversationForm(user, request.POST)
    if not form.is_valid():
        return _page(request, form, status=422)
    number, to = form.cleaned_data["number"], form.cleaned_data["to"]
    message = outbox.accept(
        number, to, form.cleaned_data["text"], author=user, idempotency_key=form.idempotency_key(number, to)
    )
    if message.state == Message.State.REFUSED:
        verdict = gate.check(message.number, message.recipient)
        return _page(request, form, verdict=verdict, conversation=message.conversation, status=409)
    return redirect(pages.address_of(message.conversation, embed=pages.is_embedded(request)))


@require_POST
def check(request: HttpRequest) -> HttpResponse:
    """May a text go from `number` to `to`? The verdict as a fragment; empty until both are there."""
    user = request.user
    assert isinstance(user, User)
    wanted = request.POST.get("number", "")
    number = numbers_to_text_from(user).filter(pk=wanted).first() if wanted.isdecimal() and len(wanted) < 19 else None
    try:
        to = e164.parse(request.POST.get("to", "")[:40])
    except e164.NotAPhoneNumber:
        return HttpResponse()
    if number is None:
        return HttpResponse()
    verdict = gate.check_many([(number, to)])[0]
    found = Conversation.objects.filter(number=number, recipient__company=number.company, recipient__e164=to).first()
    context = _verdict(verdict, found) | {"their_number": e164.show(to), "to": to}
    return render(request, "messaging/compose_verdict.html", context)


@require_POST
def count_segments(request: HttpRequest) -> HttpResponse:
    """How many segments `text` takes, as a fragment for under the box that it is typed in."""
    text = request.POST.get("text", "").replace("\r\n", "\n").strip()[:MOST_COUNTED]
    counted = segments.count(text)
    odd = next((c for c in text if c not in segments.BASIC and c not in segments.EXTENDED), "")
    return render(request, "messaging/segments.html", {"characters": len(text), "segments": counted, "odd": odd})


def _page(
    request: HttpRequest,
    form: NewConversationForm,
    *,
    verdict: gate.Verdict | None = None,
    conversation: Conversation | None = None,
    status: int = 200,
) -> HttpResponse:
    all_conversations = reverse("admin:messaging_conversation_changelist")
    context = {
        **pages.admin_context(request, section=all_conversations),
        "title": "New conversation",
        "trail": [
            {"title": "Conversations", "link": all_conversations},
            {"title": "New conversation"},
        ],
        "form": form,
        "key": uuid.uuid4().hex,
    }
    if verdict:
        to = form.cleaned_data["to"]
        context |= _verdict(verdict, conversation) | {"their_number": e164.show(to), "to": to}
    return render(request, "messaging/new_conversation.html", context, status=status)


def _verdict(verdict: gate.Verdict, conversation: Conversation | None) -> dict[str, Any]:
    return {"standing": thread.standing(verdict, may_send=True), "conversation": conversation}
