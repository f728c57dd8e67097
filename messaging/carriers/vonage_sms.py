"""Vonage, SMS API: form, JSON or query, signed in a field of its own; long texts come in parts.

Sources: Vonage's "Inbound SMS", "Delivery receipts", "Signing messages", "Concatenation and encoding",
"Troubleshooting SMS" and "Opt-Out Assist: Messaging Opted-out Numbers" pages.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from messaging import segments
from messaging.carriers import binary, http, reading, signing
from messaging.carriers.base import (
    Carrier,
    CarrierError,
    Event,
    InboundText,
    NotUnderstood,
    OutboundText,
    Part,
    Refused,
    Setting,
    State,
    StatusUpdate,
    WebhookRequest,
)
from messaging.carriers.vonage import ACCOUNTS, RETRIED_FOR, Vonage, ask_balance
from offices.credentials import Credentials

# Of a delivery receipt; in the answer to a text handed over, 9 means that the account is out of credit.
OPTED_OUT = "9"
# Throttled, wrong credentials, internal error, account barred, out of credit, too many connections, not enabled,
# wrong signature, two ways of signing at once: the account's trouble, not the text's.
TROUBLE = frozenset({"1", "4", "5", "8", "9", "10", "11", "14", "32"})
LONGEST_CALLBACK = 100  # characters that Vonage takes for a receipt's address
STATES: dict[str, State] = {
    "accepted": "sent",
    "buffered": "sent",
    "delivered": "delivered",
    "expired": "failed",
    "failed": "failed",
    "rejected": "failed",
}
METHODS = (
    ("md5hash", "MD5 hash signature"),
    ("md5", "MD5 HMAC signature"),
    ("sha1", "SHA1 HMAC signature"),
    ("sha256", "SHA-256 HMAC signature"),
    ("sha512", "SHA-512 HMAC signature"),
)
UNSIGNED = (
    "It is not signed, as Vonage's SMS API is by default. In the Vonage dashboard open API Settings, switch on that "
    "webhooks are signed, choose a signature method, and enter the same here."
)


class VonageSms(Carrier):
    label = "Vonage (SMS API)"
    SETTINGS: ClassVar[Sequence[Setting]] = (
        *Vonage.SETTINGS,
        Setting(
            "signature_method",
            "Signature method",
            help="As chosen in the dashboard under API Settings. SHA-256 HMAC or better, if you are free to choose.",
            choices=METHODS,
        ),
    )
    STEPS: ClassVar[Sequence[str]] = (
        "In the Vonage dashboard open API Settings. Under SMS settings choose SMS API for default SMS.",
        "Enter {webhook} as both webhook for inbound messages and webhook for delivery receipts.",
        "Choose POST-JSON as webhook format. POST and GET are read as well.",
        "Switch on signed webhooks, and choose a signature method: SHA-256 HMAC signature.",
        "Copy the API key, the API secret, the signature secret and the method to this account.",
        "If Opt-Out Assist is switched on for your numbers, say on this account that the carrier answers STOP.",
    )

    def verify(self, credentials: Credentials, request: WebhookRequest) -> None:
        try:
            fields = _fields(request)
        except (NotUnderstood, ValueError):
            raise Refused("It is neither a form nor JSON, as Vonage's SMS API sends.") from None
        given = fields.get("sig", "")
        if not given:
            raise Refused(UNSIGNED)
        if any("&" in name or "=" in name for name in fields):
            # A name that holds them could stand for several fields under the same signature.
            raise Refused("A field's name holds & or =, as none of Vonage's does.")
        method = credentials.get("signature_method")
        expected = [
            signature(secret, method, signed)
            for secret in credentials.all("signature_secret")
            for signed in (fields, {name: value for name, value in fields.items() if value.strip()})
        ]
        if not signing.any_same([given.lower()], expected):
            raise Refused("The signature does not fit. Are signature secret and method those of the dashboard?")
        signing.check_fresh(_signed_at(fields), RETRIED_FOR)

    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        try:
            # A blank value is signed or left out of the signature, so it must mean the same as none.
            fields = {name: value for name, value in _fields(request).items() if value.strip() or name == "text"}
        except ValueError:
            raise NotUnderstood("It is neither a form nor JSON, or has more fields than Vonage sends.") from None
        found = reading.message_id(fields.get("messageId") or fields.get("message-id"), "messageId")
        if "status" in fields and "type" not in fields:
            return [_receipt(found, fields)]
        for needed in ("msisdn", "to"):
            if needed not in fields:
                raise NotUnderstood(f"There is no {needed}.")
        text, part = _words(fields)
        return [
            InboundText(
                sender=reading.international(fields["msisdn"]),
                to=reading.international(fields["to"]),
                text=text,
                message_id=found,
                received_at=reading.moment(fields.get("message-timestamp")),
                part=part,
            )
        ]

    def send(self, credentials: Credentials, text: OutboundText) -> str:
        """The id is that of the first part when Vonage cuts a long text: each part has an id and receipts of its own,
        and what becomes of the first is taken for the whole. Those of the others are about no text that is known."""
        if text.media:
            raise CarrierError("Vonage's SMS API sends no MMS: use an account of its Messages API.", permanent=True)
        fields = {
            "api_key": credentials.get("api_key"),
            "api_secret": credentials.get("api_secret"),
            "from": text.sender.removeprefix("+"),
            "to": text.to.removeprefix("+"),
            "text": text.text,
            "type": "text" if segments.count(text.text).encoding == "GSM-7" else "unicode",
            "client-ref": text.reference,
            "status-report-req": "true",
        }
        if text.status_url.startswith("https://") and len(text.status_url) <= LONGEST_CALLBACK:
            fields["callback"] = text.status_url
        response = http.post(f"{credentials.get('api_base') or ACCOUNTS}/sms/json", data=fields)
        parts = [reading.mapping(one) for one in reading.items(http.json_answer(response).get("messages"))]
        if not parts and not response.is_success:
            raise http.refuse(response, response.reason_phrase)
        return _first_id(parts, response.headers)

    def test(self, credentials: Credentials) -> str:
        return ask_balance(credentials)


def signature(secret: str, method: str, fields: Mapping[str, str]) -> str:
    """What Vonage puts into `sig`, in lower case: hex over "&name=value" of each field but `sig`, sorted by name, & and
    = in values as _. With "md5hash" a plain MD5 with the secret behind; else an HMAC by that hash.

    Raises Refused for a method that is none of METHODS.
    """
    signed = "".join(
        f"&{name}={fields[name].replace('&', '_').replace('=', '_')}" for name in sorted(fields) if name != "sig"
    ).encode("utf-8", "surrogatepass")
    if method == "md5hash":
        return hashlib.md5(signed + secret.encode(), usedforsecurity=False).hexdigest()
    if method not in dict(METHODS):
        raise Refused("This account does not say how Vonage signs. Enter the signature method of the dashboard.")
    return hmac.new(secret.encode(), signed, method).hexdigest()


def _fields(request: WebhookRequest) -> dict[str, str]:
    """The fields, whichever way they came. Raises ValueError or NotUnderstood."""
    if request.method == "GET" or not request.body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return dict(reading.form(request))
    try:
        # Numbers as they are written: that is what was signed.
        document = json.loads(request.body.decode("utf-8-sig"), parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError:
        raise ValueError("The JSON is too deep.") from None
    return {str(name): _plain(value) for name, value in document.items()}


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, separators=(",", ":"))


def _signed_at(fields: Mapping[str, str]) -> str | float:
    """When Vonage began to push, which need not change when it comes again: a count of seconds. Only a request without
    it is as old as it says in words."""
    if given := fields.get("timestamp", ""):
        return given
    at = reading.moment(fields.get("message-timestamp"))
    return at.timestamp() if at else ""


def _receipt(found: str, fields: Mapping[str, str]) -> StatusUpdate:
    status, code = fields["status"], fields.get("err-code", "")
    state = STATES.get(status)
    return StatusUpdate(
        found,
        state,
        f"{status} {code if code != '0' else ''}".strip(),
        opted_out=state == "failed" and code == OPTED_OUT,
        reference=fields.get("client-ref", ""),
    )


def _words(fields: Mapping[str, str]) -> tuple[str | None, Part | None]:
    """The words, and which part of a longer text they are. Not from `keyword`, which is the first word alone."""
    if fields.get("type") == "binary":
        try:
            text, part = binary.read(bytes.fromhex(fields.get("data", "")), bytes.fromhex(fields.get("udh", "")))
        except ValueError:
            return None, None
        return text, part if text is None else _part(fields) or part
    return fields.get("text"), _part(fields)


def _part(fields: Mapping[str, str]) -> Part | None:
    """None also when the numbers make no sense: the words then count by themselves."""
    if fields.get("concat", "").lower() != "true":
        return None
    try:
        number, total = int(fields["concat-part"]), int(fields["concat-total"])
    except (KeyError, ValueError):
        return None
    reference = fields.get("concat-ref", "")
    return Part(reference, number, total) if reference and 1 <= number <= total <= 255 and total > 1 else None


def _first_id(parts: Sequence[Mapping[str, Any]], headers: Mapping[str, str]) -> str:
    """The first part's id when Vonage took them all. Raises CarrierError."""
    statuses = [reading.string(part.get("status")) for part in parts]
    refused = next((part for part, status in zip(parts, statuses, strict=True) if status != "0"), None)
    if refused is None:
        if parts and (first := reading.string(parts[0].get("message-id"))):
            return first
        raise CarrierError("Vonage took the text but gave no message-id.", uncertain=True)
    status = reading.string(refused.get("status"))
    detail = f"{status} {reading.string(refused.get('error-text'))[:500]}".strip()
    if "0" in statuses:
        # Handed over again, the person would get some of it twice.
        taken = statuses.count("0")
        raise CarrierError(f"Vonage took {taken} of {len(parts)} parts of the text: {detail}", permanent=True)
    trouble = status in TROUBLE
    raise CarrierError(
        f"Vonage did not take it: {detail}",
        permanent=not trouble,
        is_trouble=trouble,
        retry_after=http.retry_after(headers),
    )
