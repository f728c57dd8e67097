"""Comparing with a carrier's list: what never came is taken in, what is uncertain is settled, and nothing is lifted."""

import itertools
import threading
from datetime import datetime, timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from messaging import consent, outbox, received_text, reconciling
from messaging.carriers.base import CarrierError, InboundText, ListedOptOut, ListedText, Media
from messaging.carriers.registry import CARRIERS
from messaging.models import CarrierHealth, ConsentEvent, Conversation, Hold, Message, OptOut, Recipient, TextPart
from offices.models import CarrierAccount
from tests.factories import CampaignFactory, CarrierAccountFactory, NumberFactory
from tests.messaging.plain_carrier import PlainCarrier
from tests.messaging.texting import at_once, left, recipient_of, send, somebody, verdict, work

pytestmark = pytest.mark.django_db
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
BROKEN = CarrierError("HTTP 503: try later")
_ids = itertools.count(1)


@pytest.fixture
def carrier(monkeypatch):
    made = PlainCarrier()
    monkeypatch.setitem(CARRIERS, "generic", made)
    return made


def an_account(**fields):
    """One that has been here for a while."""
    ago = {"created_at": timezone.now() - timedelta(days=60)}
    return CarrierAccountFactory(**{"carrier": "generic", "secrets": {"send_token": "secret"}, **ago, **fields})


@pytest.fixture
def account(carrier):
    return an_account()


@pytest.fixture
def number(account):
    return NumberFactory(office__company=account.company, account=account)


@pytest.fixture
def person():
    return somebody()


def got(number, sender, text="Hi", ago=HOUR, **fields):
    """An entry for a text that the carrier got for us."""
    fields = {"message_id": f"l-{next(_ids)}", "at": timezone.now() - ago, **fields}
    return ListedText(is_inbound=True, sender=sender, to=number.e164, text=text, **fields)


def came(number, sender, words, message_id="", ago=timedelta(0)):
    """A text that came by the webhook."""
    text = InboundText(
        sender, number.e164, words, message_id or f"w-{next(_ids)}", received_at=timezone.now() - ago if ago else None
    )
    with transaction.atomic():
        received_text.receive(number.account, text)


def gone(message, state="delivered", ago=None, **fields):
    """An entry for a text of ours that the carrier took."""
    at = message.handed_over_at if ago is None else timezone.now() - ago
    fields = {"message_id": message.carrier_message_id or f"s-{next(_ids)}", "text": message.text, **fields}
    return ListedText(
        is_inbound=False, sender=message.number.e164, to=message.recipient.e164, at=at, state=state, **fields
    )


def opted_out(person, number=None, ago=HOUR, at=True):
    return ListedOptOut(person, number.e164 if number else "", timezone.now() - ago if at else None, "STOP on file")


def our_text(number, person, state, carrier_id="", text="Your order is ready.", ago=HOUR):
    message = send(number, person, text)
    Message.objects.filter(pk=message.pk).update(
        state=state,
        next_attempt_at=None,
        carrier_message_id=carrier_id,
        handed_over_at=timezone.now() - ago,
        account=number.account,
    )
    message.refresh_from_db()
    return message


def compare(account, window=24 * HOUR, **fields):
    return reconciling.compare(CarrierAccount.objects.get(pk=account.pk), window, **fields)


def counts(found):
    return {name: count for name, count in vars(found).items() if count}


def state(message):
    message.refresh_from_db()
    return message.state


def health(account):
    return CarrierHealth.objects.get(account=account)


# --- Received texts that never came -------------------------------------------------------------------------


@pytest.mark.behaviour("B07")
def test_a_stop_that_never_came_opts_out_as_of_when_it_was_written(account, number, carrier, person):
    waiting = send(number, person)
    entry = got(number, person, "STOP")
    carrier.entries = [entry]

    found = compare(account)

    assert counts(found) == {"looked_at": 1, "taken_in": 1}
    assert not verdict(number, person).allowed
    assert state(waiting) == "cancelled"
    assert OptOut.objects.get().texted_at == entry.at
    event = ConsentEvent.objects.get(kind="opt_out")
    assert (event.received_at, event.reason) == (entry.at, reconciling.WHY)
    # An hour later a confirmation would be worth nothing.
    assert not Message.objects.filter(purpose="confirmation").exists()


