"""The conversation's page: who sees it, what it shows, and how it stays as it is on the server."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from messaging.models import Conversation, Message
from tests.factories import ConversationFactory, MessageFactory, NumberFactory, OfficeFactory
from tests.messaging.pages import (
    SENDERS,
    Role,
    a_conversation,
    address,
    conversation_of,
    logged_in,
    shown,
    version,
    write,
)
from tests.messaging.texting import left, receive, send, work

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("static_files")]

ROUTES = ["conversation", "conversation_live", "conversation_older"]

# Who sees it --------------------------------------------------------------------------------------------------------


def test_the_page_and_its_parts_want_a_login():
    talk = a_conversation()
    for route in [*ROUTES, "conversation_send"]:
        response = Client().get(address(talk, route))
        assert response.status_code == 302
        assert "/login/" in response["Location"]


@pytest.mark.parametrize("role", [*SENDERS, Role.AUDITOR, None])
def test_every_role_sees_the_conversations_of_its_reach(role):
    talk = a_conversation()
    client = logged_in(role, talk.number.office)
    for route in ROUTES:
        assert client.get(address(talk, route)).status_code == 200


@pytest.mark.parametrize("role", SENDERS)
def test_another_companys_conversation_is_not_found(role):
    talk = a_conversation()
    client = logged_in(role, OfficeFactory())
    for route in ROUTES:
        assert client.get(address(talk, route)).status_code == 404
    assert write(client, talk, "Hello").status_code == 404
    text = Message.objects.get(conversation=talk)
    assert client.get(reverse("messaging:text", args=[text.pk])).status_code == 404
    assert Message.objects.filter(direction="out").count() == 0


@pytest.mark.parametrize("role", [Role.OFFICE_ADMIN, Role.AGENT])
def test_another_offices_conversation_is_not_found(role):
    talk = a_conversation()
    client = logged_in(role, OfficeFactory(company=talk.company))
    for route in ROUTES:
        assert client.get(address(talk, route)).status_code == 404
    assert write(client, talk, "Hello").status_code == 404
    assert Message.objects.filter(direction="out").count() == 0


def test_auditors_read_and_do_not_write():
    talk = a_conversation()
    client = logged_in(Role.AUDITOR, talk.number.office)

    page = shown(client.get(address(talk)))

    assert "<textarea" not in page
    assert "not write in it" in page
    assert write(client, talk, "Hello").status_code == 403
    assert Message.objects.filter(direction="out").count() == 0


# What it shows ------------------------------------------------------------------------------------------------------


def test_a_text_is_shown_and_never_run():
    talk = a_conversation()
    receive(talk.number, talk.recipient.e164, "<script>alert(1)</script>", media=["javascript:alert(1)"])
    client = logged_in(Role.AGENT, talk.number.office)

    for route in ROUTES:
        page = client.get(address(talk, route)).content.decode()
        assert "<script>alert(1)" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert 'href="javascript' not in page


def test_a_picture_is_named_and_linked_and_not_fetched():
    talk = a_conversation()
    receive(
        talk.number,
        talk.recipient.e164,
        "Look",
        media=[{"url": "https://a.example/b.jpg", "content_type": "image/jpeg"}],
    )

    page = shown(logged_in(Role.AGENT, talk.number.office).get(address(talk)))

    assert (
        'href="https://a.example/b.jpg" target="_blank" rel="noopener noreferrer nofollow">image/jpeg from a.example<'
        in page
    )
    assert "<img" not in page.split("data-thread")[1]


@pytest.mark.parametrize(
    ("text", "mark"),
    [("STOP", "Opted out"), ("UNSTOP", "Opted in"), ("HELP", "Asked for help"), ("stop!!", "Held for review")],
)
def test_keywords_are_marked_by_what_they_did(text, mark):
    talk = a_conversation(registered=True)
    receive(talk.number, talk.recipient.e164, text)
    assert f">{mark}</p>" in shown(logged_in(Role.AGENT, talk.number.office).get(address(talk)))


def test_automatic_replies_are_marked():
    talk = a_conversation(registered=True)
    receive(talk.number, talk.recipient.e164, "HELP")
    receive(talk.number, talk.recipient.e164, "STOP")
    page = shown(logged_in(Role.AGENT, talk.number.office).get(address(talk)))
    assert ">Answer to HELP</p>" in page
    assert ">Confirmation of STOP</p>" in page


def test_each_state_has_a_word_and_troubles_a_reason():
    talk = a_conversation()
    failed = send(talk.number, talk.recipient.e164)
    failed.advance("failed", error="HTTP 400: no such number")
    send(talk.number, talk.recipient.e164, "Still waiting")
    page = shown(logged_in(Role.AGENT, talk.number.office).get(address(talk)))
    assert re.search(r"error</span>Failed.*HTTP 400: no such number", page)
    assert "schedule</span>Queued" in page


@pytest.mark.behaviour("B01")
def test_chat_is_marked_as_chat_and_stays_open():
    talk = a_conversation()
    colleague = NumberFactory(office=talk.number.office)
    send(talk.number, colleague.e164, "Is room 2 free?")
    receive(talk.number, colleague.e164, "STOP")
    client = logged_in(Role.AGENT, talk.number.office)
    chat = conversation_of(talk.number, colleague.e164)

    page = shown(client.get(address(chat)))

    assert ">Chat</p>" in page
    assert "is a number of this portal too" in page
    assert "<fieldset data-fields" in page.replace("  ", " ")
    assert write(client, chat, "Thanks").status_code == 302
    assert left(colleague.e164, purpose=None) == []


@pytest.mark.behaviour("B05")
def test_on_toll_free_numbers_the_page_says_that_the_network_answers_commands():
    talk = a_conversation(toll_free=True)
    receive(talk.number, talk.recipient.e164, "STOP")

    page = shown(logged_in(Role.AGENT, talk.number.office).get(address(talk)))

    assert "the network itself answers STOP and UNSTOP here" in page
    assert ">Handled by the network</p>" in page
    assert "The portal neither blocked, lifted nor replied." in page
    assert "disabled" not in page.split("data-composer")[1].split("</fieldset>")[0]


def test_a_text_of_a_megabyte_is_shortened_and_shown_whole_on_demand():
    talk = a_conversation()
    receive(talk.number, talk.recipient.e164, "ä" * 1_000_000)
    client = logged_in(Role.AGENT, talk.number.office)

    page = client.get(address(talk))

    assert len(page.content) < 60_000
    assert "Show all 1,000,000 characters" in shown(page)
    text = Message.objects.get(conversation=talk, text__startswith="ä")
    whole = client.get(reverse("messaging:text", args=[text.pk]))
    assert whole["Content-Type"] == "text/plain; charset=utf-8"
    assert whole.content.decode() == "ä" * 1_000_000


def _many(talk: Conversation, count: int) -> None:
    now = timezone.now()
    Message.objects.bulk_create(
        MessageFactory.build(
            conversation=talk,
            company=talk.company,
            recipient=talk.recipient,
            number=talk.number,
            account=talk.number.account,
            text=f"Number {n}.",
            created_at=now - timedelta(minutes=count - n),
        )
        for n in range(count)
    )


def test_a_conversation_of_ten_thousand_texts_comes_fifty_at_a_time():
    talk = ConversationFactory()
    _many(talk, 10_000)
    client = logged_in(Role.AGENT, talk.number.office)

    newest = shown(client.get(address(talk)))
    oldest = re.search(r'data-oldest="(\d+)"', newest)
    before = shown(client.get(address(talk, "conversation_older"), {"before": oldest[1]}))

    assert "Number 9999." in newest
    assert "Number 9950." in newest
    assert "Number 9949." not in newest
    assert "Number 9949." in before
    assert "Number 9900." in before
    assert "Number 9899." not in before
    assert 'data-has-older="yes"' in before


def test_the_beginning_says_that_nothing_is_older():
    talk = ConversationFactory()
    _many(talk, 60)
    client = logged_in(Role.AGENT, talk.number.office)
    oldest = re.search(r'data-oldest="(\d+)"', shown(client.get(address(talk))))
    assert 'data-has-older="no"' in shown(client.get(address(talk, "conversation_older"), {"before": oldest[1]}))


@pytest.mark.parametrize("nonsense", ["", "x", "-1", "9" * 40, "1%00"])
def test_a_nonsense_place_to_begin_shows_the_newest(nonsense):
    talk = a_conversation()
    assert logged_in(Role.AGENT, talk.number.office).get(address(talk), {"before": nonsense}).status_code == 200


def test_queries_do_not_grow_with_texts():
    few, many = ConversationFactory(), ConversationFactory()
    _many(few, 2)
    _many(many, 200)
    counts = []
    for talk in (few, many):
        client = logged_in(Role.AGENT, talk.number.office)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            client.get(address(talk))
        counts.append(len(queries))
    assert counts[0] == counts[1]


# Live ---------------------------------------------------------------------------------------------------------------


def test_nothing_new_is_answered_with_nothing_and_few_queries():
    talk = a_conversation()
    client = logged_in(Role.AGENT, talk.number.office)
    shown_version = version(client, talk)

    with CaptureQueriesContext(connection) as queries:
        response = client.get(address(talk, "conversation_live"), {"v": shown_version})

    assert response.status_code == 204
    assert response.content == b""
    assert len(queries) <= 8


@pytest.mark.parametrize("text", ["STOP", "please stop texting me", "HELP", "Hello again"])
def test_whatever_comes_in_is_news(text):
    talk = a_conversation(registered=True)
    client = logged_in(Role.AGENT, talk.number.office)
    shown_version = version(client, talk)

    receive(talk.number, talk.recipient.e164, text)

    response = client.get(address(talk, "conversation_live"), {"v": shown_version})
    assert response.status_code == 200
    assert text in shown(response)


def test_a_change_of_state_is_news():
    talk = a_conversation()
    message = send(talk.number, talk.recipient.e164)
    client = logged_in(Role.AGENT, talk.number.office)
    shown_version = version(client, talk)
    work()
    assert "check</span>Sent" in shown(client.get(address(talk, "conversation_live"), {"v": shown_version}))
    shown_version = version(client, talk)
    Message.objects.get(pk=message.pk).advance("delivered")
    assert "done_all</span>Delivered" in shown(client.get(address(talk, "conversation_live"), {"v": shown_version}))


@pytest.mark.behaviour("B08")
def test_a_stop_to_a_sibling_of_the_campaign_closes_this_page_as_well():
    talk = a_conversation(registered=True)
    sibling = NumberFactory(office=talk.number.office, campaign=talk.number.current_assignment().campaign)
    client = logged_in(Role.AGENT, talk.number.office)
    shown_version = version(client, talk)

    receive(sibling, talk.recipient.e164, "STOP")

    response = client.get(address(talk, "conversation_live"), {"v": shown_version})
    assert 'data-can-write="no"' in shown(response)
