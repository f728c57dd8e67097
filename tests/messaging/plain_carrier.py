"""A carrier of the tests' own: what it posts is a JSON list of events, and its list is what a test puts there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from messaging.carriers.base import (
    Carrier,
    Event,
    InboundText,
    ListedOptOut,
    ListedText,
    NotUnderstood,
    OutboundText,
    Part,
    Refused,
    StatusUpdate,
    Unread,
    Visit,
    WebhookRequest,
)
from offices.credentials import Credentials

TOKEN = "Bearer plain"
Entry = ListedText | ListedOptOut


class PlainCarrier(Carrier):
    """Each event is an object with the `kind` text, status, visit or unread, and the event's own fields. Its requests
    carry TOKEN; by GET the list is the query. `entries` is the list, of which an exception is raised when its turn
    comes; `asked` are the windows it was asked for."""

    label = "Plain"
    HAS_LIST = True
    LISTS_SENT = True

    def __init__(self) -> None:
        self.entries: list[Entry | Exception] = []
        self.asked: list[tuple[datetime, datetime]] = []
        self.said: dict[str, str] = {}
        self.on_ask: Callable[[], None] = lambda: None

    def verify(self, credentials: Credentials, request: WebhookRequest) -> None:
        if request.header("Authorization") != TOKEN:
            raise Refused("The token is missing or wrong.")

    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        body = request.body if request.method == "POST" else unquote(request.query).encode()
        try:
            documents = json.loads(body)
        except ValueError:
            raise NotUnderstood("It is no JSON.") from None
        return [self.event(dict(document)) for document in documents]

    def event(self, document: dict[str, Any]) -> Event:
        kind = document.pop("kind", "text")
        if kind == "status":
            return StatusUpdate(**document)
        if kind == "visit":
            return Visit(**document)
        if kind == "unread":
            return Unread(**document)
        text = InboundText(**document)
        return replace(
            text,
            part=Part(*document["part"]) if document.get("part") else None,
            received_at=datetime.fromisoformat(document["received_at"]) if document.get("received_at") else None,
        )

    def send(self, credentials: Credentials, text: OutboundText) -> str:
        return f"plain-{text.reference}"

    def test(self, credentials: Credentials) -> str:
        return "It works."

    def listed(self, credentials: Credentials, since: datetime, until: datetime) -> Iterator[Entry]:
        self.asked.append((since, until))
        self.on_ask()
        for entry in self.entries:
            if isinstance(entry, Exception):
                raise entry
            yield entry

    def words(self, credentials: Credentials, message_id: str) -> str | None:
        return self.said.get(message_id)


def posted(*events: dict[str, Any], method: str = "POST", headers: dict[str, str] | None = None) -> WebhookRequest:
    """A request of the carrier's with these events."""
    body = json.dumps(events).encode()
    return WebhookRequest(
        method,
        "https://portal.example.com/" if method == "POST" else f"https://portal.example.com/?{body.decode()}",
        body if method == "POST" else b"",
        "application/json",
        {"Authorization": TOKEN, **(headers or {})},
    )


def utc(moment: datetime) -> datetime:
    """The moment as carriers write it: in whole seconds."""
    return moment.astimezone(UTC).replace(microsecond=0)
