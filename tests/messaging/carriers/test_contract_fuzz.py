"""What every adapter is held to when nonsense comes: it never fails, and only what is genuine has an effect."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.messaging.carriers.dialect import Case, Dialect, Posted
from tests.messaging.carriers.scene import Scene, a_status, a_stop, deliver, path_of, scene, stored, with_dialects

pytestmark = pytest.mark.django_db


def bounded(examples: int) -> hypothesis_settings:
    """Random, but the same on every run: a red test must be red again."""
    return hypothesis_settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def nested(depth: int) -> Any:
    value: Any = "STOP"
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


STRANGE: Sequence[Any] = [
    None, True, False, 0, -1, 5, 1.5, 10**18, 10**40, "", " ", "\x00", "a\x00b", "\ud800", "\udfff", "x" * 300,
    "x" * 5000, "STOP", "é", "²", "٣٤٥", "+", "+1", "☎", "+12025550143", "+12025550100", "1e400", "nan", "2026-02-30",
    "0001-01-01T00:00:00+14:00", "https://[", "http://[::1", "//", [], {}, [None], [[]], [{}], [5], ["STOP"],
    {"": None}, {"a": {"b": []}}, [None] * 300, nested(40), nested(300),
]  # fmt: skip


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of everything in a JSON document; also of what stands in a text as JSON of its own."""
    found = [path]
    inner = within(value)
    children = inner.items() if isinstance(inner, dict) else enumerate(inner) if isinstance(inner, list) else []
    for key, child in children:
        found += paths(child, (*path, key))
    return found


def within(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def changed(value: Any, path: tuple[Any, ...], how: str, strange: Any) -> Any:
    """The document with one thing in it changed: put in its place, left out, or doubled."""
    if not path:
        return strange
    inner = within(value)
    key, rest = path[0], path[1:]
    made: Any = dict(inner) if isinstance(inner, dict) else list(inner)
    if rest:
        made[key] = changed(made[key], rest, how, strange)
    elif how == "leave out":
        del made[key]
    elif how == "double" and isinstance(made, list):
        made.append(made[key])
    else:
        made[key] = strange
    return json.dumps(made) if isinstance(value, str) else made


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def mutated(body: bytes, seed: int) -> bytes:
    """The carrier's own payload with one to three things in it changed."""
    choice = random.Random(seed)
    try:
        document = json.loads(body)
    except ValueError:
        fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        for _ in range(choice.randint(1, 3)):
            where, how = choice.randrange(len(fields)) if fields else 0, choice.choice(["put", "leave out", "double"])
            name = fields[where][0] if fields else "a"
            fresh = (name, text_of(choice.choice(STRANGE)))
            fields[where : where + 1] = {"put": [fresh], "leave out": [], "double": [*fields[where:][:1], fresh]}[how]
        return "&".join(
            f"{quote(name, safe='')}={quote(value, safe='', errors='surrogatepass')}" for name, value in fields
        ).encode()
    for _ in range(choice.randint(1, 3)):
        places = paths(document)
        path = choice.choice(places[1:] if len(places) > 1 and choice.random() > 0.02 else places)
        document = changed(document, path, choice.choice(["put", "put", "leave out", "double"]), choice.choice(STRANGE))
    return json.dumps(document).encode()


def signed(scene_: Scene, case: Case, body: bytes) -> Posted:
    """The body as the carrier would sign it; where it could not even write such a one, with a genuine signature."""
    try:
        return scene_.posted(case, body)
    except Exception:
        return replace(scene_.posted(case), body=body)


def is_an_answer(answer: Any) -> bool:
    """Taken, kept or refused; or asked to come again signed, but never for a fault of ours."""
    return answer.status_code in (200, 403, 422) or (
        answer.status_code == 503 and answer.json()["title"] == "Not genuine as it came"
    )


def different_cases(dialect: Dialect) -> list[Case]:
    """One of each kind: what is mutated."""
    kinds = {(case.kind, case.media > 0, case.opted_out): case for case in reversed(dialect.cases)}
    return list(kinds.values())


@with_dialects()
def test_a_genuine_request_of_the_carriers_shape_never_fails_whatever_is_in_it(dialect: Dialect):
    scene_, cases = scene(dialect), different_cases(dialect)

    @bounded(40)
    @given(st.integers(0, 2**32))
    def never_fails(seed: int) -> None:
        case = cases[seed % len(cases)]
        answer = scene_.deliver(signed(scene_, case, mutated(dialect.payload(case), seed)))
        assert is_an_answer(answer)

    never_fails()


@with_dialects()
def test_a_genuine_request_of_plain_bytes_never_fails(dialect: Dialect):
    scene_, case = scene(dialect), a_stop(dialect)

    @bounded(25)
    @given(
        st.binary(max_size=200),
        st.sampled_from(["", "text/plain", "application/json", "multipart/form-data; boundary=x", "é\x80"]),
        st.sampled_from(["", "a", "text=5", "%00=%ff", "text=%F0%9F", "&=&=", "q=" + "x" * 3000]),
    )
    @example(b"[" * 100_000, "application/json", "")
    @example(b'{"a":' * 100_000, "application/json", "")
    @example(b"[" + b"9" * 10_000 + b"]", "application/json", "")
    @example(b"null", "application/json", "")
    @example(b"[[]]", "application/json", "")
    @example(b"[null, 5, {}]", "application/json", "")
    @example(b"a=b&" * 3_000, "application/x-www-form-urlencoded", "")
    @example(b"...", "application/jwt", "")
    def never_fails(body: bytes, content_type: str, query: str) -> None:
        posted = replace(signed(scene_, case, body), content_type=content_type)
        answer = scene_.deliver(replace(posted, query=posted.query or query))
        assert is_an_answer(answer)

    never_fails()


@with_dialects()
def test_nothing_that_is_unsigned_has_an_effect(dialect: Dialect):
    scene_, case = scene(dialect), a_stop(dialect)
    status = a_status(dialect)
    if status:
        scene_.our_text(status.message_id)
    before = stored()
    genuine = scene_.posted(case)
    names = [*dialect.signature_headers] or ["Authorization"]
    anything = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=60)

    @bounded(30)
    @given(
        st.sampled_from([case] + ([status] if status else [])),
        st.lists(anything, min_size=len(names), max_size=len(names)),
        st.binary(max_size=60),
        st.sampled_from(["POST", "POST", "GET"]),
    )
    def has_none(about: Case, values: list[str], body: bytes, method: Any) -> None:
        headers = dict(zip(names, values, strict=True))
        unsigned = Posted(body or dialect.payload(about), genuine.content_type, headers, genuine.query, method)
        answer = deliver(unsigned, path_of(scene_.account))
        # A bare GET is answered by the view, and says nothing.
        assert answer.status_code in (403, 503) or (method == "GET" and not unsigned.query)
        assert stored() == before

    has_none()
