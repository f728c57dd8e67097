"""What hashes are made of, and the Merkle tree: by the vectors of RFC 6962's family, by properties, and by hand."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging import proof

HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=70)
VALUES = st.fixed_dictionaries(
    {name: st.none() | st.text(st.characters(exclude_categories=["Cs"])) for name in proof.FIELDS}
)


def by_the_book(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + by_the_book(leaves[:split]) + by_the_book(leaves[split:])).digest()


@given(HASHES)
def test_the_root_in_one_pass_is_the_root_by_the_book(leaves: list[bytes]):
    assert proof.root(iter(leaves)) == by_the_book(leaves)


@given(HASHES.filter(bool), st.data())
def test_a_path_leads_to_the_root_and_from_nowhere_else(leaves: list[bytes], data: st.DataObject):
    position = data.draw(st.integers(0, len(leaves) - 1))
    beside = proof.path(leaves, position)

    assert proof.root_by_path(leaves[position], position, len(leaves), beside) == by_the_book(leaves)
    other = bytes([leaves[position][0] ^ 1]) + leaves[position][1:]
    assert proof.root_by_path(other, position, len(leaves), beside) != by_the_book(leaves)
    with pytest.raises(ValueError, match="length"):
        proof.root_by_path(leaves[position], position, len(leaves), [*beside, "00" * 32])
    with pytest.raises(ValueError, match="position"):
        proof.root_by_path(leaves[position], len(leaves), len(leaves), beside)


def test_the_canonical_form_is_as_documented():
    values = {**dict.fromkeys(proof.FIELDS), "company": "7", "received_text": "STOP ✋", "office_name": ""}

    written = proof.canonical(proof.EVENT_FORM, proof.FIELDS, values)

    assert written.startswith(b"consent-event/1\ncompany:1:7\noffice:-\noffice_name:0:\nrecipient:-\n")
    assert b"\nreceived_text:8:STOP \xe2\x9c\x8b\n" in written
    assert proof.event_hash(values) == hashlib.sha256(written).hexdigest()


@given(VALUES, VALUES)
def test_two_events_have_the_same_canonical_form_only_when_they_are_the_same(one, other):
    same = proof.canonical(proof.EVENT_FORM, proof.FIELDS, one) == proof.canonical(
        proof.EVENT_FORM, proof.FIELDS, other
    )

    assert same == (one == other)


@pytest.mark.parametrize("swapped", [("office_name", "campaign_name"), ("matched_words", "reason")])
def test_a_value_cannot_move_into_the_next_field(swapped):
    first, second = swapped
    values = {**dict.fromkeys(proof.FIELDS, ""), first: "a", second: "b"}

    assert proof.event_hash(values) != proof.event_hash({**values, first: "ab", second: ""})
    assert proof.event_hash(values) != proof.event_hash({**values, first: "a\n" + second + ":1:b", second: ""})


def test_the_same_words_in_another_place_are_another_leaf():
    hashed = "ab" * 32

    assert proof.leaf(1, hashed) != proof.leaf(2, hashed)
