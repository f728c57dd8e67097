"""Dialpad, besides what holds for every carrier: which tokens are genuine, for how long, and what they leave out."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest

from messaging import inbound, reconciling
from messaging.carriers.base import (
    CarrierError,
    ListedOptOut,
    Media,
    NotUnderstood,
    OutboundText,
    Refused,
    StatusUpdate,
    WebhookRequest,
)
from messaging.carriers.dialpad import Dialpad
from messaging.models import Hold, Message, OptOut, WebhookReceipt
from offices.credentials import Credentials
from tests.factories import NumberFactory
from tests.messaging.api_calls import count_stored
from tests.messaging.carriers.dialect import OURS, PAYLOADS, SENDER, Answer, Posted
from tests.messaging.carriers.dialects.dialpad import DIALECT, OUT, part, token
from tests.messaging.carriers.loopback import Loopback
from tests.messaging.carriers.scene import a_stop, scene

ADDRESS = "https://portal.example.com/webhooks/dialpad/a/"
SECRET = DIALECT.secrets["webhook_secret"]
DAY = 24 * 3600


def payload(name: str = "sms_stop.json", **more: Any) -> dict[str, Any]:
    found = json.loads((PAYLOADS / "dialpad" / name).read_bytes())
    return {**found, "event_timestamp": int(time.time() * 1000), **more}


def request(body: bytes, content_type: str = "application/jwt") -> WebhookRequest:
    return WebhookRequest("POST", ADDRESS, body, content_type)


def credentials(*secrets: str, **settings: str) -> Credentials:
    return Credentials(settings, {"api_key": ["made-up-dialpad-key"], "webhook_secret": list(secrets or [SECRET])})


def verify(body: bytes, *secrets: str) -> None:
    Dialpad().verify(credentials(*secrets), request(body))


def signed(document: Any, secret: str = SECRET, **header: Any) -> bytes:
    return token(json.dumps(document).encode(), secret, json.dumps({"alg": "HS256", "typ": "JWT", **header}).encode())


# Which tokens are genuine


def test_what_the_library_for_such_tokens_signs_is_taken_and_what_we_sign_it_takes():
    document = payload(text="1 + 1 = 2 & 50% 👍🏽 café")

    verify(jwt.encode(document, SECRET, algorithm="HS256").encode())

    assert jwt.decode(signed(document), SECRET, algorithms=["HS256"]) == document


def public_pem() -> bytes:
    return b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"


def without_algorithm(document: Any, algorithm: str) -> bytes:
    header = json.dumps({"alg": algorithm, "typ": "JWT"}).encode()
    return part(header) + b"." + part(json.dumps(document).encode()) + b"."


def by(algorithm: str) -> bytes:
    long_enough = "a secret that is long enough for HS512, which wants sixty-four bytes"
    return jwt.encode(payload(), long_enough, algorithm=algorithm).encode()


STOP = payload()
FORGED: dict[str, bytes] = {
    "no algorithm": without_algorithm(STOP, "none"),
    "no algorithm, in capitals": without_algorithm(STOP, "NONE"),
    "no algorithm, with a signature": without_algorithm(STOP, "none") + signed(STOP).rpartition(b".")[2],
    "no signature": signed(STOP).rpartition(b".")[0] + b".",
    "two parts": signed(STOP).rpartition(b".")[0],
    "four parts": signed(STOP) + b".x",
    "HS512 in its head": signed(STOP, alg="HS512"),
    "a list of algorithms": signed(STOP, alg=["HS256"]),
    "RS256 in its head": signed(STOP, alg="RS256"),
    "another body": signed(payload(text="UNSTOP")).rpartition(b".")[0] + b"." + signed(STOP).rpartition(b".")[2],
    "another secret": signed(STOP, "another secret, long enough for HS256 too"),
    "an empty secret": signed(STOP, ""),
    "plain JSON": json.dumps(STOP).encode(),
    "plain JSON with two dots": json.dumps(payload(text="a.b.c")).encode(),
    "nothing": b"",
    "two dots": b"..",
    "a head that is no object": part(b"[]") + b"." + part(b"{}") + b"." + part(b"x"),
    "a head that is no JSON": part(b"\xff{") + b"." + part(b"{}") + b"." + part(b"x"),
    "not ASCII": "é.é.é".encode(),
    "one quote": b'"' + signed(STOP),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_token_that_dialpad_did_not_sign_is_refused(what):
    with pytest.raises(Refused):
        verify(FORGED[what])


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_other_algorithms_are_refused_though_the_secret_fits(algorithm):
    with pytest.raises(Refused):
        verify(by(algorithm), "a secret that is long enough for HS512, which wants sixty-four bytes")


@pytest.mark.parametrize("secret", ["short", "é" * 40, public_pem().decode()])
def test_any_secret_that_an_operator_may_have_set_raises_nothing_but_a_refusal(secret):
    with pytest.raises(Refused):
        verify(signed(STOP), secret)


def test_one_of_several_secrets_is_enough():
    verify(signed(payload()), "the newest one, which Dialpad has not got yet", SECRET)


@pytest.mark.django_db
@pytest.mark.parametrize("secret", [SECRET, ""])
def test_plain_json_is_refused_with_a_secret_and_without_one(secret):
    given = scene(DIALECT)
    if not secret:
        given.account.secrets = [one for one in given.account.secrets if one["name"] != "webhook_secret"]
        given.account.save()

    answer = given.deliver(Posted(json.dumps(payload()).encode(), "application/json"))

    assert answer.status_code == 403
    assert "secret" in answer.json()["detail"]
    assert set(count_stored().values()) == {0}


@pytest.mark.parametrize("around", [b"%s", b"%s\n", b" %s\r\n", b'"%s"', b'"%s"\n'])
@pytest.mark.parametrize("content_type", ["application/jwt", "text/plain", "application/json", ""])
def test_the_token_may_stand_in_quotes_and_under_any_content_type(around, content_type):
    body = around % signed(payload())

    Dialpad().verify(credentials(), request(body, content_type))
    (text,) = Dialpad().parse(request(body, content_type))

    assert (text.sender, text.to, text.text) == (SENDER, OURS, "STOP")


@pytest.mark.parametrize("claims", [{"exp": 1}, {"nbf": 99999999999}, {"iat": 99999999999}, {"aud": "x"}, {"sub": 5}])
def test_claims_that_would_end_a_token_do_not_end_the_stop_in_it(claims):
    verify(signed(payload(**claims)))


# For how long


@pytest.mark.parametrize("hours", [0, 1, 4, 5, 23])
def test_a_stop_that_an_outage_held_up_is_taken(hours):
    """Dialpad comes again with the same token for about four hours."""
    verify(signed(payload(event_timestamp=int((time.time() - hours * 3600) * 1000))))


@pytest.mark.parametrize("seconds", [-25 * 3600, 25 * 3600, -30 * DAY])
def test_a_token_of_another_day_is_refused(seconds):
    moment = int((time.time() + seconds) * 1000)

    with pytest.raises(Refused, match="is not within"):
        verify(signed(payload(event_timestamp=moment)))
    with pytest.raises(Refused, match="is not within"):
        verify(signed(payload(event_timestamp=None, created_date=moment)))


def test_a_late_receipt_of_an_old_text_is_fresh_by_its_own_time():
    verify(signed(payload("status_delivered.json", created_date=int((time.time() - 3 * DAY) * 1000))))


@pytest.mark.parametrize("moment", [None, "", "soon", True, [], 10**30, -1])
def test_without_a_time_that_can_be_read_the_signature_decides(moment):
    verify(signed(payload(event_timestamp=moment, created_date=moment)))


@pytest.mark.django_db
def test_a_token_that_somebody_saw_and_posts_again_does_nothing_more():
    given = scene(DIALECT)
    posted = given.posted(a_stop(DIALECT))
    given.deliver(posted)
    stored = count_stored()

    answers = [given.deliver(posted).status_code for _ in range(3)]

    assert answers == [200, 200, 200]
    assert count_stored() == stored


# What it says, and leaves out


@pytest.mark.django_db
def test_without_the_scope_for_words_texting_is_on_hold_until_a_person_has_looked():
    given = scene(DIALECT)
    case = next(case for case in DIALECT.cases if case.file == "sms_without_the_scope.json")

    answer = given.deliver(given.posted(case))

    assert answer.status_code == 200
    assert Message.objects.get().text == ""
    assert Hold.objects.count() == 1
    assert not OptOut.objects.exists()


def test_the_operator_is_told_which_scope_it_takes():
    told = " ".join([*Dialpad.STEPS, *(setting.help for setting in Dialpad.SETTINGS)])

    assert "message_content_export:all" in told
    assert "{webhook}" in told


def parsed(**more: Any) -> list[Any]:
    return list(Dialpad().parse(request(signed(payload("sms.json", **more)))))


@pytest.mark.parametrize(
    ("fields", "text", "media"),
    [
        ({"text": "Hi", "text_content": "other"}, "Hi", 0),
        ({"text": None, "text_content": "Hi"}, "Hi", 0),
        ({"text": None, "text_content": None}, None, 0),
        ({"text": 5, "text_content": []}, None, 0),
        ({"text": "", "text_content": None}, "", 0),
        ({"text": None, "text_content": None, "mms": True, "mms_url": "https://dialpad.com/r/1"}, "", 1),
        ({"text": None, "text_content": None, "mms": True, "mms_url": None}, None, 0),
        ({"text": "Hi", "mms": True, "mms_url": ["https://dialpad.com/r/1", None, "https://dialpad.com/r/2"]}, "Hi", 2),
    ],
)
def test_words_that_are_not_told_are_not_the_same_as_no_words(fields, text, media):
    (found,) = parsed(**fields)

    assert (found.text, len(found.media)) == (text, media)


@pytest.mark.parametrize("target", [OURS, "(202) 555-0100", "202-555-0100"])
def test_in_a_group_ours_is_the_target(target):
    (text,) = parsed(to_number=["+12025550144", OURS], target={"phone_number": target})

    assert text.to == OURS


@pytest.mark.parametrize("target", [None, {}, {"phone_number": None}, {"phone_number": "+12025550199"}])
def test_without_a_target_among_them_all_count(target):
    texts = parsed(to_number=[OURS, "+12025550101", OURS], target=target, id=7)

    assert [(text.to, text.message_id) for text in texts] == [(OURS, "7"), ("+12025550101", "7/+12025550101")]


def test_the_time_is_when_the_text_was_made():
    (text,) = parsed()
    (without,) = parsed(created_date=None)

    assert text.received_at == datetime(2026, 11, 23, 18, 10, 2, 574000, tzinfo=UTC)
    assert without.received_at is None


@pytest.mark.parametrize(
    ("status", "result", "state", "detail"),
    [
        ("failed", "rejected", "failed", "failed rejected"),
        ("success", "accepted", "sent", "success accepted"),
        ("pending", None, None, "pending"),
        (None, None, None, ""),
        (5, True, None, "5"),
    ],
)
def test_a_status_says_its_words_and_never_that_somebody_opted_out(status, result, state, detail):
    document = payload("status_failed.json", message_status=status, message_delivery_result=result)

    found = Dialpad().parse(request(signed(document)))

    assert found == [StatusUpdate(OUT, state, detail)]


@pytest.mark.parametrize("body", [b"", b"x", b"a.b", b"..", b".\xff.", b'"', b"a.bm8.c"])
def test_what_is_no_token_is_not_understood(body):
    with pytest.raises(NotUnderstood):
        Dialpad().parse(request(body))


@pytest.mark.django_db
def test_a_kept_token_is_run_again_once_the_number_is_there():
    given = scene(DIALECT)
    case = next(case for case in DIALECT.cases if case.file == "sms_to_a_number_of_nobody.json")
    given.deliver(given.posted(case))
    NumberFactory(office=given.number.office, account=given.account, e164="+12025550198")

    received = inbound.run_again(WebhookReceipt.objects.get(), by=None)

    assert received.outcome == "opted_out"


# Sending


def outbound(**more: Any) -> OutboundText:
    fields = {"sender": OURS, "to": SENDER, "text": "Hi", "reference": "17", "status_url": ADDRESS}
    return OutboundText(**{**fields, **more})


def test_what_is_handed_over(server: Loopback):
    server.will_answer(DIALECT.taken("4612924117884928"), Answer.json(200, {"id": 4612924117884929}))

    found = [Dialpad().send(credentials(api_base=server.url), outbound()) for _ in range(2)]

    assert found == ["4612924117884928", "4612924117884929"]
    assert json.loads(server.asked[0].body) == {
        "from_number": OURS,
        "to_numbers": [SENDER],
        "text": "Hi",
        "infer_country_code": False,
    }


def test_a_picture_is_refused_before_anybody_is_asked(server: Loopback):
    server.will_answer(DIALECT.taken("1"))

    with pytest.raises(CarrierError, match="pictures") as raised:
        Dialpad().send(credentials(api_base=server.url), outbound(media=[Media("https://example.com/1.jpg")]))

    assert raised.value.permanent
    assert server.asked == []


def test_an_answer_that_says_failed_is_no_success(server: Loopback):
    refused = {"id": 1, "message_status": "failed", "message_delivery_result": "invalid_destination"}
    server.will_answer(Answer.json(200, refused))

    with pytest.raises(CarrierError, match="invalid_destination") as raised:
        Dialpad().send(credentials(api_base=server.url), outbound())

    assert (raised.value.permanent, raised.value.opted_out, raised.value.uncertain) == (True, False, False)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": {"code": 400, "message": f"{SENDER} is not valid"}}, "…0143 is not valid"),
        ({"error": f"no route to {SENDER[1:]}"}, "no route to …0143"),
        ({"errors": [f"{SENDER}"]}, "…0143"),
        ({}, "Bad Request"),
    ],
)
def test_an_error_repeats_no_whole_number(server: Loopback, answer, said):
    server.will_answer(Answer.json(400, answer))

    with pytest.raises(CarrierError) as raised:
        Dialpad().send(credentials(api_base=server.url), outbound())

    assert said in str(raised.value)
    assert SENDER[1:] not in str(raised.value)


# Its list of opt-outs, and the button


def opt_out(person: str, level: str = "company", **more: Any) -> dict[str, Any]:
    return {
        "external_endpoint": person,
        "opt_out_state": "opted_out",
        "opt_out_scope_info": {"opt_out_scope_level": level, "scope_id": 5765607478525952},
        "date": 1795457402574,
        **more,
    }


COMPANY = Answer.json(200, {"id": 5765607478525952, "name": "Acme Dental", "state": "active"})


def test_everybody_blocked_for_the_company_is_listed_from_every_page_and_nobody_else(server: Loopback):
    back = opt_out("+12025550147", opt_out_state="opted_back_in", opt_out_scope_info=None)
    server.will_answer(
        COMPANY,
        Answer.json(200, {"items": [opt_out(SENDER), opt_out("+12025550144", "a2p_campaign")], "cursor": "a+/="}),
        Answer.json(200, {"items": [opt_out("+12025550145", date=None), back, opt_out(""), None], "cursor": None}),
    )
    now = datetime.now(UTC)

    found = list(Dialpad().listed(credentials(api_base=server.url), now - timedelta(days=2), now))

    at = datetime(2026, 11, 23, 18, 10, 2, 574000, tzinfo=UTC)
    assert found == [
        ListedOptOut(SENDER, "", at, "opted out at Dialpad, company"),
        ListedOptOut("+12025550145", "", None, "opted out at Dialpad, company"),
    ]
    assert [urlsplit(asked.path).path for asked in server.asked] == [
        "/company",
        "/company/5765607478525952/smsoptout",
        "/company/5765607478525952/smsoptout",
    ]
    assert dict(parse_qsl(urlsplit(server.asked[2].path).query)) == {"opt_out_state": "opted_out", "cursor": "a+/="}


@pytest.mark.django_db
def test_an_opt_out_at_dialpad_that_we_do_not_know_blocks_each_number_of_the_account(server: Loopback):
    given = scene(DIALECT, api_base=server.url)
    NumberFactory(office=given.number.office, account=given.account, e164="+12025550101")
    server.will_answer(COMPANY, Answer.json(200, {"items": [opt_out(SENDER)]}))
    now = datetime.now(UTC)

    reconciling.reconcile(given.account, now - timedelta(days=2), now)

    blocked = {(one.texted_number, one.is_carrier) for one in OptOut.objects.all()}
    assert blocked == {(OURS, True), ("+12025550101", True)}


def test_the_connection_is_tested_by_asking_for_the_company(server: Loopback):
    server.will_answer(COMPANY)

    said = Dialpad().test(credentials(api_base=server.url))

    assert "“Acme Dental”" in said
    assert [(asked.method, urlsplit(asked.path).path) for asked in server.asked] == [("GET", "/company")]
    assert server.asked[0].headers["Authorization"] == "Bearer made-up-dialpad-key"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer.json(401, {}), "does not know the API key"),
        (Answer.json(403, {}), "company admin"),
        (Answer.json(500, {"error": {"message": "Oops"}}), "Oops"),
    ],
)
def test_what_is_wrong_with_the_connection_is_said(server: Loopback, answer, said):
    server.will_answer(answer)

    with pytest.raises(CarrierError, match=said) as raised:
        Dialpad().test(credentials(api_base=server.url))

    assert raised.value.is_trouble


def test_the_token_is_read_as_base64_for_addresses():
    document = payload(text="??>>~~ÿÿ")
    body = signed(document)
    assert b"-" in body or b"_" in body
    assert base64.urlsafe_b64decode(part(b"\xfb\xff") + b"=") == b"\xfb\xff"

    (text,) = Dialpad().parse(request(body))

    assert text.text == "??>>~~ÿÿ"
