"""Sinch, besides what holds for every carrier: its own library as an oracle, HTTP Basic, its list."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sinch.domains.sms.sinch_events.v1.sms_sinch_event import SmsSinchEvent

from messaging import reconciling
from messaging.carriers.base import CarrierError, ListedText, Media, OutboundText, Refused, WebhookRequest
from messaging.carriers.sinch import Sinch, plan_address, signature
from messaging.models import Message, OptOut
from offices.credentials import Credentials
from tests.messaging.carriers.dialect import OURS, PAYLOADS, SENDER, Answer, Posted
from tests.messaging.carriers.dialects.sinch import DIALECT, NONCE, OUT, PLAN
from tests.messaging.carriers.loopback import Loopback
from tests.messaging.carriers.scene import scene

FILES = sorted(path.name for path in (PAYLOADS / "sinch").iterdir())
ADDRESS = "https://portal.example.com/webhooks/sinch/a/"
SECRET = DIALECT.secrets["webhook_secret"]
HOUR = 3600
SINCE, UNTIL = datetime(2026, 11, 22, 3, 0, tzinfo=UTC), datetime(2026, 11, 23, 21, 30, tzinfo=UTC)
bounded = settings(max_examples=60, deadline=None, derandomize=True)


def body(name: str) -> bytes:
    return (PAYLOADS / "sinch" / name).read_bytes()


STOP = body("sms_stop.json")


def credentials(**more: str) -> Credentials:
    return Credentials({**DIALECT.settings, **more}, {name: [secret] for name, secret in DIALECT.secrets.items()})


def basic(**more: str) -> Credentials:
    """Those of a service plan whose callbacks are not signed."""
    secrets = {"api_token": ["sinch-api-token"], "webhook_password": ["the newer one", "the older one"]}
    return Credentials({**DIALECT.settings, "webhook_user": "sinch", **more}, secrets)


def signed(content: bytes, *, secret: str = SECRET, nonce: str = NONCE, at: float | None = None) -> dict[str, str]:
    seconds = str(int(time.time() if at is None else at))
    return {
        "X-Sinch-Webhook-Signature": signature(secret, content, nonce, seconds),
        "X-Sinch-Webhook-Signature-Nonce": nonce,
        "X-Sinch-Webhook-Signature-Timestamp": seconds,
        "X-Sinch-Webhook-Signature-Algorithm": "HmacSHA256",
    }


def taken(content: bytes, headers: dict[str, str], by: Credentials | None = None) -> bool:
    try:
        Sinch().verify(by or credentials(), WebhookRequest("POST", ADDRESS, content, "application/json", headers))
    except Refused:
        return False
    return True


def taken_by_them(content: bytes, headers: dict[str, str]) -> bool:
    return SmsSinchEvent(SECRET).validate_authentication_header(headers, content)


# What is genuine: Sinch's library as oracle


@pytest.mark.parametrize("name", FILES)
def test_sinchs_library_and_ours_take_each_payload_as_it_is_signed_and_none_with_another_secret(name):
    content = body(name)
    by_dialect = dict(DIALECT.sign(ADDRESS, DIALECT.cases[0], content, SECRET, time.time()).headers)
    forged = signed(content, secret="another secret")

    assert taken(content, by_dialect)
    assert taken_by_them(content, by_dialect)
    assert not taken(content, forged)
    assert not taken_by_them(content, forged)


@bounded
@given(
    content=st.text(st.characters(codec="utf-8"), max_size=40).map(str.encode),
    nonce=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20),
)
@example(content=STOP, nonce="a.b")
@example(content=b"{}.", nonce=".")
def test_what_we_sign_their_library_takes_and_so_do_we(content, nonce):
    headers = signed(content, nonce=nonce)

    assert taken_by_them(content, headers)
    assert taken(content, headers)
    assert not taken(content + b" ", headers)
    assert not taken_by_them(content + b" ", headers)


def test_bytes_that_are_no_utf_8_are_signed_as_they_are():
    """Their library reads them as text first, so that other bytes than those that came are checked."""
    content = b'{"body": "caf\xe9"}'

    assert taken(content, signed(content))
    assert not taken(content.replace(b"\xe9", "\ufffd".encode()), signed(content))


@pytest.mark.parametrize(("hours", "is_taken"), [(0, True), (24, True), (46, True), (49, False)])
@pytest.mark.django_db
def test_a_stop_counts_as_long_as_sinch_comes_again_and_their_library_looks_at_no_age(hours, is_taken):
    given = scene(DIALECT)
    headers = signed(STOP, at=time.time() - hours * HOUR)

    answers = [given.deliver(Posted(STOP, "application/json", headers)).status_code for _ in range(2)]

    assert answers == ([200, 200] if is_taken else [403, 403])
    assert OptOut.objects.count() == is_taken
    assert taken_by_them(STOP, headers)


def test_another_algorithm_than_the_documented_one_is_refused():
    headers = signed(STOP)

    assert taken(STOP, {**headers, "X-Sinch-Webhook-Signature-Algorithm": ""})
    assert not taken(STOP, {**headers, "X-Sinch-Webhook-Signature-Algorithm": "HmacMD5"})


# HTTP Basic, where signing is not enabled for the plan


def sign_in(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_a_plan_that_does_not_sign_is_known_by_name_and_password():
    assert taken(STOP, sign_in("sinch", "the newer one"), basic())
    assert taken(STOP, sign_in("sinch", "the older one"), basic())
    assert not taken(STOP, sign_in("sinch", "another"), basic())
    assert not taken(STOP, sign_in("somebody", "the newer one"), basic())
    assert not taken(STOP, sign_in("sinch", ""), basic())
    assert not taken(STOP, {}, basic())


def test_a_plan_that_signs_is_not_taken_unsigned_whatever_the_password():
    both = Credentials(basic().settings, {**basic().secrets, "webhook_secret": [SECRET]})

    assert not taken(STOP, sign_in("sinch", "the newer one"), both)
    assert taken(STOP, signed(STOP), both)


def test_an_account_with_neither_takes_nothing():
    nothing = Credentials(DIALECT.settings, {"api_token": ["sinch-api-token"]})

    for headers in ({}, sign_in("", ""), sign_in("sinch", ""), signed(STOP, secret="")):
        assert not taken(STOP, headers, nothing)


# What it says


@pytest.mark.django_db
def test_parts_of_binary_texts_are_put_together():
    given = scene(DIALECT)
    first = json.loads(body("binary_part_1_of_2.json"))
    words = base64.b64encode("op texting me".encode("utf-16-be")).decode()
    second = {**first, "id": "01KAX000000000000000000099", "body": words, "udh": "0500032a0202"}

    for part in (second, first):
        content = json.dumps(part).encode()
        assert given.deliver(Posted(content, "application/json", signed(content))).status_code == 200

    assert Message.objects.get(direction="in").text == "Please stop texting me"


@pytest.mark.django_db
def test_a_text_whose_hand_over_was_cut_off_is_found_by_our_reference():
    given = scene(DIALECT)
    ours = given.our_text("")
    Message.objects.filter(pk=ours.pk).update(state="uncertain")
    content = json.dumps({**json.loads(body("status_delivered.json")), "client_reference": str(ours.pk)}).encode()

    assert given.deliver(Posted(content, "application/json", signed(content))).status_code == 200

    ours.refresh_from_db()
    assert (ours.state, ours.carrier_message_id) == ("delivered", OUT)


def test_the_reference_in_a_received_text_is_that_of_the_one_it_may_answer():
    """It is no status, and settles nothing."""
    (event,) = Sinch().parse(WebhookRequest("POST", ADDRESS, body("sms_unstop.json")))

    assert (event.text, event.message_id) == ("UNSTOP", "01KAX000000000000000000006")


# Sending


def text(*media: Media, words: str = "Your order is ready.") -> OutboundText:
    return OutboundText(OURS, SENDER, words, "17", ADDRESS, media)


def handed_over(server: Loopback, given: OutboundText, by: Credentials | None = None) -> Any:
    server.will_answer(DIALECT.taken(OUT))
    assert Sinch().send(by or credentials(api_base=server.url), given) == OUT
    return json.loads(server.asked[-1].body)


def test_a_text_leaves_as_a_batch_of_one_with_our_reference(server: Loopback):
    assert handed_over(server, text()) == {
        "type": "mt_text",
        "from": OURS,
        "to": [SENDER],
        "body": "Your order is ready.",
        "delivery_report": "per_recipient",
        "client_reference": "17",
        "callback_url": ADDRESS,
    }
    assert server.asked[0].headers["Authorization"] == "Bearer sinch-api-token"


def test_a_plan_that_does_not_sign_reports_to_its_own_address_where_it_signs_in(server: Loopback):
    """To an address of the text's own it would come without name and password, and be refused."""
    assert "callback_url" not in handed_over(server, text(), basic(api_base=server.url))


