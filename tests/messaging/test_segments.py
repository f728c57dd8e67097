"""Segments as carriers bill them, against tables and against the package smsutil."""

import pytest
import smsutil
from hypothesis import given
from hypothesis import strategies as st

from messaging import segments

GSM = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)


@pytest.mark.parametrize(
    ("text", "count", "encoding", "units", "left"),
    [
        ("", 1, "GSM-7", 0, 160),
        ("a" * 160, 1, "GSM-7", 160, 0),
        ("a" * 161, 2, "GSM-7", 161, 145),
        ("a" * 306, 2, "GSM-7", 306, 0),
        ("a" * 307, 3, "GSM-7", 307, 152),
        (GSM, 1, "GSM-7", 127, 33),
        ("€" * 80, 1, "GSM-7", 160, 0),
        ("€" * 81, 2, "GSM-7", 162, 143),
        ("a" * 152 + "€" + "a" * 7, 2, "GSM-7", 161, 144),
        ("\f^{}\\[~]|€", 1, "GSM-7", 20, 140),
        ("’" * 70, 1, "UCS-2", 70, 0),
        ("’" * 71, 2, "UCS-2", 71, 63),
        ("’" * 134, 2, "UCS-2", 134, 0),
        ("’" * 135, 3, "UCS-2", 135, 66),
        ("😀" * 35, 1, "UCS-2", 70, 0),
        ("😀" * 36, 2, "UCS-2", 72, 61),
        ("’" * 66 + "😀" * 3, 2, "UCS-2", 72, 61),
        ("ç", 1, "UCS-2", 1, 69),  # the alphabet has the capital only
        ("`", 1, "UCS-2", 1, 69),
        ("\t", 1, "UCS-2", 1, 69),
    ],
)
def test_a_text_takes_as_many_segments_as_the_standard_says(text, count, encoding, units, left):
    assert segments.count(text) == segments.Segments(count, encoding, units, left)


@given(st.text(st.sampled_from(GSM + "^{}\\[~]|€"), max_size=700))
def test_gsm_texts_take_as_many_segments_as_smsutil_counts(text):
    assert segments.count(text).encoding == "GSM-7"
    assert segments.count(text).count == max(1, len(smsutil.split(text).parts))


@given(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=400))
def test_other_texts_take_as_many_segments_as_smsutil_counts(text):
    assert segments.count(text).count == max(1, len(smsutil.split(text).parts))


@given(st.text(max_size=400))
def test_what_is_left_is_what_still_fits(text):
    found = segments.count(text)
    more = "a" * found.left
    assert segments.count(text + more).count == found.count
    assert segments.count(text + more + "a").count == found.count + 1
