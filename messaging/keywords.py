"""Reading a received text: a command, a near miss, or conversation.

Pure: imports no Django, an ordinary text takes microseconds. The wording is data in RULES; its version is
stamped on every event, so that an auditor can tell which rules a text was read by.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Command = Literal["STOP", "UNSTOP", "HELP"]
Kind = Literal["command", "near_miss", "conversation"]


@dataclass(frozen=True)
class Rules:
    """One version of the wording, with the day it took effect and where it comes from."""

    version: str
    source: str
    stop: frozenset[str]
    start: frozenset[str]
    help: frozenset[str]
    # Wishes to stop in free wording: patterns over the normalised text.
    wishes: tuple[re.Pattern[str], ...]
    # Those of the stop words that are a wish also as one sentence among others. "Cancel. I'll come on Monday." is none.
    stop_sentences: frozenset[str]


RULES = Rules(
    version="2026-11-01",
    source="47 CFR 64.1200(a)(10), the words that revoke consent; CTIA Messaging Principles and Best Practices; "
    "Dialpad help, “Opt In and Out of SMS Messages”",
    stop=frozenset(
        # The words that US rules name.
        {"stop", "stopall", "stop all", "quit", "end", "revoke", "opt out", "opt-out", "optout", "cancel"}
        | {"unsubscribe"}
    ),
    start=frozenset({"unstop", "start"}),
    help=frozenset({"help", "info"}),
    wishes=tuple(
        re.compile(pattern)
        for pattern in (
            r"^(?:stop|stopall|unsubscribe|quit|end|cancel|optout)"
            r"(?: (?:stop|stopall|all|unsubscribe|quit|end|cancel|optout))+$",
            r"^s t o p$",
            r"^(?:ok|okay|no|and|now|hey|hi|yes) stop$",
            r"^stop (?:i'?m|i am|i|wrong|not|no|ok|okay|who|you|u)\b",
            r"\b(?:please|pls|plz|just)\s+stop\b(?! by| in| over| at)",
            r"\bstop\s+(?:it|this|that|now|please|pls|plz|thanks?|thank you|all|everything|already)$",
            r"\bstop\s+(?:\w+\s+)?(?:texting|texts?|messaging|messages?|msgs?|sms|contacting|bothering|sending)\b",
            r"\bstop\s+(?:\w+\s+)?spam(?:ming)?\b",
            r"\b(?:do\s?n['o]?t|do not|never|no longer|quit|cease)\s+(?:\w+\s+){0,2}?"
            r"(?:text|texting|message|messaging|contact|contacting|send|sending)\s+(?:to\s+)?"
            r"(?:me|us|this|my|anymore|any more|again)\b",
            r"\bno more\s+(?:\w+\s+)?(?:texts?|messages?|msgs?|sms)\b",
            r"\b(?:opt|opting)\s+(?:me\s+|us\s+)?out\b",
            r"\bunsubscribe\b",
            r"\b(?:remove|take|delete|get)\s+(?:me|us|my number|this number)\s+(?:off|from|out)\b",
            r"\bleave me alone\b",
            r"\brevoke\s+(?:my\s+)?consent\b",
            r"\bcancel\s+(?:my\s+|these\s+|the\s+|all\s+)?(?:texts?|messages?|subscription|alerts?)\b",
        )
    ),
    stop_sentences=frozenset({"stop", "stopall", "stop all", "unsubscribe", "opt out", "opt-out", "optout"}),
)  # fmt: skip

SENTENCE_END = re.compile(r"[.,;:!?\r\n]+")

# Wishes stand at the beginning or the end: of a longer text only these are read, so that a megabyte costs no
# more than a page.
LONGEST_READ = 2_000


@dataclass(frozen=True)
class Reading:
    """What a text is. `words` are those that decided it, empty for conversation; `near_miss` names the kind."""

    kind: Kind
    command: Command | None
    words: str
    near_miss: str
    version: str


def parse(
    text: str,
    *,
    forgiving: bool = False,
    extra_stop: Sequence[str] = (),
    extra_start: Sequence[str] = (),
    extra_help: Sequence[str] = (),
    rules: Rules = RULES,
) -> Reading:
    """Read one text. Exact reading takes only the bare word, in any letter case; forgiving reading lets spaces,
    punctuation, quotes and emoji around it pass. What sounds like a wish to stop but is no command is a near miss.
    """
    command = _command(text.lower(), extra_stop, extra_start, extra_help, rules)
    if command:
        return Reading("command", command, text.lower(), "", rules.version)
    is_whole = len(text) <= LONGEST_READ
    read = text if is_whole else f"{text[:LONGEST_READ]}\n{text[-LONGEST_READ:]}"
    plain = normalise(read)
    decorated = _command(plain, extra_stop, extra_start, extra_help, rules)
    if decorated and forgiving and is_whole:
        return Reading("command", decorated, plain, "", rules.version)
    if decorated == "STOP":
        return Reading("near_miss", None, plain, "decorated command", rules.version)
    if decorated is None:
        for wish in rules.wishes:
            if found := wish.search(plain):
                return Reading("near_miss", None, found.group(0), "wish in free words", rules.version)
        # "Stop. Wrong number.", and what phones put below a text: "STOP", then "Sent from my iPhone".
        for part in SENTENCE_END.split(read):
            if (words := normalise(part)) in rules.stop_sentences:
                return Reading("near_miss", None, words, "command among other words", rules.version)
    return Reading("conversation", None, "", "", rules.version)


def normalise(text: str) -> str:
    """Lower case, compatibility forms folded, and everything but letters, digits, apostrophes and inner hyphens
    turned into single spaces."""
    folded = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    visible = "".join(c for c in folded if unicodedata.category(c) not in ("Cf", "Mn", "Me"))
    spaced = re.sub(r"[^\w'-]|_", " ", visible)
    return " ".join(word for part in spaced.split() if (word := part.strip("-'")))


def _command(
    text: str, stop: Sequence[str], start: Sequence[str], help_words: Sequence[str], rules: Rules
) -> Command | None:
    """The command that the whole text is. What opts out wins over what a company may have added elsewhere."""
    if text in rules.stop:
        return "STOP"
    if text in rules.start:
        return "UNSTOP"
    if text in rules.help:
        return "HELP"
    if any(text == word.lower() for word in stop):
        return "STOP"
    if any(text == word.lower() for word in start):
        return "UNSTOP"
    if any(text == word.lower() for word in help_words):
        return "HELP"
    return None
