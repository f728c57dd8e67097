"""Dialpad: the whole body is a token (JWT) of HMAC-SHA256 around the event, which the payload files hold."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tests.messaging.carriers.dialect import Answer, Asked, Case, Dialect, Posted

OUT = "4612924117884928"  # the text of ours that statuses are about
FANCY = "1 + 1 = 2 & 50% 👍🏽 café\nnew line"
QUOTED = '👍 café \u2028 "quoted" \\ /'


def part(content: bytes) -> bytes:
    """One part of a token: base64 for addresses, without its padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def token(body: bytes, secret: str, header: bytes = b'{"alg":"HS256","typ":"JWT"}') -> bytes:
    signed = part(header) + b"." + part(body)
    return signed + b"." + part(hmac.digest(secret.encode(), signed, hashlib.sha256))


class Dialpad(Dialect):
    carrier = "dialpad"
    secrets: ClassVar[Mapping[str, str]] = {
        "api_key": "made-up-dialpad-key",
        "webhook_secret": "a secret that is long enough for HS256",
    }
    signing_secret = "webhook_secret"
    # The window is a day, since Dialpad comes again for hours with the same token: a test of Dialpad's own proves it.
    has_window = False
    cases: ClassVar[Sequence[Case]] = [
        Case("sms.json", "text", "5571516353560501", "See you at nine!"),
        Case("sms_stop.json", "text", "5571516353560502", "STOP", "opted_out"),
        Case("sms_stop_lower_case.json", "text", "5571516353560503", "stop", "opted_out"),
        Case("sms_stop_with_emoji.json", "text", "5571516353560504", "STOP 🛑", "held"),
        Case("sms_help.json", "text", "5571516353560505", "HELP", "help"),
        Case("sms_unstop.json", "text", "5571516353560506", "UNSTOP", "opted_in"),
        Case("sms_emoji_and_plus.json", "text", "5571516353560507", FANCY),
        Case("sms_escaped.json", "text", "5571516353560508", QUOTED),
        Case("sms_without_the_scope.json", "text", "5571516353560509", "", "held"),
        Case("sms_text_null.json", "text", "5571516353560510", "", "held"),
        Case("sms_text_empty.json", "text", "5571516353560511", ""),
        Case("sms_text_content_alone.json", "text", "5571516353560512", "STOP", "opted_out"),
        Case("sms_to_a_group.json", "text", "5571516353560513", "STOP", "opted_out"),
        Case("sms_without_optional_fields.json", "text", "5571516353560514", "STOP", "opted_out"),
        Case("sms_id_and_time_as_text.json", "text", "5571516353560599", "STOP", "opted_out"),
        Case("sms_unknown_fields.json", "text", "5571516353560516", "STOP", "opted_out"),
        Case("mms.json", "text", "5571516353560517", "Is this the right tooth?", media=1),
        Case("mms_two_media.json", "text", "5571516353560518", "Is this the right tooth?", media=2),
        Case("mms_stop.json", "text", "5571516353560519", "Stop", "opted_out", media=1),
        Case("mms_without_words.json", "text", "5571516353560520", "", media=1),
        Case("mms_without_the_scope.json", "text", "5571516353560521", "", "held"),
        Case("sms_to_a_number_of_nobody.json", "not understood"),
        Case("sms_without_id.json", "not understood"),
        Case("sms_without_from.json", "not understood"),
        Case("sms_without_to.json", "not understood"),
        Case("of_no_direction.json", "not understood"),
        Case("list.json", "not understood"),
        Case("not_json.json", "not understood"),
        Case("status_sent.json", "status", OUT, state="sent"),
        Case("status_success.json", "status", OUT, state="sent"),
        Case("status_delivered.json", "status", OUT, state="delivered"),
        Case("status_failed.json", "status", OUT, state="failed"),
        Case("status_undelivered.json", "status", OUT, state="failed"),
        Case("status_upper_case.json", "status", OUT, state="delivered"),
        Case("status_alone.json", "status", OUT, state="delivered"),
        Case("status_pending.json", "ignored", OUT),
        Case("status_unknown.json", "ignored", OUT),
        Case("status_null.json", "ignored", OUT),
        Case("call.json", "ignored"),
    ]

    def sign(self, url: str, case: Case, body: bytes, secret: str, at: float) -> Posted:
        # The event says when it was sent.
        dated = re.sub(rb'("event_timestamp": ?)[0-9]+', rb"\g<1>%d" % (at * 1000), body)
        return Posted(token(dated, secret), "application/jwt")

    def with_unknown_fields(self, body: bytes) -> bytes:
        return json.dumps({**json.loads(body), "weather": {"sky": ["blue", None]}, "carrier": 5}).encode()

    def another_text(self, body: bytes, text: str, message_id: str) -> bytes:
        return json.dumps({**json.loads(body), "text": text, "text_content": text, "id": message_id}).encode()

    def taken(self, message_id: str) -> Answer:
        document = {"id": message_id, "direction": "outbound", "message_status": "pending", "to_numbers": []}
        return Answer.json(200, document)

    def busy(self, seconds: int) -> Answer:
        return self.error(429, "Rate limit exceeded", **{"Retry-After": str(seconds)})

    def failing(self) -> Answer:
        return self.error(503, "Please try again")

    def locked_out(self) -> Answer:
        return self.error(401, "Invalid API key")

    def senseless(self) -> Answer:
        return self.error(400, "+12025550143 is not a valid number")

    def error(self, status: int, message: str, **headers: str) -> Answer:
        return Answer.json(status, {"error": {"code": status, "message": message, "errors": []}}, **headers)

    def handed_over(self, asked: Asked) -> tuple[str, str, str]:
        assert (asked.method, asked.path) == ("POST", "/sms")
        assert asked.headers["Authorization"] == "Bearer made-up-dialpad-key"
        document = json.loads(asked.body)
        (to,) = document["to_numbers"]
        return document["from_number"], to, document["text"]


DIALECT = Dialpad()
