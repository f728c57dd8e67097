"""The admin of the ground floor: companies, offices, people, numbers, campaigns, tokens."""

from offices.admin import (
    api_tokens,
    campaigns,
    companies,
    logins,
    numbers,
    office_pages,
    people,
)

__all__ = [
    "api_tokens",
    "campaigns",
    "companies",
    "logins",
    "numbers",
    "office_pages",
    "people",
]
