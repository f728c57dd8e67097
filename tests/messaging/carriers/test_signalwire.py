"""SignalWire where it is not Twilio: what it signs and how, statuses as JSON, and the account's own address.

Its SDK is no oracle here (it brings a web framework and two servers); what it does differently is said below.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from messaging.carriers.base import CarrierError, OutboundText, Refused, StatusUpdate, WebhookRequest
from messaging.carriers.signalwire import SignalWire, signature
from messaging.carriers.twilio import signature as twilios
from messaging.models import Message
from offices.credentials import Credentials
from tests.messaging.carriers.dialect import OURS, PAYLOADS, SENDER, Answer, Case
from tests.messaging.carriers.dialects.signalwire import DIALECT, OUT, PROJECT
from tests.messaging.carriers.loopback import Loopback
from tests.messaging.carriers.scene import scene

KEY = DIALECT.secret()
URL = "https://portal.example.com/webhooks/signalwire/abc/"
FORM = "application/x-www-form-urlencoded"
REPEATED = b"Tag=b&Tag=a&Body=STOP&Tag=b"
IN_ORDER = [("Tag", "b"), ("Tag", "a"), ("Body", "STOP"), ("Tag", "b")]
JSON = (PAYLOADS / "signalwire" / "status_delivered.json").read_bytes()


def credentials(server: Loopback | None = None) -> Credentials:
    base = {"api_base": server.url} if server else {}
    return Credentials({**DIALECT.settings, **base}, {name: [value] for name, value in DIALECT.secrets.items()})


def accepts(
    header: str, body: bytes, *, url: str = URL, content_type: str = FORM, name: str = "", method: str = "POST"
) -> bool:
    request = WebhookRequest(method, url, body, content_type, {name or "X-SignalWire-Signature": header})
    try:
        SignalWire().verify(credentials(), request)
    except Refused:
        return False
    return True


def in_hex(text: bytes, key: str = KEY) -> str:
    return hmac.digest(key.encode(), text, hashlib.sha1).hex()


def in_base64(text: str, key: str = KEY) -> str:
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), hashlib.sha1)).decode()


# What is genuine


@pytest.mark.parametrize(
    ("signed", "is_genuine"),
    [
        ("BodySTOPTagbTagaTagb", True),
        ("BodySTOPTagaTagbTagb", False),  # sorted by value as well
        ("BodySTOPTagaTagb", False),  # and each once, as Twilio does
        ("TagbTagaBodySTOPTagb", False),  # in the order of the request
        ("BodySTOPTagb", False),
        ("", False),
    ],
)
def test_repeated_fields_are_signed_in_the_order_sent_and_as_often(signed, is_genuine):
    assert accepts(in_base64(URL + signed), REPEATED) == is_genuine


def test_without_repeated_fields_it_signs_as_twilio_does():
    fields = [("To", OURS), ("Body", " STOP "), ("From", SENDER), ("Empty", "")]

    assert signature(KEY, URL, fields) == twilios(KEY, URL, fields)
    assert signature(KEY, URL, IN_ORDER) != twilios(KEY, URL, IN_ORDER)


@pytest.mark.parametrize("name", ["X-SignalWire-Signature", "x-signalwire-signature", "X-Twilio-Signature"])
def test_the_signature_may_come_under_either_name(name):
    assert accepts(in_base64(URL + "BodySTOPTagbTagaTagb"), REPEATED, name=name)
    assert accepts(in_hex(URL.encode() + JSON), JSON, content_type="application/json", name=name)


def test_json_is_signed_in_hexadecimal_over_the_address_and_its_bytes():
    as_json = {"content_type": "application/json"}
    spaced = json.dumps(json.loads(JSON), indent=1).encode()

    assert accepts(in_hex(URL.encode() + JSON), JSON, **as_json)
    assert accepts(in_hex(b"https://portal.example.com:443/webhooks/signalwire/abc/" + JSON), JSON, **as_json)
    assert not accepts(in_hex(URL.encode() + JSON), spaced, **as_json)
    assert not accepts(in_hex(URL.encode() + JSON).upper(), JSON, **as_json)
    assert not accepts(in_hex(URL.encode() + JSON, "another"), JSON, **as_json)
    assert not accepts(in_hex(JSON), JSON, **as_json)
    assert not accepts(in_hex(URL.encode()), JSON, **as_json)


def test_json_may_also_have_its_hash_in_the_address_as_twilios():
    right, wrong = (f"{URL}?bodySHA256={hashlib.sha256(body).hexdigest()}" for body in (JSON, JSON + b" "))

    assert accepts(in_base64(right), JSON, url=right, content_type="application/json")
    assert not accepts(in_base64(wrong), JSON, url=wrong, content_type="application/json")


def test_a_signature_over_the_address_alone_is_one_of_a_get_alone():
    """SignalWire's own library takes it for any body where the address holds no hash: whoever has seen the signature of
    one GET could then post anything to the same address."""
    header = in_base64(URL)

    assert accepts(header, b"", method="GET")
    assert not accepts(header, JSON, content_type="application/json")
    assert not accepts(header, REPEATED)


def test_the_api_token_signs_nothing():
    header = in_base64(URL + "BodySTOPTagbTagaTagb", DIALECT.secrets["api_token"])

    assert not accepts(header, REPEATED)


def test_more_fields_than_any_message_has_are_refused():
    assert not accepts("A" * 28, b"&".join([b"a=b"] * 5000))


# Statuses


@pytest.mark.parametrize(
    ("code", "opted_out"),
    [
        ("30004", True),
        ("21610", True),
        ("message_blocked_by_carrier", True),
        ("message_blocked_by_number", False),
        ("30007", False),
        ("30003", False),
        (None, False),
    ],
)
def test_which_codes_say_that_the_recipient_opted_out(code, opted_out):
    body = json.dumps({"id": OUT, "status": "undelivered", "from": OURS, "to": SENDER, "error_code": code}).encode()

    (status,) = SignalWire().parse(WebhookRequest("POST", f"{URL}?text=17", body, "application/json; charset=utf-8"))

    assert status == StatusUpdate(OUT, "failed", f"undelivered {code or ''}".strip(), opted_out, "17")


@pytest.mark.django_db
def test_a_status_that_repeats_a_text_of_ours_is_no_text_to_us():
    given = scene(DIALECT)
    ours = given.our_text(OUT)
    case = Case("status_delivered_of_a_text_that_says_stop.form", "status", OUT, state="delivered")

    answer = given.deliver(given.posted(case))

    assert answer.status_code == 200
    ours.refresh_from_db()
    assert ours.state == "delivered"
    assert Message.objects.count() == 1


# Sending


@pytest.mark.django_db
def test_texts_go_to_the_project_of_the_space_with_the_api_token(server):
    server.will_answer(DIALECT.taken(OUT))

    sid = SignalWire().send(credentials(server), OutboundText(OURS, SENDER, "Hello", "17", URL))

    signed_in = base64.b64encode(f"{PROJECT}:PT-api-token".encode()).decode()
    assert sid == OUT
    assert server.asked[0].path == f"/Accounts/{PROJECT}/Messages.json"
    assert server.asked[0].headers["Authorization"] == f"Basic {signed_in}"
    assert server.asked[0].body.endswith(b"%2Fabc%2F%3Ftext%3D17")


@pytest.mark.parametrize("space", ["example", "Example-2", "x"])
def test_the_address_is_that_of_the_space(space):
    (setting,) = (one for one in SignalWire.SETTINGS if one.name == "space")

    url = SignalWire().account_url(Credentials({"space": space, "project_id": PROJECT}))

    assert re.fullmatch(setting.pattern, space)
    assert url == f"https://{space}.signalwire.com/api/laml/2010-04-01/Accounts/{PROJECT}"


@pytest.mark.parametrize("space", ["", "example.signalwire.com", "https://example", "evil.com/", "a@evil", "a#", "-a"])
def test_a_space_leads_nowhere_else(space):
    (setting,) = (one for one in SignalWire.SETTINGS if one.name == "space")

    url = SignalWire().account_url(Credentials({"space": space, "project_id": PROJECT}))

    assert not re.fullmatch(setting.pattern, space)
    assert url.partition("/api/")[0].endswith(".signalwire.com")
    assert not set("/@#?\\") & set(url.removeprefix("https://").partition("/api/")[0])


@pytest.mark.parametrize(
    ("status", "document", "permanent", "opted_out", "trouble"),
    [
        (400, {"code": 21610, "message": "No.", "status": 400}, True, True, False),
        (400, {"code": "30004", "message": "No.", "status": 400}, True, True, False),
        (422, {"errors": [{"code": "message_blocked_by_carrier", "message": "No."}]}, True, True, False),
        (422, {"errors": [{"code": "campaign_not_active", "message": "No."}]}, True, False, False),
        (422, {"errors": []}, True, False, False),
        (422, {"errors": ["x"]}, True, False, False),
        (400, {"code": 21717, "message": "No.", "status": 400}, True, False, False),
        (401, {}, False, False, True),
        (500, {"errors": "x"}, False, False, True),
    ],
)
def test_what_an_answer_says_of_the_text_and_of_the_account(server, status, document, permanent, opted_out, trouble):
    server.will_answer(Answer.json(status, document))

    with pytest.raises(CarrierError) as caught:
        SignalWire().send(credentials(server), OutboundText(OURS, SENDER, "Hello", "17", URL))

    error = caught.value
    assert (error.permanent, error.opted_out, error.is_trouble) == (permanent, opted_out, trouble)


# The account and its list


def test_the_test_names_the_project_or_says_how_to_mend_it(server):
    server.will_answer(
        Answer.json(200, {"sid": PROJECT, "friendly_name": "Acme Dental", "status": "active"}), Answer(401, b"")
    )

    said = SignalWire().test(credentials(server))

    assert said == "SignalWire knows the account “Acme Dental”, and it is active."
    assert server.asked[0].path == f"/Accounts/{PROJECT}.json"
    with pytest.raises(CarrierError, match="Copy the Space, the Project ID and an API token"):
        SignalWire().test(credentials(server))


def test_the_list_is_read_page_by_page_as_twilios(server):
    def item(number: int, **more: Any) -> dict[str, Any]:
        at = "Sun, 22 Nov 2026 18:30:00 +0000"
        return {
            "sid": f"{number}", "direction": "inbound", "from": SENDER, "to": OURS, "body": "STOP", "num_media": 0,
            "status": "received", "error_code": None, "date_created": at, "date_sent": at, **more,
        }  # fmt: skip

    server.will_answer(
        Answer.json(
            200,
            {
                "messages": [item(1), item(2, num_media=1, body=None)],
                "next_page_uri": f"/api/laml/2010-04-01/Accounts/{PROJECT}/Messages?Page=1&PageToken=PA2",
            },
        ),
        Answer.json(
            200,
            {
                "messages": [
                    item(3, direction="outbound-api", status="undelivered", error_code="30004", **{"from": OURS})
                ],
                "next_page_uri": None,
            },
        ),
    )
    window = datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)

    texts = list(SignalWire().listed(credentials(server), *window))

    assert [(text.message_id, text.is_inbound, text.text, len(text.media)) for text in texts] == [
        ("1", True, "STOP", 0),
        ("2", True, None, 1),  # withheld as spam: it may have been a STOP
        ("3", False, "STOP", 0),
    ]
    assert (texts[2].state, texts[2].opted_out) == ("failed", True)
