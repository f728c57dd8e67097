"""Plivo where it is its own: what its signatures cover, texts in parts, its list; its official library as oracle."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from plivo.utils import validate_signature
from plivo.utils.signature_v3 import construct_get_url, construct_post_url, get_signature_v3, validate_v3_signature

from messaging.carriers.base import (
    CarrierError,
    InboundText,
    ListedText,
    Media,
    NotUnderstood,
    OutboundText,
    Refused,
    StatusUpdate,
    WebhookRequest,
)
from messaging.carriers.plivo import Plivo, signature, signature_v3
from messaging.models import Message, OptOut
from offices.credentials import Credentials
from tests.messaging.carriers.dialect import OURS, SENDER, Answer, Case
from tests.messaging.carriers.dialects.plivo import AUTH_ID, DIALECT, OUT
from tests.messaging.carriers.loopback import Loopback
from tests.messaging.carriers.scene import scene

TOKEN = DIALECT.secret()
URL = "https://portal.example.com/webhooks/plivo/abc/"
FORM = "application/x-www-form-urlencoded"
SINCE, UNTIL = datetime(2026, 11, 22, 3, tzinfo=UTC), datetime(2026, 11, 23, 3, tzinfo=UTC)
bounded = hypothesis_settings(max_examples=100, deadline=None, derandomize=True)


def credentials(server: Loopback) -> Credentials:
    return Credentials({"auth_id": AUTH_ID, "api_base": server.url}, {"auth_token": [TOKEN, "older"]})


def accepts(headers: dict[str, str], *, body: bytes = b"", url: str = URL, token: str = TOKEN, method: str = "POST"):
    request = WebhookRequest(method, url, body, FORM, headers)
    try:
        Plivo().verify(Credentials({}, {"auth_token": ["newer", token]}), request)
    except Refused:
        return False
    return True


def v2(header: str, nonce: str, kind: str = "") -> dict[str, str]:
    return {f"X-Plivo-Signature-{kind}V2": header, "X-Plivo-Signature-V2-Nonce": nonce}


def v3(header: str, nonce: str, kind: str = "") -> dict[str, str]:
    return {f"X-Plivo-Signature-{kind}V3": header, "X-Plivo-Signature-V3-Nonce": nonce}


def parsed(url: str = URL, **fields: str) -> Any:
    (event,) = Plivo().parse(WebhookRequest("POST", url, urlencode(fields).encode(), FORM))
    return event


# What is genuine


def test_the_accounts_and_the_main_accounts_signature_count_alike():
    header = signature(TOKEN, URL, "05429567804466091622")
    both = v2("bm8=", "05429567804466091622") | v2(header, "05429567804466091622", "Ma-")

    assert accepts(v2(header, "05429567804466091622"))
    assert accepts(v2(header, "05429567804466091622", "Ma-"))
    assert accepts(both)
    assert not accepts(v2(header, "05429567804466091623"))
    assert not accepts({"X-Plivo-Signature-V2": header})
    assert not accepts(v2(header, "05429567804466091622"), url=URL.replace("abc", "abd"))


@pytest.mark.django_db
def test_neither_query_nor_fields_are_signed_so_the_address_must_stay_secret():
    """That is the protocol: whoever has seen one request's headers and knows the address may say anything there."""
    given_scene = scene(DIALECT)
    posted = given_scene.posted(Case("sms.form", "text"))
    stop = DIALECT.payload(Case("sms_stop.form", "text"))

    with_other_words = given_scene.deliver(type(posted)(stop, FORM, posted.headers, "a=b"))
    elsewhere = given_scene.deliver(posted, "/webhooks/plivo/guessed/")

    assert (with_other_words.status_code, elsewhere.status_code) == (200, 404)
    assert OptOut.objects.count() == 1
    assert len(given_scene.account.public_id) >= 22, "128 bits or more, in the address"


