"""Vonage's SMS API, besides what holds for every carrier: its own library as an oracle, parts, GET, codes in a 200."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vonage_http_client.auth import Auth

from messaging import inbound
from messaging.carriers.base import CarrierError, Media, NotUnderstood, OutboundText, Part, Refused, WebhookRequest
from messaging.carriers.vonage_sms import METHODS, VonageSms, signature
from messaging.models import ConsentEvent, Hold, Message, OptOut, WebhookReceipt
from offices.credentials import Credentials
from tests.factories import NumberFactory, OfficeFactory
from tests.messaging.api_calls import count_stored
from tests.messaging.carriers.dialect import OURS, PAYLOADS, SENDER, Answer, Posted
from tests.messaging.carriers.dialects.vonage_sms import DIALECT, FORM, NONCE, sig
from tests.messaging.carriers.loopback import Loopback
from tests.messaging.carriers.scene import Scene, scene

ADDRESS = "https://portal.example.com/webhooks/vonage_sms/a/"
SECRET = DIALECT.secrets["signature_secret"]
HOUR = 3600
HMACS = [name for name, _ in METHODS if name != "md5hash"]
words = st.text(st.characters(codec="utf-8"), max_size=12)
names = st.text(st.characters(codec="ascii", exclude_characters="&="), min_size=1, max_size=12)
signable = st.dictionaries(names.filter(lambda name: name not in ("sig", "timestamp")), words, max_size=8)
bounded = settings(max_examples=60, deadline=None, derandomize=True)


def payload(name: str) -> bytes:
    return (PAYLOADS / "vonage_sms" / name).read_bytes()


def fields_of(name: str) -> dict[str, str]:
    content = payload(name)
    if name.endswith("json"):
        return {key: str(value) for key, value in json.loads(content).items()}
    return dict(parse_qsl(content.decode(), keep_blank_values=True))


def credentials(method: str = "sha256", **more: str) -> Credentials:
    chosen = {**DIALECT.settings, "signature_method": method, **more}
    return Credentials(chosen, {name: [secret] for name, secret in DIALECT.secrets.items()})


def now(hours: float = 0) -> str:
    return str(int(time.time() + hours * HOUR))


def taken(content: bytes, method: str = "sha256", *, query: str = "") -> bool:
    request = WebhookRequest("GET" if query else "POST", f"{ADDRESS}?{query}", content, FORM)
    try:
        VonageSms().verify(credentials(method), request)
    except Refused:
        return False
    return True


def theirs(method: str) -> Auth:
    return Auth(api_key="abcd1234", signature_secret=SECRET, signature_method=method)


# What is genuine: Vonage's library as oracle


@bounded
@given(fields=signable, method=st.sampled_from(HMACS))
@example(fields={"text": "1 + 1 = 2 & 50% 👍🏽 café\nnew line", "msisdn": "12025550143"}, method="sha256")
@example(fields={"text": "", "keyword": ""}, method="md5")
@example(fields={"a": "b", "B": "c", "a-b": "d", "a_b": "e", "aB": "f"}, method="sha512")
def test_vonages_library_and_ours_take_what_the_other_signs(fields, method):
    stamped = {**fields, "timestamp": now()}
    signed_by_them = theirs(method).sign_params(dict(stamped))
    signed_by_us = signature(SECRET, method, stamped)

    assert signed_by_us == signed_by_them
    assert theirs(method).check_signature({**stamped, "sig": signed_by_us})
    for written in (signed_by_them, signed_by_them.upper()):
        encoded = urlencode({**stamped, "sig": written})
        assert taken(encoded.encode(), method)
        assert taken(b"", method, query=encoded)
        assert taken(json.dumps({**stamped, "sig": written}).encode(), method)


@bounded
@given(fields=signable, method=st.sampled_from(HMACS), given_sig=words)
def test_vonages_library_and_ours_refuse_the_same_signatures(fields, method, given_sig):
    # Letters of other scripts that become ASCII in lower case are no digits of a signature either.
    stamped = {**fields, "timestamp": now(), "sig": given_sig.encode("ascii", "ignore").decode()}

    assert not theirs(method).check_signature(dict(stamped))
    assert not taken(urlencode(stamped).encode(), method)


def test_the_plain_md5_of_older_accounts_is_taken_though_their_library_does_not_know_it():
    """Their library's “md5” is the HMAC. Accounts whose dashboard says “MD5 hash signature” sign without one."""
    fields = {**fields_of("sms_stop.json"), "timestamp": now()}
    signed = {**fields, "sig": sig(SECRET, "md5hash", fields)}

    assert taken(urlencode(signed).encode(), "md5hash")
    assert not taken(urlencode(signed).encode(), "md5")
    assert not theirs("md5").check_signature(dict(signed))


