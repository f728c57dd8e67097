"""Sending over the API: accepted, refused with the verdict, and never twice for one Idempotency-Key."""

import threading

import pytest
from django.db import connection
from django.utils import timezone

from messaging import outbox
from messaging.models import ConsentEvent, ConsoleText, Message
from tests.factories import NumberFactory, OfficeFactory
from tests.messaging.api_calls import SOMEBODY, SOMEBODY_ELSE, bearer, call, count_stored, is_problem

pytestmark = pytest.mark.django_db

MESSAGES = "/api/v1/messages/"


@pytest.fixture
def number():
    return NumberFactory()


@pytest.fixture
def token(number):
    return bearer(number.company, "send", "inbound", account=number.account)


def send(token, number, text="Your order is ready.", to=SOMEBODY, key="", **more):
    headers = {"Idempotency_Key": key} if key else {}
    return call(
        MESSAGES, {"from": getattr(number, "e164", number), "to": to, "text": text, **more}, token=token, **headers
    )


def receive(token, number, text, message_id="m-1"):
    sent = {"from": SOMEBODY, "to": number.e164, "text": text, "message_id": message_id}
    assert call("/api/v1/inbound/", sent, token=token).status_code == 201


# Accepted


def test_an_allowed_text_is_accepted_with_201_and_leaves_once(number, token):
    answer = send(token, number, "  Your order is ready. \n")

    assert answer.status_code == 201
    body = answer.json()
    message = Message.objects.get(pk=body["id"])
    assert (body["from"], body["to"], body["text"]) == (number.e164, SOMEBODY, "  Your order is ready. \n")
    assert (body["direction"], body["channel"], body["state"]) == ("out", "sms", "queued")
    assert (body["author_name"], body["office"], body["segments"]) == ("CRM", number.office.name, 1)
    assert body["verdict"] is None
    assert not ConsoleText.objects.exists()  # the answer does not wait for the carrier
    while outbox.hand_over_due():
        pass
    message.refresh_from_db()
    assert message.state == "sent"
    assert ConsoleText.objects.get().text == "  Your order is ready. \n"


def test_media_make_it_an_mms_and_need_no_words(number, token):
    media = [{"url": "https://example.com/1.jpg", "content_type": "image/jpeg"}, {"url": "https://example.com/2"}]

    answer = send(token, number, "", media=media)

    assert (answer.status_code, answer.json()["channel"]) == (201, "mms")
    assert answer.json()["media"] == [media[0], {"url": "https://example.com/2", "content_type": ""}]


def test_a_text_between_two_of_our_numbers_is_chat(number, token):
    colleague = NumberFactory(office=number.office)

    answer = send(token, number, "STOP", to=colleague.e164)

    assert (answer.status_code, answer.json()["channel"], answer.json()["state"]) == (201, "chat", "delivered")
    outbox.hand_over_due()
    assert not ConsoleText.objects.exists()


# Refused


@pytest.mark.behaviour("B10")
def test_after_a_stop_a_text_is_refused_with_409_and_the_verdict(number, token):
    receive(token, number, "STOP")
    check = bearer(number.company, "check")

    answer = send(token, number)

    assert is_problem(answer, 409)
    body = answer.json()
    verdict = call("/api/v1/check/", {"from": number.e164, "to": SOMEBODY}, token=check).json()
    assert body["verdict"] == verdict
    assert body["detail"] == verdict["reason"]
    message = Message.objects.get(pk=body["message"])
    assert (message.state, message.verdict, message.next_attempt_at) == ("refused", verdict, None)
    assert ConsentEvent.objects.filter(kind="refusal", source="api", message_id_then=message.pk).count() == 1
    while outbox.hand_over_due():
        pass
    assert not ConsoleText.objects.filter(text="Your order is ready.").exists()


@pytest.mark.behaviour("B03")
def test_nothing_with_media_gets_past_a_stop(number, token):
    receive(token, number, "STOP")

    assert is_problem(send(token, number, "", media=[{"url": "https://example.com/1.jpg"}]), 409)


@pytest.mark.behaviour("N1")
def test_a_held_recipient_gets_no_text(number, token):
    receive(token, number, "stop!!")

    assert send(token, number).json()["verdict"]["code"] == "held"


@pytest.mark.behaviour("B14")
def test_after_an_unstop_texts_are_accepted_again(number, token):
    receive(token, number, "STOP", "m-1")
    receive(token, number, "UNSTOP", "m-2")

    assert send(token, number).status_code == 201


def test_a_number_that_was_given_up_sends_nothing(number, token):
    given_up = NumberFactory(office=number.office, given_up_at=timezone.now())

    answer = send(token, given_up)

    assert is_problem(answer, 409)
    assert answer.json()["verdict"]["code"] == "number_inactive"


# One text for one key


def test_the_same_key_again_is_answered_200_with_the_same_text(number, token):
    first, second, third = (send(token, number, key="order-7") for _ in range(3))

    assert [a.status_code for a in (first, second, third)] == [201, 200, 200]
    assert first.json()["id"] == second.json()["id"] == third.json()["id"]
    assert Message.objects.count() == 1
    while outbox.hand_over_due():
        pass
    assert ConsoleText.objects.count() == 1
    assert send(token, number, key="order-7").json()["state"] == "sent"


def test_without_a_key_each_text_is_one_of_its_own(number, token):
    assert [send(token, number).status_code for _ in range(2)] == [201, 201]
    assert Message.objects.count() == 2


