"""How dates and times are written on pages, in place of Django's "Nov. 23, 2026, 2:44 p.m."."""

DATE_FORMAT = "M j, Y"
TIME_FORMAT = "g:i A"
DATETIME_FORMAT = "M j, Y, g:i A"
