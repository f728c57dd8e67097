"""The console carrier: takes every text into the log and a table, for the demo and for tests.

It receives through the generic inbound format. The table is its network: what stands there has left us.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import ClassVar

from messaging.carriers import generic
from messaging.carriers.base import OutboundText
from messaging.models import ConsoleText
from offices import e164

log = logging.getLogger(__name__)


class Console(generic.Generic):
    CREDENTIALS: ClassVar[Sequence[tuple[str, str, bool]]] = ()

    def send(self, credentials: Mapping[str, str], text: OutboundText) -> str:
        taken = ConsoleText.objects.create(
            sender=text.sender,
            to=text.to,
            text=text.text,
            media=[{"url": media.url, "content_type": media.content_type} for media in text.media],
            reference=text.reference,
        )
        log.info(
            "console took text %s from %s to %s",
            text.reference,
            e164.masked(text.sender),
            e164.masked(text.to),
        )
        return f"console-{taken.pk}"
