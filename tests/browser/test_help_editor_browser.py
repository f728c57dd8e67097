"""The HELP message in a browser: the way there by its labels, and the checklist that follows what is typed."""

from __future__ import annotations

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from tests.factories import HelpMessageFactory, OfficeFactory
from tests.messaging.pages import Role, person

pytestmark = pytest.mark.browser


@pytest.mark.behaviour("B18")
@pytest.mark.behaviour("B19")
def test_an_office_admin_finds_the_help_message_by_its_labels_and_mends_it_by_the_checklist(open_page):
    office = OfficeFactory(name="Downtown")
    page = open_page(person(Role.OFFICE_ADMIN, office), reverse("admin:index"))

    page.get_by_role("link", name="Offices", exact=True).click()
    page.get_by_role("link", name="Downtown").click()
    page.get_by_role("link", name="Office Settings", exact=True).click()
    page.get_by_role("link", name="Help Message", exact=True).click()

    text, checklist, phone = page.get_by_label("Text", exact=True), page.locator("#help-check"), page.locator(".phone")
    expect(checklist).to_contain_text("segment")
    expect(checklist.locator(".is-there")).to_have_count(4)

    text.fill("Downtown: call us.")
    expect(checklist.locator(".is-there")).to_have_count(1)
    expect(checklist).to_contain_text("18 characters · 1 segment (GSM-7), 142 left")
    expect(phone).to_contain_text("Downtown: call us.")

    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Fees or charges is missing.")
    expect(text).to_have_value("Downtown: call us.")

    mended = "Downtown: call +1 202-555-0100. Msg & data rates may apply. Reply STOP to opt out."
    text.fill(mended)
    expect(checklist.locator(".is-there")).to_have_count(4)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved. The next HELP is answered with this text.")).to_be_visible()
    assert office.help_text() == mended


def test_the_canned_text_takes_the_place_of_unsaved_words_only_after_a_question(open_page):
    office = OfficeFactory(name="Downtown")
    own = "Downtown: call +1 202-555-0100. Msg & data rates may apply. Reply STOP to opt out."
    HelpMessageFactory(office=office, text=own)
    page = open_page(person(Role.OFFICE_ADMIN, office), reverse("admin:offices_office_help_message", args=[office.pk]))
    text, canned = page.get_by_label("Text", exact=True), page.get_by_role("button", name="Use the canned text")
    # The page's own question is answered here; a dialog of any other origin fails every browser test.
    answered = (
        "(answer) => { window.asked = ''; window.confirm = (words) => { window.asked = words; return answer; }; }"
    )

    text.fill("Half a thought")
    # Also when saving it was refused: the page then came back with it.
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("is missing")
    page.evaluate(answered, False)
    canned.click()
    assert page.evaluate("window.asked") == "What you typed is not saved. Use the canned text all the same?"
    expect(text).to_have_value("Half a thought")
    assert office.help_text() == own

    page.evaluate(answered, True)
    canned.click()
    expect(page.get_by_text("The next HELP is answered with the canned text.")).to_be_visible()
    assert office.help_text() == office.canned_help_text()


def test_the_editor_fits_a_phone(open_page):
    office = OfficeFactory(name="Downtown")
    page = open_page(
        person(Role.OFFICE_ADMIN, office),
        reverse("admin:offices_office_help_message", args=[office.pk]),
        viewport={"width": 390, "height": 844},
    )

    expect(page.locator("#help-check")).to_contain_text("segment")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
