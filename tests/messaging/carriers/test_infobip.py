"""Infobip, besides what holds for every carrier: many results in one request, its HMAC, rejections in a 200."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest

from messaging.carriers.base import CarrierError, Media, OutboundText, Refused, WebhookRequest
from messaging.carriers.infobip import ALGORITHMS, Infobip
from messaging.models import ConsentEvent, Message, OptOut, WebhookReceipt
from offices.credentials import Credentials
from tests.messaging.carriers.dialect import OURS, PAYLOADS, SENDER, Answer
from tests.messaging.carriers.dialects.infobip import DIALECT, OUT
from tests.messaging.carriers.loopback import Loopback
from tests.messaging.carriers.scene import scene

ADDRESS = "https://portal.example.com/webhooks/infobip/a/"
SECRET = "infobip-secret-key"


def body(name: str) -> bytes:
    return (PAYLOADS / "infobip" / name).read_bytes()


def results(*names: str) -> list[Any]:
    return [result for name in names for result in json.loads(body(name))["results"]]


STOP = body("sms_stop.json")


def credentials(**more: str) -> Credentials:
    return Credentials({**DIALECT.settings, **more}, {name: [secret] for name, secret in DIALECT.secrets.items()})


# The HMAC: neither its header nor its form is settled


def by_hmac(**settings: str) -> Credentials:
    settings = {**DIALECT.settings, "hmac_header": "X-Signature", "hmac_algorithm": "sha256", **settings}
    return Credentials(
        settings, {"hmac_secret": [SECRET, "an older one"], "webhook_password": ["long random password"]}
    )


def taken(content: bytes, headers: dict[str, str], by: Credentials) -> bool:
    try:
        Infobip().verify(by, WebhookRequest("POST", ADDRESS, content, "application/json", headers))
    except Refused:
        return False
    return True


@pytest.mark.parametrize("algorithm", [name for name, _ in ALGORITHMS])
@pytest.mark.parametrize("secret", [SECRET, "an older one"])
def test_an_hmac_over_the_body_is_taken_in_each_way_that_it_may_be_written(algorithm, secret):
    account = by_hmac(hmac_algorithm=algorithm)
    digest = hmac.digest(secret.encode(), STOP, algorithm)
    ways = [digest.hex(), digest.hex().upper(), base64.b64encode(digest).decode(), f"{algorithm}={digest.hex()}"]

    for way in ways:
        assert taken(STOP, {"x-signature": way}, account)
        assert not taken(STOP.replace(b"STOP", b"STOQ"), {"x-signature": way}, account)
        assert not taken(STOP, {"x-other": way}, account)
        assert not taken(STOP, {"x-signature": way[:-2]}, account)


def test_only_the_algorithm_that_the_account_names_is_taken():
    digests = {name: hmac.digest(SECRET.encode(), STOP, name).hex() for name, _ in ALGORITHMS}

    fits = {
        (account, signed)
        for account in digests
        for signed in digests
        if taken(STOP, {"X-Signature": digests[signed]}, by_hmac(hmac_algorithm=account))
    }

    assert fits == {(name, name) for name in digests}


def test_an_account_that_does_not_say_how_it_is_signed_takes_nothing():
    signed = {"X-Signature": hmac.digest(SECRET.encode(), STOP, "sha256").hex()}

    assert taken(STOP, signed, by_hmac(hmac_algorithm=""))
    assert not taken(STOP, signed, by_hmac(hmac_algorithm="shake_128"))
    assert not taken(STOP, signed, by_hmac(hmac_header=""))


def test_a_profile_that_signs_is_not_taken_unsigned_whatever_the_password():
    encoded = base64.b64encode(b"infobip:long random password").decode()
    sign_in = {"Authorization": f"Basic {encoded}"}

    assert taken(STOP, sign_in, credentials())
    assert not taken(STOP, sign_in, by_hmac())
    assert not taken(STOP, {"X-Signature": "é☎", **sign_in}, by_hmac())


# Many results in one request


def deliver(found: list[Any]) -> Any:
    given = scene(DIALECT)
    given.our_text(OUT)
    content = json.dumps({"results": found, "messageCount": len(found), "pendingMessageCount": 0}).encode()
    return given.deliver(given.posted(DIALECT.cases[0], content)), content


@pytest.mark.django_db
def test_of_a_hundred_results_each_one_counts():
    stop = results("sms_stop.json")[0]
    found = [
        {**stop, "messageId": f"m-{n}", "from": f"1202555{n:04}", "text": "STOP" if n % 2 else "Thanks"}
        for n in range(100, 200)
    ]

    answer, _ = deliver([one for one in found if one["from"] != OURS[1:]])

    assert answer.status_code == 200
    assert Message.objects.filter(direction="in").count() == 99
    assert OptOut.objects.count() == 50
    assert WebhookReceipt.objects.get().status == "understood"


MALFORMED: list[Any] = [
    None,
    "STOP",
    [],
    {},
    {"messageId": "m-1", "from": SENDER, "text": "STOP"},
    {"messageId": "m-1", "to": OURS, "text": "STOP"},
    {"from": SENDER, "to": OURS, "text": "STOP"},
    *results("whatsapp.json", "sms_to_a_number_of_nobody.json", "status_without_id.json"),
]


@pytest.mark.parametrize("bad", MALFORMED)
@pytest.mark.django_db
def test_one_result_that_makes_no_sense_takes_none_of_the_others_with_it_and_is_kept(bad):
    answer, content = deliver([*results("sms.json"), bad, *results("sms_stop.json", "status_delivered.json")])

    assert answer.status_code == 422
    assert list(Message.objects.filter(direction="in").values_list("text", "outcome").order_by("text")) == [
        ("STOP", "opted_out"),
        ("See you at nine!", "conversation"),
    ]
    assert Message.objects.get(carrier_message_id=OUT).state == "delivered"
    receipt = WebhookReceipt.objects.get()
    assert (bytes(receipt.body), receipt.status) == (content, "not_understood")
    assert receipt.error


@pytest.mark.django_db
def test_a_report_among_many_that_says_opted_out_blocks_that_number():
    deliver(results("status_pending.json", "status_opted_out_603.json", "status_delivered.json"))

    assert Message.objects.get(carrier_message_id=OUT).state == "failed"
    assert ConsentEvent.objects.get(kind="carrier").recipient_e164 == SENDER


@pytest.mark.django_db
def test_a_text_whose_hand_over_was_cut_off_is_found_by_our_reference():
    given = scene(DIALECT)
    ours = given.our_text("")
    Message.objects.filter(pk=ours.pk).update(state="uncertain")
    (report,) = results("status_delivered.json")
    content = json.dumps({"results": [{**report, "callbackData": str(ours.pk)}]}).encode()

    assert given.deliver(given.posted(DIALECT.cases[0], content)).status_code == 200

    ours.refresh_from_db()
    assert (ours.state, ours.carrier_message_id) == ("delivered", OUT)


def test_files_are_listed_with_their_types_and_the_layout_is_none():
    (text,) = Infobip().parse(WebhookRequest("POST", ADDRESS, body("mms_two_media.json")))

    assert [(one.url[-2:], one.content_type) for one in text.media] == [("1a", "image/jpeg"), ("2b", "image/png")]
    assert text.received_at.isoformat() == "2026-11-23T18:30:00.220000+00:00"


# Sending


def text(*media: Media, words: str = "Your order is ready.") -> OutboundText:
    return OutboundText(OURS, SENDER, words, "17", ADDRESS, media)


def handed_over(server: Loopback, given: OutboundText) -> tuple[str, Any]:
    server.will_answer(DIALECT.taken(OUT))
    assert Infobip().send(credentials(api_base=server.url), given) == OUT
    (message,) = json.loads(server.asked[-1].body)["messages"]
    return server.asked[-1].path, message


def test_a_text_leaves_with_our_reference_and_no_address_of_its_own(server: Loopback):
    """A report to such an address would come without the profile's name and password, and be refused."""
    assert handed_over(server, text()) == (
        "/sms/3/messages",
        {
            "sender": "12025550100",
            "destinations": [{"to": "12025550143"}],
            "content": {"text": "Your order is ready."},
            "webhooks": {"callbackData": "17"},
        },
    )
    assert server.asked[0].headers["Authorization"] == "App infobip-api-key"


