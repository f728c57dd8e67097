"""Texts on their way out: through the gate twice, handed over at most once, retried or given up."""

import json
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from messaging import consent, inbound, outbox, statuses
from messaging.carriers.base import Media, StatusUpdate, WebhookRequest
from messaging.models import CarrierHealth, ConsentEvent, ConsoleText, Conversation, Message, OptOut
from offices.models import Number
from offices.models.campaigns import assign
from tests.factories import CarrierAccountFactory, NumberFactory, UserFactory
from tests.messaging.texting import gateway, left, receive, recipient_of, send, somebody, verdict, work

pytestmark = pytest.mark.django_db
State = Message.State


@pytest.fixture
def person():
    return somebody()


@pytest.fixture
def carrier():
    with gateway() as made:
        yield made


@pytest.fixture
def number(carrier):
    """A number whose carrier is the HTTP gateway of the test."""
    number = NumberFactory()
    account = CarrierAccountFactory(
        company=number.company, carrier="generic", settings={"send_url": carrier.url}, secrets={"send_token": "secret"}
    )
    number.account = account
    number.save()
    return number


def state(message):
    message.refresh_from_db()
    return message.state


# --- Accepted -----------------------------------------------------------------------------------------------


@pytest.mark.behaviour("B02")
def test_an_accepted_text_is_queued_and_leaves_through_its_carrier_once(person):
    number, author = NumberFactory(), UserFactory()
    message = send(number, person, "Your order is ready.", author=author)
    assert (message.state, message.channel, message.purpose) == ("queued", "sms", "ordinary")
    assert (message.author, message.author_name) == (author, str(author))
    assert not ConsoleText.objects.exists()

    work()
    work()

    (text,) = left(person, None)
    assert (text.sender, text.to, text.text, text.reference) == (
        number.e164, person, "Your order is ready.", str(message.pk),
    )  # fmt: skip
    assert state(message) == "sent"
    assert (message.carrier_message_id, message.attempts) == (f"console-{text.pk}", 1)
    assert message.sent_at >= message.handed_over_at
    assert message.next_attempt_at is None


@pytest.mark.behaviour("B03")
def test_a_text_with_media_is_mms_and_takes_its_media_along(person):
    message = send(NumberFactory(), person, "", media=[Media("https://example.com/a.png", "image/png")])
    assert message.channel == "mms"
    work()
    assert left(person)[0].media == [{"url": "https://example.com/a.png", "content_type": "image/png"}]


@pytest.mark.behaviour("B07")
@pytest.mark.behaviour("N8")
def test_a_refused_text_is_kept_with_its_verdict_never_leaves_and_is_no_news_in_the_conversation(person):
    number = NumberFactory()
    receive(number, person, "STOP")
    conversation = Conversation.objects.get()
    work()

    message = send(number, person)

    assert (message.state, message.next_attempt_at) == ("refused", None)
    assert message.verdict == verdict(number, person).as_dict()
    assert Conversation.objects.get().last_text != message.text
    assert Conversation.objects.get().pk == conversation.pk
    receive(number, person, "UNSTOP")
    work()
    assert not left(person)
    assert state(message) == "refused"


@pytest.mark.behaviour("B14")
def test_after_unstop_the_next_text_goes(person):
    number = NumberFactory()
    receive(number, person, "STOP")
    assert send(number, person).state == "refused"
    receive(number, person, "UNSTOP")
    assert send(number, person).state == "queued"
    work()
    assert len(left(person)) == 1


def test_the_same_idempotency_key_makes_one_text(person):
    number = NumberFactory()
    first = send(number, person, "Hi", idempotency_key="k1")
    assert send(number, person, "Hi", idempotency_key="k1") == first
    work()
    assert send(number, person, "Hi", idempotency_key="k1") == first
    work()
    assert len(left(person)) == 1
    for changed in ({"to": somebody()}, {"text": "Ho"}):
        with pytest.raises(outbox.KeyReused):
            send(number, **{"to": person, "text": "Hi", **changed}, idempotency_key="k1")
    # Another company's keys are its own; and without a key every text is one of its own.
    send(NumberFactory(), person, "Hi", idempotency_key="k1")
    send(number, person, "Hi")
    send(number, person, "Hi")
    work()
    assert len(left(person)) == 4


