"""Infobip: JSON of up to 100 results, with HTTP Basic or an HMAC over the body; each customer has a host of their own.

Sources: Infobip's "SMS" and "MMS" API references (inbound messages, delivery reports, send), "Subscriptions
management", and "Response status and error codes".
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

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
    Unread,
    WebhookRequest,
)
from messaging.carriers.reading import international, items, json_object, mapping, message_id, moment, string
from offices.credentials import Credentials

# EC_SC_BLOCKED_BY_END_USER: at the person's wish the operator blocks the short code. EC_CONTENT_BLOCKED: "blocked by
# user opt-out (MO: STOP)", for toll-free and text-enabled landline numbers. EC_BLACKLISTED_DESTINATIONADDRESS (2052)
# is no proof: an operator or somebody of the account may have listed the number.
OPTED_OUT = frozenset({"573", "603"})
STATES: dict[str, State] = {
    "PENDING": "sent",
    "DELIVERED": "delivered",
    "UNDELIVERABLE": "failed",
    "EXPIRED": "failed",
    "REJECTED": "failed",
}
# Within the group DELIVERED, but only so far as the operator: the handset's report follows.
ON_THE_WAY = "DELIVERED_TO_OPERATOR"
# Statuses of a text that was not taken because the account is out of credit, expired, without a route, or by an error
# of Infobip's own.
TROUBLE = frozenset({"12", "17", "19", "21"})
FLOODING = "20"  # too many texts to this number within the hour
DEFAULT_ALGORITHM = "sha256"
ALGORITHMS = (
    ("sha256", "HMAC_SHA_256"),
    ("sha512", "HMAC_SHA_512"),
    ("sha384", "HMAC_SHA_384"),
    ("sha224", "HMAC_SHA_224"),
    ("sha1", "HMAC_SHA_1"),
    ("md5", "HMAC_MD5"),
)


class Infobip(Carrier):
    label = "Infobip"
    SETTINGS: ClassVar[Sequence[Setting]] = (
        Setting(
            "base_url",
            "API base URL",
            help="On the first page of Infobip's portal, with https:// before it: https://xxxxx.api.infobip.com.",
            pattern=r"https://([0-9A-Za-z-]+\.)+infobip\.com",
        ),
        Setting(
            "api_key",
            "API key",
            secret=True,
            help="In Infobip's portal under Developer Tools, API Keys. It needs the scope to send SMS and MMS.",
        ),
        Setting(
            "webhook_user",
            "Name for HTTP Basic",
            required=False,
            help="As entered in the security settings of the notification profile.",
        ),
        Setting("webhook_password", "Password for HTTP Basic", secret=True, required=False, help="Beside that name."),
        Setting(
            "hmac_secret",
            "HMAC secret key",
            secret=True,
            required=False,
            help="Instead of HTTP Basic, when the notification profile signs by HMAC. Unsigned requests are then "
            "refused, whatever their name and password.",
        ),
        Setting(
            "hmac_header",
            "Header with the HMAC",
            required=False,
            help="The name of the header in which Infobip sends the signature. Its pages do not name it: ask support, "
            "or look at a request that the profile sends.",
            pattern=r"[0-9A-Za-z-]{1,64}",
        ),
        Setting(
            "hmac_algorithm",
            "HMAC algorithm",
            required=False,
            help="As chosen in the notification profile. HMAC_SHA_256 when left empty.",
            choices=ALGORITHMS,
        ),
    )
    STEPS: ClassVar[Sequence[str]] = (
        "In Infobip's portal open Developer Tools, API Keys. Copy a key and the API base URL to this account.",
        "Open Developer Tools, Subscriptions Management, Notification profiles. Create one with {webhook} as webhook "
        "URL.",
        "In its security settings choose Basic, with a name and a long random password, and enter both here. (HMAC is "
        "read as well, once you know the header that it comes in.)",
        "Under Subscriptions create one for channel SMS and one for channel MMS, both with this profile, and for the "
        "events inbound message and delivery.",
        "If a keyword with a blocking action or an automatic reply is set for your numbers, say on this account that "
        "the carrier answers STOP.",
    )

    def verify(self, credentials: Credentials, request: WebhookRequest) -> None:
        """By the HMAC where its secret is set, else by HTTP Basic: who signs must not be taken unsigned."""
        secrets = credentials.all("hmac_secret")
        if not credentials.has("hmac_secret"):
            user = credentials.get("webhook_user")
            signing.check_basic(request, [(user, one) for one in credentials.all("webhook_password")])
            return
        name = credentials.get("hmac_header")
        if not name:
            raise Refused("This account has an HMAC secret key, but not the name of the header that it comes in.")
        algorithm = credentials.get("hmac_algorithm") or DEFAULT_ALGORITHM
        if algorithm not in dict(ALGORITHMS):
            raise Refused("This account's HMAC algorithm is none of Infobip's.")
        # "sha256=…" as others write it would be no surprise; base64 may end in "=" itself.
        given = request.header(name).strip().removeprefix(f"{algorithm}=")
        digests = [hmac.new(one.encode(), request.body, algorithm).digest() for one in secrets]
        in_hex = [digest.hex() for digest in digests]
        in_base64 = [base64.b64encode(digest).decode() for digest in digests]
        # Infobip's pages settle neither the form nor the letter case; none of them is easier to forge.
        if not signing.any_same([given, given.lower()], in_hex) and not signing.any_same([given], in_base64):
            raise Refused("The HMAC does not fit. Are secret key, header and algorithm those of the profile?")

    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        results = json_object(request.body).get("results")
        if not isinstance(results, list):
            raise NotUnderstood("There are no “results”.")
        if not results:
            return []
        events: list[Event] = []
        for index, result in enumerate(results, 1):
            try:
                events.append(_event(mapping(result)))
            except NotUnderstood as error:
                events.append(Unread(f"Result {index} of {len(results)}: {error}"))
        if all(isinstance(event, Unread) for event in events):
            raise NotUnderstood("; ".join(event.reason for event in events if isinstance(event, Unread))[:1000])
        return events

    def send(self, credentials: Credentials, text: OutboundText) -> str:
        """Delivery reports come by the account's subscription: one to an address of the text's own would come without
        the profile's name and password, and be refused. The reference comes back in each as callbackData."""
        path = "/mms/2/messages" if text.media else "/sms/3/messages"
        message = {
            "sender": text.sender.removeprefix("+"),
            "destinations": [{"to": text.to.removeprefix("+")}],
            "content": _content(text),
            "webhooks": {"callbackData": text.reference},
        }
        response = http.post(f"{_base(credentials)}{path}", json={"messages": [message]}, headers=_key(credentials))
        answer = http.json_answer(response)
        if not response.is_success:
            raise http.refuse(response, _detail(answer) or response.reason_phrase)
        taken = mapping(next(iter(items(answer.get("messages"))), None))
        _check_taken(mapping(taken.get("status")))
        if found := string(taken.get("messageId")):
            return found
        raise CarrierError("Infobip took the text but gave no messageId.", uncertain=True)

    def test(self, credentials: Credentials) -> str:
        response = http.get(f"{_base(credentials)}/account/1/balance", headers=_key(credentials))
        if response.status_code in (401, 403):
            raise http.refuse(response, "Infobip refuses the API key. Copy it anew, and check the API base URL.")
        if not response.is_success:
            raise http.refuse(response, "Infobip did not tell the balance. Check the API base URL.")
        answer = http.json_answer(response)
        value, currency = answer.get("balance"), string(answer.get("currency"))
        balance = f" The balance is {value:.2f} {currency}." if isinstance(value, int | float) else ""
        return f"Infobip accepts the API key.{balance} How webhooks are signed shows with the first of them."


