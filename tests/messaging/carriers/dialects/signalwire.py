"""SignalWire: Twilio's forms, signed over fields in the order sent; and JSON, signed in hexadecimal over its bytes."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import parse_qsl

from tests.messaging.carriers.dialect import Answer, Asked, Case, Dialect, Posted
from tests.messaging.carriers.dialects.twilio import replaced

OUT = "0a059168-ead0-41af-9d1f-343dae82ffff"
PROJECT = "11111111-2222-4333-8444-555555555555"


def sid(number: int) -> str:
    return f"0a059168-ead0-41af-9d1f-343dae82{number:04x}"


class SignalWire(Dialect):
    carrier = "signalwire"
    settings: ClassVar[Mapping[str, str]] = {"space": "example", "project_id": PROJECT}
    secrets: ClassVar[Mapping[str, str]] = {"api_token": "PT-api-token", "signing_key": "PSK_signing_key"}
    signing_secret = "signing_key"
    content_type = "application/x-www-form-urlencoded"
    signature_headers: ClassVar[Sequence[str]] = ("X-SignalWire-Signature",)
    cases: ClassVar[Sequence[Case]] = [
        Case("sms.form", "text", sid(1), "See you at nine!"),
        Case("sms_stop.form", "text", sid(2), "STOP", "opted_out"),
        Case("sms_stop_lower_case.form", "text", sid(3), "stop", "opted_out"),
        Case("sms_stop_with_emoji.form", "text", sid(4), "STOP 🛑", "held"),
        Case("sms_unstop.form", "text", sid(5), "UNSTOP", "opted_in"),
        Case("sms_help.form", "text", sid(6), "HELP", "help"),
        Case("sms_empty.form", "text", sid(7), ""),
        Case("sms_emoji_and_plus.form", "text", sid(8), "1 + 1 = 2 & 50% 👍🏽 café\r\nnew line"),
        Case("sms_receiving.form", "text", sid(9), "STOP", "opted_out"),
        Case("sms_without_status.form", "text", sid(0xA), "STOP", "opted_out"),
        Case("sms_repeated_fields.form", "text", sid(0xB), "STOP", "opted_out"),
        Case("sms_by_get.form", "text", sid(0xE), "STOP & 1 + 1", method="GET"),
        Case("mms_two_media.form", "text", sid(0xF), "Is this the right tooth?", media=2),
        Case("mms_without_words.form", "text", sid(0x10), "", media=2),
        Case("mms_stop.form", "text", sid(0x11), "STOP", "opted_out", media=2),
        Case("sms_to_a_number_of_nobody.form", "not understood"),
        Case("sms_without_from.form", "not understood"),
        Case("not_an_object.json", "not understood"),
        Case("status_sent.form", "status", OUT, state="sent"),
        Case("status_delivered.form", "status", OUT, state="delivered"),
        Case("status_delivered.form", "status", OUT, state="delivered", query="text=17"),
        Case("status_delivered_of_a_text_that_says_stop.form", "status", OUT, state="delivered"),
        Case("status_undelivered.form", "status", OUT, state="failed"),
        Case("status_undelivered_30007.form", "status", OUT, state="failed"),
        Case("status_undelivered_30004.form", "status", OUT, state="failed", opted_out=True),
        Case("status_failed.form", "status", OUT, state="failed"),
        Case("status_failed_21610.form", "status", OUT, state="failed", opted_out=True),
        Case("status_sent.json", "status", OUT, state="sent"),
        Case("status_delivered.json", "status", OUT, state="delivered"),
        Case("status_undelivered.json", "status", OUT, state="failed"),
        Case("status_undelivered_blocked_by_carrier.json", "status", OUT, state="failed", opted_out=True),
        Case("status_failed.json", "status", OUT, state="failed"),
        Case("status_queued.json", "ignored", OUT),
        Case("status_queued.form", "ignored", OUT),
        Case("status_sending.form", "ignored", OUT),
        Case("status_unknown.form", "ignored", OUT),
    ]

    def sign(self, url: str, case: Case, body: bytes, secret: str, at: float) -> Posted:
        query = case.query
        is_json = case.file.endswith(".json")
        if case.method == "GET":
            query = "&".join(filter(None, [query, body.decode()]))
        signed = f"{url}?{query}" if query else url
        if is_json:
            header = hmac.digest(secret.encode(), signed.encode() + body, hashlib.sha1).hex()
        else:
            values: dict[str, list[str]] = {}
            for name, value in parse_qsl(body.decode(), keep_blank_values=True) if case.method == "POST" else []:
                values.setdefault(name, []).append(value)
            for name in sorted(values):
                for value in values[name]:
                    signed += name + value
            header = base64.b64encode(hmac.digest(secret.encode(), signed.encode(), hashlib.sha1)).decode()
        return Posted(
            b"" if case.method == "GET" else body,
            "application/json" if is_json else self.content_type,
            {"X-SignalWire-Signature": header},
            query,
            case.method,
        )

    def with_unknown_fields(self, body: bytes) -> bytes:
        return body + b"&NewIn2031=&NewIn2031=b&NewIn2031=a&NewIn2031=b&%F0%9F%91%8D=%00"

    def another_text(self, body: bytes, text: str, message_id: str) -> bytes:
        return replaced(body, text, message_id)

    def taken(self, message_id: str) -> Answer:
        return Answer.json(
            201,
            {
                "account_sid": PROJECT, "api_version": "2010-04-01", "body": "Hello", "num_segments": 1, "num_media": 0,
                "date_created": "Mon, 23 Nov 2026 18:30:00 +0000", "date_sent": None,
                "date_updated": "Mon, 23 Nov 2026 18:30:00 +0000", "direction": "outbound-api", "error_code": None,
                "error_message": None, "from": "+12025550100", "price": None, "price_unit": "USD", "sid": message_id,
                "status": "queued", "to": "+12025550143", "messaging_service_sid": None,
            },
        )  # fmt: skip

    def refused(self, status: int, code: int | str, **headers: str) -> Answer:
        return Answer.json(status, {"code": code, "message": "No.", "status": status}, **headers)

    def opted_out(self) -> Answer:
        return self.refused(400, 21610)

    def busy(self, seconds: int) -> Answer:
        return self.refused(429, 20429, **{"Retry-After": str(seconds)})

    def senseless(self) -> Answer:
        return self.refused(400, 21717)

    def handed_over(self, asked: Asked) -> tuple[str, str, str]:
        fields = dict(parse_qsl(asked.body.decode(), keep_blank_values=True))
        return fields["From"], fields["To"], fields["Body"]


DIALECT = SignalWire()
