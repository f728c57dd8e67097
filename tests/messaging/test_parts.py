"""Long texts that come in parts: one message, whatever the order, and a STOP in them is a STOP."""

import itertools
import json
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging import inbound, received_text, worker
from messaging.carriers.registry import CARRIERS
from messaging.models import ConsentEvent, Hold, Message, OptOut, TextPart, WebhookReceipt
from tests.factories import CarrierAccountFactory, NumberFactory
from tests.messaging.plain_carrier import PlainCarrier, posted
from tests.messaging.texting import at_once, send, somebody, verdict

pytestmark = pytest.mark.django_db
_ids = itertools.count(1)


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    monkeypatch.setitem(CARRIERS, "generic", PlainCarrier())


@pytest.fixture
def number():
    return a_number()


@pytest.fixture
def person():
    return somebody()


def a_number(**fields):
    number = NumberFactory(**fields)
    number.account = CarrierAccountFactory(company=number.company, carrier="generic")
    number.save()
    return number


def cut(words, number, sender, reference="r1", **fields):
    """One event for each of `words`, the parts of one text."""
    return [
        {
            "sender": sender,
            "to": number.e164,
            "text": text,
            "message_id": f"p-{next(_ids)}",
            "part": [reference, position, len(words)],
            **fields,
        }
        for position, text in enumerate(words, start=1)
    ]


def take(number, *events):
    return inbound.take(number.account, posted(*events))


def received():
    return list(Message.objects.filter(direction="in").order_by("pk"))


def texts():
    return [message.text for message in received()]


# --- Put together -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_parts_make_one_message_in_any_order(number, person, order):
    parts = cut(["one ", "two ", "three"], number, person)
    answers = [take(number, parts[index]) for index in order]
    assert [answer.outcome for answer in answers] == ["", "", "conversation"]
    (message,) = received()
    assert (message.text, message.recipient.e164) == ("one two three", person)
    assert message.carrier_message_id == parts[0]["message_id"]
    assert set(TextPart.objects.values_list("message", flat=True)) == {message.pk}


def test_the_words_split_in_the_middle_of_a_character_pair_or_a_space_are_kept_as_they_are(number, person):
    for part in cut([" é☎ ", "\n", "", "🎉 x "], number, person):
        take(number, part)
    assert texts() == [" é☎ \n🎉 x "]


@pytest.mark.behaviour("N5")
def test_a_part_that_comes_again_counts_once_before_and_after_the_whole(number, person):
    first, second = cut(["ST", "OP"], number, person)
    for part in (first, first, first):
        take(number, part)
    assert not received()
    assert TextPart.objects.count() == 1
    take(number, second)
    for part in (second, first, second, first):
        answer = take(number, part)
        assert answer.duplicate
        assert answer.message == received()[0]
    assert texts() == ["STOP"]
    assert TextPart.objects.count() == 2
    assert ConsentEvent.objects.count() == 1


@pytest.mark.behaviour("B04")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_stop_cut_in_two_is_one_stop(number, person, order):
    waiting = send(number, person)
    parts = cut(["ST", "OP"], number, person)

    take(number, parts[order[0]])
    assert verdict(number, person).allowed
    take(number, parts[order[1]])

    assert not verdict(number, person).allowed
    waiting.refresh_from_db()
    assert waiting.state == "cancelled"
    assert OptOut.objects.get().text == "STOP"
    assert Message.objects.filter(purpose="confirmation").count() == 1


def test_a_part_that_is_a_keyword_by_itself_is_none(number, person):
    for part in cut(["I will not ", "STOP", " eating here"], number, person):
        take(number, part)
    assert not OptOut.objects.exists()
    assert texts() == ["I will not STOP eating here"]


@pytest.mark.behaviour("N5")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("repeated", [1, 3])
def test_all_parts_at_the_same_instant_make_one_message(number, person, repeated):
    parts = cut([str(n) for n in range(6)], number, person)
    answers = at_once([lambda part=part: take(number, part) for part in parts * repeated])
    assert texts() == ["012345"]
    assert TextPart.objects.count() == 6
    assert sum(bool(answer.message) and not answer.duplicate for answer in answers) == 1


def test_all_parts_in_one_request_make_one_message(number, person):
    parts = cut(["one ", "two ", "three"], number, person)
    answer = take(number, *reversed(parts))
    assert answer.message.text == "one two three"
    assert WebhookReceipt.objects.get().message == answer.message


