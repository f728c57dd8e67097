"""What every carrier adapter takes and gives: plain values, no rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal

from offices.credentials import Credentials

State = Literal["sent", "delivered", "failed"]


@dataclass(frozen=True)
class Setting:
    """One thing that an account needs at its carrier. A secret is kept sealed, several at a time, and never shown.

    `choices` makes it a choice of (value, label). `pattern` is a regular expression for the whole value, and
    `help` says where to find it, and what is wrong when the pattern does not fit.
    """

    name: str
    label: str
    secret: bool = False
    required: bool = True
    help: str = ""
    pattern: str = ""
    choices: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Media:
    """One file of an MMS. `size` in bytes, None where the carrier does not say. It is listed and never fetched."""

    url: str
    content_type: str = ""
    size: int | None = None


@dataclass(frozen=True)
class Part:
    """Which part of a text that the network cut: 1 to `total`, of those with the same `reference` and sender."""

    reference: str
    number: int
    total: int


@dataclass(frozen=True)
class InboundText:
    """One received text. `sender` and `to` as the carrier writes them; `received_at` is None where it gives no time.

    `text` is None when the carrier does not say what was written: it may have been a STOP, so a person looks.
    `carrier_replied` when the carrier itself has answered the keyword already; `carrier_keyword` is the keyword
    that it understood, also by words that only the carrier knows.
    """

    sender: str
    to: str
    text: str | None
    message_id: str
    media: Sequence[Media] = ()
    received_at: datetime | None = None
    carrier_replied: bool = False
    carrier_keyword: Literal["STOP", "UNSTOP", "HELP", ""] = ""
    part: Part | None = None


@dataclass(frozen=True)
class StatusUpdate:
    """What became of a text that we sent. `state` is None for a status that is not known and changes nothing.

    `detail` is the carrier's own status and code, raw. `reference` is ours for the text, where the carrier says it:
    the only way to one whose id never reached us.
    """

    message_id: str
    state: State | None
    detail: str = ""
    opted_out: bool = False
    reference: str = ""


@dataclass(frozen=True)
class Visit:
    """An address that the carrier asks us to open once, so that it knows the webhook is ours. The adapter has made
    sure that it is the carrier's own."""

    url: str


@dataclass(frozen=True)
class Unread:
    """One of several things in a request that makes no sense to us. The others count; the request is kept."""

    reason: str


Event = InboundText | StatusUpdate | Visit | Unread


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

    @property
    def query(self) -> str:
        """What follows the question mark, undecoded."""
        return self.url.partition("?")[2]


@dataclass(frozen=True)
class ListedText:
    """One text as the carrier's own list has it. `text` is None where the list does not hold the words; `at` is when
    the carrier got it, in UTC; `state` and `detail` as in a status."""

    message_id: str
    is_inbound: bool
    sender: str
    to: str
    at: datetime
    text: str | None = None
    media: Sequence[Media] = ()
    state: State | None = None
    detail: str = ""
    opted_out: bool = False


@dataclass(frozen=True)
class ListedOptOut:
    """Somebody who opted out at the carrier. `number` is ours; empty when the carrier blocks all of the account's."""

    recipient: str
    number: str
    at: datetime | None
    detail: str


class Refused(Exception):
    """The request is not genuine: nothing of it is stored.

    `come_again`: the carrier is known to forget its signature now and then, so it is asked to send it once more.
    """

    def __init__(self, message: str, *, come_again: bool = False) -> None:
        super().__init__(message)
        self.come_again = come_again


class NotUnderstood(Exception):
    """The request is genuine, but makes no sense to us: it is kept for an operator. Says what is wrong."""


class CarrierError(Exception):
    """A carrier did not take a text.

    `permanent`: it never will. `opted_out`: because the recipient opted out there. `uncertain`: it may have
    taken it, so it must not be handed over again. `retry_after`: seconds that the carrier asks us to wait.
    `is_trouble`: the account or the carrier fails, not this one text: others would fare no better now.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        opted_out: bool = False,
        uncertain: bool = False,
        retry_after: float | None = None,
        is_trouble: bool = False,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.opted_out = opted_out
        self.uncertain = uncertain
        self.retry_after = retry_after
        self.is_trouble = is_trouble


class Carrier(ABC):
    """An adapter: one carrier's ways, without rows. Each setting `api_base` replaces the carrier's own address."""

    label: ClassVar[str]
    SETTINGS: ClassVar[Sequence[Setting]] = ()
    # How to connect it, a sentence a step; "{webhook}" stands for the address that the carrier posts to.
    STEPS: ClassVar[Sequence[str]] = ()
    # Whether the carrier answers a STOP by itself, as it comes; an account's own setting goes before it.
    ANSWERS_STOP: ClassVar[bool] = False
    # Whether `listed` can be asked; and whether it holds every text that we sent, so that one not in it never left.
    HAS_LIST: ClassVar[bool] = False
    LISTS_SENT: ClassVar[bool] = False

    @abstractmethod
    def verify(self, credentials: Credentials, request: WebhookRequest) -> None:
        """Raise Refused unless the carrier itself sent the request. Every secret that the account has may fit."""

    @abstractmethod
    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        """What a genuine request says. Raises NotUnderstood."""

    @abstractmethod
    def send(self, credentials: Credentials, text: OutboundText) -> str:
        """Hand over one text; returns the carrier's id for it. Raises CarrierError."""

    @abstractmethod
    def test(self, credentials: Credentials) -> str:
        """Ask the carrier something that costs nothing and changes nothing, with the account's newest secrets.

        Returns a sentence about what it said. Raises CarrierError with one that says how to mend it.
        """

    def answer(self) -> tuple[str, bytes]:
        """Content type and body of the answer to a webhook that is settled."""
        return "application/json", b"{}"

    def listed(self, credentials: Credentials, since: datetime, until: datetime) -> Iterator[ListedText | ListedOptOut]:
        """The carrier's own list of texts between two moments, and of who has opted out; every page of it.

        Raises CarrierError; what came before it is true, and nothing follows from what did not come.
        """
        raise NotImplementedError

    def words(self, credentials: Credentials, message_id: str) -> str | None:
        """The words of one received text that the list names without them; None when the carrier does not tell.

        Asked only for texts that never reached us. Raises CarrierError.
        """
        return None