@pytest.mark.parametrize("word", ["UNSTOP", "START"])
def test_an_unstop_that_never_came_is_stored_and_lifts_nothing(account, number, carrier, person, word):
    came(number, person, "STOP", ago=2 * HOUR)
    carrier.entries = [got(number, person, word)]
    assert counts(compare(account))["taken_in"] == 1
    assert not verdict(number, person).allowed
    assert not ConsentEvent.objects.filter(kind="opt_in").exists()
    message = Message.objects.get(text=word)
    assert message.outcome == "conversation"


def test_a_whole_conversation_that_never_came_is_taken_in_with_its_pictures(account, number, carrier, person):
    media = [Media("https://media.example.com/1.jpg", "image/jpeg", 1234)]
    carrier.entries = [
        got(number, person, "Hi"),
        got(number, person, "HELP", ago=3 * HOUR),
        got(number, person, "", media=media),
        got(number, somebody(), "please stop texting me"),
    ]
    assert counts(compare(account)) == {"looked_at": 4, "taken_in": 4}
    outcomes = sorted(Message.objects.filter(direction="in").values_list("outcome", flat=True))
    assert outcomes == ["conversation", "conversation", "held", "help"]
    assert Message.objects.get(channel="mms").media[0]["size"] == 1234
    work()
    assert not left(person, None)  # the HELP was three hours ago


def test_words_that_the_carrier_will_not_tell_of_one_text_hold_it_and_the_others_go_on(
    account, number, carrier, monkeypatch
):
    def words(credentials, message_id):
        raise CarrierError("HTTP 422: no such thing", permanent=True)

    monkeypatch.setattr(carrier, "words", words)
    first, second, third = somebody(), somebody(), somebody()
    carrier.entries = [
        got(number, first, None),
        got(number, second, "STOP"),
        ListedOptOut(third, number.e164, None, "there"),
    ]

    found = reconciling.compare(account, timedelta(hours=48))

    assert (found.taken_in, found.opted_out) == (2, 1)
    assert [verdict(number, who).allowed for who in (first, second, third)] == [False, False, False]
    assert verdict(number, first).code == "held"


def test_a_text_that_came_by_another_account_of_the_same_carrier_is_known(account, number, carrier, person):
    before = an_account(company=account.company)
    number.account = before
    number.save()
    came(number, person, "STOP", "w-before")
    came(number, person, "UNSTOP")
    number.account = account
    number.save()
    carrier.entries = [got(number, person, "STOP", message_id="w-before")]

    found = reconciling.compare(account, timedelta(hours=48))

    assert found.taken_in == 0
    assert verdict(number, person).allowed


def test_words_that_the_list_does_not_hold_are_asked_for_and_without_them_a_person_looks(
    account, number, carrier, person
):
    other = somebody()
    known, unknown = got(number, person, None), got(number, other, None)
    carrier.entries, carrier.said = [known, unknown], {known.message_id: "STOP"}
    compare(account)
    assert verdict(number, person).code == "opted_out_company"
    assert verdict(number, other).code == "held"
    assert Hold.objects.get().recipient.e164 == other


@pytest.mark.behaviour("N5")
def test_what_came_already_is_skipped_also_parts_of_long_texts(account, number, carrier, person):
    came(number, person, "Hi", message_id="known")
    TextPart.objects.create(
        company=account.company, account=account, number=number, recipient=recipient_of(number, person),
        reference="1", position=1, total=2, text="ST", carrier_message_id="part",
    )  # fmt: skip
    carrier.entries = [
        got(number, person, "Hi", message_id="known"),
        got(number, person, "ST", message_id="part"),
        # Carriers' lists are not always of the same mind as their webhooks about the words.
        got(number, person, "STOP", message_id="known"),
    ]
    assert counts(compare(account)) == {"looked_at": 3}
    assert Message.objects.filter(direction="in").count() == 1


def test_what_stands_on_two_pages_counts_once(account, number, carrier, person):
    entry = got(number, person, "STOP")
    carrier.entries = [entry, entry]
    assert counts(compare(account)) == {"looked_at": 2, "taken_in": 1}
    assert ConsentEvent.objects.count() == 1


