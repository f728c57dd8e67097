"""Secrets of carrier accounts: sealed in the database by a key made from SECRET_KEY, open only in memory."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

PURPOSE = b"carrier credentials"


class Unreadable(Exception):
    """A sealed secret was made with a SECRET_KEY that is no longer known."""


@dataclass(frozen=True)
class Credentials:
    """What an account needs at its carrier. Of a secret there may be several at a time: the newest comes first, and
    is what we sign and sign in with; what a carrier signs may fit any of them."""

    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    # Names of secrets that are kept, but were sealed with a SECRET_KEY that is no longer known.
    unreadable: frozenset[str] = frozenset()

    def get(self, name: str) -> str:
        """The setting or the newest secret of that name; empty when there is none."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> Sequence[str]:
        """Every secret of that name, the newest first; the setting of that name when there is no secret."""
        return tuple(filter(None, self.secrets.get(name) or [self.settings.get(name, "")]))

    def has(self, name: str) -> bool:
        """Whether a secret of that name is kept, be it readable or not: who signs must not be taken unsigned."""
        return bool(self.all(name)) or name in self.unreadable


def seal(secret: str) -> str:
    """The secret as the database keeps it: encrypted and authenticated (Fernet: AES-128-CBC, HMAC-SHA256)."""
    return _keys(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS).encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """The secret again. Raises Unreadable."""
    try:
        return _keys(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise Unreadable("It was sealed with another SECRET_KEY. Enter it anew.") from None


@lru_cache(maxsize=8)
def _keys(*secret_keys: str) -> MultiFernet:
    derived = [HKDF(SHA256(), 32, salt=None, info=PURPOSE).derive(key.encode()) for key in secret_keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])
