"""Sinch's SMS REST API: JSON, signed in headers over body, nonce and time."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tests.messaging.carriers.dialect import Answer, Asked, Case, Dialect, Posted

IN = "01KAX0000000000000000000"
OUT = "01KAXFC621Z5GK6V8W2B3C4D5E"
NONCE = "01FJA8B4A7BM43YGWSG9GBV067"
PLAN = "4d8f3c2b1a"


class Sinch(Dialect):
    carrier = "sinch"
    settings: ClassVar[Mapping[str, str]] = {"service_plan_id": PLAN, "region": "us"}
    secrets: ClassVar[Mapping[str, str]] = {"api_token": "sinch-api-token", "webhook_secret": "sinch-webhook-secret"}
    signing_secret = "webhook_secret"
    # The window is that of a day and more of retries, wider than the one that all carriers' tests try: see
    # test_sinch.py.
    signature_headers: ClassVar[Sequence[str]] = (
        "x-sinch-webhook-signature",
        "x-sinch-webhook-signature-nonce",
        "x-sinch-webhook-signature-timestamp",
    )
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
        # Sinch does not say what was written: it may have been a STOP.
        Case("sms_body_null.json", "text", f"{IN}10", "", "held"),
        Case("sms_least_fields.json", "text", f"{IN}11", "STOP", "opted_out"),
        Case("sms_unknown_fields.json", "text", f"{IN}12", "STOP", "opted_out"),
        Case("binary_stop.json", "text", f"{IN}13", "STOP", "opted_out"),
        Case("binary_unreadable.json", "text", f"{IN}14", "", "held"),
        Case("binary_not_base64.json", "text", f"{IN}15", "", "held"),
        # Read once all are there: see test_sinch.py.
        Case("binary_part_1_of_2.json", "ignored"),
        Case("mms_two_media.json", "text", f"{IN}17", "Is this the right tooth?", media=2),
        Case("mms_stop.json", "text", f"{IN}18", "STOP", "opted_out", media=1),
        Case("mms_stop_in_subject.json", "text", f"{IN}19", "STOP", "opted_out", media=1),
        Case("mms_without_words.json", "text", f"{IN}20", "", media=1),
        Case("mms_upload_failed.json", "text", f"{IN}21", "Look"),
        Case("sms_to_a_number_of_nobody.json", "not understood"),
        Case("sms_without_from.json", "not understood"),
        Case("sms_without_id.json", "not understood"),
        Case("new_type.json", "not understood"),
        Case("list.json", "not understood"),
        Case("not_json.json", "not understood"),
        Case("batch_without_statuses.json", "not understood"),
        Case("status_without_batch.json", "not understood"),
        Case("batch_delivered.json", "status", OUT, state="delivered"),
        Case("batch_mms_failed.json", "status", OUT, state="failed"),
        Case("batch_summary_aborted.json", "status", OUT, state="failed"),
        Case("status_queued.json", "status", OUT, state="sent"),
        Case("status_dispatched.json", "status", OUT, state="sent"),
        Case("status_delivered.json", "status", OUT, state="delivered"),
        Case("status_upper_case.json", "status", OUT, state="delivered"),
        Case("status_mms_delivered.json", "status", OUT, state="delivered"),
        Case("status_aborted.json", "status", OUT, state="failed"),
        Case("status_cancelled.json", "status", OUT, state="failed"),
        Case("status_expired.json", "status", OUT, state="failed"),
        Case("status_failed.json", "status", OUT, state="failed"),
        Case("status_rejected.json", "status", OUT, state="failed"),
        # A hint at an opt-out, and no proof of one.
        Case("status_deleted.json", "status", OUT, state="failed"),
        Case("status_unknown.json", "ignored", OUT),
        Case("status_new_word.json", "ignored", OUT),
    ]

    def sign(self, url: str, case: Case, body: bytes, secret: str, at: float) -> Posted:
        seconds = str(int(at))
        digest = hmac.digest(secret.encode(), body + f".{NONCE}.{seconds}".encode(), "sha256")
        headers = {
            "x-sinch-webhook-signature": base64.b64encode(digest).decode(),
            "x-sinch-webhook-signature-nonce": NONCE,
            "x-sinch-webhook-signature-timestamp": seconds,
            "x-sinch-webhook-signature-algorithm": "HmacSHA256",
        }
        return Posted(body, "application/json", headers)

    def with_unknown_fields(self, body: bytes) -> bytes:
        return json.dumps({**json.loads(body), "weather": {"sky": ["blue", None]}, "carrier": 5}).encode()

    def another_text(self, body: bytes, text: str, message_id: str) -> bytes:
        return json.dumps({**json.loads(body), "type": "mo_text", "body": text, "id": message_id}).encode()

    def taken(self, message_id: str) -> Answer:
        document = {
            "id": message_id,
            "to": ["12025550143"],
            "from": "12025550100",
            "canceled": False,
            "body": "as sent",
            "type": "mt_text",
            "created_at": "2026-11-23T18:30:00.000Z",
            "modified_at": "2026-11-23T18:30:00.000Z",
            "delivery_report": "per_recipient",
            "expire_at": "2026-11-26T18:30:00.000Z",
            "flash_message": False,
        }
        return Answer.json(201, document)

    def locked_out(self) -> Answer:
        return Answer(401, b"", {})

    def senseless(self) -> Answer:
        return Answer.json(400, {"code": "syntax_invalid_parameter_format", "text": "The format of “to” is invalid"})

    def handed_over(self, asked: Asked) -> tuple[str, str, str]:
        document = json.loads(asked.body)
        assert (asked.method, asked.path) == ("POST", f"/xms/v1/{PLAN}/batches")
        (to,) = document["to"]
        return document["from"], to, document["body"]


DIALECT = Sinch()
