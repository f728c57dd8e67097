"""Twilio: forms, now and then a GET or JSON, signed over the address and the sorted fields."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode

from tests.messaging.carriers.dialect import Answer, Asked, Case, Dialect, Posted

OUT = "SM" + "fedcba9876543210" * 2
TEXT_FIELDS = {"Body": 0, "MessageSid": 1, "SmsSid": 1, "SmsMessageSid": 1}


def sid(number: int, prefix: str = "SM") -> str:
    return f"{prefix}0123456789abcdef0123456789ab{number:04x}"


def replaced(body: bytes, text: str, message_id: str) -> bytes:
    """The form with other words and another id."""
    fields = parse_qsl(body.decode(), keep_blank_values=True)
    return urlencode(
        [(name, (text, message_id)[TEXT_FIELDS[name]] if name in TEXT_FIELDS else value) for name, value in fields]
    ).encode()


class Twilio(Dialect):
    carrier = "twilio"
    settings: ClassVar[Mapping[str, str]] = {"account_sid": "AC" + "0" * 32}
    secrets: ClassVar[Mapping[str, str]] = {"auth_token": "twilio-auth-token"}
    signing_secret = "auth_token"
    content_type = "application/x-www-form-urlencoded"
    signature_headers: ClassVar[Sequence[str]] = ("X-Twilio-Signature",)
    cases: ClassVar[Sequence[Case]] = [
        Case("sms.form", "text", sid(1), "See you at nine!"),
        Case("sms_stop.form", "text", sid(2), "STOP", "opted_out"),
        Case("sms_stop_lower_case.form", "text", sid(3), "stop", "opted_out"),
        Case("sms_stop_with_emoji.form", "text", sid(4), "STOP 🛑", "held"),
        Case("sms_stop_with_spaces.form", "text", sid(5), " STOP ", "held"),
        Case("sms_unstop.form", "text", sid(6), "UNSTOP", "opted_in"),
        Case("sms_help.form", "text", sid(7), "help", "help"),
        Case("sms_empty.form", "text", sid(8), ""),
        Case("sms_emoji_and_plus.form", "text", sid(9), "1 + 1 = 2 & 50% 👍🏽 café\r\nnew line"),
        Case("sms_without_geography.form", "text", sid(0xA), "STOP", "opted_out"),
        Case("sms_stop_advanced_opt_out.form", "text", sid(0xB), "STOP", "opted_out", replied=True),
        Case("sms_start_advanced_opt_out.form", "text", sid(0xC), "START", "opted_in", replied=True),
        Case("sms_help_advanced_opt_out.form", "text", sid(0xD), "HELP", "help", replied=True),
        Case("sms_own_word_advanced_opt_out.form", "text", sid(0xE), "BASTA", "opted_out", replied=True),
        Case("sms_unknown_fields.form", "text", sid(0xF), "STOP", "opted_out"),
        Case("sms_by_get.form", "text", sid(0x13), "STOP & 1 + 1", method="GET"),
        Case("sms_stop.json", "text", sid(0x17), "STOP", "opted_out"),
        Case("mms_two_media.form", "text", sid(0x14, "MM"), "Is this the right tooth?", media=2),
        Case("mms_without_words.form", "text", sid(0x15, "MM"), "", media=2),
        Case("mms_stop.form", "text", sid(0x16, "MM"), "Stop", "opted_out", media=2),
        Case("sms_to_a_number_of_nobody.form", "not understood"),
        Case("sms_without_body.form", "not understood"),
        Case("sms_without_sid.form", "not understood"),
        Case("status_sent.form", "status", OUT, state="sent"),
        Case("status_delivered.form", "status", OUT, state="delivered"),
        Case("status_delivered.form", "status", OUT, state="delivered", query="text=17"),
        Case("status_read.form", "status", OUT, state="delivered"),
        Case("status_undelivered.form", "status", OUT, state="failed"),
        Case("status_undelivered_30004.form", "status", OUT, state="failed"),
        Case("status_undelivered_30007.form", "status", OUT, state="failed"),
        Case("status_undelivered_63033.form", "status", OUT, state="failed"),
        Case("status_failed.form", "status", OUT, state="failed"),
        Case("status_failed_21610.form", "status", OUT, state="failed", opted_out=True),
        Case("status_failed_21610.form", "status", OUT, state="failed", opted_out=True, method="GET"),
        Case("status_queued.form", "ignored", OUT),
        Case("status_sending.form", "ignored", OUT),
        Case("status_accepted.form", "ignored", OUT),
        Case("status_canceled.form", "ignored", OUT),
        Case("status_unknown.form", "ignored", OUT),
    ]

    def sign(self, url: str, case: Case, body: bytes, secret: str, at: float) -> Posted:
        query = case.query
        is_json = case.file.endswith(".json")
        if case.method == "GET":
            query = "&".join(filter(None, [query, body.decode()]))
        elif is_json:
            query = "&".join(filter(None, [query, f"bodySHA256={hashlib.sha256(body).hexdigest()}"]))
        signed = f"{url}?{query}" if query else url
        if case.method == "POST" and not is_json:
            values: dict[str, set[str]] = {}
            for name, value in parse_qsl(body.decode(), keep_blank_values=True):
                values.setdefault(name, set()).add(value)
            for name in sorted(values):
                for value in sorted(values[name]):
                    signed += name + value
        header = base64.b64encode(hmac.digest(secret.encode(), signed.encode(), hashlib.sha1)).decode()
        return Posted(
            b"" if case.method == "GET" else body,
            "application/json" if is_json else self.content_type,
            {"X-Twilio-Signature": header, "I-Twilio-Idempotency-Token": "0f5e7b9c-2a3d-4c1e-8f60-1b2c3d4e5f60"},
            query,
            case.method,
        )

    def with_unknown_fields(self, body: bytes) -> bytes:
        return body + b"&NewIn2031=&NewIn2031=b&NewIn2031=a&NewIn2031=b&%F0%9F%91%8D=%00"

    def another_text(self, body: bytes, text: str, message_id: str) -> bytes:
        if body.startswith(b"{"):
            known = json.loads(body)
            named = {name: (text, message_id)[which] for name, which in TEXT_FIELDS.items()}
            return json.dumps({**known, **named}).encode()
        return replaced(body, text, message_id)

    def taken(self, message_id: str) -> Answer:
        return Answer.json(
            201,
            {
                "account_sid": "AC" + "0" * 32, "api_version": "2010-04-01", "body": "Hello",
                "date_created": "Mon, 23 Nov 2026 18:30:00 +0000", "date_sent": None,
                "date_updated": "Mon, 23 Nov 2026 18:30:00 +0000", "direction": "outbound-api", "error_code": None,
                "error_message": None, "from": "+12025550100", "messaging_service_sid": None, "num_media": "0",
                "num_segments": "1", "price": None, "price_unit": "USD", "sid": message_id, "status": "queued",
                "to": "+12025550143",
            },
        )  # fmt: skip

    def refused(self, status: int, code: int, **headers: str) -> Answer:
        more = f"https://www.twilio.com/docs/errors/{code}"
        return Answer.json(status, {"code": code, "message": "No.", "more_info": more, "status": status}, **headers)

    def opted_out(self) -> Answer:
        return self.refused(400, 21610)

    def busy(self, seconds: int) -> Answer:
        return self.refused(429, 20429, **{"Retry-After": str(seconds)})

    def failing(self) -> Answer:
        return self.refused(503, 20503)

    def locked_out(self) -> Answer:
        return self.refused(401, 20003)

    def senseless(self) -> Answer:
        return self.refused(400, 21211)

    def handed_over(self, asked: Asked) -> tuple[str, str, str]:
        fields = dict(parse_qsl(asked.body.decode(), keep_blank_values=True))
        return fields["From"], fields["To"], fields["Body"]


DIALECT = Twilio()
