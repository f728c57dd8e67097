"""What recipients want: the record of it, what it leaves in force, and the review of near misses."""

from datetime import timedelta

import pytest
import time_machine
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from messaging import consent
from messaging.business_days import business_days_after
from messaging.models import ConsentEvent, Hold, Message, OptOut
from offices.models import Campaign
from offices.models.campaigns import assign
from tests.factories import CampaignFactory, CompanyFactory, NumberFactory, OfficeFactory, RecipientFactory, UserFactory
from tests.messaging.texting import left, receive, recipient_of, send, somebody, verdict, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def person():
    return somebody()


def kinds(person):
    return list(ConsentEvent.objects.filter(recipient_e164=person).order_by("pk").values_list("kind", flat=True))


def held(number, person, text="stop!!"):
    receive(number, person, text)
    return Hold.objects.get(recipient__e164=person, closed_at__isnull=True)


# --- The record ---------------------------------------------------------------------------------------------


@pytest.mark.behaviour("N9")
def test_an_event_copies_all_that_proves_it(person):
    company = CompanyFactory(reading="forgiving")
    campaign = CampaignFactory(company=company)
    number = NumberFactory(office=OfficeFactory(company=company, name="Boston"), campaign=campaign)
    written = timezone.now().replace(microsecond=0) - timedelta(minutes=2)

    received = receive(number, person, "Stop!!", received_at=written, message_id="their-id")

    event = ConsentEvent.objects.get()
    assert (event.kind, event.source, event.scope) == ("opt_out", "recipient", "campaign")
    assert (event.recipient_e164, event.number_e164, event.number_kind) == (person, number.e164, "ten_digit")
    assert (event.office_name, event.office) == ("Boston", number.office)
    assert (event.campaign_id_then, event.campaign_name) == (campaign.pk, campaign.name)
    assert (event.campaign_registry_id, event.campaign_status) == (campaign.registry_id, "registered")
    assert (event.received_text, event.matched_words, event.reading) == ("Stop!!", "stop", "forgiving")
    assert (event.received_at, event.message_id_then) == (written, received.message.pk)
    assert (event.carrier, event.carrier_message_id) == ("console", "their-id")
    assert event.rule_version
    assert event.stored_at is not None


@pytest.mark.behaviour("N9")
def test_the_record_stays_as_it_was_when_number_office_and_campaign_change(person):
    number = NumberFactory(registered=True)
    receive(number, person, "STOP")
    before = ConsentEvent.objects.values().get()

    Campaign.objects.update(name="Renamed", status="expired", registry_id="C999999")
    assign(number, None)
    number.office = OfficeFactory(company=number.company)
    number.given_up_at = timezone.now()
    number.save()

    assert ConsentEvent.objects.values().get() == before


@pytest.mark.behaviour("N9")
@pytest.mark.parametrize(
    "change",
    [
        lambda: ConsentEvent.objects.update(kind="opt_in"),
        lambda: ConsentEvent.objects.filter(kind="help").update(reason=""),
        lambda: ConsentEvent.objects.all().delete(),
        lambda: ConsentEvent.objects.get().delete(),
        lambda: ConsentEvent.objects.get().save(),
        lambda: raw("UPDATE messaging_consentevent SET received_text = 'Hello'"),
        lambda: raw("UPDATE messaging_consentevent SET stored_at = stored_at"),
        lambda: raw("DELETE FROM messaging_consentevent"),
        lambda: raw("TRUNCATE messaging_consentevent CASCADE"),
        lambda: raw("TRUNCATE messaging_recipient CASCADE"),
        lambda: raw(
            "INSERT INTO messaging_consentevent SELECT * FROM messaging_consentevent "
            "ON CONFLICT (id) DO UPDATE SET kind = 'opt_in'"
        ),
        lambda: raw(
            "MERGE INTO messaging_consentevent e USING (SELECT 1) s ON true "
            "WHEN MATCHED THEN UPDATE SET kind = 'opt_in'"
        ),
    ],
)
def test_the_database_refuses_to_change_or_delete_an_event_whoever_asks(person, change):
    receive(NumberFactory(), person, "HELP")  # no row hangs on this event: nothing else could be what refuses
    before = list(ConsentEvent.objects.values())
    # A commit in between would do the same: what is to be checked then is done, and TRUNCATE may begin.
    raw("SET CONSTRAINTS ALL IMMEDIATE")

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        change()

    assert list(ConsentEvent.objects.values()) == before


