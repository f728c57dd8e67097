"""When a business texts: opening hours, weekdays, seasons. Pure; times are local to the portal's time zone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from random import Random
from zoneinfo import ZoneInfo

import holidays

OPENS, CLOSES = time(8, 0), time(18, 0)
# Monday is the day of questions, Saturday a half day, Sunday closed.
WEEKDAYS = (1.25, 1.1, 1.05, 1.0, 0.85, 0.22, 0.0)


@dataclass(frozen=True)
class Rhythm:
    """Stories a day on an average weekday, and how the months differ (1 is average)."""

    stories_a_day: float
    months: Mapping[int, float]

    def stories_on(self, day: date, random: Random) -> int:
        """How many conversations begin on `day`."""
        if not is_open(day):
            return 0
        expected = self.stories_a_day * WEEKDAYS[day.weekday()] * self.months.get(day.month, 1.0)
        return max(0, round(random.gauss(expected, expected**0.5 / 1.5)))


def is_open(day: date) -> bool:
    return bool(WEEKDAYS[day.weekday()]) and day not in _federal(day.year)


def start_of_story(day: date, zone: ZoneInfo, random: Random) -> datetime:
    """A moment in opening hours: most in the morning, some after lunch."""
    peak = 10.2 if random.random() < 0.62 else 14.6
    hour = min(17.6, max(8.05, random.gauss(peak, 1.2)))
    if day.weekday() == 5:
        hour = min(hour, 12.5)
    return datetime.combine(day, time(), tzinfo=zone) + timedelta(hours=hour, seconds=random.uniform(0, 60))


def reply_of_recipient(at: datetime, random: Random) -> datetime:
    """Minutes, sometimes hours; at night nobody writes, except a few."""
    then = at + timedelta(minutes=min(900.0, random.lognormvariate(2.0, 1.3)), seconds=random.uniform(3, 60))
    if then.hour < 6 or then.hour >= 23:
        then = _at(then.date() + timedelta(days=then.hour >= 23), time(7, 0), then)
        then += timedelta(minutes=random.uniform(0, 120))
    return then


def reply_of_staff(at: datetime, random: Random) -> datetime:
    """Minutes while the office is open, otherwise when it opens again."""
    then = at + timedelta(minutes=min(90.0, random.lognormvariate(1.5, 0.9)), seconds=random.uniform(5, 60))
    closes = time(13, 0) if then.weekday() == 5 else CLOSES
    if is_open(then.date()) and OPENS <= then.time() < closes:
        return then
    day = then.date() if then.time() < OPENS else then.date() + timedelta(days=1)
    while not is_open(day):
        day += timedelta(days=1)
    return _at(day, OPENS, then) + timedelta(minutes=random.uniform(2, 50))


def _at(day: date, hour: time, like: datetime) -> datetime:
    return datetime.combine(day, hour, tzinfo=like.tzinfo)


@cache
def _federal(year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays("US", years=[year]))
