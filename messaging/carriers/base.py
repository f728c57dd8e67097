"""What every carrier adapter takes and gives: plain values, no rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, Protocol


@dataclass(frozen=True)
class Media:
    url: str
    content_type: str = ""


@dataclass(frozen=True)
class InboundText:
    """One received text. `sender` and `to` as the carrier writes them; `received_at` is None where it gives no
    time; `carrier_replied` when the carrier itself has answered the keyword already."""

    sender: str
    to: str
    text: str
    message_id: str
    media: Sequence[Media] = ()
    received_at: datetime | None = None
    carrier_replied: bool = False


@dataclass(frozen=True)
class StatusUpdate:
    """What became of a text that we sent. `state` is None for a status that is not known and changes nothing.

    `reference` is ours for the text, where the carrier says it: the only way to one whose id never reached us.
    """

    message_id: str
    state: Literal["sent", "delivered", "failed"] | None
    detail: str = ""
    opted_out: bool = False
    reference: str = ""


@dataclass(frozen=True)
class OutboundText:
    """One text to hand over. `reference` is ours and never changes for it; `status_url` is where statuses go."""

    sender: str
    to: str
    text: str
    reference: str
    status_url: str
    media: Sequence[Media] = ()


@dataclass(frozen=True)
class WebhookRequest:
    """A request as it came: raw bytes, and the public address that the carrier called, with its query.

    `carrier` names the format where it is not that of the account: the inbound API is always generic.
    """

    method: str
    url: str
    body: bytes
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    carrier: str = ""

    def header(self, name: str) -> str:
        """The header's value whatever the letter case of its name; empty when it is not there."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), "")


class Refused(Exception):
    """The request is not genuine: nothing of it is stored."""


class NotUnderstood(Exception):
    """The request is genuine, but makes no sense to us: it is kept for an operator. Says what is wrong."""


class CarrierError(Exception):
    """A carrier did not take a text.

    `permanent`: it never will. `opted_out`: because the recipient opted out there. `uncertain`: it may have
    taken it, so it must not be handed over again. `retry_after`: seconds that the carrier asks us to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        opted_out: bool = False,
        uncertain: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.opted_out = opted_out
        self.uncertain = uncertain
        self.retry_after = retry_after


class Carrier(Protocol):
    """An adapter. `CREDENTIALS` names what an account needs: key, label, and whether it is a secret."""

    CREDENTIALS: ClassVar[Sequence[tuple[str, str, bool]]]

    def verify(self, credentials: Mapping[str, str], request: WebhookRequest) -> None:
        """Raise Refused unless the carrier itself sent the request."""

    def parse(self, request: WebhookRequest) -> Sequence[InboundText | StatusUpdate]:
        """What a genuine request says. Raises NotUnderstood."""

    def send(self, credentials: Mapping[str, str], text: OutboundText) -> str:
        """Hand over one text; returns the carrier's id for it. Raises CarrierError."""

    def answer(self) -> tuple[str, bytes]:
        """Content type and body of the answer to a webhook that is settled."""
