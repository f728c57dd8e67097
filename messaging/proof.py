"""Proof of the record: what each event's hash is made of, and how seals bind events.

Pure, and nothing but Python's standard library: whoever checks the record without the portal can do so with this
file, whose few rules are also in docs/record.md. No kept library does it: the trees of those that there are keep their
leaves in storage of their own, and who checks must then trust it.

An event's hash is SHA-256 over its canonical form: a line for each field, in a fixed order, with the length of its
value. A seal takes the events since the one before as leaves of a Merkle tree (RFC 6962, section 2.1), and its own
hash covers the tree's root and the former seal's hash. Whoever changes, removes, inserts or moves an event behind a
seal would have to change every seal since, also those that were kept elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

EVENT_FORM = "consent-event/1"
SEAL_FORM = "consent-seal/1"
GENESIS = "0" * 64  # in place of the former seal's hash, for the first
# The evidence that an event's hash covers, in the order of its canonical form. Times are UTC, ISO 8601 with
# microseconds and Z; numbers are decimal; None where there is nothing.
FIELDS = (
    "company", "office", "office_name", "recipient", "kind", "source", "number", "number_kind", "campaign",
    "campaign_name", "campaign_registry_id", "campaign_status", "scope", "received_text", "matched_words", "reading",
    "rule_version", "reason", "received_at", "stored_at", "carrier", "carrier_message_id", "message", "actor",
    "actor_name",
)  # fmt: skip
SEAL_FIELDS = ("company", "number", "sealed_at", "events", "first_event", "last_event", "root", "former")


def canonical(form: str, fields: Sequence[str], values: Mapping[str, str | None]) -> bytes:
    """The bytes that are hashed: "name:length:value" a line, "name:-" for None; lengths in bytes of UTF-8. The lengths
    leave one way only to read it, whatever a value holds."""
    lines = [form.encode()]
    for name in fields:
        value = values[name]
        if value is None:
            lines.append(f"{name}:-".encode())
        else:
            encoded = value.encode("utf-8")
            lines.append(f"{name}:{len(encoded)}:".encode() + encoded)
    return b"\n".join(lines) + b"\n"


def event_hash(values: Mapping[str, str | None]) -> str:
    """The hash of one event, in hexadecimal."""
    return hashlib.sha256(canonical(EVENT_FORM, FIELDS, values)).hexdigest()


def seal_hash(values: Mapping[str, str | None]) -> str:
    """The hash of one seal, in hexadecimal."""
    return hashlib.sha256(canonical(SEAL_FORM, SEAL_FIELDS, values)).hexdigest()


def leaf(event_id: int, hashed: str) -> bytes:
    """The leaf of an event: its place in the record is bound as well as its words."""
    return hashlib.sha256(b"\x00" + event_id.to_bytes(8, "big") + bytes.fromhex(hashed)).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Iterable[bytes]) -> bytes:
    """The Merkle tree's root (RFC 6962); one pass, and memory for one branch only."""
    branch: list[tuple[int, bytes]] = []  # (height, hash), the highest first
    for one in leaves:
        branch.append((0, one))
        while len(branch) > 1 and branch[-1][0] == branch[-2][0]:
            height, right = branch.pop()
            branch[-1] = (height + 1, node(branch[-1][1], right))
    if not branch:
        return hashlib.sha256(b"").digest()
    found = branch.pop()[1]
    while branch:
        found = node(branch.pop()[1], found)
    return found


def path(leaves: Sequence[bytes], position: int) -> list[str]:
    """What proves that the leaf at `position`, from 0, is in the tree: the hashes beside its way up, lowest first."""
    if len(leaves) <= 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if position < split:
        return [*path(leaves[:split], position), root(leaves[split:]).hex()]
    return [*path(leaves[split:], position - split), root(leaves[:split]).hex()]


def root_by_path(one: bytes, position: int, count: int, beside: Sequence[str]) -> bytes:
    """The root that a leaf and its path lead to. Raises ValueError when the path has the wrong length."""
    if not 0 <= position < count:
        raise ValueError("there is no such position")
    sides = []
    while count > 1:
        split = 1 << (count - 1).bit_length() - 1
        sides.append(position < split)
        position, count = (position, split) if position < split else (position - split, count - split)
    if len(sides) != len(beside):
        raise ValueError("the path has the wrong length")
    found = one
    for is_left, other in zip(reversed(sides), beside, strict=True):
        found = node(found, bytes.fromhex(other)) if is_left else node(bytes.fromhex(other), found)
    return found
