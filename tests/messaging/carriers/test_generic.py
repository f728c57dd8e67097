"""The generic gateway: what Standard Webhooks' own library signs we take, what we sign it takes; and statuses, also by
gateways that cannot sign."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from messaging import outbox
from messaging.carriers.base import CarrierError, InboundText, Media, NotUnderstood, Refused, WebhookRequest
from messaging.carriers.generic import Generic, signature
from messaging.models import Message, OptOut
from offices.credentials import Credentials
from tests.messaging.api_calls import bearer, call
from tests.messaging.carriers.dialect import OURS, SENDER, Answer
from tests.messaging.carriers.dialects.generic import DIALECT
from tests.messaging.carriers.loopback import Loopback, closed_port
from tests.messaging.carriers.scene import Scene, scene

SECRET = DIALECT.secret()
ANOTHER = DIALECT.another_secret()
few = hypothesis_settings(max_examples=60, deadline=None, derandomize=True, database=None)


def credentials(*secrets: str, **settings: str) -> Credentials:
    return Credentials(settings, {"signing_secret": secrets} if secrets else {})


def request(body: bytes, message_id: str, at: float, signature: str) -> WebhookRequest:
    headers = {"Webhook-Id": message_id, "Webhook-Timestamp": str(int(at)), "Webhook-Signature": signature}
    return WebhookRequest("POST", "https://portal.example.com/", body, "application/json", headers)


def signed_by_the_library(body: str, message_id: str = "msg_1", secret: str = SECRET, at: float = 0) -> WebhookRequest:
    at = at or time.time()
    moment = datetime.fromtimestamp(int(at), UTC)
    return request(body.encode(), message_id, at, Webhook(secret).sign(message_id, moment, body))


# The specification's own library, both ways


@few
@given(st.text(max_size=200), st.from_regex(r"msg_[A-Za-z0-9]{1,30}", fullmatch=True), st.integers(-290, 290))
def test_what_the_library_signs_is_taken(body: str, message_id: str, off: int):
    body = body.encode("utf-8", "replace").decode()

    Generic().verify(credentials(SECRET), signed_by_the_library(body, message_id, at=time.time() + off))


@pytest.mark.parametrize("off", [-310, 310, -3600, 3600])
def test_the_library_and_we_refuse_the_same_times(off: int):
    stale = signed_by_the_library("{}", at=time.time() + off)

    with pytest.raises(Refused):
        Generic().verify(credentials(SECRET), stale)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(stale.body, dict(stale.headers))


@pytest.mark.parametrize("how", ["with its prefix", "without its prefix", "without its padding"])
def test_a_secret_is_the_same_however_it_is_written(how: str):
    written = {
        "with its prefix": SECRET,
        "without its prefix": SECRET.removeprefix("whsec_"),
        "without its padding": SECRET.rstrip("="),
    }[how]

    Generic().verify(credentials(written), signed_by_the_library("{}", secret=SECRET))


def test_one_fitting_signature_among_several_is_enough():
    genuine = signed_by_the_library("{}")
    fitting = genuine.header("webhook-signature")
    several = request(b"{}", "msg_1", time.time(), f"v1a,bm9uZQ== v1,bm9uZQ== {fitting} v1,")

    Generic().verify(credentials(ANOTHER, SECRET), several)
    with pytest.raises(Refused):
        Generic().verify(credentials(ANOTHER), several)


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_====", "not base64!", "whsec_☎", "=", "whsec_a"],
    ids=lambda secret: secret or "none",
)
def test_a_secret_that_is_none_signs_nothing(secret: str):
    """An empty key would let anybody sign."""
    at = str(int(time.time()))

    for key in (b"", secret.encode(), secret.removeprefix("whsec_").encode(), b"whsec_"):
        with pytest.raises(Refused):
            Generic().verify(
                credentials(secret), request(b"{}", "m", float(at), f"v1,{signature(key, 'm', at, b'{}')}")
            )


@pytest.mark.parametrize("version", ["v0", "v2", "v1a", "V1", "", "v1 "])
def test_only_version_1_is_taken(version: str):
    genuine = signed_by_the_library("{}")
    value = genuine.header("webhook-signature").removeprefix("v1,")

    with pytest.raises(Refused):
        Generic().verify(credentials(SECRET), request(b"{}", "msg_1", time.time(), f"{version},{value}"))


@pytest.mark.parametrize("at", ["1e9", "nan", "inf", "-1", " 5", "٣", "1700000000.5", "", "9" * 400])
def test_a_time_that_is_no_number_of_seconds_is_refused(at: str):
    moment = datetime.now(UTC)
    headers = {"webhook-id": "m", "webhook-timestamp": at, "webhook-signature": Webhook(SECRET).sign("m", moment, "{}")}

    with pytest.raises(Refused):
        Generic().verify(credentials(SECRET), WebhookRequest("POST", "", b"{}", headers=headers))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_id_and_time_belong_to_what_is_signed(name: str):
    genuine = signed_by_the_library("{}")
    other = {"webhook-id": "msg_2", "webhook-timestamp": str(int(time.time()) - 9)}
    headers = {key.lower(): one for key, one in genuine.headers.items()} | {name: other[name]}

    with pytest.raises(Refused):
        Generic().verify(credentials(SECRET), WebhookRequest("POST", "", b"{}", headers=headers))


@pytest.mark.django_db
def test_the_library_takes_what_we_send_with_the_old_secret_and_with_the_new_one(server: Loopback):
    given_ = scene(DIALECT, api_base=server.url)
    given_.account.add_secret("signing_secret", ANOTHER)
    server.will_answer(DIALECT.failing(), DIALECT.taken("g-1"))

    message = outbox.accept(given_.number, SENDER, "Ready: 1 + 1 👍🏽", media=[Media("https://example.com/1.jpg")])
    outbox.hand_over_due()
    Message.objects.filter(pk=message.pk).update(next_attempt_at=message.created_at)
    outbox.hand_over_due()

    assert len(server.asked) == 2
    for asked in server.asked:
        for secret in (SECRET, ANOTHER):
            document = Webhook(secret).verify(asked.body, dict(asked.headers))
            assert document == {
                "from": OURS,
                "to": SENDER,
                "text": "Ready: 1 + 1 👍🏽",
                "media": [{"url": "https://example.com/1.jpg", "content_type": ""}],
                "reference": str(message.pk),
                "status_url": f"https://portal.example.com{given_.path}",
            }
        # The same text again has the same id, by which the gateway knows it.
        assert asked.headers["webhook-id"] == str(message.pk)
        assert asked.headers["Authorization"] == "Bearer gateway-token"
        with pytest.raises(WebhookVerificationError):
            Webhook(ANOTHER).verify(asked.body + b" ", dict(asked.headers))


@pytest.mark.django_db
def test_without_a_signing_secret_what_we_send_is_unsigned(server: Loopback):
    server.will_answer(DIALECT.taken("g-1"))
    given_ = scene(DIALECT, api_base=server.url)
    given_.account.secrets = []
    given_.account.save()

    outbox.accept(given_.number, SENDER, "Ready")
    outbox.hand_over_due()

    assert {name.lower() for name in server.asked[0].headers}.isdisjoint(
        {"webhook-id", "webhook-timestamp", "webhook-signature", "authorization"}
    )


# Texts and statuses


def test_media_come_with_their_types_and_sizes():
    body = (DIALECT.payload(next(case for case in DIALECT.cases if case.file == "mms_two_media.json"))).decode()

    (text,) = Generic().parse(WebhookRequest("POST", "", body.encode()))

    assert isinstance(text, InboundText)
    assert list(text.media) == [
        Media("https://gateway.example.com/media/1.jpg?a=1&b=2", "image/jpeg", 48211),
        Media("https://gateway.example.com/media/2.png", "image/png", None),
    ]


@pytest.mark.parametrize("size", [None, "5", -1, 1.5, True, 10**30, [], {}])
def test_a_size_that_is_none_does_no_harm(size: Any):
    document = {"from": SENDER, "to": OURS, "text": "STOP", "message_id": "1"}

    (text,) = Generic().parse(
        WebhookRequest("POST", "", json.dumps({**document, "media": [{"url": "https://x", "size": size}]}).encode())
    )

    assert isinstance(text, InboundText)
    assert text.media[0].size is None


@pytest.mark.parametrize(
    "status",
    [
        {"status": "delivered"},
        {"status": "delivered", "message_id": "", "reference": None},
        {"status": "delivered", "message_id": "x" * 256},
        {"status": "delivered", "message_id": "a\x00b"},
        {"status": "delivered", "message_id": "\ud800"},
        {"status": "delivered", "message_id": ["g-1"]},
    ],
)
def test_a_status_that_names_no_text_is_not_understood(status: dict[str, Any]):
    with pytest.raises(NotUnderstood):
        Generic().parse(WebhookRequest("POST", "", json.dumps(status).encode()))


def status_by_token(given_: Scene, **status: Any) -> Any:
    return call("/api/v1/inbound/", status, token=bearer(given_.account.company, "inbound", account=given_.account))


@pytest.mark.django_db
def test_a_status_by_our_reference_alone_is_understood():
    given_ = scene(DIALECT)
    ours = given_.our_text("g-1")
    other = given_.our_text("")

    answer = status_by_token(given_, reference=str(ours.pk), status="delivered")

    assert (answer.status_code, answer.json()) == (
        200, {"outcome": "status", "duplicate": False, "message": ours.pk},
    )  # fmt: skip
    ours.refresh_from_db()
    other.refresh_from_db()
    assert (ours.state, ours.carrier_message_id, other.state) == ("delivered", "g-1", "sent")


@pytest.mark.django_db
def test_a_status_settles_a_text_whose_id_never_came_back():
    given_ = scene(DIALECT)
    ours = given_.our_text("")
    Message.objects.update(state="uncertain")

    answer = status_by_token(given_, message_id="g-9", reference=str(ours.pk), status="sent")

    ours.refresh_from_db()
    assert (answer.status_code, ours.state, ours.carrier_message_id) == (200, "sent", "g-9")


@pytest.mark.django_db
def test_a_status_that_names_nobodys_text_is_no_texts_status():
    given_ = scene(DIALECT)
    ours = given_.our_text("")

    for named in ({"reference": str(ours.pk + 1)}, {"reference": "²"}, {"message_id": "g-5"}, {"reference": "-1"}):
        answer = status_by_token(given_, **named, status="failed", opted_out=True)
        assert (answer.status_code, answer.json()["message"]) == (200, None)

    ours.refresh_from_db()
    assert ours.state == "sent"
    assert not OptOut.objects.exists()


@pytest.mark.django_db
def test_an_opt_out_that_is_told_after_the_failure_blocks_all_the_same_and_once():
    given_ = scene(DIALECT)
    ours = given_.our_text("g-1")

    status_by_token(given_, message_id="g-1", status="failed", error="blocked")
    without = OptOut.objects.count()
    for _ in range(3):
        status_by_token(given_, message_id="g-1", status="failed", opted_out=True)

    ours.refresh_from_db()
    assert (without, OptOut.objects.count(), ours.state) == (0, 1, "failed")


@pytest.mark.parametrize("opted_out", ["true", 1, "yes", None, False, [True]])
def test_only_true_is_an_opt_out(opted_out: Any):
    (status,) = Generic().parse(
        WebhookRequest(
            "POST", "", json.dumps({"message_id": "g-1", "status": "failed", "opted_out": opted_out}).encode()
        )
    )

    assert not getattr(status, "opted_out")  # noqa: B009 - an event of any kind


# The gateway's answers


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Answer.json(200, {"message_id": 4711}), "sent"),
        (Answer.json(202, {"message_id": "g-1", "error": "opted_out"}), "sent"),
        (Answer.json(200, {"error": "opted_out"}), "failed"),
        (Answer.json(503, {"error": "opted_out"}), "failed"),
        (Answer.json(200, {"message_id": ""}), "uncertain"),
        (Answer.json(200, {"message_id": None}), "uncertain"),
        (Answer.json(200, {"message_id": ["g-1"]}), "uncertain"),
        (Answer.json(200, ["g-1"]), "uncertain"),
        (Answer.json(302, {}, Location="/elsewhere"), "failed"),
        (Answer.json(404, {"error": ["opted_out"]}), "failed"),
    ],
    ids=lambda value: value.body.decode() if isinstance(value, Answer) else value,
)
def test_what_the_gateway_answers_decides_what_became_of_the_text(server: Loopback, answer: Answer, state: str):
    given_ = scene(DIALECT, api_base=server.url)
    server.will_answer(answer)

    message = outbox.accept(given_.number, SENDER, "Ready")
    outbox.hand_over_due()

    message.refresh_from_db()
    assert (message.state, len(server.asked)) == (state, 1)
    assert OptOut.objects.exists() == (b'"opted_out"}' in answer.body and state == "failed")


def test_an_account_without_an_address_says_so():
    assert "this account only receives" in Generic().test(credentials())


@pytest.mark.parametrize(("status", "works"), [(200, True), (405, True), (404, False), (401, False), (500, False)])
def test_the_connection_is_tested_without_sending_a_text(server: Loopback, settings, status: int, works: bool):
    server.will_answer(Answer.json(status, {}))
    asked = credentials(SECRET, send_url=f"{server.url}/send")

    if works:
        assert f"HTTP {status}" in Generic().test(asked)
    else:
        with pytest.raises(CarrierError, match=f"HTTP {status}"):
            Generic().test(asked)

    assert [(one.method, one.path, one.body) for one in server.asked] == [("GET", "/send", b"")]


def test_the_test_of_a_connection_to_nobody_says_so(server: Loopback):
    with pytest.raises(CarrierError, match="No connection") as failed:
        Generic().test(credentials(send_url=closed_port()))

    assert not failed.value.uncertain
