"""The lists of this floor: who sees which rows, what they say, how they are searched, and what stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from messaging import consent
from messaging.models import ConsentEvent, Conversation, Hold, Message, OptOut, Recipient, WebhookReceipt
from offices import e164
from tests.factories import ConversationFactory, NumberFactory, OfficeFactory, RecipientFactory
from tests.messaging.pages import Role, a_conversation, logged_in, shown
from tests.messaging.texting import receive, recipient_of, send, somebody

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("static_files")]

EVERYBODY = [Role.COMPANY_ADMIN, Role.OFFICE_ADMIN, Role.AGENT, Role.AUDITOR, None]
LISTS = [Conversation, OptOut, Hold, Recipient, Message]


def list_of(model: Any) -> str:
    return reverse(f"admin:messaging_{model._meta.model_name}_changelist")


def page_of(row: Any) -> str:
    return reverse(f"admin:messaging_{row._meta.model_name}_change", args=[row.pk])


def everything(**number: Any) -> dict[Any, Any]:
    """A row of each kind, of one conversation."""
    talk = a_conversation(registered=True, **number)
    receive(talk.number, talk.recipient.e164, "STOP")
    other = somebody()
    receive(talk.number, other, "please stop texting me")
    wrong = send(talk.number, somebody(), "Lost on its way")
    wrong.advance("sending")
    wrong.advance("uncertain", error="Nobody knows.")
    return {
        Conversation: talk,
        OptOut: OptOut.objects.get(recipient=talk.recipient),
        Hold: Hold.objects.get(recipient__e164=other),
        Recipient: talk.recipient,
        Message: wrong,
        ConsentEvent: ConsentEvent.objects.filter(recipient=talk.recipient).latest("pk"),
    }


def results(client: Client, model: Any, **asked: str) -> str:
    """The rows of a list as words, without filters and frame."""
    page = shown(client.get(list_of(model), asked))
    return page.split('id="result_list"')[1].split("</table>")[0] if 'id="result_list"' in page else ""


# Who sees which rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", EVERYBODY)
def test_every_role_sees_the_lists_and_pages_of_its_reach(role):
    rows = everything()
    client = logged_in(role, rows[Conversation].number.office)
    for model in LISTS:
        assert client.get(list_of(model)).status_code == 200
        expected = 302 if model is Conversation else 200
        assert client.get(page_of(rows[model])).status_code == expected
        assert results(client, model) != ""


@pytest.mark.parametrize("role", EVERYBODY[:-1])
def test_rows_of_other_companies_and_offices_are_not_there(role):
    rows = everything()
    offices = [OfficeFactory()]
    if role in (Role.OFFICE_ADMIN, Role.AGENT):
        offices.append(OfficeFactory(company=rows[Conversation].company))
    for office in offices:
        client = logged_in(role, office)
        for model in LISTS:
            assert results(client, model) == ""
            assert results(client, model, q=rows[Recipient].e164) == ""
            if model is not Conversation:
                assert client.get(page_of(rows[model])).status_code in (302, 403, 404)


@pytest.mark.parametrize("role", EVERYBODY[:-1])
def test_received_requests_are_for_operators(role):
    talk = a_conversation()
    client = logged_in(role, talk.number.office)
    assert client.get(list_of(WebhookReceipt)).status_code == 403
    assert client.get(page_of(WebhookReceipt.objects.get())).status_code == 403


def test_agents_do_not_see_the_record_and_get_no_links_to_it():
    rows = everything()
    client = logged_in(Role.AGENT, rows[Conversation].number.office)
    assert client.get(list_of(ConsentEvent)).status_code == 403
    assert client.get(page_of(rows[ConsentEvent])).status_code == 403
    assert "/consentevent/" not in shown(client.get(page_of(rows[OptOut])))


# The record -----------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("N9")
@pytest.mark.parametrize("role", [Role.COMPANY_ADMIN, Role.OFFICE_ADMIN, Role.AUDITOR, None])
def test_nobody_adds_changes_or_deletes_in_the_record(role):
    event = everything()[ConsentEvent]
    before = ConsentEvent.objects.filter(pk=event.pk).values().get()
    client = logged_in(role, event.office)

    page = shown(client.get(page_of(event)))
    assert event.received_text in page
    assert 'name="_save"' not in page
    assert 'name="action"' not in shown(client.get(list_of(ConsentEvent)))

    forged = {"received_text": "START", "kind": "opt_in", "_save": "Save"}
    assert client.post(page_of(event), forged).status_code == 403
    delete = reverse("admin:messaging_consentevent_delete", args=[event.pk])
    assert client.post(delete, {"post": "yes"}).status_code == 403
    assert client.post(reverse("admin:messaging_consentevent_add"), forged).status_code == 403
    client.post(list_of(ConsentEvent), {"action": "delete_selected", "_selected_action": [event.pk], "post": "yes"})
    assert ConsentEvent.objects.filter(pk=event.pk).values().get() == before


def test_the_page_of_an_event_shows_all_of_its_facts():
    event = everything()[ConsentEvent]
    page = shown(logged_in(Role.AUDITOR, event.office).get(page_of(event)))
    for fact in (event.recipient_e164, event.number_e164, event.campaign_registry_id, event.rule_version, "STOP"):
        assert fact in page
    assert event.carrier_message_id in page


# What the lists say ---------------------------------------------------------------------------------------------------


def test_conversations_say_how_they_stand_and_lead_to_their_page():
    talk = everything()[Conversation]
    open_one = ConversationFactory(number=NumberFactory(office=OfficeFactory(company=talk.company)))
    rows = results(logged_in(Role.COMPANY_ADMIN, talk.number.office), Conversation)
    for words in ("Opted out", "On hold", "Open"):
        assert words in rows
    for one in (talk, open_one):
        assert reverse("messaging:conversation", args=[one.pk]) in rows


@pytest.mark.parametrize("model", [Conversation, OptOut, Hold, Recipient, Message, ConsentEvent, WebhookReceipt])
def test_queries_of_a_list_do_not_grow_with_its_rows(model):
    office = everything()[Conversation].number.office
    client = logged_in(None, office)
    asked = {"which": "all"} if model is WebhookReceipt else {}
    counts = []
    for _ in range(2):
        client.get(list_of(model), asked)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(list_of(model), asked).status_code == 200
        counts.append(len(queries))
        for _ in range(6):
            everything(office=office)
    assert counts[0] == counts[1], [query["sql"][:150] for query in queries]


@pytest.mark.parametrize("model", [Conversation, OptOut, ConsentEvent])
@pytest.mark.parametrize("way", ["e164", "national", "last four", "shown"])
def test_a_number_is_found_in_any_writing(model, way):
    wanted, other = everything(), everything()
    number = wanted[Recipient].e164
    typed = {
        "e164": number,
        "national": f"({number[2:5]}) {number[5:8]}-{number[8:]}",
        "last four": number[-4:],
        "shown": e164.show(number),
    }[way]
    Recipient.objects.filter(pk=other[Recipient].pk).update(name="Somebody else")
    found = results(logged_in(None, OfficeFactory()), model, q=typed)
    assert e164.show(number) in found
    if way != "last four":
        assert e164.show(other[Recipient].e164) not in found


def test_a_recipient_is_found_by_name():
    talk = a_conversation()
    Recipient.objects.filter(pk=talk.recipient_id).update(name="Maria Lopez")
    a_conversation(office=talk.number.office)
    client = logged_in(Role.AGENT, talk.number.office)
    for model in (Conversation, Recipient):
        assert "Maria Lopez" in results(client, model, q="lopez")
        assert results(client, model, q="nobody") == ""


@pytest.mark.parametrize("nonsense", ["\x00", "'; --", "%", "²²²", "9" * 300, "١٢٣٤"])
def test_a_nonsense_search_finds_nothing_and_does_no_harm(nonsense):
    office = everything()[Conversation].number.office
    client = logged_in(None, office)
    for model in (Conversation, OptOut, Recipient, ConsentEvent):
        assert client.get(list_of(model), {"q": nonsense}).status_code in (200, 302)


def test_opt_outs_are_told_in_words_and_filtered_by_whether_they_are_in_force():
    talk = a_conversation(registered=True)
    receive(talk.number, talk.recipient.e164, "STOP")
    receive(talk.number, talk.recipient.e164, "UNSTOP")
    uncampaigned, to = NumberFactory(office=talk.number.office), somebody()
    receive(uncampaigned, to, "STOP")
    client = logged_in(Role.COMPANY_ADMIN, talk.number.office)
    in_force, closed = results(client, OptOut, in_force="yes"), results(client, OptOut, in_force="no")
    assert "Every number of the company" in in_force
    assert e164.show(talk.recipient.e164) not in in_force
    assert f"Campaign “{talk.number.current_assignment().campaign}”" in closed
    assert e164.show(to) not in closed


# Recipients -----------------------------------------------------------------------------------------------------------


def save_name(client: Client, recipient: Recipient, **more: str) -> Any:
    management = {
        f"{prefix}-{name}": "0"
        for prefix in ("optouts", "holds", "conversations", "events")
        for name in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS")
    }
    return client.post(page_of(recipient), {"name": "Maria Lopez", **management, **more})


@pytest.mark.parametrize("role", [Role.COMPANY_ADMIN, Role.OFFICE_ADMIN, Role.AGENT, None])
def test_a_recipients_name_can_be_written_and_nothing_else(role):
    talk = a_conversation()
    client = logged_in(role, talk.number.office)
    response = save_name(client, talk.recipient, e164="+12125550199", shown_number="+12125550199")
    assert response.status_code == 302, shown(response)
    after = Recipient.objects.get(pk=talk.recipient_id)
    assert after.name == "Maria Lopez"
    assert after.e164 == talk.recipient.e164


def test_auditors_and_other_offices_write_no_name():
    talk = a_conversation()
    for role, office in [(Role.AUDITOR, talk.number.office), (Role.AGENT, OfficeFactory(company=talk.company))]:
        assert save_name(logged_in(role, office), talk.recipient).status_code in (302, 403, 404)
    assert Recipient.objects.get(pk=talk.recipient_id).name == ""


def test_a_recipients_page_shows_blocks_conversations_and_history():
    rows = everything()
    page = shown(logged_in(Role.COMPANY_ADMIN, rows[Conversation].number.office).get(page_of(rows[Recipient])))
    assert reverse("messaging:conversation", args=[rows[Conversation].pk]) in page
    assert f"Campaign “{rows[OptOut].campaign}”" in page
    assert "Opt-out" in page


def test_nobody_adds_or_deletes_recipients():
    recipient = RecipientFactory()
    client = logged_in(None, OfficeFactory(company=recipient.company))
    assert client.get(reverse("admin:messaging_recipient_add")).status_code == 403
    delete = reverse("admin:messaging_recipient_delete", args=[recipient.pk])
    assert client.post(delete, {"post": "yes"}).status_code == 403
    assert Recipient.objects.filter(pk=recipient.pk).exists()


def test_new_conversation_is_offered_to_those_who_may_write():
    talk = a_conversation()
    for role, offered in [(Role.AGENT, True), (Role.AUDITOR, False)]:
        client = logged_in(role, talk.number.office)
        assert ("New conversation" in shown(client.get(list_of(Conversation)))) is offered
    assert recipient_of(talk.number, talk.recipient.e164) == talk.recipient


def test_a_carriers_opt_out_says_what_the_carrier_said_and_of_no_text_that_nobody_wrote():
    number = NumberFactory()
    recipient = RecipientFactory(company=number.company)
    consent.opt_out_at_carrier(recipient, number, carrier="twilio", detail="21610")

    page = shown(logged_in(Role.COMPANY_ADMIN, number.office).get(page_of(OptOut.objects.get())))

    assert "What the carrier said" in page
    assert "no text of the recipient came to us" in page
    assert "The text" not in page
