"""The versions of an office's HELP message: judge a text for that office, add a version, go back to the canned text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from offices import help_message
from offices.models import HelpMessage, Office, User


@dataclass(frozen=True)
class Written:
    """What became of a text: the version that was added, or None with the version that came in between, if any."""

    version: HelpMessage | None
    overtaken_by: HelpMessage | None = None


def honoured_words(office: Office) -> Sequence[str]:
    """What a recipient of this office can send to opt out."""
    return (*help_message.HONOURED_WORDS, *office.company.extra_stop_words)


def check(office: Office, text: str) -> list[help_message.Part]:
    """The four parts, judged by the names that recipients know this office by."""
    return help_message.check(text, office.names, honoured_words(office))


@transaction.atomic
def write(office: Office, text: str, *, author: User, seen: int) -> Written:
    """Let `text` answer HELP from now on, and keep it as a version. Text that is in force already adds none.

    `seen` is the id of the version that the author had before them, 0 for none. When another was added since,
    nothing is written, so that nobody replaces words that they have not read.
    """
    live = _locked(office)
    if text == office.help_text():
        return Written(None)
    if (live.pk if live else 0) != seen:
        return Written(None, overtaken_by=live)
    return Written(_add(office, text, author, is_canned=False))


@transaction.atomic
def back_to_canned(office: Office, *, author: User) -> Written:
    """Let the canned text answer HELP, as a version of its own."""
    live = _locked(office)
    if live is None or live.is_canned:
        return Written(None)
    return Written(_add(office, office.canned_help_text(), author, is_canned=True))


def _locked(office: Office) -> HelpMessage | None:
    """The version in force, while nobody else can add one."""
    Office.objects.select_for_update(of=("self",)).get(pk=office.pk)
    return office.live_help_message()


def _add(office: Office, text: str, author: User, *, is_canned: bool) -> HelpMessage:
    return HelpMessage.objects.create(
        company_id=office.company_id,
        office=office,
        text=text,
        is_canned=is_canned,
        author=author,
        author_name=str(author),
    )
