"""Bandwidth: JSON arrays posted with HTTP Basic; REST to send and to list, with OAuth or, for old accounts, Basic.

The password covers nothing of the body: whoever has seen one request could forge any other. What protects is that
Bandwidth comes by HTTPS only, so that nobody sees one, and that the webhook's address holds a long random part of its
own beside the password.
Sources: Bandwidth's developer pages "Webhooks", "Create Message", "List Messages", "Errors" and "API User Migration",
and its support page "Does Bandwidth handle opt-in and opt-out keywords?".
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

import httpx

from messaging.carriers import http, reading, signing
from messaging.carriers.base import (
    Carrier,
    CarrierError,
    Event,
    InboundText,
    ListedOptOut,
    ListedText,
    Media,
    NotUnderstood,
    OutboundText,
    Setting,
    State,
    StatusUpdate,
    Unread,
    WebhookRequest,
)
from offices.credentials import Credentials

API = "https://messaging.bandwidth.com/api/v2"
TOKENS = "https://api.bandwidth.com/api/v1/oauth2/token"
# Both are called "destination-rejected-due-to-user-opt-out": 4775 by the recipient's carrier, 4475 by Bandwidth itself,
# whose toll-free network keeps a list. 4470 and 4770 are spam, 4482 and 4772 other blocks: no wish of the recipient's.
OPTED_OUT = (4475, 4775)
STATES: dict[str, State] = {
    "message-sending": "sent",
    "message-sent": "sent",
    "message-delivered": "delivered",
    "message-read": "delivered",
    "message-failed": "failed",
}
LISTED_STATES: dict[str, State] = {
    "QUEUED": "sent",
    "SENDING": "sent",
    "SENT": "sent",
    "ACCEPTED": "sent",
    "DELIVERED": "delivered",
    "UNDELIVERED": "failed",
    "FAILED": "failed",
}
# A search shows no more than this many texts, however many pages are turned.
MOST_LISTED = 10_000
A_PAGE = 1000
EARLY = 60  # seconds before its end that a token is no longer used
# By address, client and secret: the token, and the monotonic time at which it ends.
_tokens: dict[tuple[str, str, str], tuple[str, float]] = {}


class Bandwidth(Carrier):
    label = "Bandwidth"
    SETTINGS: ClassVar[Sequence[Setting]] = (
        Setting(
            "account_id",
            "Account ID",
            pattern=r"[0-9]{1,12}",
            help="Bandwidth App, Account: the number beside your company's name.",
        ),
        Setting(
            "application_id",
            "Application ID",
            pattern=r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
            help="Bandwidth App, Applications, the messaging application: its ID.",
        ),
        Setting(
            "client_id",
            "Client ID",
            required=False,
            help="Bandwidth App, Account, API Credentials, Add Credential. Needs a role for messaging.",
        ),
        Setting(
            "client_secret",
            "Client secret",
            secret=True,
            required=False,
            help="Shown once, when the credential is made. Bandwidth lets two stand side by side.",
        ),
        Setting(
            "api_user",
            "API user (old accounts)",
            required=False,
            help="Only while you have no client ID: Bandwidth has announced the end of API users.",
        ),
        Setting("api_password", "API user's password (old accounts)", secret=True, required=False),
        Setting(
            "webhook_user",
            "Webhook user name",
            pattern=r"[^:\s]+",
            help="A name that you make up and enter in the application as the callback's user name.",
        ),
        Setting(
            "webhook_password",
            "Webhook password",
            secret=True,
            help="Make up a long random one and enter it in the application as the callback's password. Besides the "
            "address, nothing else tells Bandwidth's requests from a stranger's.",
        ),
    )
    STEPS: ClassVar[Sequence[str]] = (
        "In the Bandwidth App open Applications and choose your messaging application, or make one of the type "
        "Messaging.",
        "Put {webhook} into “Inbound callback URL” and into “Status callback URL”. It must be the https address.",
        "Make up a user name and a long password. Enter them as the callback's user ID and password, for both "
        "addresses, and here as webhook user name and password.",
        "Link the application with the location (sub-account) that your numbers are in, and switch SMS and MMS on.",
        "Under Account, API Credentials choose Add Credential with a messaging role; enter its client ID and secret "
        "here. Until then an old API user works as long as Bandwidth lets it.",
        "Bandwidth answers a STOP to a toll-free number only. To all others the portal answers.",
    )
    ANSWERS_STOP = False
    # How soon a text of ours is in the list is not told, so one that is missing proves nothing.
    HAS_LIST = True

    def verify(self, credentials: Credentials, request: WebhookRequest) -> None:
        user = credentials.get("webhook_user")
        signing.check_basic(request, [(user, password) for password in credentials.all("webhook_password")])

    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        """Every element of the array; one alone without its brackets is read as well."""
        given = reading.json_value(request.body)
        if not isinstance(given, list | dict):
            raise NotUnderstood("The body is no list of events.")
        events: list[Event] = []
        for one in given if isinstance(given, list) else [given]:
            try:
                events.append(_event(reading.mapping(one)))
            except NotUnderstood as error:
                events.append(Unread(str(error)))
        if events and all(isinstance(event, Unread) for event in events):
            raise NotUnderstood("; ".join(dict.fromkeys(event.reason for event in events if isinstance(event, Unread))))
        return events

    def send(self, credentials: Credentials, text: OutboundText) -> str:
        document: dict[str, Any] = {
            "applicationId": credentials.get("application_id"),
            "from": text.sender,
            "to": [text.to],
            "tag": text.reference,
        }
        if text.text or not text.media:
            document["text"] = text.text
        if text.media:
            document["media"] = [media.url for media in text.media]
        response = http.post(_messages(credentials), json=document, headers=_authorization(credentials))
        if not response.is_success:
            raise _refusal(credentials, response)
        if not (found := reading.string(http.json_answer(response).get("id"))):
            raise CarrierError("Bandwidth took the text but gave no id.", uncertain=True)
        return found

    def test(self, credentials: Credentials) -> str:
        now = datetime.now(UTC)
        _search(credentials, {**_between(now - timedelta(minutes=1), now), "limit": "1"})
        return "Bandwidth knows the account and lets it see its messages."

    def listed(self, credentials: Credentials, since: datetime, until: datetime) -> Iterator[ListedText | ListedOptOut]:
        """The texts between the two moments, without their words, which Bandwidth does not keep. It remembers 14 days.

        More texts than a search shows are asked for in two halves of the time.
        """
        query = {**_between(since, until), "limit": str(A_PAGE)}
        answer = _search(credentials, query)
        total = answer.get("totalCount")
        if isinstance(total, int) and total >= MOST_LISTED and until - since > timedelta(seconds=2):
            half = since + (until - since) / 2
            yield from self.listed(credentials, since, half)
            yield from self.listed(credentials, half, until)
            return
        for _ in range(MOST_LISTED):
            for found in map(reading.mapping, reading.items(answer.get("messages"))):
                if listed := _listed(found):
                    yield listed
            # The token, and never the link beside it: an address in an answer may lead anywhere.
            token = reading.string(reading.mapping(answer.get("pageInfo")).get("nextPageToken"))
            if not token:
                return
            answer = _search(credentials, {**query, "pageToken": token})


def _event(given: Mapping[str, Any]) -> Event:
    message = reading.mapping(given.get("message"))
    kind = reading.string(given.get("type"))
    found_id = reading.message_id(message.get("id"), "message.id")
    if kind == "message-received":
        return _text(given, message, found_id)
    if kind in STATES or reading.string(message.get("direction")).lower() == "out":
        code = reading.string(given.get("errorCode"))
        return StatusUpdate(
            found_id,
            STATES.get(kind),
            f"{kind} {code}".strip(),
            kind == "message-failed" and code in map(str, OPTED_OUT),
            reading.string(message.get("tag")),
        )
    raise NotUnderstood(f"The type {kind[:40]!r} is not known.")


def _text(given: Mapping[str, Any], message: Mapping[str, Any], found_id: str) -> InboundText:
    sender = reading.string(message.get("from"))
    # `message.to` holds everybody of a group; `owner` is the one of ours that this event is for.
    to = reading.string(message.get("owner")) or reading.string(given.get("to"))
    if not sender or not to:
        raise NotUnderstood("There is no message.from or no message.owner.")
    media = [Media(url) for url in map(reading.string, reading.items(message.get("media"))) if url]
    text = message.get("text")
    if not isinstance(text, str):
        # A picture may come without words. Without a picture nobody knows what was written.
        text = "" if media else None
    return InboundText(
        sender=sender,
        to=to,
        text=text,
        message_id=found_id,
        media=media,
        received_at=reading.moment(message.get("time")) or reading.moment(given.get("time")),
    )


def _listed(found: Mapping[str, Any]) -> ListedText | None:
    found_id, at = reading.string(found.get("messageId")), reading.moment(found.get("receiveTime"))
    if not found_id or at is None:
        return None
    is_inbound = reading.string(found.get("messageDirection")).upper() == "INBOUND"
    status, code = reading.string(found.get("messageStatus")).upper(), reading.string(found.get("errorCode"))
    return ListedText(
        message_id=found_id,
        is_inbound=is_inbound,
        sender=reading.string(found.get("sourceTn")),
        to=reading.string(found.get("destinationTn")),
        at=at,
        state=None if is_inbound else LISTED_STATES.get(status),
        detail=f"{status} {code if code != '0' else ''}".strip(),
        opted_out=not is_inbound and code in map(str, OPTED_OUT),
    )


def _between(since: datetime, until: datetime) -> dict[str, str]:
    return {
        "fromDateTime": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        # Rounded up, so that the last second is looked at.
        "toDateTime": (until.astimezone(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }


def _search(credentials: Credentials, query: Mapping[str, str]) -> dict[str, Any]:
    response = http.get(_messages(credentials), params=query, headers=_authorization(credentials))
    if not response.is_success:
        raise _refusal(credentials, response)
    return http.json_answer(response)


def _refusal(credentials: Credentials, response: httpx.Response) -> CarrierError:
    if response.status_code == 401:
        # A token may end early: the next attempt fetches another.
        _tokens.pop(_client(credentials), None)
        return http.refuse(response, "Bandwidth does not know the client ID and secret, or the API user and password.")
    answer = http.json_answer(response)
    details = [reading.mapping(one) for one in reading.items(answer.get("fieldErrors"))]
    lines = [answer.get("type"), answer.get("description"), *(one.get("description") for one in details)]
    detail = " ".join(filter(None, map(reading.string, lines))) or response.reason_phrase
    # It repeats phone numbers: no more than their last four digits stay.
    return http.refuse(response, re.sub(r"\+?\d{3,}(?=\d{4})", "…", detail))


def _messages(credentials: Credentials) -> str:
    base = (credentials.get("api_base") or API).rstrip("/")
    return f"{base}/users/{quote(credentials.get('account_id'), safe='')}/messages"


def _authorization(credentials: Credentials) -> dict[str, str]:
    """The header that signs in. By client ID and secret where there are any, since Bandwidth ends API users."""
    if credentials.get("client_id"):
        return {"Authorization": f"Bearer {_token(credentials)}"}
    if not credentials.get("api_user"):
        raise CarrierError("Enter the client ID and secret of an API credential of Bandwidth.", is_trouble=True)
    return {"Authorization": _basic(credentials.get("api_user"), credentials.get("api_password"))}


def _basic(name: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


def _client(credentials: Credentials) -> tuple[str, str, str]:
    return credentials.get("api_base"), credentials.get("client_id"), credentials.get("client_secret")


def _token(credentials: Credentials) -> str:
    """A token of the OAuth client, from before or fetched now. Raises CarrierError, never uncertain: no text was in it.

    Fetched twice when two threads need it at the same moment, which does no harm.
    """
    base, name, secret = client = _client(credentials)
    now = time.monotonic()
    if client in _tokens and _tokens[client][1] > now:
        return _tokens[client][0]
    try:
        response = http.post(
            f"{base.rstrip('/')}/oauth2/token" if base else TOKENS,
            data={"grant_type": "client_credentials"},
            headers={"Authorization": _basic(name, secret)},
        )
    except CarrierError as error:
        error.uncertain = False
        raise
    answer = http.json_answer(response)
    token, lasts = reading.string(answer.get("access_token")), answer.get("expires_in")
    if not response.is_success or not token:
        raise CarrierError(
            f"HTTP {response.status_code}: Bandwidth gives no token for this client ID and secret.",
            retry_after=http.retry_after(response.headers),
            is_trouble=True,
        )
    for other in [other for other, (_, ends) in list(_tokens.items()) if ends <= now]:
        _tokens.pop(other, None)
    _tokens[client] = token, now + (lasts if isinstance(lasts, int) else 300) - EARLY
    return token
