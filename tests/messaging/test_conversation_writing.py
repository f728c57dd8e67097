"""Writing from the pages: what happens while one may not, and how a text and a new conversation begin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from messaging.models import Message, Recipient
from offices.models import Number
from tests.factories import CompanyFactory, NumberFactory, OfficeFactory
from tests.messaging.pages import (
    AS_SCRIPT,
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
from tests.messaging.texting import left, receive, somebody, work

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("static_files")]


# Blocked ------------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("B10")
@pytest.mark.parametrize("registered", [True, False])
def test_after_stop_the_input_is_disabled(registered):
    talk = a_conversation(registered=registered)
    receive(talk.number, talk.recipient.e164, "STOP")
    page = shown(logged_in(Role.AGENT, talk.number.office).get(address(talk)))
    assert "<fieldset disabled data-fields>" in page


@pytest.mark.behaviour("B10")
@pytest.mark.parametrize("role", [*SENDERS, None])
@pytest.mark.parametrize("as_script", [True, False])
def test_after_stop_a_text_posted_past_the_page_is_refused_and_not_lost(role, as_script):
    talk = a_conversation(registered=True)
    receive(talk.number, talk.recipient.e164, "STOP")
    client = logged_in(role, talk.number.office)

    response = client.post(
        address(talk, "conversation_send"), {"text": "One more thing"}, headers=AS_SCRIPT if as_script else {}
    )

    assert response.status_code == 409
    assert "One more thing" in shown(response)
    assert "replied STOP" in shown(response)
    assert not Message.objects.filter(purpose="ordinary", state="queued").exists()
    work()
    assert left(talk.recipient.e164) == []
    if not as_script:
        assert ">One more thing</textarea>" in shown(response)


@pytest.mark.behaviour("B11")
def test_a_gray_box_says_that_the_recipient_replied_stop():
    talk = a_conversation(registered=True)
    receive(talk.number, talk.recipient.e164, "STOP")
    page = shown(logged_in(Role.AGENT, talk.number.office).get(address(talk)))
    status = page.split('role="status" aria-live="polite"')[1].split("<form")[0]
    assert "notice-blocked" in status
    assert re.search(r"replied STOP on \w+ \d+, \d{4} at ", status)
    assert f"the campaign “{talk.number.current_assignment().campaign}” are blocked" in status


@pytest.mark.behaviour("B12")
@pytest.mark.parametrize("text", ["STOP", "please stop texting me"])
def test_the_box_says_that_calls_stay_allowed_and_offers_one(text):
    talk = a_conversation(registered=True)
    receive(talk.number, talk.recipient.e164, text)
    page = shown(logged_in(Role.AGENT, talk.number.office).get(address(talk)))
    status = page.split('role="status" aria-live="polite"')[1].split("<form")[0]
    assert "Calls are still allowed." in status
    assert f'href="tel:{talk.recipient.e164}"' in status


def test_a_near_miss_holds_and_says_which_text_it_was():
    talk = a_conversation(registered=True)
    receive(talk.number, talk.recipient.e164, "please stop texting me")
    agent = shown(logged_in(Role.AGENT, talk.number.office).get(address(talk)))
    admin = shown(logged_in(Role.COMPANY_ADMIN, talk.number.office).get(address(talk)))
    assert "Held for review: “please stop texting me”" in agent
    assert "<fieldset disabled data-fields>" in agent
    assert "Review it" not in agent
    assert "Review it" in admin


@pytest.mark.behaviour("B14")
def test_after_unstop_the_page_is_open_and_the_next_text_leaves():
    talk = a_conversation(registered=True)
    client = logged_in(Role.AGENT, talk.number.office)
    receive(talk.number, talk.recipient.e164, "STOP")
    shown_version = version(client, talk)

    receive(talk.number, talk.recipient.e164, "UNSTOP")

    live = shown(client.get(address(talk, "conversation_live"), {"v": shown_version}))
    assert 'data-can-write="yes"' in live
    assert "data-blocked" not in live
    assert write(client, talk, "Welcome back").status_code == 302
    work()
    assert [text.text for text in left(talk.recipient.e164)] == ["Welcome back"]


# Writing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [*SENDERS, None])
def test_a_text_that_is_written_leaves_once_with_its_authors_name(role):
    talk = a_conversation()
    client = logged_in(role, talk.number.office)
    key = "0" * 32
    write(client, talk, "Your table\r\nis ready", key=key)
    write(client, talk, "Your table\r\nis ready", key=key)
    work()
    assert [text.text for text in left(talk.recipient.e164)] == ["Your table\nis ready"]
    assert Message.objects.get(direction="out").author_name.startswith("Pat Doe")


def test_the_same_form_with_other_words_is_another_text():
    talk = a_conversation()
    client = logged_in(Role.AGENT, talk.number.office)
    for text in ("One", "Two"):
        assert write(client, talk, text, key="a" * 32).status_code == 302
    assert Message.objects.filter(direction="out").count() == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "Write something first."), ("   ", "Write something"), ("x" * 1601, "at most 1600"), ("\x00", "Null")],
)
def test_what_is_no_text_is_not_sent_and_says_why(text, said):
    talk = a_conversation()
    response = write(logged_in(Role.AGENT, talk.number.office), talk, text)
    assert response.status_code == 422
    assert said in shown(response)
    assert Message.objects.filter(direction="out").count() == 0


def test_the_number_that_was_given_up_sends_nothing():
    talk = a_conversation()
    Number.objects.filter(pk=talk.number.pk).update(given_up_at=timezone.now())
    response = write(logged_in(Role.AGENT, talk.number.office), talk, "Hello")
    assert response.status_code == 409
    assert "was given up" in shown(response)


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("Hello", "5 characters · 1 segment (GSM-7), 155 left"),
        ("x" * 161, "161 characters · 2 segments (GSM-7), 145 left"),
        ("ы", "1 character · 1 segment (UCS-2), 69 left · “ы” makes segments shorter"),
        ("", ""),
    ],
)
def test_segments_are_counted_by_the_server(text, counted):
    client = logged_in(Role.AGENT, OfficeFactory())
    assert shown(client.post(reverse("messaging:segments"), {"text": text})) == counted


# A new conversation -------------------------------------------------------------------------------------------------


def _begin(client: Client, number: Number, to: str, text: str = "Hello") -> Any:
    return client.post(
        reverse("messaging:new_conversation"), {"number": number.pk, "to": to, "text": text, "key": "b" * 32}
    )


def test_a_new_conversation_begins_with_a_text_and_leads_to_its_page():
    number, to = NumberFactory(), somebody()
    response = _begin(logged_in(Role.AGENT, number.office), number, f"({to[2:5]}) {to[5:8]}-{to[8:]}")
    assert response["Location"] == address(conversation_of(number, to))
    work()
    assert [text.text for text in left(to)] == ["Hello"]


@pytest.mark.behaviour("B10")
def test_a_new_conversation_with_somebody_who_opted_out_is_refused_in_words():
    number, to = NumberFactory(), somebody()
    receive(number, to, "STOP")
    other = NumberFactory(office=number.office)
    client = logged_in(Role.AGENT, number.office)

    response = _begin(client, other, to, "You again")

    assert response.status_code == 409
    assert "replied STOP" in shown(response)
    assert "You again</textarea>" in shown(response)
    work()
    assert left(to) == []
    checked = shown(client.post(reverse("messaging:check_recipient"), {"number": other.pk, "to": to}))
    assert "replied STOP" in checked
    assert f'href="tel:{to}"' in checked


@pytest.mark.parametrize(
    ("to", "said"), [("12", "digits"), ("hello", "is not a phone number"), ("", "Type the recipient")]
)
def test_what_is_no_number_is_explained(to, said):
    number = NumberFactory()
    response = _begin(logged_in(Role.AGENT, number.office), number, to)
    assert response.status_code == 422
    assert said in shown(response)
    assert Recipient.objects.count() == 0


def test_only_numbers_of_ones_own_offices_are_offered_and_taken():
    own = NumberFactory()
    other_office = NumberFactory(office=OfficeFactory(company=own.company))
    other_company = NumberFactory(office=OfficeFactory(company=CompanyFactory()))
    client = logged_in(Role.AGENT, own.office)
    page = shown(client.get(reverse("messaging:new_conversation")))
    assert f'value="{own.pk}"' in page
    for number in (other_office, other_company):
        assert f'value="{number.pk}"' not in page
        assert _begin(client, number, somebody()).status_code == 422
        checked = client.post(reverse("messaging:check_recipient"), {"number": number.pk, "to": somebody()})
        assert checked.content == b""
    assert Message.objects.count() == 0


def test_auditors_begin_no_conversation():
    number = NumberFactory()
    client = logged_in(Role.AUDITOR, number.office)
    assert client.get(reverse("messaging:new_conversation")).status_code == 403
    assert _begin(client, number, somebody()).status_code == 403


def test_the_embedded_page_has_no_sidebar_and_stays_embedded():
    talk = a_conversation()
    client = logged_in(Role.AGENT, talk.number.office)
    page = shown(client.get(address(talk), {"embed": 1}))
    assert "nav-sidebar" not in page
    sent = client.post(f"{address(talk, 'conversation_send')}?embed=1", {"text": "Hi"})
    assert sent["Location"].endswith("?embed=1")
    assert client.get(address(talk))["X-Frame-Options"] == "SAMEORIGIN"
