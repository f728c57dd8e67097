"""Vonage's Messages API: JSON, and a token in the Authorization header that holds the body's hash."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tests.messaging.carriers.dialect import Answer, Asked, Case, Dialect, Posted

KEY = "abcd1234"
# Of everything that came in, the last two digits differ.
IN = "aaaaaaaa-bbbb-4ccc-8ddd-0000000000"
OUT = "bbbbbbbb-cccc-4ddd-8eee-000000000001"


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def token(secret: str, **claims: Any) -> str:
    """A JSON Web Token as Vonage signs it (RFC 7515, compact serialization)."""
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    signed = ".".join(encoded(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{signed}.{encoded(hmac.digest(secret.encode(), signed.encode(), 'sha256'))}"


def bearer(body: bytes, secret: str, at: float, **others: Any) -> str:
    """The Authorization header of a webhook; `others` are claims in place of the usual ones."""
    claims = {
        "iat": int(at),
        "jti": "c5ba8f24-1a14-4c10-bfdf-3fbe8ce511b5",
        "iss": "Vonage",
        "payload_hash": hashlib.sha256(body).hexdigest(),
        "api_key": KEY,
        "application_id": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
    }
    return f"Bearer {token(secret, **claims | others)}"


class Vonage(Dialect):
    carrier = "vonage"
    settings: ClassVar[Mapping[str, str]] = {"api_key": KEY}
    secrets: ClassVar[Mapping[str, str]] = {
        "api_secret": "Vonage-api-secret",
        "signature_secret": "Vonage-signature-secret-of-64-letters-as-long-as-SHA512-asks-for!",
    }
    elsewhere: ClassVar[Mapping[str, str]] = {"api_key": "dcba4321"}
    signing_secret = "signature_secret"
    # The window is that of 24 hours of retries, wider than the one that all carriers' tests try: see test_vonage.py.
    signature_headers: ClassVar[Sequence[str]] = ("Authorization",)
    cases: ClassVar[Sequence[Case]] = [
        Case("sms.json", "text", f"{IN}01", "See you at nine!"),
        Case("sms_stop.json", "text", f"{IN}02", "STOP", "opted_out"),
        Case("sms_stop_lower_case.json", "text", f"{IN}03", "stop", "opted_out"),
        Case("sms_stop_with_emoji.json", "text", f"{IN}04", "STOP 🛑", "held"),
        Case("sms_help.json", "text", f"{IN}05", "HELP", "help"),
        Case("sms_unstop.json", "text", f"{IN}06", "UNSTOP", "opted_in"),
        Case("sms_emoji_and_plus.json", "text", f"{IN}07", "1 + 1 = 2 & 50% 👍🏽 café\nnew line"),
        Case("sms_escaped.json", "text", f"{IN}08", '👍 café \u2028 "quoted" \\ /'),
        Case("sms_empty.json", "text", f"{IN}09", ""),
        # Vonage does not say what was written: it may have been a STOP.
        Case("sms_text_null.json", "text", f"{IN}10", "", "held"),
        Case("unsupported.json", "text", f"{IN}23", "", "held"),
        Case("sms_keyword_is_first_word.json", "text", f"{IN}11", "End of the week suits me"),
        Case("sms_long.json", "text", f"{IN}12", "I will come. " * 20 + "Bye"),
        Case("sms_unknown_fields.json", "text", f"{IN}13", "STOP", "opted_out"),
        Case("sms_v0_1.json", "text", f"{IN}14", "STOP", "opted_out"),
        Case("mms_image.json", "text", f"{IN}15", "", media=1),
        Case("mms_stop.json", "text", f"{IN}16", "STOP", "opted_out", media=1),
        Case("mms_two_media.json", "text", f"{IN}17", "Is this the right tooth?", media=2),
        Case("mms_audio.json", "text", f"{IN}18", "", media=1),
        Case("mms_video.json", "text", f"{IN}19", "", media=1),
        Case("mms_file.json", "text", f"{IN}20", "", media=1),
        Case("mms_vcard.json", "text", f"{IN}21", "", media=1),
        Case("mms_text.json", "text", f"{IN}22", "Sent by MMS, words alone"),
        Case("rcs_suggestion_stop.json", "text", f"{IN}24", "STOP", "opted_out"),
        Case("sms_to_a_number_of_nobody.json", "not understood"),
        Case("sms_to_null.json", "not understood"),
        Case("sms_without_from.json", "not understood"),
        Case("sms_without_uuid.json", "not understood"),
        Case("whatsapp.json", "not understood"),
        Case("list.json", "not understood"),
        Case("not_json.json", "not understood"),
        Case("status_without_uuid.json", "not understood"),
        Case("status_submitted.json", "status", OUT, state="sent"),
        Case("status_delivered.json", "status", OUT, state="delivered"),
        Case("status_read.json", "status", OUT, state="delivered"),
        Case("status_rejected.json", "status", OUT, state="failed"),
        Case("status_undeliverable.json", "status", OUT, state="failed"),
        Case("status_rejected_1240.json", "status", OUT, state="failed", opted_out=True),
        Case("status_rejected_1240_in_type.json", "status", OUT, state="failed", opted_out=True),
        Case("status_undeliverable_1240_as_number.json", "status", OUT, state="failed", opted_out=True),
        Case("status_v0_1_rejected_1240.json", "status", OUT, state="failed", opted_out=True),
        Case("status_delivered_with_1240.json", "status", OUT, state="delivered"),
        Case("status_unknown.json", "ignored", OUT),
    ]

    def sign(self, url: str, case: Case, body: bytes, secret: str, at: float) -> Posted:
        return Posted(body, "application/json", {"Authorization": bearer(body, secret, at)})

    def with_unknown_fields(self, body: bytes) -> bytes:
        return json.dumps({**json.loads(body), "weather": {"sky": ["blue", None]}, "carrier": 5}).encode()

    def another_text(self, body: bytes, text: str, message_id: str) -> bytes:
        document = json.loads(body)
        for gone in ("image", "reply", "message"):
            document.pop(gone, None)
        return json.dumps({**document, "message_type": "text", "text": text, "message_uuid": message_id}).encode()

    def taken(self, message_id: str) -> Answer:
        return Answer.json(202, {"message_uuid": message_id, "workflow_id": "3TcNjguHxr2vcCZ9Ddsnq6tw8yQUpZ9rMHv9QXSx"})

    def problem(self, status: int, code: str, detail: str, **headers: str) -> Answer:
        document = {
            "type": f"https://developer.vonage.com/api-errors/messages#{code}",
            "title": code,
            "detail": detail,
            "instance": "bf0ca0bf927b3b52e3cb03217e1a1ddf",
        }
        return Answer.json(status, document, **{"Content-Type": "application/problem+json", **headers})

    def opted_out(self) -> Answer:
        return self.problem(403, "1240", "Illegal Number - the user has opted out")

    def busy(self, seconds: int) -> Answer:
        return self.problem(429, "1000", "Throttled", **{"Retry-After": str(seconds)})

    def failing(self) -> Answer:
        return self.problem(500, "1030", "Internal error")

    def locked_out(self) -> Answer:
        return self.problem(401, "unauthorized", "You did not provide correct credentials.")

    def senseless(self) -> Answer:
        return self.problem(422, "1020", "Invalid params: the value of one or more parameters is invalid.")

    def handed_over(self, asked: Asked) -> tuple[str, str, str]:
        document = json.loads(asked.body)
        assert (asked.method, asked.path) == ("POST", "/v1/messages")
        return f"+{document['from']}", f"+{document['to']}", document["text"]


DIALECT = Vonage()
