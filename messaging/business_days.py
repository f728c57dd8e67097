"""Business days, by which the law counts: weekdays that are no US federal holiday."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import holidays
from django.utils import timezone

# 47 CFR 64.1200(a)(10): a revocation is to be honoured within ten business days at the latest.
REVIEW_DAYS = 10


def business_days_after(moment: datetime, days: int = REVIEW_DAYS) -> datetime:
    """The same time of day, `days` business days later, in the portal's time zone."""
    local = timezone.localtime(moment)
    federal = holidays.country_holidays("US", years=[local.year, local.year + 1])
    day: date = local.date()
    while days:
        day += timedelta(days=1)
        if day.weekday() < 5 and day not in federal:
            days -= 1
    return timezone.make_aware(datetime.combine(day, local.time().replace(tzinfo=None)))
