"""Limits of numbers and accounts, and pauses of accounts that fail: exact, however many workers there are."""

import itertools
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from messaging import outbox, throughput
from messaging.carriers import http
from messaging.carriers.base import CarrierError
from messaging.models import CarrierHealth, ConsoleText, Message, Pace
from offices.models import CarrierAccount, Number
from tests.factories import CarrierAccountFactory, NumberFactory
from tests.messaging.texting import at_once, gateway, left, receive, send, somebody, work

ROOT = Path(__file__).resolve().parents[2]
FAILS: tuple[int, dict[str, str], dict[str, str]] = (503, {}, {})
SECOND = timedelta(seconds=1)


@pytest.fixture
def carrier():
    with gateway() as made:
        yield made


@pytest.fixture
def clock():
    """Time stands still, but for what a test moves."""
    with time_machine.travel(timezone.now(), tick=False) as clock:
        yield clock


def gateway_number(carrier, **limits):
    """A number whose account's carrier is the HTTP gateway of the test."""
    number = NumberFactory(**limits)
    number.account = CarrierAccountFactory(
        company=number.company, carrier="generic", settings={"send_url": carrier.url}, secrets={"send_token": "secret"}
    )
    number.save()
    return number


def queue(number, count, text="Your order is ready."):
    return [send(number, somebody(), text) for _ in range(count)]


def state(message):
    message.refresh_from_db()
    return message.state


def turns(messages):
    """The moments of the texts' turns that are still to come, in order."""
    ids = [message.pk for message in messages]
    planned = Message.objects.filter(pk__in=ids, next_attempt_at__isnull=False, turns_held__gt=0)
    return sorted(planned.values_list("next_attempt_at", flat=True))


def gaps(moments):
    return {(later - earlier).total_seconds() for earlier, later in itertools.pairwise(moments)}


def make_due(account):
    """The pause is over, and all that waits is due: now, without waiting for it."""
    CarrierHealth.objects.filter(account=account).update(paused_until=timezone.now() - SECOND)
    Message.objects.filter(number__account=account, next_attempt_at__isnull=False).update(
        next_attempt_at=timezone.now() - SECOND
    )


def health(account):
    return CarrierHealth.objects.get(account=account)


# --- Limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 6])
@pytest.mark.django_db(transaction=True)
def test_ten_texts_of_a_number_with_sixty_a_minute_have_turns_a_second_apart_whatever_the_workers(workers, clock):
    number = NumberFactory(segments_per_minute=60)
    messages = queue(number, 10)
    now = timezone.now()

    at_once([work] * workers)

    assert ConsoleText.objects.count() == 1
    assert turns(messages) == [now + n * SECOND for n in range(1, 10)]
    for n in range(1, 10):
        clock.shift(SECOND)
        at_once([work] * workers)
        assert ConsoleText.objects.count() == n + 1


@pytest.mark.django_db
def test_a_text_of_three_segments_takes_three_turns(clock):
    number = NumberFactory(segments_per_minute=60)
    long_one = send(number, somebody(), "x" * 400)
    after = send(number, somebody())
    assert long_one.segments == 3
    work()
    assert state(long_one) == "sent"
    assert turns([after]) == [timezone.now() + 3 * SECOND]
    assert "60 segments a minute" in Message.objects.get(pk=after.pk).error


@pytest.mark.django_db
def test_the_numbers_of_an_account_share_its_limit(clock):
    account = CarrierAccountFactory(segments_per_minute=30)
    first = NumberFactory(office__company=account.company, account=account)
    numbers = [first, *(NumberFactory(office=first.office, account=account) for _ in range(2))]
    messages = [message for number in numbers for message in queue(number, 2)]
    work()
    assert ConsoleText.objects.count() == 1
    assert turns(messages) == [timezone.now() + n * 2 * SECOND for n in range(1, 6)]


