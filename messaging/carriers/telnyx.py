"""Telnyx: JSON events signed with Ed25519 over the time and the raw body; REST with a Bearer key to send and to list.

Sources: Telnyx's developer pages "Receiving Webhooks for Messaging", "Advanced Opt-In/Out Management", "Send a
message", "Search detail records" and "List opt-outs", and the field lists of its own Python library.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, quote, urlsplit

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

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

API = "https://api.telnyx.com/v2"
OPTED_OUT = "40300"  # "Blocked due to STOP message"
# In the address that statuses come to, which Telnyx repeats in what it signs: which text of ours they are about.
REFERENCE = "text"
# "delivery_unconfirmed" is the end of it for Telnyx: it left, and no receipt came. So do the detail records say it.
STATES: dict[str, State] = {
    "queued": "sent",
    "sending": "sent",
    "sent": "sent",
    "delivery_unconfirmed": "sent",
    "dlr_unconfirmed": "sent",
    "dlr_timeout": "sent",
    "delivered": "delivered",
    "read": "delivered",
    "expired": "failed",
    "failed": "failed",
    "gw_reject": "failed",
    "sending_failed": "failed",
    "delivery_failed": "failed",
}
KEYWORDS: dict[str, Literal["STOP", "UNSTOP", "HELP"]] = {
    "STOP": "STOP",
    "OPT_OUT": "STOP",
    "START": "UNSTOP",
    "UNSTOP": "UNSTOP",
    "OPT_IN": "UNSTOP",
    "HELP": "HELP",
}
MOST_PAGES = 10_000


class Telnyx(Carrier):
    label = "Telnyx"
    SETTINGS: ClassVar[Sequence[Setting]] = (
        Setting(
            "api_key",
            "API key",
            secret=True,
            pattern=r"KEY\S+",
            help="Telnyx portal, Account Settings, Keys & Credentials, API Keys. It begins with KEY.",
        ),
        Setting(
            "public_key",
            "Public key",
            # Everybody may know it; kept as a secret so that an old and a new one can stand side by side.
            secret=True,
            pattern=r"[A-Za-z0-9+/]{43}=",
            help="Telnyx portal, Account Settings, Keys & Credentials, Public Key: 44 characters that end in “=”. "
            "Telnyx signs webhooks with the private key that belongs to it.",
        ),
        Setting(
            "messaging_profile_id",
            "Messaging profile ID",
            required=False,
            pattern=r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
            help="Needed only to send from a name or a number pool; with it the comparison of opt-outs reads this "
            "profile alone. Telnyx portal, Messaging, Programmable Messaging, the profile's ID.",
        ),
    )
    STEPS: ClassVar[Sequence[str]] = (
        "In the Telnyx portal open Messaging, Programmable Messaging, and choose your messaging profile, or make one "
        "with “Add new profile”.",
        "Under “Inbound”, put {webhook} into “Send a webhook to this URL”, choose “API v2” as the webhook API version, "
        "and save.",
        "Under Numbers, My Numbers, choose this messaging profile for each number that the portal texts from.",
        "API key and public key are under Account Settings, Keys & Credentials: copy both into the fields above.",
        "Telnyx answers STOP, START and HELP itself, in the words of the profile's “Advanced Opt-In/Out”, and says "
        "so in its webhook: no second answer leaves from here.",
    )
    # Section "Default behavior" of "Advanced Opt-In/Out Management"; a webhook says so by `autoresponse_type`.
    ANSWERS_STOP = True
    # Of what we sent, the records hold what is over: one that is missing may be on its way.
    HAS_LIST = True

    def verify(self, credentials: Credentials, request: WebhookRequest) -> None:
        moment = request.header("telnyx-timestamp")
        signing.check_fresh(moment)
        try:
            given = base64.b64decode(request.header("telnyx-signature-ed25519"), validate=True)
        except (binascii.Error, ValueError):
            given = b""
        signed = moment.encode("utf-8", "surrogatepass") + b"|" + request.body
        if not any([_fits(key, given, signed) for key in credentials.all("public_key")]):
            raise Refused("The telnyx-signature-ed25519 does not fit this request and any public key of the account.")

    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        """Texts and statuses; other events (of 10DLC registration, say) mean nothing here and are let pass."""
        document = reading.json_object(request.body)
        event = reading.mapping(document.get("data")) or document
        kind = reading.string(event.get("event_type"))
        payload = reading.mapping(event.get("payload"))
        if kind == "message.received":
            return _texts(event, payload)
        if kind in ("message.sent", "message.finalized"):
            return [_status(payload)]
        if not kind:
            raise NotUnderstood("There is no data.event_type.")
        return []

    def send(self, credentials: Credentials, text: OutboundText) -> str:
        document: dict[str, Any] = {"from": text.sender, "to": text.to}
        if text.text or not text.media:
            document["text"] = text.text
        if text.media:
            document["media_urls"] = [media.url for media in text.media]
        if profile := credentials.get("messaging_profile_id"):
            document["messaging_profile_id"] = profile
        if text.status_url.startswith("https://"):
            document["webhook_url"] = f"{text.status_url}?{REFERENCE}={quote(text.reference, safe='')}"
        response = http.post(f"{_base(credentials)}/messages", json=document, headers=_headers(credentials))
        answer = http.json_answer(response)
        if not response.is_success:
            codes, detail = _errors(answer)
            raise http.refuse(response, detail or response.reason_phrase, opted_out=OPTED_OUT in codes)
        if not (found := reading.string(reading.mapping(answer.get("data")).get("id"))):
            raise CarrierError("Telnyx took the text but gave no id.", uncertain=True)
        return found

    def test(self, credentials: Credentials) -> str:
        if profile := credentials.get("messaging_profile_id"):
            answer = _get(credentials, f"/messaging_profiles/{quote(profile, safe='')}", {})
            name = reading.string(reading.mapping(answer.get("data")).get("name"))
            return f"Telnyx knows the API key and the messaging profile “{name}”."
        answer = _get(credentials, "/messaging_profiles", {"page[size]": "1"})
        total = reading.mapping(answer.get("meta")).get("total_results", 0)
        return f"Telnyx knows the API key. Messaging profiles there: {total}."

    def listed(self, credentials: Credentials, since: datetime, until: datetime) -> Iterator[ListedText | ListedOptOut]:
        """The texts between the two moments, and all who are blocked now, whenever that began: an opt-out from before
        the account was connected here counts as well.

        A detail record does not hold the words: see `words`.
        """
        yield from _listed_texts(credentials, since, until)
        # Unmasked: a number without its last digits can be blocked nowhere.
        query = {"redaction_enabled": "false"}
        if profile := credentials.get("messaging_profile_id"):
            query["filter[messaging_profile_id]"] = profile
        for found in _pages(credentials, "/messaging_optouts", query, size=250):
            recipient, number = reading.string(found.get("to")), reading.string(found.get("from"))
            if recipient:
                keyword = reading.string(found.get("keyword"))
                at = reading.moment(found.get("created_at"))
                yield ListedOptOut(recipient, number, at, f"opted out at Telnyx {keyword}".strip())

    def words(self, credentials: Credentials, message_id: str) -> str | None:
        """What "Retrieve a message" answers, for ten days; after that None."""
        response = http.get(
            f"{_base(credentials)}/messages/{quote(message_id, safe='')}", headers=_headers(credentials)
        )
        if response.status_code in (404, 410):
            return None
        data = reading.mapping(_taken(response).get("data"))
        text = data.get("text")
        if isinstance(text, str):
            return text
        return "" if reading.items(data.get("media")) else None


def _fits(public_key: str, signature: bytes, signed: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True)).verify(signature, signed)
    except (InvalidSignature, ValueError):  # also for a key that is none
        return False
    return True


def _texts(event: Mapping[str, Any], payload: Mapping[str, Any]) -> list[Event]:
    """The text, once for each number of ours that it came to."""
    found_id = reading.message_id(payload.get("id"), "data.payload.id")
    sender = _number(payload.get("from"))
    if not sender:
        raise NotUnderstood("There is no data.payload.from.phone_number.")
    media = [
        Media(
            reading.string(one.get("url")),
            reading.string(one.get("content_type")),
            size if isinstance(size := one.get("size"), int) and not isinstance(size, bool) else None,
        )
        for one in map(reading.mapping, reading.items(payload.get("media")))
        if reading.string(one.get("url"))
    ]
    text = payload.get("text")
    if not isinstance(text, str):
        # A picture without words comes with null. Without a picture nobody knows what was written.
        text = "" if media else None
    answered = reading.string(payload.get("autoresponse_type"))
    return [
        InboundText(
            sender=sender,
            to=to,
            text=text,
            # The first keeps the plain id: it is the one that Telnyx's list has.
            message_id=f"{found_id}/{to}"[:255] if index else found_id,
            media=media,
            received_at=reading.moment(payload.get("received_at")) or reading.moment(event.get("occurred_at")),
            carrier_replied=bool(answered),
            carrier_keyword=KEYWORDS.get(answered.upper(), ""),
        )
        for index, to in enumerate(_ours(payload.get("to")))
    ]


def _ours(given: Any) -> list[str]:
    """Our numbers among those that a text came to: in a group, Telnyx marks those whose webhook this is."""
    entries = given if isinstance(given, list) else [given]
    marked = [one for one in entries if reading.mapping(one).get("status") == "webhook_delivered"]
    found = list(dict.fromkeys(filter(None, map(_number, marked or entries))))
    if not found:
        raise NotUnderstood("There is no data.payload.to[].phone_number.")
    return found


def _number(given: Any) -> str:
    """The number of an address, which is an object for SMS and MMS and a bare text for some other channels."""
    return reading.string(given) or reading.string(reading.mapping(given).get("phone_number"))


def _status(payload: Mapping[str, Any]) -> StatusUpdate:
    found_id = reading.message_id(payload.get("id"), "data.payload.id")
    statuses = [reading.string(one.get("status")) for one in map(reading.mapping, reading.items(payload.get("to")))]
    status = next(filter(None, statuses), "")
    codes, _ = _errors(payload)
    # Read from the signed body: the address of the request is signed by nobody.
    reference = dict(parse_qsl(_query(payload.get("webhook_url")))).get(REFERENCE, "")
    return StatusUpdate(
        found_id, STATES.get(status), " ".join(filter(None, [status, *codes])), OPTED_OUT in codes, reference
    )


def _query(address: Any) -> str:
    try:
        return urlsplit(reading.string(address)).query
    except ValueError:
        return ""


def _errors(given: Mapping[str, Any]) -> tuple[list[str], str]:
    """The codes, and a line for people. Without `detail`, which repeats whole phone numbers."""
    found = [reading.mapping(one) for one in reading.items(given.get("errors"))]
    codes = [reading.string(one.get("code")) for one in found]
    lines = [f"{code} {reading.string(one.get('title'))}".strip() for code, one in zip(codes, found, strict=True)]
    return list(filter(None, codes)), "; ".join(filter(None, lines))


def _listed_texts(credentials: Credentials, since: datetime, until: datetime) -> Iterator[ListedText]:
    query = {
        "filter[record_type]": "messaging",
        # Whole days, as in Telnyx's examples; the moments are looked at below.
        "filter[created_at][gte]": since.date().isoformat(),
        "filter[created_at][lt]": (until + timedelta(days=1)).date().isoformat(),
        "sort": "created_at",
    }
    for record in _pages(credentials, "/detail_records", query, size=50):
        at, uuid = reading.moment(record.get("created_at")), reading.string(record.get("uuid"))
        if at is None or not uuid or not since <= at <= until:
            continue
        is_inbound = reading.string(record.get("direction")).lower() == "inbound"
        status = reading.string(record.get("status")).lower()
        codes = [reading.string(code) for code in reading.items(record.get("errors"))]
        yield ListedText(
            message_id=uuid,
            is_inbound=is_inbound,
            sender=reading.string(record.get("cli")),
            to=reading.string(record.get("cld")),
            at=at,
            state=None if is_inbound else STATES.get(status),
            detail=" ".join(filter(None, [status, *codes])),
            opted_out=not is_inbound and OPTED_OUT in codes,
        )


def _pages(credentials: Credentials, path: str, query: dict[str, str], size: int) -> Iterator[Mapping[str, Any]]:
    """Every entry of a list, page by page, by number: no address that the answer names is followed."""
    for number in range(1, MOST_PAGES + 1):
        answer = _get(credentials, path, {**query, "page[number]": str(number), "page[size]": str(size)})
        entries = reading.items(answer.get("data"))
        yield from map(reading.mapping, entries)
        total = reading.mapping(answer.get("meta")).get("total_pages")
        if not entries or not isinstance(total, int) or number >= total:
            return


def _get(credentials: Credentials, path: str, query: dict[str, str]) -> dict[str, Any]:
    return _taken(http.get(f"{_base(credentials)}{path}", params=query, headers=_headers(credentials)))


def _taken(response: httpx.Response) -> dict[str, Any]:
    """The answer's object. Raises CarrierError, with what to do about a wrong key."""
    answer = http.json_answer(response)
    if response.status_code in (401, 403):
        raise http.refuse(response, "Telnyx does not know the API key, or it may not do this. Make a new one there.")
    if not response.is_success:
        _, detail = _errors(answer)
        raise http.refuse(response, detail or response.reason_phrase)
    return answer


def _base(credentials: Credentials) -> str:
    return (credentials.get("api_base") or API).rstrip("/")


def _headers(credentials: Credentials) -> dict[str, str]:
    return {"Authorization": f"Bearer {credentials.get('api_key')}"}
