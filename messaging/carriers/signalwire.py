"""SignalWire: Twilio's form and REST calls at an address of one's own, signed with a key that is not the API token.

Sources: SignalWire's pages "Webhook signature validation", "SMS status callback" (Compatibility API), "Message status
callback" (REST API), "List all Messages" and "Troubleshooting Messaging Issues".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from messaging.carriers import reading, twilio
from messaging.carriers.base import Refused, Setting, WebhookRequest
from offices.credentials import Credentials

# The names of the REST API's JSON, which statuses may come in, and those of the form.
NAMES = {
    "id": "MessageSid",
    "status": "MessageStatus",
    "from": "From",
    "to": "To",
    "body": "Body",
    "error_code": "ErrorCode",
}


class SignalWire(twilio.Twilio):
    label = "SignalWire"
    SETTINGS = (
        Setting(
            "space",
            "Space",
            pattern=r"[A-Za-z0-9][A-Za-z0-9-]{0,62}",
            help="The first word of the Space URL: “example” for example.signalwire.com.",
        ),
        Setting(
            "project_id",
            "Project ID",
            pattern=r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
            help="On the Dashboard's API page: 32 hexadecimal digits in five groups.",
        ),
        Setting("api_token", "API token", secret=True, help="Made on the API page; it needs the scope Messaging."),
        Setting(
            "signing_key",
            "Signing key",
            secret=True,
            help="On the API page, behind Show. It signs webhooks, and is not the API token.",
        ),
    )
    STEPS = (
        "In the SignalWire Dashboard, open Phone Numbers and choose the number, then Edit Settings.",
        "Under Messaging Settings, let messages be handled by a cXML (LaML) webhook.",
        "At “When a message comes in”, paste {webhook} and choose POST; save.",
        "Delivery statuses need no setting: the portal names this address with each text that it sends.",
    )
    ANSWERS_STOP = False  # “Does SignalWire manage opt-outs? No.”

    SIGNING = ("signing_key",)
    SIGNATURE_HEADERS = ("X-SignalWire-Signature", "X-Twilio-Signature")
    # 30004 is titled “Carrier Responded as Undeliverable – Opt Out” here, unlike at Twilio; the name is the newer one
    # of the same. 21610 is not documented, but is what whoever comes from Twilio expects.
    OPTED_OUT = frozenset({"21610", "30004", "message_blocked_by_carrier"})
    HOW_TO_SIGN_IN = "Copy the Space, the Project ID and an API token with the scope Messaging anew from the API page."

    def _fields(self, request: WebhookRequest) -> Mapping[str, str]:
        fields = super()._fields(request)
        return {NAMES.get(name, name): value for name, value in fields.items()} if twilio.is_json(request) else fields

    def _signatures(self, keys: Sequence[str], request: WebhookRequest) -> list[str]:
        """In hexadecimal over the address and the raw body, which JSON has; or in base64 over the fields, as a form."""
        urls = twilio.with_and_without_port(request.url)
        raw = [_hmac(key, url.encode() + request.body).hex() for key in keys for url in urls]
        if request.method != "GET" and twilio.is_json(request) and not twilio.has_body_hash(request):
            return raw
        try:
            fields = [] if twilio.is_json(request) or request.method == "GET" else reading.form(request)
        except ValueError:
            raise Refused("There are more fields than any message has.") from None
        return raw + [signature(key, url, fields) for key in keys for url in urls]

    def _base(self, credentials: Credentials) -> str:
        own = f"https://{quote(credentials.get('space'), safe='')}.signalwire.com/api/laml/2010-04-01"
        return credentials.get("api_base") or own

    def _sign_in(self, credentials: Credentials) -> tuple[str, str]:
        return credentials.get("project_id"), credentials.get("api_token")

    def _problem(self, answer: Mapping[str, Any]) -> tuple[str, str]:
        """As Twilio's, or the first of a list of errors, as the REST API writes them."""
        errors = reading.items(answer.get("errors"))
        return super()._problem(reading.mapping(errors[0]) if errors else answer)


def signature(key: str, url: str, fields: twilio.Fields) -> str:
    """What SignalWire signs a form with: as Twilio, but fields of one name stay in the order sent, and a value that
    comes twice counts twice."""
    text = url + "".join(name + value for name, value in sorted(fields, key=lambda field: field[0]))
    return base64.b64encode(_hmac(key, text.encode("utf-8", "surrogatepass"))).decode()


def _hmac(key: str, text: bytes) -> bytes:
    return hmac.new(key.encode(), text, hashlib.sha1).digest()
