"""The one HTTP client that speaks with carriers: connections are kept, every wait and every answer has an end."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore
import httpx
from django.conf import settings

from messaging.carriers.base import CarrierError

LONGEST_ANSWER = 8 * 1024 * 1024  # bytes
_client: list[httpx.Client] = []
_hurry = threading.local()  # `ends` is the moment at which this thread's request must be over


class _Stream(httpcore.NetworkStream):
    """A connection on which no read or write lasts longer than until the request's end. The client's own limit is for
    each byte or two: who sends one now and then, in the headers say, would keep a worker for ever."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self.stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self.stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(*args, **kwargs))


def _left(timeout: float | None, too_late: type[Exception]) -> float:
    left: float = _hurry.ends - time.monotonic()
    if left <= 0:
        raise too_late("The answer has no end.")
    return left if timeout is None else min(left, timeout)


def _new_client() -> httpx.Client:
    """Connections are shared between accounts, cookies are not: none are kept."""
    client = httpx.Client(
        timeout=settings.CARRIER_TIMEOUT,
        limits=httpx.Limits(max_keepalive_connections=100),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )
    for transport in (client._transport, *client._mounts.values()):  # the latter by way of a proxy, if one is set
        if isinstance(transport, httpx.HTTPTransport):
            # httpx has no place of its own to say this; a test fails if these names change.
            transport._pool._network_backend = _Backend()
    return client


def post(url: str, **kwargs: Any) -> httpx.Response:
    """POST and return the answer, whatever its status.

    Raises CarrierError: passing when the request cannot have arrived, uncertain when it may have.
    """
    return request("POST", url, **kwargs)


def get(url: str, **kwargs: Any) -> httpx.Response:
    """GET, as post. An answer that does not come is a passing error: nothing was handed over."""
    try:
        return request("GET", url, **kwargs)
    except CarrierError as error:
        error.uncertain = False
        raise


def request(method: str, url: str, **kwargs: Any) -> httpx.Response:
    """One request, read to its end within twice CARRIER_TIMEOUT, however slowly the carrier drips."""
    if not _client:
        _client.append(_new_client())
    _hurry.ends = ends = time.monotonic() + 2 * settings.CARRIER_TIMEOUT
    try:
        asked = _client[0].build_request(method, url, **{k: v for k, v in kwargs.items() if k != "auth"})
        auth = {"auth": kwargs["auth"]} if "auth" in kwargs else {}
        response = _client[0].send(asked, stream=True, **auth)
        try:
            content = b""
            for chunk in response.iter_bytes():
                content += chunk
                if time.monotonic() > ends or len(content) > LONGEST_ANSWER:
                    raise httpx.ReadTimeout("The answer has no end.")
        finally:
            response.close()
        # As bytes: a header with other than ASCII in it must not raise.
        decoded = [(k, v) for k, v in response.headers.raw if k.lower() != b"content-encoding"]
        return httpx.Response(response.status_code, headers=decoded, content=content, request=response.request)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise CarrierError(f"No connection to the carrier: {error}", is_trouble=True) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise CarrierError(f"The carrier's address is wrong: {error}", permanent=True) from error
    except (httpx.LocalProtocolError, UnicodeEncodeError) as error:
        # Before a byte has left: a token that holds a line break, or a sign that was copied with it.
        raise CarrierError(
            "The account's address or token cannot be written into a request. Enter it anew.", is_trouble=True
        ) from error
    except httpx.HTTPError as error:
        # The carrier may have read the request before the line broke.
        raise CarrierError(
            f"No answer from the carrier: {type(error).__name__}", uncertain=True, is_trouble=True
        ) from error


def json_answer(response: httpx.Response) -> dict[str, Any]:
    """The answer's JSON object; an empty one when it is none."""
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def next_page(url: str, link: str) -> str:
    """The address of the page after `url` that the carrier's list names; empty for none. Raises CarrierError for one on
    another host: it would be asked with our token."""
    if not link:
        return ""
    try:
        found = urljoin(url, link)
        is_there = urlsplit(found)[:2] == urlsplit(url)[:2]
    except ValueError:
        is_there = False
    if not is_there:
        raise CarrierError("The next page of the list is said to be on another host. It was not opened.")
    return found


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a carrier asks us to wait, in either form of RFC 9110, section 10.2.3."""
    value = headers.get("Retry-After", "").strip()
    # Bounded, so that the moment it leads to can be written down.
    if re.fullmatch(r"[0-9]{1,7}", value):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), 9_999_999.0)


def refuse(response: httpx.Response, detail: str, *, opted_out: bool = False) -> CarrierError:
    """The error for an answer that is no success. 429 and 5xx pass; so do a wrong password, a missing right and an
    unpaid bill, which are the account's trouble and not the text's; everything else stays."""
    status = response.status_code
    if status == 504 and not opted_out:
        # A proxy of the carrier's gave up waiting: what is behind it may have taken the text.
        return CarrierError(f"HTTP 504: {detail[:500]}", uncertain=True, is_trouble=True)
    is_trouble = not opted_out and (status in (401, 402, 403, 407, 408, 429) or status >= 500)
    return CarrierError(
        f"HTTP {status}: {detail[:500]}",
        permanent=not is_trouble,
        opted_out=opted_out,
        retry_after=retry_after(response.headers),
        is_trouble=is_trouble,
    )
