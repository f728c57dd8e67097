"""Dialpad: the whole body of a webhook is a token (JWT) signed with HMAC-SHA256; REST with a Bearer key to send.

Sources: Dialpad's developer pages "SMS Events", "Webhook Delivery Failures", "Webhook -- Create", "Send SMS" and
"Company -- Get SMS Opt-out List", and its help article "Opt In and Out of SMS Messages". Which content type the token
has is not told there: none is asked for, and a token in the quotes of JSON is read as well.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote

import jwt

from messaging.carriers import http, reading, signing
from messaging.carriers.base import (
    Carrier,
    CarrierError,
    Event,
    InboundText,
    ListedOptOut,
    ListedText,
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

API = "https://dialpad.com/api/v2"
# Dialpad comes again with the very same token for about four hours after a 5xx ("Webhook Delivery Failures": 30
# seconds, doubling, then three hours), so five minutes would refuse the STOP that an outage held up. A day leaves room
# for its queues. A token that somebody saw and posts again within it does nothing: its message's id is known.
WINDOW = 24 * 60 * 60
MOST_PAGES = 10_000
# "SMS Events" and Dialpad's own library differ in their words; both are taken. "success" says that the network took it.
STATES: dict[str, State] = {
    "sent": "sent",
    "success": "sent",
    "delivered": "delivered",
    "failed": "failed",
    "undelivered": "failed",
}


class Dialpad(Carrier):
    label = "Dialpad"
    SETTINGS: ClassVar[Sequence[Setting]] = (
        Setting(
            "api_key",
            "API key",
            secret=True,
            pattern=r"\S+",
            help="Dialpad admin settings, My Company, Authentication, API Keys, Add Key. Give it the scope "
            "message_content_export (message_content_export:all for a subscription of the whole company): without it "
            "Dialpad does not tell what people write, no STOP can be read, and each text waits for a person.",
        ),
        Setting(
            "webhook_secret",
            "Webhook secret",
            secret=True,
            help="Make up a random one of at least 32 characters, on one line, and give it to Dialpad as `secret` when "
            "you create the webhook. Without a secret Dialpad signs nothing, and the portal takes nothing.",
        ),
    )
    STEPS: ClassVar[Sequence[str]] = (
        "In Dialpad's admin settings open My Company, Authentication, API Keys, and choose Add Key. Have the scope "
        "message_content_export added to it: without it texts come without their words, and each waits for a person.",
        "Make up a webhook secret of at least 32 characters, and enter it here with the API key.",
        "Create the webhook with Dialpad's API: POST https://dialpad.com/api/v2/webhooks with hook_url {webhook} and "
        "secret set to that webhook secret. Note the id in the answer.",
        "Subscribe it to texts: POST https://dialpad.com/api/v2/subscriptions/sms with endpoint_id set to that id, "
        "direction “all”, status true (for delivery statuses) and enabled true.",
        "Dialpad itself acts on STOP and UNSTOP and answers HELP; see “Opt In and Out of SMS Messages” in its help.",
    )
    # Dialpad blocks the recipient as the STOP comes, before we hear of it: a confirmation of ours would meet that block
    # or be the second. The help article does not say what the recipient is told.
    ANSWERS_STOP = True
    # Opt-outs only: Dialpad lists no texts.
    HAS_LIST = True

    def verify(self, credentials: Credentials, request: WebhookRequest) -> None:
        secrets = [secret for secret in credentials.all("webhook_secret") if secret]
        if not secrets:
            raise Refused("This account has no webhook secret, so nothing is signed. Set one here and in Dialpad.")
        token = _token(request.body)
        if token.count(b".") != 2:
            raise Refused("The body is no signed token: set the webhook's secret in Dialpad as well.")
        if not any([_fits(token, secret) for secret in secrets]):
            raise Refused("The token's signature does not fit any webhook secret of this account.")
        try:
            payload = _payload(request.body)
        except NotUnderstood:
            return  # signed: kept for the operator
        if (at := _moment(payload.get("event_timestamp")) or _moment(payload.get("created_date"))) is not None:
            signing.check_fresh(at.timestamp(), WINDOW)

    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        """A text or a status. Between two of the portal's own numbers (`is_internal`) it counts as chat, which is not
        for a carrier to say."""
        payload = _payload(request.body)
        if "id" not in payload and "call_id" in payload:
            return []  # a call: somebody subscribed the same webhook to more than texts
        found_id = reading.message_id(payload.get("id"), "id")
        direction = reading.string(payload.get("direction")).lower()
        if direction == "inbound":
            return _texts(payload, found_id)
        status = reading.string(payload.get("message_status")).lower()
        if direction != "outbound" and not status:
            raise NotUnderstood("“direction” is neither inbound nor outbound.")
        result = reading.string(payload.get("message_delivery_result"))
        return [StatusUpdate(found_id, STATES.get(status), f"{status} {result}".strip())]

    def send(self, credentials: Credentials, text: OutboundText) -> str:
        if text.media:
            raise CarrierError("Dialpad takes pictures as files, and here are their addresses only.", permanent=True)
        document = {
            "from_number": text.sender,
            "to_numbers": [text.to],
            "text": text.text,
            "infer_country_code": False,
        }
        response = http.post(f"{_base(credentials)}/sms", json=document, headers=_headers(credentials))
        answer = http.json_answer(response)
        if not response.is_success:
            raise http.refuse(response, _detail(answer) or response.reason_phrase)
        if reading.string(answer.get("message_status")).lower() == "failed":
            result = reading.string(answer.get("message_delivery_result"))
            raise CarrierError(f"Dialpad did not send it: {result}".strip(": "), permanent=True)
        if not (found := reading.string(answer.get("id"))):
            raise CarrierError("Dialpad took the text but gave no id.", uncertain=True)
        return found

    def test(self, credentials: Credentials) -> str:
        name = reading.string(_get(credentials, "/company", {}).get("name"))
        return f"Dialpad knows the API key of the company “{name}”."

    def listed(self, credentials: Credentials, since: datetime, until: datetime) -> Iterator[ListedText | ListedOptOut]:
        """Everybody whom Dialpad blocks for the whole company now, whenever that began, and no texts.

        An opt-out from one campaign is left out: it names the campaign by an id of Dialpad's own, and to block all
        numbers for it would be more than the recipient asked for.
        """
        company = reading.string(_get(credentials, "/company", {}).get("id"))
        query = {"opt_out_state": "opted_out"}
        for _ in range(MOST_PAGES):
            answer = _get(credentials, f"/company/{quote(company, safe='')}/smsoptout", query)
            for found in map(reading.mapping, reading.items(answer.get("items"))):
                scope = reading.mapping(found.get("opt_out_scope_info")).get("opt_out_scope_level")
                person = reading.string(found.get("external_endpoint"))
                if person and scope == "company" and found.get("opt_out_state") == "opted_out":
                    yield ListedOptOut(person, "", _moment(found.get("date")), "opted out at Dialpad, company")
            if not (cursor := reading.string(answer.get("cursor"))):
                return
            query = {**query, "cursor": cursor}


def _get(credentials: Credentials, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    response = http.get(f"{_base(credentials)}{path}", params=query, headers=_headers(credentials))
    if response.status_code in (401, 403):
        raise http.refuse(response, "Dialpad does not know the API key, or it is not a company admin's.")
    answer = http.json_answer(response)
    if not response.is_success:
        raise http.refuse(response, _detail(answer) or response.reason_phrase)
    return answer


def _token(body: bytes) -> bytes:
    token = body.strip()
    return token[1:-1] if token[:1] == token[-1:] == b'"' else token


def _fits(token: bytes, secret: str) -> bool:
    """Whether the token is signed with the secret, by HS256 and nothing else: “none” would be no signature at all.

    Only the signature is looked at. Claims that end a token would also end the STOP in it.
    """
    try:
        jwt.PyJWS().decode(token, secret, algorithms=["HS256"])
    except (jwt.PyJWTError, ValueError, RecursionError):
        return False
    return True


def _payload(body: bytes) -> Mapping[str, Any]:
    """What the token says; whoever asks has had its signature checked. Raises NotUnderstood."""
    parts = _token(body).split(b".")
    try:
        decoded = base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4))
    except (IndexError, binascii.Error):
        raise NotUnderstood("The body is no token.") from None
    return reading.json_object(decoded)


def _texts(payload: Mapping[str, Any], found_id: str) -> list[Event]:
    sender = reading.string(payload.get("from_number"))
    if not sender:
        raise NotUnderstood("There is no from_number.")
    media = [Media(url) for url in _strings(payload.get("mms_url"))]
    words = next((one for one in (payload.get("text"), payload.get("text_content")) if isinstance(one, str)), None)
    if words is None and media:
        words = ""  # a picture whose address is told has no words; without the scope neither is told
    return [
        InboundText(
            sender=sender,
            to=to,
            text=words,
            message_id=f"{found_id}/{to}"[:255] if index else found_id,
            media=media,
            received_at=_moment(payload.get("created_date")),
        )
        for index, to in enumerate(_ours(payload))
    ]


def _ours(payload: Mapping[str, Any]) -> list[str]:
    """Our numbers among those that a text came to: in a group, the one of the target, which Dialpad says is ours."""
    found = list(dict.fromkeys(_strings(payload.get("to_number")) or _strings(payload.get("to_numbers"))))
    target = _digits(reading.string(reading.mapping(payload.get("target")).get("phone_number")))
    if not found:
        raise NotUnderstood("There is no to_number.")
    return [one for one in found if target and _digits(one) == target] or found


def _digits(number: str) -> str:
    """The last ten: the target's number may come as people write it."""
    return re.sub(r"\D", "", number)[-10:]


def _strings(given: Any) -> list[str]:
    return [one for one in map(reading.string, given if isinstance(given, list) else [given]) if one]


def _moment(given: Any) -> datetime | None:
    """Milliseconds since 1970, as "SMS Events" says, or ISO 8601, as the answers of the API have it."""
    return reading.epoch(given, per_second=1000) or reading.moment(given)


def _detail(answer: Mapping[str, Any]) -> str:
    error = answer.get("error")
    detail = reading.string(reading.mapping(error).get("message")) or reading.string(error)
    # It may repeat phone numbers: no more than their last four digits stay.
    return re.sub(r"\+?\d{3,}(?=\d{4})", "…", detail or (json.dumps(answer)[:200] if answer else ""))


def _base(credentials: Credentials) -> str:
    return (credentials.get("api_base") or API).rstrip("/")


def _headers(credentials: Credentials) -> dict[str, str]:
    return {"Authorization": f"Bearer {credentials.get('api_key')}"}