def test_an_mms_leaves_with_its_files_as_links(server: Loopback):
    image, other = Media("https://example.com/a.png", "image/png"), Media("https://example.com/b")

    path, message = handed_over(server, text(image, other))
    _, without_words = handed_over(server, text(image, words=""))

    assert path == "/mms/2/messages"
    link = {"type": "LINK", "contentUrl": image.url, "contentType": "image/png"}
    assert message["content"]["messageSegments"] == [
        {"type": "TEXT", "text": "Your order is ready."},
        link,
        {"type": "LINK", "contentUrl": other.url},
    ]
    assert without_words["content"]["messageSegments"] == [link]


@pytest.mark.parametrize(
    ("answer", "permanent", "is_trouble"),
    [
        (DIALECT.said("REJECTED", 8, "REJECTED_PREFIX_MISSING"), True, False),
        (DIALECT.said("REJECTED", 14, "REJECTED_DESTINATION_BLOCKLISTED"), True, False),
        (DIALECT.said("UNDELIVERABLE", 31, "UNDELIVERABLE_NOT_SENT"), True, False),
        (DIALECT.said("REJECTED", 12, "REJECTED_NOT_ENOUGH_CREDITS"), False, True),
        (DIALECT.said("REJECTED", 17, "REJECTED_PREPAID_PACKAGE_EXPIRED"), False, True),
        (DIALECT.said("REJECTED", 19, "REJECTED_ROUTE_NOT_AVAILABLE"), False, True),
        (DIALECT.said("REJECTED", 21, "REJECTED_SYSTEM_ERROR"), False, True),
        # Too many texts to this one number within the hour: later it may go, and others may go now.
        (DIALECT.said("REJECTED", 20, "REJECTED_FLOODING_FILTER"), False, False),
        (DIALECT.locked_out(), False, True),
        (DIALECT.senseless(), True, False),
        (Answer(400, b"no JSON"), True, False),
    ],
)
def test_each_refusal_means_what_infobip_says_it_means_also_with_a_200(server: Loopback, answer, permanent, is_trouble):
    server.will_answer(answer)

    with pytest.raises(CarrierError) as raised:
        Infobip().send(credentials(api_base=server.url), text())

    error = raised.value
    assert (error.permanent, error.is_trouble) == (permanent, is_trouble)
    assert not error.opted_out
    assert not error.uncertain


