"""The documented generic format, for a carrier or gateway we do not know: JSON in, JSON out.

A received text: {"from", "to", "text", "media": [{"url", "content_type", "size"}], "message_id", "received_at"}.
A status: {"message_id" or "reference", "status": "sent", "delivered" or "failed", "error", "opted_out": true}.
They come with the account's token by the inbound API, or to the account's webhook, signed as the Standard Webhooks
specification says. Out, to the account's send_url: {"from", "to", "text", "media", "reference", "status_url"},
answered with {"message_id"}, or with {"error": "opted_out"} when the gateway's own list blocks the recipient.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from messaging.carriers import http, reading, signing
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
from offices.credentials import Credentials

EXAMPLE = {"from": '"+12025550143"', "to": '"+12025550100"', "message_id": '"b6f0c2d1"'}
OPTED_OUT = "opted_out"
MOST_MEDIA = 50
STATES: dict[str, State] = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "delivered",
    "undelivered": "failed",
    "failed": "failed",
    "rejected": "failed",
    "expired": "failed",
}


class Generic(Carrier):
    label = "Generic (any gateway, by the portal's own format)"
    SETTINGS: ClassVar[Sequence[Setting]] = (
        Setting(
            "send_url",
            "Address that takes texts",
            required=False,
            help="Where the portal posts each text to send, as JSON. Empty: this account only receives.",
            pattern=r"https?://\S+",
        ),
        Setting(
            "send_token",
            "Token for that address",
            secret=True,
            required=False,
            help="Goes with each text as “Authorization: Bearer …”.",
            pattern=r"[!-~]+",
        ),
        Setting(
            "signing_secret",
            "Signing secret",
            secret=True,
            required=False,
            help="Signs what comes to the webhook and what the portal sends, as Standard Webhooks says: “whsec_” and "
            "the base64 of 24 to 64 random bytes. Generate one with: "
            'python3 -c "import base64, secrets; '
            "print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\". "
            "Not needed when texts come through the inbound API with a token.",
            # 24 to 64 bytes in base64.
            pattern=r"whsec_([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?",
        ),
    )
    STEPS: ClassVar[Sequence[str]] = (
        "Have the gateway post each received text as JSON to {webhook}: from, to, text, media, message_id and "
        "received_at.",
        "Have it sign each request with the signing secret: the headers webhook-id, webhook-timestamp and "
        "webhook-signature of the Standard Webhooks specification, for which there are libraries in most languages.",
        "A gateway that cannot sign posts to the inbound API (/api/v1/inbound/) instead, with an API token of this "
        "account that may “Deliver received texts”.",
        "To send as well, enter the address where the gateway takes texts, and its token if it wants one.",
        "Have the gateway post what became of each text to the status_url that came with it, or to the inbound API if "
        "it cannot sign: message_id or reference, and status (sent, delivered or failed).",
    )

    def verify(self, credentials: Credentials, request: WebhookRequest) -> None:
        """Source: the Standard Webhooks specification, "Verifying webhook authenticity"."""
        keys = _keys(credentials)
        if not keys:
            raise Refused("This account has no signing secret: it receives through the inbound API, with a token.")
        message_id, at = request.header("webhook-id"), request.header("webhook-timestamp")
        versions = [one.partition(",") for one in request.header("webhook-signature").split(" ")]
        given = [value for version, _, value in versions if version == "v1" and value]
        if not message_id or not at or not given:
            raise Refused("webhook-id, webhook-timestamp and webhook-signature (v1) must all be there.")
        if not re.fullmatch(r"[0-9]{1,12}", at):
            raise Refused("webhook-timestamp is no number of seconds since 1970.")
        signing.check_fresh(at)
        if not signing.any_same(given, [signature(key, message_id, at, request.body) for key in keys]):
            raise Refused("The webhook-signature does not fit this request.")

    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        document = reading.json_object(request.body)
        if "status" in document and "text" not in document and "media" not in document:
            return [status_update(document)]
        return [inbound_text(document)]

    def send(self, credentials: Credentials, text: OutboundText) -> str:
        address = _address(credentials)
        if not address:
            raise CarrierError("This account has no address that takes texts; an operator can set it.", permanent=True)
        document = {
            "from": text.sender,
            "to": text.to,
            "text": text.text,
            "media": [{"url": media.url, "content_type": media.content_type} for media in text.media],
            "reference": text.reference,
            "status_url": text.status_url,
        }
        body = json.dumps(document).encode()
        response = http.post(address, content=body, headers=_headers(credentials, text.reference, body))
        answer = http.json_answer(response)
        message_id = reading.string(answer.get("message_id"))
        if response.is_success and message_id:
            return message_id
        if answer.get("error") == OPTED_OUT:
            raise CarrierError("The gateway says that the recipient has opted out.", permanent=True, opted_out=True)
        if response.is_success:
            raise CarrierError("The gateway took the text but gave no message_id.", uncertain=True)
        raise http.refuse(response, response.text)

    def test(self, credentials: Credentials) -> str:
        address = _address(credentials)
        if not address:
            return "There is nothing to test: this account only receives. Enter an address to send through it."
        response = http.get(address, headers=_headers(credentials, "test", b""))
        if response.status_code in (401, 403, 407):
            raise CarrierError(
                f"The gateway answers HTTP {response.status_code}: enter the token that it wants.", is_trouble=True
            )
        if response.status_code >= 500:
            raise CarrierError(f"The gateway answers HTTP {response.status_code}: ask its operator.", is_trouble=True)
        if response.status_code in (404, 410):
            raise CarrierError(
                f"The gateway answers HTTP {response.status_code}: is the address right?", is_trouble=True
            )
        return f"The gateway answers (HTTP {response.status_code}). Whether it takes texts, only a text can tell."


def signature(key: bytes, message_id: str, at: str, body: bytes) -> str:
    """What stands behind “v1,” in webhook-signature: base64 of HMAC-SHA256 over id, timestamp and body, with dots."""
    signed = f"{message_id}.{at}.".encode("utf-8", "surrogatepass") + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def inbound_text(document: Mapping[str, Any]) -> InboundText:
    """Read one text of the generic format. Unknown fields pass, `text: null` is an empty text.

    Raises NotUnderstood, which names the field and how to mend it.
    """
    values = {}
    for name in ("from", "to", "message_id"):
        values[name] = reading.string(document.get(name))
        if not values[name].strip():
            raise NotUnderstood(f"“{name}” is missing. It is a text, for example {EXAMPLE[name]}.")
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
        received_at=reading.moment(document.get("received_at")),
    )


def status_update(document: Mapping[str, Any]) -> StatusUpdate:
    """Read one status of the generic format. One that we do not know changes nothing. Raises NotUnderstood."""
    message_id, reference = reading.string(document.get("message_id")), reading.string(document.get("reference"))
    if not message_id and not reference:
        raise NotUnderstood("Neither “message_id” nor “reference” says which text this status is about.")
    if message_id:
        message_id = reading.message_id(message_id, "“message_id” of at most 255 printable characters")
    status, error = reading.string(document.get("status")), reading.string(document.get("error"))
    return StatusUpdate(
        message_id,
        STATES.get(status),
        f"{status} {error}".strip()[:500],
        opted_out=document.get("opted_out") is True or error == OPTED_OUT,
        reference=reference,
    )


def _keys(credentials: Credentials) -> list[bytes]:
    """The keys of all signing secrets, the newest first. One that is no base64, or empty, signs nothing."""
    found = []
    for secret in credentials.all("signing_secret"):
        encoded = secret.removeprefix("whsec_").rstrip("=")
        try:
            found.append(base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True))
        except (binascii.Error, ValueError):
            continue
    return [key for key in found if key]


def _address(credentials: Credentials) -> str:
    return credentials.get("api_base") or credentials.get("send_url")


def _headers(credentials: Credentials, reference: str, body: bytes) -> dict[str, str]:
    """The headers of a request to the gateway. It is signed with every secret, so that either end may change its own
    first; the id stays the same when a text is handed over again, and so tells it from a new one."""
    headers = {"Content-Type": "application/json"}
    if token := credentials.get("send_token"):
        headers["Authorization"] = f"Bearer {token}"
    if keys := _keys(credentials):
        at = str(int(time.time()))
        headers["webhook-id"] = reference
        headers["webhook-timestamp"] = at
        headers["webhook-signature"] = " ".join(f"v1,{signature(key, reference, at, body)}" for key in keys)
    return headers


def _media(given: Any) -> list[Media]:
    if given is None:
        return []
    if not isinstance(given, list) or len(given) > MOST_MEDIA:
        raise NotUnderstood(f"“media” is no list of at most {MOST_MEDIA} addresses.")
    found = []
    for one in given:
        if isinstance(one, str):
            found.append(Media(one[:2000]))
        elif isinstance(one, dict) and isinstance(one.get("url"), str):
            found.append(Media(one["url"][:2000], str(one.get("content_type") or "")[:100], _size(one.get("size"))))
        else:
            raise NotUnderstood("“media” holds something that is neither an address nor {url, content_type, size}.")
    return found


def _size(given: Any) -> int | None:
    return given if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 2**53 else None
