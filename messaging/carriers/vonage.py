"""Vonage, Messages API: JSON signed with a JSON Web Token that holds the body's hash; REST to send SMS and MMS.

Sources: Vonage's "Messages API" reference (inbound message and message status webhooks, v1 and v0.1), "Webhooks"
(decoding signed webhooks), "Messages API errors", and "Opt-Out Assist: Messaging Opted-out Numbers".
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

import jwt

from messaging.carriers import http, signing
from messaging.carriers.base import (
    Carrier,
    CarrierError,
    Event,
    InboundText,
    Media,
    NotUnderstood,
    OutboundText,
    Refused,
    Setting,
    State,
    StatusUpdate,
    WebhookRequest,
)
from messaging.carriers.reading import international, items, json_object, mapping, message_id, moment, string
from offices.credentials import Credentials

API = "https://api.nexmo.com"
ACCOUNTS = "https://rest.nexmo.com"
OPTED_OUT = "1240"
# Throttled, internal error, account barred, out of credit, not enabled: the account's trouble, not the text's.
TROUBLE = frozenset({"1000", "1030", "1060", "1070", "1080"})
STATES: dict[str, State] = {
    "submitted": "sent",
    "delivered": "delivered",
    "read": "delivered",
    "rejected": "failed",
    "undeliverable": "failed",
}
TEXTING = ("sms", "mms", "rcs")
MEDIA = ("image", "audio", "video", "file", "vcard", "sticker")
# Vonage comes again for 24 hours after a failure, and does not say whether it signs each attempt anew. A STOP that
# was late must not be refused; what keeps a replay harmless is that every message id counts once.
RETRIED_FOR = 25 * 3600  # seconds


class Vonage(Carrier):
    label = "Vonage (Messages API)"
    SETTINGS: ClassVar[Sequence[Setting]] = (
        Setting(
            "api_key",
            "API key",
            help="In the Vonage dashboard under API Settings, for example abcd1234.",
            pattern=r"[0-9A-Za-z]{4,32}",
        ),
        Setting("api_secret", "API secret", secret=True, help="Beside the API key. Texts are sent with it."),
        Setting(
            "signature_secret",
            "Signature secret",
            secret=True,
            help="In the dashboard under API Settings, Signed webhooks. It is not the API secret.",
        ),
    )
    STEPS: ClassVar[Sequence[str]] = (
        "In the Vonage dashboard open API Settings. Under SMS settings choose Messages API for default SMS.",
        "Copy the API key, the API secret and the signature secret from there to this account.",
        "Open Applications, create one (or edit yours) and switch on its capability Messages.",
        "Enter {webhook} as both Inbound URL and Status URL, each with method POST, and version v1. Save.",
        "Under Numbers, link each number to that application.",
        "If Opt-Out Assist is switched on for your numbers, say on this account that the carrier answers STOP.",
    )

    def verify(self, credentials: Credentials, request: WebhookRequest) -> None:
        """The token is in the Authorization header, signed with the account's signature secret; its payload_hash ties
        it to the body. The query is not covered, so nothing is read from it."""
        scheme, _, token = request.header("Authorization").strip().partition(" ")
        if not scheme:
            # Vonage's page on signed webhooks: on an internal error it may come unsigned, and signed after a 5xx.
            raise Refused(
                "There is no signature: Vonage signs all that it posts for the Messages API.", come_again=True
            )
        if scheme.lower() != "bearer":
            raise Refused("The Authorization header holds no bearer token.")
        claims = _claims(token.strip(), credentials.all("signature_secret"))
        if not signing.same(string(claims.get("payload_hash")).lower(), hashlib.sha256(request.body).hexdigest()):
            raise Refused("The token was signed for another body, or for none.")
        if string(claims.get("api_key")) != credentials.get("api_key"):
            raise Refused("The token was signed for another API key.")
        signing.check_fresh(claims.get("iat") or "", RETRIED_FOR)

    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        document = json_object(request.body)
        uuid = message_id(document.get("message_uuid"), "message_uuid")
        status = string(document.get("status"))
        if status and "message_type" not in document and "message" not in document:
            return [_status(uuid, status, document)]
        channel = string(document.get("channel")) or string(mapping(document.get("to")).get("type"))
        if channel not in ("", *TEXTING):
            raise NotUnderstood(
                f"It came by {channel[:40]}, which is no text. If it says stop, opt the person out by hand."
            )
        return [_text(uuid, document)]

    def send(self, credentials: Credentials, text: OutboundText) -> str:
        document: dict[str, Any] = {
            "channel": "mms" if text.media else "sms",
            "from": text.sender.removeprefix("+"),
            "to": text.to.removeprefix("+"),
            "client_ref": text.reference,
            **_content(text),
        }
        if text.status_url.startswith("https://"):
            document |= {"webhook_url": text.status_url, "webhook_version": "v1"}
        response = http.post(
            f"{credentials.get('api_base') or API}/v1/messages",
            json=document,
            auth=(credentials.get("api_key"), credentials.get("api_secret")),
        )
        answer = http.json_answer(response)
        if response.is_success:
            if uuid := string(answer.get("message_uuid")):
                return uuid
            raise CarrierError("Vonage took the text but gave no message_uuid.", uncertain=True)
        code = _code(answer)
        detail = " ".join(filter(None, [code or string(answer.get("title")), string(answer.get("detail"))]))
        error = http.refuse(response, detail or response.reason_phrase, opted_out=code == OPTED_OUT)
        if code in TROUBLE:
            error.permanent, error.is_trouble = False, True
        raise error

    def test(self, credentials: Credentials) -> str:
        return ask_balance(credentials)


def ask_balance(credentials: Credentials) -> str:
    """Whether Vonage accepts the API key and secret, by asking for the balance (Account API, get-balance)."""
    response = http.get(
        f"{credentials.get('api_base') or ACCOUNTS}/account/get-balance",
        auth=(credentials.get("api_key"), credentials.get("api_secret")),
    )
    if response.status_code in (401, 403):
        raise http.refuse(response, "Vonage refuses the API key or secret. Copy both anew from API Settings.")
    if not response.is_success:
        raise http.refuse(response, "Vonage did not tell the balance. Try again later.")
    value = http.json_answer(response).get("value")
    balance = f" The balance is {value:.2f} EUR." if isinstance(value, int | float) else ""
    return f"Vonage accepts the API key and secret.{balance} The signature secret shows with the first webhook."


def _claims(token: str, secrets: Iterable[str]) -> Mapping[str, Any]:
    """What the token says, when one of the secrets signed it. Its time is left to the caller. Raises Refused.

    HS256 and nothing else: a token must not choose how it is checked (RFC 8725, section 3.1).
    """
    for secret in filter(None, secrets):
        try:
            claims = json.loads(jwt.PyJWS().decode(token, secret, algorithms=["HS256"]))
        except (jwt.PyJWTError, ValueError, RecursionError):
            continue
        if isinstance(claims, dict):
            return claims
    raise Refused("The token does not fit. Is the signature secret on this account that of the dashboard?")


def _status(uuid: str, status: str, document: Mapping[str, Any]) -> StatusUpdate:
    state = STATES.get(status)
    code = _code(mapping(document.get("error")))
    return StatusUpdate(
        uuid,
        state,
        f"{status} {code}".strip(),
        opted_out=state == "failed" and code == OPTED_OUT,
        reference=string(document.get("client_ref")),
    )


def _code(error: Mapping[str, Any]) -> str:
    """The error's number: the title, or else behind the # of the type; in v0.1 it has a field of its own."""
    given = [error.get("code"), error.get("title"), string(error.get("type")).rpartition("#")[2]]
    return next((code for code in map(string, given) if code.isascii() and code.isdecimal()), "")


