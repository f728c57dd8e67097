"""Vonage's SMS API: form, JSON or query, with the signature in a field of its own."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from tests.messaging.carriers.dialect import Answer, Asked, Case, Dialect, Posted

IN = "0B00000001A2B3"
OUT = "0C000000217B7F02"
FORM = "application/x-www-form-urlencoded"
NONCE = "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"


def sig(secret: str, method: str, fields: Mapping[str, Any]) -> str:
    """The signature over fields as Vonage describes it; a number or truth value of JSON counts as it is written."""
    text = ""
    for name in sorted(fields):
        value = fields[name]
        written = value if isinstance(value, str) else "" if value is None else json.dumps(value, separators=(",", ":"))
        text += f"&{name}={written.replace('&', '_').replace('=', '_')}"
    if method == "md5hash":
        return hashlib.md5((text + secret).encode()).hexdigest()
    return hmac.digest(secret.encode(), text.encode(), method).hex()


class VonageSms(Dialect):
    carrier = "vonage_sms"
    settings: ClassVar[Mapping[str, str]] = {"api_key": "abcd1234", "signature_method": "sha256"}
    secrets: ClassVar[Mapping[str, str]] = {
        "api_secret": "Vonage-api-secret",
        "signature_secret": "Vonage-signature-secret-of-64-letters-as-long-as-SHA512-asks-for!",
    }
    signing_secret = "signature_secret"
    # The window is that of 24 hours of retries, wider than the one that all carriers' tests try: see
    # test_vonage_sms.py.
    cases: ClassVar[Sequence[Case]] = [
        Case("sms.json", "text", f"{IN}01", "See you at nine!"),
        Case("sms_stop.json", "text", f"{IN}02", "STOP", "opted_out"),
        Case("sms_stop.form", "text", f"{IN}03", "STOP", "opted_out"),
        Case("sms_stop.query", "text", f"{IN}04", "STOP", "opted_out", method="GET"),
        Case("sms_stop_lower_case.json", "text", f"{IN}05", "stop", "opted_out"),
        Case("sms_stop_with_emoji.form", "text", f"{IN}06", "STOP 🛑", "held"),
        Case("sms_help.json", "text", f"{IN}07", "HELP", "help"),
        Case("sms_unstop.form", "text", f"{IN}08", "UNSTOP", "opted_in"),
        Case("sms_emoji_and_plus.json", "text", f"{IN}09", "1 + 1 = 2 & 50% 👍🏽 café\nnew line"),
        Case("sms_emoji_and_plus.form", "text", f"{IN}0A", "1 + 1 = 2 & 50% 👍🏽 café\nnew line"),
        Case("sms_emoji_and_plus.query", "text", f"{IN}0B", "1 + 1 = 2 & 50% 👍🏽 café\nnew line", method="GET"),
        Case("sms_empty.form", "text", f"{IN}0C", ""),
        # A blank value may be signed or left out, so that null and "" must mean the same.
        Case("sms_text_null.json", "text", f"{IN}0D", ""),
        Case("sms_keyword_is_first_word.json", "text", f"{IN}0E", "End of the week suits me"),
        Case("sms_numbers_as_numbers.json", "text", f"{IN}0F", "STOP", "opted_out"),
        Case("sms_blank_fields.form", "text", f"{IN}10", "STOP", "opted_out"),
        Case("sms_unknown_fields.json", "text", f"{IN}11", "STOP", "opted_out"),
        # Vonage does not say what was written: it may have been a STOP.
        Case("sms_without_text.json", "text", f"{IN}12", "", "held"),
        Case("sms_concat_without_numbers.json", "text", f"{IN}13", "STOP", "opted_out"),
        # Read once all are there: see test_vonage_sms.py.
        Case("sms_part_1_of_2.json", "ignored"),
        Case("sms_part_2_of_2.form", "ignored"),
        Case("binary_part_1_of_2.json", "ignored"),
        Case("binary_stop.json", "text", f"{IN}16", "STOP", "opted_out"),
        Case("binary_stop_utf_16.form", "text", f"{IN}17", "STOP", "opted_out"),
        Case("binary_unreadable.json", "text", f"{IN}18", "", "held"),
        Case("sms_to_a_number_of_nobody.json", "not understood"),
        Case("sms_without_id.json", "not understood"),
        Case("sms_without_sender.form", "not understood"),
        Case("status_without_id.json", "not understood"),
        Case("status_accepted.json", "status", OUT, state="sent"),
        Case("status_buffered.form", "status", OUT, state="sent"),
        Case("status_delivered.json", "status", OUT, state="delivered"),
        Case("status_delivered.query", "status", OUT, state="delivered", method="GET"),
        Case("status_expired.json", "status", OUT, state="failed"),
        Case("status_failed.json", "status", OUT, state="failed"),
        Case("status_rejected.json", "status", OUT, state="failed"),
        Case("status_rejected_barred.json", "status", OUT, state="failed"),
        Case("status_failed_9.json", "status", OUT, state="failed", opted_out=True),
        Case("status_rejected_9.form", "status", OUT, state="failed", opted_out=True),
        Case("status_unknown.json", "ignored", OUT),
        Case("status_new_word.json", "ignored", OUT),
    ]

    def sign(self, url: str, case: Case, body: bytes, secret: str, at: float) -> Posted:
        more = {"timestamp": str(int(at)), "nonce": NONCE}
        return self.signed(body, secret, self.settings["signature_method"], more, get=case.method == "GET")

    def signed(self, body: bytes, secret: str, method: str, more: Mapping[str, str], *, get: bool = False) -> Posted:
        if body.startswith((b"{", b"[")):
            document = {**json.loads(body), **more}
            content = json.dumps({**document, "sig": sig(secret, method, document)}, ensure_ascii=False).encode()
            return Posted(content, "application/json; charset=utf-8")
        fields = {**dict(parse_qsl(body.decode(), keep_blank_values=True)), **more}
        encoded = urlencode({**fields, "sig": sig(secret, method, fields)})
        return Posted(b"", "", query=encoded, method="GET") if get else Posted(encoded.encode(), FORM)

    def with_unknown_fields(self, body: bytes) -> bytes:
        return json.dumps({**json.loads(body), "weather": "blue & bright", "a": "", "zone": None, "rate": 5}).encode()

    def another_text(self, body: bytes, text: str, message_id: str) -> bytes:
        is_json = body.startswith(b"{")
        fields = json.loads(body) if is_json else dict(parse_qsl(body.decode(), keep_blank_values=True))
        for gone in ("data", "udh", "keyword"):
            fields.pop(gone, None)
        fields |= {"type": "unicode", "text": text, "messageId": message_id}
        return (json.dumps(fields) if is_json else urlencode(fields)).encode()

    def taken(self, message_id: str) -> Answer:
        return Answer.json(200, {"message-count": "1", "messages": [self.part("0", **{"message-id": message_id})]})

    def part(self, status: str, **more: str) -> dict[str, str]:
        balance = {"remaining-balance": "15.53590000", "message-price": "0.03330000", "network": "310260"}
        return {"to": "12025550143", "status": status, **(balance if status == "0" else {}), **more}

    def refused(self, status: str, why: str, **headers: str) -> Answer:
        document = {"message-count": "1", "messages": [self.part(status, **{"error-text": why})]}
        return Answer.json(200, document, **headers)

    def busy(self, seconds: int) -> Answer:
        return self.refused("1", "Throughput Rate Exceeded - please wait", **{"Retry-After": str(seconds)})

    def failing(self) -> Answer:
        return self.refused("5", "Internal Error")

    def locked_out(self) -> Answer:
        return self.refused("4", "Bad Credentials")

    def senseless(self) -> Answer:
        return self.refused("7", "Number barred")

    def handed_over(self, asked: Asked) -> tuple[str, str, str]:
        fields = dict(parse_qsl(asked.body.decode(), keep_blank_values=True, strict_parsing=True))
        assert (asked.method, asked.path) == ("POST", "/sms/json")
        return f"+{fields['from']}", f"+{fields['to']}", fields["text"]


DIALECT = VonageSms()
