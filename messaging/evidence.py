"""Events and seals as evidence: the values that their hashes cover, written as proof.py wants them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import models

from messaging import proof

# By the names of the evidence: the model's own where they differ.
ATTRIBUTES = {
    "company": "company_id",
    "office": "office_id",
    "recipient": "recipient_e164",
    "number": "number_e164",
    "campaign": "campaign_id_then",
    "message": "message_id_then",
    "actor": "actor_id_then",
}


def values(event: Any) -> dict[str, str | None]:
    """The event's evidence: texts as they are, numbers in decimal, times in UTC with microseconds and Z."""
    return {name: _written(getattr(event, ATTRIBUTES.get(name, name))) for name in proof.FIELDS}


def seal_values(seal: Any) -> dict[str, str | None]:
    """The seal's values, written in the same way."""
    return {name: _written(seal.company_id if name == "company" else getattr(seal, name)) for name in proof.SEAL_FIELDS}


def _written(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return str(value)


class EventHashField(models.CharField):
    """The event's hash, made of its values as it is stored; nobody sets it."""

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        if add:
            setattr(model_instance, self.attname, proof.event_hash(values(model_instance)))
        found: str = getattr(model_instance, self.attname)
        return found

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs
