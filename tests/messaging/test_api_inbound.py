"""The generic inbound address: who may deliver, what is answered, and that no genuine text is ever lost."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.utils import timezone
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from messaging import gate, inbound
from messaging.models import ConsentEvent, Message, OptOut, Recipient, WebhookReceipt
from offices.models import ApiToken, Number
from tests.factories import (
    NumberFactory,
    OfficeFactory,
    RecipientFactory,
    UserFactory,
)
from tests.messaging.api_calls import SOMEBODY, bearer, call, count_stored, is_problem

pytestmark = pytest.mark.django_db

INBOUND = "/api/v1/inbound/"
# Random, but the same on every run: a red test must be red again.
bounded = hypothesis_settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def number():
    return NumberFactory()


@pytest.fixture
def token(number):
    return bearer(number.company, "inbound", account=number.account)


def document(number, text="STOP", **fields):
    return {"from": SOMEBODY, "to": number.e164, "text": text, "message_id": "m-1", **fields}


# Who may deliver


def test_a_request_without_a_token_is_answered_401_and_stores_nothing(number):
    answer = call(INBOUND, document(number))

    assert is_problem(answer, 401)
    assert answer["WWW-Authenticate"] == "Bearer"
    assert set(count_stored().values()) == {0}


@pytest.mark.parametrize(
    "given_token",
    [
        pytest.param("Bearer sop_not-a-token", id="unknown token"),
        pytest.param("Bearer", id="no token behind the scheme"),
        pytest.param("Bearer  ", id="only spaces behind the scheme"),
        pytest.param("Basic dXNlcjpwYXNz", id="other scheme"),
        pytest.param("Bearer \xe9\xff\x80", id="no ASCII"),
        pytest.param("Bearer " + "x" * 8000, id="very long"),
    ],
)
def test_a_token_that_is_none_is_answered_401_and_stores_nothing(number, given_token):
    answer = call(INBOUND, document(number), token=given_token)

    assert is_problem(answer, 401)
    assert set(count_stored().values()) == {0}


def test_a_revoked_token_is_answered_401_and_stores_nothing(number, token):
    ApiToken.objects.update(revoked_at=timezone.now())

    assert is_problem(call(INBOUND, document(number), token=token), 401)
    assert set(count_stored().values()) == {0}


def test_an_expired_token_is_answered_401_and_stores_nothing(number):
    over = timezone.now() - timedelta(seconds=1)
    token = bearer(number.company, "inbound", account=number.account, expires_at=over)

    assert is_problem(call(INBOUND, document(number), token=token), 401)
    assert set(count_stored().values()) == {0}


@pytest.mark.parametrize("scope", ["check", "send", "read"])
def test_a_token_without_the_inbound_scope_is_answered_403_and_stores_nothing(number, scope):
    token = bearer(number.company, scope, account=number.account)

    answer = call(INBOUND, document(number), token=token)

    assert is_problem(answer, 403)
    assert "inbound" in answer.json()["detail"]
    assert set(count_stored().values()) == {0}


def test_a_stop_to_a_switched_off_account_is_obeyed_without_an_answer(number, token):
    number.account.is_active = False
    number.account.save()

    answer = call(INBOUND, document(number, text="STOP"), token=token)

    assert (answer.status_code, answer.json()["outcome"]) == (201, "opted_out")
    assert OptOut.objects.filter(closed_at__isnull=True).count() == 1
    assert not Message.objects.filter(direction="out").exists()


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_only_post_delivers_a_text(number, token, method):
    answer = call(INBOUND, document(number), token=token, method=method)

    assert is_problem(answer, 405)
    assert "POST" in answer["Allow"]
    assert set(count_stored().values()) == {0}


def test_the_secret_of_a_token_is_not_what_the_table_keeps(number, token):
    secret = token.removeprefix("Bearer ")
    row = ApiToken.objects.get()

    assert secret not in (row.digest, row.prefix)
    assert is_problem(call(INBOUND, document(number), token=f"Bearer {row.digest}"), 401)


# What is answered


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("STOP", "opted_out"),
        ("sToP", "opted_out"),
        ("UNSTOP", "opted_in"),
        ("HELP", "help"),
        ("STOP ", "held"),
        ("please stop texting me", "held"),
        ("See you at nine", "conversation"),
        ("", "conversation"),
    ],
)
def test_a_new_text_is_answered_201_with_its_outcome(number, token, text, outcome):
    answer = call(INBOUND, document(number, text), token=token)

    assert answer.status_code == 201
    message = Message.objects.get(direction="in")
    assert answer.json() == {"outcome": outcome, "duplicate": False, "message": message.pk}
    assert (message.text, message.outcome) == (text, outcome)


def test_a_stop_blocks_from_the_answer_on(number, token):
    call(INBOUND, document(number), token=token)

    verdict = gate.check(number, Recipient.objects.get(e164=SOMEBODY))

    assert not verdict.allowed
    assert verdict.code == "opted_out_company"


def test_a_keyword_on_a_toll_free_number_is_the_networks(db):
    number = NumberFactory(toll_free=True)
    token = bearer(number.company, "inbound", account=number.account)

    answer = call(INBOUND, document(number), token=token)

    assert answer.json()["outcome"] == "network_keyword"
    assert not OptOut.objects.exists()


def test_a_text_between_two_of_our_numbers_is_chat_and_no_command(number, token):
    colleague = NumberFactory(office=number.office)

    answer = call(INBOUND, document(number, **{"from": colleague.e164}), token=token)

    assert (answer.status_code, answer.json()["outcome"]) == (201, "chat")
    assert not OptOut.objects.exists()


def test_the_same_text_again_is_answered_200_and_changes_nothing(number, token):
    first = call(INBOUND, document(number), token=token)
    stored = count_stored()

    second = call(INBOUND, document(number), token=token)

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == {**first.json(), "duplicate": True}
    assert count_stored() == stored


def test_the_carriers_own_time_is_kept_and_one_in_the_future_is_not_believed(number, token):
    past, future = "2026-11-01T12:00:00+02:00", "2999-01-01T00:00:00Z"
    call(INBOUND, document(number, "one", message_id="a", received_at=past), token=token)
    call(INBOUND, document(number, "two", message_id="b", received_at=future), token=token)

    one, two = Message.objects.order_by("pk")

    assert one.received_at == datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert two.received_at <= timezone.now()


@pytest.mark.parametrize(
    "moment",
    ["yesterday", "", 5, -1, [], {}, True, None, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00",
     "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z", "2026-02-30T00:00:00Z"],
)  # fmt: skip
def test_a_stop_with_a_time_that_makes_no_sense_is_a_stop_now(number, token, moment):
    answer = call(INBOUND, document(number, received_at=moment), token=token)

    assert (answer.status_code, answer.json()["outcome"]) == (201, "opted_out")
    opt_out = OptOut.objects.get()
    assert abs(opt_out.texted_at - timezone.now()) < timedelta(minutes=1)
    # The sentence for the sender names the time: it must be one that can be written.
    assert not gate.check(number, opt_out.recipient).allowed


@pytest.mark.parametrize(
    ("media", "kept"),
    [
        (["https://example.com/1.jpg"], [{"url": "https://example.com/1.jpg", "content_type": ""}]),
        (
            [{"url": "https://example.com/1.jpg", "content_type": "image/jpeg", "size": 5}],
            [{"url": "https://example.com/1.jpg", "content_type": "image/jpeg", "size": 5}],
        ),
        ([{"url": "x\u0000y", "content_type": None}], [{"url": "x\ufffdy", "content_type": ""}]),
    ],
)
def test_media_are_kept_as_addresses_and_a_caption_stop_opts_out(number, token, media, kept):
    answer = call(INBOUND, document(number, media=media), token=token)

    assert answer.json()["outcome"] == "opted_out"
    message = Message.objects.get(direction="in")
    assert (message.channel, message.media) == ("mms", kept)


def test_a_picture_without_words_needs_no_text(number, token):
    for text in ({}, {"text": None}, {"text": ""}):
        sent = {**document(number, media=["https://example.com/1.jpg"], message_id=str(text)), **text}
        if not text:
            del sent["text"]
        assert call(INBOUND, sent, token=token).json()["outcome"] == "conversation"


def test_fields_that_we_do_not_know_do_no_harm(number, token):
    answer = call(INBOUND, document(number, campaign={"a": [1]}, **{"": None}), token=token)

    assert answer.json()["outcome"] == "opted_out"


@pytest.mark.parametrize("sender", ["72345", 72345, "MyBank", "INFO-SMS", "Bob & Co", "+1"])
@pytest.mark.parametrize("text", ["STOP", "HELP", "please stop texting me"])
def test_senders_that_are_no_phone_number_are_conversation_without_any_reply(number, token, sender, text):
    answer = call(INBOUND, document(number, text, **{"from": sender}), token=token)

    if sender == "+1":  # not even a name
        assert is_problem(answer, 422)
        return
    assert answer.json()["outcome"] == "conversation"
    assert Recipient.objects.get().e164 == str(sender)
    assert Message.objects.count() == 1
    assert not ConsentEvent.objects.exists()


@pytest.mark.parametrize(
    "sender", ["15125550143", 15125550143, "(512) 555-0143", " +1 512 555 0143 ", "+1512\u0665\u0665\u06650143"]
)
def test_a_sender_is_known_however_the_gateway_writes_the_number(number, token, sender):
    answer = call(INBOUND, document(number, **{"from": sender}), token=token)

    assert answer.json()["outcome"] == "opted_out"
    assert Recipient.objects.get().e164 == SOMEBODY


# What cannot be understood is kept


def kept_by(answer) -> WebhookReceipt:
    assert is_problem(answer, 422)
    receipt = WebhookReceipt.objects.get(pk=answer.json()["receipt"])
    assert receipt.status == WebhookReceipt.Status.NOT_UNDERSTOOD
    assert receipt.error == answer.json()["detail"]
    return receipt


NOT_UNDERSTOOD = {
    "empty": b"",
    "blank": b"   ",
    "broken JSON": b'{"from": "+15125550143", "to"',
    "two documents": b"{}{}",
    "a list": b"[]",
    "a list of texts": b'[{"from": "+15125550143"}]',
    "a number": b"5",
    "null": b"null",
    "a string": b'"STOP"',
    "an empty object": b"{}",
    "a form": b"From=%2B15125550143&Body=STOP",
    "UTF-16": json.dumps({"text": "STOP"}).encode("utf-16"),
    "Latin-1": '{"text": "caf\xe9"}'.encode("latin-1"),
    "zeros": b"\x00" * 100,
    "random bytes": bytes(range(256)),
    "lists nested 100,000 deep": b"[" * 100_000,
    "objects nested 100,000 deep": b'{"a":' * 100_000,
    "closed lists nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "a number of 10,000 digits": b'{"from": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("body", NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_what_is_no_document_is_answered_422_and_kept_to_the_byte(number, token, body):
    receipt = kept_by(call(INBOUND, body, token=token))

    assert bytes(receipt.body) == body
    assert (receipt.account, receipt.company) == (number.account, number.company)
    assert not Message.objects.exists()


WRONG_FIELDS = {
    "no from": {"from": ...},
    "no to": {"to": ...},
    "no text": {"text": ...},
    "no message_id": {"message_id": ...},
    "from null": {"from": None},
    "from empty": {"from": ""},
    "from blank": {"from": "   "},
    "from a list": {"from": [SOMEBODY]},
    "from an object": {"from": {"phone_number": SOMEBODY}},
    "from true": {"from": True},
    "from a fraction": {"from": 1.5},
    "from infinity": {"from": float("inf")},
    "from garbage": {"from": "☎ call me maybe"},
    "from NUL": {"from": "\x00"},
    "from half a surrogate pair": {"from": "\ud800"},
    "from a long name": {"from": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
    "from very long": {"from": "+1" + "5" * 5000},
    "from a short code of foreign digits": {"from": "7\u0662\u0663\u0664\u0665"},
    "from a long code of foreign digits": {"from": "7\u0662\u0663\u0664\u0665\u0665\u0665"},
    "from with a line break": {"from": "My\nBank"},
    "from with an extension": {"from": "+15125550143 ext. 5"},
    "to a list": {"to": ["+12025550100"]},
    "to garbage": {"to": "nobody"},
    "to NUL": {"to": "\x00"},
    "to half a surrogate pair": {"to": "\udfff"},
    "to foreign digits": {"to": "2\u0662\u0663\u0664\u0665"},
    "text a number": {"text": 5},
    "text a list": {"text": ["STOP"]},
    "text an object": {"text": {"body": "STOP"}},
    "text true": {"text": True},
    "message_id empty": {"message_id": ""},
    "message_id too long": {"message_id": "x" * 256},
    "message_id an object": {"message_id": {}},
    "media a string": {"media": "https://example.com/1.jpg"},
    "media an object": {"media": {}},
    "media of numbers": {"media": [5]},
    "media of nothing": {"media": [None]},
    "media without address": {"media": [{"content_type": "image/jpeg"}]},
    "media too many": {"media": ["https://example.com/1.jpg"] * 51},
}


@pytest.mark.parametrize("fields", WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_a_document_with_a_wrong_field_is_kept_and_the_answer_names_the_field(number, token, fields):
    sent = {name: value for name, value in document(number, **fields).items() if value is not ...}
    body = json.dumps(sent).encode()

    receipt = kept_by(call(INBOUND, body, token=token))

    assert bytes(receipt.body) == body
    assert f"“{next(iter(fields))}”" in receipt.error
    assert not Message.objects.exists()
    assert not Recipient.objects.exists()


def test_a_number_of_nobody_of_another_company_and_one_given_up_are_answered_alike(number, token):
    other_company = NumberFactory(office=OfficeFactory(name="Elsewhere"))
    given_up = NumberFactory(office=number.office, given_up_at=timezone.now())
    nobodys = "+15125550199"
    answers = []
    for to in (nobodys, other_company.e164, given_up.e164):
        answer = call(INBOUND, document(number, to=to), token=token)
        receipt = kept_by(answer)
        assert (receipt.company, receipt.account) == (number.company, number.account)
        answers.append((answer.content.decode().replace(to, "…").replace(str(receipt.pk), "…"), answer.headers))

    bodies = {body for body, _ in answers}
    assert len(bodies) == 1, bodies
    assert not Message.objects.exists()
    assert not OptOut.objects.exists()


def test_a_message_id_that_comes_again_with_another_text_is_kept_and_not_taken_for_a_repetition(number, token):
    call(INBOUND, document(number, "See you at nine"), token=token)

    receipt = kept_by(call(INBOUND, document(number, "STOP"), token=token))

    assert b"STOP" in bytes(receipt.body)
    assert "ids must be unique" in receipt.error
    assert Message.objects.get().text == "See you at nine"


def test_a_message_id_that_comes_again_from_another_sender_is_kept(number, token):
    call(INBOUND, document(number), token=token)

    kept_by(call(INBOUND, document(number, **{"from": "+15125550177"}), token=token))

    assert OptOut.objects.get().recipient.e164 == SOMEBODY


def test_two_accounts_may_use_the_same_message_id(number, token):
    other = NumberFactory()
    call(INBOUND, document(number), token=token)

    answer = call(INBOUND, document(other), token=bearer(other.company, "inbound", account=other.account))

    assert answer.status_code == 201
    assert OptOut.objects.count() == 2


# Odd texts, charsets and sizes


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a\x00b", "a\ufffdb"),
        ("\x01\x02\x1b[31m\x7f\x85\u2028", "\x01\x02\x1b[31m\x7f\x85\u2028"),
        ("a\ud800b", "a?b"),
        ("\udc00", "?"),
        ("\U0001f44d\U0001f3fd + 1%20%", "\U0001f44d\U0001f3fd + 1%20%"),
        ("\u202eSTOP\u202c", "\u202eSTOP\u202c"),
        ("line\r\nline\n", "line\r\nline\n"),
        ("\ufeff", "\ufeff"),
        ("'; DROP TABLE messaging_message; --", "'; DROP TABLE messaging_message; --"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
def test_odd_characters_are_stored_and_the_receipt_keeps_the_bytes(number, token, text, stored):
    body = json.dumps(document(number, text)).encode()

    answer = call(INBOUND, body, token=token)

    assert answer.status_code == 201
    message = Message.objects.get(pk=answer.json()["message"])
    assert message.text == stored
    assert bytes(WebhookReceipt.objects.get(message=message).body) == body


def test_a_message_id_with_a_nul_is_stored_and_known_again(number, token):
    first = call(INBOUND, document(number, message_id="a\x00b"), token=token)
    second = call(INBOUND, document(number, message_id="a\x00b"), token=token)

    assert (first.status_code, second.status_code) == (201, 200)


def test_a_byte_order_mark_before_the_document_does_no_harm(number, token):
    body = b"\xef\xbb\xbf" + json.dumps(document(number)).encode()

    assert call(INBOUND, body, token=token).json()["outcome"] == "opted_out"


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/json; charset=utf-16", "application/json; charset=no-such", ";;;=", "x" * 5000,
     "multipart/form-data", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded",
     "application/json; charset=hex", "caf\xe9/\xff"],
)  # fmt: skip
def test_the_bytes_are_read_as_utf8_whatever_the_content_type_says(number, token, content_type):
    body = json.dumps(document(number, "caf\xe9"), ensure_ascii=False).encode()

    answer = call(INBOUND, body, token=token, content_type=content_type)

    assert answer.status_code == 201
    assert Message.objects.get().text == "caf\xe9"


def test_a_text_of_a_megabyte_is_stored_whole(number, token):
    text = "Blah 🦷 " * 100_000 + "STOP"

    answer = call(INBOUND, document(number, text), token=token)

    assert answer.status_code == 201
    assert Message.objects.get().text == text


def test_a_body_over_the_limit_is_answered_413_and_stores_nothing(number, token):
    room = settings.WEBHOOK_MAX_BYTES - len(json.dumps(document(number, "")).encode())

    fits = call(INBOUND, document(number, "x" * room, message_id="fit"[:3]), token=token)
    stored = count_stored()
    too_large = call(INBOUND, document(number, "x" * (room + 1)), token=token)

    assert fits.status_code == 201
    assert is_problem(too_large, 413)
    assert count_stored() == stored


# A kept request is run again


def test_a_kept_stop_is_obeyed_when_it_is_run_again_after_the_number_was_added(number, token):
    operator = UserFactory(is_superuser=True)
    receipt = kept_by(call(INBOUND, document(number, to="+15125550199"), token=token))

    still = inbound.run_again(receipt, by=operator)
    added = NumberFactory(office=number.office, account=number.account, e164="+15125550199")
    received = inbound.run_again(receipt, by=operator)

    assert not still.understood
    assert received.understood
    assert received.outcome == "opted_out"
    receipt.refresh_from_db()
    assert (receipt.status, receipt.settled_by, receipt.message) == ("resolved", operator, received.message)
    assert received.message.received_at <= receipt.stored_at
    assert not gate.check(added, received.message.recipient).allowed


def test_a_kept_request_is_obeyed_once_however_often_it_is_run_again(number, token):
    receipt = kept_by(call(INBOUND, document(number, to="+15125550199"), token=token))
    NumberFactory(office=number.office, account=number.account, e164="+15125550199")
    inbound.run_again(receipt, by=None)
    stored = count_stored()

    inbound.run_again(receipt, by=None)
    again = call(INBOUND, document(number, to="+15125550199"), token=token)

    assert again.status_code == 200
    assert again.json()["duplicate"]
    assert count_stored() == stored


def test_a_dismissed_request_stays_stored_and_is_not_run(number, token):
    operator = UserFactory(is_superuser=True)
    receipt = kept_by(call(INBOUND, document(number, to="+15125550199"), token=token))
    NumberFactory(office=number.office, account=number.account, e164="+15125550199")

    assert inbound.dismiss(receipt, by=operator)
    inbound.run_again(receipt, by=operator)

    receipt.refresh_from_db()
    assert (receipt.status, receipt.settled_by) == ("dismissed", operator)
    assert not Message.objects.exists()


# Whatever comes

# Hypothesis likes to repeat itself, and a repeated message id means something.
ids = st.builds(lambda n: f"generated-{n}", st.builds(itertools.count().__next__))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def assert_not_lost(answer, body: bytes, text=None) -> None:
    """The request's text stands in a message, or its bytes in a receipt."""
    assert answer.status_code in (200, 201, 422), answer.content
    if answer.status_code == 422:
        assert bytes(WebhookReceipt.objects.get(pk=answer.json()["receipt"]).body) == body
        return
    message = Message.objects.get(pk=answer.json()["message"])
    if answer.status_code == 201:
        assert bytes(WebhookReceipt.objects.get(message=message).body) == body
    if text is not None:
        assert message.text == text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


@bounded
@given(body=st.binary(max_size=300))
@example(body=b"\xff\xfe{\x00}\x00")
def test_arbitrary_bytes_are_kept_and_never_fail(number, token, body):
    assert_not_lost(call(INBOUND, body, token=token), body)


@bounded
@given(value=json_values)
def test_arbitrary_json_is_kept_and_never_fails(number, token, value):
    body = json.dumps(value).encode()

    assert_not_lost(call(INBOUND, body, token=token), body)


odd_text = st.text(st.characters(codec=None), max_size=60)


@bounded
@given(
    changed=st.dictionaries(
        st.sampled_from(["from", "to", "text", "media", "message_id", "received_at"]), json_values | odd_text,
        max_size=3,
    ),
    message_id=ids,
)  # fmt: skip
def test_a_document_with_arbitrary_fields_is_never_lost_and_never_fails(number, token, changed, message_id):
    sent = {**document(number, message_id=message_id), **changed}
    body = json.dumps(sent).encode()

    answer = call(INBOUND, body, token=token)

    assert_not_lost(answer, body, sent["text"] if isinstance(sent["text"], str) else None)


@bounded
@given(text=odd_text, message_id=ids)
def test_a_genuine_text_of_any_characters_is_stored_to_the_letter(number, token, text, message_id):
    body = json.dumps(document(number, text, message_id=message_id)).encode()

    answer = call(INBOUND, body, token=token)

    assert answer.status_code in (200, 201)
    assert_not_lost(answer, body, text)


@bounded
@given(sender=st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), message_id=ids)
@example(sender="+1800\u0665\u0665\u0665\u0665\u0665\u0665\u0665", message_id="arabic-indic")
@example(sender="1\u0665\u0665", message_id="short")
def test_a_stop_from_any_sender_is_never_lost(number, token, sender, message_id):
    body = json.dumps(document(number, **{"from": sender}, message_id=message_id)).encode()

    assert_not_lost(call(INBOUND, body, token=token), body, "STOP")


def test_the_number_in_these_tests_is_ours_alone(number):
    # Guards the tests above: a recipient that were a number of ours would make all of it chat.
    RecipientFactory(e164=SOMEBODY)
    assert not Number.objects.filter(e164=SOMEBODY).exists()