@pytest.mark.django_db
def test_under_both_limits_neither_is_exceeded_and_all_leave(clock):
    account = CarrierAccountFactory(segments_per_minute=60)
    first = NumberFactory(office__company=account.company, account=account, segments_per_minute=20)
    second = NumberFactory(office=first.office, account=account, segments_per_minute=20)
    messages = queue(first, 5) + queue(second, 5)
    for _ in range(200):
        work()
        if ConsoleText.objects.count() == 10:
            break
        clock.shift(timedelta(milliseconds=100))
    sent = {message.pk: message for message in Message.objects.filter(pk__in=[m.pk for m in messages])}
    assert {message.state for message in sent.values()} == {"sent"}
    both = sorted(message.sent_at for message in sent.values())
    assert min(gaps(both)) >= 0.9
    for number in (first, second):
        own = sorted(message.sent_at for message in sent.values() if message.number_id == number.pk)
        assert min(gaps(own)) >= 2.9
    assert both[-1] - both[0] <= timedelta(seconds=16)


@pytest.mark.django_db
def test_a_number_without_a_limit_waits_for_nothing(clock):
    queue(NumberFactory(), 10)
    work()
    assert ConsoleText.objects.count() == 10
    assert not Pace.objects.exists()


@pytest.mark.django_db
def test_a_retry_takes_a_new_turn(carrier, clock):
    number = gateway_number(carrier, segments_per_minute=6)
    carrier.will_answer([FAILS])
    message, other = queue(number, 2)
    work()
    assert Message.objects.get(pk=message.pk).turns_held == 0
    clock.shift(timedelta(seconds=10))
    work()
    assert state(other) == "sent"
    message.refresh_from_db()
    assert message.next_attempt_at == timezone.now() + timedelta(seconds=10)
    clock.shift(timedelta(seconds=10))
    work()
    assert state(message) == "sent"
    assert len(carrier.seen) == 3


@pytest.mark.behaviour("N3")
@pytest.mark.django_db
def test_confirmations_and_help_leave_at_once_and_first_also_behind_a_thousand_due_texts(clock):
    number = NumberFactory(segments_per_minute=1)
    example = send(number, somebody())
    fields = ["company", "conversation", "recipient", "number", "account", "direction", "channel", "text", "state"]
    Message.objects.bulk_create(
        Message(**{name: getattr(example, name) for name in fields}, next_attempt_at=timezone.now() - SECOND)
        for _ in range(1_000)
    )
    stopped, helped = somebody(), somebody()
    receive(number, stopped, "STOP")
    receive(number, helped, "HELP")

    lease, claimed = outbox.claim(4)
    for message_id in claimed:
        outbox.hand_over(message_id, lease)

    assert set(Message.objects.filter(pk__in=claimed[:2]).values_list("purpose", flat=True)) == {
        "confirmation",
        "help_reply",
    }
    assert len(left(stopped, None)) == len(left(helped, None)) == 1
    # They took their turns all the same: two minutes are used up, and a third text must wait for them.
    assert turns([Message.objects.get(pk=claimed[2])]) == [timezone.now() + timedelta(minutes=2)]


@pytest.mark.django_db
def test_a_text_cancelled_while_it_waits_for_its_turn_leaves_nobody_elses_place_taken(clock):
    number, person = NumberFactory(segments_per_minute=60), somebody()
    first = send(number, somebody())
    doomed, last = send(number, person), send(number, somebody())
    work()
    receive(number, person, "STOP")
    assert state(doomed) == "cancelled"
    clock.shift(2 * SECOND)
    work()
    assert [state(first), state(doomed), state(last)] == ["sent", "cancelled", "sent"]
    assert not left(person)


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["housekeeping", "the next text"])
def test_after_the_limit_has_changed_what_waits_gets_new_turns(clock, how):
    number = NumberFactory(segments_per_minute=1)
    messages = queue(number, 6)
    work()
    assert turns(messages)[-1] == timezone.now() + timedelta(minutes=5)
    Number.objects.filter(pk=number.pk).update(segments_per_minute=60)

    if how == "housekeeping":
        assert throughput.plan_changed() == 5
    else:
        messages += queue(number, 1)
        work()
    clock.shift(SECOND)
    work()

    assert gaps(turns(messages)) <= {1.0}
    assert turns(messages)[-1] <= timezone.now() + timedelta(seconds=6)
    assert throughput.plan_changed() == 0
    clock.shift(timedelta(seconds=7))
    work()
    assert {state(message) for message in messages} == {"sent"}