def test_one_of_a_list_of_v3_signatures_is_enough():
    body = b"Text=STOP&From=12025550143"
    header = signature_v3(TOKEN, "POST", URL, parse_qsl(body.decode()), "7")

    assert accepts(v3(f"bm8=,{header}", "7"), body=body)
    assert accepts(v3(header, "7", "Ma-"), body=body)
    assert not accepts(v3(f"bm8=,{header}", "7"), body=b"Text=STOQ&From=12025550143")
    assert not accepts(v3(f"bm8=,{header}", "8"), body=body)
    assert not accepts(v3(",", "7"), body=body)
    assert not accepts(v3(header, "7"), body=b"&".join([b"a=b"] * 5000))


# Plivo's own library as oracle

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=10)
tokens = words.filter(bool)
forms = st.lists(st.tuples(words, words), max_size=6)
ascii_words = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=10)
ascii_forms = st.lists(st.tuples(ascii_words, ascii_words), max_size=6)
urls = st.builds(
    "{}{}{}".format,
    st.sampled_from(["https://example.com", "http://example.com:8080"]),
    st.sampled_from(["/", "/webhooks/plivo/abc/"]),
    st.sampled_from(["", "?text=17", "?b=2&a=1&b=1", "?a%20b=%26+x&empty="]),
)
nonces = st.text("0123456789", min_size=1, max_size=20)


def their_v3(method: str, url: str, form: list[tuple[str, str]], nonce: str, token: str) -> str:
    given_fields = parse_qs(urlencode(form), keep_blank_values=True)
    build = construct_get_url if method == "GET" else construct_post_url
    return get_signature_v3(token.encode(), build(url, given_fields).decode(), nonce).decode()


@bounded
@given(url=urls, nonce=nonces, token=tokens)
def test_plivos_library_and_ours_accept_what_the_other_signs_in_v2(url, nonce, token):
    ours = signature(token, url, nonce)

    assert validate_signature(url, nonce, ours, token)
    # The library only checks; that it makes the same follows from its accepting no other.
    assert not validate_signature(url, nonce + "0", ours, token)
    assert accepts(v2(ours, nonce), url=url, token=token)
    assert not accepts(v2(ours, nonce + "0"), url=url, token=token)


@bounded
@given(url=urls, nonce=nonces, token=tokens, posted=forms, asked=ascii_forms | st.none())
@example(url="https://example.com/", nonce="1", token="t", posted=[("b", "2"), ("a", ""), ("b", "1")], asked=None)
@example(url="https://example.com/?b=2&a=1&b=1", nonce="1", token="t", posted=[], asked=None)
def test_plivos_library_and_ours_accept_what_the_other_signs_in_v3(url, nonce, token, posted, asked):
    method, form = ("POST", posted) if asked is None else ("GET", [])
    if asked:
        url += f"{'&' if '?' in url else '?'}{urlencode(asked)}"
    body = urlencode(form).encode()
    theirs, ours = their_v3(method, url, form, nonce, token), signature_v3(token, method, url, form, nonce)
    as_given = parse_qs(body.decode(), keep_blank_values=True)

    assert ours == theirs
    assert validate_v3_signature(method, url, nonce, token, ours, as_given)
    assert accepts(v3(f"bm8=,{theirs}", nonce), body=body, url=url, token=token, method=method)


def test_a_request_without_a_nonce_is_genuine_to_plivos_library_and_not_to_us():
    """Plivo always sends one; without it there is but one signature for an address, for ever."""
    assert validate_signature(URL, "", signature(TOKEN, URL, ""), TOKEN)
    assert not accepts(v2(signature(TOKEN, URL, ""), ""))


def test_plivos_library_cannot_check_a_v3_signature_over_letters_in_the_query_and_ours_can():
    """It reads the query as ASCII bytes. So what such a signature covers is what it would, if it could."""
    url = f"{URL}?{urlencode({'Text': 'café 👍🏽'})}"
    header = signature_v3(TOKEN, "GET", url, [], "1")

    with pytest.raises(UnicodeEncodeError):
        validate_v3_signature("GET", url, "1", TOKEN, header)
    assert header == get_signature_v3(TOKEN.encode(), f"{URL}?Text=café 👍🏽", "1").decode()
    assert accepts(v3(header, "1"), url=url, method="GET")


# What came in


