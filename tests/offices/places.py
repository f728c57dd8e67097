"""People in their places, logged in: what tests of the admin start from."""

from __future__ import annotations

from django.test import Client
from django.urls import reverse

from offices.models import Company, Membership, Office, User
from tests.factories import MembershipFactory, UserFactory

Role = Membership.Role


def person(role: str, place: Office | Company, **user: str) -> User:
    """Somebody with this role in an office, or in the whole of its company where the role is of one."""
    company = place.company if isinstance(place, Office) else place
    office = place if isinstance(place, Office) and role in Membership.OFFICE_ROLES else None
    return MembershipFactory(user=UserFactory(**user), company=company, role=role, office=office).user


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def as_role(role: str, place: Office | Company) -> Client:
    return logged_in(person(role, place))


def operator() -> Client:
    return logged_in(UserFactory(is_superuser=True))


def address(name: str, *args: object) -> str:
    return reverse(f"admin:offices_{name}", args=args)
