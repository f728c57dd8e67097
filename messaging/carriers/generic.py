"""The documented generic format, for a carrier or gateway we do not know: JSON in, JSON out.

In: {"from", "to", "text", "media": [], "message_id", "received_at"}; out: {"from", "to", "text", "media",
"reference", "status_url"} to the account's send_url, answered with {"message_id"}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from messaging.carriers import http
from messaging.carriers.base import (
    CarrierError,
    InboundText,
    Media,
    NotUnderstood,
    OutboundText,
    Refused,
    StatusUpdate,
    WebhookRequest,
)


class Generic:
    CREDENTIALS: ClassVar[Sequence[tuple[str, str, bool]]] = (
        ("send_url", "Address that takes texts", False),
        ("send_token", "Token for that address", True),
    )

    def verify(self, credentials: Mapping[str, str], request: WebhookRequest) -> None:
        # The inbound API has checked the account's token before it comes here; there is no other way in.
        raise Refused("This account receives through the inbound API.")

    def parse(self, request: WebhookRequest) -> Sequence[InboundText | StatusUpdate]:
        return [inbound_text(_document(request.body))]

    def send(self, credentials: Mapping[str, str], text: OutboundText) -> str:
        if not credentials.get("send_url"):
            raise CarrierError("This account has no address that takes texts; an operator can set it.", permanent=True)
        response = http.post(
            credentials["send_url"],
            json={
                "from": text.sender,
                "to": text.to,
                "text": text.text,
                "media": [{"url": media.url, "content_type": media.content_type} for media in text.media],
                "reference": text.reference,
                "status_url": text.status_url,
            },
            headers={"Authorization": f"Bearer {token}"} if (token := credentials.get("send_token")) else {},
        )
        if not response.is_success:
            raise http.refuse(response, response.text)
        try:
            return str(response.json()["message_id"])
        except (ValueError, KeyError, TypeError):
            raise CarrierError("The gateway took the text but gave no message_id.", uncertain=True) from None

    def answer(self) -> tuple[str, bytes]:
        return "application/json", b"{}"


def inbound_text(document: Mapping[str, Any]) -> InboundText:
    """Read one document of the generic format. Unknown fields pass, `text: null` is an empty text.

    Raises NotUnderstood, which names the field and how to mend it.
    """
    values = {}
    for name in ("from", "to", "message_id"):
        value = document.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            raise NotUnderstood(f"“{name}” is missing. It is a text, for example {EXAMPLE[name]}.")
        values[name] = value
    if len(values["message_id"]) > 255:
        raise NotUnderstood("“message_id” is longer than 255 characters.")
    text = document.get("text")
    if text is not None and not isinstance(text, str):
        raise NotUnderstood("“text” is no text. Put what the recipient wrote in quotes.")
    media = _media(document.get("media"))
    if not media and "text" not in document:
        raise NotUnderstood("“text” is missing. Send what the recipient wrote, or “media” for a picture without words.")
    return InboundText(
        sender=values["from"],
        to=values["to"],
        text=text or "",
        message_id=values["message_id"],
        media=media,
        received_at=_moment(document.get("received_at")),
    )


# A gateway that knows no time may write year 1 or 1970; a block as of then would outweigh later wishes.
FIRST_SMS = datetime(1992, 12, 3, tzinfo=UTC)
EXAMPLE = {"from": '"+12025550143"', "to": '"+12025550100"', "message_id": '"b6f0c2d1"'}


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body.decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise NotUnderstood("The body is not JSON in UTF-8.") from None
    if not isinstance(document, dict):
        raise NotUnderstood("The body is JSON, but no object: send one text as {…}.")
    return document


def _media(given: Any) -> list[Media]:
    if given is None:
        return []
    if not isinstance(given, list) or len(given) > 50:
        raise NotUnderstood("“media” is no list of at most 50 addresses.")
    found = []
    for one in given:
        if isinstance(one, str):
            found.append(Media(one[:2000]))
        elif isinstance(one, dict) and isinstance(one.get("url"), str):
            found.append(Media(one["url"][:2000], str(one.get("content_type") or "")[:100]))
        else:
            raise NotUnderstood("“media” holds something that is neither an address nor {url, content_type}.")
    return found


def _moment(given: Any) -> datetime | None:
    """The carrier's time, or None for none: a STOP is a STOP also with a time that cannot be read."""
    try:
        moment = datetime.fromisoformat(given)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if moment > FIRST_SMS else None
