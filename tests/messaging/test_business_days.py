"""Business days: weekdays that are no US federal holiday, at the same time of day on the portal's clock."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.business_days import business_days_after

NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.behaviour("N1")
@pytest.mark.parametrize(
    ("start", "days", "end"),
    [
        # Plain weeks: ten business days are two weeks.
        ("2026-08-03 09:00", 10, "2026-08-17 09:00"),
        # From a Friday, and from the days after it.
        ("2026-08-07 23:59", 1, "2026-08-10 23:59"),
        ("2026-08-08 00:00", 1, "2026-08-10 00:00"),
        ("2026-08-09 12:00", 1, "2026-08-10 12:00"),
        # Labor Day 2026 is September 7.
        ("2026-09-04 12:00", 1, "2026-09-08 12:00"),
        # Thanksgiving is November 26; the Friday after it is no federal holiday.
        ("2026-11-25 12:00", 1, "2026-11-27 12:00"),
        ("2026-11-20 12:00", 10, "2026-12-07 12:00"),
        # Independence Day 2026 is a Saturday: observed on Friday, July 3.
        ("2026-07-02 12:00", 1, "2026-07-06 12:00"),
        # Over the turn of the year: Christmas and New Year's Day.
        ("2026-12-21 12:00", 10, "2027-01-06 12:00"),
        # New Year's Day 2028 is a Saturday: observed on Friday, December 31, 2027, in the year before.
        ("2027-12-30 12:00", 1, "2028-01-03 12:00"),
        # Juneteenth.
        ("2026-06-18 12:00", 1, "2026-06-22 12:00"),
        # Daylight saving begins on March 14, 2027: still nine in the morning.
        ("2027-03-12 09:00", 1, "2027-03-15 09:00"),
    ],
)
def test_so_many_business_days_after_a_moment(start, days, end):
    def moment(text):
        return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)

    assert business_days_after(moment(start), days) == moment(end)


def test_the_day_is_the_portals_own_and_not_that_of_utc():
    # Friday evening in New York is Saturday in UTC: the next business day is Monday all the same.
    friday = datetime(2026, 8, 8, 1, 30, tzinfo=UTC)
    assert business_days_after(friday, 1) == datetime(2026, 8, 11, 1, 30, tzinfo=UTC)


@given(st.datetimes(datetime(2024, 1, 1), datetime(2040, 1, 1), timezones=st.just(NEW_YORK)))
def test_each_of_the_days_counted_is_a_weekday_and_follows_the_one_before(moment):
    days = [business_days_after(moment, n).astimezone(NEW_YORK) for n in range(1, 11)]
    assert days == sorted(days)
    assert len({day.date() for day in days}) == 10
    assert all(day.weekday() < 5 and day.date() > moment.date() for day in days)
    # Two weeks, or up to two days less from a weekend; and at most four holidays in them.
    assert 12 <= (days[-1].date() - moment.date()).days <= 20
