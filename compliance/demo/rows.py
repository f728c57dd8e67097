"""Makes the rows of one company's history, in memory and in the order of time: texts, events, requests received."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import datetime
from random import Random
from typing import Any

from messaging import consent, keywords, segments
from messaging.models import (
    ConsentEvent,
    ConsoleText,
    Conversation,
    Hold,
    Message,
    OptOut,
    Recipient,
    WebhookReceipt,
)
from offices.models import Campaign, CampaignAssignment, HelpMessage, Number, User

from .companies import Firm

Source = ConsentEvent.Source


class Ids:
    """Ids in the order of events, so that newest first is newest first. The tables are empty."""

    def __init__(self) -> None:
        self._counts: dict[type, Iterator[int]] = {}

    def next(self, model: type[Any]) -> int:
        if model not in self._counts:
            last = model.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
            self._counts[model] = itertools.count(last + 1)
        return next(self._counts[model])


class Rows:
    def __init__(self, firm: Firm, ids: Ids, random: Random) -> None:
        self.firm, self.ids, self.random = firm, ids, random
        self.recipients: dict[str, Recipient] = {}
        self.conversations: dict[tuple[int, int], Conversation] = {}
        self.messages: list[Message] = []
        self.events: list[ConsentEvent] = []
        self.opt_outs: list[OptOut] = []
        self.holds: list[Hold] = []
        self.receipts: list[WebhookReceipt] = []
        self.console_texts: list[ConsoleText] = []
        # Refused and cancelled texts, whose verdict the real gate gives when the rows are stored.
        self.refusals: list[tuple[Message, ConsentEvent]] = []
        self.assignments: dict[int, list[CampaignAssignment]] = {}
        for one in CampaignAssignment.objects.filter(company=firm.company).select_related("campaign"):
            self.assignments.setdefault(one.number_id, []).append(one)
        self.help_messages = list(HelpMessage.objects.filter(company=firm.company).order_by("-pk"))

    def recipient(self, address: str, name: str, at: datetime) -> Recipient:
        if address not in self.recipients:
            self.recipients[address] = Recipient(
                pk=self.ids.next(Recipient),
                company=self.firm.company,
                e164=address,
                name=name,
                created_at=at,
            )
        return self.recipients[address]

    def campaign(self, number: Number, at: datetime) -> Campaign | None:
        for one in self.assignments.get(number.pk, []):
            if one.starts_at <= at and (one.ends_at is None or one.ends_at > at):
                return one.campaign
        return None

    def message(
        self,
        recipient: Recipient,
        number: Number,
        text: str,
        at: datetime,
        direction: str,
        *,
        touch: bool = True,
        **fields: Any,
    ) -> Message:
        key = (number.pk, recipient.pk)
        if key not in self.conversations:
            self.conversations[key] = Conversation(
                pk=self.ids.next(Conversation), company=self.firm.company, number=number, recipient=recipient,
                last_message_at=at,
            )  # fmt: skip
        conversation = self.conversations[key]
        if touch:
            conversation.last_message_at = at
            conversation.last_text = text[:120]
            conversation.last_direction = direction
        values = {
            "account": self.firm.account,
            "segments": segments.count(text).count,
            "created_at": at,
            **fields,
        }
        message = Message(
            pk=self.ids.next(Message), company=self.firm.company, conversation=conversation, recipient=recipient,
            number=number, direction=direction, text=text, **values,
        )  # fmt: skip
        self.messages.append(message)
        return message

    def event(
        self,
        recipient: Recipient,
        number: Number,
        kind: str,
        at: datetime,
        *,
        source: str = Source.RECIPIENT,
        text: str | None = None,
        message: Message | None = None,
        reading: keywords.Reading | None = None,
        actor: User | None = None,
        **fields: Any,
    ) -> ConsentEvent:
        """As consent._record: the facts as they were at that moment."""
        campaign = self.campaign(number, at)
        values: dict[str, Any] = {
            "received_text": message.text if text is None and message else text or "",
            "received_at": (message and message.received_at) or at,
            "matched_words": reading.words[:200] if reading else "",
            "reading": self.firm.company.reading if reading else "",
            "rule_version": reading.version if reading else "",
            "carrier": self.firm.account.carrier if message else "",
            "carrier_message_id": message.carrier_message_id if message else "",
            "message_id_then": message.pk if message else None,
            "actor_name": str(actor) if actor else consent.SYSTEM_NAME if source == Source.SYSTEM else "",
            **fields,
        }
        event = ConsentEvent(
            pk=self.ids.next(ConsentEvent), company=self.firm.company, office=number.office,
            office_name=number.office.name, recipient=recipient, recipient_e164=recipient.e164,
            kind=kind, source=source, number_e164=number.e164, number_kind=number.kind,
            campaign_id_then=campaign.pk if campaign else None, campaign_name=campaign.name if campaign else "",
            campaign_registry_id=campaign.registry_id if campaign else "",
            campaign_status=campaign.status if campaign else "", stored_at=at,
            actor_id_then=actor.pk if actor else None, **values,
        )  # fmt: skip
        self.events.append(event)
        return event

    def receipt(self, message: Message, at: datetime) -> None:
        assert message.received_at is not None
        document = {
            "from": message.recipient.e164,
            "to": message.number.e164,
            "text": message.text,
            "media": message.media,
            "message_id": message.carrier_message_id,
            "received_at": message.received_at.isoformat(),
        }
        self.receipts.append(
            WebhookReceipt(
                company=self.firm.company, account=self.firm.account, carrier=self.firm.account.carrier,
                content_type="application/json", body=json.dumps(document).encode(),
                status=WebhookReceipt.Status.UNDERSTOOD, message=message, stored_at=at,
            )
        )  # fmt: skip

    def photo(self) -> list[dict[str, str]]:
        name = f"{self.random.getrandbits(48):012x}"
        return [{"url": f"https://media.example/{name}.jpg", "content_type": "image/jpeg"}]
