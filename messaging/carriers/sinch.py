"""Sinch, SMS REST API (XMS): JSON, signed over body, nonce and time, or with HTTP Basic; batches of one to send.

Sources: Sinch's SMS API reference: "Webhooks", "Inbounds", "Delivery reports" (statuses and error codes), "Batches",
"HTTP status codes".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from messaging.carriers import binary, http, signing
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
from messaging.carriers.reading import international, items, json_object, mapping, message_id, moment, string
from offices.credentials import Credentials

# "Deleted" may be a subscriber who opted out, and may be other things: no proof. Sinch has no code that is one.
STATES: dict[str, State] = {
    "queued": "sent",
    "dispatched": "sent",
    "delivered": "delivered",
    "aborted": "failed",
    "cancelled": "failed",
    "rejected": "failed",
    "deleted": "failed",
    "failed": "failed",
    "expired": "failed",
}
# Sinch comes again after 5 s, 10 s, doubling, the last time after 81,920 s; read as pauses between attempts that makes
# 45.5 hours. It does not say whether it signs each attempt anew. A STOP that was late must not be refused; what keeps
# a replay harmless is that every message id counts once.
RETRIED_FOR = 48 * 3600  # seconds
PAGE = 100  # the most that a list gives at a time
MOST_PAGES = 1000
SIGNATURE = "x-sinch-webhook-signature"


class Sinch(Carrier):
    label = "Sinch"
    HAS_LIST = True
    SETTINGS: ClassVar[Sequence[Setting]] = (
        Setting(
            "service_plan_id",
            "Service plan ID",
            help="In the Sinch dashboard under SMS, Service APIs.",
            pattern=r"[0-9A-Za-z_-]{1,64}",
        ),
        Setting(
            "region",
            "Region",
            help="Where the service plan is: the first part of its address in the dashboard.",
            choices=(
                ("us", "United States"),
                ("eu", "European Union"),
                ("au", "Australia"),
                ("br", "Brazil"),
                ("ca", "Canada"),
            ),
        ),
        Setting("api_token", "API token", secret=True, help="Beside the service plan ID. Texts are sent with it."),
        Setting(
            "webhook_secret",
            "Webhook secret",
            secret=True,
            required=False,
            help="When your account manager at Sinch has enabled signed callbacks for the plan. Unsigned ones are then "
            "refused, whatever their name and password.",
        ),
        Setting(
            "webhook_user",
            "Name for HTTP Basic",
            required=False,
            help="Without signed callbacks: the name that your account manager has set for the callback URL.",
        ),
        Setting("webhook_password", "Password for HTTP Basic", secret=True, required=False, help="Beside that name."),
    )
    STEPS: ClassVar[Sequence[str]] = (
        "In the Sinch dashboard open SMS, Service APIs, and your service plan.",
        "Copy its service plan ID, region and API token to this account.",
        "Enter {webhook} as Callback URL of the plan.",
        "Ask your account manager at Sinch to enable signed callbacks for the plan, and enter the webhook secret here. "
        "If that is not to be had, ask for HTTP Basic on the callback URL, with a name and a long random password, and "
        "enter both here. Until one of them is set, everything from Sinch is refused.",
    )

    def verify(self, credentials: Credentials, request: WebhookRequest) -> None:
        """By the signature where a webhook secret is set, else by HTTP Basic: who signs must not be taken unsigned."""
        secrets = credentials.all("webhook_secret")
        if not credentials.has("webhook_secret"):
            user = credentials.get("webhook_user")
            signing.check_basic(request, [(user, one) for one in credentials.all("webhook_password")])
            return
        given, nonce = request.header(SIGNATURE), request.header(f"{SIGNATURE}-nonce")
        at = request.header(f"{SIGNATURE}-timestamp")
        if not given or not nonce or not at:
            raise Refused("It is not signed. Ask your account manager at Sinch to enable signed callbacks.")
        if request.header(f"{SIGNATURE}-algorithm").lower() not in ("", "hmacsha256"):
            raise Refused("It is signed in another way than by HmacSHA256.")
        if not signing.any_same([given], [signature(one, request.body, nonce, at) for one in secrets]):
            raise Refused("The signature does not fit. Is the webhook secret that of the service plan?")
        signing.check_fresh(at, RETRIED_FOR)

    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        document = json_object(request.body)
        kind = string(document.get("type"))
        if kind in ("delivery_report_sms", "delivery_report_mms"):
            # One recipient a batch is all that we send, so what is said of the batch is said of the text.
            statuses = [mapping(one) for one in items(document.get("statuses"))]
            if not statuses:
                raise NotUnderstood("The delivery report holds no statuses.")
            return [_status(document, one) for one in statuses]
        if kind in ("recipient_delivery_report_sms", "recipient_delivery_report_mms"):
            return [_status(document, document)]
        if kind in ("mo_text", "mo_binary", "mo_media"):
            return [_text(document)]
        raise NotUnderstood(f"“type” ({kind[:40]!r}) is neither a text nor a delivery report.")

    def send(self, credentials: Credentials, text: OutboundText) -> str:
        document: dict[str, Any] = {
            "from": text.sender,
            "to": [text.to],
            "delivery_report": "per_recipient",
            "client_reference": text.reference,
            **_body(text),
        }
        # Name and password belong to the plan's own callback URL; one of our own would be called without them.
        if credentials.has("webhook_secret") and text.status_url.startswith("https://"):
            document["callback_url"] = text.status_url
        response = http.post(f"{plan_address(credentials)}/batches", json=document, headers=_bearer(credentials))
        answer = http.json_answer(response)
        if response.is_success:
            if batch := string(answer.get("id")):
                return batch
            raise CarrierError("Sinch took the text but gave no id.", uncertain=True)
        detail = " ".join(filter(None, [string(answer.get("code")), string(answer.get("text"))]))
        raise http.refuse(response, detail or response.reason_phrase)

    def test(self, credentials: Credentials) -> str:
        response = http.get(f"{plan_address(credentials)}/batches?page_size=1", headers=_bearer(credentials))
        if response.status_code in (401, 403):
            raise http.refuse(
                response, "Sinch refuses the API token for this service plan. Copy both anew, and check the region."
            )
        if not response.is_success:
            raise http.refuse(response, "Sinch does not know this service plan. Check its ID and the region.")
        return "Sinch accepts the API token. How callbacks are signed shows with the first of them."

    def listed(self, credentials: Credentials, since: datetime, until: datetime) -> Iterator[ListedText | ListedOptOut]:
        """What was received, with its words (Inbounds, list). Its list of delivery reports names no sender, so that
        nothing could be settled by it; and there is none of opt-outs."""
        window = {"start_date": since.isoformat(), "end_date": until.isoformat(), "page_size": PAGE}
        # Pages are counted from 0, so that no address of Sinch's is followed.
        for page in range(MOST_PAGES):
            query = urlencode({"page": page, **window})
            response = http.get(f"{plan_address(credentials)}/inbounds?{query}", headers=_bearer(credentials))
            if not response.is_success:
                raise http.refuse(response, "Sinch does not list what it received. Check the API token and the region.")
            answer = http.json_answer(response)
            entries = items(answer.get("inbounds"))
            for entry in map(mapping, entries):
                if listed := _listed(entry):
                    yield listed
            count = answer.get("count")
            if not entries or (isinstance(count, int) and (page + 1) * PAGE >= count):
                return


def signature(secret: str, body: bytes, nonce: str, at: str) -> str:
    """What Sinch puts into x-sinch-webhook-signature: base64 of HMAC-SHA256 over body, nonce and time, dots between."""
    signed = b".".join([body, nonce.encode("utf-8", "surrogatepass"), at.encode("utf-8", "surrogatepass")])
    return base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()


def plan_address(credentials: Credentials) -> str:
    """Where the account's service plan is spoken with: in its region."""
    base = credentials.get("api_base") or f"https://{credentials.get('region')}.sms.api.sinch.com"
    return f"{base}/xms/v1/{quote(credentials.get('service_plan_id'), safe='')}"


