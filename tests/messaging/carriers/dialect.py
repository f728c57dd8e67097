"""What a carrier's way of speaking looks like to the tests that hold every adapter to the same promises.

`tests/messaging/carriers/dialects/<carrier>.py` has one Dialect a carrier, named DIALECT; its payloads are files under
`tests/messaging/payloads/<carrier>/`, byte for byte as that carrier posts them.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

PAYLOADS = Path(__file__).resolve().parent.parent / "payloads"
OURS = "+12025550100"  # the account's number in every payload
SENDER = "+12025550143"  # the person who texts it, and whom our texts go to
# Where carriers that sign within the body put the signature: in a form or query, in JSON, at the end of a JWT.
SIGNATURE_WITHIN = re.compile(r'(?:^|&)sig=([^&]*)|"(?:sig|Signature)"\s*:\s*"([^"]*)"|\.([A-Za-z0-9_-]*)\s*\Z')


@dataclass(frozen=True)
class Posted:
    """One HTTP request to the account's webhook. `query` goes behind the address, without a question mark."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    method: Literal["POST", "GET"] = "POST"


@dataclass(frozen=True)
class Case:
    """One payload and what must come of it.

    `kind` "text": from SENDER to OURS, stored with `text`, `outcome`, `media` files and `message_id`.
    "status": about our text that has `message_id` (it is in state sent before), which is then in `state`; with
    `opted_out` the recipient has an opt-out of the carrier's for OURS as well.
    "ignored": genuine, changes nothing, answered with success. "not understood": kept for the operator.
    """

    file: str
    kind: Literal["text", "status", "ignored", "not understood"]
    message_id: str = ""
    text: str = ""
    outcome: str = "conversation"
    media: int = 0
    replied: bool = False  # the carrier says that it has answered: no second answer may leave
    state: str = ""
    opted_out: bool = False
    query: str = ""  # for those that post by GET, or carry something of ours in the address
    method: Literal["POST", "GET"] = "POST"


@dataclass(frozen=True)
class Answer:
    """What a carrier answers to a text handed over."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})

    @classmethod
    def json(cls, status: int, document: object, **headers: str) -> Answer:
        return cls(status, json.dumps(document).encode(), {"Content-Type": "application/json", **headers})


@dataclass(frozen=True)
class Asked:
    """One request that the portal made to the carrier's server."""

    method: str
    path: str  # with its query
    headers: Mapping[str, str]
    body: bytes
    client: object = None  # the connection's other end


class Dialect(ABC):
    carrier: ClassVar[str]
    # The account's settings and secrets. `api_base` is added by the tests: the address of the carrier's server.
    settings: ClassVar[Mapping[str, str]] = {}
    secrets: ClassVar[Mapping[str, str]] = {}
    # The secret among them that signs webhooks.
    signing_secret: ClassVar[str]
    content_type: ClassVar[str] = "application/json"
    cases: ClassVar[Sequence[Case]]
    # Whether the signature covers the body, and holds a time that must be near.
    covers_body: ClassVar[bool] = True
    has_window: ClassVar[bool] = False
    # Seconds after which a signed time is too old for sure, where it is.
    stale_after: ClassVar[int] = 3600
    # The headers without which a request is refused; empty when the signature is within the body.
    signature_headers: ClassVar[Sequence[str]] = ()
    # Whether the account may have several signing secrets at a time; not where the carrier signs with a key of its own.
    rotates: ClassVar[bool] = True
    # What is different in the settings of another account at the same carrier, besides its signing secret.
    elsewhere: ClassVar[Mapping[str, str]] = {}

    def prepare(self) -> None:
        """Put in place what requests of this carrier are checked with, where it would come through the network."""
        return None

    def secret(self) -> str:
        """What signs the account's webhooks."""
        name = self.signing_secret
        return self.secrets.get(name) or self.settings.get(name) or name

    def another_secret(self) -> str:
        """One more signing secret, as the carrier would make it: the next one of this account, or somebody else's."""
        return f"another-{self.secret()}"

    def payload(self, case: Case) -> bytes:
        return (PAYLOADS / self.carrier / case.file).read_bytes()

    @abstractmethod
    def sign(self, url: str, case: Case, body: bytes, secret: str, at: float) -> Posted:
        """The request as the carrier would post `body` to `url`, signed with `secret` at `at` (seconds since 1970).

        Written anew from the vendor's description, not by calling the adapter. `url` is without a query.
        """

    @abstractmethod
    def with_unknown_fields(self, body: bytes) -> bytes:
        """The payload of a text with fields that no vendor has described, as they will be added one day."""

    @abstractmethod
    def another_text(self, body: bytes, text: str, message_id: str) -> bytes:
        """The payload of a text with other words and another id, otherwise as it is."""

    @abstractmethod
    def taken(self, message_id: str) -> Answer:
        """The carrier has taken the text, and its id for it is `message_id`."""

    def opted_out(self) -> Answer | None:
        """The recipient has opted out at the carrier; None where its answer never says so."""
        return None

    @abstractmethod
    def handed_over(self, asked: Asked) -> tuple[str, str, str]:
        """Sender (as E.164), recipient (as E.164) and words of the text that a request hands over."""

    def busy(self, seconds: int) -> Answer:
        """The carrier takes nothing for that many seconds, and says so."""
        return Answer.json(429, {"message": "Too many requests"}, **{"Retry-After": str(seconds)})

    def failing(self) -> Answer:
        """The carrier has a fault that will pass."""
        return Answer.json(503, {"message": "Service unavailable"})

    def locked_out(self) -> Answer:
        """The account's credentials are wrong."""
        return Answer.json(401, {"message": "Unauthorized"})

    def senseless(self) -> Answer:
        """The carrier will never take this text, and not because of an opt-out."""
        return Answer.json(400, {"message": "Bad request"})

    def with_signature(self, posted: Posted, change: Callable[[str], str]) -> Posted:
        """The request with its signature changed: where there is no header for it, within the body or the query."""
        if self.signature_headers:
            name = self.signature_headers[0]
            return replace(posted, headers={**posted.headers, name: change(posted.headers[name])})
        body = posted.body.decode("utf-8", "surrogateescape")
        if found := _signature_in(body):
            changed = body[: found.start] + change(body[found]) + body[found.stop :]
            return replace(posted, body=changed.encode("utf-8", "surrogateescape"))
        found = _signature_in(posted.query)
        assert found, f"{self.carrier}: no signature in {posted.body[:200]!r} or {posted.query!r}"
        return replace(
            posted, query=posted.query[: found.start] + change(posted.query[found]) + posted.query[found.stop :]
        )

    def signature_of(self, posted: Posted) -> str:
        """The signature within the body or the query."""
        body = posted.body.decode("utf-8", "surrogateescape")
        text = body if _signature_in(body) else posted.query
        found = _signature_in(text)
        assert found
        return text[found]

    def with_signature_of(self, posted: Posted, genuine: Posted) -> Posted:
        """The request with the signature of another one, which is genuine."""
        if self.signature_headers:
            taken = {name: genuine.headers[name] for name in self.signature_headers}
            return replace(posted, headers={**posted.headers, **taken})
        stolen = self.signature_of(genuine)
        return self.with_signature(posted, lambda _: stolen)


def _signature_in(text: str) -> slice | None:
    found = next(iter(SIGNATURE_WITHIN.finditer(text)), None)
    return slice(*found.span(found.lastindex or 0)) if found else None