@pytest.mark.parametrize(
    "answer",
    [Answer(200, b""), Answer.json(200, {}), Answer.json(200, {"messages": []}), DIALECT.said("PENDING", 26, "", "")],
)
def test_a_text_taken_without_an_id_is_uncertain_and_not_sent_again(server: Loopback, answer):
    server.will_answer(answer)

    with pytest.raises(CarrierError) as raised:
        Infobip().send(credentials(api_base=server.url), text())

    assert raised.value.uncertain


def test_an_account_without_its_address_says_what_is_missing():
    with pytest.raises(CarrierError, match="API base URL") as raised:
        Infobip().send(Credentials({}, {"api_key": ["k"]}), text())

    assert raised.value.permanent


# The button “test this connection”


def test_the_connection_is_tested_by_asking_for_the_balance(server: Loopback):
    server.will_answer(Answer.json(200, {"balance": 47.79134, "currency": "EUR"}))

    said = Infobip().test(credentials(api_base=server.url + "/"))

    assert "47.79 EUR" in said
    assert [(asked.method, asked.path) for asked in server.asked] == [("GET", "/account/1/balance")]


@pytest.mark.parametrize(("status", "sentence"), [(401, "API key"), (404, "API base URL"), (503, "balance")])
def test_a_test_that_fails_says_how_to_mend_it(server: Loopback, status, sentence):
    server.will_answer(Answer(status, b""))

    with pytest.raises(CarrierError, match=sentence):
        Infobip().test(credentials(api_base=server.url))