@pytest.mark.django_db
def test_without_the_limit_what_waits_goes_at_once(clock):
    number = NumberFactory(segments_per_minute=1)
    messages = queue(number, 6)
    work()
    Number.objects.filter(pk=number.pk).update(segments_per_minute=None)
    assert throughput.plan_changed() == 5
    clock.shift(SECOND)
    work()
    assert {state(message) for message in messages} == {"sent"}
    assert not Pace.objects.exists()


@pytest.mark.django_db
def test_a_new_limit_of_the_account_does_not_leave_the_numbers_own_turns_taken(clock):
    account = CarrierAccountFactory(segments_per_minute=60)
    number = NumberFactory(office__company=account.company, account=account, segments_per_minute=60)
    messages = queue(number, 30)
    work()
    CarrierAccount.objects.filter(pk=account.pk).update(segments_per_minute=120)
    throughput.plan_changed()
    clock.shift(SECOND)
    work()
    assert turns(messages)[-1] <= timezone.now() + timedelta(seconds=30)


@pytest.mark.django_db
def test_two_who_see_the_new_limit_at_once_plan_once(clock):
    number = NumberFactory(segments_per_minute=1)
    queue(number, 3)
    work()
    Number.objects.filter(pk=number.pk).update(segments_per_minute=60)
    first, second = Number.objects.get(pk=number.pk), Number.objects.get(pk=number.pk)
    assert throughput.plan_anew(first) == 2
    taken = throughput._take_turn(first, 1, timezone.now(), None)
    assert throughput.plan_anew(second) == 0
    assert throughput._take_turn(second, 1, timezone.now(), None) == taken + SECOND


@pytest.mark.django_db
def test_a_text_whose_turn_would_come_too_late_fails_with_a_reason_and_keeps_no_turn_from_later_ones(clock):
    number = NumberFactory(segments_per_minute=1)
    end = timezone.now() + timedelta(minutes=10)
    messages = queue(number, 14)
    Message.objects.update(expires_at=end)
    work()
    assert Pace.objects.get().taken_until == end
    for _ in range(10):
        clock.shift(timedelta(minutes=1))
        work()

    assert sorted(state(message) for message in messages) == ["failed"] * 4 + ["sent"] * 10
    assert {message.error for message in messages if message.state == "failed"} == {
        "Not sent: it would have come too late. Waits for its turn: 1 segments a minute."
    }
    assert ConsoleText.objects.count() == 10
    fresh = send(number, somebody())
    work()
    assert state(fresh) == "sent"


@pytest.mark.django_db
def test_what_had_its_turn_while_no_worker_ran_does_not_leave_all_at_once(clock):
    number = NumberFactory(segments_per_minute=60)
    messages = queue(number, 12)
    work()
    assert ConsoleText.objects.count() == 1
    clock.shift(timedelta(minutes=5))

    work()

    assert ConsoleText.objects.count() <= 2
    assert gaps(turns(messages)) == {1.0}
    for _ in range(12):
        clock.shift(SECOND)
        work()
    assert {state(message) for message in messages} == {"sent"}


@pytest.mark.django_db
def test_a_worker_that_is_a_moment_late_keeps_the_turn(clock):
    number = NumberFactory(segments_per_minute=60)
    messages = queue(number, 3)
    work()
    clock.shift(timedelta(seconds=2.5))
    work()
    assert {state(message) for message in messages} == {"sent"}


