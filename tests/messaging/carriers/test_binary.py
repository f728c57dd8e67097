"""Binary SMS: words are found where there are any, and never made up."""

import pytest

from messaging.carriers import binary
from messaging.carriers.base import Part


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"STOP", "STOP"),
        ("Café 👍🏽".encode(), "Café 👍🏽"),
        ("STOP".encode("utf-16-be"), "STOP"),
        ("Сто́п 🛑".encode("utf-16-be"), "Сто́п 🛑"),
        (b"two\r\nlines", "two\r\nlines"),
        (b"", ""),
        (b"\x00", None),
        (bytes.fromhex("0011ff80c0"), None),
        (b"\xff\xfe\x00", None),
    ],
)
def test_words_are_read_in_the_two_ways_that_text_is_written(data, text):
    assert binary.read(data, b"") == (text, None)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("0500032a0201", Part("2a", 1, 2)),
        ("060804012a0302", Part("012a", 2, 3)),
        ("0801020500032a0201", None),  # its length is that of less than is there: 8 octets, the first element of 2
        ("08240101" + "00032a0202", Part("2a", 2, 2)),  # behind an element that says the language
        ("", None),
        ("00", None),
        ("04", None),
        ("0500032a0101", None),  # the only part of one
        ("0500032a0203", None),  # the third of two
        ("0500032a0200", None),
        ("0400022a02", None),
        ("ff00", None),
    ],
)
def test_the_part_of_a_longer_text_is_read_from_the_header(header, part):
    assert binary.read(b"Please st", bytes.fromhex(header)) == ("Please st", part)


@pytest.mark.parametrize("header", ["06050415811581", "0404020000", "0a00032a020105040b8423f0"])
def test_what_is_sent_to_a_port_is_for_a_program_and_no_text(header):
    assert binary.read(b"STOP", bytes.fromhex(header)) == (None, None)
