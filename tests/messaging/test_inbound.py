"""One received text: stored, understood, acted on and answered, in one transaction."""

import json
from datetime import timedelta

import pytest
import time_machine
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from messaging import inbound
from messaging.carriers.base import WebhookRequest
from messaging.models import ConsentEvent, ConsoleText, Conversation, Hold, Message, OptOut, Recipient, WebhookReceipt
from offices.models import Company, Number
from tests.factories import (
    CarrierAccountFactory,
    CompanyFactory,
    HelpMessageFactory,
    NumberFactory,
    OfficeFactory,
    UserFactory,
)
from tests.messaging.texting import document, left, receive, request_of, send, somebody, verdict, work

pytestmark = pytest.mark.django_db

ROWS = [Message, ConsentEvent, OptOut, Hold, Recipient, Conversation, WebhookReceipt, ConsoleText]


@pytest.fixture
def person():
    return somebody()


def rows():
    return {model.__name__: model.objects.count() for model in ROWS}


def confirmations(person):
    return left(person, Message.Purpose.CONFIRMATION)


# --- What each text becomes ---------------------------------------------------------------------------------


@pytest.mark.behaviour("B04")
@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("STOP", "opted_out"), ("sToP", "opted_out"), ("Unsubscribe", "opted_out"), ("Stop All", "opted_out"),
        ("UNSTOP", "opted_in"), ("unStop", "opted_in"), ("Start", "opted_in"),
        ("HELP", "help"), ("hElp", "help"), ("Info", "help"),
        ("STOP ", "held"), ("stop texting me", "held"),
        ("YES", "conversation"), ("Hello", "conversation"), ("", "conversation"), ("HELP ", "conversation"),
    ],
)  # fmt: skip
def test_a_text_is_stored_with_what_it_counts_as(person, text, outcome):
    number = NumberFactory()

    received = receive(number, person, text)

    assert (received.outcome, received.duplicate, received.understood) == (outcome, False, True)
    stored = Message.objects.get(direction="in")
    assert (stored.text, stored.outcome, stored.state, stored.channel) == (text, outcome, "received", "sms")
    assert (stored.number, stored.recipient.e164) == (number, person)
    assert stored.conversation == Conversation.objects.get()
    receipt = WebhookReceipt.objects.get()
    assert (receipt.status, receipt.message) == ("understood", stored)
    assert json.loads(bytes(receipt.body))["text"] == text


@pytest.mark.behaviour("B03")
def test_a_photo_with_the_caption_stop_opts_out(person):
    number = NumberFactory()
    received = receive(number, person, "STOP", media=["https://example.com/cat.jpg"])
    assert (received.outcome, received.message.channel) == ("opted_out", "mms")
    assert not verdict(number, person).allowed


def test_a_photo_without_words_is_conversation(person):
    received = receive(NumberFactory(), person, None, media=["https://example.com/cat.jpg"])
    assert (received.outcome, received.message.text) == ("conversation", "")


@pytest.mark.behaviour("N2")
def test_words_that_a_company_adds_count_for_its_numbers_alone(person):
    ours = NumberFactory(company=CompanyFactory(extra_stop_words=["Basta"]))
    assert receive(ours, person, "basta").outcome == "opted_out"
    assert receive(NumberFactory(), person, "basta").outcome == "conversation"


@pytest.mark.parametrize("sender", ["72345", "ACME"])
def test_a_sender_that_is_no_phone_number_commands_nothing_and_gets_no_reply(sender):
    number = NumberFactory()
    for text in ("STOP", "UNSTOP", "HELP"):
        assert receive(number, sender, text).outcome == "conversation"
    assert not OptOut.objects.exists()
    assert not ConsentEvent.objects.exists()
    assert not Message.objects.filter(direction="out").exists()


# --- The confirmation of a STOP -----------------------------------------------------------------------------


