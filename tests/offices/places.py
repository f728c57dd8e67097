"""People in their places, logged in: what tests of the admin start from."""

from __future__ import annotations

import re

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


def hidden_fields(client: Client, page: str) -> dict[str, str]:
    """What a browser posts of this page beside what is typed."""
    html = client.get(page).content.decode()
    tags = re.findall(r'<input type="hidden"[^>]*>', html)
    named = [(re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)) for tag in tags]
    return {name[1]: value[1] if value else "" for name, value in named if name}
