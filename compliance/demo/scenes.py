"""What a demo must show whatever chance brings: holds that wait, a blocked conversation, what happened today."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta

from messaging.models import Message
from offices.models import Number

from . import rhythm
from .book import Person
from .year import Year

BLOCKED = "+14015550195"  # whose STOP a visitor is shown first
State = Message.State


class Stage:
    """Puts scenes among what a year has planned, each with a recipient of its own."""

    def __init__(self, year: Year) -> None:
        self.year, self.book = year, year.book

    def on(self, at: datetime, number: Number, act: Callable[[Person, datetime], object]) -> None:
        self.year.plan(at, lambda then: act(self.year.new_person(number.office_id, then), then))

    def today(self, minutes: float, number: Number, act: Callable[[Person, datetime], object]) -> None:
        """So many minutes ago, whatever the hour."""
        self.on(self.year.now - timedelta(minutes=minutes), number, act)

    def recipient_days_ago(self, days: float, number: Number, act: Callable[[Person, datetime], object]) -> None:
        self.on(self.year.waking(self.year.now - timedelta(days=days)), number, act)

    def office_days_ago(self, days: float, number: Number, act: Callable[[Person, datetime], object]) -> None:
        local = (self.year.now - timedelta(days=days)).astimezone(self.year.zone)
        self.on(rhythm.reply_of_staff(local, self.year.random), number, act)

    def hears(self, number: Number, words: str) -> Callable[[Person, datetime], object]:
        return lambda person, at: self.book.receive(person, number, words, at)

    def almost_stops(self, number: Number, words: str) -> Callable[[Person, datetime], object]:
        return lambda person, at: self.year.near_miss(person, number, at, words)


def first(year: Year) -> None:
    """The scenes of the first company."""
    stage, numbers = Stage(year), year.firm.numbers
    front, hilltop = numbers["Front desk"], numbers["Hilltop front desk"]
    records, recalls, toll_free = (
        numbers["Lab and records"],
        numbers["Hilltop recalls"],
        numbers["Billing, toll-free"],
    )

    # Holds with different due times, and one that nobody reviewed.
    stage.recipient_days_ago(20, front, lambda person, at: _unreviewed(stage, person, front, at))
    stage.recipient_days_ago(12, records, stage.almost_stops(records, "stop texting me, wrong person"))
    stage.recipient_days_ago(8, recalls, stage.almost_stops(recalls, "STOP "))
    stage.recipient_days_ago(3, hilltop, stage.almost_stops(hilltop, "please stop these messages"))
    stage.recipient_days_ago(1.1, front, stage.almost_stops(front, "stop!!"))
    stage.today(132, recalls, stage.almost_stops(recalls, "Take me off this list please"))

    # Hand-overs that did not end well.
    stage.office_days_ago(77, front, lambda person, at: _moved(stage, person, front, at, State.UNCERTAIN))
    stage.office_days_ago(24, hilltop, lambda person, at: _moved(stage, person, hilltop, at, State.FAILED))
    stage.office_days_ago(5, hilltop, lambda person, at: _moved(stage, person, hilltop, at, State.UNCERTAIN))
    stage.office_days_ago(2, front, lambda person, at: _moved(stage, person, front, at, State.FAILED))
    stage.office_days_ago(52, recalls, lambda person, at: _refused_by_carrier(stage, person, recalls, at))
    for days in (163, 39, 6):
        stage.office_days_ago(days, recalls, lambda person, at: _overtaken(stage, person, recalls, at))

    # Toll-free: the network answers; the portal shows it and does nothing.
    for days, word in ((211, "STOP"), (98, "Help"), (31, "STOP"), (30, "UNSTOP"), (9, "stop")):
        stage.recipient_days_ago(days, toll_free, stage.hears(toll_free, word))

    _blocked_conversation(year, front)

    # Today, whatever the hour: it is the recipients who write.
    stage.today(171, front, stage.hears(front, "Is my crown back from the lab?"))
    stage.today(96, recalls, lambda person, at: year.stop(person, recalls, at))
    stage.today(58, hilltop, stage.hears(hilltop, "Thank you for squeezing me in!"))
    stage.today(41, records, lambda person, at: year.ask_for_help(person, records, at))
    stage.today(23, front, lambda person, at: year.stop(person, front, at))
    stage.today(6, front, stage.hears(front, "Hi, can I come half an hour earlier tomorrow?"))


def other(year: Year) -> None:
    """The scenes of the other company, which reads forgivingly and lets STOP on its toll-free number count."""
    stage, numbers = Stage(year), year.firm.numbers
    dispatch, sales, toll_free = numbers["Dispatch"], numbers["Sales"], numbers["Office, toll-free"]
    stage.recipient_days_ago(120, toll_free, stage.hears(toll_free, "STOP"))
    stage.recipient_days_ago(66, dispatch, stage.hears(dispatch, "“Stop.”"))
    stage.recipient_days_ago(44, sales, stage.hears(sales, "No mas"))
    stage.recipient_days_ago(7, sales, stage.almost_stops(sales, "don't message me again"))
    stage.today(300, dispatch, stage.almost_stops(dispatch, "lose my number, no more texts"))
    stage.today(140, dispatch, stage.hears(dispatch, "Heat is back, thank you Benny"))
    stage.today(35, sales, lambda person, at: year.stop(person, sales, at))
    stage.today(12, dispatch, stage.hears(dispatch, "is he still coming today"))


def _blocked_conversation(year: Year, front: Number) -> None:
    """A conversation of months that ended with STOP; and what an integration tried since."""
    person = year.new_person(front.office_id, year.now - timedelta(days=200), "Lena Hartwell", BLOCKED)
    person.free_at = year.now + timedelta(days=1)
    june = next(one for one in year.firm.staff[front.office_id] if one.first_name == "June")
    refused = _open_day_before(year.now.astimezone(year.zone).date())
    stopped = _open_day_before(refused)
    asked = _open_day_before(stopped)
    spring, autumn = _open_day_before(asked - timedelta(days=180)), _open_day_before(asked - timedelta(days=60))

    def on(day: date, hour: int, minute: int, act: Callable[[datetime], object]) -> None:
        year.plan(datetime.combine(day, time(hour, minute, 12), tzinfo=year.zone), act)

    def says(words: str, *, june_does: bool = False) -> Callable[[datetime], object]:
        return lambda at: year.book.accept(person, front, words, at, author=june if june_does else None)

    def hears(words: str, *, photo: bool = False) -> Callable[[datetime], object]:
        return lambda at: year.book.receive(person, front, words, at, photo=photo)

    on(spring, 9, 14, says("Hi Lena, this is Quillfeather Dental. You have a filling tomorrow at 9 am. "
                           "Reply C to confirm."))  # fmt: skip
    on(spring, 9, 31, hears("C"))
    on(autumn, 10, 5, says("Hi Lena, June from Quillfeather Dental. How are you feeling after your crown fitting?",
                           june_does=True))  # fmt: skip
    on(autumn, 10, 22, hears("A little sore here, is that normal?", photo=True))
    on(autumn, 10, 40, says("Dr. Alder had a look at your picture: it heals as it should. Keep it soft for two days.",
                            june_does=True))  # fmt: skip
    on(autumn, 10, 43, hears("Relieved, thank you!"))
    on(asked, 9, 20, says("Lena, it has been six months since your last cleaning at Quillfeather Dental. "
                          "Would Monday at 9:40 am suit you? Reply STOP to opt out."))  # fmt: skip
    on(stopped, 11, 5, hears("Stop"))
    on(refused, 12, 30, says("Hi Lena, this is Quillfeather Dental. A time became free on Monday at 10:20 am."))


def _open_day_before(day: date) -> date:
    day -= timedelta(days=1)
    while not rhythm.is_open(day):
        day -= timedelta(days=1)
    return day


def _unreviewed(stage: Stage, person: Person, number: Number, at: datetime) -> None:
    message = stage.book.receive(person, number, "Please no more texts", at)
    hold = next(one for one in stage.book.holds if one.message_id == message.pk)
    stage.year.due(person, hold)


def _moved(stage: Stage, person: Person, number: Number, at: datetime, fate: str) -> None:
    words = f"Quillfeather Dental: {person.first_name}, your visit moves by ten minutes. Sorry, and see you then."
    sender = stage.book.firm.staff[number.office_id][0]
    stage.book.accept(person, number, words, at, author=sender, fate=fate)


def _overtaken(stage: Stage, person: Person, number: Number, at: datetime) -> None:
    """A STOP comes in while a text to the same person is queued."""
    words = f"Quillfeather Dental: {person.first_name}, a cleaning time became free. Reply STOP to opt out."
    stage.book.accept(person, number, words, at, fate=State.QUEUED)
    stage.book.receive(person, number, "STOP", at + timedelta(milliseconds=140))


def _refused_by_carrier(stage: Stage, person: Person, number: Number, at: datetime) -> None:
    words = f"Quillfeather Dental: {person.first_name}, your check-up is due. Reply STOP to opt out."
    message = stage.book.accept(person, number, words, at, fate=State.FAILED)
    stage.book.opt_out_at_carrier(person, number, message, at + timedelta(seconds=2))