def raw(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.behaviour("N9")
def test_what_an_event_hangs_on_cannot_be_deleted_either(person):
    number = NumberFactory()
    receive(number, person, "STOP")
    for row in (recipient_of(number, person), number.office, number.company):
        with pytest.raises(IntegrityError), transaction.atomic():
            row.delete()


def test_a_second_stop_adds_an_event_and_leaves_the_block_as_it_is(person):
    number = NumberFactory(registered=True)
    receive(number, person, "STOP")
    before = OptOut.objects.values().get()
    receive(number, person, "QUIT")
    assert kinds(person) == ["opt_out", "opt_out"]
    assert OptOut.objects.values().get() == before


@pytest.mark.parametrize("model", [OptOut, Hold])
@pytest.mark.parametrize("scope", ["company", "campaign", "number"])
def test_the_table_refuses_a_second_open_record_for_a_recipient_and_scope(person, model, scope):
    number = NumberFactory(registered=True)
    if model is Hold:
        held(number, person)
    else:
        receive(number, person, "STOP")
    record = model.objects.get()
    record.scope = scope
    record.campaign = record.campaign if scope == "campaign" else None
    record.save()
    record.pk = None
    with pytest.raises(IntegrityError, match=f"one_open_per_{scope}"), transaction.atomic():
        record.save()


def test_the_table_refuses_a_record_that_was_closed_by_no_event(person):
    receive(NumberFactory(), person, "STOP")
    with pytest.raises(IntegrityError, match="closed_by_an_event"), transaction.atomic():
        OptOut.objects.update(closed_at=timezone.now())


@pytest.mark.behaviour("B13")
def test_an_opt_out_keeps_the_events_that_opened_and_closed_it(person):
    number = NumberFactory(registered=True)
    receive(number, person, "STOP")
    receive(number, person, "UNSTOP")
    record = OptOut.objects.get()
    assert record.opened_by.kind == "opt_out"
    assert record.closed_by.kind == "opt_in"
    assert record.closed_by.received_text == "UNSTOP"
    assert record.opened_at < record.closed_at


def test_an_unstop_with_nothing_to_lift_is_on_record_all_the_same(person):
    receive(NumberFactory(), person, "START")
    assert kinds(person) == ["opt_in"]
    assert not OptOut.objects.exists()


# --- Near misses --------------------------------------------------------------------------------------------


@pytest.mark.behaviour("N1")
@pytest.mark.behaviour("B06")
@pytest.mark.parametrize("text", ["STOP ", "stop!!", "please stop texting me", "STOP STOP"])
def test_a_near_miss_holds_texting_at_once_and_waits_for_review(person, text):
    number = NumberFactory(registered=True)
    queued = send(number, person)

    received = receive(number, person, text)

    assert received.outcome == "held"
    assert verdict(number, person).code == "held"
    assert send(number, person).state == "refused"
    queued.refresh_from_db()
    assert (queued.state, queued.verdict["code"]) == ("cancelled", "held")
    work()
    assert not left(person, None)  # nor is it answered: a person decides
    waiting = Hold.objects.get()
    assert (waiting.outcome, waiting.text, waiting.message) == ("waiting", text, received.message)
    assert waiting.near_miss
    assert not OptOut.objects.exists()
    assert kinds(person)[0] == "hold"


@pytest.mark.behaviour("N1")
@pytest.mark.parametrize("text", ["STOP ", "stop!!", "“Stop” 🛑"])
def test_a_company_that_reads_forgivingly_takes_a_decorated_stop_as_one(person, text):
    number = NumberFactory(company=CompanyFactory(reading="forgiving"))
    assert receive(number, person, text).outcome == "opted_out"
    assert not Hold.objects.exists()
    assert receive(number, person, "UNSTOP!").outcome == "opted_in"
    assert verdict(number, person).allowed
    assert receive(number, person, "help?").outcome == "help"


@pytest.mark.behaviour("N1")
def test_the_default_is_the_exact_reading():
    assert NumberFactory().company.reading == "exact"


@pytest.mark.behaviour("N1")
@pytest.mark.parametrize("registered", [True, False])
def test_a_hold_has_the_scope_that_stop_would_have_had(person, registered):
    number = NumberFactory(registered=registered)
    sibling = NumberFactory(office=number.office, campaign=number.current_assignment().campaign if registered else None)
    other = NumberFactory(office=number.office, registered=True)
    held(number, person)
    assert verdict(sibling, person).code == "held"
    assert verdict(other, person).code == ("ok" if registered else "held")


@pytest.mark.behaviour("N1")
@pytest.mark.behaviour("B05")
def test_a_near_miss_on_a_toll_free_number_holds_that_number_alone(person):
    toll_free = NumberFactory(toll_free=True)
    other = NumberFactory(office=toll_free.office)
    held(toll_free, person)
    assert verdict(toll_free, person).code == "held"
    assert verdict(other, person).allowed


@pytest.mark.behaviour("N1")
def test_a_person_turns_a_hold_into_an_opt_out(person):
    number = NumberFactory(registered=True)
    waiting = held(number, person, "please stop texting me")
    reviewer = UserFactory()

    settled = consent.review(waiting.pk, is_opt_out=True, reviewer=reviewer, reason="Clear enough.")

    assert (settled.outcome, settled.reviewer, settled.review_reason) == ("opted_out", reviewer, "Clear enough.")
    assert verdict(number, person).code == "opted_out_campaign"
    record = OptOut.objects.get()
    assert (record.text, record.texted_at, record.scope) == (waiting.text, waiting.texted_at, "campaign")
    event = record.opened_by
    assert (event.kind, event.source, event.actor_name) == ("opt_out", "person", str(reviewer))
    assert event.matched_words == "please stop"
    assert event.carrier_message_id == waiting.message.carrier_message_id
    assert settled.closed_by == event


@pytest.mark.behaviour("N1")
def test_a_person_releases_a_hold(person):
    number = NumberFactory()
    waiting = held(number, person)

    settled = consent.review(waiting.pk, is_opt_out=False, reviewer=UserFactory(), reason="They meant the tap.")

    assert settled.outcome == "released"
    assert verdict(number, person).allowed
    assert not OptOut.objects.exists()
    assert kinds(person) == ["hold", "release"]


@pytest.mark.behaviour("N1")
@pytest.mark.parametrize("first", [True, False])
def test_settling_a_hold_again_changes_nothing(person, first):
    number = NumberFactory()
    waiting = held(number, person)
    consent.review(waiting.pk, is_opt_out=first, reviewer=UserFactory(), reason="First.")
    events, before = kinds(person), Hold.objects.values().get()

    again = consent.review(waiting.pk, is_opt_out=not first, reviewer=UserFactory(), reason="Second.")

    assert again.review_reason == "First."
    assert (kinds(person), Hold.objects.values().get()) == (events, before)
    assert verdict(number, person).allowed != first


@pytest.mark.behaviour("N1")
def test_a_hold_is_due_after_ten_business_days_and_then_becomes_an_opt_out(person):
    number = NumberFactory(registered=True)
    waiting = held(number, person)
    assert waiting.due_at == business_days_after(waiting.opened_at, 10)

    with time_machine.travel(waiting.due_at - timedelta(seconds=1), tick=False):
        assert consent.settle_due_holds() == 0
        assert verdict(number, person).code == "held"
    with time_machine.travel(waiting.due_at, tick=False):
        assert consent.settle_due_holds() == 1
        assert consent.settle_due_holds() == 0
        assert verdict(number, person).code == "opted_out_campaign"

    waiting.refresh_from_db()
    assert (waiting.outcome, waiting.reviewer) == ("opted_out", None)
    event = OptOut.objects.get().opened_by
    assert (event.source, event.actor_name) == ("system", consent.SYSTEM_NAME)


@pytest.mark.behaviour("N1")
def test_all_due_holds_are_settled_though_no_call_takes_more_than_its_limit():
    number = NumberFactory()
    for _ in range(5):
        held(number, somebody())
    with time_machine.travel(timezone.now() + timedelta(days=40), tick=False):
        assert [consent.settle_due_holds(limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert OptOut.objects.count() == 5


@pytest.mark.behaviour("N1")
@pytest.mark.behaviour("N4")
def test_a_hold_that_becomes_an_opt_out_after_its_number_moved_blocks_what_was_held(person):
    number = NumberFactory(registered=True)
    sibling = NumberFactory(office=number.office, campaign=number.current_assignment().campaign)
    waiting = held(number, person)
    campaign = waiting.campaign
    assign(sibling, CampaignFactory(company=number.company))
    assign(number, None)

    consent.review(waiting.pk, is_opt_out=True, reviewer=UserFactory(), reason="")

    assert verdict(number, person).code == "opted_out_campaign"
    assert verdict(sibling, person).code == "opted_out_campaign"
    event = ConsentEvent.objects.get(kind="opt_out")
    assert (event.scope, event.campaign_id_then, event.campaign_name) == ("campaign", campaign.pk, campaign.name)


@pytest.mark.behaviour("N8")
def test_between_a_hold_and_the_opt_out_that_it_becomes_there_is_no_moment_at_which_texts_were_allowed(person):
    number = NumberFactory()
    waiting = held(number, person)
    settled = consent.review(waiting.pk, is_opt_out=True, reviewer=UserFactory(), reason="")
    assert OptOut.objects.get().opened_at <= settled.closed_at
    for moment in (OptOut.objects.get().opened_at, settled.closed_at):
        for microseconds in (-1, 0, 1):
            assert not verdict(number, person, at=moment + timedelta(microseconds=microseconds)).allowed


def test_a_stop_makes_the_holds_of_its_scope_needless_and_leaves_others(person):
    company = CompanyFactory()
    one, two = (NumberFactory(company=company, registered=True) for _ in range(2))
    toll_free = NumberFactory(company=company, toll_free=True)
    for number in (one, two, toll_free):
        held_on = receive(number, person, "stop!!")
        assert held_on.outcome == "held"

    receive(one, person, "STOP")
    assert set(Hold.objects.values_list("texted_number", "outcome")) == {
        (one.e164, "overtaken"),
        (two.e164, "waiting"),
        (toll_free.e164, "waiting"),
    }
    receive(NumberFactory(company=company), person, "STOP")
    assert set(Hold.objects.values_list("outcome", flat=True)) == {"overtaken"}


def test_a_second_near_miss_is_on_record_but_waits_in_the_same_place(person):
    number = NumberFactory()
    first = held(number, person)
    receive(number, person, "please stop")
    assert Hold.objects.get() == first
    assert kinds(person) == ["hold", "hold"]


def test_a_near_miss_of_somebody_who_has_opted_out_holds_beside_the_block(person):
    number = NumberFactory()
    receive(number, person, "STOP")
    receive(number, person, "I said stop texting me")
    assert verdict(number, person).code == "opted_out_company"
    waiting = Hold.objects.get()
    consent.review(waiting.pk, is_opt_out=False, reviewer=UserFactory(), reason="")
    assert verdict(number, person).code == "opted_out_company"


# --- What a STOP overtakes ----------------------------------------------------------------------------------


@pytest.mark.behaviour("N7")
def test_a_stop_cancels_exactly_the_waiting_texts_that_it_blocks(person):
    company = CompanyFactory()
    texted, other = (NumberFactory(company=company, registered=True) for _ in range(2))
    sibling = NumberFactory(company=company, campaign=texted.current_assignment().campaign)
    blocked = [send(texted, person), send(sibling, person)]
    free = [send(other, person), send(texted, somebody())]

    receive(texted, person, "STOP")

    for message in blocked:
        message.refresh_from_db()
        assert (message.state, message.next_attempt_at) == ("cancelled", None)
        assert message.verdict == verdict(message.number, person).as_dict()
    for message in free:
        message.refresh_from_db()
        assert (message.state, message.verdict) == ("queued", None)
    assert kinds(person) == ["opt_out", "refusal", "refusal"]
    work()
    assert [text.sender for text in left(person)] == [other.e164]


# --- The carrier's word -------------------------------------------------------------------------------------


def test_an_opt_out_that_only_the_carrier_knows_blocks_that_number_and_is_told_apart(person):
    number = NumberFactory(registered=True)
    sibling = NumberFactory(office=number.office, campaign=number.current_assignment().campaign)
    queued = send(number, person)
    recipient = recipient_of(number, person)

    event = consent.opt_out_at_carrier(recipient, number, carrier="twilio", detail="21610")

    assert (event.kind, event.source, event.scope) == ("carrier", "carrier", "number")
    answer = verdict(number, person)
    assert answer.code == "opted_out_carrier"
    assert "the carrier said" in answer.reason
    assert verdict(sibling, person).allowed
    queued.refresh_from_db()
    assert queued.state == Message.State.CANCELLED
    receive(number, person, "UNSTOP")
    assert verdict(number, person).allowed


def test_people_of_one_company_are_not_those_of_another():
    one, two = NumberFactory(), NumberFactory()
    recipient = RecipientFactory(company=one.company, e164=somebody())
    consent.opt_out(recipient, one, text="STOP", at=timezone.now())
    assert verdict(two, recipient.e164).allowed
    assert not verdict(one, recipient.e164).allowed