def test_parts_of_two_senders_numbers_accounts_or_totals_do_not_mix(number, person):
    other_number = NumberFactory(office=number.office, account=number.account)
    elsewhere = a_number()
    for texts_of in zip(
        cut(["a1", "a2"], number, person, "7"),
        cut(["b1", "b2"], number, somebody(), "7"),
        cut(["c1", "c2"], other_number, person, "7"),
        cut(["d1", "d2"], elsewhere, person, "7"),
        cut(["e1", "e2", "e3"], number, person, "7")[:2],
        strict=True,
    ):
        for part in texts_of:
            take(elsewhere if part["to"] == elsewhere.e164 else number, part)
    assert sorted(texts()) == ["a1a2", "b1b2", "c1c2", "d1d2"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), words=st.lists(st.text(st.characters(codec="utf-8"), max_size=5), min_size=2, max_size=5))
def test_any_order_with_any_repetitions_makes_the_same_one_message(number, data, words):
    person = somebody()
    parts = cut(words, number, person, reference=f"h{next(_ids)}")
    again = data.draw(st.lists(st.sampled_from(parts), max_size=4))
    Message.objects.filter(direction="in", recipient__e164=person).delete()
    for part in data.draw(st.permutations(parts + again)):
        take(number, part)
    (message,) = Message.objects.filter(direction="in", recipient__e164=person)
    assert message.text == "".join(words).replace("\x00", "\ufffd")


# --- A reference used again, an id used again, parts that are none ------------------------------------------


def test_a_reference_used_again_begins_a_new_text(number, person):
    old, new = cut(["old1 ", "old2"], number, person, "3"), cut(["new1 ", "new2"], number, person, "3")
    for part in (*old, *new):
        take(number, part)
    assert texts() == ["old1 old2", "new1 new2"]


def test_a_reference_used_again_while_a_part_is_missing_shows_the_gap_and_loses_nothing(number, person):
    old, new = cut(["old1 ", "old2"], number, person, "3"), cut(["new1 ", "new2"], number, person, "3")
    for part in (old[0], *new):
        take(number, part)
    first, second = texts()
    assert "old1" in first
    assert "part 2 of 2 is missing" in first
    assert second == "new1 new2"


@pytest.mark.behaviour("N6")
@pytest.mark.parametrize("change", ["words", "place", "reference", "sender", "number"])
def test_an_id_that_comes_again_with_another_part_loses_neither(number, person, change):
    first, second = cut(["ST", "OP"], number, person)
    take(number, first)
    other = NumberFactory(office=number.office, account=number.account)
    changed = {
        "words": {"text": "OP"},
        "place": {"part": ["r1", 2, 2]},
        "reference": {"part": ["r2", 1, 2]},
        "sender": {"sender": somebody()},
        "number": {"to": other.e164},
    }[change]

    answer = take(number, {**first, **changed})

    assert not answer.understood
    assert "unique" in answer.error
    assert WebhookReceipt.objects.get(status="not_understood").body
    take(number, second)
    assert texts() == ["STOP"]


@pytest.mark.behaviour("N6")
def test_a_part_with_the_id_of_a_whole_text_is_kept_for_the_operator_and_stops_nobodys_parts(number, person):
    whole = {"sender": person, "to": number.e164, "text": "Hi", "message_id": "m-1"}
    take(number, whole)
    first, second = cut(["ST", "OP"], number, person)
    assert not take(number, {**first, "message_id": "m-1"}).understood
    take(number, first)
    take(number, second)
    assert texts() == ["Hi", "STOP"]


@pytest.mark.parametrize("part", [["r", 0, 2], ["r", 3, 2], ["r", 1, 256], ["r" * 65, 1, 2], ["r", -1, -1]])
def test_a_part_that_cannot_be_one_is_kept_for_the_operator(number, person, part):
    (event,) = cut(["STOP"], number, person)
    answer = take(number, {**event, "part": part})
    assert not answer.understood
    assert not TextPart.objects.exists()
    assert WebhookReceipt.objects.get().status == "not_understood"


def test_a_part_to_a_number_of_nobody_is_kept_for_the_operator_and_counts_when_it_is_run_again(number, person):
    first, second = cut(["ST", "OP"], number, person)
    lost = somebody()
    kept = take(number, {**second, "to": lost})
    assert not kept.understood
    take(number, {**first, "to": lost})
    assert not TextPart.objects.exists()

    number.e164 = lost
    number.save()
    for receipt in WebhookReceipt.objects.filter(status="not_understood"):
        assert inbound.run_again(receipt, by=None).understood

    assert texts() == ["STOP"]
    assert not verdict(number, person).allowed
    assert not WebhookReceipt.objects.filter(status="not_understood").exists()


