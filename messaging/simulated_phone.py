"""A recipient's phone for demo and development: its texts go through the real webhooks, not around them."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from messaging.carriers import twilio
from messaging.models import Message
from offices.models import ApiToken, CarrierAccount, Number
from offices.models.tokens import issue

TOKEN_NAME = "Phone simulator"
TOKEN_LIVES = timedelta(hours=1)
# Only a token's digest is stored: its secret is in this process alone, by account, until it ends.
_secrets: dict[int, tuple[str, datetime]] = {}


@dataclass(frozen=True)
class Answer:
    """What the webhook answered: its status (0 for none), and a sentence about it."""

    status: int
    words: str

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def text(number: Number, sender: str, words: str, *, base: str, host: str) -> Answer:
    """Text `words` from the phone `sender` (E.164) to `number`. `base` is this server's own address ("http://127.0.0.1:8000"),
    `host` the name that it is asked by."""
    message_id = f"SM{secrets.token_hex(16)}"
    # Not by way of a proxy that the environment may name, and long enough for a webhook that waits for a lock.
    with httpx.Client(base_url=base, headers={"Host": host}, timeout=20, trust_env=False) as client:
        try:
            if number.account.carrier == CarrierAccount.Carrier.TWILIO:
                response = _as_twilio(client, number, sender, words, message_id)
            else:
                response = _as_gateway(client, number, sender, words, message_id)
        except httpx.HTTPError as error:
            return Answer(0, f"The webhook did not answer: {type(error).__name__}.")
    return _answer(response, number.account, message_id)


def _as_gateway(client: httpx.Client, number: Number, sender: str, words: str, message_id: str) -> httpx.Response:
    """Through the documented inbound API, with a token of the number's account."""
    for is_fresh in (False, True):
        response = client.post(
            reverse("api:inbound"),
            json={
                "from": sender,
                "to": number.e164,
                "text": words,
                "message_id": message_id,
                "received_at": timezone.now().isoformat(),
            },
            headers={"Authorization": f"Bearer {_secret(number.account, is_fresh=is_fresh)}"},
        )
        if response.status_code != 401:  # the token may have been revoked
            break
    return response


def _as_twilio(client: httpx.Client, number: Number, sender: str, words: str, message_id: str) -> httpx.Response:
    """As Twilio posts: a form, signed over the public address with the account's token."""
    account = number.account
    path = reverse("webhook", args=[account.carrier, account.public_id])
    fields = {"MessageSid": message_id, "From": sender, "To": number.e164, "Body": words, "NumMedia": "0"}
    signed = twilio.signature(
        account.credentials.get("auth_token"), f"{settings.PUBLIC_URL}{path}", list(fields.items())
    )
    return client.post(path, data=fields, headers={"X-Twilio-Signature": signed})


def _secret(account: CarrierAccount, *, is_fresh: bool) -> str:
    now = timezone.now()
    kept = _secrets.get(account.pk)
    if kept and kept[1] > now and not is_fresh:
        return kept[0]
    ended = ApiToken.objects.filter(account=account, name=TOKEN_NAME, expires_at__lte=now)
    ended.delete()
    expires_at = now + TOKEN_LIVES
    _, secret = issue(account.company, TOKEN_NAME, [ApiToken.Scope.INBOUND], account=account, expires_at=expires_at)
    # Forgotten a minute early, so that it does not end on the way.
    _secrets[account.pk] = (secret, expires_at - timedelta(minutes=1))
    return secret


def _answer(response: httpx.Response, account: CarrierAccount, message_id: str) -> Answer:
    try:
        document = response.json()
    except json.JSONDecodeError:
        document = {}
    if not response.is_success:
        why = document.get("detail") or document.get("title") or response.reason_phrase
        return Answer(response.status_code, f"The webhook answered {response.status_code}: {why}")
    stored = Message.objects.filter(
        account=account, direction=Message.Direction.IN, carrier_message_id=message_id
    ).first()
    outcome = stored.get_outcome_display() if stored else "stored"
    return Answer(response.status_code, f"The webhook answered {response.status_code}: {outcome}")
