"""Twenty texts at once for each carrier in turn, several times over; and what came of it as a table."""

from __future__ import annotations

import statistics
import time
from functools import partial

from django.test import Client

from tests.factories import fictional_number
from tests.messaging.carriers.dialect import OURS, Case, Posted
from tests.messaging.carriers.scene import DIALECTS, Scene, a_stop, deliver, scene
from tests.messaging.carriers.test_contract_load import AT_ONCE, clients
from tests.messaging.texting import at_once

ROUNDS = 5
LIMIT = 2.0  # seconds: the strictest carrier's


def timed(posted: Posted, path: str, client: Client) -> float:
    begun = time.perf_counter()
    answer = deliver(posted, path, client)
    took = time.perf_counter() - begun
    assert answer.status_code == 200, answer.content
    return took


def slowest(given: Scene, case: Case, number: int) -> float:
    """The longest that one of the texts at once took, in seconds; all are different texts of one person."""
    body = given.dialect.payload(case)
    texts = [
        given.posted(case, given.dialect.another_text(body, f"Text {n}", f"bench-{number}-{n}")) for n in range(AT_ONCE)
    ]
    jobs = [partial(timed, text, given.path, client) for text, client in zip(texts, clients(AT_ONCE), strict=True)]
    return max(at_once(jobs))


def measure() -> None:
    found: dict[str, list[float]] = {}
    for number in range(ROUNDS + 1):
        for carrier, dialect in DIALECTS.items():
            given = scene(dialect, e164=OURS)
            took = slowest(given, a_stop(dialect), number)
            if number:  # the first round only warms everything up
                found.setdefault(carrier, []).append(took)
            # The next scene's account has the number then.
            given.number.e164 = fictional_number(1_000 + 100 * number + list(DIALECTS).index(carrier))
            given.number.save()
    print(f"Slowest of {AT_ONCE} answers at once, {ROUNDS} rounds; the strictest carrier waits {LIMIT} s.\n")
    print(f"{'carrier':12} {'median':>8} {'worst':>8} {'to generic':>11}")
    for carrier, times in found.items():
        ratio = statistics.median(a / b for a, b in zip(times, found["generic"], strict=True))
        late = "  TOO LATE" if max(times) > LIMIT else ""
        print(f"{carrier:12} {statistics.median(times):7.3f}s {max(times):7.3f}s {ratio:10.2f}x{late}")
