"""Calls to the API as carriers and integrations make them: a token, bytes in, an answer out."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import Model
from django.test import Client

from messaging.models import ConsentEvent, Conversation, Hold, Message, OptOut, Recipient, WebhookReceipt
from offices.models import ApiToken, CarrierAccount, Company
from offices.models.tokens import issue

# In an area code that the factories do not give to numbers of ours.
SOMEBODY = "+15125550143"
SOMEBODY_ELSE = "+15125550144"
EVERY_SCOPE = [scope.value for scope in ApiToken.Scope]
STORED: list[type[Model]] = [
    Message, WebhookReceipt, Recipient, Conversation, ConsentEvent, OptOut, Hold,
]  # fmt: skip


def bearer(company: Company, *scopes: str, account: CarrierAccount | None = None, **more: Any) -> str:
    """The Authorization header of a new token; with every scope when none is named."""
    wanted = list(scopes) or (EVERY_SCOPE if account else [s for s in EVERY_SCOPE if s != "inbound"])
    _, secret = issue(company, "CRM", wanted, account=account, **more)
    return f"Bearer {secret}"


def call(
    path: str, body: Any = None, *, token: str = "", method: str = "POST", content_type: str = "application/json",
    **headers: str,
) -> Any:  # fmt: skip
    """The answer to one request. `body` as bytes goes as it is, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    given = {"Authorization": token} if token else {}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Client().generic(method, path, data, content_type=content_type, headers=given)


def get(path: str, *, token: str = "", **query: Any) -> Any:
    return Client().get(path, query, headers={"Authorization": token} if token else {})


def is_problem(answer: Any, status: int) -> bool:
    """True for an application/problem+json answer with this status and all that belongs to one."""
    if answer.status_code != status or answer["Content-Type"] != "application/problem+json":
        return False
    body = answer.json()
    return bool(
        {"type", "title", "status", "detail"} <= set(body)
        and body["status"] == status
        and body["title"]
        and body["detail"]
    )


def count_stored() -> dict[str, int]:
    return {model.__name__: model._default_manager.count() for model in STORED}