def test_blank_values_may_be_signed_or_left_out_as_vonages_libraries_differ():
    """Python and Ruby sign them, Java leaves them out."""
    fields = {**fields_of("sms_blank_fields.form"), "timestamp": now()}
    as_java = {name: value for name, value in fields.items() if value.strip()}
    without = {**fields, "sig": sig(SECRET, "sha256", as_java)}

    assert as_java != fields
    assert taken(urlencode({**fields, "sig": sig(SECRET, "sha256", fields)}).encode())
    assert taken(urlencode(without).encode())
    assert not theirs("sha256").check_signature(dict(without))


def test_a_blank_value_that_somebody_adds_changes_nothing():
    """It would not show in the signature: so it must not show in what is read."""
    plain = fields_of("sms_stop.json")
    more = {"status": "", "concat": " ", "data": "", "udh": "", "message-id": "", "err-code": ""}

    read = [
        VonageSms().parse(WebhookRequest("POST", ADDRESS, urlencode({**fields}).encode(), FORM))
        for fields in (plain, {**plain, **more})
    ]

    assert read[0] == read[1]


@pytest.mark.parametrize("method", [name for name, _ in METHODS])
@pytest.mark.parametrize("account", [name for name, _ in METHODS])
def test_only_the_method_that_the_account_names_is_taken(method, account):
    fields = {**fields_of("sms_stop.json"), "timestamp": now()}
    content = urlencode({**fields, "sig": sig(SECRET, method, fields)}).encode()

    assert taken(content, account) == (method == account)


@pytest.mark.parametrize("method", ["", "sha3_512", "none"])
def test_without_a_method_of_vonages_nothing_is_taken(method):
    fields = {**fields_of("sms_stop.json"), "timestamp": now()}

    assert not taken(urlencode({**fields, "sig": sig(SECRET, "sha256", fields)}).encode(), method)


def test_two_fields_cannot_be_passed_off_as_one():
    """“a=1&b=2” is signed like a field “a=1&b” with the value 2: a genuine part would lose the word that it is one."""
    fields = {**fields_of("sms_part_2_of_2.form"), "timestamp": now()}
    signed = sig(SECRET, "sha256", fields)
    hidden = {name: value for name, value in fields.items() if name not in ("api-key", "concat")}
    merged = {**hidden, f"api-key={fields['api-key']}&concat": fields["concat"], "sig": signed}

    assert sig(SECRET, "sha256", {name: value for name, value in merged.items() if name != "sig"}) == signed
    assert not taken(urlencode(merged).encode())


@pytest.mark.parametrize(
    ("times", "is_taken"),
    [
        ({"timestamp": now()}, True),
        ({"timestamp": now(-24)}, True),
        ({"timestamp": now(-26)}, False),
        ({"timestamp": "0"}, False),
        ({"timestamp": "nan"}, False),
        ({"timestamp": "soon"}, False),
        # Only what has no count of seconds is as old as it says in words.
        ({"message-timestamp": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())}, True),
        ({"message-timestamp": "2020-01-01 12:00:00"}, False),
        ({"message-timestamp": ""}, False),
    ],
)
def test_a_text_counts_as_long_as_vonage_comes_again(times, is_taken):
    """For 24 hours; its time is that of the first attempt."""
    fields = {**fields_of("sms_stop.json"), "message-timestamp": "2026-11-23 18:30:00", **times}

    assert taken(urlencode({**fields, "sig": sig(SECRET, "sha256", fields)}).encode()) == is_taken


@pytest.mark.parametrize("name", ["sms_stop.json", "sms_stop.form"])
@pytest.mark.django_db
def test_whoever_has_not_switched_signing_on_is_told_how(name):
    given = scene(DIALECT)

    answer = given.deliver(Posted(payload(name), FORM))

    assert answer.status_code == 403
    assert "switch on" in answer.json()["detail"]
    assert set(count_stored().values()) == {0}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"{" * 100_000, b'{"sig": 1e999}', b"&".join([b"a=b"] * 2000)])
