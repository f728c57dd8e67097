"""How many segments a text takes: the unit that carriers bill. Pure.

Source: 3GPP TS 23.038 (the GSM 7-bit alphabet and its extension table) and TS 23.040 (concatenation: 6 octets
of header leave 153 septets or 67 UTF-16 units a segment).
"""

from dataclasses import dataclass
from typing import Literal

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENDED = frozenset("\f^{}\\[~]|€")


@dataclass(frozen=True)
class Segments:
    """`count` segments in `encoding`; `units` septets or UTF-16 units used, `left` until the next segment."""

    count: int
    encoding: Literal["GSM-7", "UCS-2"]
    units: int
    left: int


def count(text: str) -> Segments:
    """The segments of `text`. An empty text takes one, as a picture without words does."""
    gsm = all(character in BASIC or character in EXTENDED for character in text)
    if gsm:
        widths = [2 if character in EXTENDED else 1 for character in text]
        single, each = 160, 153
    else:
        widths = [2 if ord(character) > 0xFFFF else 1 for character in text]
        single, each = 70, 67
    units = sum(widths)
    encoding: Literal["GSM-7", "UCS-2"] = "GSM-7" if gsm else "UCS-2"
    if units <= single:
        return Segments(1, encoding, units, single - units)
    segments, used = 1, 0
    for width in widths:
        # A character of two units is never split over two segments.
        if used + width > each:
            segments, used = segments + 1, 0
        used += width
    return Segments(segments, encoding, units, each - used)
