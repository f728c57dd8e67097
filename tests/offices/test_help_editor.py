"""The HELP message of an office: who edits it, on which way, what is refused, and what the versions keep."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client

from offices import help_versions
from offices.models import HelpMessage
from tests.factories import HelpMessageFactory, NumberFactory, OfficeFactory, UserFactory
from tests.messaging.texting import at_once, left, receive, somebody, work
from tests.offices.places import Role, address, as_role, logged_in, operator, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("pages")]

LACKING = "Call us."


@pytest.fixture
def office():
    return OfficeFactory(name="Downtown")


def own_text(office, extra=""):
    return f"{office.company.name}: write to help@example.com. Rates may apply. Reply STOP to opt out. {extra}".strip()


def editor(office):
    return address("office_help_message", office.pk)


def save(client, office, text, version=None):
    """Post the editor's form as the page that is open now would."""
    if version is None:
        live = office.live_help_message()
        version = live.pk if live else 0
    return client.post(editor(office), {"text": text, "version": version, "_save": ""})


def words(response):
    return " ".join(response.content.decode().split())


# Which text stands --------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("B16")
def test_without_a_text_of_its_own_the_office_answers_with_the_canned_one(office):
    assert office.help_text() == office.canned_help_text()
    assert "+1 202-555-0100" in office.help_text()


@pytest.mark.behaviour("B16")
def test_an_own_text_replaces_the_canned_one(office):
    save(as_role(Role.OFFICE_ADMIN, office), office, own_text(office))

    assert office.help_text() == own_text(office)


@pytest.mark.behaviour("B16")
def test_the_office_goes_back_to_the_canned_text_and_the_record_says_so(office):
    client = as_role(Role.OFFICE_ADMIN, office)
    save(client, office, own_text(office))

    client.post(editor(office), {"text": "unfinished", "version": 0, "_canned": ""})

    assert office.help_text() == office.canned_help_text()
    assert [version.is_canned for version in office.help_messages.all()] == [True, False]


def test_going_back_to_the_canned_text_twice_adds_one_version(office):
    client = as_role(Role.OFFICE_ADMIN, office)
    save(client, office, own_text(office))

    for _ in range(2):
        client.post(editor(office), {"_canned": ""})

    assert office.help_messages.count() == 2


def test_the_canned_text_follows_the_main_line_after_going_back_to_it(office):
    client = as_role(Role.OFFICE_ADMIN, office)
    save(client, office, own_text(office))
    client.post(editor(office), {"_canned": ""})

    office.main_line = "+12025550199"
    office.save()

    assert "+1 202-555-0199" in office.help_text()


# Who ----------------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("B17")
@pytest.mark.parametrize("role", [Role.OFFICE_ADMIN, Role.COMPANY_ADMIN])
def test_admins_edit_the_help_message_of_the_office(role, office):
    client = as_role(role, office)

    assert 'name="_save"' in words(client.get(editor(office)))
    assert save(client, office, own_text(office)).status_code == 302
    assert office.help_text() == own_text(office)


@pytest.mark.behaviour("B17")
def test_a_company_admin_edits_those_of_all_offices(office):
    client = as_role(Role.COMPANY_ADMIN, office)
    for one in [office, OfficeFactory(company=office.company)]:
        save(client, one, own_text(one))
        assert one.help_text() == own_text(one)


@pytest.mark.behaviour("B17")
@pytest.mark.parametrize("role", [Role.AGENT, Role.AUDITOR])
def test_agents_and_auditors_read_it_and_cannot_change_it(role, office):
    client = as_role(role, office)

    response = client.get(editor(office))

    assert response.status_code == 200
    assert 'name="_save"' not in words(response)
    assert "<textarea" not in words(response)
    assert save(client, office, own_text(office)).status_code == 403
    assert client.post(editor(office), {"_canned": ""}).status_code == 403
    assert not HelpMessage.objects.exists()


@pytest.mark.behaviour("B17")
@pytest.mark.parametrize("role", Role.values)
def test_nobody_of_another_company_reaches_it(role, office):
    client = as_role(role, OfficeFactory())

    assert client.get(editor(office)).status_code == 404
    assert save(client, office, own_text(office)).status_code == 404
    assert not HelpMessage.objects.exists()


