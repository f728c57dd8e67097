"""People: places given and taken, logins made and reused, and that nobody climbs by it."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth import authenticate
from django.test import Client

from offices import access, people
from offices.models import Membership, User
from tests.factories import PASSWORD, CompanyFactory, MembershipFactory, OfficeFactory, UserFactory
from tests.offices.places import Role, address, as_role, logged_in, operator, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("pages")]

NEW = "a quite long first password"


@pytest.fixture
def office():
    return OfficeFactory(name="Downtown")


def add(client, *, role=Role.AGENT, office=None, company=None, email="sam@example.com", password=NEW, **fields):
    posted = {
        "first_name": "Sam", "last_name": "Poe", "email": email, "password": password, "role": role,
        "office": office.pk if office else "", "company": company.pk if company else "", **fields,
    }  # fmt: skip
    return client.post(address("membership_add"), posted)


def change(client, membership, **fields):
    person = membership.user
    posted = {
        "first_name": person.first_name, "last_name": person.last_name, "email": person.email,
        "role": membership.role, "office": membership.office_id or "", **fields,
    }  # fmt: skip
    return client.post(address("membership_change", membership.pk), posted)


def words(response):
    return " ".join(response.content.decode().split())


# Adding -------------------------------------------------------------------------------------------------------------


def test_an_office_admin_adds_an_agent_who_can_log_in(office):
    add(as_role(Role.OFFICE_ADMIN, office), office=office)

    added = Membership.objects.get(user__email="sam@example.com")
    assert (added.role, added.office, added.company) == (Role.AGENT, office, office.company)
    assert (added.user.username, added.user.is_staff, added.user.is_superuser) == ("sam@example.com", True, False)
    assert Client().login(username="sam@example.com", password=NEW)


def test_a_company_admin_gives_a_place_in_the_whole_company_and_the_office_left_in_the_form_is_dropped(office):
    add(as_role(Role.COMPANY_ADMIN, office), role=Role.AUDITOR, office=office)

    added = Membership.objects.get(user__email="sam@example.com")
    assert (added.role, added.office, added.company) == (Role.AUDITOR, None, office.company)


def test_a_made_up_password_is_shown_once_and_works(office):
    client = as_role(Role.OFFICE_ADMIN, office)

    response = add(client, office=office, password="")

    shown = re.search(r'value="([a-z0-9-]{24})"', words(response)).group(1)
    assert "no-store" in response["Cache-Control"]
    assert Client().login(username="sam@example.com", password=shown)
    added = Membership.objects.get(user__email="sam@example.com")
    assert shown not in words(client.get(address("membership_change", added.pk)))


def test_made_up_passwords_differ_and_satisfy_the_validators():
    made = {people.generate_password() for _ in range(50)}

    assert len(made) == 50
    assert all(re.fullmatch(r"([a-z2-9]{4}-){4}[a-z2-9]{4}", password) for password in made)


@pytest.mark.parametrize("password", ["short", "1234567890123", "password1234", "sam@example.com"])
def test_a_weak_first_password_is_refused(password, office):
    response = add(as_role(Role.OFFICE_ADMIN, office), office=office, password=password)

    assert response.context["adminform"].form.errors["password"]
    assert not User.objects.filter(email="sam@example.com").exists()


def test_the_role_has_to_be_chosen_and_an_office_role_its_office(office):
    client = as_role(Role.COMPANY_ADMIN, office)

    assert "role" in add(client, role="", office=office).context["adminform"].form.errors
    assert "office" in add(client, role=Role.AGENT).context["adminform"].form.errors
    assert not User.objects.filter(email="sam@example.com").exists()


def test_somebody_of_the_same_company_keeps_login_name_and_password(office):
    known = person(Role.AGENT, OfficeFactory(company=office.company), email="sam@example.com", first_name="Samuel")

    response = add(as_role(Role.OFFICE_ADMIN, office), office=office)

    added = Membership.objects.get(office=office, role=Role.AGENT)
    assert added.user == known
    assert response.status_code == 302
    known.refresh_from_db()
    assert known.first_name == "Samuel"
    assert known.check_password(PASSWORD)


def test_the_same_place_is_not_given_twice(office):
    client = as_role(Role.OFFICE_ADMIN, office)
    add(client, office=office)

    response = add(client, office=office, email="SAM@example.com")

    assert "has that place already" in words(response)
    assert Membership.objects.filter(user__email="sam@example.com").count() == 1


# What it tells about other companies ---------------------------------------------------------------------------------


def test_an_address_known_to_another_company_gets_a_login_of_its_own_and_the_answer_is_the_same(office):
    stranger = person(Role.COMPANY_ADMIN, CompanyFactory(), username="sam@example.com", email="sam@example.com")
    client = as_role(Role.COMPANY_ADMIN, office)

    known = add(client, office=office)
    unknown = add(client, office=office, email="kim@example.com")

    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    added = Membership.objects.get(office=office, user__email="sam@example.com")
    assert added.user != stranger
    assert "Sam Poe" in str(added.user)
    stranger.refresh_from_db()
    assert stranger.check_password(PASSWORD)
    assert stranger.memberships.count() == 1


def test_each_of_two_logins_with_one_address_is_opened_by_its_own_password(office):
    stranger = person(Role.COMPANY_ADMIN, CompanyFactory(), username="sam@example.com", email="sam@example.com")
    add(as_role(Role.COMPANY_ADMIN, office), office=office)
    added = Membership.objects.get(office=office, user__email="sam@example.com").user

    assert authenticate(username="Sam@Example.com", password=PASSWORD) == stranger
    assert authenticate(username="sam@example.com", password=NEW) == added
    assert authenticate(username="sam@example.com", password="neither") is None
    assert authenticate(username="nobody@example.com", password=NEW) is None


def test_a_closed_login_stays_closed_whatever_the_password(office):
    agent = person(Role.AGENT, office, email="sam@example.com", is_active=False)

    assert authenticate(username=agent.email, password=PASSWORD) is None


# Climbing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.COMPANY_ADMIN, Role.AUDITOR])
def test_an_office_admin_gives_no_place_in_the_whole_company(role, office):
    client = as_role(Role.OFFICE_ADMIN, office)

    response = add(client, role=role)

    assert response.status_code == 200
    assert not Membership.objects.filter(role=role).exists()
    assert not User.objects.filter(email="sam@example.com").exists()


def test_an_office_admin_gives_no_place_in_another_office(office):
    for other in (OfficeFactory(company=office.company), OfficeFactory()):
        response = add(as_role(Role.OFFICE_ADMIN, office), office=other)
        assert "office" in response.context["adminform"].form.errors
    assert not User.objects.filter(email="sam@example.com").exists()


def test_who_is_company_admin_in_one_company_gives_no_such_place_in_another(office):
    """The roles to grant are those of all places together; where a place is decides as well."""
    both = person(Role.COMPANY_ADMIN, CompanyFactory())
    MembershipFactory(user=both, role=Role.OFFICE_ADMIN, office=office)

    response = add(logged_in(both), role=Role.COMPANY_ADMIN, company=office.company)

    assert response.status_code == 403
    assert not User.objects.filter(email="sam@example.com").exists()


def test_an_office_admin_does_not_lift_themselves(office):
    admin = person(Role.OFFICE_ADMIN, office)

    change(logged_in(admin), admin.memberships.get(), role=Role.COMPANY_ADMIN, office="")

    assert admin.memberships.get().role == Role.OFFICE_ADMIN


@pytest.mark.parametrize("page", ["new_password", "close_login", "reopen_login"])
def test_nobody_touches_the_login_of_somebody_who_has_more_than_they_could_give(page, office):
    """Whoever could set that password would have that person's rights from then on."""
    office_admin, company_admin = as_role(Role.OFFICE_ADMIN, office), as_role(Role.COMPANY_ADMIN, office)
    above = person(Role.COMPANY_ADMIN, office)
    elsewhere = person(Role.AGENT, OfficeFactory())
    the_operator = UserFactory(is_superuser=True)
    for somebody in (above, elsewhere, the_operator):
        MembershipFactory(user=somebody, role=Role.AGENT, office=office)

    def refused(client, somebody):
        place = somebody.memberships.get(office=office)
        response = client.post(address(f"membership_{page}", place.pk), {"password": NEW})
        before = somebody.password
        somebody.refresh_from_db()
        return response.status_code == 403 and somebody.password == before and somebody.is_active

    assert refused(office_admin, above)
    assert refused(office_admin, elsewhere)
    assert refused(office_admin, the_operator)
    assert refused(company_admin, elsewhere)
    assert refused(company_admin, the_operator)