def test_texts_to_other_numbers_are_left_alone_and_counted(account, number, carrier, person):
    given_up = NumberFactory(office=number.office, account=account, given_up_at=timezone.now())
    elsewhere = NumberFactory()
    carrier.entries = [
        got(given_up, person, "STOP"),
        got(elsewhere, person, "STOP"),
        ListedText("x", True, person, "no number", timezone.now(), "STOP"),
        ListedText("y", False, elsewhere.e164, person, timezone.now(), "Hi", state="failed", opted_out=True),
        ListedOptOut("", number.e164, None, ""),
        ListedOptOut(person, elsewhere.e164, None, ""),
    ]
    assert counts(compare(account)) == {"looked_at": 6, "not_ours": 6}
    assert not Message.objects.exists()
    assert not OptOut.objects.exists()


def test_a_text_that_makes_no_sense_does_not_keep_the_others_out(account, number, carrier, person):
    carrier.entries = [got(number, "???" * 20, "STOP"), got(number, person, "STOP")]
    assert counts(compare(account)) == {"looked_at": 2, "taken_in": 1}
    assert not verdict(number, person).allowed


def test_numbers_without_their_plus_are_the_same_numbers(account, number, carrier, person):
    carrier.entries = [
        ListedText("x", True, person[1:], number.e164[1:], timezone.now() - HOUR, "STOP"),
        ListedOptOut(person[1:], number.e164[1:], timezone.now() - HOUR, ""),
    ]
    assert counts(compare(account)) == {"looked_at": 2, "taken_in": 1}
    assert not verdict(number, person).allowed


# --- Texts of ours ------------------------------------------------------------------------------------------


def test_states_of_known_texts_go_forward_only(account, number, carrier):
    late = our_text(number, somebody(), "sent", "c1")
    done = our_text(number, somebody(), "delivered", "c2")
    failed = our_text(number, somebody(), "sent", "c3")
    carrier.entries = [
        gone(late, "delivered"),
        gone(done, "sent"),
        gone(done, "failed"),
        gone(failed, "failed", detail="30005"),
        gone(late, None),
    ]
    assert counts(compare(account)) == {"looked_at": 5, "settled": 2}
    assert [state(late), state(done), state(failed)] == ["delivered", "delivered", "failed"]
    assert "30005" in failed.error


@pytest.mark.parametrize(
    ("listed", "becomes"), [("sent", "sent"), ("delivered", "delivered"), ("failed", "failed"), (None, "sent")]
)
def test_an_uncertain_text_is_found_by_its_ends_its_words_and_its_time(account, number, carrier, listed, becomes):
    message = our_text(number, somebody(), "uncertain")
    carrier.entries = [gone(message, listed, message_id="found", ago=HOUR + 2 * MINUTE)]
    assert counts(compare(account)) == {"looked_at": 1, "settled": 1}
    assert (state(message), message.carrier_message_id) == (becomes, "found")
    # Its statuses find it from now on.
    assert counts(compare(account)) == {"looked_at": 1}


@pytest.mark.parametrize("difference", ["words", "recipient", "number", "time"])
def test_an_entry_that_differs_is_not_the_uncertain_text(account, number, carrier, difference):
    message = our_text(number, somebody(), "uncertain")
    other = NumberFactory(office=number.office, account=account)
    entry = {
        "words": gone(message, message_id="x", text="Something else"),
        "recipient": ListedText(
            "x", False, number.e164, somebody(), message.handed_over_at, message.text, state="sent"
        ),
        "number": ListedText(
            "x", False, other.e164, message.recipient.e164, message.handed_over_at, message.text, state="sent"
        ),
        "time": gone(message, message_id="x", ago=HOUR + 11 * MINUTE),
    }[difference]
    carrier.entries = [entry]
    carrier.LISTS_SENT = False
    assert counts(compare(account)) == {"looked_at": 1}
    assert (state(message), message.carrier_message_id) == ("uncertain", "")


def test_when_two_could_be_it_neither_is_settled_and_neither_is_said_never_to_have_left(account, number, carrier):
    person = somebody()
    twins = [our_text(number, person, "uncertain") for _ in range(2)]
    carrier.entries = [gone(twins[0], message_id="x")]
    assert counts(compare(account)) == {"looked_at": 1}
    assert [state(message) for message in twins] == ["uncertain"] * 2


def test_an_uncertain_text_that_the_whole_list_does_not_hold_never_left_and_is_not_sent_again(account, number, carrier):
    message = our_text(number, somebody(), "uncertain")
    other = our_text(number, somebody(), "sent", "c1")
    carrier.entries = [gone(other, "delivered")]
    assert counts(compare(account)) == {"looked_at": 1, "settled": 1, "never_left": 1}
    assert state(message) == "failed"
    assert "never left" in message.error
    work()
    assert state(message) == "failed"


