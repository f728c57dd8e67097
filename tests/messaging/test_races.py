"""Many at once, by real threads on a real database: nothing is lost, doubled or let through, and nothing deadlocks.

A deadlock or any other error in a thread fails its test: `at_once` raises it.
"""

import itertools
import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from messaging import consent, inbound, outbox, statuses
from messaging.carriers.base import StatusUpdate
from messaging.models import ConsentEvent, ConsoleText, Conversation, Hold, Message, OptOut, Recipient, WebhookReceipt
from offices.models import CarrierAccount
from offices.models.campaigns import assign
from tests.factories import CampaignFactory, NumberFactory, UserFactory
from tests.messaging.texting import at_once, document, left, receive, request_of, send, somebody, verdict, work

pytestmark = pytest.mark.django_db(transaction=True)
State = Message.State


def take_of(number, sender, text, **fields):
    """A delivery of one and the same message, to be done any number of times."""
    account, request = number.account, request_of(document(number, sender, text, **fields))
    return lambda: inbound.take(account, request)


# --- The same message many times ----------------------------------------------------------------------------


@pytest.mark.behaviour("N5")
def test_one_stop_delivered_fifty_times_at_once_is_one_message_one_event_one_opt_out_and_one_reply():
    number, person = NumberFactory(registered=True), somebody()

    answers = at_once([take_of(number, person, "STOP")] * 50)

    assert [answer.outcome for answer in answers] == ["opted_out"] * 50
    assert sum(not answer.duplicate for answer in answers) == 1
    assert len({answer.message.pk for answer in answers}) == 1
    assert Recipient.objects.count() == 1
    assert ConsentEvent.objects.count() == 1
    assert OptOut.objects.count() == 1
    assert WebhookReceipt.objects.count() == 1
    assert sorted(Message.objects.values_list("direction", flat=True)) == ["in", "out"]
    at_once([work] * 4)
    assert len(left(person, None)) == 1


@pytest.mark.behaviour("N5")
@pytest.mark.parametrize(
    ("text", "events", "replies"), [("HELP", 1, 1), ("UNSTOP", 1, 0), ("stop!!", 1, 0), ("Hi", 0, 0)]
)
def test_any_text_delivered_many_times_at_once_counts_once(text, events, replies):
    number, person = NumberFactory(), somebody()
    answers = at_once([take_of(number, person, text)] * 12)
    assert sum(not answer.duplicate for answer in answers) == 1
    assert Message.objects.filter(direction="in").count() == 1
    assert ConsentEvent.objects.count() == events
    assert Message.objects.filter(direction="out").count() == replies


@pytest.mark.behaviour("N5")
@pytest.mark.behaviour("B01")
def test_a_chat_delivered_many_times_at_once_is_one_chat():
    one, two = NumberFactory(), NumberFactory()
    answers = at_once([take_of(one, two.e164, "STOP")] * 12)
    assert [answer.outcome for answer in answers] == ["chat"] * 12
    assert Message.objects.count() == 1


@pytest.mark.behaviour("N6")
def test_one_message_id_for_different_senders_at_once_loses_none_of_them():
    number = NumberFactory()
    people = [somebody() for _ in range(12)]

    answers = at_once([take_of(number, person, "STOP", message_id="the same") for person in people])

    stored = [answer for answer in answers if answer.understood]
    assert len(stored) == 1
    assert Message.objects.filter(direction="in").count() == OptOut.objects.count() == 1
    kept = WebhookReceipt.objects.filter(status="not_understood")
    assert {answer.receipt.pk for answer in answers if not answer.understood} == set(kept.values_list("pk", flat=True))
    bodies = b"".join(bytes(receipt.body) for receipt in WebhookReceipt.objects.all()).decode()
    assert all(person in bodies for person in people)


def test_the_same_report_of_a_carriers_opt_out_at_once_is_one_event():
    number, person = NumberFactory(), somebody()
    message = send(number, person)
    Message.objects.filter(pk=message.pk).update(state="sent", next_attempt_at=None, carrier_message_id="c1")

    at_once([lambda: statuses.apply(number.account, StatusUpdate("c1", "failed", "21610", opted_out=True))] * 12)

    assert ConsentEvent.objects.filter(kind="carrier").count() == 1
    assert verdict(number, person).code == "opted_out_carrier"


def test_one_idempotency_key_used_many_times_at_once_makes_one_text():
    number, person = NumberFactory(), somebody()
    made = at_once([lambda: send(number, person, "Hi", idempotency_key="k1")] * 12)
    assert len({message.pk for message in made}) == 1
    assert Message.objects.count() == 1