@pytest.mark.parametrize(
    ("intent", "keyword"),
    [("optout", "STOP"), ("optin", "UNSTOP"), ("help", "HELP"), ("OptOut", "STOP"), ("future", ""), ("", "")],
)
def test_what_plivo_understood_is_told_and_that_it_has_answered_it(intent, keyword):
    text = parsed(From="12025550143", To="12025550100", Text="x", MessageUUID=OUT, MessageIntent=intent)

    assert isinstance(text, InboundText)
    assert (text.sender, text.to) == (SENDER, OURS)
    assert (text.carrier_keyword, text.carrier_replied) == (keyword, bool(intent))


def test_short_codes_and_names_stay_as_they_are():
    text = parsed(From="80808", To="12025550100", Text="x", MessageUUID=OUT)
    named = parsed(From="ACME", To="12025550100", Text="x", MessageUUID=OUT)

    assert (text.sender, named.sender) == ("80808", "ACME")


def test_media_are_counted_from_0_or_from_1_and_in_order():
    links = {f"Media{n}": f"https://media.plivo.com/{n}" for n in range(11)}

    text = parsed(From=SENDER, To=OURS, Body="", MessageUUID=OUT, MediaCount="11", **dict(reversed(links.items())))
    odd = parsed(From=SENDER, To=OURS, Text="x", MessageUUID=OUT, MediaCount="x", Media="y", Media100="z", Media3="")

    assert list(text.media) == [Media(f"https://media.plivo.com/{n}") for n in range(11)]
    assert list(odd.media) == []


@pytest.mark.parametrize(
    ("status", "code", "state", "opted_out"),
    [
        ("failed", "200", "failed", True),
        ("undelivered", "200", "failed", True),
        ("failed", "450", "failed", False),
        ("failed", "30", "failed", False),
        ("delivered", "000", "delivered", False),
        ("delivered", "", "delivered", False),
        ("queued", "", None, False),
        ("teleported", "", None, False),
        ("failed", "x" * 5000, "failed", False),
    ],
)
def test_what_a_status_and_its_code_mean(status, code, state, opted_out):
    update = parsed(f"{URL}?text=17", MessageUUID=OUT, Status=status, ErrorCode=code)

    shown = code if code.isdecimal() and code.strip("0") else ""
    assert update == StatusUpdate(OUT, state, f"{status} {shown}".strip(), opted_out, "17")


@pytest.mark.parametrize(
    ("reports", "after"),
    [
        ([("1 of 2", "delivered")], "sent"),
        ([("1 of 2", "delivered"), ("2 of 2", "delivered")], "delivered"),
        ([("1 of 2", "undelivered"), ("2 of 2", "delivered")], "failed"),
        ([("1 of 2", "delivered"), ("2 of 2", "undelivered")], "failed"),
        ([("1 of 1", "delivered")], "delivered"),
        ([("", "delivered")], "delivered"),
        ([("one of two", "delivered")], "delivered"),
    ],
)
@pytest.mark.django_db
def test_a_long_text_is_delivered_with_its_last_part_and_failed_with_any(reports, after):
    given_scene = scene(DIALECT)
    ours = given_scene.our_text(OUT)

    for number, (part, status) in enumerate(reports):
        own = OUT if not number else "5b40a428-bfc7-4daf-9d06-726c558b0fff"
        fields = {"MessageUUID": own, "ParentMessageUUID": OUT, "PartInfo": part, "Status": status, "ErrorCode": ""}
        answer = given_scene.deliver(given_scene.posted(Case("status_sent.form", "status"), urlencode(fields).encode()))
        assert answer.status_code == 200

    ours.refresh_from_db()
    assert ours.state == after
    assert Message.objects.count() == 1


