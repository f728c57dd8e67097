"""Bandwidth, besides what holds for every carrier: several events at a time, signing in by OAuth, and its list."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from messaging import outbox, reconciling
from messaging.carriers import bandwidth
from messaging.carriers.bandwidth import Bandwidth
from messaging.carriers.base import (
    CarrierError,
    InboundText,
    ListedText,
    Media,
    NotUnderstood,
    OutboundText,
    Refused,
    StatusUpdate,
    Unread,
    WebhookRequest,
)
from messaging.models import Message, OptOut, WebhookReceipt
from offices.credentials import Credentials
from tests.messaging.carriers.dialect import OURS, PAYLOADS, SENDER, Answer
from tests.messaging.carriers.dialects.bandwidth import DIALECT, OUT
from tests.messaging.carriers.loopback import Loopback
from tests.messaging.carriers.scene import Scene, a_stop, scene

SINCE, UNTIL = datetime(2026, 11, 22, 3, 0, tzinfo=UTC), datetime(2026, 11, 23, 21, 30, tzinfo=UTC)
ADDRESS = "https://portal.example.com/webhooks/bandwidth/a/"


def credentials(**more: str) -> Credentials:
    return Credentials({**DIALECT.settings, **more}, {name: [value] for name, value in DIALECT.secrets.items()})


def by_client(server: Loopback, secret: str = "client-secret") -> Credentials:
    settings = {**DIALECT.settings, "client_id": "client-1", "api_base": server.url}
    return Credentials(settings, {"client_secret": [secret], "webhook_password": ["x"]})


@pytest.fixture(autouse=True)
def _no_tokens() -> None:
    bandwidth._tokens.clear()


def event(name: str) -> dict[str, Any]:
    (found,) = json.loads((PAYLOADS / "bandwidth" / name).read_bytes())
    return dict(found)


def parsed(*events: Any) -> list[Any]:
    return list(Bandwidth().parse(WebhookRequest("POST", ADDRESS, json.dumps(events).encode())))


def deliver(given: Scene, *events: Any) -> Any:
    return given.deliver(given.posted(a_stop(DIALECT), json.dumps(events).encode()))


# Several events at a time


@pytest.mark.django_db
def test_one_element_that_makes_no_sense_does_not_take_the_others_with_it():
    given = scene(DIALECT)
    ours = given.our_text(OUT)

    answer = deliver(given, event("status_delivered.json"), None, event("sms_stop.json"), {"type": "message-received"})

    # Not success, so Bandwidth comes again; and the request waits for the operator.
    assert answer.status_code == 422
    assert Message.objects.get(direction="in").outcome == "opted_out"
    ours.refresh_from_db()
    assert ours.state == "delivered"
    assert WebhookReceipt.objects.get().status == "not_understood"


@pytest.mark.django_db
def test_the_same_array_again_is_the_same_text_and_the_same_status():
    given = scene(DIALECT)
    ours = given.our_text(OUT)
    events = [event("sms_stop.json"), event("status_delivered.json"), event("sms_help.json")]

    answers = [deliver(given, *events).status_code for _ in range(3)]

    assert answers == [200, 200, 200]
    assert sorted(Message.objects.filter(direction="in").values_list("outcome", flat=True)) == ["help", "opted_out"]
    assert OptOut.objects.count() == 1
    ours.refresh_from_db()
    assert ours.state == "delivered"


def test_elements_come_in_order_and_those_without_sense_among_them():
    found = parsed(event("sms_stop.json"), 7, event("status_failed_4775_opted_out.json"))

    assert [type(one) for one in found] == [InboundText, Unread, StatusUpdate]
    assert found[2] == StatusUpdate(OUT, "failed", "message-failed 4775", True, "17")


@pytest.mark.parametrize("given", ["null", "7", '"STOP"', "true"])
def test_what_is_neither_list_nor_object_is_not_understood(given):
    with pytest.raises(NotUnderstood):
        Bandwidth().parse(WebhookRequest("POST", ADDRESS, given.encode()))


def test_ours_is_the_owner_and_not_whoever_else_is_in_the_group():
    (text,) = parsed(event("mms_to_a_group.json"))

    assert (text.sender, text.to, len(text.media)) == (SENDER, OURS, 1)


def test_without_an_owner_the_outer_to_is_ours():
    given = event("sms.json")
    given["message"] |= {"owner": None, "to": ["+12025550144", OURS]}

    (text,) = parsed(given)

    assert text.to == OURS


def test_the_time_is_the_messages_and_else_the_events():
    given = event("sms.json")
    (of_message,) = parsed(given)
    del given["message"]["time"]
    (of_event,) = parsed(given)

    assert of_message.received_at == datetime(2026, 11, 23, 18, 20, 16, 214000, tzinfo=UTC)
    assert of_event.received_at == datetime(2026, 11, 23, 18, 20, 16, 389000, tzinfo=UTC)


def test_an_opt_out_code_counts_in_a_failure_only():
    given = event("status_delivered_with_a_code.json")

    (status,) = parsed(given)

    assert (status.state, status.opted_out) == ("delivered", False)


@pytest.mark.parametrize("code", [4470, 4770, 4482, 4772, 4750, 9902, None, True, "4775 ", [4775]])
def test_spam_and_other_blocks_are_no_wish_of_the_recipients(code):
    (status,) = parsed({**event("status_failed.json"), "errorCode": code})

    assert (status.state, status.opted_out) == ("failed", False)


# Who posted it


def basic(pair: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@pytest.mark.parametrize(
    "headers",
    [
        basic("bandwidth:"),
        basic("bandwidth"),
        basic(":battery:staple é"),
        basic("Bandwidth:battery:staple é"),
        basic("bandwidth:battery"),
        basic("bandwidth:battery:staple é "),
        basic("portal-api:correct-horse"),
        {"Authorization": "Bearer " + basic("bandwidth:battery:staple é")["Authorization"].partition(" ")[2]},
        {},
    ],
)
def test_another_name_or_password_is_refused(headers):
    with pytest.raises(Refused):
        Bandwidth().verify(credentials(), WebhookRequest("POST", ADDRESS, b"[]", headers=headers))


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_the_right_ones_are_taken_in_any_case_of_the_scheme(scheme):
    headers = {"authorization": basic("bandwidth:battery:staple é")["Authorization"].replace("Basic", scheme)}

    assert Bandwidth().verify(credentials(), WebhookRequest("POST", ADDRESS, b"[]", headers=headers)) is None


def test_an_account_without_a_password_takes_nobody():
    nobody = Credentials({"webhook_user": ""}, {})

    with pytest.raises(Refused):
        Bandwidth().verify(nobody, WebhookRequest("POST", ADDRESS, b"[]", headers=basic(":")))


# Sending


def outbound(**more: Any) -> OutboundText:
    fields = {"sender": OURS, "to": SENDER, "text": "Hi", "reference": "17", "status_url": ADDRESS}
    return OutboundText(**{**fields, **more})


def test_what_is_handed_over_with_our_reference_as_its_tag(server: Loopback):
    server.will_answer(DIALECT.taken("b-1"))
    media = [Media("https://example.com/1.jpg?a=1&b=2"), Media("https://example.com/2.jpg")]

    found = Bandwidth().send(credentials(api_base=server.url), outbound(text="", media=media))

    assert found == "b-1"
    assert json.loads(server.asked[0].body) == {
        "applicationId": "93de2206-9669-4e07-948d-329f4b722ee2",
        "from": OURS,
        "to": [SENDER],
        "tag": "17",
        "media": ["https://example.com/1.jpg?a=1&b=2", "https://example.com/2.jpg"],
    }


def test_an_error_repeats_no_whole_number(server: Loopback):
    server.will_answer(DIALECT.senseless())

    with pytest.raises(CarrierError, match="request-validation") as raised:
        Bandwidth().send(credentials(api_base=server.url), outbound())

    assert raised.value.permanent
    assert "…0143" in str(raised.value)
    assert SENDER[1:] not in str(raised.value)


@pytest.mark.django_db
def test_an_uncertain_text_is_found_by_its_tag(server: Loopback):
    given = scene(DIALECT, api_base=server.url)
    server.will_answer("cut")
    message = outbox.accept(given.number, SENDER, "Hello")
    outbox.hand_over_due()
    message.refresh_from_db()
    uncertain = (message.state, message.carrier_message_id)
    status = event("status_delivered.json")
    status["message"]["tag"] = json.loads(server.asked[0].body)["tag"]

    answer = deliver(given, status)

    assert answer.status_code == 200
    message.refresh_from_db()
    assert uncertain == ("uncertain", "")
    assert (message.state, message.carrier_message_id) == ("delivered", OUT)


# Signing in


TOKEN = Answer.json(200, {"access_token": "t-1", "token_type": "Bearer", "expires_in": 3600})


def test_with_a_client_id_a_token_is_fetched_once_and_used_while_it_lasts(server: Loopback):
    server.will_answer(TOKEN, DIALECT.taken("b-1"))

    sent = [Bandwidth().send(by_client(server), outbound()) for _ in range(3)]

    assert sent == ["b-1", "b-1", "b-1"]
    first, *others = server.asked
    assert (first.method, first.path, first.body) == ("POST", "/oauth2/token", b"grant_type=client_credentials")
    assert first.headers["Authorization"] == basic("client-1:client-secret")["Authorization"]
    assert first.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert [other.headers["Authorization"] for other in others] == ["Bearer t-1"] * 3


@pytest.mark.parametrize(("lasts", "tokens_asked_for"), [(59, 2), (61, 1), (None, 1), ("soon", 1)])
def test_a_token_is_fetched_anew_a_minute_before_it_ends(server: Loopback, lasts, tokens_asked_for):
    token = Answer.json(200, {"access_token": "t-1", "expires_in": lasts})
    server.will_answer(token, DIALECT.taken("b-1"), *([token] if tokens_asked_for == 2 else []), DIALECT.taken("b-2"))

    sent = [Bandwidth().send(by_client(server), outbound()) for _ in range(2)]

    assert sent == ["b-1", "b-2"]
    assert [asked.path for asked in server.asked].count("/oauth2/token") == tokens_asked_for


def test_another_secret_gets_a_token_of_its_own(server: Loopback):
    second = Answer.json(200, {"access_token": "t-2", "expires_in": 3600})
    server.will_answer(TOKEN, DIALECT.taken("b-1"), second, DIALECT.taken("b-2"))

    Bandwidth().send(by_client(server), outbound())
    Bandwidth().send(by_client(server, "the-next-secret"), outbound())

    assert [asked.headers["Authorization"] for asked in server.asked[1::2]] == ["Bearer t-1", "Bearer t-2"]


def test_a_token_that_bandwidth_no_longer_takes_is_fetched_anew_at_the_next_attempt(server: Loopback):
    second = Answer.json(200, {"access_token": "t-2", "expires_in": 3600})
    server.will_answer(TOKEN, DIALECT.locked_out(), second, DIALECT.taken("b-1"))

    with pytest.raises(CarrierError) as raised:
        Bandwidth().send(by_client(server), outbound())
    found = Bandwidth().send(by_client(server), outbound())

    assert (raised.value.permanent, raised.value.is_trouble, raised.value.uncertain) == (False, True, False)
    assert found == "b-1"
    assert server.asked[3].headers["Authorization"] == "Bearer t-2"


@pytest.mark.parametrize(
    "answer",
    [
        Answer.json(401, {"error": "invalid_client"}),
        Answer.json(400, {"error": "invalid_request"}),
        Answer.json(503, {}),
        Answer.json(200, {}),
        Answer(200, b"<html>"),
        "hang",
        "cut",
    ],
)
def test_without_a_token_nothing_was_handed_over_so_it_is_tried_again(server: Loopback, settings, answer):
    settings.CARRIER_TIMEOUT = 0.3
    server.will_answer(answer)

    with pytest.raises(CarrierError) as raised:
        Bandwidth().send(by_client(server), outbound())

    assert (raised.value.permanent, raised.value.uncertain, raised.value.is_trouble) == (False, False, True)
    assert [asked.path for asked in server.asked] == ["/oauth2/token"]


def test_without_anything_to_sign_in_with_nobody_is_asked(server: Loopback):
    server.will_answer(TOKEN)
    bare = Credentials({"account_id": "5500001", "api_base": server.url}, {})

    with pytest.raises(CarrierError, match="client ID and secret") as raised:
        Bandwidth().send(bare, outbound())

    assert (raised.value.permanent, raised.value.is_trouble) == (False, True)
    assert server.asked == []


# Its list


def entry(message_id: str, **more: Any) -> dict[str, Any]:
    return {
        "messageId": message_id, "accountId": "5500001", "sourceTn": SENDER, "destinationTn": OURS,
        "messageStatus": "RECEIVED", "messageDirection": "INBOUND", "messageType": "sms", "segmentCount": 1,
        "errorCode": 0, "receiveTime": "2026-11-23T18:20:16.000Z", "carrierName": "Verizon", "messageSize": None,
        "messageLength": 4, "attachmentCount": None, "recipientCount": 1, "campaignClass": "T", "campaignId": "CJEUMDK",
        **more,
    }  # fmt: skip


def page(*entries: Any, token: str = "", total: int = 1) -> Answer:
    info = {"prevPage": None, "nextPage": "http://127.0.0.1:9/elsewhere", "nextPageToken": token or None}
    return Answer.json(200, {"totalCount": total, "pageInfo": info, "messages": list(entries)})


def listed(server: Loopback) -> list[Any]:
    return list(Bandwidth().listed(credentials(api_base=server.url), SINCE, UNTIL))


def query(server: Loopback, index: int) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(server.asked[index].path).query))


def test_every_page_is_read_by_its_token_and_never_by_the_link_beside_it(server: Loopback):
    out = {"sourceTn": OURS, "destinationTn": SENDER, "messageDirection": "OUTBOUND"}
    server.will_answer(
        page(entry("b-1"), token="a+/="),
        page(entry("b-2", **out, messageStatus="FAILED", errorCode=4775), entry("b-3", **out, messageStatus="SENT")),
    )

    found = listed(server)

    at = datetime(2026, 11, 23, 18, 20, 16, tzinfo=UTC)
    assert found == [
        ListedText("b-1", True, SENDER, OURS, at, None, detail="RECEIVED"),
        ListedText("b-2", False, OURS, SENDER, at, None, state="failed", detail="FAILED 4775", opted_out=True),
        ListedText("b-3", False, OURS, SENDER, at, None, state="sent", detail="SENT"),
    ]
    assert [urlsplit(asked.path).path for asked in server.asked] == ["/users/5500001/messages"] * 2
    window = {"fromDateTime": "2026-11-22T03:00:00.000Z", "toDateTime": "2026-11-23T21:30:01.000Z", "limit": "1000"}
    assert query(server, 0) == window
    assert query(server, 1) == {**window, "pageToken": "a+/="}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("QUEUED", "sent"), ("SENDING", "sent"), ("SENT", "sent"), ("ACCEPTED", "sent"), ("DELIVERED", "delivered"),
        ("UNDELIVERED", "failed"), ("FAILED", "failed"), ("RECEIVED", None), ("TELEPORTED", None), (None, None),
    ],
)  # fmt: skip
def test_each_status_of_the_list_means_what_it_means_in_a_webhook(server: Loopback, status, state):
    server.will_answer(page(entry("b-1", messageDirection="OUTBOUND", messageStatus=status)))

    assert [one.state for one in listed(server)] == [state]


@pytest.mark.parametrize("other", [None, "x", entry(""), entry("b-1", receiveTime=None)])
def test_an_entry_without_id_or_time_is_left_out(server: Loopback, other):
    server.will_answer(page(other, entry("b-2")))

    assert [one.message_id for one in listed(server)] == ["b-2"]


def test_more_than_a_search_shows_is_asked_for_in_halves(server: Loopback):
    server.will_answer(page(entry("b-0"), total=10_000), page(entry("b-1"), total=6000), page(entry("b-2"), total=4000))

    assert [one.message_id for one in listed(server)] == ["b-1", "b-2"]
    assert [(query(server, n)["fromDateTime"], query(server, n)["toDateTime"]) for n in (1, 2)] == [
        ("2026-11-22T03:00:00.000Z", "2026-11-23T00:15:01.000Z"),
        ("2026-11-23T00:15:00.000Z", "2026-11-23T21:30:01.000Z"),
    ]


def test_the_halving_ends(server: Loopback):
    server.will_answer(page(entry("b-1"), total=10_000))
    until = SINCE + timedelta(seconds=8)

    found = list(Bandwidth().listed(credentials(api_base=server.url), SINCE, until))

    assert {one.message_id for one in found if isinstance(one, ListedText)} == {"b-1"}
    assert len(server.asked) == 7


@pytest.mark.parametrize("broken", [Answer.json(500, {}), Answer.json(429, {}), Answer.json(403, {}), "hang", "cut"])
def test_a_list_that_breaks_off_says_so(server: Loopback, settings, broken):
    settings.CARRIER_TIMEOUT = 0.3
    server.will_answer(page(entry("b-1"), token="2"), broken)
    entries = Bandwidth().listed(credentials(api_base=server.url), SINCE, UNTIL)

    first = next(entries)
    with pytest.raises(CarrierError) as raised:
        next(entries)

    assert isinstance(first, ListedText)
    assert (raised.value.uncertain, raised.value.is_trouble) == (False, True)


@pytest.mark.django_db
def test_a_text_whose_webhook_never_came_waits_for_a_person_since_the_list_has_no_words(server: Loopback):
    given = scene(DIALECT, api_base=server.url)
    server.will_answer(page(entry("b-1")))

    found = reconciling.reconcile(given.account, SINCE, UNTIL)

    assert found.taken_in == 1
    message = Message.objects.get(direction="in")
    assert (message.carrier_message_id, message.outcome) == ("b-1", "held")


# The button


def test_the_connection_is_tested_by_a_look_at_the_last_minute(server: Loopback):
    server.will_answer(page())

    said = Bandwidth().test(credentials(api_base=server.url))

    assert "knows the account" in said
    assert (server.asked[0].method, query(server, 0)["limit"]) == ("GET", "1")


def test_a_wrong_password_is_called_by_its_name(server: Loopback):
    server.will_answer(DIALECT.locked_out())

    with pytest.raises(CarrierError, match="does not know the client ID and secret"):
        Bandwidth().test(credentials(api_base=server.url))
