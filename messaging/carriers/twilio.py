"""Twilio: form posts signed with an HMAC over the public URL and the sorted fields; REST to send and to list.

Sources: Twilio's pages "Webhooks security", "Sign webhooks with shared keys", "Messaging webhooks", "Advanced
Opt-Out", "Messages resource" and "Error and Warning Dictionary".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

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

API = "https://api.twilio.com/2010-04-01"
# In the address that statuses come to, and signed with it: which text of ours they are about.
REFERENCE = "text"
STATES: dict[str, State] = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "delivered",
    "undelivered": "failed",
    "failed": "failed",
}
KEYWORDS: dict[str, Literal["STOP", "UNSTOP", "HELP"]] = {"STOP": "STOP", "START": "UNSTOP", "HELP": "HELP"}
# Wrong sign-in, account not active, too many requests, the sender's queue full, account suspended, rate of the
# account, hourly and daily limit of the account: any other text would fare no better now.
TROUBLE = frozenset({"20003", "20005", "20429", "21611", "30001", "30002", "60728", "63017", "63038"})
# Too many texts between two numbers within 30 seconds: passes, and other recipients can be texted meanwhile.
PASSING = frozenset({"14107"})
MOST_MEDIA = 20
PAGE_SIZE = 1000

Fields = Sequence[tuple[str, str]]


class Twilio(Carrier):
    label = "Twilio"
    SETTINGS: ClassVar[Sequence[Setting]] = (
        Setting(
            "account_sid",
            "Account SID",
            pattern=r"AC[0-9a-fA-F]{32}",
            help="In the Twilio Console, under Account info on the first page: AC and 32 hexadecimal digits.",
        ),
        Setting(
            "auth_token",
            "Auth token",
            secret=True,
            help="Below the Account SID. Twilio signs with the primary one: when you promote a secondary token, "
            "add it here first.",
        ),
        Setting(
            "shared_key",
            "Webhook shared key",
            secret=True,
            required=False,
            help="Only if a webhook rule at Twilio signs with a SharedKey in place of the auth token.",
        ),
    )
    STEPS: ClassVar[Sequence[str]] = (
        "In the Twilio Console, open Phone Numbers, Manage, Active numbers, and choose the number.",
        "Under Messaging Configuration, at “A message comes in”, choose Webhook, paste {webhook} and choose HTTP POST.",
        "If the number belongs to a Messaging Service, open Messaging, Services, that service, Integration instead, "
        "choose “Send a webhook” and paste {webhook} as the Request URL.",
        "Save. Delivery statuses need no setting: the portal names this address with each text, if it is an https one.",
        "If Twilio's own handling of STOP is switched off for the account, choose “We reply” at “Who answers STOP”.",
    )
    ANSWERS_STOP = True
    HAS_LIST = True
    # It can be asked for by the day of sending alone, so one that is queued, or failed before, is not in what we see.
    LISTS_SENT = False

    # Those of the account's secrets that sign webhooks, and the headers that hold the signature.
    SIGNING: ClassVar[Sequence[str]] = ("auth_token", "shared_key")
    SIGNATURE_HEADERS: ClassVar[Sequence[str]] = ("X-Twilio-Signature",)
    # "Attempt to send to unsubscribed recipient". Not 30004, 30007 or 63033: blocked, filtered, blocked off SMS.
    OPTED_OUT: ClassVar[frozenset[str]] = frozenset({"21610"})
    HOW_TO_SIGN_IN: ClassVar[str] = (
        "Copy the Account SID and the primary auth token anew from the Twilio Console, Account info."
    )

    def verify(self, credentials: Credentials, request: WebhookRequest) -> None:
        """The signature covers the address with its query, and the form's fields; of a JSON body, its hash in the
        query. There is no time in it: only the message's id tells a replay."""
        keys = [key for name in self.SIGNING for key in credentials.all(name) if key]
        given = [header for name in self.SIGNATURE_HEADERS if (header := request.header(name))]
        if not keys or not given:
            raise Refused(f"There is no {self.SIGNATURE_HEADERS[0]}, or the account has no key to check it with.")
        if not signing.any_same(given, self._signatures(keys, request)):
            raise Refused(f"The {self.SIGNATURE_HEADERS[0]} does not fit this request.")

    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        fields = self._fields(request)
        sids = (fields.get(name, "") for name in ("MessageSid", "SmsSid", "SmsMessageSid"))
        sid = reading.message_id(next(filter(None, sids), ""), "MessageSid")
        status = fields.get("MessageStatus") or fields.get("SmsStatus", "")
        # A status may repeat the text's words, so it is told by its status and not by what it lacks.
        if status not in ("", "received", "receiving"):
            reference = dict(parse_qsl(request.query)).get(REFERENCE, "")
            return [StatusUpdate(sid, reference=reference, **self._outcome(status, fields.get("ErrorCode", "")))]
        for needed in ("From", "To"):
            if not fields.get(needed):
                raise NotUnderstood(f"There is no {needed}.")
        media = _media(fields)
        if "Body" not in fields and not media:
            raise NotUnderstood("There is neither Body nor media.")
        # From a Messaging Service with Advanced Opt-Out: what Twilio understood, and has answered.
        understood = fields.get("OptOutType", "")
        return [
            InboundText(
                sender=fields["From"],
                to=fields["To"],
                text=fields.get("Body", ""),
                message_id=sid,
                media=media,
                carrier_replied=bool(understood),
                carrier_keyword=KEYWORDS.get(understood.strip().upper(), ""),
            )
        ]

    def send(self, credentials: Credentials, text: OutboundText) -> str:
        data: list[tuple[str, str]] = [("From", text.sender), ("To", text.to), ("Body", text.text)]
        data += [("MediaUrl", media.url) for media in text.media]
        # The carrier refuses the whole text for an address that it cannot reach.
        if text.status_url.startswith("https://"):
            data.append(("StatusCallback", f"{text.status_url}?{REFERENCE}={quote(text.reference, safe='')}"))
        response = http.post(
            f"{self.account_url(credentials)}/Messages.json",
            content="&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in data),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            auth=self._sign_in(credentials),
        )
        if not response.is_success:
            raise self._refusal(response)
        if not (sid := reading.string(http.json_answer(response).get("sid"))):
            raise CarrierError(f"{self.label} took the text but gave no id.", uncertain=True)
        return sid

    def test(self, credentials: Credentials) -> str:
        account = self._get(credentials, f"{self.account_url(credentials)}.json")
        name, status = (reading.string(account.get(key)) for key in ("friendly_name", "status"))
        if not status:
            raise CarrierError(f"The answer is none of {self.label}'s: there is no account in it.")
        if status != "active":
            raise CarrierError(f"{self.label}'s account “{name}” is {status}. Make it active at {self.label} first.")
        return f"{self.label} knows the account “{name}”, and it is {status}."

    def answer(self) -> tuple[str, bytes]:
        return "text/xml", b'<?xml version="1.0" encoding="UTF-8"?><Response/>'

    def listed(self, credentials: Credentials, since: datetime, until: datetime) -> Iterator[ListedText]:
        """Every text of the account, in or out, that the carrier got from `since` to `until`.

        The list can be asked for whole days (UTC) of sending only, so what is outside is left out here.
        """
        window = {
            "DateSent>": f"{since.astimezone(UTC):%Y-%m-%d}",
            # A day more: some read “before” as before that day's beginning.
            "DateSent<": f"{until.astimezone(UTC) + timedelta(days=1):%Y-%m-%d}",
            "PageSize": str(PAGE_SIZE),
        }
        query = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in window.items())
        url, seen = f"{self.account_url(credentials)}/Messages.json?{query}", set[str]()
        while url and url not in seen:
            seen.add(url)
            page = self._get(credentials, url)
            if not isinstance(page.get("messages"), list):
                raise CarrierError(f"The answer is none of {self.label}'s: there is no list of messages in it.")
            for item in page["messages"]:
                text = self._listed_text(credentials, reading.mapping(item))
                if text is not None and since <= text.at <= until:
                    yield text
            url = http.next_page(url, reading.string(page.get("next_page_uri")))

    # What a variant does in its own way

    def _fields(self, request: WebhookRequest) -> Mapping[str, str]:
        """The fields by the names of Twilio's form. Raises NotUnderstood."""
        if is_json(request):
            items = reading.json_object(request.body).items()
            return {name: reading.string(value) for name, value in items if value is not None}
        try:
            return dict(reading.form(request))
        except ValueError:
            raise NotUnderstood("There are more fields than any message has.") from None

    def _signatures(self, keys: Sequence[str], request: WebhookRequest) -> list[str]:
        """The signatures that fit the request, one for each key, and for each way to write the address.

        Keys sign with SHA-1; a SharedKey may sign with SHA-256, over the same.
        """
        fields = _signed_fields(request)
        return [
            signature(key, url, fields, digest)
            for key in keys
            for url in with_and_without_port(request.url)
            for digest in (hashlib.sha1, hashlib.sha256)
        ]

    def _base(self, credentials: Credentials) -> str:
        return credentials.get("api_base") or API

    def _sign_in(self, credentials: Credentials) -> tuple[str, str]:
        """Name and password of HTTP Basic; the name is that of the account in addresses too."""
        return credentials.get("account_sid"), credentials.get("auth_token")

    def _problem(self, answer: Mapping[str, Any]) -> tuple[str, str]:
        """Code and words of an answer that is no success."""
        return reading.string(answer.get("code")), reading.string(answer.get("message"))

    # Shared with every variant

    def account_url(self, credentials: Credentials) -> str:
        """The account's own address, without an ending: what belongs to it is below."""
        return f"{self._base(credentials)}/Accounts/{quote(self._sign_in(credentials)[0], safe='')}"

    def _get(self, credentials: Credentials, url: str) -> dict[str, Any]:
        response = http.get(url, auth=self._sign_in(credentials))
        if response.is_success:
            return http.json_answer(response)
        error = self._refusal(response)
        if response.status_code in (401, 403, 404):
            words = f"{self.label} does not let us in ({error}). {self.HOW_TO_SIGN_IN}"
            raise CarrierError(words, retry_after=error.retry_after, is_trouble=True)
        raise error

    def _refusal(self, response: httpx.Response) -> CarrierError:
        """What an answer that is no success means for the text, and for those after it."""
        code, words = self._problem(http.json_answer(response))
        detail = f"{code} {words}".strip() or response.reason_phrase
        error = http.refuse(response, detail, opted_out=code in self.OPTED_OUT)
        if code in TROUBLE:
            error.permanent, error.is_trouble = False, True
        elif code in PASSING:
            error.permanent, error.is_trouble = False, False
        elif re.fullmatch(r"21\d{3}", code):
            # These are about one text, its recipient or its country, with whatever status they come.
            error.permanent, error.is_trouble = True, False
        return error

    def _outcome(self, status: str, code: str) -> dict[str, Any]:
        """State, detail and opt-out that a status and its code mean, for a StatusUpdate or a ListedText."""
        code = code if re.fullmatch(r"[0-9A-Za-z_-]{1,100}", code) else ""
        return {
            "state": STATES.get(status),
            "detail": f"{status} {code}".strip(),
            "opted_out": code in self.OPTED_OUT,
        }

    def _listed_text(self, credentials: Credentials, item: Mapping[str, Any]) -> ListedText | None:
        """One entry of the list; None for one without an id or a time: it could be told from no other."""
        at = _rfc_2822(item.get("date_created")) or _rfc_2822(item.get("date_sent"))
        sid = reading.string(item.get("sid"))
        if at is None or not sid:
            return None
        is_inbound = item.get("direction") == "inbound"
        media = []
        if reading.string(item.get("num_media")).strip("0"):
            # One address that lists all of its files: to name each one would take a request for each text.
            media = [Media(f"{self.account_url(credentials)}/Messages/{quote(sid, safe='')}/Media.json")]
        text = item.get("body")
        if not isinstance(text, str) or (not text and not media):
            text = None  # withheld or redacted: it may have been a STOP
        outcome = self._outcome(reading.string(item.get("status")), reading.string(item.get("error_code")))
        return ListedText(
            message_id=sid,
            is_inbound=is_inbound,
            sender=reading.string(item.get("from")),
            to=reading.string(item.get("to")),
            at=at,
            text=text,
            media=media,
            **(outcome | ({"opted_out": False} if is_inbound else {})),
        )


