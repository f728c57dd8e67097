"""What handing a text to any carrier is held to, with a real server on this machine that plays it: at most once, and
each answer means what it means there."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from messaging import gate, outbox
from messaging.models import ConsentEvent, Message, OptOut
from tests.factories import NumberFactory, fictional_number
from tests.messaging.carriers.dialect import OURS, SENDER, Answer, Dialect
from tests.messaging.carriers.loopback import Loopback, Step, closed_port, forget_client
from tests.messaging.carriers.scene import DIALECTS, Scene, scene, with_dialects
from tests.messaging.texting import at_once

pytestmark = pytest.mark.django_db

WORDS = 'It\'s "ready" & 1 + 1 = 2; 50% <b>\u00f1</b> 👍🏽\nBye'
ID = "0123456789abcdef0123456789abcdef"
IMPATIENT = 0.15  # seconds
THREADED = [carrier for carrier in ("generic", "twilio", "aws") if carrier in DIALECTS]


def send(given: Scene, text: str = WORDS) -> Message:
    """Accept a text and let the worker take one step with it."""
    message = outbox.accept(given.number, SENDER, text)
    outbox.hand_over_due()
    message.refresh_from_db()
    return message


def due(message: Message) -> datetime:
    """When the worker looks at it again. It must."""
    assert message.next_attempt_at is not None
    return message.next_attempt_at


def much_later(message: Message) -> Message:
    """All that would still happen with the text happens: the worker looks whenever it is due, up to six times, and
    once more when nothing is."""
    is_due = True
    for _ in range(6):
        if not is_due:
            break
        message.refresh_from_db()
        is_due = message.next_attempt_at is not None
        at = message.next_attempt_at or timezone.now() + timedelta(minutes=1)
        with time_machine.travel(at + timedelta(seconds=3)):
            outbox.settle_cut_off()
            outbox.hand_over_due()
    message.refresh_from_db()
    return message


@with_dialects()
def test_a_text_that_the_carrier_takes_is_sent_once_to_the_letter_and_known_by_its_id(
    dialect: Dialect, server: Loopback
):
    given = scene(dialect, api_base=server.url)
    server.will_answer(dialect.taken(ID))

    message = send(given)
    sent = (message.state, message.carrier_message_id, message.attempts)
    much_later(message)

    assert sent == ("sent", ID, 1)
    assert [dialect.handed_over(asked) for asked in server.asked] == [(OURS, SENDER, WORDS)]
    assert server.asked[0].method == "POST"


@with_dialects()
def test_a_carrier_that_asks_to_wait_is_asked_again_once_and_no_earlier(dialect: Dialect, server: Loopback):
    given = scene(dialect, api_base=server.url)
    server.will_answer(dialect.busy(7), dialect.taken(ID))
    before = timezone.now()

    message = send(given)
    waiting = (message.state, message.attempts, due(message) >= before + timedelta(seconds=7))
    outbox.hand_over_due()
    asked_early = len(server.asked)
    much_later(message)

    assert waiting == ("sending", 1, True)
    assert asked_early == 1
    assert (message.state, message.carrier_message_id, len(server.asked)) == ("sent", ID, 2)


@with_dialects()
@pytest.mark.parametrize("fault", ["failing", "locked_out"])
def test_a_fault_that_passes_delays_the_text_and_nothing_more(dialect: Dialect, server: Loopback, fault: str):
    given = scene(dialect, api_base=server.url)
    server.will_answer(getattr(dialect, fault)(), dialect.taken(ID))

    message = send(given)
    waiting = (message.state, message.attempts, due(message) > timezone.now(), bool(message.error))
    much_later(message)

    assert waiting == ("sending", 1, True, True)
    assert (message.state, message.carrier_message_id, len(server.asked)) == ("sent", ID, 2)
    assert not OptOut.objects.exists()


@with_dialects()
def test_what_the_carrier_will_never_take_fails_and_is_not_tried_again(dialect: Dialect, server: Loopback):
    given = scene(dialect, api_base=server.url)
    server.will_answer(dialect.senseless(), dialect.taken(ID))

    message = send(given)
    failed = (message.state, message.next_attempt_at, bool(message.error))
    much_later(message)

    assert failed == ("failed", None, True)
    assert (message.state, len(server.asked)) == ("failed", 1)
    assert not OptOut.objects.exists()


@with_dialects(where=lambda dialect: dialect.opted_out())
def test_whoever_opted_out_at_the_carrier_is_blocked_for_that_number_and_never_tried_again(
    dialect: Dialect, server: Loopback
):
    given = scene(dialect, api_base=server.url)
    opted_out = dialect.opted_out()
    assert opted_out is not None
    server.will_answer(opted_out, dialect.taken(ID))
    sibling = NumberFactory(office=given.number.office, account=given.account, e164=fictional_number(777))

    message = send(given)
    much_later(message)
    later = send(given, "Hello again")

    opt_out, event = OptOut.objects.get(), ConsentEvent.objects.get(kind="carrier")
    assert (message.state, len(server.asked)) == ("failed", 1)
    assert (opt_out.scope, opt_out.texted_number, opt_out.is_carrier) == ("number", OURS, True)
    assert (event.source, event.recipient_e164, event.number_e164) == ("carrier", SENDER, OURS)
    assert (later.state, (later.verdict or {})["code"]) == ("refused", "opted_out_carrier")
    assert gate.check(sibling, message.recipient).allowed


@with_dialects()
def test_a_carrier_that_cannot_be_reached_gets_the_text_once_it_can(dialect: Dialect, server: Loopback):
    given = scene(dialect, api_base=closed_port())
    server.will_answer(dialect.taken(ID))

    message = send(given)
    waiting = (message.state, message.attempts, message.next_attempt_at is not None)
    given.account.settings["api_base"] = server.url
    given.account.save()
    much_later(message)

    assert waiting == ("sending", 1, True)
    assert (message.state, message.carrier_message_id, len(server.asked)) == ("sent", ID, 1)


@pytest.mark.parametrize(
    ("dialect", "unclear"),
    [
        pytest.param(dialect, unclear, id=f"{carrier}-{unclear}")
        for carrier, dialect in DIALECTS.items()
        for unclear in ("hang", "cut", "drip", "without an id", "no JSON")
        if unclear != "drip" or carrier in THREADED  # it is the same client for all but these
    ],
)
def test_whoever_may_have_taken_a_text_is_never_given_it_again(
    dialect: Dialect, server: Loopback, settings, unclear: str
):
    if unclear in ("hang", "drip"):
        settings.CARRIER_TIMEOUT = IMPATIENT
    given = scene(dialect, api_base=server.url)
    steps: dict[str, Step] = {
        "hang": "hang",
        "cut": "cut",
        "drip": "drip",
        "without an id": Answer.json(200, {}),
        "no JSON": Answer(200, b"<html>Fine</html>"),
    }
    server.will_answer(steps[unclear], dialect.taken(ID))

    message = send(given)
    first = (message.state, message.next_attempt_at, bool(message.error))
    much_later(message)

    assert first == ("uncertain", None, True)
    assert (message.state, message.attempts, len(server.asked)) == ("uncertain", 1, 1)


@with_dialects()
def test_an_account_without_credentials_sends_nothing_and_hinders_nobody(dialect: Dialect, server: Loopback):
    given = scene(dialect, api_base=server.url)
    given.account.settings, given.account.secrets = {"api_base": server.url}, []
    given.account.save()
    server.will_answer(dialect.locked_out())

    message = send(given)

    assert message.state in ("sending", "failed")
    assert message.error


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("carrier", THREADED)
def test_several_workers_hand_each_text_over_exactly_once(carrier: str, server: Loopback):
    dialect = DIALECTS[carrier]
    given = scene(dialect, api_base=server.url)
    server.will_answer(*[dialect.taken(f"{n:032x}") for n in range(1, 25)], dialect.failing())
    for n in range(24):
        outbox.accept(given.number, fictional_number(9_000 + n), f"Text {n}")

    def work() -> None:
        while outbox.hand_over_due():
            pass

    at_once([work] * 4)

    words = [dialect.handed_over(asked)[2] for asked in server.asked]
    assert sorted(words) == sorted(f"Text {n}" for n in range(24))
    assert set(Message.objects.values_list("state", flat=True)) == {"sent"}
    assert Message.objects.values("carrier_message_id").distinct().count() == 24


def test_connections_are_kept_for_the_next_text(server: Loopback):
    dialect = DIALECTS["generic"]
    given = scene(dialect, api_base=server.url)
    server.will_answer(dialect.taken("one"), dialect.taken("two"), dialect.taken("three"))

    for n in range(3):
        send(given, f"Text {n}")
    ports = {asked.client for asked in server.asked}
    forget_client()

    assert (len(server.asked), len(ports)) == (3, 1)
