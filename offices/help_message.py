"""The four parts that a HELP message must hold, which of them a text lacks, and the canned text.

Pure: imports no Django. The parts are those of Dialpad's help article "Opt In and Out of SMS Messages",
section Help; they agree with CTIA Messaging Principles and Best Practices, section 5.1.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import phonenumbers

# What a recipient can send to opt out, as this portal honours it whatever a company adds.
HONOURED_WORDS = ("stop", "stopall", "stop all", "quit", "end", "revoke", "opt out", "opt-out", "optout", "cancel",
                  "unsubscribe")  # fmt: skip

EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@(?:[\w-]+\.)+[a-z]{2,}(?![\w@-])", re.IGNORECASE)
WEB_ADDRESS = re.compile(
    r"(?:https?://|www\.)\S*[^\s.,:;!?)\]]|(?<![\w.@-])(?:[\w-]+\.)+(?:com|net|org|io|co|us|info|biz)\b(?:/\S*)?",
    re.IGNORECASE,
)
# "1-800-FLOWERS": capitals, and written as a number, so that "800 ACRES" is none.
VANITY = re.compile(
    r"(?<!\w)(?:\+?1[-. ]\(?8(?:00|22|33|44|55|66|77|88)\)?[-. ]|\(8(?:00|22|33|44|55|66|77|88)\) ?"
    r"|8(?:00|22|33|44|55|66|77|88)[-.])(?=[\d.-]*[A-Z])(?:[A-Z0-9][-.]?){7}"
)
# With its country code a number is believed, as far as its length goes: main lines may be abroad.
INTERNATIONAL = re.compile(r"\+[1-9](?:[\s().-]{0,2}\d){6,14}(?!\d)")
TEXTS = r"(?:msgs?|messages?|messaging|texts?|texting|sms|data)"
FEES = re.compile(
    r"\b(?:fees?|(?<!in )charges?|charged|costs?|tarifas?|cargos?|costos?|frais)\b"
    rf"|\b(?:{TEXTS}|standard|std|normal|usual|carrier)\b[^.!?]{{0,30}}\brates?\b"
    r"|\brates?\s+(?:\w+\s+){0,2}appl"
    rf"|(?<!feel )(?<!toll )(?<!toll-)\bfree\s+(?:\w+\s+)?{TEXTS}\b"
    rf"|\b{TEXTS}\s+(?:\w+\s+){{0,3}}(?<!feel )(?<!toll )(?<!toll-)free\b",
    re.IGNORECASE,
)
LEGAL_FORM = re.compile(
    r"[,\s]+(?:inc|llc|l\.l\.c|ltd|corp|co|company|corporation|limited|plc|pllc|pc|lp|llp)\.?\s*$", re.IGNORECASE
)
ORDER = r"(?:reply|respond|answer|text|txt|send|type|responda|responder?|env[íi]e|envoyez|répondez)"
BETWEEN = r"(?:[:\s]+(?:with|us|back|the|word|keyword|by|texting))*[:\s]+"
QUOTE = r"[\"'“”«»‹›<*\[(]*"
UNQUOTE = r"[\"'“”«»‹›>*\])]*"
PURPOSE = (
    r"(?:=|(?:to|2|for|para|pour)\s)\s*"
    r"(?:opt|stop|end|cancel|unsubscribe|quit|leave|no more|dejar|cancelar|arrêter)"
)
# What may follow a word in small letters that is meant as a command: "text end to leave", not "send end-of-year cards".
AFTER = re.compile(
    r"\s*(?:$|[^\w\s-]|(?:to|2|for|at|any\w*|now|or|and|if|when|from|para|pour|ou|y|o)\b)", re.IGNORECASE
)
FORBIDDEN = re.compile(r"\b(?:do not|don't|never|cannot|can't)\s+(?:\w+\s+)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One of the four parts: its key, its name for people, whether it is there, and how to mend it when not."""

    key: str
    label: str
    present: bool
    hint: str


