"""The conversation's page: its texts, whether one may write, and the box to write in; kept live while it is open."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from messaging import gate, outbox
from messaging.models import Conversation, Hold, Message
from messaging.serializers import LONGEST_TEXT
from messaging.views import thread
from offices import access, e164
from offices.models import Number, User


class TextForm(forms.Form):
    """One text to send. `key` makes the same form sent twice one text."""

    text = forms.CharField(
        max_length=LONGEST_TEXT,
        error_messages={
            "required": "Write something first.",
            "max_length": "Carriers take at most %(limit_value)d characters at once; this has %(show_value)d.",
        },
    )
    key = forms.CharField(required=False, max_length=32)

    def clean_text(self) -> str:
        # As it is counted and sent: a browser ends lines with two characters.
        text: str = self.cleaned_data["text"]
        return text.replace("\r\n", "\n")

    def idempotency_key(self, number: Number, to: str) -> str:
        """A key for this text from this form; other words or another recipient make it another text."""
        key = self.cleaned_data["key"]
        if not re.fullmatch(r"[0-9a-f]{32}", key):
            return ""
        about = repr((number.pk, to, self.cleaned_data["text"]))
        return f"page-{key}-{hashlib.sha256(about.encode()).hexdigest()[:32]}"


@require_GET
def page(request: HttpRequest, pk: int) -> HttpResponse:
    return _page(request, seen(request, pk))


@require_GET
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """What changed since the version `v` that the page shows; 204 when nothing did."""
    conversation = seen(request, pk)
    verdict = gate.check(conversation.number, conversation.recipient)
    version = thread.version(conversation, verdict)
    if request.GET.get("v") == version:
        return HttpResponse(status=204)
    return render(request, "messaging/live.html", _state(request, conversation, verdict, version))


@require_GET
def older(request: HttpRequest, pk: int) -> HttpResponse:
    """The fifty texts before the one with the id `before`, as a fragment."""
    conversation = seen(request, pk)
    found = thread.read(conversation, before=_id(request.GET.get("before")))
    return render(request, "messaging/thread.html", {"thread": found, "conversation": conversation})


@require_GET
def whole_text(request: HttpRequest, pk: int) -> HttpResponse:
    """One text from beginning to end, as plain text, which no browser takes for anything else."""
    found = get_object_or_404(access.visible_to(request.user, Message), pk=pk)
    return HttpResponse(found.text, content_type="text/plain; charset=utf-8")


@require_POST
def send(request: HttpRequest, pk: int) -> HttpResponse:
    """Accept the text that was written, or say why not: 409 when the gate refuses, 422 when there is no text to send.
    Either way nothing that was typed is lost."""
    conversation = seen(request, pk)
    user = request.user
    assert isinstance(user, User)  # nobody else passes the login
    if not access.may(user, "send", conversation):
        raise PermissionDenied("You may read this conversation, but not write in it.")
    form = TextForm(request.POST)
    if not form.is_valid():
        return _answer(request, conversation, form, 422)
    number, to = conversation.number, conversation.recipient.e164
    message = outbox.accept(
        number,
        to,
        form.cleaned_data["text"],
        author=user,
        idempotency_key=form.idempotency_key(number, to),
    )
    if message.state == Message.State.REFUSED:
        return _answer(request, conversation, form, 409)
    if wants_fragment(request):
        return _answer(request, conversation, TextForm(), 200)
    return redirect(address_of(conversation, embed=is_embedded(request)))


def seen(request: HttpRequest, pk: int) -> Conversation:
    """The conversation, with all that gate and page read of it; 404 unless the user may see it."""
    rows = access.visible_to(request.user, Conversation).select_related(
        "recipient", "number__office", "number__account", "number__company"
    )
    return get_object_or_404(rows, pk=pk)


def address_of(conversation: Conversation, *, embed: bool = False) -> str:
    address = reverse("messaging:conversation", args=[conversation.pk])
    return f"{address}?{urlencode({'embed': 1})}" if embed else address


def is_embedded(request: HttpRequest) -> bool:
    """True where the page stands in a frame beside the phone simulator: without sidebar and header."""
    return request.GET.get("embed") == "1"


def wants_fragment(request: HttpRequest) -> bool:
    """True when the page's own script asks, which puts the answer into the page."""
    return request.headers.get("X-Requested-With") == "fetch"


def admin_context(request: HttpRequest, *, section: str = "") -> dict[str, Any]:
    """What the admin's frame shows around a page, with the sidebar's entry that leads to the address `section` marked
    as where one is; nothing of it for an embedded page."""
    context = admin.site.each_context(request)
    for group in context["sidebar_navigation"]:
        for item in group["items"]:
            item["active"] = item["active"] or item["link"] == section
    if is_embedded(request):
        context |= {"embed": True, "is_nav_sidebar_enabled": False}
    return context


def _answer(request: HttpRequest, conversation: Conversation, form: TextForm, status: int) -> HttpResponse:
    if not wants_fragment(request):
        return _page(request, conversation, form, status)
    verdict = gate.check(conversation.number, conversation.recipient)
    state = _state(request, conversation, verdict, thread.version(conversation, verdict))
    return render(request, "messaging/live.html", state | {"form": form}, status=status)


def _page(
    request: HttpRequest, conversation: Conversation, form: TextForm | None = None, status: int = 200
) -> HttpResponse:
    before = _id(request.GET.get("before"))
    verdict = gate.check(conversation.number, conversation.recipient)
    state = _state(request, conversation, verdict, thread.version(conversation, verdict), before=before)
    recipient = conversation.recipient
    all_conversations = reverse("admin:messaging_conversation_changelist")
    context = {
        **admin_context(request, section=all_conversations),
        **state,
        "form": form or TextForm(),
        "title": str(recipient),
        "trail": [
            {"title": "Conversations", "link": all_conversations},
            {"title": recipient.name or e164.show(recipient.e164)},
        ],
        "is_past": before is not None,
    }
    return render(request, "messaging/conversation.html", context, status=status)


def _state(
    request: HttpRequest, conversation: Conversation, verdict: gate.Verdict, version: str, *, before: int | None = None
) -> dict[str, Any]:
    """All that may change while the page is open."""
    hold_id = verdict.opt_out["id"] if verdict.code == "held" and verdict.opt_out else None
    return {
        "conversation": conversation,
        "recipient": conversation.recipient,
        "number": conversation.number,
        "their_number": e164.show(conversation.recipient.e164),
        "our_number": e164.show(conversation.number.e164),
        "can_be_called": conversation.recipient.is_textable,
        "standing": thread.standing(verdict, may_send=access.may(request.user, "send", conversation)),
        "review_hold": hold_id if hold_id and access.may(request.user, "review", Hold) else None,
        "thread": thread.read(conversation, before=before),
        "version": version,
        "embed": is_embedded(request),
        "key": uuid.uuid4().hex,
    }


def _id(written: str | None) -> int | None:
    """An id out of an address; None for none, and for what is none."""
    return int(written) if written and re.fullmatch(r"\d{1,18}", written) else None