@pytest.mark.parametrize(
    "other",
    [
        {"text": "Another text."},
        {"to": SOMEBODY_ELSE},
        {"media": [{"url": "https://example.com/1.jpg"}]},
        {"text": "Your order is ready. "},
    ],
)
def test_a_key_that_comes_again_for_another_text_is_refused(number, token, other):
    send(token, number, key="order-7")
    stored = count_stored()["Message"]

    answer = send(token, number, key="order-7", **other)

    assert is_problem(answer, 400)
    assert list(answer.json()["errors"]) == ["Idempotency-Key"]
    assert count_stored()["Message"] == stored


def test_a_key_that_comes_again_from_another_number_is_refused(number, token):
    send(token, number, key="order-7")

    assert is_problem(send(token, NumberFactory(office=number.office), key="order-7"), 400)


def test_the_same_text_with_the_same_media_and_key_is_known(number, token):
    media = [{"url": "https://example.com/1.jpg"}]

    answers = [send(token, number, key="order-7", media=media) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 200]


def test_a_refused_text_stays_refused_for_its_key(number, token):
    receive(token, number, "STOP")

    first, second = (send(token, number, key="order-7") for _ in range(2))

    assert is_problem(second, 409)
    assert first.json() == second.json()
    assert Message.objects.filter(state="refused").count() == 1


def test_two_companies_may_use_the_same_key(number, token):
    other = NumberFactory(office=OfficeFactory(name="Elsewhere"))

    assert send(token, number, key="order-7").status_code == 201
    assert send(bearer(other.company, "send"), other, key="order-7").status_code == 201


@pytest.mark.parametrize("key", ["x" * 256, "a\tb", "a\x7fb", "a\x85b"])
def test_a_key_that_cannot_be_kept_is_refused(number, token, key):
    assert is_problem(send(token, number, key=key), 400)
    assert not Message.objects.exists()


def at_once(*calls):
    """Run the calls in threads, all let go at the same moment; their answers."""
    gate, answers = threading.Barrier(len(calls)), []

    def run(one):
        try:
            gate.wait(10)
            answers.append(one())
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[one]) for one in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == len(calls)
    return answers


@pytest.mark.django_db(transaction=True)
def test_the_same_key_from_eight_threads_at_once_is_one_text(number, token):
    answers = at_once(*[lambda: send(token, number, key="order-7")] * 8)

    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Message.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_key_at_once_for_different_people_is_one_text_and_the_others_are_told(number, token):
    people = [f"+1512555014{n}" for n in range(6)]

    answers = at_once(*[lambda to=to: send(token, number, to=to, key="order-7") for to in people])

    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 5
    assert Message.objects.count() == 1


# Bad texts, other people's numbers


def test_another_companys_number_is_refused_like_one_of_nobody(number, token):
    other = NumberFactory(office=OfficeFactory(name="Elsewhere"))

    answers = [send(token, to) for to in (other.e164, "+15125550199")]

    assert all(is_problem(answer, 400) for answer in answers)
    assert answers[0].content.decode().replace(other.e164, "…") == answers[1].content.decode().replace(
        "+15125550199", "…"
    )
    assert set(count_stored().values()) == {0}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("from", None), ("from", ""), ("from", "nonsense"), ("from", []), ("from", "\x00"),
        ("to", None), ("to", ""), ("to", "72345"), ("to", "MyBank"), ("to", "\x00"), ("to", {}), ("to", "555-0143"),
        ("text", None), ("text", ""), ("text", "  \n"), ("text", "x" * 1601), ("text", "a\x00b"), ("text", "\ud800"),
        ("text", []), ("media", "https://example.com/1.jpg"), ("media", [{}]), ("media", [{"url": "nonsense"}]),
        ("media", [{"url": "javascript:alert(1)"}]), ("media", [{"url": "file:///etc/passwd"}]),
        ("media", [{"url": "https://example.com/1.jpg"}] * 11),
        ("media", [{"url": "https://example.com/" + "x" * 2000}]),
    ],
)  # fmt: skip
def test_a_bad_field_is_named_and_nothing_is_stored(number, token, field, value):
    text = {"from": number.e164, "to": SOMEBODY, "text": "Hello", field: value}

    answer = call(MESSAGES, text, token=token)

    assert is_problem(answer, 400)
    assert [name for name in answer.json()["errors"] if name.split(".")[0] == field]
    assert set(count_stored().values()) == {0}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"{}", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_text_is_a_problem(token, body):
    assert is_problem(call(MESSAGES, body, token=token), 400)


def test_a_token_needs_the_send_scope_to_send_and_the_read_scope_to_read(number):
    send_only, read_only = bearer(number.company, "send"), bearer(number.company, "read")

    assert is_problem(send(read_only, number), 403)
    assert is_problem(call(MESSAGES, token=send_only, method="GET"), 403)
    assert is_problem(send("", number), 401)
    assert set(count_stored().values()) == {0}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_texts_are_never_changed_or_deleted(number, token, method):
    everything = bearer(number.company, account=number.account)
    made = send(token, number).json()["id"]

    for path in (MESSAGES, f"{MESSAGES}{made}/"):
        assert call(path, {"text": "x"}, token=everything, method=method).status_code in (404, 405)
    assert Message.objects.get().text == "Your order is ready."