@pytest.mark.parametrize("reason", ["its words differ", "its time is far off", "the list broke off", "no claim"])
def test_a_text_that_may_have_left_is_not_said_never_to_have(account, number, carrier, reason):
    message = our_text(number, somebody(), "uncertain")
    if reason == "its words differ":
        carrier.entries = [gone(message, message_id="x", text="Your order is ready")]
    elif reason == "its time is far off":
        carrier.entries = [gone(message, message_id="x", ago=3 * HOUR)]
    elif reason == "the list broke off":
        carrier.entries = [BROKEN]
    else:
        carrier.LISTS_SENT = False
    try:
        assert not compare(account).never_left
    except CarrierError:
        assert reason == "the list broke off"
    assert state(message) == "uncertain"


@pytest.mark.parametrize("ago", [5 * MINUTE, 15 * MINUTE, 24 * HOUR - 5 * MINUTE, 25 * HOUR])
def test_at_the_edges_of_the_window_nothing_is_said_never_to_have_left(account, number, carrier, ago):
    message = our_text(number, somebody(), "uncertain", ago=ago)
    assert not compare(account).never_left
    assert state(message) == "uncertain"


def test_a_text_refused_for_an_opt_out_at_the_carrier_blocks_that_number(account, number, carrier):
    person = somebody()
    message = our_text(number, person, "sent", "c1")
    sibling = NumberFactory(office=number.office, account=account)
    carrier.entries = [gone(message, "failed", detail="21610", opted_out=True)]
    assert counts(compare(account)) == {"looked_at": 1, "settled": 1, "opted_out": 1}
    assert state(message) == "failed"
    assert verdict(number, person).code == "opted_out_carrier"
    assert verdict(sibling, person).allowed


# --- Opt-outs at the carrier --------------------------------------------------------------------------------


def test_an_opt_out_for_one_number_is_taken_over_for_that_number(account, number, carrier, person):
    sibling = NumberFactory(office=number.office, account=account)
    waiting = send(number, person)
    carrier.entries = [opted_out(person, number)]
    assert counts(compare(account)) == {"looked_at": 1, "opted_out": 1}
    assert verdict(number, person).code == "opted_out_carrier"
    assert verdict(sibling, person).allowed
    assert state(waiting) == "cancelled"
    event = ConsentEvent.objects.get(kind="carrier")
    assert (event.source, event.recipient_e164) == ("carrier", person)
    assert event.reason == "generic: STOP on file (in its list)"


def test_an_opt_out_for_the_whole_account_is_taken_over_for_all_its_numbers(account, number, carrier, person):
    sibling = NumberFactory(office=number.office, account=account)
    elsewhere = NumberFactory(office=number.office, account=CarrierAccountFactory(company=account.company))
    carrier.entries = [opted_out(person)]
    assert counts(compare(account)) == {"looked_at": 1, "opted_out": 2}
    assert [verdict(one, person).allowed for one in (number, sibling, elsewhere)] == [False, False, True]


@pytest.mark.parametrize("at", [True, False])
def test_a_second_run_finds_nothing(account, number, carrier, person, at):
    message = our_text(number, somebody(), "uncertain")
    never = our_text(number, somebody(), "uncertain")
    carrier.entries = [
        got(number, somebody(), "STOP"),
        got(number, somebody(), "UNSTOP"),
        gone(message, "delivered", message_id="x"),
        opted_out(person, number, at=at),
        opted_out(somebody(), at=at),
    ]
    assert counts(compare(account)) == {
        "looked_at": 5, "taken_in": 2, "settled": 1, "opted_out": 2, "never_left": 1
    }  # fmt: skip
    before = (Message.objects.count(), ConsentEvent.objects.count(), OptOut.objects.count())
    assert counts(compare(account)) == {"looked_at": 5}
    assert (Message.objects.count(), ConsentEvent.objects.count(), OptOut.objects.count()) == before
    assert state(never) == "failed"


def test_who_opted_in_to_that_number_since_is_not_opted_out_again(account, number, carrier, person):
    came(number, person, "UNSTOP", ago=MINUTE)
    carrier.entries = [opted_out(person, number, ago=HOUR)]
    assert counts(compare(account)) == {"looked_at": 1}
    assert verdict(number, person).allowed
    # Before: it is.
    carrier.entries = [opted_out(person, number, ago=timedelta(seconds=10))]
    assert counts(compare(account)) == {"looked_at": 1, "opted_out": 1}