def test_what_is_neither_form_nor_json_is_refused(content):
    assert not taken(content)


# Texts in parts


def deliver(given: Scene, name: str, **changed: str) -> Any:
    fields = {**fields_of(name), **changed}
    posted = DIALECT.signed(urlencode(fields).encode(), SECRET, "sha256", {"timestamp": now(), "nonce": NONCE})
    return given.deliver(posted)


FIRST, SECOND = "sms_part_1_of_2.json", "sms_part_2_of_2.form"


@pytest.mark.parametrize("order", [(FIRST, SECOND), (SECOND, FIRST), (SECOND, SECOND, FIRST, FIRST)])
@pytest.mark.django_db
def test_a_text_in_parts_is_read_as_a_whole_in_whatever_order_they_come(order):
    """The second part alone says STOP: the whole is a wish to stop in other words, which a person judges."""
    given = scene(DIALECT)

    answers = [deliver(given, name).status_code for name in order]

    assert answers == [200] * len(order)
    message = Message.objects.get(direction="in")
    assert message.text == "Please stop sending me these texts, I have asked you before and STOP"
    assert message.outcome == "held"
    assert (Hold.objects.count(), OptOut.objects.count()) == (1, 0)


@pytest.mark.django_db
def test_a_part_that_says_stop_opts_nobody_out_before_the_others_are_there():
    given = scene(DIALECT)

    deliver(given, SECOND)

    assert not Message.objects.exists()
    assert not ConsentEvent.objects.exists()


@pytest.mark.django_db
def test_parts_of_binary_texts_are_put_together_too():
    given = scene(DIALECT)

    deliver(given, "binary_part_1_of_2.json")
    rest = {"data": "op texting me".encode("utf-16-be").hex(), "udh": "0500032a0202", "messageId": "0B00000001A2B3FF"}
    deliver(given, "binary_part_1_of_2.json", **rest)

    assert Message.objects.get(direction="in").text == "Please stop texting me"


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({}, Part("108", 2, 2)),
        ({"concat": "TRUE"}, Part("108", 2, 2)),
        ({"concat": "false"}, None),
        ({"concat-ref": ""}, None),
        ({"concat-part": "3"}, None),
        ({"concat-part": "two"}, None),
        ({"concat-total": "300"}, None),
        ({"concat-part": "1", "concat-total": "1"}, None),
    ],
)
def test_part_numbers_that_make_no_sense_leave_a_text_by_itself(changed, part):
    content = urlencode({**fields_of(SECOND), **changed}).encode()

    (text,) = VonageSms().parse(WebhookRequest("POST", ADDRESS, content, FORM))

    assert (text.text, text.part) == ("STOP", part)


# By GET


@pytest.mark.django_db
def test_a_stop_that_came_by_get_to_a_number_of_nobody_is_kept_and_obeyed_once_the_number_is_there():
    given = scene(DIALECT, e164="+12025550199")
    fields = {**fields_of("sms_stop.query"), "timestamp": now()}
    query = urlencode({**fields, "sig": sig(SECRET, "sha256", fields)})

    answer = given.deliver(Posted(b"", "", query=query, method="GET"))

    assert answer.status_code == 422
    NumberFactory(office=OfficeFactory(company=given.account.company), account=given.account, e164=OURS)
    assert inbound.run_again(WebhookReceipt.objects.get(), by=None).outcome == "opted_out"


def test_a_request_with_more_fields_than_vonage_has_is_not_understood():
    with pytest.raises(NotUnderstood):
        VonageSms().parse(WebhookRequest("POST", ADDRESS, b"&".join([b"a=b"] * 2000), FORM))


# Sending


def text(words_: str = "Your order is ready.", **more: Any) -> OutboundText:
    return OutboundText(OURS, SENDER, words_, "17", **{"status_url": ADDRESS, **more})


def sent(server: Loopback, given: OutboundText) -> Mapping[str, str]:
    server.will_answer(DIALECT.taken("0C000000217B7F02"))
    VonageSms().send(credentials(api_base=server.url), given)
    return dict(parse_qsl(server.asked[-1].body.decode(), keep_blank_values=True))