def _text(uuid: str, document: Mapping[str, Any]) -> InboundText:
    sender, to = _party(document.get("from")), _party(document.get("to"))
    for name, party in (("from", sender), ("to", to)):
        if not party:
            raise NotUnderstood(f"There is no “{name}”.")
    # v0.1 has the same content one level deeper.
    content = {**document, **mapping(mapping(document.get("message")).get("content"))}
    media = list(_media(content))
    # A suggestion that was tapped says its words in a field of its own.
    tapped = mapping(content.get("reply")).get("title") or mapping(content.get("button")).get("text")
    text = content.get("text") if isinstance(content.get("text"), str) else tapped
    if not isinstance(text, str):
        captions = [string(one.get("caption")) for _, one in _files(content)]
        # Media without a caption have no words; anything else ("unsupported") had some that Vonage does not tell.
        text = "\n".join(filter(None, captions)) if media else None
    return InboundText(
        sender=sender,
        to=to,
        text=text,
        message_id=uuid,
        media=media,
        received_at=moment(document.get("timestamp")),
    )


def _party(given: Any) -> str:
    """The number in v1, or in v0.1 an object that holds it."""
    return international(string(given) or string(mapping(given).get("number")))


def _files(content: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each file and its kind: under the name of its kind, or in the list of an MMS with several."""
    for kind in MEDIA:
        yield kind, mapping(content.get(kind))
    for one in map(mapping, items(content.get("content"))):
        yield string(one.get("type")), one


def _media(content: Mapping[str, Any]) -> Iterator[Media]:
    for kind, one in _files(content):
        if url := string(one.get("url")):
            yield Media(url, "text/vcard" if kind == "vcard" else _guessed_type(url) or kind)


def _guessed_type(url: str) -> str:
    """By the name's ending: Vonage gives none. Empty when that says nothing."""
    try:
        return mimetypes.guess_type(urlsplit(url).path)[0] or ""
    except ValueError:
        return ""


def _content(text: OutboundText) -> dict[str, Any]:
    """The words; or the files, with the words as caption of the first."""
    if not text.media:
        return {"message_type": "text", "text": text.text}
    files: list[dict[str, str]] = [{"type": _kind(one), "url": one.url} for one in text.media]
    if text.text:
        files[0]["caption"] = text.text
    if len(files) > 1:
        return {"message_type": "content", "content": files}
    kind = files[0].pop("type")
    return {"message_type": kind, kind: files[0]}


def _kind(media: Media) -> str:
    content_type = media.content_type or _guessed_type(media.url)
    main = content_type.partition("/")[0]
    if content_type in ("text/vcard", "text/x-vcard"):
        return "vcard"
    return main if main in ("image", "audio", "video") else "file"
