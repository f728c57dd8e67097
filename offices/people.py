"""Whose login an e-mail address stands for, and logins for new people.

One e-mail address may stand for several logins, one in each company that knows the person: whether an address
is known elsewhere in the installation is nobody's business. `offices.login` finds the right one by its password.
"""

from __future__ import annotations

import secrets

from django.db.models import Q

from offices import access
from offices.models import Company, User

# No letter or digit that is easily taken for another, since such a password is read out and typed.
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


def generate_password() -> str:
    """20 characters in five groups: 98 random bits."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(5))


def known_login(acting: User, email: str, company: Company) -> User | None:
    """The login with this e-mail address that a new place belongs to: one that the acting admin sees, or one of
    the same company. None when there is none, whatever there may be in other companies."""
    same = User.objects.filter(Q(email__iexact=email) | Q(username__iexact=email))
    seen = access.visible_to(acting, same).order_by("pk").first()
    return seen or same.filter(memberships__company=company).order_by("pk").first()


def login_for(
    acting: User, *, email: str, first_name: str, last_name: str, password: str, company: Company
) -> tuple[User, bool]:
    """The login to give a place in `company`; True when it was made now. A known one keeps name and password."""
    if known := known_login(acting, email, company):
        return known, False
    person = User(username=free_username(email), email=email, first_name=first_name, last_name=last_name, is_staff=True)
    person.set_password(password)
    person.save()
    return person, True


def free_username(email: str) -> str:
    """The e-mail address; with something behind it when another company's login has it."""
    username = email.lower()[:130]
    taken = User.objects.filter(username__iexact=username).exists()
    return f"{username}+{secrets.token_hex(6)}" if taken else username


def rename(person: User, *, first_name: str, last_name: str, email: str) -> None:
    """Correct a person's name and address. The username follows the address."""
    if email.lower() != person.email.lower():
        person.username = free_username(email)
    person.first_name, person.last_name, person.email = first_name, last_name, email
    person.save(update_fields=["first_name", "last_name", "email", "username"])