def test_one_idempotency_key_for_several_people_at_once_makes_one_text_and_tells_the_others():
    number = NumberFactory()

    def try_to_send(person):
        try:
            return send(number, person, "Hi", idempotency_key="k1")
        except outbox.KeyReused:
            return None

    people = [somebody() for _ in range(12)]
    made = at_once([lambda person=person: try_to_send(person) for person in people])

    assert sum(message is not None for message in made) == 1
    assert Message.objects.count() == 1


# --- First contacts -----------------------------------------------------------------------------------------


def test_the_first_texts_of_a_new_person_at_once_make_one_recipient():
    first = NumberFactory()
    numbers = [first, *(NumberFactory(office=first.office) for _ in range(3))]
    person = somebody()

    at_once([take_of(number, person, f"Hello {n}") for n in range(5) for number in numbers])

    recipient = Recipient.objects.get()
    assert Message.objects.filter(recipient=recipient).count() == 20
    assert Conversation.objects.count() == 4


def test_the_first_text_in_and_the_first_texts_out_at_once_make_one_recipient():
    number, person = NumberFactory(), somebody()
    at_once([take_of(number, person, "Hello"), *[lambda: send(number, person)] * 11])
    assert Recipient.objects.count() == Conversation.objects.count() == 1
    assert Message.objects.count() == 12


# --- STOP against what is being sent ------------------------------------------------------------------------


@pytest.mark.behaviour("N7")
@pytest.mark.behaviour("B07")
def test_a_stop_among_a_hundred_texts_wins_over_all_that_have_not_left():
    number = NumberFactory(registered=True)
    sibling = NumberFactory(office=number.office, campaign=number.current_assignment().campaign)
    ends = set()
    # The STOP comes earlier or later in the middle of the sending.
    for sent_before in (3, 30, 60, 90):
        person = somebody()
        accepted = threading.Semaphore(0)
        done = threading.Event()
        running = itertools.count(1)

        def sender(of, person=person, accepted=accepted, done=done, running=running):
            for _ in range(25):
                send(of, person)
                accepted.release()
            if next(running) == 4:
                done.set()

        def worker(done=done):
            while not done.is_set():
                outbox.hand_over_due(3)

        def stop(person=person, accepted=accepted, sent_before=sent_before):
            for _ in range(sent_before):
                assert accepted.acquire(timeout=30)
            receive(number, person, "STOP")
            return timezone.now()

        answered = at_once(
            [stop, *(lambda of=of: sender(of) for of in (number, number, sibling, sibling)), *[worker] * 3]
        )[0]
        work()

        blocked_at = OptOut.objects.get(recipient__e164=person).opened_at
        messages = Message.objects.filter(recipient__e164=person, direction="out", purpose="ordinary")
        assert len(messages) == 100
        references = [text.reference for text in left(person)]
        assert len(references) == len(set(references))
        for message in messages:
            ends.add(message.state)
            if str(message.pk) in references:
                assert message.state == State.SENT
                assert message.handed_over_at < blocked_at < answered
            else:
                assert message.state in (State.CANCELLED, State.REFUSED)
                assert message.handed_over_at is None
                assert message.verdict["code"] == "opted_out_campaign"
        refused = ConsentEvent.objects.filter(recipient_e164=person, kind="refusal")
        assert refused.count() == 100 - len(references)
        assert len(left(person, Message.Purpose.CONFIRMATION)) == 1
    assert ends == {State.SENT, State.CANCELLED, State.REFUSED}


@pytest.mark.behaviour("N7")
@pytest.mark.parametrize("first", ["stop", "hand-over"])
def test_a_hand_over_and_a_stop_wait_for_each_other(first):
    """Whichever has the recipient's lock goes first, and the other one sees what it did."""
    number, person = NumberFactory(), somebody()
    message = send(number, person)
    lease, _ = outbox.claim(1)
    waits = threading.Event()

    def other():
        waits.set()
        outbox.hand_over(message.pk, lease) if first == "stop" else receive(number, person, "STOP")
        connection.close()

    thread = threading.Thread(target=other, daemon=True)
    with transaction.atomic():
        if first == "stop":
            receive(number, person, "STOP")
        else:
            taken = outbox.take_in_hand(message.pk, lease)
            assert taken is not None
        thread.start()
        assert waits.wait(10)
        thread.join(0.3)
        assert thread.is_alive()  # it waits for our commit
    thread.join(10)
    assert not thread.is_alive()

    message.refresh_from_db()
    assert message.state == ("cancelled" if first == "stop" else "sending")
    assert not left(person)
    assert not verdict(number, person).allowed


