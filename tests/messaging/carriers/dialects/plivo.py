"""Plivo: forms whose signature covers the address and a nonce, and nothing of what they say."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode

from tests.messaging.carriers.dialect import Answer, Asked, Case, Dialect, Posted

OUT = "5b40a428-bfc7-4daf-9d06-726c558bffff"
AUTH_ID = "MA0123456789ABCDEF01"


def uuid(number: int) -> str:
    return f"5b40a428-bfc7-4daf-9d06-726c558b{number:04x}"


class Plivo(Dialect):
    carrier = "plivo"
    settings: ClassVar[Mapping[str, str]] = {"auth_id": AUTH_ID}
    secrets: ClassVar[Mapping[str, str]] = {"auth_token": "plivo-auth-token"}
    signing_secret = "auth_token"
    content_type = "application/x-www-form-urlencoded"
    covers_body = False
    signature_headers: ClassVar[Sequence[str]] = ("X-Plivo-Signature-V2", "X-Plivo-Signature-V2-Nonce")
    cases: ClassVar[Sequence[Case]] = [
        Case("sms.form", "text", uuid(1), "See you at nine!"),
        Case("sms_stop.form", "text", uuid(2), "STOP", "opted_out"),
        Case("sms_stop_lower_case.form", "text", uuid(3), "stop", "opted_out"),
        Case("sms_stop_with_emoji.form", "text", uuid(4), "STOP 🛑", "held"),
        Case("sms_stop_with_newline.form", "text", uuid(5), "STOP\n", "held"),
        Case("sms_unstop.form", "text", uuid(6), "UNSTOP", "opted_in"),
        Case("sms_help.form", "text", uuid(7), "HELP", "help"),
        Case("sms_empty.form", "text", uuid(8), ""),
        Case("sms_emoji_and_plus.form", "text", uuid(9), "1 + 1 = 2 & 50% 👍🏽 café\r\nnew line"),
        Case("sms_with_plus_in_the_numbers.form", "text", uuid(0xA), "STOP", "opted_out"),
        Case("sms_stop_optout.form", "text", uuid(0xB), "STOP", "opted_out", replied=True),
        Case("sms_start_optin.form", "text", uuid(0xC), "START", "opted_in", replied=True),
        Case("sms_help_intent.form", "text", uuid(0xD), "HELP", "help", replied=True),
        Case("sms_own_word_optout.form", "text", uuid(0xE), "BASTA", "opted_out", replied=True),
        Case("sms_no_intent.form", "text", uuid(0xF), "Monday?"),
        Case("sms_unknown_fields.form", "text", uuid(0x10), "STOP", "opted_out"),
        Case("sms_by_get.form", "text", uuid(0x14), "STOP & 1 + 1", method="GET"),
        Case("mms_two_media_from_0.form", "text", uuid(0x15), "Is this the right tooth?", media=2),
        Case("mms_two_media_from_1.form", "text", uuid(0x16), "Is this the right tooth?", media=2),
        Case("mms_without_words.form", "text", uuid(0x17), "", media=2),
        Case("mms_stop.form", "text", uuid(0x18), "STOP", "opted_out", media=2),
        Case("sms_to_a_number_of_nobody.form", "not understood"),
        Case("sms_without_text.form", "not understood"),
        Case("sms_without_uuid.form", "not understood"),
        Case("status_sent.form", "status", OUT, state="sent"),
        Case("status_delivered.form", "status", OUT, state="delivered"),
        Case("status_delivered.form", "status", OUT, state="delivered", query="text=17"),
        Case("status_by_get.form", "status", OUT, state="delivered", method="GET"),
        Case("status_read.form", "status", OUT, state="delivered"),
        Case("status_undelivered.form", "status", OUT, state="failed"),
        Case("status_failed.form", "status", OUT, state="failed"),
        Case("status_rejected.form", "status", OUT, state="failed"),
        Case("status_failed_450.form", "status", OUT, state="failed"),
        Case("status_failed_200.form", "status", OUT, state="failed", opted_out=True),
        Case("status_undelivered_200.form", "status", OUT, state="failed", opted_out=True),
        Case("status_part_1_of_2_delivered.form", "status", OUT, state="sent"),
        Case("status_part_2_of_2_delivered.form", "status", OUT, state="delivered"),
        Case("status_part_2_of_2_failed.form", "status", OUT, state="failed"),
        Case("status_queued.form", "ignored", OUT),
        Case("status_unknown.form", "ignored", OUT),
    ]

    def sign(self, url: str, case: Case, body: bytes, secret: str, at: float) -> Posted:
        query = case.query
        if case.method == "GET":
            query = "&".join(filter(None, [query, body.decode()]))
        nonce = str(int(at * 1_000_000)).zfill(20)
        digest = hmac.digest(secret.encode(), f"{url}{nonce}".encode(), hashlib.sha256)
        headers = {
            "X-Plivo-Signature-V2": base64.b64encode(digest).decode(),
            "X-Plivo-Signature-Ma-V2": base64.b64encode(hashlib.sha256(b"the main account's").digest()).decode(),
            "X-Plivo-Signature-V2-Nonce": nonce,
        }
        return Posted(b"" if case.method == "GET" else body, self.content_type, headers, query, case.method)

    def with_unknown_fields(self, body: bytes) -> bytes:
        return body + b"&NewIn2031=&NewIn2031=b&NewIn2031=a&%F0%9F%91%8D=%00"

    def another_text(self, body: bytes, text: str, message_id: str) -> bytes:
        named = {"Text": text, "Body": text, "MessageUUID": message_id}
        fields = parse_qsl(body.decode(), keep_blank_values=True)
        return urlencode([(name, named.get(name, value)) for name, value in fields]).encode()

    def taken(self, message_id: str) -> Answer:
        document = {
            "message": "message(s) queued",
            "message_uuid": [message_id],
            "api_id": "db342550-7f1d-11e1-8ea7-1231380bc196",
        }
        return Answer.json(202, document)

    def refused(self, status: int, words: str, **headers: str) -> Answer:
        return Answer.json(status, {"api_id": "97ceeb52-58b6-11e1-86da-77300b68f8bb", "error": words}, **headers)

    def busy(self, seconds: int) -> Answer:
        return self.refused(429, "too many requests", **{"Retry-After": str(seconds)})

    def failing(self) -> Answer:
        return self.refused(500, "server error")

    def locked_out(self) -> Answer:
        return Answer(401, b"Could not verify your access level for that URL.", {"Content-Type": "text/html"})

    def senseless(self) -> Answer:
        return self.refused(400, "dst is not a valid phone number")

    def handed_over(self, asked: Asked) -> tuple[str, str, str]:
        document = json.loads(asked.body)
        return document["src"], document["dst"], document["text"]


DIALECT = Plivo()