def test_an_opt_in_to_another_number_does_not_keep_an_opt_out_out(account, number, carrier, person):
    sibling = NumberFactory(office=number.office, account=account)
    came(sibling, person, "UNSTOP", ago=MINUTE)
    carrier.entries = [opted_out(person, number, ago=HOUR)]
    compare(account)
    assert not verdict(number, person).allowed
    assert verdict(sibling, person).allowed


def test_somebody_on_hold_is_opted_out_all_the_same(account, number, carrier, person):
    came(number, person, "please stop texting me")
    carrier.entries = [opted_out(person, number)]
    assert counts(compare(account)) == {"looked_at": 1, "opted_out": 1}
    consent.review(Hold.objects.get().pk, is_opt_out=False, reviewer=None, reason="A joke.")
    assert verdict(number, person).code == "opted_out_carrier"


def test_an_account_that_is_switched_off_learns_of_opt_outs_as_well(account, number, carrier, person):
    CarrierAccount.objects.update(is_active=False)
    carrier.entries = [opted_out(person, number)]
    assert counts(compare(account)) == {"looked_at": 1, "opted_out": 1}
    CarrierAccount.objects.update(is_active=True)
    assert verdict(number, person).code == "opted_out_carrier"


@pytest.mark.behaviour("N4")
def test_an_opt_out_that_the_carrier_does_not_have_stays(account, number, carrier, person):
    came(number, person, "STOP")
    campaign = CampaignFactory(company=account.company)
    other = NumberFactory(office=number.office, account=account, campaign=campaign)
    came(other, somebody(), "STOP")
    carrier.entries = []
    assert counts(compare(account)) == {}
    assert OptOut.objects.filter(closed_at=None).count() == 2


# --- The list breaks off; nothing is to be changed ----------------------------------------------------------


@pytest.mark.parametrize("before", [1, 199, 200, 201])
def test_what_came_before_the_list_broke_off_is_done_and_the_next_run_does_the_rest(account, number, carrier, before):
    first, last = somebody(), somebody()
    elsewhere = NumberFactory()
    filler = [got(elsewhere, somebody()) for _ in range(before - 1)]
    carrier.entries = [*filler, got(number, first, "STOP"), BROKEN]
    start = timezone.now()
    with pytest.raises(CarrierError):
        compare(account)
    assert not verdict(number, first).allowed
    assert health(account).reconciled_at is None
    assert "HTTP 503" in health(account).reconciliation

    carrier.entries[-1] = got(number, last, "STOP")
    assert counts(compare(account))["taken_in"] == 1
    assert not verdict(number, last).allowed
    assert health(account).reconciled_at >= start
    assert "1 received texts taken in" in health(account).reconciliation


def everything():
    return [list(model.objects.order_by("pk").values()) for model in (
        Message, ConsentEvent, OptOut, Hold, Recipient, Conversation, CarrierHealth
    )]  # fmt: skip


def test_a_dry_run_says_what_it_would_find_and_changes_nothing(account, number, carrier, person):
    uncertain, never = (our_text(number, somebody(), "uncertain") for _ in range(2))
    known = our_text(number, somebody(), "sent", "c1")
    carrier.entries = [
        got(number, person, "STOP"),
        gone(uncertain, None, message_id="x"),
        gone(known, "failed", opted_out=True),
        opted_out(somebody(), number),
        opted_out(somebody()),
    ]
    before = everything()

    would = counts(compare(account, dry_run=True))

    assert everything() == before
    assert state(never) == "uncertain"
    assert would == {"looked_at": 5, "taken_in": 1, "settled": 2, "opted_out": 3, "never_left": 1}
    assert counts(compare(account)) == would


def test_a_dry_run_of_a_list_that_breaks_off_notes_nothing(account, number, carrier):
    carrier.entries = [BROKEN]
    with pytest.raises(CarrierError):
        compare(account, dry_run=True)
    assert not CarrierHealth.objects.exists()


# --- How far back -------------------------------------------------------------------------------------------


