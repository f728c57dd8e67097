"""Opt-outs that came by phone, e-mail or paper: recorded by people, after they have seen what will be blocked."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from messaging import by_hand
from messaging.models import ConsentEvent, Message, OptOut, Recipient
from offices.models import Company, Membership, Number
from offices.models.campaigns import assign
from tests.factories import CampaignFactory, MembershipFactory, NumberFactory, OfficeFactory, UserFactory
from tests.messaging.pages import logged_in, person, shown
from tests.messaging.texting import at_once, left, receive, recipient_of, send, somebody, verdict, work

pytestmark = pytest.mark.usefixtures("static_files")

Role = Membership.Role
PAGE = "admin:messaging_optout_record_opt_out"
OF_RECIPIENT = "admin:messaging_recipient_record_opt_out"


@pytest.fixture
def number(db):
    return NumberFactory(registered=True)


def wish(number: Number | None, to: str, company: Company | None = None, **fields: Any) -> by_hand.Wish:
    """Somebody has called to say that they want no texts."""
    given = {
        "company": company or (number and number.company),
        "address": to,
        "number": number,
        "whole_company": False,
        "at": timezone.now() - timedelta(minutes=10),
        "way": by_hand.Way.PHONE,
        "reason": "Wants no texts",
        "evidence": "Jo Roe called the front desk and said so to Pat Doe.",
        **fields,
    }
    return by_hand.Wish(**given)


def record(told: by_hand.Wish, actor: Any = None) -> ConsentEvent:
    event = by_hand.record(told, actor=actor or UserFactory(), shown=by_hand.plan(told).fingerprint)
    assert event
    return event


def typed(number: Number | None, to: str = "", **fields: Any) -> dict[str, Any]:
    """What somebody types into the form."""
    return {
        "to": to,
        "number": number.pk if number else "",
        "reach": "as_stop",
        "way": "phone",
        "at": timezone.localtime().strftime("%Y-%m-%dT%H:%M"),
        "reason": "Wants no texts",
        "evidence": "Jo Roe called the front desk and said so to Pat Doe.",
        **fields,
    }


def save(client: Client, address: str, data: dict[str, Any]) -> Any:
    """Both steps."""
    second = client.post(address, data)
    found = re.search(r'name="confirmed" value="([0-9a-f]{20})"', second.content.decode())
    return client.post(address, {**data, "confirmed": found[1]}) if found else second


def stopped_and_back(number: Number) -> str:
    to = somebody()
    receive(number, to, "STOP")
    receive(number, to, "UNSTOP")
    return to


# What it blocks


@pytest.mark.behaviour("B08")
def test_an_opt_out_by_phone_about_a_campaign_number_blocks_its_campaign_and_nothing_else(number):
    sibling = NumberFactory(office=number.office, campaign=number.current_campaign())
    other = NumberFactory(office=number.office, registered=True)
    to = somebody()

    record(wish(number, to))

    assert verdict(number, to).code == verdict(sibling, to).code == "opted_out_campaign"
    assert verdict(other, to).allowed


@pytest.mark.behaviour("B09")
def test_an_opt_out_by_phone_about_a_number_in_no_campaign_blocks_the_whole_company(number):
    bare = NumberFactory(office=number.office)
    to = somebody()

    record(wish(bare, to))

    assert verdict(number, to).code == verdict(bare, to).code == "opted_out_company"


@pytest.mark.parametrize("about_a_number", [True, False])
def test_an_admin_may_choose_the_whole_company(number, about_a_number):
    other = NumberFactory(office=number.office)
    to = somebody()

    event = record(wish(number if about_a_number else None, to, number.company, whole_company=about_a_number))

    assert verdict(number, to).code == verdict(other, to).code == "opted_out_company"
    assert event.number_e164 == (number.e164 if about_a_number else "")
    assert event.office == (number.office if about_a_number else None)


def test_the_record_says_who_recorded_what_came_how_and_when(number):
    actor = UserFactory()
    told = wish(number, somebody())

    event = record(told, actor)

    assert (event.kind, event.source, event.received_text) == ("manual", "person", "")
    assert (event.actor_id_then, event.actor_name) == (actor.pk, str(actor))
    assert event.received_at == told.at
    assert event.reason == (
        "Came by phone. Reason: Wants no texts\nEvidence: Jo Roe called the front desk and said so to Pat Doe."
    )


def test_an_opt_out_recorded_again_adds_an_event_and_leaves_the_block(number):
    to = somebody()
    receive(number, to, "STOP")
    before = OptOut.objects.get()

    event = record(wish(number, to))

    assert OptOut.objects.get() == before
    assert OptOut.objects.get().opened_by_id == before.opened_by_id < event.pk


@pytest.mark.behaviour("N7")
def test_waiting_texts_are_cancelled_as_the_plan_said_and_never_leave(number):
    other = NumberFactory(office=number.office, registered=True)
    to = somebody()
    waits, goes = send(number, to), send(other, to)
    told = wish(number, to)

    assert [text.pk for text in by_hand.plan(told).texts] == [waits.pk]
    record(told)
    work()

    assert Message.objects.get(pk=waits.pk).state == "cancelled"
    assert Message.objects.get(pk=goes.pk).state == "sent"
    assert len(left(to)) == 1


def test_no_confirmation_is_sent_for_what_was_no_text(number):
    to = somebody()

    record(wish(number, to))
    work()

    assert left(to, None) == []


@pytest.mark.behaviour("N4")
def test_the_plan_names_exactly_the_numbers_that_the_gate_then_refuses(number):
    campaign = number.current_campaign()
    gone = NumberFactory(office=number.office, campaign=campaign)
    moved_since = NumberFactory(office=number.office, campaign=campaign)
    at = timezone.now()
    assign(moved_since, CampaignFactory(company=number.company))
    NumberFactory(office=number.office, registered=True)
    NumberFactory(registered=True)
    gone.give_up()
    to = somebody()
    told = wish(number, to, at=at)

    named = {one.pk for one in by_hand.plan(told).numbers}
    record(told)

    refused = {one.pk for one in Number.objects.filter(company=number.company) if "opted" in verdict(one, to).code}
    assert named == refused == {number.pk, moved_since.pk}


@pytest.mark.behaviour("B13")
def test_unstop_lifts_an_opt_out_that_was_recorded_by_hand(number):
    to = somebody()
    record(wish(number, to))

    receive(number, to, "UNSTOP")

    assert verdict(number, to).allowed


@pytest.mark.behaviour("N8")
def test_the_gate_tells_the_past_from_before_and_after_the_recording(number):
    to = somebody()
    before = timezone.now()
    record(wish(number, to))
    after = timezone.now()
    receive(number, to, "UNSTOP")

    assert verdict(number, to, before).allowed
    assert not verdict(number, to, after).allowed
    assert "opted out on" in verdict(number, to, after).reason


def test_nothing_is_recorded_when_the_scope_is_no_longer_the_one_shown(number):
    to = somebody()
    told = wish(number, to)
    seen = by_hand.plan(told).fingerprint
    assign(number, None)

    assert by_hand.record(told, actor=UserFactory(), shown=seen) is None

    assert not ConsentEvent.objects.exists()
    assert not Recipient.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.behaviour("N7")
def test_a_text_accepted_at_the_same_instant_is_cancelled_or_refused():
    for _ in range(5):
        number, to, actor = NumberFactory(registered=True), somebody(), UserFactory()
        told = wish(number, to)

        at_once([lambda told=told, actor=actor: record(told, actor), lambda n=number, to=to: send(n, to)])
        work()

        assert left(to) == []
        assert Message.objects.get(recipient__e164=to).state in ("cancelled", "refused")


@pytest.mark.django_db(transaction=True)
def test_two_recordings_at_once_are_two_events_and_one_block():
    number, to, actor = NumberFactory(registered=True), somebody(), UserFactory()
    told = wish(number, to)

    at_once([lambda: record(told, actor), lambda: record(told, actor)])

    assert ConsentEvent.objects.filter(kind="manual").count() == 2
    assert OptOut.objects.count() == 1


# The pages


@pytest.mark.parametrize("role", [Role.COMPANY_ADMIN, Role.OFFICE_ADMIN, None])
def test_admins_record_an_opt_out_of_somebody_who_never_texted(number, role):
    client, to = logged_in(role, number.office), somebody()

    answer = save(client, reverse(PAGE), typed(number, to))

    assert answer.status_code == 302
    assert OptOut.objects.get().recipient.e164 == to
    assert not verdict(number, to).allowed


def test_the_second_step_shows_numbers_and_texts_and_records_nothing(number):
    to = somebody()
    send(number, to, "Your crown is ready.")
    client = logged_in(Role.COMPANY_ADMIN, number.office)

    page = shown(client.post(reverse(PAGE), typed(number, to)))

    assert "Our numbers: 1" in page
    assert "Waiting texts that will be cancelled: 1" in page
    assert "Your crown is ready." in page
    assert str(number.current_campaign()) in page
    assert not ConsentEvent.objects.exists()


def test_the_second_step_shows_the_first_fifty_numbers_and_counts_the_rest(number):
    campaign = number.current_campaign()
    for _ in range(52):
        NumberFactory(office=number.office, campaign=campaign)

    page = shown(logged_in(Role.COMPANY_ADMIN, number.office).post(reverse(PAGE), typed(number, somebody())))

    assert "Our numbers: 53" in page
    assert page.count(f'<span class="portal-weak">{number.office}</span>') == 50
    assert "And 3 more" in page


def test_from_the_recipients_page_the_number_is_known(number):
    to = somebody()
    receive(number, to, "Hello")
    recipient = recipient_of(number, to)
    client = logged_in(Role.OFFICE_ADMIN, number.office)
    address = reverse(OF_RECIPIENT, args=[recipient.pk])

    assert address in shown(client.get(reverse("admin:messaging_recipient_change", args=[recipient.pk])))
    answer = save(client, address, typed(number))

    assert answer["Location"] == reverse("admin:messaging_recipient_change", args=[recipient.pk])
    assert not verdict(number, to).allowed


@pytest.mark.parametrize(("role", "offered"), [(Role.COMPANY_ADMIN, True), (Role.OFFICE_ADMIN, False)])
def test_no_number_in_particular_is_a_choice_for_those_who_speak_for_the_company(number, role, offered):
    page = shown(logged_in(role, number.office).get(reverse(PAGE)))

    assert ("No number in particular" in page) == offered


def test_a_company_admin_records_an_opt_out_about_no_number_in_particular(number):
    to = somebody()

    answer = save(logged_in(Role.COMPANY_ADMIN, number.office), reverse(PAGE), typed(None, to))

    assert answer.status_code == 302
    assert verdict(number, to).code == "opted_out_company"


def test_an_opt_in_after_the_wish_is_pointed_out_before_saving(number):
    to = stopped_and_back(number)
    client = logged_in(Role.COMPANY_ADMIN, number.office)
    earlier = timezone.localtime() - timedelta(days=1)

    page = shown(client.post(reverse(PAGE), typed(number, to, at=earlier.strftime("%Y-%m-%dT%H:%M"))))

    assert "The record has an opt-in after that" in page


def test_what_was_typed_comes_back_to_be_changed(number):
    client = logged_in(Role.COMPANY_ADMIN, number.office)

    page = shown(client.post(reverse(PAGE), {**typed(number, somebody(), reason="Called twice"), "edit": "1"}))

    assert 'value="Called twice"' in page
    assert "What will be blocked" not in page


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"evidence": ""}, "Say who said what to whom."),
        ({"evidence": "phone"}, "at least 15 characters"),
        ({"evidence": " " * 40}, "Say who said what to whom."),
        ({"reason": ""}, "Say in a few words"),
        ({"way": ""}, "Say how it came."),
        ({"at": "2999-01-01T10:00"}, "That is still to come."),
        ({"at": "yesterday"}, "Write a date and a time."),
        ({"to": "555-0143"}, "no complete phone number"),
        ({"to": ""}, "Type the recipient"),
    ],
)
def test_what_is_missing_or_wrong_is_refused_with_a_sentence(number, wrong, said):
    answer = save(logged_in(Role.COMPANY_ADMIN, number.office), reverse(PAGE), {**typed(number, somebody()), **wrong})

    assert answer.status_code == 422
    assert said in shown(answer)
    assert not ConsentEvent.objects.exists()


def test_one_of_our_own_numbers_is_nobody_who_opts_out(number):
    own = NumberFactory(office=number.office)

    answer = save(logged_in(Role.COMPANY_ADMIN, number.office), reverse(PAGE), typed(number, own.e164))

    assert answer.status_code == 422
    assert "one of your own numbers" in shown(answer)


def test_an_office_admin_reads_nothing_of_other_offices_numbers_and_texts(number):
    elsewhere = NumberFactory(office=OfficeFactory(company=number.company, name="Faraway"), label="Secret desk")
    to = somebody()
    send(elsewhere, to, "Of the other office")
    client = logged_in(Role.OFFICE_ADMIN, number.office)

    page = shown(client.post(reverse(PAGE), typed(number, to, reach="company")))

    assert "Our numbers: 2" in page
    assert "Waiting texts that will be cancelled: 1" in page
    for hidden in ("Faraway", "Secret desk", "Of the other office"):
        assert hidden not in page


def test_an_office_admin_records_for_no_other_offices_number_and_for_none_in_particular(number):
    elsewhere = NumberFactory(office=OfficeFactory(company=number.company))
    client = logged_in(Role.OFFICE_ADMIN, number.office)

    for wrong in (elsewhere, NumberFactory(), None):
        assert save(client, reverse(PAGE), typed(wrong, somebody(), confirmed="x")).status_code == 422

    assert not ConsentEvent.objects.exists()


def test_a_company_admin_records_for_no_other_company(number):
    stranger = NumberFactory()
    to = somebody()
    receive(stranger, to, "Hello")
    theirs = recipient_of(stranger, to)
    client = logged_in(Role.COMPANY_ADMIN, number.office)

    assert save(client, reverse(PAGE), typed(stranger, somebody())).status_code == 422
    assert save(client, reverse(OF_RECIPIENT, args=[theirs.pk]), typed(number)).status_code in (302, 403, 404)
    assert not ConsentEvent.objects.exists()


def test_admins_of_one_company_and_agents_of_another_record_in_the_first_alone(number):
    talk = NumberFactory()
    to = somebody()
    receive(talk, to, "Hello")
    user = person(Role.COMPANY_ADMIN, number.office)
    MembershipFactory(user=user, office=talk.office, role=Role.AGENT)
    client = Client()
    client.force_login(user)
    recipient = recipient_of(talk, to)

    assert client.get(reverse(OF_RECIPIENT, args=[recipient.pk])).status_code == 403
    assert save(client, reverse(PAGE), typed(talk, to)).status_code == 422


@pytest.mark.parametrize("role", [Role.AGENT, Role.AUDITOR])
def test_agents_and_auditors_record_nothing_and_see_no_button(number, role):
    to = somebody()
    receive(number, to, "Hello")
    recipient = recipient_of(number, to)
    client = logged_in(role, number.office)

    for address in (reverse(PAGE), reverse(OF_RECIPIENT, args=[recipient.pk])):
        assert client.get(address).status_code == 403
        assert save(client, address, typed(number, to)).status_code == 403
    for page in (
        reverse("admin:messaging_recipient_change", args=[recipient.pk]),
        reverse("admin:messaging_optout_changelist"),
    ):
        assert "Record an opt-out" not in shown(client.get(page))
    assert not ConsentEvent.objects.exists()


def test_the_opt_outs_page_says_who_recorded_it(number):
    actor = UserFactory(first_name="Robin", last_name="Poe")
    record(wish(number, somebody()), actor)
    client = logged_in(Role.COMPANY_ADMIN, number.office)

    page = shown(client.get(reverse("admin:messaging_optout_change", args=[OptOut.objects.get().pk])))

    assert "Robin Poe, who recorded it by hand" in page


def test_a_rolled_back_recording_leaves_the_outer_transaction_whole(number):
    told = wish(number, somebody())
    with transaction.atomic():
        assert by_hand.record(told, actor=UserFactory(), shown="something else") is None
        assert Number.objects.filter(pk=number.pk).exists()
