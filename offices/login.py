"""Signing in by e-mail address."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.db.models import Q
from django.http import HttpRequest
from unfold.forms import AuthenticationForm

from offices.models import User

MOST_LOGINS = 10  # of one address; each costs a slow hash


class EmailBackend(ModelBackend):
    """By username or e-mail address. Several companies may each have a login for one address: the password
    tells which is meant."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if not username or password is None:
            return None
        named = User.objects.filter(Q(username__iexact=username) | Q(email__iexact=username)).order_by("pk")
        people = list(named[:MOST_LOGINS])
        for person in people:
            if person.check_password(password) and self.user_can_authenticate(person):
                return person
        if not people:
            # As long as for an address that is known.
            User().set_password(password)
        return None


class SignInForm(AuthenticationForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "E-mail address"