def test_a_text_leaves_with_our_reference_and_the_address_for_its_receipt(server: Loopback):
    assert sent(server, text()) == {
        "api_key": "abcd1234",
        "api_secret": DIALECT.secrets["api_secret"],
        "from": "12025550100",
        "to": "12025550143",
        "text": "Your order is ready.",
        "type": "text",
        "client-ref": "17",
        "status-report-req": "true",
        "callback": ADDRESS,
    }
    assert "api_secret" not in server.asked[0].path


@pytest.mark.parametrize(
    ("words_", "kind"), [("Café {open} at 5 €", "text"), ("Ready 👍", "unicode"), ("ready – now", "unicode")]
)
def test_what_is_not_in_the_gsm_alphabet_leaves_as_unicode(server: Loopback, words_, kind):
    fields = sent(server, text(words_))

    assert (fields["type"], fields["text"]) == (kind, words_)


@pytest.mark.parametrize("address", ["http://127.0.0.1/a/", f"https://{'a' * 93}/"])
def test_an_address_that_vonage_would_not_take_is_left_out(server: Loopback, address):
    """Vonage then calls that of the account."""
    assert "callback" not in sent(server, text(status_url=address))


def test_an_mms_is_not_handed_over_as_less_than_it_is(server: Loopback):
    with pytest.raises(CarrierError, match="Messages API") as raised:
        VonageSms().send(credentials(api_base=server.url), text(media=[Media("https://example.com/a.png")]))

    assert raised.value.permanent
    assert not server.asked


def parts(*statuses: str) -> Answer:
    made = [DIALECT.part(status, **{"message-id": f"0C{n}"}) for n, status in enumerate(statuses, 1)]
    return Answer.json(200, {"message-count": str(len(made)), "messages": made})


def test_a_text_that_vonage_cuts_is_known_by_its_first_part(server: Loopback):
    server.will_answer(parts("0", "0", "0"))

    assert VonageSms().send(credentials(api_base=server.url), text("long " * 80)) == "0C1"


@pytest.mark.parametrize("answer", [parts("0", "1"), parts("1", "0", "0"), parts("0", "5")])
def test_a_text_of_which_some_parts_were_taken_is_not_handed_over_again(server: Loopback, answer):
    server.will_answer(answer)

    with pytest.raises(CarrierError, match="parts of the text") as raised:
        VonageSms().send(credentials(api_base=server.url), text("long " * 80))

    assert raised.value.permanent


@pytest.mark.parametrize(
    ("answer", "permanent", "is_trouble", "uncertain"),
    [
        *[
            (DIALECT.refused(code, "why"), False, True, False)
            for code in ("1", "4", "5", "8", "9", "10", "11", "14", "32")
        ],
        *[
            (DIALECT.refused(code, "why"), True, False, False)
            for code in ("2", "3", "6", "7", "12", "15", "22", "29", "33")
        ],
        (DIALECT.refused("99", "a new one"), True, False, False),
        (parts("1", "1"), False, True, False),
        (Answer.json(429, {"messages": [{"status": "1"}]}), False, True, False),
        (Answer(429, b""), False, True, False),
        (Answer(401, b""), False, True, False),
        (Answer(400, b""), True, False, False),
        (Answer(200, b""), False, False, True),
        (Answer.json(200, {"messages": []}), False, False, True),
        (Answer.json(200, {"messages": [{"status": "0"}]}), False, False, True),
    ],
)
def test_each_refusal_means_what_vonage_says_it_means(server: Loopback, answer, permanent, is_trouble, uncertain):
    """None of them is an opt-out: the 9 of an answer is an account out of credit, that of a receipt somebody who has
    opted out."""
    server.will_answer(answer)

    with pytest.raises(CarrierError) as raised:
        VonageSms().send(credentials(api_base=server.url), text())

    error = raised.value
    assert (error.permanent, error.is_trouble, error.uncertain) == (permanent, is_trouble, uncertain)
    assert not error.opted_out
    assert DIALECT.secrets["api_secret"] not in str(error)


def test_the_connection_is_tested_by_asking_for_the_balance(server: Loopback):
    server.will_answer(Answer.json(200, {"value": 3, "autoReload": True}))

    assert "3.00 EUR" in VonageSms().test(credentials(api_base=server.url))
    assert server.asked[0].path == "/account/get-balance"