def test_an_mms_leaves_with_its_file(server: Loopback):
    image = Media("https://example.com/a.png", "image/png")

    with_words, without = (handed_over(server, text(image, words=words)) for words in ("Look", ""))

    assert (with_words["type"], with_words["body"]) == ("mt_media", {"url": image.url, "message": "Look"})
    assert without["body"] == {"url": image.url}


def test_an_mms_of_several_files_is_not_handed_over_as_less_than_it_is(server: Loopback):
    image = Media("https://example.com/a.png", "image/png")

    with pytest.raises(CarrierError, match="one file") as raised:
        Sinch().send(credentials(api_base=server.url), text(image, image))

    assert raised.value.permanent
    assert not server.asked


@pytest.mark.parametrize("region", ["us", "eu", "au", "br", "ca"])
def test_the_region_is_part_of_the_address(region):
    choices = [value for setting in Sinch.SETTINGS if setting.name == "region" for value, _ in setting.choices]

    assert region in choices
    assert plan_address(credentials(region=region)) == f"https://{region}.sms.api.sinch.com/xms/v1/{PLAN}"


@pytest.mark.parametrize("answer", [Answer.json(201, {}), Answer(201, b""), Answer.json(200, {"id": None})])
def test_a_text_taken_without_an_id_is_uncertain_and_not_sent_again(server: Loopback, answer):
    server.will_answer(answer)

    with pytest.raises(CarrierError) as raised:
        Sinch().send(credentials(api_base=server.url), text())

    assert raised.value.uncertain


