"""An account at any carrier with a number of its own, and requests to it: genuine ones, and those of forgers."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from messaging.carriers.registry import CARRIERS
from messaging.models import ConsentEvent, Conversation, Hold, Message, OptOut, Recipient, WebhookReceipt
from offices.models import CarrierAccount, Number
from tests.factories import (
    CarrierAccountFactory,
    ConversationFactory,
    MessageFactory,
    NumberFactory,
    OfficeFactory,
    RecipientFactory,
)
from tests.messaging.carriers.dialect import OURS, SENDER, Case, Dialect, Posted

PUBLIC_URL = "https://portal.example.com"
REAL = [carrier for carrier in CARRIERS if carrier != "console"]
# One for all: each new one looks through every static file.
CLIENT = Client()


def load(carrier: str) -> Dialect:
    """The carrier's dialect. Raises ImportError, or whatever is wrong with its module."""
    module = importlib.import_module(f"tests.messaging.carriers.dialects.{carrier}")
    found: Dialect = module.DIALECT
    return found


def _dialects() -> Iterator[Dialect]:
    for carrier in REAL:
        try:
            yield load(carrier)
        except Exception:
            continue  # a test of its own fails for it, and says why


DIALECTS = {dialect.carrier: dialect for dialect in _dialects()}


def with_dialects(*, where: Any = lambda dialect: True) -> pytest.MarkDecorator:
    """Run the test for each carrier's dialect."""
    chosen = [pytest.param(dialect, id=carrier) for carrier, dialect in DIALECTS.items() if where(dialect)]
    return pytest.mark.parametrize("dialect", chosen)


def with_cases(*, where: Any = lambda dialect, case: True) -> pytest.MarkDecorator:
    """Run the test for each case of each carrier's table; the id reads “telnyx-sms_stop.json”."""
    return pytest.mark.parametrize(
        ("dialect", "case"),
        [
            pytest.param(dialect, case, id=f"{carrier}-{case.file}{'?' if case.query else ''}{case.query}")
            for carrier, dialect in DIALECTS.items()
            for case in dialect.cases
            if where(dialect, case)
        ],
    )


def is_stop(dialect: Dialect, case: Case) -> bool:
    return case.kind == "text" and case.outcome == "opted_out"


def a_stop(dialect: Dialect) -> Case:
    """The carrier's plain STOP."""
    return next(case for case in dialect.cases if is_stop(dialect, case) and not case.replied and not case.media)


def a_status(dialect: Dialect) -> Case | None:
    """A status: one that opts out where there is such a one. None where the carrier tells of none."""
    statuses = [case for case in dialect.cases if case.kind == "status"]
    return next((case for case in statuses if case.opted_out), next(iter(statuses), None))


@dataclass
class Scene:
    """An account of the carrier's, and OURS as its number."""

    dialect: Dialect
    account: CarrierAccount
    number: Number

    @property
    def path(self) -> str:
        return path_of(self.account)

    def posted(
        self, case: Case, body: bytes | None = None, *, secret: str | None = None, at: float | None = None
    ) -> Posted:
        """The case as the carrier posts it now, or another body in its place."""
        return self.dialect.sign(
            PUBLIC_URL + self.path,
            case,
            self.dialect.payload(case) if body is None else body,
            self.dialect.secret() if secret is None else secret,
            time.time() if at is None else at,
        )

    def deliver(self, posted: Posted, path: str = "") -> Any:
        return deliver(posted, path or self.path)

    def our_text(self, message_id: str) -> Message:
        """A text that the account's carrier has taken under that id."""
        company = self.account.company
        conversation = Conversation.objects.filter(number=self.number, recipient__e164=SENDER).first()
        made: Message = MessageFactory(
            conversation=conversation
            or ConversationFactory(
                number=self.number, company=company, recipient=RecipientFactory(company=company, e164=SENDER)
            ),
            direction="out",
            state="sent",
            carrier_message_id=message_id,
            received_at=None,
            handed_over_at=timezone.now(),
            sent_at=timezone.now(),
            text="Your order is ready.",
        )
        return made


def path_of(account: CarrierAccount) -> str:
    return f"/webhooks/{account.carrier}/{account.public_id}/"


def deliver(posted: Posted, path: str, client: Client = CLIENT) -> Any:
    """The portal's answer to one request. What the portal raises is raised."""
    return client.generic(
        posted.method,
        f"{path}?{posted.query}" if posted.query else path,
        posted.body,
        content_type=posted.content_type,
        headers=dict(posted.headers),
    )