def test_a_text_to_a_short_code_is_refused():
    message = send(NumberFactory(), "72345")
    assert (message.state, message.verdict["code"]) == ("refused", "not_textable")


# --- The second question, just before it leaves -------------------------------------------------------------


@pytest.mark.behaviour("N7")
def test_the_gate_is_asked_again_just_before_a_text_leaves(person):
    # An import, say, blocks without looking at what waits.
    number = NumberFactory()
    message = send(number, person)
    recipient = recipient_of(number, person)
    event = ConsentEvent.objects.create(
        company=number.company, recipient=recipient, recipient_e164=person, kind="import", source="person",
        received_at=timezone.now(),
    )  # fmt: skip
    OptOut.objects.create(
        company=number.company, recipient=recipient, scope="company", texted_number=number.e164, text="",
        texted_at=timezone.now(), opened_at=timezone.now(), opened_by=event,
    )  # fmt: skip

    work()

    assert not left(person, None)
    assert state(message) == "cancelled"
    assert message.verdict["code"] == "opted_out_company"
    assert message.verdict["opt_out"]["event"] == event.pk
    refusal = ConsentEvent.objects.get(kind="refusal")
    assert refusal.message_id_then == message.pk


@pytest.mark.behaviour("N7")
@pytest.mark.parametrize("change", ["given up", "account off", "moved into a blocked campaign", "became our own"])
def test_what_changes_while_a_text_waits_counts_when_it_leaves(person, change):
    number = NumberFactory()
    blocked = NumberFactory(office=number.office, registered=True)
    receive(blocked, person, "STOP")
    work()
    message = send(number, person)
    if change == "given up":
        Number.objects.filter(pk=number.pk).update(given_up_at=timezone.now())
    elif change == "account off":
        number.account.is_active = False
        number.account.save()
    elif change == "became our own":
        NumberFactory(e164=person)
    else:
        assign(number, blocked.current_assignment().campaign)

    work()

    assert state(message) == "cancelled"
    assert not left(person)


@pytest.mark.behaviour("N7")
def test_a_text_between_two_attempts_is_cancelled_by_a_stop(person, number, carrier):
    carrier.will_answer([(503, {}, {})])
    message = send(number, person)
    work()
    assert state(message) == "sending"
    assert message.next_attempt_at is not None

    receive(number, person, "STOP")

    assert state(message) == "cancelled"
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        work()
    assert carrier.references.count(str(message.pk)) == 1


# --- At most once -------------------------------------------------------------------------------------------


def test_a_claim_takes_each_due_text_once_until_its_lease_ends(person):
    number = NumberFactory()
    messages = [send(number, somebody()).pk for _ in range(5)]
    with time_machine.travel(timezone.now() + timedelta(seconds=1), tick=False) as clock:
        _, first = outbox.claim(3)
        lease, second = outbox.claim(3)
        assert sorted(first + second) == sorted(messages)
        assert first == messages[:3]  # the longest due first
        assert outbox.claim(3)[1] == []
        clock.shift(outbox.LEASE + timedelta(seconds=1))
        assert sorted(outbox.claim(10)[1]) == sorted(messages)
        # The first worker was slow, not dead: what was claimed anew is no longer its.
        outbox.hand_over(messages[3], lease)
    assert not ConsoleText.objects.exists()


def test_handing_over_the_same_claim_twice_sends_once(person):
    message = send(NumberFactory(), person)
    lease, claimed = outbox.claim(1)
    assert claimed == [message.pk]
    for _ in range(3):
        outbox.hand_over(message.pk, lease)
    assert len(left(person)) == 1
    outbox.hand_over(0, lease)  # nor does one that does not exist harm


