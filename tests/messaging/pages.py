"""People who look at pages: one of each role in a company, logged in."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from messaging.models import Conversation
from offices.models import Membership, Number, Office, User
from tests.factories import MembershipFactory, NumberFactory, UserFactory
from tests.messaging.texting import receive, somebody

Role = Membership.Role
SENDERS = [Role.COMPANY_ADMIN, Role.OFFICE_ADMIN, Role.AGENT]
AS_SCRIPT = {"X-Requested-With": "fetch"}


def person(role: str | None, office: Office) -> User:
    """Somebody with `role` in the office's company; the operator when there is none."""
    if role is None:
        return UserFactory(is_superuser=True)
    user = UserFactory()
    of_office = role in Membership.OFFICE_ROLES
    MembershipFactory(user=user, role=role, company=office.company, office=office if of_office else None)
    return user


def logged_in(role: str | None, office: Office) -> Client:
    client = Client()
    client.force_login(person(role, office))
    return client


def conversation_of(number: Number, to: str) -> Conversation:
    return Conversation.objects.get(number=number, recipient__e164=to)


def shown(response: Any) -> str:
    """The page's words, with white space made single."""
    assert isinstance(response, HttpResponse)
    return " ".join(response.content.decode().split())


def address(conversation: Conversation, route: str = "conversation") -> str:
    return reverse(f"messaging:{route}", args=[conversation.pk])


def write(client: Client, conversation: Conversation, text: str, **more: str) -> Any:
    return client.post(address(conversation, "conversation_send"), {"text": text, **more})


def a_conversation(**number: Any) -> Conversation:
    """A conversation in which the recipient has written once."""
    ours = NumberFactory(**number)
    to = somebody()
    receive(ours, to, "Hello")
    return conversation_of(ours, to)


def version(client: Client, talk: Conversation) -> str:
    """The version of the page that the client has open."""
    found = re.search(r'data-version="([0-9a-f]{20})"', client.get(address(talk)).content.decode())
    assert found
    return found[1]
