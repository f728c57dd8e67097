"""What carriers report of our texts: ours, and forward; nothing that another system's text may have caused."""

from datetime import timedelta

import pytest
from django.utils import timezone

from messaging import outbox, statuses
from messaging.carriers.base import StatusUpdate
from messaging.models import ConsentEvent, Message
from tests.factories import NumberFactory
from tests.messaging.texting import receive, send, somebody, verdict, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def number():
    return NumberFactory()


def reported(message, **fields):
    fields = {"message_id": "theirs-1", "state": "delivered", "reference": str(message.pk), **fields}
    found = statuses.apply(message.account, StatusUpdate(**fields))
    message.refresh_from_db()
    return found


def opted_out_there(message):
    return reported(message, message_id=message.carrier_message_id, state="failed", detail="21610", opted_out=True)


def test_a_text_that_has_not_left_is_not_the_one_that_another_system_gave_the_same_number(number):
    message = send(number, somebody())

    assert reported(message) is None
    assert reported(message, state="failed", opted_out=True) is None
    assert reported(message, message_id="", state="failed", opted_out=True) is None

    assert (message.state, message.carrier_message_id) == ("queued", "")
    assert verdict(number, message.recipient.e164).allowed


def test_a_refused_text_is_not_it_either(number):
    receive(number, person := somebody(), "STOP")
    message = send(number, person)

    assert reported(message) is None
    assert message.state == "refused"


@pytest.mark.parametrize("state", ["sending", "uncertain"])
def test_a_text_in_the_carriers_hands_without_an_id_is_found_by_our_reference(number, state):
    message = send(number, somebody())
    lease, _ = outbox.claim(1)
    assert outbox.take_in_hand(message.pk, lease) is not None
    if state == "uncertain":
        Message.objects.get(pk=message.pk).advance(Message.State.UNCERTAIN)

    assert reported(message) is not None

    assert (message.state, message.carrier_message_id) == ("delivered", "theirs-1")


@pytest.mark.behaviour("N5")
def test_the_same_opt_out_reported_again_after_an_unstop_blocks_nobody_again(number):
    message = send(number, person := somebody())
    work()
    message.refresh_from_db()
    opted_out_there(message)
    assert verdict(number, person).code == "opted_out_carrier"
    receive(number, person, "UNSTOP", received_at=timezone.now() + timedelta(seconds=1))
    assert verdict(number, person).allowed

    opted_out_there(message)

    assert verdict(number, person).allowed
    assert ConsentEvent.objects.filter(kind="carrier").count() == 1


def test_an_opt_out_reported_of_a_later_text_counts_again(number):
    first = send(number, person := somebody())
    work()
    first.refresh_from_db()
    opted_out_there(first)
    receive(number, person, "UNSTOP")
    later = send(number, person, "Hello again")
    work()
    later.refresh_from_db()

    opted_out_there(later)

    assert verdict(number, person).code == "opted_out_carrier"
    assert ConsentEvent.objects.filter(kind="carrier").count() == 2