@pytest.mark.behaviour("N3")
def test_one_stop_gets_one_confirmation_which_passes_the_block_and_nothing_else_does(person):
    number = NumberFactory(registered=True)
    receive(number, person, "STOP")
    send(number, person)

    work()

    (text,) = left(person, None)
    assert (text.sender, text.to) == (number.e164, person)
    assert number.company.name in text.text
    assert "UNSTOP" in text.text
    message = Message.objects.get(purpose="confirmation")
    assert (message.state, str(message.pk)) == ("sent", text.reference)


@pytest.mark.behaviour("N3")
def test_a_company_words_its_confirmation(person):
    number = NumberFactory(company=CompanyFactory(confirmation_text="Done: no more texts from Acme."))
    receive(number, person, "STOP")
    work()
    assert [text.text for text in left(person, None)] == ["Done: no more texts from Acme."]


@pytest.mark.behaviour("N3")
def test_a_company_can_switch_the_confirmation_off(person):
    number = NumberFactory(company=CompanyFactory(confirm_stop=False))
    assert receive(number, person, "STOP").outcome == "opted_out"
    assert not Message.objects.filter(direction="out").exists()
    assert Company().confirm_stop is True  # as long as nobody does


@pytest.mark.behaviour("N3")
def test_a_confirmation_leaves_within_five_minutes_of_the_stop(person):
    number = NumberFactory()
    with time_machine.travel(timezone.now(), tick=False) as clock:
        receive(number, person, "STOP")
        clock.shift(timedelta(minutes=4, seconds=59))
        work()
        assert len(confirmations(person)) == 1


@pytest.mark.behaviour("N3")
def test_a_confirmation_that_would_come_after_five_minutes_never_leaves(person):
    number = NumberFactory()
    with time_machine.travel(timezone.now(), tick=False) as clock:
        receive(number, person, "STOP")
        clock.shift(timedelta(minutes=5))
        work()
        clock.shift(timedelta(days=1))
        work()
    assert not left(person, None)
    assert Message.objects.get(purpose="confirmation").state == "failed"


@pytest.mark.behaviour("N3")
def test_the_five_minutes_count_from_the_carriers_time_of_the_stop(person):
    number = NumberFactory()
    now = timezone.now()
    with time_machine.travel(now, tick=False) as clock:
        receive(number, person, "STOP", received_at=now - timedelta(minutes=4))
        clock.shift(timedelta(minutes=1))
        work()
        late = somebody()
        receive(number, late, "STOP", received_at=timezone.now() - timedelta(minutes=5))
        assert not verdict(number, late).allowed
        work()
    assert not left(person, None)
    assert not Message.objects.filter(recipient__e164=late, direction="out").exists()


def test_a_time_of_the_future_is_no_later_than_now(person):
    number = NumberFactory()
    with time_machine.travel(timezone.now(), tick=False) as clock:
        received = receive(number, person, "STOP", received_at=timezone.now() + timedelta(days=1))
        assert received.message.received_at == timezone.now()
        assert OptOut.objects.get().texted_at == timezone.now()
        clock.shift(timedelta(minutes=6))
        work()
        assert not left(person, None)


@pytest.mark.behaviour("N3")
@pytest.mark.behaviour("B05")
def test_no_confirmation_leaves_from_a_toll_free_number(person):
    number = NumberFactory(company=CompanyFactory(toll_free_stop=True), toll_free=True)
    assert receive(number, person, "STOP").outcome == "opted_out"
    work()
    assert not Message.objects.filter(direction="out").exists()
    assert not left(person, None)


@pytest.mark.behaviour("N3")
def test_where_the_carrier_has_confirmed_the_portal_does_not(person):
    number = NumberFactory()
    account = CarrierAccountFactory(twilio=True, company=number.company)
    Number.objects.filter(pk=number.pk).update(account=account)
    body = f"MessageSid=SM1&From=%2B{person[1:]}&To=%2B{number.e164[1:]}&Body=STOP&NumMedia=0&OptOutType=STOP"
    request = WebhookRequest("POST", "", body.encode(), "application/x-www-form-urlencoded")

    assert inbound.take(account, request).outcome == "opted_out"
    assert not Message.objects.filter(direction="out").exists()

    # Without that field nobody has.
    inbound.take(
        account, WebhookRequest("POST", "", body.replace("SM1", "SM2").replace("&OptOutType=STOP", "").encode())
    )
    assert Message.objects.get(direction="out").purpose == "confirmation"


