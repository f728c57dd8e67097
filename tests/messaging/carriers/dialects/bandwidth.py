"""Bandwidth: arrays of events in JSON, with the name and password of HTTP Basic that the application was given."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tests.messaging.carriers.dialect import Answer, Asked, Case, Dialect, Posted

OUT = "14762070468292kw2fuqty55yp2b2"  # the text of ours that statuses are about
FANCY = "1 + 1 = 2 & 50% 👍🏽 café\nnew line"
QUOTED = '👍 café \u2028 "quoted" \\ /'


class Bandwidth(Dialect):
    carrier = "bandwidth"
    settings: ClassVar[Mapping[str, str]] = {
        "account_id": "5500001",
        "application_id": "93de2206-9669-4e07-948d-329f4b722ee2",
        "api_user": "portal-api",
        "webhook_user": "bandwidth",
    }
    secrets: ClassVar[Mapping[str, str]] = {"api_password": "correct-horse", "webhook_password": "battery:staple é"}
    signing_secret = "webhook_password"
    covers_body = False
    signature_headers: ClassVar[Sequence[str]] = ("Authorization",)
    cases: ClassVar[Sequence[Case]] = [
        Case("sms.json", "text", "01589228074lm4k2je7j7jklbn2", "See you at nine!"),
        Case("sms_stop.json", "text", "02589228074lm4k2je7j7jklbn2", "STOP", "opted_out"),
        Case("sms_stop_lower_case.json", "text", "03589228074lm4k2je7j7jklbn2", "stop", "opted_out"),
        Case("sms_stop_with_emoji.json", "text", "04589228074lm4k2je7j7jklbn2", "STOP 🛑", "held"),
        Case("sms_help.json", "text", "05589228074lm4k2je7j7jklbn2", "HELP", "help"),
        Case("sms_unstop.json", "text", "06589228074lm4k2je7j7jklbn2", "UNSTOP", "opted_in"),
        Case("sms_emoji_and_plus.json", "text", "07589228074lm4k2je7j7jklbn2", FANCY),
        Case("sms_escaped.json", "text", "08589228074lm4k2je7j7jklbn2", QUOTED),
        Case("sms_text_null.json", "text", "09589228074lm4k2je7j7jklbn2", "", "held"),
        Case("sms_text_empty.json", "text", "10589228074lm4k2je7j7jklbn2", ""),
        Case("sms_without_optional_fields.json", "text", "11589228074lm4k2je7j7jklbn2", "STOP", "opted_out"),
        Case("sms_unknown_fields.json", "text", "12589228074lm4k2je7j7jklbn2", "STOP", "opted_out"),
        Case("mms_two_media.json", "text", "13589228074lm4k2je7j7jklbn2", "Is this the right tooth?", media=2),
        Case("mms_stop.json", "text", "14589228074lm4k2je7j7jklbn2", "Stop", "opted_out", media=2),
        Case("mms_without_words.json", "text", "15589228074lm4k2je7j7jklbn2", "", media=1),
        Case("mms_text_null.json", "text", "16589228074lm4k2je7j7jklbn2", "", media=1),
        Case("mms_to_a_group.json", "text", "17589228074lm4k2je7j7jklbn2", "STOP", "opted_out", media=1),
        Case("sms_alone_without_brackets.json", "text", "18589228074lm4k2je7j7jklbn2", "STOP", "opted_out"),
        Case("sms_to_a_number_of_nobody.json", "not understood"),
        Case("sms_without_id.json", "not understood"),
        Case("sms_without_from.json", "not understood"),
        Case("inbound_of_unknown_type.json", "not understood"),
        Case("array_of_nothing_readable.json", "not understood"),
        Case("text_alone.json", "not understood"),
        Case("not_json.json", "not understood"),
        Case("status_sending.json", "status", OUT, state="sent"),
        Case("status_sent.json", "status", OUT, state="sent"),
        Case("status_delivered.json", "status", OUT, state="delivered"),
        Case("status_read.json", "status", OUT, state="delivered"),
        Case("status_failed.json", "status", OUT, state="failed"),
        Case("status_failed_4470_spam.json", "status", OUT, state="failed"),
        Case("status_failed_4482.json", "status", OUT, state="failed"),
        Case("status_failed_4772.json", "status", OUT, state="failed"),
        Case("status_failed_9902.json", "status", OUT, state="failed"),
        Case("status_failed_4775_opted_out.json", "status", OUT, state="failed", opted_out=True),
        Case("status_failed_4475_opted_out.json", "status", OUT, state="failed", opted_out=True),
        Case("status_failed_4775_as_text.json", "status", OUT, state="failed", opted_out=True),
        Case("status_unknown.json", "ignored", OUT),
        Case("status_delivered_with_a_code.json", "status", OUT, state="delivered"),
        Case("empty_array.json", "ignored"),
    ]

    def sign(self, url: str, case: Case, body: bytes, secret: str, at: float) -> Posted:
        basic = base64.b64encode(f"{self.settings['webhook_user']}:{secret}".encode()).decode()
        return Posted(body, "application/json; charset=utf-8", {"Authorization": f"Basic {basic}"})

    def with_unknown_fields(self, body: bytes) -> bytes:
        (event,) = json.loads(body)
        event["message"] |= {"weather": {"sky": ["blue", None]}, "carrier": 5}
        return json.dumps([{**event, "trace": [1, "a"]}]).encode()

    def another_text(self, body: bytes, text: str, message_id: str) -> bytes:
        (event,) = json.loads(body)
        event["message"] |= {"text": text, "id": message_id}
        return json.dumps([event]).encode()

    def taken(self, message_id: str) -> Answer:
        message = {"id": message_id, "owner": "+12025550100", "direction": "out", "segmentCount": 1, "tag": "1"}
        return Answer.json(202, message)

    def busy(self, seconds: int) -> Answer:
        problem = {"type": "rate-limit", "description": "Too many requests"}
        return Answer.json(429, problem, **{"Retry-After": str(seconds)})

    def failing(self) -> Answer:
        return Answer.json(500, {"type": "internal-server-error", "description": "Please try again"})

    def locked_out(self) -> Answer:
        return Answer.json(401, {"type": "unauthorized", "description": "Authentication Failed"})

    def senseless(self) -> Answer:
        problem = {"fieldName": "to", "description": "'+12025550143' must be replaced with a valid E164 number"}
        document = {"type": "request-validation", "description": "Could not be accepted", "fieldErrors": [problem]}
        return Answer.json(400, document)

    def handed_over(self, asked: Asked) -> tuple[str, str, str]:
        assert (asked.method, asked.path) == ("POST", "/users/5500001/messages")
        assert asked.headers["Authorization"] == "Basic " + base64.b64encode(b"portal-api:correct-horse").decode()
        document = json.loads(asked.body)
        assert document["applicationId"] == self.settings["application_id"]
        (to,) = document["to"]
        return document["from"], to, document.get("text", "")


DIALECT = Bandwidth()