def _base(credentials: Credentials) -> str:
    base = credentials.get("api_base") or credentials.get("base_url")
    if not base:
        raise CarrierError("This account has no API base URL; enter it.", permanent=True)
    return base.rstrip("/")


def _key(credentials: Credentials) -> dict[str, str]:
    return {"Authorization": f"App {credentials.get('api_key')}", "Accept": "application/json"}


def _event(result: Mapping[str, Any]) -> Event:
    found = message_id(result.get("messageId"), "messageId")
    if mapping(result.get("status")):
        return _status(found, result)
    channel = string(result.get("integrationType")) or string(result.get("channel"))
    if channel.upper() not in ("", "SMS", "MMS"):
        raise NotUnderstood(
            f"It came by {channel[:40]}, which is no text. If it says stop, opt the person out by hand."
        )
    sender, to = string(result.get("from")) or string(result.get("sender")), string(result.get("to"))
    for name, value in (("from", sender), ("to", to)):
        if not value:
            raise NotUnderstood(f"There is no “{name}”.")
    text, media = _words(result)
    return InboundText(
        sender=international(sender),
        to=international(to),
        text=text,
        message_id=found,
        media=media,
        received_at=moment(result.get("receivedAt")),
    )


def _words(result: Mapping[str, Any]) -> tuple[str | None, list[Media]]:
    """The words and files. Not from `cleanText`, which lacks the first word, nor from `keyword`, which is that alone.

    The parts of an MMS have a type each, and an address or the content itself; some accounts get its words as one
    text instead.
    """
    message = result.get("message")
    if isinstance(message, str):
        return message, []
    if not isinstance(message, list):
        text = result.get("text")
        return (text if isinstance(text, str) else None), []
    words: list[str] = []
    media: list[Media] = []
    for part in map(mapping, message):
        content_type, url = string(part.get("contentType")), string(part.get("url"))
        value = part.get("value") if isinstance(part.get("value"), str) else part.get("text")
        if content_type.lower() == "application/smil":
            continue  # how a phone lays the others out
        if url:
            media.append(Media(url, content_type))
        elif isinstance(value, str) and content_type.lower().partition(";")[0] in ("", "text/plain"):
            words.append(value)
    return ("\n".join(words) if words or media else None), media


