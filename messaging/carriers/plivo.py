"""Plivo: form posts signed over the address and a nonce, not over what they say; REST in JSON to send and to list.

The messaging signature (V2) covers the address without its query, and a nonce. Whoever has seen one genuine request's
headers could post anything with them, for ever, and there is no time in them. What protects us is that they cannot be
seen: the address holds the account's long random id, and TLS hides both. The nonce alone would protect nobody; the
message's id makes an honest repetition harmless. V3 covers query and fields; it is documented for voice only, and
taken here in case it comes for messaging as well.

Sources: Plivo's pages "Validating requests" (messaging), "Signature validation" (voice, V3), "Handling incoming
messages", "Message status callbacks", "List all messages" and "Error codes" (messaging).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, urlencode

import httpx

from messaging.carriers import http, reading, signing
from messaging.carriers.base import (
    Carrier,
    CarrierError,
    Event,
    InboundText,
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

API = "https://api.plivo.com/v1"
OPTED_OUT = "200"  # not 450, the country that is not enabled, and not 30, spam
REFERENCE = "text"  # in the address that statuses come to: which text of ours they are about
STATES: dict[str, State] = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "delivered",
    "undelivered": "failed",
    "failed": "failed",
    "rejected": "failed",
}
INTENTS: dict[str, Literal["STOP", "UNSTOP", "HELP"]] = {"optout": "STOP", "optin": "UNSTOP", "help": "HELP"}
MOST_MEDIA = 20
PAGE_SIZE = 20  # the most that Plivo gives
# The list may be asked for 20 pages a minute, so a busy account's takes longer than that: seconds, and how often.
LIST_PAUSE = 60.0
LIST_TRIES = 3


class Plivo(Carrier):
    label = "Plivo"
    SETTINGS = (
        Setting(
            "auth_id",
            "Auth ID",
            pattern=r"(MA|SA)[A-Z0-9]{18}",
            help="On the first page of the Plivo console: MA (or SA for a subaccount) and 18 letters and digits.",
        ),
        Setting(
            "auth_token",
            "Auth token",
            secret=True,
            help="Beside the Auth ID. If the application belongs to a subaccount, that one's token, or the main one's.",
        ),
    )
    STEPS = (
        "In the Plivo console, open Messaging, Applications, XML, and add an application.",
        "Paste {webhook} as the Message URL, choose POST as its method, and create the application.",
        "Open Phone Numbers, Your Numbers, and choose the number.",
        "As Application Type choose XML Application, as Plivo Application the one just made, and update the number.",
        "Delivery statuses need no setting: the portal names this address with each text that it sends.",
    )
    ANSWERS_STOP = True
    HAS_LIST = True
    LISTS_SENT = True  # by the time at which a text was handed over, whatever became of it

    def verify(self, credentials: Credentials, request: WebhookRequest) -> None:
        """Either version will do, by the account's token or (“Ma”) the main account's; what they cover is said
        above."""
        tokens = [token for token in credentials.all("auth_token") if token]
        given_v2 = [request.header(f"X-Plivo-Signature-{kind}V2") for kind in ("", "Ma-")]
        given_v3 = [request.header(f"X-Plivo-Signature-{kind}V3") for kind in ("", "Ma-")]
        nonce_v2, nonce_v3 = (request.header(f"X-Plivo-Signature-{version}-Nonce") for version in ("V2", "V3"))
        fits = False
        if nonce_v2:
            expected = [signature(token, request.url, nonce_v2) for token in tokens]
            fits = signing.any_same(filter(None, given_v2), expected)
        if nonce_v3 and not fits:
            fields = _form(request, Refused)
            expected = [signature_v3(token, request.method, request.url, fields, nonce_v3) for token in tokens]
            one_by_one = (one for header in given_v3 for one in header.split(","))  # two tokens while one is changed
            fits = signing.any_same(filter(None, one_by_one), expected)
        if not fits:
            raise Refused("There is no X-Plivo-Signature-V2 or -V3 that fits this address and its nonce.")

    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        fields = dict(_form(request, NotUnderstood))
        status = fields.get("Status", "")
        if status not in ("", "received"):
            return [_status(fields, status, dict(parse_qsl(request.query)).get(REFERENCE, ""))]
        for needed in ("From", "To"):
            if not fields.get(needed):
                raise NotUnderstood(f"There is no {needed}.")
        media = _media(fields)
        # Text for SMS, Body for MMS.
        if not media and not {"Text", "Body"} & fields.keys():
            raise NotUnderstood("There is neither Text nor Body nor media.")
        intent = fields.get("MessageIntent", "").strip().lower()
        return [
            InboundText(
                sender=reading.international(fields["From"]),
                to=reading.international(fields["To"]),
                text=fields.get("Text") or fields.get("Body", ""),
                message_id=reading.message_id(fields.get("MessageUUID"), "MessageUUID"),
                media=media,
                # Plivo answers what it understood as a keyword.
                carrier_replied=bool(intent),
                carrier_keyword=INTENTS.get(intent, ""),
            )
        ]

    def send(self, credentials: Credentials, text: OutboundText) -> str:
        document: dict[str, Any] = {"src": text.sender, "dst": text.to, "text": text.text, "type": "sms"}
        if text.media:
            document |= {"type": "mms", "media_urls": [media.url for media in text.media]}
        if text.status_url.startswith("https://"):
            document["url"] = f"{text.status_url}?{REFERENCE}={quote(text.reference, safe='')}"
            document["method"] = "POST"
        response = http.post(f"{_account_url(credentials)}Message/", json=document, auth=_sign_in(credentials))
        if not response.is_success:
            raise _refusal(response)
        answer = http.json_answer(response)
        uuids = answer.get("message_uuid")
        if uuid := reading.string(uuids[0] if isinstance(uuids, list) and uuids else uuids):
            return uuid
        if answer.get("invalid_number"):
            raise CarrierError("Plivo calls the recipient's number invalid.", permanent=True)
        raise CarrierError("Plivo took the text but gave no id.", uncertain=True)

    def test(self, credentials: Credentials) -> str:
        account = _get(credentials, _account_url(credentials))
        if not account.get("auth_id"):
            raise CarrierError("The answer is none of Plivo's: there is no account in it.")
        credit = str(account.get("cash_credits") or "no")
        return f"Plivo knows the account “{reading.string(account.get('name'))}”; it has {credit} credit."

    def answer(self) -> tuple[str, bytes]:
        return "application/xml", b'<?xml version="1.0" encoding="UTF-8"?><Response></Response>'

    def listed(self, credentials: Credentials, since: datetime, until: datetime) -> Iterator[ListedText]:
        """Every text of the account, in or out, of the last 90 days; without its words, which the list does not
        hold. Pauses where Plivo asks for it, so a busy account takes minutes."""
        window = {
            "message_time__gte": f"{since.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            "message_time__lte": f"{until.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}",
            "limit": str(PAGE_SIZE),
            "offset": "0",
        }
        url, seen = f"{_account_url(credentials)}Message/?{urlencode(window)}", set[str]()
        while url and url not in seen:
            seen.add(url)
            page = _get(credentials, url, tries=LIST_TRIES)
            if not isinstance(page.get("objects"), list):
                raise CarrierError("The answer is none of Plivo's: there is no list of messages in it.")
            for item in page["objects"]:
                text = _listed_text(reading.mapping(item))
                if text is not None and since <= text.at <= until:
                    yield text
            url = http.next_page(url, reading.string(reading.mapping(page.get("meta")).get("next")))


def signature(token: str, url: str, nonce: str) -> str:
    """X-Plivo-Signature-V2: base64 of HMAC-SHA256 over the address without its query, and the nonce."""
    return _signed(token, url.partition("?")[0] + nonce)


def signature_v3(token: str, method: str, url: str, fields: Sequence[tuple[str, str]], nonce: str) -> str:
    """X-Plivo-Signature-V3: over the address, its sorted query, the sorted fields of a POST, and the nonce."""
    base, _, query = url.partition("?")
    asked = "&".join(f"{name}={value}" for name, value in sorted(parse_qsl(query, keep_blank_values=True)))
    posted = "" if method == "GET" else "".join(name + value for name, value in sorted(fields))
    has_fields = method != "GET" and bool(fields)
    text = base + (f"?{asked}" if asked or has_fields else "") + ("." if asked and has_fields else "") + posted
    return _signed(token, f"{text}.{nonce}")


def _signed(token: str, text: str) -> str:
    digest = hmac.new(token.encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _form(request: WebhookRequest, error: type[Refused] | type[NotUnderstood]) -> list[tuple[str, str]]:
    try:
        return reading.form(request)
    except ValueError:
        raise error("There are more fields than any message has.") from None


def _status(fields: Mapping[str, str], status: str, reference: str) -> StatusUpdate:
    """What became of a text, or of one part of it.

    The parts of a long text used to be reported one by one, all with the first one's id as ParentMessageUUID, which
    is the id that we know; now the field is reserved, and says the same as MessageUUID. A part that fails fails the
    text. A part that is delivered says so of the text when it is the last: the network sends them in order, and
    whatever fails of those before it mostly has done so by then.
    """
    sid = reading.message_id(fields.get("ParentMessageUUID") or fields.get("MessageUUID"), "MessageUUID")
    outcome = _outcome(status, fields.get("ErrorCode", ""))
    part = re.fullmatch(r"\s*([0-9]{1,3}) of ([0-9]{1,3})\s*", fields.get("PartInfo", ""))
    if part and int(part[1]) < int(part[2]) and outcome["state"] == "delivered":
        outcome["state"] = "sent"
    return StatusUpdate(sid, reference=reference, **outcome)


def _outcome(status: str, code: str) -> dict[str, Any]:
    """State, detail and opt-out that a status and its code mean. The code is empty or 000 where nothing failed."""
    code = code if re.fullmatch(r"[0-9]{1,9}", code) and code.strip("0") else ""
    return {"state": STATES.get(status), "detail": f"{status} {code}".strip(), "opted_out": code == OPTED_OUT}


def _media(fields: Mapping[str, str]) -> list[Media]:
    """The files, counted from 0 or from 1: Plivo's pages differ."""
    listed = sorted(int(name[5:]) for name in fields if re.fullmatch(r"Media[0-9]{1,2}", name))
    return [Media(url) for number in listed[:MOST_MEDIA] if (url := fields.get(f"Media{number}"))]


