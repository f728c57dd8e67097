"""Phone numbers: read what people write, compare them as E.164, show them, and tell what kind they are.

Pure: imports no Django. E.164 ("+12025550143") is the only way a number is stored or compared.
"""

import re
from functools import lru_cache
from typing import Literal

import phonenumbers

Kind = Literal["ten_digit", "toll_free", "short_code"]

DEFAULT_REGION = "US"
E164 = re.compile(r"\+[1-9][0-9]{6,14}")
SHORT_CODE = re.compile(r"[1-9][0-9]{2,7}")
# A sender that is no phone number: up to 11 characters by GSM 03.40, section 9.1.2.5.
ALPHANUMERIC_SENDER = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ._&+-]{1,11}")
# 822 and 880 to 889 are set aside for toll-free use, which phonenumbers does not know yet.
# Source: 47 CFR 52.101 (toll free codes) and the numbering plan's list of easily recognizable codes.
TOLL_FREE = re.compile(r"\+1(800|822|833|844|855|866|877|88[0-9])[0-9]{7}")


class NotAPhoneNumber(ValueError):
    """What was given is no phone number; the message says how to mend it."""


@lru_cache(maxsize=65_536)
def parse(written: str, region: str = DEFAULT_REGION) -> str:
    """The E.164 form of a number as people and carriers write it: "(202) 555-0143", "12025550143".

    A number without a country code is read as one of `region`. Raises NotAPhoneNumber with a
    sentence for the person who typed it.
    """
    text = written.strip()
    if E164.fullmatch(text) and TOLL_FREE.fullmatch(text):
        return text
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise NotAPhoneNumber(
            f"“{text[:40]}” is not a phone number. Write it with its area code, for example +1 202 555 0143."
        ) from None
    if number.extension:
        raise NotAPhoneNumber("Leave out the extension: texts go to a number, not to an extension.")
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    # `is_possible_number` would also take a number without its area code, such as 555-0143.
    whole = phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE
    if not whole or not E164.fullmatch(e164):
        digits = sum(character.isdigit() for character in text)
        raise NotAPhoneNumber(
            f"“{text[:40]}” has {digits} digits, which is no complete phone number. "
            "A US number has ten, for example +1 202 555 0143."
        )
    return e164


def parse_own(written: str, region: str = DEFAULT_REGION) -> str:
    """As `parse`, for a number that the business texts from: a short code stays its bare digits.

    Raises NotAPhoneNumber also for numbers that the numbering plan does not assign.
    """
    text = written.strip()
    bare = re.sub(r"[\s-]", "", text)
    if re.fullmatch(r"[2-9][0-9]{4,5}", bare):
        return bare
    e164 = parse(text, region)
    if not TOLL_FREE.fullmatch(e164) and not phonenumbers.is_valid_number(phonenumbers.parse(e164)):
        raise NotAPhoneNumber(
            f"{e164} is not a number that the numbering plan assigns. Check the area code and the digits after it."
        )
    return e164


def parse_sender(raw: str) -> str:
    """Who sent a text, as a carrier names it: E.164, or a short code or a name as it was given.

    Carriers differ in writing the plus. Raises NotAPhoneNumber for what is none of the three.
    """
    text = raw.strip()
    if SHORT_CODE.fullmatch(text) and len(text) <= 6:
        return text
    try:
        return parse(f"+{text}" if text.isdigit() and len(text) > 10 else text)
    except NotAPhoneNumber:
        if ALPHANUMERIC_SENDER.fullmatch(text) or SHORT_CODE.fullmatch(text):
            return text
        raise


def is_e164(address: str) -> bool:
    """True for a full phone number; False for a short code or an alphanumeric sender."""
    return E164.fullmatch(address) is not None


@lru_cache(maxsize=65_536)
def kind(number: str) -> Kind:
    """What the numbering plan makes of one of our numbers (E.164 or a short code)."""
    if not is_e164(number):
        return "short_code"
    if TOLL_FREE.fullmatch(number):
        return "toll_free"
    parsed = phonenumbers.parse(number)
    if phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.TOLL_FREE:
        return "toll_free"
    return "ten_digit"


@lru_cache(maxsize=65_536)
def show(number: str) -> str:
    """The number as people read it: "+1 202-555-0143"; a short code or name unchanged."""
    if not is_e164(number):
        return number
    return phonenumbers.format_number(phonenumbers.parse(number), phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def masked(number: str) -> str:
    """The last four characters, for logs: "…0143"."""
    return f"…{number[-4:]}"