@bounded
@given(
    fields=st.dictionaries(
        st.sampled_from(["From", "To", "Text", "Body", "MessageUUID", "Status", "ErrorCode", "PartInfo", "Media0",
                         "ParentMessageUUID", "MessageIntent", "MediaCount"]),
        st.sampled_from([OUT, "12025550143", "STOP", "sent", "failed", "200", "1 of 2", "\x00", ""]) | words,
    ),
    method=st.sampled_from(["POST", "GET"]),
)  # fmt: skip
def test_whatever_a_genuine_request_says_is_read_or_called_senseless(fields, method):
    encoded = urlencode(fields)

    try:
        events = Plivo().parse(WebhookRequest(method, f"{URL}?{encoded}", encoded.encode(), FORM))
    except NotUnderstood:
        return  # kept for the operator; anything else that is raised fails this test

    assert [type(event) for event in events] in ([InboundText], [StatusUpdate])


# Sending


def test_a_text_is_handed_over_as_json(server):
    server.will_answer(DIALECT.taken(OUT))
    text = OutboundText(OURS, SENDER, "1 + 1 = 2 👍🏽\n", "17", URL)

    uuid = Plivo().send(credentials(server), text)

    assert uuid == OUT
    assert server.asked[0].path == f"/Account/{AUTH_ID}/Message/"
    assert (
        server.asked[0].headers["Authorization"] == f"Basic {base64.b64encode(f'{AUTH_ID}:{TOKEN}'.encode()).decode()}"
    )
    assert json.loads(server.asked[0].body) == {
        "src": OURS, "dst": SENDER, "text": "1 + 1 = 2 👍🏽\n", "type": "sms", "url": f"{URL}?text=17",
        "method": "POST",
    }  # fmt: skip


def test_media_make_it_an_mms_and_without_https_no_status_is_asked_for(server):
    server.will_answer(DIALECT.taken(OUT))
    media = [Media("https://example.com/1.jpg"), Media("https://example.com/2.jpg")]

    Plivo().send(credentials(server), OutboundText(OURS, SENDER, "", "17", "http://127.0.0.1:8000/", media))

    document = json.loads(server.asked[0].body)
    assert (document["type"], document["media_urls"]) == ("mms", [one.url for one in media])
    assert "url" not in document


@pytest.mark.parametrize(
    ("status", "document", "permanent", "trouble", "uncertain"),
    [
        (400, {"error": "dst is not a valid phone number"}, True, False, False),
        (400, {"error": {"dst": ["invalid"]}}, True, False, False),
        (403, {"error": "message to this country is not enabled"}, True, False, False),
        (400, {"error": "Insufficient Credit"}, False, True, False),
        (402, {"error": "insufficient credit"}, False, True, False),
        (401, {}, False, True, False),
        (429, {"error": "too many requests"}, False, True, False),
        (500, {"error": "server error"}, False, True, False),
        (202, {"message_uuid": [], "invalid_number": ["12025550143"]}, True, False, False),
        (202, {"message_uuid": [None]}, False, False, True),
        (202, {"message": "message(s) queued"}, False, False, True),
    ],
)
def test_what_an_answer_says_of_the_text_and_of_the_account(server, status, document, permanent, trouble, uncertain):
    server.will_answer(Answer.json(status, document))

    with pytest.raises(CarrierError) as caught:
        Plivo().send(credentials(server), OutboundText(OURS, SENDER, "Hello", "17", URL))

    error = caught.value
    assert (error.permanent, error.is_trouble, error.uncertain) == (permanent, trouble, uncertain)
    assert not error.opted_out


def test_an_id_that_is_no_list_is_an_id(server):
    server.will_answer(Answer.json(202, {"message_uuid": OUT}))

    assert Plivo().send(credentials(server), OutboundText(OURS, SENDER, "Hello", "17", URL)) == OUT


# The account and its list


def test_the_test_names_the_account_and_its_credit(server):
    server.will_answer(Answer.json(200, {"auth_id": AUTH_ID, "name": "Acme Dental", "cash_credits": "12.30000"}))

    assert Plivo().test(credentials(server)) == "Plivo knows the account “Acme Dental”; it has 12.30000 credit."
    assert [(one.method, one.path) for one in server.asked] == [("GET", f"/Account/{AUTH_ID}/")]