def _bearer(credentials: Credentials) -> dict[str, str]:
    return {"Authorization": f"Bearer {credentials.get('api_token')}"}


def _status(document: Mapping[str, Any], status: Mapping[str, Any]) -> StatusUpdate:
    name = string(status.get("status"))
    return StatusUpdate(
        message_id(document.get("batch_id"), "batch_id"),
        STATES.get(name.lower()),
        f"{name} {string(status.get('code'))}".strip(),
        reference=string(document.get("client_reference")),
    )


def _text(document: Mapping[str, Any]) -> InboundText:
    """Its `client_reference` is that of a text of ours to which it may be a reply: no reference of its own."""
    sender, to = string(document.get("from")), string(document.get("to"))
    for name, value in (("from", sender), ("to", to)):
        if not value:
            raise NotUnderstood(f"There is no “{name}”.")
    kind, body = string(document.get("type")), document.get("body")
    media: list[Media] = []
    part = None
    if kind == "mo_binary":
        try:
            content = base64.b64decode(string(body), validate=True)
            text, part = binary.read(content, bytes.fromhex(string(document.get("udh"))))
        except (binascii.Error, ValueError):
            text = None
    elif kind == "mo_media":
        parts = mapping(body)
        media = [
            Media(string(one.get("url")), string(one.get("content_type")))
            for one in map(mapping, items(parts.get("media")))
            if string(one.get("url"))
        ]
        # Some phones write what there is to say into the subject alone.
        text = string(parts.get("message")) or string(parts.get("subject"))
    else:
        text = body if isinstance(body, str) else None
    return InboundText(
        sender=international(sender),
        to=international(to),
        text=text,
        message_id=message_id(document.get("id"), "id"),
        media=media,
        received_at=moment(document.get("received_at")),
        part=part,
    )


def _body(text: OutboundText) -> dict[str, Any]:
    if not text.media:
        return {"type": "mt_text", "body": text.text}
    if len(text.media) > 1:
        raise CarrierError("Sinch takes one file a text. Send the others by themselves.", permanent=True)
    message = {"message": text.text} if text.text else {}
    return {"type": "mt_media", "body": {"url": text.media[0].url, **message}}


def _listed(entry: Mapping[str, Any]) -> ListedText | None:
    """None for one that cannot be read, names no time, or is a part of a longer text: it proves nothing by itself."""
    try:
        text = _text(entry)
    except NotUnderstood:
        return None
    if text.received_at is None or text.part is not None:
        return None
    return ListedText(
        message_id=text.message_id,
        is_inbound=True,
        sender=text.sender,
        to=text.to,
        at=text.received_at,
        text=text.text,
        media=text.media,
    )