def check(text: str, names: Sequence[str], honoured_words: Sequence[str] = HONOURED_WORDS) -> list[Part]:
    """Judge `text` by its four parts, always in the same order: name, contact, fees, opt-out.

    `names` are what recipients know the business by; `honoured_words` what it obeys as STOP.
    """
    plain = _plain(text)
    first_name = names[0] if names else "your business"
    return [
        Part(
            "business_name",
            "Business name",
            _has_name(plain, names),
            f"Name the business as its recipients know it: {' or '.join(names) or 'its registered name'}.",
        ),
        Part(
            "contact",
            "Contact information",
            _has_contact(plain),
            "Give a phone number or an e-mail address, for example: call +1 202-555-0143. "
            "A web address alone is not enough.",
        ),
        Part(
            "fees",
            "Fees or charges",
            FEES.search(plain) is not None,
            "Say what it may cost, for example: Msg & data rates may apply.",
        ),
        Part(
            "opt_out",
            "How to opt out",
            _has_opt_out(plain, honoured_words),
            f"Say how to opt out, for example: Reply STOP to opt out of texts from {first_name}.",
        ),
    ]


def missing(parts: Sequence[Part]) -> list[Part]:
    """The parts that are not there."""
    return [part for part in parts if not part.present]


def canned_text(business_name: str, main_line: str) -> str:
    """The text that answers HELP until an office writes its own: it points to the office's main line."""
    return (
        f"{business_name}: For help, call our main line at {main_line}. "
        "Msg & data rates may apply. Reply STOP to opt out."
    )


def _plain(text: str) -> str:
    """Compatibility forms folded and invisible characters gone, so that look-alikes are not taken for words."""
    folded = unicodedata.normalize("NFKC", text)
    visible = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in folded
                      if unicodedata.category(c) != "Cf")  # fmt: skip
    return visible.replace("’", "'").replace("‘", "'")


def _has_name(text: str, names: Sequence[str]) -> bool:
    """True when one of the names stands as whole words, and not inside a web or e-mail address."""
    addresses = [found.span() for pattern in (EMAIL, WEB_ADDRESS) for found in pattern.finditer(text)]
    for name in names:
        whole = _plain(name).strip()
        words = (LEGAL_FORM.sub("", whole) or whole).split()
        if not words:
            continue
        spaced = r"\s+".join(re.escape(word) for word in words)
        for found in re.finditer(rf"(?<!\w){spaced}(?!\w)", text, re.IGNORECASE):
            # A business may be called like its address: Example.com is named by "Example.com", not by a link to it.
            if not any(start <= found.start() and found.end() <= end and (start, end) != found.span()
                       for start, end in addresses):  # fmt: skip
                return True
    return False


def _has_contact(text: str) -> bool:
    """True when there is a phone number or an e-mail address outside of web addresses."""
    if EMAIL.search(re.sub(r"(?:https?://|www\.)\S+", " ", text)):
        return True
    bare = WEB_ADDRESS.sub(" ", EMAIL.sub(" ", text))
    if VANITY.search(bare) or INTERNATIONAL.search(bare):
        return True
    return phonenumbers.PhoneNumberMatcher(bare, "US", leniency=phonenumbers.Leniency.VALID).has_next()


def _has_opt_out(text: str, honoured_words: Sequence[str]) -> bool:
    """True when the text tells to send one of the words: "Reply STOP", "text 'quit' to", "STOP to opt out"."""
    longest_first = sorted((word for word in honoured_words if word.strip()), key=len, reverse=True)
    word = "|".join(r"\s+".join(re.escape(part) for part in word.split()) for word in longest_first)
    told = rf"\b{ORDER}{BETWEEN}{QUOTE}(?P<word>{word})(?!\w|-\w){UNQUOTE}"
    meant = rf"(?<!\w){QUOTE}(?P<word>{word}){UNQUOTE}\s*{PURPOSE}"
    for found in re.finditer(told, text, re.IGNORECASE):
        is_command = found["word"].isupper() or AFTER.match(text, found.end())
        if is_command and not FORBIDDEN.search(text[: found.start()]):
            return True
    return any(not FORBIDDEN.search(text[: found.start()]) for found in re.finditer(meant, text, re.IGNORECASE))
