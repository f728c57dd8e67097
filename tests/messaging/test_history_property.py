"""Random histories against a model of the rules: after each step the gate answers as the model does, now and of then.

The model is written from the documented behaviours and works the other way round than the code: it keeps, for each
block, the set of numbers that it reaches, and adds to it whenever a number joins. The code keeps times and looks back.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from messaging import consent, gate, outbox
from messaging.models import ConsoleText, Hold, Message, OptOut, Recipient
from offices.models import Campaign, Number
from offices.models.campaigns import assign
from tests.factories import CampaignFactory, CompanyFactory, NumberFactory, OfficeFactory, UserFactory
from tests.messaging.texting import receive, somebody

# What people write, and what it is when read exactly and when read forgivingly.
TEXTS = {
    "STOP": ("stop", "stop"),
    "quit": ("stop", "stop"),
    "Stop!!": ("near", "stop"),
    "please stop texting me": ("near", "near"),
    "UNSTOP": ("unstop", "unstop"),
    "start": ("unstop", "unstop"),
    "unstop!": ("chat", "unstop"),
    "HELP": ("help", "help"),
    "YES": ("chat", "chat"),
    "Hello": ("chat", "chat"),
}
OUTCOMES = {"stop": "opted_out", "near": "held", "unstop": "opted_in", "help": "help", "chat": "conversation"}
NUMBERS = ["a1", "a2", "b1", "pending", "alone", "toll_free", "y1", "y2"]
CAMPAIGNS = {"x": ["A", "B", "P"], "y": ["D"]}
PEOPLE = ["ann", "bob"]
MINUTE = timedelta(minutes=1)


def company_of(name: str) -> str:
    return "y" if name in ("y1", "y2", "D") else "x"


@dataclass(eq=False)
class Block:
    is_hold: bool
    place: tuple[str, str]  # ("company", ""), ("campaign", its name) or ("number", its name)
    texted: str
    since: datetime  # when the text was written
    last: datetime  # and the last one that wished the same
    by_carrier: bool = False
    reaches: set[str] = field(default_factory=set)  # of a campaign's: the numbers

    def covers(self, number: str) -> bool:
        return self.place[0] == "company" or number == self.texted or number in self.reaches


class Model:
    """The rules as the behaviours tell them."""

    def __init__(self, forgiving: bool, toll_free_stop: bool) -> None:
        self.forgiving = {"x": forgiving, "y": False}
        self.toll_free_stop = toll_free_stop
        self.campaign: dict[str, str | None] = dict.fromkeys(NUMBERS)
        self.status = {"A": "registered", "B": "registered", "P": "pending", "D": "registered"}
        self.active = dict.fromkeys(NUMBERS, True)
        self.left: dict[tuple[str, str], datetime] = {}
        self.blocks: dict[tuple[str, str], list[Block]] = {(c, p): [] for c in ("x", "y") for p in PEOPLE}

    def join(self, number: str, campaign: str | None, now: datetime) -> None:
        before = self.campaign[number]
        if before == campaign:
            return
        if before:
            self.left[number, before] = now
        self.campaign[number] = campaign
        for blocks in self.blocks.values():
            for block in blocks:
                if campaign and block.place == ("campaign", campaign):
                    block.reaches.add(number)

    def scope(self, number: str) -> tuple[str, str]:
        campaign = self.campaign[number]
        if campaign and self.status[campaign] == "registered" and number != "toll_free":
            return ("campaign", campaign)
        return ("company", "")

    def block(self, person: str, number: str, place: tuple[str, str], written: datetime, **kind: Any) -> None:
        blocks = self.blocks[company_of(number), person]
        is_hold = kind.get("is_hold", False)
        same = [block for block in blocks if block.is_hold == is_hold and block.place == place]
        if same:
            same[0].last = max(same[0].last, written)
        else:
            members = {n for n in NUMBERS if place == ("campaign", self.campaign[n] or "")}
            members |= {n for (n, c), moment in self.left.items() if place == ("campaign", c) and moment >= written}
            blocks.append(Block(is_hold, place, number, written, written, kind.get("by_carrier", False), members))
        if not is_hold:
            blocks[:] = [b for b in blocks if not (b.is_hold and place in (("company", ""), b.place))]

    def text(self, person: str, number: str, words: str, written: datetime) -> str:
        meaning = TEXTS[words][self.forgiving[company_of(number)]]
        network = number == "toll_free" and not self.toll_free_stop
        if meaning == "near":
            place = ("number", number) if network else self.scope(number)
            self.block(person, number, place, written, is_hold=True)
        elif number == "toll_free" and (network or meaning == "help") and meaning != "chat":
            return "network_keyword"
        elif meaning == "stop":
            self.block(person, number, self.scope(number), written)
        elif meaning == "unstop":
            blocks = self.blocks[company_of(number), person]
            blocks[:] = [block for block in blocks if not block.covers(number) or block.last > written]
        return OUTCOMES[meaning]

    def settle(self, person: str, company: str, hold: Block, is_opt_out: bool) -> None:
        blocks = self.blocks[company, person]
        blocks.remove(hold)
        if not is_opt_out:
            return
        same = [block for block in blocks if not block.is_hold and block.place == hold.place]
        if same:
            same[0].last = max(same[0].last, hold.since)
        else:
            blocks.append(Block(False, hold.place, hold.texted, hold.since, hold.since, False, hold.reaches))

    def answer(self, number: str, person: str) -> str:
        if not self.active[number]:
            return "number_inactive"
        covering = [b for b in self.blocks[company_of(number), person] if b.covers(number)]
        for scope in ("company", "campaign", "number"):
            for block in covering:
                if not block.is_hold and block.place[0] == scope:
                    return "opted_out_carrier" if block.by_carrier else f"opted_out_{scope}"
        return "held" if covering else "ok"


class Histories(RuleBasedStateMachine):
    """Texts, moves, ends of campaigns, numbers given up, reviews and sends, in any order."""

    # Often the same few, or nothing ever meets: two numbers of one campaign and one person most of all.
    numbers = st.sampled_from(["a1", "a2", "b1"] * 3 + NUMBERS)
    people = st.sampled_from(["ann"] * 4 + ["bob"])

    def __init__(self) -> None:
        super().__init__()
        # Every history in a transaction of its own, which is rolled back.
        self.history = transaction.atomic()
        self.history.__enter__()
        self.travel = time_machine.travel(timezone.now().replace(microsecond=0), tick=False)
        self.clock = self.travel.start()
        self.said: list[tuple[datetime, dict[tuple[str, str], str]]] = []
        self.taken = 0

    def teardown(self) -> None:
        try:
            self.replay()
        finally:
            self.travel.stop()
            transaction.set_rollback(True)
            self.history.__exit__(None, None, None)

    @initialize(forgiving=st.booleans(), toll_free_stop=st.booleans())
    def found(self, forgiving: bool, toll_free_stop: bool) -> None:
        self.model = Model(forgiving, toll_free_stop)
        x = CompanyFactory(reading="forgiving" if forgiving else "exact", toll_free_stop=toll_free_stop)
        self.company = {"x": x, "y": CompanyFactory()}
        self.offices = [OfficeFactory(company=x), OfficeFactory(company=x)]
        self.campaign = {
            name: CampaignFactory(company=self.company[company], status=self.model.status[name])
            for company, names in CAMPAIGNS.items()
            for name in names
        }
        homes = {"a1": "A", "a2": "A", "b1": "B", "pending": "P", "y1": "D"}
        y = OfficeFactory(company=self.company["y"])
        self.number = {}
        for name in NUMBERS:
            office = y if company_of(name) == "y" else self.offices[0]
            self.number[name] = NumberFactory(office=office, toll_free=name == "toll_free")
            if name in homes:
                assign(self.number[name], self.campaign[homes[name]])
                self.model.join(name, homes[name], timezone.now())
        self.person = {name: somebody() for name in PEOPLE}
        self.reviewer = UserFactory(password="!")

    def pass_time(self) -> datetime:
        self.clock.shift(MINUTE)
        return timezone.now()

    # --- what may happen ---

    @rule(number=numbers, person=people, words=st.sampled_from(sorted(TEXTS)), minutes=st.integers(0, 6))
    def a_text_comes(self, number: str, person: str, words: str, minutes: int) -> None:
        """`minutes` after it was written."""
        written = self.pass_time() - max(minutes - 2, 0) * MINUTE
        received = receive(self.number[number], self.person[person], words, received_at=written)
        if not self.model.active[number]:
            assert not received.understood
            return
        assert received.outcome == self.model.text(person, number, words, written)
        if received.message and received.outcome in ("opted_out", "held"):
            # What waits and may leave no more is cancelled there and then.
            waiting = Message.objects.filter(recipient=received.message.recipient, next_attempt_at__isnull=False)
            names = {row.pk: name for name, row in self.number.items()}
            for message in waiting.filter(purpose="ordinary"):
                assert self.model.answer(names[message.number_id], person) == "ok"

    @rule(number=numbers, person=people, word=st.sampled_from(["STOP", "STOP", "UNSTOP", "please stop texting me"]))
    def a_command_comes(self, number: str, person: str, word: str) -> None:
        self.a_text_comes(number, person, word, 0)

    @rule(number=numbers, person=people, data=st.data())
    def texts_come_in_another_order_than_they_were_written(self, number: str, person: str, data: st.DataObject) -> None:
        words = [data.draw(st.sampled_from(["STOP", "UNSTOP", "please stop texting me"])) for _ in range(3)]
        for place in data.draw(st.permutations(range(3))):
            # All of them were written within the last minutes, one minute after the other.
            self.a_text_comes(number, person, words[place], 5 - place)

    @rule(number=numbers, data=st.data())
    def a_number_moves(self, number: str, data: st.DataObject) -> None:
        campaign = data.draw(st.sampled_from([None, *CAMPAIGNS[company_of(number)]]))
        now = self.pass_time()
        assign(self.number[number], self.campaign[campaign] if campaign else None)
        self.model.join(number, campaign, now)

    @rule(number=numbers, person=people, word=st.sampled_from(["STOP", "please stop texting me"]), data=st.data())
    def a_number_moves_just_after_a_command(self, number: str, person: str, word: str, data: st.DataObject) -> None:
        self.a_text_comes(number, person, word, 0)
        siblings = [n for n in NUMBERS if self.model.campaign[n] == self.model.campaign[number]]
        mover = data.draw(st.sampled_from([*siblings, "alone"]))
        self.the_gate_answers_as_the_model_does()
        self.a_number_moves(mover, data)

    @rule(
        campaign=st.sampled_from(["A", "B", "P", "D"]),
        status=st.sampled_from(["registered"] * 6 + Campaign.Status.values),
    )
    def a_campaign_changes(self, campaign: str, status: str) -> None:
        self.pass_time()
        Campaign.objects.filter(pk=self.campaign[campaign].pk).update(status=status)
        self.model.status[campaign] = status

    @rule(number=numbers, office=st.integers(0, 1))
    def a_number_goes_to_another_office(self, number: str, office: int) -> None:
        if company_of(number) == "x":
            Number.objects.filter(pk=self.number[number].pk).update(office=self.offices[office])

    @rule(number=st.sampled_from(NUMBERS))
    def a_number_is_given_up_or_taken_back(self, number: str) -> None:
        self.pass_time()
        self.model.active[number] = not self.model.active[number]
        row = self.number[number]
        assert row.take_back() if self.model.active[number] else row.give_up()

    @rule(number=numbers, person=people)
    def a_carrier_says_that_somebody_opted_out(self, number: str, person: str) -> None:
        now = self.pass_time()
        if send_fails_at_carrier(self.number[number], self.person[person]):
            self.model.block(person, number, ("number", number), now, by_carrier=True)

    @precondition(lambda self: any(b.is_hold for blocks in self.model.blocks.values() for b in blocks))
    @rule(data=st.data(), is_opt_out=st.booleans())
    def a_hold_is_reviewed(self, data: st.DataObject, is_opt_out: bool) -> None:
        self.pass_time()
        waiting = [
            (company, person, block)
            for (company, person), blocks in self.model.blocks.items()
            for block in blocks
            if block.is_hold
        ]
        company, person, block = data.draw(st.sampled_from(waiting))
        consent.review(self.row_of(company, person, block).pk, is_opt_out=is_opt_out, reviewer=self.reviewer, reason="")
        self.model.settle(person, company, block, is_opt_out)

    @rule()
    def weeks_pass_without_a_review(self) -> None:
        self.clock.shift(timedelta(days=40))
        consent.settle_due_holds()
        for (company, person), blocks in self.model.blocks.items():
            for block in [block for block in blocks if block.is_hold]:
                self.model.settle(person, company, block, True)

    @rule(number=numbers, person=people)
    def a_text_is_sent(self, number: str, person: str) -> None:
        self.pass_time()
        message = outbox.accept(
            Number.objects.get(pk=self.number[number].pk), self.person[person], "Your order is ready."
        )
        code = self.model.answer(number, person)
        assert message.state == ("queued" if code == "ok" else "refused")
        if message.verdict:
            assert message.verdict["code"] == code

    @rule()
    def the_worker_works(self) -> None:
        self.pass_time()
        while outbox.hand_over_due():
            pass
        for text in ConsoleText.objects.filter(pk__gt=self.taken).order_by("pk"):
            self.taken = text.pk
            message = Message.objects.get(pk=text.reference)
            number = next(name for name, row in self.number.items() if row.e164 == text.sender)
            person = next(name for name, e164 in self.person.items() if e164 == text.to)
            assert self.model.active[number]
            if message.purpose == "ordinary":
                assert self.model.answer(number, person) == "ok"
            else:
                assert number != "toll_free"

    # --- what must hold ---

    @invariant()
    def the_gate_answers_as_the_model_does(self) -> None:
        if not hasattr(self, "model"):
            return
        answers = self.ask(None)
        assert answers == {pair: self.model.answer(*pair) for pair in answers}
        self.said.append((timezone.now(), answers))
        self.clock.shift(timedelta(seconds=1))

    @invariant()
    def the_records_in_force_are_those_of_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        for model in (OptOut, Hold):
            kept = model.objects.filter(closed_at__isnull=True).count()
            blocks = [b for blocks in self.model.blocks.values() for b in blocks if b.is_hold == (model is Hold)]
            assert kept == len(blocks)

    def ask(self, at: datetime | None) -> dict[tuple[str, str], str]:
        rows = {
            row.pk: row
            for row in Number.objects.filter(pk__in=[n.pk for n in self.number.values()]).select_related(
                "company", "account"
            )
        }
        pairs = [(number, person) for number in NUMBERS for person in PEOPLE]
        verdicts = gate.check_many([(rows[self.number[n].pk], self.person[p]) for n, p in pairs], at=at)
        return {pair: verdict.code for pair, verdict in zip(pairs, verdicts, strict=True)}

    def replay(self) -> None:
        """The gate says of each past moment what it said then."""
        for moment, answers in self.said:
            assert self.ask(moment) == answers

    def row_of(self, company: str, person: str, block: Block) -> Hold:
        scope, place = block.place
        return Hold.objects.get(
            recipient__company=self.company[company],
            recipient__e164=self.person[person],
            closed_at__isnull=True,
            scope=scope,
            **({"campaign": self.campaign[place]} if scope == "campaign" else {}),
            **({"texted_number": self.number[place].e164} if scope == "number" else {}),
        )


def send_fails_at_carrier(number: Number, person: str) -> bool:
    """The carrier refuses a text to somebody who opted out there; False when they never had anything to do with us."""
    number = Number.objects.select_related("company", "office", "account").get(pk=number.pk)
    recipient = Recipient.objects.filter(company=number.company, e164=person).first()
    if recipient is None:
        return False
    consent.opt_out_at_carrier(recipient, number, carrier="twilio", detail="21610")
    return True


@pytest.mark.django_db
@pytest.mark.behaviour("N4")
@pytest.mark.behaviour("N8")
def test_whatever_happens_in_whatever_order_the_gate_answers_by_the_documented_rules():
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
