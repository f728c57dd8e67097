"""AWS End User Messaging: what only Amazon can have signed is taken, and boto3 hands each text over once.

No library for Python checks what SNS signs, so the certificate here is one of our own, and what is signed is built by
Amazon's description. Amazon's host is played behind a proxy: real TLS, at the real name.
"""

from __future__ import annotations

import base64
import json
import ssl
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from django.utils import timezone

from messaging import outbox
from messaging.carriers import aws
from messaging.carriers.base import CarrierError, Media, OutboundText, Refused, Visit, WebhookRequest
from messaging.models import Message, OptOut
from offices.credentials import Credentials
from tests.messaging.api_calls import count_stored
from tests.messaging.carriers.dialect import OURS, PAYLOADS, SENDER, Answer, Case
from tests.messaging.carriers.dialects.aws import (
    CERTIFICATE_URL,
    DIALECT,
    OUT,
    amazons,
    certificate,
    key,
    string_to_sign,
)
from tests.messaging.carriers.loopback import Loopback, closed_port, forget_client
from tests.messaging.carriers.scene import a_stop, scene

STOP = a_stop(DIALECT)
CONFIRM = Case("apart/subscription_confirmation.json", "ignored")
SNS = "sns.us-east-1.amazonaws.com"


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    aws.certificates.clear()
    aws._clients.clear()
    yield
    aws.certificates.clear()


def envelope(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DIALECT.payload(STOP)) | {
        "Timestamp": timezone.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    }
    return {name: value for name, value in {**found, **changes}.items() if value is not ...}


def signed(document: dict[str, Any], algorithm: hashes.HashAlgorithm | None = None) -> dict[str, Any]:
    chosen = algorithm or (hashes.SHA256() if document["SignatureVersion"] == "2" else hashes.SHA1())
    made = key(DIALECT.signing_secret).sign(string_to_sign(document), padding.PKCS1v15(), chosen)
    return {**document, "Signature": base64.b64encode(made).decode()}


def request(document: dict[str, Any], **headers: str) -> WebhookRequest:
    return WebhookRequest("POST", "", json.dumps(document).encode(), "text/plain; charset=UTF-8", headers)


def account(**changes: str) -> Credentials:
    return Credentials({**DIALECT.settings, **changes}, {name: [one] for name, one in DIALECT.secrets.items()})


def verify(document: dict[str, Any], credentials: Credentials | None = None, **headers: str) -> None:
    aws.Aws().verify(credentials or account(), request(document, **headers))


# What Amazon signed


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [..., "Two-way SMS", "", None])
def test_what_amazon_signed_is_taken(version: str, subject: Any):
    DIALECT.prepare()

    verify(signed(envelope(SignatureVersion=version, Subject=subject)))


@pytest.mark.parametrize(
    "changes",
    [
        {"Message": json.dumps({"messageBody": "UNSTOP"})},
        {"MessageId": "00000000-0000-4000-8000-999999999999"},
        {"Subject": "One more"},
        {"Timestamp": "2026-11-23T18:30:00.124Z"},
        {"Type": "SubscriptionConfirmation"},
        {"Type": "Notice"},
        {"SignatureVersion": "2"},
        {"SignatureVersion": "3"},
        {"SignatureVersion": 1},
        {"Signature": None},
        {"Message": None},
    ],
    ids=lambda changes: str(next(iter(changes.items()))),
)
def test_what_is_altered_is_refused(changes: dict[str, Any]):
    DIALECT.prepare()
    genuine = signed(envelope())

    with pytest.raises(Refused):
        verify({**genuine, **changes})


@pytest.mark.parametrize(("version", "algorithm"), [("1", hashes.SHA256()), ("2", hashes.SHA1())])
def test_a_version_has_one_algorithm(version: str, algorithm: hashes.HashAlgorithm):
    DIALECT.prepare()

    with pytest.raises(Refused):
        verify(signed(envelope(SignatureVersion=version), algorithm))


