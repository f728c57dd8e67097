"""Vonage's Messages API, besides what holds for every carrier: its own library as an oracle, what it may leave out."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest
from vonage_jwt import VonageVerifyJwtError, verify_signature

from messaging import outbox
from messaging.carriers.base import CarrierError, InboundText, Media, OutboundText, Refused, WebhookRequest
from messaging.carriers.vonage import Vonage
from messaging.models import Message, OptOut
from offices.credentials import Credentials
from tests.messaging.api_calls import count_stored
from tests.messaging.carriers.dialect import OURS, PAYLOADS, SENDER, Answer, Posted
from tests.messaging.carriers.dialects.vonage import DIALECT, KEY, OUT, bearer, token
from tests.messaging.carriers.loopback import Loopback
from tests.messaging.carriers.scene import scene

FILES = sorted(path.name for path in (PAYLOADS / "vonage").iterdir())
ADDRESS = "https://portal.example.com/webhooks/vonage/a/"
SECRET = DIALECT.secrets["signature_secret"]
HOUR = 3600


def body(name: str) -> bytes:
    return (PAYLOADS / "vonage" / name).read_bytes()


STOP = body("sms_stop.json")


def credentials(**settings: str) -> Credentials:
    return Credentials({**DIALECT.settings, **settings}, {name: [secret] for name, secret in DIALECT.secrets.items()})


def taken(content: bytes, header: str) -> bool:
    try:
        Vonage().verify(credentials(), WebhookRequest("POST", ADDRESS, content, headers={"authorization": header}))
    except Refused:
        return False
    return True


def read(name: str) -> Any:
    (event,) = Vonage().parse(WebhookRequest("POST", ADDRESS, body(name)))
    return event


# What is genuine


@pytest.mark.parametrize("name", FILES)
def test_vonages_library_and_ours_take_each_payload_that_is_signed_and_none_with_another_secret(name):
    content = body(name)
    genuine, forged = (bearer(content, secret, time.time()) for secret in (SECRET, "another secret of 32 letters ...."))

    assert taken(content, genuine)
    assert verify_signature(genuine.removeprefix("Bearer "), SECRET)
    assert not taken(content, forged)
    assert not verify_signature(forged.removeprefix("Bearer "), SECRET)


def test_what_the_library_beneath_vonages_signs_is_taken():
    signed = bearer(STOP, SECRET, time.time()).removeprefix("Bearer ")
    claims = jwt.decode(signed, SECRET, algorithms=["HS256"])

    theirs = jwt.encode(claims, SECRET, algorithm="HS256")

    assert verify_signature(theirs, SECRET)
    assert taken(STOP, f"Bearer {theirs}")
    assert taken(STOP, f"bearer  {theirs}")


LAXER = {
    # Vonage calls the check of the body optional behind HTTPS; without it one token would sign any text for ever.
    "over another body": bearer(body("sms.json"), SECRET, time.time()),
    "without a hash of the body": bearer(STOP, SECRET, time.time(), payload_hash=None),
    "with a hash that is none": bearer(STOP, SECRET, time.time(), payload_hash=["a"]),
    # The secret is an account's, and the claim says which: theirs has no account to compare it with.
    "of another API key": bearer(STOP, SECRET, time.time(), api_key="dcba4321"),
    "of no API key": bearer(STOP, SECRET, time.time(), api_key=None),
    # Theirs looks at no age at all.
    "older than any retry": bearer(STOP, SECRET, time.time() - 26 * HOUR),
    "without a time": f"Bearer {token(SECRET, api_key=KEY)}",
}


@pytest.mark.parametrize("header", LAXER.values(), ids=LAXER)
def test_vonages_library_says_yes_to_these_and_ours_no(header):
    assert verify_signature(header.removeprefix("Bearer "), SECRET)
    assert not taken(STOP, header)


STRICTER = {
    # Vonage's webhooks have no end by their claims; if one had, a STOP that came late would still be a STOP.
    "with an end that is over": lambda now: bearer(STOP, SECRET, now, exp=int(now) - 60),
    # Two clocks may differ.
    "a minute ahead": lambda now: bearer(STOP, SECRET, now + 60),
}


@pytest.mark.parametrize("made", STRICTER.values(), ids=STRICTER)
def test_vonages_library_says_no_to_these_and_ours_yes(made):
    header = made(time.time())

    with pytest.raises(VonageVerifyJwtError):
        verify_signature(header.removeprefix("Bearer "), SECRET)
    assert taken(STOP, header)


CLAIMS = jwt.decode(bearer(STOP, SECRET, time.time()).removeprefix("Bearer "), SECRET, algorithms=["HS256"])
NO_TOKENS = {
    "signed by nothing": jwt.encode(CLAIMS, "", algorithm="none"),
    "with a longer hash than is agreed": jwt.encode(CLAIMS, SECRET, algorithm="HS512"),
    "a list for claims": jwt.api_jws.encode(b"[]", SECRET, algorithm="HS256"),
    "no JSON for claims": jwt.api_jws.encode(b"{", SECRET, algorithm="HS256"),
    "two parts": "a.b",
    "nothing": "",
}


@pytest.mark.parametrize("bad", NO_TOKENS.values(), ids=NO_TOKENS)
def test_what_is_no_token_of_vonages_is_refused(bad):
    assert not taken(STOP, f"Bearer {bad}")


@pytest.mark.parametrize(("hours", "is_taken"), [(0, True), (1, True), (24, True), (26, False)])
@pytest.mark.django_db
def test_a_stop_counts_as_long_as_vonage_comes_again(hours, is_taken):
    """For 24 hours; whether each attempt is signed anew is not said."""
    given = scene(DIALECT)
    header = bearer(STOP, SECRET, time.time() - hours * HOUR)

    answers = [given.deliver(Posted(STOP, "application/json", {"Authorization": header})) for _ in range(2)]

    assert [answer.status_code for answer in answers] == ([200, 200] if is_taken else [403, 403])
    assert OptOut.objects.count() == is_taken


@pytest.mark.behaviour("N5")
@pytest.mark.django_db
def test_a_stop_that_came_without_its_signature_is_asked_for_again_and_counts_when_it_comes():
    given = scene(DIALECT)

    first = given.deliver(Posted(STOP, "application/json"))
    stored = count_stored()
    again = given.deliver(Posted(STOP, "application/json", {"Authorization": bearer(STOP, SECRET, time.time())}))

    assert (first.status_code, again.status_code) == (503, 200)
    assert set(stored.values()) == {0}
    assert OptOut.objects.count() == 1


# What it says


def test_the_kind_of_a_file_is_told_by_its_name_or_by_vonages_word_for_it():
    kinds = {
        name: [one.content_type for one in read(f"mms_{name}.json").media]
        for name in ("image", "two_media", "audio", "video", "file", "vcard")
    }

    assert kinds == {
        "image": ["image"],
        "two_media": ["image/jpeg", "video/mp4"],
        "audio": ["audio/mpeg"],
        "video": ["video/mp4"],
        "file": ["application/pdf"],
        "vcard": ["text/vcard"],
    }


def test_a_text_is_read_to_the_letter_with_its_time():
    text = read("sms_long.json")

    assert isinstance(text, InboundText)
    assert (text.sender, text.to) == (SENDER, OURS)
    assert text.received_at is not None
    assert text.received_at.isoformat() == "2026-11-23T18:30:00+00:00"
    assert (text.carrier_replied, text.carrier_keyword, text.part) == (False, "", None)


@pytest.mark.django_db
def test_a_text_whose_hand_over_was_cut_off_is_found_by_our_reference():
    given = scene(DIALECT)
    ours = given.our_text("")
    Message.objects.filter(pk=ours.pk).update(state="uncertain")
    content = json.dumps({**json.loads(body("status_delivered.json")), "client_ref": str(ours.pk)}).encode()

    answer = given.deliver(Posted(content, "application/json", {"Authorization": bearer(content, SECRET, time.time())}))

    assert answer.status_code == 200
    ours.refresh_from_db()
    assert (ours.state, ours.carrier_message_id) == ("delivered", OUT)


# Sending


def text(*media: Media, words: str = "Your order is ready.", status_url: str = ADDRESS) -> OutboundText:
    return OutboundText(OURS, SENDER, words, "17", status_url, media)


def test_a_text_leaves_with_our_reference_and_the_address_for_its_statuses(server: Loopback):
    server.will_answer(DIALECT.taken(OUT))

    found = Vonage().send(credentials(api_base=server.url), text())

    assert found == OUT
    (asked,) = server.asked
    assert json.loads(asked.body) == {
        "message_type": "text",
        "channel": "sms",
        "from": "12025550100",
        "to": "12025550143",
        "text": "Your order is ready.",
        "client_ref": "17",
        "webhook_url": ADDRESS,
        "webhook_version": "v1",
    }
    assert asked.headers["Authorization"].startswith("Basic ")


IMAGE, PDF, CARD = "https://example.com/a.png", "https://example.com/b.pdf", "https://example.com/c"


@pytest.mark.parametrize(
    ("given", "content"),
    [
        (text(Media(IMAGE, "image/png")), {"image": {"url": IMAGE, "caption": "Your order is ready."}}),
        (text(Media(IMAGE), words=""), {"image": {"url": IMAGE}}),
        (text(Media(PDF), words=""), {"file": {"url": PDF}}),
        (text(Media(CARD, "text/vcard"), words=""), {"vcard": {"url": CARD}}),
        (
            text(Media(IMAGE), Media(PDF, "application/pdf")),
            {
                "content": [
                    {"type": "image", "url": IMAGE, "caption": "Your order is ready."},
                    {"type": "file", "url": PDF},
                ]
            },
        ),
    ],
)
def test_an_mms_leaves_as_what_its_files_are(server: Loopback, given, content):
    server.will_answer(DIALECT.taken(OUT))

    Vonage().send(credentials(api_base=server.url), given)

    document = json.loads(server.asked[0].body)
    assert document["channel"] == "mms"
    (kind,) = content
    assert (document["message_type"], document[kind]) == (kind, content[kind])
    assert "text" not in document


def test_an_address_that_vonage_could_not_reach_safely_is_not_given(server: Loopback):
    server.will_answer(DIALECT.taken(OUT))

    Vonage().send(credentials(api_base=server.url), text(status_url="http://127.0.0.1/webhooks/vonage/a/"))

    assert "webhook_url" not in json.loads(server.asked[0].body)


LOW_BALANCE = {"type": "https://developer.nexmo.com/api-errors/#low-balance", "title": "Low balance", "detail": "…"}


@pytest.mark.parametrize(
    ("answer", "permanent", "opted_out", "is_trouble"),
    [
        (DIALECT.problem(403, "1240", "Illegal Number"), True, True, False),
        (Answer.json(422, {"type": "https://x/messages#1240", "title": "Illegal Number"}), True, True, False),
        (Answer.json(422, {"title": 1240}), True, True, False),
        (DIALECT.problem(422, "1000", "Throttled"), False, False, True),
        (DIALECT.problem(429, "1000", "Throttled"), False, False, True),
        (DIALECT.problem(422, "1070", "Partner quota exceeded"), False, False, True),
        (Answer.json(402, LOW_BALANCE), False, False, True),
        (DIALECT.problem(422, "1020", "Invalid params"), True, False, False),
        (DIALECT.problem(422, "1120", "Illegal sender address"), True, False, False),
        (Answer(400, b"no JSON"), True, False, False),
    ],
)
def test_each_refusal_means_what_vonage_says_it_means(server: Loopback, answer, permanent, opted_out, is_trouble):
    server.will_answer(answer)

    with pytest.raises(CarrierError) as raised:
        Vonage().send(credentials(api_base=server.url), text())

    error = raised.value
    assert (error.permanent, error.opted_out, error.is_trouble) == (permanent, opted_out, is_trouble)
    assert not error.uncertain


@pytest.mark.parametrize("answer", [Answer.json(202, {}), Answer(202, b""), Answer.json(202, ["a"])])
def test_a_text_taken_without_an_id_is_uncertain_and_not_sent_again(server: Loopback, answer):
    server.will_answer(answer)

    with pytest.raises(CarrierError) as raised:
        Vonage().send(credentials(api_base=server.url), text())

    assert raised.value.uncertain


# The button “test this connection”


def test_the_connection_is_tested_by_asking_for_the_balance(server: Loopback):
    server.will_answer(Answer.json(200, {"value": 10.28, "autoReload": False}))

    said = Vonage().test(credentials(api_base=server.url))

    assert "10.28 EUR" in said
    assert [(asked.method, asked.path, asked.body) for asked in server.asked] == [("GET", "/account/get-balance", b"")]
    assert all(secret not in said for secret in DIALECT.secrets.values())


@pytest.mark.parametrize(("status", "sentence"), [(401, "API key or secret"), (500, "Try again later")])
def test_a_test_that_fails_says_how_to_mend_it(server: Loopback, status, sentence):
    server.will_answer(Answer(status, b""))

    with pytest.raises(CarrierError, match=sentence):
        Vonage().test(credentials(api_base=server.url))


@pytest.mark.django_db
def test_what_leaves_by_the_worker_is_known_by_vonages_id(server: Loopback):
    given = scene(DIALECT, api_base=server.url)
    server.will_answer(DIALECT.taken(OUT))
    message = outbox.accept(given.number, SENDER, "Your order is ready.")

    outbox.hand_over_due()

    message.refresh_from_db()
    assert (message.state, message.carrier_message_id) == ("sent", OUT)
    assert json.loads(server.asked[0].body)["client_ref"] == str(message.pk)
