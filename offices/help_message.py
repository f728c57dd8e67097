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
    r"(?:https?://|www\.)\S+|\b(?:[\w-]+\.)+(?:com|net|org|io|co|us|info|biz)\b(?:/\S*)?", re.IGNORECASE
)
VANITY = re.compile(r"\b1?[-. ]?\(?8(?:00|22|33|44|55|66|77|88)\)?[-. ]?[A-Z]{3,}(?:[-. ]?[A-Z0-9]+)*\b")
FEES = re.compile(
    r"\b(?:rates?|fees?|charges?|charged|costs?|free of charge|free to end user|no cost|tarifas?|cargos?|frais)\b",
    re.IGNORECASE,
)
LEGAL_FORMS = r"(?:[,\s]+(?:inc|llc|l\.l\.c|ltd|corp|co|company|corporation|limited|plc|pllc|pc|lp|llp)\.?)?"
ORDER = r"(?:reply|text|send|txt|type|respond with|responder?|envíe|envie|envoyez|répondez|texto|with|word|to stop(?: texts)?,? (?:reply|text|send))"


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
    """True when one of the names stands as whole words, outside web and e-mail addresses."""
    bare = EMAIL.sub(" ", WEB_ADDRESS.sub(" ", text))
    for name in names:
        words = re.sub(LEGAL_FORMS + r"\s*$", "", _plain(name).strip(), flags=re.IGNORECASE).split()
        if words and re.search(
            r"(?<!\w)" + r"\s+".join(re.escape(word) for word in words) + r"(?!\w)", bare, re.IGNORECASE
        ):
            return True
    return False


def _has_contact(text: str) -> bool:
    without_web = re.sub(r"https?://\S+|www\.\S+", " ", text)
    if EMAIL.search(without_web) or VANITY.search(without_web):
        return True
    return any(
        True for _ in phonenumbers.PhoneNumberMatcher(without_web, "US", leniency=phonenumbers.Leniency.POSSIBLE)
    )


def _has_opt_out(text: str, honoured_words: Sequence[str]) -> bool:
    """True when the text tells to send one of the words: "Reply STOP", "text 'quit' to", "STOP to opt out"."""
    words = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(honoured_words, key=len, reverse=True))
    quote = r"[\"'“”*\[(]*"
    told = rf"\b{ORDER}[:\s]+(?:the\s+word\s+|us\s+|back\s+)?{quote}(?:{words})(?!\w)"
    meant = rf"(?<!\w){quote}(?:{words}){quote}[\])]*\s*(?:=|to|for|para|pour)\s+(?:opt|stop|end|cancel|unsubscribe|quit|leave|no more|dejar|cancelar|arrêter)"
    refused = rf"\b(?:do not|don't|never|cannot|can't)\s+{told[2:]}"
    return bool(
        (re.search(told, text, re.IGNORECASE) and not re.search(refused, text, re.IGNORECASE))
        or re.search(meant, text, re.IGNORECASE)
    )