def test_a_text_whose_worker_died_with_it_in_hand_becomes_uncertain_and_is_never_sent_again(person):
    message = send(NumberFactory(), person)
    lease, _ = outbox.claim(1)
    now = timezone.now()
    assert outbox.take_in_hand(message.pk, lease) is not None  # here the worker is killed
    assert state(message) == "sending"
    work()
    with time_machine.travel(now + timedelta(minutes=4)):
        assert outbox.settle_cut_off() == 0
    with time_machine.travel(now + timedelta(minutes=6)):
        assert outbox.settle_cut_off() == 1
        assert outbox.settle_cut_off() == 0
        assert state(message) == "uncertain"
        assert "carrier" in message.error
        work()
    with time_machine.travel(now + timedelta(days=1)):
        work()
    assert not left(person, None)
    assert state(message) == "uncertain"


def test_what_waits_for_its_next_attempt_is_not_taken_for_cut_off(person, number, carrier):
    carrier.will_answer([(503, {}, {"Retry-After": "1200"})])
    message = send(number, person)
    work()
    with time_machine.travel(timezone.now() + timedelta(minutes=15)):
        assert outbox.settle_cut_off() == 0
    assert state(message) == "sending"


# --- What the carrier answers -------------------------------------------------------------------------------


def test_a_text_goes_to_the_gateway_as_documented(person, number, carrier):
    message = send(number, person, "Hi", media=[Media("https://example.com/a.png", "image/png")])
    work()
    (document,) = carrier.seen
    assert {name: document[name] for name in ("from", "to", "text", "reference")} == {
        "from": number.e164, "to": person, "text": "Hi", "reference": str(message.pk),
    }  # fmt: skip
    assert document["media"] == [{"url": "https://example.com/a.png", "content_type": "image/png"}]
    assert state(message) == "sent"
    assert message.carrier_message_id == f"g-{message.pk}"


@pytest.mark.parametrize("status", [401, 402, 403, 429, 500, 503])
def test_a_passing_error_is_tried_again_later_and_the_text_leaves_once(person, number, carrier, status):
    carrier.will_answer([(status, {}, {}), (status, {}, {})])
    message = send(number, person)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        work()
        assert (state(message), message.attempts) == ("sending", 1)
        assert 4 <= (message.next_attempt_at - timezone.now()).total_seconds() <= 6
        work()
        assert len(carrier.seen) == 1  # not yet
        clock.shift(timedelta(seconds=7))
        work()
        assert (state(message), message.attempts) == ("sending", 2)
        assert 13 <= (message.next_attempt_at - timezone.now()).total_seconds() <= 17
        clock.shift(timedelta(seconds=17))
        work()
    assert (state(message), message.attempts, message.error) == ("sent", 3, "")
    assert len(carrier.seen) == 3


def test_the_carriers_own_pause_is_kept(person, number, carrier):
    carrier.will_answer([(429, {}, {"Retry-After": "120"})])
    message = send(number, person)
    with time_machine.travel(timezone.now(), tick=False):
        work()
        message.refresh_from_db()
        assert (message.next_attempt_at - timezone.now()).total_seconds() == 120


def test_pauses_grow_and_after_six_hours_a_text_is_given_up(person, number, carrier):
    carrier.will_answer([(503, {}, {})] * 100)
    message = send(number, person)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(100):
            work()
            if state(message) != "sending":
                break
            clock.move_to(message.next_attempt_at)
        assert state(message) == "failed"
        assert timezone.now() <= message.created_at + timedelta(hours=6, minutes=1)
    assert 8 <= len(carrier.seen) <= 16
    pauses = [outbox.next_pause(n) for n in (1, 2, 3, 4, 5, 6, 7)]
    assert pauses == sorted(pauses)