def _status(found: str, result: Mapping[str, Any]) -> StatusUpdate:
    status, error = mapping(result.get("status")), mapping(result.get("error"))
    group, name = string(status.get("groupName")), string(status.get("name"))
    state = STATES.get(group.upper())
    code = string(error.get("id"))
    wrong = f"{code} {string(error.get('name'))}" if code not in ("", "0") else ""
    return StatusUpdate(
        found,
        "sent" if name == ON_THE_WAY else state,
        f"{name or group} {wrong}".strip(),
        opted_out=state == "failed" and code in OPTED_OUT,
        reference=string(result.get("callbackData")),
    )


def _content(text: OutboundText) -> dict[str, Any]:
    if not text.media:
        return {"text": text.text}
    segments: list[dict[str, str]] = [{"type": "TEXT", "text": text.text}] if text.text else []
    for one in text.media:
        link = {"type": "LINK", "contentUrl": one.url}
        segments.append({**link, "contentType": one.content_type} if one.content_type else link)
    return {"messageSegments": segments}


def _check_taken(status: Mapping[str, Any]) -> None:
    """Raise CarrierError when the answer is a success by HTTP, but the text was rejected."""
    if STATES.get(string(status.get("groupName")).upper()) != "failed":
        return
    code = string(status.get("id"))
    trouble = code in TROUBLE
    raise CarrierError(
        f"Infobip did not take it: {string(status.get('name'))} ({code}). {string(status.get('description'))[:400]}",
        permanent=not trouble and code != FLOODING,
        is_trouble=trouble,
    )


def _detail(answer: Mapping[str, Any]) -> str:
    """What an error says, in the form of the newer endpoints or of the older ones."""
    older = mapping(mapping(answer.get("requestError")).get("serviceException"))
    said = [answer.get("errorCode"), answer.get("description"), older.get("messageId"), older.get("text")]
    return " ".join(filter(None, map(string, said)))
