"""What all tests share."""

from collections.abc import Iterator

import pytest

from tests import flush


@pytest.fixture(scope="session", autouse=True)
def _flush_past_triggers() -> Iterator[None]:
    with flush.past_triggers():
        yield