def test_amazon_signs_for_everybody_so_only_the_accounts_own_topics_count():
    DIALECT.prepare()
    ours, events, strangers = (f"arn:aws:sns:us-east-1:{n:012d}:texts" for n in range(3))
    of_a_stranger = signed(envelope(TopicArn=strangers))

    for topics in (f"{ours},{events}", f" {events} , {ours} ", ours):
        verify(signed(envelope(TopicArn=ours)), account(topic_arn=topics))
        with pytest.raises(Refused, match="not this account's"):
            verify(of_a_stranger, account(topic_arn=topics))
    for nothing in ("", ",", " "):
        with pytest.raises(Refused):
            verify(signed(envelope(TopicArn="")), account(topic_arn=nothing))
        with pytest.raises(Refused):
            verify(signed(envelope(TopicArn=" ")), account(topic_arn=nothing))


def test_raw_delivery_is_refused_with_what_to_do():
    DIALECT.prepare()

    with pytest.raises(Refused, match="switch it off"):
        verify(signed(envelope()), **{"x-amz-sns-rawdelivery": "true"})


@pytest.mark.django_db
@pytest.mark.parametrize(("minutes", "status"), [(59, 200), (64, 200), (90, 403)])
def test_a_stop_that_sns_has_tried_to_deliver_for_an_hour_still_counts(minutes: int, status: int):
    given = scene(DIALECT)

    answer = given.deliver(given.posted(STOP, at=time.time() - 60 * minutes))

    assert answer.status_code == status
    assert OptOut.objects.count() == (status == 200)