def account_at(dialect: Dialect, *, api_base: str = "", **secrets: str) -> CarrierAccount:
    """An account of the carrier's, with the dialect's settings and secrets."""
    dialect.prepare()
    more: Mapping[str, str] = {"api_base": api_base} if api_base else {}
    account: CarrierAccount = CarrierAccountFactory(
        carrier=dialect.carrier, settings={**dialect.settings, **more}, secrets={**dialect.secrets, **secrets}
    )
    return account


def scene(dialect: Dialect, *, api_base: str = "", e164: str = OURS) -> Scene:
    account = account_at(dialect, api_base=api_base)
    number = NumberFactory(office=OfficeFactory(company=account.company), account=account, e164=e164)
    return Scene(dialect, account, number)


def somebody_elses(dialect: Dialect) -> CarrierAccount:
    """Another account at the same carrier, of another company."""
    dialect.prepare()
    name, another = dialect.signing_secret, dialect.another_secret()
    settings = {**dialect.settings, **dialect.elsewhere, **({name: another} if name in dialect.settings else {})}
    secrets = {**dialect.secrets, **({name: another} if name in dialect.secrets else {})}
    account: CarrierAccount = CarrierAccountFactory(carrier=dialect.carrier, settings=settings, secrets=secrets)
    return account


def flip(value: str) -> str:
    """The value with one character changed: the first of its last word, which always counts."""
    start = max(value.rfind(mark) for mark in " ,.") + 1
    start = start if start < len(value) else 0
    old = value[start]
    new = str((int(old) + 1) % 10) if old in "0123456789" else "c" if old in "bB" else "b"
    return value[:start] + new + value[start + 1 :]


GARBAGE = {
    "empty": "",
    "blank": " ",
    "not ASCII": "é\x80☎".encode().decode("latin-1"),
    "10 kB": "A" * 10_000,
    "short": "a" * 5,
    "base64": "bm8gc2lnbmF0dXJlIGF0IGFsbCwganVzdCBiYXNlNjQu",
    "a scheme without a value": "Basic",
    "a broken scheme": "Bearer \xff\xfe",
    "commas": "v1,,, ,v1,",
    "dots": "..",
    "a number": "99999999999999999999",
    "not a number": "nan",
}


def forgeries(scene: Scene, case: Case) -> Iterator[tuple[str, Posted, str]]:
    """What somebody without the secret can send, or who has seen one genuine request: what is wrong, the request, and
    the path that it is sent to."""
    dialect, genuine = scene.dialect, scene.posted(case)
    stranger = somebody_elses(dialect)
    # What is in a header does not depend on what is in the body: once is enough for all of it.
    garbage = GARBAGE if case == a_stop(dialect) or case.kind == "status" else {"empty": ""}
    yield "another secret", scene.posted(case, secret=dialect.another_secret()), scene.path
    yield "one character of the signature changed", dialect.with_signature(genuine, flip), scene.path
    yield "to another account", genuine, path_of(stranger)
    theirs = Scene(dialect, stranger, scene.number)
    yield "signed with this account's secret for another account", theirs.posted(case), path_of(stranger)
    if dialect.covers_body and case.kind == "text":
        altered = dialect.another_text(dialect.payload(case), "UNSTOP", "altered-1")
        yield "another body", dialect.with_signature_of(scene.posted(case, altered), genuine), scene.path
    if dialect.has_window:
        yield "stale", scene.posted(case, at=time.time() - dialect.stale_after), scene.path
        yield "of the future", scene.posted(case, at=time.time() + dialect.stale_after), scene.path
    for name in dialect.signature_headers:
        others = {key: value for key, value in genuine.headers.items() if key != name}
        yield f"no {name}", replace(genuine, headers=others), scene.path
        yield f"{name} changed", replace(genuine, headers={**others, name: flip(genuine.headers[name])}), scene.path
        for what, value in garbage.items():
            yield f"{name}: {what}", replace(genuine, headers={**others, name: value}), scene.path
    if not dialect.signature_headers:
        for what, value in garbage.items():
            yield f"signature: {what}", dialect.with_signature(genuine, partial(_in_place_of_it, value)), scene.path


def _in_place_of_it(value: str, signature: str) -> str:
    return value


STORED = [Message, Recipient, Conversation, ConsentEvent, OptOut, Hold, WebhookReceipt]


def stored() -> tuple[Any, ...]:
    """How many rows there are of all that a webhook may cause, and what texts and opt-outs look like; in one query."""
    counts = ", ".join(f"(SELECT count(*) FROM {model._meta.db_table})" for model in STORED)
    looks = ", ".join(
        f"(SELECT md5(string_agg(kept::text, ',' ORDER BY id)) FROM {model._meta.db_table} kept)"
        for model in (Message, Recipient, OptOut)
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {counts}, {looks}")
        found: tuple[Any, ...] = cursor.fetchone()
    return found
