"""Reading what carriers post, liberally: JSON, forms, moments and numbers, as several of them write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from messaging.carriers.base import NotUnderstood, WebhookRequest

# A gateway that knows no time may write year 1 or 1970; a block as of then would outweigh later wishes.
FIRST_SMS = datetime(1992, 12, 3, tzinfo=UTC)
MOST_FIELDS = 1000


def json_value(body: bytes) -> Any:
    """The JSON document in `body`, a byte order mark or not. Raises NotUnderstood."""
    try:
        return json.loads(body.decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise NotUnderstood("The body is not JSON in UTF-8.") from None


def json_object(body: bytes) -> Mapping[str, Any]:
    """As json_value, for one object. Raises NotUnderstood."""
    value = json_value(body)
    if not isinstance(value, dict):
        raise NotUnderstood("The body is JSON, but no object: send one text as {…}.")
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    """The value when it is an object, else an empty one: what a carrier leaves out or sets to null holds nothing."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """The value when it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def string(value: Any) -> str:
    """A text, or a number written as one; empty for everything else."""
    if isinstance(value, bool):
        return ""
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""


def form(request: WebhookRequest) -> list[tuple[str, str]]:
    """The form's fields in the order they came, untouched; those of the query when it was a GET.

    Raises ValueError when there are more than any carrier sends.
    """
    encoded = request.query if request.method == "GET" else request.body.decode("utf-8", "replace")
    return parse_qsl(encoded, keep_blank_values=True, max_num_fields=MOST_FIELDS)


def moment(given: Any) -> datetime | None:
    """The carrier's time in ISO 8601, taken as UTC where it names no zone; None for none: a STOP is a STOP also with
    a time that cannot be read."""
    try:
        found = datetime.fromisoformat(given)
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found > FIRST_SMS else None


def epoch(given: Any, *, per_second: int = 1) -> datetime | None:
    """The carrier's time as a count since 1970, of seconds or of smaller parts of one; None for none."""
    try:
        found = datetime.fromtimestamp(int(given) / per_second, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return found if found > FIRST_SMS else None


def international(number: str) -> str:
    """The number with its plus, for carriers that leave it out; short codes and names as they are."""
    return f"+{number}" if number.isascii() and number.isdigit() and len(number) > 8 else number


def message_id(given: Any, name: str) -> str:
    """The carrier's id of a text. Raises NotUnderstood, which names the field."""
    found = string(given)
    if not found or len(found) > 255 or not found.isprintable():
        raise NotUnderstood(f"There is no {name}.")
    return found


def storable(text: str) -> str:
    """The text as PostgreSQL can keep it: no NUL, no half of a surrogate pair. The receipt keeps the raw bytes."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
