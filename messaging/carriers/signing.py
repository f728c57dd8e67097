"""What several carriers' signatures have in common: compared in constant time, as bytes, and no older than allowed."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Iterable

from messaging.carriers.base import Refused, WebhookRequest

WINDOW = 300  # seconds that a signed time may be off


def same(given: str, expected: str | bytes) -> bool:
    """Compare in constant time. As bytes: a header with other than ASCII in it must not raise."""
    wanted = expected.encode("utf-8", "surrogatepass") if isinstance(expected, str) else expected
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted)


def any_same(given: Iterable[str], expected: Iterable[str | bytes]) -> bool:
    """True when one of those given is one of those expected. All are compared: the time does not tell which."""
    expected = list(expected)
    return any([same(one, other) for one in given for other in expected])


def check_fresh(seconds: str | float, window: int = WINDOW) -> None:
    """Raise Refused unless the moment, in seconds since 1970, is now: at most `window` seconds ago, or WINDOW ahead."""
    try:
        age = time.time() - float(seconds)
    except (TypeError, ValueError, OverflowError):
        raise Refused("The signed time cannot be read.") from None
    if not -WINDOW <= age <= window:  # also for “nan”
        raise Refused(
            f"The signed time is not within {window} seconds ago and {WINDOW} ahead. Is this machine's clock right?"
        )


def check_basic(request: WebhookRequest, expected: Iterable[tuple[str, str]]) -> None:
    """Raise Refused unless the request signs in by HTTP Basic with one of the expected pairs of name and password.

    Pairs with an empty password never fit.
    """
    scheme, _, encoded = request.header("Authorization").partition(" ")
    try:
        given = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        given = ""
    fitting = [f"{name}:{password}" for name, password in expected if password]
    if scheme.lower() != "basic" or not any_same([given], fitting):
        raise Refused("The name and password of HTTP Basic do not fit.")