@pytest.mark.behaviour("N3")
def test_the_confirmation_of_a_stop_goes_although_a_hold_was_there_before(person):
    number = NumberFactory()
    receive(number, person, "stop!!")
    receive(number, person, "STOP")
    work()
    assert len(confirmations(person)) == 1


# --- HELP ---------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("B15")
@pytest.mark.parametrize("before", [None, "STOP", "stop!!"])
def test_help_is_answered_with_the_main_line_also_to_somebody_who_has_opted_out(person, before):
    office = OfficeFactory(main_line="+16175550123", company=CompanyFactory(confirm_stop=False))
    number = NumberFactory(office=office)
    if before:
        receive(number, person, before)

    assert receive(number, person, "HELP").outcome == "help"
    work()

    (answer,) = left(person, None)
    assert answer.text == office.canned_help_text()
    assert "617-555-0123" in answer.text
    assert answer.sender == number.e164
    message = Message.objects.get(purpose="help_reply")
    assert (message.state, message.help_message) == ("sent", None)
    assert verdict(number, person).allowed == (before is None)


@pytest.mark.behaviour("B16")
def test_the_offices_own_text_answers_help_and_the_canned_one_stands_for_offices_without(person):
    number = NumberFactory()
    other = NumberFactory(company=number.company, office=OfficeFactory(company=number.company))
    HelpMessageFactory(office=number.office, text="The first version.")
    version = HelpMessageFactory(office=number.office, text="Acme: call us. STOP ends. Rates apply.")

    receive(number, person, "HELP")
    receive(other, person, "INFO")
    work()

    assert [text.text for text in left(person, None)] == [version.text, other.office.canned_help_text()]
    assert list(Message.objects.filter(direction="out").order_by("pk").values_list("help_message", flat=True)) == [
        version.pk,
        None,
    ]


@pytest.mark.behaviour("B16")
@pytest.mark.behaviour("B18")
def test_what_was_saved_last_is_what_the_very_next_help_gets(person):
    number = NumberFactory()
    for text in ("First.", "Second."):
        HelpMessageFactory(office=number.office, text=text)
        receive(number, person, "HELP")
    HelpMessageFactory(office=number.office, text="was canned then", is_canned=True)
    receive(number, person, "HELP")
    work()
    assert [text.text for text in left(person, None)] == [
        "First.", "Second.", number.office.canned_help_text(),
    ]  # fmt: skip


@pytest.mark.behaviour("B15")
def test_help_is_on_record_and_changes_no_block(person):
    number = NumberFactory()
    receive(number, person, "STOP")
    receive(number, person, "HELP")
    assert ConsentEvent.objects.filter(kind="help", received_text="HELP").count() == 1
    assert OptOut.objects.get().is_open


# --- Automatic replies never run away -----------------------------------------------------------------------


def test_automatic_replies_end_after_a_handful_within_an_hour(person):
    number = NumberFactory()
    for _ in range(12):
        receive(number, person, "HELP")
    work()
    assert len(left(person, None)) == 5
    assert ConsentEvent.objects.filter(kind="help").count() == 12
    # Others are not affected, and a STOP counts all the same.
    receive(number, somebody(), "HELP")
    assert Message.objects.filter(purpose="help_reply").count() == 6
    assert receive(number, person, "STOP").outcome == "opted_out"
    assert not verdict(number, person).allowed


def test_after_an_hour_replies_go_again(person):
    number = NumberFactory()
    for _ in range(7):
        receive(number, person, "HELP")
    with time_machine.travel(timezone.now() + timedelta(hours=1, seconds=5), tick=False):
        receive(number, person, "HELP")
    assert Message.objects.filter(purpose="help_reply").count() == 6