def test_a_text_that_comes_too_late_fails_without_asking_the_carrier(person, number, carrier):
    message = send(number, person)
    with time_machine.travel(timezone.now() + timedelta(hours=6, seconds=1)):
        work()
    assert state(message) == "failed"
    assert not carrier.seen


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_lasting_error_ends_a_text(person, number, carrier, status):
    carrier.will_answer([(status, {"detail": "No."}, {})])
    message = send(number, person)
    work()
    assert state(message) == "failed"
    assert f"HTTP {status}" in message.error
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        work()
    assert len(carrier.seen) == 1


def test_an_answer_without_an_id_leaves_it_uncertain_and_it_is_not_sent_again(person, number, carrier):
    carrier.will_answer([(200, {"thanks": True}, {})])
    message = send(number, person)
    work()
    assert state(message) == "uncertain"
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        work()
    assert len(carrier.seen) == 1


def test_an_id_that_the_gateway_gives_twice_leaves_both_texts_sent_and_says_so(person, number, carrier):
    carrier.will_answer([(200, {"message_id": "ok"}, {}), (200, {"message_id": "ok"}, {})])
    first, second = send(number, person), send(number, person, "Another text.")
    work()
    assert (state(first), state(second)) == ("sent", "sent")
    assert first.error == ""
    assert "id of another text" in second.error
    assert len(carrier.seen) == 2


def test_a_gateway_that_is_away_is_tried_again(person, number):
    number.account.settings = {"send_url": "http://127.0.0.1:9/"}  # the discard port: nobody listens
    number.account.save()
    message = send(number, person)
    work()
    assert (state(message), message.attempts) == ("sending", 1)
    assert message.next_attempt_at is not None
    assert "No connection" in message.error


def test_an_account_without_a_token_sends_without_one(person, number, carrier):
    for kept in number.account.kept_secrets("send_token"):
        number.account.remove_secret(kept.id)
    message = send(number, person)
    work()
    assert state(message) == "sent"


@pytest.mark.parametrize("token", ["with\na line break", "with a \u200b", "caf\u00e9\u2026"])
def test_a_token_that_no_request_can_hold_is_the_accounts_trouble_and_the_text_waits(person, number, carrier, token):
    number.account.add_secret("send_token", token)
    message = send(number, person)
    work()
    assert (state(message), message.next_attempt_at is not None) == ("sending", True)
    assert "Enter it anew" in message.error
    assert not carrier.seen
    assert CarrierHealth.objects.get(account=number.account).failures == 1


def test_an_account_without_an_address_says_so(person, number):
    number.account.settings = {}
    number.account.save()
    message = send(number, person)
    work()
    assert state(message) == "failed"
    assert "operator" in message.error


# --- Opted out at the carrier, and what it reports ----------------------------------------------------------


@pytest.fixture
def twilio_number():
    number = NumberFactory(registered=True)
    number.account = CarrierAccountFactory(company=number.company, twilio=True)
    number.save()
    return number


def status(number, carrier_id, word, code=""):
    """The carrier reports on a text, by its own webhook."""
    account = Number.objects.select_related("account").get(pk=number.pk).account
    body = f"MessageSid={carrier_id}&MessageStatus={word}&ErrorCode={code}&To=%2B1&From=%2B1"
    return inbound.take(account, WebhookRequest("POST", "", body.encode(), "application/x-www-form-urlencoded"))


@pytest.fixture
def sent(twilio_number, person):
    message = send(twilio_number, person)
    Message.objects.filter(pk=message.pk).update(
        state="sent", next_attempt_at=None, carrier_message_id="SM1", sent_at=timezone.now()
    )
    return message


def test_a_report_that_the_recipient_opted_out_at_the_carrier_blocks_that_number_once(sent, twilio_number, person):
    sibling = NumberFactory(office=twilio_number.office, campaign=twilio_number.current_assignment().campaign)
    waiting = send(twilio_number, person)

    for _ in range(3):
        status(twilio_number, "SM1", "undelivered", "21610")

    assert state(sent) == "failed"
    assert state(waiting) == "cancelled"
    assert verdict(twilio_number, person).code == "opted_out_carrier"
    assert verdict(sibling, person).allowed
    assert ConsentEvent.objects.filter(kind="carrier").count() == 1