# The certificate


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem",
        "https://sns.us-east-1.amazonaws.com.example.com/SimpleNotificationService-0.pem",
        "https://example.com/sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem",
        "https://sns.us-east-1.amazonaws.com@example.com/SimpleNotificationService-0.pem",
        "https://example.com#sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem",
        "https://sns.us-east-1.amazonaws.com:8443/SimpleNotificationService-0.pem",
        "https://sns.us-east-1.amazonaws.com/?Action=GetEndpointAttributes&x=.pem",
        "https://sns.us-east-1.amazonaws.com/a.pem?x=.pem",
        "https://sns.us-east-1.amazonaws.com/a.pem#.pem",
        "https://sns.us-east-1.amazonaws.com/a.pem\n",
        "https://sns.us-east-1.amazonaws.com/../a.pem",
        "https://sns.us-east-1.amazonaws.com/a.txt",
        "https://my-bucket.s3.amazonaws.com/a.pem",
        "https://sns.x.amazonaws.com/a.pem",
        "https://sns.s3-us-west-2.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com.cn/a.pem",
        "https://snsXus-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonawsXcom/a.pem",
        "file:///etc/ssl/a.pem",
        "",
        None,
        ["https://sns.us-east-1.amazonaws.com/a.pem"],
    ],
)
def test_a_certificate_from_elsewhere_is_never_fetched(url: Any, server: Loopback, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    monkeypatch.setenv("HTTP_PROXY", server.url)
    server.will_answer(Answer(200, b""))

    with pytest.raises(Refused) as refused:
        verify(signed(envelope(SigningCertURL=url)))

    assert not refused.value.come_again
    assert server.asked == []


def test_nothing_is_fetched_for_whoever_does_not_know_the_topic(server: Loopback, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTPS_PROXY", server.url)

    for changes in ({"TopicArn": "arn:aws:sns:us-east-1:1:x"}, {"Timestamp": "2026-01-01T00:00:00Z"}, {"Type": "x"}):
        with pytest.raises(Refused):
            verify({**signed(envelope()), **changes})

    assert server.asked == []


@pytest.mark.parametrize(("start", "days"), [(timedelta(days=-30), 29), (timedelta(days=1), 30)])
def test_a_certificate_that_is_not_valid_now_proves_nothing(start: timedelta, days: int):
    aws.certificates[CERTIFICATE_URL] = certificate(DIALECT.signing_secret, start, days)

    with pytest.raises(Refused, match="not valid now"):
        verify(signed(envelope()))

    assert CERTIFICATE_URL not in aws.certificates


def test_a_certificate_with_another_kind_of_key_proves_nothing():
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = timezone.now()
    aws.certificates[CERTIFICATE_URL] = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .sign(private, hashes.SHA256())
    )  # fmt: skip

    with pytest.raises(Refused):
        verify(signed(envelope()))


# Amazon's host, played behind a proxy


class PlayedAmazon:
    """A proxy on this machine behind which sns.us-east-1.amazonaws.com stands, with TLS of its own."""

    def __init__(self, folder: Any) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, list[tuple[int, bytes]]] = {}
        chain, private = folder / "host.pem", folder / "host.key"
        name = x509.Name([])
        now = timezone.now()
        host_key = ec.generate_private_key(ec.SECP256R1())
        made = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(host_key.public_key())
            .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(SNS)]), critical=True)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(host_key, hashes.SHA256())
        )  # fmt: skip
        chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            host_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.authority = str(chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, private)
        played = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_CONNECT(self) -> None:
                played.asked.append(f"CONNECT {self.path}")
                self.send_response(200)
                self.end_headers()
                self.wfile.flush()
                self.connection = context.wrap_socket(self.connection, server_side=True)
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", buffering=0)
                self.close_connection = False

            def do_GET(self) -> None:
                played.asked.append(f"GET {self.path}")
                script = played.answers[self.path.partition("?")[0]]
                status, body = script.pop(0) if len(script) > 1 else script[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def amazon(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedAmazon]:
    played = PlayedAmazon(tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", played.url)
    monkeypatch.setenv("SSL_CERT_FILE", played.authority)
    forget_client()
    yield played
    forget_client()
    played.server.shutdown()
    played.server.server_close()


PEM_PATH = CERTIFICATE_URL.removeprefix(f"https://{SNS}")


def pem() -> bytes:
    return amazons().public_bytes(serialization.Encoding.PEM)


@pytest.mark.django_db
def test_the_certificate_is_fetched_from_amazon_once(amazon: PlayedAmazon):
    given = scene(DIALECT)
    aws.certificates.clear()
    amazon.answers = {PEM_PATH: [(200, pem())]}
    bodies = [DIALECT.another_text(DIALECT.payload(STOP), f"Text {n}", f"id-{n}") for n in range(3)]

    answers = [given.deliver(given.posted(STOP, body)) for body in bodies]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert amazon.asked == [f"CONNECT {SNS}:443", f"GET {PEM_PATH}"]


@pytest.mark.django_db
@pytest.mark.parametrize("first", [(500, b""), (429, b""), (404, b"Not here"), (302, b""), (200, b"no certificate")])
def test_a_stop_is_not_lost_while_the_certificate_cannot_be_had(amazon: PlayedAmazon, first: tuple[int, bytes]):
    """SNS comes again after 503, and never after 403."""
    given = scene(DIALECT)
    aws.certificates.clear()
    amazon.answers = {PEM_PATH: [first, (200, pem())]}
    posted = given.posted(STOP)

    refused = given.deliver(posted)
    stored = set(count_stored().values())
    again = given.deliver(posted)

    assert (refused.status_code, stored) == (503, {0})
    assert again.status_code == 200
    assert OptOut.objects.count() == 1


@pytest.mark.django_db
def test_without_a_way_to_amazon_the_stop_is_asked_to_come_again(monkeypatch: pytest.MonkeyPatch, server: Loopback):
    given = scene(DIALECT)
    aws.certificates.clear()
    monkeypatch.setenv("HTTPS_PROXY", closed_port())

    answer = given.deliver(given.posted(STOP))

    assert answer.status_code == 503
    assert set(count_stored().values()) == {0}


def test_only_so_many_certificates_are_kept(amazon: PlayedAmazon):
    paths = [f"/SimpleNotificationService-{n:032x}.pem" for n in range(aws.MOST_KEPT + 3)]
    amazon.answers = {path: [(200, pem())] for path in paths}

    for path in paths:
        verify(signed(envelope(SigningCertURL=f"https://{SNS}{path}")))

    assert len(aws.certificates) == aws.MOST_KEPT
    assert f"https://{SNS}{paths[-1]}" in aws.certificates


@pytest.mark.django_db
@pytest.mark.parametrize(("amazons_answer", "status"), [(200, 200), (500, 503), (403, 503)])
def test_a_subscription_is_confirmed_by_opening_amazons_address(amazon: PlayedAmazon, amazons_answer: int, status: int):
    given = scene(DIALECT)
    amazon.answers = {"/": [(amazons_answer, b"<ConfirmSubscriptionResponse/>")]}

    answer = given.deliver(given.posted(CONFIRM))

    assert answer.status_code == status
    topic, token = DIALECT.settings["topic_arn"], "2336412f37fb687f5d51e6e2425e90ca"
    assert amazon.asked == [
        f"CONNECT {SNS}:443", f"GET /?Action=ConfirmSubscription&TopicArn={topic}&Token={token}",
    ]  # fmt: skip
    assert not Message.objects.exists()


@pytest.mark.django_db
def test_a_forged_subscription_opens_nothing(amazon: PlayedAmazon):
    given = scene(DIALECT)

    answer = given.deliver(given.posted(CONFIRM, secret=DIALECT.another_secret()))

    assert answer.status_code == 403
    assert amazon.asked == []


def test_the_address_to_confirm_is_read_from_the_payload():
    body = (PAYLOADS / "aws" / CONFIRM.file).read_bytes()

    (event,) = aws.Aws().parse(WebhookRequest("POST", "", body))

    assert isinstance(event, Visit)
    assert event.url == json.loads(body)["SubscribeURL"]


# Statuses


@pytest.mark.django_db
def test_a_text_whose_id_never_came_back_is_settled_by_the_event_that_names_it():
    given = scene(DIALECT)
    ours = given.our_text("")
    Message.objects.update(state="uncertain")
    case = next(case for case in DIALECT.cases if case.file == "status_text_delivered.json")
    document = json.loads(DIALECT.payload(case))
    event = {**json.loads(document["Message"]), "context": {"text": str(ours.pk)}}

    answer = given.deliver(given.posted(case, json.dumps({**document, "Message": json.dumps(event)}).encode()))

    ours.refresh_from_db()
    assert (answer.status_code, ours.state, ours.carrier_message_id) == (200, "delivered", OUT)


# Sending


def text(**changes: Any) -> OutboundText:
    return OutboundText(
        **{"sender": OURS, "to": SENDER, "text": "Ready", "reference": "17", "status_url": "https://x/", **changes}
    )


def test_a_text_is_handed_over_by_boto3_with_the_accounts_own_key(server: Loopback, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOFTHEMACHINE0000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the machine")
    server.will_answer(DIALECT.taken("m-1"))

    message_id = aws.Aws().send(account(api_base=server.url), text())

    (asked,) = server.asked
    assert message_id == "m-1"
    assert json.loads(asked.body) == {
        "DestinationPhoneNumber": SENDER,
        "OriginationIdentity": OURS,
        "MessageBody": "Ready",
        "MessageType": "TRANSACTIONAL",
        "ConfigurationSetName": "portal",
        "Context": {"text": "17"},
    }
    credential = asked.headers["Authorization"]
    assert credential.startswith("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLEEXAMPLE00/")
    assert "/us-east-1/sms-voice/aws4_request" in credential


def test_without_a_configuration_set_none_is_named(server: Loopback):
    server.will_answer(DIALECT.taken("m-1"))

    aws.Aws().send(account(api_base=server.url, configuration_set=""), text())

    assert "ConfigurationSetName" not in json.loads(server.asked[0].body)


@pytest.mark.parametrize(
    "changes",
    [{"media": [Media("https://example.com/1.jpg")]}, {"text": ""}, {"text": " \n"}, {"text": "x" * 1601}, {"to": "x"}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_amazon_cannot_take_is_not_even_tried(server: Loopback, changes: dict[str, Any]):
    server.will_answer(DIALECT.senseless())

    with pytest.raises(CarrierError) as refused:
        aws.Aws().send(account(api_base=server.url), text(**changes))

    assert refused.value.permanent
    assert len(server.asked) == ("to" in changes)  # of a number Amazon judges itself


ANSWERS = [
    (400, "ConflictException", "DESTINATION_PHONE_NUMBER_OPTED_OUT", "opted out"),
    (400, "ConflictException", "DESTINATION_COUNTRY_BLOCKED_BY_PROTECT_CONFIGURATION", "permanent"),
    (400, "ConflictException", "NO_ORIGINATION_IDENTITIES_FOUND", "permanent"),
    (400, "ConflictException", "", "permanent"),
    (400, "ValidationException", "INVALID_PARAMETER", "permanent"),
    (400, "ResourceNotFoundException", "", "permanent"),
    (400, "com.amazonaws.smsvoice#ThrottlingException", "", "trouble"),
    (400, "ServiceQuotaExceededException", "MONTHLY_SPEND_LIMIT_REACHED_FOR_TEXT", "trouble"),
    (400, "AccessDeniedException", "ACCOUNT_DISABLED", "trouble"),
    (400, "UnrecognizedClientException", "", "trouble"),
    (400, "InvalidSignatureException", "", "trouble"),
    (400, "ExpiredTokenException", "", "trouble"),
    (403, "SomethingNew", "", "trouble"),
    (429, "SomethingNew", "", "trouble"),
    (500, "InternalServerException", "", "trouble"),
    (503, "ServiceUnavailable", "", "trouble"),
]


@pytest.mark.parametrize(("status", "code", "reason", "meaning"), ANSWERS)
def test_what_amazon_answers_is_told_apart(server: Loopback, status: int, code: str, reason: str, meaning: str):
    server.will_answer(DIALECT.refused(status, code, reason), DIALECT.taken("m-2"))

    with pytest.raises(CarrierError) as refused:
        aws.Aws().send(account(api_base=server.url), text())

    error = refused.value
    assert (error.opted_out, error.permanent, error.is_trouble, error.uncertain) == {
        "opted out": (True, True, False, False),
        "permanent": (False, True, False, False),
        "trouble": (False, False, True, False),
    }[meaning]
    # botocore would try the faults among them again by itself: whether the first was taken, nobody knows.
    assert len(server.asked) == 1


def test_without_boto3_the_operator_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "boto3", None)

    with pytest.raises(CarrierError, match="make serve AWS=1") as refused:
        aws.Aws().send(account(), text())

    assert (refused.value.permanent, refused.value.is_trouble, refused.value.uncertain) == (False, True, False)


@pytest.mark.parametrize(
    "settings_", [{"region": ""}, {"region": "nowhere at all"}, {"api_base": "nonsense"}, {"api_base": "http://["}]
)
def test_settings_that_cannot_be_used_are_the_accounts_trouble(settings_: dict[str, str]):
    with pytest.raises(CarrierError) as refused:
        aws.Aws().send(account(**settings_), text())

    assert (refused.value.uncertain, refused.value.is_trouble) == (False, True)


@pytest.mark.django_db
def test_a_client_is_kept_and_changed_with_the_key(server: Loopback):
    given = scene(DIALECT, api_base=server.url)
    server.will_answer(*[DIALECT.taken(f"m-{n}") for n in range(4)])

    for n in range(3):
        if n == 2:
            given.account.add_secret("secret_access_key", "the/next/secret/access/key/of/forty/char")
        outbox.accept(given.number, SENDER, f"Text {n}")
        outbox.hand_over_due()

    assert len(server.asked) == 3
    assert len(aws._clients) == 2
    assert len({asked.client for asked in server.asked}) == 2


# The test of a connection


def test_the_connection_is_tested_by_asking_for_the_numbers(server: Loopback):
    server.will_answer(
        Answer.json(
            200,
            {
                "PhoneNumbers": [
                    {"PhoneNumber": OURS, "TwoWayEnabled": True},
                    {"PhoneNumber": "+12025550101", "TwoWayEnabled": False},
                ]
            },
        )
    )

    found = aws.Aws().test(account(api_base=server.url))

    assert found == (
        "AWS answers: 2 phone numbers in us-east-1. Two-way SMS is off for +12025550101: a STOP to it stays at AWS."
    )
    assert server.asked[0].headers["X-Amz-Target"] == "PinpointSMSVoiceV2.DescribePhoneNumbers"


def test_the_test_of_a_connection_says_what_is_wrong(server: Loopback):
    server.will_answer(DIALECT.refused(400, "UnrecognizedClientException"))

    with pytest.raises(CarrierError, match="UnrecognizedClientException"):
        aws.Aws().test(account(api_base=server.url))


def test_nothing_follows_from_a_test_that_gets_no_answer(server: Loopback):
    server.will_answer("cut")

    with pytest.raises(CarrierError) as failed:
        aws.Aws().test(account(api_base=server.url))

    assert not failed.value.uncertain