@pytest.mark.parametrize("word", ["STOP", "HELP"])
def test_our_own_numbers_short_codes_names_and_toll_free_numbers_get_no_automatic_reply(person, word):
    number = NumberFactory(company=CompanyFactory(toll_free_stop=True))
    toll_free = NumberFactory(office=number.office, toll_free=True)
    for to, sender in (
        (number, NumberFactory().e164),
        (number, "72345"),
        (number, "ACME"),
        (toll_free, person),
    ):
        receive(to, sender, word)
    work()
    assert not Message.objects.filter(direction="out").exists()
    assert not ConsoleText.objects.exists()


# --- Once, and all or nothing -------------------------------------------------------------------------------


@pytest.mark.behaviour("N5")
@pytest.mark.parametrize("text", ["STOP", "UNSTOP", "HELP", "stop!!", "Hello"])
def test_the_same_message_again_a_moment_or_a_day_later_does_nothing(person, text):
    number = NumberFactory()
    first = receive(number, person, text, message_id="x1")
    work()
    before = rows()

    for later in (timedelta(), timedelta(days=1)):
        with time_machine.travel(timezone.now() + later):
            again = receive(number, person, text, message_id="x1")
            assert again.duplicate
            assert (again.message, again.outcome) == (first.message, first.outcome)
            work()
    assert rows() == before


@pytest.mark.behaviour("N5")
def test_a_stop_delivered_again_after_an_unstop_does_not_block_again(person):
    number = NumberFactory()
    receive(number, person, "STOP", message_id="x1")
    receive(number, person, "UNSTOP", message_id="x2")
    assert receive(number, person, "STOP", message_id="x1").duplicate
    assert verdict(number, person).allowed


@pytest.mark.behaviour("N5")
def test_a_message_delivered_again_after_its_number_moved_is_still_the_same(person):
    number = NumberFactory(registered=True)
    receive(number, person, "STOP", message_id="x1")
    number.office = OfficeFactory(company=number.company)
    number.save()
    assert receive(number, person, "STOP", message_id="x1").duplicate


@pytest.mark.behaviour("N5")
def test_a_chat_delivered_again_by_a_carrier_is_one_chat():
    one, two = NumberFactory(), NumberFactory()
    first = receive(one, two.e164, "STOP", message_id="x1")
    again = receive(one, two.e164, "STOP", message_id="x1")
    assert (first.outcome, again.outcome, again.duplicate) == ("chat", "chat", True)
    assert Message.objects.count() == 1


@pytest.mark.behaviour("N6")
@pytest.mark.parametrize("change", ["sender", "text"])
def test_an_id_that_comes_again_with_another_text_loses_neither(person, change):
    number = NumberFactory()
    receive(number, person, "Hello", message_id="x1")
    other = receive(number, *((somebody(), "Hello") if change == "sender" else (person, "STOP")), message_id="x1")
    assert not other.understood
    assert other.receipt.status == "not_understood"
    assert Message.objects.count() == 1


@pytest.mark.behaviour("N6")
@pytest.mark.parametrize(
    ("table", "condition"),
    [
        ("messaging_message", "NEW.purpose = 'confirmation'"),
        ("messaging_webhookreceipt", "true"),
        ("messaging_optout", "true"),
        ("messaging_consentevent", "NEW.kind = 'refusal'"),
    ],
)
def test_when_any_part_of_a_stop_cannot_be_stored_nothing_of_it_is(person, table, condition):
    number = NumberFactory()
    send(number, person)
    before = rows()

    with broken(table, condition), pytest.raises(DatabaseError, match="no room"), transaction.atomic():
        receive(number, person, "STOP", message_id="x1")

    assert rows() == before
    assert verdict(number, person).allowed
    assert Message.objects.get().state == "queued"
    # The carrier comes again, and then all of it is there.
    assert not receive(number, person, "STOP", message_id="x1").duplicate
    assert Message.objects.filter(purpose="confirmation").exists()
    assert not verdict(number, person).allowed


class broken:
    """A disk that is full at the worst moment: the table refuses new rows that fit the condition."""

    def __init__(self, table, condition):
        self.table, self.condition = table, condition

    def __enter__(self):
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(
                "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$"
            )
            cursor.execute(
                f"CREATE TRIGGER no_room BEFORE INSERT ON {self.table} FOR EACH ROW WHEN ({self.condition}) "
                "EXECUTE FUNCTION no_room()"
            )

    def __exit__(self, *_):
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TRIGGER no_room ON {self.table}")
            cursor.execute("DROP FUNCTION no_room")