@pytest.mark.behaviour("B17")
@pytest.mark.parametrize("role", [Role.OFFICE_ADMIN, Role.AGENT])
def test_nobody_of_another_office_of_the_company_reaches_it(role, office):
    client = as_role(role, OfficeFactory(company=office.company))

    assert client.get(editor(office)).status_code == 404
    assert save(client, office, own_text(office)).status_code == 404
    assert not HelpMessage.objects.exists()


@pytest.mark.behaviour("B17")
@pytest.mark.parametrize("make", [Client, lambda: logged_in(UserFactory(is_staff=False))])
def test_strangers_are_sent_to_the_login(make, office):
    for response in (make().get(editor(office)), save(make(), office, own_text(office))):
        assert response.status_code == 302
        assert "/login/" in response["Location"]
    assert not HelpMessage.objects.exists()


@pytest.mark.behaviour("B17")
def test_a_login_without_a_place_and_one_that_lost_it_reach_nothing(office):
    former = person(Role.OFFICE_ADMIN, office)
    client = logged_in(former)
    former.memberships.all().delete()

    assert save(client, office, own_text(office)).status_code == 404
    assert save(logged_in(UserFactory()), office, own_text(office)).status_code == 404
    assert not HelpMessage.objects.exists()


@pytest.mark.behaviour("B17")
def test_the_offices_own_form_does_not_take_a_help_message(office):
    client = as_role(Role.OFFICE_ADMIN, office)

    client.post(
        address("office_change", office.pk),
        {"name": "Downtown", "main_line": "+12025550100", "is_active": "on", "help_message": "x", "text": "x"},
    )

    assert office.help_text() == office.canned_help_text()


# The way ------------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("B18")
def test_the_way_is_office_then_office_settings_then_help_message_then_save(office):
    client = as_role(Role.OFFICE_ADMIN, office)

    form = words(client.get(address("office_change", office.pk)))
    settings = address("office_settings", office.pk)
    assert re.search(rf'<a href="{settings}"[^>]*> Office Settings </a>', form)
    assert re.search(r'<a href="[^"]*change/"[^>]*> Office </a>', form)

    assert f'href="{editor(office)}">Help Message</a>' in words(client.get(settings))

    page = words(client.get(editor(office)))
    trail = re.findall(r'portal-trail[^"]* tracking-tight">([^<]+)<', page)
    assert trail == ["Offices", "Downtown", "Office Settings", "Help Message"]
    assert re.search(r"<button[^>]*>Save</button>", page)


@pytest.mark.behaviour("B18")
def test_the_saved_text_is_what_the_very_next_help_gets(office):
    number, sender = NumberFactory(office=office), somebody()
    save(as_role(Role.OFFICE_ADMIN, office), office, own_text(office))

    receive(number, sender, "HELP")
    work()

    assert [text.text for text in left(sender, None)] == [own_text(office)]


@pytest.mark.behaviour("B18")
def test_every_version_stands_in_the_history_with_its_author_and_the_newest_is_in_force(office):
    first, second = person(Role.OFFICE_ADMIN, office), person(Role.COMPANY_ADMIN, office)
    save(logged_in(first), office, own_text(office, "One."))
    save(logged_in(second), office, own_text(office, "Two."))

    page = words(logged_in(first).get(editor(office)))

    history = page[page.index('id="help-versions"') :]
    assert history.index("Two.") < history.index("One.")
    assert history.index(str(second)) < history.index(str(first))
    assert history.count("In force") == 1
    assert history.index("In force") < history.index("Two.")


def test_an_unchanged_text_adds_no_version(office):
    client = as_role(Role.OFFICE_ADMIN, office)
    save(client, office, office.canned_help_text())
    assert office.help_messages.count() == 0

    for _ in range(2):
        save(client, office, own_text(office))
    save(client, office, f"  {own_text(office)}\r\n")

    assert office.help_messages.count() == 1


def test_a_version_keeps_who_wrote_it_when_they_are_called_otherwise_later(office):
    author = person(Role.OFFICE_ADMIN, office, first_name="Pat", last_name="Doe")
    save(logged_in(author), office, own_text(office))

    author.last_name = "Roe"
    author.save()

    version = office.live_help_message()
    assert (version.author, version.author_name) == (author, "Pat Doe")