def test_the_name_and_address_of_such_a_person_cannot_be_changed_either(office):
    above = person(Role.COMPANY_ADMIN, office, email="boss@example.com")
    place = MembershipFactory(user=above, role=Role.AGENT, office=office)

    change(as_role(Role.OFFICE_ADMIN, office), place, email="mine@example.com", first_name="Mine")

    above.refresh_from_db()
    assert (above.email, above.first_name) == ("boss@example.com", "Pat")


def test_nobody_sets_their_own_password_here_nor_closes_their_own_login_nor_takes_away_their_own_place(office):
    admin = person(Role.COMPANY_ADMIN, office)
    place, client = admin.memberships.get(), logged_in(admin)

    for page in ("new_password", "close_login", "take_away"):
        assert client.post(address(f"membership_{page}", place.pk), {"password": NEW}).status_code == 403
    assert access.memberships(User.objects.get(pk=admin.pk)) == [place]


@pytest.mark.parametrize("role", [Role.AGENT, Role.AUDITOR])
def test_agents_and_auditors_manage_nobody(role, office):
    place = person(Role.AGENT, office).memberships.get()
    client = as_role(role, office)

    assert add(client, office=office).status_code == 403
    for page in ("new_password", "close_login", "take_away"):
        assert client.post(address(f"membership_{page}", place.pk), {"password": NEW}).status_code == 403
    assert Membership.objects.filter(pk=place.pk).exists()