def _account_url(credentials: Credentials) -> str:
    return f"{credentials.get('api_base') or API}/Account/{quote(credentials.get('auth_id'), safe='')}/"


def _sign_in(credentials: Credentials) -> tuple[str, str]:
    return credentials.get("auth_id"), credentials.get("auth_token")


def _refusal(response: httpx.Response) -> CarrierError:
    """What an answer that is no success means for the text, and for those after it."""
    given = http.json_answer(response).get("error")
    words = given if isinstance(given, str) else str(given) if given else response.reason_phrase
    error = http.refuse(response, words)
    if "insufficient credit" in words.lower():
        error.permanent, error.is_trouble = False, True
    elif response.status_code == 403:
        # Geo permissions: the recipient's country is not enabled; other recipients can be texted.
        error.permanent, error.is_trouble = True, False
    return error


def _get(credentials: Credentials, url: str, *, tries: int = 1) -> dict[str, Any]:
    """Plivo's answer. With more than one of `tries`, waits a while and asks again when told that we ask too often."""
    response = http.get(url, auth=_sign_in(credentials))
    for _ in range(tries - 1):
        pause = http.retry_after(response.headers)
        pause = LIST_PAUSE if pause is None else pause
        if response.status_code != 429 or pause > LIST_PAUSE:
            break
        time.sleep(pause)
        response = http.get(url, auth=_sign_in(credentials))
    if response.is_success:
        return http.json_answer(response)
    error = _refusal(response)
    if response.status_code in (401, 403, 404):
        raise CarrierError(
            f"Plivo does not let us in ({error}). Copy Auth ID and auth token anew from the first page of the console.",
            is_trouble=True,
        )
    raise error


def _listed_text(item: Mapping[str, Any]) -> ListedText | None:
    """One entry of the list; None for one without an id or a time: it could be told from no other."""
    at, uuid = reading.moment(item.get("message_time")), reading.string(item.get("message_uuid"))
    if at is None or not uuid:
        return None
    is_inbound = item.get("message_direction") == "inbound"
    outcome = _outcome(reading.string(item.get("message_state")), reading.string(item.get("error_code")))
    if is_inbound:
        # There the state says whether the webhook was reached.
        outcome |= {"state": None, "opted_out": False}
    return ListedText(
        message_id=uuid,
        is_inbound=is_inbound,
        sender=reading.international(reading.string(item.get("from_number"))),
        to=reading.international(reading.string(item.get("to_number"))),
        at=at,
        **outcome,
    )