@pytest.mark.behaviour("N6")
@pytest.mark.django_db(transaction=True)
def test_when_a_stop_is_answered_another_connection_sees_all_of_it(person):
    number = NumberFactory()
    receive(number, person, "STOP")
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            for table in ("message", "consentevent", "optout", "webhookreceipt"):
                cursor.execute(f"SELECT count(*) FROM messaging_{table}")
                assert cursor.fetchone()[0] == (2 if table == "message" else 1), table
    finally:
        other.close()


@pytest.mark.behaviour("N6")
@pytest.mark.parametrize(
    "change",
    [
        {"to": "nobody"},
        {"to": "+12025550199"},
        {"from": "?"},
        {"from": None},
        {"message_id": ""},
        {"text": 7},
    ],
)
def test_what_is_genuine_but_not_understood_is_kept_as_it_came(person, change):
    number = NumberFactory()
    request = request_of({**document(number, person, "STOP"), **change})

    received = inbound.take(number.account, request)

    assert not received.understood
    assert received.error
    assert bytes(received.receipt.body) == request.body
    assert received.receipt.status == "not_understood"
    assert rows() == dict.fromkeys(rows(), 0) | {"WebhookReceipt": 1}


@pytest.mark.behaviour("N6")
def test_a_number_of_another_company_is_not_understood_and_nothing_happens_to_it(person):
    number, other = NumberFactory(), NumberFactory()
    received = inbound.take(other.account, request_of(document(number, person, "STOP")))
    assert not received.understood
    assert verdict(number, person).allowed


@pytest.mark.behaviour("N6")
def test_while_a_number_moves_a_stop_counts_by_the_former_account_and_an_unstop_only_by_its_own(person):
    number = NumberFactory()
    former = CarrierAccountFactory(company=number.company)

    stopped = inbound.take(former, request_of(document(number, person, "STOP")))
    lifted = inbound.take(former, request_of(document(number, person, "UNSTOP")))

    assert (stopped.outcome, lifted.outcome) == ("opted_out", "conversation")
    assert Message.objects.filter(direction="in", account=former).count() == 2
    assert not verdict(number, person).allowed
    receive(number, person, "UNSTOP")
    assert verdict(number, person).allowed


@pytest.mark.behaviour("N6")
def test_a_kept_stop_counts_when_it_is_run_again_from_when_it_was_written(person):
    number = NumberFactory()
    Number.objects.filter(pk=number.pk).update(given_up_at=timezone.now())
    with time_machine.travel(timezone.now() - timedelta(days=1)):
        kept = receive(number, person, "STOP").receipt
        first_seen = timezone.now()
    Number.objects.filter(pk=number.pk).update(given_up_at=None)
    WebhookReceipt.objects.update(stored_at=first_seen)
    operator = UserFactory(is_superuser=True)

    again = inbound.run_again(kept, by=operator)

    assert again.outcome == "opted_out"
    assert not verdict(number, person).allowed
    assert abs(OptOut.objects.get().texted_at - first_seen) < timedelta(minutes=1)
    assert not Message.objects.filter(direction="out").exists()  # a day later is no time for a confirmation
    kept.refresh_from_db()
    assert (kept.status, kept.message, kept.settled_by) == ("resolved", again.message, operator)
    # And once only.
    assert inbound.run_again(kept, by=operator).duplicate
    assert ConsentEvent.objects.count() == 1


@pytest.mark.behaviour("N6")
def test_a_kept_request_that_still_makes_no_sense_stays_kept(person):
    kept = inbound.take(NumberFactory().account, WebhookRequest("POST", "", b"STOP")).receipt
    assert not inbound.run_again(kept, by=None).understood
    kept.refresh_from_db()
    assert kept.status == "not_understood"
    assert inbound.dismiss(kept, by=UserFactory())
    assert not inbound.dismiss(kept, by=UserFactory())
    assert bytes(WebhookReceipt.objects.get().body) == b"STOP"
