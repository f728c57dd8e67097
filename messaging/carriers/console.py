"""The console carrier: takes every text into the log and a table, for the demo and for tests.

It receives through the generic inbound format. The table is its network: what stands there has left us.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import ClassVar

from messaging.carriers import generic
from messaging.carriers.base import OutboundText, Setting
from messaging.models import ConsoleText
from offices import e164
from offices.credentials import Credentials

log = logging.getLogger(__name__)


class Console(generic.Generic):
    label = "Console"
    SETTINGS: ClassVar[Sequence[Setting]] = ()
    STEPS: ClassVar[Sequence[str]] = ()

    def test(self, credentials: Credentials) -> str:
        return "The console takes every text. It reaches nobody: it is there for the demo and for tests."

    def send(self, credentials: Credentials, text: OutboundText) -> str:
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
