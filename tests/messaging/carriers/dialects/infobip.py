"""Infobip: JSON of many results, with HTTP Basic."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tests.messaging.carriers.dialect import Answer, Asked, Case, Dialect, Posted

IN = "8177903132350660"
OUT = "a28dd97c-1ffb-4fcf-99f1-0b557ed381da"
USER = "infobip"


class Infobip(Dialect):
    carrier = "infobip"
    settings: ClassVar[Mapping[str, str]] = {"base_url": "https://x1y2z3.api.infobip.com", "webhook_user": USER}
    secrets: ClassVar[Mapping[str, str]] = {"api_key": "infobip-api-key", "webhook_password": "long random password"}
    signing_secret = "webhook_password"
    covers_body = False
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
        # Infobip does not say what was written: it may have been a STOP.
        Case("sms_text_null.json", "text", f"{IN}10", "", "held"),
        Case("sms_keyword_split_off.json", "text", f"{IN}11", "End of the week suits me"),
        Case("sms_unknown_fields.json", "text", f"{IN}12", "STOP", "opted_out"),
        Case("sms_numbers_as_numbers.json", "text", f"{IN}13", "STOP", "opted_out"),
        Case("mms_two_media.json", "text", f"{IN}14", "Is this the right tooth?", media=2),
        Case("mms_stop.json", "text", f"{IN}15", "STOP", "opted_out", media=1),
        Case("mms_without_words.json", "text", f"{IN}16", "", media=1),
        Case("mms_words_as_text.json", "text", f"{IN}17", "STOP", "opted_out"),
        Case("mms_unreadable.json", "text", f"{IN}18", "", "held"),
        Case("sms_to_a_number_of_nobody.json", "not understood"),
        Case("sms_without_from.json", "not understood"),
        Case("sms_without_id.json", "not understood"),
        Case("whatsapp.json", "not understood"),
        Case("results_missing.json", "not understood"),
        Case("results_of_nulls.json", "not understood"),
        Case("not_json.json", "not understood"),
        Case("status_without_id.json", "not understood"),
        Case("results_empty.json", "ignored"),
        Case("status_pending.json", "status", OUT, state="sent"),
        Case("status_delivered_to_operator.json", "status", OUT, state="sent"),
        Case("status_delivered.json", "status", OUT, state="delivered"),
        Case("status_nulls.json", "status", OUT, state="delivered"),
        Case("status_undeliverable.json", "status", OUT, state="failed"),
        Case("status_expired.json", "status", OUT, state="failed"),
        Case("status_rejected.json", "status", OUT, state="failed"),
        # An operator or the account may have listed the number: no proof of an opt-out.
        Case("status_rejected_blocklisted.json", "status", OUT, state="failed"),
        Case("status_opted_out_603.json", "status", OUT, state="failed", opted_out=True),
        Case("status_opted_out_573.json", "status", OUT, state="failed", opted_out=True),
        Case("status_unknown_group.json", "ignored", OUT),
    ]

    def sign(self, url: str, case: Case, body: bytes, secret: str, at: float) -> Posted:
        encoded = base64.b64encode(f"{USER}:{secret}".encode()).decode()
        return Posted(body, "application/json", {"Authorization": f"Basic {encoded}"})

    def with_unknown_fields(self, body: bytes) -> bytes:
        document = json.loads(body)
        return json.dumps(
            {
                **document,
                "page": 5,
                "results": [{**one, "weather": {"sky": ["blue", None]}} for one in document["results"]],
            }
        ).encode()

    def another_text(self, body: bytes, text: str, message_id: str) -> bytes:
        document = json.loads(body)
        (result,) = document["results"]
        result.pop("message", None)
        return json.dumps({**document, "results": [{**result, "text": text, "messageId": message_id}]}).encode()

    def said(self, group: str, code: int, name: str, message_id: str = OUT) -> Answer:
        status = {"groupId": 1, "groupName": group, "id": code, "name": name, "description": "Message sent on"}
        message = {
            "messageId": message_id,
            "status": status,
            "destination": "12025550143",
            "details": {"messageCount": 1},
        }
        return Answer.json(200, {"bulkId": "2034072219640523072", "messages": [message]})

    def taken(self, message_id: str) -> Answer:
        return self.said("PENDING", 26, "PENDING_ACCEPTED", message_id)

    def locked_out(self) -> Answer:
        exception = {"messageId": "UNAUTHORIZED", "text": "Invalid login details"}
        return Answer.json(401, {"requestError": {"serviceException": exception}})

    def senseless(self) -> Answer:
        document = {"errorCode": "E400", "description": "Request cannot be processed.", "action": "Check the request."}
        return Answer.json(400, {**document, "violations": [], "resources": []})

    def handed_over(self, asked: Asked) -> tuple[str, str, str]:
        (message,) = json.loads(asked.body)["messages"]
        assert (asked.method, asked.path) == ("POST", "/sms/3/messages")
        (destination,) = message["destinations"]
        return f"+{message['sender']}", f"+{destination['to']}", message["content"]["text"]


DIALECT = Infobip()
