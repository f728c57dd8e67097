"""Plays a year: who texts whom when, story by story, in the order of time; what it means is the book's business."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from messaging.models import Hold, Message
from offices.models import Number, User

from . import rhythm, stories
from .book import Book, Person
from .stories import Line, Story, Teller

DAYS = 365
PEOPLE_PER_AREA_CODE = 75  # 555-0120 to 555-0194; what is above is for scenes, and for whoever tries the demo
NEW_PEOPLE = 0.24  # share of the stories that are somebody's first
RISK = 3  # more often than in life: opt-outs are what the demo is about
SETTLED_BEFORE = timedelta(days=14)  # holds younger than this wait for whoever looks at the demo


@dataclass
class Telling:
    """One story on its way: with whom, on which number, by which of our people."""

    story: Story
    person: Person
    number: Number
    sender: User
    teller: Teller


class Year:
    def __init__(self, book: Book, pace: rhythm.Rhythm, told: tuple[Story, ...], now: datetime, zone: ZoneInfo):
        self.book, self.firm, self.random = book, book.firm, book.random
        self.pace, self.told, self.now, self.zone = pace, told, now, zone
        self.people: list[Person] = []
        self.names: set[str] = set()
        self._planned: list[tuple[datetime, int, Callable[[datetime], object]]] = []
        self._order = itertools.count()

    def plan(self, at: datetime, act: Callable[[datetime], object]) -> None:
        """Let `act` happen at `at`; what would be later than now never happens."""
        at = at.astimezone(UTC)
        if at <= self.now:
            heapq.heappush(self._planned, (at, next(self._order), act))

    def play(self) -> None:
        first = (self.now - timedelta(days=DAYS)).astimezone(self.zone).date()
        for number in range(DAYS + 1):
            day = first + timedelta(days=number)
            # A business that grows: a fifth below its average at first, a fifth above it in the end.
            growth = 0.8 + 0.4 * number / DAYS
            for _ in range(round(self.pace.stories_on(day, self.random) * growth)):
                self.plan(rhythm.start_of_story(day, self.zone, self.random), self.begin)
            if rhythm.is_open(day) and self.random.random() < 0.06:
                self.plan(rhythm.start_of_story(day, self.zone, self.random), self.chat)
        while self._planned:
            at, _, act = heapq.heappop(self._planned)
            act(at)

    def begin(self, at: datetime) -> None:
        """Some story, with somebody who is free for it."""
        open_desks = {desk for desk in self.firm.desks if self._active(desk, at)}
        possible = [story for story in self.told if open_desks & set(story.desks)]
        story = self.random.choices(possible, [one.weight for one in possible])[0]
        number = self._number(story, at)
        person = self._somebody(number, at)
        starts_with = story.lines[0].speaker
        # People see that the field is closed; an integration that does not ask is refused.
        tries = self.random.random() < {"them": 1, "system": 0.45}.get(starts_with, 0.06)
        if not tries and self.book.is_blocked(person, number, at):
            person = self._new_person(number, at)
        person.free_at = at + timedelta(days=4)
        self.go_on(self.telling(story, person, number, at), 0, at)

    def telling(self, story: Story, person: Person, number: Number, at: datetime) -> Telling:
        sender = self.random.choice(self.firm.staff[number.office_id])
        teller = Teller(self._facts(person, sender, at), self.random)
        return Telling(story, person, number, sender, teller)

    def go_on(self, telling: Telling, index: int, at: datetime) -> None:
        """One line, and when the next will be."""
        line = telling.story.lines[index]
        text = telling.teller.say(line.words)
        if line.speaker == "them":
            self.book.receive(
                telling.person, telling.number, self._as_typed(telling.person, text), at, photo=line.photo
            )
        elif not self._say(telling, line, text, at) or self._answered_otherwise(telling, at):
            return
        if index + 1 == len(telling.story.lines):
            return
        following = telling.story.lines[index + 1]
        if following.may_end and self.random.random() < 0.4:
            return
        local = at.astimezone(self.zone)
        later = rhythm.reply_of_recipient if following.speaker == "them" else rhythm.reply_of_staff
        self.plan(later(local, self.random), lambda then: self.go_on(telling, index + 1, then))

    def stop(self, person: Person, number: Number, at: datetime) -> None:
        """STOP in one of its words; some come back later."""
        self.book.receive(person, number, self.random.choice(stories.STOPS), at)
        chance = self.random.random()
        if chance < 0.30:
            days = min(120.0, self.random.lognormvariate(2.1, 1.0))
            self.plan(self.waking(at + timedelta(days=days)), lambda then: self.come_back(person, number, then))
        elif chance < 0.38:
            self.plan(
                at + timedelta(minutes=self.random.uniform(2, 600)),
                lambda then: self.book.receive(person, number, "STOP", then),
            )
        elif chance < 0.46:
            self.plan(
                at + timedelta(days=self.random.uniform(0.1, 20)), lambda then: self.ask_for_help(person, number, then)
            )

    def come_back(self, person: Person, number: Number, at: datetime) -> None:
        if not self._is_active(number, at):
            return
        self.book.receive(person, number, self.random.choice(stories.RETURNS), at)
        if self.random.random() < 0.5:
            words = self.random.choice(stories.APOLOGIES)
            self.plan(
                at + timedelta(minutes=self.random.uniform(1, 9)),
                lambda then: self.book.receive(person, number, words, then),
            )

    def ask_for_help(self, person: Person, number: Number, at: datetime) -> None:
        if self._is_active(number, at):
            self.book.receive(person, number, self.random.choice(stories.HELPS), at)

    def near_miss(self, person: Person, number: Number, at: datetime, words: str = "") -> None:
        """Something that sounds like STOP; a hold that it leaves is settled in one of the possible ways."""
        message = self.book.receive(person, number, words or self.random.choice(stories.NEAR_MISSES), at)
        hold = next((one for one in reversed(self.book.holds) if one.message_id == message.pk), None)
        if hold is None or at > self.now - SETTLED_BEFORE:
            return
        chance = self.random.random()
        if chance < 0.75:
            is_opt_out = chance > 0.4
            reason = self.random.choice(stories.MEANT if is_opt_out else stories.EXPLAINED)
            then = rhythm.reply_of_staff(
                (at + timedelta(days=self.random.uniform(0.2, 4))).astimezone(self.zone), self.random
            )
            self.plan(then, lambda when: self.book.review(
                person, hold, when, is_opt_out=is_opt_out, reviewer=self.firm.admin, reason=reason,
            ))  # fmt: skip
            return
        if chance < 0.9:
            self.plan(at + timedelta(minutes=self.random.uniform(5, 90)), lambda then: self.stop(person, number, then))
        self.due(person, hold)

    def due(self, person: Person, hold: Hold) -> None:
        """Unreviewed at its due time, a hold becomes an opt-out: the worker's housekeeping."""
        self.plan(hold.due_at + timedelta(seconds=self.random.uniform(1, 30)), lambda when: self.book.review(
            person, hold, when, is_opt_out=True, reviewer=None, reason="Not reviewed within ten business days.",
        ))  # fmt: skip

    def chat(self, at: datetime) -> None:
        """Two texts between two of the firm's own numbers."""
        active = [one for one in self.firm.numbers.values() if self._is_active(one, at) and not one.is_toll_free]
        number, other = self.random.sample(active, 2)
        asked, said = self.random.choice(stories.CHATTER)
        teller = Teller(self._facts(None, self.firm.admin, at), self.random)
        asks, answers = (self.random.choice(self.firm.staff[one.office_id]) for one in (number, other))
        self.book.chat(number, other, teller.say(asked), at, asks)
        self.plan(at + timedelta(minutes=self.random.uniform(1, 25)), lambda then: self.book.chat(
            other, number, teller.say(said), then, answers,
        ))  # fmt: skip

    def new_person(self, office_id: int, at: datetime, name: str = "", address: str = "") -> Person:
        """Somebody with a name of their own, or the one that is given; every fifth has not told it."""
        while not name or name in self.names:
            name = f"{self.random.choice(stories.FIRST_NAMES)} {self.random.choice(stories.LAST_NAMES)}"
        self.names.add(name)
        index = len(self.people)
        code = self.firm.area_codes[index % len(self.firm.area_codes)]
        line = 120 + index // len(self.firm.area_codes) % PEOPLE_PER_AREA_CODE
        known = "" if index % 5 == 4 and not address else name
        recipient = self.book.recipient(address or f"+1{code}5550{line}", known, at)
        person = Person(recipient, name.split()[0], office_id, self.random.random() < 0.4, at)
        self.people.append(person)
        return person

    def _new_person(self, number: Number, at: datetime) -> Person:
        return self.new_person(number.office_id, at)

    def _somebody(self, number: Number, at: datetime) -> Person:
        free = [one for one in self.people if one.free_at <= at and one.office_id == number.office_id]
        if not free or self.random.random() < NEW_PEOPLE:
            return self._new_person(number, at)
        return self.random.choice(free)

    def _say(self, telling: Telling, line: Line, text: str, at: datetime) -> bool:
        """A line of ours; False when it did not go out and the story is over."""
        if not self._is_active(telling.number, at):
            return False
        is_ours = line.speaker == "office"
        if is_ours and self.book.is_blocked(telling.person, telling.number, at) and self.random.random() > 0.08:
            return False
        fate = Message.State.FAILED if self.random.random() < 0.003 else Message.State.DELIVERED
        if at > self.now - timedelta(minutes=3):
            fate = Message.State.SENT
        message = self.book.accept(
            telling.person, telling.number, text, at,
            author=telling.sender if is_ours else None, photo=line.photo, fate=fate,
        )  # fmt: skip
        return message.state in (Message.State.DELIVERED, Message.State.SENT)

    def _answered_otherwise(self, telling: Telling, at: datetime) -> bool:
        """Whether our text is answered by a command or something like one, which ends the story."""
        chance, risk = self.random.random(), telling.story.risk * RISK
        person, number = telling.person, telling.number
        if chance < risk:
            act = self.stop
        elif chance < risk * 1.25:
            act = self.near_miss
        elif chance < risk * 1.25 + 0.006:
            act = self.ask_for_help
        else:
            return False
        then = rhythm.reply_of_recipient(at.astimezone(self.zone), self.random)
        self.plan(then, lambda when: act(person, number, when) if self._is_active(number, when) else None)
        return True

    def _number(self, story: Story, at: datetime) -> Number:
        desks = [desk for desk in story.desks if self._active(desk, at)]
        # The first desk of a story has most of it.
        desk = self.random.choices(desks, [2 if desk == desks[0] else 1 for desk in desks])[0]
        return self.random.choice(self._active(desk, at))

    def _active(self, desk: str, at: datetime) -> list[Number]:
        return [number for number in self.firm.desks.get(desk, ()) if self._is_active(number, at)]

    def _is_active(self, number: Number, at: datetime) -> bool:
        return number.created_at <= at and (number.given_up_at is None or number.given_up_at > at)

    def _facts(self, person: Person | None, sender: User, at: datetime) -> dict[str, str]:
        day = at.astimezone(self.zone).date() + timedelta(days=self.random.randint(1, 6))
        while not rhythm.is_open(day):
            day += timedelta(days=1)
        other = day + timedelta(days=self.random.randint(1, 3))
        while not rhythm.is_open(other):
            other += timedelta(days=1)
        dental = self.firm.integration == "Practice calendar"
        doctors, technicians = ("Dr. Alder", "Dr. Pell", "Dr. Osei"), ("Al", "Benny", "Lorraine", "Teo")
        return {
            "name": person.first_name if person else self.random.choice(stories.FIRST_NAMES),
            "sender": sender.first_name,
            "who": self.random.choice(doctors if dental else technicians),
            "day": f"{day:%A, %b} {day.day}",
            "otherday": f"{other:%A}",
            "month": f"{day:%B}",
            "amount": str(self.random.randrange(45, 320, 5)),
            "bigamount": f"{self.random.randrange(2400, 9800, 50):,}",
            **{key: self.random.choice(values) for key, values in stories.FACTS.items()},
        }

    def _as_typed(self, person: Person, text: str) -> str:
        """Some never use capitals or full stops."""
        return text.lower().rstrip(".") if person.is_terse else text

    def waking(self, at: datetime) -> datetime:
        """`at`, or the morning after when that is at night."""
        local = at.astimezone(self.zone)
        if 7 <= local.hour < 22:
            return at
        morning = datetime.combine(local.date() + timedelta(days=local.hour >= 22), time(8), tzinfo=self.zone)
        return morning + timedelta(minutes=self.random.uniform(0, 180))
