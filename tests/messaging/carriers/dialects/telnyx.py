"""Telnyx: JSON signed with Ed25519 over the time, a bar and the body; the account knows the public key only."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.messaging.carriers.dialect import Answer, Asked, Case, Dialect, Posted

OUT = "40385f64-5717-4562-b3fc-2c963f66afa6"  # the text of ours that statuses are about
FANCY = "1 + 1 = 2 & 50% 👍🏽 café\nnew line"
QUOTED = '👍 café \u2028 "quoted" \\ /'
# The private keys that Telnyx keeps, by the public ones that it shows.
KEYS: dict[str, Ed25519PrivateKey] = {}


def public_key(name: str) -> str:
    """The public key of a pair that is always the same for a name."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
    shown = base64.b64encode(private.public_key().public_bytes_raw()).decode()
    KEYS[shown] = private
    return shown


class Telnyx(Dialect):
    carrier = "telnyx"
    secrets: ClassVar[Mapping[str, str]] = {"api_key": "KEYmadeup_telnyx", "public_key": public_key("first")}
    signing_secret = "public_key"
    has_window = True
    signature_headers: ClassVar[Sequence[str]] = ("telnyx-signature-ed25519", "telnyx-timestamp")
    cases: ClassVar[Sequence[Case]] = [
        Case("sms.json", "text", "7ee4241c-f127-47e5-9c34-000000000001", "See you at nine!"),
        Case("sms_stop.json", "text", "7ee4241c-f127-47e5-9c34-000000000002", "STOP", "opted_out"),
        Case(
            "sms_stop_answered.json", "text", "7ee4241c-f127-47e5-9c34-000000000003", "STOP", "opted_out", replied=True
        ),
        Case(
            "sms_stop_by_a_word_of_telnyxs.json",
            "text",
            "7ee4241c-f127-47e5-9c34-000000000004",
            "NO MORE PROMOS",
            "opted_out",
            replied=True,
        ),
        Case("sms_stop_lower_case.json", "text", "7ee4241c-f127-47e5-9c34-000000000005", "stop", "opted_out"),
        Case("sms_stop_with_emoji.json", "text", "7ee4241c-f127-47e5-9c34-000000000006", "STOP 🛑", "held"),
        Case("sms_help.json", "text", "7ee4241c-f127-47e5-9c34-000000000007", "HELP", "help"),
        Case("sms_help_answered.json", "text", "7ee4241c-f127-47e5-9c34-000000000008", "Help", "help", replied=True),
        Case("sms_unstop.json", "text", "7ee4241c-f127-47e5-9c34-000000000009", "UNSTOP", "opted_in"),
        Case(
            "sms_start_answered.json", "text", "7ee4241c-f127-47e5-9c34-00000000000a", "START", "opted_in", replied=True
        ),
        Case("sms_emoji_and_plus.json", "text", "7ee4241c-f127-47e5-9c34-00000000000b", FANCY),
        Case("sms_escaped.json", "text", "7ee4241c-f127-47e5-9c34-00000000000c", QUOTED),
        Case("sms_text_null.json", "text", "7ee4241c-f127-47e5-9c34-00000000000d", "", "held"),
        Case("sms_text_empty.json", "text", "7ee4241c-f127-47e5-9c34-00000000000e", ""),
        Case("sms_without_optional_fields.json", "text", "7ee4241c-f127-47e5-9c34-00000000000f", "STOP", "opted_out"),
        Case("sms_to_a_group.json", "text", "7ee4241c-f127-47e5-9c34-000000000010", "STOP", "opted_out"),
        Case("sms_unknown_fields.json", "text", "7ee4241c-f127-47e5-9c34-000000000011", "STOP", "opted_out"),
        Case("mms_two_media.json", "text", "7ee4241c-f127-47e5-9c34-000000000012", "Is this the right tooth?", media=2),
        Case("mms_stop.json", "text", "7ee4241c-f127-47e5-9c34-000000000013", "Stop", "opted_out", media=2),
        Case("mms_text_null.json", "text", "7ee4241c-f127-47e5-9c34-000000000014", "", media=1),
        Case("sms_to_a_number_of_nobody.json", "not understood"),
        Case("sms_without_id.json", "not understood"),
        Case("sms_without_from.json", "not understood"),
        Case("list.json", "not understood"),
        Case("not_json.json", "not understood"),
        Case("status_queued.json", "status", OUT, state="sent"),
        Case("status_sending.json", "status", OUT, state="sent"),
        Case("status_sent.json", "status", OUT, state="sent"),
        Case("status_delivered.json", "status", OUT, state="delivered"),
        Case("status_read.json", "status", OUT, state="delivered"),
        Case("status_delivery_unconfirmed.json", "status", OUT, state="sent"),
        Case("status_sending_failed.json", "status", OUT, state="failed"),
        Case("status_delivery_failed.json", "status", OUT, state="failed"),
        Case("status_expired.json", "status", OUT, state="failed"),
        Case("status_spam.json", "status", OUT, state="failed"),
        Case("status_opted_out.json", "status", OUT, state="failed", opted_out=True),
        Case("status_opted_out_as_number.json", "status", OUT, state="failed", opted_out=True),
        Case("status_unknown.json", "ignored", OUT),
        Case("status_without_to.json", "ignored", OUT),
        Case("other_event.json", "ignored"),
    ]

    def another_secret(self) -> str:
        return public_key("second")

    def sign(self, url: str, case: Case, body: bytes, secret: str, at: float) -> Posted:
        seconds = str(int(at))
        signature = KEYS[secret].sign(f"{seconds}|".encode() + body)
        headers = {"telnyx-signature-ed25519": base64.b64encode(signature).decode(), "telnyx-timestamp": seconds}
        return Posted(body, "application/json", headers)

    def with_unknown_fields(self, body: bytes) -> bytes:
        document = json.loads(body)
        document["data"]["payload"]["from"]["mood"] = None
        document["data"]["payload"] |= {"weather": {"sky": ["blue", None]}, "carrier": 5}
        return json.dumps({**document, "trace": [1, "a"]}).encode()

    def another_text(self, body: bytes, text: str, message_id: str) -> bytes:
        document = json.loads(body)
        document["data"]["payload"] |= {"text": text, "id": message_id}
        return json.dumps(document).encode()

    def taken(self, message_id: str) -> Answer:
        to = [{"phone_number": "+12025550143", "status": "queued", "carrier": "", "line_type": ""}]
        data = {"record_type": "message", "direction": "outbound", "id": message_id, "to": to, "errors": []}
        return Answer.json(200, {"data": data})

    def opted_out(self) -> Answer:
        detail = "Messages cannot be sent from '+12025550100' to '+12025550143' due to an existing block rule."
        return self.error(400, "40300", "Blocked due to STOP message", detail)

    def busy(self, seconds: int) -> Answer:
        answer = self.error(429, "10011", "Too many requests", "You have exceeded the maximum number of requests.")
        return Answer(answer.status, answer.body, {**answer.headers, "Retry-After": str(seconds)})

    def failing(self) -> Answer:
        return self.error(503, "10016", "Service unavailable", "Please try again.")

    def locked_out(self) -> Answer:
        return self.error(401, "10009", "Authentication failed", "Could not understand the provided credentials.")

    def senseless(self) -> Answer:
        return self.error(422, "40001", "Not routable", "The destination '+12025550143' is a landline.")

    def error(self, status: int, code: str, title: str, detail: str) -> Answer:
        return Answer.json(status, {"errors": [{"code": code, "title": title, "detail": detail}]})

    def handed_over(self, asked: Asked) -> tuple[str, str, str]:
        assert (asked.method, asked.path) == ("POST", "/messages")
        assert asked.headers["Authorization"] == "Bearer KEYmadeup_telnyx"
        document = json.loads(asked.body)
        return document["from"], document["to"], document.get("text", "")


DIALECT = Telnyx()