def test_many_workers_at_once_hand_over_each_text_once():
    number = NumberFactory()
    messages = [send(number, somebody()) for _ in range(60)]
    claimed = at_once([lambda: sum(iter(lambda: outbox.hand_over_due(4), 0))] * 6)
    assert sum(claimed) == 60
    assert sorted(ConsoleText.objects.values_list("reference", flat=True)) == sorted(str(m.pk) for m in messages)
    assert set(Message.objects.values_list("state", "attempts")) == {("sent", 1)}


def test_one_claim_in_the_hands_of_several_workers_leaves_once():
    number = NumberFactory()
    messages = [send(number, somebody()).pk for _ in range(10)]
    lease, claimed = outbox.claim(20)
    assert sorted(claimed) == messages
    at_once([lambda: [outbox.hand_over(message, lease) for message in claimed]] * 6)
    assert sorted(map(int, ConsoleText.objects.values_list("reference", flat=True))) == messages


# --- Wishes that cross --------------------------------------------------------------------------------------


@pytest.mark.behaviour("B13")
def test_a_stop_and_an_unstop_that_cross_end_as_the_later_on_record_says():
    number = NumberFactory(registered=True)
    ends = set()
    for _ in range(12):
        person, written = somebody(), timezone.now().replace(microsecond=0)
        texts = [take_of(number, person, text, received_at=written) for text in ("STOP", "UNSTOP", "STOP", "UNSTOP")]

        at_once(texts)

        events = list(ConsentEvent.objects.filter(recipient_e164=person).order_by("pk").values_list("kind", flat=True))
        assert sorted(events) == ["opt_in", "opt_in", "opt_out", "opt_out"]
        assert verdict(number, person).allowed == (events[-1] == "opt_in")
        open_records = OptOut.objects.filter(recipient__e164=person, closed_at__isnull=True).count()
        assert open_records == (events[-1] == "opt_out")
        ends.add(events[-1])
    assert ends


@pytest.mark.behaviour("N1")
def test_two_reviewers_who_settle_one_hold_at_once_settle_it_once():
    number, one, two = NumberFactory(), UserFactory(), UserFactory()
    for _ in range(8):
        person = somebody()
        receive(number, person, "stop!!")
        hold = Hold.objects.get(recipient__e164=person)

        at_once(
            [lambda: consent.review(hold.pk, is_opt_out=True, reviewer=one, reason="yes")] * 3  # noqa: B023
            + [lambda: consent.review(hold.pk, is_opt_out=False, reviewer=two, reason="no")] * 3  # noqa: B023
        )

        hold.refresh_from_db()
        kinds = list(ConsentEvent.objects.filter(recipient_e164=person).order_by("pk").values_list("kind", flat=True))
        if hold.outcome == "opted_out":
            assert (hold.reviewer, hold.review_reason, kinds) == (one, "yes", ["hold", "opt_out"])
        else:
            assert (hold.reviewer, hold.review_reason, kinds) == (two, "no", ["hold", "release"])
        assert verdict(number, person).allowed == (hold.outcome == "released")


@pytest.mark.behaviour("N1")
def test_a_stop_an_unstop_a_review_and_the_end_of_the_term_at_once_leave_one_consistent_end():
    number, reviewer = NumberFactory(registered=True), UserFactory()
    for _ in range(6):
        person = somebody()
        receive(number, person, "stop!!")
        hold = Hold.objects.get(recipient__e164=person)
        Hold.objects.filter(pk=hold.pk).update(due_at=timezone.now() - timedelta(seconds=1))

        at_once(
            [
                take_of(number, person, "STOP"),
                take_of(number, person, "UNSTOP"),
                lambda: consent.review(hold.pk, is_opt_out=False, reviewer=reviewer, reason=""),  # noqa: B023
                consent.settle_due_holds,
                consent.settle_due_holds,
            ]
        )

        hold.refresh_from_db()
        assert hold.outcome != "waiting"
        is_open = OptOut.objects.filter(recipient__e164=person, closed_at__isnull=True).exists()
        assert verdict(number, person).allowed != is_open


# --- Numbers that move meanwhile ----------------------------------------------------------------------------


