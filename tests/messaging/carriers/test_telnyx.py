"""Telnyx, besides what holds for every carrier: its own library as an oracle, its lists, and what its hints say."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import telnyx

from messaging import outbox, reconciling
from messaging.carriers.base import (
    CarrierError,
    InboundText,
    ListedOptOut,
    ListedText,
    Media,
    NotUnderstood,
    OutboundText,
    Refused,
    StatusUpdate,
    WebhookRequest,
)
from messaging.carriers.telnyx import Telnyx
from messaging.models import Message, OptOut
from offices.credentials import Credentials
from tests.messaging.carriers.dialect import OURS, PAYLOADS, SENDER, Answer
from tests.messaging.carriers.dialects.telnyx import DIALECT, KEYS, OUT, public_key
from tests.messaging.carriers.loopback import Loopback
from tests.messaging.carriers.scene import scene

FILES = sorted(path.name for path in (PAYLOADS / "telnyx").iterdir() if path.name != "not_json.json")
ADDRESS = "https://portal.example.com/webhooks/telnyx/a/"
SINCE, UNTIL = datetime(2026, 11, 22, 3, 0, tzinfo=UTC), datetime(2026, 11, 23, 21, 30, tzinfo=UTC)
PUBLIC = DIALECT.secrets["public_key"]


def credentials(**more: str) -> Credentials:
    return Credentials(more, {name: [value] for name, value in DIALECT.secrets.items()})


def body(name: str) -> bytes:
    return (PAYLOADS / "telnyx" / name).read_bytes()


def signed(content: bytes, at: float | None = None, key: str = PUBLIC) -> dict[str, str]:
    seconds = str(int(time.time() if at is None else at))
    signature = KEYS[key].sign(f"{seconds}|".encode() + content)
    return {"Telnyx-Signature-Ed25519": base64.b64encode(signature).decode(), "Telnyx-Timestamp": seconds}


def posted(content: bytes, headers: dict[str, str] | None = None) -> WebhookRequest:
    return WebhookRequest("POST", ADDRESS, content, "application/json", signed(content) if headers is None else headers)


def taken_by_us(content: bytes, headers: dict[str, str]) -> bool:
    try:
        Telnyx().verify(credentials(), posted(content, headers))
    except Refused:
        return False
    return True


def taken_by_telnyxs_library(content: bytes, headers: dict[str, str]) -> bool:
    try:
        telnyx.Telnyx(api_key="x", public_key=PUBLIC).webhooks.unwrap(content.decode(), headers=headers)
    except ValueError:
        return False
    return True


# Who signed it


@pytest.mark.parametrize("name", FILES)
def test_telnyxs_own_library_takes_what_we_take_as_signed(name):
    content = body(name)

    assert taken_by_us(content, signed(content))
    assert taken_by_telnyxs_library(content, signed(content))


def flipped(signature: str) -> str:
    raw = base64.b64decode(signature)
    return base64.b64encode(bytes([raw[0] ^ 1, *raw[1:]])).decode()


FORGED: dict[str, Any] = {
    "another key": lambda content: (content, signed(content, key=public_key("stranger"))),
    "another body": lambda content: (content.replace(b"STOP", b"STOQ"), signed(content)),
    "a space added": lambda content: (content + b" ", signed(content)),
    "six minutes old": lambda content: (content, signed(content, time.time() - 360)),
    "six minutes ahead": lambda content: (content, signed(content, time.time() + 360)),
    "another time than signed": lambda content: (
        content,
        {**signed(content), "Telnyx-Timestamp": str(int(time.time()) - 1)},
    ),
    "one bit of the signature": lambda content: (
        content,
        {**signed(content), "Telnyx-Signature-Ed25519": flipped(signed(content)["Telnyx-Signature-Ed25519"])},
    ),
    "a signature cut short": lambda content: (
        content,
        {**signed(content), "Telnyx-Signature-Ed25519": base64.b64encode(b"x" * 63).decode()},
    ),
    "no base64": lambda content: (content, {**signed(content), "Telnyx-Signature-Ed25519": "☎" * 88}),
    "no signature": lambda content: (content, {"Telnyx-Timestamp": str(int(time.time()))}),
    "no time": lambda content: (content, {"Telnyx-Signature-Ed25519": "A" * 86 + "=="}),
    "the time is no number": lambda content: (content, {**signed(content), "Telnyx-Timestamp": "now"}),
}


@pytest.mark.parametrize("what", FORGED)
def test_what_telnyxs_own_library_refuses_we_refuse(what):
    content, headers = FORGED[what](body("sms_stop.json"))

    assert not taken_by_telnyxs_library(content, headers)
    assert not taken_by_us(content, headers)


def test_nearly_five_minutes_are_fresh_for_both():
    content = body("sms_stop.json")
    headers = signed(content, time.time() - 290)

    assert (taken_by_us(content, headers), taken_by_telnyxs_library(content, headers)) == (True, True)


@pytest.mark.parametrize("stored", ["", "no base64", base64.b64encode(b"short").decode(), "é"])
def test_a_public_key_that_is_none_fits_nothing_and_hinders_no_other(stored):
    content = body("sms_stop.json")
    alone = Credentials({}, {"public_key": [stored]})
    beside = Credentials({}, {"public_key": [stored, PUBLIC]})

    with pytest.raises(Refused):
        Telnyx().verify(alone, posted(content))

    Telnyx().verify(beside, posted(content))


# What it says


def parsed(name: str, **payload: Any) -> Any:
    document = json.loads(body(name))
    document["data"]["payload"] |= payload
    return list(Telnyx().parse(posted(json.dumps(document).encode())))


def test_media_are_told_with_their_type_and_size():
    (text,) = parsed("mms_two_media.json")

    assert [(one.content_type, one.size) for one in text.media] == [("image/jpeg", 102457), ("image/png", None)]
    assert all(one.url.startswith("https://media.telnyx.com/") for one in text.media)


@pytest.mark.parametrize(
    ("given", "keyword"),
    [
        ("STOP", "STOP"), ("stop", "STOP"), ("START", "UNSTOP"), ("UNSTOP", "UNSTOP"), ("HELP", "HELP"),
        # A word of the account's own: Telnyx has answered it, and what it means only the account knows.
        ("JOIN", ""),
    ],
)  # fmt: skip
def test_the_hint_says_that_telnyx_has_answered_and_what_it_understood(given, keyword):
    (text,) = parsed("sms.json", autoresponse_type=given)

    assert (text.carrier_replied, text.carrier_keyword) == (True, keyword)


@pytest.mark.parametrize("given", [None, "", False, {}])
def test_without_the_hint_telnyx_has_not_answered(given):
    (text,) = parsed("sms.json", autoresponse_type=given)

    assert (text.carrier_replied, text.carrier_keyword) == (False, "")


def test_the_time_is_when_telnyx_received_it_else_when_the_event_occurred():
    (received,) = parsed("sms.json")
    (occurred,) = parsed("sms.json", received_at=None)

    assert received.received_at == datetime(2026, 11, 23, 18, 10, 2, 574000, tzinfo=UTC)
    assert occurred.received_at == datetime(2026, 11, 23, 18, 10, 2, 881000, tzinfo=UTC)


def test_a_text_to_several_numbers_of_ours_is_one_for_each_and_the_first_keeps_the_id():
    to = [{"phone_number": OURS}, {"phone_number": "+12025550101"}, {"phone_number": OURS}]

    texts = parsed("sms_stop.json", to=to, id="t-1")

    assert [(text.to, text.message_id) for text in texts] == [(OURS, "t-1"), ("+12025550101", "t-1/+12025550101")]


def test_an_address_may_be_a_bare_text_as_other_channels_have_it():
    (text,) = parsed("sms_stop.json", to=OURS, **{"from": SENDER})

    assert (text.sender, text.to) == (SENDER, OURS)


@pytest.mark.parametrize("to", [[], None, {}, [{}], [{"agent_id": "a"}], [None], 7.5])
def test_a_text_to_nobody_is_not_understood(to):
    with pytest.raises(NotUnderstood):
        parsed("sms_stop.json", to=to)


def test_an_event_without_its_wrapping_is_read_as_well():
    event = json.loads(body("sms_stop.json"))["data"]

    (text,) = Telnyx().parse(posted(json.dumps(event).encode()))

    assert isinstance(text, InboundText)
    assert text.text == "STOP"


def test_a_status_tells_which_text_by_the_signed_address_and_not_by_the_one_that_was_called():
    content = body("status_delivered.json")
    request = WebhookRequest("POST", f"{ADDRESS}?text=999", content)

    (status,) = Telnyx().parse(request)

    assert status == StatusUpdate(OUT, "delivered", "delivered", False, "17")


@pytest.mark.parametrize("address", [None, "", 5, "https://[", "https://portal.example.com/webhooks/telnyx/a/?x=1"])
def test_a_status_without_that_address_names_no_text(address):
    (status,) = parsed("status_delivered.json", webhook_url=address)

    assert (status.message_id, status.reference) == (OUT, "")


def test_the_detail_of_a_failure_is_the_status_and_every_code():
    (status,) = parsed("status_opted_out_as_number.json")

    assert (status.detail, status.opted_out) == ("delivery_failed 40008 40300", True)


# Sending


def outbound(**more: Any) -> OutboundText:
    fields = {"sender": OURS, "to": SENDER, "text": "Hi", "reference": "17", "status_url": ADDRESS}
    return OutboundText(**{**fields, **more})


def test_what_is_handed_over(server: Loopback):
    server.will_answer(DIALECT.taken("t-1"))

    found = Telnyx().send(credentials(api_base=server.url), outbound(media=[Media("https://example.com/1.jpg?a=1&b")]))

    assert found == "t-1"
    assert json.loads(server.asked[0].body) == {
        "from": OURS,
        "to": SENDER,
        "text": "Hi",
        "media_urls": ["https://example.com/1.jpg?a=1&b"],
        "webhook_url": f"{ADDRESS}?text=17",
    }


def test_without_https_no_status_is_asked_for_and_the_profile_goes_along_where_it_is_set(server: Loopback):
    profile = "0f512bda-ae1e-4597-8e11-e5f5686b97d3"
    server.will_answer(DIALECT.taken("t-1"))

    Telnyx().send(
        credentials(api_base=server.url, messaging_profile_id=profile),
        outbound(status_url="http://127.0.0.1:8000/", text="", media=[Media("https://example.com/1.jpg")]),
    )

    assert json.loads(server.asked[0].body) == {
        "from": OURS,
        "to": SENDER,
        "media_urls": ["https://example.com/1.jpg"],
        "messaging_profile_id": profile,
    }


@pytest.mark.parametrize("code", ["40300", 40300])
def test_blocked_due_to_stop_is_an_opt_out_and_repeats_no_whole_number(server: Loopback, code):
    error = {"code": code, "title": "Blocked due to STOP message", "detail": f"Messages cannot be sent to '{SENDER}'."}
    server.will_answer(Answer.json(403, {"errors": [{"code": "10015"}, error]}))

    with pytest.raises(CarrierError) as raised:
        Telnyx().send(credentials(api_base=server.url), outbound())

    assert (raised.value.opted_out, raised.value.permanent, raised.value.is_trouble) == (True, True, False)
    assert "40300 Blocked due to STOP message" in str(raised.value)
    assert SENDER not in str(raised.value)


@pytest.mark.django_db
def test_an_uncertain_text_is_found_by_the_reference_that_telnyx_repeats(server: Loopback, settings):
    given = scene(DIALECT, api_base=server.url)
    server.will_answer("cut")
    message = outbox.accept(given.number, SENDER, "Hello")
    outbox.hand_over_due()
    message.refresh_from_db()
    uncertain = (message.state, message.carrier_message_id)
    address = json.loads(server.asked[0].body)["webhook_url"]

    document = json.loads(body("status_delivered.json"))
    document["data"]["payload"]["webhook_url"] = address
    case = next(case for case in DIALECT.cases if case.file == "status_delivered.json")
    answer = given.deliver(given.posted(case, json.dumps(document).encode()), f"{given.path}?{urlsplit(address).query}")

    assert answer.status_code == 200
    message.refresh_from_db()
    assert uncertain == ("uncertain", "")
    assert (message.state, message.carrier_message_id) == ("delivered", OUT)


# Its lists


def record(uuid: str, **more: Any) -> dict[str, Any]:
    return {
        "record_type": "message_detail_record", "uuid": uuid, "direction": "inbound", "cli": SENDER, "cld": OURS,
        "created_at": "2026-11-23T18:10:02Z", "completed_at": "2026-11-23T18:10:03Z", "status": "received",
        "errors": [], "message_type": "SMS", "on_net": False, "parts": 1, "delivery_status": "webhook failed",
        "profile_id": "0f512bda-ae1e-4597-8e11-e5f5686b97d3", **more,
    }  # fmt: skip


def page(entries: list[Any], number: int = 1, total: int = 1) -> Answer:
    return Answer.json(200, {"data": entries, "meta": {"page_number": number, "total_pages": total}})


def listed(server: Loopback, **settings: str) -> list[ListedText | ListedOptOut]:
    return list(Telnyx().listed(credentials(api_base=server.url, **settings), SINCE, UNTIL))


def test_every_page_of_the_records_is_read(server: Loopback):
    sent = record("u-3", direction="outbound", cli=OURS, cld=SENDER, status="failed", errors=["40300"])
    server.will_answer(
        page([record("u-1"), record("u-2")], 1, 2),
        page([sent], 2, 2),
        page([]),
    )

    found = listed(server)

    at = datetime(2026, 11, 23, 18, 10, 2, tzinfo=UTC)
    assert found == [
        ListedText("u-1", True, SENDER, OURS, at, None, detail="received"),
        ListedText("u-2", True, SENDER, OURS, at, None, detail="received"),
        ListedText("u-3", False, OURS, SENDER, at, None, state="failed", detail="failed 40300", opted_out=True),
    ]
    paths = [urlsplit(asked.path).path for asked in server.asked]
    assert paths == ["/detail_records", "/detail_records", "/messaging_optouts"]
    assert all(asked.headers["Authorization"] == "Bearer KEYmadeup_telnyx" for asked in server.asked)
    assert parse_qs(urlsplit(server.asked[0].path).query) == {
        "filter[record_type]": ["messaging"],
        "filter[created_at][gte]": ["2026-11-22"],
        "filter[created_at][lt]": ["2026-11-24"],
        "sort": ["created_at"],
        "page[number]": ["1"],
        "page[size]": ["50"],
    }


@pytest.mark.parametrize(
    "other",
    [
        record("u-1", created_at="2026-11-22T02:59:59Z"),
        record("u-1", created_at="2026-11-23T21:30:01Z"),
        record("u-1", created_at=None),
        record(""),
        None,
        "x",
    ],
)
def test_a_record_of_another_moment_or_without_an_id_is_left_out(server: Loopback, other):
    server.will_answer(page([other]), page([]))

    assert listed(server) == []
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer.json(200, {"data": {"id": "u-1", "text": "STOP", "direction": "inbound"}}), "STOP"),
        (Answer.json(200, {"data": {"text": None, "media": [{"url": "https://x.example/1"}]}}), ""),
        (Answer.json(200, {"data": {"text": None}}), None),
        (Answer.json(404, {"errors": [{"code": "10005", "title": "Resource not found"}]}), None),
    ],
)
def test_the_words_of_a_listed_text_are_asked_for_by_its_id(server: Loopback, answer: Answer, words: str | None):
    server.will_answer(answer)

    assert Telnyx().words(credentials(api_base=server.url), "u-1") == words
    assert [urlsplit(asked.path).path for asked in server.asked] == ["/messages/u-1"]


def test_everybody_who_is_blocked_is_listed_since_whenever_and_unmasked(server: Loopback):
    old = {"from": OURS, "to": SENDER, "keyword": "STOP", "created_at": "2024-02-29T12:00:00Z"}
    bare = {"from": None, "to": "+12025550144", "keyword": None, "created_at": None}
    server.will_answer(page([]), page([old, {"from": OURS}], 1, 2), page([bare], 2, 2))

    found = listed(server, messaging_profile_id="0f512bda-ae1e-4597-8e11-e5f5686b97d3")

    assert found == [
        ListedOptOut(SENDER, OURS, datetime(2024, 2, 29, 12, tzinfo=UTC), "opted out at Telnyx STOP"),
        ListedOptOut("+12025550144", "", None, "opted out at Telnyx"),
    ]
    query = dict(parse_qsl(urlsplit(server.asked[1].path).query))
    assert query["redaction_enabled"] == "false"
    assert query["filter[messaging_profile_id]"] == "0f512bda-ae1e-4597-8e11-e5f5686b97d3"


@pytest.mark.parametrize("broken", [Answer.json(500, {}), Answer.json(429, {}), Answer.json(401, {}), "hang", "cut"])
def test_a_list_that_breaks_off_says_so_and_what_came_before_is_true(server: Loopback, settings, broken):
    settings.CARRIER_TIMEOUT = 0.3
    server.will_answer(page([record("u-1")], 1, 2), broken)
    entries = Telnyx().listed(credentials(api_base=server.url), SINCE, UNTIL)

    first = next(entries)
    with pytest.raises(CarrierError) as raised:
        next(entries)

    assert isinstance(first, ListedText)
    assert (raised.value.uncertain, raised.value.is_trouble) == (False, True)


def test_an_address_in_an_answer_is_followed_nowhere(server: Loopback):
    server.will_answer(
        Answer.json(200, {"data": [], "meta": {"total_pages": 9, "next": "http://127.0.0.1:9/"}}), page([])
    )

    assert listed(server) == []
    assert [urlsplit(asked.path).path for asked in server.asked] == ["/detail_records", "/messaging_optouts"]


@pytest.mark.django_db
def test_a_stop_whose_webhook_never_came_and_an_opt_out_at_telnyx_are_taken_over(server: Loopback):
    given = scene(DIALECT, api_base=server.url)
    other = "+12025550144"
    opted_out = {"from": OURS, "to": other, "keyword": "STOP", "created_at": "2026-11-01T12:00:00Z"}
    server.will_answer(
        page([record("u-1")]), page([opted_out, opted_out]), Answer.json(200, {"data": {"text": "STOP"}})
    )

    found = reconciling.reconcile(given.account, SINCE, UNTIL)

    assert (found.taken_in, found.opted_out) == (1, 1)
    assert Message.objects.get(direction="in").carrier_message_id == "u-1"
    blocked = {one.recipient.e164: one.is_carrier for one in OptOut.objects.select_related("recipient")}
    assert blocked == {SENDER: False, other: True}


# The button


def test_the_connection_is_tested_by_a_look_that_costs_nothing(server: Loopback):
    server.will_answer(Answer.json(200, {"data": [{}], "meta": {"total_results": 3}}))

    said = Telnyx().test(credentials(api_base=server.url))

    assert "Messaging profiles there: 3" in said
    assert [(asked.method, urlsplit(asked.path).path) for asked in server.asked] == [("GET", "/messaging_profiles")]


def test_with_a_profile_set_the_test_looks_whether_it_is_there(server: Loopback):
    profile = "0f512bda-ae1e-4597-8e11-e5f5686b97d3"
    server.will_answer(
        Answer.json(200, {"data": {"name": "Office"}}), Answer.json(404, {"errors": [{"code": "10005"}]})
    )

    said = Telnyx().test(credentials(api_base=server.url, messaging_profile_id=profile))
    with pytest.raises(CarrierError, match="10005"):
        Telnyx().test(credentials(api_base=server.url, messaging_profile_id=profile))

    assert "“Office”" in said
    assert server.asked[0].path.rstrip("?") == f"/messaging_profiles/{profile}"


def test_a_wrong_key_is_called_by_its_name(server: Loopback):
    server.will_answer(DIALECT.locked_out())

    with pytest.raises(CarrierError, match="does not know the API key") as raised:
        Telnyx().test(credentials(api_base=server.url))

    assert raised.value.is_trouble
