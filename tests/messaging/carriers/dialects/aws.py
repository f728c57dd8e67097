"""AWS End User Messaging: SNS envelopes, signed here with a certificate of our own by Amazon's description."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from messaging.carriers import aws
from tests.messaging.carriers.dialect import Answer, Asked, Case, Dialect, Posted

CERTIFICATE_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
OUT = "862a8790-60c0-4430-9b2b-000000000001"
JSON_1_0 = {"Content-Type": "application/x-amz-json-1.0"}


@lru_cache
def key(name: str) -> rsa.RSAPrivateKey:
    """Amazon's private key, or by any other name one that is somebody else's."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(name: str, start: timedelta = timedelta(days=-1), days: int = 30) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    begins = datetime.now(UTC) + start
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key(name).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=days))
        .sign(key(name), hashes.SHA256())
    )


def string_to_sign(envelope: Mapping[str, Any]) -> bytes:
    """By “Verifying the signature of an Amazon SNS message”: name and value, each with a line of its own, sorted."""
    names = ["Message", "MessageId", "Timestamp", "TopicArn", "Type"]
    names += ["Subject"] if envelope["Type"] == "Notification" else ["SubscribeURL", "Token"]
    lines = [line for name in sorted(names) if envelope.get(name) is not None for line in (name, envelope[name])]
    return ("\n".join(lines) + "\n").encode()


def inbound(number: int) -> str:
    return f"cae173d2-66b9-564c-8309-{number:012d}"