def test_a_state_never_goes_backwards(sent, twilio_number):
    status(twilio_number, "SM1", "delivered")
    assert state(sent) == "delivered"
    for late in ("sent", "queued", "sending", "undelivered", "failed", "no-such-status"):
        status(twilio_number, "SM1", late)
        assert state(sent) == "delivered"


@pytest.mark.parametrize("state_before", State.values)
@pytest.mark.parametrize("word", ["sent", "delivered", "failed"])
def test_no_report_brings_a_text_back_into_the_queue_or_out_of_its_end(sent, twilio_number, state_before, word):
    Message.objects.filter(pk=sent.pk).update(state=state_before)
    status(twilio_number, "SM1", word)
    now = state(sent)
    assert now in (state_before, word)
    if state_before in ("refused", "cancelled", "delivered", "failed"):
        assert now == state_before
    assert (state_before, now) != ("sent", "queued")
    work()
    assert not ConsoleText.objects.exists()


def test_a_report_settles_an_uncertain_text(sent, twilio_number):
    Message.objects.filter(pk=sent.pk).update(state="uncertain")
    status(twilio_number, "SM1", "delivered")
    assert state(sent) == "delivered"


def test_a_report_of_another_account_or_of_nobodys_text_changes_nothing(sent, twilio_number):
    other = CarrierAccountFactory(twilio=True)
    assert statuses.apply(other, StatusUpdate("SM1", "failed", opted_out=True)) is None
    assert statuses.apply(twilio_number.account, StatusUpdate("SM2", "failed", opted_out=True)) is None
    assert state(sent) == "sent"
    assert not OptOut.objects.exists()


@pytest.mark.parametrize("start", State.values)
@pytest.mark.parametrize("to", Message.BEFORE)
def test_advancing_follows_the_order_of_states(person, start, to):
    ranks = {"queued": 0, "sending": 1, "uncertain": 2, "sent": 3, "delivered": 4}
    ends = {"refused", "cancelled", "failed", "delivered", "received"}
    message = send(NumberFactory(), person)
    Message.objects.filter(pk=message.pk).update(state=start)

    moved = message.advance(to)

    assert moved == (state(message) == to) or start == to
    if moved:
        assert start not in ends
        assert to in ends or ranks[to] >= ranks[start] or (start, to) == ("uncertain", "sent")
        assert message.next_attempt_at is None
    else:
        assert state(message) == start


# --- Replies ------------------------------------------------------------------------------------------------


def test_a_reply_from_a_number_that_was_given_up_meanwhile_does_not_leave(person):
    number = NumberFactory()
    receive(number, person, "HELP")
    Number.objects.filter(pk=number.pk).update(given_up_at=timezone.now())
    work()
    assert not left(person, None)
    assert Message.objects.get(direction="out").state == "cancelled"


def test_logs_name_no_text_and_no_whole_number(person, caplog):
    caplog.set_level("INFO")
    number = NumberFactory()
    send(number, person, "A secret of theirs")
    receive(number, person, "STOP")
    work()
    assert "console took text" in caplog.text
    assert person not in caplog.text
    assert number.e164 not in caplog.text
    assert "secret" not in caplog.text


def test_a_review_that_opts_out_cancels_nothing_twice(person):
    number = NumberFactory()
    message = send(number, person)
    receive(number, person, "stop!!")
    hold = recipient_of(number, person).holds.get()
    consent.review(hold.pk, is_opt_out=True, reviewer=UserFactory(), reason="")
    assert state(message) == "cancelled"
    assert message.verdict["code"] == "held"
    assert ConsentEvent.objects.filter(kind="refusal").count() == 1
    assert json.dumps(message.verdict)
