"""The live check beside the HELP message editor: the same judgement as when it is saved, and whose it is."""

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import OfficeFactory, UserFactory
from tests.messaging.pages import Role, logged_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("static_files")]


@pytest.fixture
def office():
    return OfficeFactory(name="Downtown")


def check(client, office, text):
    return client.post(reverse("messaging:help_check"), {"office": office.pk, "text": text})


def words(response):
    return " ".join(response.content.decode().split())


@pytest.mark.behaviour("B19")
def test_it_ticks_what_is_there_and_says_how_to_mend_the_rest(office):
    page = words(check(logged_in(Role.OFFICE_ADMIN, office), office, "Downtown: call +1 202-555-0143."))

    assert page.count("is there.") == 2
    assert page.count("is missing.") == 2
    assert "Reply STOP to opt out" in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 characters · 1 segment (GSM-7), 160 left"),
        ("x" * 161, "161 characters · 2 segments (GSM-7), 145 left"),
        ("ж" * 71, "71 characters · 2 segments (UCS-2), 63 left"),
        ("a\r\nb", "3 characters · 1 segment (GSM-7), 157 left"),
    ],
)
def test_it_counts_characters_and_segments_as_they_will_be_sent(text, said, office):
    assert said in words(check(logged_in(Role.OFFICE_ADMIN, office), office, text))


def test_what_is_typed_is_shown_as_text_and_not_as_markup(office):
    assert "<b>" not in words(check(logged_in(Role.OFFICE_ADMIN, office), office, "<b>bold</b>"))


@pytest.mark.behaviour("B17")
def test_it_tells_nobody_about_the_office_of_another(office):
    assert check(logged_in(Role.OFFICE_ADMIN, OfficeFactory()), office, "x").status_code == 404
    assert check(logged_in(Role.OFFICE_ADMIN, OfficeFactory(company=office.company)), office, "x").status_code == 404
    assert check(Client(), office, "x").status_code == 403
    outsider = Client()
    outsider.force_login(UserFactory(is_staff=False))
    assert check(outsider, office, "x").status_code == 403


@pytest.mark.parametrize("pk", ["", "x", "0", "٣"])
def test_an_office_that_is_none_is_not_found(pk, office):
    client = logged_in(Role.OFFICE_ADMIN, office)

    assert client.post(reverse("messaging:help_check"), {"office": pk, "text": ""}).status_code == 404


def test_it_is_only_posted_to(office):
    assert logged_in(Role.OFFICE_ADMIN, office).get(reverse("messaging:help_check")).status_code == 405
