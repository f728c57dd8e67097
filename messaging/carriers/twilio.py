"""Twilio: form posts signed with HMAC-SHA1 over the public URL and the sorted fields; REST to send.

Sources: Twilio's "Security" (validating requests), "Messaging webhooks" and "Message resource" pages.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

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

API = "https://api.twilio.com/2010-04-01"
OPTED_OUT = 21610  # "Attempt to send to unsubscribed recipient"
# In the address that statuses come to, and signed with it: which text of ours they are about.
REFERENCE = "text"
STATES: dict[str, Literal["sent", "delivered", "failed"]] = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "delivered",
    "undelivered": "failed",
    "failed": "failed",
}


class Twilio:
    CREDENTIALS: ClassVar[Sequence[tuple[str, str, bool]]] = (
        ("account_sid", "Account SID", False),
        ("auth_token", "Auth token", True),
    )

    def verify(self, credentials: Mapping[str, str], request: WebhookRequest) -> None:
        token = credentials.get("auth_token", "")
        given = request.header("X-Twilio-Signature").encode("utf-8", "surrogateescape")
        if not token or not given:
            raise Refused("There is no X-Twilio-Signature.")
        fields = _fields(request)
        # Twilio signs the address with or without the port, depending on the product.
        expected = [signature(token, url, fields) for url in _with_and_without_port(request.url)]
        # Bytes, not str: a header with other than ASCII in it must not raise.
        if not any([hmac.compare_digest(given, one.encode()) for one in expected]):
            raise Refused("The X-Twilio-Signature does not fit this request.")

    def parse(self, request: WebhookRequest) -> Sequence[InboundText | StatusUpdate]:
        fields = dict(_fields(request))
        sid = fields.get("MessageSid") or fields.get("SmsSid") or fields.get("SmsMessageSid") or ""
        if not re.fullmatch(r"[!-~]{1,255}", sid):
            raise NotUnderstood("There is no MessageSid.")
        status = fields.get("MessageStatus") or fields.get("SmsStatus", "")
        if status not in ("", "received", "receiving"):
            code = fields.get("ErrorCode", "")
            code = code if code.isdecimal() else ""
            reference = dict(parse_qsl(urlsplit(request.url).query)).get(REFERENCE, "")
            detail = f"{status} {code}".strip()
            return [StatusUpdate(sid, STATES.get(status), detail, code == str(OPTED_OUT), reference)]
        for needed in ("From", "To"):
            if not fields.get(needed):
                raise NotUnderstood(f"There is no {needed}.")
        if "Body" not in fields and not fields.get("NumMedia", "0").strip("0"):
            raise NotUnderstood("There is neither Body nor media.")
        return [
            InboundText(
                sender=fields["From"],
                to=fields["To"],
                text=fields.get("Body", ""),
                message_id=sid,
                media=_media(fields),
                # With Advanced Opt-Out this field says which keyword Twilio understood, and has answered.
                carrier_replied=bool(fields.get("OptOutType")),
            )
        ]

    def send(self, credentials: Mapping[str, str], text: OutboundText) -> str:
        sid = credentials.get("account_sid", "")
        data: list[tuple[str, str]] = [("From", text.sender), ("To", text.to), ("Body", text.text)]
        data += [("MediaUrl", media.url) for media in text.media]
        if text.status_url.startswith("https://"):
            data.append(("StatusCallback", f"{text.status_url}?{REFERENCE}={quote(text.reference, safe='')}"))
        base = credentials.get("api_base") or API
        response = http.post(
            f"{base}/Accounts/{quote(sid, safe='')}/Messages.json",
            content="&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in data),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            auth=(sid, credentials.get("auth_token", "")),
        )
        try:
            answer = response.json()
        except ValueError:
            answer = {}
        if not isinstance(answer, dict):
            answer = {}
        if response.is_success:
            if not answer.get("sid"):
                raise CarrierError("Twilio took the text but gave no id.", uncertain=True)
            return str(answer["sid"])
        detail = f"{answer.get('code', '')} {answer.get('message', '')}".strip() or response.reason_phrase
        raise http.refuse(response, detail, opted_out=answer.get("code") == OPTED_OUT)

    def answer(self) -> tuple[str, bytes]:
        return "text/xml", b'<?xml version="1.0" encoding="UTF-8"?><Response/>'


def signature(token: str, url: str, fields: Sequence[tuple[str, str]]) -> str:
    """What Twilio puts into X-Twilio-Signature: base64 of HMAC-SHA1 over the URL and each distinct field and value,
    sorted, glued without separators."""
    text = url + "".join(name + value for name, value in sorted(set(fields)))
    return base64.b64encode(
        hmac.new(token.encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha1).digest()
    ).decode()


def _fields(request: WebhookRequest) -> list[tuple[str, str]]:
    """The form's fields, untouched: trimming one breaks the signature (Twilio's error 57012)."""
    try:
        return parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        raise Refused("More than 1,000 fields: no message of Twilio's.") from None


def _media(fields: Mapping[str, str]) -> list[Media]:
    count = fields.get("NumMedia", "0")
    listed = range(min(int(count), 20)) if re.fullmatch(r"\d{1,3}", count) else range(0)
    return [
        Media(fields[f"MediaUrl{i}"], fields.get(f"MediaContentType{i}", ""))
        for i in listed
        if f"MediaUrl{i}" in fields
    ]


def _with_and_without_port(url: str) -> list[str]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if re.search(r":\d+$", host):
        return [url, urlunsplit(parts._replace(netloc=re.sub(r":\d+$", "", parts.netloc)))]
    port = 443 if parts.scheme == "https" else 80
    return [url, urlunsplit(parts._replace(netloc=f"{parts.netloc}:{port}"))]
