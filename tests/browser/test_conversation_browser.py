"""The conversation's page in a browser: it closes and opens by itself, and loses nothing that is typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.sessions.models import Session
from django.urls import reverse
from playwright.sync_api import Page, expect

from messaging.models import ConsentEvent, Conversation, Message
from tests.factories import ConversationFactory, MessageFactory, NumberFactory
from tests.messaging.pages import SENDERS, Role, a_conversation, address, conversation_of, person
from tests.messaging.texting import left, receive, send, somebody, work

pytestmark = pytest.mark.browser

AT_ONCE = 2000  # milliseconds: what the page promises
Open = Callable[..., Page]


def as_agent(open_page: Open, talk: Conversation, **options: Any) -> Page:
    return open_page(person(Role.AGENT, talk.number.office), address(talk), **options)


def write_box(page: Any) -> Any:
    return page.get_by_label("Text to ")


def simulator(talk: Conversation) -> str:
    return f"{reverse('messaging:simulator')}?{urlencode({'number': talk.number.pk, 'phone': talk.recipient.e164})}"


@pytest.mark.behaviour("B10")
@pytest.mark.behaviour("B11")
@pytest.mark.behaviour("B12")
@pytest.mark.behaviour("B14")
def test_stop_on_the_phone_closes_the_composer_and_unstop_opens_it_and_what_was_typed_stays(open_page):
    talk = a_conversation(registered=True)
    page = open_page(person(Role.AGENT, talk.number.office), simulator(talk))
    sender = page.frame_locator("[data-sender-frame]")
    write_box(sender).fill("Shall we say Thursday?")

    page.get_by_role("button", name="STOP", exact=True).click()
    expect(page.locator("[data-answer-place]")).to_have_text("The webhook answered 201: Opted out")

    expect(write_box(sender)).to_be_disabled(timeout=AT_ONCE)
    expect(write_box(sender)).to_have_value("Shall we say Thursday?")
    notice = sender.locator("[data-notice]")
    expect(notice).to_contain_text("replied STOP")
    expect(notice).to_contain_text("Calls are still allowed.")
    expect(notice.get_by_role("link", name="Call")).to_have_attribute("href", f"tel:{talk.recipient.e164}")
    work()
    expect(page.locator("[data-handset]")).to_contain_text("You have opted out", timeout=AT_ONCE)

    page.get_by_role("button", name="UNSTOP", exact=True).click()
    expect(page.locator("[data-answer-place]")).to_have_text("The webhook answered 201: Opted in")

    expect(write_box(sender)).to_be_enabled(timeout=AT_ONCE)
    expect(write_box(sender)).to_have_value("Shall we say Thursday?")
    expect(notice).to_contain_text("can be texted again")
    sender.get_by_role("button", name="Send").click()
    expect(write_box(sender)).to_have_value("")
    work()
    expect(page.locator("[data-handset]")).to_contain_text("Shall we say Thursday?", timeout=AT_ONCE)
    assert ConsentEvent.objects.filter(kind="opt_in").count() == 1


@pytest.mark.behaviour("B10")
def test_who_is_typing_while_a_stop_comes_in_hears_why_and_gets_back_to_where_they_were(open_page):
    talk = a_conversation(registered=True)
    page = as_agent(open_page, talk)
    write_box(page).press_sequentially("Dear ")

    receive(talk.number, talk.recipient.e164, "STOP")

    expect(write_box(page)).to_be_disabled(timeout=AT_ONCE)
    expect(page.locator("[data-notice]")).to_be_focused()
    receive(talk.number, talk.recipient.e164, "UNSTOP")
    expect(write_box(page)).to_be_focused(timeout=AT_ONCE)
    page.keyboard.type("Maria")
    expect(write_box(page)).to_have_value("Dear Maria")


def test_a_near_miss_holds_and_a_release_opens_without_reloading(open_page):
    talk = a_conversation()
    page = as_agent(open_page, talk)
    receive(talk.number, talk.recipient.e164, "please stop texting me")
    expect(page.locator("[data-notice]")).to_contain_text("Held for review: “please stop texting me”", timeout=AT_ONCE)
    expect(write_box(page)).to_be_disabled()
    receive(talk.number, talk.recipient.e164, "START")
    expect(write_box(page)).to_be_enabled(timeout=AT_ONCE)


def test_a_text_is_seen_on_its_way_from_queued_to_delivered(open_page):
    talk = a_conversation()
    page = as_agent(open_page, talk)

    write_box(page).fill("Your table is ready")
    page.keyboard.press("Control+Enter")

    sent = page.locator(".text-out", has_text="Your table is ready")
    expect(sent).to_contain_text("Queued")
    expect(write_box(page)).to_be_focused()
    work()
    expect(sent).to_contain_text("Sent", timeout=AT_ONCE)
    Message.objects.get(direction="out").advance("delivered")
    expect(sent).to_contain_text("Delivered", timeout=AT_ONCE)
    expect(sent).to_have_count(1)
    assert len(left(talk.recipient.e164)) == 1


@pytest.mark.behaviour("B10")
def test_a_stop_that_the_page_has_not_heard_of_yet_refuses_and_loses_nothing(open_page):
    talk = a_conversation(registered=True)
    page = as_agent(open_page, talk)
    page.route("**/live/**", lambda route: route.abort())
    write_box(page).fill("One more thing")
    receive(talk.number, talk.recipient.e164, "STOP")

    page.get_by_role("button", name="Send").click()

    expect(write_box(page)).to_be_disabled()
    expect(write_box(page)).to_have_value("One more thing")
    expect(page.locator("[data-notice]")).to_contain_text("replied STOP")
    expect(page.locator(".text-out", has_text="One more thing")).to_contain_text("Refused")
    work()
    assert left(talk.recipient.e164) == []


def test_no_answer_keeps_the_text_and_a_second_try_makes_no_second_text(open_page):
    talk = a_conversation()
    page = as_agent(open_page, talk)
    page.route("**/send/", lambda route: (route.fetch(), route.abort()))
    write_box(page).fill("Once only")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("Try again")
    expect(write_box(page)).to_have_value("Once only")
    page.unroute("**/send/")
    page.get_by_role("button", name="Send").click()
    expect(write_box(page)).to_have_value("")
    assert Message.objects.filter(direction="out").count() == 1


@pytest.mark.behaviour("B01")
def test_chat_is_marked_and_stays_open_whatever_is_written_in_it(open_page):
    ours = NumberFactory()
    theirs = NumberFactory(office=ours.office)
    send(ours, theirs.e164, "Is room 2 free?")
    talk = conversation_of(ours, theirs.e164)
    page = as_agent(open_page, talk)
    expect(page.locator(".text-out")).to_contain_text("Chat")

    receive(ours, theirs.e164, "STOP")

    expect(page.locator(".text-in", has_text="STOP")).to_contain_text("Chat", timeout=AT_ONCE)
    expect(write_box(page)).to_be_enabled()
    expect(page.locator("[data-notice]")).to_contain_text("touch no carrier")


@pytest.mark.behaviour("B05")
def test_stop_on_a_toll_free_number_is_shown_with_a_notice_and_closes_nothing(open_page):
    talk = a_conversation(toll_free=True)
    page = as_agent(open_page, talk)
    expect(page.get_by_text("the network itself answers STOP and UNSTOP here")).to_be_visible()

    receive(talk.number, talk.recipient.e164, "STOP")

    expect(page.locator(".text-in", has_text="STOP").last).to_contain_text("Handled by the network", timeout=AT_ONCE)
    expect(write_box(page)).to_be_enabled()


@pytest.mark.parametrize("role", [*SENDERS, None])
def test_everyone_who_may_write_finds_the_box(open_page, role):
    talk = a_conversation()
    page = open_page(person(role, talk.number.office), address(talk))
    expect(write_box(page)).to_be_enabled()


def test_auditors_find_no_box_and_are_told_so_and_still_see_what_comes_in(open_page):
    talk = a_conversation()
    page = open_page(person(Role.AUDITOR, talk.number.office), address(talk))
    expect(write_box(page)).to_have_count(0)
    expect(page.get_by_text("not write in it")).to_be_visible()
    receive(talk.number, talk.recipient.e164, "STOP")
    expect(page.locator("[data-notice]")).to_contain_text("replied STOP", timeout=AT_ONCE)


def test_markup_in_a_text_is_shown_and_not_run(open_page):
    talk = a_conversation()
    page = as_agent(open_page, talk)
    nasty = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    receive(talk.number, talk.recipient.e164, nasty)
    expect(page.get_by_text(nasty)).to_be_visible(timeout=AT_ONCE)
    page.reload()
    expect(page.get_by_text(nasty)).to_be_visible()


def test_older_texts_come_while_one_scrolls_and_the_place_is_kept(open_page):
    talk = ConversationFactory()
    Message.objects.bulk_create(
        MessageFactory.build(
            conversation=talk,
            company=talk.company,
            recipient=talk.recipient,
            number=talk.number,
            account=talk.number.account,
            text=f"Number {n}.",
        )
        for n in range(120)
    )
    page = as_agent(open_page, talk)
    expect(page.get_by_text("Number 119.", exact=True)).to_be_in_viewport()
    expect(page.get_by_text("Number 60.", exact=True)).to_have_count(0)

    page.get_by_text("Number 70.", exact=True).scroll_into_view_if_needed()

    expect(page.get_by_text("Number 60.", exact=True)).to_have_count(1)
    expect(page.get_by_text("Number 70.", exact=True)).to_be_in_viewport()
    place = page.get_by_text("Number 70.", exact=True).bounding_box()["y"]
    receive(talk.number, talk.recipient.e164, "Something new")
    expect(page.get_by_text("Something new")).to_have_count(1)
    assert abs(page.get_by_text("Number 70.", exact=True).bounding_box()["y"] - place) < 2
    page.get_by_text("Number 20.", exact=True).scroll_into_view_if_needed()
    expect(page.get_by_text("Number 0.", exact=True)).to_have_count(1)
    expect(page.get_by_text("Older texts")).to_be_hidden()
    expect(page.locator(".text")).to_have_count(121)


def test_a_long_text_is_shown_whole_on_demand(open_page):
    talk = a_conversation()
    receive(talk.number, talk.recipient.e164, "a" * 5_000 + " <b>end</b>")
    page = as_agent(open_page, talk)
    expect(page.get_by_text("<b>end</b>")).to_have_count(0)
    page.get_by_role("link", name="Show all 5,011 characters").click()
    expect(page.get_by_text("<b>end</b>")).to_have_count(1)


def test_segments_are_counted_while_typing(open_page):
    talk = a_conversation()
    page = as_agent(open_page, talk)
    write_box(page).press_sequentially("Hello ы")
    expect(page.locator("[data-segments]")).to_contain_text("7 characters · 1 segment (UCS-2), 63 left")


def test_who_is_logged_out_meanwhile_is_told_and_can_still_copy_the_text(open_page):
    talk = a_conversation()
    page = as_agent(open_page, talk)
    write_box(page).fill("Not yet sent")
    Session.objects.all().delete()
    expect(page.get_by_text("You are no longer logged in")).to_be_visible()
    expect(write_box(page)).to_have_value("Not yet sent")


def test_a_new_conversation_says_while_typing_who_opted_out(open_page):
    number, to = NumberFactory(), somebody()
    receive(number, to, "STOP")
    page = open_page(person(Role.AGENT, number.office), reverse("messaging:new_conversation"))
    page.get_by_label("To", exact=False).first.fill(to)
    expect(page.locator("[data-verdict]")).to_contain_text("replied STOP")
    page.get_by_label("To", exact=False).first.fill(somebody())
    expect(page.locator("[data-verdict]")).to_contain_text("are allowed")


def test_a_phone_without_a_conversation_begins_one_and_the_senders_page_follows(open_page):
    number, phone = NumberFactory(), somebody()
    page = open_page(
        person(Role.AGENT, number.office),
        f"{reverse('messaging:simulator')}?{urlencode({'number': number.pk, 'phone': phone})}",
    )
    page.get_by_label("Text from the phone").fill("Anybody there?")
    page.keyboard.press("Enter")
    sender = page.frame_locator("[data-sender-frame]")
    expect(sender.get_by_text("Anybody there?")).to_be_visible()
    write_box(sender).fill("Yes!")
    sender.get_by_role("button", name="Send").click()
    expect(sender.get_by_text("Queued")).to_be_visible()
    work()
    expect(page.locator("[data-handset]")).to_contain_text("Yes!")


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_runs_out_of_a_phones_screen(open_page, dark):
    talk = a_conversation(registered=True)
    receive(talk.number, talk.recipient.e164, "STOP")
    receive(talk.number, talk.recipient.e164, "w" * 400)
    user = person(Role.AGENT, talk.number.office)
    narrow = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark" if dark else "light"}
    for path in (address(talk), simulator(talk), reverse("messaging:new_conversation")):
        page = open_page(user, path, **narrow)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