def test_what_no_database_can_hold_does_not_stop_a_text(number, person):
    for part in cut(["a\x00", "b\ud83d"], number, person, "ref\x00"):
        take(number, part)
    assert texts() == ["a\ufffdb?"]


@pytest.mark.behaviour("N1")
def test_a_part_whose_words_the_carrier_does_not_tell_is_held_and_the_others_show_the_gap(number, person):
    first, second = cut(["Dear office, ", None], number, person)
    take(number, first)
    take(number, second)
    assert [message.outcome for message in received()] == ["held"]
    assert take(number, second).duplicate
    with time_machine.travel(timezone.now() + timedelta(minutes=16)):
        received_text.settle_open_parts()
    assert texts()[1] == "Dear office, \n[part 2 of 2 is missing]\n"


# --- Parts that never come ----------------------------------------------------------------------------------


def test_after_fifteen_minutes_what_is_there_is_taken_in_with_the_gap_shown(number, person):
    for part in cut(["one ", "two ", "three"], number, person)[::2]:
        take(number, part)
    now = timezone.now()
    with time_machine.travel(now + timedelta(minutes=14)):
        assert received_text.settle_open_parts() == 0
    with time_machine.travel(now + timedelta(minutes=16)):
        worker.keep_house()
        assert received_text.settle_open_parts() == 0
    (message,) = received()
    assert message.text == "one \n[part 2 of 3 is missing]\nthree"
    assert message.outcome == "conversation"
    assert message.created_at >= now - timedelta(minutes=1)


@pytest.mark.behaviour("N1")
@pytest.mark.parametrize(
    ("words", "there"),
    [
        (["STOP", " it is raining"], [0]),
        (["It is raining. ", "STOP"], [1]),
        (["Please stop texting me ", "at night"], [0]),
        (["one", "Unsubscribe", "three"], [1]),
    ],
)
def test_a_wish_to_stop_in_what_is_there_is_held_and_is_no_command(number, person, words, there):
    parts = cut(words, number, person)
    for index in there:
        take(number, parts[index])
    with time_machine.travel(timezone.now() + timedelta(minutes=16)):
        received_text.settle_open_parts()
    (message,) = received()
    assert message.outcome == "held"
    assert Hold.objects.get().is_open
    assert not OptOut.objects.exists()
    assert verdict(number, person).code == "held"


@pytest.mark.parametrize("word", ["START", "UNSTOP"])
def test_an_unstop_with_a_gap_lifts_nothing(number, person, word):
    take(number, {"sender": person, "to": number.e164, "text": "STOP", "message_id": "s-1"})
    take(number, cut([word, "!"], number, person)[0])
    with time_machine.travel(timezone.now() + timedelta(minutes=16)):
        received_text.settle_open_parts()
    assert not verdict(number, person).allowed


def test_a_part_that_comes_after_the_gap_was_shown_is_taken_in_as_well(number, person):
    first, second = cut(["I want to ", "STOP"], number, person)
    take(number, first)
    now = timezone.now()
    with time_machine.travel(now + timedelta(minutes=16)):
        received_text.settle_open_parts()
        take(number, second)
        assert take(number, first).duplicate
    TextPart.objects.filter(message=None).update(stored_at=now - timedelta(hours=1))
    received_text.settle_open_parts()
    assert len(texts()) == 2
    assert Message.objects.filter(outcome="held").count() == 1


def test_the_texts_of_many_are_settled_though_one_number_was_given_up_meanwhile(number, person):
    for index in range(4):
        take(number, cut(["a", "b"], number, somebody(), str(index))[0])
    number.given_up_at = timezone.now()
    number.save()
    with time_machine.travel(timezone.now() + timedelta(minutes=16)):
        assert received_text.settle_open_parts() == 4
    assert len(texts()) == 4


@pytest.mark.django_db(transaction=True)
def test_the_last_part_and_the_housekeeping_at_the_same_instant_lose_nothing(number, person):
    for turn in range(4):
        first, second = cut([f"one{turn} ", "STOP it"], number, person, f"r{turn}")
        take(number, first)
        TextPart.objects.filter(message=None).update(stored_at=timezone.now() - timedelta(hours=1))
        at_once([lambda second=second: take(number, second), received_text.settle_open_parts])
        TextPart.objects.filter(message=None).update(stored_at=timezone.now() - timedelta(hours=1))
        received_text.settle_open_parts()
    everything = json.dumps(texts())
    assert all(everything.count(f"one{turn} ") == 1 for turn in range(4))
    assert everything.count("STOP it") == 4
    assert not TextPart.objects.filter(message=None).exists()
