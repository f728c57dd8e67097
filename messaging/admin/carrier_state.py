"""How a carrier account fares, in words: for its page, its line in the list, and the answer to a test."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import formats, timezone
from django.utils.html import format_html
from unfold.decorators import display

from messaging.admin.columns import moment
from messaging.carriers.registry import CARRIERS
from messaging.models import CarrierHealth
from messaging.throughput import FAILURES_UNTIL_PAUSE
from offices.models import CarrierAccount

COLOURS = {
    "fine": "success",
    "none": "",
    "lacks": "danger",
    "refused": "warning",
    "paused": "warning",
    "fails": "danger",
}
SEND_ONE = "None yet. Send a text to one of its numbers."


def health_of(account: CarrierAccount) -> CarrierHealth:
    """Its state; an empty one as long as nothing has happened."""
    return getattr(account, "health", None) or CarrierHealth(account=account)


def paused_until(health: CarrierHealth) -> datetime | None:
    """Until when nothing is handed over; None when that is over or never was."""
    at: datetime | None = health.paused_until
    return at if at and at > timezone.now() else None


def clock(at: datetime) -> str:
    """The time of day: no pause is longer than a few minutes."""
    return formats.date_format(timezone.localtime(at), "g:i:s A")


def last_genuine(account: CarrierAccount) -> str:
    """The sentence that belongs to every test: asking the carrier says nothing about what comes from it."""
    at = health_of(account).last_genuine_at
    if at is None:
        return "No genuine webhook has come yet: send a text to one of its numbers to see whether it arrives."
    return f"The last genuine webhook came on {moment(at)}."


def is_set_up(account: CarrierAccount) -> bool:
    """Whether all that its carrier needs is there, and can be read."""
    adapter = CARRIERS.get(account.carrier)
    known = account.credentials
    return adapter is None or all(known.get(setting.name) for setting in adapter.SETTINGS if setting.required)


def standing(account: CarrierAccount) -> tuple[str, str]:
    """The account's state, one of COLOURS, with its words. What keeps texts from leaving comes first."""
    health = health_of(account)
    paused = paused_until(health)
    if not account.is_active:
        return "none", "Switched off"
    if not is_set_up(account):
        return "lacks", "Not set up"
    if health.failures >= FAILURES_UNTIL_PAUSE:
        words = f"{health.failures} failures in a row"
        return "fails", f"{words}, paused until {clock(paused)}" if paused else words
    if paused:
        return "paused", f"Paused until {clock(paused)}"
    if health.last_refused_at and (health.last_genuine_at is None or health.last_refused_at > health.last_genuine_at):
        return "refused", "Last webhook refused"
    if account.carrier == CarrierAccount.Carrier.CONSOLE:
        return "none", "Reaches nobody"
    return ("fine", "Fine") if health.last_genuine_at else ("none", "No webhook yet")


class StateColumns:
    """For the admin of carrier accounts: the section “State”, and the list's column."""

    STATE = ["shown_genuine", "shown_refused", "shown_taken", "shown_failures", "shown_comparison"]

    @display(description="state", label=COLOURS)
    def state(self, account: CarrierAccount) -> tuple[str, str]:
        return standing(account)

    @display(description="last genuine webhook")
    def shown_genuine(self, account: CarrierAccount) -> str:
        at = health_of(account).last_genuine_at
        return moment(at) if at else SEND_ONE

    @display(description="last refused webhook")
    def shown_refused(self, account: CarrierAccount) -> Any:
        health = health_of(account)
        if health.last_refused_at is None:
            return "None."
        count = f"{health.refused:,} refused in all." if health.refused != 1 else "The only one."
        return format_html("{}: {}<br>{}", moment(health.last_refused_at), health.last_refusal, count)

    @display(description="last text that it took")
    def shown_taken(self, account: CarrierAccount) -> str:
        at = health_of(account).last_taken_at
        return moment(at) if at else "None yet."

    @display(description="failures in a row")
    def shown_failures(self, account: CarrierAccount) -> Any:
        health = health_of(account)
        if not health.last_failure_at:
            return "None."
        last = f"{moment(health.last_failure_at)}: {health.last_failure}"
        if not health.failures:
            return format_html("None now. The last was on {}", last)
        paused = paused_until(health)
        rest = f"Nothing leaves before {moment(paused)}." if paused else "The next text tries again."
        return format_html("{}. The last was on {}<br>{}", health.failures, last, rest)

    @display(description="last comparison with the carrier's list")
    def shown_comparison(self, account: CarrierAccount) -> Any:
        health = health_of(account)
        if account.carrier not in CARRIERS or not CARRIERS[account.carrier].HAS_LIST:
            return "This carrier has no list that the portal can ask for."
        if health.reconciled_at is None:
            return "None yet. It is made every night."
        return format_html("{}: {}", moment(health.reconciled_at), health.reconciliation or "everything agrees.")