class Aws(Dialect):
    carrier = "aws"
    settings: ClassVar[Mapping[str, str]] = {
        "region": "us-east-1",
        "topic_arn": "arn:aws:sns:us-east-1:123456789012:portal-texts",
        "access_key_id": "AKIAEXAMPLEEXAMPLE00",
        "configuration_set": "portal",
    }
    secrets: ClassVar[Mapping[str, str]] = {"secret_access_key": "example/secret/access/key/of/forty/char0"}
    signing_secret = "the key of Amazon's certificate"
    content_type = "text/plain; charset=UTF-8"
    has_window = True
    stale_after = 2 * 3600
    rotates = False
    elsewhere: ClassVar[Mapping[str, str]] = {"topic_arn": "arn:aws:sns:us-east-1:123456789012:others"}
    cases: ClassVar[Sequence[Case]] = [
        Case("sms.json", "text", inbound(1), "See you at nine!"),
        Case("sms_stop.json", "text", inbound(2), "STOP", "opted_out"),
        Case("sms_stop_version_2.json", "text", inbound(3), "STOP", "opted_out"),
        Case("sms_stop_lower_case.json", "text", inbound(4), "stop", "opted_out"),
        Case("sms_stop_with_emoji.json", "text", inbound(5), "STOP 🛑", "held"),
        Case("sms_help.json", "text", inbound(6), "HELP", "help"),
        Case("sms_unstop.json", "text", inbound(7), "UNSTOP", "opted_in"),
        Case("sms_keyword_end_of_the_week.json", "text", inbound(8), "End of the week is fine"),
        Case("sms_keyword_weekend.json", "text", inbound(9), "Weekend"),
        Case("sms_emoji_and_plus.json", "text", inbound(10), "1 + 1 = 2 & 50% 👍🏽 café\nnew line"),
        Case("sms_with_subject.json", "text", inbound(11), "STOP", "opted_out"),
        Case("sms_numbers_without_plus.json", "text", inbound(12), "STOP", "opted_out"),
        Case("sms_without_optional_fields.json", "text", inbound(13), "STOP", "opted_out"),
        Case("sms_empty.json", "text", inbound(14), ""),
        # Amazon does not say what was written: a person looks.
        Case("sms_text_null.json", "text", inbound(15), "", "held"),
        Case("sms_unknown_fields.json", "text", inbound(16), "STOP", "opted_out"),
        Case("sms_to_a_number_of_nobody.json", "not understood"),
        Case("sms_without_id.json", "not understood"),
        Case("notification_without_json.json", "not understood"),
        Case("notification_of_something_else.json", "not understood"),
        Case("subscription_at_another_host.json", "not understood"),
        Case("subscription_to_another_topic.json", "not understood"),
        Case("status_without_id.json", "not understood"),
        Case("status_text_sent.json", "status", OUT, state="sent"),
        Case("status_text_successful.json", "status", OUT, state="sent"),
        Case("status_text_delivered.json", "status", OUT, state="delivered"),
        Case("status_by_eventbridge.json", "status", OUT, state="delivered"),
        Case("status_text_invalid.json", "status", OUT, state="failed"),
        Case("status_text_invalid_message.json", "status", OUT, state="failed"),
        Case("status_text_unreachable.json", "status", OUT, state="failed"),
        Case("status_text_carrier_unreachable.json", "status", OUT, state="failed"),
        Case("status_text_blocked.json", "status", OUT, state="failed"),
        Case("status_text_carrier_blocked.json", "status", OUT, state="failed"),
        Case("status_text_spam.json", "status", OUT, state="failed"),
        Case("status_text_ttl_expired.json", "status", OUT, state="failed"),
        Case("status_text_protect_blocked.json", "status", OUT, state="failed"),
        Case("status_text_pending.json", "ignored", OUT),
        Case("status_text_queued.json", "ignored", OUT),
        Case("status_text_unknown.json", "ignored", OUT),
        Case("status_never_described.json", "ignored", OUT),
        Case("status_of_a_call.json", "ignored", OUT),
        Case("unsubscribe_confirmation.json", "ignored", OUT),
    ]

    def prepare(self) -> None:
        aws.certificates[CERTIFICATE_URL] = amazons()

    def sign(self, url: str, case: Case, body: bytes, secret: str, at: float) -> Posted:
        moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = re.sub(r'("Timestamp"\s*:\s*)"[^"]*"', rf'\1"{moment}"', body.decode("utf-8"), count=1)
        envelope = json.loads(text)
        algorithm = {"1": hashes.SHA1(), "2": hashes.SHA256()}[envelope["SignatureVersion"]]
        signature = key(secret).sign(string_to_sign(envelope), padding.PKCS1v15(), algorithm)
        encoded = base64.b64encode(signature).decode()
        text = re.sub(r'("Signature"\s*:\s*)"[^"]*"', rf'\1"{encoded}"', text, count=1)
        headers = {
            "x-amz-sns-message-type": envelope["Type"],
            "x-amz-sns-message-id": envelope["MessageId"],
            "x-amz-sns-topic-arn": envelope["TopicArn"],
            "User-Agent": "Amazon Simple Notification Service Agent",
        }
        return Posted(text.encode(), self.content_type, headers)

    def with_unknown_fields(self, body: bytes) -> bytes:
        envelope = json.loads(body)
        message = {**json.loads(envelope["Message"]), "weather": {"sky": ["blue", None]}}
        return json.dumps({**envelope, "Message": json.dumps(message), "Weather": [1]}).encode()

    def another_text(self, body: bytes, text: str, message_id: str) -> bytes:
        envelope = json.loads(body)
        message = {**json.loads(envelope["Message"]), "messageBody": text, "inboundMessageId": message_id}
        return json.dumps({**envelope, "Message": json.dumps(message)}).encode()

    def taken(self, message_id: str) -> Answer:
        return Answer.json(200, {"MessageId": message_id}, **JSON_1_0)

    def refused(self, status: int, code: str, reason: str = "", **headers: str) -> Answer:
        document = {"__type": code, "Message": "No.", **({"Reason": reason} if reason else {})}
        return Answer.json(status, document, **JSON_1_0, **headers)

    def opted_out(self) -> Answer:
        return self.refused(400, "ConflictException", "DESTINATION_PHONE_NUMBER_OPTED_OUT")

    def busy(self, seconds: int) -> Answer:
        return self.refused(400, "ThrottlingException", **{"Retry-After": str(seconds)})

    def failing(self) -> Answer:
        return self.refused(500, "InternalServerException")

    def locked_out(self) -> Answer:
        return self.refused(400, "UnrecognizedClientException")

    def senseless(self) -> Answer:
        return self.refused(400, "ValidationException", "INVALID_PARAMETER")

    def handed_over(self, asked: Asked) -> tuple[str, str, str]:
        assert asked.headers["X-Amz-Target"] == "PinpointSMSVoiceV2.SendTextMessage"
        document = json.loads(asked.body)
        return document["OriginationIdentity"], document["DestinationPhoneNumber"], document["MessageBody"]


@lru_cache
def amazons() -> x509.Certificate:
    return certificate(Aws.signing_secret)


DIALECT = Aws()