def test_a_text_that_came_in_between_is_shown_and_replaced_only_on_a_second_save(office):
    first, second = as_role(Role.OFFICE_ADMIN, office), as_role(Role.COMPANY_ADMIN, office)
    save(first, office, own_text(office, "Theirs."))

    response = save(second, office, own_text(office, "Mine."), version=0)

    page = words(response)
    assert response.status_code == 200
    assert "changed this message while you were writing" in page
    assert "Theirs." in page
    assert "Mine." in response.context["form"]["text"].value()
    assert office.help_text().endswith("Theirs.")

    now_seen = re.search(r'name="version" value="(\d+)"', page).group(1)
    save(second, office, own_text(office, "Mine."), version=now_seen)

    assert office.help_text().endswith("Mine.")
    assert office.help_messages.count() == 2


@pytest.mark.django_db(transaction=True)
def test_of_two_who_save_at_the_same_moment_the_second_is_told(office):
    people = [person(Role.OFFICE_ADMIN, office) for _ in range(2)]

    written = at_once(
        [
            lambda author=author: help_versions.write(office, own_text(office, author.username), author=author, seen=0)
            for author in people
        ]
    )

    assert sorted(one.version is None for one in written) == [False, True]
    assert office.help_messages.count() == 1


def test_a_version_cannot_be_changed_or_deleted(office):
    version = HelpMessageFactory(office=office)

    with pytest.raises(Exception, match="append-only"), connection.cursor() as cursor:
        cursor.execute("UPDATE offices_helpmessage SET text = 'x' WHERE id = %s", [version.pk])


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("B19")
def test_a_text_that_lacks_parts_is_refused_each_is_named_and_nothing_typed_is_lost(office):
    response = save(as_role(Role.OFFICE_ADMIN, office), office, LACKING)

    page = words(response)
    assert response.status_code == 200
    for part in ("Business name", "Contact information", "Fees or charges", "How to opt out"):
        assert f"{part} is missing." in page
    assert "for example: Msg &amp; data rates may apply." in page
    assert f">{LACKING}</textarea>" in response.content.decode()
    assert not HelpMessage.objects.exists()


@pytest.mark.behaviour("B19")
@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("Business name", "Call +1 202-555-0143. Rates may apply. Reply STOP to opt out."),
        ("Contact information", "Downtown. See www.example.com. Rates may apply. Reply STOP to opt out."),
        ("Fees or charges", "Downtown: call +1 202-555-0143. Reply STOP to opt out."),
        ("How to opt out", "Downtown: call +1 202-555-0143. Rates may apply. Reply HALT to opt out."),
    ],
)
def test_only_the_missing_part_is_named(part, text, office):
    response = save(as_role(Role.OFFICE_ADMIN, office), office, text)

    assert [error.split(" is missing.")[0] for error in response.context["form"].errors["text"]] == [part]
    assert not HelpMessage.objects.exists()


@pytest.mark.behaviour("B19")
def test_a_word_that_the_company_honours_tells_how_to_opt_out(office):
    office.company.extra_stop_words = ["halt"]
    office.company.save()
    text = "Downtown: call +1 202-555-0143. Rates may apply. Reply HALT to opt out."

    save(as_role(Role.OFFICE_ADMIN, office), office, text)

    assert office.help_text() == text


@pytest.mark.behaviour("B19")
@pytest.mark.parametrize("role", [Role.COMPANY_ADMIN, None])
def test_no_role_gets_a_text_with_missing_parts_past_the_check(role, office):
    client = as_role(role, office) if role else operator()

    save(client, office, LACKING)

    assert not HelpMessage.objects.exists()


@pytest.mark.parametrize("version", ["", "-1", "x"])
def test_a_form_without_a_version_saves_nothing(version, office):
    response = save(as_role(Role.OFFICE_ADMIN, office), office, own_text(office), version=version)

    assert response.status_code == 200
    assert not HelpMessage.objects.exists()


def test_a_text_that_is_too_long_is_refused_and_kept(office):
    text = own_text(office, "x" * 1600)

    response = save(as_role(Role.OFFICE_ADMIN, office), office, text)

    assert "1600" in words(response)
    assert text in response.content.decode()
    assert not HelpMessage.objects.exists()


def test_what_somebody_wrote_is_shown_as_text_and_not_as_markup(office):
    response = save(as_role(Role.OFFICE_ADMIN, office), office, "<script>alert(1)</script>")

    assert "<script>alert(1)" not in response.content.decode()