@pytest.mark.behaviour("N4")
def test_a_block_that_was_told_of_a_number_stays_on_it_when_the_number_is_just_moving_away():
    texted, person = NumberFactory(registered=True), somebody()
    sibling = NumberFactory(office=texted.office, campaign=texted.current_assignment().campaign)
    said = []

    def stop():
        receive(texted, person, "STOP")
        said.append(verdict(sibling, person))
        connection.close()

    thread = threading.Thread(target=stop, daemon=True)
    with transaction.atomic():
        assign(sibling, None)
        thread.start()
        # Either the STOP is answered while the move is not committed yet, or it waits for the move.
        thread.join(0.7)
    thread.join(10)
    assert not thread.is_alive()

    assert not verdict(texted, person).allowed
    if not said[0].allowed:
        assert not verdict(sibling, person).allowed


@pytest.mark.behaviour("N4")
def test_blocks_hold_while_numbers_move_between_campaigns_and_stops_come_in():
    first = NumberFactory(registered=True)
    campaigns = [first.current_assignment().campaign, CampaignFactory(company=first.company), None]
    numbers = [first, *(NumberFactory(office=first.office, campaign=campaigns[0]) for _ in range(3))]
    people = [somebody() for _ in range(24)]
    told = []

    def move(number, start):
        for n in range(12):
            assign(number, campaigns[(start + n) % 3])

    def stops(mine):
        for n, person in enumerate(mine):
            assert receive(numbers[n % 4], person, "STOP").outcome == "opted_out"
            told.extend((number, person) for number in numbers if not verdict(number, person).allowed)
            assert (numbers[n % 4], person) in told

    at_once(
        [lambda n=n, number=number: move(number, n) for n, number in enumerate(numbers)]
        + [lambda k=k: stops(people[k::4]) for k in range(4)]
    )

    assert len(told) >= len(people)
    for number, person in told:
        assert not verdict(number, person).allowed
    for number in numbers:
        open_times = number.assignments.filter(ends_at__isnull=True).count()
        assert open_times <= 1
        times = list(number.assignments.order_by("pk"))
        assert all(a.ends_at and a.ends_at <= b.starts_at for a, b in itertools.pairwise(times))


def test_numbers_that_change_places_at_once_do_not_deadlock():
    one = NumberFactory(registered=True)
    here, there = one.current_assignment().campaign, CampaignFactory(company=one.company)
    numbers = [NumberFactory(office=one.office, campaign=(here, there)[n % 2]) for n in range(6)]

    def move_to_and_fro(number, start):
        for n in range(10):
            assign(number, (there, here)[(start + n) % 2])

    at_once([lambda n=n, number=number: move_to_and_fro(number, n % 2) for n, number in enumerate(numbers)])

    assert all(number.assignments.count() == 11 for number in numbers)


@pytest.mark.behaviour("B01")
def test_two_of_our_numbers_that_chat_with_each_other_at_once_do_not_deadlock():
    one, two = NumberFactory(), NumberFactory()
    three = NumberFactory(office=one.office)

    def talk(sender, to):
        for n in range(8):
            assert send(sender, to.e164, f"Hi {n}").state == State.DELIVERED

    pairs = list(itertools.permutations([one, two, three], 2))
    at_once([lambda pair=pair: talk(*pair) for pair in pairs])

    assert Message.objects.filter(direction="in").count() == Message.objects.filter(direction="out").count() == 48
    assert Conversation.objects.count() == 6


def test_many_people_and_many_numbers_at_once_cross_without_a_deadlock():
    first = NumberFactory(registered=True)
    campaign = first.current_assignment().campaign
    numbers = [first, *(NumberFactory(office=first.office, campaign=campaign) for _ in range(3))]
    people = [somebody() for _ in range(5)]
    account = CarrierAccount.objects.get()
    done = threading.Event()
    running = itertools.count(1)

    def storm(seed):
        words = ["STOP", "Hello", "UNSTOP", "HELP", "stop!!", "please stop"]
        for n in range(24):
            number, person = numbers[(seed + n) % 4], people[(seed * 3 + n) % 5]
            send(number, person)
            inbound.take(account, request_of(document(number, person, words[(seed + n) % 6])))
        if next(running) == 6:
            done.set()

    def workers():
        while not done.is_set():
            outbox.hand_over_due(5)
            outbox.settle_cut_off()

    at_once([lambda n=n: storm(n) for n in range(6)] + [workers] * 3)
    work()

    assert Message.objects.filter(direction="in").count() == 6 * 24
    assert not Message.objects.filter(state__in=["queued", "sending", "uncertain"]).exists()
    references = list(ConsoleText.objects.values_list("reference", flat=True))
    assert len(references) == len(set(references))
    assert set(map(int, references)) == set(Message.objects.filter(state="sent").values_list("pk", flat=True))