def signature(token: str, url: str, fields: Fields, digest: Callable[..., Any] = hashlib.sha1) -> str:
    """What Twilio puts into X-Twilio-Signature: base64 of an HMAC over the URL and each distinct field and value,
    sorted, glued without separators."""
    text = url + "".join(name + value for name, value in sorted(set(fields)))
    return base64.b64encode(hmac.new(token.encode(), text.encode("utf-8", "surrogatepass"), digest).digest()).decode()


def is_json(request: WebhookRequest) -> bool:
    """Whether the body is a JSON object and says so. A form may be posted under any content type."""
    return "json" in request.content_type.lower() and request.body.lstrip()[:1] == b"{"


def has_body_hash(request: WebhookRequest) -> bool:
    """Whether the query, which is signed, holds the body's SHA-256: how JSON is signed."""
    given = dict(reversed(parse_qsl(request.query))).get("bodySHA256", "")
    return signing.same(given.lower(), hashlib.sha256(request.body).hexdigest())


def with_and_without_port(url: str) -> list[str]:
    """The address in both ways: Twilio signs with or without the port, depending on the product."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if re.search(r":\d+$", host):
        return [url, urlunsplit(parts._replace(netloc=re.sub(r":\d+$", "", parts.netloc)))]
    port = 443 if parts.scheme == "https" else 80
    return [url, urlunsplit(parts._replace(netloc=f"{parts.netloc}:{port}"))]


def _signed_fields(request: WebhookRequest) -> Fields:
    """The fields that are signed besides the address, untouched: trimming one breaks the signature (error 57012).

    None for a GET, whose fields are in the address, and for JSON, whose hash is. Raises Refused.
    """
    if request.method == "GET":
        return []
    if is_json(request):
        if not has_body_hash(request):
            raise Refused("The bodySHA256 of the address does not fit the JSON body.")
        return []
    try:
        return reading.form(request)
    except ValueError:
        raise Refused("There are more fields than any message has.") from None


def _media(fields: Mapping[str, str]) -> list[Media]:
    count = fields.get("NumMedia", "0")
    listed = range(min(int(count), MOST_MEDIA)) if re.fullmatch(r"[0-9]{1,3}", count) else range(0)
    return [
        Media(fields[f"MediaUrl{i}"], fields.get(f"MediaContentType{i}", ""))
        for i in listed
        if fields.get(f"MediaUrl{i}")
    ]


def _rfc_2822(given: Any) -> datetime | None:
    """The time as the list has it ("Mon, 23 Nov 2026 18:30:00 +0000"), in UTC; None for none."""
    try:
        found = parsedate_to_datetime(reading.string(given))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
