"""What all carriers' tests share: the address that carriers call, an account of each, and a server that plays one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.messaging.carriers.loopback import Loopback, forget_client, loopback
from tests.messaging.carriers.scene import PUBLIC_URL


@pytest.fixture(autouse=True)
def _public_url(settings: Any) -> None:
    settings.PUBLIC_URL = PUBLIC_URL


@pytest.fixture
def server() -> Iterator[Loopback]:
    """A server on this machine that plays the carrier, and a client that has not spoken with anybody yet."""
    forget_client()
    with loopback() as played:
        yield played
    forget_client()
