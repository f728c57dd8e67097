"""The generic gateway: the portal's own JSON, signed as the Standard Webhooks specification says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tests.messaging.carriers.dialect import Answer, Asked, Case, Dialect, Posted


class Generic(Dialect):
    carrier = "generic"
    secrets: ClassVar[Mapping[str, str]] = {
        "signing_secret": "whsec_" + base64.b64encode(b"a gateway's key of 32 bytes long").decode(),
        "send_token": "gateway-token",
    }
    signing_secret = "signing_secret"
    has_window = True
    signature_headers: ClassVar[Sequence[str]] = ("webhook-signature", "webhook-id", "webhook-timestamp")
    cases: ClassVar[Sequence[Case]] = [
        Case("sms.json", "text", "gen-0001", "See you at nine!"),
        Case("sms_stop.json", "text", "gen-0002", "STOP", "opted_out"),
        Case("sms_stop_lower_case.json", "text", "gen-0003", "stop", "opted_out"),
        Case("sms_stop_with_emoji.json", "text", "gen-0004", "STOP 🛑", "held"),
        Case("sms_help.json", "text", "gen-0005", "HELP", "help"),
        Case("sms_unstop.json", "text", "gen-0006", "UNSTOP", "opted_in"),
        Case("sms_emoji_and_plus.json", "text", "gen-0007", "1 + 1 = 2 & 50% 👍🏽 café\nnew line"),
        Case("sms_escaped.json", "text", "gen-0008", '👍 café \u2028 "quoted" \\ /'),
        Case("sms_byte_order_mark.json", "text", "gen-0009", "STOP", "opted_out"),
        Case("sms_text_null.json", "text", "gen-0010", ""),
        Case("sms_text_empty.json", "text", "gen-0011", ""),
        Case("sms_without_optional_fields.json", "text", "gen-0012", "STOP", "opted_out"),
        Case("sms_nulls.json", "text", "gen-0013", "STOP", "opted_out"),
        Case("sms_numbers_as_numbers.json", "text", "14", "STOP", "opted_out"),
        Case("sms_time_in_another_zone.json", "text", "gen-0015", "STOP", "opted_out"),
        Case("sms_unknown_fields.json", "text", "gen-0016", "STOP", "opted_out"),
        Case("mms_two_media.json", "text", "gen-0017", "Is this the right tooth?", media=2),
        Case("mms_addresses_alone.json", "text", "gen-0018", "", media=1),
        Case("mms_without_text.json", "text", "gen-0019", "", media=1),
        Case("mms_stop.json", "text", "gen-0020", "STOP", "opted_out", media=2),
        Case("sms_to_a_number_of_nobody.json", "not understood"),
        Case("sms_without_to.json", "not understood"),
        Case("list.json", "not understood"),
        Case("not_json.json", "not understood"),
        Case("status_sent.json", "status", "gen-out-1", state="sent"),
        Case("status_delivered.json", "status", "gen-out-1", state="delivered"),
        Case("status_read.json", "status", "gen-out-1", state="delivered"),
        Case("status_undelivered.json", "status", "gen-out-1", state="failed"),
        Case("status_failed.json", "status", "gen-out-1", state="failed"),
        Case("status_rejected.json", "status", "gen-out-1", state="failed"),
        Case("status_expired.json", "status", "gen-out-1", state="failed"),
        Case("status_opted_out.json", "status", "gen-out-1", state="failed", opted_out=True),
        Case("status_error_opted_out.json", "status", "gen-out-1", state="failed", opted_out=True),
        Case("status_queued.json", "ignored", "gen-out-1"),
        Case("status_unknown.json", "ignored", "gen-out-1"),
        Case("status_null.json", "ignored", "gen-out-1"),
        Case("status_of_nothing.json", "not understood"),
    ]

    def another_secret(self) -> str:
        return "whsec_" + base64.b64encode(b"another key, as long as the 1st").decode()

    def sign(self, url: str, case: Case, body: bytes, secret: str, at: float) -> Posted:
        message_id, seconds = f"msg_{case.file.partition('.')[0]}", str(int(at))
        key = base64.b64decode(secret.removeprefix("whsec_"))
        digest = hmac.digest(key, b".".join([message_id.encode(), seconds.encode(), body]), hashlib.sha256)
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": seconds,
            "webhook-signature": f"v1a,bm8ga2V5 v1,{base64.b64encode(digest).decode()}",
        }
        return Posted(body, "application/json", headers)

    def with_unknown_fields(self, body: bytes) -> bytes:
        return json.dumps({**json.loads(body), "weather": {"sky": ["blue", None]}, "carrier": 5}).encode()

    def another_text(self, body: bytes, text: str, message_id: str) -> bytes:
        return json.dumps({**json.loads(body), "text": text, "message_id": message_id}).encode()

    def taken(self, message_id: str) -> Answer:
        return Answer.json(200, {"message_id": message_id})

    def opted_out(self) -> Answer:
        return Answer.json(409, {"error": "opted_out"})

    def handed_over(self, asked: Asked) -> tuple[str, str, str]:
        document = json.loads(asked.body)
        return document["from"], document["to"], document["text"]


DIALECT = Generic()