WORKER = """
import django
django.setup()
from messaging import outbox
while outbox.hand_over_due():
    pass
"""


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_workers_on_several_machines_keep_one_limit_together():
    number = NumberFactory(segments_per_minute=1)
    messages = queue(number, 40)
    known = connection.settings_dict
    url = (
        f"postgres://{known['USER']}:{quote(known['PASSWORD'])}@/{quote(known['HOST'])}/{quote_plus(known['NAME'])}"
        if str(known["HOST"]).startswith("/")
        else f"postgres://{known['USER']}:{quote(known['PASSWORD'])}@{known['HOST']}:{known['PORT']}/{known['NAME']}"
    )
    environment = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(ROOT)}

    running = [
        subprocess.Popen([sys.executable, "-c", WORKER], cwd=ROOT, env=environment, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()[-2000:]

    assert ConsoleText.objects.count() == 1
    assert len(turns(messages)) == 39
    assert gaps(turns(messages)) == {60.0}


# --- Accounts that fail -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_five_failures_in_a_row_pause_the_account_and_others_go_on(carrier, clock):
    number = gateway_number(carrier)
    carrier.will_answer([FAILS] * 100)
    queue(number, 20)
    other = NumberFactory(office=number.office, account=CarrierAccountFactory(company=number.company))
    elsewhere = queue(other, 3)

    work()

    assert len(carrier.seen) == 5
    assert {state(message) for message in elsewhere} == {"sent"}
    rested = health(number.account)
    assert rested.failures == 5
    assert 13.5 <= (rested.paused_until - timezone.now()).total_seconds() <= 16.5
    assert "503" in rested.last_failure
    # New texts wait with the others.
    waits = send(number, somebody())
    work()
    assert len(carrier.seen) == 5
    waits.refresh_from_db()
    assert waits.next_attempt_at >= rested.paused_until
    assert "paused" in waits.error


@pytest.mark.django_db
def test_pauses_grow_within_bounds_with_one_trial_each_and_a_success_wakes_all(carrier, clock):
    number = gateway_number(carrier)
    carrier.will_answer([FAILS] * 12)
    messages = queue(number, 20)
    work()
    pauses = []
    for trial in range(1, 8):
        pauses.append((health(number.account).paused_until - timezone.now()).total_seconds())
        clock.move_to(health(number.account).paused_until + 3 * SECOND)
        work()
        work()
        assert len(carrier.seen) == 5 + trial
    for pause, expected in zip(pauses, [15, 30, 60, 120, 120, 120, 120], strict=True):
        assert 0.9 * expected <= pause <= 1.1 * expected
    assert health(number.account).failures == 12

    clock.move_to(health(number.account).paused_until + 3 * SECOND)
    work()
    clock.shift(SECOND)
    work()

    assert (health(number.account).failures, health(number.account).paused_until) == (0, None)
    waiting = [message for message in messages if state(message) != "sent"]
    # Only those that the carrier itself refused wait out their own pauses.
    assert all(message.attempts for message in waiting)
    clock.shift(timedelta(hours=1))
    work()
    assert {state(message) for message in messages} == {"sent"}
    assert sorted(set(carrier.references)) == sorted(str(message.pk) for message in messages)


@pytest.mark.django_db(transaction=True)
def test_with_several_workers_a_failing_account_gets_no_more_than_what_was_on_its_way(carrier):
    number = gateway_number(carrier)
    carrier.will_answer([FAILS] * 100)
    queue(number, 20)

    at_once([work] * 4)

    on_the_way = len(carrier.seen) - 5
    assert 0 <= on_the_way <= 3
    # What was on its way does not count as trials: the first pause is the short one.
    assert health(number.account).failures == 5
    assert health(number.account).paused_until <= timezone.now() + timedelta(seconds=16.5)
    for trial in range(1, 4):
        make_due(number.account)
        at_once([work] * 6)
        assert len(carrier.seen) == 5 + on_the_way + trial
    assert health(number.account).failures == 8


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_tries_and_the_others_wait_until_it_has_an_answer(carrier):
    number = gateway_number(carrier)
    carrier.will_answer([FAILS] * 5)
    messages = queue(number, 20)
    work()
    make_due(number.account)
    carrier.go_on.clear()

    def try_while_it_hangs():
        carrier.arrived.clear()
        trial = [lambda: outbox.hand_over_due(1)]
        others = [lambda: carrier.arrived.wait(30) and [work() for _ in range(3)] and carrier.go_on.set()]
        return at_once(trial + others)

    try_while_it_hangs()

    # The five, the trial that hung meanwhile, and nothing else; its success has woken the others.
    assert len(carrier.seen) == 6
    Message.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=timezone.now())
    at_once([work] * 4)
    assert {state(message) for message in messages} == {"sent"}
    assert len(carrier.seen) == 5 + 20


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.django_db
def test_retry_after_rests_the_whole_account(carrier, clock, status):
    number = gateway_number(carrier)
    carrier.will_answer([(status, {}, {"Retry-After": "90"})])
    messages = queue(number, 10)
    work()
    assert len(carrier.seen) == 1
    clock.shift(timedelta(seconds=89))
    work()
    assert len(carrier.seen) == 1
    clock.shift(timedelta(seconds=3))
    work()
    assert {state(message) for message in messages} == {"sent"}
    assert health(number.account).paused_until is None


@pytest.mark.django_db
def test_a_retry_after_of_a_day_rests_the_account_for_ten_minutes_and_the_text_for_all_of_it(carrier, clock):
    number = gateway_number(carrier)
    carrier.will_answer([(429, {}, {"Retry-After": "18000"})])
    first, second = queue(number, 2)
    work()
    assert health(number.account).paused_until == timezone.now() + timedelta(minutes=10)
    clock.shift(timedelta(minutes=10, seconds=3))
    work()
    assert (state(first), state(second)) == ("sending", "sent")
    assert (first.next_attempt_at - first.handed_over_at).total_seconds() >= 18_000


@pytest.mark.django_db
def test_an_answer_to_an_earlier_text_does_not_end_the_pause_that_a_later_one_was_told(carrier, clock):
    number = gateway_number(carrier)
    account = CarrierAccount.objects.select_related("health").get(pk=number.account_id)
    began = timezone.now()
    clock.shift(SECOND)
    throughput.note_failure(account, CarrierError("HTTP 429", retry_after=60, is_trouble=True), began)
    clock.shift(SECOND)
    throughput.note_taken(account, began)
    rested = health(number.account)
    assert (rested.failures, rested.last_taken_at) == (1, timezone.now())
    assert rested.paused_until is not None
    throughput.note_taken(account, timezone.now())
    assert health(number.account).paused_until is None


@pytest.mark.django_db
def test_failures_of_what_was_on_its_way_when_the_pause_began_do_not_make_it_longer(clock):
    number, began = NumberFactory(), timezone.now()
    for _ in range(5):
        clock.shift(SECOND)
        throughput.note_failure(number.account, CarrierError("HTTP 503", is_trouble=True), timezone.now())
    until = health(number.account).paused_until
    for _ in range(5):
        clock.shift(SECOND)
        throughput.note_failure(number.account, CarrierError("late", is_trouble=True), began)
    late = health(number.account)
    assert (late.failures, late.paused_until, late.last_failure) == (5, until, "late")
    clock.move_to(until + SECOND)
    throughput.note_failure(number.account, CarrierError("trial", is_trouble=True), timezone.now())
    assert health(number.account).failures == 6


@pytest.mark.parametrize("status", [401, 429, 502])
@pytest.mark.django_db
def test_what_is_the_accounts_trouble_counts_and_ends_no_text(carrier, clock, status):
    number = gateway_number(carrier)
    carrier.will_answer([(status, {}, {})] * 5)
    messages = queue(number, 6)
    work()
    assert len(carrier.seen) == 5
    assert health(number.account).failures == 5
    assert {state(message) for message in messages} == {"sending", "queued"}


@pytest.mark.django_db
def test_a_texts_own_error_says_that_the_account_works(carrier, clock):
    number = gateway_number(carrier)
    carrier.will_answer([FAILS, FAILS, FAILS, FAILS, (400, {"detail": "No."}, {})] * 3)
    queue(number, 15)
    work()
    assert len(carrier.seen) == 15
    assert health(number.account).failures == 0


@pytest.mark.django_db
def test_an_opt_out_at_the_carrier_is_no_trouble_of_the_account(carrier, clock):
    number = gateway_number(carrier)
    carrier.will_answer([(503, {"error": "opted_out"}, {})] * 8)
    messages = queue(number, 8)
    work()
    assert len(carrier.seen) == 8
    assert {state(message) for message in messages} == {"failed"}
    assert health(number.account).failures == 0


@pytest.mark.django_db
def test_what_may_have_left_counts_and_is_not_sent_again(carrier, clock, settings):
    number = gateway_number(carrier)
    carrier.server.shutdown()
    carrier.server.socket.listen()  # connections are taken by the system, and nobody answers
    settings.CARRIER_TIMEOUT = 0.05
    http._client.clear()
    messages = queue(number, 8)
    work()
    http._client.clear()
    assert sorted(state(message) for message in messages) == ["queued"] * 3 + ["uncertain"] * 5
    assert health(number.account).failures == 5


@pytest.mark.django_db
def test_an_expired_text_takes_neither_the_trial_nor_a_turn(carrier, clock):
    number = gateway_number(carrier, segments_per_minute=60)
    carrier.will_answer([FAILS] * 5)
    messages = queue(number, 12)
    for _ in range(5):
        work()
        clock.shift(2 * SECOND)
    assert health(number.account).failures == 5
    ids = [message.pk for message in messages]
    Message.objects.filter(pk__in=ids[:11]).update(expires_at=timezone.now())
    make_due(number.account)
    taken = Pace.objects.get().taken_until

    work()

    assert len(carrier.seen) == 6
    assert carrier.references[-1] == str(ids[11])
    assert [state(message) for message in messages] == ["failed"] * 11 + ["sent"]
    assert Pace.objects.get().taken_until <= max(taken, timezone.now()) + SECOND


@pytest.mark.django_db
def test_the_trial_of_a_paused_account_does_not_wait_for_its_turn(carrier, clock):
    number = gateway_number(carrier, segments_per_minute=60)
    carrier.will_answer([FAILS] * 5)
    refused = queue(number, 5)
    for _ in range(5):
        work()
        clock.shift(SECOND)
    later = queue(number, 12)
    Pace.objects.update(taken_until=timezone.now() + timedelta(minutes=30))
    make_due(number.account)

    work()

    assert len(carrier.seen) == 6
    assert health(number.account).failures == 0
    work()
    assert len(carrier.seen) == 6
    assert gaps(turns(refused + later)) == {1.0}


@pytest.mark.django_db
def test_texts_that_rested_keep_their_order(carrier, clock):
    number = gateway_number(carrier)
    carrier.will_answer([FAILS] * 5)
    queue(number, 5)
    messages = queue(number, 10)
    work()
    clock.move_to(health(number.account).paused_until + 3 * SECOND)
    while outbox.hand_over_due(1):
        clock.shift(timedelta(milliseconds=50))
    clock.shift(3 * SECOND)
    while outbox.hand_over_due(1):
        pass
    ours = [str(message.pk) for message in messages]
    assert [reference for reference in carrier.references if reference in ours] == ours


@pytest.mark.django_db(transaction=True)
def test_resting_leaves_alone_what_somebody_holds_and_so_cannot_deadlock_with_a_stop(carrier):
    number, person = gateway_number(carrier), somebody()
    messages = [send(number, person) for _ in range(5)] + queue(number, 5)
    account = CarrierAccount.objects.get(pk=number.account_id)
    until = timezone.now() + timedelta(minutes=1)

    at_once(
        [lambda: receive(number, person, "STOP")]
        + [lambda: throughput.rest(account, until), lambda: throughput.wake(account)] * 4
    )

    states = [state(message) for message in messages]
    assert states == ["cancelled"] * 5 + ["queued"] * 5
    assert not any(message.next_attempt_at for message in messages[:5])


@pytest.mark.django_db(transaction=True)
def test_under_failures_limits_and_many_workers_each_text_is_taken_once(carrier):
    number = gateway_number(carrier, segments_per_minute=6_000)
    carrier.will_answer([FAILS] * 6)
    messages = queue(number, 16)
    for _ in range(40):
        at_once([work] * 4)
        if {state(message) for message in messages} == {"sent"}:
            break
        make_due(number.account)
    assert {state(message) for message in messages} == {"sent"}
    taken = [document["reference"] for document in carrier.seen]
    assert len(taken) == 16 + 6  # each once, and six that were refused
    assert len(set(taken)) == 16


@pytest.mark.django_db
def test_a_working_account_is_not_written_about_with_every_text(carrier, clock):
    number = gateway_number(carrier)
    queue(number, 1)
    work()
    queue(number, 5)
    with CaptureQueriesContext(connection) as queries:
        work()
    writes = [query["sql"] for query in queries if "messaging_carrierhealth" in query["sql"]]
    assert not [sql for sql in writes if sql.startswith(("UPDATE", "INSERT"))]
