"""The one HTTP client that hands texts to carriers: connections are kept, every wait has an end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx
from django.conf import settings

from messaging.carriers.base import CarrierError

_client: list[httpx.Client] = []


def post(url: str, **kwargs: Any) -> httpx.Response:
    """POST and return the answer, whatever its status.

    Raises CarrierError: passing when the request cannot have arrived, uncertain when it may have.
    """
    if not _client:
        _client.append(httpx.Client(timeout=settings.CARRIER_TIMEOUT, follow_redirects=False))
    try:
        return _client[0].post(url, **kwargs)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise CarrierError(f"No connection to the carrier: {error}") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise CarrierError(f"The carrier's address is wrong: {error}", permanent=True) from error
    except httpx.LocalProtocolError as error:
        # Before a byte has left: a token that holds a line break, say.
        raise CarrierError(
            "The account's address or token cannot be written into a request.", permanent=True
        ) from error
    except httpx.HTTPError as error:
        # The carrier may have read the request before the line broke.
        raise CarrierError(f"No answer from the carrier: {type(error).__name__}", uncertain=True) from error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a carrier asks us to wait, when it says so in seconds."""
    value = headers.get("Retry-After", "")
    # Bounded, so that the moment it leads to can be written down.
    return float(value) if re.fullmatch(r"[0-9]{1,7}", value) else None


def refuse(response: httpx.Response, detail: str, *, opted_out: bool = False) -> CarrierError:
    """The error for an answer that is no success: 429 and 5xx pass, everything else stays."""
    passing = response.status_code == 429 or response.status_code >= 500
    return CarrierError(
        f"HTTP {response.status_code}: {detail[:500]}",
        permanent=not passing,
        opted_out=opted_out,
        retry_after=retry_after(response.headers),
    )
