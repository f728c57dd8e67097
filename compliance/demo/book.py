"""One company's texts and consent, kept in memory by the rules of inbound, consent and outbox at moments of the past.

A year through the real functions would take minutes, and they always act now. What is pure of them is asked
here too (keywords, gate.covers, the wording of replies); `filling` puts the end state before the real gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from messaging import consent, gate, keywords, outbox, received_text
from messaging.business_days import business_days_after
from messaging.models import (
    ConsentEvent,
    ConsoleText,
    Hold,
    Message,
    OptOut,
    Recipient,
)
from messaging.models.record import Block, Scope
from offices.models import HelpMessage, Number, User

from .rows import Rows

Kind, Source = ConsentEvent.Kind, ConsentEvent.Source
Purpose, State, Outcome = Message.Purpose, Message.State, Message.Outcome

UNREACHABLE = "The carrier could not deliver it: the phone was unreachable for two days."
CUT_OFF = "The worker stopped while handing it over. Ask the carrier whether it left."
OPTED_OUT_THERE = "21610 The recipient has opted out at the carrier."


@dataclass
class Person:
    """A recipient, with what is in force for them."""

    recipient: Recipient
    first_name: str
    office_id: int
    is_terse: bool
    free_at: datetime
    blocks: list[Block] = field(default_factory=list)
    waiting: list[Message] = field(default_factory=list)


class Book(Rows):
    def is_blocked(self, person: Person, number: Number, at: datetime) -> bool:
        return bool(self._covering(person, number, at))

    def receive(self, person: Person, number: Number, text: str, at: datetime, *, photo: bool = False) -> Message:
        """As received_text.receive at the moment `at`."""
        reading = received_text.read(number, text)
        received_at = (at - timedelta(seconds=self.random.uniform(0.8, 2.5))).replace(microsecond=0)
        message = self.message(
            person.recipient, number, text, at, Message.Direction.IN,
            media=self.photo() if photo else [],
            channel=Message.Channel.MMS if photo else Message.Channel.SMS,
            state=State.RECEIVED,
            outcome=received_text.outcome_of(number, person.recipient, reading),
            carrier_message_id=f"in-{self.random.getrandbits(64):016x}",
            received_at=received_at,
        )  # fmt: skip
        self.receipt(message, at)
        if message.outcome == Outcome.OPTED_OUT:
            self._opted_out(person, number, message, reading, at)
        elif message.outcome == Outcome.OPTED_IN:
            event = self.event(person.recipient, number, Kind.OPT_IN, at, message=message, reading=reading)
            self._close(self._covering(person, number, at), person, event, Hold.Outcome.OVERTAKEN)
        elif message.outcome == Outcome.HELP:
            self.event(person.recipient, number, Kind.HELP, at, message=message, reading=reading)
            live = next(
                (one for one in self.help_messages if one.office_id == number.office_id and one.created_at <= at),
                None,
            )
            is_own = live is not None and not live.is_canned
            reply = live.text if live and is_own else number.office.canned_help_text()
            self._reply(person, number, reply, at, Purpose.HELP_REPLY, help_message=live)
        elif message.outcome == Outcome.HELD:
            self._held(person, number, message, reading, at)
        return message

    def accept(
        self,
        person: Person,
        number: Number,
        text: str,
        at: datetime,
        *,
        author: User | None = None,
        photo: bool = False,
        fate: str = State.DELIVERED,
    ) -> Message:
        """As outbox.accept at the moment `at`, and what became of the text. Without an author it is the integration's.

        With the fate "queued" it waits, for a STOP to overtake it.
        """
        refused = self.is_blocked(person, number, at)
        message = self.message(
            person.recipient, number, text, at, Message.Direction.OUT,
            touch=not refused,
            media=self.photo() if photo else [],
            channel=Message.Channel.MMS if photo else Message.Channel.SMS,
            state=State.REFUSED if refused else fate,
            author=author,
            author_name=str(author) if author else self.firm.integration,
        )  # fmt: skip
        if refused:
            self._refused(person, number, message, at)
            return message
        message.expires_at = at + outbox.GIVE_UP_AFTER
        if fate == State.QUEUED:
            person.waiting.append(message)
        else:
            self._hand_over(message, at, fate)
        return message

    def opt_out_at_carrier(self, person: Person, number: Number, message: Message, at: datetime) -> None:
        """As consent.opt_out_at_carrier: the carrier refused `message`, since the recipient had opted out there."""
        message.state, message.error = State.FAILED, OPTED_OUT_THERE
        reason = f"{self.firm.account.carrier}: {OPTED_OUT_THERE}"
        event = self.event(
            person.recipient, number, Kind.CARRIER, at, source=Source.CARRIER, scope=Scope.NUMBER, reason=reason
        )
        self._open(
            OptOut, person, number, consent.scope_of(number, None, Scope.NUMBER), event, at, "", at, is_carrier=True
        )

    def review(
        self, person: Person, hold: Hold, at: datetime, *, is_opt_out: bool, reviewer: User | None, reason: str
    ) -> None:
        """As consent.review at the moment `at`; nothing when somebody or something else settled it."""
        if not hold.is_open:
            return
        number = next(one for one in self.firm.numbers.values() if one.e164 == hold.texted_number)
        source = Source.PERSON if reviewer else Source.SYSTEM
        if is_opt_out:
            then = hold.opened_by
            event = self.event(
                person.recipient, number, Kind.OPT_OUT, at,
                source=source, scope=hold.scope, text=hold.text, actor=reviewer,
                reason=reason, received_at=hold.texted_at, matched_words=hold.matched_words,
                rule_version=then.rule_version, carrier=then.carrier, carrier_message_id=then.carrier_message_id,
                message_id_then=hold.message_id,
            )  # fmt: skip
            where = {"scope": hold.scope, "campaign": hold.campaign}
            self._open(OptOut, person, number, where, event, at, hold.text, hold.texted_at)
        else:
            event = self.event(
                person.recipient, number, Kind.RELEASE, at,
                source=source, scope=hold.scope, text=hold.text, actor=reviewer,
                reason=reason,
            )  # fmt: skip
        self._close([hold], person, event, Hold.Outcome.OPTED_OUT if is_opt_out else Hold.Outcome.RELEASED)
        hold.reviewer, hold.review_reason = reviewer, reason

    def chat(self, number: Number, other: Number, text: str, at: datetime, author: User) -> None:
        """As outbox.accept between two of the portal's own numbers: once in each one's conversation."""
        self.message(
            self.recipient(other.e164, "", at), number, text, at, Message.Direction.OUT,
            account=None, channel=Message.Channel.CHAT, state=State.DELIVERED, sent_at=at, author=author,
            author_name=str(author),
        )  # fmt: skip
        self.message(
            self.recipient(number.e164, "", at), other, text, at, Message.Direction.IN,
            account=None, channel=Message.Channel.CHAT, state=State.RECEIVED, outcome=Outcome.CHAT, received_at=at,
            segments=1,
        )  # fmt: skip

    def _covering(self, person: Person, number: Number, at: datetime) -> list[Block]:
        times = [one for one in self.assignments.get(number.pk, []) if one.starts_at <= at]
        return [
            block
            for block in person.blocks
            if gate.covers(block, number, [one for one in times if one.campaign_id == block.campaign_id])
        ]

    def _opted_out(
        self, person: Person, number: Number, message: Message, reading: keywords.Reading, at: datetime
    ) -> None:
        where = consent.scope_of(number, self.campaign(number, at), None)
        event = self.event(
            person.recipient, number, Kind.OPT_OUT, at, scope=where["scope"], message=message, reading=reading
        )
        self._open(OptOut, person, number, where, event, at, message.text, message.received_at or at)
        self._close(
            [
                block
                for block in person.blocks
                if isinstance(block, Hold)
                and (
                    where["scope"] == Scope.COMPANY
                    or (block.scope, block.campaign) == (where["scope"], where["campaign"])
                )
            ],
            person,
            event,
            Hold.Outcome.OVERTAKEN,
        )
        for waiting in [one for one in person.waiting if self.is_blocked(person, one.number, at)]:
            person.waiting.remove(waiting)
            waiting.state = State.CANCELLED
            self._refused(person, waiting.number, waiting, at)
        if self.firm.company.confirm_stop:
            self._reply(
                person, number, received_text.confirmation_text(self.firm.company), at, Purpose.CONFIRMATION,
                expires_at=(message.received_at or at) + received_text.CONFIRM_WITHIN,
            )  # fmt: skip

    def _held(self, person: Person, number: Number, message: Message, reading: keywords.Reading, at: datetime) -> None:
        network = number.is_toll_free and not self.firm.company.toll_free_stop
        where = consent.scope_of(number, self.campaign(number, at), Scope.NUMBER if network else None)
        event = self.event(
            person.recipient, number, Kind.HOLD, at, scope=where["scope"], message=message, reading=reading,
            reason=f"Near miss: {reading.near_miss}.",
        )  # fmt: skip
        self._open(
            Hold, person, number, where, event, at, message.text, message.received_at or at,
            near_miss=reading.near_miss, matched_words=reading.words[:200], message=message,
            due_at=business_days_after(at),
        )  # fmt: skip

    def _open(
        self,
        model: type[OptOut] | type[Hold],
        person: Person,
        number: Number,
        where: dict[str, Any],
        event: ConsentEvent,
        at: datetime,
        text: str,
        texted_at: datetime,
        **fields: Any,
    ) -> None:
        """Open a block, unless one of its kind is open in this scope."""
        for block in person.blocks:
            is_same = (block.scope, block.campaign) == (where["scope"], where["campaign"])
            if where["scope"] == Scope.NUMBER:
                is_same = is_same and block.texted_number == number.e164
            if isinstance(block, model) and is_same:
                return
        block = model(
            pk=self.ids.next(model), company=self.firm.company, office=number.office, recipient=person.recipient,
            texted_number=number.e164, text=text, texted_at=texted_at, opened_at=at, opened_by=event, **where, **fields,
        )  # fmt: skip
        person.blocks.append(block)
        (self.opt_outs if isinstance(block, OptOut) else self.holds).append(block)  # type: ignore[arg-type]

    def _close(self, blocks: Sequence[Block], person: Person, event: ConsentEvent, outcome: str) -> None:
        for block in list(blocks):
            block.closed_at, block.closed_by = event.stored_at, event
            if isinstance(block, Hold):
                block.outcome = outcome
            person.blocks.remove(block)

    def _refused(self, person: Person, number: Number, message: Message, at: datetime) -> None:
        source = Source.PERSON if message.author else Source.API
        event = self.event(
            person.recipient, number, Kind.REFUSAL, at,
            source=source, actor=message.author, actor_name=message.author_name,
            message=message, text="",
        )  # fmt: skip
        self.refusals.append((message, event))

    def _reply(
        self,
        person: Person,
        number: Number,
        text: str,
        at: datetime,
        purpose: str,
        *,
        expires_at: datetime | None = None,
        help_message: HelpMessage | None = None,
    ) -> None:
        """As outbox.queue_reply: never from a toll-free number."""
        if number.is_toll_free:
            return
        message = self.message(
            person.recipient, number, text, at, Message.Direction.OUT,
            channel=Message.Channel.SMS, state=State.DELIVERED, purpose=purpose, author_name=consent.SYSTEM_NAME,
            help_message=help_message, expires_at=expires_at or at + received_text.ANSWER_HELP_WITHIN,
        )  # fmt: skip
        self._hand_over(message, at, State.DELIVERED)

    def _hand_over(self, message: Message, at: datetime, fate: str) -> None:
        message.attempts = 1
        message.handed_over_at = at + timedelta(seconds=self.random.uniform(0.05, 0.4))
        message.state = fate
        if fate == State.UNCERTAIN:
            message.error = CUT_OFF
            return
        message.sent_at = message.handed_over_at + timedelta(seconds=self.random.uniform(0.02, 0.3))
        message.error = UNREACHABLE if fate == State.FAILED else ""
        taken = ConsoleText(
            pk=self.ids.next(ConsoleText), sender=message.number.e164, to=message.recipient.e164, text=message.text,
            media=message.media, reference=str(message.pk), taken_at=message.sent_at,
        )  # fmt: skip
        self.console_texts.append(taken)
        message.carrier_message_id = f"console-{taken.pk}"