@pytest.mark.parametrize(
    ("answer", "words_said"),
    [
        (DIALECT.locked_out(), "Copy Auth ID and auth token anew"),
        (Answer.json(404, {"error": "not found"}), "Copy Auth ID"),
        (Answer(200, b"<html>Welcome to our hotel</html>"), "none of Plivo's"),
        (DIALECT.failing(), "HTTP 500"),
        ("cut", "No answer"),
    ],
)
def test_a_connection_that_does_not_work_says_how_to_mend_it(server, answer, words_said):
    server.will_answer(answer)

    with pytest.raises(CarrierError, match=words_said) as caught:
        Plivo().test(credentials(server))

    assert TOKEN not in str(caught.value)


def entry(number: int, **more: Any) -> dict[str, Any]:
    return {
        "message_uuid": f"uuid-{number}", "message_direction": "inbound", "message_state": "delivered",
        "message_time": "2026-11-22 18:30:00.123456+00:00", "message_type": "sms", "from_number": SENDER[1:],
        "to_number": OURS[1:], "error_code": "000", "total_amount": "0.00650", "units": 1, **more,
    }  # fmt: skip


def page(*entries: object, following: str | None = None) -> Answer:
    meta = {"limit": 20, "offset": 0, "previous": None, "next": following, "total_count": len(entries)}
    return Answer.json(200, {"api_id": "x", "meta": meta, "objects": list(entries)})


def test_every_page_of_the_list_is_read_without_words(server):
    following = f"/v1/Account/{AUTH_ID}/Message/?limit=20&cursor=opaque"
    sent = {"message_direction": "outbound", "from_number": OURS, "to_number": SENDER}
    server.will_answer(
        page(
            entry(1),
            entry(2, message_time="2026-11-22T02:59:59+00:00"),
            entry(3, message_time=None),
            following=following,
        ),
        page(entry(4, message_state="undelivered", error_code="200", **sent), entry(5, message_state="queued", **sent)),
    )

    texts = list(Plivo().listed(credentials(server), SINCE, UNTIL))

    at = datetime(2026, 11, 22, 18, 30, 0, 123456, tzinfo=UTC)
    assert texts == [
        ListedText("uuid-1", True, SENDER, OURS, at, detail="delivered"),
        ListedText("uuid-4", False, OURS, SENDER, at, state="failed", detail="undelivered 200", opted_out=True),
        ListedText("uuid-5", False, OURS, SENDER, at, detail="queued"),
    ]
    first, second = (one.path for one in server.asked)
    assert dict(parse_qsl(first.partition("?")[2])) == {
        "message_time__gte": "2026-11-22 03:00:00",
        "message_time__lte": "2026-11-23 03:00:00.000000",
        "limit": "20",
        "offset": "0",
    }
    assert second == following


def test_a_next_page_on_another_host_is_not_opened(server):
    server.will_answer(page(entry(1), following="https://evil.example.com/v1/Message/?offset=20"))

    with pytest.raises(CarrierError, match="another host"):
        list(Plivo().listed(credentials(server), SINCE, UNTIL))

    assert len(server.asked) == 1


def test_a_list_that_is_asked_too_often_is_waited_for_as_plivo_asks(server):
    server.will_answer(
        DIALECT.busy(0), page(entry(1), following="/next"), DIALECT.busy(0), DIALECT.busy(0), page(entry(2))
    )

    texts = list(Plivo().listed(credentials(server), SINCE, UNTIL))

    assert [text.message_id for text in texts] == ["uuid-1", "uuid-2"]
    assert len(server.asked) == 5


@pytest.mark.parametrize(("answer", "asked"), [(DIALECT.busy(0), 3), (DIALECT.busy(3600), 1), (DIALECT.failing(), 1)])
def test_a_list_is_not_waited_for_longer_than_a_minute_or_thrice(server, answer, asked):
    server.will_answer(answer)

    with pytest.raises(CarrierError) as caught:
        list(Plivo().listed(credentials(server), SINCE, UNTIL))

    assert (len(server.asked), caught.value.is_trouble, caught.value.uncertain) == (asked, True, False)


def test_a_list_without_texts_is_no_answer_of_plivos(server):
    server.will_answer(Answer(200, b"{}"))

    with pytest.raises(CarrierError, match="none of Plivo's"):
        list(Plivo().listed(credentials(server), SINCE, UNTIL))
