"""May this text go from this number to this person? The scopes of STOP, what lifts them, and what must not."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from messaging import consent, gate
from messaging.carriers.base import Media
from messaging.models import ConsentEvent, Conversation, Hold, Message, OptOut, Recipient
from offices.models import Campaign, Company, Number
from offices.models.campaigns import assign
from tests.factories import (
    CampaignFactory,
    CompanyFactory,
    NumberFactory,
    OfficeFactory,
    RecipientFactory,
    fictional_number,
)
from tests.messaging.texting import left, receive, recipient_of, send, somebody, verdict, work

pytestmark = pytest.mark.django_db

NOT_REGISTERED = [status for status in Campaign.Status.values if status != "registered"]


@pytest.fixture
def person():
    return somebody()


def in_campaign(company, status="registered"):
    """Two numbers of one campaign of `company`, in two offices."""
    campaign = CampaignFactory(company=company, status=status)
    return [NumberFactory(office=OfficeFactory(company=company), campaign=campaign) for _ in range(2)]


# --- Who is asked -------------------------------------------------------------------------------------------


def test_without_any_opt_out_texts_are_allowed(person):
    answer = verdict(NumberFactory(), person)
    assert (answer.allowed, answer.code) == (True, "ok")
    assert (answer.scope, answer.opt_out, answer.voice_allowed) == (None, None, True)


@pytest.mark.behaviour("B01")
@pytest.mark.parametrize("same_company", [True, False])
def test_between_two_of_the_portals_own_numbers_it_is_chat_and_no_keyword_blocks(same_company):
    one = NumberFactory(registered=True)
    two = NumberFactory(office=one.office) if same_company else NumberFactory(registered=True)

    stop = receive(two, one.e164, "STOP")

    assert stop.outcome == "chat"
    assert stop.message.channel == "chat"
    assert not OptOut.objects.exists()
    assert not ConsentEvent.objects.exists()
    answer = verdict(two, one.e164)
    assert (answer.allowed, answer.code) == (True, "chat")
    sent = send(two, one.e164, "Lunch?")
    assert (sent.channel, sent.state, sent.account) == ("chat", "delivered", None)
    work()
    assert not left(one.e164, None)


@pytest.mark.behaviour("B01")
def test_a_chat_stands_in_both_conversations_once():
    one, two = NumberFactory(), NumberFactory()

    send(one, two.e164, "Lunch?")

    assert list(Message.objects.filter(number=one).values_list("direction", "channel", "text")) == [
        ("out", "chat", "Lunch?")
    ]
    assert list(Message.objects.filter(number=two).values_list("direction", "channel", "text")) == [
        ("in", "chat", "Lunch?")
    ]
    assert Conversation.objects.count() == 2


def test_a_number_that_was_given_up_sends_nothing_not_even_chat(person):
    number, other = NumberFactory(given_up_at=timezone.now()), NumberFactory()
    assert verdict(number, person).code == "number_inactive"
    assert verdict(number, other.e164).code == "number_inactive"
    # Nor is it one of ours any more, for others.
    assert verdict(other, number.e164).code == "ok"


def test_a_number_of_a_switched_off_carrier_account_sends_nothing(person):
    number = NumberFactory()
    number.account.is_active = False
    number.account.save()
    assert verdict(number, person).code == "number_inactive"


@pytest.mark.parametrize("to", ["72345", "ACME", "2025550143"])
def test_what_is_no_full_phone_number_cannot_be_texted(to):
    assert verdict(NumberFactory(), to).code == "not_textable"


# --- STOP and its scopes ------------------------------------------------------------------------------------


@pytest.mark.behaviour("B08")
def test_stop_to_a_number_of_a_registered_campaign_blocks_every_number_of_it_and_no_other(person):
    company = CompanyFactory()
    texted, sibling = in_campaign(company)
    other_campaign, _ = in_campaign(company)
    uncampaigned = NumberFactory(office=texted.office)
    toll_free = NumberFactory(office=texted.office, toll_free=True)

    assert receive(texted, person, "STOP").outcome == "opted_out"

    for number in (texted, sibling):
        assert verdict(number, person).code == "opted_out_campaign"
    for number in (other_campaign, uncampaigned, toll_free):
        assert verdict(number, person).code == "ok"


@pytest.mark.behaviour("B08")
def test_a_number_that_joins_the_campaign_later_is_blocked_too(person):
    (texted, _), newcomer = in_campaign(company := CompanyFactory()), NumberFactory(company=company)
    receive(texted, person, "STOP")
    assert verdict(newcomer, person).allowed

    assign(newcomer, texted.current_assignment().campaign)

    assert verdict(newcomer, person).code == "opted_out_campaign"


@pytest.mark.behaviour("B09")
@pytest.mark.parametrize("status", [None, *NOT_REGISTERED])
def test_stop_to_a_number_in_no_registered_campaign_blocks_every_number_of_the_company(person, status):
    company = CompanyFactory()
    texted = in_campaign(company, status)[0] if status else NumberFactory(company=company)
    others = [
        *in_campaign(company),
        NumberFactory(office=OfficeFactory(company=company)),
        NumberFactory(office=OfficeFactory(company=company), toll_free=True),
    ]

    receive(texted, person, "STOP")

    for number in (texted, *others):
        assert verdict(number, person).code == "opted_out_company"


@pytest.mark.behaviour("B09")
def test_a_stop_to_one_company_is_no_business_of_another(person):
    texted, stranger = NumberFactory(), NumberFactory()
    receive(texted, person, "STOP")
    assert not verdict(texted, person).allowed
    assert verdict(stranger, person).allowed


def test_a_stop_blocks_nobody_but_its_sender(person):
    texted = NumberFactory()
    receive(texted, person, "STOP")
    assert verdict(texted, somebody()).allowed


@pytest.mark.behaviour("B07")
def test_from_the_moment_that_the_webhook_is_answered_nothing_more_goes_out(person):
    texted = NumberFactory()
    assert send(texted, person).state == "queued"

    receive(texted, person, "STOP")

    assert send(texted, person).state == "refused"
    work()
    assert not left(person)


@pytest.mark.behaviour("B02")
@pytest.mark.behaviour("B03")
@pytest.mark.parametrize("media", [[], ["https://example.com/cat.jpg"]])
def test_sms_and_mms_stand_under_the_same_block(person, media):
    number = NumberFactory()
    stop = receive(number, person, "STOP", media=media)
    assert stop.outcome == "opted_out"
    assert stop.message.channel == ("mms" if media else "sms")

    assert send(number, person).state == "refused"
    picture = send(number, person, "", media=[Media("https://example.com/cat.jpg", "image/jpeg")])
    assert (picture.channel, picture.state) == ("mms", "refused")


@pytest.mark.behaviour("B05")
def test_on_toll_free_numbers_the_commands_neither_block_nor_lift_nor_reply(person):
    toll_free = NumberFactory(toll_free=True)
    uncampaigned = NumberFactory(office=toll_free.office)

    assert receive(toll_free, person, "STOP").outcome == "network_keyword"
    assert verdict(toll_free, person).allowed
    assert verdict(uncampaigned, person).allowed

    receive(uncampaigned, person, "STOP")
    assert verdict(toll_free, person).code == "opted_out_company"
    assert receive(toll_free, person, "UNSTOP").outcome == "network_keyword"
    assert verdict(toll_free, person).code == "opted_out_company"

    assert receive(toll_free, person, "HELP").outcome == "network_keyword"
    assert not Message.objects.filter(number=toll_free, direction="out").exists()
    assert set(Message.objects.filter(number=toll_free).values_list("text", flat=True)) == {
        "STOP",
        "UNSTOP",
        "HELP",
    }


@pytest.mark.behaviour("B05")
@pytest.mark.behaviour("B09")
def test_a_company_may_let_stop_on_its_toll_free_numbers_block_the_whole_company(person):
    company = CompanyFactory(toll_free_stop=True)
    # Even in a registered campaign: A2P campaigns are for ten-digit numbers.
    toll_free = NumberFactory(company=company, office=OfficeFactory(company=company), toll_free=True, registered=True)
    sibling, _ = in_campaign(company)

    assert receive(toll_free, person, "STOP").outcome == "opted_out"
    assert verdict(toll_free, person).code == "opted_out_company"
    assert verdict(sibling, person).code == "opted_out_company"
    assert not Message.objects.filter(direction="out").exists()  # the network has answered

    assert receive(toll_free, person, "UNSTOP").outcome == "opted_in"
    assert verdict(sibling, person).allowed
    assert receive(toll_free, person, "HELP").outcome == "network_keyword"


@pytest.mark.behaviour("B05")
def test_the_choice_about_toll_free_numbers_is_off_until_made():
    assert Company().toll_free_stop is False


# --- UNSTOP -------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("B13")
@pytest.mark.parametrize("word", ["UNSTOP", "unstop", "START"])
def test_unstop_lifts_the_blocks_of_its_campaign_and_of_the_company_and_leaves_other_campaigns(person, word):
    company = CompanyFactory()
    (one, _), (other, _), uncampaigned = in_campaign(company), in_campaign(company), NumberFactory(company=company)
    for number in (one, other, uncampaigned):
        receive(number, person, "STOP")

    assert receive(one, person, word).outcome == "opted_in"

    assert verdict(one, person).allowed
    assert verdict(uncampaigned, person).allowed
    assert verdict(other, person).code == "opted_out_campaign"
    assert OptOut.objects.filter(closed_at__isnull=True).count() == 1


@pytest.mark.behaviour("B13")
def test_unstop_to_an_uncampaigned_number_leaves_the_block_of_a_campaign(person):
    company = CompanyFactory()
    (one, _), uncampaigned = in_campaign(company), NumberFactory(company=company)
    receive(one, person, "STOP")
    receive(uncampaigned, person, "UNSTOP")
    assert verdict(one, person).code == "opted_out_campaign"


@pytest.mark.behaviour("B13")
def test_unstop_lifts_the_holds_that_cover_the_number(person):
    number = NumberFactory(registered=True)
    receive(number, person, "stop!!")
    assert verdict(number, person).code == "held"

    receive(number, person, "UNSTOP")

    assert verdict(number, person).allowed
    assert Hold.objects.get().outcome == "overtaken"


@pytest.mark.behaviour("B13")
def test_after_unstop_a_new_stop_blocks_again(person):
    number = NumberFactory(registered=True)
    for _ in range(3):
        receive(number, person, "STOP")
        assert not verdict(number, person).allowed
        receive(number, person, "UNSTOP")
        assert verdict(number, person).allowed
    assert OptOut.objects.count() == 3


@pytest.mark.behaviour("B13")
def test_an_unstop_that_arrives_late_does_not_lift_a_stop_that_was_written_after_it(person):
    number = NumberFactory(registered=True)
    now = timezone.now().replace(microsecond=0)
    receive(number, person, "STOP", received_at=now - timedelta(minutes=1))

    receive(number, person, "UNSTOP", received_at=now - timedelta(minutes=2))

    assert not verdict(number, person).allowed


@pytest.mark.behaviour("B13")
@pytest.mark.parametrize("words", ["STOP", "please stop texting me"])
def test_a_late_unstop_does_not_lift_a_block_that_a_second_stop_has_renewed_since(person, words):
    number = NumberFactory(registered=True)
    now = timezone.now().replace(microsecond=0)
    receive(number, person, words, received_at=now - timedelta(minutes=3))
    receive(number, person, words, received_at=now - timedelta(minutes=1))

    # Written between the two, it comes last: the last wish was to stop.
    receive(number, person, "UNSTOP", received_at=now - timedelta(minutes=2))

    assert not verdict(number, person).allowed
    receive(number, person, "UNSTOP", received_at=now)
    assert verdict(number, person).allowed


@pytest.mark.behaviour("B13")
def test_a_stop_that_an_unstop_has_answered_keeps_no_later_block_open(person):
    number = NumberFactory(registered=True)
    now = timezone.now().replace(microsecond=0)
    receive(number, person, "STOP", received_at=now - timedelta(minutes=2))
    receive(number, person, "UNSTOP", received_at=now - timedelta(minutes=1))
    # Two that were written before those arrive after them, in order.
    receive(number, person, "STOP", received_at=now - timedelta(minutes=5))
    receive(number, person, "UNSTOP", received_at=now - timedelta(minutes=4))
    assert verdict(number, person).allowed


# --- Blocks never vanish by accident ------------------------------------------------------------------------


@pytest.mark.behaviour("N4")
@pytest.mark.parametrize("destination", ["another campaign", "no campaign", "another office"])
@pytest.mark.parametrize("which", ["texted", "sibling"])
def test_moving_a_number_lets_nothing_through_to_somebody_who_had_opted_out(person, destination, which):
    texted, sibling = in_campaign(company := CompanyFactory())
    receive(texted, person, "STOP")
    moved = texted if which == "texted" else sibling

    if destination == "another office":
        moved.office = OfficeFactory(company=company)
        moved.save()
    else:
        assign(moved, CampaignFactory(company=company) if destination == "another campaign" else None)

    assert verdict(moved, person).code == "opted_out_campaign"
    assert verdict(sibling if which == "texted" else texted, person).code == "opted_out_campaign"


@pytest.mark.behaviour("N4")
def test_a_number_that_moves_through_many_campaigns_keeps_each_block_and_gathers_new_ones(person):
    company = CompanyFactory()
    (texted, traveller), (other, _) = in_campaign(company), in_campaign(company)
    receive(texted, person, "STOP")
    receive(other, person, "STOP")
    for campaign in (other.current_assignment().campaign, CampaignFactory(company=company), None):
        assign(traveller, campaign)
        assert not verdict(traveller, person).allowed

    # An opt-in to one campaign leaves what the number brought along from the other.
    receive(texted, person, "UNSTOP")
    assert verdict(texted, person).allowed
    assert verdict(traveller, person).code == "opted_out_campaign"


@pytest.mark.behaviour("N4")
def test_a_number_that_had_left_before_the_stop_is_not_blocked_by_it(person):
    texted, left_before = in_campaign(CompanyFactory())
    assign(left_before, None)
    receive(texted, person, "STOP")
    assert not verdict(texted, person).allowed
    assert verdict(left_before, person).allowed


@pytest.mark.behaviour("N4")
def test_a_number_that_left_while_the_stop_was_on_its_way_is_blocked_by_it(person):
    texted, leaver = in_campaign(CompanyFactory())
    leaver.assignments.update(starts_at=timezone.now() - timedelta(days=1))
    written = timezone.now()
    assign(leaver, None)
    receive(texted, person, "STOP", received_at=written)
    assert verdict(leaver, person).code == "opted_out_campaign"


@pytest.mark.behaviour("N4")
@pytest.mark.parametrize("status", NOT_REGISTERED)
def test_ending_or_suspending_a_campaign_keeps_its_blocks_as_they_are(person, status):
    company = CompanyFactory()
    (texted, sibling), newcomer = in_campaign(company), NumberFactory(company=company)
    receive(texted, person, "STOP")

    Campaign.objects.filter(company=company).update(status=status)

    for number in (texted, sibling):
        assert verdict(number, person).code == "opted_out_campaign"
    assert verdict(newcomer, person).allowed
    # From now on a STOP to it is one to the company; an old block of the campaign stays beside it.
    receive(texted, person, "STOP")
    assert verdict(newcomer, person).code == "opted_out_company"
    Campaign.objects.filter(company=company).update(status="registered")
    assert verdict(newcomer, person).code == "opted_out_company"


@pytest.mark.behaviour("N4")
def test_a_block_of_the_company_stays_when_the_number_is_registered(person):
    texted = NumberFactory()
    other, _ = in_campaign(texted.company)
    receive(texted, person, "STOP")

    assign(texted, CampaignFactory(company=texted.company))

    assert verdict(texted, person).code == "opted_out_company"
    assert verdict(other, person).code == "opted_out_company"


@pytest.mark.behaviour("N4")
def test_giving_up_a_number_and_taking_it_back_keeps_every_block(person):
    texted, sibling = in_campaign(CompanyFactory())
    receive(texted, person, "STOP")

    Number.objects.filter(pk=texted.pk).update(given_up_at=timezone.now())
    assert verdict(texted, person).code == "number_inactive"
    assert verdict(sibling, person).code == "opted_out_campaign"

    Number.objects.filter(pk=texted.pk).update(given_up_at=None)
    assert verdict(texted, person).code == "opted_out_campaign"


@pytest.mark.behaviour("N4")
def test_a_hold_does_not_vanish_when_its_number_moves(person):
    texted, sibling = in_campaign(CompanyFactory())
    receive(texted, person, "stop!!")
    for number in (texted, sibling):
        assign(number, None)
        assert verdict(number, person).code == "held"


@pytest.mark.behaviour("N4")
def test_the_number_that_was_texted_is_blocked_even_when_it_was_never_in_the_campaign_of_the_block(person):
    # As an import may leave it.
    number = NumberFactory()
    recipient = RecipientFactory(company=number.company, e164=person)
    event = consent.opt_out(recipient, number, text="STOP", at=timezone.now())
    OptOut.objects.filter(opened_by=event).update(scope="campaign", campaign=CampaignFactory(company=number.company))
    assert verdict(number, person).code == "opted_out_campaign"


# --- Verdicts explain themselves ----------------------------------------------------------------------------


@pytest.mark.behaviour("N8")
@pytest.mark.behaviour("B12")
def test_a_verdict_names_the_opt_out_its_text_its_time_its_scope_and_that_calls_are_allowed(person):
    texted, sibling = in_campaign(CompanyFactory())
    written = timezone.now().replace(microsecond=0) - timedelta(minutes=1)
    receive(texted, person, "Stop", received_at=written)
    campaign = texted.current_assignment().campaign
    record = OptOut.objects.get()

    answer = verdict(sibling, person)

    assert not answer.allowed
    assert answer.voice_allowed
    assert answer.opt_out == {
        "id": record.pk,
        "texted_number": texted.e164,
        "text": "Stop",
        "at": written.isoformat(),
        "event": ConsentEvent.objects.get(kind="opt_out").pk,
    }
    assert answer.scope == {
        "kind": "campaign",
        "campaign": {"id": campaign.pk, "name": campaign.name, "registry_id": campaign.registry_id},
    }
    assert "replied STOP on " in answer.reason
    assert campaign.name in answer.reason
    assert answer.reason.endswith("Calls are still allowed.")
    assert set(answer.as_dict()) == {"allowed", "code", "reason", "scope", "opt_out", "voice_allowed"}


@pytest.mark.behaviour("B12")
def test_every_answer_of_the_gate_says_that_calls_are_allowed(person):
    company = CompanyFactory()
    (campaign_number, _), uncampaigned = in_campaign(company), NumberFactory(company=company)
    off = NumberFactory(given_up_at=timezone.now())
    held, carrier = NumberFactory(), NumberFactory()
    receive(campaign_number, person, "STOP")
    receive(held, person, "stop!!")
    consent.opt_out_at_carrier(
        RecipientFactory(company=carrier.company, e164=person), carrier, carrier="twilio", detail="21610"
    )
    answers = [verdict(n, person) for n in (campaign_number, uncampaigned, off, held, carrier)]
    receive(uncampaigned, person, "STOP")
    answers += [
        verdict(uncampaigned, person),
        verdict(uncampaigned, "72345"),
        verdict(uncampaigned, held.e164),
        *gate.check_addresses(company, [("+12025550199", person), (uncampaigned.e164, "nonsense")]),
        gate.VOICE,
    ]
    assert {answer.code for answer in answers} == {
        "opted_out_campaign", "ok", "number_inactive", "held", "opted_out_carrier", "opted_out_company",
        "not_textable", "chat",
    }  # fmt: skip
    for answer in answers:
        assert answer.voice_allowed
        assert "alls are" in answer.reason
        assert "allowed" in answer.reason


@pytest.mark.behaviour("N8")
def test_of_several_blocks_the_widest_opt_out_is_named_and_a_hold_only_when_it_stands_alone(person):
    company = CompanyFactory()
    (number, _), uncampaigned = in_campaign(company), NumberFactory(company=company)
    receive(uncampaigned, person, "stop!!")
    assert verdict(number, person).code == "held"
    receive(number, person, "STOP")
    assert verdict(number, person).code == "opted_out_campaign"
    receive(uncampaigned, person, "STOP")
    assert verdict(number, person).code == "opted_out_company"


@pytest.mark.behaviour("N8")
def test_the_reason_quotes_a_long_or_odd_text_shortened():
    number = NumberFactory()
    receive(number, one := somebody(), "please stop texting me " + "x" * 500)
    assert "“please stop" in verdict(number, one).reason
    assert len(verdict(number, one).reason) < 400


@pytest.mark.behaviour("N8")
def test_at_any_past_moment_the_gate_answers_what_it_answered_then(person):
    company = CompanyFactory()
    (texted, sibling), uncampaigned = in_campaign(company), NumberFactory(company=company)
    numbers = [texted, sibling, uncampaigned, NumberFactory(company=company, toll_free=True)]
    campaign = texted.current_assignment().campaign
    steps = [
        lambda: receive(texted, person, "Hello"),
        lambda: receive(texted, person, "STOP"),
        lambda: assign(sibling, None),
        lambda: assign(uncampaigned, campaign),
        lambda: receive(sibling, person, "please stop texting me"),
        lambda: receive(texted, person, "UNSTOP"),
        lambda: Campaign.objects.filter(pk=campaign.pk).update(status="expired"),
        lambda: receive(uncampaigned, person, "STOP"),
        lambda: assign(uncampaigned, None),
        lambda: receive(uncampaigned, person, "UNSTOP"),
        lambda: receive(sibling, person, "stop."),
        lambda: consent.review(Hold.objects.get(closed_at__isnull=True).pk, is_opt_out=True, reviewer=None, reason=""),
        lambda: assign(sibling, campaign),
    ]
    said = []
    for step in steps:
        step()
        answers = [verdict(number, person).as_dict() for number in numbers]
        said.append((timezone.now(), answers))
    assert len({str([a["code"] for a in answers]) for _, answers in said}) >= 5

    for moment, answers in said:
        assert [verdict(number, person, at=moment).as_dict() for number in numbers] == answers


@pytest.mark.behaviour("N8")
def test_before_its_webhook_was_answered_a_stop_blocked_nothing_however_early_it_was_written(person):
    number = NumberFactory()
    before = timezone.now()
    receive(number, person, "STOP", received_at=before - timedelta(hours=1))
    assert verdict(number, person, at=before).allowed
    assert not verdict(number, person).allowed


@pytest.mark.behaviour("N8")
def test_a_number_given_up_since_was_active_then(person):
    number = NumberFactory()
    before = timezone.now()
    Number.objects.filter(pk=number.pk).update(given_up_at=timezone.now())
    assert verdict(number, person, at=before).code == "ok"
    assert verdict(number, person, at=timezone.now()).code == "number_inactive"


@pytest.mark.behaviour("N8")
def test_a_number_taken_back_was_out_of_use_in_between(person):
    number, other = NumberFactory(), NumberFactory()
    before = timezone.now()
    assert number.give_up()
    between = timezone.now()
    assert number.take_back()
    assert not number.take_back()
    number.refresh_from_db()
    assert verdict(number, person, at=before).code == "ok"
    assert verdict(number, person, at=between).code == "number_inactive"
    assert verdict(number, person, at=timezone.now()).code == "ok"
    assert gate.check_many([(other, number.e164)], at=between)[0].code == "ok"  # nobody's number then: no chat


@pytest.mark.behaviour("N8")
def test_in_the_record_stands_what_refused_a_text(person):
    number = NumberFactory()
    receive(number, person, "STOP")
    refused = send(number, person, author_name="CRM")
    event = ConsentEvent.objects.get(kind="refusal")
    assert refused.verdict == verdict(number, person).as_dict()
    assert event.message_id_then == refused.pk
    assert event.reason.startswith("opted_out_company: ")
    assert event.actor_name == "CRM"
    assert event.received_text == ""  # what we wrote is no wish of theirs


# --- Many at a time -----------------------------------------------------------------------------------------


def test_many_questions_are_answered_like_one_by_one_in_a_fixed_number_of_queries(person):
    company = CompanyFactory()
    numbers = [*in_campaign(company), NumberFactory(company=company), NumberFactory(company=company, toll_free=True)]
    people = [somebody() for _ in range(6)] + [person, "72345", numbers[0].e164]
    for index, word in enumerate(["STOP", "stop!!", "Hello", "STOP"]):
        receive(numbers[index % 3], people[index], word)
    assign(numbers[1], None)
    pairs = [(number, to) for number in numbers for to in people]

    alone = [verdict(number, to).as_dict() for number, to in pairs]
    fresh = {n.pk: n for n in Number.objects.select_related("company", "account").filter(company=company)}
    pairs = [(fresh[number.pk], to) for number, to in pairs]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        together = [answer.as_dict() for answer in gate.check_many(pairs)]

    assert together == alone
    assert len({answer["code"] for answer in alone}) >= 5
    assert len(queries) <= 4


def test_addresses_are_read_as_people_write_them_and_another_companys_number_tells_nothing(person):
    number, stranger = NumberFactory(), NumberFactory()
    receive(number, person, "STOP")
    area, last = person[2:5], person[8:]
    written = f"({area}) 555-{last}"

    answers = gate.check_addresses(
        number.company,
        [
            (number.e164[2:], written),
            (number.e164, "nonsense"),
            (stranger.e164, person),
            ("nonsense", person),
            (fictional_number(4_950), person),
            (number.e164, somebody()),
        ],
    )

    assert [answer.code for answer in answers] == [
        "opted_out_company", "not_textable", "number_inactive", "number_inactive", "number_inactive", "ok",
    ]  # fmt: skip
    assert "company" not in str(answers[2].scope)
    assert answers[2].reason.replace(stranger.e164, "") == answers[4].reason.replace(fictional_number(4_950), "")
    assert gate.check_many([]) == []


def test_the_gate_only_reads(person):
    number = NumberFactory()
    receive(number, person, "STOP")
    with CaptureQueriesContext(connection) as queries:
        verdict(number, person)
        gate.check_addresses(number.company, [(number.e164, somebody())])
    assert all(query["sql"].startswith("SELECT") for query in queries)
    assert all("FOR UPDATE" not in query["sql"] for query in queries)
    assert Recipient.objects.count() == 1


def test_the_recipient_may_be_one_that_another_company_knows_too(person):
    one, two = NumberFactory(), NumberFactory()
    receive(one, person, "STOP")
    receive(two, person, "Hello")
    assert not gate.check(one, recipient_of(one, person)).allowed
    assert gate.check(two, recipient_of(two, person)).allowed
    many = gate.check_many([(one, person), (two, person)])
    assert [answer.allowed for answer in many] == [False, True]
