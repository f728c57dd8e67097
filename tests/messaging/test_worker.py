"""The worker's threads: they work until told to stop, and survive what fails."""

import itertools
import logging
import threading
import time
from datetime import timedelta

import pytest
import time_machine
from django.db import OperationalError
from django.utils import timezone

from messaging import worker
from messaging.models import ConsoleText, Hold, Message
from tests.factories import CarrierAccountFactory, NumberFactory
from tests.messaging.texting import gateway, receive, send, somebody


def wait_for(condition, patience=15):
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def running(transactional_db):
    """A worker with three threads; ended by setting `stop`."""
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(3, stop), daemon=True)
    thread.start()
    yield stop, thread
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def test_the_worker_hands_over_what_is_due_and_what_comes_later(running):
    number = NumberFactory()
    for _ in range(2):
        messages = [send(number, somebody()) for _ in range(12)]
        wait_for(lambda: Message.objects.filter(state="sent", pk__in=[m.pk for m in messages]).count() == 12)  # noqa: B023
    references = list(ConsoleText.objects.values_list("reference", flat=True))
    assert len(references) == len(set(references)) == 24


@pytest.mark.behaviour("N3")
def test_a_reply_leaves_within_a_moment(running):
    person = somebody()
    receive(NumberFactory(), person, "STOP")
    wait_for(lambda: ConsoleText.objects.filter(to=person).exists(), patience=5)


def test_told_to_stop_the_worker_finishes_what_it_has_in_hand(transactional_db):
    with gateway() as carrier:
        carrier.go_on.clear()
        number = NumberFactory()
        number.account = CarrierAccountFactory(
            company=number.company, carrier="generic", settings={"send_url": carrier.url}
        )
        number.save()
        message = send(number, somebody())
        stop = threading.Event()
        thread = threading.Thread(target=worker.run, args=(2, stop), daemon=True)
        thread.start()
        assert carrier.arrived.wait(15)

        stop.set()
        thread.join(0.5)
        assert thread.is_alive()  # it waits for the carrier's answer
        carrier.go_on.set()
        thread.join(15)

        assert not thread.is_alive()
        message.refresh_from_db()
        assert message.state == "sent"
        assert len(carrier.seen) == 1


@pytest.mark.behaviour("N1")
def test_housekeeping_settles_due_holds_and_texts_that_were_cut_off(db):
    number = NumberFactory()
    receive(number, somebody(), "stop!!")
    message = send(number, somebody())
    Message.objects.filter(pk=message.pk).update(state="sending", next_attempt_at=None, handed_over_at=timezone.now())
    assert worker.keep_house() == 0
    assert Hold.objects.get().outcome == "waiting"

    with time_machine.travel(timezone.now() + timedelta(days=40)):
        assert worker.keep_house() == 0

    message.refresh_from_db()
    assert message.state == "uncertain"
    assert Hold.objects.get().outcome == "opted_out"


@pytest.mark.parametrize("error", [OperationalError("gone"), ValueError("a bug")])
def test_a_job_that_fails_is_run_again(error, caplog, monkeypatch):
    monkeypatch.setattr(worker, "DATABASE_PAUSE", 0.01)
    caplog.set_level(logging.CRITICAL, logger="messaging.worker")
    stop, runs = threading.Event(), []

    def job():
        runs.append(1)
        if len(runs) < 3:
            raise error
        stop.set()
        return 1

    thread = threading.Thread(target=worker._repeat, args=(job, 0.01, stop), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert len(runs) == 3


def test_a_job_that_finds_work_is_run_again_at_once_and_one_that_finds_none_pauses():
    stop, moments = threading.Event(), []

    def job():
        moments.append(time.monotonic())
        if len(moments) == 52:
            stop.set()
        return int(len(moments) != 50)

    thread = threading.Thread(target=worker._repeat, args=(job, 0.4, stop), daemon=True)
    thread.start()
    thread.join(30)
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert len(moments) == 52
    assert gaps[49] >= 0.4
    assert sum(gaps[:49]) < 0.4