# Managing -----------------------------------------------------------------------------------------------------------


def test_an_admin_sets_a_new_password_for_somebody_of_their_office(office):
    agent = person(Role.AGENT, office)
    session = logged_in(agent)
    page = address("membership_new_password", agent.memberships.get().pk)
    client = as_role(Role.OFFICE_ADMIN, office)
    assert client.get(page).status_code == 200

    client.post(page, {"password": NEW})

    agent.refresh_from_db()
    assert agent.check_password(NEW)
    assert session.get(address("office_changelist")).status_code == 302, "signed out everywhere"


def test_a_weak_new_password_is_refused(office):
    agent = person(Role.AGENT, office)

    response = as_role(Role.OFFICE_ADMIN, office).post(
        address("membership_new_password", agent.memberships.get().pk), {"password": "short"}
    )

    assert "too short" in words(response)
    agent.refresh_from_db()
    assert agent.check_password(PASSWORD)


def test_a_login_is_closed_and_reopened_and_only_by_posting(office):
    agent = person(Role.AGENT, office)
    place, client = agent.memberships.get(), as_role(Role.OFFICE_ADMIN, office)

    client.get(address("membership_close_login", place.pk))
    agent.refresh_from_db()
    assert agent.is_active

    client.post(address("membership_close_login", place.pk))
    agent.refresh_from_db()
    assert not agent.is_active

    client.post(address("membership_reopen_login", place.pk))
    agent.refresh_from_db()
    assert agent.is_active


def test_a_place_is_taken_away_and_the_login_stays(office):
    agent = person(Role.AGENT, office)

    as_role(Role.OFFICE_ADMIN, office).post(address("membership_take_away", agent.memberships.get().pk))

    agent.refresh_from_db()
    assert not agent.memberships.exists()


def test_an_admin_corrects_name_and_address_and_the_person_signs_in_with_the_new_one(office):
    agent = person(Role.AGENT, office)

    change(as_role(Role.OFFICE_ADMIN, office), agent.memberships.get(), first_name="Ann", email="Ann@Example.com")

    assert Client().login(username="ann@example.com", password=PASSWORD)
    assert User.objects.get(pk=agent.pk).first_name == "Ann"


def test_logins_are_for_operators_alone(office):
    for client in (as_role(Role.COMPANY_ADMIN, office), as_role(Role.AUDITOR, office)):
        assert client.get(address("user_changelist")).status_code == 403
        assert client.get(address("user_add")).status_code == 403
    assert operator().get(address("user_changelist")).status_code == 200


def test_an_operator_makes_a_login_that_can_enter():
    operator().post(
        address("user_add"),
        {"username": "new", "email": "new@example.com", "password1": NEW, "password2": NEW, "is_superuser": "on"},
    )

    made = User.objects.get(username="new")
    assert (made.is_staff, made.is_superuser) == (True, True)
