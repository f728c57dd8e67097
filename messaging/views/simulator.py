"""The phone simulator, in demo and development: the recipient's handset, and beside it the sender's page."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models.functions import Left
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from messaging import simulated_phone
from messaging.models import ConsoleText, Conversation, Message, Recipient
from messaging.views import conversation as pages
from messaging.views.thread import SHOWN
from offices import access, e164
from offices.models import Number

MOST_TEXTS = 60
MOST_PHONES = 30
MOST_NUMBERS = 500
QUICK = ["STOP", "UNSTOP", "HELP", "please stop texting me"]
# Set aside for fiction: a text to one of these reaches nobody. Source: ATIS-0300115.
FICTIONAL = re.compile(r"\+1\d{3}55501\d\d")
SUGGESTED = "+12025550143"


@dataclass(frozen=True)
class HandsetText:
    """One text as the phone shows it; `is_mine` when the phone sent it."""

    is_mine: bool
    text: str
    at: datetime
    media: int


@dataclass(frozen=True)
class Line:
    """The phone (E.164, empty when none is chosen yet), our number that it texts with, and what is wrong with it."""

    number: Number | None
    phone: str
    error: str = ""

    @property
    def is_open(self) -> bool:
        return bool(self.number and self.phone and not self.error)


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    _only_where_nothing_is_real()
    line = _line(request, request.GET)
    numbers = list(_numbers(request).order_by("company__name", "office__name", "e164")[:MOST_NUMBERS])
    context = {
        **pages.admin_context(request),
        "title": "Phone simulator",
        "trail": [{"title": "Phone simulator"}],
        "numbers": numbers,
        "phones": _phones(request, line.number),
        "quick": QUICK,
        **_state(line),
        "sender_page": _sender_page(request, line),
    }
    return render(request, "messaging/simulator.html", context, status=422 if line.error else 200)


@require_GET
def live(request: HttpRequest) -> HttpResponse:
    """What the handset shows now; 204 when it is what it was at version `v`."""
    _only_where_nothing_is_real()
    line = _line(request, request.GET)
    state = _state(line)
    if request.GET.get("v") == state["version"]:
        return HttpResponse(status=204)
    return render(request, "messaging/simulator_live.html", state)


@require_POST
def send(request: HttpRequest) -> HttpResponse:
    """Have the phone send `text`: a real request to the real webhook."""
    _only_where_nothing_is_real()
    line = _line(request, request.POST)
    words = request.POST.get("text", "").replace("\r\n", "\n")
    if not line.is_open or line.number is None:
        answer = simulated_phone.Answer(0, line.error or "Choose a phone and a number first.")
    elif not words:
        answer = simulated_phone.Answer(0, "Type something first.")
    else:
        answer = simulated_phone.text(
            line.number,
            line.phone,
            words,
            # Where this very request came in: the server that is running, whatever its public address.
            base=f"http://127.0.0.1:{request.META['SERVER_PORT']}",
            host=request.get_host(),
        )
    if pages.wants_fragment(request):
        context = {**_state(line), "answer": answer}
        return render(request, "messaging/simulator_live.html", context, status=200 if answer.is_success else 422)
    messages.add_message(request, messages.SUCCESS if answer.is_success else messages.ERROR, answer.words)
    asked = {"number": line.number.pk if line.number else "", "phone": line.phone}
    return redirect(f"{reverse('messaging:simulator')}?{urlencode(asked)}")


def _only_where_nothing_is_real() -> None:
    if not (settings.DEMO or settings.DEBUG):
        raise Http404


def _numbers(request: HttpRequest) -> Any:
    return access.visible_to(request.user, Number.objects.filter(given_up_at__isnull=True)).select_related(
        "office", "company", "account__company"
    )


def _line(request: HttpRequest, asked: Any) -> Line:
    """Which phone and number are asked for, or else the ones of the newest conversation."""
    wanted, typed = asked.get("number", ""), asked.get("phone", "").strip()
    if wanted:
        number = get_object_or_404(_numbers(request), pk=wanted if re.fullmatch(r"\d{1,18}", wanted) else None)
    else:
        newest = _conversations(request).order_by("-last_message_at").first()
        number = _numbers(request).filter(pk=newest.number_id).first() if newest else None
        number = number or _numbers(request).order_by("e164").first()
    if number is None:
        return Line(None, "", "There is no number to text to yet.")
    if not typed:
        known = _conversations(request).filter(number=number, recipient__e164__startswith="+")
        newest = known.select_related("recipient").order_by("-last_message_at").first()
        return Line(number, newest.recipient.e164 if newest else SUGGESTED)
    try:
        phone = e164.parse(typed)
    except e164.NotAPhoneNumber as error:
        return Line(number, "", str(error))
    known_phones = Recipient.objects.filter(company_id=number.company_id, e164=phone)
    may_be_played = (
        FICTIONAL.fullmatch(phone)
        or access.visible_to(request.user, known_phones).exists()
        or access.visible_to(request.user, Number).filter(e164=phone).exists()
    )
    if not may_be_played:
        return Line(number, "", "Play a recipient that is known here, or a fictional number such as +1 202-555-0143.")
    return Line(number, phone)


def _conversations(request: HttpRequest) -> Any:
    return access.visible_to(request.user, Conversation.objects.filter(number__given_up_at__isnull=True))


def _phones(request: HttpRequest, number: Number | None) -> list[Recipient]:
    """Recipients to choose from: those who texted with the number last."""
    if number is None:
        return []
    found = _conversations(request).filter(number=number, recipient__e164__startswith="+").select_related("recipient")
    return [conversation.recipient for conversation in found.order_by("-last_message_at")[:MOST_PHONES]]


def _state(line: Line) -> dict[str, Any]:
    """All of the handset that changes while the page is open."""
    conversation, texts = None, []
    if line.is_open and line.number:
        conversation = Conversation.objects.filter(
            number=line.number, recipient__company_id=line.number.company_id, recipient__e164=line.phone
        ).first()
        texts = _texts(line.number, line.phone, conversation)
    shown = repr([(text.is_mine, text.at, text.text[:40]) for text in texts] + [conversation and conversation.pk])
    return {
        "line": line,
        "their_number": e164.show(line.phone) if line.phone else "",
        "our_number": e164.show(line.number.e164) if line.number else "",
        "texts": texts,
        "conversation": conversation,
        "version": hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()[:20],
    }


def _texts(number: Number, phone: str, conversation: Conversation | None) -> list[HandsetText]:
    """What the phone sent, and what truly left for it: taken by the console carrier, or said to be sent by another."""
    found = []
    if conversation is not None:
        sent = Message.objects.filter(conversation=conversation).defer("text").annotate(shown=Left("text", SHOWN))
        mine = sent.filter(direction=Message.Direction.IN).order_by("-pk")[:MOST_TEXTS]
        found += [HandsetText(True, one.shown, one.created_at, len(one.media)) for one in mine]
        left = sent.filter(
            direction=Message.Direction.OUT, state__in=[Message.State.SENT, Message.State.DELIVERED]
        ).exclude(account__carrier="console")
        found += [
            HandsetText(False, one.shown, one.created_at, len(one.media)) for one in left.order_by("-pk")[:MOST_TEXTS]
        ]
    taken = ConsoleText.objects.filter(to=phone, sender=number.e164).order_by("-pk")[:MOST_TEXTS]
    found += [HandsetText(False, one.text[:SHOWN], one.taken_at, len(one.media)) for one in taken]
    return sorted(found, key=lambda text: text.at)[-MOST_TEXTS:]


def _sender_page(request: HttpRequest, line: Line) -> str:
    """What stands beside the phone: the conversation, or the page that begins one; empty when there is neither."""
    state = _state(line)
    if state["conversation"]:
        return pages.address_of(state["conversation"], embed=True)
    if line.number and line.is_open and access.may(request.user, "send", Conversation):
        asked = {"embed": "1", "number": str(line.number.pk), "to": e164.show(line.phone)}
        return f"{reverse('messaging:new_conversation')}?{urlencode(asked)}"
    return ""