def test_the_first_comparison_goes_back_two_days_and_the_next_a_little_behind_the_last(account, carrier):
    start = timezone.now()
    with time_machine.travel(start, tick=False) as clock:
        compare(account, timedelta(0))
        clock.shift(24 * HOUR)
        compare(account, timedelta(0))
        clock.shift(timedelta(days=30))
        compare(account, timedelta(0))
        end = timezone.now()
    ten = 10 * MINUTE
    assert carrier.asked == [
        (start - 48 * HOUR, start - ten),
        (start - HOUR, start + 24 * HOUR - ten),
        (end - timedelta(days=7), end - ten),
    ]


def test_an_account_is_not_compared_with_what_was_there_before_it(account, carrier):
    now = timezone.now()
    CarrierAccount.objects.update(created_at=now - 3 * HOUR)
    compare(account, timedelta(0))
    ((since, _),) = carrier.asked
    assert since == now - 3 * HOUR


def test_an_account_of_a_moment_ago_has_nothing_to_compare(account, carrier):
    CarrierAccount.objects.update(created_at=timezone.now() - MINUTE)
    assert counts(compare(account, timedelta(0))) == {}
    assert not carrier.asked


# --- By night -----------------------------------------------------------------------------------------------


def test_each_account_with_a_list_is_compared_once_a_night(account, number, carrier, person):
    without_secrets = an_account(secrets={})
    an_account(is_active=False)
    an_account(carrier="console")
    carrier.entries = [got(number, person, "STOP")]
    morning = timezone.localtime().replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=1)
    with time_machine.travel(morning, tick=False) as clock:
        assert reconciling.next_due() == 1
        assert reconciling.next_due() == 0
        clock.move_to(reconciling.tonight(morning) - MINUTE)
        assert reconciling.next_due() == 0
        clock.move_to(reconciling.tonight(morning))
        assert reconciling.next_due() == 1
        assert reconciling.next_due() == 0
    assert len(carrier.asked) == 2
    assert not verdict(number, person).allowed
    assert not CarrierHealth.objects.filter(account=without_secrets).exists()


def test_a_carrier_that_fails_is_asked_again_in_an_hour_and_the_page_says_why(account, carrier):
    carrier.entries = [BROKEN]
    with time_machine.travel(timezone.now(), tick=False) as clock:
        assert reconciling.next_due() == 1
        assert "HTTP 503" in health(account).reconciliation
        assert reconciling.next_due() == 0
        clock.shift(HOUR + MINUTE)
        carrier.entries = []
        assert reconciling.next_due() == 1
    assert health(account).reconciliation == "nothing listed"
    assert len(carrier.asked) == 2


@pytest.mark.django_db(transaction=True)
def test_several_workers_at_once_compare_each_account_once(carrier):
    accounts = [an_account() for _ in range(3)]
    numbers = [NumberFactory(office__company=account.company, account=account) for account in accounts]
    gate = threading.Event()
    carrier.on_ask = lambda: (len(carrier.asked) >= 3 and gate.set()) or gate.wait(20)
    carrier.entries = [got(number, somebody(), "STOP") for number in numbers]

    def night():
        while reconciling.next_due():
            pass

    at_once([night] * 5)

    assert len(carrier.asked) == 3
    assert OptOut.objects.count() == ConsentEvent.objects.count() == 3
    assert all(health(account).reconciled_at for account in accounts)


@pytest.mark.behaviour("N5")
@pytest.mark.django_db(transaction=True)
def test_a_webhook_that_comes_while_its_text_is_taken_from_the_list_counts_once(account, number, carrier):
    entries = carrier.entries = [got(number, somebody(), "STOP") for _ in range(8)]

    def webhooks():
        for entry in reversed(entries):
            came(number, entry.sender, entry.text, message_id=entry.message_id)

    found, _ = at_once([lambda: compare(account), webhooks])

    assert found.taken_in <= 8
    assert ConsentEvent.objects.count() == Message.objects.filter(direction="in").count() == 8


@pytest.mark.parametrize(
    ("now", "night"),
    [("2026-11-23T02:59:00", "2026-11-23T03:00:00"), ("2026-11-23T03:00:00", "2026-11-24T03:00:00"),
     ("2026-11-23T23:59:00", "2026-11-24T03:00:00"), ("2026-12-31T12:00:00", "2027-01-01T03:00:00")],
)  # fmt: skip
def test_night_is_at_three_by_the_portals_clock(now, night):
    zone = timezone.get_current_timezone()
    given, expected = (datetime.fromisoformat(one).replace(tzinfo=zone) for one in (now, night))
    assert reconciling.tonight(given) == expected