# The button “test this connection”


def test_the_connection_is_tested_by_asking_for_one_batch(server: Loopback):
    server.will_answer(Answer.json(200, {"count": 0, "page": 0, "page_size": 1, "batches": []}))

    said = Sinch().test(credentials(api_base=server.url))

    assert "accepts the API token" in said
    assert [(asked.method, asked.path) for asked in server.asked] == [("GET", f"/xms/v1/{PLAN}/batches?page_size=1")]


@pytest.mark.parametrize(("status", "sentence"), [(401, "API token"), (403, "region"), (404, "service plan")])
def test_a_test_that_fails_says_how_to_mend_it(server: Loopback, status, sentence):
    server.will_answer(Answer(status, b""))

    with pytest.raises(CarrierError, match=sentence):
        Sinch().test(credentials(api_base=server.url))


# Its list of what it received


def page(number: int, count: int, *names: str) -> Answer:
    entries = [json.loads(body(name)) for name in names]
    return Answer.json(200, {"count": count, "page": number, "page_size": len(entries), "inbounds": entries})


def listed(server: Loopback) -> list[Any]:
    return list(Sinch().listed(credentials(api_base=server.url), SINCE, UNTIL))


def test_every_page_of_the_list_is_read_and_none_after_the_last(server: Loopback):
    server.will_answer(
        page(0, 102, "sms.json", "mms_two_media.json", "binary_part_1_of_2.json", "sms_without_id.json"),
        page(1, 102, "sms_stop.json"),
        page(2, 102),
    )

    found = listed(server)

    assert [(one.message_id[-2:], one.sender, one.to, one.text, len(one.media)) for one in found] == [
        ("01", SENDER, OURS, "See you at nine!", 0),
        ("17", SENDER, OURS, "Is this the right tooth?", 2),
        ("02", SENDER, OURS, "STOP", 0),
    ]
    assert all(one.is_inbound and one.at.isoformat() == "2026-11-23T18:30:00.123000+00:00" for one in found)
    queries = [parse_qs(urlsplit(asked.path).query) for asked in server.asked]
    assert [query["page"] for query in queries] == [["0"], ["1"]]
    window = {"start_date": ["2026-11-22T03:00:00+00:00"], "end_date": ["2026-11-23T21:30:00+00:00"]}
    assert all(window.items() <= query.items() for query in queries)


def test_a_list_without_a_count_ends_with_an_empty_page(server: Loopback):
    server.will_answer(Answer.json(200, {"inbounds": [json.loads(STOP)]}), Answer.json(200, {"inbounds": []}))

    assert [text.message_id for text in listed(server)] == ["01KAX000000000000000000002"]
    assert len(server.asked) == 2


def test_a_list_that_breaks_off_says_so_after_what_came_before(server: Loopback):
    server.will_answer(page(0, 200, "sms_stop.json"), Answer(503, b""))
    found = Sinch().listed(credentials(api_base=server.url), SINCE, UNTIL)

    first = next(found)
    with pytest.raises(CarrierError):
        next(found)

    assert isinstance(first, ListedText)
    assert first.text == "STOP"


@pytest.mark.django_db
def test_a_stop_that_never_reached_us_is_found_in_the_list_and_obeyed_once(server: Loopback):
    given = scene(DIALECT, api_base=server.url)
    account = given.account

    for _ in range(2):
        server.will_answer(page(0, 1, "sms_stop.json"))
        reconciling.reconcile(account, SINCE, UNTIL)
    content = json.dumps(json.loads(STOP)).encode()
    late = given.deliver(Posted(content, "application/json", signed(content)))

    assert late.status_code == 200
    assert (OptOut.objects.count(), Message.objects.filter(direction="in").count()) == (1, 1)
