"""Binary SMS: the words in one where it holds any, and which part of a longer text it is.

Source: 3GPP TS 23.040, section 9.2.3.24: the user data header, its elements 00 and 08 (concatenation, with a
reference of 8 or 16 bits), 04 and 05 (application ports).
"""

from __future__ import annotations

from collections.abc import Iterator

from messaging.carriers.base import Part

SHORT_REFERENCE, LONG_REFERENCE, PORTS = 0x00, 0x08, (0x04, 0x05)


def read(data: bytes, header: bytes) -> tuple[str | None, Part | None]:
    """The words of a binary SMS, and its part of a longer one.

    The words are None when it holds none that can be read: what is sent to a port is for a program, not a person,
    and the carrier does not say the character set, so that it is UTF-8, or UTF-16 as SMS has it, or no text.
    """
    elements = dict(_elements(header))
    text = None if any(port in elements for port in PORTS) else _words(data)
    return text, None if text is None else _part(elements)


def _words(data: bytes) -> str | None:
    for encoding in ("utf-8", "utf-16-be"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if all(character.isprintable() or character in "\r\n\t" for character in text):
            return text
    return None


def _elements(header: bytes) -> Iterator[tuple[int, bytes]]:
    """Each element's number and content; the first octet is the length of the whole."""
    rest = header[1 : 1 + header[0]] if header else b""
    while len(rest) >= 2:
        yield rest[0], rest[2 : 2 + rest[1]]
        rest = rest[2 + rest[1] :]


def _part(elements: dict[int, bytes]) -> Part | None:
    content = elements.get(SHORT_REFERENCE, b"")
    if len(content) != 3:
        content = elements.get(LONG_REFERENCE, b"")
        if len(content) != 4:
            return None
    total, number = content[-2], content[-1]
    return Part(content[:-2].hex(), number, total) if 1 <= number <= total and total > 1 else None