# --- How much it asks of the database -----------------------------------------------------------------------


def test_entries_that_are_known_cost_no_more_queries_however_many_they_are(account, number, carrier):
    people = [somebody() for _ in range(150)]
    recipients = Recipient.objects.bulk_create(Recipient(company=account.company, e164=person) for person in people)
    conversations = Conversation.objects.bulk_create(
        Conversation(company=account.company, number=number, recipient=recipient) for recipient in recipients
    )
    common = {"company": account.company, "number": number, "account": account, "channel": "sms", "text": "Hi"}
    Message.objects.bulk_create(
        Message(
            **common, conversation=conversation, recipient=conversation.recipient, carrier_message_id=f"{way}-{index}",
            direction=way, state="received" if way == "in" else "delivered",
        )
        for index, conversation in enumerate(conversations)
        for way in ("in", "out")
    )  # fmt: skip
    for person in people[:10]:
        consent.opt_out_at_carrier(recipient_of(number, person), number, carrier="generic", detail="x")
    now = timezone.now() - HOUR

    def queries(count):
        carrier.entries = []
        for index, person in enumerate(people[:count]):
            carrier.entries += [
                ListedText(f"in-{index}", True, person, number.e164, now, "Hi"),
                ListedText(f"out-{index}", False, number.e164, person, now, "Hi", state="delivered"),
                # Sent by others through the same account: there are no texts of ours that they could be.
                ListedText(f"other-{index}", False, number.e164, person, now, "Sale!", state="delivered"),
                opted_out(people[index % 10], number),
            ]
        CarrierHealth.objects.filter(account=account).delete()
        with CaptureQueriesContext(connection) as captured:
            assert counts(compare(account)) == {"looked_at": 4 * count}
        return len(captured)

    assert queries(50) == queries(10)  # 200 entries, and 40
    assert queries(150) <= 3 * queries(50)


# --- The command --------------------------------------------------------------------------------------------


def reconcile(*arguments):
    out, err = StringIO(), StringIO()
    error = None
    try:
        call_command("reconcile", *arguments, stdout=out, stderr=err)
    except CommandError as raised:
        error = raised
    return out.getvalue(), err.getvalue(), error


def test_the_command_compares_every_account_and_tells_what_it_found(account, number, carrier, person):
    console = CarrierAccountFactory()
    carrier.entries = [got(number, person, "STOP")]
    out, err, error = reconcile()
    assert (err, error) == ("", None)
    assert f"{account.company}, {account} (Generic" in out
    assert "1 entries compared, 1 received texts taken in\n" in out
    assert f"{console.company}, {console} (Console (log and table; demo and tests)): this carrier has no list" in out
    assert not verdict(number, person).allowed


def test_the_command_takes_one_account_a_window_and_a_dry_run(account, number, carrier, person):
    other = an_account()
    carrier.entries = [got(number, person, "STOP")]
    out, _, error = reconcile("--account", str(account.pk), "--hours", "5", "--dry-run")
    assert error is None
    assert "(nothing was changed)" in out
    assert str(other) not in out
    assert verdict(number, person).allowed
    ((since, until),) = carrier.asked
    assert timedelta(hours=4.8) <= until - since <= timedelta(hours=4.9)


@pytest.mark.parametrize(
    "arguments", [["--account", "0"], ["--account", "987654"], ["--hours", "0"], ["--hours", "-3"]]
)
def test_the_command_says_what_is_wrong_with_its_arguments(account, carrier, arguments):
    _, _, error = reconcile(arguments)
    assert error is not None
    assert not carrier.asked


def test_the_command_goes_on_after_an_account_that_fails_and_ends_with_an_error(account, number, carrier, person):
    other = an_account()
    carrier.entries = [got(number, person, "STOP"), BROKEN]
    _, err, error = reconcile()
    assert str(error) == "2 of 2 accounts could not be compared."
    assert error.returncode == 1
    assert err.count("HTTP 503") == 2
    assert str(other) in err
    assert not verdict(number, person).allowed


def test_whoever_sends_meanwhile_is_not_held_up(account, number, carrier, person):
    carrier.entries = [got(number, person, "Hi")]
    message = send(number, person)
    compare(account)
    outbox.hand_over_due()
    assert state(message) == "sent"
