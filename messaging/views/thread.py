"""What a conversation's page shows: fifty of its texts by id, and whether one may write (and if not, why)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.db.models.functions import Left, Length
from django.template.defaultfilters import filesizeformat
from django.utils import formats, timezone

from messaging import gate
from messaging.models import Conversation, Message

PAGE = 50
SHOWN = 1_000  # characters of a text, until "Show all" is asked for
Outcome, Purpose, State = Message.Outcome, Message.Purpose, Message.State

STATE_ICONS = {
    State.QUEUED: "schedule",
    State.SENDING: "upload",
    State.SENT: "check",
    State.DELIVERED: "done_all",
    State.REFUSED: "block",
    State.FAILED: "error",
    State.CANCELLED: "cancel",
    State.UNCERTAIN: "help",
}
TROUBLED = {State.REFUSED, State.FAILED, State.CANCELLED, State.UNCERTAIN}
OUTCOME_TONES = {
    Outcome.OPTED_OUT: "stop",
    Outcome.OPTED_IN: "go",
    Outcome.HELP: "plain",
    Outcome.HELD: "wait",
    Outcome.NETWORK_KEYWORD: "plain",
}
EXPLAINED = {
    Outcome.NETWORK_KEYWORD: "On toll-free numbers the network itself answers STOP and UNSTOP. "
    "The portal neither blocked, lifted nor replied.",
}
UNLIKE_OURS = timedelta(minutes=2)  # a carrier's time further from ours than this is shown as well


@dataclass(frozen=True)
class Attachment:
    """`link` is empty for an address that a browser had better not open."""

    link: str
    name: str


@dataclass(frozen=True)
class Bubble:
    """One text as the page shows it. `mark` says what it was taken for, `reason` why it is in its state."""

    id: int
    is_outbound: bool
    day: date
    at: datetime
    text: str
    length: int
    author: str
    channel: str
    mark: str
    tone: str
    note: str
    state: str
    state_word: str
    icon: str
    reason: str
    segments: int
    written_at: datetime | None
    attachments: tuple[Attachment, ...]

    @property
    def is_shortened(self) -> bool:
        return self.length > len(self.text)

    @property
    def is_troubled(self) -> bool:
        return self.state in TROUBLED

    @property
    def day_name(self) -> str:
        written = formats.date_format(self.day, "l, F j, Y")
        ago = (timezone.localdate() - self.day).days
        return f"{('Today', 'Yesterday')[ago]}, {written}" if ago in (0, 1) else written

    @property
    def version(self) -> str:
        """Changes when the page must show something else of this text."""
        return f"{self.state}-{_digest(self.reason)}"


@dataclass(frozen=True)
class Thread:
    """Texts from older to newer; `oldest` is where the ones before them begin."""

    bubbles: list[Bubble]
    has_older: bool

    @property
    def oldest(self) -> int | None:
        return self.bubbles[0].id if self.bubbles else None


@dataclass(frozen=True)
class Standing:
    """May this user write in this conversation now? `title` and the verdict's reason say why not."""

    verdict: gate.Verdict
    may_send: bool
    title: str = ""
    icon: str = ""

    @property
    def can_write(self) -> bool:
        return self.may_send and self.verdict.allowed

    @property
    def is_held(self) -> bool:
        return self.verdict.code == "held"

    @property
    def is_chat(self) -> bool:
        return self.verdict.code == "chat"


def standing(verdict: gate.Verdict, *, may_send: bool) -> Standing:
    if verdict.allowed:
        return Standing(verdict, may_send)
    said = verdict.opt_out["text"] if verdict.opt_out else ""
    title, icon = {
        "held": (f"Held for review: “{_shortened(said)}”", "front_hand"),
        "number_inactive": ("This number sends no texts", "phonelink_off"),
        "not_textable": ("This sender cannot be texted", "speaker_notes_off"),
    }.get(verdict.code, ("Texts to this recipient are blocked", "block"))
    return Standing(verdict, may_send, title, icon)


def read(conversation: Conversation, *, before: int | None = None) -> Thread:
    """The newest texts of a conversation, or the newest of those with a smaller id than `before`."""
    rows = Message.objects.filter(conversation=conversation)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    # The text itself may be a megabyte: the database hands out no more of it than the page shows.
    found = list(
        rows.defer("text").annotate(shown=Left("text", SHOWN), length=Length("text")).order_by("-pk")[: PAGE + 1]
    )
    return Thread([_bubble(message) for message in reversed(found[:PAGE])], has_older=len(found) > PAGE)


def version(conversation: Conversation, verdict: gate.Verdict) -> str:
    """A short token that changes whenever the page has to; costs one index lookup."""
    newest = (
        Message.objects.filter(conversation=conversation)
        .order_by("-pk")
        .values_list("pk", "state", "attempts", "error")[:PAGE]
    )
    return _digest(timezone.localdate(), verdict.code, verdict.reason, *newest)


def _bubble(message: Message) -> Bubble:
    at = timezone.localtime(message.created_at)
    written = message.received_at
    mark, tone = _mark(message)
    return Bubble(
        id=message.pk,
        is_outbound=message.is_outbound,
        day=at.date(),
        at=at,
        text=message.shown,  # type: ignore[attr-defined]
        length=message.length,  # type: ignore[attr-defined]
        author=message.author_name,
        channel=message.get_channel_display(),
        mark=mark,
        tone=tone,
        note=EXPLAINED.get(Outcome(message.outcome), "") if message.outcome else "",
        state=message.state,
        state_word=message.get_state_display(),
        icon=STATE_ICONS.get(State(message.state), ""),
        reason=message.verdict["reason"] if message.verdict else message.error,
        segments=message.segments,
        written_at=written if written and abs(written - message.created_at) > UNLIKE_OURS else None,
        attachments=tuple(_attachments(message.media)),
    )


def _mark(message: Message) -> tuple[str, str]:
    """What the text was taken for, in words, and the tone of its badge."""
    if message.channel == Message.Channel.CHAT:
        return "Chat", "plain"
    if message.purpose != Purpose.ORDINARY:
        return message.get_purpose_display(), "plain"
    tone = OUTCOME_TONES.get(Outcome(message.outcome)) if message.outcome else None
    return (message.get_outcome_display(), tone) if tone else ("", "")


def _attachments(media: Iterable[dict[str, Any]]) -> Iterable[Attachment]:
    for one in media:
        address, kind = one.get("url", ""), one.get("content_type") or "attachment"
        if one.get("size") is not None:
            kind = f"{kind}, {filesizeformat(one['size'])},"
        if host := _web_host(address):
            yield Attachment(link=address, name=f"{kind} from {host}")
        else:
            yield Attachment(link="", name=f"{kind} at {address[:80]}")


def _web_host(address: str) -> str:
    """The host of a web address; empty for any other, which might be a script."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.scheme in ("http", "https") else ""


def _shortened(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:119]}…"


def _digest(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogatepass")).hexdigest()[:20]
